/* SPDX-License-Identifier: MIT */
/* Maps of more memory than goes through the pool's at once. */
#include "test.h"

#include "memory/heap.h"

#define LEN   512 /* 4 KiB, of which 8 MiB are a piece: 1,024 jobs that read and write */
#define ITEMS 5000
#define MIB   ((size_t)1 << 20)

struct item {
	long words[LEN];
};

static struct item *in, *out;
static int *status;

static void make_items(bool shared_in, bool shared_out)
{
	in = shared_in ? tine_shared_new(ITEMS, sizeof(*in)) : calloc(ITEMS, sizeof(*in));
	out = shared_out ? tine_shared_new(ITEMS, sizeof(*out))
			 : calloc(ITEMS, sizeof(*out));
	status = calloc(ITEMS, sizeof(*status));
	CHECK(in && out && status);
	for (long i = 0; i < ITEMS; i++) {
		in[i].words[0] = i;
		in[i].words[LEN - 1] = -i;
		status[i] = 99;
	}
}

static void free_items(bool shared_in, bool shared_out)
{
	if (shared_in)
		tine_shared_free(in);
	else
		free(in);
	if (shared_out)
		tine_shared_free(out);
	else
		free(out);
	free(status);
}

static bool is_done(long i)
{
	return out[i].words[0] == i + 1 && out[i].words[LEN - 1] == -i - 1;
}

static int add(const void *from, void *to)
{
	const struct item *item = from;
	struct item *sum = to;

	sum->words[0] = item->words[0] + 1;
	sum->words[LEN - 1] = item->words[LEN - 1] - 1;
	return 0;
}

#define FAILS	2500
#define CRASHES 3500

static int add_or_not(const void *from, void *to)
{
	long i = ((const struct item *)from)->words[0];

	if (i == CRASHES)
		raise(SIGKILL);
	return i == FAILS ? -EDOM : add(from, to);
}

static tine_pool *make_two(void)
{
	tine_pool *pool;

	CHECK_EQ(tine_pool_new(&pool, &(tine_pool_opts){ .workers = 2 }), 0);
	return pool;
}

/* Of either side alone as well. */
TEST(each_item_in_its_place)
{
	static const tine_task task = TINE_TASK(add, struct item, struct item);
	tine_pool *pool = make_two();

	for (int where = 0; where < 3; where++) {
		make_items(where == 1, where == 2);
		CHECK_EQ(tine_pool_map(pool, &task, in, out, ITEMS,
				       &(tine_map_opts){ .status = status },
				       TINE_FOREVER),
			 0);
		for (long i = 0; i < ITEMS; i++)
			CHECK(status[i] == 0 && is_done(i));
		free_items(where == 1, where == 2);
	}
	tine_pool_free(pool);
}

TEST(failures_and_deaths_are_told_by_the_callers_index)
{
	static const tine_task task = TINE_TASK(add_or_not, struct item, struct item);
	tine_pool *pool = make_two();
	tine_failure failure;
	tine_map_opts opts = { .failure = &failure };

	make_items(false, false);
	opts.status = status;
	CHECK_EQ(tine_pool_map(pool, &task, in, out, ITEMS, &opts, TINE_FOREVER), -EDOM);
	CHECK((failure.index == FAILS && failure.status == -EDOM) ||
	      (failure.index == CRASHES && failure.status == -TINE_ECRASH));
	for (long i = 0; i < ITEMS; i++)
		if (i == FAILS || i == CRASHES)
			CHECK_EQ(status[i], i == FAILS ? -EDOM : -TINE_ECRASH);
		else
			CHECK(status[i] == 0 && is_done(i));
	free_items(false, false);
	tine_pool_free(pool);
}

static void cancel_late(void *pool, size_t done, size_t total)
{
	if (done > total / 2)
		tine_pool_cancel(pool);
}

static int add_slowly(const void *from, void *to)
{
	test_sleep_us(100);
	return add(from, to);
}

TEST(a_cancelled_map_has_what_was_done_before)
{
	static const tine_task task = TINE_TASK(add_slowly, struct item, struct item);
	tine_pool *pool = make_two();
	tine_map_opts opts = { .progress = cancel_late, .progress_arg = pool };
	long done = 0, dropped = 0;

	make_items(false, false);
	opts.status = status;
	CHECK_EQ(tine_pool_map(pool, &task, in, out, ITEMS, &opts, TINE_FOREVER),
		 -ECANCELED);
	for (long i = 0; i < ITEMS; i++) {
		CHECK(status[i] == -ECANCELED || (status[i] == 0 && is_done(i)));
		done += status[i] == 0;
		dropped += status[i] == -ECANCELED;
	}
	CHECK(done > ITEMS / 2 && dropped > 0);
	free_items(false, false);
	tine_pool_free(pool);
}

/*
 * Where the jobs take long, workers would wait for each other at the end of each piece.
 */
TEST(long_jobs_go_at_once)
{
	static const tine_task task = TINE_TASK(add_slowly, struct item, struct item);
	tine_pool *pool = make_two();
	size_t used;

	make_items(false, false);
	used = shared_used();
	CHECK_EQ(tine_pool_map(pool, &task, in, out, ITEMS, NULL, TINE_FOREVER), 0);
	for (long i = 0; i < ITEMS; i++)
		CHECK(is_done(i));
	CHECK(shared_used() - used > 15 * MIB);
	free_items(false, false);
	tine_pool_free(pool);
}
