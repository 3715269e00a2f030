/* SPDX-License-Identifier: MIT */
/*
 * What a trace costs: trace MEASURE WORKERS prints how many per cent longer it takes with
 * one than without, the median of many pairs of runs.
 *
 *	jobs		jobs of some 100 microseconds
 *	short		empty jobs, chunk of the pool's choice
 *	single		empty jobs, chunk 1
 *	calls		maps of 4 empty jobs
 */
#include "bench.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <tine.h>
#include <unistd.h>

#define PAIRS 21

static int nothing(const void *in, void *out)
{
	(void)in;
	(void)out;
	return 0;
}

/* A chain that no processor shortens. */
static int spin(const void *in, void *out)
{
	uint64_t x = (uint64_t)(uintptr_t)in;

	(void)out;
	for (int i = 0; i < 60000; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		__asm__ volatile("" : "+r"(x));
	}
	return 0;
}

static const struct measure {
	const char *name;
	tine_task task;
	size_t jobs, chunk, maps;
} measures[] = {
	{ "jobs", { .name = "spin", .fn = spin }, 1000, 0, 1 },
	{ "short", { .name = "nothing", .fn = nothing }, 10000000, 0, 1 },
	{ "single", { .name = "nothing", .fn = nothing }, 1000000, 1, 1 },
	{ "calls", { .name = "nothing", .fn = nothing }, 4, 0, 2000 },
};

static double run(const struct measure *measure, unsigned workers)
{
	tine_pool_opts opts = { .workers = workers };
	tine_map_opts map = { .chunk = measure->chunk };
	tine_pool *pool;
	double begun;
	int err = tine_pool_new(&pool, &opts);

	for (int i = 0; err == 0 && i < 10; i++)
		err = tine_pool_map(pool, &measure->task, NULL, NULL, 16, &map,
				    TINE_FOREVER);
	begun = seconds_now();
	for (size_t i = 0; err == 0 && i < measure->maps; i++)
		err = tine_pool_map(pool, &measure->task, NULL, NULL, measure->jobs, &map,
				    TINE_FOREVER);
	begun = seconds_now() - begun;
	if (err)
		die(1, tine_strerror(err));
	tine_pool_free(pool);
	return begun;
}

/* In a process of its own: the library looks at TINE_TRACE once. */
static double run_apart(const struct measure *measure, unsigned workers, bool traced)
{
	char path[64];
	double seconds = 0;
	int ends[2];
	pid_t pid;

	if (pipe(ends) != 0)
		die(1, "no pipe");
	pid = fork();
	if (pid == 0) {
		if (traced)
			setenv("TINE_TRACE", "/tmp/tine-bench-%p.json", 1);
		else
			unsetenv("TINE_TRACE");
		seconds = run(measure, workers);
		_exit(write(ends[1], &seconds, sizeof(seconds)) != sizeof(seconds));
	}
	close(ends[1]);
	if (pid < 0 || read(ends[0], &seconds, sizeof(seconds)) != sizeof(seconds))
		die(1, "a run failed");
	close(ends[0]);
	waitpid(pid, NULL, 0);
	snprintf(path, sizeof(path), "/tmp/tine-bench-%d.json", (int)pid);
	unlink(path);
	return seconds;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double cost(const struct measure *measure, unsigned workers)
{
	double ratios[PAIRS];

	for (int i = 0; i < PAIRS; i++) {
		/* Whoever comes second may find the processor warmer. */
		bool first = i % 2;
		double seconds[2];

		seconds[first] = run_apart(measure, workers, first);
		seconds[!first] = run_apart(measure, workers, !first);
		ratios[i] = seconds[1] / seconds[0];
	}
	qsort(ratios, PAIRS, sizeof(*ratios), compare);
	return (ratios[PAIRS / 2] - 1) * 100;
}

int main(int argc, char **argv)
{
	int workers = argc == 3 ? atoi(argv[2]) : 0;

	for (size_t i = 0; workers > 0 && i < sizeof(measures) / sizeof(*measures); i++)
		if (strcmp(argv[1], measures[i].name) == 0) {
			printf("%.3f\n", cost(&measures[i], (unsigned)workers));
			return 0;
		}
	die(2, "usage: trace jobs|short|single|calls WORKERS");
}
