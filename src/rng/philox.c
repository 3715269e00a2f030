/* SPDX-License-Identifier: MIT */
/* The calls, and which body fills an array. */
#include "base/isa.h"
#include "rng/block.h"

#include <stdatomic.h>

static rng_body *const bodies[ISAS] = {
	[ISA_GENERIC] = rng_body_generic,
#ifdef __x86_64__
	[ISA_AVX2] = rng_body_avx2,
	[ISA_AVX512] = rng_body_avx512,
#endif
};

rng_body *rng_body_named(const char *name)
{
	enum isa isa = isa_named(name);

	return isa_is_here(isa) ? bodies[isa] : NULL;
}

void tine_rng_init(tine_rng *rng, uint64_t seed, uint64_t stream)
{
	*rng = (tine_rng){ .key = { (uint32_t)seed, seed >> 32 },
			   .ctr = { 0, 0, (uint32_t)stream, stream >> 32 } };
}

uint32_t tine_rng_u32(tine_rng *rng)
{
	if (rng->left == 0) {
		block(rng->key, rng->ctr, rng->buf);
		advance(rng, 1);
		rng->left = 4;
	}
	return rng->buf[4 - rng->left--];
}

uint64_t tine_rng_u64(tine_rng *rng)
{
	uint64_t low = tine_rng_u32(rng);

	return (uint64_t)tine_rng_u32(rng) << 32 | low;
}

double tine_rng_double(tine_rng *rng)
{
	return to_double(tine_rng_u64(rng));
}

void tine_rng_fill(tine_rng *rng, double *out, size_t n)
{
	static _Atomic(rng_body *) chosen;
	rng_body *body = atomic_load_explicit(&chosen, memory_order_relaxed);

	/* Relaxed, for whoever chooses chooses the same. */
	if (!body) {
		body = bodies[isa_chosen()];
		atomic_store_explicit(&chosen, body, memory_order_relaxed);
	}
	/*
	 * An odd word left over puts every number across two blocks: no body does that.
	 */
	while (n > 0 && (rng->left == 2 || rng->left == 4 || rng->left % 2 != 0)) {
		*out++ = tine_rng_double(rng);
		n--;
	}
	while (n >= 2) {
		/* The bodies take the counter's other words for constant. */
		size_t same = (size_t)((UINT64_C(1) << 32) - rng->ctr[0]);
		size_t blocks = n / 2 < same ? n / 2 : same;

		body(rng, out, blocks);
		advance(rng, blocks);
		out += 2 * blocks;
		n -= 2 * blocks;
	}
	if (n > 0)
		*out = tine_rng_double(rng);
}
