/* SPDX-License-Identifier: MIT */
#include "memory/heap.h"
#include "sync/member.h"
#include "test.h"

#include <pthread.h>

enum { PARTIES = 4 };

struct scene {
	tine_barrier barrier;
	_Atomic long came, firsts, passed;
	tine_event go;
	long turns;
	_Atomic int told, number;
};

/* How many wait: a look at the word inside. */
static unsigned arrived(struct scene *scene)
{
	return atomic_load((_Atomic uint64_t *)&scene->barrier.priv[1]) >> 24 & 0xffff;
}

static void wait_until_there(struct scene *scene, unsigned n)
{
	while (arrived(scene) < n)
		test_sleep_us(100);
}

static void march(void *arg)
{
	struct scene *scene = arg;

	for (long i = 0; i < scene->turns; i++) {
		int err;

		atomic_fetch_add(&scene->came, 1);
		err = tine_barrier_wait(&scene->barrier, PARTIES, TINE_FOREVER);
		CHECK(err == 0 || err == 1);
		CHECK(scene->came >= (i + 1) * PARTIES);
		atomic_fetch_add(&scene->firsts, err);
		/* Nobody is a round ahead before all have seen this one. */
		err = tine_barrier_wait(&scene->barrier, PARTIES, TINE_FOREVER);
		CHECK(err == 0 || err == 1);
		CHECK(scene->came <= (i + 2) * PARTIES);
		atomic_fetch_add(&scene->firsts, err);
	}
}

static void check_march(const struct scene *scene)
{
	CHECK_EQ(scene->came, scene->turns * PARTIES);
	CHECK_EQ(scene->firsts, scene->turns * 2);
}

TEST(all_come_before_one_goes)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t pids[PARTIES];

	scene->turns = test_scaled(3000);
	for (int i = 0; i < PARTIES; i++)
		pids[i] = test_fork(march, scene);
	for (int i = 0; i < PARTIES; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	check_march(scene);
	tine_shared_free(scene);
}

static void *march_in_thread(void *scene)
{
	march(scene);
	return NULL;
}

TEST(all_threads_come_before_one_goes)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pthread_t threads[PARTIES];

	scene->turns = test_scaled(2000);
	for (int i = 0; i < PARTIES; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, march_in_thread, scene), 0);
	for (int i = 0; i < PARTIES; i++)
		pthread_join(threads[i], NULL);
	check_march(scene);
	tine_shared_free(scene);
}

TEST(one_party_never_waits)
{
	tine_barrier *barrier = tine_shared_new(1, sizeof(*barrier));

	for (int i = 0; i < 1000; i++)
		CHECK_EQ(tine_barrier_wait(barrier, 1, TINE_NOWAIT), 1);
	CHECK_EQ(tine_barrier_wait(barrier, 0, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_barrier_wait(barrier, 65536, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_barrier_wait(barrier, 65535, TINE_NOWAIT), -ETIMEDOUT);
	tine_shared_free(barrier);
}

TEST(who_times_out_is_taken_back_out)
{
	tine_barrier *barrier = tine_shared_new(1, sizeof(*barrier));
	int64_t begun = tine_now();

	CHECK_EQ(tine_barrier_wait(barrier, 2, tine_after(20)), -ETIMEDOUT);
	CHECK(tine_now() - begun >= 20000000);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(tine_barrier_wait(barrier, 2, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_barrier_wait(barrier, 2, tine_after(1)), -ETIMEDOUT);
	tine_shared_free(barrier);
}

static int march_in_haste(void *arg)
{
	struct scene *scene = arg;
	unsigned random = getpid();
	int err;

	while (!tine_event_is_set(&scene->go)) {
		int64_t deadline = tine_now() + rand_r(&random) % 300000;

		err = tine_barrier_wait(&scene->barrier, PARTIES - 1, deadline);
		CHECK(err == 0 || err == 1 || err == -ETIMEDOUT);
		if (err >= 0) {
			atomic_fetch_add(&scene->passed, 1);
			atomic_fetch_add(&scene->firsts, err);
		}
	}
	return 0;
}

/* Time-outs and completions at the same moment: a round has all its parties or none. */
TEST(a_round_is_whole)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	tine_process *processes[PARTIES];
	tine_exit how;

	for (int i = 0; i < PARTIES; i++)
		CHECK_EQ(tine_process_start(&processes[i], march_in_haste, scene, NULL),
			 0);
	test_sleep_us(1000000);
	tine_event_set(&scene->go);
	for (int i = 0; i < PARTIES; i++) {
		CHECK_EQ(tine_process_wait(processes[i], &how, TINE_FOREVER), 0);
		CHECK_EQ(how.code, 0);
		tine_process_free(processes[i]);
	}
	CHECK(scene->firsts > 0);
	CHECK_EQ(scene->passed, scene->firsts * (PARTIES - 1));
	/* And nobody is left in it. */
	CHECK_EQ(arrived(scene), 0);
	tine_shared_free(scene);
}

/* ---- deaths ---------------------------------------------------------------------- */

static int wait_here(struct scene *scene)
{
	return tine_barrier_wait(&scene->barrier, PARTIES, TINE_FOREVER);
}

/* Is there for a round, is told of one death, and is there for another round. */
static void survive(void *arg)
{
	struct scene *scene = arg;

	CHECK(wait_here(scene) >= 0);
	CHECK_EQ(wait_here(scene), -EOWNERDEAD);
	atomic_fetch_add(&scene->told, 1);
	CHECK(wait_here(scene) >= 0);
	CHECK(wait_here(scene) >= 0);
}

/* Comes for the last two rounds of these. */
static void replace(void *arg)
{
	struct scene *scene = arg;

	CHECK(wait_here(scene) >= 0);
	CHECK(wait_here(scene) >= 0);
}

static void die_later(void *arg)
{
	struct scene *scene = arg;

	CHECK(wait_here(scene) >= 0);
	CHECK_EQ(tine_event_wait(&scene->go, TINE_FOREVER), 0);
	raise(SIGKILL);
}

static void die_waiting(void *arg)
{
	struct scene *scene = arg;

	CHECK(wait_here(scene) >= 0);
	wait_here(scene);
}

TEST(each_is_told_once_of_one_that_died_elsewhere)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t pids[PARTIES], victim = test_fork(die_later, scene);

	for (int i = 1; i < PARTIES; i++)
		pids[i] = test_fork(survive, scene);
	wait_until_there(scene, PARTIES - 1);
	tine_event_set(&scene->go);
	CHECK_EQ(test_reap(victim), -SIGKILL);
	pids[0] = test_fork(replace, scene);
	for (int i = 0; i < PARTIES; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(scene->told, PARTIES - 1);
	tine_shared_free(scene);
}

static void survive_but_be_late(void *arg)
{
	struct scene *scene = arg;

	CHECK(wait_here(scene) >= 0);
	CHECK_EQ(tine_event_wait(&scene->go, TINE_FOREVER), 0);
	/* The others have been told, and wait again. */
	CHECK_EQ(wait_here(scene), -EOWNERDEAD);
	atomic_fetch_add(&scene->told, 1);
	CHECK(wait_here(scene) >= 0);
	CHECK(wait_here(scene) >= 0);
}

TEST(each_is_told_once_of_one_that_died_waiting)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t pids[PARTIES], victim = test_fork(die_waiting, scene);

	pids[1] = test_fork(survive_but_be_late, scene);
	for (int i = 2; i < PARTIES; i++)
		pids[i] = test_fork(survive, scene);
	/* In the second round, that is, which cannot be complete. */
	while (!(scene->barrier.priv[1] >> 48))
		test_sleep_us(100);
	wait_until_there(scene, PARTIES - 1);
	test_kill(victim);
	while (scene->told < PARTIES - 2)
		test_sleep_us(100);
	wait_until_there(scene, PARTIES - 2);
	tine_event_set(&scene->go);
	pids[0] = test_fork(replace, scene);
	for (int i = 0; i < PARTIES; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(scene->told, PARTIES - 1);
	tine_shared_free(scene);
}

static void come_once(void *arg)
{
	struct scene *scene = arg;

	(void)!tine_barrier_wait(&scene->barrier, 2, TINE_FOREVER);
}

/* No round is completed with the help of the dead. */
TEST(the_last_to_come_looks_first)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));

	for (int i = 0; i < 20; i++) {
		pid_t pid = test_fork(come_once, scene);

		wait_until_there(scene, 1);
		test_kill(pid);
		CHECK_EQ(tine_barrier_wait(&scene->barrier, 2, TINE_FOREVER),
			 -EOWNERDEAD);
		CHECK_EQ(tine_barrier_wait(&scene->barrier, 2, TINE_NOWAIT), -ETIMEDOUT);
	}
	tine_shared_free(scene);
}

static void come_alone(void *arg)
{
	struct scene *scene = arg;

	CHECK_EQ(tine_barrier_wait(&scene->barrier, 2, TINE_NOWAIT), -ETIMEDOUT);
}

/* Of which one who comes for the first time is not told. */
TEST(who_is_new_does_not_complete_a_round_of_the_dead)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t pid = test_fork(come_once, scene);

	wait_until_there(scene, 1);
	test_kill(pid);
	/* Noticed elsewhere. */
	CHECK_EQ(members_sweep(), 1);
	CHECK_EQ(arrived(scene), 1);
	CHECK_EQ(test_reap(test_fork(come_alone, scene)), 0);
	CHECK_EQ(arrived(scene), 0);
	tine_shared_free(scene);
}

static void come_twice(void *arg)
{
	struct scene *scene = arg;

	CHECK_EQ(tine_barrier_wait(&scene->barrier, 2, TINE_FOREVER), 0);
	CHECK_EQ(tine_barrier_wait(&scene->barrier, 2, TINE_FOREVER), -EOWNERDEAD);
	CHECK(tine_barrier_wait(&scene->barrier, 2, TINE_FOREVER) >= 0);
}

static void come_last_and_die(void *arg)
{
	struct scene *scene = arg;

	CHECK_EQ(tine_barrier_wait(&scene->barrier, 2, TINE_FOREVER), 1);
	raise(SIGKILL);
}

/* Told of it the next time, though it wakes up when the death is known already. */
TEST(a_round_that_was_complete_before_a_death_is_complete)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t pid = test_fork(come_twice, scene);
	int status;

	wait_until_there(scene, 1);
	kill(pid, SIGSTOP);
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	/* Now of the process that would have to be told as well. */
	CHECK_EQ(test_reap(test_fork(come_last_and_die, scene)), -SIGKILL);
	CHECK_EQ(tine_barrier_wait(&scene->barrier, 1, TINE_NOWAIT), -EOWNERDEAD);
	kill(pid, SIGCONT);
	CHECK(tine_barrier_wait(&scene->barrier, 2, TINE_FOREVER) >= 0);
	CHECK_EQ(test_reap(pid), 0);
	tine_shared_free(scene);
}

static int come_and_end(void *arg)
{
	struct scene *scene = arg;

	return tine_barrier_wait(&scene->barrier, 2, TINE_FOREVER) < 0;
}

TEST(an_orderly_end_is_not_told)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));

	for (int i = 0; i < 3; i++) {
		tine_process *process;
		tine_exit how;

		CHECK_EQ(tine_process_start(&process, come_and_end, scene, NULL), 0);
		CHECK(tine_barrier_wait(&scene->barrier, 2, TINE_FOREVER) >= 0);
		CHECK_EQ(tine_process_wait(process, &how, TINE_FOREVER), 0);
		CHECK_EQ(how.code, 0);
		tine_process_free(process);
	}
	tine_shared_free(scene);
}

static void *is_told_in_thread(void *arg)
{
	struct scene *scene = arg;

	CHECK_EQ(wait_here(scene), -EOWNERDEAD);
	return NULL;
}

/* All threads that wait are released, and the process is told no more. */
TEST(threads_that_wait_are_all_told)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pthread_t threads[2];
	pid_t pid;

	pid = test_fork(die_waiting, scene);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, is_told_in_thread, scene), 0);
	wait_until_there(scene, 3);
	test_kill(pid);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(tine_barrier_wait(&scene->barrier, 2, TINE_NOWAIT), -ETIMEDOUT);
	tine_shared_free(scene);
}

enum { BARRIERS = 100 };

TEST(a_process_is_at_any_number_of_barriers)
{
	tine_barrier *barriers = tine_shared_new(BARRIERS, sizeof(*barriers)), *one;
	size_t used;

	for (int i = 0; i < BARRIERS; i++)
		CHECK_EQ(tine_barrier_wait(&barriers[i], 1, TINE_NOWAIT), 1);
	tine_shared_free(barriers);
	used = shared_used();
	/*
	 * One after the other, they leave nothing behind, but that the look for what is
	 * stale ends with its time, and then there is a piece more.
	 */
	for (int i = 0; i < 3 * BARRIERS; i++) {
		one = tine_shared_new(1 + i * 1000, sizeof(*one));
		CHECK_EQ(tine_barrier_wait(one, 1, TINE_NOWAIT), 1);
		tine_shared_free(one);
	}
	CHECK(shared_used() <= used + 4096);
	test_grows_no_further();
}
