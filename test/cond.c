/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <limits.h>
#include <pthread.h>

enum { ROOM = 4 };

/* A bounded buffer, as conditions are for. */
struct buffer {
	tine_lock lock;
	tine_cond items, room;
	long len, first, put, got, sum, turns;
	long item[ROOM];
};

static void wait_for(tine_cond *cond, tine_lock *lock)
{
	CHECK_EQ(tine_cond_wait(cond, lock, TINE_FOREVER), 0);
}

static void put(void *arg)
{
	struct buffer *buffer = arg;

	for (long i = 0; i < buffer->turns; i++) {
		CHECK_EQ(tine_lock_acquire(&buffer->lock, TINE_FOREVER), 0);
		while (buffer->len == ROOM)
			wait_for(&buffer->room, &buffer->lock);
		buffer->item[(buffer->first + buffer->len++) % ROOM] = ++buffer->put;
		CHECK_EQ(tine_cond_wake(&buffer->items, 1), 0);
		CHECK_EQ(tine_lock_release(&buffer->lock), 0);
	}
}

static void get(void *arg)
{
	struct buffer *buffer = arg;

	for (long i = 0; i < buffer->turns; i++) {
		CHECK_EQ(tine_lock_acquire(&buffer->lock, TINE_FOREVER), 0);
		while (buffer->len == 0)
			wait_for(&buffer->items, &buffer->lock);
		buffer->sum += buffer->item[buffer->first++ % ROOM];
		buffer->len--;
		buffer->got++;
		CHECK_EQ(tine_lock_release(&buffer->lock), 0);
		/* Without the lock, which is allowed as well. */
		CHECK_EQ(tine_cond_wake(&buffer->room, 1), 0);
	}
}

TEST(a_bounded_buffer)
{
	struct buffer *buffer = tine_shared_new(1, sizeof(*buffer));
	pid_t pids[4];

	buffer->turns = test_scaled(10000);
	for (int i = 0; i < 4; i++)
		pids[i] = test_fork(i % 2 ? put : get, buffer);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(buffer->got, 2 * buffer->turns);
	CHECK_EQ(buffer->sum, buffer->put * (buffer->put + 1) / 2);
	tine_shared_free(buffer);
}

static void *put_in_thread(void *buffer)
{
	put(buffer);
	return NULL;
}

static void *get_in_thread(void *buffer)
{
	get(buffer);
	return NULL;
}

TEST(a_bounded_buffer_of_threads)
{
	struct buffer *buffer = tine_shared_new(1, sizeof(*buffer));
	pthread_t threads[4];

	buffer->turns = test_scaled(5000);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL,
					i % 2 ? put_in_thread : get_in_thread, buffer),
			 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(buffer->got, 2 * buffer->turns);
	CHECK_EQ(buffer->sum, buffer->put * (buffer->put + 1) / 2);
	tine_shared_free(buffer);
}

struct gate {
	tine_lock lock;
	tine_cond cond;
	tine_event ready;
	bool open;
	int waiting, through;
};

static void go_through(void *arg)
{
	struct gate *gate = arg;

	CHECK_EQ(tine_lock_acquire(&gate->lock, TINE_FOREVER), 0);
	gate->waiting++;
	while (!gate->open)
		wait_for(&gate->cond, &gate->lock);
	gate->through++;
	CHECK_EQ(tine_lock_release(&gate->lock), 0);
}

static void wait_for_waiters(struct gate *gate, int n)
{
	int waiting;

	do {
		CHECK_EQ(tine_lock_acquire(&gate->lock, TINE_FOREVER), 0);
		waiting = gate->waiting;
		CHECK_EQ(tine_lock_release(&gate->lock), 0);
		test_sleep_us(200);
	} while (waiting < n);
}

TEST(wake_all)
{
	struct gate *gate = tine_shared_new(1, sizeof(*gate));
	pid_t pids[4];

	for (int i = 0; i < 4; i++)
		pids[i] = test_fork(go_through, gate);
	wait_for_waiters(gate, 4);
	CHECK_EQ(tine_lock_acquire(&gate->lock, TINE_FOREVER), 0);
	gate->open = true;
	CHECK_EQ(tine_lock_release(&gate->lock), 0);
	CHECK_EQ(tine_cond_wake(&gate->cond, UINT_MAX), 0);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(gate->through, 4);
	tine_shared_free(gate);
}

TEST(a_wake_that_is_lost_is_made_good)
{
	struct gate *gate = tine_shared_new(1, sizeof(*gate));
	pid_t pid = test_fork(go_through, gate);

	wait_for_waiters(gate, 1);
	CHECK_EQ(tine_lock_acquire(&gate->lock, TINE_FOREVER), 0);
	gate->open = true;
	CHECK_EQ(tine_lock_release(&gate->lock), 0);
	/* As when the one who would wake dies here. */
	CHECK_EQ(test_reap(pid), 0);
	tine_shared_free(gate);
}

TEST(deadlines)
{
	struct gate *gate = tine_shared_new(1, sizeof(*gate));
	int64_t begun;
	int err;

	CHECK_EQ(tine_lock_acquire(&gate->lock, TINE_FOREVER), 0);
	CHECK_EQ(tine_cond_wait(&gate->cond, &gate->lock, TINE_NOWAIT), -ETIMEDOUT);
	begun = tine_now();
	CHECK_EQ(tine_cond_wait(&gate->cond, &gate->lock, tine_after(20)), -ETIMEDOUT);
	CHECK(tine_now() - begun >= 20000000);
	/* A wake that nobody waits for is not kept. */
	CHECK_EQ(tine_cond_wake(&gate->cond, 1), 0);
	CHECK_EQ(tine_cond_wait(&gate->cond, &gate->lock, TINE_NOWAIT), -ETIMEDOUT);
	/* Longer than it sleeps at a stretch. */
	begun = tine_after(250);
	while ((err = tine_cond_wait(&gate->cond, &gate->lock, begun)) == 0)
		;
	CHECK_EQ(err, -ETIMEDOUT);
	CHECK(tine_now() >= begun);
	CHECK_EQ(tine_lock_release(&gate->lock), 0);
	tine_shared_free(gate);
}

TEST(only_with_the_lock)
{
	struct gate *gate = tine_shared_new(1, sizeof(*gate));

	CHECK_EQ(tine_cond_wait(&gate->cond, &gate->lock, TINE_FOREVER), -EPERM);
	CHECK_EQ(tine_lock_release(&gate->lock), -EPERM);
	tine_shared_free(gate);
}

static void acquire_once(void *arg)
{
	struct gate *gate = arg;

	CHECK_EQ(tine_event_wait(&gate->ready, TINE_FOREVER), 0);
	CHECK_EQ(tine_lock_acquire(&gate->lock, TINE_FOREVER), 0);
	gate->open = true;
	CHECK_EQ(tine_cond_wake(&gate->cond, 1), 0);
	CHECK_EQ(tine_lock_release(&gate->lock), 0);
}

TEST(a_recursive_lock_is_let_go_of_wholly)
{
	tine_lock_opts recursive = { .recursive = true };
	struct gate *gate = tine_shared_new(1, sizeof(*gate));
	pid_t pid = test_fork(acquire_once, gate);

	CHECK_EQ(tine_lock_init(&gate->lock, &recursive), 0);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(tine_lock_acquire(&gate->lock, TINE_FOREVER), 0);
	tine_event_set(&gate->ready);
	while (!gate->open)
		wait_for(&gate->cond, &gate->lock);
	CHECK_EQ(test_reap(pid), 0);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(tine_lock_release(&gate->lock), 0);
	CHECK_EQ(tine_lock_release(&gate->lock), -EPERM);
	tine_shared_free(gate);
}

static void die_with_the_lock(void *arg)
{
	struct gate *gate = arg;

	wait_for_waiters(gate, 1);
	CHECK_EQ(tine_lock_acquire(&gate->lock, TINE_FOREVER), 0);
	tine_cond_wake(&gate->cond, 1);
	raise(SIGKILL);
}

TEST(a_lock_from_the_dead)
{
	struct gate *gate = tine_shared_new(1, sizeof(*gate));
	pid_t pid = test_fork(die_with_the_lock, gate);
	int err;

	CHECK_EQ(tine_lock_acquire(&gate->lock, TINE_FOREVER), 0);
	gate->waiting = 1;
	while ((err = tine_cond_wait(&gate->cond, &gate->lock, TINE_FOREVER)) == 0)
		;
	CHECK_EQ(err, -EOWNERDEAD);
	CHECK_EQ(tine_lock_release(&gate->lock), 0);
	CHECK_EQ(test_reap(pid), -SIGKILL);
	tine_shared_free(gate);
}

/* The turn changes, and the system is called, only where somebody may be asleep. */
TEST(a_wake_costs_nothing_when_nobody_sleeps)
{
	struct gate *gate = tine_shared_new(1, sizeof(*gate));
	uint32_t turn;
	pid_t pid;

	tine_cond_wake(&gate->cond, 1);
	tine_cond_wake(&gate->cond, UINT_MAX);
	CHECK_EQ(gate->cond.priv[0], 0);
	for (int i = 0; i < 5; i++) {
		pid = test_fork(go_through, gate);
		wait_for_waiters(gate, i + 1);
		test_sleep_us(5000);
		test_kill(pid);
	}
	tine_cond_wake(&gate->cond, 1);
	turn = gate->cond.priv[0];
	CHECK_EQ(turn, 1);
	tine_cond_wake(&gate->cond, 1);
	tine_cond_wake(&gate->cond, UINT_MAX);
	CHECK_EQ(gate->cond.priv[0], turn);
	tine_shared_free(gate);
}

/* After a wake of as many as it was asked for, others may be asleep: the next is made. */
TEST(a_wake_of_one_leaves_the_others_to_the_next)
{
	struct gate *gate = tine_shared_new(1, sizeof(*gate));
	bool seen = false;

	/* The second time as well, unless they were up at that moment to look. */
	for (int i = 0; i < 50 && !seen; i++) {
		uint32_t turn;
		pid_t pids[3];

		gate->waiting = 0;
		for (int j = 0; j < 3; j++)
			pids[j] = test_fork(go_through, gate);
		wait_for_waiters(gate, 3);
		test_sleep_us(5000);
		/* With the lock, so that who is woken does not come again meanwhile. */
		CHECK_EQ(tine_lock_acquire(&gate->lock, TINE_FOREVER), 0);
		turn = gate->cond.priv[0];
		tine_cond_wake(&gate->cond, 1);
		tine_cond_wake(&gate->cond, 1);
		CHECK_EQ(tine_lock_release(&gate->lock), 0);
		seen = gate->cond.priv[0] == turn + 2;
		for (int j = 0; j < 3; j++)
			test_kill(pids[j]);
		/* From the dead, perhaps. */
		(void)!tine_lock_acquire(&gate->lock, TINE_FOREVER);
		CHECK_EQ(tine_lock_release(&gate->lock), 0);
	}
	CHECK(seen);
	tine_shared_free(gate);
}

/* Each wake of one lets one through at least; none is kept from the others. */
TEST(as_many_wakes_as_sleepers)
{
	struct gate *gate = tine_shared_new(1, sizeof(*gate));
	pid_t pids[6];

	for (int i = 0; i < 6; i++)
		pids[i] = test_fork(go_through, gate);
	wait_for_waiters(gate, 6);
	CHECK_EQ(tine_lock_acquire(&gate->lock, TINE_FOREVER), 0);
	gate->open = true;
	CHECK_EQ(tine_lock_release(&gate->lock), 0);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(tine_cond_wake(&gate->cond, 2), 0);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	tine_shared_free(gate);
}
