/* SPDX-License-Identifier: MIT */
/* What the benchmarks of the cache and of its peers share. */
#ifndef BENCH_CACHE_H
#define BENCH_CACHE_H

#include "bench.h"

#include <ftw.h>
#include <stdbool.h>

#define ENTRIES 10000

static char folder[] = "/tmp/tine-bench-XXXXXX";

static inline int remove_one(const char *name, const struct stat *file, int type,
			     struct FTW *at)
{
	(void)file;
	(void)type;
	(void)at;
	return remove(name);
}

static inline void remove_folder(void)
{
	nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void need(bool good, const char *what)
{
	if (good)
		return;
	remove_folder();
	die(1, what);
}

static inline uint64_t mix(uint64_t word)
{
	word = (word ^ word >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	word = (word ^ word >> 27) * UINT64_C(0x94d049bb133111eb);
	return word ^ word >> 31;
}

#endif
