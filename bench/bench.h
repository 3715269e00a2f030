/* SPDX-License-Identifier: MIT */
/* What the benchmarks share. */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SKIP 77 /* exit code: this machine cannot run it; bench/run knows it */

static inline double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline _Noreturn void die(int code, const char *why)
{
	fprintf(stderr, "%s\n", why);
	exit(code);
}

/* A whole number, also as 1e8, or the end. */
static inline uint64_t number(const char *text)
{
	char *end;
	double value = text ? strtod(text, &end) : -1;

	if (value < 0 || end == text || *end != '\0')
		die(2, "a number is missing");
	return (uint64_t)value;
}

static inline int compare_doubles(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

/* Sorts them. */
static inline double median(double *values, size_t n)
{
	qsort(values, n, sizeof(*values), compare_doubles);
	return values[n / 2];
}

#endif
