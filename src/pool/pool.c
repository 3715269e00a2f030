/* SPDX-License-Identifier: MIT */
/*
 * The caller's side of a pool: deals the jobs out (ledger.h has the protocol), waits, and
 * brings the results home.
 */
#include "pool/pool.h"

#include "base/cgroup.h"
#include "base/futex.h"
#include "base/options.h"
#include "memory/heap.h"
#include "pool/cached.h"
#include "pool/nursery.h"
#include "process/child.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define GLANCE	       INT64_C(100000000) /* between looks at progress and nursery */
#define GRACE	       INT64_C(10000000)  /* for running jobs, after the deadline */
#define DEATH_WAIT     INT64_C(2000000000)
#define SPINS	       2000
#define BRIEF	       INT64_C(200000) /* to sleep; about as long as all spins */
#define FEW	       40	       /* one in so many, where sleep is not brief */
#define MOST_NURSERIES 3	       /* that die in one map */
#define KEEP	       ((size_t)64 << 20)

/* One call of tine_pool_map. */
struct run {
	tine_pool *pool;
	const tine_map_opts *opts;
	struct map map;	    /* moves on with base */
	size_t items;	    /* the caller's */
	size_t total, base; /* jobs of all deals, and of those before this one */
	struct plan plan;   /* where there is a cache, which items are jobs */
	int64_t deadline;
	bool late;     /* the deadline has passed */
	int64_t ended; /* when the search was seen to have its hits, or 0 */
	int nurseries; /* that died */
	int err;
	size_t found; /* the first hit, or SIZE_MAX */
	tine_failure failure;
};

uint64_t pool_uncalled(const tine_pool *pool)
{
	return pool->uncalled;
}

/* ---- the nursery's death ----------------------------------------------------------- */

/*
 * The kernel is killing the workers, and until each is gone it may write to its desk. A
 * worker that cannot be killed (it waits for a dead disk) is waited for no longer than
 * DEATH_WAIT.
 */
static void await(pid_t pid, int64_t deadline)
{
	struct timespec moment = { 0, 200000 };

	while (pid && process_alive(pid) && tine_now() < deadline)
		nanosleep(&moment, NULL);
}

static void await_workers(const struct ledger *ledger)
{
	int64_t deadline = tine_now() + DEATH_WAIT;

	for (unsigned id = 0; id < ledger->workers; id++)
		await(atomic_load(&ledger->desks[id].pid), deadline);
	await(atomic_load(&ledger->spare), deadline);
}

static int restart_nursery(tine_pool *pool)
{
	static const tine_exit killed = { .code = -1, .signal = SIGKILL };
	struct ledger *ledger = pool->ledger;

	child_release(&pool->nursery);
	await_workers(ledger);
	ledger_lock(ledger);
	for (unsigned id = 0; id < ledger->workers; id++) {
		struct desk *desk = &ledger->desks[id];

		desk_mend(ledger, id, killed, false);
		atomic_store(&desk->pid, 0);
		atomic_store(&desk->seat, SEAT_EMPTY);
		desk->strikes = 0;
	}
	atomic_store(&ledger->spare, 0);
	atomic_store(&ledger->called, 0);
	for (unsigned i = 0; i < MAX_WORKERS / 64; i++)
		atomic_store(&ledger->asleep[i], 0);
	ledger_unlock(ledger);
	return child_start(&pool->nursery, nursery_main, pool->ledger);
}

/* ---- waiting ----------------------------------------------------------------------- */

static bool map_over(const struct ledger *ledger)
{
	return ledger_done(ledger) >= atomic_load(&ledger->jobs);
}

static bool all_abandoned(const struct ledger *ledger)
{
	for (unsigned id = 0; id < ledger->workers; id++)
		if (atomic_load(&ledger->desks[id].seat) != SEAT_ABANDONED)
			return false;
	return true;
}

/* Every first worker is ready, or one is not to be. */
static bool all_seated(const struct ledger *ledger)
{
	unsigned ready = 0;

	for (unsigned id = 0; id < ledger->workers; id++) {
		if (ledger->desks[id].strikes > 0)
			return true;
		ready += atomic_load(&ledger->desks[id].seat) == SEAT_READY;
	}
	return ready == ledger->workers;
}

/*
 * A little awake, and then asleep. But where the last wait was long it soon sleeps: awake
 * it takes a processor from the workers, and those that wake meanwhile may be put on one.
 */
bool pool_doze(tine_pool *pool, over_fn *over, int64_t until)
{
	struct ledger *ledger = pool->ledger;
	unsigned spins = pool->brief ? ledger->spins : ledger->spins / FEW;
	int64_t begun;
	bool called;

	for (unsigned i = 0; i < spins; i++) {
		if (over(ledger)) {
			pool->brief = true;
			return true;
		}
		for (int pause = 0; pause < 8; pause++)
			cpu_relax();
	}
	begun = tine_now();
	atomic_store(&ledger->caller_waits, 1);
	if (!over(ledger))
		futex_wait(&ledger->caller_waits, 1, until);
	pool->brief = tine_now() - begun < BRIEF;
	called = atomic_exchange(&ledger->caller_waits, 0) == 0;
	if (!over(ledger))
		return false;
	pool->uncalled += !called && tine_now() >= until;
	return true;
}

static bool nursery_died(tine_pool *pool)
{
	return child_wait(&pool->nursery, NULL, TINE_NOWAIT) != -ETIMEDOUT;
}

/* ---- a map under way --------------------------------------------------------------- */

static void report(const struct run *run)
{
	size_t known = run->items - run->total;
	size_t done = known + run->base + ledger_done(run->pool->ledger);

	if (run->opts && run->opts->progress)
		run->opts->progress(run->opts->progress_arg, done, run->items);
}

/* Has the nursery end what still runs. */
static void end_running(tine_pool *pool, int status)
{
	struct ledger *ledger = pool->ledger;

	for (unsigned id = 0; id < ledger->workers; id++) {
		struct desk *desk = &ledger->desks[id];
		uint64_t at = atomic_load(&desk->at);

		if (is_running(at)) {
			atomic_store(&desk->unwanted_status, status);
			atomic_store(&desk->unwanted, at);
		}
	}
	send(pool->nursery.lifeline, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The jobs that a search has left running have their grace. */
static void mind_search(struct run *run)
{
	const struct ledger *ledger = run->pool->ledger;
	int64_t grace = run->opts ? run->opts->grace_ms : 0;

	if (run->map.hits == 0 || grace <= 0 ||
	    atomic_load(&ledger->hits) < run->map.hits)
		return;
	if (!run->ended)
		run->ended = tine_now();
	if ((tine_now() - run->ended) / 1000000 >= grace)
		end_running(run->pool, -ECANCELED);
}

void pool_have_watched(tine_pool *pool, bool limits)
{
	if (limits && !atomic_exchange(&pool->ledger->watched, 1))
		send(pool->nursery.lifeline, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void mind_deadline(struct run *run)
{
	if (!run->late && tine_now() >= run->deadline) {
		run->late = true;
		atomic_store(&run->pool->ledger->cancelled, 1);
	} else if (run->late) {
		end_running(run->pool, -ETIMEDOUT);
	}
}

int pool_mind_nursery(tine_pool *pool, int *died)
{
	struct ledger *ledger = pool->ledger;

	trace_glance(pool->trace);
	if (nursery_died(pool)) {
		int err = restart_nursery(pool);

		if (err || ++*died > MOST_NURSERIES)
			return err ? err : -TINE_ECRASH;
	}
	/* The one who was awake to look for work may have been stopped. */
	ledger_wake_one(ledger, 0);
	if (!all_abandoned(ledger))
		return 0;
	return ledger->desks[0].refusal ? ledger->desks[0].refusal : -TINE_ECRASH;
}

static int await_map(struct run *run)
{
	int64_t until;

	do {
		until = tine_now() + (run->late || run->ended ? GRACE : GLANCE);
		if (!run->late && until > run->deadline)
			until = run->deadline;
		if (pool_doze(run->pool, map_over, until))
			break;
		mind_deadline(run);
		mind_search(run);
		/* All workers may be busy for long, with what was submitted. */
		if (atomic_load(&run->pool->ledger->cancelled))
			ledger_withdraw(run->pool->ledger);
		run->err = pool_mind_nursery(run->pool, &run->nurseries);
		report(run);
	} while (run->err == 0);
	return run->err;
}

/* ---- memory that workers see ------------------------------------------------------- */

static void trim(tine_pool *pool, size_t most)
{
	stage_trim(&pool->in, most);
	stage_trim(&pool->out, most);
	stage_trim(&pool->status, most);
	stage_trim(&pool->items, most);
	stage_trim(&pool->cached, most);
}

/* Where workers find n items of the caller's: there, or in the stage. */
static int place(struct stage *stage, const void *items, size_t n, size_t size,
		 void **placed)
{
	size_t len;

	if (__builtin_mul_overflow(n, size, &len))
		return -EINVAL;
	*placed = (void *)items;
	if (len == 0 || shared_has(items, len))
		return 0;
	if (stage_reserve(stage, len) != 0)
		return -ENOMEM;
	*placed = stage->mem;
	return 0;
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

	if (found && run->found == SIZE_MAX)
		run->found = caller_item(run, found - 1);
	run->failure.deaths += ledger->failure.deaths;
	if (run->failure.index != SIZE_MAX || ledger->failure.index == SIZE_MAX)
		return;
	run->failure.index = caller_item(run, ledger->failure.index);
	run->failure.status = ledger->failure.status;
	run->failure.how = ledger->failure.how;
}

static void move_on(struct run *run, uint32_t n)
{
	struct map *map = &run->map;

	run->base += n;
	if (map->items) {
		map->items += n;
		return;
	}
	map->in += n * map->in_size;
	map->out += n * map->out_size;
	if (map->status)
		map->status += n;
}

static int deal_all(struct run *run, int *failure)
{
	struct map *map = &run->map;
	struct ledger *ledger = run->pool->ledger;

	while (run->base < run->total && run->err == 0) {
		size_t left = run->total - run->base;
		uint32_t n = left < MAX_JOBS ? left : MAX_JOBS;
		uint64_t first;

		for (uint32_t i = 0; map->retries && i < n; i++)
			map->status[item_of(map, i)] = 0;
		ledger_deal(ledger, map, n);
		pool_have_watched(run->pool, map->job_ms || ledger->memory_per_worker);
		if (await_map(run) != 0)
			break;
		first = ledger_failure(ledger);
		if (*failure == 0 && first != NO_FAILURE)
			*failure = (int)(uint32_t)first;
		bring_news(run);
		move_on(run, n);
		if (atomic_load(&ledger->cancelled)) {
			drop_rest(run);
			break;
		}
	}
	return run->err;
}

static void forget_jobs(struct ledger *ledger)
{
	struct map none = { 0 };

	ledger_deal(ledger, &none, 0);
}

static int check_map(const tine_pool *pool, const tine_task *task, const void *in,
		     const void *out, size_t n, const tine_map_opts *opts)
{
	if (!pool || !task || !task->fn || (opts && !TAIL_IS_ZERO(opts)))
		return -EINVAL;
	if (opts &&
	    (opts->job_ms < 0 || opts->grace_ms < 0 || (opts->cache && !task->name)))
		return -EINVAL;
	if (n > 0 && ((!in && task->in_size) || (!out && task->out_size)))
		return -EINVAL;
	return pool->nursery.owner == getpid() ? 0 : -EPERM;
}

static void all_status(const tine_map_opts *opts, size_t n, int status)
{
	for (size_t i = 0; opts && opts->status && i < n; i++)
		opts->status[i] = status;
}

/* Where the n statuses go: NULL, where nobody wants to know. */
static int place_status(struct run *run, int **there)
{
	const tine_map_opts *opts = run->opts;
	void *placed = NULL;
	int err = 0;

	if (opts && opts->status)
		err = place(&run->pool->status, opts->status, run->items, sizeof(int),
			    &placed);
	else if (opts && (opts->retries || opts->cache))
		err = place(&run->pool->status, "", run->items, sizeof(int), &placed);
	*there = placed;
	return err;
}

static void tell_failure(const struct run *run)
{
	if (!run->opts || !run->opts->failure)
		return;
	*run->opts->failure = run->failure;
	if (run->failure.index == SIZE_MAX)
		run->opts->failure->index = run->items;
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
	if (stage_reserve(&pool->items, run->items * sizeof(uint32_t)) != 0 ||
	    stage_reserve(&pool->cached, cached_size(cache, task)) != 0)
		return -ENOMEM;
	err = plan_make(plan, cache, task, map->in, map->out, run->items, map->status,
			pool->items.mem);
	if (err)
		return err;
	cached_fill(pool->cached.mem, cache, task);
	map->cached = pool->cached.mem;
	map->items = plan->items;
	run->total = plan->jobs;
	if (map->hits == 0 || plan->hits == 0)
		return 0;
	run->found = plan->found;
	if (plan->hits < map->hits)
		map->hits -= plan->hits;
	else
		run->total = 0;
	return 0;
}

static int run_map(struct run *run, const tine_task *task, const void *in, void *out)
{
	tine_pool *pool = run->pool;
	const tine_map_opts *opts = run->opts;
	int err, failure = 0, *status;
	size_t n = run->items;
	void *in_there, *out_there;

	if ((err = place(&pool->in, in, n, task->in_size, &in_there)) != 0 ||
	    (err = place(&pool->out, out, n, task->out_size, &out_there)) != 0 ||
	    (err = place_status(run, &status)) != 0)
		goto trim;
	if (in_there != in)
		memcpy(in_there, in, n * task->in_size);

	run->map.fn = task->fn;
	run->map.in = in_there;
	run->map.out = out_there;
	run->map.status = status;
	run->map.in_size = task->in_size;
	run->map.out_size = task->out_size;
	if (opts) {
		run->map.chunk = opts->chunk < MAX_JOBS ? opts->chunk : MAX_JOBS;
		run->map.retries = opts->retries;
		run->map.job_ms = opts->job_ms;
	}
	if (pool->trace) {
		run->map.name = trace_name(task->name);
		run->map.number = trace_map_begin(pool->trace, run->map.name, n);
	}
	run->total = n;
	if (opts && opts->cache && (err = plan_jobs(run, task)) != 0)
		goto trim;
	atomic_store(&pool->ledger->cancelled, 0);
	atomic_store(&pool->ledger->dropped, 0);
	atomic_store(&pool->ledger->hits, 0);
	atomic_store(&pool->mapping, true);
	err = deal_all(run, &failure);
	atomic_store(&pool->mapping, false);
	if (err) {
		forget_jobs(pool->ledger);
		all_status(opts, n, err);
		goto trim;
	}
	if (run->map.cached)
		plan_settle(&run->plan, task, out_there, status);
	if (out_there != out)
		memcpy(out, out_there, n * task->out_size);
	if (opts && opts->status && status != opts->status)
		memcpy(opts->status, status, n * sizeof(int));
	if (opts && opts->progress)
		opts->progress(opts->progress_arg, n - run->total + run->base, n);
	tell_failure(run);
	err = failure;
	if (atomic_load(&pool->ledger->cancelled))
		err = run->late ? -ETIMEDOUT : -ECANCELED;
trim:
	plan_free(&run->plan);
	trim(pool, KEEP);
	trace_map_end(pool->trace, err);
	return err;
}

static int start_map(struct run *run, const tine_task *task, const void *in, void *out)
{
	const tine_map_opts *opts = run->opts;
	size_t n = run->items;
	int err = check_map(run->pool, task, in, out, n, opts);

	run->found = run->failure.index = SIZE_MAX;
	if (err)
		return err;
	if (n > 0 && run->deadline > tine_now())
		return run_map(run, task, in, out);
	all_status(opts, n, -ECANCELED);
	tell_failure(run);
	return n > 0 ? -ETIMEDOUT : 0;
}

int tine_pool_map(tine_pool *pool, const tine_task *task, const void *in, void *out,
		  size_t n, const tine_map_opts *opts, int64_t deadline)
{
	struct run run = { .pool = pool, .opts = opts, .items = n, .deadline = deadline };

	if (opts && (opts->hits || opts->grace_ms))
		return -EINVAL;
	return start_map(&run, task, in, out);
}

int tine_pool_find(tine_pool *pool, const tine_task *task, const void *in, void *out,
		   size_t n, size_t *index, const tine_map_opts *opts, int64_t deadline)
{
	struct run run = { .pool = pool, .opts = opts, .items = n, .deadline = deadline };
	size_t wanted = opts && opts->hits ? opts->hits : 1;
	size_t hits;
	int err;

	if (wanted > INT32_MAX)
		wanted = INT32_MAX;
	run.map.hits = wanted;
	err = start_map(&run, task, in, out);
	if (run.found == SIZE_MAX)
		return err;
	hits = atomic_load(&pool->ledger->hits);
	if (hits > run.map.hits)
		hits = run.map.hits;
	if (index)
		*index = run.found;
	hits += run.plan.hits;
	return (int)(hits < wanted ? hits : wanted);
}

int tine_pool_cancel(tine_pool *pool)
{
	if (atomic_load(&pool->submitted) != atomic_load(&pool->delivered))
		atomic_store(&pool->ledger->dropped, 1);
	if (atomic_load(&pool->mapping)) {
		atomic_store(&pool->ledger->cancelled, 1);
		ledger_call(pool->ledger);
	}
	return 0;
}

static struct ledger *make_ledger(const tine_pool_opts *opts)
{
	unsigned workers = opts->workers ? opts->workers : tine_cpus();
	struct ledger *ledger = shared_alloc(sizeof(*ledger) +
					     workers * sizeof(struct desk));

	if (!ledger)
		return NULL;
	ledger->workers = workers;
	ledger->jobs_per_worker = opts->jobs_per_worker;
	ledger->memory_per_worker = opts->memory_per_worker;
	ledger->retries = opts->retries;
	ledger->job_ms = opts->job_ms;
	ledger->init = opts->init;
	ledger->init_arg = opts->init_arg;
	ledger->magic = LEDGER_MAGIC;
	return ledger;
}

/* 0 when every worker is ready. */
static int await_seats(tine_pool *pool)
{
	struct ledger *ledger = pool->ledger;

	while (!pool_doze(pool, all_seated, tine_now() + GLANCE))
		if (nursery_died(pool))
			return -TINE_ECRASH;
	for (unsigned id = 0; id < ledger->workers; id++)
		if (ledger->desks[id].strikes > 0)
			return ledger->desks[id].refusal ? ledger->desks[id].refusal
							 : -TINE_ECRASH;
	return 0;
}

static void end_nursery(tine_pool *pool)
{
	shutdown(pool->nursery.lifeline, SHUT_RDWR);
	/* Somebody may have stopped it. */
	if (child_wait(&pool->nursery, NULL, TINE_NOWAIT) == -ETIMEDOUT)
		kill(pool->nursery.pid, SIGCONT);
	if (child_wait(&pool->nursery, NULL, tine_now() + DEATH_WAIT) == -ETIMEDOUT) {
		kill(pool->nursery.pid, SIGKILL);
		child_wait(&pool->nursery, NULL, TINE_FOREVER);
	}
	await_workers(pool->ledger);
	child_release(&pool->nursery);
	ledger_end_trace(pool->ledger);
}

int tine_pool_new(tine_pool **out, const tine_pool_opts *opts)
{
	static const tine_pool_opts defaults;
	tine_pool *pool;
	int err;

	if (!opts)
		opts = &defaults;
	if (!out || !TAIL_IS_ZERO(opts) || opts->workers > MAX_WORKERS ||
	    opts->job_ms < 0)
		return -EINVAL;
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return -ENOMEM;
	pool->ledger = make_ledger(opts);
	if (!pool->ledger) {
		err = -ENOMEM;
		goto free_pool;
	}
	pool->ordered = opts->ordered;
	pool->cache = opts->cache;
	pool->results_end = &pool->results;
	pool->trace = trace_new(pool->ledger->workers);
	if (pool->trace)
		pool->ledger->logs = pool->trace->logs;
	err = child_start(&pool->nursery, nursery_main, pool->ledger);
	if (err)
		goto free_ledger;
	trace_place(pool->trace, pool->nursery.pid, NULL);
	err = await_seats(pool);
	if (err)
		goto end_nursery;
	/*
	 * To spin where there is no other processor is to keep it from who is waited for.
	 */
	pool->ledger->spins = affine_processors() > 1 ? SPINS : 0;
	*out = pool;
	return 0;

end_nursery:
	end_nursery(pool);
free_ledger:
	trace_free(pool->trace);
	tine_shared_free(pool->ledger);
free_pool:
	free(pool);
	return err;
}

void tine_pool_free(tine_pool *pool)
{
	if (!pool)
		return;
	if (pool->nursery.owner == getpid()) {
		end_nursery(pool);
		trim(pool, 0);
		pool_drop_tickets(pool);
		tine_shared_free(pool->ledger);
	}
	trace_free(pool->trace);
	pool_drop_results(pool);
	free(pool);
}
