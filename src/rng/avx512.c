/* SPDX-License-Identifier: MIT */
/* Eight blocks in a vector. */
#ifdef __x86_64__
#include "rng/vector.h"

#define AVX512 __attribute__((target("avx512f,avx512dq")))
#define DEPTH  8

AVX512 static inline __m512i xor3(__m512i a, __m512i b, __m512i c)
{
	return _mm512_ternarylogic_epi64(a, b, c, 0x96);
}

/*
 * As last_avx2() in avx2.c. The low 11 bits that do not count are cleared, and not
 * shifted out.
 */
AVX512 static inline __m512d last_avx512(__m512i product, __m512i word, __m512i key,
					 enum rng_kind kind)
{
	__m512i swapped = _mm512_rol_epi64(product, 32);
	__m512i words = _mm512_mask_ternarylogic_epi32(swapped, 0x5555, word, key, 0x96);

	if (kind == RNG_WORDS)
		return _mm512_castsi512_pd(words);
	words = _mm512_and_si512(words, _mm512_set1_epi64(~0x7ffLL));
	return _mm512_mul_pd(_mm512_cvtepu64_pd(words), _mm512_set1_pd(0x1p-64));
}

AVX512 INLINED fill_avx512(const tine_rng *rng, void *to, size_t n, enum rng_kind kind)
{
	const size_t step = 8 * DEPTH;
	const __m512i m0 = _mm512_set1_epi64(M0), m1 = _mm512_set1_epi64(M1);
	const __m512i order = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0);
	__m512i k0[ROUNDS], k1[ROUNDS], product;
	size_t done = 0;
	double *out = to;
	tine_rng rest = *rng;
	struct keys keys;

	make_keys(rng, &keys);
	for (int round = 0; round < ROUNDS; round++) {
		k0[round] = _mm512_set1_epi64((long long)keys.k0[round]);
		k1[round] = _mm512_set1_epi64((long long)keys.k1[round]);
	}
	/* The first round's product grows with the position: it is added up. */
	product = _mm512_mullo_epi64(
		_mm512_add_epi64(_mm512_set1_epi64(rng->ctr[0]), order), m0);
	for (; n - done >= step; done += step, out += 2 * step) {
		__m512i c0[DEPTH], c1[DEPTH], c2[DEPTH], c3[DEPTH];

		EACH
		{
			__m512i p0 = _mm512_add_epi64(
				product, _mm512_set1_epi64((long long)M0 * 8 * i));
			__m512i p1 = _mm512_mul_epu32(
				_mm512_xor_si512(_mm512_srli_epi64(p0, 32), k1[0]), m1);

			c0[i] = _mm512_xor_si512(_mm512_srli_epi64(p1, 32), k0[1]);
			c1[i] = p1;
			c2[i] = _mm512_xor_si512(p0, k1[1]);
			c3[i] = _mm512_setzero_si512();
		}
		product = _mm512_add_epi64(product,
					   _mm512_set1_epi64((long long)M0 * step));
		ALL for (int round = 2; round < ROUNDS - 1; round++)
		{
			EACH
			{
				__m512i p0 = _mm512_mul_epu32(c0[i], m0);
				__m512i p1 = _mm512_mul_epu32(c2[i], m1);

				c0[i] = xor3(_mm512_srli_epi64(p1, 32), c1[i], k0[round]);
				c2[i] = xor3(_mm512_srli_epi64(p0, 32), c3[i], k1[round]);
				c1[i] = p1;
				c3[i] = p0;
			}
		}
		EACH
		{
			__m512d x = last_avx512(_mm512_mul_epu32(c2[i], m1), c1[i],
						k0[ROUNDS - 1], kind);
			__m512d y = last_avx512(_mm512_mul_epu32(c0[i], m0), c3[i],
						k1[ROUNDS - 1], kind);

			_mm512_storeu_pd(out + 16 * i, _mm512_unpacklo_pd(x, y));
			_mm512_storeu_pd(out + 16 * i + 8, _mm512_unpackhi_pd(x, y));
		}
	}
	advance(&rest, done);
	rng_bodies_generic[kind](&rest, out, n - done);
}

AVX512 static void words_avx512(const tine_rng *rng, void *out, size_t n)
{
	fill_avx512(rng, out, n, RNG_WORDS);
}

AVX512 static void doubles_avx512(const tine_rng *rng, void *out, size_t n)
{
	fill_avx512(rng, out, n, RNG_DOUBLES);
}

rng_body *const rng_bodies_avx512[] = { words_avx512, doubles_avx512 };
#endif
