/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <sys/resource.h>
#include <sys/socket.h>

static int returns(void *arg)
{
	return (int)(intptr_t)arg;
}

static int sleeps(void *arg)
{
	(void)arg;
	while (pause())
		;
	return 0;
}

static tine_process *start(int (*fn)(void *), void *arg)
{
	tine_process *process = NULL;

	CHECK_EQ(tine_process_start(&process, fn, arg, NULL), 0);
	CHECK(process);
	return process;
}

TEST(the_exit_code_is_what_the_function_returns)
{
	static const int values[][2] = {
		{ 0, 0 }, { 7, 7 }, { 255, 255 }, { 256, 0 }, { -1, 255 }
	};

	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		tine_process *process = start(returns, (void *)(intptr_t)values[i][0]);
		tine_exit how = { .code = -5, .signal = -5 };

		/* As often as one likes. */
		for (int again = 0; again < 2; again++) {
			CHECK_EQ(tine_process_wait(process, &how, TINE_FOREVER), 0);
			CHECK_EQ(how.code, values[i][1]);
			CHECK_EQ(how.signal, 0);
		}
		CHECK_EQ(tine_process_wait(process, NULL, TINE_NOWAIT), 0);
		tine_process_free(process);
	}
}

TEST(a_signal_is_told)
{
	tine_process *process = start(sleeps, NULL);
	tine_exit how = { .code = -5, .signal = -5 };
	int64_t begun = tine_now();

	CHECK_EQ(tine_process_wait(process, &how, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_process_wait(process, &how, tine_after(20)), -ETIMEDOUT);
	CHECK(tine_now() - begun >= 20000000);
	CHECK_EQ(how.code, -5);
	CHECK_EQ(tine_process_kill(process, 9999), -EINVAL);
	CHECK_EQ(tine_process_kill(process, 0), 0);
	CHECK_EQ(tine_process_kill(process, SIGTERM), 0);
	CHECK_EQ(tine_process_wait(process, &how, TINE_FOREVER), 0);
	CHECK_EQ(how.code, -1);
	CHECK_EQ(how.signal, SIGTERM);
	CHECK_EQ(tine_process_kill(process, SIGTERM), -ESRCH);
	tine_process_free(process);
}

TEST(bad_arguments)
{
	tine_process_opts opts = { .reserved = { [5] = 1 } };
	tine_process *process = (void *)1;

	CHECK_EQ(tine_process_start(NULL, returns, NULL, NULL), -EINVAL);
	CHECK_EQ(tine_process_start(&process, NULL, NULL, NULL), -EINVAL);
	CHECK_EQ(tine_process_start(&process, returns, NULL, &opts), -EINVAL);
	CHECK(process == (void *)1);
	tine_process_free(NULL);
}

TEST(want_of_memory_and_descriptors)
{
	tine_process *process = (void *)1;
	struct rlimit limit;
	int lowest;

	test_fail_allocation(1);
	CHECK_EQ(tine_process_start(&process, returns, NULL, NULL), -ENOMEM);
	test_fail_allocation(0);
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	/* The lifeline is two. */
	lowest = dup(STDOUT_FILENO);
	close(lowest);
	limit.rlim_cur = lowest + 1;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	CHECK_EQ(tine_process_start(&process, returns, NULL, NULL), -EMFILE);
	CHECK(process == (void *)1);
	limit.rlim_cur = limit.rlim_max;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	tine_process_free(start(returns, NULL));
}

TEST(free_ends_what_runs)
{
	tine_process *process = start(sleeps, NULL);
	pid_t pid = tine_process_pid(process);

	CHECK(test_alive(pid));
	tine_process_free(process);
	CHECK_EQ(kill(pid, 0), -1);
}

TEST(free_ends_what_is_stopped)
{
	tine_process *process = start(sleeps, NULL);

	CHECK_EQ(tine_process_kill(process, SIGSTOP), 0);
	tine_process_free(process);
}

TEST(the_descriptor_polls)
{
	tine_process *process = start(sleeps, NULL);
	struct pollfd polled = { .fd = tine_process_fd(process), .events = POLLIN };

	CHECK(polled.fd >= 0);
	CHECK(fcntl(polled.fd, F_GETFD) & FD_CLOEXEC);
	CHECK_EQ(poll(&polled, 1, 10), 0);
	CHECK_EQ(tine_process_kill(process, SIGKILL), 0);
	CHECK_EQ(poll(&polled, 1, 10000), 1);
	CHECK(polled.revents & POLLIN);
	CHECK_EQ(tine_process_wait(process, NULL, TINE_FOREVER), 0);
	tine_process_free(process);
}

static int prints(void *arg)
{
	(void)arg;
	printf("child\n");
	return 0;
}

TEST(nothing_is_printed_twice)
{
	int saved = dup(STDOUT_FILENO), file = memfd_create("out", MFD_CLOEXEC);
	char text[64] = "";

	CHECK(saved >= 0 && file >= 0);
	fflush(stdout);
	CHECK(dup2(file, STDOUT_FILENO) >= 0);
	setvbuf(stdout, NULL, _IOFBF, 4096);
	printf("parent\n");
	for (int i = 0; i < 2; i++) {
		tine_process *process = start(prints, NULL);

		CHECK_EQ(tine_process_wait(process, NULL, TINE_FOREVER), 0);
		tine_process_free(process);
	}
	fflush(stdout);
	CHECK(dup2(saved, STDOUT_FILENO) >= 0);
	CHECK(pread(file, text, sizeof(text) - 1, 0) > 0);
	CHECK(strcmp(text, "child\nchild\nparent\n") == 0);
	close(file);
	close(saved);
}

static int reads_name(void *arg)
{
	char name[32] = "";
	int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);

	CHECK(read(fd, name, sizeof(name) - 1) > 0);
	close(fd);
	return strcmp(name, arg) != 0;
}

TEST(the_name_is_seen)
{
	static const char *const names[][2] = {
		{ "adder", "adder\n" }, { "a name that is too long", "a name that is \n" }
	};

	for (int i = 0; i < 2; i++) {
		tine_process_opts opts = { .name = names[i][0] };
		tine_process *process;
		tine_exit how;

		CHECK_EQ(tine_process_start(&process, reads_name, (void *)names[i][1],
					    &opts),
			 0);
		CHECK_EQ(tine_process_wait(process, &how, TINE_FOREVER), 0);
		CHECK_EQ(how.code, 0);
		tine_process_free(process);
	}
}

static int has_mask(void *arg)
{
	sigset_t mask;

	sigprocmask(SIG_SETMASK, NULL, &mask);
	return memcmp(&mask, arg, 8) != 0;
}

TEST(the_signal_mask_is_inherited)
{
	sigset_t mask;
	tine_process *process;
	tine_exit how;

	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	process = start(has_mask, &mask);
	CHECK_EQ(tine_process_wait(process, &how, TINE_FOREVER), 0);
	CHECK_EQ(how.code, 0);
	tine_process_free(process);
	CHECK_EQ(has_mask(&mask), 0);
}

static int counts_descriptors(void *arg)
{
	/* Its own lifeline is one more. */
	return test_descriptors() - (int)(intptr_t)arg;
}

TEST(children_do_not_hold_each_others_descriptors)
{
	int before = test_descriptors();
	tine_process *first = start(sleeps, NULL), *second;
	tine_exit how;

	second = start(counts_descriptors, (void *)(intptr_t)before);
	CHECK_EQ(tine_process_wait(second, &how, TINE_FOREVER), 0);
	CHECK_EQ(how.code, 1);
	tine_process_free(second);
	tine_process_free(first);
}

TEST(another_may_have_reaped_it)
{
	tine_process *process = start(returns, NULL);
	tine_exit how = { .code = -5, .signal = -5 };

	CHECK(waitpid(tine_process_pid(process), NULL, 0) > 0);
	CHECK_EQ(tine_process_wait(process, &how, TINE_FOREVER), -ECHILD);
	CHECK_EQ(how.code, -5);
	CHECK_EQ(tine_process_kill(process, SIGTERM), -ESRCH);
	tine_process_free(process);

	signal(SIGCHLD, SIG_IGN);
	process = start(returns, NULL);
	CHECK_EQ(tine_process_wait(process, NULL, TINE_FOREVER), -ECHILD);
	tine_process_free(process);
	process = start(sleeps, NULL);
	CHECK_EQ(tine_process_wait(process, NULL, tine_after(5)), -ETIMEDOUT);
	tine_process_free(process);
}

static int uses_parents_handle(void *arg)
{
	tine_process **process = arg;

	CHECK_EQ(tine_process_wait(*process, NULL, TINE_FOREVER), -EPERM);
	CHECK_EQ(tine_process_kill(*process, SIGKILL), -EPERM);
	CHECK_EQ(tine_process_fd(*process), -EPERM);
	CHECK(tine_process_pid(*process) > 0);
	tine_process_free(*process);
	return 0;
}

TEST(a_handle_is_its_makers)
{
	tine_process *process = start(sleeps, NULL), *child;
	tine_exit how;

	child = start(uses_parents_handle, &process);
	CHECK_EQ(tine_process_wait(child, &how, TINE_FOREVER), 0);
	CHECK_EQ(how.code, 0);
	CHECK(test_alive(tine_process_pid(process)));
	tine_process_free(child);
	tine_process_free(process);
}

static void *start_in_thread(void *arg)
{
	*(tine_process **)arg = start(sleeps, NULL);
	return NULL;
}

/* With PR_SET_PDEATHSIG it would not. */
TEST(it_outlives_the_thread_that_started_it)
{
	tine_process *process;
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, start_in_thread, &process), 0);
	pthread_join(thread, NULL);
	CHECK_EQ(tine_process_wait(process, NULL, tine_after(50)), -ETIMEDOUT);
	tine_process_free(process);
}

struct line {
	pid_t parent, child, grandchild, beside;
	_Atomic bool over;
};

static int starts_one(void *arg)
{
	struct line *line = arg;

	line->grandchild = tine_process_pid(start(sleeps, NULL));
	return sleeps(NULL);
}

static void starts_line(void *arg)
{
	struct line *line = arg;
	pid_t beside;

	line->child = tine_process_pid(start(starts_one, line));
	/* A child that holds no end of the line, to see that it does not keep it open. */
	beside = fork();
	if (beside == 0) {
		while (!line->over)
			test_sleep_us(1000);
		_exit(0);
	}
	line->beside = beside;
	pause();
}

static bool gone_soon(pid_t pid)
{
	int64_t deadline = tine_after(test_patience(20000));

	while (test_alive(pid) && tine_now() < deadline)
		test_sleep_us(100);
	return !test_alive(pid);
}

TEST(it_dies_with_its_parent_and_so_do_its_own)
{
	struct line *line = tine_shared_new(1, sizeof(*line));

	line->parent = test_fork(starts_line, line);
	while (*(volatile pid_t *)&line->grandchild == 0 ||
	       *(volatile pid_t *)&line->beside == 0)
		test_sleep_us(100);
	test_kill(line->parent);
	CHECK(gone_soon(line->child));
	CHECK(gone_soon(line->grandchild));
	line->over = true;
	CHECK(gone_soon(line->beside));
	tine_shared_free(line);
}

static struct line *untied;

/* In the child, before it can have tied itself. */
static void outlive_the_parent(void)
{
	untied->child = getpid();
	while (!untied->over)
		test_sleep_us(100);
}

static void start_untied(void *line)
{
	untied = line;
	CHECK_EQ(pthread_atfork(NULL, NULL, outlive_the_parent), 0);
	start(sleeps, NULL);
	pause();
}

TEST(its_parent_dies_before_it_is_tied)
{
	struct line *line = tine_shared_new(1, sizeof(*line));

	line->parent = test_fork(start_untied, line);
	while (*(volatile pid_t *)&line->child == 0)
		test_sleep_us(100);
	test_kill(line->parent);
	line->over = true;
	CHECK(gone_soon(line->child));
	tine_shared_free(line);
}

TEST(thousands_one_after_another)
{
	for (long i = 0; i < test_scaled(2000); i++) {
		tine_process *process = start(returns, NULL);

		if (i % 2)
			CHECK_EQ(tine_process_wait(process, NULL, TINE_FOREVER), 0);
		tine_process_free(process);
	}
}

TEST(many_at_once)
{
	enum { N = 100 };
	tine_process *processes[N];

	for (int i = 0; i < N; i++)
		processes[i] = start(returns, (void *)(intptr_t)i);
	for (int i = 0; i < N; i++) {
		tine_exit how;

		CHECK_EQ(tine_process_wait(processes[i], &how, TINE_FOREVER), 0);
		CHECK_EQ(how.code, i);
		tine_process_free(processes[i]);
	}
}

static void *starts_many(void *arg)
{
	(void)arg;
	for (long i = 0; i < test_scaled(200); i++)
		tine_process_free(start(returns, NULL));
	return NULL;
}

TEST(from_many_threads)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, starts_many, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

static int stay(void *arg)
{
	(void)arg;
	pause();
	return 0;
}

static void all_are_open(void *arg)
{
	const int *fds = arg;

	for (int i = 0; i < 8; i++)
		CHECK(fcntl(fds[i], F_GETFD) >= 0);
}

/* What the program has opened since under the numbers of ours is the program's. */
static void close_all_and_open(void *arg)
{
	tine_process *process;
	int fds[8], handle;

	(void)arg;
	CHECK_EQ(tine_process_start(&process, stay, NULL, NULL), 0);
	handle = tine_process_fd(process);
	close_range(3, ~0U, 0);
	for (int i = 0; i < 8; i++) {
		/* Of the kinds that ours are. */
		fds[i] = i % 2 ? eventfd(0, EFD_CLOEXEC)
			       : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		CHECK(fds[i] >= 3);
	}
	CHECK(fds[7] >= handle);
	CHECK_EQ(test_reap(test_fork(all_are_open, fds)), 0);
	tine_process_free(process);
	for (int i = 0; i < 8; i++) {
		CHECK(fcntl(fds[i], F_GETFD) >= 0);
		close(fds[i]);
	}
}

/* How many of the standard descriptors that are closed they take. */
static int taken_by_one_of_each(const char *folder)
{
	const tine_command command = { .argv = (const char *[]){ "true", NULL },
				       .fds = (const int[]){ -1, -1, -1 } };
	char path[128], url[128];
	tine_process *process, *ended;
	tine_filelock *lock;
	tine_waiter *waiter;
	tine_cache *cache;
	tine_store *store;
	tine_pool *pool;
	int err, taken = 0;

	snprintf(path, sizeof(path), "%s/cache", folder);
	CHECK_EQ(tine_cache_open(&cache, path, NULL), 0);
	snprintf(url, sizeof(url), "file:%s/store", folder);
	err = tine_store_open(&store, url, NULL);
	CHECK(err == 0 || err == -EPROTONOSUPPORT); /* a build without LMDB */
	snprintf(path, sizeof(path), "%s/lock", folder);
	CHECK_EQ(tine_filelock_open(&lock, path), 0);
	CHECK_EQ(tine_waiter_new(&waiter), 0);
	CHECK_EQ(tine_process_start(&process, stay, NULL, NULL), 0);
	CHECK_EQ(tine_process_spawn(&ended, &command, NULL), 0);
	tine_process_free(ended);
	CHECK_EQ(tine_pool_new(&pool, &(tine_pool_opts){ .workers = 1 }), 0);
	CHECK(tine_pool_fd(pool) >= 0);
	for (int fd = 0; fd < 3; fd++)
		taken += fcntl(fd, F_GETFD) >= 0;
	tine_pool_free(pool);
	tine_process_free(process);
	tine_waiter_free(waiter);
	tine_filelock_free(lock);
	if (!err)
		tine_store_free(store);
	tine_cache_free(cache);
	return taken;
}

/* What it prints would else be written to the library's files. */
static void close_the_standard_ones(void *folder)
{
	int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 100);
	int taken;

	CHECK(saved >= 0);
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	taken = taken_by_one_of_each(folder);
	CHECK_EQ(dup2(saved, STDERR_FILENO), STDERR_FILENO);
	CHECK_EQ(taken, 0);
}

TEST(no_object_takes_a_standard_descriptor)
{
	char folder[] = "/tmp/tine-process-XXXXXX", command[64];

	CHECK(mkdtemp(folder));
	CHECK_EQ(test_reap(test_fork(close_the_standard_ones, folder)), 0);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	CHECK_EQ(system(command), 0);
}

TEST(what_a_program_closed_is_not_closed_again)
{
	CHECK_EQ(test_reap(test_fork(close_all_and_open, NULL)), 0);
}
