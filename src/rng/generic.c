/* SPDX-License-Identifier: MIT */
/* A block at a time, where there are no vectors, and for what they leave over. */
#include "rng/block.h"

void rng_body_generic(const tine_rng *from, double *out, size_t n)
{
	tine_rng rng = *from;

	for (size_t i = 0; i < n; i++) {
		block(rng.key, rng.ctr, rng.buf);
		out[2 * i] = to_double((uint64_t)rng.buf[1] << 32 | rng.buf[0]);
		out[2 * i + 1] = to_double((uint64_t)rng.buf[3] << 32 | rng.buf[2]);
		advance(&rng, 1);
	}
}
