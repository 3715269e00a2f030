/* SPDX-License-Identifier: MIT */
#include "step.h"

#include <pthread.h>

struct counter {
	tine_lock lock;
	long value, turns;
};

static void count(void *arg)
{
	struct counter *counter = arg;

	for (long i = 0; i < counter->turns; i++) {
		CHECK_EQ(tine_lock_acquire(&counter->lock, TINE_FOREVER), 0);
		*(volatile long *)&counter->value += 1;
		CHECK_EQ(tine_lock_release(&counter->lock), 0);
	}
}

TEST(one_at_a_time)
{
	struct counter *counter = tine_shared_new(1, sizeof(*counter));
	pid_t pids[4];

	counter->turns = test_scaled(50000);
	for (int i = 0; i < 4; i++)
		pids[i] = test_fork(count, counter);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(counter->value, 4 * counter->turns);
	tine_shared_free(counter);
}

static void *count_in_thread(void *counter)
{
	count(counter);
	return NULL;
}

TEST(one_thread_at_a_time)
{
	struct counter *counter = tine_shared_new(1, sizeof(*counter));
	pthread_t threads[4];

	counter->turns = test_scaled(20000);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, count_in_thread, counter), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(counter->value, 4 * counter->turns);
	tine_shared_free(counter);
}

static void hold(void *lock)
{
	CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), 0);
	pause();
}

static void wait_until_held(tine_lock *lock)
{
	while (tine_lock_acquire(lock, TINE_NOWAIT) == 0) {
		CHECK_EQ(tine_lock_release(lock), 0);
		test_sleep_us(100);
	}
}

TEST(deadlines_and_errors)
{
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));
	pid_t pid;
	int64_t begun;

	CHECK_EQ(tine_lock_release(lock), -EPERM);
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), -EDEADLK);
	CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), -EDEADLK);
	CHECK_EQ(tine_lock_acquire(lock, tine_after(1)), -EDEADLK);
	CHECK_EQ(tine_lock_release(lock), 0);

	pid = test_fork(hold, lock);
	wait_until_held(lock);
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), -ETIMEDOUT);
	begun = tine_now();
	CHECK_EQ(tine_lock_acquire(lock, tine_after(20)), -ETIMEDOUT);
	CHECK(tine_now() - begun >= 20000000);
	CHECK_EQ(tine_lock_release(lock), -EPERM);
	test_kill(pid);
	CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), -EOWNERDEAD);
	CHECK_EQ(tine_lock_release(lock), 0);
	CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), 0);
	CHECK_EQ(tine_lock_release(lock), 0);
	tine_shared_free(lock);
}

static void take_over(void *lock)
{
	CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), -EOWNERDEAD);
	CHECK_EQ(tine_lock_release(lock), 0);
}

TEST(who_sleeps_is_handed_a_dead_owners_lock)
{
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));
	pid_t owner = test_fork(hold, lock), heir;

	wait_until_held(lock);
	heir = test_fork(take_over, lock);
	test_sleep_us(20000);
	kill(owner, SIGKILL);
	CHECK_EQ(test_reap(heir), 0);
	CHECK_EQ(test_reap(owner), -SIGKILL);
	tine_shared_free(lock);
}

static void acquire_and_release(void *lock)
{
	int err = tine_lock_acquire(lock, TINE_FOREVER);

	CHECK(err == 0 || err == -EOWNERDEAD);
	CHECK_EQ(tine_lock_release(lock), 0);
}

static void comes_free(void *lock, long step)
{
	int err = tine_lock_acquire(lock, tine_after(5000));

	if (err != 0 && err != -EOWNERDEAD)
		test_fail(__FILE__, __LINE__, "step %ld: %s", step, tine_strerror(err));
	CHECK_EQ(tine_lock_release(lock), 0);
}

TEST(killed_at_every_step_it_comes_free)
{
	const struct steps steps = { NULL, acquire_and_release, comes_free };
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));

	CHECK(test_kill_each_step(&steps, lock) > 50);
	tine_shared_free(lock);
}

static void first_use(void *lock, long step)
{
	comes_free(lock, step);
	memset(lock, 0, sizeof(tine_lock));
}

TEST(killed_at_every_step_of_the_first_use)
{
	const struct steps steps = { NULL, acquire_and_release, first_use };
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));

	test_kill_each_step(&steps, lock);
	tine_shared_free(lock);
}

/* What makes it safe to initialise a lock while another process may be doing the same. */
TEST(what_is_set_at_first_use_never_changes)
{
	tine_lock *lock = tine_shared_new(1, sizeof(*lock)), fresh;

	/* Initialised, and never locked. */
	CHECK_EQ(tine_lock_release(lock), -EPERM);
	fresh = *lock;
	for (int round = 0; round < 3; round++) {
		CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), 0);
		for (size_t i = 0; i < 8; i++)
			CHECK((lock->priv[i] & fresh.priv[i]) == fresh.priv[i]);
		CHECK_EQ(tine_lock_release(lock), 0);
		for (size_t i = 0; i < 8; i++)
			CHECK((lock->priv[i] & fresh.priv[i]) == fresh.priv[i]);
	}
	tine_shared_free(lock);
}

TEST(many_first_uses_at_once)
{
	struct counter *counter = tine_shared_new(1, sizeof(*counter));

	counter->turns = 20;
	for (int round = 0; round < test_scaled(50); round++) {
		pid_t pids[4];

		memset(&counter->lock, 0, sizeof(counter->lock));
		counter->value = 0;
		for (int i = 0; i < 4; i++)
			pids[i] = test_fork(count, counter);
		for (int i = 0; i < 4; i++)
			CHECK_EQ(test_reap(pids[i]), 0);
		CHECK_EQ(counter->value, 80);
	}
	tine_shared_free(counter);
}

/* ---- recursive ------------------------------------------------------------------- */

static const tine_lock_opts recursive = { .recursive = true };

static void try_in_vain(void *lock)
{
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_lock_release(lock), -EPERM);
}

TEST(recursive_is_released_as_many_times)
{
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));

	CHECK_EQ(tine_lock_init(lock, &recursive), 0);
	CHECK_EQ(tine_lock_init(lock, &recursive), 0);
	CHECK_EQ(tine_lock_release(lock), -EPERM);
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), 0);
	CHECK_EQ(tine_lock_acquire(lock, tine_after(1)), 0);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(test_reap(test_fork(try_in_vain, lock)), 0);
		CHECK_EQ(tine_lock_release(lock), 0);
	}
	CHECK_EQ(tine_lock_release(lock), -EPERM);
	CHECK_EQ(test_reap(test_fork(acquire_and_release, lock)), 0);
	tine_shared_free(lock);
}

TEST(init_takes_its_options_or_says_so)
{
	tine_lock_opts bad = { .reserved = { 0, 0, 1 } };
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));

	CHECK_EQ(tine_lock_init(lock, &bad), -EINVAL);
	CHECK_EQ(tine_lock_init(lock, NULL), 0);
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), -EDEADLK);
	CHECK_EQ(tine_lock_release(lock), 0);
	/* It is of the other type for good. */
	CHECK_EQ(tine_lock_init(lock, &recursive), -EINVAL);
	CHECK_EQ(tine_lock_init(lock, NULL), 0);
	tine_shared_free(lock);
}

static void hold_thrice(void *lock)
{
	for (int i = 0; i < 3; i++)
		CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), 0);
	pause();
}

TEST(a_killed_holder_of_many_is_followed_by_a_holder_of_one)
{
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));
	pid_t pid;

	CHECK_EQ(tine_lock_init(lock, &recursive), 0);
	pid = test_fork(hold_thrice, lock);
	wait_until_held(lock);
	test_kill(pid);
	CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), -EOWNERDEAD);
	CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), 0);
	CHECK_EQ(tine_lock_release(lock), 0);
	CHECK_EQ(tine_lock_release(lock), 0);
	CHECK_EQ(tine_lock_release(lock), -EPERM);
	CHECK_EQ(test_reap(test_fork(acquire_and_release, lock)), 0);
	tine_shared_free(lock);
}
