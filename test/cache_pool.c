/* SPDX-License-Identifier: MIT */
/* Pools whose jobs are kept in a cache: what is there is not computed, the rest once. */
#include "cache_use.h"

enum { N = 600, DISTINCT = 100 };

static int *runs; /* of jobs, in the family's memory */

struct item {
	int64_t number;
};

/* Its status is the number's last digit but for those that fail, crash, hang. */
enum { FAILS = 1000, CRASHES = 2000, HANGS = 3000 };

static int job(const void *in, void *out)
{
	int64_t number = ((const struct item *)in)->number;

	__atomic_add_fetch(runs, 1, __ATOMIC_SEQ_CST);
	*(int64_t *)out = number * number + 1;
	if (number >= HANGS)
		pause();
	if (number >= CRASHES)
		raise(SIGKILL);
	return number >= FAILS ? -EIO : (int)(number % 10);
}

static const tine_task task = TINE_TASK(job, struct item, int64_t);

/* A hit where the number ends in 7. */
static int is_hit(const void *in, void *out)
{
	(void)out;
	__atomic_add_fetch(runs, 1, __ATOMIC_SEQ_CST);
	return ((const struct item *)in)->number % 10 == 7;
}

static const tine_task hit_task = TINE_TASK_IN(is_hit, struct item);

static tine_pool *pool;
static tine_cache *cache;
static struct item in[N];
static int64_t out[N];
static int status[N];

static void begin(void)
{
	tine_pool_opts opts = { .workers = 3 };

	cache = opened(16 * MIB);
	runs = tine_shared_new(1, sizeof(*runs));
	CHECK(runs);
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	for (int i = 0; i < N; i++)
		in[i].number = (i * 7) % DISTINCT;
}

static void end(void)
{
	tine_pool_free(pool);
	tine_shared_free(runs);
	tine_cache_free(cache);
	clean();
}

static int map(size_t n, tine_failure *failure)
{
	tine_map_opts opts = { .status = status, .cache = cache, .failure = failure };

	memset(out, -1, sizeof(out));
	memset(status, -1, sizeof(status));
	*runs = 0;
	return tine_pool_map(pool, &task, in, out, n, &opts, tine_after(30000));
}

static void check(int i)
{
	CHECK_EQ(out[i], in[i].number * in[i].number + 1);
	CHECK_EQ(status[i], in[i].number % 10);
}

TEST(computed_once_each)
{
	begin();
	for (int round = 0; round < 3; round++) {
		CHECK_EQ(map(N, NULL), 0);
		CHECK_EQ(*runs, round ? 0 : DISTINCT);
		for (int i = 0; i < N; i++)
			check(i);
	}
	CHECK_EQ(stats_of(cache).entries, DISTINCT);
	/* Without the cache, all of them, and it has them for a call. */
	memset(out, -1, sizeof(out));
	*runs = 0;
	CHECK_EQ(tine_pool_map(pool, &task, in, out, N, NULL, TINE_FOREVER), 0);
	CHECK_EQ(*runs, N);
	CHECK_EQ(tine_cache_call(cache, &task, &in[5], &out[0], &status[0], TINE_FOREVER),
		 1);
	CHECK_EQ(out[0], out[5]);
	end();
}

TEST(only_what_is_missing)
{
	begin();
	CHECK_EQ(map(10, NULL), 0);
	CHECK_EQ(*runs, 10);
	CHECK_EQ(map(50, NULL), 0);
	CHECK_EQ(*runs, 40);
	for (int i = 0; i < 50; i++)
		check(i);
	CHECK_EQ(map(0, NULL), 0);
	CHECK_EQ(tine_cache_clear(cache, &task), 0);
	CHECK_EQ(map(50, NULL), 0);
	CHECK_EQ(*runs, 50);
	end();
}

TEST(each_ending_tells_whether_it_was_there)
{
	tine_ending endings[30];
	tine_map_opts opts = { .endings = endings };

	begin();
	opts.cache = cache;
	CHECK_EQ(map(10, NULL), 0);
	CHECK_EQ(tine_pool_map(pool, &task, in, out, 30, &opts, TINE_FOREVER), 0);
	CHECK_EQ(*runs, 30);
	for (int i = 0; i < 30; i++)
		CHECK_EQ(endings[i].cached, i < 10);
	CHECK_EQ(tine_pool_map(pool, &task, in, out, 30, &opts, TINE_FOREVER), 0);
	for (int i = 0; i < 30; i++)
		CHECK(endings[i].cached);
	end();
}

TEST(in_place)
{
	struct item *items;
	int64_t *results;
	tine_map_opts opts = { 0 };

	begin();
	opts.cache = cache;
	items = tine_shared_new(N, sizeof(*items));
	results = tine_shared_new(N, sizeof(*results));
	CHECK(items && results);
	memcpy(items, in, sizeof(in));
	for (int round = 0; round < 2; round++) {
		memset(results, 0, sizeof(out));
		*runs = 0;
		CHECK_EQ(tine_pool_map(pool, &task, items, results, N, &opts,
				       TINE_FOREVER),
			 0);
		CHECK_EQ(*runs, round ? 0 : DISTINCT);
		for (int i = 0; i < N; i++)
			CHECK_EQ(results[i], in[i].number * in[i].number + 1);
	}
	tine_shared_free(results);
	tine_shared_free(items);
	end();
}

TEST(failures_are_not_kept)
{
	begin();
	CHECK_EQ(map(20, NULL), 0);
	for (int i = 5; i < 40; i += 5)
		in[i].number = FAILS + i % 10;
	for (int round = 0; round < 2; round++) {
		CHECK_EQ(map(40, NULL), -EIO);
		/* Those that fail are of two kinds, and each is computed once a round. */
		CHECK_EQ(*runs, 2 + (round ? 0 : 16));
		for (int i = 0; i < 40; i++)
			if (i && i % 5 == 0)
				CHECK_EQ(status[i], -EIO);
			else
				check(i);
	}
	end();
}

TEST(deaths_are_of_their_jobs)
{
	tine_failure failure;

	begin();
	/* So that jobs and items have other numbers. */
	CHECK_EQ(map(30, NULL), 0);
	in[37].number = in[43].number = CRASHES;
	for (int round = 0; round < 2; round++) {
		CHECK_EQ(map(60, &failure), -TINE_ECRASH);
		CHECK_EQ(failure.index, 37);
		CHECK_EQ(failure.status, -TINE_ECRASH);
		CHECK_EQ(failure.how.signal, SIGKILL);
		CHECK_EQ(failure.deaths, 1);
		for (int i = 0; i < 60; i++)
			if (i == 37 || i == 43)
				CHECK_EQ(status[i], -TINE_ECRASH);
			else
				check(i);
	}
	in[37].number = in[43].number = 1;
	CHECK_EQ(map(60, &failure), 0);
	CHECK_EQ(failure.index, 60);
	end();
}

TEST(a_job_without_end)
{
	tine_map_opts opts = { .status = status, .job_ms = 50 };

	begin();
	opts.cache = cache;
	CHECK_EQ(map(30, NULL), 0);
	in[33].number = HANGS;
	CHECK_EQ(tine_pool_map(pool, &task, in, out, 60, &opts, tine_after(30000)),
		 -TINE_ELIMIT);
	for (int i = 0; i < 60; i++)
		if (i == 33)
			CHECK_EQ(status[i], -TINE_ELIMIT);
		else
			check(i);
	/* Nobody waits for the dead. */
	in[33].number = 3;
	CHECK_EQ(map(60, NULL), 0);
	end();
}

TEST(past_the_deadline_there_is_what_was_kept)
{
	tine_map_opts opts = { .status = status };

	begin();
	opts.cache = cache;
	CHECK_EQ(map(30, NULL), 0);
	for (int i = 30; i < 40; i++)
		in[i].number = HANGS + i;
	CHECK_EQ(tine_pool_map(pool, &task, in, out, 40, &opts, tine_after(50)),
		 -ETIMEDOUT);
	for (int i = 0; i < 40; i++)
		if (i < 30)
			check(i);
		else
			CHECK(status[i] == -TINE_ELIMIT || status[i] == -ECANCELED);
	end();
}

static void last_of(void *arg, size_t done, size_t total)
{
	size_t *last = arg;

	CHECK(done <= total);
	last[0] = done;
	last[1] = total;
}

TEST(progress_reaches_its_end)
{
	size_t last[2] = { 1, 2 };
	tine_map_opts opts = { .progress = last_of, .progress_arg = last };

	begin();
	opts.cache = cache;
	for (int round = 0; round < 2; round++) {
		CHECK_EQ(tine_pool_map(pool, &task, in, out, N, &opts, TINE_FOREVER), 0);
		CHECK_EQ(last[0], last[1]);
		CHECK_EQ(last[1], N);
	}
	end();
}

/* ---- searches ---------------------------------------------------------------------- */

TEST(found_in_the_cache)
{
	tine_map_opts opts = { .cache = NULL };
	size_t index = N;

	begin();
	opts.cache = cache;
	*runs = 0;
	CHECK_EQ(tine_pool_map(pool, &hit_task, in, NULL, N, &opts, TINE_FOREVER), 0);
	CHECK_EQ(*runs, DISTINCT);
	*runs = 0;
	CHECK_EQ(
		tine_pool_find(pool, &hit_task, in, NULL, N, &index, &opts, TINE_FOREVER),
		1);
	CHECK(index < N && in[index].number % 10 == 7);
	CHECK_EQ(*runs, 0);
	/* One that is known ends it. */
	for (int i = 0; i < N; i++)
		in[i].number = i == 400 ? 57 : 1000 + i * 10;
	index = N;
	CHECK_EQ(
		tine_pool_find(pool, &hit_task, in, NULL, N, &index, &opts, TINE_FOREVER),
		1);
	CHECK_EQ(index, 400);
	CHECK_EQ(*runs, 0);
	/* None among those that are known, and one that is not. */
	for (int i = 0; i < N; i++)
		in[i].number = i % 7;
	in[300].number = 507;
	CHECK_EQ(
		tine_pool_find(pool, &hit_task, in, NULL, N, &index, &opts, TINE_FOREVER),
		1);
	CHECK_EQ(index, 300);
	CHECK(*runs <= 1);
	in[300].number = 0;
	CHECK_EQ(
		tine_pool_find(pool, &hit_task, in, NULL, N, &index, &opts, TINE_FOREVER),
		0);
	end();
}

/* ---- submitted --------------------------------------------------------------------- */

static void submitted(bool ordered)
{
	tine_pool_opts opts = { .workers = 3, .ordered = ordered };
	int64_t result;
	tine_done done;

	cache = opts.cache = opened(16 * MIB);
	runs = tine_shared_new(1, sizeof(*runs));
	CHECK(runs);
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	for (int i = 0; i < N; i++)
		in[i].number = i % 10 == 9 ? FAILS + i : i;
	for (int round = 0; round < 2; round++) {
		int submitted = 0, taken = 0;
		bool seen[N] = { false };

		*runs = 0;
		while (taken < N) {
			while (submitted < N &&
			       tine_pool_submit(pool, &task, &in[submitted],
						(uint64_t)submitted, TINE_NOWAIT) == 0)
				submitted++;
			CHECK_EQ(tine_pool_next(pool, &result, sizeof(result), &done,
						tine_after(20000)),
				 1);
			CHECK(done.tag < N && !seen[done.tag]);
			CHECK(!ordered || done.tag == (uint64_t)taken);
			seen[done.tag] = true;
			if (done.tag % 10 == 9) {
				CHECK_EQ(done.status, -EIO);
			} else {
				CHECK_EQ(done.status, (int64_t)done.tag % 10);
				CHECK_EQ(result, (int64_t)(done.tag * done.tag + 1));
			}
			taken++;
		}
		CHECK_EQ(
			tine_pool_next(pool, &result, sizeof(result), &done, TINE_NOWAIT),
			0);
		CHECK_EQ(*runs, round ? N / 10 : N);
	}
	end();
}

TEST(submitted_as_they_are_done)
{
	submitted(false);
}

TEST(submitted_in_order)
{
	submitted(true);
}

/* Two pools, of two processes, and one cache. */
static void map_in_child(void *arg)
{
	(void)arg;
	pool = NULL;
	CHECK_EQ(tine_pool_new(&pool, NULL), 0);
	{
		tine_map_opts opts = { .cache = cache };

		CHECK_EQ(tine_pool_map(pool, &task, in, out, N, &opts, TINE_FOREVER), 0);
	}
	for (int i = 0; i < N; i++)
		CHECK_EQ(out[i], in[i].number * in[i].number + 1);
	tine_pool_free(pool);
	tine_cache_free(cache);
}

TEST(two_pools_at_once)
{
	pid_t pids[2];

	begin();
	*runs = 0;
	for (int i = 0; i < 2; i++)
		pids[i] = test_fork(map_in_child, NULL);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK(*runs >= DISTINCT);
	/* Hosts may do for one what they do for the other. */
	CHECK(*runs <= (test_is_away() ? 2 * DISTINCT : DISTINCT));
	end();
}
