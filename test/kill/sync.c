/* SPDX-License-Identifier: MIT */
/* Death inside what processes wait with: at every instruction, and at random. */
#include "step.h"
#include "sync/member.h"

#include <limits.h>

/* At least so many steps, or the test is of something else. */
static void kill_each_step(const struct steps *steps, void *arg, long least)
{
	CHECK(test_kill_each_step(steps, arg) >= least);
}

static void enter(void *arg)
{
	(void)arg;
	CHECK(member_self() != NULL);
}

/* ---- recursive lock -------------------------------------------------------------- */

static void acquire_twice(void *lock)
{
	int err = tine_lock_acquire(lock, TINE_FOREVER);

	CHECK(err == 0 || err == -EOWNERDEAD);
	CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), 0);
	CHECK_EQ(tine_lock_release(lock), 0);
	CHECK_EQ(tine_lock_release(lock), 0);
}

static void is_held_once(void *lock, long step)
{
	int err = tine_lock_acquire(lock, tine_after(5000));

	if (err != 0 && err != -EOWNERDEAD)
		test_fail(__FILE__, __LINE__, "step %ld: %s", step, tine_strerror(err));
	CHECK_EQ(tine_lock_release(lock), 0);
	CHECK_EQ(tine_lock_release(lock), -EPERM);
}

TEST(a_recursive_lock)
{
	tine_lock_opts recursive = { .recursive = true };
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));

	CHECK_EQ(tine_lock_init(lock, &recursive), 0);
	kill_each_step(&(struct steps){ NULL, acquire_twice, is_held_once }, lock, 50);
	tine_shared_free(lock);
}

static void be_interruptible(void *lock)
{
	(void)lock;
	tine_interruptible(true);
}

static void acquire_in_vain(void *lock)
{
	CHECK_EQ(tine_lock_acquire(lock, tine_after(1)), -ETIMEDOUT);
}

static void acquire_by_a_deadline(void *lock)
{
	CHECK_EQ(tine_lock_acquire(lock, tine_after(test_patience(10000))), 0);
	CHECK_EQ(tine_lock_release(lock), 0);
}

/* This process has it all the time, but for a moment. */
static void another_gets_it(void *lock, long step)
{
	(void)step;
	CHECK_EQ(tine_lock_release(lock), 0);
	CHECK_EQ(test_reap(test_fork(acquire_by_a_deadline, lock)), 0);
	CHECK_EQ(tine_lock_acquire(lock, tine_after(test_patience(10000))), 0);
}

TEST(a_wait_for_a_lock_that_signals_end)
{
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));

	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), 0);
	kill_each_step(
		&(struct steps){ be_interruptible, acquire_in_vain, another_gets_it },
		lock, 50);
	CHECK_EQ(tine_lock_release(lock), 0);
	tine_shared_free(lock);
}

static void initialise(void *lock)
{
	tine_lock_opts recursive = { .recursive = true };

	CHECK_EQ(tine_lock_init(lock, &recursive), 0);
}

static void can_be_initialised(void *lock, long step)
{
	initialise(lock);
	acquire_twice(lock);
	is_held_once(lock, step);
	memset(lock, 0, sizeof(tine_lock));
}

TEST(the_initialisation_of_a_recursive_lock)
{
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));

	kill_each_step(&(struct steps){ NULL, initialise, can_be_initialised }, lock, 50);
	tine_shared_free(lock);
}

/* ---- semaphore ------------------------------------------------------------------- */

enum { PERMITS = 3 };

struct sem_scene {
	tine_sem sem;
	unsigned most; /* permits that the child may have added, all or none */
	_Atomic long got;
	_Atomic bool stop;
};

static const tine_sem_opts held = { .held = true };

static struct sem_scene *new_sem(void)
{
	struct sem_scene *scene = tine_shared_new(1, sizeof(*scene));

	CHECK_EQ(tine_sem_init(&scene->sem, &held), 0);
	CHECK_EQ(tine_sem_post(&scene->sem, PERMITS), 0);
	return scene;
}

static unsigned take_all(tine_sem *sem)
{
	unsigned n = 0;
	int err;

	while ((err = tine_sem_wait(sem, TINE_NOWAIT)) != -ETIMEDOUT) {
		CHECK(err == 0 || err == -EOWNERDEAD);
		n++;
	}
	return n;
}

static void permits_are_all_there(void *arg, long step)
{
	struct sem_scene *scene = arg;
	unsigned n = take_all(&scene->sem);

	if (n != PERMITS && n != PERMITS + scene->most)
		test_fail(__FILE__, __LINE__, "step %ld: %u permits", step, n);
	CHECK_EQ(tine_sem_post(&scene->sem, n), 0);
	CHECK_EQ(take_all(&scene->sem), n);
	CHECK_EQ(tine_sem_post(&scene->sem, n), 0);
	if (scene->most) {
		memset(&scene->sem, 0, sizeof(scene->sem));
		CHECK_EQ(tine_sem_init(&scene->sem, &held), 0);
		CHECK_EQ(tine_sem_post(&scene->sem, PERMITS), 0);
	}
}

static void take_one(void *arg)
{
	struct sem_scene *scene = arg;
	int err = tine_sem_wait(&scene->sem, TINE_FOREVER);

	CHECK(err == 0 || err == -EOWNERDEAD);
}

TEST_LIMIT(sem_wait, 180)
{
	struct sem_scene *scene = new_sem();

	kill_each_step(&(struct steps){ enter, take_one, permits_are_all_there }, scene,
		       100);
	tine_shared_free(scene);
}

static void take_two(void *arg)
{
	take_one(arg);
	take_one(arg);
}

static void give_two(void *arg)
{
	struct sem_scene *scene = arg;

	CHECK_EQ(tine_sem_post(&scene->sem, 2), 0);
}

TEST_LIMIT(sem_post_of_what_is_held, 180)
{
	struct sem_scene *scene = new_sem();

	kill_each_step(&(struct steps){ take_two, give_two, permits_are_all_there },
		       scene, 100);
	tine_shared_free(scene);
}

static void give_four(void *arg)
{
	struct sem_scene *scene = arg;

	CHECK_EQ(tine_sem_post(&scene->sem, 4), 0);
}

TEST_LIMIT(sem_post_of_what_is_held_and_more, 180)
{
	struct sem_scene *scene = new_sem();

	scene->most = 2;
	kill_each_step(&(struct steps){ take_two, give_four, permits_are_all_there },
		       scene, 100);
	tine_shared_free(scene);
}

static void wait_in_vain(void *arg)
{
	struct sem_scene *scene = arg;

	/* The permits are the parent's. */
	CHECK_EQ(tine_sem_wait(&scene->sem, tine_after(1)), -ETIMEDOUT);
}

static void there_is_none(void *arg, long step)
{
	struct sem_scene *scene = arg;
	unsigned n = take_all(&scene->sem);

	if (n != 0)
		test_fail(__FILE__, __LINE__, "step %ld: %u permits", step, n);
	CHECK_EQ(tine_sem_post(&scene->sem, PERMITS), 0);
	CHECK_EQ(take_all(&scene->sem), PERMITS);
}

TEST_LIMIT(sem_wait_that_sleeps, 300)
{
	struct sem_scene *scene = new_sem();

	CHECK_EQ(take_all(&scene->sem), PERMITS);
	kill_each_step(&(struct steps){ enter, wait_in_vain, there_is_none }, scene, 100);
	tine_shared_free(scene);
}

static void get_each(void *arg)
{
	struct sem_scene *scene = arg;

	while (!scene->stop) {
		int err = tine_sem_wait(&scene->sem, TINE_FOREVER);

		CHECK(err == 0);
		atomic_fetch_add(&scene->got, 1);
	}
}

static void give_one(void *arg)
{
	struct sem_scene *scene = arg;

	CHECK_EQ(tine_sem_post(&scene->sem, 1), 0);
}

/* What was posted before the death, that is, woken for or not. */
static void sleeper_gets_it(void *arg, long step)
{
	struct sem_scene *scene = arg;

	(void)step;
	while (tine_sem_value(&scene->sem) > 0)
		test_sleep_us(100);
}

TEST_LIMIT(sem_post_with_a_sleeper, 180)
{
	struct sem_scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t pid;

	pid = test_fork(get_each, scene);
	kill_each_step(&(struct steps){ enter, give_one, sleeper_gets_it }, scene, 50);
	test_kill(pid);
	tine_shared_free(scene);
}

/* ---- mutex ----------------------------------------------------------------------- */

static const tine_sem_opts mutex = { .mutex = true };

static tine_sem *new_mutex(void)
{
	tine_sem *sem = tine_shared_new(1, sizeof(*sem));

	CHECK_EQ(tine_sem_init(sem, &mutex), 0);
	return sem;
}

static void take_mutex(void *sem)
{
	CHECK_EQ(tine_sem_wait(sem, TINE_FOREVER), 0);
}

static void release_mutex(void *sem)
{
	CHECK_EQ(tine_sem_post(sem, 1), 0);
}

static void take_and_release_mutex(void *sem)
{
	take_mutex(sem);
	release_mutex(sem);
}

static void it_is_free_once(void *sem, long step)
{
	int err = tine_sem_wait(sem, TINE_NOWAIT);

	if (err != 0 && err != -EOWNERDEAD)
		test_fail(__FILE__, __LINE__, "step %ld: %s", step, tine_strerror(err));
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), -ETIMEDOUT);
	release_mutex(sem);
	CHECK_EQ(tine_sem_post(sem, 1), -EPERM);
}

TEST_LIMIT(mutex_wait_and_post, 180)
{
	tine_sem *sem = new_mutex();

	kill_each_step(&(struct steps){ enter, take_and_release_mutex, it_is_free_once },
		       sem, 50);
	tine_shared_free(sem);
}

/* Of what this process has taken: it has it still, or does not, and never by halves. */
static void it_was_released_or_not(void *sem, long step)
{
	(void)step;
	if (tine_sem_value(sem) == 0)
		release_mutex(sem);
	CHECK_EQ(tine_sem_post(sem, 1), -EPERM);
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), 0);
}

TEST_LIMIT(mutex_post_by_another, 180)
{
	tine_sem *sem = new_mutex();

	take_mutex(sem);
	kill_each_step(&(struct steps){ enter, release_mutex, it_was_released_or_not },
		       sem, 20);
	tine_shared_free(sem);
}

/* In the child, with the mutex of one that is dead. */
static void take_of_the_dead(void *sem)
{
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), -EOWNERDEAD);
}

static void leave_it_dead(void *sem)
{
	int err = tine_sem_wait(sem, TINE_NOWAIT);

	CHECK(err == 0 || err == -EOWNERDEAD);
}

static void the_next_is_told(void *sem, long step)
{
	int err = tine_sem_wait(sem, TINE_NOWAIT);

	if (err != -EOWNERDEAD)
		test_fail(__FILE__, __LINE__, "step %ld: %s", step, tine_strerror(err));
	release_mutex(sem);
	CHECK_EQ(test_reap(test_fork(leave_it_dead, sem)), 0);
}

TEST_LIMIT(mutex_wait_after_a_death, 180)
{
	tine_sem *sem = new_mutex();

	CHECK_EQ(test_reap(test_fork(leave_it_dead, sem)), 0);
	kill_each_step(&(struct steps){ enter, take_of_the_dead, the_next_is_told }, sem,
		       50);
	tine_shared_free(sem);
}

/* ---- lock to read or write ------------------------------------------------------- */

static void read_and_release(void *rwlock)
{
	CHECK_EQ(tine_rwlock_read(rwlock, TINE_FOREVER), 0);
	CHECK_EQ(tine_rwlock_release(rwlock), 0);
}

static void write_and_release(void *rwlock)
{
	CHECK_EQ(tine_rwlock_write(rwlock, TINE_FOREVER), 0);
	CHECK_EQ(tine_rwlock_release(rwlock), 0);
}

/* Nobody has it, and what a dead writer left no reader sees untold. */
static void anybody_has_it(void *rwlock, long step)
{
	int read = tine_rwlock_read(rwlock, TINE_NOWAIT), wrote;

	if (read != 0 && read != -EOWNERDEAD)
		test_fail(__FILE__, __LINE__, "step %ld: %s", step, tine_strerror(read));
	CHECK_EQ(tine_rwlock_release(rwlock), 0);
	wrote = tine_rwlock_write(rwlock, TINE_NOWAIT);
	if ((wrote != 0 && wrote != -EOWNERDEAD) || (read != 0 && wrote == 0))
		test_fail(__FILE__, __LINE__, "step %ld: %s", step, tine_strerror(wrote));
	CHECK_EQ(tine_rwlock_release(rwlock), 0);
	write_and_release(rwlock);
	read_and_release(rwlock);
	CHECK_EQ(tine_rwlock_release(rwlock), -EPERM);
}

TEST_LIMIT(rwlock_read, 180)
{
	tine_rwlock *rwlock = tine_shared_new(1, sizeof(*rwlock));

	kill_each_step(&(struct steps){ enter, read_and_release, anybody_has_it }, rwlock,
		       100);
	tine_shared_free(rwlock);
}

TEST_LIMIT(rwlock_write, 180)
{
	tine_rwlock *rwlock = tine_shared_new(1, sizeof(*rwlock));

	kill_each_step(&(struct steps){ enter, write_and_release, anybody_has_it },
		       rwlock, 100);
	tine_shared_free(rwlock);
}

static void write_in_vain(void *rwlock)
{
	CHECK_EQ(tine_rwlock_write(rwlock, tine_after(1)), -ETIMEDOUT);
}

/* This process has a hold all the time, and a dead claim keeps nobody out. */
static void another_reads(void *rwlock, long step)
{
	int err = tine_rwlock_read(rwlock, TINE_NOWAIT);

	if (err)
		test_fail(__FILE__, __LINE__, "step %ld: %s", step, tine_strerror(err));
	CHECK_EQ(tine_rwlock_release(rwlock), 0);
}

TEST_LIMIT(rwlock_write_that_waits, 180)
{
	tine_rwlock *rwlock = tine_shared_new(1, sizeof(*rwlock));

	CHECK_EQ(tine_rwlock_read(rwlock, TINE_NOWAIT), 0);
	kill_each_step(&(struct steps){ enter, write_in_vain, another_reads }, rwlock,
		       100);
	CHECK_EQ(tine_rwlock_release(rwlock), 0);
	anybody_has_it(rwlock, 0);
	tine_shared_free(rwlock);
}

static void die_writing(void *rwlock)
{
	int err = tine_rwlock_write(rwlock, TINE_NOWAIT);

	CHECK(err == 0 || err == -EOWNERDEAD);
}

static void read_what_is_broken(void *rwlock)
{
	CHECK_EQ(tine_rwlock_read(rwlock, TINE_NOWAIT), -EOWNERDEAD);
	CHECK_EQ(tine_rwlock_release(rwlock), 0);
}

static void a_writer_is_told(void *rwlock, long step)
{
	int err = tine_rwlock_read(rwlock, TINE_NOWAIT);

	if (err != -EOWNERDEAD)
		test_fail(__FILE__, __LINE__, "step %ld: %s", step, tine_strerror(err));
	CHECK_EQ(tine_rwlock_release(rwlock), 0);
	CHECK_EQ(tine_rwlock_write(rwlock, TINE_NOWAIT), -EOWNERDEAD);
	CHECK_EQ(tine_rwlock_release(rwlock), 0);
	CHECK_EQ(test_reap(test_fork(die_writing, rwlock)), 0);
}

TEST_LIMIT(rwlock_read_after_a_writers_death, 180)
{
	tine_rwlock *rwlock = tine_shared_new(1, sizeof(*rwlock));

	CHECK_EQ(test_reap(test_fork(die_writing, rwlock)), 0);
	kill_each_step(&(struct steps){ enter, read_what_is_broken, a_writer_is_told },
		       rwlock, 100);
	tine_shared_free(rwlock);
}

/* ---- condition ------------------------------------------------------------------- */

struct cond_scene {
	tine_lock lock;
	tine_cond cond;
	_Atomic long said, heard;
};

static void acquire(void *arg)
{
	struct cond_scene *scene = arg;
	int err = tine_lock_acquire(&scene->lock, tine_after(5000));

	CHECK(err == 0 || err == -EOWNERDEAD);
}

static void release(void *arg)
{
	struct cond_scene *scene = arg;

	CHECK_EQ(tine_lock_release(&scene->lock), 0);
}

static void wait_a_little(void *arg)
{
	struct cond_scene *scene = arg;

	CHECK_EQ(tine_cond_wait(&scene->cond, &scene->lock, tine_after(1)), -ETIMEDOUT);
}

static void another_can_wait(void *arg, long step)
{
	struct cond_scene *scene = arg;
	uint32_t turn;

	(void)step;
	acquire(scene);
	tine_cond_wake(&scene->cond, 1);
	turn = scene->cond.priv[0];
	/* Nobody is there any more, and this is known. */
	tine_cond_wake(&scene->cond, 1);
	CHECK_EQ(scene->cond.priv[0], turn);
	wait_a_little(scene);
	release(scene);
}

TEST_LIMIT(cond_wait, 180)
{
	struct cond_scene *scene = tine_shared_new(1, sizeof(*scene));

	kill_each_step(&(struct steps){ acquire, wait_a_little, another_can_wait }, scene,
		       100);
	tine_shared_free(scene);
}

static void listen(void *arg)
{
	struct cond_scene *scene = arg;

	acquire(scene);
	for (;;) {
		int err;

		while (scene->heard == scene->said) {
			err = tine_cond_wait(&scene->cond, &scene->lock, TINE_FOREVER);
			CHECK(err == 0 || err == -EOWNERDEAD);
		}
		scene->heard = scene->said;
	}
}

static void say(void *arg)
{
	struct cond_scene *scene = arg;

	acquire(scene);
	scene->said++;
	release(scene);
}

static void wake(void *arg)
{
	struct cond_scene *scene = arg;

	CHECK_EQ(tine_cond_wake(&scene->cond, 1), 0);
}

static void it_is_heard(void *arg, long step)
{
	struct cond_scene *scene = arg;

	(void)step;
	while (scene->heard != scene->said)
		test_sleep_us(100);
}

TEST_LIMIT(cond_wake, 180)
{
	struct cond_scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t pid = test_fork(listen, scene);

	kill_each_step(&(struct steps){ say, wake, it_is_heard }, scene, 10);
	test_kill(pid);
	tine_shared_free(scene);
}

/* ---- barrier --------------------------------------------------------------------- */

struct barrier_scene {
	tine_barrier barrier;
	_Atomic long rounds, told; /* of who is there all the time */
	long own;
	uint64_t seed;
};

static void come_each_time(void *arg)
{
	struct barrier_scene *scene = arg;

	for (;;) {
		int err = tine_barrier_wait(&scene->barrier, 2, TINE_FOREVER);

		CHECK(err == 0 || err == 1 || err == -EOWNERDEAD);
		atomic_fetch_add(err < 0 ? &scene->told : &scene->rounds, 1);
	}
}

static void come_last(void *arg)
{
	struct barrier_scene *scene = arg;

	CHECK(tine_barrier_wait(&scene->barrier, 2, TINE_FOREVER) >= 0);
}

/* How many wait: a look at the word inside. */
static unsigned arrived(struct barrier_scene *scene)
{
	return atomic_load((_Atomic uint64_t *)&scene->barrier.priv[1]) >> 24 & 0xffff;
}

static void another_can_come(void *arg, long step)
{
	struct barrier_scene *scene = arg;
	long rounds = scene->rounds, told = scene->told;
	int err;

	do {
		err = tine_barrier_wait(&scene->barrier, 2, tine_after(5000));
		if (err == -ETIMEDOUT)
			test_fail(__FILE__, __LINE__, "step %ld: held up", step);
	} while (err < 0);
	/* The round of this process, and perhaps of the dead one. */
	while (scene->rounds == rounds || arrived(scene) == 0)
		test_sleep_us(100);
	CHECK(scene->rounds <= rounds + 2);
	CHECK(scene->told <= told + 1);
}

TEST_LIMIT(barrier_wait_of_the_last, 300)
{
	struct barrier_scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t pid = test_fork(come_each_time, scene);

	kill_each_step(&(struct steps){ enter, come_last, another_can_come }, scene, 300);
	test_kill(pid);
	tine_shared_free(scene);
}

static void come_in_vain(void *arg)
{
	struct barrier_scene *scene = arg;

	CHECK_EQ(tine_barrier_wait(&scene->barrier, 2, tine_after(1)), -ETIMEDOUT);
}

static void nobody_is_there(void *arg, long step)
{
	struct barrier_scene *scene = arg;
	int err = tine_barrier_wait(&scene->barrier, 2, TINE_NOWAIT);

	/*
	 * When its tie was there the death is told, as may be that of the one before,
	 * which nobody had noticed; and never is the round complete.
	 */
	for (int i = 0; i < 2 && err == -EOWNERDEAD; i++)
		err = tine_barrier_wait(&scene->barrier, 2, TINE_NOWAIT);
	if (err != -ETIMEDOUT)
		test_fail(__FILE__, __LINE__, "step %ld: %s", step, tine_strerror(err));
}

TEST_LIMIT(barrier_wait_that_sleeps, 300)
{
	struct barrier_scene *scene = tine_shared_new(1, sizeof(*scene));

	nobody_is_there(scene, 0);
	kill_each_step(&(struct steps){ enter, come_in_vain, nobody_is_there }, scene,
		       300);
	tine_shared_free(scene);
}

/* ---- pipe ------------------------------------------------------------------------ */

enum { LONG = 200000 };

struct pipe_scene {
	int ends[2];
	size_t len;
	int descriptors;
	char msg[LONG], got[LONG];
};

static struct pipe_scene *new_pipe(size_t len)
{
	struct pipe_scene *scene = tine_shared_new(1, sizeof(*scene));

	CHECK_EQ(tine_pipe_new(scene->ends), 0);
	scene->len = len;
	for (size_t i = 0; i < len; i++)
		scene->msg[i] = (char)(i * 7 + i / 256);
	scene->descriptors = test_descriptors();
	return scene;
}

static void free_pipe(struct pipe_scene *scene)
{
	close(scene->ends[0]);
	close(scene->ends[1]);
	tine_shared_free(scene);
}

static void send_it(void *arg)
{
	struct pipe_scene *scene = arg;

	CHECK_EQ(tine_pipe_send(scene->ends[0], scene->msg, scene->len, TINE_FOREVER), 0);
}

static ssize_t receive(struct pipe_scene *scene)
{
	ssize_t n;

	memset(scene->got, 0, scene->len);
	n = tine_pipe_recv(scene->ends[1], scene->got, LONG, TINE_NOWAIT);
	if (n >= 0) {
		CHECK_EQ(n, scene->len);
		CHECK(memcmp(scene->got, scene->msg, scene->len) == 0);
	}
	return n;
}

static void receive_it(void *arg)
{
	struct pipe_scene *scene = arg;

	CHECK_EQ(tine_pipe_recv(scene->ends[1], scene->got, LONG, TINE_FOREVER),
		 scene->len);
}

static void whole_or_not_there(void *arg, long step)
{
	struct pipe_scene *scene = arg;
	ssize_t n = receive(scene);

	if (n < 0 && n != -ETIMEDOUT)
		test_fail(__FILE__, __LINE__, "step %ld: %s", step, tine_strerror(n));
	CHECK_EQ(receive(scene), -ETIMEDOUT);
	send_it(scene);
	receive_it(scene);
	CHECK_EQ(test_descriptors(), scene->descriptors);
}

static void kill_pipe(size_t len, bool sends)
{
	struct pipe_scene *scene = new_pipe(len);
	struct steps steps = { sends ? NULL : send_it, sends ? send_it : receive_it,
			       whole_or_not_there };

	kill_each_step(&steps, scene, 30);
	free_pipe(scene);
}

TEST_LIMIT(pipe_send, 180)
{
	kill_pipe(100, true);
}

TEST_LIMIT(pipe_send_of_a_long_message, 180)
{
	kill_pipe(LONG, true);
}

TEST_LIMIT(pipe_recv, 180)
{
	kill_pipe(100, false);
}

TEST_LIMIT(pipe_recv_of_a_long_message, 180)
{
	kill_pipe(LONG, false);
}

/* ---- members --------------------------------------------------------------------- */

struct member_scene {
	member_bond bond;
	_Atomic uint64_t id;
	uint32_t deaths;
};

static void note_index(void *arg)
{
	struct member_scene *scene = arg;

	scene->id = member_id();
}

/* The record after this process's is free: the dead keep none. */
static void record_is_free(void *arg, long step)
{
	struct member_scene *scene = arg;

	members_sweep();
	CHECK_EQ(test_reap(test_fork(note_index, scene)), 0);
	if (member_index(scene->id) != 1)
		test_fail(__FILE__, __LINE__, "step %ld: record %u", step,
			  member_index(scene->id));
	members_sweep();
	CHECK(member_gone(scene->id));
}

TEST_LIMIT(entering, 600)
{
	struct member_scene *scene = tine_shared_new(1, sizeof(*scene));

	kill_each_step(&(struct steps){ NULL, enter, record_is_free }, scene, 100);
	tine_shared_free(scene);
}

static void tie(void *arg)
{
	struct member_scene *scene = arg;
	struct tie *tie = member_tie(member_self(), &scene->bond);

	CHECK(tie != NULL);
	atomic_store(&tie->value, 5);
	scene->id = member_id();
}

static void untie(void *arg)
{
	struct member_scene *scene = arg;

	member_untie(member_tie(member_self(), &scene->bond));
}

static void tie_and_untie(void *arg)
{
	tie(arg);
	untie(arg);
}

static void nothing_counts(void *arg, long step)
{
	struct member_scene *scene = arg;

	(void)step;
	members_sweep();
	CHECK_EQ(members_sum(&scene->bond), 0);
	CHECK(bond_deaths(&scene->bond) - scene->deaths <= 1);
	scene->deaths = bond_deaths(&scene->bond);
}

TEST_LIMIT(tying_and_untying, 180)
{
	struct member_scene *scene = tine_shared_new(1, sizeof(*scene));

	CHECK(bond_number(&scene->bond) != 0);
	kill_each_step(&(struct steps){ enter, tie_and_untie, nothing_counts }, scene,
		       100);
	tine_shared_free(scene);
}

static void leave(void *arg)
{
	(void)arg;
	member_leave();
}

TEST_LIMIT(leaving, 180)
{
	struct member_scene *scene = tine_shared_new(1, sizeof(*scene));

	CHECK(bond_number(&scene->bond) != 0);
	kill_each_step(&(struct steps){ tie, leave, nothing_counts }, scene, 30);
	tine_shared_free(scene);
}

static void tie_and_stay(void *arg)
{
	tie(arg);
	raise(SIGSTOP);
}

/* There is one to be buried. */
static void have_one_die(void *arg)
{
	struct member_scene *scene = arg;
	sigset_t set;
	int status;
	pid_t pid;

	/* It would stop a process that is traced, before it comes to the steps. */
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	enter(NULL);
	pid = test_fork(tie_and_stay, scene);
	CHECK(waitpid(pid, &status, WUNTRACED) == pid);
	CHECK(WIFSTOPPED(status));
	test_kill(pid);
}

static void sweep(void *arg)
{
	(void)arg;
	CHECK_EQ(members_sweep(), 1);
}

static void it_is_buried(void *arg, long step)
{
	struct member_scene *scene = arg;
	uint32_t more;

	members_sweep();
	more = bond_deaths(&scene->bond) - scene->deaths;
	/* Twice, when the one who told it died before it was buried. */
	if (more < 1 || more > 2)
		test_fail(__FILE__, __LINE__, "step %ld: told %u times", step, more);
	CHECK(member_gone(scene->id));
	CHECK_EQ(members_sum(&scene->bond), 0);
	CHECK_EQ(members_sweep(), 0);
	scene->deaths = bond_deaths(&scene->bond);
}

TEST_LIMIT(burying, 600)
{
	struct member_scene *scene = tine_shared_new(1, sizeof(*scene));

	kill_each_step(&(struct steps){ have_one_die, sweep, it_is_buried }, scene, 100);
	tine_shared_free(scene);
}

/* ---- at random ------------------------------------------------------------------- */

enum { WORKERS = 4 };

/* Kills one of them now and then, and starts another. */
static void kill_at_random(void (*fn)(void *), void *arg, long kills,
			   void (*check)(void *))
{
	unsigned random = (unsigned)test_seed();
	pid_t pids[WORKERS];

	for (int i = 0; i < WORKERS; i++)
		pids[i] = test_fork(fn, arg);
	while (kills-- > 0) {
		int at = rand_r(&random) % WORKERS;

		test_sleep_us(rand_r(&random) % 3000);
		test_kill(pids[at]);
		pids[at] = test_fork(fn, arg);
		if (check)
			check(arg);
	}
	for (int i = 0; i < WORKERS; i++)
		test_kill(pids[i]);
}

static void take_and_give(void *arg)
{
	struct sem_scene *scene = arg;
	unsigned random = getpid();

	for (;;) {
		unsigned n = 1 + rand_r(&random) % PERMITS, taken = 0;
		int err = 0;

		while (taken < n && err != -ETIMEDOUT) {
			err = tine_sem_wait(&scene->sem,
					    taken ? TINE_NOWAIT : TINE_FOREVER);
			CHECK(err == 0 || err == -EOWNERDEAD || err == -ETIMEDOUT);
			taken += err != -ETIMEDOUT;
		}
		atomic_fetch_add(&scene->got, 1);
		CHECK_EQ(tine_sem_post(&scene->sem, taken), 0);
	}
}

static void sem_goes_on(void *arg)
{
	struct sem_scene *scene = arg;
	long got = scene->got;

	while (scene->got == got)
		test_sleep_us(100);
}

TEST_LIMIT(sem_at_random, 180)
{
	struct sem_scene *scene = new_sem();

	kill_at_random(take_and_give, scene, test_sampled(800), sem_goes_on);
	permits_are_all_there(scene, -1);
	tine_shared_free(scene);
}

/* Two numbers that are equal, for whoever is not told that they may not be. */
struct book {
	tine_lock lock;
	tine_sem mutex;
	tine_rwlock rwlock;
	volatile long left, right;
	_Atomic long turns;
};

static void change_book(struct book *book, int err)
{
	CHECK(err == 0 || err == -EOWNERDEAD);
	if (err)
		book->right = book->left;
	CHECK_EQ(book->left, book->right);
	book->left++;
	for (volatile int i = 0; i < 100; i++)
		;
	book->right++;
	atomic_fetch_add(&book->turns, 1);
}

static void change_by_mutex(void *arg)
{
	struct book *book = arg;

	for (;;) {
		change_book(book, tine_sem_wait(&book->mutex, TINE_FOREVER));
		CHECK_EQ(tine_sem_post(&book->mutex, 1), 0);
	}
}

/* Half of them sleep in the C library. */
static void change_by_lock(void *arg)
{
	struct book *book = arg;

	tine_interruptible(getpid() % 2);
	for (;;) {
		change_book(book, tine_lock_acquire(&book->lock, TINE_FOREVER));
		CHECK_EQ(tine_lock_release(&book->lock), 0);
	}
}

static void read_and_change(void *arg)
{
	struct book *book = arg;
	unsigned random = getpid();

	for (;;) {
		bool writes = rand_r(&random) % 4 == 0;
		int64_t deadline = rand_r(&random) % 8 ? TINE_FOREVER
						       : tine_now() + 200000;
		int err = writes ? tine_rwlock_write(&book->rwlock, deadline)
				 : tine_rwlock_read(&book->rwlock, deadline);

		if (err == -ETIMEDOUT)
			continue;
		if (writes)
			change_book(book, err);
		else
			CHECK(err == -EOWNERDEAD || err == 0);
		for (int i = 0; !writes && err == 0 && i < 10; i++)
			CHECK_EQ(book->left, book->right);
		CHECK_EQ(tine_rwlock_release(&book->rwlock), 0);
	}
}

static void book_goes_on(void *arg)
{
	struct book *book = arg;
	long turns = book->turns;

	while (book->turns == turns)
		test_sleep_us(100);
}

static struct book *new_book(void)
{
	struct book *book = tine_shared_new(1, sizeof(*book));

	CHECK_EQ(tine_sem_init(&book->mutex, &mutex), 0);
	return book;
}

TEST_LIMIT(lock_at_random, 180)
{
	struct book *book = new_book();

	kill_at_random(change_by_lock, book, test_sampled(800), book_goes_on);
	tine_shared_free(book);
}

TEST_LIMIT(mutex_at_random, 180)
{
	struct book *book = new_book();

	kill_at_random(change_by_mutex, book, test_sampled(800), book_goes_on);
	it_is_free_once(&book->mutex, -1);
	tine_shared_free(book);
}

TEST_LIMIT(rwlock_at_random, 180)
{
	struct book *book = new_book();

	kill_at_random(read_and_change, book, test_sampled(800), book_goes_on);
	anybody_has_it(&book->rwlock, -1);
	tine_shared_free(book);
}

static void come(void *arg)
{
	struct barrier_scene *scene = arg;
	unsigned random = getpid();

	for (;;) {
		int64_t deadline = rand_r(&random) % 8 ? TINE_FOREVER
						       : tine_now() + 200000;
		int err = tine_barrier_wait(&scene->barrier, WORKERS, deadline);

		CHECK(err == 0 || err == 1 || err == -EOWNERDEAD || err == -ETIMEDOUT);
		if (err == 1)
			atomic_fetch_add(&scene->rounds, 1);
	}
}

static void barrier_goes_on(void *arg)
{
	struct barrier_scene *scene = arg;
	long rounds = scene->rounds;

	while (scene->rounds == rounds)
		test_sleep_us(100);
}

TEST_LIMIT(barrier_at_random, 180)
{
	struct barrier_scene *scene = tine_shared_new(1, sizeof(*scene));

	kill_at_random(come, scene, test_sampled(800), barrier_goes_on);
	tine_shared_free(scene);
}

/* One says, when all has been heard; one hears what was said. */
static void talk(void *arg)
{
	struct cond_scene *scene = arg;
	unsigned random = getpid();

	for (;;) {
		bool hears = rand_r(&random) % 2;
		int64_t deadline = tine_after(rand_r(&random) % 4);

		acquire(scene);
		while (hears == (scene->heard == scene->said)) {
			int err = tine_cond_wait(&scene->cond, &scene->lock, deadline);

			if (err == -ETIMEDOUT)
				break;
			CHECK(err == 0 || err == -EOWNERDEAD);
		}
		CHECK(scene->said - scene->heard <= 1 && scene->said >= scene->heard);
		if (hears && scene->heard < scene->said)
			scene->heard++;
		else if (!hears && scene->heard == scene->said)
			scene->said++;
		tine_cond_wake(&scene->cond, rand_r(&random) % 2 ? 1 : UINT_MAX);
		release(scene);
	}
}

static void talk_goes_on(void *arg)
{
	struct cond_scene *scene = arg;
	long heard = scene->heard;

	while (scene->heard == heard)
		test_sleep_us(100);
}

TEST_LIMIT(cond_at_random, 180)
{
	struct cond_scene *scene = tine_shared_new(1, sizeof(*scene));

	kill_at_random(talk, scene, test_sampled(800), talk_goes_on);
	tine_shared_free(scene);
}

/* Who holds the lock has the pipe to itself. */
struct post {
	struct cond_scene turn;
	struct pipe_scene pipe;
};

static void send_or_receive(void *arg)
{
	struct post *post = arg;
	unsigned random = getpid();

	for (;;) {
		acquire(&post->turn);
		if (rand_r(&random) % 2)
			while (receive(&post->pipe) > 0)
				;
		else
			(void)!tine_pipe_send(post->pipe.ends[0], post->pipe.msg,
					      post->pipe.len, TINE_NOWAIT);
		release(&post->turn);
	}
}

TEST_LIMIT(pipe_at_random, 180)
{
	struct post *post = tine_shared_new(1, sizeof(*post));
	struct pipe_scene *scene = new_pipe(LONG);

	post->pipe = *scene;
	kill_at_random(send_or_receive, post, test_sampled(500), NULL);
	while (receive(&post->pipe) > 0)
		;
	whole_or_not_there(&post->pipe, -1);
	free_pipe(scene);
	tine_shared_free(post);
}
