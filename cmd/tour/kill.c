/* SPDX-License-Identifier: MIT */
/* The lesson on death: a worker is killed from outside in the middle of a job. */
#include "tour.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <tine.h>
#include <unistd.h>

enum { PARTS = 1000 };

/* In the family's memory. */
static struct scene {
	_Atomic uint64_t begun; /* jobs */
	_Atomic pid_t in_job;	/* who began one last */
	_Atomic int64_t killed;
	_Atomic pid_t victim;
} * scene;

struct part {
	uint64_t stream, points;
};

static int points_inside(const void *in, void *out)
{
	const struct part *part = in;
	uint64_t inside = 0;
	tine_rng rng;

	if (scene) {
		atomic_store(&scene->in_job, getpid());
		atomic_fetch_add(&scene->begun, 1);
	}
	tine_rng_init(&rng, 42, part->stream);
	for (uint64_t i = 0; i < part->points; i++) {
		double x = tine_rng_double(&rng), y = tine_rng_double(&rng);

		inside += x * x + y * y <= 1;
	}
	*(uint64_t *)out = inside;
	return 0;
}

static const tine_task task = TINE_TASK(points_inside, struct part, uint64_t);

/* [killer] */
/* A process that waits until half of the jobs have begun, and kills a worker in one. */
static int kill_one(void *arg)
{
	(void)arg;
	while (atomic_load(&scene->begun) < PARTS / 2)
		usleep(100);
	atomic_store(&scene->victim, atomic_load(&scene->in_job));
	atomic_store(&scene->killed, tine_now());
	return kill(atomic_load(&scene->victim), SIGKILL) != 0;
}
/* [end] */

/* [map] */
static int map(unsigned workers, const struct part *part, uint64_t *inside,
	       tine_failure *first)
{
	/* A job whose worker died is given to another, up to three times. */
	tine_map_opts opts = { .retries = 3, .failure = first };
	tine_pool_opts pool_opts = { .workers = workers };
	tine_pool *pool;
	int err = tine_pool_new(&pool, &pool_opts);

	if (err)
		return err;
	err = tine_pool_map(pool, &task, part, inside, PARTS, &opts, TINE_FOREVER);
	tine_pool_free(pool);
	return err;
}
/* [end] */

static int count(struct tour_run *run, unsigned workers)
{
	struct part part[PARTS];
	uint64_t inside[PARTS];
	tine_failure first = { 0 };
	int64_t begun = tine_now();
	int err = 0;

	for (uint64_t i = 0; i < PARTS; i++)
		part[i] = (struct part){ i, run->numbers[0] / PARTS };
	if (workers)
		err = map(workers, part, inside, &first);
	for (int i = 0; i < PARTS && !workers; i++)
		points_inside(&part[i], &inside[i]);
	if (err)
		return err;
	run->seconds = (double)(tine_now() - begun) / 1e9;
	run->has_answer = true;
	for (int i = 0; i < PARTS; i++)
		run->answer += inside[i];
	if (!scene)
		return 0;
	run->died = (double)(atomic_load(&scene->killed) - begun) / 1e9;
	snprintf(run->note, sizeof(run->note), "worker %d was killed after %.3f s, %s",
		 (int)atomic_load(&scene->victim), run->died,
		 first.deaths ? "in a job, which was done again" : "between two jobs");
	return 0;
}

static int one(struct tour_run *run)
{
	return count(run, 0);
}

static int undisturbed(struct tour_run *run)
{
	return count(run, run->workers);
}

static int disturbed(struct tour_run *run)
{
	tine_process_opts opts = { .name = "killer" };
	tine_process *killer;
	int err;

	scene = tine_shared_new(1, sizeof(*scene));
	if (!scene)
		return -ENOMEM;
	err = tine_process_start(&killer, kill_one, NULL, &opts);
	if (err)
		return err;
	err = count(run, run->workers);
	tine_process_free(killer);
	return err;
}

static const char *const parts[] = { "killer", "map", NULL };

static const struct tour_program programs[] = {
	{ .id = "one",
	  .name = "one process",
	  .shows = "The loop of the first lesson.",
	  .run = one },
	{ .id = "undisturbed",
	  .name = "%w",
	  .shows = "A pool, and nobody dies.",
	  .run = undisturbed },
	{ .id = "killed",
	  .name = "%w, one of them killed",
	  .shows = "kill -9 in the middle of a job: another process takes its place, the "
		   "job is "
		   "done again, and the sum is the same.",
	  .run = disturbed,
	  .timeline = true },
	{ .id = "python-pool",
	  .name = "Python, multiprocessing.Pool, one killed",
	  .shows = "The result of the dead never comes.",
	  .script = "kill",
	  .way = "pool",
	  .once = true },
	{ .id = "python-executor",
	  .name = "Python, ProcessPoolExecutor, one killed",
	  .shows = "All that was not done yet is given up.",
	  .script = "kill",
	  .way = "executor",
	  .once = true },
	{ 0 },
};

const struct tour_lesson tour_kill = {
	.id = "kill",
	.title = "A worker is killed",
	.text = "Processes die: of a bug, of a want of memory, by an impatient hand. A "
		"pool knows which job each worker is in, sees a death at once, and loses "
		"nothing else.",
	.work = "100000000",
	.quick = "10000000",
	.unit = "%s points in 1,000 parts",
	.source = "kill.c",
	.parts = parts,
	.programs = programs,
};
