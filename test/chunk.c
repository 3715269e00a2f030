/* SPDX-License-Identifier: MIT */
/* Tickets of many items: what a host has its pool do for others. */
#include "step.h"

#include "pool/chunk.h"
#include "pool/pool.h"
#include "pool/worker.h"

enum { ITEMS = 6 };

static tine_pool *make(unsigned workers)
{
	tine_pool_opts opts = { .workers = workers };
	tine_pool *pool;

	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	return pool;
}

static int twice(const void *in, void *out)
{
	int value = *(const int *)in;

	if (value == -1)
		abort();
	if (value == -2)
		for (;;)
			pause();
	*(int *)out = 2 * value;
	return value == 7 ? 1 : value == -3 ? -EDOM : 0;
}

static const tine_task twice_task = TINE_TASK(twice, int, int);

static uint64_t submit(tine_pool *pool, const struct chunk_wish *wish)
{
	uint64_t job;

	CHECK_EQ(pool_submit_chunk(pool, wish, &job, TINE_NOWAIT), 0);
	return job;
}

static struct chunk_wish of_items(const int *in, uint32_t n)
{
	return (struct chunk_wish){ .work = CALLS,
				    .task = &twice_task,
				    .in = in,
				    .in_len = n * sizeof(*in),
				    .n = n };
}

static struct chunk_done await(tine_pool *pool)
{
	struct chunk_done done;

	CHECK_EQ(pool_next_chunk(pool, &done, tine_after(60000)), 1);
	return done;
}

TEST(all_items_have_their_results)
{
	tine_pool *pool = make(2);
	int in[ITEMS] = { 1, 2, -3, 4, 5, 6 };
	struct chunk_wish wish = of_items(in, ITEMS);
	struct chunk_done done[4];

	for (int i = 0; i < 4; i++) {
		wish.tag = 40 + i;
		submit(pool, &wish);
	}
	/* Several lie there at a time. */
	for (int i = 0; i < 4; i++)
		done[i] = await(pool);
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(done[i].n, ITEMS);
		CHECK_EQ(done[i].out_len, ITEMS * sizeof(int));
		for (int k = 0; k < ITEMS; k++) {
			CHECK_EQ(done[i].status[k], in[k] == -3 ? -EDOM : 0);
			CHECK_EQ(((const int *)done[i].out)[k], 2 * in[k]);
		}
		CHECK(done[i].begun > 0 && done[i].ended >= done[i].begun);
		CHECK_EQ(done[i].deaths, 0);
		pool_end_chunk(pool, &done[i]);
	}
	CHECK_EQ(pool_next_chunk(pool, &done[0], TINE_NOWAIT), 0);
	tine_pool_free(pool);
}

TEST(an_item_that_crashes_fails_alone)
{
	tine_pool *pool = make(2);
	int in[ITEMS] = { 1, -1, 3, -1, 5, -1 };
	struct chunk_wish wish = of_items(in, ITEMS);
	struct chunk_done done;

	submit(pool, &wish);
	done = await(pool);
	CHECK_EQ(done.deaths, 3);
	for (int i = 0; i < ITEMS; i++) {
		CHECK_EQ(done.status[i], in[i] == -1 ? -TINE_ECRASH : 0);
		CHECK_EQ(done.ends[i].how.signal, in[i] == -1 ? SIGABRT : 0);
		if (in[i] != -1)
			CHECK_EQ(((const int *)done.out)[i], 2 * in[i]);
	}
	pool_end_chunk(pool, &done);
	tine_pool_free(pool);
}

TEST(an_item_has_its_limit)
{
	tine_pool *pool = make(1);
	int in[3] = { 1, -2, 3 };
	struct chunk_wish wish = of_items(in, 3);
	struct chunk_done done;

	wish.job_ms = 200;
	submit(pool, &wish);
	done = await(pool);
	CHECK_EQ(done.status[0], 0);
	CHECK_EQ(done.status[1], -TINE_ELIMIT);
	CHECK_EQ(done.ends[1].limit, TINE_LIMIT_TIME);
	CHECK_EQ(done.status[2], 0);
	pool_end_chunk(pool, &done);
	tine_pool_free(pool);
}

TEST(nothing_begins_after_a_hit)
{
	tine_pool *pool = make(1);
	int in[4] = { 1, 7, 3, 7 };
	struct chunk_wish wish = of_items(in, 4);
	struct chunk_done done;

	wish.search = 1;
	submit(pool, &wish);
	done = await(pool);
	CHECK_EQ(done.status[0], 0);
	CHECK_EQ(done.status[1], 1);
	CHECK_EQ(done.status[2], -ECANCELED);
	CHECK_EQ(done.status[3], -ECANCELED);
	pool_end_chunk(pool, &done);
	tine_pool_free(pool);
}

TEST(nor_in_another_chunk_of_the_search)
{
	tine_pool *pool = make(1);
	int in[2] = { 7, 3 };
	struct chunk_wish wish = of_items(in, 2);

	for (uint64_t search = 1; search <= 2; search++) {
		wish.search = search;
		for (int i = 0; i < 2; i++) {
			wish.tag = i;
			submit(pool, &wish);
		}
		for (int i = 0; i < 2; i++) {
			struct chunk_done done = await(pool);

			CHECK_EQ(done.status[0], done.tag == 0 ? 1 : -ECANCELED);
			CHECK_EQ(done.status[1], -ECANCELED);
			pool_end_chunk(pool, &done);
		}
	}
	tine_pool_free(pool);
}

/* Runs until it is cancelled. */
static int runs_on(const void *in, void *out)
{
	atomic_store(*(_Atomic int *const *)in, 1);
	while (!tine_cancelled())
		test_sleep_us(1000);
	*(int *)out = 5;
	return 0;
}

static void await_word(const _Atomic int *word)
{
	while (!atomic_load(word))
		test_sleep_us(1000);
}

TEST(one_chunk_is_cancelled_and_another_is_not)
{
	tine_task task = TINE_TASK(runs_on, void *, int);
	_Atomic int *begun = tine_shared_new(2, 64);
	_Atomic int *in[4] = { &begun[0], &begun[0], &begun[16], &begun[16] };
	struct chunk_wish wish = {
		.work = CALLS, .task = &task, .in = in, .in_len = 2 * sizeof(*in), .n = 2
	};
	tine_pool *pool = make(2);
	struct chunk_done done;
	uint64_t one, other;

	one = submit(pool, &wish);
	wish.in = in + 2;
	other = submit(pool, &wish);
	await_word(&begun[0]);
	await_word(&begun[16]);
	CHECK_EQ(pool_cancel_chunk(pool, one, false), 0);
	done = await(pool);
	CHECK_EQ(done.job, one);
	CHECK_EQ(done.status[0], 0);
	CHECK_EQ(((const int *)done.out)[0], 5);
	CHECK_EQ(done.status[1], -ECANCELED);
	CHECK_EQ(pool_next_chunk(pool, &(struct chunk_done){ 0 }, TINE_NOWAIT),
		 -ETIMEDOUT);
	pool_end_chunk(pool, &done);
	/* That one's worker is ended. */
	CHECK_EQ(pool_cancel_chunk(pool, one, false), -ENOENT);
	CHECK_EQ(pool_cancel_chunk(pool, other, true), 0);
	done = await(pool);
	CHECK_EQ(done.job, other);
	CHECK(done.status[0] == -ECANCELED || done.status[0] == 0);
	CHECK_EQ(done.status[1], -ECANCELED);
	pool_end_chunk(pool, &done);
	tine_pool_free(pool);
	tine_shared_free((void *)begun);
}

TEST(what_does_not_listen_is_ended)
{
	tine_pool *pool = make(1);
	int in[2] = { -2, 1 }, other[1] = { 4 };
	struct chunk_wish wish = of_items(in, 2), waits = of_items(other, 1);
	struct chunk_done done;
	uint64_t job = submit(pool, &wish), waiting = submit(pool, &waits);

	/* One that nobody has begun. */
	CHECK_EQ(pool_cancel_chunk(pool, waiting, true), 0);
	CHECK_EQ(pool_cancel_chunk(pool, job, true), 0);
	for (int i = 0; i < 2; i++) {
		done = await(pool);
		for (uint32_t k = 0; k < done.n; k++)
			CHECK_EQ(done.status[k], -ECANCELED);
		pool_end_chunk(pool, &done);
	}
	tine_pool_free(pool);
}

static int each_sums(size_t index, const void *arg)
{
	atomic_fetch_add(*(_Atomic int *const *)arg, (int)index);
	return 0;
}

static int range_sums(size_t low, size_t high, const void *arg, void *out)
{
	for (size_t i = low; i < high; i++) {
		if (out)
			*(int64_t *)out += (int64_t)i;
		else
			each_sums(i, arg);
	}
	return 0;
}

TEST(indexes_and_leaves)
{
	_Atomic int *sum = tine_shared_new(1, sizeof(*sum));
	tine_task each = TINE_TASK_EACH(each_sums, void *);
	tine_task range = TINE_TASK_RANGE(range_sums, void *);
	tine_task leaf = { .name = "leaf",
			   .range = range_sums,
			   .in_size = sizeof(void *),
			   .out_size = sizeof(int64_t) };
	struct chunk_wish wish = { .work = EACH,
				   .task = &each,
				   .in = &sum,
				   .in_len = sizeof(sum),
				   .n = 10,
				   .first = 100 };
	tine_pool *pool = make(2);
	struct chunk_done done;

	submit(pool, &wish);
	done = await(pool);
	CHECK_EQ(done.n, 10);
	CHECK_EQ(atomic_exchange(sum, 0), 1045);
	pool_end_chunk(pool, &done);

	wish.work = RANGES;
	wish.task = &range;
	submit(pool, &wish);
	done = await(pool);
	CHECK_EQ(done.n, 1);
	CHECK_EQ(atomic_exchange(sum, 0), 1045);
	pool_end_chunk(pool, &done);

	/* Leaves 2 and 3 of five of 50 indexes: 20 to 29, 30 to 39. */
	wish.work = LEAVES;
	wish.task = &leaf;
	wish.n = 2;
	wish.first = 2;
	wish.total = 50;
	wish.leaves = 5;
	submit(pool, &wish);
	done = await(pool);
	CHECK_EQ(done.n, 2);
	CHECK_EQ(((const int64_t *)done.out)[0], 245);
	CHECK_EQ(((const int64_t *)done.out)[1], 345);
	pool_end_chunk(pool, &done);
	tine_pool_free(pool);
	tine_shared_free((void *)sum);
}

static int answers(const void *in, size_t len)
{
	return tine_job_result(in, len - 1);
}

TEST(bytes_too)
{
	tine_task task = { .name = "answers", .bytes = answers };
	struct chunk_wish wish = { .task = &task, .in = "hello", .in_len = 5, .n = 1 };
	tine_pool *pool = make(1);
	struct chunk_done done;

	submit(pool, &wish);
	done = await(pool);
	CHECK_EQ(done.status[0], 0);
	CHECK_EQ(done.out_len, 4);
	CHECK(memcmp(done.out, "hell", 4) == 0);
	pool_end_chunk(pool, &done);
	/* The pool frees what is not ended. */
	submit(pool, &wish);
	await(pool);
	tine_pool_free(pool);
}

TEST(lengths_are_looked_at)
{
	int in[2] = { 1, 2 };
	tine_task wide = { .name = "wide", .fn = twice, .out_size = SIZE_MAX / 2 };
	struct chunk_wish none = of_items(in, 0), few = of_items(in, 2),
			  large = { .work = CALLS, .task = &wide, .n = 4 };
	tine_pool *pool = make(1);

	few.in_len--;
	CHECK_EQ(pool_submit_chunk(pool, &none, NULL, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(pool_submit_chunk(pool, &few, NULL, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(pool_submit_chunk(pool, &large, NULL, TINE_NOWAIT), -EINVAL);
	tine_pool_free(pool);
}

TEST(a_worker_that_retires_leaves_the_rest)
{
	tine_pool_opts opts = { .workers = 1, .jobs_per_worker = 2 };
	int in[ITEMS] = { 1, 2, 3, 4, 5, 6 };
	struct chunk_wish wish = of_items(in, ITEMS);
	struct chunk_done done;
	tine_pool *pool;

	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	submit(pool, &wish);
	done = await(pool);
	for (int i = 0; i < ITEMS; i++) {
		CHECK_EQ(done.status[i], 0);
		CHECK_EQ(((const int *)done.out)[i], 2 * in[i]);
	}
	pool_end_chunk(pool, &done);
	tine_pool_free(pool);
}

/* ---- a worker dies at every instruction -------------------------------------------- */

enum { CHUNK = 3 };

struct board {
	struct ledger *ledger;
	struct chunk_wish wish;
	tine_task task;
	_Atomic int marks[CHUNK];
	_Atomic int *in[CHUNK];
	uint64_t number;
	long crashes;
};

static int mark(const void *in, void *out)
{
	(void)out;
	atomic_fetch_add(*(_Atomic int *const *)in, 1);
	return 0;
}

static void fill(struct board *board)
{
	struct ticket *ticket = atomic_load(&board->ledger->tickets);

	for (int i = 0; i < CHUNK; i++)
		atomic_store(&board->marks[i], 0);
	atomic_store(&ticket->number, ++board->number);
	ticket->fn = mark;
	ticket->in_size = sizeof(board->in);
	memcpy(ticket->data.mem, board->in, sizeof(board->in));
	ticket->chunk = chunk_fill(ticket, &board->wish);
	for (int i = 0; i < CHUNK; i++)
		ticket->chunk->status[i] = 77;
	atomic_store(&ticket->state, ticket_word(WAITING, 0));
}

/* It retires after the chunk. */
static void works(void *arg)
{
	struct board *board = arg;

	worker_main(board->ledger, 0);
}

static void each_item_once(void *arg, long step)
{
	struct board *board = arg;
	struct ledger *ledger = board->ledger;
	struct ticket *ticket = atomic_load(&ledger->tickets);
	struct chunk *chunk = ticket->chunk;
	int crashed = 0;

	CHECK_EQ(ledger_lock(ledger, tine_after(2000)), 0);
	desk_mend(ledger, 0, (tine_exit){ .code = -1, .signal = SIGKILL }, false);
	/* Who mends may have died, too. */
	desk_mend(ledger, 0, (tine_exit){ .code = -1, .signal = SIGKILL }, false);
	ledger_unlock(ledger);
	CHECK_EQ(job_of(&ledger->desks[0]), 0);
	if (ticket_take(ledger, 1)) {
		for (uint32_t i = index_of(atomic_load(&chunk->at)); i < CHUNK; i++)
			chunk->status[i] = mark(&board->in[i], NULL);
		ticket_finish(ledger, ticket, 0);
	}
	CHECK_EQ(ticket_state(atomic_load(&ticket->state)), DONE);
	for (int i = 0; i < CHUNK; i++) {
		int status = chunk->status[i], marks = atomic_load(&board->marks[i]);

		if (status == -TINE_ECRASH ? marks > 1 : status != 0 || marks != 1)
			test_fail(__FILE__, __LINE__,
				  "step %ld: item %d has status %d and was done %d times",
				  step, i, status, marks);
		CHECK_EQ(chunk->ends[i].how.signal, status ? SIGKILL : 0);
		crashed += status != 0;
	}
	CHECK(crashed <= 1);
	CHECK_EQ(chunk->deaths, crashed);
	board->crashes += crashed;
	fill(board);
}

TEST_LIMIT(a_worker_killed_at_every_step_of_a_chunk, 240)
{
	const struct steps steps = { NULL, works, each_item_once };
	struct board *board = tine_shared_new(1, sizeof(*board));
	struct ledger *ledger = tine_shared_new(1, sizeof(*ledger) +
							   2 * sizeof(struct pool_desk));
	struct ticket *tickets = tine_shared_new(6, sizeof(*tickets));
	size_t size;
	long n;

	ledger->workers = 2;
	ledger->jobs_per_worker = CHUNK;
	atomic_store(&ledger->tickets, tickets);
	board->ledger = ledger;
	board->task =
		(tine_task){ .name = "mark", .fn = mark, .in_size = sizeof(void *) };
	board->wish = (struct chunk_wish){ .work = CALLS,
					   .task = &board->task,
					   .in = board->in,
					   .in_len = sizeof(board->in),
					   .n = CHUNK };
	for (int i = 0; i < CHUNK; i++)
		board->in[i] = &board->marks[i];
	CHECK_EQ(chunk_size(&board->wish, &size), 0);
	CHECK_EQ(stage_reserve(&tickets->data, size, TINE_FOREVER), 0);
	fill(board);
	n = test_kill_each_step(&steps, board);
	printf("# %ld deaths in an item\n", board->crashes);
	fflush(stdout);
	CHECK(n > 100);
	if (test_every_step())
		CHECK(board->crashes > 10);
	stage_trim(&tickets->data, 0);
	tine_shared_free(tickets);
	tine_shared_free(ledger);
	tine_shared_free(board);
}
