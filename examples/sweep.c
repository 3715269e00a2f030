/* SPDX-License-Identifier: MIT */
/*
 * A sweep over parameters, a number a line on standard input: for each r, how fast nearby
 * orbits of x -> r x (1 - x) part. Each result is kept in a folder as soon as it is
 * there. Kill this at any moment, start it again, and it goes on where it was: what it
 * finds is told by .endings.
 */
#include <math.h>
#include <stdio.h>
#include <tine.h>

enum { MOST = 100000, STEPS = 1000000 };

static int exponent(const void *in, void *out)
{
	double r = *(const double *)in, x = 0.5, sum = 0;

	for (int i = 0; i < STEPS; i++) {
		x = r * x * (1 - x);
		sum += log(fabs(r * (1 - 2 * x)) + 1e-300);
	}
	*(double *)out = sum / STEPS;
	return 0;
}

int main(int argc, char **argv)
{
	static const tine_task task = TINE_TASK(exponent, double, double);
	static double rate[MOST], result[MOST];
	static tine_ending ending[MOST];
	tine_map_opts opts = { .progress = tine_progress_bar, .endings = ending };
	tine_pool *pool = NULL;
	size_t n = 0, known = 0;
	int err;

	while (n < MOST && scanf("%lf", &rate[n]) == 1)
		n++;
	/* The default folder, or the one in the argument. */
	err = tine_cache_open(&opts.cache, argc > 1 ? argv[1] : NULL, NULL);
	if (err >= 0)
		err = tine_pool_new(&pool, NULL);
	if (err >= 0)
		err = tine_pool_map(pool, &task, rate, result, n, &opts, TINE_FOREVER);
	tine_pool_free(pool);
	tine_cache_free(opts.cache);
	if (err < 0) {
		fprintf(stderr, "sweep: %s\n", tine_strerror(err));
		return 1;
	}
	for (size_t i = 0; i < n; i++) {
		printf("%g %.6f\n", rate[i], result[i]);
		known += ending[i].cached;
	}
	fprintf(stderr, "%zu of %zu were known\n", known, n);
	return 0;
}
