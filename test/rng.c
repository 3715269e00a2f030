/* SPDX-License-Identifier: MIT */
#include "test.h"

#include "rng/philox.h"

#include <math.h>

#ifdef HAVE_RANDOM123
#include <Random123/philox.h>
#endif

static tine_rng at(const uint32_t key[2], const uint32_t ctr[4])
{
	tine_rng rng = { .left = 0 };

	memcpy(rng.key, key, sizeof(rng.key));
	memcpy(rng.ctr, ctr, sizeof(rng.ctr));
	return rng;
}

/* Those that the authors of Philox publish. */
TEST(known_answers)
{
	static const struct {
		uint32_t ctr[4], key[2], out[4];
	} known[] = {
		{ { 0, 0, 0, 0 },
		  { 0, 0 },
		  { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
		{ { ~0u, ~0u, ~0u, ~0u },
		  { ~0u, ~0u },
		  { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
		{ { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
		  { 0xa4093822, 0x299f31d0 },
		  { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		tine_rng rng = at(known[i].key, known[i].ctr);

		for (int word = 0; word < 4; word++)
			CHECK_EQ(tine_rng_u32(&rng), known[i].out[word]);
	}
}

TEST(the_same_as_random123)
{
#ifdef HAVE_RANDOM123
	tine_rng random;

	tine_rng_init(&random, test_seed(), 0);
	for (int i = 0; i < 100000; i++) {
		philox4x32_ctr_t ctr, out;
		philox4x32_key_t key;
		tine_rng rng;

		for (int word = 0; word < 4; word++)
			ctr.v[word] = tine_rng_u32(&random);
		for (int word = 0; word < 2; word++)
			key.v[word] = tine_rng_u32(&random);
		out = philox4x32(ctr, key);
		rng = at(key.v, ctr.v);
		for (int word = 0; word < 4; word++)
			CHECK_EQ(tine_rng_u32(&rng), out.v[word]);
	}
#else
	test_skip("Random123 is not installed");
#endif
}

TEST(seed_and_stream_are_key_and_counter)
{
	static const uint32_t key[2] = { 0x89abcdef, 0x01234567 };
	static const uint32_t ctr[4] = { 0, 0, 0x76543210, 0xfedcba98 };
	tine_rng rng, same = at(key, ctr);

	tine_rng_init(&rng, 0x0123456789abcdef, 0xfedcba9876543210);
	for (int i = 0; i < 100; i++)
		CHECK_EQ(tine_rng_u32(&rng), tine_rng_u32(&same));
}

TEST(words_make_up_the_larger_numbers)
{
	tine_rng words, longs, doubles;

	tine_rng_init(&words, 1, 2);
	tine_rng_init(&longs, 1, 2);
	tine_rng_init(&doubles, 1, 2);
	for (int i = 0; i < 1000; i++) {
		uint64_t low = tine_rng_u32(&words), high = tine_rng_u32(&words);
		double number = tine_rng_double(&doubles);

		CHECK_EQ(tine_rng_u64(&longs), high << 32 | low);
		CHECK(number == ldexp((double)((high << 32 | low) >> 11), -53));
		CHECK(number >= 0 && number < 1);
	}
}

static const char *const isas[] = { "generic", "avx2", "avx512" };

/* Every body, at every length up to some vectors, and up to the carry of the counter. */
TEST(bodies_are_bit_identical)
{
	static const uint64_t positions[] = { 0, 0xfffffff0, 0xffffffff, UINT64_MAX - 9 };
	enum { MOST = 200 };
	tine_rng random;

	tine_rng_init(&random, test_seed(), 0);
	for (int isa = 0; isa < 3; isa++) {
		rng_body *doubles = rng_body_named(isas[isa], RNG_DOUBLES);
		rng_body *words = rng_body_named(isas[isa], RNG_WORDS);

		if (!doubles) {
			printf("# no %s here\n", isas[isa]);
			continue;
		}
		for (size_t i = 0; i < 4 * MOST; i++) {
			uint64_t position = positions[i % 4];
			uint32_t key[2] = { tine_rng_u32(&random),
					    tine_rng_u32(&random) };
			uint32_t ctr[4] = { (uint32_t)position, position >> 32,
					    tine_rng_u32(&random),
					    tine_rng_u32(&random) };
			size_t most = (UINT64_C(1) << 32) - ctr[0],
			       n = i / 4 < most ? i / 4 : most;
			tine_rng rng = at(key, ctr), before = rng;
			double out[2 * MOST + 1];
			uint64_t longs[2 * MOST + 1];

			out[2 * n] = -1;
			longs[2 * n] = 42;
			doubles(&rng, out, n);
			words(&rng, longs, n);
			CHECK(memcmp(&rng, &before, sizeof(rng)) == 0);
			for (size_t k = 0; k < 2 * n; k++) {
				tine_rng copy = rng;

				CHECK(out[k] == tine_rng_double(&copy));
				CHECK_EQ(longs[k], tine_rng_u64(&rng));
			}
			CHECK(out[2 * n] == -1);
			CHECK_EQ(longs[2 * n], 42);
		}
	}
}

/* Across a carry of the counter, to the high word or, at its end, to zero. */
static void fill_across(uint32_t high)
{
	tine_rng fills, ones, random;
	double out[600];
	uint64_t longs[600];

	tine_rng_init(&random, test_seed(), 1);
	tine_rng_init(&fills, 3, 4);
	fills.ctr[0] = 0xffffff00;
	fills.ctr[1] = high;
	ones = fills;
	for (int i = 0; i < 2000; i++) {
		size_t n = tine_rng_u32(&random) % 600;

		/* Some words in between, so that every kind of rest is left over. */
		for (uint32_t words = tine_rng_u32(&random) % 5; words > 0; words--)
			CHECK_EQ(tine_rng_u32(&fills), tine_rng_u32(&ones));
		tine_rng_fill(&fills, out, n);
		for (size_t k = 0; k < n; k++)
			CHECK(out[k] == tine_rng_double(&ones));
		tine_rng_fill_u64(&fills, longs, n / 2);
		for (size_t k = 0; k < n / 2; k++)
			CHECK_EQ(longs[k], tine_rng_u64(&ones));
	}
	CHECK(memcmp(&fills, &ones, sizeof(fills)) == 0 || fills.left == 0 ||
	      ones.left == 0);
}

static void fill_with(void *isa)
{
	if (isa)
		setenv("TINE_ISA", isa, 1);
	fill_across(0);
	fill_across(UINT32_MAX);
}

TEST(fill_is_as_many_doubles)
{
	/* The choice is made once in a process; bad names are no choice. */
	CHECK_EQ(test_reap(test_fork(fill_with, "generic")), 0);
	CHECK_EQ(test_reap(test_fork(fill_with, "avx2")), 0);
	CHECK_EQ(test_reap(test_fork(fill_with, "avx512")), 0);
	CHECK_EQ(test_reap(test_fork(fill_with, "nonsense")), 0);
	CHECK_EQ(test_reap(test_fork(fill_with, NULL)), 0);
}

TEST(skip_is_as_many_words)
{
	static const uint64_t far[] = { 0, 0xffffffff, UINT64_MAX };
	tine_rng random;

	tine_rng_init(&random, test_seed(), 2);
	for (uint64_t i = 0; i < 1000; i++) {
		tine_rng skips, ones;
		uint64_t n = tine_rng_below(&random, 20);

		tine_rng_init(&skips, 5, i);
		/* From every place in a block. */
		for (uint64_t words = tine_rng_below(&random, 9); words > 0; words--)
			tine_rng_u32(&skips);
		ones = skips;
		tine_rng_skip(&skips, n);
		for (; n > 0; n--)
			tine_rng_u32(&ones);
		for (int word = 0; word < 9; word++)
			CHECK_EQ(tine_rng_u32(&skips), tine_rng_u32(&ones));
	}
	for (int i = 0; i < 3; i++) {
		/* The word n is word n % 4 of block n / 4. */
		uint32_t ctr[4] = { (uint32_t)(far[i] / 4), far[i] / 4 >> 32, 9, 0 };
		tine_rng skips, there;

		tine_rng_init(&skips, 7, 9);
		there = at(skips.key, ctr);
		tine_rng_skip(&skips, far[i]);
		for (uint64_t word = far[i] % 4; word > 0; word--)
			tine_rng_u32(&there);
		for (int word = 0; word < 9; word++)
			CHECK_EQ(tine_rng_u32(&skips), tine_rng_u32(&there));
	}
}

/* With n of 3 * 2^62, a third of the numbers would be twice as likely as the others. */
TEST(below_has_no_bias)
{
	static const uint64_t ns[] = { 1, 2, 3, 10, UINT64_C(1) << 63, UINT64_MAX };
	const int n = 300000;
	int thirds[3] = { 0 };
	tine_rng rng;

	tine_rng_init(&rng, 99, 0);
	for (int i = 0; i < n; i++)
		thirds[tine_rng_below(&rng, UINT64_C(3) << 62) % 3]++;
	for (int i = 0; i < 3; i++)
		CHECK(abs(thirds[i] - n / 3) < 5 * sqrt(n * 2 / 9.0));
	CHECK_EQ(tine_rng_below(&rng, 0), 0);
	for (size_t i = 0; i < sizeof(ns) / sizeof(*ns); i++) {
		/* The high word of the product, also where halves are multiplied. */
		for (int k = 0; k < 1000; k++) {
			tine_rng copy = rng;
			uint64_t below = tine_rng_below(&rng, ns[i]);
			uint64_t word = tine_rng_u64(&copy);
			uint64_t low = (uint32_t)word * (ns[i] >> 32) +
				       ((uint32_t)word * (ns[i] & UINT32_MAX) >> 32);
			uint64_t high = (word >> 32) * (ns[i] & UINT32_MAX);
			uint64_t sum = low + high;

			CHECK(below < ns[i]);
			/* Nothing is drawn again where the numbers fit. */
			if (memcmp(&copy, &rng, sizeof(rng)) == 0)
				CHECK_EQ(below, (word >> 32) * (ns[i] >> 32) +
							(sum >> 32) +
							((uint64_t)(sum < low) << 32));
			else
				CHECK((ns[i] & (ns[i] - 1)) != 0);
		}
	}
}

/*
 * From the distribution's function back to the rank, by libm's erfc(): another way, good
 * to some units of the last place. And of ranks whose numbers are known to 15 digits.
 */
TEST(normals_have_their_rank)
{
	static const struct {
		uint64_t word;
		double x;
	} known[] = {
		{ UINT64_C(3) << 62, 0.674489750196081743 },
		{ UINT64_C(1) << 62, -0.674489750196081743 },
		{ UINT64_C(1) << 32, -6.230260100639255 },
		{ 0, -8.292361075813595 },
		{ UINT64_MAX, 8.292361075813595 },
	};
	tine_rng rng;

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		CHECK(fabs(rng_normal_of(known[i].word) / known[i].x - 1) < 1e-9);
	tine_rng_init(&rng, test_seed(), 3);
	for (int i = 0; i < 200000; i++) {
		/* Every size of tail as often as the centre. */
		uint64_t word = tine_rng_u64(&rng) >> i % 64;
		double low = ((double)(word >> 11) + 0.5) * 0x1p-53;
		double x = rng_normal_of(word);

		CHECK(rng_normal_of(~word) == -x);
		if (x < 0)
			CHECK(fabs(erfc(-x / sqrt(2)) / 2 / low - 1) < 1e-13);
	}
}

/* A million, as every machine, compiler and instruction set has to have them. */
TEST(normals_have_the_same_bits_everywhere)
{
	uint64_t hash = 0;
	tine_rng rng, words;

	tine_rng_init(&rng, 1, 2);
	words = rng;
	for (int i = 0; i < 1000000; i++) {
		union {
			double number;
			uint64_t bits;
		} normal = { .number = tine_rng_normal(&rng) };

		hash = (hash ^ normal.bits) * UINT64_C(0x100000001b3);
	}
	CHECK_EQ(hash, UINT64_C(8640019469869875118));
	/* One number a word, so that a position stays one. */
	tine_rng_skip(&words, 2000000);
	CHECK_EQ(tine_rng_u32(&words), tine_rng_u32(&rng));
}

TEST(streams_differ)
{
	enum { STREAMS = 1000 };
	static uint64_t first[STREAMS];

	for (int i = 0; i < STREAMS; i++) {
		tine_rng rng;

		tine_rng_init(&rng, 42, i);
		first[i] = tine_rng_u64(&rng);
		for (int k = 0; k < i; k++)
			CHECK(first[k] != first[i]);
	}
}

/*
 * Mean and variance of a uniform number, of one stream and of one number of each stream.
 */
TEST(numbers_are_uniform)
{
	const int n = 1000000;

	for (int across = 0; across < 2; across++) {
		double sum = 0, squares = 0;
		tine_rng rng;

		tine_rng_init(&rng, 12345, 0);
		for (int i = 0; i < n; i++) {
			double x;

			if (across)
				tine_rng_init(&rng, 12345, i);
			x = tine_rng_double(&rng);
			sum += x;
			squares += x * x;
		}
		/* Five standard errors. */
		CHECK(fabs(sum / n - 0.5) < 5 * sqrt(1 / 12.0 / n));
		CHECK(fabs(squares / n - 1 / 3.0) < 5 * sqrt(4 / 45.0 / n));
	}
}
