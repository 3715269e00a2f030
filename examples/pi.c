/* SPDX-License-Identifier: MIT */
/*
 * Pi from a hundred million random points, with a process for each processor. Each job
 * uses the random stream of its own number, so that the same seed gives the same pi with
 * any number of workers.
 */
#include <stdio.h>
#include <tine.h>

#define JOBS   1000
#define POINTS 100000 /* of each job */

static int points_inside_circle(const void *in, void *out)
{
	long inside = 0;
	tine_rng rng;

	tine_rng_init(&rng, 42, *(const int *)in);
	for (int i = 0; i < POINTS; i++) {
		double x = tine_rng_double(&rng), y = tine_rng_double(&rng);

		inside += x * x + y * y <= 1;
	}
	*(long *)out = inside;
	return 0;
}

int main(void)
{
	static const tine_task task = TINE_TASK(points_inside_circle, int, long);
	tine_map_opts opts = { .progress = tine_progress_bar };
	static int stream[JOBS];
	static long inside[JOBS];
	long total = 0;
	tine_pool *pool;
	int err = tine_pool_new(&pool, NULL);

	if (err) {
		fprintf(stderr, "pi: %s\n", tine_strerror(err));
		return 1;
	}
	for (int i = 0; i < JOBS; i++)
		stream[i] = i;
	err = tine_pool_map(pool, &task, stream, inside, JOBS, &opts, TINE_FOREVER);
	tine_pool_free(pool);
	if (err) {
		fprintf(stderr, "pi: %s\n", tine_strerror(err));
		return 1;
	}
	for (int i = 0; i < JOBS; i++)
		total += inside[i];
	printf("pi is about %.6f\n", 4.0 * (double)total / JOBS / POINTS);
	return 0;
}
