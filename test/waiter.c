/* SPDX-License-Identifier: MIT */
/* The descriptor for poll(2), and the events that it is armed for. */
#include "queue/words.h"
#include "step.h"

#include <poll.h>

static tine_waiter *new_waiter(void)
{
	tine_waiter *waiter;

	CHECK_EQ(tine_waiter_new(&waiter), 0);
	return waiter;
}

/* Whether it is readable now, or within so many milliseconds. */
static bool rings(const tine_waiter *waiter, int ms)
{
	struct pollfd polled = { .fd = tine_waiter_fd(waiter), .events = POLLIN };

	return poll(&polled, 1, ms) == 1 && (polled.revents & POLLIN);
}

#define COMES(waiter) CHECK(rings(waiter, (int)test_patience(10000)))

TEST(readable_once_the_event_is_set)
{
	tine_event *event = tine_shared_new(1, sizeof(*event));
	tine_waiter *waiter = new_waiter();

	CHECK(!rings(waiter, 0));
	CHECK_EQ(tine_waiter_arm_event(waiter, event), 0);
	CHECK(!rings(waiter, 20));
	tine_event_set(event);
	COMES(waiter);
	/* What is set is readable at once. */
	CHECK_EQ(tine_waiter_arm_event(waiter, event), 0);
	CHECK(rings(waiter, 0));
	tine_event_clear(event);
	CHECK_EQ(tine_waiter_arm_event(waiter, event), 0);
	CHECK(!rings(waiter, 20));
	tine_waiter_free(waiter);
	tine_shared_free(event);
}

TEST(a_set_that_is_cleared_at_once_counts)
{
	tine_event *event = tine_shared_new(1, sizeof(*event));
	tine_waiter *waiter = new_waiter();

	for (int i = 0; i < 100; i++) {
		CHECK_EQ(tine_waiter_arm_event(waiter, event), 0);
		tine_event_set(event);
		tine_event_clear(event);
		COMES(waiter);
	}
	tine_waiter_free(waiter);
	tine_shared_free(event);
}

TEST(disarmed_it_is_silent_and_the_event_may_be_freed)
{
	tine_waiter *waiter = new_waiter();

	for (int i = 0; i < 200; i++) {
		tine_event *event = tine_shared_new(1, sizeof(*event));

		CHECK_EQ(tine_waiter_arm_event(waiter, event), 0);
		if (i % 3 == 0)
			test_sleep_us(300);
		if (i % 2)
			tine_event_set(event);
		CHECK_EQ(tine_waiter_disarm(waiter), 0);
		CHECK(!rings(waiter, 0));
		tine_shared_free(event);
	}
	CHECK(!rings(waiter, 20));
	tine_waiter_free(waiter);
}

static void arm_without_its_descriptor(void *arg)
{
	tine_waiter *waiter = new_waiter();

	CHECK_EQ(tine_waiter_arm_event(waiter, arg), 0);
	test_take_descriptors();
	CHECK_EQ(tine_event_set(arg), 0);
	CHECK_EQ(tine_waiter_disarm(waiter), 0);
	CHECK_EQ(tine_waiter_arm_event(waiter, arg), -EBADF);
	CHECK(test_has_taken());
	tine_waiter_free(waiter);
	CHECK(test_has_taken());
}

TEST(a_descriptor_that_is_anothers_now_is_left_alone)
{
	tine_event *event = tine_shared_new(1, sizeof(*event));

	CHECK_EQ(test_reap(test_fork(arm_without_its_descriptor, event)), 0);
	tine_shared_free(event);
}

TEST(armed_for_another_it_forgets_the_first)
{
	tine_event *events = tine_shared_new(2, sizeof(*events));
	tine_waiter *waiter = new_waiter();

	CHECK_EQ(tine_waiter_arm_event(waiter, &events[0]), 0);
	CHECK_EQ(tine_waiter_arm_event(waiter, &events[1]), 0);
	tine_event_set(&events[0]);
	CHECK(!rings(waiter, 30));
	tine_event_set(&events[1]);
	COMES(waiter);
	tine_waiter_free(waiter);
	tine_shared_free(events);
}

/* What the others pay for is gone when nobody is armed. */
TEST(the_event_is_as_before_when_it_rang)
{
	tine_event *event = tine_shared_new(1, sizeof(*event));
	tine_waiter *waiter = new_waiter();

	CHECK_EQ(tine_waiter_arm_event(waiter, event), 0);
	test_sleep_us(20000);
	tine_event_set(event);
	COMES(waiter);
	tine_event_clear(event);
	CHECK_EQ(event->priv[0] & 3, 0);
	tine_waiter_free(waiter);
	tine_shared_free(event);
}

static void set_event(void *event)
{
	tine_event_set(event);
}

TEST(set_by_a_child_of_before_and_of_after)
{
	tine_event *events = tine_shared_new(2, sizeof(*events));
	tine_waiter *waiter = new_waiter();
	pid_t pid;

	for (int i = 0; i < 20; i++) {
		CHECK_EQ(tine_waiter_arm_event(waiter, &events[i % 2]), 0);
		pid = test_fork(set_event, &events[i % 2]);
		COMES(waiter);
		CHECK_EQ(test_reap(pid), 0);
		tine_event_clear(&events[i % 2]);
	}
	tine_waiter_free(waiter);
	tine_shared_free(events);
}

/* ---- queues ------------------------------------------------------------------------ */

static tine_queue *new_queue(size_t capacity)
{
	tine_queue *queue;

	CHECK_EQ(tine_queue_new(&queue, 1, &(tine_queue_opts){ .capacity = capacity }),
		 0);
	return queue;
}

static void put_one(void *queue)
{
	CHECK_EQ(tine_queue_put(queue, "x", 1, TINE_NOWAIT), 0);
}

static ssize_t get_one(tine_queue *queue)
{
	char got;

	return tine_queue_get(queue, &got, 1, TINE_NOWAIT);
}

TEST(readable_while_a_queue_has_messages)
{
	tine_queue *queue = new_queue(8);
	tine_waiter *waiter = new_waiter();
	pid_t pid;

	for (int i = 0; i < 20; i++) {
		CHECK_EQ(tine_waiter_arm_items(waiter, queue), 0);
		CHECK(!rings(waiter, i % 5 ? 0 : 20));
		put_one(queue);
		COMES(waiter);
		/* It is there until it is taken, and no longer. */
		CHECK_EQ(tine_waiter_arm_items(waiter, queue), 0);
		CHECK(rings(waiter, 0));
		CHECK_EQ(get_one(queue), 1);
	}
	/* The end of the stream is one too. */
	CHECK_EQ(tine_waiter_arm_items(waiter, queue), 0);
	CHECK(!rings(waiter, 20));
	CHECK_EQ(tine_queue_close(queue), 0);
	COMES(waiter);
	CHECK_EQ(get_one(queue), 0);
	CHECK_EQ(tine_waiter_arm_items(waiter, queue), 0);
	CHECK(rings(waiter, 0));
	CHECK_EQ(tine_waiter_disarm(waiter), 0);
	CHECK(!rings(waiter, 0));
	tine_queue_free(queue);
	/* Of one that dies without closing, as well. */
	queue = new_queue(8);
	CHECK_EQ(tine_waiter_arm_items(waiter, queue), 0);
	pid = test_fork(put_one, queue);
	COMES(waiter);
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(get_one(queue), 1);
	CHECK_EQ(tine_waiter_arm_items(waiter, queue), 0);
	COMES(waiter);
	CHECK_EQ(get_one(queue), 0);
	tine_waiter_free(waiter);
	tine_queue_free(queue);
}

TEST(readable_while_a_queue_has_room)
{
	tine_queue *queue = new_queue(2);
	tine_waiter *waiter = new_waiter();

	CHECK_EQ(tine_waiter_arm_room(waiter, queue), 0);
	CHECK(rings(waiter, 0));
	put_one(queue);
	put_one(queue);
	for (int i = 0; i < 20; i++) {
		CHECK_EQ(tine_waiter_arm_room(waiter, queue), 0);
		CHECK(!rings(waiter, i % 5 ? 0 : 20));
		CHECK_EQ(get_one(queue), 1);
		COMES(waiter);
		put_one(queue);
	}
	CHECK_EQ(tine_waiter_arm_room(waiter, queue), 0);
	CHECK(!rings(waiter, 20));
	CHECK_EQ(tine_queue_close(queue), 0);
	COMES(waiter);
	tine_waiter_free(waiter);
	tine_queue_free(queue);
}

static void get_in_the_end(void *queue)
{
	char got;

	CHECK_EQ(tine_queue_get(queue, &got, 1, TINE_FOREVER), 1);
}

/* A put wakes one: when that is a waiter, whose process does something else at first. */
TEST(an_armed_waiter_keeps_no_message_from_those_who_sleep)
{
	for (int i = 0; i < 10; i++) {
		tine_queue *queue = new_queue(8);
		tine_waiter *waiter = new_waiter();
		pid_t pid;

		/* Neither looks by itself within the test. */
		queue->nap = queue->sleep = INT64_C(600000000000);
		if (i % 2)
			CHECK_EQ(tine_waiter_arm_items(waiter, queue), 0);
		pid = test_fork(get_in_the_end, queue);
		test_sleep_us(20000);
		CHECK_EQ(tine_waiter_arm_items(waiter, queue), 0);
		test_sleep_us(5000);
		put_one(queue);
		CHECK_EQ(test_reap(pid), 0);
		tine_waiter_free(waiter);
		tine_queue_free(queue);
	}
}

static void arm_and_be_killed(void *queue)
{
	tine_waiter *waiter = new_waiter();

	CHECK_EQ(tine_waiter_arm_items(waiter, queue), 0);
	test_sleep_us(2000);
	raise(SIGKILL);
}

TEST(who_dies_with_a_waiter_armed_takes_no_message_along)
{
	tine_queue *queue = new_queue(8);

	for (int i = 0; i < 20; i++) {
		pid_t pid = test_fork(arm_and_be_killed, queue);

		test_sleep_us(i * 200);
		put_one(queue);
		CHECK_EQ(test_reap(pid), -SIGKILL);
		CHECK_EQ(get_one(queue), 1);
	}
	tine_queue_free(queue);
}

/* ------------------------------------------------------------------------------------ */

static void use_inherited(void *arg)
{
	tine_waiter *waiter = arg;
	tine_event event = { 0 };

	CHECK_EQ(tine_waiter_arm_event(waiter, &event), -EPERM);
	CHECK_EQ(tine_waiter_disarm(waiter), -EPERM);
	tine_waiter_free(waiter);
}

TEST(inherited_it_can_only_be_freed)
{
	tine_event *event = tine_shared_new(1, sizeof(*event));
	tine_waiter *waiter = new_waiter();
	pid_t pid;

	CHECK_EQ(tine_waiter_arm_event(waiter, event), 0);
	pid = test_fork(use_inherited, waiter);
	CHECK_EQ(test_reap(pid), 0);
	tine_event_set(event);
	COMES(waiter);
	tine_waiter_free(waiter);
	tine_shared_free(event);
}

static void wait_armed(void *event)
{
	tine_waiter *waiter = new_waiter();

	CHECK_EQ(tine_waiter_arm_event(waiter, event), 0);
	rings(waiter, -1);
}

TEST(who_dies_armed_leaves_nothing)
{
	tine_event *event = tine_shared_new(1, sizeof(*event));

	for (int i = 0; i < 20; i++) {
		pid_t pid = test_fork(wait_armed, event);

		test_sleep_us(3000);
		test_kill(pid);
	}
	tine_event_set(event);
	tine_event_clear(event);
	CHECK_EQ(event->priv[0] & 3, 0);
	tine_shared_free(event);
}

struct watched {
	tine_event event;
	tine_waiter *waiter;
};

static void nobody_set_it_is_missed(void *arg, long step)
{
	struct watched *watched = arg;

	/* The setter may have died before the set. */
	if (tine_event_is_set(&watched->event) &&
	    !rings(watched->waiter, (int)test_patience(10000)))
		test_fail(__FILE__, __LINE__, "step %ld: set, and never readable", step);
	tine_event_clear(&watched->event);
	CHECK_EQ(tine_waiter_arm_event(watched->waiter, &watched->event), 0);
}

static void beside_the_setter(void *arg, long step)
{
	struct watched *watched = arg;

	if (tine_event_is_set(&watched->event) &&
	    !rings(watched->waiter, (int)test_patience(10000)))
		test_fail(__FILE__, __LINE__, "step %ld: set, and never readable", step);
	tine_event_clear(&watched->event);
	CHECK_EQ(tine_waiter_disarm(watched->waiter), 0);
	CHECK_EQ(tine_waiter_arm_event(watched->waiter, &watched->event), 0);
	test_sleep_us(1000);
}

static void set_watched(void *arg)
{
	tine_event_set(&((struct watched *)arg)->event);
}

TEST(a_setter_killed_or_stopped_at_any_step)
{
	struct watched *watched = tine_shared_new(1, sizeof(*watched));
	const struct steps dies = { NULL, set_watched, nobody_set_it_is_missed };
	const struct stops stops = { NULL, set_watched, beside_the_setter,
				     nobody_set_it_is_missed, false };

	watched->waiter = new_waiter();
	CHECK_EQ(tine_waiter_arm_event(watched->waiter, &watched->event), 0);
	CHECK(test_kill_each_step(&dies, watched) > 10);
	CHECK(test_stop_each_step(&stops, watched) > 10);
	tine_waiter_free(watched->waiter);
	tine_shared_free(watched);
}

static void arm_and_disarm(void *event)
{
	tine_waiter *waiter = new_waiter();

	for (;;) {
		CHECK_EQ(tine_waiter_arm_event(waiter, event), 0);
		if (tine_now() & 1)
			CHECK_EQ(tine_waiter_disarm(waiter), 0);
	}
}

/* The steps of a process with a thread of its own cannot be counted. */
TEST(killed_at_random_it_leaves_nothing)
{
	tine_event *event = tine_shared_new(1, sizeof(*event));
	unsigned random = (unsigned)test_seed();

	for (long n = test_sampled(300); n > 0; n--) {
		pid_t pid = test_fork(arm_and_disarm, event);

		test_sleep_us(rand_r(&random) % 2000);
		test_kill(pid);
		/* One wake for nothing, and no more. */
		tine_event_set(event);
		tine_event_clear(event);
		CHECK_EQ(event->priv[0] & 3, 0);
	}
	tine_shared_free(event);
}

TEST(without_memory_or_descriptors)
{
	tine_waiter *waiter = (tine_waiter *)1;

	test_fail_allocation(1);
	CHECK_EQ(tine_waiter_new(&waiter), -ENOMEM);
	CHECK(test_allocation_failed());
	test_fail_allocation(0);
	CHECK(waiter == (tine_waiter *)1);
}
