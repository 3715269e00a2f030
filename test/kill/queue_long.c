/* SPDX-License-Identifier: MIT */
/* Death and stops in calls of a queue whose messages have any length. */
#include "kill/queue_scene.h"

#include "memory/heap.h"

#define LONG 200

struct depot {
	tine_queue *queue;
	tine_lease lease;
	_Atomic int returned;
	size_t used;	  /* of the family's memory, without a queue */
	bool may_be_lost; /* the message that was there before, by what the call does */
};

static void put_of(tine_queue *queue, int id)
{
	char text[LONG];

	memset(text, id, sizeof(text));
	CHECK_EQ(tine_queue_put(queue, text, sizeof(text), TINE_NOWAIT), 0);
}

/* How many of each of ids 1 to 9 there are; none is torn. */
static void count_ids(struct depot *depot, long step, unsigned ids[10])
{
	char text[LONG];
	ssize_t len;

	memset(ids, 0, 10 * sizeof(*ids));
	while ((len = tine_queue_get(depot->queue, text, sizeof(text), tine_after(3))) >
	       0) {
		CHECK_EQ(len, LONG);
		for (int i = 1; i < LONG; i++)
			if (text[i] != text[0])
				test_fail(__FILE__, __LINE__, "step %ld: torn", step);
		CHECK(text[0] > 0 && text[0] < 10);
		ids[(int)text[0]]++;
	}
	CHECK_EQ(len, -ETIMEDOUT);
}

static void set_depot(struct depot *depot)
{
	tine_queue_opts opts = { .capacity = 4, .producers = 1000 };
	char text[LONG];

	atomic_store(&depot->returned, 0);
	CHECK_EQ(tine_queue_new(&depot->queue, 0, &opts), 0);
	depot->queue->spins = 0;
	/* Makes the boxes. */
	put_of(depot->queue, 9);
	CHECK_EQ(tine_queue_lease(depot->queue, text, sizeof(text), &depot->lease,
				  TINE_NOWAIT),
		 LONG);
	CHECK_EQ(tine_queue_ack(depot->queue, depot->lease), 0);
	put_of(depot->queue, 1);
}

static void after_long(void *arg, long step)
{
	struct depot *depot = arg;
	int64_t deadline = tine_after(WAIT_MS);
	unsigned ids[10];

	members_sweep();
	put_of(depot->queue, 2);
	count_ids(depot, step, ids);
	CHECK_EQ(ids[2], 1);
	CHECK(ids[5] <= 1 && ids[1] <= 1);
	if (atomic_load(&depot->returned) == 5)
		CHECK_EQ(ids[5], 1);
	if (!depot->may_be_lost)
		CHECK_EQ(ids[1], 1);
	else if (atomic_load(&depot->returned) == 1)
		CHECK_EQ(ids[1], 0);
	tine_queue_free(depot->queue);
	/* No block is lost, whoever had it. */
	while (shared_used() != depot->used) {
		if (tine_now() > deadline)
			test_fail(__FILE__, __LINE__, "step %ld: %zd bytes are lost",
				  step, (ssize_t)(shared_used() - depot->used));
		members_sweep();
	}
	set_depot(depot);
}

static void puts_long(void *arg)
{
	struct depot *depot = arg;

	put_of(depot->queue, 5);
	atomic_store(&depot->returned, 5);
}

static void commits_long(void *arg)
{
	struct depot *depot = arg;
	void *mem;

	CHECK_EQ(tine_queue_reserve(depot->queue, LONG, &mem), 0);
	memset(mem, 5, LONG);
	CHECK_EQ(tine_queue_commit(depot->queue, mem, LONG, TINE_NOWAIT), 0);
	atomic_store(&depot->returned, 5);
}

static void takes_long(void *arg)
{
	struct depot *depot = arg;
	const void *msg;

	CHECK_EQ(tine_queue_take(depot->queue, &msg, TINE_NOWAIT), LONG);
	atomic_store(&depot->returned, 1);
	CHECK_EQ(tine_queue_release(depot->queue, msg), 0);
}

static void gets_long(void *arg)
{
	struct depot *depot = arg;
	char text[LONG];

	CHECK_EQ(tine_queue_get(depot->queue, text, LONG, TINE_NOWAIT), LONG);
	atomic_store(&depot->returned, 1);
}

static void leases_long(void *arg)
{
	struct depot *depot = arg;
	char text[LONG];

	CHECK_EQ(tine_queue_lease(depot->queue, text, LONG, &depot->lease, TINE_NOWAIT),
		 LONG);
}

static void acks_long(void *arg)
{
	struct depot *depot = arg;

	CHECK_EQ(tine_queue_ack(depot->queue, depot->lease), 0);
	atomic_store(&depot->returned, 1);
}

static void sit_at_depot(void *arg)
{
	struct depot *depot = arg;

	CHECK(member_self());
	CHECK_EQ(tine_queue_get(depot->queue, NULL, 0, TINE_NOWAIT), -EMSGSIZE);
}

static void run_depot(void (*before)(void *), void (*fn)(void *), bool may_be_lost)
{
	struct depot *depot = tine_shared_new(1, sizeof(*depot));

	CHECK(depot && member_self());
	depot->may_be_lost = may_be_lost;
	/* Makes the library's own tables. */
	set_depot(depot);
	tine_queue_free(depot->queue);
	depot->used = shared_used();
	set_depot(depot);
	CHECK(test_kill_each_step(&(struct steps){ before, fn, after_long }, depot) >
	      100);
	_exit(0);
}

TEST_LIMIT(killed_at_every_step_of_a_long_put, 240)
{
	run_depot(sit_at_depot, puts_long, false);
}

TEST_LIMIT(killed_at_every_step_of_reserve_and_commit, 240)
{
	run_depot(sit_at_depot, commits_long, false);
}

TEST_LIMIT(killed_at_every_step_of_take_and_release, 240)
{
	run_depot(sit_at_depot, takes_long, true);
}

TEST_LIMIT(killed_at_every_step_of_a_long_get, 240)
{
	run_depot(sit_at_depot, gets_long, true);
}

TEST_LIMIT(killed_at_every_step_of_a_long_lease, 240)
{
	run_depot(sit_at_depot, leases_long, false);
}

TEST_LIMIT(killed_at_every_step_of_the_ack_of_a_long_lease, 240)
{
	run_depot(leases_long, acks_long, true);
}

/* ---- stopped ----------------------------------------------------------------------- */

static void call_long(struct depot *depot, int64_t wait_ms)
{
	int64_t when = wait_ms ? tine_after(wait_ms) : TINE_NOWAIT;
	char text[LONG] = { 6 };
	const void *msg;
	tine_lease lease;
	ssize_t got = tine_queue_put(depot->queue, text, LONG, when);

	CHECK(is_an_answer(got) || got == -ENOMEM);
	got = tine_queue_take(depot->queue, &msg, when);
	CHECK(is_an_answer(got) || got == -ENOMEM);
	if (got > 0)
		CHECK_EQ(tine_queue_release(depot->queue, msg), 0);
	CHECK(is_an_answer(tine_queue_get(depot->queue, text, LONG, when)));
	got = tine_queue_lease(depot->queue, text, LONG, &lease, when);
	CHECK(is_an_answer(got));
	if (got > 0)
		CHECK_EQ(tine_queue_ack(depot->queue, lease), 0);
}

static void call_long_at_once(void *depot)
{
	call_long(depot, 0);
}

static void call_long_for_a_while(void *depot)
{
	call_long(depot, 20);
}

static void beside_long(void *depot, long step)
{
	(void)step;
	test_call_beside(call_long_at_once, depot);
	test_call_beside(call_long_for_a_while, depot);
}

static void after_long_stop(void *arg, long step)
{
	struct depot *depot = arg;
	char text[LONG];

	(void)step;
	members_sweep();
	while (tine_queue_get(depot->queue, text, LONG, tine_after(3)) > 0)
		;
	CHECK_EQ(tine_queue_drained(depot->queue, tine_after(WAIT_MS)), 0);
	tine_queue_free(depot->queue);
	set_depot(depot);
}

static void takes_any_long(void *arg)
{
	struct depot *depot = arg;
	const void *msg;
	ssize_t len = tine_queue_take(depot->queue, &msg, tine_after(50));

	if (len > 0)
		CHECK_EQ(tine_queue_release(depot->queue, msg), 0);
}

static void stop_depot(void (*fn)(void *))
{
	struct depot *depot = tine_shared_new(1, sizeof(*depot));

	CHECK(depot && member_self());
	set_depot(depot);
	test_stop_some_steps(
		&(struct stops){ sit_at_depot, fn, beside_long, after_long_stop, false },
		depot, 40);
	_exit(0);
}

TEST_LIMIT(stopped_in_a_long_put, 240)
{
	stop_depot(puts_long);
}

TEST_LIMIT(stopped_in_take_and_release, 240)
{
	stop_depot(takes_any_long);
}
