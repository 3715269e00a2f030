/* SPDX-License-Identifier: MIT */
/* One of the submitted jobs: waited for, cancelled, with a limit of its own. */
#include "pool_use.h"
#include "step.h"

#include "pool/pool.h"

static struct board {
	_Atomic int begun, tries;
	_Atomic int pid;
	_Atomic int go;
	long ended; /* pools whose caller came to its end */
} * board;

static tine_pool *make(unsigned workers, bool ordered)
{
	return POOL_WITH(board, .workers = workers, .ordered = ordered);
}

static void unmake(tine_pool *pool)
{
	tine_pool_free(pool);
	tine_shared_free(board);
}

static tine_task task_of(tine_fn *fn)
{
	return (tine_task){ .fn = fn, .in_size = sizeof(long), .out_size = sizeof(long) };
}

static uint64_t submit(tine_pool *pool, tine_fn *fn, long in, const tine_job_opts *opts)
{
	tine_task task = task_of(fn);
	uint64_t job = 0;

	CHECK_EQ(tine_pool_submit_job(pool, &task, &in, sizeof(in), (uint64_t)in, opts,
				      &job, TINE_FOREVER),
		 0);
	CHECK(job > 0);
	return job;
}

static int status_of_job(tine_pool *pool, uint64_t job)
{
	tine_done done;

	CHECK_EQ(tine_pool_wait(pool, job, NULL, 0, &done, TINE_FOREVER), 0);
	return done.status;
}

static int square(const void *in, void *out)
{
	*(long *)out = *(const long *)in * *(const long *)in;
	atomic_fetch_add(&board->tries, 1);
	return 0;
}

/* Until it is let go. */
static int holds(const void *in, void *out)
{
	atomic_store(&board->pid, getpid());
	atomic_fetch_add(&board->begun, 1);
	while (!atomic_load(&board->go))
		test_sleep_us(1000);
	return square(in, out);
}

static int crashes(const void *in, void *out)
{
	(void)in;
	(void)out;
	atomic_fetch_add(&board->tries, 1);
	raise(SIGKILL);
	return 0;
}

static void await_begun(void)
{
	while (!atomic_load(&board->begun))
		test_sleep_us(500);
}

TEST(waited_for_out_of_turn)
{
	for (int ordered = 0; ordered < 2; ordered++) {
		tine_pool *pool = make(2, ordered);
		uint64_t jobs[20];
		long out, left = 0;
		tine_done done;

		/* Some are brought home. */
		for (int i = 0; i < 20; i++)
			jobs[i] = submit(pool, square, i, NULL);
		for (int i = 19; i > 0; i -= 3) {
			CHECK_EQ(tine_pool_wait(pool, jobs[i], &out, sizeof(out), &done,
						TINE_FOREVER),
				 0);
			CHECK_EQ(done.tag, i);
			CHECK_EQ(out, (long)i * i);
			CHECK_EQ(tine_pool_wait(pool, jobs[i], NULL, 0, &done,
						TINE_FOREVER),
				 -ENOENT);
			CHECK_EQ(tine_pool_cancel_job(pool, jobs[i]), -ENOENT);
		}
		for (int i = 0; i < 20; i++) {
			if (i % 3 == 1)
				continue;
			CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done,
						TINE_FOREVER),
				 1);
			if (ordered)
				CHECK_EQ(done.tag, i);
			left++;
		}
		CHECK_EQ(left, 13);
		CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_FOREVER), 0);
		unmake(pool);
	}
}

TEST(cancelled_while_it_waits)
{
	tine_pool *pool = make(1, false);
	uint64_t first, second;
	tine_task squares = task_of(square);
	tine_done done;

	test_will_call(pool, &squares);
	first = submit(pool, holds, 2, NULL);
	await_begun();
	second = submit(pool, square, 3, NULL);
	CHECK_EQ(tine_pool_wait(pool, second, NULL, 0, &done, tine_after(20)),
		 -ETIMEDOUT);
	CHECK_EQ(tine_pool_cancel_job(pool, second), 0);
	/* Though its only worker is busy. */
	CHECK_EQ(status_of_job(pool, second), -ECANCELED);
	CHECK_EQ(board->tries, 0);
	atomic_store(&board->go, 1);
	CHECK_EQ(status_of_job(pool, first), 0);
	unmake(pool);
}

static void cancel_running(bool stopped)
{
	tine_pool *pool = make(2, false);
	uint64_t job = submit(pool, holds, 2, NULL);
	tine_done done;
	long out;

	await_begun();
	if (stopped)
		kill(board->pid, SIGSTOP);
	CHECK_EQ(tine_pool_cancel_job(pool, job), 0);
	CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_FOREVER), 1);
	CHECK_EQ(done.status, -ECANCELED);
	CHECK_EQ(done.how.signal, SIGKILL);
	CHECK(!test_alive(board->pid));
	for (int i = 0; i < 6; i++)
		submit(pool, square, i, NULL);
	while (tine_pool_next(pool, &out, sizeof(out), &done, TINE_FOREVER) == 1) {
		CHECK_EQ(done.status, 0);
		CHECK_EQ(out, (long)(done.tag * done.tag));
	}
	unmake(pool);
}

TEST(cancelled_while_it_runs)
{
	cancel_running(false);
}

TEST(cancelled_while_its_worker_is_stopped)
{
	cancel_running(true);
}

TEST(cancelled_when_it_is_done)
{
	tine_pool *pool = make(1, false);
	uint64_t job = submit(pool, square, 5, NULL);
	tine_done done;
	long out;

	while (!atomic_load(&board->tries))
		test_sleep_us(500);
	submit(pool, square, 1, NULL);
	while (atomic_load(&board->tries) < 2)
		test_sleep_us(500);
	CHECK_EQ(tine_pool_cancel_job(pool, job), 0);
	CHECK_EQ(tine_pool_wait(pool, job, &out, sizeof(out), &done, TINE_FOREVER), 0);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(out, 25);
	unmake(pool);
}

/* It dies again and again, and whoever mends it finds that nobody wants it. */
TEST(cancelled_between_two_tries)
{
	static const tine_job_opts tries = { .retries = 1000000 };

	for (int round = 0; round < test_sampled(20); round++) {
		tine_pool *pool = make(2, false);
		uint64_t job = submit(pool, crashes, 0, &tries);

		while (atomic_load(&board->tries) < 2)
			test_sleep_us(100 * round);
		CHECK_EQ(tine_pool_cancel_job(pool, job), 0);
		CHECK_EQ(status_of_job(pool, job), -ECANCELED);
		unmake(pool);
	}
}

TEST(cancelled_as_the_nursery_dies)
{
	static const tine_job_opts tries = { .retries = 1000 };

	for (int round = 0; round < 4; round++) {
		tine_pool *pool = make(1, false);
		uint64_t job = submit(pool, holds, 0, round < 2 ? &tries : NULL);

		await_begun();
		if (round % 2)
			kill(pool->nursery.pid, SIGKILL);
		CHECK_EQ(tine_pool_cancel_job(pool, job), 0);
		if (round % 2 == 0)
			kill(pool->nursery.pid, SIGKILL);
		CHECK_EQ(status_of_job(pool, job), -ECANCELED);
		unmake(pool);
	}
}

TEST(limits_and_retries_of_its_own)
{
	static const tine_job_opts brief = { .job_ms = 50 }, tries = { .retries = 2 };
	tine_pool *pool = make(2, false);
	uint64_t endless = submit(pool, holds, 1, &brief), other;
	tine_done done;

	CHECK_EQ(tine_pool_wait(pool, endless, NULL, 0, &done, TINE_FOREVER), 0);
	CHECK_EQ(done.status, -TINE_ELIMIT);
	CHECK_EQ(done.limit, TINE_LIMIT_TIME);
	CHECK_EQ(status_of_job(pool, submit(pool, crashes, 1, &tries)), -TINE_ECRASH);
	CHECK_EQ(board->tries, 3);
	CHECK_EQ(status_of_job(pool, submit(pool, crashes, 1, NULL)), -TINE_ECRASH);
	CHECK_EQ(board->tries, 4);
	/* One without a limit is not ended for that of another. */
	other = submit(pool, holds, 1, NULL);
	CHECK_EQ(status_of_job(pool, submit(pool, holds, 1, &brief)), -TINE_ELIMIT);
	atomic_store(&board->go, 1);
	CHECK_EQ(status_of_job(pool, other), 0);
	unmake(pool);
}

TEST(bad_arguments)
{
	static const tine_job_opts negative = { .job_ms = -1 };
	tine_task task = TINE_TASK(square, long, long);
	tine_pool *pool = make(1, false);
	tine_done done;
	uint64_t job;
	long in = 4;

	CHECK_EQ(tine_pool_submit_job(pool, &task, &in, 4, 1, NULL, &job, TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(tine_pool_submit_job(pool, &task, NULL, 8, 1, NULL, &job, TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(tine_pool_submit_job(pool, &task, &in, 8, 1, &negative, &job,
				      TINE_FOREVER),
		 -EINVAL);
	task.fn = NULL;
	/* Hosts have it. */
	if (!test_is_away())
		CHECK_EQ(tine_pool_submit_job(pool, &task, &in, 8, 1, NULL, &job,
					      TINE_FOREVER),
			 -EINVAL);
	CHECK_EQ(tine_pool_wait(pool, 0, NULL, 0, &done, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_pool_wait(pool, 1, NULL, 0, NULL, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_pool_wait(pool, 1, NULL, 0, &done, TINE_FOREVER), -ENOENT);
	CHECK_EQ(tine_pool_cancel_job(pool, 0), -EINVAL);
	CHECK_EQ(tine_pool_cancel_job(pool, 1), -ENOENT);
	job = submit(pool, square, 4, NULL);
	CHECK_EQ(tine_pool_wait(pool, job, &in, 4, &done, TINE_FOREVER), -EMSGSIZE);
	CHECK_EQ(tine_pool_wait(pool, job, &in, 8, &done, TINE_FOREVER), 0);
	CHECK_EQ(in, 16);
	unmake(pool);
}

/* ---- its caller dies at every instruction of it ------------------------------------ */

static tine_pool *stepped;
static uint64_t stepped_job;

static void has_a_job_run(void *arg)
{
	tine_pool_opts opts = { .workers = 2 };

	(void)arg;
	CHECK_EQ(tine_pool_new(&stepped, &opts), 0);
	stepped_job = submit(stepped, holds, 0, NULL);
	await_begun();
}

static void cancels_it(void *arg)
{
	(void)arg;
	CHECK_EQ(tine_pool_cancel_job(stepped, stepped_job), 0);
	CHECK_EQ(status_of_job(stepped, stepped_job), -ECANCELED);
	board->ended++;
	tine_pool_free(stepped);
}

static void its_worker_is_gone(void *arg, long step)
{
	int64_t guard = tine_after(test_patience(20000));

	(void)arg;
	while (test_alive(board->pid)) {
		if (tine_now() > guard)
			test_fail(__FILE__, __LINE__, "step %ld: %d lives", step,
				  board->pid);
		test_sleep_us(1000);
	}
	atomic_store(&board->begun, 0);
}

TEST_LIMIT(a_caller_killed_at_every_step_of_a_cancel, 240)
{
	const struct steps steps = { has_a_job_run, cancels_it, its_worker_is_gone };

	board = tine_shared_new(1, sizeof(*board));
	CHECK(test_kill_some_steps(&steps, NULL, 64) > 100);
	CHECK(board->ended > 0);
	/* What the dead had allocated is lost; do not look. */
	_exit(0);
}
