/* SPDX-License-Identifier: MIT */
/*
 * The vector bodies hold one block in each 64-bit lane, word by word, several vectors
 * of each word at a time to hide the latency of the multiplication. Only the low half
 * of a lane counts: _mm_mul_epu32 reads no more, so that a product serves as its own
 * low word, and its high word is one shift away. Blocks are dealt to lanes in the order
 * in which the last step, the interleaving of the blocks' two doubles, brings them back
 * to memory's.
 */
#ifndef TINE_RNG_VECTOR_H
#define TINE_RNG_VECTOR_H

#include "rng/philox.h"

#include <immintrin.h>

/* DEPTH, of the including file: vectors of each word in flight */
#define EACH	_Pragma("GCC unroll 8") for (int i = 0; i < DEPTH; i++)
#define ALL	_Pragma("GCC unroll 10")

#define INLINED static inline __attribute__((always_inline)) void

/*
 * The keys of all rounds. Of the counter's words all but the lowest are the same for
 * every block, so that of the first round one product is left, and of the second another:
 * what the constant words contribute is folded into the first keys.
 */
struct keys {
	uint64_t k0[ROUNDS], k1[ROUNDS];
};

static inline void make_keys(const tine_rng *rng, struct keys *keys)
{
	uint64_t p0, p1 = (uint64_t)M1 * rng->ctr[2];

	for (uint32_t round = 0; round < ROUNDS; round++) {
		keys->k0[round] = (uint32_t)(rng->key[0] + round * W0);
		keys->k1[round] = (uint32_t)(rng->key[1] + round * W1);
	}
	p0 = M0 * (keys->k0[0] ^ rng->ctr[1] ^ p1 >> 32);
	keys->k1[0] ^= rng->ctr[3];
	keys->k0[1] ^= (uint32_t)p1;
	keys->k1[1] ^= p0 >> 32;
	keys->k1[2] ^= (uint32_t)p0;
}

#endif
