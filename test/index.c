/* SPDX-License-Identifier: MIT */
/* Jobs that are indices or ranges of them, and reductions. */
#include "pool_use.h"
#include "step.h"

#include "pool/pool.h"
#include "pool/worker.h"

#include <math.h>

enum { N = 100000 };

/* What workers note; made before the pool. */
static struct board {
	_Atomic unsigned char done[N];
	_Atomic long died, ranges;
} * board;

struct arg {
	long factor;
	size_t dies; /* at this index, so many times */
	long times;
};

static tine_pool *make(unsigned workers)
{
	return POOL_WITH(board, .workers = workers);
}

static void unmake(tine_pool *pool)
{
	tine_pool_free(pool);
	tine_shared_free(board);
}

static int notes(size_t index, const void *arg)
{
	const struct arg *given = arg;

	if (index == given->dies && atomic_fetch_add(&board->died, 1) < given->times)
		raise(SIGKILL);
	atomic_fetch_add(&board->done[index], 1);
	return index % 1000 == 999 ? -(int)given->factor : 0;
}

static int notes_all(size_t low, size_t high, const void *arg, void *out)
{
	const struct arg *given = arg;

	CHECK(low < high && !out);
	atomic_fetch_add(&board->ranges, 1);
	for (size_t i = low; i < high; i++)
		if (i == given->dies && atomic_fetch_add(&board->died, 1) < given->times)
			raise(SIGKILL);
	for (size_t i = low; i < high; i++)
		atomic_fetch_add(&board->done[i], 1);
	return 0;
}

static const tine_task each = TINE_TASK_EACH(notes, struct arg),
		       ranges = TINE_TASK_RANGE(notes_all, struct arg);

/* All below n. */
static void all_once(size_t n)
{
	for (size_t i = 0; i < N; i++)
		CHECK_EQ(board->done[i], i < n);
	memset((void *)board->done, 0, sizeof(board->done));
}

TEST(each_index_once)
{
	static const size_t chunks[] = { 0, 1, 7, SIZE_MAX };
	struct arg arg = { .factor = EDOM, .dies = SIZE_MAX };

	for (unsigned workers = 1; workers < 4; workers += 2) {
		tine_pool *pool = make(workers);

		for (int i = 0; i < 4; i++) {
			tine_map_opts opts = { .chunk = chunks[i] };
			size_t n = test_is_away() && i > 0 && i < 3 ? 1000 : N;

			CHECK_EQ(tine_pool_for(pool, &ranges, &arg, n, &opts,
					       TINE_FOREVER),
				 0);
			all_once(n);
			CHECK_EQ(tine_pool_for(pool, &each, &arg, n, &opts, TINE_FOREVER),
				 -EDOM);
			all_once(n);
		}
		/* Few calls, though there are many indices. */
		board->ranges = 0;
		CHECK_EQ(tine_pool_for(pool, &ranges, &arg, N, NULL, TINE_FOREVER), 0);
		CHECK(board->ranges < N / 10);
		unmake(pool);
	}
}

TEST(status_and_failure)
{
	tine_pool *pool = make(2);
	struct arg arg = { .factor = 3, .dies = 500, .times = 9 };
	int *status = malloc(N * sizeof(int));
	tine_failure failure;
	tine_map_opts opts = { .status = status, .failure = &failure };

	CHECK_EQ(tine_pool_for(pool, &each, &arg, N, &opts, TINE_FOREVER), -TINE_ECRASH);
	for (int i = 0; i < N; i++)
		CHECK_EQ(status[i], i == 500 ? -TINE_ECRASH : (i % 1000 == 999 ? -3 : 0));
	CHECK_EQ(failure.index, 500);
	CHECK_EQ(failure.how.signal, SIGKILL);
	opts.retries = 9;
	board->died = 0;
	CHECK_EQ(tine_pool_for(pool, &each, &arg, N, &opts, TINE_FOREVER), -3);
	CHECK_EQ(status[500], 0);
	free(status);
	unmake(pool);
}

/* Those of the range that died fail together; all others are done, and once. */
TEST(a_range_that_dies)
{
	tine_pool *pool = make(2);
	int *status = malloc(N * sizeof(int));

	for (int retries = 0; retries < 2; retries++) {
		struct arg arg = { .dies = 70000, .times = retries ? 1 : 9 };
		tine_map_opts opts = { .status = status, .retries = retries };
		int failed = 0;

		memset((void *)board, 0, sizeof(*board));
		CHECK_EQ(tine_pool_for(pool, &ranges, &arg, N, &opts, TINE_FOREVER),
			 retries ? 0 : -TINE_ECRASH);
		for (int i = 0; i < N; i++) {
			CHECK_EQ(board->done[i], status[i] == 0);
			if (status[i] != 0)
				CHECK_EQ(status[i], -TINE_ECRASH);
			failed += status[i] != 0;
		}
		CHECK_EQ(failed > 0, !retries);
		CHECK_EQ(status[70000] != 0, !retries);
		CHECK(failed < N / 2);
	}
	free(status);
	unmake(pool);
}

/* ---- reductions -------------------------------------------------------------------- */

static int adds(size_t low, size_t high, const void *arg, void *out)
{
	double sum = *(double *)out;

	for (size_t i = low; i < high; i++)
		sum += *(const double *)arg / (double)(i + 1);
	*(double *)out = sum;
	return sum < 0 ? -EDOM : 0;
}

static void join(void *into, const void *from)
{
	*(double *)into += *(const double *)from;
}

static const tine_task sum = TINE_TASK_REDUCE(adds, join, double, double);

static double reduce(unsigned workers, size_t n, size_t chunk)
{
	tine_map_opts opts = { .chunk = chunk };
	tine_pool *pool = make(workers);
	double arg = 1, out = 99;

	CHECK_EQ(tine_pool_reduce(pool, &sum, &arg, n, &out, &opts, TINE_FOREVER), 0);
	unmake(pool);
	return out;
}

TEST(the_same_bits_with_any_number_of_workers)
{
	static const size_t sizes[] = { 0, 1, 2, 15, 16, 17, 255, 4095, 4097, 65537 };

	for (int i = 0; i < 10; i++)
		for (size_t chunk = 0; chunk < 200; chunk += 100) {
			double one = reduce(1, sizes[i], chunk), exact = 0;

			for (size_t j = sizes[i]; j > 0; j--)
				exact += 1 / (double)j;
			CHECK(fabs(one - exact) <= 1e-12 * exact);
			for (unsigned workers = 2; workers < 5; workers++)
				CHECK(reduce(workers, sizes[i], chunk) == one);
		}
}

/* So that the order shows: words in their order. */
static int spells(size_t low, size_t high, const void *arg, void *out)
{
	(void)arg;
	for (size_t i = low; i < high; i++)
		((char *)out)[i] = (char)('a' + i % 26);
	return 0;
}

static void appends(void *into, const void *from)
{
	char *to = into;
	const char *other = from;

	/* What is before is not there yet, in a leaf that is not the first. */
	for (size_t i = 0; i < 1000; i++)
		if (other[i]) {
			CHECK(to[i] == 0);
			to[i] = other[i];
		}
}

struct letters {
	char at[1000];
};

static int crashes_once(size_t low, size_t high, const void *arg, void *out)
{
	if (low == 0 && atomic_fetch_add(&board->died, 1) < 1) {
		memset(out, 'x', 1000);
		raise(SIGKILL);
	}
	return spells(low, high, arg, out);
}

static void crashes_joining(void *into, const void *from)
{
	(void)into;
	(void)from;
	raise(SIGKILL);
}

TEST(deaths_in_a_reduction)
{
	tine_task crash = { .range = crashes_once,
			    .join = appends,
			    .out_size = sizeof(struct letters) },
		  bad_join = { .range = spells,
			       .join = crashes_joining,
			       .out_size = sizeof(struct letters) };
	tine_pool *pool = make(2);
	tine_failure failure;
	tine_map_opts opts = { .failure = &failure };
	struct letters out = { "as it was" };

	CHECK_EQ(tine_pool_reduce(pool, &crash, NULL, 1000, &out, &opts, TINE_FOREVER),
		 -TINE_ECRASH);
	CHECK(strcmp(out.at, "as it was") == 0);
	CHECK_EQ(failure.how.signal, SIGKILL);
	board->died = 0;
	opts.retries = 1;
	CHECK_EQ(tine_pool_reduce(pool, &crash, NULL, 1000, &out, &opts, TINE_FOREVER),
		 0);
	for (int i = 0; i < 1000; i++)
		CHECK_EQ(out.at[i], 'a' + i % 26);
	CHECK_EQ(tine_pool_reduce(pool, &bad_join, NULL, 1000, &out, &opts, TINE_FOREVER),
		 -TINE_ECRASH);
	CHECK_EQ(out.at[0], 'a');
	CHECK_EQ(failure.status, -TINE_ECRASH);
	CHECK_EQ(failure.how.signal, SIGKILL);
	unmake(pool);
}

static void hangs_joining(void *into, const void *from)
{
	appends(into, from);
	board->ranges = 1;
	for (;;)
		test_sleep_us(1000000);
}

TEST(a_join_ends_at_the_deadline)
{
	tine_task task = { .range = spells,
			   .join = hangs_joining,
			   .out_size = sizeof(struct letters) };
	tine_pool *pool = make(2);
	struct letters out = { "as it was" };

	for (int ms = 500; !board->ranges; ms *= 2)
		CHECK_EQ(tine_pool_reduce(pool, &task, NULL, 1000, &out, NULL,
					  tine_after(ms)),
			 -ETIMEDOUT);
	CHECK(strcmp(out.at, "as it was") == 0);
	unmake(pool);
}

TEST(bad_arguments)
{
	tine_pool *pool = make(1);
	struct arg arg = { .dies = SIZE_MAX };
	double one = 1, out = 0;
	int status[1];
	tine_task no_join = sum, no_out = sum,
		  large = { .range = adds, .join = join, .out_size = SIZE_MAX / 2 };
	tine_map_opts searches = { .smallest = true }, with_status = { .status = status };

	no_join.join = NULL;
	no_out.out_size = 0;
	CHECK_EQ(tine_pool_for(pool, &(tine_task){ .name = "none" }, NULL, 1, NULL,
			       TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(tine_pool_for(pool, &each, NULL, 1, NULL, TINE_FOREVER), -EINVAL);
	CHECK_EQ(tine_pool_for(pool, &each, &arg, 1, &searches, TINE_FOREVER), -EINVAL);
	CHECK_EQ(tine_pool_for(pool, &each, &arg, 0, NULL, TINE_FOREVER), 0);
	CHECK_EQ(tine_pool_for(pool, &each, &arg, 1, NULL, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_pool_map(pool, &each, &arg, NULL, 1, NULL, TINE_FOREVER), -EINVAL);
	CHECK_EQ(tine_pool_submit(pool, &each, &arg, 1, TINE_FOREVER), -EINVAL);
	CHECK_EQ(tine_pool_reduce(pool, &no_join, &one, 1, &out, NULL, TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(tine_pool_reduce(pool, &no_out, &one, 1, &out, NULL, TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(tine_pool_reduce(pool, &sum, &one, 1, NULL, NULL, TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(tine_pool_reduce(pool, &sum, &one, 1, &out, &with_status, TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(tine_pool_reduce(pool, &large, NULL, 100, &out, NULL, TINE_FOREVER),
		 test_is_away() ? -EMSGSIZE : -EINVAL);
	CHECK_EQ(tine_pool_reduce(pool, &sum, &one, 1, &out, NULL, TINE_FOREVER), 0);
	CHECK(out == 1);
	unmake(pool);
}

/* ---- a worker dies at every instruction -------------------------------------------- */

enum { FEW = 6 };

static struct ledger *ledger;

static void deal(void)
{
	static int *status;
	struct map map = { .work = RANGES, .range = notes_all, .chunk = 2 };
	static struct arg arg = { .dies = SIZE_MAX };

	if (!status)
		status = tine_shared_new(FEW, sizeof(int));
	map.in = (const char *)&arg;
	map.fn = (tine_fn *)(void (*)(void))notes_all;
	map.status = status;
	for (int i = 0; i < FEW; i++) {
		status[i] = 1;
		board->done[i] = 0;
	}
	CHECK_EQ(ledger_lock(ledger, tine_after(2000)), 0);
	ledger_deal(ledger, &map, FEW);
	ledger_unlock(ledger);
}

static void works(void *arg)
{
	(void)arg;
	worker_main(ledger, 0);
}

/* A range failed as a whole, or was done as a whole, or waits. */
static void no_index_is_lost(void *arg, long step)
{
	uint32_t n, first;

	(void)arg;
	CHECK_EQ(ledger_lock(ledger, tine_after(2000)), 0);
	desk_mend(ledger, 0, (tine_exit){ .code = -1, .signal = SIGKILL }, false);
	ledger_unlock(ledger);
	while ((n = desk_take(&ledger->desks[0], FEW, false, &first)) > 0) {
		for (uint32_t i = first; i < first + n; i++)
			ledger->map.status[i] = 2;
		atomic_store(&ledger->desks[0].at,
			     at_of(first + n, done_of(ledger->desks[0].at) + n, false));
	}
	if (ledger_done(ledger) != FEW)
		test_fail(__FILE__, __LINE__, "step %ld: %d done", step,
			  (int)ledger_done(ledger));
	for (int i = 0; i < FEW; i++) {
		int status = ledger->map.status[i], done = board->done[i];

		if (!((status == 0 && done == 1) || (status == 2 && done == 0) ||
		      (status == -TINE_ECRASH && done < 2)))
			test_fail(__FILE__, __LINE__, "step %ld: %d has %d, done %d",
				  step, i, status, done);
		board->died += status == -TINE_ECRASH;
	}
	deal();
}

TEST_LIMIT(a_worker_killed_at_every_step, 240)
{
	const struct steps steps = { NULL, works, no_index_is_lost };

	board = tine_shared_new(1, sizeof(*board));
	ledger = tine_shared_new(1, sizeof(*ledger) + sizeof(struct pool_desk));
	ledger->workers = 1;
	ledger->jobs_per_worker = FEW;
	deal();
	CHECK(test_kill_some_steps(&steps, NULL, 4) > 200);
	if (test_every_step())
		CHECK(board->died > 0);
	tine_shared_free(ledger->map.status);
	tine_shared_free(ledger);
	tine_shared_free(board);
}
