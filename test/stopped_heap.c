/* SPDX-License-Identifier: MIT */
/* A process is stopped in an allocation; each call that allocates has a deadline. */
#include "memory/heap.h"
#include "memory/inside.h"
#include "sync/member.h"
#include "test.h"

#define RECORDS 64 /* of members, allocated at once: one more has to allocate */

struct needy {
	tine_queue *queue,
		*fresh; /* the test has a place at the first, not at the other */
	tine_sem *held;
	tine_rwlock *rwlock;
	tine_pool *pool;
	void *block;
	int64_t deadline;
};

static int put_long(struct needy *needy)
{
	static const char msg[10000];

	return tine_queue_put(needy->queue, msg, sizeof(msg), needy->deadline);
}

static int put_first(struct needy *needy)
{
	return tine_queue_put(needy->fresh, "x", 1, needy->deadline);
}

static int take_in_place(struct needy *needy)
{
	const void *msg;

	return (int)tine_queue_take(needy->queue, &msg, needy->deadline);
}

static int lease_first(struct needy *needy)
{
	tine_lease lease;
	char msg[8];

	return (int)tine_queue_lease(needy->queue, msg, sizeof(msg), &lease,
				     needy->deadline);
}

static int reserve_some(struct needy *needy)
{
	void *mem;

	return tine_queue_reserve(needy->queue, 10000, &mem);
}

static int join_fresh(struct needy *needy)
{
	return tine_queue_join(needy->fresh);
}

static int make_queue(struct needy *needy)
{
	tine_queue *queue;

	(void)needy;
	return tine_queue_new(&queue, 8, NULL);
}

static int make_pool(struct needy *needy)
{
	tine_pool *pool;

	(void)needy;
	return tine_pool_new(&pool, NULL);
}

static int wait_for_held(struct needy *needy)
{
	return tine_sem_wait(needy->held, needy->deadline);
}

static int read_under_lock(struct needy *needy)
{
	return tine_rwlock_read(needy->rwlock, needy->deadline);
}

static int write_under_lock(struct needy *needy)
{
	return tine_rwlock_write(needy->rwlock, needy->deadline);
}

static int keep_block(struct needy *needy)
{
	return tine_shared_keep(needy->block);
}

static int add_one(const void *in, void *out)
{
	*(int *)out = *(const int *)in + 1;
	return 0;
}

static const tine_task adding = TINE_TASK(add_one, int, int);

static int submit_first(struct needy *needy)
{
	int in = 1;

	return tine_pool_submit(needy->pool, &adding, &in, 0, needy->deadline);
}

static int map_own_memory(struct needy *needy)
{
	int in[2] = { 1, 2 }, out[2], status[2] = { 9, 9 }, err;
	tine_map_opts opts = { .status = status };

	err = tine_pool_map(needy->pool, &adding, in, out, 2, &opts, needy->deadline);
	CHECK(status[0] == -ECANCELED && status[1] == -ECANCELED);
	return err;
}

static const struct {
	const char *name;
	int (*fn)(struct needy *);
	bool first; /* also of a process that is no member yet */
	bool own;   /* by the test itself */
	bool waits; /* it has no deadline, and waits for a second */
} needing[] = {
	{ "put", put_long, true, true, false },
	{ "put at a new queue", put_first, true, true, false },
	{ "take", take_in_place, true, true, false },
	{ "lease", lease_first, true, true, false },
	{ "reserve", reserve_some, true, true, true },
	{ "join", join_fresh, true, true, true },
	{ "new queue", make_queue, false, true, true },
	{ "new pool", make_pool, false, true, true },
	{ "wait", wait_for_held, true, false, false },
	{ "read", read_under_lock, true, false, false },
	{ "write", write_under_lock, true, false, false },
	{ "keep", keep_block, true, true, true },
	{ "submit", submit_first, false, true, false },
	{ "map", map_own_memory, false, true, false },
};

#define NEEDING (sizeof(needing) / sizeof(*needing))

static void need(struct needy *needy, size_t i)
{
	for (int soon = needing[i].waits; soon < 2; soon++) {
		int err;

		needy->deadline = soon ? tine_after(50) : TINE_NOWAIT;
		err = needing[i].fn(needy);
		if (err != -ETIMEDOUT)
			test_fail(__FILE__, __LINE__, "%s: %s", needing[i].name,
				  tine_strerror(err));
	}
}

static void need_first(void *needy)
{
	for (size_t i = 0; i < NEEDING; i++)
		if (needing[i].first)
			need(needy, i);
}

static void be_member_and_stay(void *ready)
{
	CHECK(member_self() != NULL);
	CHECK_EQ(tine_sem_post(ready, 1), 0);
	for (;;)
		pause();
}

static void stop_in_the_heap(void *arg)
{
	(void)arg;
	CHECK(heap_lock(heap_known(), TINE_FOREVER));
	raise(SIGSTOP);
}

static void begin_needy(struct needy *needy)
{
	static const tine_sem_opts held = { .held = true };
	static const tine_pool_opts one = { .workers = 1 };

	needy->held = tine_shared_new(1, sizeof(tine_sem));
	needy->rwlock = tine_shared_new(1, sizeof(tine_rwlock));
	needy->block = tine_shared_new(1, 100);
	CHECK(needy->held && needy->rwlock && needy->block);
	CHECK_EQ(tine_sem_init(needy->held, &held), 0);
	CHECK_EQ(tine_queue_new(&needy->queue, 0, NULL), 0);
	CHECK_EQ(tine_queue_new(&needy->fresh, 8, NULL), 0);
	CHECK_EQ(tine_queue_put(needy->queue, "x", 1, TINE_NOWAIT), 0);
	CHECK_EQ(tine_pool_new(&needy->pool, &one), 0);
}

/* What could not be done can be done, and nothing was. */
static void end_needy(struct needy *needy)
{
	char msg[8];

	CHECK_EQ(shared_check(), 0);
	CHECK_EQ(tine_queue_len(needy->queue), 1);
	CHECK_EQ(tine_queue_get(needy->queue, msg, sizeof(msg), TINE_NOWAIT), 1);
	CHECK_EQ(tine_queue_len(needy->fresh), 0);
	CHECK_EQ(put_first(needy), 0);
	CHECK_EQ(tine_shared_drop(needy->block), -EPERM);
	tine_pool_free(needy->pool);
	tine_queue_free(needy->fresh);
	tine_queue_free(needy->queue);
	tine_shared_free(needy->held);
	tine_shared_free(needy->rwlock);
	tine_shared_free(needy->block);
}

TEST_LIMIT(calls_that_allocate_keep_their_deadlines, 300)
{
	tine_sem *ready = tine_shared_new(1, sizeof(*ready));
	pid_t members[RECORDS - 1], stopped;
	struct needy needy;
	int how;

	begin_needy(&needy);
	for (int i = 0; i < RECORDS - 1; i++)
		members[i] = test_fork(be_member_and_stay, ready);
	for (int i = 0; i < RECORDS - 1; i++)
		CHECK_EQ(tine_sem_wait(ready, TINE_FOREVER), 0);
	stopped = test_fork(stop_in_the_heap, NULL);
	CHECK(waitpid(stopped, &how, WUNTRACED) == stopped && WIFSTOPPED(how));

	for (size_t i = 0; i < NEEDING; i++)
		if (needing[i].own)
			need(&needy, i);
	CHECK_EQ(test_reap(test_fork(need_first, &needy)), 0);

	test_kill(stopped);
	for (int i = 0; i < RECORDS - 1; i++)
		test_kill(members[i]);
	end_needy(&needy);
	tine_shared_free(ready);
}
