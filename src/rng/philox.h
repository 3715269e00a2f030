/* SPDX-License-Identifier: MIT */
/*
 * Random streams: Philox4x32-10, of Salmon, Moraes, Dror and Shaw, "Parallel Random
 * Numbers: As Easy as 1, 2, 3", SC 2011. A block of four words is a function of key and
 * counter: the key is the seed, the counter is 64 bits of stream above 64 bits of
 * position. So a stream can begin anywhere, and neither workers nor schedule nor machine
 * change a number.
 */
#ifndef TINE_PHILOX_H
#define TINE_PHILOX_H

#include "base/export.h"

enum rng_kind { RNG_WORDS, RNG_DOUBLES }; /* uint64_t, double */

/*
 * Writes the numbers of n blocks, two of each, that begin with the counter, whose low
 * word does not overflow on the way. Those of one instruction set are chosen when they
 * are first needed; NULL where the processor has not that instruction set.
 */
typedef void rng_body(const tine_rng *, void *out, size_t n);
rng_body *rng_body_named(const char *name, enum rng_kind);

/* By kind. */
extern rng_body *const rng_bodies_generic[];
#ifdef __x86_64__
extern rng_body *const rng_bodies_avx2[], *const rng_bodies_avx512[];
#endif

/* normal.c: the number of whose normal distribution the word is the rank. */
double rng_normal_of(uint64_t word);

#define M0     0xD2511F53u
#define M1     0xCD9E8D57u
#define W0     0x9E3779B9u
#define W1     0xBB67AE85u
#define ROUNDS 10

static inline uint64_t position(const tine_rng *rng)
{
	return (uint64_t)rng->ctr[1] << 32 | rng->ctr[0];
}

static inline void advance(tine_rng *rng, uint64_t blocks)
{
	uint64_t next = position(rng) + blocks;

	rng->ctr[0] = (uint32_t)next;
	rng->ctr[1] = next >> 32;
}

#endif
