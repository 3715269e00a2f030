/* SPDX-License-Identifier: MIT */
/*
 * The yardstick of "tine pi": the same points from the same random streams, so the same
 * count, with all that a library brings taken away: no pool, no processes, no generator
 * apart from its use. Threads of OpenMP run one loop, made by hand for AVX-512 or AVX2,
 * that counts each point where it is drawn; no number goes through memory.
 *
 * pi-openmp TRIALS THREADS
 */
#include "bench.h"

#include <omp.h>
#include <stdbool.h>

#ifndef __x86_64__
int main(void)
{
	die(SKIP, "the hand loop is for x86-64");
}
#else
#include <immintrin.h>

#define BLOCK	      UINT64_C(65536) /* trials of a stream */
#define BATCH	      1024 /* trials of which all x are drawn, and then all y */
#define SEED	      UINT64_C(1)
#define ROUNDS	      10
#define M0	      0xD2511F53u
#define M1	      0xCD9E8D57u
#define W0	      0x9E3779B9u
#define W1	      0xBB67AE85u
#define LIMIT	      0x1p128 /* coordinates are whole, up to 2^64, of 53 bits */

/*
 * The keys of the rounds as the loop wants them: those of the first three take in what is
 * the same for all blocks of the stream.
 */
struct stream {
	uint64_t k0[ROUNDS], k1[ROUNDS];
};

static void begin(struct stream *stream, uint64_t id)
{
	uint64_t p1 = (uint64_t)M1 * (uint32_t)id, p0;

	for (uint32_t round = 0; round < ROUNDS; round++) {
		stream->k0[round] = (uint32_t)(SEED + round * W0);
		stream->k1[round] = (uint32_t)((SEED >> 32) + round * W1);
	}
	p0 = M0 * (stream->k0[0] ^ p1 >> 32);
	stream->k1[0] ^= id >> 32;
	stream->k0[1] ^= (uint32_t)p1;
	stream->k1[1] ^= p0 >> 32;
	stream->k1[2] ^= (uint32_t)p0;
}

/* ---- AVX-512 ----------------------------------------------------------------------- */

#define AVX512	      __attribute__((target("avx512f,avx512dq,avx512vl,popcnt")))

AVX512 static inline __m512i last_avx512(__m512i p, __m512i c, __m512i k)
{
	return _mm512_mask_ternarylogic_epi32(_mm512_rol_epi64(p, 32), 0x5555, c, k,
					      0x96);
}

AVX512 static inline unsigned inside_avx512(__m512i x_word, __m512i y_word)
{
	const __m512i high_53 = _mm512_set1_epi64(~0x7ffLL);
	__m512d x = _mm512_cvtepu64_pd(_mm512_and_si512(x_word, high_53));
	__m512d y = _mm512_cvtepu64_pd(_mm512_and_si512(y_word, high_53));
	__m512d square = _mm512_fmadd_pd(x, x, _mm512_mul_pd(y, y));

	return (unsigned)__builtin_popcount(
		_mm512_cmp_pd_mask(square, _mm512_set1_pd(LIMIT), _CMP_LE_OQ));
}

#define EIGHT	      _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0)
#define NAME	      count_avx512
#define TARGET	      AVX512
#define LANES	      8
#define DEPTH	      4
#define words	      __m512i
#define SPREAD(n)     _mm512_set1_epi64((long long)(n))
#define LINE(n)	      _mm512_mullo_epi64(SPREAD(n), EIGHT)
#define ADD	      _mm512_add_epi64
#define XOR	      _mm512_xor_si512
#define XOR3(a, b, c) _mm512_ternarylogic_epi64(a, b, c, 0x96)
#define MUL	      _mm512_mul_epu32
#define HIGH(a)	      _mm512_srli_epi64(a, 32)
#define LAST	      last_avx512
#define INSIDE	      inside_avx512
#include "pi_lanes.h"

/* ---- AVX2 -------------------------------------------------------------------------- */

#define AVX2	  __attribute__((target("avx2,fma,popcnt")))

AVX2 static inline __m256i last_avx2(__m256i p, __m256i c, __m256i k)
{
	__m256i exchanged = _mm256_shuffle_epi32(p, 0xb1);

	return _mm256_blend_epi32(
		exchanged, _mm256_xor_si256(exchanged, _mm256_xor_si256(c, k)), 0x55);
}

/* The halves of the high 53 bits as the low bits of 2^95 and of 2^63. */
AVX2 static inline __m256d number_avx2(__m256i word)
{
	__m256i bottom = _mm256_blend_epi32(_mm256_srli_epi64(word, 11),
					    _mm256_set1_epi64x(0x43e0000000000000), 0xaa);
	__m256i top = _mm256_or_si256(_mm256_srli_epi64(word, 43),
				      _mm256_set1_epi64x(0x45e0000000000000));

	return _mm256_add_pd(
		_mm256_sub_pd(_mm256_castsi256_pd(top), _mm256_set1_pd(0x1p95 + 0x1p63)),
		_mm256_castsi256_pd(bottom));
}

AVX2 static inline unsigned inside_avx2(__m256i x_word, __m256i y_word)
{
	__m256d x = number_avx2(x_word), y = number_avx2(y_word);
	__m256d square = _mm256_fmadd_pd(x, x, _mm256_mul_pd(y, y));
	__m256d in = _mm256_cmp_pd(square, _mm256_set1_pd(LIMIT), _CMP_LE_OQ);

	return (unsigned)__builtin_popcount((unsigned)_mm256_movemask_pd(in));
}

#define NAME	  count_avx2
#define TARGET	  AVX2
#define LANES	  4
#define DEPTH	  2
#define words	  __m256i
#define SPREAD(n) _mm256_set1_epi64x((long long)(n))
#define LINE(n)                                                                          \
	_mm256_set_epi64x((long long)(3 * (n)), (long long)(2 * (n)), (long long)(n), 0)
#define ADD	      _mm256_add_epi64
#define XOR	      _mm256_xor_si256
#define XOR3(a, b, c) XOR(XOR(a, b), c)
#define MUL	      _mm256_mul_epu32
#define HIGH(a)	      _mm256_srli_epi64(a, 32)
#define LAST	      last_avx2
#define INSIDE	      inside_avx2
#include "pi_lanes.h"

/* ---- the end of a stream that is no whole batch ------------------------------------ */

static void draw(const struct stream *stream, uint64_t at, double pair[2])
{
	uint64_t p0 = M0 * at, p1 = M1 * (p0 >> 32 ^ stream->k1[0]);
	uint64_t c0 = p1 >> 32 ^ stream->k0[1], c1 = (uint32_t)p1;
	uint64_t c2 = (uint32_t)p0 ^ stream->k1[1], c3 = 0;

	for (int round = 2; round < ROUNDS; round++) {
		p0 = M0 * c0;
		p1 = M1 * c2;
		c0 = p1 >> 32 ^ c1 ^ stream->k0[round];
		c2 = p0 >> 32 ^ c3 ^ stream->k1[round];
		c1 = (uint32_t)p1;
		c3 = (uint32_t)p0;
	}
	pair[0] = (double)((c1 << 32 | c0) & ~UINT64_C(0x7ff));
	pair[1] = (double)((c3 << 32 | c2) & ~UINT64_C(0x7ff));
}

static uint64_t count_rest(const struct stream *stream, uint64_t batches, uint64_t trials)
{
	uint64_t inside = 0, at = batches * BATCH;

	for (uint64_t i = 0; i < trials; i++) {
		double x[2], y[2];

		draw(stream, at + i / 2, x);
		draw(stream, at + BATCH / 2 + i / 2, y);
		inside += x[i % 2] * x[i % 2] + y[i % 2] * y[i % 2] <= LIMIT;
	}
	return inside;
}

static uint64_t count_stream(uint64_t id, uint64_t trials, bool avx512)
{
	unsigned batches = (unsigned)(trials / BATCH);
	struct stream stream;
	uint64_t inside;

	begin(&stream, id);
	inside = avx512 ? count_avx512(&stream, batches) : count_avx2(&stream, batches);
	return inside + count_rest(&stream, batches, trials % BATCH);
}

int main(int argc, char **argv)
{
	uint64_t trials = number(argc > 1 ? argv[1] : NULL), inside = 0;
	int threads = (int)number(argc > 2 ? argv[2] : NULL);
	long streams = (long)((trials + BLOCK - 1) / BLOCK);
	bool avx512 = __builtin_cpu_supports("avx512f") &&
		      __builtin_cpu_supports("avx512dq") &&
		      __builtin_cpu_supports("avx512vl");

	if (!avx512 && !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")))
		die(SKIP, "the hand loop needs AVX2");
#pragma omp parallel for num_threads(threads) schedule(dynamic, 4) reduction(+ : inside)
	for (long id = 0; id < streams; id++) {
		uint64_t left = trials - (uint64_t)id * BLOCK;

		inside += count_stream((uint64_t)id, left < BLOCK ? left : BLOCK, avx512);
	}
	printf("{\"inside\": %llu}\n", (unsigned long long)inside);
	return 0;
}
#endif
