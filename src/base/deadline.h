/* SPDX-License-Identifier: MIT */
#ifndef TINE_DEADLINE_H
#define TINE_DEADLINE_H

#include "base/export.h"

static inline int64_t earlier(int64_t deadline, int64_t other)
{
	return deadline < other ? deadline : other;
}

/*
 * Whether it is a number of milliseconds, or such, that somebody took for a deadline: a
 * moment in the first second of the clock, which is past.
 */
static inline bool is_no_deadline(int64_t deadline)
{
	const int64_t second = 1000000000;

	return __builtin_expect(deadline > 0 && deadline < second, 0) &&
	       tine_now() >= 2 * second;
}

#endif
