/* SPDX-License-Identifier: MIT */
/*
 * Pi from random points: the part of those in the unit square that lie in the quarter of
 * a circle. The points are cut into fixed blocks, each with a random stream of its own,
 * so that the count depends on the seed and on nothing else.
 */
#include "command.h"

#include "base/isa.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <tine.h>
#include <unistd.h>

#define BLOCK  UINT64_C(65536) /* trials, of one stream */
#define BATCH  1024  /* trials at a time: both coordinates fit the first cache */
#define WINDOW 65536 /* blocks in one map */

static struct {
	uint64_t trials, seed;
	unsigned workers;
	bool json, compare;
	const char *cache, *engine;
} options = { .trials = 100000000, .seed = 1 };

struct block {
	uint64_t seed, stream, trials;
};

struct result {
	uint64_t inside, computed; /* blocks that the cache had not */
	double seconds;
	unsigned workers;
};

static tine_cache *cache;
/* In the family's memory, where there is a cache; blocks of which the job ran. */
static uint64_t *computed;

/* Without fused operations, so that all instruction sets count the same. */
static inline __attribute__((always_inline)) uint64_t count(const double *x,
							    const double *y)
{
	uint64_t inside = 0;

	for (int i = 0; i < BATCH; i++)
		inside += x[i] * x[i] + y[i] * y[i] <= 1.0;
	return inside;
}

#define COUNT_BATCH(name, target)                                                        \
	target static uint64_t count_##name(const double *x, const double *y)            \
	{                                                                                \
		return count(x, y);                                                      \
	}

COUNT_BATCH(generic, )
#ifdef __x86_64__
COUNT_BATCH(avx2, __attribute__((target("avx2"))))
COUNT_BATCH(avx512, __attribute__((target("avx512f,avx512dq"))))
#endif

static uint64_t (*const count_batch[ISAS])(const double *x, const double *y) = {
	[ISA_GENERIC] = count_generic,
#ifdef __x86_64__
	[ISA_AVX2] = count_avx2,
	[ISA_AVX512] = count_avx512,
#endif
};

/* A batch is so many x, and then as many y; of the last one a part may be wanted. */
static int count_block(const void *in, void *out)
{
	const struct block *block = in;
	uint64_t inside = 0, left = block->trials;
	_Alignas(64) double points[2 * BATCH];
	double *x = points, *y = points + BATCH;
	enum isa isa = isa_chosen();
	tine_rng rng;

	tine_rng_init(&rng, block->seed, block->stream);
	for (; left > 0; left -= left < BATCH ? left : BATCH) {
		tine_rng_fill(&rng, points, 2 * BATCH);
		/* Points that are not wanted lie outside. */
		for (uint64_t i = left; i < BATCH; i++)
			x[i] = 2;
		inside += count_batch[isa](x, y);
	}
	*(uint64_t *)out = inside;
	/* Relaxed: read once the map has ended. */
	if (computed)
		__atomic_fetch_add(computed, 1, __ATOMIC_RELAXED);
	return 0;
}

/* The name is one among those of other programs in a cache. */
const tine_task pi_task = { .name = "tine-pi",
			    .fn = count_block,
			    .in_size = sizeof(struct block),
			    .out_size = sizeof(uint64_t) };

static uint64_t count_blocks(void)
{
	return (options.trials - 1) / BLOCK + 1;
}

/* Progress over all windows. */
struct progress {
	uint64_t before, blocks;
};

static void show_progress(void *arg, size_t done, size_t total)
{
	const struct progress *progress = arg;

	(void)total;
	tine_progress_bar(NULL, progress->before + done, progress->blocks);
}

static int map_window(tine_pool *pool, struct block *blocks, uint64_t *inside,
		      uint64_t first, uint64_t n, struct progress *progress)
{
	tine_map_opts opts = { .progress = isatty(STDERR_FILENO) ? show_progress : NULL,
			       .progress_arg = progress,
			       .cache = cache };

	for (uint64_t i = 0; i < n; i++) {
		uint64_t from = (first + i) * BLOCK, left = options.trials - from;

		blocks[i] = (struct block){ options.seed, first + i,
					    left < BLOCK ? left : BLOCK };
	}
	return tine_pool_map(pool, &pi_task, blocks, inside, n, &opts, TINE_FOREVER);
}

static int map_all(tine_pool *pool, uint64_t *total)
{
	struct progress progress = { .blocks = count_blocks() };
	uint64_t most = progress.blocks < WINDOW ? progress.blocks : WINDOW;
	struct block *blocks = malloc(most * sizeof(*blocks));
	uint64_t *inside = malloc(most * sizeof(*inside));
	int err = blocks && inside ? 0 : -ENOMEM;

	*total = 0;
	while (err == 0 && progress.before < progress.blocks) {
		uint64_t left = progress.blocks - progress.before,
			 n = left < most ? left : most;

		err = map_window(pool, blocks, inside, progress.before, n, &progress);
		for (uint64_t i = 0; err == 0 && i < n; i++)
			*total += inside[i];
		progress.before += n;
	}
	free(inside);
	free(blocks);
	return err;
}

/* Before there are workers, who inherit it. */
static int prepare_cache(void)
{
	int err;

	if (!options.cache)
		return DONE;
	if (options.compare)
		return complain(USAGE, "pi: --compare and --cache cannot be combined");
	err = open_cache("pi", &cache, options.cache, NULL, NULL);
	if (err)
		return err;
	computed = tine_shared_new(1, sizeof(*computed));
	return computed ? DONE : complain(BROKEN, "pi: %s", tine_strerror(-ENOMEM));
}

static int measure(unsigned workers, struct result *result)
{
	tine_pool_opts opts = { .workers = workers,
				.engine = pool_of_tine(options.engine) };
	int64_t begun = tine_now();
	tine_pool *pool;
	int err = tine_pool_new(&pool, &opts);

	if (err && options.engine)
		return complain_of_engine("pi", options.engine, err);
	if (err)
		return complain(BROKEN, "pi: cannot start %u workers: %s", workers,
				tine_strerror(err));
	err = map_all(pool, &result->inside);
	result->seconds = (double)(tine_now() - begun) / 1e9;
	result->workers = options.engine ? workers_of_engine(options.engine) : workers;
	result->computed = computed ? *computed : 0;
	tine_pool_free(pool);
	if (err)
		return complain(err == -ENOMEM ? BROKEN : SOME_FAILED, "pi: %s",
				tine_strerror(err));
	return DONE;
}

static double pi_of(const struct result *result)
{
	return 4 * ((double)result->inside / (double)options.trials);
}

static void print_estimate(const struct result *result, const struct result *one)
{
	double pi = pi_of(result);
	double error = sqrt(pi * (4 - pi) / (double)options.trials);
	char speed[64];

	printf("pi       %.9f +- %.9f\n", pi, error);
	printf("inside   %llu of %llu trials\n", (unsigned long long)result->inside,
	       (unsigned long long)options.trials);
	printf("workers  %u\n", result->workers);
	printf("seed     %llu\n", (unsigned long long)options.seed);
	printf("seconds  %.6f, %.0f million trials a second\n", result->seconds,
	       (double)options.trials / result->seconds / 1e6);
	if (cache)
		printf("cache    %llu of %llu parts\n",
		       (unsigned long long)(count_blocks() - result->computed),
		       (unsigned long long)count_blocks());
	if (one)
		printf("one      %.6f seconds with one worker; with %u, %s that\n",
		       one->seconds, result->workers,
		       compare_speed(one->seconds / result->seconds, speed,
				     sizeof(speed)));
}

static void print_estimate_json(const struct result *result, const struct result *one)
{
	printf("{\"pi\": %.17g, \"inside\": %llu, \"trials\": %llu, \"workers\": %u, "
	       "\"seed\": %llu, \"seconds\": %.9f",
	       pi_of(result), (unsigned long long)result->inside,
	       (unsigned long long)options.trials, result->workers,
	       (unsigned long long)options.seed, result->seconds);
	if (cache)
		printf(", \"parts\": %llu, \"cached\": %llu",
		       (unsigned long long)count_blocks(),
		       (unsigned long long)(count_blocks() - result->computed));
	if (one)
		printf(", \"seconds_one\": %.9f, \"speedup\": %.4f", one->seconds,
		       one->seconds / result->seconds);
	printf("}\n");
}

static int estimate(void)
{
	unsigned workers = options.workers ? options.workers : tine_cpus();
	struct result result, one;
	int err;

	if (options.compare && (err = measure(1, &one)) != DONE)
		return err;
	err = measure(workers, &result);
	if (err)
		return err;
	if (options.compare && one.inside != result.inside)
		return complain(BROKEN, "pi: one worker counted %llu, %u counted %llu",
				(unsigned long long)one.inside, workers,
				(unsigned long long)result.inside);
	if (options.json)
		print_estimate_json(&result, options.compare ? &one : NULL);
	else
		print_estimate(&result, options.compare ? &one : NULL);
	return DONE;
}

/* Hosts have workers and caches of their own. */
static int check_engine(void)
{
	const char *other = options.workers   ? "workers"
			    : options.compare ? "compare"
			    : options.cache   ? "cache"
					      : NULL;

	return options.engine && other ? complain(USAGE,
						  "pi: --engine and --%s cannot be "
						  "combined",
						  other)
				       : DONE;
}

static int run_pi(int argc, char **argv)
{
	int err = check_engine();

	(void)argc;
	(void)argv;
	err = err ? err : prepare_cache();
	err = err ? err : estimate();
	tine_shared_free(computed);
	tine_cache_free(cache);
	return err;
}

static const struct option_row rows[] = {
	{ "trials", 'n', "TRIALS", read_positive, &options.trials,
	  "a whole number from 1 to 2^64 - 1, such as 1e8 or 100_000_000",
	  "The number of points. Default: 1e8.", NULL },
	WORKERS_ROW(options.workers),
	{ "seed", 's', "SEED", read_seed, &options.seed,
	  "a whole number from 0 to 2^64 - 1, or 0x and up to 16 hexadecimal digits",
	  "The seed of the random numbers. Default: 1.", NULL },
	{ "compare", 'c', NULL, NULL, &options.compare, NULL,
	  "Also run with one worker, and show the time of that.", NULL },
	{ "cache", 0, "DIR", read_text, &options.cache, "the path of a folder",
	  "Use the cache in this folder for the results of blocks.", NULL },
	ENGINE_ROW(options.engine),
	{ "json", 0, NULL, NULL, &options.json, NULL, "Print one JSON object.", NULL },
	TRACE_ROW,
	{ 0 },
};

const struct command pi_command = {
	.name = "pi",
	.summary = "estimate pi from random points with a pool of processes",
	.options = rows,
	.description =
		"Draws points in the unit square and counts the points within the\n"
		"quarter circle.\n"
		"The points are divided into blocks of 65536, and each block uses a\n"
		"random stream of its own, so that the same seed gives the same count\n"
		"with any number of workers, on any machine.\n"
		".Pp\n"
		"With\n"
		".Fl \\-cache\n"
		"the count of each block is kept in a folder, under its seed, stream\n"
		"and number of points, see\n"
		".Xr tine_cache_open 3 .\n"
		"A second run then computes nothing, and a run with more trials\n"
		"computes only the new blocks.\n"
		".Pp\n"
		"Standard output gets pi with its standard error, the number of points\n"
		"inside, the workers, the seed and the seconds.\n"
		"With\n"
		".Fl \\-json\n"
		"it gets an object with the members\n"
		".Li pi , inside , trials , workers , seed\n"
		"and\n"
		".Li seconds .\n"
		"With\n"
		".Fl \\-cache\n"
		"the object also has\n"
		".Li parts ,\n"
		"the number of blocks, and\n"
		".Li cached ,\n"
		"the number of blocks that came from the cache.\n"
		"With\n"
		".Fl \\-compare\n"
		"it also has\n"
		".Li seconds_one\n"
		"and\n"
		".Li speedup .\n",
	.example = "tine pi -n 1e9 -j 4 --seed 7",
	.run = run_pi,
};
