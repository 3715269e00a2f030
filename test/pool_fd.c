/* SPDX-License-Identifier: MIT */
/*
 * Threads that submit and wait in one pool, and the descriptor that polls readable while
 * a result is there: also when those die who would have said so.
 */
#include "pool/pool.h"
#include "pool/worker.h"
#include "step.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>

enum { THREADS = 3, MANY = 400 };

static int twice(const void *in, void *out)
{
	*(long *)out = 2 * *(const long *)in;
	return 0;
}

static const tine_task task = TINE_TASK(twice, long, long);

static tine_pool *make(const tine_pool_opts *opts)
{
	tine_pool *pool;

	CHECK_EQ(tine_pool_new(&pool, opts), 0);
	return pool;
}

static void submit(tine_pool *pool, const tine_task *what, long in)
{
	CHECK_EQ(tine_pool_submit(pool, what, &in, (uint64_t)in, TINE_FOREVER), 0);
}

/* ---- threads ----------------------------------------------------------------------- */

static struct shared {
	tine_pool *pool;
	_Atomic int seen[THREADS * MANY];
	_Atomic int next, taken;
} shared;

static void *submits(void *arg)
{
	(void)arg;
	for (int i = 0; i < MANY; i++)
		submit(shared.pool, &task, atomic_fetch_add(&shared.next, 1));
	return NULL;
}

static void *takes(void *arg)
{
	tine_done done;
	long out;
	int err;

	(void)arg;
	while ((err = tine_pool_next(shared.pool, &out, sizeof(out), &done,
				     TINE_FOREVER)) == 1) {
		CHECK_EQ(done.status, 0);
		CHECK_EQ(out, 2 * (long)done.tag);
		atomic_fetch_add(&shared.seen[done.tag], 1);
		atomic_fetch_add(&shared.taken, 1);
	}
	CHECK_EQ(err, 0);
	return NULL;
}

static void with_threads(bool ordered, int killed)
{
	tine_pool_opts opts = {
		.workers = 2, .open = true, .ordered = ordered, .retries = 5
	};
	pthread_t submitters[THREADS], takers[THREADS];

	memset(&shared, 0, sizeof(shared));
	shared.pool = make(&opts);
	for (int i = 0; i < THREADS; i++) {
		CHECK_EQ(pthread_create(&takers[i], NULL, takes, NULL), 0);
		CHECK_EQ(pthread_create(&submitters[i], NULL, submits, NULL), 0);
	}
	for (int i = 0; i < killed; i++) {
		kill(shared.pool->nursery.pid, SIGKILL);
		test_sleep_us(20000);
	}
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(submitters[i], NULL), 0);
	CHECK_EQ(tine_pool_close(shared.pool), 0);
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(takers[i], NULL), 0);
	for (int i = 0; i < THREADS * MANY; i++)
		CHECK_EQ(shared.seen[i], 1);
	tine_pool_free(shared.pool);
}

TEST(threads_submit_while_others_wait)
{
	with_threads(false, 0);
}

TEST(also_in_order)
{
	with_threads(true, 0);
}

TEST(and_one_of_them_starts_another_nursery)
{
	with_threads(false, 3);
}

TEST(closed_there_is_no_more)
{
	tine_pool_opts opts = { .workers = 1, .open = true };
	tine_pool *pool = make(&opts);
	tine_done done;
	long in = 3, out;

	CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, tine_after(20)), -ETIMEDOUT);
	submit(pool, &task, 3);
	CHECK_EQ(tine_pool_close(pool), 0);
	CHECK_EQ(tine_pool_submit(pool, &task, &in, 1, TINE_FOREVER), -EPIPE);
	CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done, TINE_FOREVER), 1);
	CHECK_EQ(out, 6);
	CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_FOREVER), 0);
	tine_pool_free(pool);
}

static int sleep_on(const void *in, void *out)
{
	(void)in;
	(void)out;
	while (!tine_cancelled())
		pause();
	return 0;
}

static void *submits_until_it_fails(void *err)
{
	static const tine_task sleeping = TINE_TASK(sleep_on, long, long);
	long in = 0;

	do
		atomic_fetch_add(&shared.next, 1);
	while ((*(int *)err = tine_pool_submit(shared.pool, &sleeping, &in, 0,
					       tine_after(60000))) == 0);
	return NULL;
}

/* One job has been taken, and two wait. */
TEST(closed_nobody_waits_for_room)
{
	tine_pool_opts opts = { .workers = 1, .open = true };
	pthread_t submitter;
	int err = 0;

	memset(&shared, 0, sizeof(shared));
	shared.pool = make(&opts);
	CHECK_EQ(pthread_create(&submitter, NULL, submits_until_it_fails, &err), 0);
	while (atomic_load(&shared.next) < 4)
		test_sleep_us(1000);
	test_sleep_us(20000);
	CHECK_EQ(tine_pool_close(shared.pool), 0);
	CHECK_EQ(pthread_join(submitter, NULL), 0);
	CHECK_EQ(err, -EPIPE);
	tine_pool_free(shared.pool);
}

/* ---- the descriptor ---------------------------------------------------------------- */

static bool readable(int fd, int ms)
{
	struct pollfd polled = { .fd = fd, .events = POLLIN };

	return poll(&polled, 1, ms) == 1;
}

static void hears(int fd)
{
	CHECK(readable(fd, (int)test_patience(20000)));
}

/* The next result, which is there. */
static tine_done take(tine_pool *pool)
{
	tine_done done;

	CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_NOWAIT), 1);
	return done;
}

TEST(readable_while_a_result_is_there)
{
	for (int ordered = 0; ordered < 2; ordered++) {
		tine_pool_opts opts = { .workers = 2, .ordered = ordered };
		tine_pool *pool = make(&opts);
		int fd = tine_pool_fd(pool);
		tine_done done;

		CHECK(fd >= 0);
		CHECK_EQ(tine_pool_fd(pool), fd);
		CHECK(!readable(fd, 0));
		/* More than there are tickets: some are brought home. */
		for (long i = 0; i < 20; i++)
			submit(pool, &task, i);
		for (long i = 0; i < 20; i++) {
			hears(fd);
			done = take(pool);
			if (ordered)
				CHECK_EQ((long)done.tag, i);
		}
		/* A worker may ring late for what was taken, once. */
		for (int late = 0; readable(fd, 20); late++) {
			CHECK(late < 2);
			CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_NOWAIT), 0);
		}
		CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_NOWAIT), 0);
		tine_pool_free(pool);
	}
}

TEST(a_result_from_before_it_was_asked_for)
{
	tine_pool_opts opts = { .workers = 1 };
	tine_pool *pool = make(&opts);
	tine_done done;

	submit(pool, &task, 1);
	submit(pool, &task, 2);
	CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_FOREVER), 1);
	test_sleep_us(50000);
	hears(tine_pool_fd(pool));
	CHECK_EQ(take(pool).status, 0);
	tine_pool_free(pool);
}

static int crashes(const void *in, void *out)
{
	(void)in;
	(void)out;
	raise(SIGKILL);
	return 0;
}

/* All descriptors but the standard ones. */
static int closes_all(const void *in, void *out)
{
	for (int fd = 3; fd < 256; fd++)
		close(fd);
	/* What has its number now gets nothing. */
	while (open("/dev/zero", O_WRONLY) < 64)
		;
	return twice(in, out);
}

TEST(heard_of_a_death_and_of_one_that_has_closed_all)
{
	tine_task crash = TINE_TASK(crashes, long, long),
		  close_all = TINE_TASK(closes_all, long, long);
	tine_pool_opts opts = { .workers = 1 };
	tine_pool *pool = make(&opts);
	int fd = tine_pool_fd(pool);

	submit(pool, &crash, 1);
	hears(fd);
	CHECK_EQ(take(pool).status, -TINE_ECRASH);
	submit(pool, &close_all, 2);
	hears(fd);
	CHECK_EQ(take(pool).status, 0);
	CHECK(!readable(fd, 0));
	tine_pool_free(pool);
}

static int kills_nursery(const void *in, void *out)
{
	(void)in;
	(void)out;
	kill(getppid(), SIGKILL);
	for (;;)
		pause();
	return 0;
}

TEST(and_of_the_nursery_s_death)
{
	tine_task kills = TINE_TASK(kills_nursery, long, long);
	tine_pool_opts opts = { .workers = 1 };
	tine_pool *pool = make(&opts);
	int fd = tine_pool_fd(pool);
	tine_done done;

	submit(pool, &kills, 1);
	do
		hears(fd);
	while (tine_pool_next(pool, NULL, 0, &done, TINE_NOWAIT) == -ETIMEDOUT);
	CHECK_EQ(done.status, -TINE_ECRASH);
	CHECK(!readable(fd, 0));
	/* Idle. */
	kill(pool->nursery.pid, SIGKILL);
	hears(fd);
	CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_NOWAIT), 0);
	CHECK(!readable(fd, 0));
	submit(pool, &task, 5);
	hears(fd);
	CHECK_EQ(take(pool).status, 0);
	CHECK_EQ(tine_pool_refresh(pool), 0);
	CHECK(!readable(fd, 0));
	submit(pool, &task, 6);
	hears(fd);
	CHECK_EQ(take(pool).status, 0);
	tine_pool_free(pool);
}

static void uses_its_parents(void *arg)
{
	tine_pool *pool = arg;

	CHECK_EQ(tine_pool_fd(pool), -EPERM);
	CHECK_EQ(tine_pool_close(pool), -EPERM);
	tine_pool_free(pool);
}

static void goes_on_without_descriptors(void *arg)
{
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 2 });
	long in = 21, out = 0;

	(void)arg;
	CHECK(tine_pool_fd(pool) >= 0);
	test_take_descriptors();
	CHECK_EQ(tine_pool_map(pool, &task, &in, &out, 1, NULL, TINE_FOREVER), 0);
	CHECK_EQ(out, 42);
	tine_pool_free(pool);
	CHECK(test_has_taken());
}

TEST(descriptors_that_are_others_now_are_left_alone)
{
	CHECK_EQ(test_reap(test_fork(goes_on_without_descriptors, NULL)), 0);
}

TEST(a_child_has_a_copy)
{
	tine_pool_opts opts = { .workers = 1 };
	tine_pool *pool = make(&opts);
	int fd = tine_pool_fd(pool);

	CHECK_EQ(test_reap(test_fork(uses_its_parents, pool)), 0);
	submit(pool, &task, 5);
	hears(fd);
	CHECK_EQ(take(pool).status, 0);
	CHECK(!readable(fd, 0));
	tine_pool_free(pool);
}

/* ---- at every instruction ---------------------------------------------------------- */

static struct scene {
	struct ledger *ledger;
	struct bell bell;
	struct ticket *tickets;
	long in, out, rung, done;
} * scene;

static void reset(void)
{
	struct ticket *ticket = &scene->tickets[0];

	ticket->fn = twice;
	ticket->data.mem = &scene->in;
	ticket->in_size = 0;
	ticket->attempts = 0;
	ticket->retries = 9;
	atomic_store(&ticket->number, atomic_load(&ticket->number) + 1);
	atomic_store(&ticket->state, ticket_word(WAITING, 0));
	bell_hush(&scene->bell);
	atomic_store(&scene->ledger->bell, (atomic_load(&scene->ledger->bell) + 1) | 1);
}

static void works(void *arg)
{
	(void)arg;
	worker_main(scene->ledger, 0);
}

/* As the nursery does it; then a caller that polls finds a byte, if there is a result. */
static void nobody_polls_in_vain(void *arg, long step)
{
	struct ledger *ledger = scene->ledger;
	bool done;

	(void)arg;
	CHECK_EQ(ledger_lock(ledger, tine_after(2000)), 0);
	desk_mend(ledger, 0, (tine_exit){ .code = -1, .signal = SIGKILL }, false);
	ledger_unlock(ledger);
	ledger_ring_anew(ledger);
	done = ticket_state(atomic_load(&scene->tickets[0].state)) == DONE;
	if (done != readable(scene->bell.near.fd, 0))
		test_fail(__FILE__, __LINE__, "step %ld: done %d, and the bell %u", step,
			  done, atomic_load(&ledger->bell));
	scene->done += done;
	reset();
}

TEST_LIMIT(a_worker_killed_at_every_step, 240)
{
	const struct steps steps = { NULL, works, nobody_polls_in_vain };
	struct ledger *ledger = tine_shared_new(1, sizeof(*ledger) +
							   sizeof(struct pool_desk));

	scene = tine_shared_new(1, sizeof(*scene));
	scene->ledger = ledger;
	scene->tickets = tine_shared_new(3, sizeof(struct ticket));
	ledger->workers = 1;
	ledger->jobs_per_worker = 1;
	ledger->retries = 9;
	atomic_store(&ledger->tickets, scene->tickets);
	CHECK_EQ(bell_new(&scene->bell), 0);
	ledger->rope = scene->bell.rope;
	atomic_store(&ledger->nursery, getpid());
	reset();
	CHECK(test_kill_some_steps(&steps, NULL, 4) > 100);
	CHECK(scene->done > 0);
	bell_free(&scene->bell);
	tine_shared_free(scene->tickets);
	tine_shared_free(ledger);
	tine_shared_free(scene);
}
