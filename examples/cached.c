/* SPDX-License-Identifier: MIT */
/*
 * Pi again, with a cache. Each part is kept in a folder: a second run computes nothing,
 * and a run with more parts computes only the new ones. The notebook that this follows
 * draws other random numbers in each run, and its number "idx" only keeps the results in
 * its cache apart. Here that number chooses the random stream.
 */
#include <stdio.h>
#include <tine.h>

enum { PARTS = 1000, POINTS = 100000 };
struct part {
	long points, stream; /* without padding: all bytes are part of the key */
};

static int points_inside_circle(const void *in, void *out)
{
	const struct part *part = in;
	tine_rng rng;
	long inside = 0;

	tine_rng_init(&rng, 42, part->stream);
	for (long i = 0; i < part->points; i++) {
		double x = tine_rng_double(&rng), y = tine_rng_double(&rng);

		inside += x * x + y * y <= 1;
	}
	*(long *)out = inside;
	return 0;
}

int main(int argc, char **argv)
{
	static const tine_task task = TINE_TASK(points_inside_circle, struct part, long);
	static struct part part[PARTS];
	static long inside[PARTS];
	long total = 0;
	tine_map_opts opts = { 0 };
	tine_pool *pool = NULL;
	/* The default folder, or the one in the argument. */
	int err = tine_cache_open(&opts.cache, argc > 1 ? argv[1] : NULL, NULL);

	if (err >= 0)
		err = tine_pool_new(&pool, NULL);
	for (long i = 0; i < PARTS; i++)
		part[i] = (struct part){ POINTS, i };
	if (err >= 0)
		err = tine_pool_map(pool, &task, part, inside, PARTS, &opts,
				    TINE_FOREVER);
	tine_pool_free(pool);
	tine_cache_free(opts.cache);
	for (int i = 0; i < PARTS && !err; i++)
		total += inside[i];
	fprintf(err ? stderr : stdout, "pi is about %.6f%s%s\n",
		4.0 * (double)total / PARTS / POINTS, err ? ": " : "",
		err ? tine_strerror(err) : "");
	return err != 0;
}
