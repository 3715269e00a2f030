/* SPDX-License-Identifier: MIT */
/* A block at a time, where there are no vectors, and for what they leave over. */
#include "rng/block.h"

static void words_generic(const tine_rng *from, void *to, size_t n)
{
	tine_rng rng = *from;
	uint64_t *out = to;

	for (size_t i = 0; i < n; i++) {
		block(rng.key, rng.ctr, rng.buf);
		out[2 * i] = (uint64_t)rng.buf[1] << 32 | rng.buf[0];
		out[2 * i + 1] = (uint64_t)rng.buf[3] << 32 | rng.buf[2];
		advance(&rng, 1);
	}
}

static void doubles_generic(const tine_rng *from, void *to, size_t n)
{
	tine_rng rng = *from;
	double *out = to;

	for (size_t i = 0; i < n; i++) {
		block(rng.key, rng.ctr, rng.buf);
		out[2 * i] = to_double((uint64_t)rng.buf[1] << 32 | rng.buf[0]);
		out[2 * i + 1] = to_double((uint64_t)rng.buf[3] << 32 | rng.buf[2]);
		advance(&rng, 1);
	}
}

rng_body *const rng_bodies_generic[] = { words_generic, doubles_generic };
