/* SPDX-License-Identifier: MIT */
/* One is stopped at any instruction of a call of a queue: what others do meanwhile. */
#include "kill/queue_scene.h"

/* Each call comes back, whatever it says: the one that is stopped may hold things up. */
static void call_all(struct scene *scene, int64_t wait_ms)
{
	struct message message = message_of(6), many[2] = { message, message };
	int64_t when = wait_ms ? tine_after(wait_ms) : TINE_NOWAIT;
	tine_queue *queue = scene->queue;
	tine_lease lease;
	ssize_t got;

	CHECK(is_an_answer(tine_queue_put(queue, &message, sizeof(message), when)));
	CHECK(is_an_answer(tine_queue_put_many(queue, many, 2, when)));
	CHECK(is_an_answer(tine_queue_get(queue, &message, sizeof(message), when)));
	CHECK(is_an_answer(tine_queue_get_many(queue, many, 2, when)));
	got = tine_queue_lease(queue, &message, sizeof(message), &lease, when);
	CHECK(is_an_answer(got));
	if (got > 0)
		CHECK_EQ(tine_queue_ack(queue, lease), 0);
	got = tine_queue_lease(queue, &message, sizeof(message), &lease, when);
	CHECK(is_an_answer(got));
	if (got > 0 && tine_queue_nack(queue, lease) != 0)
		CHECK_EQ(tine_queue_ack(queue, lease), 0);
	CHECK(is_an_answer(tine_queue_drained(queue, when)));
	tine_queue_len(queue);
}

static void call_at_once(void *scene)
{
	call_all(scene, 0);
}

static void call_for_a_while(void *scene)
{
	call_all(scene, 20);
}

static void call_close(void *arg)
{
	struct scene *scene = arg;

	CHECK(is_an_answer(tine_queue_close(scene->queue)));
}

static void beside(void *arg, long step)
{
	struct scene *scene = arg;

	scene->step = step;
	test_call_beside(call_at_once, scene);
	test_call_beside(call_for_a_while, scene);
	test_call_beside(call_close, scene);
}

/* When it has gone on to its end nothing is held up any more. */
static void look_after_stop(struct scene *scene, long step)
{
	uint64_t ids;

	scene->step = step;
	drain(scene, &ids);
	check_whole(scene);
}

static void after_stop(void *arg, long step)
{
	look_after_stop(arg, step);
	set_stage(arg);
}

static void after_stopped_recovery(void *arg, long step)
{
	look_after_stop(arg, step);
	leave_work(arg);
}

static void stop_scene(struct scene *scene, const struct stops *stops)
{
	scene->opts.producers = 1000;
	if (!scene->opts.capacity)
		scene->opts.capacity = 4;
	begin_scene(scene);
	if (stops->after == after_stop)
		set_stage(scene);
	else
		leave_work(scene);
	test_stop_some_steps(stops, scene, 20);
	_exit(0);
}

TEST_LIMIT(stopped_in_put, 240)
{
	stop_scene(
		&(struct scene){ .waiting = 1 },
		&(struct stops){ register_member, puts_one, beside, after_stop, false });
}

TEST_LIMIT(stopped_in_get, 240)
{
	stop_scene(
		&(struct scene){ .waiting = 2 },
		&(struct stops){ register_member, gets_one, beside, after_stop, false });
}

TEST_LIMIT(stopped_in_lease, 240)
{
	stop_scene(&(struct scene){ .waiting = 2 },
		   &(struct stops){ register_member, leases_one, beside, after_stop,
				    false });
}

TEST_LIMIT(stopped_in_growth, 240)
{
	stop_scene(
		&(struct scene){ .waiting = FIRST,
				 .opts = { .capacity = TINE_UNBOUNDED } },
		&(struct stops){ sit_and_join, puts_another, beside, after_stop, false });
}

TEST_LIMIT(stopped_in_a_get_that_moves_on, 240)
{
	stop_scene(&(struct scene){ .waiting = FIRST + 2,
				    .taken = FIRST,
				    .opts = { .capacity = TINE_UNBOUNDED } },
		   &(struct stops){ take_first, gets_one, beside, after_stop, false });
}

TEST_LIMIT(stopped_in_a_trim, 240)
{
	stop_scene(&(struct scene){ .waiting = FIRST + 2,
				    .taken = FIRST + 2,
				    .opts = { .capacity = TINE_UNBOUNDED } },
		   &(struct stops){ take_first, trims, beside, after_stop, false });
}

TEST_LIMIT(stopped_in_ack, 240)
{
	stop_scene(&(struct scene){ .waiting = 2 },
		   &(struct stops){ lease_before, acks, beside, after_stop, false });
}

TEST_LIMIT(stopped_in_nack, 240)
{
	stop_scene(&(struct scene){ .waiting = 2 },
		   &(struct stops){ lease_before, nacks, beside, after_stop, false });
}

TEST_LIMIT(stopped_in_close, 240)
{
	stop_scene(&(struct scene){ .waiting = 2 },
		   &(struct stops){ register_member, closes, beside, after_stop, false });
}

TEST_LIMIT(stopped_in_recovery, 240)
{
	stop_scene(&(struct scene){ .waiting = 2 },
		   &(struct stops){ sweep_first, recovers, beside, after_stopped_recovery,
				    false });
}

/*
 * A claim that somebody else was quicker with: whoever it fails for is stopped before it,
 * and finds the queue full, or empty, afterwards.
 */
static void puts_or_claims_nothing(void *arg)
{
	struct scene *scene = arg;
	struct message message = message_of(5);
	int err = tine_queue_put(scene->queue, &message, sizeof(message), TINE_NOWAIT);

	atomic_store(&scene->hand->returned, err);
	if (err)
		CHECK_EQ(desk_at(scene->queue, member_index(member_id()))->putting,
			 NO_CLAIM);
}

static void is_quicker_to_put(void *arg, long step)
{
	struct scene *scene = arg;
	struct message message = message_of(6);

	scene->step = step;
	(void)!tine_queue_put(scene->queue, &message, sizeof(message), TINE_NOWAIT);
}

static void gets_or_claims_nothing(void *arg)
{
	struct scene *scene = arg;
	struct message message;
	ssize_t got = tine_queue_get(scene->queue, &message, sizeof(message),
				     TINE_NOWAIT);

	atomic_store(&scene->hand->returned, (int)got);
	if (got < 0)
		CHECK_EQ(desk_at(scene->queue, member_index(member_id()))->getting,
			 NO_CLAIM);
}

static void is_quicker_to_get(void *arg, long step)
{
	struct scene *scene = arg;
	struct message message;

	scene->step = step;
	(void)!tine_queue_get(scene->queue, &message, sizeof(message), TINE_NOWAIT);
}

static void count_failures(void *arg, long step)
{
	struct scene *scene = arg;

	(void)step;
	scene->counted += atomic_load(&scene->hand->returned) == -ETIMEDOUT;
	set_stage(scene);
}

static void stop_before_claims(struct scene *scene, const struct stops *stops)
{
	begin_scene(scene);
	set_stage(scene);
	test_stop_each_step(stops, scene);
	/* A sample has some of them, unless it is a small part. */
	if (!getenv("TEST_SCALE"))
		CHECK(scene->counted > 0);
	_exit(0);
}

TEST_LIMIT(a_claim_to_put_that_failed_is_taken_back, 240)
{
	stop_before_claims(&(struct scene){ .opts = { .capacity = 1, .producers = 9 } },
			   &(struct stops){ sit, puts_or_claims_nothing,
					    is_quicker_to_put, count_failures, false });
}

TEST_LIMIT(a_claim_to_get_that_failed_is_taken_back, 240)
{
	stop_before_claims(&(struct scene){ .opts = { .capacity = 1, .producers = 9 },
					    .waiting = 1 },
			   &(struct stops){ sit, gets_or_claims_nothing,
					    is_quicker_to_get, count_failures, false });
}
