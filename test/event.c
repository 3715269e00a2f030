/* SPDX-License-Identifier: MIT */
#include "step.h"

TEST(zeroed_is_clear)
{
	tine_event *event = tine_shared_new(1, sizeof(*event));

	CHECK(!tine_event_is_set(event));
	CHECK_EQ(tine_event_wait(event, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_event_wait(event, tine_after(5)), -ETIMEDOUT);
	CHECK_EQ(tine_event_set(event), 0);
	CHECK(tine_event_is_set(event));
	CHECK_EQ(tine_event_set(event), 0);
	CHECK_EQ(tine_event_wait(event, TINE_NOWAIT), 0);
	CHECK_EQ(tine_event_clear(event), 0);
	CHECK(!tine_event_is_set(event));
	CHECK_EQ(tine_event_wait(event, TINE_NOWAIT), -ETIMEDOUT);
	tine_shared_free(event);
}

static void wait_for_it(void *event)
{
	CHECK_EQ(tine_event_wait(event, TINE_FOREVER), 0);
}

TEST(set_wakes_all)
{
	tine_event *event = tine_shared_new(1, sizeof(*event));
	pid_t pids[4];

	for (int i = 0; i < 4; i++)
		pids[i] = test_fork(wait_for_it, event);
	test_sleep_us(20000);
	tine_event_set(event);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	tine_shared_free(event);
}

TEST(a_set_that_is_cleared_at_once_wakes_all)
{
	tine_event *event = tine_shared_new(1, sizeof(*event));
	pid_t pids[4];

	for (int i = 0; i < 4; i++)
		pids[i] = test_fork(wait_for_it, event);
	test_sleep_us(50000);
	tine_event_set(event);
	tine_event_clear(event);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	tine_shared_free(event);
}

struct ping {
	tine_event there, back;
	long turns;
};

static void answer(void *arg)
{
	struct ping *ping = arg;

	for (long i = 0; i < ping->turns; i++) {
		CHECK_EQ(tine_event_wait(&ping->there, TINE_FOREVER), 0);
		tine_event_clear(&ping->there);
		tine_event_set(&ping->back);
	}
}

TEST(no_set_is_missed)
{
	struct ping *ping = tine_shared_new(1, sizeof(*ping));
	pid_t pid;

	ping->turns = test_scaled(20000);
	pid = test_fork(answer, ping);
	for (long i = 0; i < ping->turns; i++) {
		tine_event_set(&ping->there);
		CHECK_EQ(tine_event_wait(&ping->back, TINE_FOREVER), 0);
		tine_event_clear(&ping->back);
	}
	CHECK_EQ(test_reap(pid), 0);
	tine_shared_free(ping);
}

TEST(a_killed_waiter_leaves_nothing)
{
	tine_event *event = tine_shared_new(1, sizeof(*event));
	uint32_t first;

	for (int i = 0; i < 20; i++) {
		pid_t pid = test_fork(wait_for_it, event);

		test_sleep_us(2000);
		test_kill(pid);
	}
	tine_event_set(event);
	tine_event_clear(event);
	first = event->priv[0];
	CHECK_EQ(first & 3, 0);
	tine_shared_free(event);
}

static void set_and_clear(void *event)
{
	tine_event_set(event);
	tine_event_clear(event);
	tine_event_wait(event, TINE_NOWAIT);
}

static void still_works(void *event, long step)
{
	(void)step;
	tine_event_clear(event);
	CHECK_EQ(tine_event_wait(event, TINE_NOWAIT), -ETIMEDOUT);
	tine_event_set(event);
	CHECK_EQ(tine_event_wait(event, TINE_NOWAIT), 0);
	tine_event_clear(event);
}

TEST(killed_at_every_step_it_works)
{
	const struct steps steps = { NULL, set_and_clear, still_works };
	tine_event *event = tine_shared_new(1, sizeof(*event));

	CHECK(test_kill_each_step(&steps, event) > 20);
	tine_shared_free(event);
}

static void set_it(void *event)
{
	tine_event_set(event);
}

struct sleeper {
	tine_event event;
	pid_t pid;
};

static void sleeper_wakes(void *arg, long step)
{
	struct sleeper *sleeper = arg;

	(void)step;
	/* The setter may have been killed before it set: then nobody has to wake. */
	if (tine_event_is_set(&sleeper->event)) {
		CHECK_EQ(test_reap(sleeper->pid), 0);
		tine_event_clear(&sleeper->event);
		sleeper->pid = test_fork(wait_for_it, &sleeper->event);
		test_sleep_us(1000);
	}
}

TEST(a_setter_killed_at_any_step_strands_nobody)
{
	const struct steps steps = { NULL, set_it, sleeper_wakes };
	struct sleeper *sleeper = tine_shared_new(1, sizeof(*sleeper));

	sleeper->pid = test_fork(wait_for_it, &sleeper->event);
	test_sleep_us(1000);
	test_kill_each_step(&steps, sleeper);
	tine_event_set(&sleeper->event);
	CHECK_EQ(test_reap(sleeper->pid), 0);
	tine_shared_free(sleeper);
}
