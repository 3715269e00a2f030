/* SPDX-License-Identifier: MIT */
/* One block, and the double of half of it. */
#ifndef TINE_RNG_BLOCK_H
#define TINE_RNG_BLOCK_H

#include "rng/philox.h"

static inline void block(const uint32_t key[2], const uint32_t ctr[4], uint32_t out[4])
{
	uint32_t c0 = ctr[0], c1 = ctr[1], c2 = ctr[2], c3 = ctr[3];
	uint32_t k0 = key[0], k1 = key[1];

	for (int round = 0; round < ROUNDS; round++) {
		uint64_t p0 = (uint64_t)M0 * c0, p1 = (uint64_t)M1 * c2;

		c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
		c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
		c1 = (uint32_t)p1;
		c3 = (uint32_t)p0;
		k0 += W0;
		k1 += W1;
	}
	out[0] = c0;
	out[1] = c1;
	out[2] = c2;
	out[3] = c3;
}

static inline double to_double(uint64_t word)
{
	return (double)(word >> 11) * 0x1p-53;
}

#endif
