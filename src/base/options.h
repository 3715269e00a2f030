/* SPDX-License-Identifier: MIT */
#ifndef TINE_OPTIONS_H
#define TINE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether what is reserved in a struct, all of it at its end, is zero, as it must be. */
#define ROOM_IS_ZERO(opts) bytes_are_zero(opts, (opts)->reserved8, sizeof(*(opts)))
#define TAIL_IS_ZERO(opts) bytes_are_zero(opts, (opts)->reserved, sizeof(*(opts)))

static inline bool bytes_are_zero(const void *opts, const void *from, size_t size)
{
	const uint8_t *end = (const uint8_t *)opts + size;
	uint8_t any = 0;

	for (const uint8_t *at = from; at < end; at++)
		any |= *at;
	return any == 0;
}

#endif
