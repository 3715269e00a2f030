/* SPDX-License-Identifier: MIT */
#include "base/export.h"

#include <time.h>

int64_t tine_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

int64_t tine_after(int64_t ms)
{
	int64_t span, deadline;

	if (__builtin_mul_overflow(ms, INT64_C(1000000), &span) ||
	    __builtin_add_overflow(span, tine_now(), &deadline))
		return ms < 0 ? TINE_NOWAIT : TINE_FOREVER;
	return deadline > 0 ? deadline : TINE_NOWAIT;
}
