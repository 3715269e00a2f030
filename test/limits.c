/* SPDX-License-Identifier: MIT */
/* Limits on jobs and workers, attempts, and signals from outside. */
#include "test.h"

#include <sys/mman.h>

enum { MANY = 60 };
#define MIB ((size_t)1 << 20)

/* What jobs and test tell each other; made before the pool, so that workers have it. */
static struct board {
	_Atomic int begun[MANY], finished[MANY], pids[MANY];
	_Atomic int any, boss;
	tine_event go;
} * board;

static tine_pool *make_with(const tine_pool_opts *opts)
{
	tine_pool *pool = NULL;

	board = tine_shared_new(1, sizeof(*board));
	CHECK(board);
	CHECK_EQ(tine_pool_new(&pool, opts), 0);
	return pool;
}

static tine_pool *make(unsigned workers)
{
	tine_pool_opts opts = { .workers = workers };

	return make_with(&opts);
}

static void unmake(tine_pool *pool)
{
	tine_pool_free(pool);
	tine_shared_free(board);
}

struct order {
	int id;
	int us, deaths, mib;
};

/*
 * Says that it has begun, dies if it has not died so often, takes so much, sleeps so
 * long, and says that it has finished.
 */
static int obeys(const void *in, void *out)
{
	const struct order *order = in;

	(void)out;
	atomic_store(&board->pids[order->id], getpid());
	atomic_store(&board->boss, getppid());
	atomic_fetch_add(&board->any, 1);
	if (atomic_fetch_add(&board->begun[order->id], 1) < order->deaths)
		raise(SIGILL);
	if (order->mib) {
		void *mem = mmap(NULL, order->mib * MIB, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		if (mem == MAP_FAILED)
			return -errno;
	}
	if (order->us)
		test_sleep_us(order->us);
	atomic_fetch_add(&board->finished[order->id], 1);
	return 0;
}

static const tine_task orders = TINE_TASK_IN(obeys, struct order);

static int map(tine_pool *pool, const struct order *in, size_t n,
	       const tine_map_opts *opts)
{
	return tine_pool_map(pool, &orders, in, NULL, n, opts, TINE_FOREVER);
}

static void number(struct order *in, int n)
{
	memset(in, 0, n * sizeof(*in));
	for (int i = 0; i < n; i++)
		in[i].id = i;
}

static void forget(void)
{
	for (int i = 0; i < MANY; i++) {
		atomic_store(&board->begun[i], 0);
		atomic_store(&board->finished[i], 0);
	}
	atomic_store(&board->any, 0);
}

/* ---- time -------------------------------------------------------------------------- */

static int returns_codes(const void *in, void *out)
{
	(void)out;
	return *(const long *)in % 2 ? -ETIMEDOUT : -ENOMEM;
}

/* A job may return what the system says; that it was ended is another thing. */
TEST(what_a_job_returns_is_no_limit)
{
	tine_pool *pool = make(2);
	tine_task task = TINE_TASK_IN(returns_codes, long);
	long in[4] = { 0, 1, 2, 3 };
	int status[4];
	tine_failure failure = { .limit = 7 };
	tine_map_opts opts = { .status = status, .failure = &failure };

	CHECK_EQ(tine_pool_map(pool, &task, in, NULL, 4, &opts, TINE_FOREVER), -ENOMEM);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(status[i], i % 2 ? -ETIMEDOUT : -ENOMEM);
	CHECK_EQ(failure.index, 4);
	CHECK_EQ(failure.limit, 0);
	unmake(pool);
}

/* One worker, which goes on with the jobs before and after. */
TEST(one_job_over_its_time)
{
	tine_pool *pool = make(1);
	struct order in[10];
	int status[10], pid;
	tine_failure failure;
	tine_map_opts opts = { .status = status, .job_ms = 100, .failure = &failure };

	for (size_t chunk = 0; chunk <= 20; chunk += 10) {
		number(in, 10);
		in[4].us = 60000000;
		opts.chunk = chunk;
		forget();
		CHECK_EQ(map(pool, in, 10, &opts), -TINE_ELIMIT);
		for (int i = 0; i < 10; i++) {
			CHECK_EQ(status[i], i == 4 ? -TINE_ELIMIT : 0);
			CHECK_EQ(board->begun[i], 1);
			CHECK_EQ(board->finished[i], i != 4);
		}
		CHECK_EQ(failure.index, 4);
		CHECK_EQ(failure.status, -TINE_ELIMIT);
		CHECK_EQ(failure.limit, TINE_LIMIT_TIME);
		CHECK_EQ(failure.how.code, -1);
		CHECK_EQ(failure.how.signal, SIGKILL);
		CHECK_EQ(failure.deaths, 1);
		/* Its worker is gone, and another was seated. */
		pid = board->pids[4];
		CHECK(!test_alive(pid));
		CHECK_EQ(board->pids[3], pid);
		CHECK(board->pids[5] != pid);
		/* Without a limit, with the largest one, and without a failure. */
		number(in, 10);
		in[4].us = 150000;
		opts.job_ms = chunk ? INT64_MAX : 0;
		CHECK_EQ(map(pool, in, 10, &opts), 0);
		CHECK_EQ(failure.index, 10);
		CHECK_EQ(failure.deaths, 0);
		opts.job_ms = 100;
	}
	unmake(pool);
}

/* In a row for longer than one of them may last. */
TEST(many_jobs_below_it)
{
	tine_pool *pool = make(2);
	struct order in[MANY];
	tine_map_opts opts = { .job_ms = 400, .chunk = MANY };

	number(in, MANY);
	for (int i = 0; i < MANY; i++)
		in[i].us = 30000;
	forget();
	CHECK_EQ(map(pool, in, MANY, &opts), 0);
	unmake(pool);
}

/*
 * About the limit either may come, but none is done twice, and the blow does not fall on
 * the next, which takes little time; but for a few that the machine kept waiting.
 */
TEST(jobs_about_as_long_as_the_limit)
{
	tine_pool *pool = make(3);
	struct order in[MANY];
	int status[MANY], ended = 0, innocent = 0;
	tine_map_opts opts = { .status = status, .job_ms = 40 };

	srand((unsigned)test_seed());
	for (long round = 0; round < test_scaled(8); round++) {
		number(in, MANY);
		for (int i = 0; i < MANY; i++)
			in[i].us = i % 10 == 7 ? 60000000
				   : i % 2     ? 36000 + rand() % 8000
					       : 8000;
		opts.chunk = round % 3 * 10;
		forget();
		CHECK_EQ(map(pool, in, MANY, &opts), -TINE_ELIMIT);
		for (int i = 0; i < MANY; i++) {
			CHECK_EQ(board->begun[i], 1);
			CHECK(status[i] == 0 || status[i] == -TINE_ELIMIT);
			if (status[i] == 0)
				CHECK_EQ(board->finished[i], 1);
			if (i % 10 == 7)
				CHECK_EQ(status[i], -TINE_ELIMIT);
			ended += status[i] != 0;
			innocent += status[i] != 0 && i % 2 == 0;
		}
	}
	printf("# %d were ended, %d of them short\n", ended, innocent);
	fflush(stdout);
	if (!getenv("TEST_SCALE"))
		CHECK(innocent <= 3);
	unmake(pool);
}

/* An earlier map's limit is not this one's. */
TEST(a_limit_is_of_one_map)
{
	tine_pool *pool = make(2);
	struct order in[2], shorter[2];
	tine_map_opts limited = { .job_ms = 20 };

	number(in, 2);
	number(shorter, 2);
	in[0].us = in[1].us = 100000;
	for (int round = 0; round < 5; round++) {
		/* Often with a word for the nursery on the way when it ends. */
		CHECK_EQ(map(pool, shorter, 2, &limited), 0);
		CHECK_EQ(map(pool, in, 2, NULL), 0);
	}
	/* Looked at again each time, though nobody was in a job for a while. */
	for (int round = 0; round < 30; round++) {
		in[0].us = round % 10 == 9 ? 60000000 : 0;
		in[1].us = 0;
		test_sleep_us(round % 10 * 500);
		CHECK_EQ(map(pool, in, 2, &limited), round % 10 == 9 ? -TINE_ELIMIT : 0);
	}
	unmake(pool);
}

/* ---- attempts ---------------------------------------------------------------------- */

TEST(so_many_attempts_and_no_more)
{
	enum { N = 20 };
	struct order in[N];
	int status[N];
	tine_failure failure;
	tine_map_opts opts = { .status = status, .failure = &failure };
	tine_pool *pool = make(2);

	for (unsigned retries = 0; retries <= 4; retries++)
		for (size_t chunk = 0; chunk <= N; chunk += N / 2) {
			opts.retries = retries;
			opts.chunk = chunk;
			number(in, N);
			in[3].deaths = 1000;
			in[7].deaths = (int)retries;
			forget();
			CHECK_EQ(map(pool, in, N, &opts), -TINE_ECRASH);
			for (int i = 0; i < N; i++) {
				CHECK_EQ(status[i], i == 3 ? -TINE_ECRASH : 0);
				CHECK_EQ(board->begun[i],
					 i == 3 || i == 7 ? retries + 1 : 1);
				CHECK_EQ(board->finished[i], i != 3);
			}
			CHECK_EQ(failure.index, 3);
			CHECK_EQ(failure.status, -TINE_ECRASH);
			CHECK_EQ(failure.how.signal, SIGILL);
			CHECK_EQ(failure.deaths, 2 * retries + 1);
		}
	unmake(pool);
}

TEST(attempts_without_a_status)
{
	enum { N = 20 };
	struct order in[N];
	tine_failure failure;
	tine_map_opts opts = { .retries = 2, .failure = &failure };
	tine_pool *pool = make(3);

	number(in, N);
	in[5].deaths = 2;
	in[6].deaths = 1;
	CHECK_EQ(map(pool, in, N, &opts), 0);
	CHECK_EQ(failure.index, N);
	CHECK_EQ(failure.status, 0);
	CHECK_EQ(failure.deaths, 3);
	forget();
	in[5].deaths = 3;
	CHECK_EQ(map(pool, in, N, &opts), -TINE_ECRASH);
	CHECK_EQ(failure.index, 5);
	/* What is over its time is not tried again. */
	forget();
	number(in, N);
	in[9].us = 60000000;
	opts.job_ms = 100;
	CHECK_EQ(map(pool, in, N, &opts), -TINE_ELIMIT);
	CHECK_EQ(board->begun[9], 1);
	CHECK_EQ(failure.deaths, 1);
	/* Many at once, each of them. */
	forget();
	number(in, N);
	for (int i = 0; i < N; i++)
		in[i].deaths = 2;
	opts.job_ms = 0;
	CHECK_EQ(map(pool, in, N, &opts), 0);
	CHECK_EQ(failure.deaths, 2 * N);
	for (int i = 0; i < N; i++)
		CHECK_EQ(board->begun[i], 3);
	unmake(pool);
}

/* What jobs return is not taken for attempts. */
static int returns_and_dies_once(const void *in, void *out)
{
	int n = *(const int *)in;

	(void)out;
	if (atomic_fetch_add(&board->begun[n], 1) == 0 && n % 3 == 0)
		raise(SIGKILL);
	return n % 2 ? n : -n;
}

TEST(statuses_after_attempts)
{
	tine_task task = TINE_TASK_IN(returns_and_dies_once, int);
	tine_pool *pool = make(2);
	int in[MANY], *status = tine_shared_new(MANY, sizeof(*status));
	tine_map_opts opts = { .status = status, .retries = 1 };

	for (int i = 0; i < MANY; i++) {
		in[i] = i;
		/* Left over from what was before. */
		status[i] = 1000;
	}
	CHECK_EQ(tine_pool_map(pool, &task, in, NULL, MANY, &opts, TINE_FOREVER), -2);
	for (int i = 0; i < MANY; i++) {
		CHECK_EQ(status[i], i % 2 ? i : -i);
		CHECK_EQ(board->begun[i], i % 3 ? 1 : 2);
	}
	unmake(pool);
	tine_shared_free(status);
}

/* ---- memory ------------------------------------------------------------------------ */

TEST(a_job_that_grows)
{
	enum { N = 10 };
	tine_pool_opts opts = { .workers = 2, .memory_per_worker = 32 * MIB };
	struct order in[N];
	int status[N];
	tine_failure failure;
	tine_map_opts map_opts = { .status = status, .failure = &failure };
	tine_pool *pool = make_with(&opts);

	number(in, N);
	in[4].mib = 64;
	in[4].us = 60000000;
	in[5].mib = 8;
	CHECK_EQ(map(pool, in, N, &map_opts), -TINE_ELIMIT);
	for (int i = 0; i < N; i++) {
		CHECK_EQ(status[i], i == 4 ? -TINE_ELIMIT : 0);
		CHECK_EQ(board->finished[i], i != 4);
	}
	CHECK(!test_alive(board->pids[4]));
	CHECK_EQ(failure.index, 4);
	CHECK_EQ(failure.status, -TINE_ELIMIT);
	CHECK_EQ(failure.how.signal, SIGKILL);
	unmake(pool);
}

TEST(a_submitted_job_that_grows)
{
	tine_pool_opts opts = {
		.workers = 2, .memory_per_worker = 32 * MIB, .ordered = true, .retries = 3
	};
	tine_pool *pool = make_with(&opts);

	for (int i = 0; i < 10; i++) {
		struct order order = { .id = i,
				       .mib = i == 4 ? 64 : 0,
				       .us = i == 4 ? 60000000 : 0 };

		CHECK_EQ(tine_pool_submit(pool, &orders, &order, i, TINE_FOREVER), 0);
	}
	for (int i = 0; i < 10; i++) {
		tine_done done;

		CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_FOREVER), 1);
		CHECK_EQ(done.status, i == 4 ? -TINE_ELIMIT : 0);
		CHECK_EQ(done.limit, i == 4 ? TINE_LIMIT_MEMORY : 0);
		CHECK_EQ(done.how.signal, i == 4 ? SIGKILL : 0);
	}
	unmake(pool);
}

/*
 * Each leaves its worker too large: it gets no other, not of the same chunk either. A job
 * that is seen too large, before it is done, is ended.
 */
TEST(a_worker_that_has_grown_between_jobs)
{
	enum { N = 16 };
	tine_pool_opts opts = { .workers = 2, .memory_per_worker = 16 * MIB };
	struct order in[N];
	int status[N], done = 0;
	tine_map_opts map_opts = { .status = status };
	tine_pool *pool = make_with(&opts);

	for (size_t chunk = 0; chunk <= N; chunk += N / 2) {
		map_opts.chunk = chunk;
		number(in, N);
		/* The sleep is for it to be weighed: not more often than each 10 ms. */
		for (int i = 0; i < N; i++)
			in[i] = (struct order){ .id = i, .mib = 24, .us = 11000 };
		map(pool, in, N, &map_opts);
		for (int i = 0; i < N; i++) {
			CHECK(status[i] == 0 || status[i] == -TINE_ELIMIT);
			done += status[i] == 0;
			for (int k = 0; k < i; k++)
				CHECK(board->pids[k] != board->pids[i]);
		}
	}
	printf("# %d of %d were done\n", done, 3 * N);
	fflush(stdout);
	CHECK(done > 0);
	unmake(pool);
}

static int sleeps_in_init(void *arg)
{
	(void)arg;
	return 0;
}

/* What they were forked with is not of their making. */
TEST(workers_of_a_large_process)
{
	enum { N = 20 };
	tine_pool_opts opts = { .workers = 1,
				.memory_per_worker = 16 * MIB,
				.init = sleeps_in_init };
	struct order in[N];
	char *large = malloc(64 * MIB);
	tine_pool *pool;

	CHECK(large);
	memset(large, 1, 64 * MIB);
	pool = make_with(&opts);
	number(in, N);
	for (int i = 0; i < N; i++)
		in[i].us = 10000;
	CHECK_EQ(map(pool, in, N, NULL), 0);
	for (int i = 1; i < N; i++)
		CHECK_EQ(board->pids[i], board->pids[0]);
	unmake(pool);
	free(large);
}

TEST(so_many_submitted_jobs_for_each_worker)
{
	tine_pool_opts opts = { .workers = 2, .jobs_per_worker = 5 };
	tine_pool *pool = make_with(&opts);

	for (int i = 0; i < MANY; i++) {
		struct order order = { .id = i };

		CHECK_EQ(tine_pool_submit(pool, &orders, &order, i, TINE_FOREVER), 0);
	}
	for (int i = 0; i < MANY; i++) {
		tine_done done;

		CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_FOREVER), 1);
		CHECK_EQ(done.status, 0);
	}
	for (int i = 0; i < MANY; i++) {
		int jobs = 0;

		for (int k = 0; k < MANY; k++)
			jobs += board->pids[k] == board->pids[i];
		CHECK(jobs <= 5);
		CHECK_EQ(board->begun[i], 1);
	}
	unmake(pool);
}

/* ---- signals ----------------------------------------------------------------------- */

static int stops(const void *in, void *out)
{
	(void)out;
	atomic_store(&board->pids[0], getpid());
	if (*(const int *)in)
		raise(SIGSTOP);
	atomic_fetch_add(&board->any, 1);
	return 0;
}

static const tine_task stop_task = TINE_TASK_IN(stops, int);

/* Once all else is done. */
static void continues_it(void *arg)
{
	while (atomic_load(&board->any) < *(int *)arg)
		test_sleep_us(500);
	test_sleep_us(20000);
	CHECK_EQ(atomic_load(&board->any), *(int *)arg);
	kill(board->pids[1], SIGCONT);
}

static int stops_in_the_first(const void *in, void *out)
{
	if (*(const int *)in)
		atomic_store(&board->pids[1], getpid());
	return stops(in, out);
}

TEST(a_worker_stopped_and_continued)
{
	tine_task task = TINE_TASK_IN(stops_in_the_first, int);
	tine_pool *pool = make(2);
	int in[10] = { 1 }, others = 9;
	tine_map_opts opts = { .chunk = 1 };
	pid_t pid = test_fork(continues_it, &others);

	/* Meanwhile the other does the rest, and then it is waited for. */
	CHECK_EQ(tine_pool_map(pool, &task, in, NULL, 10, &opts, TINE_FOREVER), 0);
	CHECK_EQ(board->any, 10);
	CHECK_EQ(test_reap(pid), 0);
	unmake(pool);
}

TEST(a_stopped_worker_is_ended_all_the_same)
{
	tine_pool *pool = make(2);
	int in[10] = { 0, 0, 0, 1 }, status[10];
	tine_map_opts opts = { .status = status, .job_ms = 100 };

	for (int round = 0; round < 3; round++) {
		CHECK_EQ(tine_pool_map(pool, &stop_task, in, NULL, 10, &opts,
				       TINE_FOREVER),
			 -TINE_ELIMIT);
		for (int i = 0; i < 10; i++)
			CHECK_EQ(status[i], i == 3 ? -TINE_ELIMIT : 0);
	}
	opts.job_ms = 0;
	/* It has begun by then. */
	CHECK_EQ(tine_pool_map(pool, &stop_task, in, NULL, 10, &opts,
			       tine_after(test_is_away() ? 1500 : 50)),
		 -ETIMEDOUT);
	CHECK_EQ(status[3], -TINE_ELIMIT);
	/* And is no hindrance when the pool is freed. */
	in[3] = 0;
	CHECK_EQ(tine_pool_map(pool, &stop_task, in, NULL, 10, &opts, TINE_FOREVER), 0);
	kill(board->pids[0], SIGSTOP);
	unmake(pool);
}

TEST(a_worker_stopped_at_rest)
{
	tine_pool *pool = make(2);
	int in[10] = { 0 };
	tine_done done;

	for (int round = 0; round < 10; round++) {
		pid_t pid;

		CHECK_EQ(
			tine_pool_map(pool, &stop_task, in, NULL, 10, NULL, TINE_FOREVER),
			0);
		pid = board->pids[0];
		/* Awake still, or asleep. */
		test_sleep_us(round % 2 * 5000);
		kill(pid, SIGSTOP);
		CHECK_EQ(tine_pool_submit(pool, &stop_task, in, 1, TINE_FOREVER), 0);
		CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_FOREVER), 1);
		kill(pid, SIGCONT);
	}
	unmake(pool);
}

TEST(the_nursery_stopped)
{
	tine_pool *pool = make(2);
	struct order in[10];

	number(in, 10);
	CHECK_EQ(map(pool, in, 10, NULL), 0);
	kill(board->boss, SIGSTOP);
	CHECK_EQ(map(pool, in, 10, NULL), 0);
	unmake(pool);
}

static int waits_to_go(const void *in, void *out)
{
	if (*(const int *)in)
		return obeys(&(struct order){ 0 }, out);
	atomic_store(&board->pids[1], getpid());
	atomic_store(&board->boss, getppid());
	atomic_store(&board->finished[1], 1);
	return tine_event_wait(&board->go, TINE_FOREVER);
}

static const tine_task wait_task = TINE_TASK_IN(waits_to_go, int);

struct shot {
	_Atomic int *target;
	int signal;
	bool lets_go;
};

static void shoots(void *arg)
{
	const struct shot *shot = arg;

	while (!atomic_load(&board->finished[1]))
		test_sleep_us(200);
	CHECK_EQ(kill(*shot->target, shot->signal), 0);
	test_sleep_us(20000);
	if (shot->lets_go)
		tine_event_set(&board->go);
}

/* A job that waits, while one of the pool gets a signal. */
static int map_under_fire(tine_pool *pool, const struct shot *shot, tine_failure *failure)
{
	int in[2] = { 0, 1 }, err;
	tine_map_opts opts = { .failure = failure };
	pid_t pid;

	atomic_store(&board->finished[1], 0);
	tine_event_clear(&board->go);
	pid = test_fork(shoots, (void *)shot);
	err = tine_pool_map(pool, &wait_task, in, NULL, 2, &opts, TINE_FOREVER);
	CHECK_EQ(test_reap(pid), 0);
	return err;
}

TEST(signals_to_a_worker)
{
	static const int deadly[] = { SIGHUP, SIGQUIT, SIGUSR1, SIGKILL };
	tine_pool *pool = make(2);
	tine_failure failure;

	for (size_t i = 0; i < sizeof(deadly) / sizeof(*deadly); i++) {
		struct shot shot = { &board->pids[1], deadly[i], false };

		CHECK_EQ(map_under_fire(pool, &shot, &failure), -TINE_ECRASH);
		CHECK_EQ(failure.index, 0);
		CHECK_EQ(failure.how.signal, deadly[i]);
	}
	/* Ctrl-C, and what a service manager sends, are for the caller to answer. */
	CHECK_EQ(map_under_fire(pool, &(struct shot){ &board->pids[1], SIGINT, true },
				&failure),
		 0);
	CHECK_EQ(map_under_fire(pool, &(struct shot){ &board->pids[1], SIGTERM, true },
				&failure),
		 0);
	CHECK_EQ(failure.index, 2);
	unmake(pool);
}

TEST(signals_to_the_nursery)
{
	static const int harmless[] = { SIGTERM, SIGHUP,  SIGINT, SIGQUIT,
					SIGUSR1, SIGTSTP, SIGCHLD };
	tine_pool *pool = make(2);
	tine_failure failure;
	int boss;

	for (size_t i = 0; i < sizeof(harmless) / sizeof(*harmless); i++) {
		struct shot shot = { &board->boss, harmless[i], true };

		CHECK_EQ(map_under_fire(pool, &shot, &failure), 0);
	}
	boss = board->boss;
	CHECK_EQ(map_under_fire(pool, &(struct shot){ &board->boss, SIGKILL, true },
				&failure),
		 -TINE_ECRASH);
	CHECK_EQ(failure.how.signal, SIGKILL);
	CHECK_EQ(map_under_fire(pool, &(struct shot){ &board->pids[1], SIGINT, true },
				&failure),
		 0);
	CHECK(board->boss != boss);
	unmake(pool);
}

/* One pool in a map, and one with jobs that were submitted. */
static void works_until_killed(void *arg)
{
	tine_pool_opts opts = { .workers = 2 };
	tine_pool *pool = arg;
	int in[2] = { 0, 0 };

	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(tine_pool_submit(pool, &wait_task, in, 1, TINE_FOREVER), 0);
	while (!atomic_load(&board->finished[1]))
		test_sleep_us(200);
	atomic_store(&board->pids[2], board->pids[1]);
	atomic_store(&board->pids[3], board->boss);
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	atomic_store(&board->finished[2], 1);
	(void)!tine_pool_map(pool, &wait_task, in, NULL, 2, NULL, TINE_FOREVER);
}

TEST(signals_to_the_parent)
{
	static const int deadly[] = { SIGTERM, SIGINT, SIGKILL };

	board = tine_shared_new(1, sizeof(*board));
	for (int i = 0; i < 3; i++) {
		int64_t deadline;
		pid_t pid;

		memset(board, 0, sizeof(*board));
		pid = test_fork(works_until_killed, NULL);
		while (!atomic_load(&board->finished[2]) ||
		       board->pids[1] == board->pids[2])
			test_sleep_us(200);
		kill(pid, deadly[i]);
		CHECK_EQ(test_reap(pid), -deadly[i]);
		deadline = tine_after(5000);
		while (test_alive(board->pids[1]) || test_alive(board->boss) ||
		       test_alive(board->pids[2]) || test_alive(board->pids[3]))
			CHECK(tine_now() < deadline);
	}
	/* What the dead had allocated is lost; do not look. */
	_exit(0);
}

/* ---- shares ------------------------------------------------------------------------ */

static _Atomic unsigned *seen_by_init;

static int init_looks(void *arg)
{
	(void)arg;
	atomic_store(seen_by_init, tine_cpus());
	return 0;
}

static int says_share(const void *in, void *out)
{
	test_sleep_us(1000);
	(void)in;
	((unsigned *)out)[0] = tine_cpus();
	((unsigned *)out)[1] = (unsigned)getpid();
	return 0;
}

static const tine_task shares = { .name = "shares", .fn = says_share, .out_size = 8 };

/* With a pool of its own, as large as its share. */
static int says_inner(const void *in, void *out)
{
	unsigned results[40][2], distinct = 0;
	tine_pool *pool;
	int err = tine_pool_new(&pool, NULL);

	(void)in;
	if (err)
		return err;
	err = tine_pool_map(pool, &shares, NULL, results, 40, NULL, TINE_FOREVER);
	tine_pool_free(pool);
	for (int i = 0; i < 40; i++) {
		int k = 0;

		while (k < i && results[k][1] != results[i][1])
			k++;
		distinct += k == i;
	}
	((unsigned *)out)[0] = results[0][0];
	((unsigned *)out)[1] = distinct;
	return err;
}

TEST(a_job_has_its_share_of_the_processors)
{
	static const unsigned cases[][4] = { /* processors, workers, share, inner share */
					     { 8, 2, 4, 1 },  { 9, 2, 4, 1 },
					     { 12, 3, 4, 1 }, { 3, 1, 3, 1 },
					     { 4, 4, 1, 1 },  { 2, 5, 1, 1 }
	};
	tine_task inner = { .name = "inner", .fn = says_inner, .out_size = 8 };

	seen_by_init = tine_shared_new(1, sizeof(*seen_by_init));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		tine_pool_opts opts = { .workers = cases[i][1], .init = init_looks };
		unsigned results[4][2];
		tine_pool *pool;
		char text[16];

		snprintf(text, sizeof(text), "%u", cases[i][0]);
		setenv("TINE_WORKERS", text, 1);
		CHECK_EQ(tine_pool_new(&pool, &opts), 0);
		CHECK_EQ(tine_pool_map(pool, &shares, NULL, results, 4, NULL,
				       TINE_FOREVER),
			 0);
		for (int k = 0; k < 4; k++)
			CHECK_EQ(results[k][0], cases[i][2]);
		CHECK_EQ(*seen_by_init, cases[i][2]);
		CHECK_EQ(
			tine_pool_map(pool, &inner, NULL, results, 2, NULL, TINE_FOREVER),
			0);
		for (int k = 0; k < 2; k++) {
			CHECK_EQ(results[k][0], cases[i][3]);
			CHECK(results[k][1] >= 1 && results[k][1] <= cases[i][2]);
		}
		/* The caller has all of them still. */
		CHECK_EQ(tine_cpus(), cases[i][0]);
		tine_pool_free(pool);
	}
	unsetenv("TINE_WORKERS");
	tine_shared_free((void *)seen_by_init);
}
