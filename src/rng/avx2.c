/* SPDX-License-Identifier: MIT */
/* Four blocks in a vector. */
#ifdef __x86_64__
#include "rng/vector.h"

#define AVX2  __attribute__((target("avx2")))
#define DEPTH 4

/* The exact double of a 53-bit number: its halves as the low bits of 2^84 and of 2^52. */
AVX2 static inline __m256d to_doubles_avx2(__m256i words)
{
	const __m256i low_exponent = _mm256_set1_epi64x(0x4330000000000000);
	const __m256i high_exponent = _mm256_set1_epi64x(0x4530000000000000);
	const __m256d both = _mm256_set1_pd(0x1p84 + 0x1p52);
	__m256i number = _mm256_srli_epi64(words, 11);
	__m256i low = _mm256_blend_epi32(number, low_exponent, 0xaa);
	__m256i high = _mm256_or_si256(_mm256_srli_epi64(number, 32), high_exponent);
	__m256d sum = _mm256_add_pd(_mm256_sub_pd(_mm256_castsi256_pd(high), both),
				    _mm256_castsi256_pd(low));

	return _mm256_mul_pd(sum, _mm256_set1_pd(0x1p-53));
}

/* The last round: a block's word pair is the product's high half, keyed, and its low. */
AVX2 static inline __m256d last_avx2(__m256i product, __m256i word, __m256i key,
				     enum rng_kind kind)
{
	__m256i keyed = _mm256_xor_si256(_mm256_xor_si256(word, key),
					 _mm256_srli_epi64(product, 32));
	__m256i words = _mm256_blend_epi32(keyed, _mm256_slli_epi64(product, 32), 0xaa);

	return kind == RNG_DOUBLES ? to_doubles_avx2(words) : _mm256_castsi256_pd(words);
}

AVX2 INLINED fill_avx2(const tine_rng *rng, void *to, size_t n, enum rng_kind kind)
{
	const size_t step = 4 * DEPTH;
	const __m256i m0 = _mm256_set1_epi64x(M0), m1 = _mm256_set1_epi64x(M1);
	const __m256i order = _mm256_set_epi64x(3, 1, 2, 0);
	size_t done = 0;
	double *out = to;
	tine_rng rest = *rng;
	struct keys keys;

	make_keys(rng, &keys);
	for (; n - done >= step; done += step, out += 2 * step) {
		__m256i c0[DEPTH], c1[DEPTH], c2[DEPTH], c3[DEPTH];
		uint64_t at = rng->ctr[0] + done;

		EACH
		{
			__m256i first = _mm256_set1_epi64x((long long)(at + 4u * i));
			__m256i p0 = _mm256_mul_epu32(_mm256_add_epi64(first, order), m0);
			__m256i p1 = _mm256_mul_epu32(
				_mm256_xor_si256(
					_mm256_srli_epi64(p0, 32),
					_mm256_set1_epi64x((long long)keys.k1[0])),
				m1);

			c0[i] = _mm256_xor_si256(
				_mm256_srli_epi64(p1, 32),
				_mm256_set1_epi64x((long long)keys.k0[1]));
			c1[i] = p1;
			c2[i] = _mm256_xor_si256(
				p0, _mm256_set1_epi64x((long long)keys.k1[1]));
			c3[i] = _mm256_setzero_si256();
		}
		ALL for (int round = 2; round < ROUNDS - 1; round++)
		{
			__m256i k0 = _mm256_set1_epi64x((long long)keys.k0[round]);
			__m256i k1 = _mm256_set1_epi64x((long long)keys.k1[round]);

			EACH
			{
				__m256i p0 = _mm256_mul_epu32(c0[i], m0);
				__m256i p1 = _mm256_mul_epu32(c2[i], m1);

				c0[i] = _mm256_xor_si256(_mm256_xor_si256(c1[i], k0),
							 _mm256_srli_epi64(p1, 32));
				c2[i] = _mm256_xor_si256(_mm256_xor_si256(c3[i], k1),
							 _mm256_srli_epi64(p0, 32));
				c1[i] = p1;
				c3[i] = p0;
			}
		}
		EACH
		{
			__m256i k0 = _mm256_set1_epi64x((long long)keys.k0[ROUNDS - 1]);
			__m256i k1 = _mm256_set1_epi64x((long long)keys.k1[ROUNDS - 1]);
			__m256d x = last_avx2(_mm256_mul_epu32(c2[i], m1), c1[i], k0,
					      kind);
			__m256d y = last_avx2(_mm256_mul_epu32(c0[i], m0), c3[i], k1,
					      kind);

			_mm256_storeu_pd(out + 8 * i, _mm256_unpacklo_pd(x, y));
			_mm256_storeu_pd(out + 8 * i + 4, _mm256_unpackhi_pd(x, y));
		}
	}
	advance(&rest, done);
	rng_bodies_generic[kind](&rest, out, n - done);
}

AVX2 static void words_avx2(const tine_rng *rng, void *out, size_t n)
{
	fill_avx2(rng, out, n, RNG_WORDS);
}

AVX2 static void doubles_avx2(const tine_rng *rng, void *out, size_t n)
{
	fill_avx2(rng, out, n, RNG_DOUBLES);
}

rng_body *const rng_bodies_avx2[] = { words_avx2, doubles_avx2 };
#endif
