/* SPDX-License-Identifier: MIT */
/* The calls, and which body fills an array. */
#include "base/isa.h"
#include "rng/block.h"

#include <stdatomic.h>

static rng_body *const *const bodies[ISAS] = {
	[ISA_GENERIC] = rng_bodies_generic,
#ifdef __x86_64__
	[ISA_AVX2] = rng_bodies_avx2,
	[ISA_AVX512] = rng_bodies_avx512,
#endif
};

rng_body *rng_body_named(const char *name, enum rng_kind kind)
{
	enum isa isa = isa_named(name);

	return isa_is_here(isa) ? bodies[isa][kind] : NULL;
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

/*
 * Lemire, "Fast Random Integer Generation in an Interval", ACM TOMACS 29(1), 2019: the
 * high half of word times n. Of each result's low halves those below 2^64 mod n are one
 * too many for some results, and are drawn again; n of 0 has none.
 */
uint64_t tine_rng_below(tine_rng *rng, uint64_t n)
{
	unsigned __int128 product = (unsigned __int128)tine_rng_u64(rng) * n;

	if ((uint64_t)product < n) {
		uint64_t surplus = -n % n;

		while ((uint64_t)product < surplus)
			product = (unsigned __int128)tine_rng_u64(rng) * n;
	}
	return product >> 64;
}

double tine_rng_normal(tine_rng *rng)
{
	return rng_normal_of(tine_rng_u64(rng));
}

void tine_rng_skip(tine_rng *rng, uint64_t n)
{
	if (n <= rng->left) {
		rng->left -= (uint32_t)n;
		return;
	}
	n -= rng->left;
	rng->left = 0;
	advance(rng, n / 4);
	for (n %= 4; n > 0; n--)
		tine_rng_u32(rng);
}

static rng_body *chosen_body(enum rng_kind kind)
{
	static _Atomic(rng_body *const *) chosen;
	rng_body *const *these = atomic_load_explicit(&chosen, memory_order_relaxed);

	/* Relaxed, for whoever chooses chooses the same. */
	if (!these) {
		these = bodies[isa_chosen()];
		atomic_store_explicit(&chosen, these, memory_order_relaxed);
	}
	return these[kind];
}

static void put_next(tine_rng *rng, void *out, enum rng_kind kind)
{
	if (kind == RNG_DOUBLES)
		*(double *)out = tine_rng_double(rng);
	else
		*(uint64_t *)out = tine_rng_u64(rng);
}

static void fill_numbers(tine_rng *rng, void *to, size_t n, enum rng_kind kind)
{
	rng_body *body = chosen_body(kind);
	char *out = to;

	/*
	 * An odd word left over puts every number across two blocks: no body does that.
	 */
	while (n > 0 && (rng->left == 2 || rng->left == 4 || rng->left % 2 != 0)) {
		put_next(rng, out, kind);
		out += 8;
		n--;
	}
	while (n >= 2) {
		/* The bodies take the counter's other words for constant. */
		size_t same = (size_t)((UINT64_C(1) << 32) - rng->ctr[0]);
		size_t blocks = n / 2 < same ? n / 2 : same;

		body(rng, out, blocks);
		advance(rng, blocks);
		out += 16 * blocks;
		n -= 2 * blocks;
	}
	if (n > 0)
		put_next(rng, out, kind);
}

void tine_rng_fill(tine_rng *rng, double *out, size_t n)
{
	fill_numbers(rng, out, n, RNG_DOUBLES);
}

void tine_rng_fill_u64(tine_rng *rng, uint64_t *out, size_t n)
{
	fill_numbers(rng, out, n, RNG_WORDS);
}
