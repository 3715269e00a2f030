/* SPDX-License-Identifier: MIT */
/*
 * Many jobs for the caller: deals them out (ledger.h has the protocol), waits, and deals
 * anew what has failed.
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
#include "base/proc.h"
#include "base/self.h"
#include "memory/heap.h"

#include <errno.h>
#include <string.h>

#define GRACE	    INT64_C(10000000) /* for running jobs, after the deadline */
#define KEEP	    ((size_t)64 << 20)
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

/* ---- deals ------------------------------------------------------------------------- */

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

/* ---- all of it --------------------------------------------------------------------- */

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

void run_tell_failure(const struct run *run)
{
	if (!run->opts || !run->opts->failure)
		return;
	*run->opts->failure = run->failure;
	if (run->failure.index == SIZE_MAX)
		run->opts->failure->index = run->items;
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
