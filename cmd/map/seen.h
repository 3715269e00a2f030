/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_SEEN_H
#define TINE_MAP_SEEN_H

#include <stdint.h>

/* How often this hash was asked for before. */
uint64_t seen_before(uint64_t hash);

#endif
