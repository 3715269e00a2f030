/* SPDX-License-Identifier: MIT */
#include "test.h"

#include "memory/heap.h"
#include "memory/owned.h"
#include "sync/member.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>

#define SKIPPED 77
#define SAMPLE	5 /* of what is left to chance, make test does one part in so many */

static struct test *tests, **tests_end = &tests;

void test_add(struct test *test)
{
	*tests_end = test;
	tests_end = &test->next;
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	/* One write, since other processes of the test may fail too. */
	dprintf(STDOUT_FILENO, "# %s:%d: %s\n", file, line, text);
	_exit(1);
}

void test_skip(const char *why)
{
	dprintf(STDOUT_FILENO, "# skipped: %s\n", why);
	_exit(SKIPPED);
}

bool test_soak(void)
{
	return getenv("TEST_SOAK") != NULL;
}

long test_scaled(long n)
{
	const char *scale = getenv("TEST_SCALE");
	long divisor = scale ? atol(scale) : 1;

	n /= divisor > 0 ? divisor : 1;
	return n > 0 ? n : 1;
}

long test_sampled(long n)
{
	return test_scaled(test_soak() ? n : n / SAMPLE + 1);
}

long test_patience(long ms)
{
	const char *patience = getenv("TEST_PATIENCE");

	return patience && atol(patience) > 0 ? ms * atol(patience) : ms;
}

bool test_under_valgrind(void)
{
	const char *preloaded = getenv("LD_PRELOAD");

	return preloaded && strstr(preloaded, "/vgpreload_");
}

uint64_t test_seed(void)
{
	const char *given = getenv("TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)tine_now();

	dprintf(STDOUT_FILENO, "# TEST_SEED=%" PRIu64 "\n", seed);
	return seed;
}

void test_sleep_us(long us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&ts, NULL);
}

bool test_alive(pid_t pid)
{
	char path[64], text[512], *state;
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	state = strrchr(text, ')');
	return state && state[2] != 'Z' && state[2] != 'X';
}

pid_t test_fork(void (*fn)(void *), void *arg)
{
	pid_t pid = fork();

	if (pid < 0)
		test_fail(__FILE__, __LINE__, "fork: %s", strerror(errno));
	if (pid == 0) {
		fn(arg);
		_exit(0);
	}
	return pid;
}

int test_reap(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			test_fail(__FILE__, __LINE__, "waitpid: %s", strerror(errno));
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

void test_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	CHECK_EQ(test_reap(pid), -SIGKILL);
}

#define TAKEN 32

static struct stat taken[TAKEN];

void test_take_descriptors(void)
{
	CHECK_EQ(close_range(3, ~0U, 0), 0);
	for (int i = 0; i < TAKEN; i++) {
		CHECK_EQ(memfd_create("taken", MFD_CLOEXEC), 3 + i);
		CHECK_EQ(write(3 + i, "taken", 5), 5);
		CHECK_EQ(fstat(3 + i, &taken[i]), 0);
	}
}

bool test_has_taken(void)
{
	struct stat now;

	for (int i = 0; i < TAKEN; i++)
		if (fstat(3 + i, &now) != 0 || now.st_ino != taken[i].st_ino ||
		    now.st_size != 5 || now.st_blocks != taken[i].st_blocks)
			return false;
	return true;
}

/* ---- the n-th allocation fails: the linker sends the library's allocations here ---- */

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
int __real_shared_alloc(void **, size_t, int64_t);
int __real_owned_new(void **, size_t, uint64_t, int64_t);
#ifdef COVERAGE
/* A process that is killed takes its counts along; one that leaves writes them. */
void __gcov_dump(void);
_Noreturn void __wrap__exit(int);
_Noreturn void __real__exit(int);

_Noreturn void __wrap__exit(int code)
{
	__gcov_dump();
	__real__exit(code);
}
#endif

void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
int __wrap_shared_alloc(void **, size_t, int64_t);
int __wrap_owned_new(void **, size_t, uint64_t, int64_t);

static long fail_at;
static bool failed;

static bool fails(void)
{
	if (fail_at == 0 || --fail_at != 0)
		return false;
	failed = true;
	return true;
}

void test_fail_allocation(long n)
{
	fail_at = n;
	failed = false;
}

bool test_allocation_failed(void)
{
	return failed;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

int __wrap_shared_alloc(void **out, size_t size, int64_t deadline)
{
	return fails() ? -ENOMEM : __real_shared_alloc(out, size, deadline);
}

void *test_own(size_t size, uint64_t owner, int64_t deadline)
{
	void *mem;

	return owned_new(&mem, size, owner, deadline) == 0 ? mem : NULL;
}

int __wrap_owned_new(void **out, size_t size, uint64_t owner, int64_t deadline)
{
	return fails() ? -ENOMEM : __real_owned_new(out, size, owner, deadline);
}

/* ---- what a test may not leave behind ---------------------------------------------- */

static size_t used; /* of the family's memory, when the test began */

void test_grows_no_further(void)
{
	used = shared_used();
}

static int entries(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int n = 0;

	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

int test_descriptors(void)
{
	return entries("/proc/self/fd") - 1;
}

/* Shared mappings of this process, the family's memory left out. */
static int shared_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	uintptr_t from, to, heap = (uintptr_t)shared_base();
	char flags[5];
	int n = 0;

	if (!maps)
		return 0;
	while (fscanf(maps, "%" SCNxPTR "-%" SCNxPTR " %4s%*[^\n]", &from, &to, flags) ==
	       3)
		if (flags[3] == 's' &&
		    !(heap && from >= heap && from < heap + shared_span()))
			n++;
	fclose(maps);
	return n;
}

static int descriptors;

void test_opens_no_further(void)
{
	descriptors = test_descriptors();
}

static void run_in_child(const struct test *test)
{
	int mappings;

	setpgid(0, 0);
	/* Opens what the C library keeps open, and the family, before counting. */
	member_self();
	fflush(stdout);
	test_opens_no_further();
	mappings = shared_mappings();
	test_grows_no_further();

	test->fn();

	test_fail_allocation(0);
	if (waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD)
		test_fail(test->name, 0, "it left a child");
	if (test_descriptors() != descriptors)
		test_fail(test->name, 0, "it left %d descriptors",
			  test_descriptors() - descriptors);
	if (shared_mappings() != mappings)
		test_fail(test->name, 0, "it left %d shared mappings",
			  shared_mappings() - mappings);
	if (shared_used() != used)
		test_fail(test->name, 0, "it left %zd bytes of the family's memory",
			  (ssize_t)(shared_used() - used));
	fflush(NULL);
	/* By exit, so that sanitizers and valgrind get to speak. */
	exit(0);
}

/* Waits until the child ends or the limit has passed: waitpid's status, or -1. */
static int wait_limited(pid_t pid, int seconds)
{
	int64_t deadline = tine_after(seconds * INT64_C(1000));
	int status;

	for (;;) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		if (tine_now() > deadline)
			return -1;
		test_sleep_us(500);
	}
}

/* Descendants come to this process when their parents end: none may live on. */
static bool orphans_gone(pid_t group)
{
	int64_t deadline = tine_after(test_patience(10000));

	for (;;) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);

		if (pid < 0)
			return true;
		if (pid == 0 && tine_now() > deadline) {
			kill(-group, SIGKILL);
			return false;
		}
		if (pid == 0)
			test_sleep_us(500);
	}
}

/* ---- surroundings of its own ------------------------------------------------------- */

static bool own_names;		 /* /dev/shm is this program's */
static char temporary[PATH_MAX]; /* the folder for files that pass, or "" */

/*
 * What others do with names in /dev/shm does not matter then, and what is left there is
 * this program's. Who may not have a mount namespace does without: in a user namespace
 * the owners of folders would be others than they are.
 */
static void take_names(void)
{
	own_names = unshare(CLONE_NEWNS) == 0 &&
		    mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 &&
		    mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777") == 0;
}

static void take_folder(void)
{
	const char *above = getenv("TMPDIR");

	snprintf(temporary, sizeof(temporary), "%s/tine-XXXXXX",
		 above && *above ? above : "/tmp");
	if (!mkdtemp(temporary) || setenv("TMPDIR", temporary, 1) != 0)
		*temporary = '\0';
}

static int remove_it(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	(void)stat;
	(void)type;
	(void)ftw;
	remove(path);
	return 0;
}

static void leave_folder(void)
{
	if (*temporary)
		nftw(temporary, remove_it, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *run(const struct test *test, bool *skipped)
{
	const char *most = getenv("TEST_LIMIT");
	int limit = most ? atoi(most) : (int)test_patience(test->limit), status;
	int names = entries("/dev/shm"), files = entries(temporary);
	static char why[64];
	pid_t pid;
	bool gone;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return "fork failed";
	if (pid == 0)
		run_in_child(test);
	status = wait_limited(pid, limit);
	if (status == -1) {
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	gone = orphans_gone(pid);
	*skipped = status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED;
	if (status == -1)
		return "it hung";
	if (WIFSIGNALED(status)) {
		snprintf(why, sizeof(why), "signal %d", WTERMSIG(status));
		return why;
	}
	if (WEXITSTATUS(status) != 0 && !*skipped)
		return "it failed";
	if (!gone)
		return "it left a process running";
	if (own_names && entries("/dev/shm") > names)
		return "it left a name in /dev/shm";
	if (*temporary && entries(temporary) > files)
		return "it left a file in TMPDIR";
	return NULL;
}

/* By name; or all but those that are named behind a minus. */
static bool chosen(const struct test *test, char **names)
{
	bool rest = true;

	for (; *names; names++) {
		bool minus = **names == '-';

		if (strcmp(*names + minus, test->name) == 0)
			return !minus;
		rest &= minus;
	}
	return rest;
}

/*
 * To who steps through code, a memset(3) of kilobytes is thousands of steps, unless the C
 * library is told before it starts not to use the instruction for it.
 */
static void begin_again(char **argv)
{
	const char *name = "GLIBC_TUNABLES";

	if (getenv(name) || test_under_valgrind() ||
	    setenv(name, "glibc.cpu.x86_rep_stosb_threshold=100000000", 1) != 0)
		return;
	execv("/proc/self/exe", argv);
}

/*
 * A shell that runs something behind its back has it ignore SIGINT, and nohup(1) SIGHUP.
 */
static void heed_signals(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		if (number != SIGKILL && number != SIGSTOP)
			signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int main(int argc, char **argv)
{
	int n = 0, bad = 0;

	(void)argc;
	begin_again(argv);
	heed_signals();
	take_names();
	take_folder();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (const struct test *test = tests; test; test = test->next) {
		bool skipped = false;
		const char *why;

		if (!chosen(test, argv + 1))
			continue;
		skipped = test_is_of_one_machine(test->name);
		why = skipped ? NULL : run(test, &skipped);
		if (why)
			printf("# %s: %s\n", test->name, why);
		printf("%sok %d - %s%s\n", why ? "not " : "", ++n, test->name,
		       skipped ? " # SKIP" : "");
		fflush(stdout);
		bad += why != NULL;
	}
	leave_folder();
	printf("1..%d\n", n);
	return bad > 0;
}
