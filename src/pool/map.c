/* SPDX-License-Identifier: MIT */
/*
 * The caller's side of a map and of a search: deals the jobs out (ledger.h has the
 * protocol), waits, and brings the results home.
 *
 * Items in memory that workers do not see are copied to where they do. Of many, that is
 * memory which the kernel has to find, to clear and to take back, and which each worker
 * meets page by page: ten times what the copy takes. So they go in pieces, a deal each,
 * through the same pages. At the end of each deal workers wait for the last job of it: if
 * a deal takes long, what is left goes in one.
 */
#include "pool/run.h"

#include "base/deadline.h"
#include "base/interrupt.h"
#include "base/options.h"
#include "base/proc.h"
#include "base/self.h"
#include "memory/heap.h"
#include "pool/cached.h"

#include <errno.h>
#include <string.h>

#define GRACE	    INT64_C(10000000) /* for running jobs, after the deadline */
#define KEEP	    ((size_t)64 << 20)
#define PIECE	    ((size_t)8 << 20) /* bytes; and jobs, for each worker at least */
#define PIECE_JOBS  64
#define SLOW_PIECE  INT64_C(50000000)
#define FORGET_WAIT INT64_C(2000000000) /* for the lock, when all is lost */

/* ---- a map under way --------------------------------------------------------------- */

static bool map_over(const struct ledger *ledger, uint32_t seen)
{
	(void)seen;
	return ledger_done(ledger) >= atomic_load(&ledger->jobs);
}

/* Of the deal that many are done. */
static void report(const struct run *run, uint64_t dealt)
{
	size_t known = run->items - run->total, done = known + run->base + dealt;

	if (run->opts && run->opts->progress)
		run->opts->progress(run->opts->progress_arg, done, run->items);
}

static bool runs(const struct pool_desk *desk)
{
	(void)desk;
	return true;
}

/* One that is stopped cannot use its grace. */
static bool is_stopped(const struct pool_desk *desk)
{
	pid_t pid = atomic_load(&desk->pid);

	return pid && process_stopped(pid);
}

/* Has the nursery end what still runs, of the workers that are so. */
static void end_running(tine_pool *pool, int status,
			bool (*is_so)(const struct pool_desk *))
{
	struct ledger *ledger = pool->ledger;

	for (unsigned id = 0; id < ledger->workers; id++) {
		struct pool_desk *desk = &ledger->desks[id];
		uint64_t job = job_of(desk);

		if (job && !(job & TICKET_JOB) && is_so(desk)) {
			atomic_store(&desk->unwanted_status, status);
			atomic_store(&desk->unwanted, job);
		}
	}
	pool_ask(pool);
}

/* Whether all that a search was for is known. */
static bool is_found(const struct run *run)
{
	const struct ledger *ledger = run->pool->ledger;

	return run->map.search && atomic_load(&ledger->found) &&
	       (!run->map.least || atomic_load(&ledger->cancelled));
}

/* The jobs that a search has left running have their grace. */
static void mind_search(struct run *run)
{
	struct ledger *ledger = run->pool->ledger;
	int64_t grace = run->opts ? run->opts->grace_ms : 0;

	/* Bound: so long; else at the next look. */
	if (run->map.least && atomic_load(&ledger->found) &&
	    !atomic_load(&ledger->cancelled) &&
	    ledger_lock(ledger, tine_now() + GRACE) == 0) {
		ledger_settle_search(ledger);
		ledger_unlock(ledger);
		pool_tell(run->pool);
	}
	if (grace <= 0 || !is_found(run))
		return;
	if (!run->ended)
		run->ended = tine_now();
	if ((tine_now() - run->ended) / 1000000 >= grace)
		end_running(run->pool, -ECANCELED, runs);
}

int run_late_error(const struct run *run)
{
	return run->cut ? -EINTR : -ETIMEDOUT;
}

static void mind_deadline(struct run *run)
{
	if (!run->late &&
	    (tine_now() >= run->deadline || (run->cut = interrupt_take()))) {
		run->late = true;
		atomic_store(&run->pool->ledger->cancelled, 1);
		pool_tell(run->pool);
		end_running(run->pool, run_late_error(run), is_stopped);
	} else if (run->late) {
		end_running(run->pool, run_late_error(run), runs);
	}
}

/* All workers may be busy for long, with what was submitted. */
static void withdraw(struct ledger *ledger)
{
	/* Bound: so long; else at the next look. */
	if (!atomic_load(&ledger->cancelled) ||
	    ledger_lock(ledger, tine_now() + GRACE) != 0)
		return;
	ledger_withdraw(ledger);
	ledger_unlock(ledger);
}

static int64_t glance_of(const struct run *run)
{
	/* A search too: its end is seen by a look. */
	bool reports = run->map.least || (run->opts && run->opts->progress);

	return run->late || run->ended ? GRACE : pool_glance(run->pool, reports);
}

static int await_map(struct run *run)
{
	int64_t until;

	do {
		until = tine_now() + glance_of(run);
		if (!run->late && until > run->deadline)
			until = run->deadline;
		if (pool_doze(run->pool, map_over, 0, until))
			break;
		mind_deadline(run);
		mind_search(run);
		withdraw(run->pool->ledger);
		run->err = pool_mind_nursery(run->pool, &run->nurseries);
		report(run, ledger_done(run->pool->ledger));
	} while (run->err == 0);
	return run->err;
}

/* ---- memory that workers see ------------------------------------------------------- */

void pool_trim(tine_pool *pool, size_t most)
{
	stage_trim(&pool->in, most);
	stage_trim(&pool->out, most);
	stage_trim(&pool->status, most);
	stage_trim(&pool->items, most);
	stage_trim(&pool->cached, most);
	stage_trim(&pool->endings, most);
	stage_trim(&pool->label, most);
}

int run_begin(tine_pool *pool)
{
	return atomic_exchange(&pool->engaged, true) ? -EBUSY : 0;
}

void run_end(tine_pool *pool, int err)
{
	pool_trim(pool, KEEP);
	trace_map_end(pool->trace, err);
	atomic_store(&pool->engaged, false);
}

int run_place(const struct run *run, struct stage *stage, const void *items, size_t n,
	      size_t size, void **placed)
{
	size_t len;
	int err;

	if (__builtin_mul_overflow(n, size, &len))
		return -EINVAL;
	*placed = (void *)items;
	if (len == 0 || shared_has(items, len))
		return 0;
	err = stage_reserve(stage, len, run->deadline);
	if (!err)
		*placed = stage->mem;
	return err;
}

/* ---- the calls --------------------------------------------------------------------- */

/* The jobs that were not even dealt. */
static void drop_rest(const struct run *run)
{
	for (size_t i = 0; run->map.status && i < run->total - run->base; i++)
		run->map.status[item_of(&run->map, i)] = -ECANCELED;
}

/* The caller's number of a job of the deal. */
static size_t caller_item(const struct run *run, uint32_t job)
{
	return run->map.items ? run->map.items[job] : run->base + job;
}

/* What a deal had to tell besides its results. */
static void bring_news(struct run *run)
{
	const struct ledger *ledger = run->pool->ledger;
	uint64_t found = atomic_load(&ledger->found);

	if (found && (run->found == SIZE_MAX || run->map.least))
		run->found = caller_item(run, found - 1);
	run->failure.deaths += ledger->failure.deaths;
	if (run->failure.index != SIZE_MAX || ledger->failure.index == SIZE_MAX)
		return;
	run->failure.index = caller_item(run, ledger->failure.index);
	run->failure.status = ledger->failure.status;
	run->failure.limit = ledger->failure.limit;
	run->failure.how = ledger->failure.how;
}

static void skip_dealt(struct run *run, uint32_t n)
{
	struct map *map = &run->map;

	run->base += n;
	if (map->items) {
		map->items += n;
		return;
	}
	map->first += n;
	if (!run->in_home)
		map->in += n * map->in_size;
	if (!run->out_home)
		map->out += n * map->out_size;
	if (map->status)
		map->status += n;
	if (map->endings)
		map->endings += n;
}

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

static void load_piece(const struct run *run, size_t n)
{
	const struct map *map = &run->map;

	if (run->in_home)
		memcpy(run->pool->in.mem, run->in_home + run->base * map->in_size,
		       n * map->in_size);
}

static void unload_piece(const struct run *run, size_t n)
{
	const struct map *map = &run->map;

	if (run->out_home)
		memcpy(run->out_home + run->base * map->out_size, run->pool->out.mem,
		       n * map->out_size);
}

/* If there is memory for it; else the pieces go on. */
static void join_pieces(struct run *run)
{
	size_t left = run->total - run->base;
	tine_pool *pool = run->pool;
	struct map *map = &run->map;
	int err = 0;

	if (run->in_home) {
		err = stage_reserve(&pool->in, left * map->in_size, run->deadline);
		map->in = pool->in.mem;
	}
	if (!err && run->out_home) {
		err = stage_reserve(&pool->out, left * map->out_size, run->deadline);
		map->out = pool->out.mem;
	}
	if (!err)
		run->piece = left;
}

/* 0; -ETIMEDOUT: nothing was dealt. */
static int deal_out(struct run *run, const struct map *map, uint32_t n, int64_t deadline)
{
	struct ledger *ledger = run->pool->ledger;
	int err = pool_lock(run->pool, deadline, &run->nurseries);

	if (err)
		return err;
	ledger_deal(ledger, map, n);
	ledger_unlock(ledger);
	/* Who is awake may be in a ticket, and not look for long. */
	ledger->crew->wake(ledger, &run->pool->nursery, ledger_has_tickets(ledger));
	return 0;
}

/* What is left when the deadline passes before it is dealt is dropped. */
static int drop_undealt(struct run *run)
{
	run->late = true;
	atomic_store(&run->pool->ledger->cancelled, 1);
	drop_rest(run);
	return 0;
}

static int deal_all(struct run *run, int *failure)
{
	struct map *map = &run->map;
	struct ledger *ledger = run->pool->ledger;

	while (run->base < run->total && run->err == 0) {
		size_t left = run->total - run->base,
		       most = run->piece && run->piece < MAX_JOBS ? run->piece : MAX_JOBS;
		uint32_t n = left < most ? left : most;
		int64_t begun = run->piece ? tine_now() : 0;
		uint64_t first;

		for (uint32_t i = 0; map->retries && i < n; i++)
			map->status[item_of(map, i)] = 0;
		load_piece(run, n);
		run->err = deal_out(run, map, n, run->deadline);
		if (run->err == -ETIMEDOUT)
			return run->err = drop_undealt(run);
		if (run->err)
			break;
		pool_have_watched(run->pool, map->job_ms || ledger->memory_per_worker);
		if (await_map(run) != 0)
			break;
		first = ledger_failure(ledger);
		if (*failure == 0 && first != NO_FAILURE)
			*failure = (int)(uint32_t)first;
		bring_news(run);
		unload_piece(run, n);
		skip_dealt(run, n);
		if (atomic_load(&ledger->cancelled)) {
			drop_rest(run);
			break;
		}
		if (run->piece && tine_now() - begun > SLOW_PIECE)
			join_pieces(run);
	}
	return run->err;
}

/* ---- tries after the first --------------------------------------------------------- */

/*
 * A job whose worker died is tried again at once, by whoever mends (ledger.h). Failures,
 * and both where there is a pause, are dealt anew by the caller, when all other jobs are
 * done: so no worker waits in a pause, and none looks at a clock for it.
 */
int run_plan_tries(struct run *run)
{
	const tine_map_opts *opts = run->opts;

	if (!opts || !opts->retries)
		return 0;
	if (!opts->retry_failures && !opts->retry_pause_ms) {
		run->map.retries = opts->retries;
		return 0;
	}
	if (run->items > UINT32_MAX)
		return -EINVAL;
	run->rounds = opts->retries;
	run->map.later = true;
	return stage_reserve(&run->pool->items, run->items * sizeof(uint32_t),
			     run->deadline);
}

int run_failure(const struct run *run, int given)
{
	for (size_t i = 0; run->rounds && i < run->items; i++)
		if (run->status_there[i] < 0)
			return run->status_there[i];
	return run->rounds ? 0 : given;
}

/* Jobs behind the hit that is wanted do not matter. */
static bool has_failed(const struct run *run, size_t item)
{
	int status = run->status_there[item];

	return status < 0 && status != -TINE_ELIMIT && item < run->found &&
	       (run->opts->retry_failures || status == -TINE_ECRASH);
}

/*
 * Lists those of the jobs that are to be tried again, where jobs may be listed already.
 */
static size_t list_failed(const struct run *run, const struct map *dealt, size_t jobs)
{
	uint32_t *failed = run->pool->items.mem;
	size_t n = 0;

	if (run->late || atomic_load(&run->pool->called_off) ||
	    (run->found != SIZE_MAX && !run->map.least))
		return 0;
	for (size_t i = 0; i < jobs; i++) {
		size_t item = item_of(dealt, i);

		if (has_failed(run, item))
			failed[n++] = item;
	}
	return n;
}

static bool is_called_off(const struct ledger *ledger, uint32_t seen)
{
	(void)seen;
	return atomic_load(&ledger->cancelled);
}

/* False: they are not to be tried again. */
static bool pause_before(struct run *run, unsigned tries)
{
	int64_t end = tine_after(pause_after(run->opts->retry_pause_ms, tries));

	while (!run->late && run->err == 0 && tine_now() < end) {
		int64_t until = tine_now() + glance_of(run);

		if (until > run->deadline)
			until = run->deadline;
		if (pool_doze(run->pool, is_called_off, 0, earlier(until, end)))
			return false;
		mind_deadline(run);
		run->err = pool_mind_nursery(run->pool, &run->nurseries);
		report(run, 0);
	}
	return !run->late && run->err == 0;
}

/* The jobs that are listed. */
static void begin_round(struct run *run, const struct map *first, size_t jobs, bool last)
{
	struct ledger *ledger = run->pool->ledger;

	run->map = *first;
	run->map.items = run->pool->items.mem;
	run->map.later = !last;
	if (first->work == RANGES)
		run->map.work = ONES;
	run->total = jobs;
	run->base = 0;
	run->ended = 0;
	for (size_t i = 0; run->map.endings && i < jobs; i++)
		run->map.endings[run->map.items[i]] = (tine_ending){ 0 };
	/* A search for the least hit has ended so. */
	atomic_store(&ledger->settled, 0);
	atomic_store(&ledger->cancelled, 0);
	if (atomic_load(&run->pool->called_off))
		atomic_store(&ledger->cancelled, 1);
}

static int deal_failed(struct run *run, const struct map *first, size_t jobs)
{
	const struct map *dealt = first;
	struct map listed = *first;
	int ignored = 0;

	listed.items = run->pool->items.mem;
	for (unsigned tries = 0; run->err == 0 && tries < run->rounds; tries++) {
		jobs = list_failed(run, dealt, jobs);
		if (jobs == 0)
			break;
		dealt = &listed;
		begin_round(run, first, jobs, tries + 1 == run->rounds);
		if (pause_before(run, tries))
			deal_all(run, &ignored);
		else
			drop_rest(run);
	}
	run->map = *first;
	return run->err;
}

static void forget_jobs(struct run *run)
{
	struct map none = { 0 };

	deal_out(run, &none, 0, tine_now() + FORGET_WAIT);
}

/* 0; or why these jobs cannot be done elsewhere, where they are to be. */
int run_accept(const tine_pool *pool, const tine_task *task, bool ranges, bool leaves)
{
	return pool->elsewhere
		       ? pool->ledger->crew->accept(task, ranges, leaves, task->in_size)
		       : 0;
}

/* Their task, where it is to be told. */
int run_label(struct run *run, const tine_task *task)
{
	tine_pool *pool = run->pool;
	int err;

	if (!pool->elsewhere)
		return 0;
	err = stage_reserve(&pool->label, label_size(task), run->deadline);
	if (err)
		return err;
	run->map.label = label_write(pool->label.mem, task);
	run->map.deadline = run->deadline;
	run->map.grace_ms = run->opts ? run->opts->grace_ms : 0;
	/* It takes from the pile. */
	run->map.in_order = true;
	return 0;
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

void run_tell_failure(const struct run *run)
{
	if (!run->opts || !run->opts->failure)
		return;
	*run->opts->failure = run->failure;
	if (run->failure.index == SIZE_MAX)
		run->opts->failure->index = run->items;
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

void run_begin_trace(struct run *run, const tine_task *task)
{
	struct trace *trace = run->pool->trace;

	if (!trace)
		return;
	run->map.name = trace_name(task->name);
	run->map.number = trace_map_begin(trace, run->map.name, run->items);
}

int run_work(struct run *run, int *failure)
{
	struct ledger *ledger = run->pool->ledger;
	const struct map map = run->map;
	size_t jobs = run->total;
	int err;

	atomic_store(&run->pool->called_off, false);
	atomic_store(&ledger->cancelled, 0);
	atomic_store(&ledger->dropped, 0);
	atomic_store(&ledger->settled, 0);
	atomic_store(&run->pool->mapping, true);
	err = deal_all(run, failure);
	if (!err && run->rounds)
		err = deal_failed(run, &map, jobs);
	atomic_store(&run->pool->mapping, false);
	if (err)
		forget_jobs(run);
	return err;
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
