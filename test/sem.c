/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <limits.h>
#include <pthread.h>

static const tine_sem_opts held = { .held = true };

static tine_sem *new_held(unsigned n)
{
	tine_sem *sems = tine_shared_new(n, sizeof(*sems));

	CHECK(sems);
	for (unsigned i = 0; i < n; i++)
		CHECK_EQ(tine_sem_init(&sems[i], &held), 0);
	return sems;
}

TEST(zeroed_has_no_permits)
{
	tine_sem *sem = tine_shared_new(1, sizeof(*sem));
	int64_t begun;

	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), -ETIMEDOUT);
	begun = tine_now();
	CHECK_EQ(tine_sem_wait(sem, tine_after(20)), -ETIMEDOUT);
	CHECK(tine_now() - begun >= 20000000);
	CHECK_EQ(tine_sem_post(sem, 2), 0);
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_wait(sem, TINE_FOREVER), 0);
	CHECK_EQ(tine_sem_wait(sem, tine_after(1)), -ETIMEDOUT);
	CHECK_EQ(tine_sem_post(sem, 0), 0);
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), -ETIMEDOUT);
	tine_shared_free(sem);
}

/* How many can be taken; they are given back. */
static unsigned count(tine_sem *sem)
{
	unsigned n = 0;

	while (tine_sem_wait(sem, TINE_NOWAIT) == 0)
		n++;
	CHECK_EQ(tine_sem_post(sem, n), 0);
	return n;
}

TEST(what_is_held_is_given_back_first)
{
	tine_sem *sem = new_held(1);

	CHECK_EQ(tine_sem_post(sem, 3), 0);
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), 0);
	/* Two it held, and two new ones. */
	CHECK_EQ(tine_sem_post(sem, 4), 0);
	CHECK_EQ(count(sem), 5);
	CHECK_EQ(count(sem), 5);
	tine_shared_free(sem);
}

TEST(there_are_never_more_than_int_max)
{
	tine_sem *sem = new_held(1);

	CHECK_EQ(tine_sem_post(sem, 1), 0);
	CHECK_EQ(tine_sem_post(sem, INT_MAX), -EOVERFLOW);
	CHECK_EQ(tine_sem_post(sem, UINT_MAX), -EOVERFLOW);
	CHECK_EQ(count(sem), 1);
	CHECK_EQ(tine_sem_post(sem, INT_MAX - 1), 0);
	CHECK_EQ(tine_sem_post(sem, 1), -EOVERFLOW);
	/* One that is given out is among them, and may come back. */
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_post(sem, 2), -EOVERFLOW);
	CHECK_EQ(tine_sem_post(sem, 1), 0);
	CHECK_EQ(tine_sem_post(sem, 1), -EOVERFLOW);
	tine_shared_free(sem);
}

struct room {
	tine_sem sem;
	_Atomic int inside, most;
	long turns;
};

static void go_in_and_out(void *arg)
{
	struct room *room = arg;

	for (long i = 0; i < room->turns; i++) {
		int inside, most;

		CHECK_EQ(tine_sem_wait(&room->sem, TINE_FOREVER), 0);
		inside = atomic_fetch_add(&room->inside, 1) + 1;
		most = atomic_load(&room->most);
		while (inside > most &&
		       !atomic_compare_exchange_weak(&room->most, &most, inside))
			;
		if (i % 8 == 0)
			test_sleep_us(1);
		atomic_fetch_sub(&room->inside, 1);
		CHECK_EQ(tine_sem_post(&room->sem, 1), 0);
	}
}

TEST(no_more_inside_than_permits)
{
	struct room *room = tine_shared_new(1, sizeof(*room));
	pid_t pids[6];

	room->turns = test_scaled(3000);
	CHECK_EQ(tine_sem_post(&room->sem, 2), 0);
	for (int i = 0; i < 6; i++)
		pids[i] = test_fork(go_in_and_out, room);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK(room->most <= 2);
	CHECK_EQ(count(&room->sem), 2);
	tine_shared_free(room);
}

static void *go_in_and_out_in_thread(void *room)
{
	go_in_and_out(room);
	return NULL;
}

TEST(no_more_threads_inside_than_permits)
{
	struct room *room = tine_shared_new(1, sizeof(*room));
	pthread_t threads[4];

	room->turns = test_scaled(2000);
	CHECK_EQ(tine_sem_post(&room->sem, 2), 0);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, go_in_and_out_in_thread, room),
			 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK(room->most <= 2);
	CHECK_EQ(count(&room->sem), 2);
	tine_shared_free(room);
}

static void *take_one(void *sem)
{
	CHECK_EQ(tine_sem_wait(sem, TINE_FOREVER), 0);
	return NULL;
}

TEST(a_thread_gives_back_what_another_took)
{
	tine_sem *sem = new_held(1);
	pthread_t thread;

	CHECK_EQ(tine_sem_post(sem, 1), 0);
	CHECK_EQ(pthread_create(&thread, NULL, take_one, sem), 0);
	pthread_join(thread, NULL);
	CHECK_EQ(tine_sem_post(sem, 1), 0);
	CHECK_EQ(count(sem), 1);
	tine_shared_free(sem);
}

/* ---- deaths ---------------------------------------------------------------------- */

struct scene {
	tine_sem sem;
	tine_event taken;
	unsigned takes;
};

static void take_and_stay(void *arg)
{
	struct scene *scene = arg;

	for (unsigned i = 0; i < scene->takes; i++)
		CHECK_EQ(tine_sem_wait(&scene->sem, TINE_FOREVER), 0);
	tine_event_set(&scene->taken);
	pause();
}

static pid_t start_holder(struct scene *scene, unsigned takes)
{
	pid_t pid;

	scene->takes = takes;
	tine_event_clear(&scene->taken);
	pid = test_fork(take_and_stay, scene);
	CHECK_EQ(tine_event_wait(&scene->taken, TINE_FOREVER), 0);
	return pid;
}

TEST(what_the_killed_held_comes_back_and_one_is_told)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t pid, other;

	CHECK_EQ(tine_sem_init(&scene->sem, &held), 0);
	CHECK_EQ(tine_sem_post(&scene->sem, 3), 0);
	pid = start_holder(scene, 3);
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_NOWAIT), -ETIMEDOUT);
	test_kill(pid);
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_NOWAIT), -EOWNERDEAD);
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_sem_post(&scene->sem, 3), 0);
	CHECK_EQ(count(&scene->sem), 3);

	/* Again, of one of two. */
	pid = start_holder(scene, 2);
	other = start_holder(scene, 1);
	test_kill(pid);
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_NOWAIT), -EOWNERDEAD);
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_NOWAIT), -ETIMEDOUT);
	test_kill(other);
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_NOWAIT), -EOWNERDEAD);
	tine_shared_free(scene);
}

static void is_told(void *sem)
{
	CHECK_EQ(tine_sem_wait(sem, TINE_FOREVER), -EOWNERDEAD);
	CHECK_EQ(tine_sem_post(sem, 1), 0);
}

TEST(who_sleeps_is_told)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t holder, waiter;

	CHECK_EQ(tine_sem_init(&scene->sem, &held), 0);
	CHECK_EQ(tine_sem_post(&scene->sem, 1), 0);
	holder = start_holder(scene, 1);
	waiter = test_fork(is_told, &scene->sem);
	test_sleep_us(20000);
	test_kill(holder);
	CHECK_EQ(test_reap(waiter), 0);
	CHECK_EQ(count(&scene->sem), 1);
	tine_shared_free(scene);
}

static void take_and_give_back(void *arg)
{
	struct scene *scene = arg;

	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_FOREVER), 0);
	CHECK_EQ(tine_sem_post(&scene->sem, 1), 0);
	raise(SIGKILL);
}

TEST(a_death_that_held_nothing_is_not_told)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t pid;

	CHECK_EQ(tine_sem_init(&scene->sem, &held), 0);
	CHECK_EQ(tine_sem_post(&scene->sem, 1), 0);
	pid = test_fork(take_and_give_back, scene);
	CHECK_EQ(test_reap(pid), -SIGKILL);
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_NOWAIT), -ETIMEDOUT);
	tine_shared_free(scene);
}

static void wait_in_vain(void *sem)
{
	(void)!tine_sem_wait(sem, TINE_FOREVER);
}

TEST(a_killed_sleeper_takes_nothing_along)
{
	tine_sem *sem = new_held(1);
	pid_t pids[3];

	for (int i = 0; i < 3; i++)
		pids[i] = test_fork(wait_in_vain, sem);
	test_sleep_us(20000);
	for (int i = 0; i < 3; i++)
		test_kill(pids[i]);
	CHECK_EQ(tine_sem_post(sem, 2), 0);
	CHECK_EQ(count(sem), 2);
	tine_shared_free(sem);
}

static int take_and_end(void *sem)
{
	CHECK_EQ(tine_sem_wait(sem, TINE_FOREVER), 0);
	CHECK_EQ(tine_sem_wait(sem, TINE_FOREVER), 0);
	return 0;
}

static void run(int (*fn)(void *), void *arg)
{
	tine_process *process;
	tine_exit how;

	CHECK_EQ(tine_process_start(&process, fn, arg, NULL), 0);
	CHECK_EQ(tine_process_wait(process, &how, TINE_FOREVER), 0);
	CHECK_EQ(how.code, 0);
	tine_process_free(process);
}

TEST(what_is_held_at_an_orderly_end_comes_back_in_silence)
{
	tine_sem *sem = new_held(1);

	CHECK_EQ(tine_sem_post(sem, 3), 0);
	run(take_and_end, sem);
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_sem_post(sem, 3), 0);
	run(take_and_end, sem);
	CHECK_EQ(count(sem), 3);
	tine_shared_free(sem);
}

static int take_and_tarry(void *arg)
{
	struct scene *scene = arg;

	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_FOREVER), 0);
	tine_event_set(&scene->taken);
	test_sleep_us(20000);
	return 0;
}

TEST(who_sleeps_gets_what_an_orderly_end_leaves)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	tine_process *process;

	CHECK_EQ(tine_sem_init(&scene->sem, &held), 0);
	CHECK_EQ(tine_sem_post(&scene->sem, 1), 0);
	CHECK_EQ(tine_process_start(&process, take_and_tarry, scene, NULL), 0);
	CHECK_EQ(tine_event_wait(&scene->taken, TINE_FOREVER), 0);
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_FOREVER), 0);
	CHECK_EQ(tine_process_wait(process, NULL, TINE_FOREVER), 0);
	tine_process_free(process);
	tine_shared_free(scene);
}

static void fork_of_a_holder(void *sem)
{
	/* It holds nothing itself, so this is a new one. */
	CHECK_EQ(tine_sem_post(sem, 1), 0);
}

TEST(a_child_does_not_hold_what_its_parent_holds)
{
	tine_sem *sem = new_held(1);

	CHECK_EQ(tine_sem_post(sem, 1), 0);
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), 0);
	CHECK_EQ(test_reap(test_fork(fork_of_a_holder, sem)), 0);
	CHECK_EQ(tine_sem_post(sem, 1), 0);
	CHECK_EQ(count(sem), 2);
	tine_shared_free(sem);
}

/* ---- not held -------------------------------------------------------------------- */

static void take_one_post_two(void *sem)
{
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_post(sem, 2), 0);
	raise(SIGKILL);
}

/* What a process posts before it ends stays as well, and what it takes is gone. */
TEST(a_zeroed_one_is_a_plain_semaphore)
{
	tine_sem_opts bad = { .held = true, .reserved = { 1 } };
	struct scene *scene = tine_shared_new(1, sizeof(*scene));

	CHECK_EQ(tine_sem_init(&scene->sem, &bad), -EINVAL);
	CHECK_EQ(tine_sem_init(&scene->sem, NULL), 0);
	/* A process takes one, posts two, and is killed. */
	CHECK_EQ(tine_sem_post(&scene->sem, 1), 0);
	CHECK_EQ(test_reap(test_fork(take_one_post_two, &scene->sem)), -SIGKILL);
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_sem_wait(&scene->sem, tine_after(5)), -ETIMEDOUT);
	CHECK_EQ(tine_sem_post(&scene->sem, 3), 0);
	test_kill(start_holder(scene, 2));
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_wait(&scene->sem, tine_after(5)), -ETIMEDOUT);
	CHECK_EQ(tine_sem_post(&scene->sem, INT_MAX), 0);
	CHECK_EQ(tine_sem_post(&scene->sem, 1), -EOVERFLOW);
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_post(&scene->sem, 1), 0);
	tine_shared_free(scene);
}

struct ping {
	tine_sem there, back;
	long turns;
};

static void answer(void *arg)
{
	struct ping *ping = arg;

	for (long i = 0; i < ping->turns; i++) {
		CHECK_EQ(tine_sem_wait(&ping->there, TINE_FOREVER), 0);
		CHECK_EQ(tine_sem_post(&ping->back, 1), 0);
	}
}

TEST(no_signal_is_missed)
{
	struct ping *ping = tine_shared_new(1, sizeof(*ping));
	pid_t pid;

	ping->turns = test_scaled(20000);
	pid = test_fork(answer, ping);
	for (long i = 0; i < ping->turns; i++) {
		CHECK_EQ(tine_sem_post(&ping->there, 1), 0);
		CHECK_EQ(tine_sem_wait(&ping->back, TINE_FOREVER), 0);
	}
	CHECK_EQ(test_reap(pid), 0);
	tine_shared_free(ping);
}

static void take_signals(void *arg)
{
	struct ping *ping = arg;

	for (long i = 0; i < ping->turns; i++)
		CHECK_EQ(tine_sem_wait(&ping->there, TINE_FOREVER), 0);
}

TEST(each_of_many_sleepers_gets_one)
{
	struct ping *ping = tine_shared_new(1, sizeof(*ping));
	pid_t pids[4];

	ping->turns = 2 * test_scaled(1000);
	for (int i = 0; i < 4; i++)
		pids[i] = test_fork(take_signals, ping);
	for (long i = 0; i < ping->turns; i++)
		CHECK_EQ(tine_sem_post(&ping->there, i % 2 ? 1 : 7), 0);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(tine_sem_wait(&ping->there, TINE_NOWAIT), -ETIMEDOUT);
	tine_shared_free(ping);
}

/* ---- ties ------------------------------------------------------------------------ */

enum { SEMS = 100 };

TEST(a_process_holds_permits_of_any_number)
{
	tine_sem *sems = new_held(SEMS);

	for (int turn = 0; turn < 2; turn++) {
		for (int i = 0; i < SEMS; i++)
			CHECK_EQ(tine_sem_post(&sems[i], 2), 0);
		for (int i = 0; i < SEMS; i++)
			CHECK_EQ(tine_sem_wait(&sems[i], TINE_NOWAIT), 0);
		for (int i = 0; i < SEMS; i++)
			CHECK_EQ(tine_sem_value(&sems[i]), 1);
		for (int i = 0; i < SEMS; i += 3)
			CHECK_EQ(tine_sem_post(&sems[i], 1), 0);
		for (int i = 0; i < SEMS; i++)
			CHECK_EQ(tine_sem_value(&sems[i]), 1 + (i % 3 == 0));
		/* What is freed while permits of it are held does not count for ever. */
		memset(sems, 0, SEMS * sizeof(*sems));
		for (int i = 0; i < SEMS; i++)
			CHECK_EQ(tine_sem_init(&sems[i], &held), 0);
	}
	tine_shared_free(sems);
	test_grows_no_further();
}

static void hold_many(void *arg)
{
	tine_sem *sems = arg;

	for (int i = 1; i < SEMS; i++)
		CHECK_EQ(tine_sem_wait(&sems[i], TINE_FOREVER), 0);
	CHECK_EQ(tine_sem_post(&sems[0], 1), 0);
	pause();
}

TEST(whoever_held_many_returns_all)
{
	tine_sem *sems = new_held(SEMS);
	pid_t pid;

	for (int i = 1; i < SEMS; i++)
		CHECK_EQ(tine_sem_post(&sems[i], 1), 0);
	pid = test_fork(hold_many, sems);
	CHECK_EQ(tine_sem_wait(&sems[0], TINE_FOREVER), 0);
	for (int i = 1; i < SEMS; i++)
		CHECK_EQ(tine_sem_value(&sems[i]), 0);
	test_kill(pid);
	for (int i = 1; i < SEMS; i++)
		CHECK_EQ(tine_sem_wait(&sems[i], TINE_NOWAIT), -EOWNERDEAD);
	tine_shared_free(sems);
	test_grows_no_further();
}

/* ---- max and value ----------------------------------------------------------------- */

TEST(no_more_permits_than_max)
{
	tine_sem_opts opts = { .max = 3 };
	tine_sem *sems = tine_shared_new(2, sizeof(*sems));

	for (int i = 0; i < 2; i++) {
		opts.held = i;
		CHECK_EQ(tine_sem_init(&sems[i], &opts), 0);
		CHECK_EQ(tine_sem_value(&sems[i]), 0);
		CHECK_EQ(tine_sem_post(&sems[i], 4), -EOVERFLOW);
		CHECK_EQ(tine_sem_post(&sems[i], 2), 0);
		CHECK_EQ(tine_sem_post(&sems[i], 2), -EOVERFLOW);
		CHECK_EQ(tine_sem_value(&sems[i]), 2);
		CHECK_EQ(tine_sem_post(&sems[i], 1), 0);
		CHECK_EQ(tine_sem_wait(&sems[i], TINE_NOWAIT), 0);
		CHECK_EQ(tine_sem_value(&sems[i]), 2);
		/* What is taken makes room, or what is held comes back. */
		CHECK_EQ(tine_sem_post(&sems[i], 2), -EOVERFLOW);
		CHECK_EQ(tine_sem_post(&sems[i], 1), 0);
		CHECK_EQ(tine_sem_value(&sems[i]), 3);
		CHECK_EQ(tine_sem_post(&sems[i], 1), -EOVERFLOW);
	}
	opts.max = (unsigned)INT_MAX + 1;
	CHECK_EQ(tine_sem_init(&sems[0], &opts), -EINVAL);
	tine_shared_free(sems);
}

/* ---- mutex ------------------------------------------------------------------------- */

static const tine_sem_opts mutex = { .mutex = true };

static tine_sem *new_mutex(void)
{
	tine_sem *sem = tine_shared_new(1, sizeof(*sem));

	CHECK(sem);
	CHECK_EQ(tine_sem_init(sem, &mutex), 0);
	return sem;
}

TEST(a_mutex_has_one_permit)
{
	tine_sem_opts wrong = { .mutex = true, .held = true };
	tine_sem *sem = new_mutex();

	CHECK_EQ(tine_sem_value(sem), 1);
	CHECK_EQ(tine_sem_post(sem, 1), -EPERM);
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_value(sem), 0);
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_sem_wait(sem, tine_after(5)), -ETIMEDOUT);
	CHECK_EQ(tine_sem_post(sem, 0), -EINVAL);
	CHECK_EQ(tine_sem_post(sem, 2), -EINVAL);
	CHECK_EQ(tine_sem_post(sem, 1), 0);
	CHECK_EQ(tine_sem_post(sem, 1), -EPERM);
	CHECK_EQ(tine_sem_init(sem, &wrong), -EINVAL);
	wrong = (tine_sem_opts){ .mutex = true, .max = 1 };
	CHECK_EQ(tine_sem_init(sem, &wrong), -EINVAL);
	tine_shared_free(sem);
}

static void post_one(void *sem)
{
	CHECK_EQ(tine_sem_post(sem, 1), 0);
}

static void take_mutex_and_end(void *sem)
{
	CHECK_EQ(tine_sem_wait(sem, TINE_FOREVER), 0);
	exit(0);
}

static void take_mutex_and_stay(void *sem)
{
	CHECK_EQ(tine_sem_wait(sem, TINE_FOREVER), 0);
	pause();
}

static void await_taken(tine_sem *sem)
{
	while (tine_sem_value(sem) == 1)
		test_sleep_us(500);
}

TEST(another_process_releases_a_mutex)
{
	tine_sem *sem = new_mutex();
	pid_t pid;

	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), 0);
	pid = test_fork(post_one, sem);
	CHECK_EQ(tine_sem_wait(sem, TINE_FOREVER), 0);
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(tine_sem_post(sem, 1), 0);
	/* What was released is not freed again by its taker's death. */
	pid = test_fork(take_mutex_and_stay, sem);
	await_taken(sem);
	CHECK_EQ(tine_sem_post(sem, 1), 0);
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), 0);
	test_kill(pid);
	CHECK_EQ(tine_sem_wait(sem, tine_after(300)), -ETIMEDOUT);
	CHECK_EQ(tine_sem_post(sem, 1), 0);
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), 0);
	tine_shared_free(sem);
}

TEST(the_taker_of_a_mutex_dies)
{
	tine_sem *sem = new_mutex();
	pid_t pid;

	for (int i = 0; i < 10; i++) {
		pid = test_fork(take_mutex_and_stay, sem);
		await_taken(sem);
		CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), -ETIMEDOUT);
		test_kill(pid);
		if (i % 2)
			CHECK_EQ(tine_sem_value(sem), 1);
		CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), -EOWNERDEAD);
		CHECK_EQ(tine_sem_post(sem, 1), 0);
		/* It is told once. */
		CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), 0);
		CHECK_EQ(tine_sem_post(sem, 1), 0);
	}
	CHECK_EQ(test_reap(test_fork(take_mutex_and_end, sem)), 0);
	CHECK_EQ(tine_sem_wait(sem, tine_after(test_patience(10000))), -EOWNERDEAD);
	tine_shared_free(sem);
}

static void die_soon(void *sem)
{
	CHECK_EQ(tine_sem_wait(sem, TINE_FOREVER), 0);
	test_sleep_us(50000);
	raise(SIGKILL);
}

TEST(a_sleeper_gets_the_mutex_of_the_dead)
{
	tine_sem *sem = new_mutex();
	pid_t pid = test_fork(die_soon, sem);

	await_taken(sem);
	CHECK_EQ(tine_sem_wait(sem, tine_after(test_patience(10000))), -EOWNERDEAD);
	CHECK_EQ(test_reap(pid), -SIGKILL);
	tine_shared_free(sem);
}

struct counted {
	tine_sem mutex;
	long count;
	_Atomic long deaths;
	long turns;
};

static void count_up(void *arg)
{
	struct counted *counted = arg;

	for (long i = 0; i < counted->turns; i++) {
		CHECK_EQ(tine_sem_wait(&counted->mutex, TINE_FOREVER), 0);
		counted->count++;
		CHECK_EQ(tine_sem_post(&counted->mutex, 1), 0);
	}
}

TEST(a_mutex_excludes)
{
	struct counted *counted = tine_shared_new(1, sizeof(*counted));
	pid_t pids[4];

	CHECK_EQ(tine_sem_init(&counted->mutex, &mutex), 0);
	counted->turns = test_scaled(20000);
	for (int i = 0; i < 4; i++)
		pids[i] = test_fork(count_up, counted);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(counted->count, 4 * counted->turns);
	tine_shared_free(counted);
}
