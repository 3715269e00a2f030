/* SPDX-License-Identifier: MIT */
/* Programs, and all that they start, end with whoever spawned them. */
#include "naps.h"
#include "process/program.h"
#include "step.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

static tine_process *spawn(const char *const *argv)
{
	tine_process *process = NULL;

	CHECK_EQ(tine_process_spawn(&process, &(tine_command){ .argv = argv }, NULL), 0);
	return process;
}

static tine_process *spawn_shell(const char *script)
{
	return spawn((const char *const[]){ "sh", "-c", script, "sh", nap, NULL });
}

/* The keeper's descriptor stays, and so it is there before a test's are counted. */
static void start_keeper_before(void)
{
	tine_process *process = spawn((const char *const[]){ "true", NULL });

	tine_process_free(process);
	test_opens_no_further();
	name_nap();
}

static tine_exit wait_for(tine_process *process)
{
	tine_exit how = { .code = -5, .signal = -5 };

	CHECK_EQ(tine_process_wait(process, &how, tine_after(20000)), 0);
	return how;
}

/* What a script prints, with these variables and this folder. */
static char *output_of(const char *script, const char *const *env, const char *folder)
{
	static char text[4096];
	const char *argv[] = { "sh", "-c", script, NULL };
	tine_process *process;
	int ends[2];
	ssize_t len, all = 0;

	CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
	CHECK_EQ(tine_process_spawn(&process,
				    &(tine_command){ .argv = argv,
						     .env = env,
						     .folder = folder,
						     .fds = (int[]){ -1, ends[1], 2 } },
				    NULL),
		 0);
	close(ends[1]);
	while ((len = read(ends[0], text + all, sizeof(text) - 1 - (size_t)all)) > 0)
		all += len;
	text[all] = '\0';
	close(ends[0]);
	CHECK_EQ(wait_for(process).code, 0);
	tine_process_free(process);
	return text;
}

TEST(how_it_ended_is_told)
{
	tine_process *process;
	tine_usage usage;
	tine_exit how;

	start_keeper_before();
	process = spawn_shell("exit 7");
	how = wait_for(process);
	CHECK_EQ(how.code, 7);
	CHECK_EQ(how.signal, 0);
	CHECK_EQ(tine_process_wait(process, &how, TINE_NOWAIT), 0);
	CHECK_EQ(tine_process_kill(process, SIGTERM), -ESRCH);
	CHECK_EQ(tine_process_usage(process, &usage), 0);
	CHECK(usage.user_ns + usage.system_ns > 0);
	CHECK(usage.memory_max > 100000);
	tine_process_free(process);

	process = spawn_shell("kill -ABRT $$");
	how = wait_for(process);
	CHECK_EQ(how.code, -1);
	CHECK_EQ(how.signal, SIGABRT);
	tine_process_free(process);
}

TEST(one_that_runs)
{
	tine_process *process;
	tine_usage usage;
	struct pollfd polled;

	start_keeper_before();
	process = spawn((const char *const[]){ "sleep", nap, NULL });
	polled = (struct pollfd){ tine_process_fd(process), POLLIN, 0 };
	CHECK_EQ(tine_process_wait(process, NULL, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_process_wait(process, NULL, tine_after(20)), -ETIMEDOUT);
	CHECK_EQ(tine_process_usage(process, &usage), -EAGAIN);
	CHECK_EQ(poll(&polled, 1, 0), 0);
	await_napping(1);
	CHECK_EQ(kill(tine_process_pid(process), 0), 0);
	CHECK_EQ(getpgid(tine_process_pid(process)), tine_process_pid(process));
	CHECK_EQ(tine_process_kill(process, 9999), -EINVAL);
	CHECK_EQ(tine_process_kill(process, SIGTERM), 0);
	CHECK_EQ(poll(&polled, 1, 20000), 1);
	/* What is polled is so for a wait that does not wait. */
	CHECK_EQ(tine_process_wait(process, NULL, TINE_NOWAIT), 0);
	tine_process_free(process);
	CHECK_EQ(napping(), 0);
}

TEST(the_end_that_poll_tells_is_known_at_once)
{
	start_keeper_before();
	for (int i = 0; i < 100; i++) {
		tine_process *process = spawn((const char *const[]){ "true", NULL });
		struct pollfd polled = { tine_process_fd(process), POLLIN, 0 };
		tine_exit how = { .code = -5, .signal = -5 };

		CHECK_EQ(poll(&polled, 1, 20000), 1);
		CHECK_EQ(tine_process_wait(process, &how, TINE_NOWAIT), 0);
		CHECK_EQ(how.code, 0);
		tine_process_free(process);
	}
}

TEST(variables_folder_and_descriptors)
{
	const char *text;

	start_keeper_before();
	setenv("INHERITED", "as it was", 1);
	setenv("REPLACED", "no", 1);
	CHECK(!strcmp(output_of("echo \"$INHERITED $REPLACED $NEW\"; pwd",
				(const char *const[]){ "REPLACED=yes", "NEW=1", NULL },
				"/usr/bin/.."),
		      "as it was yes 1\n/usr\n"));
	/* Standard input is at its end; no other descriptor is there but that of ls. */
	CHECK(!strcmp(output_of("cat; ls /proc/self/fd", NULL, NULL), "0\n1\n2\n3\n"));
	/* Signals are at their defaults, and not blocked. */
	signal(SIGINT, SIG_IGN);
	text = output_of("grep -E 'Sig(Blk|Ign)' /proc/self/status", NULL, NULL);
	if (strcmp(text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"))
		test_fail(__FILE__, __LINE__, "%s", text);
}

TEST(what_cannot_be_spawned)
{
	const char *missing[] = { "no-such-program-anywhere", NULL }, *none[] = { NULL };
	const char *folder[] = { "/usr", NULL }, *empty[] = { "", NULL };
	const char *good[] = { "true", NULL }, *bad_env[] = { "NOTHING", NULL };
	int closed[3] = { -1, 999, 2 };
	tine_process *process = (void *)1;
	const struct {
		tine_command command;
		int err;
	} cases[] = {
		{ { .argv = missing }, -ENOENT },
		{ { .argv = folder }, -EACCES },
		{ { .argv = none }, -EINVAL },
		{ { .argv = empty }, -EINVAL },
		{ { .argv = NULL }, -EINVAL },
		{ { .argv = good, .env = bad_env }, -EINVAL },
		{ { .argv = good, .folder = "/no/such/folder" }, -ENOENT },
		{ { .argv = good, .folder = "/etc/passwd" }, -ENOTDIR },
		{ { .argv = good, .fds = closed }, -EBADF },
		{ { .argv = good, .reserved = { 1 } }, -EINVAL },
	};

	start_keeper_before();
	/* A folder that may not be looked into would be another error. */
	setenv("PATH", "/usr/bin:/bin", 1);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		CHECK_EQ(tine_process_spawn(&process, &cases[i].command, NULL),
			 cases[i].err);
	CHECK(process == (void *)1);
	CHECK_EQ(tine_process_spawn(NULL, &cases[0].command, NULL), -EINVAL);
	CHECK_EQ(tine_process_spawn(&process, NULL, NULL), -EINVAL);
	CHECK_EQ(tine_process_spawn(&process, &(tine_command){ .argv = good },
				    &(tine_process_opts){ .name = "x" }),
		 -EINVAL);
}

TEST(arguments_may_be_long)
{
	size_t len = 100000;
	char *word = malloc(len + 1);
	const char *argv[] = { "sh", "-c", "test ${#1} = 100000", "sh", word, NULL };
	tine_process *process;

	start_keeper_before();
	memset(word, 'x', len);
	word[len] = '\0';
	process = spawn(argv);
	CHECK_EQ(wait_for(process).code, 0);
	tine_process_free(process);
	free(word);
}

/*
 * Six processes, in groups and sessions of their own, one that ignores and one stopped.
 */
static const char *const litter =
	"(setsid nohup sh -c \"sleep $1 & sleep $1 & wait\" sh $1 >/dev/null 2>&1 &);"
	"(trap '' TERM HUP INT; exec sleep $1) & (sh -c \"kill -STOP \\$\\$; sleep $1\" "
	"&)\n";

static tine_process *spawn_litter(const char *then, int others)
{
	char script[1024];
	tine_process *process;

	snprintf(script, sizeof(script), "%s%s", litter, then);
	process = spawn_shell(script);
	await_napping(5 + others);
	return process;
}

TEST(free_ends_all_that_it_started)
{
	tine_process *process;

	start_keeper_before();
	process = spawn_litter("exec sleep $1", 1);
	tine_process_free(process);
	CHECK_EQ(napping(), 0);
}

TEST(free_ends_what_is_left_when_it_has_ended)
{
	tine_process *process;

	start_keeper_before();
	process = spawn_litter("exit 3", 0);
	CHECK_EQ(wait_for(process).code, 3);
	await_napping(5);
	tine_process_free(process);
	CHECK_EQ(napping(), 0);
}

/* Without the variable it is the last that can have started it whose free ends it. */
TEST(a_stray_without_variables)
{
	tine_process *first, *second;

	start_keeper_before();
	first = spawn_shell("env -i setsid sh -c \"sleep $1 & sleep $1 &\"; exit 0");
	wait_for(first);
	await_napping(2);
	/* The kernel tells when they began to a hundredth of a second. */
	test_sleep_us(50000);
	second = spawn((const char *const[]){ "sleep", nap, NULL });
	await_napping(3);
	tine_process_free(first);
	await_napping(1);
	tine_process_free(second);
	CHECK_EQ(napping(), 0);
}

TEST(others_are_left_alone)
{
	tine_process *first, *second;

	start_keeper_before();
	first = spawn_litter("exit 0", 0);
	second = spawn_shell("(setsid sleep $1 &) ; exec sleep $1");
	await_napping(7);
	tine_process_free(first);
	await_napping(2);
	CHECK_EQ(tine_process_wait(second, NULL, TINE_NOWAIT), -ETIMEDOUT);
	tine_process_free(second);
	CHECK_EQ(napping(), 0);
}

TEST(a_stray_that_is_younger_than_another_program)
{
	char go[] = "/tmp/tine-spawn-XXXXXX", script[256];
	tine_process *first, *second, *third;

	start_keeper_before();
	CHECK(mkdtemp(go));
	snprintf(script, sizeof(script),
		 "while [ -e %s ]; do sleep 0.01; done; (setsid sleep $1 &); sleep $1",
		 go);
	first = spawn_shell(script);
	second = spawn((const char *const[]){ "sleep", nap, NULL });
	third = spawn((const char *const[]){ "sleep", nap, NULL });
	CHECK_EQ(rmdir(go), 0);
	/* Of the first the shell, and two that sleep. */
	await_napping(5);
	tine_process_free(second);
	await_napping(4);
	tine_process_free(first);
	await_napping(1);
	tine_process_free(third);
}

/* SIGTTIN stops who reads from it in the background. */
TEST(one_that_sits_on_a_terminal)
{
	const char *argv[] = {
		"setsid", "-c", "sh", "-mc", "sh -c 'read line' sh $1 & sleep $1",
		"sh",	  nap,	NULL
	};
	int64_t end = tine_after(20000);
	tine_process *process;
	int terminal, line;

	name_nap();
	terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0)
		test_skip("no terminals here");
	line = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
	CHECK(line >= 0);
	CHECK_EQ(tine_process_spawn(&process,
				    &(tine_command){ .argv = argv,
						     .fds = (int[]){ line, line, line } },
				    NULL),
		 0);
	while (napping_as("T") != 1)
		CHECK(tine_now() < end);
	tine_process_free(process);
	await_napping(0);
	close(line);
	close(terminal);
	test_opens_no_further();
}

/* The parent of what is spawned. */
static pid_t parent_of_program(pid_t pid)
{
	char path[64], text[512] = "", *end;
	pid_t parent = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY);
	/* It may have been reaped by now, if its keeper was killed. */
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		*text = '\0';
	if (fd >= 0)
		close(fd);
	end = strrchr(text, ')');
	return end && sscanf(end, ") %*c %d", &parent) == 1 ? parent : 0;
}

static pid_t keeper_of(tine_process *process)
{
	pid_t keeper = parent_of_program(tine_process_pid(process));

	CHECK(keeper > 0);
	return keeper;
}

enum how { KILLED, KEEPER_STOPPED, EXITS, EXECUTES };

static void owner_dies(void *arg)
{
	enum how how = *(enum how *)arg;
	tine_process *process = spawn_litter("exec sleep $1", 1);

	if (how == KEEPER_STOPPED)
		kill(keeper_of(process), SIGSTOP);
	if (how == EXITS)
		_exit(0);
	if (how == EXECUTES)
		execlp("true", "true", NULL);
	kill(getpid(), SIGKILL);
}

TEST(an_owner_takes_all_along)
{
	for (enum how how = KILLED; how <= EXECUTES; how++) {
		name_nap();
		test_reap(test_fork(owner_dies, &how));
		await_napping(0);
	}
}

static void owner_is_killed_soon(void *arg)
{
	int64_t *when = arg;

	*when = 0;
	for (;;) {
		tine_process *process = spawn_shell("(setsid sleep $1 &); exec sleep $1");

		tine_process_kill(process, SIGTERM);
		tine_process_wait(process, NULL, TINE_FOREVER);
		tine_process_free(process);
	}
}

TEST_LIMIT(owners_killed_at_any_time, 300)
{
	int64_t *when = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t seed = test_seed();

	name_nap();
	for (long i = 0; i < test_scaled(200); i++) {
		pid_t pid = test_fork(owner_is_killed_soon, when);

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		test_sleep_us((long)(seed >> 33) % 20000);
		test_kill(pid);
	}
	await_napping(0);
	munmap(when, 4096);
}

TEST(a_stopped_keeper_is_continued)
{
	tine_process *process, *other;

	start_keeper_before();
	process = spawn((const char *const[]){ "sleep", nap, NULL });
	kill(keeper_of(process), SIGSTOP);
	other = spawn((const char *const[]){ "true", NULL });
	CHECK_EQ(wait_for(other).code, 0);
	kill(keeper_of(process), SIGSTOP);
	CHECK_EQ(tine_process_kill(process, SIGTERM), 0);
	kill(keeper_of(process), SIGSTOP);
	CHECK_EQ(wait_for(process).signal, SIGTERM);
	kill(keeper_of(process), SIGSTOP);
	tine_process_free(process);
	tine_process_free(other);
	CHECK_EQ(napping(), 0);
}

TEST(a_killed_keeper)
{
	tine_process *process, *other;
	pid_t keeper;

	start_keeper_before();
	process = spawn((const char *const[]){ "sleep", nap, NULL });
	keeper = keeper_of(process);
	kill(keeper, SIGKILL);
	/* The program ends with it; how is not known. */
	CHECK_EQ(tine_process_wait(process, NULL, tine_after(20000)), -ECHILD);
	await_napping(0);
	CHECK_EQ(tine_process_kill(process, SIGTERM), -ESRCH);
	other = spawn((const char *const[]){ "true", NULL });
	CHECK_EQ(wait_for(other).code, 0);
	tine_process_free(process);
	tine_process_free(other);
	other = spawn((const char *const[]){ "sleep", nap, NULL });
	CHECK(keeper_of(other) != keeper);
	tine_process_free(other);
}

TEST(few_descriptors)
{
	struct rlimit limit = { 64, 64 };
	tine_process *kept[64];
	int n = 0, err;

	start_keeper_before();
	setrlimit(RLIMIT_NOFILE, &limit);
	for (int i = 0; i < 200; i++) {
		tine_process *process = spawn((const char *const[]){ "true", NULL });

		CHECK_EQ(wait_for(process).code, 0);
		tine_process_free(process);
	}
	do {
		const char *argv[] = { "sleep", nap, NULL };

		CHECK(n < 64);
		err = tine_process_spawn(&kept[n], &(tine_command){ .argv = argv }, NULL);
		n += err == 0;
	} while (!err);
	CHECK_EQ(err, -EMFILE);
	await_napping(n);
	while (n > 0)
		tine_process_free(kept[--n]);
	CHECK_EQ(napping(), 0);
}

TEST(whatever_becomes_of_sigchld)
{
	start_keeper_before();
	for (int ignored = 0; ignored < 2; ignored++) {
		tine_process *process;

		signal(SIGCHLD, ignored ? SIG_IGN : SIG_DFL);
		process = spawn_shell("exit 4");
		/* Nothing that a program starts is a child of its own. */
		CHECK_EQ(waitpid(-1, NULL, 0), -1);
		CHECK_EQ(wait_for(process).code, 4);
		tine_process_free(process);
	}
}

static volatile sig_atomic_t reaped;

static void reap_any(int signal)
{
	(void)signal;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		reaped++;
}

TEST(a_caller_that_reaps_whatever_ends)
{
	struct sigaction action = { .sa_handler = reap_any, .sa_flags = SA_RESTART };

	start_keeper_before();
	sigaction(SIGCHLD, &action, NULL);
	for (int i = 0; i < 20; i++) {
		tine_process *process = spawn_shell("exit 4");
		pid_t own = fork();

		if (own == 0)
			_exit(0);
		CHECK_EQ(wait_for(process).code, 4);
		tine_process_free(process);
		while (reaped <= i)
			test_sleep_us(1000);
	}
	signal(SIGCHLD, SIG_DFL);
	CHECK_EQ(reaped, 20);
}

TEST(five_hundred_processes)
{
	tine_process *process;

	start_keeper_before();
	process = spawn_shell(
		"i=0; while [ $i -lt 100 ]; do (setsid sh -c \"sleep $1 & sleep "
		"$1 & sleep $1 & sleep $1 & wait\" &); i=$((i + 1)); done; "
		"exec sleep $1");
	await_napping(501);
	tine_process_free(process);
	CHECK_EQ(napping(), 0);
}

TEST(a_child_has_none_of_it)
{
	tine_process *process;
	pid_t pid;

	start_keeper_before();
	process = spawn((const char *const[]){ "sleep", nap, NULL });
	pid = fork();
	if (pid == 0) {
		const char *argv[] = { "true", NULL };
		tine_process *own;

		CHECK_EQ(tine_process_wait(process, NULL, TINE_NOWAIT), -EPERM);
		CHECK_EQ(tine_process_kill(process, SIGKILL), -EPERM);
		CHECK_EQ(tine_process_fd(process), -EPERM);
		tine_process_free(process);
		/* It has a keeper of its own when it wants one. */
		CHECK_EQ(tine_process_spawn(&own, &(tine_command){ .argv = argv }, NULL),
			 0);
		CHECK_EQ(wait_for(own).code, 0);
		tine_process_free(own);
		_exit(0);
	}
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(tine_process_wait(process, NULL, TINE_NOWAIT), -ETIMEDOUT);
	tine_process_free(process);
}

static void *spawn_many(void *arg)
{
	for (int i = 0; i < 25; i++) {
		tine_process *process = spawn_shell("exit 9");

		CHECK_EQ(wait_for(process).code, 9);
		tine_process_free(process);
	}
	return arg;
}

TEST(threads)
{
	pthread_t threads[4];

	start_keeper_before();
	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, spawn_many, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

static void *spawn_one(void *arg)
{
	*(tine_process **)arg = spawn((const char *const[]){ "sleep", nap, NULL });
	return NULL;
}

TEST(it_outlives_the_thread_that_spawned_it)
{
	tine_process *process;
	pthread_t thread;

	name_nap();
	CHECK_EQ(pthread_create(&thread, NULL, spawn_one, &process), 0);
	pthread_join(thread, NULL);
	test_opens_no_further();
	test_sleep_us(20000);
	CHECK_EQ(tine_process_wait(process, NULL, TINE_NOWAIT), -ETIMEDOUT);
	await_napping(1);
	/* Of this one's two descriptors one was there when they were counted. */
	tine_process_free(process);
	process = spawn((const char *const[]){ "sleep", nap, NULL });
	await_napping(1);
	tine_process_free(process);
	open("/dev/null", O_RDONLY | O_CLOEXEC);
}

TEST(an_owner_that_closes_all_its_descriptors)
{
	pid_t pid = fork();

	if (pid == 0) {
		tine_process *other;
		int own;

		name_nap();
		spawn((const char *const[]){ "sleep", nap, NULL });
		for (int fd = 3; fd < 64; fd++)
			close(fd);
		/* Numbers that were the library's are the program's now. */
		own = open("/dev/null", O_RDWR);
		CHECK(own >= 3 && dup(own) > own);
		other = spawn((const char *const[]){ "true", NULL });
		CHECK_EQ(wait_for(other).code, 0);
		tine_process_free(other);
		await_napping(1);
		CHECK_EQ(fcntl(own, F_GETFD), 0);
		_exit(0);
	}
	snprintf(nap, sizeof(nap), "700.%d", pid);
	CHECK_EQ(test_reap(pid), 0);
	await_napping(0);
}

static int wait_for_the_end(void *arg)
{
	for (;;)
		pause();
	return arg != NULL;
}

/* Pairs of sockets have the numbers of all that was open. */
static void replace_descriptors(int *own, int n)
{
	for (int fd = 3; fd < 64; fd++)
		close(fd);
	for (int i = 0; i < n; i += 2)
		CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, own + i), 0);
}

static void close_and_wait(void *arg)
{
	int own[20];
	tine_process *child, *killed, *spawned;
	tine_exit how;

	(void)arg;
	name_nap();
	spawned = spawn((const char *const[]){ "sleep", nap, NULL });
	CHECK_EQ(tine_process_start(&child, wait_for_the_end, NULL, NULL), 0);
	CHECK_EQ(tine_process_start(&killed, wait_for_the_end, NULL, NULL), 0);
	replace_descriptors(own, 20);
	/* What ends with its parent ends with the line to it. */
	how = wait_for(child);
	CHECK_EQ(how.signal, SIGKILL);
	tine_process_free(child);
	tine_process_free(killed);
	CHECK(tine_process_wait(spawned, NULL, tine_after(10)) < 0);
	tine_process_free(spawned);
	await_napping(0);
	for (int i = 0; i < 20; i++) {
		char byte;

		CHECK_EQ(recv(own[i], &byte, 1, MSG_DONTWAIT), -1);
		CHECK_EQ(errno, EAGAIN);
	}
	_exit(0);
}

TEST(what_was_opened_in_place_of_the_librarys_stays_open)
{
	CHECK_EQ(test_reap(test_fork(close_and_wait, NULL)), 0);
}

TEST(nothing_runs_with_the_rights_of_before)
{
	pid_t pid;

	if (geteuid() != 0)
		test_skip("not root");
	pid = fork();
	if (pid == 0) {
		tine_process *before, *after;
		pid_t keeper;

		name_nap();
		before = spawn((const char *const[]){ "sleep", nap, NULL });
		keeper = keeper_of(before);
		CHECK_EQ(setresgid(65534, 65534, 65534), 0);
		CHECK_EQ(setresuid(65534, 65534, 65534), 0);
		after = spawn_shell("test $(id -u) = 65534");
		CHECK_EQ(wait_for(after).code, 0);
		tine_process_free(after);
		after = spawn((const char *const[]){ "sleep", nap, NULL });
		CHECK(keeper_of(after) != keeper);
		tine_process_free(after);
		_exit(0);
	}
	snprintf(nap, sizeof(nap), "700.%d", pid);
	CHECK_EQ(test_reap(pid), 0);
	await_napping(0);
}

TEST(a_large_caller)
{
	size_t size = (size_t)256 << 20;
	char *large = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	tine_process *process;
	pid_t keeper;
	char path[64];
	unsigned long pages, resident;
	FILE *statm;

#ifdef __SANITIZE_ADDRESS__
	test_skip("much of a sanitizer's memory is its own");
#endif
	CHECK(large != MAP_FAILED);
	memset(large, 1, size);
	start_keeper_before();
	process = spawn((const char *const[]){ "sleep", nap, NULL });
	keeper = keeper_of(process);
	snprintf(path, sizeof(path), "/proc/%d/statm", keeper);
	statm = fopen(path, "r");
	CHECK(statm && fscanf(statm, "%lu %lu", &pages, &resident) == 2);
	fclose(statm);
	/* It has given back what it was forked with. */
	CHECK(resident * 4096 < size / 4);
	CHECK_EQ(large[size - 1], 1);
	tine_process_free(process);
	munmap(large, size);
}

/* ---- children that close their descriptors, or execute a program ------------------- */

static int closes_all(void *arg)
{
	if (*(int *)arg) {
		execlp("sleep", "sleep", nap, NULL);
		_exit(1);
	}
	for (int fd = 0; fd < 1024; fd++)
		close(fd);
	execlp("sleep", "sleep", nap, NULL);
	_exit(1);
}

static void start_and_die(void *arg)
{
	tine_process *process;

	CHECK_EQ(tine_process_start(&process, closes_all, arg, NULL), 0);
	await_napping(1);
	kill(getpid(), SIGKILL);
}

TEST(a_child_that_executes_a_program_ends_with_its_parent)
{
	for (int executes = 0; executes < 2; executes++) {
		name_nap();
		test_reap(test_fork(start_and_die, &executes));
		await_napping(0);
	}
}

static void tie_and_die(void *arg)
{
	bool parent_stays = *(bool *)arg;
	pid_t pid = fork();

	if (pid == 0) {
		CHECK_EQ(tine_process_tie(), 0);
		execlp("sleep", "sleep", nap, NULL);
		_exit(1);
	}
	await_napping(1);
	if (parent_stays)
		CHECK_EQ(waitpid(pid, NULL, WNOHANG), 0);
	kill(getpid(), SIGKILL);
}

TEST(a_tied_child_ends_with_its_parent)
{
	bool stays = true;

	name_nap();
	test_reap(test_fork(tie_and_die, &stays));
	await_napping(0);
}

static void tie_late(void *arg)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		while (getppid() == parent)
			test_sleep_us(1000);
		tine_process_tie();
		*(bool *)arg = true;
		_exit(0);
	}
	kill(getpid(), SIGKILL);
}

TEST(a_child_tied_too_late_is_killed)
{
	bool *lives = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			   -1, 0);
	int status;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	test_reap(test_fork(tie_late, lives));
	CHECK(waitpid(-1, &status, 0) > 0);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CHECK(!*lives);
	munmap(lives, 4096);
}

struct late {
	pid_t parent;
	_Atomic bool lives;
};

static int be_tied_late(void *arg, int lifeline)
{
	struct late *late = arg;

	while (getppid() == late->parent)
		test_sleep_us(1000);
	child_tie(lifeline);
	late->lives = true;
	return 0;
}

static void start_and_leave(void *arg)
{
	struct late *late = arg;
	struct child child;

	late->parent = getpid();
	CHECK_EQ(child_start(&child, be_tied_late, late), 0);
	kill(getpid(), SIGKILL);
}

TEST(a_child_whose_parent_is_gone_before_it_is_tied)
{
	struct late *late = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	test_reap(test_fork(start_and_leave, late));
	CHECK(waitpid(-1, &status, 0) > 0);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CHECK(!late->lives);
	munmap(late, 4096);
}

/* ---- every instruction ------------------------------------------------------------- */

static void use_a_program(void *arg)
{
	tine_process *process;
	const char *argv[] = { "sleep", nap, NULL };

	(void)arg;
	if (tine_process_spawn(&process, &(tine_command){ .argv = argv }, NULL) != 0)
		return;
	tine_process_kill(process, SIGTERM);
	tine_process_wait(process, NULL, TINE_FOREVER);
	tine_process_free(process);
}

static void nothing_is_left(void *arg, long step)
{
	(void)arg;
	(void)step;
	await_napping(0);
}

TEST_LIMIT(owners_killed_at_each_instruction, 600)
{
	static const struct steps steps = { .fn = use_a_program,
					    .after = nothing_is_left };

	name_nap();
	test_kill_each_step(&steps, NULL);
}

/* ---- keepers that are stopped or killed at any time -------------------------------- */

/* The keeper's number, for the process that is at it. */
static _Atomic pid_t *hunted;

/* The number may be another's by now. */
static bool is_keeper(pid_t pid)
{
	char path[64], name[32] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	fd = open(path, O_RDONLY);
	if (fd >= 0 && read(fd, name, sizeof(name) - 1) < 0)
		*name = '\0';
	if (fd >= 0)
		close(fd);
	return !strcmp(name, "tine-keeper\n");
}

static _Noreturn void hunt(int signal)
{
	uint64_t seed = test_seed();

	for (;;) {
		pid_t pid = atomic_load(hunted);

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		test_sleep_us((long)(seed >> 33) % 3000);
		if (pid && is_keeper(pid))
			kill(pid, signal);
	}
}

/* How often the keeper died meanwhile. */
static long programs_beside_a_hunt(int signal)
{
	static const char *const argv[] = { "true", NULL };
	tine_process *last_one = NULL;
	pid_t hunter, last = 0;
	long deaths = 0;

	hunted = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	CHECK(hunted != MAP_FAILED);
	hunter = fork();
	if (hunter == 0)
		hunt(signal);
	for (long i = 0; i < 20 || (deaths == 0 && signal == SIGKILL && i < 2000); i++) {
		const char *sleeps[] = { "sleep", nap, NULL };
		tine_process *process;
		tine_exit how = { 0 };
		pid_t keeper;
		int err;

		err = tine_process_spawn(&process, &(tine_command){ .argv = sleeps },
					 NULL);
		if (err) {
			CHECK_EQ(signal, SIGKILL);
			CHECK_EQ(err, -EPIPE);
			deaths++;
			continue;
		}
		keeper = parent_of_program(tine_process_pid(process));
		if (is_keeper(keeper)) {
			deaths += last && keeper != last;
			last = keeper;
			atomic_store(hunted, keeper);
		}
		err = tine_process_kill(process, SIGTERM);
		CHECK(err == 0 || signal == SIGKILL);
		err = tine_process_wait(process, &how, tine_after(20000));
		CHECK(err == 0 || (err == -ECHILD && signal == SIGKILL));
		CHECK(err || how.signal == SIGTERM || signal == SIGKILL);
		tine_process_free(process);
	}
	test_kill(hunter);
	if (is_keeper(atomic_load(hunted)))
		kill(atomic_load(hunted), SIGCONT);
	munmap((void *)hunted, 4096);
	await_napping(0);
	/* With a keeper, as there was before; the last may be dead. */
	if (tine_process_spawn(&last_one, &(tine_command){ .argv = argv }, NULL) == 0)
		tine_process_free(last_one);
	tine_process_free(spawn(argv));
	return deaths;
}

TEST(keepers_stopped_at_any_time)
{
	start_keeper_before();
	programs_beside_a_hunt(SIGSTOP);
}

TEST(keepers_killed_at_any_time)
{
	start_keeper_before();
	CHECK(programs_beside_a_hunt(SIGKILL) > 0);
}
