/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIMITS_H
#define TINE_LIMITS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

/* Whether a file may reach so far: to grow beyond the limit would raise SIGXFSZ. */
static inline bool file_may_reach(uint64_t size)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
	       size <= limit.rlim_cur;
}

#endif
