/* SPDX-License-Identifier: MIT */
#include "test.h"

#include "pool/pool.h"

#include <sys/syscall.h>

/* What jobs and test tell each other; made before the pool, so that workers have it. */
static struct board {
	_Atomic int begun, told, attempts, boss;
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

static tine_pool *make(unsigned workers, bool ordered)
{
	tine_pool_opts opts = { .workers = workers, .ordered = ordered };

	return make_with(&opts);
}

static void unmake(tine_pool *pool)
{
	tine_pool_free(pool);
	tine_shared_free(board);
}

static tine_task task_of(tine_fn *fn)
{
	return (tine_task){ .name = "task",
			    .fn = fn,
			    .in_size = sizeof(long),
			    .out_size = sizeof(long) };
}

static int submit(tine_pool *pool, tine_fn *fn, long in, uint64_t tag, int64_t deadline)
{
	tine_task task = task_of(fn);

	return tine_pool_submit(pool, &task, &in, tag, deadline);
}

/* The next is that one, with that status. */
static tine_done expect(tine_pool *pool, uint64_t tag, int status)
{
	tine_done done;
	long out;

	CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done, TINE_FOREVER), 1);
	CHECK_EQ(done.tag, tag);
	CHECK_EQ(done.status, status);
	return done;
}

static void expect_none(tine_pool *pool)
{
	tine_done done = { .tag = 99 };

	CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_FOREVER), 0);
	CHECK_EQ(done.tag, 99);
}

static int square(const void *in, void *out)
{
	long n = *(const long *)in;

	*(long *)out = n * n;
	return 0;
}

/* Until all may go on, or it is told that nobody wants to know. */
static int holds(const void *in, void *out)
{
	square(in, out);
	atomic_store(&board->boss, getppid());
	atomic_fetch_add(&board->begun, 1);
	while (tine_event_wait(&board->go, tine_after(1)) != 0)
		if (tine_cancelled()) {
			atomic_fetch_add(&board->told, 1);
			return -EINTR;
		}
	return 0;
}

static void until_begun(int n)
{
	while (atomic_load(&board->begun) < n)
		test_sleep_us(100);
}

/* ---- results ----------------------------------------------------------------------- */

static void every_tag_once(tine_pool *pool, long n, long ahead, bool ordered)
{
	unsigned char *seen = calloc(n, 1);
	long submitted = 0;

	for (long got = 0; got < n; got++) {
		tine_done done;
		long out = -1;

		while (submitted < n && submitted < got + ahead) {
			CHECK_EQ(submit(pool, square, submitted, submitted * 3 + 1,
					TINE_FOREVER),
				 0);
			submitted++;
		}
		CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done, TINE_FOREVER), 1);
		CHECK_EQ(done.tag % 3, 1);
		if (ordered)
			CHECK_EQ(done.tag / 3, got);
		CHECK_EQ(seen[done.tag / 3], 0);
		seen[done.tag / 3] = 1;
		CHECK_EQ(done.status, 0);
		CHECK_EQ(done.how.code, 0);
		CHECK_EQ(done.how.signal, 0);
		CHECK_EQ(out, (long)(done.tag / 3 * (done.tag / 3)));
	}
	expect_none(pool);
	free(seen);
}

TEST(every_job_once_with_its_result)
{
	for (unsigned workers = 1; workers <= 7; workers += 3)
		for (int ordered = 0; ordered <= 1; ordered++) {
			tine_pool *pool = make(workers, ordered);
			long n = test_scaled(3000);

			every_tag_once(pool, n, 1, ordered);
			every_tag_once(pool, n, 2, ordered);
			every_tag_once(pool, n, 5 * workers, ordered);
			/* Far more than there is room for: they are brought home. */
			every_tag_once(pool, n, n, ordered);
			unmake(pool);
		}
}

TEST(they_come_as_they_are_done)
{
	tine_pool *pool = make(2, false);
	uint64_t sum = 0;

	CHECK_EQ(submit(pool, holds, 1, 1000, TINE_FOREVER), 0);
	for (int i = 0; i < 50; i++)
		CHECK_EQ(submit(pool, square, i, i, TINE_FOREVER), 0);
	for (int i = 0; i < 50; i++) {
		tine_done done;

		CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_FOREVER), 1);
		CHECK(done.tag < 50);
		sum += done.tag;
	}
	CHECK_EQ(sum, 49 * 50 / 2);
	tine_event_set(&board->go);
	expect(pool, 1000, 0);
	expect_none(pool);
	unmake(pool);
}

TEST(or_in_their_order)
{
	tine_pool *pool = make(2, true);
	tine_done done;

	CHECK_EQ(submit(pool, holds, 1, 1000, TINE_FOREVER), 0);
	for (int i = 0; i < 50; i++)
		CHECK_EQ(submit(pool, square, i, i, TINE_FOREVER), 0);
	/* Others are done, but it is not their turn. */
	CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, tine_after(20)), -ETIMEDOUT);
	tine_event_set(&board->go);
	expect(pool, 1000, 0);
	for (int i = 0; i < 50; i++)
		expect(pool, i, 0);
	expect_none(pool);
	unmake(pool);
}

/* As many jobs as are taken while those that run do not end. */
static unsigned fill(tine_pool *pool, unsigned workers)
{
	unsigned n = 0;
	int err;

	atomic_store(&board->begun, 0);
	tine_event_clear(&board->go);
	for (; n < workers; n++)
		CHECK_EQ(submit(pool, holds, 1, 7, TINE_FOREVER), 0);
	until_begun((int)workers);
	while ((err = submit(pool, holds, 1, 7, TINE_NOWAIT)) == 0)
		n++;
	CHECK_EQ(err, -ETIMEDOUT);
	while ((err = submit(pool, holds, 1, 7, tine_after(30))) == 0)
		n++;
	CHECK_EQ(err, -ETIMEDOUT);
	return n;
}

/* With hosts, these wait for the courier, which takes as many as hosts have a use for. */
TEST(no_source_is_read_far_ahead)
{
	for (unsigned workers = test_is_away() ? 4 : 1; workers <= 4; workers++) {
		tine_pool *pool = make(workers, false);
		unsigned most = pool->ledger->workers;

		for (unsigned round = 1; round <= 3; round++) {
			unsigned n = fill(pool, workers);

			if (!test_is_away())
				CHECK_EQ(n, 3 * workers);
			CHECK(n >= 2 * most && n <= 3 * most);
			tine_event_set(&board->go);
			for (unsigned i = 0; i < n; i++)
				expect(pool, 7, 0);
			expect_none(pool);
		}
		unmake(pool);
	}
}

/* An endless source, of which as many are taken as somebody wants to have. */
TEST(an_endless_source)
{
	tine_pool *pool = make(3, false);
	long next = 0, got = 0, n = test_scaled(20000);

	while (got < n) {
		tine_done done;
		int err = submit(pool, square, next, next, TINE_NOWAIT);

		CHECK(err == 0 || err == -ETIMEDOUT);
		next += err == 0;
		CHECK(next - got <= 10000);
		err = tine_pool_next(pool, NULL, 0, &done,
				     err == 0 ? TINE_NOWAIT : TINE_FOREVER);
		CHECK(err == 1 || err == -ETIMEDOUT);
		got += err == 1;
	}
	unmake(pool);
}

/* A tree: each job brings two more, down to the leaves. */
TEST(jobs_that_bring_jobs)
{
	tine_pool *pool = make(3, false);
	long sums[11] = { 0 };
	tine_done done;
	int got;

	CHECK_EQ(submit(pool, square, 10, 10, TINE_FOREVER), 0);
	while ((got = tine_pool_next(pool, NULL, 0, &done, TINE_FOREVER)) == 1) {
		CHECK_EQ(done.status, 0);
		sums[done.tag]++;
		for (int i = 0; i < 2 && done.tag > 0; i++)
			CHECK_EQ(submit(pool, square, 1, done.tag - 1, TINE_FOREVER), 0);
	}
	CHECK_EQ(got, 0);
	for (int depth = 0; depth <= 10; depth++)
		CHECK_EQ(sums[depth], 1 << (10 - depth));
	unmake(pool);
}

/* ---- sizes ------------------------------------------------------------------------- */

static bool aligned(const void *at, size_t size)
{
	return size == 0 ||
	       (uintptr_t)at % ((size & -size) < 64 ? size & -size : 64) == 0;
}

/* in[i] is the low byte of its size + i, out[i] is to be that of twice the size + i. */
static int check_and_fill(const void *in, size_t in_size, void *out, size_t out_size)
{
	const unsigned char *from = in;
	unsigned char *to = out;

	if (!aligned(in, in_size) || !aligned(out, out_size))
		return -EDOM;
	for (size_t i = 0; i < in_size; i++)
		if (from[i] != (unsigned char)(in_size + i))
			return -EBADMSG;
	for (size_t i = 0; i < out_size; i++)
		to[i] = (unsigned char)(2 * out_size + i);
	return 0;
}

#define SIZED(in_size, out_size)                                                         \
	static int from_##in_size##_to_##out_size(const void *in, void *out)             \
	{                                                                                \
		return check_and_fill(in, in_size, out, out_size);                       \
	}
SIZED(0, 0)
SIZED(0, 8)
SIZED(1, 1)
SIZED(8, 0)
SIZED(3, 129)
SIZED(63, 64)
SIZED(64, 65)
SIZED(4096, 100000)
SIZED(5000000, 1)
SIZED(40, 3000000)

static const tine_task sized[] = {
	{ .name = "a", .fn = from_0_to_0 },
	{ .name = "b", .fn = from_0_to_8, .out_size = 8 },
	{ .name = "c", .fn = from_1_to_1, .in_size = 1, .out_size = 1 },
	{ .name = "d", .fn = from_8_to_0, .in_size = 8 },
	{ .name = "e", .fn = from_3_to_129, .in_size = 3, .out_size = 129 },
	{ .name = "f", .fn = from_63_to_64, .in_size = 63, .out_size = 64 },
	{ .name = "g", .fn = from_64_to_65, .in_size = 64, .out_size = 65 },
	{ .name = "h", .fn = from_4096_to_100000, .in_size = 4096, .out_size = 100000 },
	{ .name = "i", .fn = from_5000000_to_1, .in_size = 5000000, .out_size = 1 },
	{ .name = "j", .fn = from_40_to_3000000, .in_size = 40, .out_size = 3000000 },
};
enum { SIZES = sizeof(sized) / sizeof(*sized) };

static void submit_sized(tine_pool *pool, unsigned i, unsigned char *in)
{
	const tine_task *task = &sized[i % SIZES];

	for (size_t k = 0; k < task->in_size; k++)
		in[k] = (unsigned char)(task->in_size + k);
	CHECK_EQ(tine_pool_submit(pool, task, task->in_size ? in : NULL, i, TINE_FOREVER),
		 0);
	/* It was copied. */
	memset(in, 0xee, task->in_size);
}

static void next_sized(tine_pool *pool, unsigned char *out)
{
	const tine_task *task;
	tine_done done;

	memset(out, 0xdd, 3000001);
	CHECK_EQ(tine_pool_next(pool, out, 3000001, &done, TINE_FOREVER), 1);
	CHECK_EQ(done.status, 0);
	task = &sized[done.tag % SIZES];
	for (size_t i = 0; i < task->out_size; i++)
		CHECK(out[i] == (unsigned char)(2 * task->out_size + i));
	CHECK_EQ(out[task->out_size], 0xdd);
}

TEST(tasks_of_all_sizes)
{
	unsigned char *in = malloc(5000000), *out = malloc(3000001);
	tine_pool *pool = make(2, false);
	unsigned next = 0, n = (unsigned)test_scaled(60);

	for (unsigned ahead = 1; ahead <= 30; ahead *= 5) {
		unsigned end = next + n, got = next;

		for (; got < end; got++) {
			while (next < end && next < got + ahead)
				submit_sized(pool, next++, in);
			next_sized(pool, out);
		}
	}
	expect_none(pool);
	free(in);
	free(out);
	unmake(pool);
}

/* ---- cancel ------------------------------------------------------------------------ */

static void cancel_one_of_a_full_pool(tine_pool *pool)
{
	int dropped = 0, told = 0;
	tine_done done;

	atomic_store(&board->begun, 0);
	atomic_store(&board->told, 0);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(submit(pool, holds, 1, 1, TINE_FOREVER), 0);
	until_begun(2);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(submit(pool, holds, 1, 1, TINE_NOWAIT), 0);
	CHECK_EQ(tine_pool_cancel(pool), 0);
	/* What is submitted meanwhile is dropped too. */
	CHECK_EQ(submit(pool, square, 1, 1, TINE_FOREVER), 0);
	for (int i = 0; i < 7; i++) {
		CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_FOREVER), 1);
		told += done.status == -EINTR;
		dropped += done.status == -ECANCELED;
	}
	CHECK_EQ(told, 2);
	CHECK_EQ(board->told, 2);
	CHECK_EQ(dropped, 5);
	expect_none(pool);
}

TEST(cancel)
{
	tine_pool *pool = make(2, false);

	/* Nothing to cancel. */
	CHECK_EQ(tine_pool_cancel(pool), 0);
	for (int round = 0; round < 5; round++) {
		CHECK_EQ(submit(pool, square, 1, 5, TINE_FOREVER), 0);
		expect(pool, 5, 0);
		expect_none(pool);
		cancel_one_of_a_full_pool(pool);
		CHECK_EQ(tine_pool_cancel(pool), 0);
	}
	unmake(pool);
}

static tine_pool *to_cancel;

static void on_alarm(int signal)
{
	(void)signal;
	tine_pool_cancel(to_cancel);
}

TEST(cancel_from_a_signal_handler)
{
	tine_done done;

	to_cancel = make(2, false);
	CHECK_EQ(submit(to_cancel, holds, 1, 1, TINE_FOREVER), 0);
	until_begun(1);
	signal(SIGALRM, on_alarm);
	ualarm(30000, 0);
	CHECK_EQ(tine_pool_next(to_cancel, NULL, 0, &done, TINE_FOREVER), 1);
	CHECK_EQ(done.status, -EINTR);
	expect_none(to_cancel);
	unmake(to_cancel);
}

/* ---- death ------------------------------------------------------------------------- */

static int dies(const void *in, void *out)
{
	long n = *(const long *)in;

	switch (n) {
	case 1:
		abort();
	case 2:
		raise(SIGKILL);
		break;
	case 3:
		_exit(7);
	case 4:
		exit(0);
	}
	return square(in, out);
}

TEST(a_crash_is_told_and_how)
{
	static const tine_exit how[] = { { .code = 0 },
					 { .code = -1, .signal = SIGABRT },
					 { .code = -1, .signal = SIGKILL },
					 { .code = 7 },
					 { .code = 0 } };
	tine_pool *pool = make(2, true);

	for (int i = 0; i < 50; i++)
		CHECK_EQ(submit(pool, dies, i % 5, i, TINE_FOREVER), 0);
	for (int i = 0; i < 50; i++) {
		tine_done done = expect(pool, i, i % 5 ? -TINE_ECRASH : 0);

		CHECK_EQ(done.how.code, how[i % 5].code);
		CHECK_EQ(done.how.signal, how[i % 5].signal);
	}
	expect_none(pool);
	every_tag_once(pool, 100, 10, true);
	unmake(pool);
}

/* As often as it is told to, counting; then it is done. */
static int dies_so_often(const void *in, void *out)
{
	if (atomic_fetch_add(&board->attempts, 1) < *(const long *)in)
		raise(SIGSEGV);
	return square(in, out);
}

TEST(retries)
{
	for (unsigned retries = 0; retries <= 3; retries++) {
		tine_pool_opts opts = { .workers = 2, .retries = retries };
		tine_pool *pool = make_with(&opts);
		tine_done done;
		long out;

		/* To the last attempt, and then in vain. */
		CHECK_EQ(submit(pool, dies_so_often, retries, 4, TINE_FOREVER), 0);
		CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done, TINE_FOREVER), 1);
		CHECK_EQ(done.status, 0);
		CHECK_EQ(done.how.signal, 0);
		CHECK_EQ(out, retries * retries);
		CHECK_EQ(board->attempts, retries + 1);
		atomic_store(&board->attempts, 0);
		CHECK_EQ(submit(pool, dies_so_often, 1000, 5, TINE_FOREVER), 0);
		CHECK_EQ(expect(pool, 5, -TINE_ECRASH).how.signal, SIGSEGV);
		CHECK_EQ(board->attempts, retries + 1);
		unmake(pool);
	}
}

static int takes_long(const void *in, void *out)
{
	test_sleep_us(*(const long *)in);
	return square(in, out);
}

TEST(a_job_that_takes_too_long)
{
	tine_pool_opts opts = { .workers = 2, .ordered = true, .job_ms = 1500 };
	tine_pool *pool = make_with(&opts);

	for (int i = 0; i < 40; i++)
		CHECK_EQ(submit(pool, takes_long, i % 20 == 3 ? 60000000 : 1000, i,
				TINE_FOREVER),
			 0);
	for (int i = 0; i < 40; i++) {
		tine_done done = expect(pool, i, i % 20 == 3 ? -TINE_ELIMIT : 0);

		CHECK_EQ(done.how.signal, i % 20 == 3 ? SIGKILL : 0);
	}
	unmake(pool);
	/* The largest limit is none. */
	opts.job_ms = INT64_MAX;
	pool = make_with(&opts);
	every_tag_once(pool, 1000, 10, true);
	CHECK_EQ(submit(pool, takes_long, 200000, 1, TINE_FOREVER), 0);
	expect(pool, 1, 0);
	unmake(pool);
}

static int says_pid(const void *in, void *out)
{
	*(long *)out = getpid();
	return holds(in, &(long){ 0 });
}

TEST(a_worker_killed_from_outside)
{
	tine_task squares = task_of(square);
	tine_pool *pool = make(1, false);
	tine_done done;
	long pid;

	test_will_call(pool, &squares);
	tine_event_set(&board->go);
	CHECK_EQ(submit(pool, says_pid, 0, 1, TINE_FOREVER), 0);
	CHECK_EQ(tine_pool_next(pool, &pid, sizeof(pid), &done, TINE_FOREVER), 1);
	/* At rest. Until it is dead it may do one more job, and say who it was. */
	kill((pid_t)pid, SIGKILL);
	while (test_alive((pid_t)pid))
		test_sleep_us(100);
	CHECK_EQ(submit(pool, says_pid, 0, 2, TINE_FOREVER), 0);
	CHECK_EQ(tine_pool_next(pool, &pid, sizeof(pid), &done, TINE_FOREVER), 1);
	CHECK_EQ(done.status, 0);
	/* In a job, while others wait. */
	tine_event_clear(&board->go);
	atomic_store(&board->begun, 0);
	CHECK_EQ(submit(pool, says_pid, 0, 3, TINE_FOREVER), 0);
	until_begun(1);
	CHECK_EQ(submit(pool, square, 1, 4, TINE_FOREVER), 0);
	CHECK_EQ(submit(pool, square, 1, 5, TINE_FOREVER), 0);
	kill((pid_t)pid, SIGHUP);
	done = expect(pool, 3, -TINE_ECRASH);
	CHECK_EQ(done.how.code, -1);
	CHECK_EQ(done.how.signal, SIGHUP);
	expect(pool, 4, 0);
	expect(pool, 5, 0);
	unmake(pool);
}

static void the_nursery_dies(int64_t patience)
{
	tine_pool *pool = make(2, true);
	int err;

	for (int round = 0; round < 5; round++) {
		tine_done done;

		atomic_store(&board->begun, 0);
		for (int i = 0; i < 2; i++)
			CHECK_EQ(submit(pool, holds, 0, i, TINE_FOREVER), 0);
		until_begun(2);
		for (int i = 2; i < 6; i++)
			CHECK_EQ(submit(pool, square, 0, i, TINE_NOWAIT), 0);
		kill(board->boss, SIGKILL);
		for (int i = 0; i < 6; i++) {
			while ((err = tine_pool_next(pool, NULL, 0, &done,
						     patience ? tine_after(patience)
							      : TINE_NOWAIT)) ==
			       -ETIMEDOUT)
				test_sleep_us(1000);
			CHECK_EQ(err, 1);
			CHECK_EQ(done.tag, i);
			CHECK_EQ(done.status, i < 2 ? -TINE_ECRASH : 0);
		}
		expect_none(pool);
	}
	unmake(pool);
}

TEST(the_nursery_killed)
{
	the_nursery_dies(60000);
}

TEST(the_nursery_killed_and_who_polls_finds_out)
{
	the_nursery_dies(5);
	the_nursery_dies(0);
}

static int init_once(void *arg)
{
	(void)arg;
	return atomic_fetch_add(&board->attempts, 1) < 1 ? 0 : -ENODEV;
}

TEST(no_worker_is_left)
{
	tine_pool_opts opts = { .workers = 1, .init = init_once };
	tine_pool *pool = make_with(&opts);
	tine_done done;

	CHECK_EQ(submit(pool, dies, 1, 1, TINE_FOREVER), 0);
	expect(pool, 1, -TINE_ECRASH);
	CHECK_EQ(submit(pool, square, 1, 2, TINE_FOREVER), 0);
	CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_FOREVER), -ENODEV);
	CHECK_EQ(submit(pool, square, 1, 3, TINE_FOREVER), 0);
	CHECK_EQ(submit(pool, square, 1, 4, TINE_FOREVER), -ENODEV);
	unmake(pool);
}

/* ---- beside maps ------------------------------------------------------------------- */

static int lets_go(const void *in, void *out)
{
	(void)in;
	(void)out;
	tine_event_set(&board->go);
	return 1;
}

static int waits_to_be_told(const void *in, void *out)
{
	(void)in;
	(void)out;
	while (!tine_cancelled())
		test_sleep_us(500);
	return -EINTR;
}

static void counts_calls(void *calls, size_t done, size_t total)
{
	(void)done;
	(void)total;
	++*(int *)calls;
}

/* The worker in the job that was submitted sleeps until a job of the map comes. */
TEST(a_map_while_a_submitted_job_runs)
{
	tine_task task = TINE_TASK_IN(lets_go, long);
	tine_pool *pool = make(2, false);
	int calls, soon = 0;
	tine_map_opts opts = { .progress = counts_calls, .progress_arg = &calls };
	long in[3] = { 0 };

	for (int round = 0; round < 20; round++) {
		tine_event_clear(&board->go);
		atomic_store(&board->begun, 0);
		/* For the other to fall asleep. */
		test_sleep_us(round % 2 ? 3000 : 0);
		CHECK_EQ(submit(pool, holds, 0, 1, TINE_FOREVER), 0);
		until_begun(1);
		test_sleep_us(round % 4 / 2 ? 3000 : 0);
		calls = 0;
		CHECK_EQ(tine_pool_map(pool, &task, in, NULL, 3, &opts, TINE_FOREVER), 0);
		soon += round % 2 && calls == 1;
		expect(pool, 1, 0);
		expect_none(pool);
	}
	/* The other was woken, and not found asleep when the caller looked around. */
	CHECK(soon > 0 || test_is_away());
	CHECK_EQ(pool_uncalled(pool), 0);
	unmake(pool);
}

TEST(maps_and_searches_leave_what_was_submitted)
{
	tine_task map_task = TINE_TASK_IN(waits_to_be_told, long),
		  find_task = TINE_TASK_IN(lets_go, long);
	tine_pool *pool = make(2, false);
	long in[10] = { 0 }, out[10];

	for (int round = 0; round < 10; round++) {
		int err;

		tine_event_clear(&board->go);
		atomic_store(&board->begun, 0);
		for (int i = 0; i < 5; i++)
			CHECK_EQ(submit(pool, i ? square : holds, i, i, TINE_FOREVER), 0);
		until_begun(1);
		/* It finds, which cancels what else there is of it, and no more. */
		CHECK_EQ(tine_pool_find(pool, &find_task, in, NULL, 10, NULL, NULL,
					TINE_FOREVER),
			 1);
		for (int i = 5; i < 8; i++)
			CHECK_EQ(submit(pool, square, i, i, TINE_FOREVER), 0);
		err = tine_pool_map(pool, &map_task, in, NULL, 10, NULL, tine_after(20));
		CHECK_EQ(err, -ETIMEDOUT);
		for (int i = 0; i < 8; i++) {
			tine_done done;

			CHECK_EQ(tine_pool_next(pool, out, sizeof(*out), &done,
						TINE_FOREVER),
				 1);
			CHECK_EQ(done.status, 0);
			CHECK_EQ(*out, (long)(done.tag * done.tag));
		}
		expect_none(pool);
	}
	unmake(pool);
}

static void cancels(void *pool, size_t done, size_t total)
{
	if (done < total)
		tine_pool_cancel(pool);
}

/* A map that no worker has time for ends all the same. */
TEST(a_map_behind_submitted_jobs)
{
	enum { N = 1000 };
	tine_pool *pool = make(2, false);
	tine_task task = TINE_TASK_IN(lets_go, long);
	long in[N] = { 0 };
	int status[N];
	tine_map_opts opts = { .status = status };

	test_will_call(pool, &task);
	for (int round = 0; round < 5; round++) {
		tine_event_clear(&board->go);
		atomic_store(&board->begun, 0);
		for (int i = 0; i < 2; i++)
			CHECK_EQ(submit(pool, holds, 0, 1, TINE_FOREVER), 0);
		until_begun(2);
		CHECK_EQ(tine_pool_map(pool, &task, in, NULL, N, &opts, tine_after(20)),
			 -ETIMEDOUT);
		for (int i = 0; i < N; i++)
			CHECK_EQ(status[i], -ECANCELED);
		tine_event_set(&board->go);
		for (int i = 0; i < 2; i++)
			expect(pool, 1, 0);
		CHECK_EQ(tine_pool_map(pool, &task, in, NULL, N, &opts, TINE_FOREVER), 0);
		for (int i = 0; i < N; i++)
			CHECK_EQ(status[i], 1);
	}
	/* Cancelling the map cancels what was submitted too. */
	tine_event_clear(&board->go);
	atomic_store(&board->begun, 0);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(submit(pool, holds, 0, 1, TINE_FOREVER), 0);
	until_begun(2);
	opts.progress = cancels;
	opts.progress_arg = pool;
	CHECK_EQ(tine_pool_map(pool, &task, in, NULL, N, &opts, TINE_FOREVER),
		 -ECANCELED);
	for (int i = 0; i < 2; i++)
		expect(pool, 1, -EINTR);
	expect_none(pool);
	unmake(pool);
}

/* ---- waiting ----------------------------------------------------------------------- */

TEST(deadlines)
{
	tine_pool *pool = make(1, false);
	tine_done done = { .tag = 9 };
	long out = 9;

	CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done, TINE_NOWAIT), 0);
	CHECK_EQ(submit(pool, holds, 0, 1, TINE_NOWAIT), 0);
	CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done, tine_after(150)),
		 -ETIMEDOUT);
	CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done, -5), -ETIMEDOUT);
	CHECK_EQ(out, 9);
	CHECK_EQ(done.tag, 9);
	tine_event_set(&board->go);
	expect(pool, 1, 0);
	CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done, TINE_NOWAIT), 0);
	unmake(pool);
}

/* Both begin, though a moment ago one worker was enough. */
static int meets(const void *in, void *out)
{
	(void)in;
	(void)out;
	atomic_fetch_add(&board->begun, 1);
	while (atomic_load(&board->begun) % 2 == 1)
		test_sleep_us(100);
	return 0;
}

TEST(long_jobs_after_many_short_ones_run_at_the_same_time)
{
	tine_pool *pool = make(2, false);

	for (int round = 0; round < 20; round++) {
		every_tag_once(pool, test_scaled(300), 1 + round % 3, false);
		test_sleep_us(round % 4 * 500);
		for (int i = 0; i < 2; i++)
			CHECK_EQ(submit(pool, meets, 0, 1, TINE_FOREVER), 0);
		for (int i = 0; i < 2; i++)
			expect(pool, 1, 0);
	}
	unmake(pool);
}

/* ---- the rest ---------------------------------------------------------------------- */

TEST(freed_with_jobs_in_every_state)
{
	for (int ordered = 0; ordered <= 1; ordered++) {
		tine_pool *pool = make(2, ordered);

		CHECK_EQ(submit(pool, holds, 0, 1, TINE_FOREVER), 0);
		/* Some are brought home, some lie where they were done. */
		for (int i = 0; i < 50; i++)
			CHECK_EQ(submit(pool, square, 0, 1, TINE_FOREVER), 0);
		CHECK_EQ(submit(pool, holds, 0, 1, TINE_FOREVER), 0);
		until_begun(2);
		for (int i = 0; i < 3; i++)
			CHECK_EQ(submit(pool, square, 0, 1, TINE_FOREVER), 0);
		unmake(pool);
	}
}

static void uses_its_parents(void *pool)
{
	tine_done done;

	CHECK_EQ(submit(pool, square, 0, 1, TINE_NOWAIT), -EPERM);
	CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_NOWAIT), -EPERM);
	tine_pool_free(pool);
}

/* Where no handler is called, and after the parent has asked who it is. */
TEST(a_child_by_clone_is_not_the_owner)
{
	tine_pool *pool = make(1, false);
	tine_done done;
	pid_t pid;

	CHECK_EQ(submit(pool, square, 0, 1, TINE_FOREVER), 0);
	CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_FOREVER), 1);
	pid = (pid_t)syscall(SYS_clone, (long)SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0) {
		if (submit(pool, square, 0, 1, TINE_NOWAIT) != -EPERM ||
		    tine_pool_next(pool, NULL, 0, &done, TINE_NOWAIT) != -EPERM)
			_exit(1);
		_exit(0);
	}
	CHECK_EQ(test_reap(pid), 0);
	unmake(pool);
}

TEST(bad_arguments)
{
	tine_task no_fn = { .name = "none", .fn = NULL, .in_size = 8, .out_size = 8 },
		  large = { .name = "large",
			    .fn = square,
			    .in_size = SIZE_MAX - 100,
			    .out_size = 200 },
		  huge = { .name = "huge",
			   .fn = square,
			   .in_size = (size_t)1 << 50,
			   .out_size = 8 },
		  task = TINE_TASK(square, long, long);
	tine_pool_opts negative = { .job_ms = -1 };
	tine_pool *pool = (void *)1;
	tine_done done;
	long in = 1;

	CHECK_EQ(tine_pool_new(&pool, &negative), -EINVAL);
	pool = make(1, false);
	CHECK_EQ(tine_pool_submit(NULL, &task, &in, 1, TINE_FOREVER), -EINVAL);
	CHECK_EQ(tine_pool_submit(pool, NULL, &in, 1, TINE_FOREVER), -EINVAL);
	/* Hosts have it. */
	if (!test_is_away())
		CHECK_EQ(tine_pool_submit(pool, &no_fn, &in, 1, TINE_FOREVER), -EINVAL);
	CHECK_EQ(tine_pool_submit(pool, &task, NULL, 1, TINE_FOREVER), -EINVAL);
	CHECK_EQ(tine_pool_submit(pool, &large, &in, 1, TINE_FOREVER), -EINVAL);
	CHECK_EQ(tine_pool_submit(pool, &huge, &in, 1, TINE_FOREVER),
		 test_is_away() ? -EMSGSIZE : -ENOMEM);
	CHECK_EQ(tine_pool_next(NULL, NULL, 0, &done, TINE_FOREVER), -EINVAL);
	CHECK_EQ(tine_pool_next(pool, NULL, 0, NULL, TINE_FOREVER), -EINVAL);
	CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_FOREVER), 0);
	/* A child may let go of its copy. */
	for (int i = 0; i < 20; i++)
		CHECK_EQ(submit(pool, square, 3, 4, TINE_FOREVER), 0);
	CHECK_EQ(test_reap(test_fork(uses_its_parents, pool)), 0);
	for (int i = 0; i < 20; i++)
		expect(pool, 4, 0);
	unmake(pool);
}

TEST(two_pools)
{
	tine_pool_opts opts = { .workers = 2, .ordered = true };
	tine_pool *one = make(2, true), *other;

	CHECK_EQ(tine_pool_new(&other, &opts), 0);
	for (int i = 0; i < 100; i++) {
		CHECK_EQ(submit(one, square, i, i, TINE_FOREVER), 0);
		CHECK_EQ(submit(other, square, i, i + 1000, TINE_FOREVER), 0);
	}
	for (int i = 0; i < 100; i++) {
		expect(other, i + 1000, 0);
		expect(one, i, 0);
	}
	expect_none(one);
	expect_none(other);
	tine_pool_free(other);
	unmake(one);
}

/* A result that is larger than there is room for stays, also once it was brought home. */
TEST(a_large_result_stays)
{
	tine_pool *pool = make(2, false);
	tine_task task = TINE_TASK(square, long, long);
	long out[2] = { 7, 7 };
	tine_done done;

	for (long i = 0; i < 20; i++)
		CHECK_EQ(tine_pool_submit(pool, &task, &i, i, TINE_FOREVER), 0);
	for (long i = 0; i < 20; i++) {
		done = (tine_done){ .tag = 99 };
		CHECK_EQ(tine_pool_next(pool, out, sizeof(long) - 1, &done, TINE_FOREVER),
			 -EMSGSIZE);
		CHECK(out[0] == 7 && out[1] == 7 && done.tag == 99);
		CHECK_EQ(tine_pool_next(pool, out, sizeof(long), &done, TINE_FOREVER), 1);
		CHECK_EQ(out[0], (long)(done.tag * done.tag));
		out[0] = 7;
	}
	CHECK_EQ(tine_pool_next(pool, out, 0, &done, TINE_FOREVER), 0);
	unmake(pool);
}

/* What fails is as if it had not been tried. */
TEST(want_of_memory)
{
	for (long n = 1;; n++) {
		tine_pool *pool = make(1, false);
		int submitted = 0, err = 0;
		bool failed;

		test_fail_allocation(n);
		for (int i = 0; i < 20 && err == 0; i++) {
			err = submit(pool, square, i, 1, TINE_FOREVER);
			submitted += err == 0;
		}
		CHECK(err == 0 || err == -ENOMEM);
		failed = test_allocation_failed();
		test_fail_allocation(0);
		CHECK_EQ(err != 0, failed);
		for (; submitted < 20; submitted++)
			CHECK_EQ(submit(pool, square, 1, 1, TINE_FOREVER), 0);
		for (int i = 0; i < 20; i++)
			expect(pool, 1, 0);
		expect_none(pool);
		unmake(pool);
		if (!failed)
			break;
	}
}
