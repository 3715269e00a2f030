/* SPDX-License-Identifier: MIT */
#include "base/cpus.h"

#include "base/cgroup.h"
#include "base/export.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

unsigned cpus_sharers = 1;

/* The kernel says EINVAL while the set is too small for the machine. */
unsigned affine_processors(void)
{
	for (int n = 1024; n <= 1024 * 1024; n *= 2) {
		cpu_set_t *set = CPU_ALLOC(n);
		size_t size = CPU_ALLOC_SIZE(n);
		int count;

		if (!set)
			break;
		count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
		CPU_FREE(set);
		if (count > 0)
			return count;
		if (errno != EINVAL)
			break;
	}
	return 1;
}

static void least_quota(int dir, bool v2, void *arg)
{
	const char *quota_file = v2 ? "cpu.max" : "cpu.cfs_quota_us";
	unsigned *least = arg;
	uint64_t quota, period, cpus;

	if (!cgroup_number(dir, quota_file, 0, &quota) ||
	    !cgroup_number(dir, v2 ? "cpu.max" : "cpu.cfs_period_us", v2, &period) ||
	    quota == 0 || period == 0)
		return;
	cpus = (quota - 1) / period + 1;
	if (cpus < *least)
		*least = cpus;
}

unsigned processors(const char *root)
{
	unsigned least = affine_processors();

	cgroup_walk(root, "cpu", least_quota, &least);
	return least;
}

bool cpus_are_none(void)
{
	const char *given = getenv("TINE_WORKERS");

	return given && strcmp(given, "0") == 0;
}

static unsigned all_cpus(void)
{
	const char *given = getenv("TINE_WORKERS");

	if (given && *given >= '0' && *given <= '9') {
		char *end;
		unsigned long n = strtoul(given, &end, 10);

		if (*end == '\0' && n > 0)
			return n < MAX_WORKERS ? n : MAX_WORKERS;
	}
	return processors("");
}

unsigned tine_cpus(void)
{
	unsigned share = all_cpus() / cpus_sharers;

	return share > 0 ? share : 1;
}
