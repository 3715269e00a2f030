/* SPDX-License-Identifier: MIT */
/*
 * The caller's side of a pool: deals the jobs out (ledger.h has the protocol), waits, and
 * brings the results home.
 */
#include "pool.h"

#include "cgroup.h"
#include "child.h"
#include "futex.h"
#include "nursery.h"
#include "options.h"
#include "shared.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define GLANCE	       INT64_C(100000000) /* between looks at progress and nursery */
#define GRACE	       INT64_C(10000000)  /* for running jobs, after the deadline */
#define DEATH_WAIT     INT64_C(2000000000)
#define SPINS	       2000
#define MOST_NURSERIES 3 /* that die in one map */
#define KEEP	       ((size_t)64 << 20)

/* Memory that workers see, kept from map to map. */
struct stage {
	void *mem;
	size_t size;
};

struct tine_pool {
	struct child nursery;
	struct ledger *ledger;
	struct stage in, out, status;
	uint64_t uncalled;
	_Atomic bool mapping; /* tine_pool_cancel() has something to cancel */
};

/* One call of tine_pool_map. */
struct run {
	tine_pool *pool;
	const tine_map_opts *opts;
	struct map map;	    /* moves on with base */
	size_t total, base; /* jobs of all deals, and of those before this one */
	int64_t deadline;
	bool late;     /* the deadline has passed */
	int nurseries; /* that died */
	int err;
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
static void await_workers(const struct ledger *ledger)
{
	int64_t deadline = tine_now() + DEATH_WAIT;
	struct timespec moment = { 0, 200000 };

	for (unsigned id = 0; id < ledger->workers; id++) {
		pid_t pid = atomic_load(&ledger->desks[id].pid);

		while (pid && process_alive(pid) && tine_now() < deadline)
			nanosleep(&moment, NULL);
	}
}

static int restart_nursery(tine_pool *pool)
{
	struct ledger *ledger = pool->ledger;

	child_release(&pool->nursery);
	await_workers(ledger);
	ledger_lock(ledger);
	for (unsigned id = 0; id < ledger->workers; id++) {
		struct desk *desk = &ledger->desks[id];

		desk_mend(ledger, id);
		atomic_store(&desk->pid, 0);
		atomic_store(&desk->seat, SEAT_EMPTY);
		desk->strikes = 0;
	}
	for (unsigned i = 0; i < MAX_WORKERS / 64; i++)
		atomic_store(&ledger->asleep[i], 0);
	ledger_unlock(ledger);
	return child_start(&pool->nursery, nursery_main, ledger);
}

/* ---- waiting ----------------------------------------------------------------------- */

typedef bool over_fn(const struct ledger *);

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

/* Sleeps until somebody calls: whether it is over. */
static bool doze(tine_pool *pool, over_fn *over, int64_t until)
{
	struct ledger *ledger = pool->ledger;
	bool called;

	for (unsigned i = 0; i < ledger->spins; i++) {
		if (over(ledger))
			return true;
		for (int pause = 0; pause < 8; pause++)
			cpu_relax();
	}
	atomic_store(&ledger->caller_waits, 1);
	if (!over(ledger))
		futex_wait(&ledger->caller_waits, 1, until);
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
	size_t done = run->base + ledger_done(run->pool->ledger);

	if (run->opts && run->opts->progress)
		run->opts->progress(run->opts->progress_arg, done, run->total);
}

/* Has the nursery end what still runs. */
static void end_running(tine_pool *pool, int status)
{
	struct ledger *ledger = pool->ledger;

	for (unsigned id = 0; id < ledger->workers; id++) {
		struct desk *desk = &ledger->desks[id];
		uint64_t at = atomic_load(&desk->at);

		if (is_running(at)) {
			atomic_store(&desk->verdict, status);
			atomic_store(&desk->overdue, at);
		}
	}
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

/* 0: go on. Else nobody is left to work, and no jobs run. */
static int mind_nursery(struct run *run)
{
	struct ledger *ledger = run->pool->ledger;

	if (nursery_died(run->pool)) {
		int err = restart_nursery(run->pool);

		if (err || ++run->nurseries > MOST_NURSERIES)
			return err ? err : -TINE_ECRASH;
	}
	if (!all_abandoned(ledger))
		return 0;
	return ledger->desks[0].refusal ? ledger->desks[0].refusal : -TINE_ECRASH;
}

static int await_map(struct run *run)
{
	int64_t until;

	do {
		until = tine_now() + (run->late ? GRACE : GLANCE);
		if (!run->late && until > run->deadline)
			until = run->deadline;
		if (doze(run->pool, map_over, until))
			break;
		mind_deadline(run);
		run->err = mind_nursery(run);
		report(run);
	} while (run->err == 0);
	return run->err;
}

/* ---- memory that workers see ------------------------------------------------------- */

static int stage_reserve(struct stage *stage, size_t size)
{
	void *mem;

	if (size <= stage->size)
		return 0;
	mem = shared_alloc(size);
	if (!mem)
		return -ENOMEM;
	tine_shared_free(stage->mem);
	stage->mem = mem;
	stage->size = size;
	return 0;
}

static void stage_trim(struct stage *stage, size_t most)
{
	if (stage->size <= most)
		return;
	tine_shared_free(stage->mem);
	*stage = (struct stage){ 0 };
}

static void trim(tine_pool *pool, size_t most)
{
	stage_trim(&pool->in, most);
	stage_trim(&pool->out, most);
	stage_trim(&pool->status, most);
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
		run->map.status[i] = -ECANCELED;
}

static int deal_all(struct run *run, int *failure)
{
	struct map *map = &run->map;
	struct ledger *ledger = run->pool->ledger;

	while (run->base < run->total && run->err == 0) {
		size_t left = run->total - run->base;
		uint32_t n = left < MAX_JOBS ? left : MAX_JOBS;
		uint64_t first;

		ledger_deal(ledger, map, n);
		if (await_map(run) != 0)
			break;
		first = ledger_failure(ledger);
		if (*failure == 0 && first != NO_FAILURE)
			*failure = (int)(uint32_t)first;
		run->base += n;
		map->in += n * map->in_size;
		map->out += n * map->out_size;
		if (map->status)
			map->status += n;
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
	if (n > 0 && ((!in && task->in_size) || (!out && task->out_size)))
		return -EINVAL;
	return pool->nursery.owner == getpid() ? 0 : -EPERM;
}

static void all_status(const tine_map_opts *opts, size_t n, int status)
{
	for (size_t i = 0; opts && opts->status && i < n; i++)
		opts->status[i] = status;
}

int tine_pool_map(tine_pool *pool, const tine_task *task, const void *in, void *out,
		  size_t n, const tine_map_opts *opts, int64_t deadline)
{
	struct run run = { .pool = pool, .opts = opts, .total = n, .deadline = deadline };
	int err = check_map(pool, task, in, out, n, opts), failure = 0;
	void *in_there, *out_there, *status = NULL;

	if (err || n == 0)
		return err;
	if (deadline <= tine_now()) {
		all_status(opts, n, -ECANCELED);
		return -ETIMEDOUT;
	}
	if ((err = place(&pool->in, in, n, task->in_size, &in_there)) != 0 ||
	    (err = place(&pool->out, out, n, task->out_size, &out_there)) != 0)
		goto trim;
	if (opts && opts->status &&
	    (err = place(&pool->status, opts->status, n, sizeof(int), &status)) != 0)
		goto trim;
	if (in_there != in)
		memcpy(in_there, in, n * task->in_size);

	run.map = (struct map){ .fn = task->fn,
				.in = in_there,
				.out = out_there,
				.status = status,
				.in_size = task->in_size,
				.out_size = task->out_size };
	if (opts)
		run.map.chunk = opts->chunk < MAX_JOBS ? opts->chunk : MAX_JOBS;
	atomic_store(&pool->ledger->cancelled, 0);
	atomic_store(&pool->mapping, true);
	err = deal_all(&run, &failure);
	atomic_store(&pool->mapping, false);
	if (err) {
		forget_jobs(pool->ledger);
		all_status(opts, n, err);
		goto trim;
	}
	if (out_there != out)
		memcpy(out, out_there, n * task->out_size);
	if (status && status != opts->status)
		memcpy(opts->status, status, n * sizeof(int));
	if (opts && opts->progress)
		opts->progress(opts->progress_arg, run.base, n);
	err = failure;
	if (atomic_load(&pool->ledger->cancelled))
		err = run.late ? -ETIMEDOUT : -ECANCELED;
trim:
	trim(pool, KEEP);
	return err;
}

int tine_pool_cancel(tine_pool *pool)
{
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
	ledger->init = opts->init;
	ledger->init_arg = opts->init_arg;
	ledger->magic = LEDGER_MAGIC;
	return ledger;
}

/* 0 when every worker is ready. */
static int await_seats(tine_pool *pool)
{
	struct ledger *ledger = pool->ledger;

	while (!doze(pool, all_seated, tine_now() + GLANCE))
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
}

int tine_pool_new(tine_pool **out, const tine_pool_opts *opts)
{
	static const tine_pool_opts defaults;
	tine_pool *pool;
	int err;

	if (!opts)
		opts = &defaults;
	if (!out || !TAIL_IS_ZERO(opts) || opts->workers > MAX_WORKERS)
		return -EINVAL;
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return -ENOMEM;
	pool->ledger = make_ledger(opts);
	if (!pool->ledger) {
		err = -ENOMEM;
		goto free_pool;
	}
	err = child_start(&pool->nursery, nursery_main, pool->ledger);
	if (err)
		goto free_ledger;
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
		tine_shared_free(pool->ledger);
	}
	free(pool);
}
