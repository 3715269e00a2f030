/* SPDX-License-Identifier: MIT */
/*
 * A host of faults.c: faults-host URL NUMBER WORKERS LEASE RUNS; or a caller of many
 * jobs, for somebody to kill: faults-host URL RUNS.
 */
#include "engine/courier.h"
#include "faults_tasks.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/prctl.h>

static tine_worker *worker;

static void drain(int signal)
{
	(void)signal;
	tine_worker_drain(worker);
}

static int call(const char *url)
{
	static struct order in[JOBS_MOST];
	static uint64_t out[JOBS_MOST];
	tine_pool *pool;
	int err = courier_pool_new(&pool, url, 60000, NULL);

	for (size_t i = 0; i < JOBS_MOST; i++)
		in[i] = (struct order){ .n = i, .us = 100000 };
	err = err ? err
		  : tine_pool_map(pool, &work_task, in, out, JOBS_MOST, NULL,
				  TINE_FOREVER);
	return err ? 1 : 0;
}

/* A cable was just laid or is cut, or the server is just killed. */
static bool is_away(int err)
{
	const struct timespec nap = { 0, 50000000 };

	nanosleep(&nap, NULL);
	return err == -ETIMEDOUT || err == -ECONNREFUSED || err == -ECONNRESET ||
	       err == -EHOSTUNREACH || err == -EAGAIN || err == -TINE_EHOST;
}

int main(int argc, char **argv)
{
	tine_worker_opts opts = { 0 };
	int err = -ETIMEDOUT;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	runs = argc > 1 ? map_runs(argv[argc - 1]) : NULL;
	if (!runs || (argc != 6 && argc != 3))
		return 2;
	if (argc == 3)
		return call(argv[1]);
	own_host = (unsigned)atoi(argv[2]) % (HOSTS + 1);
	opts.name = argv[2];
	opts.workers = (unsigned)atoi(argv[3]);
	opts.lease_ms = (unsigned)atoi(argv[4]);
	for (int tries = 0; tries < 200 && is_away(err); tries++)
		err = tine_worker_start(&worker, argv[1], &work_task, 1, &opts);
	if (err)
		return 3;
	signal(SIGTERM, drain);
	err = tine_worker_wait(worker, TINE_FOREVER);
	tine_worker_free(worker);
	return err ? 1 : 0;
}
