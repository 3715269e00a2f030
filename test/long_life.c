/* SPDX-License-Identifier: MIT */
/*
 * A process that lives long needs no more than a young one: 1e7 jobs, 1e4 of them deaths.
 */
#include "memory/heap.h"
#include "test.h"

enum { JOBS = 100, TURNS = 100000, DEATHS = 10, MESSAGES = 10, ROOM = 4 << 20 };

struct needs {
	int descriptors;
	size_t family, resident;
};

/* The job before the last dies in one of so many turns. */
static int halve(const void *in, void *out)
{
	long number = *(const long *)in;

	if (number < 0)
		kill(getpid(), SIGKILL);
	*(long *)out = number / 2;
	return 0;
}

static const tine_task task = TINE_TASK(halve, long, long);

static struct needs needs_now(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	struct needs needs = { .family = shared_used() };
	size_t pages;

	CHECK(file && fscanf(file, "%*u %zu", &pages) == 1);
	fclose(file);
	needs.resident = pages * (size_t)sysconf(_SC_PAGESIZE);
	needs.descriptors = test_descriptors();
	return needs;
}

static void one_turn(tine_pool *pool, tine_queue *queue, tine_lock *lock, bool dies)
{
	long in[JOBS], out[JOBS];
	int status[JOBS];
	tine_map_opts opts = { .status = status };

	for (long i = 0; i < JOBS; i++)
		in[i] = 2 * i;
	if (dies)
		in[JOBS - 2] = -1;
	CHECK(tine_pool_map(pool, &task, in, out, JOBS, &opts, TINE_FOREVER) <= 0);
	for (long i = 0; i < JOBS; i++) {
		bool died = dies && i == JOBS - 2;

		CHECK_EQ(status[i], died ? -TINE_ECRASH : 0);
		CHECK(died || out[i] == i);
	}
	for (long i = 0; i < MESSAGES; i++) {
		CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), 0);
		CHECK_EQ(tine_queue_put(queue, in, sizeof(in[0]), TINE_FOREVER), 0);
		CHECK_EQ(tine_queue_get(queue, in, sizeof(in[0]), TINE_FOREVER),
			 sizeof(in[0]));
		CHECK_EQ(tine_lock_release(lock), 0);
	}
}

TEST_LIMIT(what_it_needs_stays_the_same, 3600)
{
	const tine_pool_opts two = { .workers = 2 };
	long turns = test_scaled(test_soak() ? TURNS : TURNS / 100), deaths = 0;
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));
	tine_queue *queue;
	tine_pool *pool;
	struct needs young = { 0 }, old;

	CHECK_EQ(tine_queue_new(&queue, sizeof(long), NULL), 0);
	CHECK_EQ(tine_pool_new(&pool, &two), 0);
	for (long turn = 0; turn < turns; turn++) {
		bool dies = turn % DEATHS == DEATHS - 1;

		one_turn(pool, queue, lock, dies);
		deaths += dies;
		/* By then all tables are as large as they get. */
		if (turn == turns / 5)
			young = needs_now();
	}
	old = needs_now();
	printf("# %ld jobs, %ld deaths: %zd bytes of the family, %zd resident more\n",
	       turns * JOBS, deaths, (ssize_t)(old.family - young.family),
	       (ssize_t)(old.resident - young.resident));
	fflush(stdout);
	CHECK_EQ(old.descriptors, young.descriptors);
	CHECK_EQ(old.family, young.family);
	CHECK(old.resident < young.resident + ROOM);
	tine_pool_free(pool);
	tine_queue_free(queue);
	tine_shared_free(lock);
}
