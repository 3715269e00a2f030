/* SPDX-License-Identifier: MIT */
/* How often those wake that wait in vain. */
#include "test.h"

enum { SECONDS = 3, MORE = 6 };

static struct objects {
	tine_sem sem;
	tine_lock lock;
	tine_event event;
	tine_cond cond;
	tine_barrier barrier;
} * objects;
static tine_queue *empty, *full;
static tine_filelock *filelock;
static char path[] = "/tmp/tine-idle-XXXXXX";

static int64_t late(void)
{
	return tine_after(60000);
}

static void at_sem(void *arg)
{
	(void)arg;
	(void)!tine_sem_wait(&objects->sem, late());
}

static void at_lock(void *arg)
{
	(void)arg;
	(void)!tine_lock_acquire(&objects->lock, late());
}

static void at_event(void *arg)
{
	(void)arg;
	(void)!tine_event_wait(&objects->event, late());
}

static void at_cond(void *arg)
{
	tine_lock own = { 0 };

	(void)arg;
	CHECK_EQ(tine_lock_acquire(&own, TINE_NOWAIT), 0);
	for (;;)
		(void)!tine_cond_wait(&objects->cond, &own, late());
}

static void at_barrier(void *arg)
{
	(void)arg;
	(void)!tine_barrier_wait(&objects->barrier, 2, late());
}

static void at_empty_queue(void *arg)
{
	long message;

	(void)arg;
	(void)!tine_queue_get(empty, &message, sizeof(message), late());
}

static void at_full_queue(void *arg)
{
	long message = 1;

	(void)arg;
	(void)!tine_queue_put(full, &message, sizeof(message), late());
}

static void at_filelock(void *arg)
{
	(void)arg;
	CHECK_EQ(tine_filelock_open(&filelock, path), 0);
	(void)!tine_filelock_acquire(filelock, false, late());
}

static int nap_long(const void *in, void *out)
{
	(void)in;
	(void)out;
	test_sleep_us(60000000);
	return 0;
}

static const tine_task task = TINE_TASK(nap_long, long, long);

static void at_map(void *arg)
{
	tine_pool *pool;
	long in = 1, out;

	(void)arg;
	CHECK_EQ(tine_pool_new(&pool, &(tine_pool_opts){ .workers = 1 }), 0);
	(void)!tine_pool_map(pool, &task, &in, &out, 1, NULL, late());
}

/* How often it has gone to sleep, by itself. */
static long switches(pid_t pid)
{
	char name[64], line[256];
	FILE *status;
	long n = -1;

	snprintf(name, sizeof(name), "/proc/%d/status", pid);
	status = fopen(name, "re");
	CHECK(status != NULL);
	while (n < 0 && fgets(line, sizeof(line), status))
		if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) != 1)
			n = -1;
	fclose(status);
	CHECK(n >= 0);
	return n;
}

static void make_objects(void)
{
	static const tine_sem_opts held = { .held = true };
	long message = 1;
	int fd = mkstemp(path);

	CHECK(fd >= 0);
	close(fd);
	objects = tine_shared_new(1, sizeof(*objects));
	CHECK(objects);
	CHECK_EQ(tine_sem_init(&objects->sem, &held), 0);
	CHECK_EQ(tine_lock_acquire(&objects->lock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_queue_new(&empty, sizeof(message), NULL), 0);
	CHECK_EQ(tine_queue_new(&full, sizeof(message),
				&(tine_queue_opts){ .capacity = 2 }),
		 0);
	while (tine_queue_put(full, &message, sizeof(message), TINE_NOWAIT) == 0)
		;
	CHECK_EQ(tine_filelock_open(&filelock, path), 0);
	CHECK_EQ(tine_filelock_acquire(filelock, false, TINE_NOWAIT), 0);
}

/* An upper bound, which a busy machine only makes easier to keep. */
TEST(waits_wake_five_times_a_second)
{
	static const struct {
		void (*wait)(void *);
		long most; /* a second */
	} kinds[] = {
		{ at_sem, 5 },
		{ at_lock, 5 },
		{ at_event, 5 },
		{ at_cond, 5 },
		{ at_barrier, 5 },
		{ at_empty_queue, 5 },
		{ at_full_queue, 5 },
		{ at_map, 5 },
		/* Less and less often, as the wait is longer. */
		{ at_filelock, 64 },
	};
	enum { KINDS = sizeof(kinds) / sizeof(*kinds) };
	long before[KINDS];
	pid_t pids[KINDS];

	make_objects();
	for (int i = 0; i < KINDS; i++)
		pids[i] = test_fork(kinds[i].wait, NULL);
	test_sleep_us(1000000);
	for (int i = 0; i < KINDS; i++)
		before[i] = switches(pids[i]);
	test_sleep_us(SECONDS * 1000000);
	for (int i = 0; i < KINDS; i++) {
		long n = switches(pids[i]) - before[i];

		if (n > kinds[i].most * SECONDS + MORE)
			test_fail(__FILE__, __LINE__, "kind %d: %ld", i, n);
	}
	for (int i = 0; i < KINDS; i++)
		test_kill(pids[i]);
	unlink(path);
	/* Without a look at what is left: it is the dead's. */
	_exit(0);
}
