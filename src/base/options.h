/* SPDX-License-Identifier: MIT */
#ifndef TINE_OPTIONS_H
#define TINE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the reserved tail of an options struct is zero, as it must be. */
#define TAIL_IS_ZERO(opts)                                                               \
	all_zero((opts)->reserved, sizeof((opts)->reserved) / sizeof(uint64_t))

static inline bool all_zero(const uint64_t *words, size_t n)
{
	uint64_t any = 0;

	while (n-- > 0)
		any |= words[n];
	return any == 0;
}

#endif
