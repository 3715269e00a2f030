/* SPDX-License-Identifier: MIT */
/*
 * Are large numbers prime? Small divisors are tried here; the others are divided into
 * ranges for a pool. The first divisor ends the search: ranges that have not begun are
 * dropped, and tine_cancelled() becomes true in those that run.
 *
 * The Python notebook that this follows has a flag for that, but never reads it: it looks
 * when i % 1000 is 0, and i is always odd. It starts a pool a number, and closes none.
 */
#include <math.h>
#include <stdio.h>
#include <tine.h>

enum { JOBS = 64, SMALL = 1001 }; /* odd, as all ranges begin */
struct range {
	long number, from, to;
};

/* 1, a hit: the range has a divisor. */
static int has_divisor(const void *in, void *out)
{
	const struct range *range = in;

	(void)out;
	for (long i = range->from; i < range->to && !tine_cancelled(); i += 2)
		if (range->number % i == 0)
			return 1;
	return 0;
}

/* n is large and odd. 1: it has a divisor. 0: it is prime. Or a negative error. */
static int is_composite(tine_pool *pool, long number)
{
	static const tine_task task = TINE_TASK_IN(has_divisor, struct range);
	long share = ((long)sqrtl((long double)number) - SMALL) / JOBS / 2 * 2 + 2;
	struct range range[JOBS] = { { number, 3, SMALL } };

	if (has_divisor(range, NULL))
		return 1;
	for (long i = 0, from = SMALL; i < JOBS; i++, from += share)
		range[i] = (struct range){ number, from, from + share };
	return tine_pool_find(pool, &task, range, NULL, JOBS, NULL, NULL, TINE_FOREVER);
}

int main(void)
{
	const long numbers[] = { 112272535095295, 100109100129100369, 100109100129101027,
				 100109100129100151, 100109100129162907 };
	tine_pool *pool = NULL;
	int err = tine_pool_new(&pool, NULL);

	for (int i = 0; i < 5 && err >= 0; i++)
		if ((err = is_composite(pool, numbers[i])) >= 0)
			printf("%ld is %sprime\n", numbers[i], err ? "not " : "");
	if (err < 0)
		fprintf(stderr, "verify: %s\n", tine_strerror(err));
	tine_pool_free(pool);
	return err < 0;
}
