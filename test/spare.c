/* SPDX-License-Identifier: MIT */
/* The process that a large pool keeps in reserve. */
#include "base/proc.h"
#include "pool/pool.h"
#include "process/child.h"
#include "test.h"
#include "wait/lock.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define MIB   ((size_t)1 << 20)
#define LARGE (128 * MIB)

static struct board {
	_Atomic int inits, begun, boss;
} * board;

static char *ballast;

static void grow(void)
{
	ballast = malloc(LARGE);
	CHECK(ballast);
	memset(ballast, 1, LARGE);
}

static int counts(void *arg)
{
	(void)arg;
	atomic_fetch_add(&board->inits, 1);
	atomic_store(&board->boss, getppid());
	return 0;
}

static tine_pool *make_with(tine_pool_opts opts)
{
	tine_pool *pool = NULL;

	board = tine_shared_new(1, sizeof(*board));
	CHECK(board);
	opts.init = counts;
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	return pool;
}

static tine_pool *make(unsigned workers)
{
	return make_with((tine_pool_opts){ .workers = workers });
}

static void unmake(tine_pool *pool)
{
	tine_pool_free(pool);
	tine_shared_free(board);
	free(ballast);
	ballast = NULL;
}

/* ---- looking from outside ---------------------------------------------------------- */

/* The process's name and its parent; false: it is gone, or about to be. */
static bool look(pid_t pid, char *name, pid_t *parent)
{
	char path[64], text[512] = "", *end;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, text, sizeof(text) - 1) < 0)
		*text = '\0';
	close(fd);
	end = strrchr(text, ')');
	return end && sscanf(text, "%*d (%15[^)]", name) == 1 &&
	       sscanf(end, ") %*c %d", parent) == 1 && test_alive(pid);
}

/* The nursery's child of that name, or 0. */
static pid_t find(const char *wanted)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	pid_t found = 0;

	CHECK(dir);
	while (!found && (entry = readdir(dir))) {
		pid_t pid = atoi(entry->d_name), parent;
		char name[16];

		if (pid > 0 && look(pid, name, &parent) && parent == board->boss &&
		    strcmp(name, wanted) == 0)
			found = pid;
	}
	closedir(dir);
	return found;
}

/* It is not forked before its turn, but then for certain: another than the one before. */
static pid_t await_spare(pid_t before)
{
	int64_t deadline = tine_after(20000);
	pid_t pid;

	while (!(pid = find("tine-spare")) || pid == before) {
		CHECK(tine_now() < deadline);
		test_sleep_us(2000);
	}
	/* Asleep. */
	test_sleep_us(20000);
	return pid;
}

/* ---- jobs -------------------------------------------------------------------------- */

enum { GOES_ON, KILLED, FAULTS, LEAVES, ENDS, THREADED, GROWS, WAITS, LASTS };

static void *sleeps(void *arg)
{
	while (pause())
		;
	return arg;
}

static int does(const void *in, void *out)
{
	pthread_t thread;

	*(pid_t *)out = getpid();
	atomic_fetch_add(&board->begun, 1);
	switch (*(const int *)in) {
	case KILLED:
		raise(SIGKILL);
		break;
	case FAULTS:
		raise(SIGILL);
		break;
	case LEAVES:
		_exit(3);
	case ENDS:
		_exit(0);
	case THREADED:
		if (pthread_create(&thread, NULL, sleeps, NULL) == 0)
			raise(SIGKILL);
		break;
	case GROWS:
		if (mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0) == MAP_FAILED)
			return -errno;
		test_sleep_us(60000000);
		break;
	case WAITS:
		test_sleep_us(100000);
		break;
	case LASTS:
		test_sleep_us(250000);
		break;
	}
	return 0;
}

static const tine_task task = TINE_TASK(does, int, pid_t);

/* Who did it. */
static pid_t map_one(tine_pool *pool, int what, int expected, tine_failure *failure)
{
	tine_map_opts opts = { .failure = failure };
	pid_t pid = 0;

	CHECK_EQ(tine_pool_map(pool, &task, &what, &pid, 1, &opts, TINE_FOREVER),
		 expected);
	return pid;
}

/* ---- tests ------------------------------------------------------------------------- */

TEST(the_lock_s_first_word_is_the_kernel_s)
{
	tine_lock lock = { { 0 } };

	CHECK_EQ(*lock_word(&lock), 0);
	CHECK_EQ(tine_lock_acquire(&lock, TINE_FOREVER), 0);
	CHECK_EQ(*lock_word(&lock) & FUTEX_TID_MASK, syscall(SYS_gettid));
	CHECK_EQ(tine_lock_release(&lock), 0);
	CHECK_EQ(*lock_word(&lock), 0);
}

TEST(a_small_process_has_none)
{
	tine_pool *pool;

	/* A sanitizer makes all processes large. */
	if (own_memory(getpid()) > 32 * MIB)
		test_skip("this process is not small");
	pool = make(2);
	for (int i = 0; i < 30; i++) {
		CHECK_EQ(find("tine-spare"), 0);
		map_one(pool, GOES_ON, 0, NULL);
		test_sleep_us(10000);
	}
	unmake(pool);
}

TEST(the_spare_is_seated_next)
{
	tine_pool *pool;
	pid_t worker;

	grow();
	pool = make(1);
	worker = map_one(pool, GOES_ON, 0, NULL);
	for (long i = 0; i < test_scaled(10); i++) {
		pid_t spare = await_spare(0), next, boss;
		char name[16];

		CHECK_EQ(board->inits, i + 1);
		kill(worker, SIGKILL);
		next = map_one(pool, i % 2 ? WAITS : GOES_ON, 0, NULL);
		while (next == worker)
			next = map_one(pool, GOES_ON, 0, NULL);
		CHECK_EQ(next, spare);
		CHECK(look(next, name, &boss));
		CHECK_EQ(strcmp(name, "tine-worker"), 0);
		CHECK_EQ(boss, board->boss);
		worker = next;
	}
	unmake(pool);
}

TEST(how_a_worker_died)
{
	static const struct {
		int what;
		tine_exit how;
	} cases[] = { { KILLED, { .code = -1, .signal = SIGKILL } },
		      { FAULTS, { .code = -1, .signal = SIGILL } },
		      { LEAVES, { .code = 3, .signal = 0 } },
		      { ENDS, { .code = 0, .signal = 0 } },
		      { THREADED, { .code = -1, .signal = SIGKILL } } };
	tine_pool *pool;
	pid_t spare = 0;

	grow();
	pool = make(2);
	for (int i = 0; i < 5; i++) {
		spare = await_spare(spare);
		tine_failure failure;

		map_one(pool, cases[i].what, -TINE_ECRASH, &failure);
		CHECK_EQ(failure.how.code, cases[i].how.code);
		CHECK_EQ(failure.how.signal, cases[i].how.signal);
		CHECK_EQ(failure.deaths, 1);
		CHECK_EQ(board->begun, 1);
		atomic_store(&board->begun, 0);
	}
	unmake(pool);
}

TEST(a_spare_that_dies)
{
	tine_pool *pool;
	pid_t worker;

	grow();
	pool = make(1);
	worker = map_one(pool, GOES_ON, 0, NULL);
	for (long i = 0; i < test_scaled(12); i++) {
		pid_t spare = await_spare(0), next;
		int inits = board->inits;

		kill(spare, SIGKILL);
		if (i % 3 == 0) {
			await_spare(spare);
			continue;
		}
		/* With the worker; it may be called all the same. */
		if (i % 3 == 1)
			test_sleep_us(i * 100);
		kill(worker, SIGKILL);
		next = map_one(pool, GOES_ON, 0, NULL);
		while (next == worker)
			next = map_one(pool, GOES_ON, 0, NULL);
		CHECK(next != spare);
		CHECK_EQ(board->inits, inits + 1);
		worker = next;
	}
	unmake(pool);
}

/* Where it is missed, it is ended, and another worker takes the desk. */
TEST(a_spare_that_is_stopped)
{
	tine_pool *pool;
	pid_t worker, spare;

	grow();
	pool = make(2);
	for (int i = 0; i < 2; i++) {
		worker = map_one(pool, GOES_ON, 0, NULL);
		spare = await_spare(0);
		kill(spare, SIGSTOP);
		kill(worker, SIGKILL);
		/* The other worker, meanwhile. */
		while (find("tine-spare") == spare)
			CHECK(map_one(pool, LASTS, 0, NULL) != spare);
		CHECK(!test_alive(spare));
	}
	unmake(pool);
}

/* The next nursery is not to take that call for one of its own. */
TEST(the_nursery_dies_before_the_spare_has_heard)
{
	tine_pool *pool;
	pid_t worker, spare;
	int64_t guard;

	grow();
	pool = make(2);
	worker = map_one(pool, GOES_ON, 0, NULL);
	spare = await_spare(0);
	kill(spare, SIGSTOP);
	kill(worker, SIGKILL);
	guard = tine_after(20000);
	while (!atomic_load(&pool->ledger->called)) {
		CHECK(tine_now() < guard);
		test_sleep_us(500);
	}
	kill(pool->nursery.pid, SIGKILL);
	/* The map sees that it is dead, or the next does. */
	while (tine_pool_map(pool, &task, &(int){ LASTS }, &worker, 1, NULL,
			     TINE_FOREVER) != 0)
		;
	CHECK_EQ(atomic_load(&pool->ledger->called), 0);
	await_spare(spare);
	CHECK(map_one(pool, GOES_ON, 0, NULL) > 0);
	unmake(pool);
}

TEST(two_die_at_once)
{
	int in[2] = { KILLED, KILLED };
	pid_t out[2], spare = 0;
	tine_failure failure;
	tine_map_opts opts = { .chunk = 1, .failure = &failure };
	tine_pool *pool;

	grow();
	pool = make(2);
	for (long i = 0; i < test_scaled(5); i++) {
		spare = await_spare(spare);
		CHECK_EQ(tine_pool_map(pool, &task, in, out, 2, &opts, TINE_FOREVER),
			 -TINE_ECRASH);
		CHECK_EQ(failure.deaths, 2);
		map_one(pool, GOES_ON, 0, NULL);
	}
	unmake(pool);
}

TEST(the_nursery_dies)
{
	tine_pool *pool;
	pid_t spare, worker, boss, pid;
	int what = GOES_ON;

	grow();
	pool = make(2);
	for (int i = 0; i < 3; i++) {
		worker = map_one(pool, GOES_ON, 0, NULL);
		boss = board->boss;
		spare = await_spare(0);
		/* At rest, or called. */
		if (i == 2)
			kill(worker, SIGKILL);
		kill(boss, SIGKILL);
		/* Workers live a little longer than it, and die in a job or not. */
		while (board->boss == boss)
			(void)!tine_pool_map(pool, &task, &what, &pid, 1, NULL,
					     TINE_FOREVER);
		await_spare(spare);
		CHECK(!test_alive(spare) || i == 2);
	}
	unmake(pool);
}

/* What it was forked with is not of its making; what it takes as a worker is. */
TEST(a_spare_has_a_limit_of_its_own)
{
	tine_pool *pool;
	tine_failure failure;

	grow();
	pool = make_with((tine_pool_opts){ .workers = 1, .memory_per_worker = 16 * MIB });
	for (int i = 0; i < 2; i++) {
		pid_t spare;

		/* The last one that was called has become a worker. */
		map_one(pool, GOES_ON, 0, NULL);
		spare = await_spare(0);
		map_one(pool, KILLED, -TINE_ECRASH, &failure);
		CHECK_EQ(map_one(pool, WAITS, 0, &failure), spare);
		CHECK_EQ(map_one(pool, WAITS, 0, &failure), spare);
		await_spare(0);
		map_one(pool, GROWS, -TINE_ELIMIT, &failure);
		CHECK_EQ(failure.how.signal, SIGKILL);
	}
	unmake(pool);
}

static void waits(void *arg)
{
	(void)arg;
	make(2);
	test_sleep_us(60000000);
}

TEST(the_owner_dies)
{
	struct board *seen = tine_shared_new(1, sizeof(*seen));
	pid_t pid, spare;
	int64_t deadline;

	grow();
	board = seen;
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		waits(NULL);
	/* The nursery is its only child. */
	deadline = tine_after(20000);
	for (spare = 0; !spare; test_sleep_us(1000)) {
		DIR *dir = opendir("/proc");
		struct dirent *entry;

		CHECK(dir && tine_now() < deadline);
		while ((entry = readdir(dir))) {
			pid_t each = atoi(entry->d_name), parent;
			char name[16];

			if (each > 0 && look(each, name, &parent) && parent == pid)
				atomic_store(&board->boss, each);
		}
		closedir(dir);
		spare = find("tine-spare");
	}
	test_kill(pid);
	deadline = tine_after(5000);
	while (test_alive(spare))
		CHECK(tine_now() < deadline);
	/* What the dead had allocated is lost; do not look. */
	_exit(0);
}
