/* SPDX-License-Identifier: MIT */
#include "pool/serial.h"

#include "pool/worker.h"

static int able_anyway(const struct ledger *ledger)
{
	(void)ledger;
	return 0;
}

static void wake_nobody(struct ledger *ledger, const struct child *none, bool busy)
{
	(void)ledger;
	(void)none;
	(void)busy;
}

static bool suspects_nobody(struct ledger *ledger)
{
	(void)ledger;
	return false;
}

const struct crew serial_crew = { .ready = able_anyway,
				  .able = able_anyway,
				  .wake = wake_nobody,
				  .suspects = suspects_nobody };

tine_pool_opts serial_opts(const tine_pool_opts *given)
{
	tine_pool_opts opts = *given;

	opts.workers = 1;
	opts.jobs_per_worker = 0;
	opts.memory_per_worker = 0;
	opts.job_ms = 0;
	return opts;
}

int serial_begin(tine_pool *pool)
{
	return worker_begin_here(&pool->serial, pool->ledger);
}

void serial_end(tine_pool *pool)
{
	worker_end_here(pool->serial);
	pool->serial = NULL;
}

void serial_run(tine_pool *pool)
{
	/* Bound: a job that another thread of this process is in, and this one's own. */
	while (ledger_tickets_wait(pool->ledger) &&
	       worker_step_here(pool->serial, TINE_FOREVER))
		;
}

bool serial_work(tine_pool *pool, over_fn *over, uint32_t seen, int64_t until)
{
	struct ledger *ledger = pool->ledger;

	while (!over(ledger, seen))
		if (!worker_step_here(pool->serial, until) || tine_now() >= until)
			return over(ledger, seen);
	return true;
}
