/* SPDX-License-Identifier: MIT */
/* The pool as a whole: made, cancelled and freed. */
#include "pool/pool.h"

#include "base/cpus.h"
#include "base/options.h"
#include "memory/heap.h"
#include "pool/serial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPINS	2000
#define FINI_MS 1000

static int make_ledger(struct ledger **out, const struct crew *crew,
		       const tine_pool_opts *opts, const void *errand, size_t len)
{
	unsigned workers = opts->workers ? opts->workers : tine_cpus();
	size_t size = sizeof(struct ledger) + workers * sizeof(struct pool_desk);
	struct ledger *ledger;
	void *mem;
	int err = shared_alloc(&mem, size + len, SHARED_PATIENTLY);

	if (err)
		return err;
	ledger = mem;
	ledger->crew = crew;
	ledger->magic = LEDGER_MAGIC;
	ledger->errand = (char *)ledger + size;
	if (len)
		memcpy(ledger->errand, errand, len);
	ledger->workers = workers;
	ledger->jobs_per_worker = opts->jobs_per_worker;
	ledger->memory_per_worker = opts->memory_per_worker;
	ledger->retries = opts->retries;
	ledger->retry_failures = opts->retry_failures;
	ledger->retry_pause_ms = opts->retry_pause_ms;
	ledger->job_ms = opts->job_ms;
	atomic_store(&ledger->shortest_ms, opts->job_ms);
	ledger->init = opts->init;
	ledger->init_arg = opts->init_arg;
	ledger->fini = opts->fini;
	ledger->fini_ms = opts->fini_ms ? opts->fini_ms : FINI_MS;
	*out = ledger;
	return 0;
}

static bool crew_is_known(const struct ledger *ledger, uint32_t seen)
{
	(void)seen;
	return ledger->crew->ready(ledger) != 1;
}

/* 0 when it can work. */
static int await_crew(tine_pool *pool)
{
	int64_t look = tine_now() + GLANCE;

	while (!pool_doze(pool, crew_is_known, 0, look)) {
		if (pool_lost_nursery(pool))
			return -TINE_ECRASH;
		if (tine_now() < look)
			continue;
		pool_rouse(pool);
		look = tine_now() + GLANCE;
	}
	return pool->ledger->crew->ready(pool->ledger);
}

/*
 * Where there is no other processor it would keep that from who is waited for. So do
 * those workers of an open pool that are too many: its jobs come one by one, and nearly
 * all of them wait all the time.
 */
static void have_spin(tine_pool *pool)
{
	unsigned processors = affine_processors();
	bool crowded = pool->open && pool->ledger->workers > processors;

	atomic_store(&pool->ledger->spins, processors > 1 && !crowded ? SPINS : 0);
}

int pool_new(tine_pool **out, const tine_pool_opts *opts, const struct crew *crew,
	     const void *errand, size_t len)
{
	static const tine_pool_opts defaults;
	tine_pool_opts alone;
	tine_pool *pool;
	int err;

	if (!opts)
		opts = &defaults;
	if (!out || !TAIL_IS_ZERO(opts) || opts->workers > MAX_WORKERS ||
	    opts->job_ms < 0 || opts->fini_ms < 0 || opts->retry_pause_ms < 0)
		return -EINVAL;
	if (!crew->accept && (opts->serial || cpus_are_none())) {
		crew = &serial_crew;
		alone = serial_opts(opts);
		opts = &alone;
	}
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return -ENOMEM;
	err = make_ledger(&pool->ledger, crew, opts, errand, len);
	if (err)
		goto free_pool;
	err = bell_new(&pool->bell);
	if (err)
		goto free_ledger;
	pool->ledger->rope = pool->bell.rope;
	pthread_mutex_init(&pool->hands, NULL);
	pthread_mutex_init(&pool->minding, NULL);
	pool->ordered = opts->ordered;
	pool->open = opts->open;
	pool->elsewhere = crew->accept != NULL;
	pool->cache = opts->cache;
	pool->results_end = &pool->results;
	pool->trace = trace_new(pool->ledger->workers);
	if (pool->trace)
		pool->ledger->logs = pool->trace->logs;
	if (crew->main) {
		err = child_start(&pool->nursery, crew->main, pool->ledger);
		if (err)
			goto free_bell;
		trace_place(pool->trace, pool->nursery.pid,
			    pool->elsewhere ? "tine-hosts" : NULL);
		err = await_crew(pool);
		if (err)
			goto end_nursery;
		have_spin(pool);
	} else {
		pool->nursery = (struct child){ .owner = getpid(),
						.handle = { .fd = -1 } };
		err = serial_begin(pool);
		if (err)
			goto free_bell;
	}
	*out = pool;
	return 0;

end_nursery:
	pool_end_nursery(pool);
free_bell:
	trace_free(pool->trace);
	bell_free(&pool->bell);
free_ledger:
	tine_shared_free(pool->ledger);
free_pool:
	free(pool);
	return err;
}

int tine_pool_refresh(tine_pool *pool)
{
	int err;

	if (!pool)
		return -EINVAL;
	if (!pool_is_ours(pool))
		return -EPERM;
	if (atomic_load(&pool->engaged) || pool_has_tickets(pool))
		return -EBUSY;
	atomic_store(&pool->ledger->spins, 0);
	err = pool_renew_nursery(pool);
	if (err || pool->serial)
		return err;
	err = await_crew(pool);
	have_spin(pool);
	return err;
}

int tine_pool_cancel(tine_pool *pool)
{
	if (!pool)
		return -EINVAL;
	/* The map first: who is told in a submitted job would begin one of the map. */
	if (atomic_load(&pool->mapping)) {
		atomic_store(&pool->called_off, true);
		atomic_store(&pool->ledger->cancelled, 1);
		ledger_call(pool->ledger);
	}
	if (atomic_load(&pool->submitted) != atomic_load(&pool->delivered)) {
		atomic_store(&pool->ledger->dropped, 1);
		/* All may sleep, until a job is due that is to be tried again. */
		ledger_wake_one(pool->ledger, 0);
	}
	pool_tell(pool);
	return 0;
}

void tine_pool_free(tine_pool *pool)
{
	if (!pool)
		return;
	if (pool->nursery.owner == getpid()) {
		pool_end_nursery(pool);
		pool_trim(pool, 0);
		pool_drop_tickets(pool);
		pool->ledger->magic = 0;
		tine_shared_free(pool->ledger);
	}
	trace_free(pool->trace);
	bell_free(&pool->bell);
	/* In a child, a thread that it does not have may be at them. */
	if (pthread_mutex_trylock(&pool->hands) == 0)
		pool_drop_results(pool);
	free(pool);
}
