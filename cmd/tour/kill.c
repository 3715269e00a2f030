/* SPDX-License-Identifier: MIT */
/* The lesson on death: a worker is killed from outside in the middle of a job. */
#include "tour/pi.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <tine.h>
#include <unistd.h>

/* In the family's memory. */
static struct scene {
	_Atomic uint64_t begun; /* jobs */
	_Atomic pid_t in_job;	/* who began one last */
	_Atomic int64_t killed;
	_Atomic pid_t victim;
} * scene;

static int points_of_scene(const void *in, void *out)
{
	if (scene) {
		atomic_store(&scene->in_job, getpid());
		atomic_fetch_add(&scene->begun, 1);
	}
	return points_inside(in, out);
}

static const tine_task task = TINE_TASK(points_of_scene, struct part, uint64_t);

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
static int map_again(unsigned workers, const tine_task *job, const struct part *part,
		     uint64_t *inside, void *first_failure)
{
	/* A job whose worker died is given to another, up to three times. */
	tine_map_opts opts = { .retries = 3, .failure = first_failure };
	tine_pool_opts pool_opts = { .workers = workers };
	tine_pool *pool;
	int err = tine_pool_new(&pool, &pool_opts);

	if (err)
		return err;
	err = tine_pool_map(pool, job, part, inside, PARTS, &opts, TINE_FOREVER);
	tine_pool_free(pool);
	return err;
}
/* [end] */

static int count_killed(struct tour_run *run, unsigned workers)
{
	tine_failure first = { 0 };
	int64_t begun = tine_now();
	int err = count_points(run, workers, &task, map_again, &first);

	if (err || !scene)
		return err;
	run->died = (double)(atomic_load(&scene->killed) - begun) / 1e9;
	snprintf(run->note, sizeof(run->note), "worker %d was killed after %.3f s, %s",
		 (int)atomic_load(&scene->victim), run->died,
		 first.deaths ? "in a job, which was done again" : "between two jobs");
	return 0;
}

static int one(struct tour_run *run)
{
	return count_killed(run, 0);
}

static int undisturbed(struct tour_run *run)
{
	return count_killed(run, run->workers);
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
	err = count_killed(run, run->workers);
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
	  .shows = "A pool, and no worker dies.",
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
	{ .id = "tine-pool",
	  .name = "Python -m tine, Pool, one killed",
	  .shows = "The same program over tine: one task has failed.",
	  .script = "kill",
	  .way = "pool",
	  .over_tine = true,
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
	.chapter = "25-killed",
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
