/* SPDX-License-Identifier: MIT */
/*
 * Whether numbers are prime, by trial division. Small divisors are tried here, which
 * takes less time than to wake a worker. What is left up to the root is cut into ranges,
 * the jobs of a pool, and a worker that finds a divisor tells the others to stop:
 *
 *	find	it is a hit of tine_pool_find(), which drops what has not begun
 *	event	it sets a tine_event
 *	file	it sets a byte of a mapped file, which a stranger can see as well
 *	mirror	it sets a key of a store, which another machine can see as well, and which
 *		an event mirrors (tine_store_watch)
 *	store	it sets a key of a store, which all others ask for at each look, in a
 *	redis	folder of this machine or on a Redis server
 *	none	it tells nobody, and all ranges are searched
 *
 * The first four are equally fast, since a look is a load; find is the default, since
 * nothing need be made for it. The last two are what the mirror is for.
 *
 * The divisor is the smallest. Ranges below the one with a divisor may have been dropped
 * or left half-way: these are done after it. They are few, since all workers go through
 * the ranges in ascending order, side by side. So a divisor is found by many workers as
 * much sooner than by one as a prime is.
 *
 * The ranges of workers that died, and died when they were tried again, are done here.
 */
#include "divide.h"
#include "isprime/isprime.h"

#include <errno.h>
#include <inttypes.h>
#include <tine.h>

#define ALONE	(UINT64_C(1) << 20) /* divisors below are tried without workers */
#define RANGE	(UINT64_C(1) << 21) /* of a job: about a tenth of a millisecond */
#define STEP	(UINT64_C(1) << 16) /* between looks at the flag: microseconds */
#define RANGES	((UINT64_C(1) << 32) / RANGE)
#define RETRIES 3

static tine_pool *pool; /* made when it is needed */
const char *hunt_engine;

/* ---- ranges ------------------------------------------------------------------------ */

struct range {
	uint64_t number, from, to;
	uint64_t way;
};

/* What a job returns; negative: it was dropped, or its worker died. */
enum { NOTHING = 0, FOUND = 1, STOPPED = 2 };

static int search_range(const void *in, void *out)
{
	const struct range *range = in;
	enum way way = (enum way)range->way;

	for (uint64_t from = range->from; from < range->to; from += STEP) {
		uint64_t left = range->to - from, divisor;

		if (flag_is_raised(way))
			return STOPPED;
		divisor = divide(range->number, from, from + (left < STEP ? left : STEP));
		if (divisor == 0)
			continue;
		*(uint64_t *)out = divisor;
		flag_raise(way);
		return FOUND;
	}
	return NOTHING;
}

const tine_task isprime_task = TINE_TASK(search_range, struct range, uint64_t);

/* Of one number. */
struct pieces {
	struct range ranges[RANGES];
	uint64_t divisors[RANGES];
	int status[RANGES];
	size_t n;
	uint64_t best; /* the smallest divisor yet, or UINT64_MAX */
};

/*
 * The pool gives each worker as many jobs as the others, one after the other; in what it
 * gives, each is to find every so manieth range, in ascending order.
 */
static void cut_ranges(struct pieces *all, uint64_t number, uint64_t end, enum way way,
		       unsigned count)
{
	size_t workers = count, n = (end - ALONE - 1) / RANGE + 1;
	uint64_t from = ALONE;

	for (size_t turn = 0; from < end; turn++)
		for (size_t worker = 0; worker < workers; worker++) {
			size_t at = n * worker / workers + turn;

			if (at >= n * (worker + 1) / workers)
				continue;
			all->ranges[at] = (struct range){
				number, from, end - from < RANGE ? end : from + RANGE, way
			};
			from += RANGE;
		}
	all->n = n;
	all->best = UINT64_MAX;
}

/* Those are left that may hold a smaller divisor and were not searched to the end. */
static void keep_rest(struct pieces *all)
{
	size_t left = 0;

	for (size_t i = 0; i < all->n; i++)
		if (all->status[i] == FOUND && all->divisors[i] < all->best)
			all->best = all->divisors[i];
	for (size_t i = 0; i < all->n; i++)
		if (all->status[i] != FOUND && all->status[i] != NOTHING &&
		    all->ranges[i].from < all->best)
			all->ranges[left++] = all->ranges[i];
	all->n = left;
}

/* What became of each range is told by its status, so the error may be dropped. */
static void search_in_parallel(struct pieces *all, enum way way)
{
	tine_map_opts opts = { .chunk = 1, .status = all->status, .retries = RETRIES };

	for (size_t i = 0; i < all->n; i++) {
		all->status[i] = STOPPED;
		all->ranges[i].way = way;
	}
	flag_lower(way);
	if (way == FIND)
		(void)!tine_pool_find(pool, &isprime_task, all->ranges, all->divisors,
				      all->n, NULL, &opts, TINE_FOREVER);
	else
		(void)!tine_pool_map(pool, &isprime_task, all->ranges, all->divisors,
				     all->n, &opts, TINE_FOREVER);
	keep_rest(all);
}

static void search_here(struct pieces *all)
{
	for (size_t i = 0; i < all->n; i++)
		all->status[i] = search_range(&all->ranges[i], &all->divisors[i]);
	keep_rest(all);
}

/* The pool, if there is none. That workers are killed while they start is no reason. */
static int hire_workers(unsigned workers)
{
	tine_pool_opts opts = { .workers = workers, .engine = pool_of_tine(hunt_engine) };
	int err = pool ? 0 : -TINE_ECRASH;

	for (int i = 0; i <= RETRIES && err == -TINE_ECRASH; i++)
		err = tine_pool_new(&pool, &opts);
	if (err && hunt_engine)
		return complain_of_engine("isprime", hunt_engine, err);
	if (err)
		return complain(BROKEN, "isprime: cannot start %u workers: %s", workers,
				tine_strerror(err));
	return DONE;
}

static int search_ranges(uint64_t number, uint64_t end, enum way way, unsigned workers,
			 uint64_t *divisor)
{
	static struct pieces all;
	int err = hire_workers(workers);

	if (err)
		return err;
	cut_ranges(&all, number, end, way, workers);
	search_in_parallel(&all, way);
	if (all.n > 0)
		search_in_parallel(&all, NONE);
	if (all.n > 0)
		search_here(&all);
	*divisor = all.best == UINT64_MAX ? 0 : all.best;
	return DONE;
}

/* ---- a number ---------------------------------------------------------------------- */

/* The smallest divisor above 1 and below end, the number itself left out; 0: none. */
static uint64_t small_divisor(uint64_t number, uint64_t end)
{
	static const uint64_t first[] = { 2, 3, 5, 7 };

	for (int i = 0; i < 4; i++)
		if (number % first[i] == 0)
			return number == first[i] ? 0 : first[i];
	return divide(number, 11, end);
}

int hunt(uint64_t number, enum way way, unsigned workers, struct result *result)
{
	int64_t begun = tine_now();
	uint64_t end = divide_end(number);
	int err = DONE;

	*result = (struct result){ .number = number };
	if (number > 1) {
		result->divisor = small_divisor(number, end < ALONE ? end : ALONE);
		if (result->divisor == 0 && end > ALONE && way == ONE)
			result->divisor = divide(number, ALONE, end);
		else if (result->divisor == 0 && end > ALONE)
			err = search_ranges(number, end, way, workers, &result->divisor);
		result->prime = result->divisor == 0;
	}
	result->seconds = (double)(tine_now() - begun) / 1e9;
	return err;
}

/* One process, and then all ways. The pool is there before the first of them. */
int hunt_all_ways(uint64_t number, unsigned workers, struct result *results)
{
	int err = hunt(number, ONE, workers, &results[ONE]);

	if (err == DONE && (results[ONE].divisor == 0 || results[ONE].divisor >= ALONE) &&
	    divide_end(number) > ALONE)
		err = hire_workers(workers);
	for (int way = 0; err == DONE && way < WAYS; way++) {
		if (flag_left_out((enum way)way))
			continue;
		err = hunt(number, (enum way)way, workers, &results[way]);
		if (err == DONE && results[way].divisor != results[ONE].divisor)
			err = complain(BROKEN,
				       "isprime: with flag %s, %" PRIu64
				       " divides it, with one process, %" PRIu64,
				       ways[way], results[way].divisor,
				       results[ONE].divisor);
	}
	return err;
}

void hunt_end(void)
{
	tine_pool_free(pool);
}
