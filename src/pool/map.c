/* SPDX-License-Identifier: MIT */
/* A map and a search: lays out what the jobs need, and brings the results home. */
#include "pool/run.h"

#include "base/deadline.h"
#include "base/options.h"
#include "memory/heap.h"
#include "pool/cached.h"

#include <errno.h>
#include <string.h>

#define PIECE	   ((size_t)8 << 20) /* bytes; and jobs, for each worker at least */
#define PIECE_JOBS 64

/*
 * How many jobs a deal has, where all items do not go through the stages at once; or 0.
 */
static size_t piece_of(const struct run *run, const tine_task *task, const void *in,
		       const void *out)
{
	size_t n = run->items, jobs, size = 0, len,
	       least = (size_t)PIECE_JOBS * run->pool->ledger->workers;

	/* Searches and caches have to do with all jobs, and hosts hold what they have. */
	if (run->map.search || (run->opts && run->opts->cache) || run->pool->elsewhere ||
	    __builtin_mul_overflow(n, task->in_size + task->out_size, &len) ||
	    len > shared_span())
		return 0;
	if (task->in_size && !shared_has(in, task->in_size))
		size += task->in_size;
	if (task->out_size && !shared_has(out, task->out_size))
		size += task->out_size;
	jobs = size ? PIECE / size : n;
	jobs = jobs < least ? least : jobs;
	return n / 4 > jobs ? jobs : 0;
}

static int check_map(const tine_pool *pool, const tine_task *task, const void *in,
		     const void *out, size_t n, const tine_map_opts *opts)
{
	if (!pool || !task || !pool_can_call(pool, task) || !ROOM_IS_ZERO(task) ||
	    (opts && !ROOM_IS_ZERO(opts)))
		return -EINVAL;
	if (opts && (opts->job_ms < 0 || opts->grace_ms < 0 || opts->retry_pause_ms < 0 ||
		     (opts->cache && !task->name)))
		return -EINVAL;
	if (n > 0 && ((!in && task->in_size) || (!out && task->out_size)))
		return -EINVAL;
	if (!pool_is_ours(pool))
		return -EPERM;
	return run_accept(pool, task, false, false);
}

static void all_status(const tine_map_opts *opts, size_t n, int status)
{
	for (size_t i = 0; opts && opts->status && i < n; i++)
		opts->status[i] = status;
	if (opts && opts->endings)
		memset(opts->endings, 0, n * sizeof(tine_ending));
}

/* Where the n statuses go: NULL, where nobody wants to know. */
static int place_status(struct run *run, int **there)
{
	const tine_map_opts *opts = run->opts;
	void *placed = NULL;
	int err = 0;

	if (opts && opts->status)
		err = run_place(run, &run->pool->status, opts->status, run->items,
				sizeof(int), &placed);
	else if (opts && (opts->retries || opts->cache))
		err = run_place(run, &run->pool->status, "", run->items, sizeof(int),
				&placed);
	*there = placed;
	return err;
}

/* What has a status is known; jobs that are to be done, and others alike, have not. */
static void note_cached(const struct run *run)
{
	const struct map *map = &run->map;

	for (size_t i = 0; map->endings && i < run->items; i++)
		map->endings[i].cached = map->status[i] != -ECANCELED;
}

/* Takes from the cache what it has; the rest is dealt. */
static int plan_jobs(struct run *run, const tine_task *task)
{
	tine_cache *cache = run->opts->cache;
	tine_pool *pool = run->pool;
	struct map *map = &run->map;
	struct plan *plan = &run->plan;
	int err;

	if (run->items > UINT32_MAX)
		return -EINVAL;
	err = stage_reserve(&pool->items, run->items * sizeof(uint32_t), run->deadline);
	if (!err)
		err = stage_reserve(&pool->cached, cached_size(cache, task),
				    run->deadline);
	if (err)
		return err;
	err = plan_make(plan, cache, task, map->in, map->out, run->items, map->status,
			pool->items.mem);
	if (err)
		return err;
	cached_fill(pool->cached.mem, cache, task);
	map->cached = pool->cached.mem;
	map->items = plan->items;
	run->total = plan->jobs;
	note_cached(run);
	if (!map->search || plan->found == run->items)
		return 0;
	run->found = plan->found;
	run->total = 0;
	while (map->least && run->total < plan->jobs &&
	       plan->items[run->total] < plan->found)
		run->total++;
	return 0;
}

/* Where the jobs find what the caller has, and where they put their results. */
static int lay_out(struct run *run, const tine_task *task, const void *in, void *out)
{
	const tine_map_opts *opts = run->opts;
	tine_pool *pool = run->pool;
	struct map *map = &run->map;
	size_t n = run->items, staged;
	void *in_there;
	int err;

	run->piece = piece_of(run, task, in, out);
	staged = run->piece ? run->piece : n;
	if ((err = run_place(run, &pool->in, in, staged, task->in_size, &in_there)) !=
		    0 ||
	    (err = run_place(run, &pool->out, out, staged, task->out_size,
			     &run->out_there)) != 0 ||
	    (err = place_status(run, &run->status_there)) != 0)
		return err;
	if (run->piece && in_there != in)
		run->in_home = in;
	else if (in_there != in)
		memcpy(in_there, in, n * task->in_size);
	if (run->piece && run->out_there != out)
		run->out_home = out;
	if (opts && opts->endings) {
		err = run_place(run, &pool->endings, opts->endings, n,
				sizeof(tine_ending), &run->endings_there);
		if (err)
			return err;
		map->endings = run->endings_there;
		memset(map->endings, 0, n * sizeof(tine_ending));
	}
	map->fn = task->fn;
	map->in = in_there;
	map->out = run->out_there;
	map->status = run->status_there;
	map->in_size = task->in_size;
	map->out_size = task->out_size;
	if (opts) {
		map->chunk = opts->chunk < MAX_JOBS ? opts->chunk : MAX_JOBS;
		map->job_ms = opts->job_ms;
		map->least = opts->smallest;
	}
	/* Hits are likelier soon than late. */
	map->in_order = map->search || map->chunk == 1;
	run->total = n;
	err = run_plan_tries(run);
	return err ? err : run_label(run, task);
}

static void bring_home(const struct run *run, const tine_task *task, void *out)
{
	const tine_map_opts *opts = run->opts;
	size_t n = run->items;

	if (out != run->out_there && !run->out_home)
		memcpy(out, run->out_there, n * task->out_size);
	if (opts && opts->status && opts->status != run->status_there)
		memcpy(opts->status, run->status_there, n * sizeof(int));
	if (opts && opts->endings && opts->endings != run->endings_there)
		memcpy(opts->endings, run->endings_there, n * sizeof(tine_ending));
	if (opts && opts->progress)
		opts->progress(opts->progress_arg, n - run->total + run->base, n);
	run_tell_failure(run);
}

static int prepare_map(struct run *run, const tine_task *task, const void *in, void *out)
{
	int err = lay_out(run, task, in, out);

	if (err)
		return err;
	run_begin_trace(run, task);
	return run->opts && run->opts->cache ? plan_jobs(run, task) : 0;
}

static int run_map(struct run *run, const tine_task *task, const void *in, void *out)
{
	tine_pool *pool = run->pool;
	int failure = 0, err = prepare_map(run, task, in, out);

	if (err == -ETIMEDOUT)
		all_status(run->opts, run->items, -ECANCELED);
	if (err)
		goto trim;
	err = run_work(run, &failure);
	if (err) {
		all_status(run->opts, run->items, err);
		goto trim;
	}
	if (run->map.cached)
		plan_settle(&run->plan, task, run->out_there, run->status_there);
	bring_home(run, task, out);
	err = run_failure(run, failure);
	if (atomic_load(&pool->ledger->cancelled))
		err = run->late ? run_late_error(run) : -ECANCELED;
trim:
	plan_free(&run->plan);
	run_end(pool, err);
	return err;
}

static int start_map(struct run *run, const tine_task *task, const void *in, void *out)
{
	const tine_map_opts *opts = run->opts;
	size_t n = run->items;
	int err = is_no_deadline(run->deadline)
			  ? -EINVAL
			  : check_map(run->pool, task, in, out, n, opts);

	run->found = run->failure.index = SIZE_MAX;
	if (err)
		return err;
	if (n > 0 && run->deadline > tine_now()) {
		err = run_begin(run->pool);
		return err ? err : run_map(run, task, in, out);
	}
	all_status(opts, n, -ECANCELED);
	run_tell_failure(run);
	return n > 0 ? -ETIMEDOUT : 0;
}

int tine_pool_map(tine_pool *pool, const tine_task *task, const void *in, void *out,
		  size_t n, const tine_map_opts *opts, int64_t deadline)
{
	struct run run = { .pool = pool, .opts = opts, .items = n, .deadline = deadline };

	if (opts && (opts->grace_ms || opts->smallest))
		return -EINVAL;
	return start_map(&run, task, in, out);
}

/* Jobs before the hit were dropped, by the deadline or who has cancelled the search. */
static bool is_unsure(const struct run *run)
{
	const struct ledger *ledger = run->pool->ledger;

	return run->map.least && atomic_load(&ledger->cancelled) &&
	       !atomic_load(&ledger->settled);
}

int tine_pool_find(tine_pool *pool, const tine_task *task, const void *in, void *out,
		   size_t n, size_t *index, const tine_map_opts *opts, int64_t deadline)
{
	struct run run = { .pool = pool, .opts = opts, .items = n, .deadline = deadline };
	int err;

	run.map.search = true;
	err = start_map(&run, task, in, out);
	if (run.found == SIZE_MAX || is_unsure(&run))
		return err;
	if (index)
		*index = run.found;
	return 1;
}
