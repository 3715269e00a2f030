/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <pthread.h>

static tine_rwlock *new_rwlock(void)
{
	tine_rwlock *rwlock = tine_shared_new(1, sizeof(*rwlock));

	CHECK(rwlock);
	return rwlock;
}

TEST(many_read_or_one_writes)
{
	tine_rwlock *rwlock = new_rwlock();

	CHECK_EQ(tine_rwlock_release(rwlock), -EPERM);
	CHECK_EQ(tine_rwlock_read(rwlock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_rwlock_read(rwlock, TINE_FOREVER), 0);
	CHECK_EQ(tine_rwlock_write(rwlock, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_rwlock_write(rwlock, tine_after(5)), -ETIMEDOUT);
	/* Who gave up lets the others in. */
	CHECK_EQ(tine_rwlock_read(rwlock, TINE_NOWAIT), 0);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(tine_rwlock_release(rwlock), 0);
	CHECK_EQ(tine_rwlock_release(rwlock), -EPERM);
	CHECK_EQ(tine_rwlock_write(rwlock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_rwlock_read(rwlock, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_rwlock_write(rwlock, tine_after(5)), -ETIMEDOUT);
	CHECK_EQ(tine_rwlock_release(rwlock), 0);
	CHECK_EQ(tine_rwlock_release(rwlock), -EPERM);
	tine_shared_free(rwlock);
}

/* Also where they were forked before, and read in turn. */
TEST(of_many_locks_each_has_its_own_holds)
{
	enum { LOCKS = 50 };
	tine_rwlock *locks = tine_shared_new(LOCKS, sizeof(*locks));

	for (int turn = 0; turn < 3; turn++)
		for (int i = 0; i < LOCKS; i++)
			CHECK_EQ(tine_rwlock_read(&locks[i], TINE_NOWAIT), 0);
	for (int turn = 0; turn < 3; turn++)
		for (int i = 0; i < LOCKS; i++) {
			CHECK_EQ(tine_rwlock_write(&locks[i], TINE_NOWAIT), -ETIMEDOUT);
			CHECK_EQ(tine_rwlock_release(&locks[i]), 0);
		}
	for (int i = 0; i < LOCKS; i++)
		CHECK_EQ(tine_rwlock_write(&locks[i], TINE_NOWAIT), 0);
	tine_shared_free(locks);
	test_grows_no_further();
}

/* ---- exclusion --------------------------------------------------------------------- */

struct shelf {
	tine_rwlock lock;
	_Atomic long readers, writers, most;
	long turns, left, right; /* equal, for whoever reads */
	_Atomic bool stop;
	tine_event held;
};

static void read_shelf(void *arg)
{
	struct shelf *shelf = arg;

	for (long i = 0; i < shelf->turns; i++) {
		long n;

		CHECK_EQ(tine_rwlock_read(&shelf->lock, TINE_FOREVER), 0);
		n = atomic_fetch_add(&shelf->readers, 1) + 1;
		if (n > shelf->most)
			shelf->most = n;
		CHECK_EQ(shelf->writers, 0);
		CHECK_EQ(shelf->left, shelf->right);
		atomic_fetch_sub(&shelf->readers, 1);
		CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
	}
}

static void write_shelf(void *arg)
{
	struct shelf *shelf = arg;

	for (long i = 0; i < shelf->turns / 4; i++) {
		CHECK_EQ(tine_rwlock_write(&shelf->lock, TINE_FOREVER), 0);
		CHECK_EQ(atomic_fetch_add(&shelf->writers, 1), 0);
		CHECK_EQ(shelf->readers, 0);
		shelf->left++;
		if (i % 64 == 0)
			test_sleep_us(10);
		shelf->right++;
		atomic_fetch_sub(&shelf->writers, 1);
		CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
	}
}

TEST(readers_and_writers_exclude_each_other)
{
	struct shelf *shelf = tine_shared_new(1, sizeof(*shelf));
	pid_t pids[6];

	shelf->turns = test_scaled(4000);
	for (int i = 0; i < 6; i++)
		pids[i] = test_fork(i % 3 ? read_shelf : write_shelf, shelf);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(shelf->left, 2 * (shelf->turns / 4));
	tine_shared_free(shelf);
}

static void *read_in_thread(void *arg)
{
	read_shelf(arg);
	return NULL;
}

static void *write_in_thread(void *arg)
{
	write_shelf(arg);
	return NULL;
}

TEST(threads_of_one_process_too)
{
	struct shelf *shelf = tine_shared_new(1, sizeof(*shelf));
	pthread_t threads[4];

	shelf->turns = test_scaled(4000);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL,
					i % 2 ? read_in_thread : write_in_thread, shelf),
			 0);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	CHECK_EQ(shelf->left, 2 * (shelf->turns / 4));
	tine_shared_free(shelf);
}

/* ---- turns ------------------------------------------------------------------------- */

static void read_until_stopped(void *arg)
{
	struct shelf *shelf = arg;

	while (!shelf->stop) {
		CHECK_EQ(tine_rwlock_read(&shelf->lock, TINE_FOREVER), 0);
		test_sleep_us(5000);
		CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
	}
}

static void write_until_stopped(void *arg)
{
	struct shelf *shelf = arg;

	while (!shelf->stop) {
		CHECK_EQ(tine_rwlock_write(&shelf->lock, TINE_FOREVER), 0);
		test_sleep_us(2000);
		CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
	}
}

/* There is always somebody who holds it. */
static void gets_its_turn(void (*others)(void *), int (*acquire)(tine_rwlock *, int64_t))
{
	struct shelf *shelf = tine_shared_new(1, sizeof(*shelf));
	pid_t pids[4];

	for (int i = 0; i < 4; i++)
		pids[i] = test_fork(others, shelf);
	test_sleep_us(20000);
	for (int i = 0; i < 20; i++) {
		CHECK_EQ(acquire(&shelf->lock, tine_after(test_patience(20000))), 0);
		CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
	}
	shelf->stop = true;
	for (int i = 0; i < 4; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	tine_shared_free(shelf);
}

TEST(a_writer_gets_its_turn)
{
	gets_its_turn(read_until_stopped, tine_rwlock_write);
}

TEST(a_reader_gets_its_turn)
{
	gets_its_turn(write_until_stopped, tine_rwlock_read);
}

static void *wait_to_write(void *arg)
{
	struct shelf *shelf = arg;

	CHECK_EQ(tine_rwlock_write(&shelf->lock, TINE_FOREVER), 0);
	shelf->left++;
	CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
	return NULL;
}

TEST(whoever_waits_to_write_comes_before_new_readers)
{
	struct shelf *shelf = tine_shared_new(1, sizeof(*shelf));
	pthread_t thread;

	CHECK_EQ(tine_rwlock_read(&shelf->lock, TINE_NOWAIT), 0);
	CHECK_EQ(pthread_create(&thread, NULL, wait_to_write, shelf), 0);
	while (tine_rwlock_read(&shelf->lock, TINE_NOWAIT) == 0) {
		CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
		test_sleep_us(1000);
	}
	CHECK_EQ(shelf->left, 0);
	CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
	CHECK_EQ(tine_rwlock_read(&shelf->lock, tine_after(test_patience(20000))), 0);
	CHECK_EQ(shelf->left, 1);
	CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	tine_shared_free(shelf);
}

/* ---- deaths ------------------------------------------------------------------------ */

static void read_and_stay(void *arg)
{
	struct shelf *shelf = arg;

	CHECK_EQ(tine_rwlock_read(&shelf->lock, TINE_FOREVER), 0);
	tine_event_set(&shelf->held);
	pause();
}

static void write_and_stay(void *arg)
{
	struct shelf *shelf = arg;
	int err = tine_rwlock_write(&shelf->lock, TINE_FOREVER);

	CHECK(err == 0 || err == -EOWNERDEAD);
	tine_event_set(&shelf->held);
	pause();
}

static void claim_and_stay(void *arg)
{
	struct shelf *shelf = arg;

	tine_event_set(&shelf->held);
	CHECK_EQ(tine_rwlock_write(&shelf->lock, TINE_FOREVER), 0);
}

static void read_and_release(void *arg)
{
	struct shelf *shelf = arg;

	CHECK_EQ(tine_rwlock_read(&shelf->lock, TINE_FOREVER), 0);
	CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
	tine_event_set(&shelf->held);
	pause();
}

static void read_and_exit(void *arg)
{
	struct shelf *shelf = arg;

	CHECK_EQ(tine_rwlock_read(&shelf->lock, TINE_FOREVER), 0);
	exit(0);
}

static void kill_one_that(struct shelf *shelf, void (*fn)(void *))
{
	pid_t pid;

	tine_event_clear(&shelf->held);
	pid = test_fork(fn, shelf);
	CHECK_EQ(tine_event_wait(&shelf->held, TINE_FOREVER), 0);
	if (fn == claim_and_stay)
		while (tine_rwlock_read(&shelf->lock, TINE_NOWAIT) == 0) {
			CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
			test_sleep_us(500);
		}
	test_kill(pid);
}

TEST(the_death_of_a_reader_is_told_to_one_writer)
{
	struct shelf *shelf = tine_shared_new(1, sizeof(*shelf));

	kill_one_that(shelf, read_and_stay);
	/* Readers read what a reader left. */
	CHECK_EQ(tine_rwlock_read(&shelf->lock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
	CHECK_EQ(tine_rwlock_write(&shelf->lock, TINE_NOWAIT), -EOWNERDEAD);
	CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
	CHECK_EQ(tine_rwlock_write(&shelf->lock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
	/* Of who holds nothing any more, or ended in order, nobody is told. */
	kill_one_that(shelf, read_and_release);
	CHECK_EQ(tine_rwlock_write(&shelf->lock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
	CHECK_EQ(test_reap(test_fork(read_and_exit, shelf)), 0);
	CHECK_EQ(tine_rwlock_write(&shelf->lock, tine_after(test_patience(10000))), 0);
	tine_shared_free(shelf);
}

TEST(the_death_of_a_writer_is_told_until_a_writer_was)
{
	struct shelf *shelf = tine_shared_new(1, sizeof(*shelf));

	for (int i = 0; i < 3; i++) {
		kill_one_that(shelf, write_and_stay);
		for (int n = 0; n < 2; n++) {
			CHECK_EQ(tine_rwlock_read(&shelf->lock, TINE_NOWAIT),
				 -EOWNERDEAD);
			CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
		}
		/* One that dies in turn leaves it so. */
		if (i == 1)
			kill_one_that(shelf, write_and_stay);
		CHECK_EQ(tine_rwlock_write(&shelf->lock, TINE_NOWAIT), -EOWNERDEAD);
		CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
		CHECK_EQ(tine_rwlock_read(&shelf->lock, TINE_NOWAIT), 0);
		CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
	}
	tine_shared_free(shelf);
}

TEST(whoever_dies_waiting_to_write_holds_nobody_up)
{
	struct shelf *shelf = tine_shared_new(1, sizeof(*shelf));

	CHECK_EQ(tine_rwlock_read(&shelf->lock, TINE_NOWAIT), 0);
	kill_one_that(shelf, claim_and_stay);
	CHECK_EQ(tine_rwlock_read(&shelf->lock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
	kill_one_that(shelf, claim_and_stay);
	CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
	CHECK_EQ(tine_rwlock_write(&shelf->lock, TINE_NOWAIT), 0);
	tine_shared_free(shelf);
}

static void die_reading(void *arg)
{
	struct shelf *shelf = arg;

	CHECK_EQ(tine_rwlock_read(&shelf->lock, TINE_FOREVER), 0);
	tine_event_set(&shelf->held);
	test_sleep_us(50000);
	raise(SIGKILL);
}

TEST(a_sleeping_writer_gets_it_from_a_dead_reader)
{
	struct shelf *shelf = tine_shared_new(1, sizeof(*shelf));
	pid_t pid = test_fork(die_reading, shelf);

	CHECK_EQ(tine_event_wait(&shelf->held, TINE_FOREVER), 0);
	CHECK_EQ(tine_rwlock_write(&shelf->lock, tine_after(test_patience(10000))),
		 -EOWNERDEAD);
	CHECK_EQ(test_reap(pid), -SIGKILL);
	tine_shared_free(shelf);
}

static void hold_and_fork(void *arg)
{
	struct shelf *shelf = arg;

	/* A child has none of its parent's holds. */
	CHECK_EQ(tine_rwlock_release(&shelf->lock), -EPERM);
	CHECK_EQ(tine_rwlock_write(&shelf->lock, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_rwlock_read(&shelf->lock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
	CHECK_EQ(tine_rwlock_release(&shelf->lock), -EPERM);
}

TEST(a_child_inherits_no_hold)
{
	struct shelf *shelf = tine_shared_new(1, sizeof(*shelf));

	CHECK_EQ(tine_rwlock_read(&shelf->lock, TINE_NOWAIT), 0);
	CHECK_EQ(test_reap(test_fork(hold_and_fork, shelf)), 0);
	CHECK_EQ(tine_rwlock_release(&shelf->lock), 0);
	tine_shared_free(shelf);
}
