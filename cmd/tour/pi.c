/* SPDX-License-Identifier: MIT */
/* Lessons on pi from random points: a pool, a cache, vectors, and streams of numbers. */
#include "tour/pi.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <tine.h>

/* [points] */
int points_inside(const void *in, void *out)
{
	const struct part *part = in;
	uint64_t inside = 0;
	tine_rng rng;

	tine_rng_init(&rng, 42, part->stream);
	for (uint64_t i = 0; i < part->points; i++) {
		double x = tine_rng_double(&rng), y = tine_rng_double(&rng);

		inside += x * x + y * y <= 1;
	}
	*(uint64_t *)out = inside;
	return 0;
}
/* [end] */

/* [vectors] */
enum { BATCH = 1024 };

static int points_inside_by_vectors(const void *in, void *out)
{
	const struct part *part = in;
	uint64_t inside = 0;
	double x[BATCH], y[BATCH];
	tine_rng rng;

	tine_rng_init(&rng, 42, part->stream);
	for (uint64_t left = part->points, n; left > 0; left -= n) {
		n = left < BATCH ? left : BATCH;
		tine_rng_fill(&rng, x, n);
		tine_rng_fill(&rng, y, n);
		for (uint64_t i = 0; i < n; i++)
			inside += x[i] * x[i] + y[i] * y[i] <= 1;
	}
	*(uint64_t *)out = inside;
	return 0;
}
/* [end] */

static const tine_task by_points = TINE_TASK(points_inside, struct part, uint64_t);
static const tine_task by_vectors = TINE_TASK(points_inside_by_vectors, struct part,
					      uint64_t);

/* [map] */
static int map(unsigned workers, const tine_task *task, const struct part *part,
	       uint64_t *inside, void *cache)
{
	tine_pool_opts pool_opts = { .workers = workers };
	tine_map_opts opts = { .cache = cache };
	tine_pool *pool;
	int err = tine_pool_new(&pool, &pool_opts);

	if (err)
		return err;
	err = tine_pool_map(pool, task, part, inside, PARTS, &opts, TINE_FOREVER);
	tine_pool_free(pool);
	return err;
}
/* [end] */

/* [loop] */
static int loop(const tine_task *task, const struct part *part, uint64_t *inside)
{
	for (int i = 0; i < PARTS; i++)
		task->fn(&part[i], &inside[i]);
	return 0;
}
/* [end] */

int count_points(struct tour_run *run, unsigned workers, const tine_task *task,
		 parts_map *map_parts, void *arg)
{
	struct part part[PARTS];
	uint64_t inside[PARTS];
	int64_t begun = tine_now();
	int err;

	for (uint64_t i = 0; i < PARTS; i++)
		part[i] = (struct part){ i, run->numbers[0] / PARTS };
	err = workers ? map_parts(workers, task, part, inside, arg)
		      : loop(task, part, inside);
	if (err)
		return err;
	run->seconds = (double)(tine_now() - begun) / 1e9;
	run->has_answer = true;
	for (int i = 0; i < PARTS; i++)
		run->answer += inside[i];
	return 0;
}

static int count(struct tour_run *run, unsigned workers, const tine_task *task,
		 tine_cache *cache)
{
	uint64_t points = run->numbers[0] / PARTS * PARTS;
	int err = count_points(run, workers, task, map, cache);

	if (err)
		return err;
	run->has_answer = task == &by_points;
	snprintf(run->note, sizeof(run->note), "pi is about %.6f",
		 4 * (double)run->answer / (double)points);
	return 0;
}

static int one(struct tour_run *run)
{
	return count(run, 0, &by_points, NULL);
}

static int all(struct tour_run *run)
{
	return count(run, run->workers, &by_points, NULL);
}

static int one_by_vectors(struct tour_run *run)
{
	return count(run, 0, &by_vectors, NULL);
}

static int all_by_vectors(struct tour_run *run)
{
	return count(run, run->workers, &by_vectors, NULL);
}

/* ---- the cache --------------------------------------------------------------------- */

static int count_cached(struct tour_run *run, bool cold)
{
	/* [cache] */
	char folder[4096];
	tine_cache *cache;
	int err;

	snprintf(folder, sizeof(folder), "%s/cache", run->folder);
	err = tine_cache_open(&cache, folder, NULL);
	if (err < 0)
		return err;
	if (cold)
		tine_cache_clear(cache, &by_points);
	err = count(run, run->workers, &by_points, cache);
	tine_cache_free(cache);
	return err;
	/* [end] */
}

static int cold(struct tour_run *run)
{
	return count_cached(run, true);
}

static int warm(struct tour_run *run)
{
	return count_cached(run, false);
}

/* ---- streams ----------------------------------------------------------------------- */

struct job {
	struct part part;
	uint64_t inside;
	bool own;
};

/* [streams] */
/* A generator in the program's memory: each process that is forked has a copy of it. */
static tine_rng inherited;

static int draw(void *arg)
{
	struct job *job = arg;
	tine_rng own, *rng = &inherited;

	if (job->own) {
		tine_rng_init(&own, 42, job->part.stream);
		rng = &own;
	}
	for (uint64_t i = 0; i < job->part.points; i++) {
		double x = tine_rng_double(rng), y = tine_rng_double(rng);

		job->inside += x * x + y * y <= 1;
	}
	return 0;
}

static int draw_in_processes(struct job *jobs)
{
	tine_process *processes[TOUR_JOBS] = { NULL };
	tine_exit how = { 0 };
	int err = 0;

	tine_rng_init(&inherited, 42, 0);
	for (int i = 0; i < TOUR_JOBS && !err; i++)
		err = tine_process_start(&processes[i], draw, &jobs[i], NULL);
	for (int i = 0; i < TOUR_JOBS && !err && how.code == 0; i++)
		err = tine_process_wait(processes[i], &how, TINE_FOREVER);
	for (int i = 0; i < TOUR_JOBS; i++)
		tine_process_free(processes[i]);
	return err ? err : how.code ? -TINE_ECRASH : 0;
}
/* [end] */

static unsigned distinct(const struct job *jobs)
{
	unsigned n = 0;

	for (int i = 0; i < TOUR_JOBS; i++) {
		bool seen = false;

		for (int j = 0; j < i; j++)
			seen |= jobs[j].inside == jobs[i].inside;
		n += !seen;
	}
	return n;
}

static void tell_estimates(struct tour_run *run, const struct job *jobs, uint64_t points)
{
	unsigned different = distinct(jobs);
	double pi = 0;

	run->jobs = TOUR_JOBS;
	for (int i = 0; i < TOUR_JOBS; i++) {
		run->estimates[i] = 4 * (double)jobs[i].inside / (double)points;
		pi += run->estimates[i] / TOUR_JOBS;
		run->answer += jobs[i].inside;
	}
	snprintf(run->note, sizeof(run->note),
		 "%u different estimate%s of %d: pi is about %.6f, off by %.6f",
		 different, different == 1 ? "" : "s", TOUR_JOBS, pi, fabs(pi - M_PI));
}

static int estimate(struct tour_run *run, bool own, bool processes)
{
	struct job *jobs = tine_shared_new(TOUR_JOBS, sizeof(*jobs));
	uint64_t points = run->numbers[0] / TOUR_JOBS;
	int64_t begun = tine_now();
	int err = jobs ? 0 : -ENOMEM;

	for (uint64_t i = 0; i < TOUR_JOBS && !err; i++)
		jobs[i] = (struct job){ { i, points }, 0, own };
	if (processes && !err)
		err = draw_in_processes(jobs);
	for (int i = 0; i < TOUR_JOBS && !processes && !err; i++)
		draw(&jobs[i]);
	if (!err) {
		run->seconds = (double)(tine_now() - begun) / 1e9;
		tell_estimates(run, jobs, points);
		run->has_answer = own;
	}
	tine_shared_free(jobs);
	return err;
}

static int streams_in_one(struct tour_run *run)
{
	return estimate(run, true, false);
}

static int streams_inherited(struct tour_run *run)
{
	return estimate(run, false, true);
}

static int streams_of_own(struct tour_run *run)
{
	return estimate(run, true, true);
}

/* ---- the lessons ------------------------------------------------------------------- */

static const char *const pi_parts[] = { "points", "map", NULL };

static const struct tour_program pi_programs[] = {
	{ .id = "one",
	  .name = "one process",
	  .shows = "A loop, as one writes it first.",
	  .run = one },
	{ .id = "pool",
	  .name = "%w",
	  .shows = "The same parts as jobs of a pool, and the same sum: each has a "
		   "random stream "
		   "of "
		   "its own, in any worker.",
	  .run = all,
	  .timeline = true },
	{ .id = "python-one",
	  .name = "Python, one process",
	  .shows = "The notebook's loop.",
	  .script = "pi",
	  .way = "one",
	  .once = true },
	{ .id = "python-pool",
	  .name = "Python, multiprocessing, %p",
	  .shows = "multiprocessing.Pool, with one part for each process.",
	  .script = "pi",
	  .way = "pool",
	  .once = true },
	{ .id = "tine-pool",
	  .name = "Python -m tine, multiprocessing, %p",
	  .shows = "The same program over tine.",
	  .script = "pi",
	  .way = "pool",
	  .over_tine = true,
	  .once = true },
	{ .id = "python-joblib",
	  .name = "Python, joblib, %p",
	  .shows = "joblib.Parallel.",
	  .script = "pi",
	  .way = "joblib",
	  .once = true },
	{ 0 },
};

const struct tour_lesson tour_pi = {
	.id = "pi",
	.title = "Pi from random points",
	.chapter = "05-pool",
	.text = "Of random points in a square, pi/4 lie in the quarter of a circle. "
		"Nothing is shared, so it is the best case for processes: what they add "
		"is their start, and handing out the parts.",
	.work = "100000000",
	.quick = "5000000",
	.unit = "%s points in 1,000 parts",
	.source = "pi.c",
	.parts = pi_parts,
	.programs = pi_programs,
};

static const char *const cache_parts[] = { "cache", "map", NULL };

static const struct tour_program cache_programs[] = {
	{ .id = "one",
	  .name = "one process, no cache",
	  .shows = "The loop again.",
	  .run = one },
	{ .id = "cold",
	  .name = "%w, an empty cache",
	  .shows = "Computes everything, and keeps the result of each part in a folder.",
	  .run = cold },
	{ .id = "warm",
	  .name = "%w, a full cache",
	  .shows = "The same call again: nothing is computed, all is read.",
	  .run = warm },
	{ .id = "python-cold",
	  .name = "Python, joblib, an empty cache",
	  .shows = "joblib.Memory around the loop.",
	  .script = "cache",
	  .way = "cold",
	  .once = true },
	{ .id = "python-warm",
	  .name = "Python, joblib, a full cache",
	  .shows = "The same call again, from its pickles.",
	  .script = "cache",
	  .way = "warm",
	  .once = true },
	{ 0 },
};

const struct tour_lesson tour_cache = {
	.id = "cache",
	.title = "Results that are kept",
	.chapter = "07-cache",
	.text = "A pool with a cache computes what is not there yet, once, and takes the "
		"rest from disk, in this run or in a later one. The number of the random "
		"stream is part of the input, so that no two parts are taken for one.",
	.work = "100000000",
	.quick = "5000000",
	.unit = "%s points in 1,000 parts",
	.source = "pi.c",
	.parts = cache_parts,
	.programs = cache_programs,
};

static const char *const vector_parts[] = { "vectors", NULL };

static const struct tour_program vector_programs[] = {
	{ .id = "one",
	  .name = "one process, point by point",
	  .shows = "The loop again.",
	  .run = one },
	{ .id = "one-vectors",
	  .name = "one process, by vectors",
	  .shows = "Numbers are drawn and points counted a thousand at a time, so that "
		   "the "
		   "processor does eight or more at once.",
	  .run = one_by_vectors },
	{ .id = "vectors",
	  .name = "%w, by vectors",
	  .shows = "Both together. The faster the jobs, the more the start of the "
		   "processes "
		   "shows.",
	  .run = all_by_vectors,
	  .timeline = true },
	{ .id = "python-numpy",
	  .name = "Python, numpy and joblib, %p",
	  .shows = "Whole arrays of points, by numpy's vectors.",
	  .script = "vectors",
	  .way = "numpy",
	  .once = true },
	{ 0 },
};

const struct tour_lesson tour_vectors = {
	.id = "vectors",
	.title = "Pi by vectors",
	.chapter = "09-vectors",
	.text = "Before a loop is given to more processes, let one do it well. What "
		"numpy "
		"does for Python, tine_rng_fill() and the compiler do here.",
	.work = "100000000",
	.quick = "5000000",
	.unit = "%s points in 1,000 parts",
	.source = "pi.c",
	.parts = vector_parts,
	.programs = vector_programs,
};

static const char *const stream_parts[] = { "streams", NULL };

static const struct tour_program stream_programs[] = {
	{ .id = "one",
	  .name = "one process",
	  .shows = "Sixteen streams, one after the other.",
	  .run = streams_in_one },
	{ .id = "inherited",
	  .name = "16 processes, one generator (wrong)",
	  .shows = "Each forked process has a copy of one generator: all draw the same "
		   "points, "
		   "and "
		   "fifteen work in vain.",
	  .run = streams_inherited },
	{ .id = "own",
	  .name = "16 processes, a stream each (right)",
	  .shows = "A stream for each job, by its number: the same points as in one "
		   "process.",
	  .run = streams_of_own,
	  .timeline = true },
	{ .id = "python-inherited",
	  .name = "Python, numpy, inherited (wrong)",
	  .shows = "numpy's generator, which forked workers inherit.",
	  .script = "streams",
	  .way = "same",
	  .once = true },
	{ .id = "python-own",
	  .name = "Python, numpy, spawned (right)",
	  .shows = "A SeedSequence that is spawned for each job.",
	  .script = "streams",
	  .way = "own",
	  .once = true },
	{ 0 },
};

const struct tour_lesson tour_streams = {
	.id = "streams",
	.title = "Why each stream of random numbers must differ",
	.chapter = "08-streams",
	.text = "Sixteen jobs estimate pi. If they draw the same numbers, they make the "
		"same estimate, and their mean is no better than one of them, whatever "
		"it says of its error.",
	.work = "16000000",
	.quick = "1600000",
	.unit = "%s points in 16 jobs",
	.source = "pi.c",
	.parts = stream_parts,
	.programs = stream_programs,
};
