/* SPDX-License-Identifier: MIT */
#include "pool_use.h"

#include "pool/pool.h"

/* What jobs and test tell each other; made before the pool, so that workers have it. */
static struct board {
	_Atomic int begun, saw_the_end, finished;
	_Atomic int pid;
	tine_event go;
} * board;

static long wanted; /* by is_wanted(): workers have what it was when they were forked */

static tine_pool *make(unsigned workers)
{
	return POOL_WITH(board, .workers = workers);
}

static void unmake(tine_pool *pool)
{
	tine_pool_free(pool);
	tine_shared_free(board);
}

static long *numbers(long n)
{
	long *in = malloc((n + 1) * sizeof(*in));

	CHECK(in);
	for (long i = 0; i < n; i++)
		in[i] = i;
	return in;
}

static int find(tine_pool *pool, tine_fn *fn, const long *in, long *out, size_t n,
		size_t *index, const tine_map_opts *opts)
{
	tine_task task = { .name = "task",
			   .fn = fn,
			   .in_size = sizeof(*in),
			   .out_size = out ? sizeof(*out) : 0 };

	return tine_pool_find(pool, &task, in, out, n, index, opts, TINE_FOREVER);
}

static int map(tine_pool *pool, tine_fn *fn, const long *in, size_t n,
	       const tine_map_opts *opts)
{
	tine_task task = { .name = "task", .fn = fn, .in_size = sizeof(*in) };

	return tine_pool_map(pool, &task, in, NULL, n, opts, TINE_FOREVER);
}

static int count(const int *status, int n, int value)
{
	int sum = 0;

	for (int i = 0; i < n; i++)
		sum += status[i] == value;
	return sum;
}

static int is_wanted(const void *in, void *out)
{
	long n = *(const long *)in;

	if (out)
		*(long *)out = n * n;
	return n == wanted;
}

TEST(the_one_among_many)
{
	const int n = test_is_away() ? 1000 : 20000;
	const long places[] = { 0, 1, n / 3, n - 1 };
	long *in = numbers(n), *out = malloc(n * sizeof(*out));
	int *status = malloc(n * sizeof(*status));

	for (int i = 0; i < 4; i++)
		for (unsigned workers = 1; workers <= 4; workers += 3) {
			tine_pool *pool;

			wanted = places[i];
			pool = make(workers);
			for (size_t chunk = 0; chunk <= 50; chunk = chunk * 49 + 1) {
				tine_map_opts opts = { .chunk = chunk, .status = status };
				size_t index = 5;

				CHECK_EQ(find(pool, is_wanted, in, out, n, &index, &opts),
					 1);
				CHECK_EQ(index, wanted);
				CHECK_EQ(out[wanted], wanted * wanted);
				CHECK_EQ(status[wanted], 1);
				CHECK_EQ(count(status, n, 0) +
						 count(status, n, -ECANCELED),
					 n - 1);
				CHECK_EQ(find(pool, is_wanted, in, out, n, NULL, NULL),
					 1);
			}
			CHECK_EQ(pool_uncalled(pool), 0);
			unmake(pool);
		}
	free(in);
	free(out);
	free(status);
}

/* Job 0 is a hit, as soon as another runs, which runs until it is told. */
static int hit_while_another_asks(const void *in, void *out)
{
	(void)out;
	if (*(const long *)in == 0) {
		while (!atomic_load(&board->begun))
			test_sleep_us(100);
		return 1;
	}
	atomic_fetch_add(&board->begun, 1);
	for (int i = 0; i < 30000 && !tine_cancelled(); i++)
		test_sleep_us(1000);
	test_sleep_us(*(const long *)in % 2 ? 30000 : 0);
	atomic_fetch_add(&board->saw_the_end, tine_cancelled());
	return tine_cancelled() ? -EINTR : 0;
}

TEST(the_first_hit_ends_the_others)
{
	enum { N = 1000 };
	tine_pool *pool = make(2);
	long *in = numbers(N);
	int status[N];
	tine_failure failure;
	tine_map_opts opts = { .status = status, .chunk = 1, .failure = &failure };

	for (int round = 0; round < 20; round++) {
		size_t index = 1;

		/* With a grace that is enough: the same. */
		opts.grace_ms = round % 2 ? 20000 : 0;
		atomic_store(&board->begun, 0);
		atomic_store(&board->saw_the_end, 0);
		CHECK_EQ(find(pool, hit_while_another_asks, in, NULL, N, &index, &opts),
			 1);
		CHECK_EQ(index, 0);
		CHECK_EQ(board->saw_the_end, 1);
		CHECK_EQ(status[0], 1);
		CHECK_EQ(count(status, N, -EINTR), 1);
		CHECK_EQ(count(status, N, -ECANCELED), N - 2);
		CHECK_EQ(failure.index, N);
		CHECK_EQ(failure.deaths, 0);
	}
	CHECK(!tine_cancelled());
	free(in);
	unmake(pool);
}

/* Job 0 is a hit, as soon as another runs, which never asks. */
static int hit_while_another_is_deaf(const void *in, void *out)
{
	long us = *(const long *)in;

	(void)out;
	if (us == 0) {
		while (!atomic_load(&board->begun))
			test_sleep_us(100);
		return 1;
	}
	atomic_store(&board->pid, getpid());
	atomic_store(&board->begun, 1);
	test_sleep_us(us);
	atomic_fetch_add(&board->finished, 1);
	return 0;
}

TEST(who_never_asks_is_left_to_finish)
{
	tine_pool *pool = make(2);
	long in[2] = { 0, 200000 };
	int status[2];
	size_t index;
	tine_map_opts opts = { .status = status };

	for (int round = 1; round <= 3; round++) {
		/* Also by who says that it would wait for ever. */
		opts.grace_ms = round == 3 ? INT64_MAX : 0;
		atomic_store(&board->begun, 0);
		CHECK_EQ(
			find(pool, hit_while_another_is_deaf, in, NULL, 2, &index, &opts),
			1);
		CHECK_EQ(index, 0);
		CHECK_EQ(board->finished, round);
		CHECK_EQ(status[1], 0);
	}
	unmake(pool);
}

static int says_pid(const void *in, void *out)
{
	test_sleep_us(*(const long *)in);
	*(long *)out = getpid();
	return 0;
}

TEST(or_is_killed_after_its_grace_and_replaced)
{
	tine_pool *pool = make(2);
	long in[5] = { 0, 60000000, 60000000, 60000000, 60000000 }, pids[5];
	int status[5];
	tine_failure failure;
	tine_map_opts opts = { .status = status, .grace_ms = 20, .failure = &failure };
	tine_task task = TINE_TASK(says_pid, long, long);
	long pauses[2] = { 20000, 20000 };

	for (int round = 0; round < 3; round++) {
		size_t index = 9;

		atomic_store(&board->begun, 0);
		opts.chunk = round;
		CHECK_EQ(
			find(pool, hit_while_another_is_deaf, in, NULL, 5, &index, &opts),
			1);
		CHECK_EQ(index, 0);
		CHECK_EQ(status[0], 1);
		CHECK_EQ(count(status, 5, -ECANCELED), 4);
		CHECK_EQ(board->finished, 0);
		CHECK(!test_alive(board->pid));
		CHECK(failure.index > 0 && failure.index < 5);
		CHECK_EQ(failure.status, -ECANCELED);
		CHECK_EQ(failure.how.signal, SIGKILL);
		CHECK_EQ(failure.deaths, 1);
		/* The pool is as good as new. */
		CHECK_EQ(tine_pool_map(pool, &task, pauses, pids, 2, NULL, TINE_FOREVER),
			 0);
		CHECK(pids[0] != board->pid && pids[1] != board->pid);
	}
	unmake(pool);
}

/*
 * A job that ends by itself just when it would have been killed: the blow must not fall
 * on that of a later map that has its number. How long it takes goes to and fro about
 * that moment.
 */
TEST(no_blow_falls_on_a_later_map)
{
	tine_pool *pool = make(2);
	tine_task task = TINE_TASK(says_pid, long, long);
	long in[2] = { 0, 15000 }, later[2] = { 15000, 15000 }, pids[2];
	int status[2], killed = 0;
	tine_map_opts opts = { .status = status, .grace_ms = 1 };

	for (int round = 0; round < 60; round++) {
		atomic_store(&board->begun, 0);
		CHECK_EQ(find(pool, hit_while_another_is_deaf, in, NULL, 2, NULL, &opts),
			 1);
		CHECK(status[1] == 0 || status[1] == -ECANCELED);
		killed += status[1] != 0;
		in[1] = in[1] * (status[1] ? 9 : 11) / 10 + 1;
		CHECK_EQ(tine_pool_map(pool, &task, later, pids, 2, NULL, TINE_FOREVER),
			 0);
	}
	CHECK(killed > 0 && killed < 60);
	unmake(pool);
}

TEST(no_hit)
{
	enum { N = 5000 };
	tine_pool *pool;
	long *in = numbers(N), out[N];
	size_t index = 77;
	int status[N];
	tine_failure failure = { .status = 5 };
	tine_map_opts opts = { .status = status, .failure = &failure };

	wanted = -1;
	pool = make(3);
	CHECK_EQ(find(pool, is_wanted, in, out, N, &index, &opts), 0);
	CHECK_EQ(index, 77);
	CHECK_EQ(count(status, N, 0), N);
	CHECK_EQ(failure.index, N);
	CHECK_EQ(failure.status, 0);
	for (long i = 0; i < N; i++)
		CHECK_EQ(out[i], i * i);
	/* None at all. */
	CHECK_EQ(find(pool, is_wanted, in, out, 0, &index, &opts), 0);
	CHECK_EQ(index, 77);
	CHECK_EQ(failure.index, 0);
	CHECK_EQ(find(pool, is_wanted, NULL, NULL, 0, NULL, NULL), 0);
	free(in);
	unmake(pool);
}

/* All begin before one ends. */
static int meets_and_hits(const void *in, void *out)
{
	long n = *(const long *)in;

	(void)out;
	atomic_fetch_add(&board->begun, 1);
	while (atomic_load(&board->begun) < n)
		test_sleep_us(100);
	return 1;
}

TEST(of_several_hits_at_once_one_is_the_first)
{
	tine_pool *pool = make(4);
	long in[4] = { 4, 4, 4, 4 };
	int status[4];
	tine_map_opts opts = { .status = status };
	size_t index = 9;

	CHECK_EQ(find(pool, meets_and_hits, in, NULL, 4, &index, &opts), 1);
	CHECK(index < 4);
	CHECK_EQ(count(status, 4, 1), 4);
	unmake(pool);
}

/* The sign says what it does: -1 crashes, other negative ones are its status. */
static int as_told(const void *in, void *out)
{
	long n = *(const long *)in;

	(void)out;
	if (n == -1)
		abort();
	return (int)n;
}

TEST(failures_count_where_nothing_is_found)
{
	tine_pool *pool = make(2);
	long crash[4] = { 0, -1, 0, 0 }, fails[4] = { 0, -EIO, -EPERM, 0 },
	     other[4] = { 2, 7, 2, 3 };
	static const long and_hits[][2] = {
		{ -1, 1 }, { -EIO, 1 }, { -EINVAL, 1 }, { -EPERM, 1 }
	};
	int status[4];
	tine_failure failure;
	tine_map_opts opts = { .status = status, .failure = &failure };
	size_t index = 9;

	CHECK_EQ(find(pool, as_told, crash, NULL, 4, &index, &opts), -TINE_ECRASH);
	CHECK_EQ(status[1], -TINE_ECRASH);
	CHECK_EQ(failure.index, 1);
	CHECK_EQ(failure.how.signal, SIGABRT);
	CHECK_EQ(find(pool, as_told, fails, NULL, 4, &index, NULL), -EIO);
	/* Only a 1 is a hit. */
	CHECK_EQ(find(pool, as_told, other, NULL, 4, &index, &opts), 0);
	CHECK_EQ(status[1], 7);
	CHECK_EQ(index, 9);
	/* A hit is told, whatever became of others. */
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(find(pool, as_told, and_hits[i], NULL, 2, &index, &opts), 1);
		CHECK_EQ(index, 1);
		CHECK(status[0] < 0);
	}
	unmake(pool);
}

static void finds_in_a_child(void *pool)
{
	long in[2] = { 1, 1 };
	size_t index;

	CHECK_EQ(find(pool, as_told, in, NULL, 2, &index, NULL), -EPERM);
	tine_pool_free(pool);
}

TEST(bad_arguments)
{
	tine_pool *pool = make(1);
	tine_task task = TINE_TASK_IN(as_told, long),
		  no_fn = { .name = "none", .fn = NULL, .in_size = 8 };
	tine_map_opts grace = { .grace_ms = 1 }, job_ms = { .job_ms = -1 },
		      less_grace = { .grace_ms = -1 }, tail = { .reserved = { [5] = 1 } };
	long in[2] = { 1, 1 };
	size_t index = 9;

	/* What only a search has. */
	CHECK_EQ(map(pool, as_told, in, 2, &grace), -EINVAL);
	CHECK_EQ(map(pool, as_told, in, 2, &job_ms), -EINVAL);
	CHECK_EQ(find(pool, as_told, in, NULL, 2, &index, &job_ms), -EINVAL);
	CHECK_EQ(find(pool, as_told, in, NULL, 2, &index, &less_grace), -EINVAL);
	CHECK_EQ(find(pool, as_told, in, NULL, 2, &index, &tail), -EINVAL);
	CHECK_EQ(find(NULL, as_told, in, NULL, 2, &index, NULL), -EINVAL);
	CHECK_EQ(find(pool, as_told, NULL, NULL, 2, &index, NULL), -EINVAL);
	CHECK_EQ(tine_pool_find(pool, NULL, in, NULL, 2, &index, NULL, TINE_FOREVER),
		 -EINVAL);
	/* Hosts have it. */
	if (!test_is_away())
		CHECK_EQ(tine_pool_find(pool, &no_fn, in, NULL, 2, &index, NULL,
					TINE_FOREVER),
			 -EINVAL);
	CHECK_EQ(tine_pool_find(pool, &task, in, NULL, SIZE_MAX, &index, NULL,
				TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(index, 9);
	CHECK_EQ(test_reap(test_fork(finds_in_a_child, pool)), 0);
	CHECK_EQ(find(pool, as_told, in, NULL, 2, &index, NULL), 1);
	/* Of which no later failure is told the hits. */
	CHECK_EQ(find(pool, as_told, in, NULL, 2, &index, &tail), -EINVAL);
	CHECK_EQ(test_reap(test_fork(finds_in_a_child, pool)), 0);
	unmake(pool);
}

static int counts_and_returns_one(const void *in, void *out)
{
	(void)in;
	(void)out;
	atomic_fetch_add(&board->finished, 1);
	return 1;
}

TEST(again_and_again)
{
	enum { N = 300 };
	tine_pool *pool = make(3);
	long in[N] = { 0 };
	int status[N];
	tine_map_opts opts = { .status = status };

	for (long round = 0; round < test_scaled(2000); round++) {
		size_t index = N, at = (size_t)round * 7919 % N;

		in[at] = 1;
		CHECK_EQ(find(pool, as_told, in, NULL, N, &index, NULL), 1);
		CHECK_EQ(index, at);
		in[at] = 0;
		if (round % 10 == 0) {
			/* A search that ended does not cut a map short. */
			atomic_store(&board->finished, 0);
			CHECK_EQ(map(pool, counts_and_returns_one, in, N, &opts), 0);
			CHECK_EQ(board->finished, N);
			CHECK_EQ(count(status, N, 1), N);
			CHECK_EQ(find(pool, as_told, in, NULL, N, &index, &opts), 0);
			CHECK_EQ(count(status, N, 0), N);
		}
	}
	CHECK_EQ(pool_uncalled(pool), 0);
	unmake(pool);
}

TEST(in_the_familys_memory)
{
	enum { N = 100 };
	long *in = tine_shared_new(N, sizeof(*in)),
	     *out = tine_shared_new(N, sizeof(*out));
	int *status = tine_shared_new(N, sizeof(*status));
	tine_map_opts opts = { .status = status };
	tine_pool *pool;
	size_t index;

	for (long i = 0; i < N; i++)
		in[i] = i;
	wanted = 42;
	pool = make(2);
	CHECK_EQ(find(pool, is_wanted, in, out, N, &index, &opts), 1);
	CHECK_EQ(index, 42);
	CHECK_EQ(out[42], 42 * 42);
	CHECK_EQ(status[42], 1);
	unmake(pool);
	tine_shared_free(in);
	tine_shared_free(out);
	tine_shared_free(status);
}

TEST(the_deadline)
{
	tine_pool *pool = make(2);
	tine_task task = TINE_TASK_IN(hit_while_another_is_deaf, long);
	long deaf[4] = { 60000000, 60000000, 60000000, 60000000 },
	     one_hit[2] = { 0, 60000000 };
	int status[4];
	tine_failure failure;
	tine_map_opts opts = { .status = status, .failure = &failure };
	size_t index = 9;
	/* Two are to have begun by then. */
	int64_t ms = test_is_away() ? 1500 : 50;

	CHECK_EQ(
		tine_pool_find(pool, &task, deaf, NULL, 4, &index, &opts, tine_after(ms)),
		-ETIMEDOUT);
	CHECK_EQ(index, 9);
	CHECK_EQ(count(status, 4, -TINE_ELIMIT), 2);
	CHECK_EQ(count(status, 4, -ECANCELED), 2);
	CHECK_EQ(failure.status, -TINE_ELIMIT);
	/* One of the two that are wanted, and then it passes. */
	atomic_store(&board->begun, 0);
	CHECK_EQ(tine_pool_find(pool, &task, one_hit, NULL, 2, &index, &opts,
				tine_after(ms + 250)),
		 1);
	CHECK_EQ(index, 0);
	CHECK_EQ(status[1], -TINE_ELIMIT);
	/* It has passed: none is told of an earlier search. */
	index = 9;
	CHECK_EQ(tine_pool_find(pool, &task, deaf, NULL, 4, &index, &opts, TINE_NOWAIT),
		 -ETIMEDOUT);
	CHECK_EQ(index, 9);
	CHECK_EQ(count(status, 4, -ECANCELED), 4);
	CHECK_EQ(failure.index, 4);
	unmake(pool);
}

static void cancels(void *pool, size_t done, size_t total)
{
	/* Both workers are in a job, however busy the machine is. */
	if (done < total && atomic_load(&board->begun) == 2)
		tine_pool_cancel(pool);
}

TEST(cancel)
{
	enum { N = 100 };
	tine_pool *pool = make(2);
	long *in = numbers(N);
	int status[N];
	tine_map_opts opts = { .status = status,
			       .progress = cancels,
			       .progress_arg = pool };
	size_t index = 9;

	for (int round = 0; round < 3; round++) {
		atomic_store(&board->begun, 0);
		/* Without the one that hits. */
		CHECK_EQ(find(pool, hit_while_another_asks, in + 1, NULL, N - 1, &index,
			      &opts),
			 -ECANCELED);
		CHECK_EQ(index, 9);
		CHECK_EQ(count(status, N - 1, -EINTR), 2);
		CHECK_EQ(count(status, N - 1, -ECANCELED), N - 3);
	}
	free(in);
	unmake(pool);
}

static int crashes_at_first(const void *in, void *out)
{
	(void)out;
	if (*(const long *)in == 0)
		return 0;
	if (atomic_fetch_add(&board->begun, 1) == 0)
		abort();
	return 1;
}

TEST(a_hit_after_a_retry)
{
	tine_pool *pool = make(2);
	long in[3] = { 0, 1, 0 };
	int status[3];
	tine_failure failure;
	tine_map_opts opts = { .status = status, .failure = &failure, .retries = 1 };
	size_t index = 9;

	CHECK_EQ(find(pool, crashes_at_first, in, NULL, 3, &index, &opts), 1);
	CHECK_EQ(index, 1);
	CHECK_EQ(status[1], 1);
	CHECK_EQ(failure.index, 3);
	CHECK_EQ(failure.deaths, 1);
	unmake(pool);
}

/* ---- in order ---------------------------------------------------------------------- */

enum { ORDERED = 120, ORDERED_WORKERS = 3 };

static struct order {
	_Atomic int begun[ORDERED];
	_Atomic int most_missing;
	_Atomic int hits_above;
} * order;

static tine_pool *make_ordered(void)
{
	return POOL_WITH(order, .workers = ORDERED_WORKERS, .retries = 3);
}

static void note_beginning(long n)
{
	int missing = 0;

	atomic_store(&order->begun[n], 1);
	for (long i = 0; i < n; i++)
		missing += !atomic_load(&order->begun[i]);
	if (missing > atomic_load(&order->most_missing))
		atomic_store(&order->most_missing, missing);
}

/* The first 20 long, the others short: whoever has a long one keeps nobody waiting. */
static int begins(const void *in, void *out)
{
	long n = *(const long *)in;

	(void)out;
	note_beginning(n);
	test_sleep_us(n % 20 == 0 ? 3000 : 200);
	return 0;
}

/* Those that another worker is about to begin may be missing, and no others. */
TEST(jobs_begin_in_the_order_of_their_index)
{
	tine_pool *pool = make_ordered();
	tine_map_opts opts = { .chunk = 1 };
	long *in = numbers(ORDERED);

	CHECK_EQ(map(pool, begins, in, ORDERED, &opts), 0);
	CHECK(order->most_missing < ORDERED_WORKERS);
	for (int i = 0; i < ORDERED; i++)
		CHECK_EQ(order->begun[i], 1);
	memset(order, 0, sizeof(*order));
	CHECK_EQ(find(pool, begins, in, NULL, ORDERED, NULL, &opts), 0);
	CHECK(order->most_missing < ORDERED_WORKERS);
	tine_pool_free(pool);
	tine_shared_free(order);
	free(in);
}

/* 7, 8 and 50 are hits. 7 waits until another was one. */
static int hits_late(const void *in, void *out)
{
	long n = *(const long *)in;

	note_beginning(n);
	/* No moment: one is taken at a time. */
	test_sleep_us(200);
	*(long *)out = n * n;
	if (n == 7)
		while (!atomic_load(&order->hits_above))
			test_sleep_us(500);
	if (n == 8)
		atomic_store(&order->hits_above, 1);
	else if (n == 9)
		while (!tine_cancelled())
			test_sleep_us(500);
	if (n == 7)
		test_sleep_us(5000);
	return n == 7 || n == 8 || n == 50;
}

TEST(the_hit_of_the_smallest_index)
{
	tine_pool *pool = make_ordered();
	int status[ORDERED];
	tine_map_opts opts = { .chunk = 1, .smallest = true, .status = status };
	long *in = numbers(ORDERED), out[ORDERED];

	for (int round = 0; round < 10; round++) {
		size_t index = 99;

		memset(order, 0, sizeof(*order));
		CHECK_EQ(find(pool, hits_late, in, out, ORDERED, &index, &opts), 1);
		CHECK_EQ(index, 7);
		CHECK_EQ(out[7], 49);
		for (int i = 0; i < 7; i++)
			CHECK_EQ(status[i], 0);
		CHECK_EQ(status[7], 1);
		CHECK_EQ(status[50], -ECANCELED);
	}
	tine_pool_free(pool);
	tine_shared_free(order);
	free(in);
}

/* 5 hits, and 3 does not end. */
static int hits_above_an_endless_one(const void *in, void *out)
{
	long n = *(const long *)in;

	(void)out;
	test_sleep_us(200);
	if (n == 3)
		test_sleep_us(60000000);
	return n == 5;
}

TEST(no_answer_while_a_job_before_it_may_hit)
{
	tine_pool *pool = make_ordered();
	tine_map_opts opts = { .chunk = 1, .smallest = true };
	tine_task task = { .fn = hits_above_an_endless_one, .in_size = sizeof(long) };
	long *in = numbers(ORDERED);
	size_t index = 99;

	CHECK_EQ(tine_pool_find(pool, &task, in, NULL, ORDERED, &index, &opts,
				tine_after(300)),
		 -ETIMEDOUT);
	CHECK_EQ(index, 99);
	opts.smallest = false;
	/* The hit is there by then. */
	CHECK_EQ(tine_pool_find(pool, &task, in, NULL, ORDERED, &index, &opts,
				tine_after(test_is_away() ? 1500 : 300)),
		 1);
	CHECK_EQ(index, 5);
	tine_pool_free(pool);
	tine_shared_free(order);
	free(in);
}

static uint64_t pattern;

/* One in a hundred; some die, once. */
static int hits_or_dies(const void *in, void *out)
{
	uint64_t n = (uint64_t) * (const long *)in,
		 mixed = (n + pattern) * 0x9e3779b97f4a7c15u;

	(void)out;
	mixed ^= mixed >> 29;
	if (mixed % 31 == 5 && !atomic_exchange(&order->begun[n % ORDERED], 1))
		raise(SIGKILL);
	return mixed % 100 == 7;
}

TEST(the_same_whoever_dies)
{
	long *in = numbers(2000);
	tine_map_opts opts = { .smallest = true, .retries = 9 };

	pattern = test_seed();
	for (int round = 0; round < 8; round++) {
		tine_pool *pool;
		size_t index = 5000, expected = 0;

		pattern += 12345;
		pool = make_ordered();
		opts.chunk = round % 3;
		for (int i = 0; i < ORDERED; i++)
			atomic_store(&order->begun[i], 1);
		while (hits_or_dies(&in[expected], NULL) != 1)
			expected++;
		for (int i = 0; i < ORDERED; i++)
			atomic_store(&order->begun[i], 0);
		CHECK_EQ(find(pool, hits_or_dies, in, NULL, 2000, &index, &opts), 1);
		CHECK_EQ(index, expected);
		tine_pool_free(pool);
		tine_shared_free(order);
	}
	free(in);
}

TEST(smallest_is_for_searches)
{
	tine_pool *pool = make(1);
	tine_map_opts opts = { .smallest = true };
	long *in = numbers(2);

	CHECK_EQ(map(pool, is_wanted, in, 2, &opts), -EINVAL);
	CHECK_EQ(find(pool, is_wanted, in, NULL, 1, NULL, &opts), 1);
	free(in);
	unmake(pool);
}
