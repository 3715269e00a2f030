/* SPDX-License-Identifier: MIT */
/*
 * What OpenMP asks for the same, in the unit of pool.c: pool-openmp MEASURE THREADS, with
 * call, single or guided, prints one number.
 */
#include "bench.h"

#include <omp.h>
#include <string.h>

#define CALLS  20000
#define SINGLE 1000000
#define GUIDED 20000000

static int nothing(const void *in, void *out)
{
	(void)in;
	(void)out;
	return 0;
}

/* Read at each job, so that it stays a call. */
static int (*volatile job)(const void *, void *) = nothing;

static void map_single(int n)
{
#pragma omp parallel for schedule(dynamic, 1)
	for (int i = 0; i < n; i++)
		job(NULL, NULL);
}

static void map_guided(int n)
{
#pragma omp parallel for schedule(guided)
	for (int i = 0; i < n; i++)
		job(NULL, NULL);
}

/* Seconds of each of so many maps, of so many jobs. */
static double time_maps(void (*map)(int), int maps, int n)
{
	double begun;

	for (int i = 0; i < 100; i++)
		map(4);
	begun = seconds_now();
	for (int i = 0; i < maps; i++)
		map(n);
	return (seconds_now() - begun) / maps;
}

int main(int argc, char **argv)
{
	const char *name = argc > 2 ? argv[1] : "";

	omp_set_num_threads(argc > 2 ? (int)number(argv[2]) : 1);
	if (strcmp(name, "call") == 0)
		printf("%f\n", time_maps(map_single, CALLS, 4) * 1e6);
	else if (strcmp(name, "single") == 0)
		printf("%f\n", time_maps(map_single, 1, SINGLE) / SINGLE * 1e9);
	else if (strcmp(name, "guided") == 0)
		printf("%f\n", GUIDED / time_maps(map_guided, 1, GUIDED) / 1e6);
	else
		die(2, "usage: pool-openmp call|single|guided THREADS");
	return 0;
}
