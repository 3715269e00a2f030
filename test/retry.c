/* SPDX-License-Identifier: MIT */
/* Jobs that are tried again after a failure, and the pauses before. */
#include "pool_use.h"
#include "step.h"

#include "pool/pool.h"
#include "pool/worker.h"

#include <poll.h>

enum { GUARD_MS = 20000, LONG_MS = 600000, N = 200, MOST = 4096 };

static struct board {
	_Atomic int tries[MOST];
	int64_t begun[64]; /* of job 0 */
	_Atomic int order[MOST], place;
	_Atomic int hold;
	long given, freed, cancelled;
	struct ledger *ledger;
	struct ticket *tickets;
} * board;

static tine_pool *make(const tine_pool_opts *opts)
{
	board = new_board(sizeof(*board));
	return new_pool(opts);
}

static void unmake(tine_pool *pool)
{
	tine_pool_free(pool);
	tine_shared_free(board);
}

struct job {
	long number;
	long fails; /* so often */
	long dies;  /* 1: instead; 2: takes too long */
};

static struct job fails(long number, long times, long dies)
{
	return (struct job){ number, times, dies };
}

static int tries(const struct job *job)
{
	int before = atomic_fetch_add(&board->tries[job->number], 1);

	if (job->number == 0 && before < 64)
		board->begun[before] = tine_now();
	board->order[atomic_fetch_add(&board->place, 1) % MOST] = (int)job->number;
	if (before >= job->fails)
		return 0;
	if (job->dies == 1)
		raise(SIGKILL);
	while (job->dies == 2)
		pause();
	return -EIO;
}

static int square(const void *in, void *out)
{
	const struct job *job = in;
	int status = tries(job);

	*(long *)out = status ? -1 : job->number * job->number;
	return status;
}

static int is_seven(const void *in, void *out)
{
	const struct job *job = in;
	int status = tries(job);

	(void)out;
	return status ? status : job->number % 10 == 7;
}

static const tine_task squares = TINE_TASK(square, struct job, long);
static const tine_task sevens = TINE_TASK_IN(is_seven, struct job);

/* ---- jobs that are submitted ------------------------------------------------------- */

static uint64_t submit(tine_pool *pool, struct job job, const tine_job_opts *opts)
{
	uint64_t number;

	CHECK_EQ(tine_pool_submit_job(pool, &squares, &job, sizeof(job),
				      (uint64_t)job.number, opts, &number,
				      tine_after(GUARD_MS)),
		 0);
	return number;
}

static int status_of(tine_pool *pool, uint64_t number, long *out)
{
	tine_done done;

	CHECK_EQ(tine_pool_wait(pool, number, out, sizeof(*out), &done,
				tine_after(GUARD_MS)),
		 0);
	return done.status;
}

TEST(a_submitted_job)
{
	for (unsigned retries = 0; retries < 4; retries++) {
		tine_pool *pool = make(&(tine_pool_opts){
			.workers = 2, .retries = retries, .retry_failures = true });
		long out;

		CHECK_EQ(status_of(pool, submit(pool, fails(3, retries, 0), NULL), &out),
			 0);
		CHECK_EQ(out, 9);
		CHECK_EQ(board->tries[3], retries + 1);
		CHECK_EQ(status_of(pool, submit(pool, fails(4, 1000, 0), NULL), &out),
			 -EIO);
		CHECK_EQ(board->tries[4], retries + 1);
		/* Deaths and failures count together. */
		CHECK_EQ(status_of(pool, submit(pool, fails(5, 1000, 1), NULL), &out),
			 -TINE_ECRASH);
		CHECK_EQ(board->tries[5], retries + 1);
		unmake(pool);
	}
}

TEST(only_where_it_is_wanted)
{
	static const tine_job_opts wanted = { .retry_failures = true },
				   more = { .retries = 5, .retry_failures = true };
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 1, .retries = 2 });
	long out;

	CHECK_EQ(status_of(pool, submit(pool, fails(1, 9, 0), NULL), &out), -EIO);
	CHECK_EQ(board->tries[1], 1);
	CHECK_EQ(status_of(pool, submit(pool, fails(2, 9, 0), &wanted), &out), -EIO);
	CHECK_EQ(board->tries[2], 3);
	CHECK_EQ(status_of(pool, submit(pool, fails(3, 9, 0), &more), &out), -EIO);
	CHECK_EQ(board->tries[3], 6);
	unmake(pool);
}

/* At least: how much longer is the machine's affair. */
static void check_pauses(int64_t first_ms, int n)
{
	for (int i = 0; i < n; i++)
		CHECK((board->begun[i + 1] - board->begun[i]) / 1000000 >= first_ms << i);
}

TEST(pauses_that_double)
{
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 2,
						  .retries = 4,
						  .retry_failures = true,
						  .retry_pause_ms = 5 });
	static const tine_job_opts longer = { .retry_pause_ms = 20 };
	long out;

	CHECK_EQ(status_of(pool, submit(pool, fails(0, 4, 0), NULL), &out), 0);
	check_pauses(5, 4);
	board->tries[0] = 0;
	CHECK_EQ(status_of(pool, submit(pool, fails(0, 2, 0), &longer), &out), 0);
	check_pauses(20, 2);
	board->tries[0] = 0;
	CHECK_EQ(status_of(pool, submit(pool, fails(0, 3, 1), NULL), &out), 0);
	check_pauses(5, 3);
	unmake(pool);
}

/* Nor is one that pauses waited for when it is cancelled. */
TEST(no_worker_waits_in_a_pause)
{
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 1,
						  .retries = 2,
						  .retry_failures = true,
						  .retry_pause_ms = LONG_MS });
	uint64_t paused = submit(pool, fails(0, 9, 0), NULL);
	tine_done done;
	long out;

	for (long i = 1; i < 20; i++) {
		CHECK_EQ(status_of(pool, submit(pool, fails(i, 0, 0), NULL), &out), 0);
		CHECK_EQ(out, i * i);
	}
	CHECK_EQ(board->tries[0], 1);
	CHECK_EQ(tine_pool_wait(pool, paused, NULL, 0, &done, tine_after(20)),
		 -ETIMEDOUT);
	CHECK_EQ(tine_pool_refresh(pool), -EBUSY);
	CHECK_EQ(tine_pool_cancel_job(pool, paused), 0);
	CHECK_EQ(status_of(pool, paused, &out), -ECANCELED);
	unmake(pool);
}

TEST(all_that_pause_are_cancelled)
{
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 2,
						  .retries = 2,
						  .retry_failures = true,
						  .retry_pause_ms = LONG_MS });
	struct pollfd poll_fd = { .fd = tine_pool_fd(pool), .events = POLLIN };
	tine_done done;
	int n = 0;

	CHECK(poll_fd.fd >= 0);
	for (long i = 0; i < 4; i++)
		submit(pool, fails(i, 9, 0), NULL);
	while (board->tries[0] + board->tries[1] + board->tries[2] + board->tries[3] < 4)
		test_sleep_us(500);
	/* Now both sleep. */
	test_sleep_us(10000);
	CHECK_EQ(tine_pool_cancel(pool), 0);
	/* Though nobody looks after them. */
	CHECK_EQ(poll(&poll_fd, 1, (int)test_patience(GUARD_MS)), 1);
	for (; tine_pool_next(pool, NULL, 0, &done, tine_after(GUARD_MS)) == 1; n++)
		CHECK_EQ(done.status, -ECANCELED);
	CHECK_EQ(n, 4);
	unmake(pool);
}

TEST(in_order)
{
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 3,
						  .retries = 9,
						  .ordered = true,
						  .retry_failures = true,
						  .retry_pause_ms = 1 });
	long given = 0, taken = 0, out;
	tine_done done;

	while (taken < N) {
		if (given < N && given < taken + 5) {
			submit(pool, fails(given, given % 4, 0), NULL);
			given++;
			continue;
		}
		CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done,
					tine_after(GUARD_MS)),
			 1);
		CHECK_EQ(done.status, 0);
		CHECK_EQ(done.tag, taken);
		CHECK_EQ(out, taken * taken);
		CHECK_EQ(board->tries[taken], taken % 4 + 1);
		taken++;
	}
	unmake(pool);
}

static int answers_its_try(const void *in, size_t len)
{
	int try = atomic_fetch_add(&board->tries[0], 1);

	(void)in;
	(void)len;
	CHECK_EQ(tine_job_result(&try, sizeof(try)), 0);
	return try < 2 ? -EIO : 0;
}

TEST(only_the_last_answer_is_given)
{
	tine_task task = TINE_TASK_BYTES(answers_its_try);
	tine_pool *pool = make(
		&(tine_pool_opts){ .workers = 1, .retries = 5, .retry_failures = true });
	const void *answer;
	tine_done done;

	CHECK_EQ(tine_pool_submit_bytes(pool, &task, "", 0, 0, TINE_FOREVER), 0);
	CHECK_EQ(tine_pool_next_bytes(pool, &answer, &done, tine_after(GUARD_MS)), 1);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(*(const int *)answer, 2);
	CHECK_EQ(tine_pool_release(pool, answer), 0);
	unmake(pool);
}

/* It fails again and again, and is cancelled at any moment of it. */
TEST(a_cancel_that_races_with_a_retry)
{
	for (int round = 0; round < test_sampled(60); round++) {
		tine_pool *pool = make(&(tine_pool_opts){ .workers = 1 + round % 2,
							  .retries = 1000000000,
							  .retry_failures = true });
		uint64_t job = submit(pool, fails(1, 1000000000, 0), NULL);
		long out;

		while (board->tries[1] < 2 + round)
			;
		CHECK_EQ(tine_pool_cancel_job(pool, job), 0);
		CHECK(status_of(pool, job, &out) == -ECANCELED || out == -1);
		unmake(pool);
	}
}

/* ---- maps -------------------------------------------------------------------------- */

static void fill(struct job *in, long n)
{
	memset((void *)board->tries, 0, sizeof(board->tries));
	atomic_store(&board->place, 0);
	for (long i = 0; i < n; i++)
		in[i] = (struct job){ .number = i };
}

TEST(each_job_of_a_map)
{
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 3 });
	struct job in[N];
	long out[N];
	int status[N];
	tine_ending endings[N];
	tine_failure failure;

	for (int which = 0; which < 16; which++) {
		tine_map_opts opts = { .retries = 3,
				       .retry_failures = true,
				       .retry_pause_ms = which / 2 % 2,
				       .chunk = which / 4 % 2,
				       .status = which % 2 ? status : NULL,
				       .endings = which / 8 ? endings : NULL,
				       .failure = &failure };

		fill(in, N);
		for (long i = 0; i < N; i++)
			in[i].fails = i % 7 == 3 ? i % 4 : 0;
		in[10].fails = 1000;
		in[20].fails = 3;
		in[20].dies = 1;
		CHECK_EQ(tine_pool_map(pool, &squares, in, out, N, &opts,
				       tine_after(GUARD_MS)),
			 -EIO);
		for (long i = 0; i < N; i++) {
			if (which % 2)
				CHECK_EQ(status[i], i == 10 ? -EIO : 0);
			if (i != 10)
				CHECK_EQ(out[i], i * i);
			CHECK_EQ(board->tries[i], i == 10 ? 4 : in[i].fails + 1);
			if (opts.endings)
				CHECK_EQ(endings[i].how.signal, 0);
		}
		CHECK_EQ(failure.index, N);
		CHECK_EQ(failure.deaths, 3);
	}
	unmake(pool);
}

/* What died in its last try is told, and what was too long is not tried again. */
TEST(deaths_in_vain)
{
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 2 });
	struct job in[N];
	long out[N];
	int status[N];
	tine_ending endings[N];
	tine_failure failure;
	tine_map_opts opts = { .retries = 2,
			       .retry_failures = true,
			       .status = status,
			       .endings = endings,
			       .failure = &failure };

	fill(in, N);
	in[30].fails = 9;
	in[30].dies = 1;
	CHECK_EQ(tine_pool_map(pool, &squares, in, out, N, &opts, tine_after(GUARD_MS)),
		 -TINE_ECRASH);
	CHECK_EQ(board->tries[30], 3);
	CHECK_EQ(failure.index, 30);
	CHECK_EQ(failure.deaths, 3);
	CHECK_EQ(endings[30].how.signal, SIGKILL);
	fill(in, N);
	in[40].fails = 9;
	in[40].dies = 2;
	in[30].fails = 1;
	in[30].dies = 1;
	opts.job_ms = 300;
	CHECK_EQ(tine_pool_map(pool, &squares, in, out, N, &opts, tine_after(GUARD_MS)),
		 -TINE_ELIMIT);
	CHECK_EQ(board->tries[40], 1);
	CHECK_EQ(status[30], 0);
	CHECK_EQ(failure.index, 40);
	CHECK_EQ(failure.limit, TINE_LIMIT_TIME);
	unmake(pool);
}

TEST(pauses_of_a_map)
{
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 2 });
	tine_map_opts opts = { .retries = 3, .retry_pause_ms = 10 };
	struct job in[8];
	long out[8];

	for (int dies = 0; dies < 2; dies++) {
		fill(in, 8);
		in[0].fails = 3;
		in[0].dies = dies;
		opts.retry_failures = !dies;
		CHECK_EQ(tine_pool_map(pool, &squares, in, out, 8, &opts,
				       tine_after(GUARD_MS)),
			 0);
		check_pauses(10, 3);
	}
	unmake(pool);
}

TEST(in_the_order_of_their_index)
{
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 1 });
	tine_map_opts opts = { .chunk = 1, .retries = 1, .retry_failures = true };
	struct job in[N];
	long out[N];

	fill(in, N);
	for (long i = 0; i < N; i += 3)
		in[i].fails = 1;
	CHECK_EQ(tine_pool_map(pool, &squares, in, out, N, &opts, tine_after(GUARD_MS)),
		 0);
	CHECK_EQ(board->place, N + (N + 2) / 3);
	for (int i = 1; i < board->place; i++)
		CHECK(i == N || board->order[i] > board->order[i - 1]);
	unmake(pool);
}

static void cancels(void *arg, size_t done, size_t total)
{
	/* In the pause, when all others are done. */
	if (done == total - 1)
		tine_pool_cancel(arg);
}

TEST(a_map_that_ends_in_a_pause)
{
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 2 });
	int status[N];
	tine_map_opts opts = { .retries = 3,
			       .retry_failures = true,
			       .retry_pause_ms = LONG_MS,
			       .status = status };
	struct job in[N];
	long out[N];

	for (int deadline = 0; deadline < 2; deadline++) {
		fill(in, N);
		in[100].fails = 9;
		opts.progress = deadline ? NULL : cancels;
		opts.progress_arg = pool;
		CHECK_EQ(tine_pool_map(pool, &squares, in, out, N, &opts,
				       tine_after(deadline ? 2000 : GUARD_MS)),
			 deadline ? -ETIMEDOUT : -ECANCELED);
		for (long i = 0; i < N; i++) {
			CHECK_EQ(status[i], i == 100 ? -ECANCELED : 0);
			CHECK_EQ(board->tries[i], 1);
			if (i != 100)
				CHECK_EQ(out[i], i * i);
		}
	}
	unmake(pool);
}

/* The last count is of all. */
static void notes_progress(void *arg, size_t done, size_t total)
{
	CHECK_EQ(total, N);
	*(size_t *)arg = done;
}

TEST(progress_ends_at_all)
{
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 2 });
	size_t done = 0;
	tine_map_opts opts = { .retries = 3,
			       .retry_failures = true,
			       .progress = notes_progress,
			       .progress_arg = &done };
	struct job in[N];
	long out[N];

	fill(in, N);
	in[9].fails = in[99].fails = 2;
	CHECK_EQ(tine_pool_map(pool, &squares, in, out, N, &opts, tine_after(GUARD_MS)),
		 0);
	CHECK_EQ(done, N);
	unmake(pool);
}

TEST(searches)
{
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 2 });
	tine_map_opts opts = { .retries = 2, .retry_failures = true };
	struct job in[N];
	size_t index;

	for (int smallest = 0; smallest < 2; smallest++) {
		opts.smallest = smallest;
		/* The only hit fails at first. */
		fill(in, 10);
		in[7].fails = 2;
		CHECK_EQ(tine_pool_find(pool, &sevens, in, NULL, 10, &index, &opts,
					tine_after(GUARD_MS)),
			 1);
		CHECK_EQ(index, 7);
		CHECK_EQ(board->tries[3], 1);
		/* In vain. */
		fill(in, 10);
		in[7].fails = 9;
		CHECK_EQ(tine_pool_find(pool, &sevens, in, NULL, 10, &index, &opts,
					tine_after(GUARD_MS)),
			 -EIO);
		CHECK_EQ(board->tries[7], 3);
	}
	/* A smaller hit, of 7 and 17, that fails at first. */
	fill(in, N);
	in[7].fails = in[17].fails = in[3].fails = 1;
	CHECK_EQ(tine_pool_find(pool, &sevens, in, NULL, N, &index, &opts,
				tine_after(GUARD_MS)),
		 1);
	CHECK_EQ(index, 7);
	CHECK_EQ(board->tries[3], 2);
	/* What has failed below it in vain does not change it. */
	fill(in, N);
	in[7].fails = 9;
	CHECK_EQ(tine_pool_find(pool, &sevens, in, NULL, N, &index, &opts,
				tine_after(GUARD_MS)),
		 1);
	CHECK_EQ(index, 17);
	CHECK_EQ(board->tries[7], 3);
	unmake(pool);
}

TEST(a_failure_is_not_kept)
{
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 2 });
	char folder[] = "/tmp/tine-retry-XXXXXX";
	tine_map_opts opts = { .retries = 2, .retry_failures = true };
	struct job in[2 * N];
	long out[2 * N];

	CHECK(mkdtemp(folder));
	CHECK_EQ(tine_cache_open(&opts.cache, folder, NULL), 0);
	fill(in, N);
	for (long i = 0; i < N; i += 5)
		in[i].fails = 1;
	in[50].fails = 3;
	/* Each twice. */
	memcpy(in + N, in, N * sizeof(*in));
	for (int again = 0; again < 2; again++) {
		CHECK_EQ(tine_pool_map(pool, &squares, in, out, 2 * N, &opts,
				       tine_after(GUARD_MS)),
			 again ? 0 : -EIO);
		for (long i = 0; i < 2 * N; i++)
			if (i % N != 50 || again)
				CHECK_EQ(out[i], (i % N) * (i % N));
		CHECK_EQ(board->tries[50], again ? 4 : 3);
		for (long i = 0; i < N; i++)
			if (i != 50)
				CHECK_EQ(board->tries[i], i % 5 ? 1 : 2);
	}
	tine_cache_free(opts.cache);
	unmake(pool);
}

/* ---- indices ----------------------------------------------------------------------- */

struct bounds {
	size_t fails, times;
};

static int visits(size_t index, const void *arg)
{
	const struct bounds *bounds = arg;
	size_t before = (size_t)atomic_fetch_add(&board->tries[index], 1);

	return index % bounds->fails == 1 && before < bounds->times ? -EIO : 0;
}

/* All of them, whatever fails. */
static int visits_all(size_t low, size_t high, const void *arg, void *out)
{
	int status = 0;

	for (size_t i = low; i < high; i++) {
		int visited = visits(i, arg);

		status = visited ? visited : status;
		if (out)
			*(long *)out += (long)i;
	}
	return status;
}

static void joins(void *into, const void *from)
{
	*(long *)into += *(const long *)from;
}

TEST(indices_and_ranges)
{
	static const struct bounds bounds = { 500, 2 };
	tine_task each = TINE_TASK_EACH(visits, struct bounds);
	tine_task all = TINE_TASK_RANGE(visits_all, struct bounds);
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 3 });
	static int status[MOST];
	struct job none[1];

	for (int which = 0; which < 8; which++) {
		tine_map_opts opts = { .retries = which / 2 % 2 ? 1 : 2,
				       .retry_failures = true,
				       .chunk = which / 4 ? 16 : 0,
				       .status = status };
		int enough = opts.retries == 2;

		fill(none, 1);
		CHECK_EQ(tine_pool_for(pool, which % 2 ? &all : &each, &bounds, MOST,
				       &opts, tine_after(GUARD_MS)),
			 enough ? 0 : -EIO);
		for (size_t i = 0; i < MOST; i++) {
			CHECK_EQ(status[i], i % 500 != 1 || enough ? 0 : -EIO);
			CHECK(board->tries[i] >=
			      (i % 500 == 1 ? (int)opts.retries + 1 : 1));
		}
	}
	unmake(pool);
}

TEST(a_reduction)
{
	static const struct bounds bounds = { 100, 2 };
	tine_task sum = TINE_TASK_REDUCE(visits_all, joins, struct bounds, long);
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 3 });
	tine_map_opts opts = { .retries = 2, .retry_failures = true };
	struct job none[1];
	long out = 0;

	fill(none, 1);
	CHECK_EQ(tine_pool_reduce(pool, &sum, &bounds, MOST, &out, &opts,
				  tine_after(GUARD_MS)),
		 0);
	CHECK_EQ(out, (long)MOST * (MOST - 1) / 2);
	opts.retries = 1;
	fill(none, 1);
	CHECK_EQ(tine_pool_reduce(pool, &sum, &bounds, MOST, &out, &opts,
				  tine_after(GUARD_MS)),
		 -EIO);
	unmake(pool);
}

TEST(bad_options)
{
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 1 });
	tine_map_opts opts = { .retry_pause_ms = -1 };
	tine_job_opts job_opts = { .retry_pause_ms = -1 };
	struct job in = fails(1, 0, 0);
	struct bounds bounds = { 1, 1 };
	tine_task each = TINE_TASK_EACH(visits, struct bounds);
	tine_pool *other;
	uint64_t job;
	long out;

	CHECK_EQ(tine_pool_new(&other, &(tine_pool_opts){ .retry_pause_ms = -1 }),
		 -EINVAL);
	CHECK_EQ(tine_pool_map(pool, &squares, &in, &out, 1, &opts, TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(tine_pool_for(pool, &each, &bounds, 1, &opts, TINE_FOREVER), -EINVAL);
	CHECK_EQ(tine_pool_submit_job(pool, &squares, &in, sizeof(in), 0, &job_opts, &job,
				      TINE_FOREVER),
		 -EINVAL);
	unmake(pool);
}

/* ---- at every instruction ---------------------------------------------------------- */

static void wait_again(void)
{
	struct ticket *ticket = &board->tickets[0];

	ticket->attempts = 0;
	ticket->status = 0;
	atomic_store(&ticket->due, 0);
	atomic_store(&ticket->unwanted, 0);
	atomic_store(&board->ledger->desks[0].seat, SEAT_STARTING);
	memset((void *)board->tries, 0, sizeof(board->tries));
	atomic_store(&ticket->state, ticket_word(WAITING, 0));
}

/* A desk, and a job that always fails: two tries and then the worker retires. */
static void make_desk(void)
{
	static const struct job job = { 1, 1000, 0 };
	struct ticket *ticket;

	board = tine_shared_new(1, sizeof(*board));
	board->ledger = tine_shared_new(1,
					sizeof(struct ledger) + sizeof(struct pool_desk));
	board->ledger->workers = 1;
	board->ledger->jobs_per_worker = 2;
	board->tickets = tine_shared_new(3, sizeof(*board->tickets));
	ticket = &board->tickets[0];
	ticket->number = 1;
	ticket->fn = square;
	ticket->in_size = sizeof(job);
	ticket->out_size = sizeof(long);
	ticket->retries = 9;
	ticket->retry_failures = true;
	CHECK_EQ(stage_reserve(&ticket->data, 128, TINE_FOREVER), 0);
	memcpy(ticket->data.mem, &job, sizeof(job));
	atomic_store(&board->ledger->tickets, board->tickets);
	wait_again();
}

static void unmake_desk(void)
{
	stage_trim(&board->tickets[0].data, 0);
	tine_shared_free(board->tickets);
	tine_shared_free(board->ledger);
	tine_shared_free(board);
}

static void works(void *arg)
{
	(void)arg;
	worker_main(board->ledger, 0);
}

/* It waits, and no try is forgotten; a death right after a failure may count as one. */
static void no_try_is_lost(void *arg, long step)
{
	struct ticket *ticket = &board->tickets[0];
	int tries_made = board->tries[1];

	(void)arg;
	desk_mend(board->ledger, 0, (tine_exit){ .code = -1, .signal = SIGKILL }, false);
	if (ticket_state(ticket->state) != WAITING)
		test_fail(__FILE__, __LINE__, "step %ld: state %d", step,
			  ticket_state(ticket->state));
	if ((int)ticket->attempts < tries_made || (int)ticket->attempts > tries_made + 1)
		test_fail(__FILE__, __LINE__, "step %ld: %u attempts, %d tries", step,
			  ticket->attempts, tries_made);
	wait_again();
}

TEST_LIMIT(a_worker_killed_at_every_step, 240)
{
	const struct steps steps = { NULL, works, no_try_is_lost };

	make_desk();
	CHECK(test_kill_some_steps(&steps, NULL, 4) > 300);
	unmake_desk();
}

/* As tine_pool_cancel_job() does. */
static void is_cancelled_beside(void *arg)
{
	struct ticket *ticket = &board->tickets[0];
	uint64_t waits = ticket_word(WAITING, 0);

	(void)arg;
	atomic_store(&ticket->unwanted, 1);
	if (atomic_compare_exchange_strong(&ticket->state, &waits, ticket_word(TAKEN, 1)))
		ticket_finish(board->ledger, ticket, -ECANCELED);
	/* The worker has nothing left that would be its last. */
	atomic_store(&board->ledger->parting, 1);
	atomic_fetch_add(&board->ledger->turn, 1);
	ledger_wake_all(board->ledger);
}

static void cancels_it(void *arg, long step)
{
	(void)step;
	atomic_store(&board->hold, 1);
	test_call_beside(is_cancelled_beside, arg);
}

static void is_done(void *arg, long step)
{
	struct ticket *ticket = &board->tickets[0];

	(void)arg;
	/* Also in a pause of ten minutes; unless it was not stopped at all. */
	if (!atomic_exchange(&board->hold, 0)) {
		wait_again();
		return;
	}
	if (ticket_state(ticket->state) != DONE)
		test_fail(__FILE__, __LINE__, "step %ld: state %d", step,
			  ticket_state(ticket->state));
	CHECK(ticket->status == -ECANCELED || ticket->status == -EIO);
	board->cancelled += ticket->status == -ECANCELED;
	atomic_store(&board->ledger->parting, 0);
	wait_again();
}

TEST_LIMIT(cancelled_at_every_step, 240)
{
	const struct stops stops = { NULL, works, cancels_it, is_done, false };

	make_desk();
	board->tickets[0].pause_ms = LONG_MS;
	/* One try: then it waits for the second. */
	board->ledger->jobs_per_worker = 1;
	CHECK(test_stop_some_steps(&stops, NULL, 4) > 100);
	CHECK(board->cancelled > 0);
	unmake_desk();
}
