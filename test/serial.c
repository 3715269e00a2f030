/* SPDX-License-Identifier: MIT */
/*
 * Pools whose jobs run in the caller. Most suites of pools run so as well: meson.build.
 */
#include "pool/pool.h"
#include "test.h"

#include <poll.h>
#include <pthread.h>

enum { N = 500, GUARD_MS = 20000 };

static pid_t self;
static long jobs_here; /* no atomic: a job at a time */
static int inside;     /* jobs that run at this moment */
static long inits, finis;

static int begins(void *arg)
{
	CHECK(arg == &inits);
	CHECK_EQ(tine_worker_index(), 0);
	inits++;
	return 0;
}

static void ends(void *arg)
{
	CHECK(arg == &inits);
	CHECK_EQ(tine_worker_index(), 0);
	finis++;
}

static tine_pool *make(void)
{
	tine_pool_opts opts = { .workers = 3,
				.jobs_per_worker = 2,
				.memory_per_worker = 1,
				.job_ms = 1,
				.init = begins,
				.init_arg = &inits,
				.fini = ends,
				.serial = true };
	tine_pool *pool;

	self = getpid();
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	return pool;
}

static int square(const void *in, void *out)
{
	CHECK_EQ(getpid(), self);
	CHECK_EQ(tine_worker_index(), 0);
	CHECK_EQ(inside++, 0);
	jobs_here++;
	*(long *)out = *(const long *)in * *(const long *)in;
	inside--;
	return 0;
}

static const tine_task squares = TINE_TASK(square, long, long);

static void map_all(tine_pool *pool, long n)
{
	long in[N], out[N];

	for (long i = 0; i < n; i++)
		in[i] = i;
	CHECK_EQ(tine_pool_map(pool, &squares, in, out, (size_t)n, NULL,
			       tine_after(GUARD_MS)),
		 0);
	for (long i = 0; i < n; i++)
		CHECK_EQ(out[i], i * i);
}

TEST(a_map_in_this_process)
{
	tine_pool *pool = make();

	CHECK_EQ(inits, 1);
	CHECK_EQ(tine_worker_index(), -1);
	map_all(pool, N);
	CHECK_EQ(jobs_here, N);
	CHECK_EQ(tine_worker_index(), -1);
	CHECK(!tine_cancelled());
	CHECK_EQ(tine_pool_refresh(pool), 0);
	CHECK_EQ(inits, 2);
	CHECK_EQ(finis, 1);
	map_all(pool, 3);
	tine_pool_free(pool);
	CHECK_EQ(finis, 2);
	/* No child was ever there. */
	CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1);
}

TEST(by_the_environment)
{
	tine_pool_opts opts = { .workers = 4 };
	tine_pool *pool;

	self = getpid();
	setenv("TINE_WORKERS", "0", 1);
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	map_all(pool, 10);
	CHECK_EQ(jobs_here, 10);
	tine_pool_free(pool);
	CHECK(tine_cpus() > 0);
	opts.workers = 5000;
	CHECK_EQ(tine_pool_new(&pool, &opts), -EINVAL);
	setenv("TINE_WORKERS", "00", 1);
	opts.workers = 1;
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	CHECK(pool->nursery.pid > 0);
	tine_pool_free(pool);
}

static int refuses(void *arg)
{
	(void)arg;
	return -ENODEV;
}

TEST(an_init_that_refuses)
{
	tine_pool_opts opts = { .init = refuses, .serial = true };
	tine_pool *pool;

	CHECK_EQ(tine_pool_new(&pool, &opts), -ENODEV);
}

/* What is submitted is done at once, and polls so. */
TEST(submitted_jobs)
{
	tine_pool *pool = make();
	struct pollfd polled = { .events = POLLIN };
	tine_done done;
	long out;

	polled.fd = tine_pool_fd(pool);
	CHECK(polled.fd >= 0);
	CHECK_EQ(poll(&polled, 1, 0), 0);
	for (long i = 0; i < 10; i++)
		CHECK_EQ(tine_pool_submit(pool, &squares, &i, (uint64_t)i, TINE_NOWAIT),
			 0);
	CHECK_EQ(jobs_here, 10);
	CHECK_EQ(poll(&polled, 1, 0), 1);
	for (int i = 0; i < 10; i++) {
		CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done, TINE_NOWAIT), 1);
		CHECK_EQ(done.status, 0);
		CHECK_EQ(out, (long)(done.tag * done.tag));
	}
	CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done, TINE_NOWAIT), 0);
	CHECK_EQ(poll(&polled, 1, 0), 0);
	tine_pool_free(pool);
}

static long tries;

static int fails_at_first(const void *in, void *out)
{
	(void)in;
	*(long *)out = ++tries;
	return tries < 3 ? -EIO : 0;
}

/* A pause is slept through by who waits, and other jobs are done meanwhile. */
TEST(a_job_that_pauses)
{
	tine_task task = TINE_TASK(fails_at_first, long, long);
	tine_job_opts opts = { .retries = 5,
			       .retry_failures = true,
			       .retry_pause_ms = 20 };
	tine_pool *pool = make();
	long in = 0, out;
	tine_done done;
	uint64_t job;

	CHECK_EQ(tine_pool_submit_job(pool, &task, &in, sizeof(in), 7, &opts, &job,
				      TINE_NOWAIT),
		 0);
	CHECK_EQ(tries, 1);
	CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done, TINE_NOWAIT), -ETIMEDOUT);
	map_all(pool, 10);
	CHECK_EQ(
		tine_pool_wait(pool, job, &out, sizeof(out), &done, tine_after(GUARD_MS)),
		0);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(out, 3);
	CHECK_EQ(jobs_here, 10);
	opts.retry_pause_ms = 600000;
	tries = 0;
	CHECK_EQ(tine_pool_submit_job(pool, &task, &in, sizeof(in), 7, &opts, &job,
				      TINE_NOWAIT),
		 0);
	CHECK_EQ(tine_pool_cancel_job(pool, job), 0);
	CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done, TINE_NOWAIT), 1);
	CHECK_EQ(done.status, -ECANCELED);
	tine_pool_free(pool);
}

static tine_pool *own;

static int asks_its_own_pool(const void *in, void *out)
{
	tine_done done;

	CHECK_EQ(tine_pool_submit(own, &squares, in, 0, TINE_NOWAIT), -EPERM);
	CHECK_EQ(tine_pool_next(own, out, 8, &done, TINE_NOWAIT), -EPERM);
	CHECK_EQ(tine_pool_map(own, &squares, in, out, 1, NULL, TINE_FOREVER), -EPERM);
	CHECK_EQ(tine_pool_refresh(own), -EPERM);
	return 0;
}

static int has_a_pool(const void *in, void *out)
{
	tine_pool *pool = make();

	CHECK_EQ(tine_pool_map(pool, &squares, in, out, 1, NULL, TINE_FOREVER), 0);
	tine_pool_free(pool);
	CHECK_EQ(tine_worker_index(), 0);
	return asks_its_own_pool(in, out);
}

TEST(a_pool_in_a_job)
{
	tine_task task = TINE_TASK(has_a_pool, long, long);
	long in[4] = { 1, 2, 3, 4 }, out[4];

	own = make();
	CHECK_EQ(tine_pool_map(own, &task, in, out, 4, NULL, TINE_FOREVER), 0);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(out[i], in[i] * in[i]);
	tine_pool_free(own);
}

static pid_t forked;

/* A job that forks answers once. */
static int forks(const void *in, void *out)
{
	(void)in;
	(void)out;
	forked = fork();
	return 0;
}

TEST(a_job_that_forks)
{
	tine_task task = TINE_TASK_IN(forks, long);
	tine_pool *pool = make();
	long in = 0;
	int status;

	CHECK_EQ(tine_pool_map(pool, &task, &in, NULL, 1, NULL, TINE_FOREVER), 0);
	CHECK_EQ(getpid(), self);
	CHECK_EQ(waitpid(forked, &status, 0), forked);
	CHECK_EQ(status, W_EXITCODE(1, 0));
	tine_pool_free(pool);
}

/* And a process that was forked has pools of its own. */
static void has_its_own(void *arg)
{
	tine_pool *pool = arg, *other = make();
	long in = 2, out;

	CHECK_EQ(tine_pool_submit(pool, &squares, &in, 0, TINE_NOWAIT), -EPERM);
	CHECK_EQ(tine_pool_map(other, &squares, &in, &out, 1, NULL, TINE_FOREVER), 0);
	CHECK_EQ(out, 4);
	tine_pool_free(other);
	tine_pool_free(pool);
}

TEST(a_forked_process)
{
	tine_pool *pool = make();

	CHECK_EQ(test_reap(test_fork(has_its_own, pool)), 0);
	map_all(pool, 5);
	tine_pool_free(pool);
}

static void *uses_it(void *arg)
{
	for (long i = 0; i < 200; i++) {
		tine_done done;
		uint64_t job;
		long out;

		CHECK_EQ(tine_pool_submit_job(arg, &squares, &i, sizeof(i), 0, NULL, &job,
					      tine_after(GUARD_MS)),
			 0);
		CHECK_EQ(tine_pool_wait(arg, job, &out, sizeof(out), &done,
					tine_after(GUARD_MS)),
			 0);
		CHECK_EQ(out, i * i);
	}
	return NULL;
}

static void *has_another(void *arg)
{
	tine_pool *pool = arg;

	for (int i = 0; i < 20; i++)
		map_all(pool, 100);
	return NULL;
}

/* One job at a time, whosever it is. */
TEST(threads)
{
	tine_pool *pool = make(), *other = make();
	pthread_t thread[4];

	for (int i = 0; i < 3; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, uses_it, pool), 0);
	CHECK_EQ(pthread_create(&thread[3], NULL, has_another, other), 0);
	for (int i = 0; i < 20; i++)
		map_all(pool, 100);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	CHECK_EQ(jobs_here, 600 + 4000);
	tine_pool_free(pool);
	tine_pool_free(other);
}

static void cancels(void *pool, size_t done, size_t total)
{
	if (done < total)
		tine_pool_cancel(pool);
}

static int naps(const void *in, void *out)
{
	(void)in;
	(void)out;
	test_sleep_us(1000);
	jobs_here++;
	return 0;
}

TEST(cancel_and_deadline)
{
	tine_task task = TINE_TASK_IN(naps, long);
	tine_pool *pool = make();
	static long in[5000];
	static int status[5000];
	tine_map_opts opts = {
		.progress = cancels, .progress_arg = pool, .chunk = 1, .status = status
	};

	CHECK_EQ(tine_pool_map(pool, &task, in, NULL, 5000, &opts, TINE_FOREVER),
		 -ECANCELED);
	CHECK_EQ(status[4999], -ECANCELED);
	CHECK_EQ(status[0], 0);
	CHECK(jobs_here < 5000);
	opts.progress = NULL;
	CHECK_EQ(tine_pool_map(pool, &task, in, NULL, 5000, &opts, tine_after(50)),
		 -ETIMEDOUT);
	CHECK_EQ(status[4999], -ECANCELED);
	tine_pool_free(pool);
}
