/* SPDX-License-Identifier: MIT */
/*
 * What a pool costs: pool MEASURE WORKERS [MEBIBYTES] prints one number.
 *
 *	call		microseconds of a map of 4 empty jobs, pool warm
 *	rested		the same, when the workers have had time to fall asleep
 *	single		nanoseconds of an empty job, chunk 1
 *	adaptive	million empty jobs a second, chunk of the pool's choice
 *	start		milliseconds (median) to make a pool, all workers ready, and to
 *			end it
 *	submit		nanoseconds of an empty job by submit and next
 *	stop		microseconds from a hit until the last worker has stopped
 *	replace		milliseconds from the death of the only worker until another
 *			has done a job, 200 ms after the one before; the caller has
 *			touched so many MEBIBYTES
 *	again		the same, at once after the one before
 *	memory		KiB of a worker's own: its private pages (clean, dirty and
 *			swapped, of smaps_rollup) and its page tables: what would not
 *			be there without it, but for the kernel's own structures. The
 *			caller has touched so many MEBIBYTES before.
 */
#include "bench.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <tine.h>
#include <unistd.h>

#define CALLS	 20000
#define RESTED	 100
#define SINGLE	 1000000
#define ADAPTIVE 20000000
#define STARTS	 100
#define SUBMITS	 1000000
#define HITS	 200
#define KILLS	 100
#define CALM	 200000000
#define MOST	 64 /* workers */

/* An empty job is a call all the same. */
static int nothing(const void *in, void *out)
{
	(void)in;
	(void)out;
	return 0;
}

static const tine_task nothing_task = { .name = "nothing", .fn = nothing };

static tine_pool *make_pool(const tine_pool_opts *opts)
{
	tine_pool *pool;
	int err = tine_pool_new(&pool, opts);

	if (err)
		die(1, tine_strerror(err));
	return pool;
}

static void map(tine_pool *pool, size_t n, size_t chunk)
{
	tine_map_opts opts = { .chunk = chunk };
	int err = tine_pool_map(pool, &nothing_task, NULL, NULL, n, &opts, TINE_FOREVER);

	if (err)
		die(1, tine_strerror(err));
}

/* Seconds of each of so many maps, of so many jobs. */
static double time_maps(unsigned workers, int maps, size_t n, size_t chunk)
{
	tine_pool *pool = make_pool(&(tine_pool_opts){ .workers = workers });
	double begun;

	for (int i = 0; i < 100; i++)
		map(pool, 4, 0);
	begun = seconds_now();
	for (int i = 0; i < maps; i++)
		map(pool, n, chunk);
	begun = (seconds_now() - begun) / maps;
	tine_pool_free(pool);
	return begun;
}

static double call(unsigned workers)
{
	return time_maps(workers, CALLS, 4, 0) * 1e6;
}

/* Long enough for whoever waits awake to have fallen asleep. */
static void rest(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
}

static double rested(unsigned workers)
{
	tine_pool *pool = make_pool(&(tine_pool_opts){ .workers = workers });
	double took = 0;

	for (int i = 0; i < RESTED; i++) {
		rest();
		took -= seconds_now();
		map(pool, 4, 0);
		took += seconds_now();
	}
	tine_pool_free(pool);
	return took / RESTED * 1e6;
}

static double single(unsigned workers)
{
	return time_maps(workers, 1, SINGLE, 1) / SINGLE * 1e9;
}

static double adaptive(unsigned workers)
{
	return ADAPTIVE / time_maps(workers, 1, ADAPTIVE, 0) / 1e6;
}

static double start(unsigned workers)
{
	double seconds[STARTS];

	for (int i = 0; i < STARTS; i++) {
		double begun = seconds_now();

		tine_pool_free(make_pool(&(tine_pool_opts){ .workers = workers }));
		seconds[i] = seconds_now() - begun;
	}
	return median(seconds, STARTS) * 1e3;
}

static double submit(unsigned workers)
{
	tine_pool *pool = make_pool(&(tine_pool_opts){ .workers = workers });
	double begun = seconds_now();
	tine_done done;

	for (uint64_t i = 0; i < SUBMITS;)
		if (tine_pool_submit(pool, &nothing_task, NULL, i, TINE_NOWAIT) == 0)
			i++;
		else
			(void)!tine_pool_next(pool, NULL, 0, &done, TINE_FOREVER);
	while (tine_pool_next(pool, NULL, 0, &done, TINE_FOREVER) == 1)
		;
	begun = seconds_now() - begun;
	tine_pool_free(pool);
	return begun / SUBMITS * 1e9;
}

/*
 * Job 0 hits after a while; the others ask at every turn. When it hit, or they stopped.
 */
static int hit_or_stop(const void *in, void *out)
{
	int64_t hit = tine_after(1);

	while (*(const int *)in == 0 ? tine_now() < hit : !tine_cancelled())
		;
	*(int64_t *)out = tine_now();
	return *(const int *)in == 0;
}

static double stop(unsigned workers)
{
	static const tine_task task = TINE_TASK(hit_or_stop, int, int64_t);
	tine_pool *pool = make_pool(&(tine_pool_opts){ .workers = workers });
	int64_t stopped[MOST], sum = 0;
	int in[MOST];

	for (unsigned i = 0; i < workers && i < MOST; i++)
		in[i] = (int)i;
	for (int k = 0; k < HITS; k++) {
		int64_t last = 0;

		if (tine_pool_find(pool, &task, in, stopped, workers, NULL, NULL,
				   TINE_FOREVER) != 1)
			die(1, "no hit");
		for (unsigned i = 0; i < workers; i++)
			last = stopped[i] > last ? stopped[i] : last;
		sum += last - stopped[0];
	}
	tine_pool_free(pool);
	return (double)sum / HITS / 1e3;
}

static int whoever(const void *in, void *out)
{
	(void)in;
	*(pid_t *)out = getpid();
	return 0;
}

static double replace(size_t mebibytes, bool calm)
{
	static const tine_task task = { .name = "whoever",
					.fn = whoever,
					.out_size = sizeof(pid_t) };
	char *ballast = malloc(mebibytes << 20 | 1);
	const int kills = calm ? KILLS / 5 : KILLS;
	double took = 0;
	tine_pool *pool;
	pid_t worker;

	if (!ballast)
		die(1, "no memory");
	memset(ballast, 1, mebibytes << 20);
	pool = make_pool(&(tine_pool_opts){ .workers = 1 });
	(void)!tine_pool_map(pool, &task, NULL, &worker, 1, NULL, TINE_FOREVER);
	for (int i = 0; i < kills; i++) {
		pid_t dead = worker;

		if (calm)
			nanosleep(&(struct timespec){ .tv_nsec = CALM }, NULL);
		kill(dead, SIGKILL);
		took -= seconds_now();
		while (worker == dead)
			(void)!tine_pool_map(pool, &task, NULL, &worker, 1, NULL,
					     TINE_FOREVER);
		took += seconds_now();
	}
	tine_pool_free(pool);
	free(ballast);
	return took / kills * 1e3;
}

/* The sum of the lines of a file of /proc that begin with one of the labels. */
static long sum_lines(pid_t pid, const char *name, const char *const *labels)
{
	char path[64], line[256];
	long sum = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	file = fopen(path, "r");
	if (!file)
		die(SKIP,
		    "no smaps_rollup: this kernel does not say what a page belongs to");
	while (fgets(line, sizeof(line), file))
		for (int i = 0; labels[i]; i++)
			if (strncmp(line, labels[i], strlen(labels[i])) == 0)
				sum += strtol(line + strlen(labels[i]), NULL, 10);
	fclose(file);
	return sum;
}

static struct roll {
	_Atomic unsigned n;
	_Atomic pid_t pids[MOST];
} * roll;

static int enrol(void *arg)
{
	(void)arg;
	atomic_store(&roll->pids[atomic_fetch_add(&roll->n, 1)], getpid());
	return 0;
}

static double memory(unsigned workers, size_t mebibytes)
{
	static const char *const pages[] = { "Private_Clean:", "Private_Dirty:", "Swap:",
					     NULL };
	static const char *const tables[] = { "VmPTE:", NULL };
	tine_pool_opts opts = { .workers = workers, .init = enrol };
	char *ballast = malloc(mebibytes << 20 | 1);
	tine_pool *pool;
	long sum = 0;

	roll = tine_shared_new(1, sizeof(*roll));
	if (!roll || !ballast || workers > MOST)
		die(1, "no memory");
	memset(ballast, 1, mebibytes << 20);
	pool = make_pool(&opts);
	for (int i = 0; i < 1000; i++)
		map(pool, 4, 0);
	for (unsigned i = 0; i < workers; i++)
		sum += sum_lines(roll->pids[i], "smaps_rollup", pages) +
		       sum_lines(roll->pids[i], "status", tables);
	tine_pool_free(pool);
	tine_shared_free(roll);
	free(ballast);
	return (double)sum / workers;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		double (*measure)(unsigned workers);
	} measures[] = { { "call", call },     { "rested", rested },
			 { "single", single }, { "adaptive", adaptive },
			 { "start", start },   { "submit", submit },
			 { "stop", stop } };
	const char *name = argc > 2 ? argv[1] : "";
	unsigned workers = argc > 2 ? (unsigned)number(argv[2]) : 0;

	if (workers > 0 && (strcmp(name, "replace") == 0 || strcmp(name, "again") == 0)) {
		printf("%f\n",
		       replace(argc > 3 ? number(argv[3]) : 0, strcmp(name, "again")));
		return 0;
	}
	if (workers > 0 && strcmp(name, "memory") == 0) {
		printf("%f\n", memory(workers, argc > 3 ? number(argv[3]) : 0));
		return 0;
	}
	for (size_t i = 0; workers > 0 && i < sizeof(measures) / sizeof(*measures); i++)
		if (strcmp(name, measures[i].name) == 0) {
			printf("%f\n", measures[i].measure(workers));
			return 0;
		}
	die(2, "usage: pool call|rested|single|adaptive|start|submit|stop|replace|again|"
	       "memory WORKERS [MEBIBYTES]");
}
