/* SPDX-License-Identifier: MIT */
/*
 * Jobs that are indexes: each alone, or in ranges; and reductions.
 *
 * A reduction has a slot for the result of each leaf, a range whose bounds follow from
 * the number of indexes alone. When all leaves are done, jobs join FAN neighbours into
 * the first of them, from the left to the right, then FAN of those, until one is left:
 * each level is a deal of its own, and the tree is the same whoever does which job. A job
 * that died while it joined has left its slot half done: it is not tried again.
 */
#include "pool/run.h"

#include "base/deadline.h"
#include "base/options.h"
#include "base/self.h"
#include "base/signals.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#define MOST_LEAVES  4096
#define LEAST_LEAVES 16
#define MOST_SLOTS   ((size_t)64 << 20) /* bytes */

static int check_indexes(const struct run *run, const tine_task *task, const void *arg,
			 size_t n)
{
	const tine_map_opts *opts = run->opts;

	if (!run->pool || !task || !ROOM_IS_ZERO(task) || is_no_deadline(run->deadline) ||
	    (n > 0 && !arg && task->in_size))
		return -EINVAL;
	if (opts &&
	    (!ROOM_IS_ZERO(opts) || opts->job_ms < 0 || opts->retry_pause_ms < 0 ||
	     opts->cache || opts->grace_ms || opts->smallest || opts->endings))
		return -EINVAL;
	if (!pool_is_ours(run->pool))
		return -EPERM;
	return run_accept(run->pool, task, !task->each, run->map.work == LEAVES);
}

/* Of a function of whatever kind: what is_mapped() in worker.c looks at. */
static tine_fn *code_of(void (*fn)(void))
{
	return (tine_fn *)fn;
}

/* The argument, which all jobs share, and room for the statuses. */
static int lay_out_indexes(struct run *run, const tine_task *task, const void *arg)
{
	const tine_map_opts *opts = run->opts;
	tine_pool *pool = run->pool;
	void *there = NULL, *status = NULL;
	int err = run_place(run, &pool->in, arg, 1, task->in_size, &there);

	if (!err && opts && (opts->status || opts->retries))
		err = run_place(run, &pool->status,
				opts->status ? (void *)opts->status : "", run->items,
				sizeof(int), &status);
	if (err)
		return err;
	if (there != arg)
		memcpy(there, arg, task->in_size);
	run->map.in = there;
	run->map.status = run->status_there = status;
	run->map.range = task->range;
	if (opts)
		run->map.job_ms = opts->job_ms;
	return run_plan_tries(run);
}

static int result_of(const struct run *run, int failure)
{
	if (!atomic_load(&run->pool->ledger->cancelled))
		return run_failure(run, failure);
	return run->late ? run_late_error(run) : -ECANCELED;
}

static void tell_end(const struct run *run)
{
	const tine_map_opts *opts = run->opts;

	if (opts && opts->progress)
		opts->progress(opts->progress_arg, run->items - run->total + run->base,
			       run->items);
	run_tell_failure(run);
}

static void fill_status(const struct run *run, int status)
{
	for (size_t i = 0; run->opts && run->opts->status && i < run->items; i++)
		run->opts->status[i] = status;
}

static int do_for(struct run *run, const tine_task *task, const void *arg)
{
	const tine_map_opts *opts = run->opts;
	struct map *map = &run->map;
	int failure = 0, err = lay_out_indexes(run, task, arg);

	if (err)
		return err;
	map->work = task->each ? EACH : RANGES;
	map->each = task->each;
	map->fn = code_of(task->each ? (void (*)(void))task->each
				     : (void (*)(void))task->range);
	if (opts)
		map->chunk = opts->chunk < MAX_JOBS ? opts->chunk : MAX_JOBS;
	map->in_order = map->chunk == 1;
	run->total = run->items;
	err = run_label(run, task);
	if (err)
		return err;
	run_begin_trace(run, task);
	err = run_work(run, &failure);
	if (err) {
		fill_status(run, err);
		return err;
	}
	if (opts && opts->status && opts->status != run->status_there)
		memcpy(opts->status, run->status_there, run->items * sizeof(int));
	tell_end(run);
	return result_of(run, failure);
}

int tine_pool_for(tine_pool *pool, const tine_task *task, const void *arg, size_t n,
		  const tine_map_opts *opts, int64_t deadline)
{
	struct run run = { .pool = pool, .opts = opts, .items = n, .deadline = deadline };
	int err = check_indexes(&run, task, arg, n);

	run.found = run.failure.index = SIZE_MAX;
	if (err)
		return err;
	if (!task->each && !task->range)
		return -EINVAL;
	if (n == 0 || deadline <= tine_now()) {
		fill_status(&run, -ECANCELED);
		run_tell_failure(&run);
		return n > 0 ? -ETIMEDOUT : 0;
	}
	err = run_begin(pool);
	if (err)
		return err;
	err = do_for(&run, task, arg);
	run_end(pool, err);
	return err;
}

/* ---- reductions -------------------------------------------------------------------- */

static size_t count_leaves(const tine_task *task, size_t n, size_t chunk)
{
	size_t most = MOST_SLOTS / task->out_size;
	size_t wanted = chunk ? n / chunk + (n % chunk > 0) : MOST_LEAVES;

	if (most > MOST_LEAVES)
		most = MOST_LEAVES;
	if (most < LEAST_LEAVES)
		most = LEAST_LEAVES;
	wanted = wanted < most ? wanted : most;
	return wanted < n ? wanted : n;
}

/* A level of the tree: 0, or what has ended the reduction. */
static int do_level(struct run *run, size_t jobs)
{
	int failure = 0, err;

	run->total = jobs;
	run->base = run->map.first = 0;
	err = run_work(run, &failure);
	return err ? err : result_of(run, failure);
}

/* Where the slots are: those who did the leaves are elsewhere. */
struct joining {
	const struct run *run;
	char *slots;
};

/* In a process of its own, as jobs would: all that dies of a join is that. */
static int join_all(void *arg, int lifeline)
{
	const struct joining *joining = arg;
	const struct run *run = joining->run;
	size_t size = run->map.out_size, leaves = run->map.leaves;
	char *slots = joining->slots;

	child_tie(lifeline);
	prctl(PR_SET_NAME, "tine-join");
	/* What a terminal sends to all is the caller's to answer. */
	block_signals(NULL);
	for (size_t step = 1; step < leaves; step *= FAN)
		for (size_t first = 0; first < leaves; first += FAN * step)
			for (size_t slot = first + step;
			     slot < leaves && slot < first + FAN * step; slot += step)
				run->map.join(slots + first * size, slots + slot * size);
	atomic_store(&run->pool->ledger->joined, 1);
	return 0;
}

static bool join_is_wanted(struct run *run)
{
	run->late = run->cut || tine_now() >= run->deadline;
	return !run->late && !atomic_load(&run->pool->ledger->cancelled);
}

static void note_joins_death(struct run *run, tine_exit how)
{
	run->failure.deaths++;
	if (run->failure.index != SIZE_MAX)
		return;
	run->failure.index = 0;
	run->failure.status = -TINE_ECRASH;
	run->failure.how = how;
}

/* Its death is told as that of a worker. */
static int join_here(struct run *run, char *slots)
{
	struct joining joining = { run, slots };
	tine_exit how = { .code = -1 };
	struct child child;
	int err;

	atomic_store(&run->pool->ledger->joined, 0);
	err = child_start(&child, join_all, &joining);
	if (err)
		return err;
	atomic_store(&run->pool->mapping, true);
	do {
		int64_t glance = tine_now() + GLANCE;

		/* Bound: a glance, or the deadline. */
		err = child_await(&child, &how,
				  glance < run->deadline ? glance : run->deadline);
		run->cut = err == -EINTR;
	} while ((err == -ETIMEDOUT || err == -EINTR) && join_is_wanted(run));
	atomic_store(&run->pool->mapping, false);
	if (err == -ETIMEDOUT || err == -EINTR) {
		err = run->late ? run_late_error(run) : -ECANCELED;
		kill(child.pid, SIGKILL);
		/* Bound: a child that was just killed by SIGKILL. */
		child_wait(&child, NULL, TINE_FOREVER);
	} else {
		err = atomic_load(&run->pool->ledger->joined) ? 0 : -TINE_ECRASH;
	}
	child_release(&child);
	if (err == -TINE_ECRASH)
		note_joins_death(run, how);
	return err;
}

static int do_reduce(struct run *run, const tine_task *task, const void *arg, void *out)
{
	struct map *map = &run->map;
	void *slots;
	int err = lay_out_indexes(run, task, arg);

	/* Not in out itself, though it may be the family's. */
	if (!err)
		err = run_place(run, &run->pool->out, "", map->leaves, task->out_size,
				&slots);
	if (!err)
		err = run_label(run, task);
	if (err)
		return err;
	map->work = LEAVES;
	map->fn = code_of((void (*)(void))task->range);
	map->out = slots;
	map->out_size = task->out_size;
	run_begin_trace(run, task);
	err = do_level(run, map->leaves);
	map->work = JOINS;
	map->fn = code_of((void (*)(void))task->join);
	map->join = task->join;
	map->retries = run->rounds = 0;
	map->later = false;
	map->status = NULL;
	if (!err && run->pool->elsewhere)
		err = join_here(run, slots);
	for (map->step = run->pool->elsewhere ? map->leaves : 1;
	     !err && map->step < map->leaves; map->step *= FAN) {
		map->out = slots;
		err = do_level(run, (map->leaves - 1) / (map->step * FAN) + 1);
	}
	run->base = run->total = run->items;
	tell_end(run);
	if (!err)
		memcpy(out, slots, task->out_size);
	return err;
}

int tine_pool_reduce(tine_pool *pool, const tine_task *task, const void *arg, size_t n,
		     void *out, const tine_map_opts *opts, int64_t deadline)
{
	struct run run = { .pool = pool, .opts = opts, .deadline = deadline };
	int err;

	run.map.work = LEAVES;
	err = check_indexes(&run, task, arg, n);
	run.found = run.failure.index = SIZE_MAX;
	if (err)
		return err;
	if (!task->range || !task->join || !out || !task->out_size ||
	    (opts && opts->status))
		return -EINVAL;
	run.items = run.map.leaves = count_leaves(task, n, opts ? opts->chunk : 0);
	run.map.n = n;
	if (n == 0 || deadline <= tine_now()) {
		if (n == 0)
			memset(out, 0, task->out_size);
		run_tell_failure(&run);
		return n > 0 ? -ETIMEDOUT : 0;
	}
	err = run_begin(pool);
	if (err)
		return err;
	err = do_reduce(&run, task, arg, out);
	run_end(pool, err);
	return err;
}
