/* SPDX-License-Identifier: MIT */
/*
 * Random streams: Philox4x32-10, of Salmon, Moraes, Dror and Shaw, "Parallel Random
 * Numbers: As Easy as 1, 2, 3", SC 2011. A block of four words is a function of key and
 * counter: the key is the seed, the counter is 64 bits of stream above 64 bits of
 * position. So a stream can begin anywhere, and neither workers nor schedule nor machine
 * change a number.
 *
 * The vector bodies hold one block in each 64-bit lane, word by word, four vectors of
 * each word at a time to hide the latency of the multiplication. Only the low half of a
 * lane counts: _mm_mul_epu32 reads no more, so that a product serves as its own low word,
 * and its high word is one shift away. Blocks are dealt to lanes in the order in which
 * the last step, the interleaving of the blocks' two doubles, brings them back to
 * memory's.
 */
#include "rng/philox.h"

#include "base/isa.h"

#include <stdatomic.h>

#define M0     0xD2511F53u
#define M1     0xCD9E8D57u
#define W0     0x9E3779B9u
#define W1     0xBB67AE85u
#define ROUNDS 10

static uint64_t position(const tine_rng *rng)
{
	return (uint64_t)rng->ctr[1] << 32 | rng->ctr[0];
}

static void advance(tine_rng *rng, uint64_t blocks)
{
	uint64_t next = position(rng) + blocks;

	rng->ctr[0] = (uint32_t)next;
	rng->ctr[1] = next >> 32;
}

static void block(const uint32_t key[2], const uint32_t ctr[4], uint32_t out[4])
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

static double to_double(uint64_t word)
{
	return (double)(word >> 11) * 0x1p-53;
}

static void body_generic(const tine_rng *from, double *out, size_t n)
{
	tine_rng rng = *from;

	for (size_t i = 0; i < n; i++) {
		block(rng.key, rng.ctr, rng.buf);
		out[2 * i] = to_double((uint64_t)rng.buf[1] << 32 | rng.buf[0]);
		out[2 * i + 1] = to_double((uint64_t)rng.buf[3] << 32 | rng.buf[2]);
		advance(&rng, 1);
	}
}

#ifdef __x86_64__
#include <immintrin.h>

#define DEPTH 4 /* vectors of each word in flight */
#define EACH  _Pragma("GCC unroll 4") for (int i = 0; i < DEPTH; i++)
#define ALL   _Pragma("GCC unroll 10")

/*
 * The keys of all rounds. Of the counter's words all but the lowest are the same for
 * every block, so that of the first round one product is left, and of the second another:
 * what the constant words contribute is folded into the first keys.
 */
struct keys {
	uint64_t k0[ROUNDS], k1[ROUNDS];
};

static void make_keys(const tine_rng *rng, struct keys *keys)
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

#define AVX2 __attribute__((target("avx2")))

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
AVX2 static inline __m256d last_avx2(__m256i product, __m256i word, __m256i key)
{
	__m256i keyed = _mm256_xor_si256(_mm256_xor_si256(word, key),
					 _mm256_srli_epi64(product, 32));

	return to_doubles_avx2(
		_mm256_blend_epi32(keyed, _mm256_slli_epi64(product, 32), 0xaa));
}

AVX2 static void body_avx2(const tine_rng *rng, double *out, size_t n)
{
	const size_t step = 4 * DEPTH;
	const __m256i m0 = _mm256_set1_epi64x(M0), m1 = _mm256_set1_epi64x(M1);
	const __m256i order = _mm256_set_epi64x(3, 1, 2, 0);
	size_t done = 0;
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
			__m256d x = last_avx2(_mm256_mul_epu32(c2[i], m1), c1[i], k0);
			__m256d y = last_avx2(_mm256_mul_epu32(c0[i], m0), c3[i], k1);

			_mm256_storeu_pd(out + 8 * i, _mm256_unpacklo_pd(x, y));
			_mm256_storeu_pd(out + 8 * i + 4, _mm256_unpackhi_pd(x, y));
		}
	}
	advance(&rest, done);
	body_generic(&rest, out, n - done);
}

#define AVX512 __attribute__((target("avx512f,avx512dq")))

AVX512 static inline __m512i xor3(__m512i a, __m512i b, __m512i c)
{
	return _mm512_ternarylogic_epi64(a, b, c, 0x96);
}

/* As last_avx2(). The low 11 bits that do not count are cleared, and not shifted out. */
AVX512 static inline __m512d last_avx512(__m512i product, __m512i word, __m512i key)
{
	__m512i swapped = _mm512_rol_epi64(product, 32);
	__m512i words = _mm512_mask_ternarylogic_epi32(swapped, 0x5555, word, key, 0x96);

	words = _mm512_and_si512(words, _mm512_set1_epi64(~0x7ffLL));
	return _mm512_mul_pd(_mm512_cvtepu64_pd(words), _mm512_set1_pd(0x1p-64));
}

AVX512 static void body_avx512(const tine_rng *rng, double *out, size_t n)
{
	const size_t step = 8 * DEPTH;
	const __m512i m0 = _mm512_set1_epi64(M0), m1 = _mm512_set1_epi64(M1);
	const __m512i order = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0);
	__m512i k0[ROUNDS], k1[ROUNDS], product;
	size_t done = 0;
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
						k0[ROUNDS - 1]);
			__m512d y = last_avx512(_mm512_mul_epu32(c0[i], m0), c3[i],
						k1[ROUNDS - 1]);

			_mm512_storeu_pd(out + 16 * i, _mm512_unpacklo_pd(x, y));
			_mm512_storeu_pd(out + 16 * i + 8, _mm512_unpackhi_pd(x, y));
		}
	}
	advance(&rest, done);
	body_generic(&rest, out, n - done);
}
#endif

static rng_body *const bodies[ISAS] = {
	[ISA_GENERIC] = body_generic,
#ifdef __x86_64__
	[ISA_AVX2] = body_avx2,
	[ISA_AVX512] = body_avx512,
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
