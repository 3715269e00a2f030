/* SPDX-License-Identifier: MIT */
/*
 * Trial division, of the command's: every body finds what a plain loop finds, and in
 * products of primes that GMP makes, what these are made of.
 */
#include "divide.h"

#include "test.h"

#ifdef HAVE_GMP
#include <gmp.h>
#endif

#define TOP (UINT64_C(1) << 32)

static const char *const names[] = { "generic", "avx2", "avx512" };
#define NAMES 3

static void all_find(uint64_t n, uint64_t from, uint64_t to, uint64_t expected)
{
	for (int i = 0; i < NAMES; i++) {
		divide_body *body = divide_body_named(names[i]);
		uint64_t found = body ? body(n, from, to) : expected;

		if (found != expected)
			test_fail(__FILE__, __LINE__,
				  "%s: %" PRIu64 " from %" PRIu64 " to %" PRIu64
				  ": %" PRIu64 ", not %" PRIu64,
				  names[i], n, from, to, found, expected);
	}
}

static bool counts(uint64_t divisor)
{
	return divisor > 1 && divisor % 2 && divisor % 3 && divisor % 5 && divisor % 7;
}

static uint64_t plainly(uint64_t n, uint64_t from, uint64_t to)
{
	for (uint64_t divisor = from < 2 ? 2 : from; divisor < to; divisor++)
		if (n % divisor == 0 && counts(divisor))
			return divisor;
	return 0;
}

static void as_plainly(uint64_t n, uint64_t from, uint64_t to)
{
	all_find(n, from, to, plainly(n, from, to));
}

static uint64_t below(tine_rng *random, uint64_t limit)
{
	return limit ? tine_rng_u64(random) % limit : 0;
}

/* Of any length. */
static uint64_t any_number(tine_rng *random)
{
	return tine_rng_u64(random) >> below(random, 64);
}

TEST(here)
{
	int here = 0;

	for (int i = 0; i < NAMES; i++) {
		here += divide_body_named(names[i]) != NULL;
		fprintf(stderr, "# %s: %s\n", names[i],
			divide_body_named(names[i]) ? "here" : "not here");
	}
	CHECK(divide_body_named("generic"));
	CHECK(!divide_body_named(""));
	CHECK(!divide_body_named("sse"));
	CHECK(here >= 1);
}

static void gets(void *isas)
{
	const char *const *pair = isas;

	setenv("TINE_ISA", pair[0], 1);
	CHECK(strcmp(divide_isa(), pair[1]) == 0);
	CHECK_EQ(divide(UINT64_C(1000003) * 11, 12, 2000000), 1000003);
}

TEST(the_environment_asks_for_less)
{
	const char *widest = "generic";

	for (int i = 0; i < NAMES; i++) {
		const char *pair[] = { names[i], NULL };

		if (divide_body_named(names[i]))
			widest = names[i];
		pair[1] = widest;
		CHECK_EQ(test_reap(test_fork(gets, pair)), 0);
	}
	CHECK_EQ(test_reap(test_fork(gets, (const char *[]){ "what", widest })), 0);
}

TEST(small_numbers)
{
	for (uint64_t n = 1; n < 1000; n++) {
		for (uint64_t to = 0; to < 40; to++)
			as_plainly(n, 2, to);
		as_plainly(n, 0, n + 300);
		as_plainly(n, 2, n);
		as_plainly(n, n, n + 1);
		as_plainly(n, n + 1, 100000);
	}
	as_plainly(1, 0, TOP >> 8);
}

TEST(ranges_that_begin_and_end_anywhere)
{
	const uint64_t n = UINT64_C(11) * 13 * 211 * 419 * 421 * 631 * 1009 * 1013;

	for (uint64_t from = 0; from < 640; from++)
		for (uint64_t to = from > 3 ? from - 3 : 0; to < 640; to++)
			as_plainly(n, from, to);
	all_find(n, 5, 5, 0);
	all_find(n, 500, 100, 0);
	all_find(n, TOP, TOP, 0);
	as_plainly(n, TOP - 1, TOP);
}

/* A divisor of any length somewhere in a range of any length, and what else there is. */
TEST(random_products)
{
	tine_rng random;
	long turns = test_scaled(4000);

	tine_rng_init(&random, test_seed(), 0);
	for (long i = 0; i < turns; i++) {
		uint64_t divisor = tine_rng_u32(&random) >> below(&random, 32) | 1;
		uint64_t n = divisor * (any_number(&random) / divisor | 1);
		uint64_t before = below(&random, i % 8 ? 2000 : 300000);
		uint64_t from = divisor > before ? divisor - before : 0;
		uint64_t to = divisor + below(&random, 2000);

		as_plainly(n, from, to < TOP ? to : TOP);
	}
}

TEST(the_ends_of_64_bits_and_of_32)
{
	for (uint64_t n = UINT64_MAX; n > UINT64_MAX - 50; n--) {
		as_plainly(n, 2, 40000);
		as_plainly(n, (UINT64_C(1) << 31) - 3000, (UINT64_C(1) << 31) + 3000);
		as_plainly(n, TOP - 3000, TOP);
	}
	for (int bit = 0; bit < 64; bit++)
		for (uint64_t n = (UINT64_C(1) << bit) - 3, i = 0; i < 7; i++, n++)
			if (n > 0 && n < UINT64_MAX - 10)
				as_plainly(n, 2, 20000);
}

/* Just below, at and just above a multiple of a divisor, where doubles round. */
TEST(quotients_close_to_whole_numbers)
{
	tine_rng random;
	long turns = test_scaled(3000);

	tine_rng_init(&random, test_seed(), 1);
	for (long i = 0; i < turns; i++) {
		uint64_t divisor = tine_rng_u32(&random) >> below(&random, 20) | 1;
		uint64_t most = UINT64_MAX / divisor,
			 quotient = most >> below(&random, 8);
		uint64_t n = divisor * quotient,
			 from = divisor > 9000 ? divisor - 9000 : 2;

		for (int off = -1; off <= 1; off++)
			if (n + (uint64_t)off > 1 && (off < 1 || n < UINT64_MAX))
				as_plainly(n + (uint64_t)off, from,
					   divisor + 2 < TOP ? divisor + 2 : TOP);
	}
}

TEST(whole_ranges_of_primes)
{
	static const uint64_t primes[] = { 1000003, 999999000001, 1000000000000037,
					   100109100129162907 };

	for (int i = 0; i < 4; i++) {
		uint64_t to = i < 3 ? (uint64_t)test_scaled(32000000) : 316400221;

		all_find(primes[i], 2, i == 0 ? 1000003 : to, 0);
		if (i > 0)
			all_find(primes[0] * 11, primes[0] - 1, primes[0] + 1, primes[0]);
	}
}

#ifdef HAVE_GMP
static uint64_t next_prime(uint64_t after)
{
	uint64_t prime = 0;
	mpz_t number;

	mpz_init_set_ui(number, after);
	mpz_nextprime(number, number);
	if (mpz_sizeinbase(number, 2) <= 64)
		prime = mpz_get_ui(number);
	mpz_clear(number);
	return prime;
}

/* Looks for p, which divides n, and below p nothing does. */
static void finds_prime(uint64_t n, uint64_t p)
{
	const uint64_t near[] = { 0, 1, 2, 209, 210, 211, 5000, 100000, 60000000 };
	uint64_t expected = counts(p) ? p : 0;

	for (size_t i = 0; i < sizeof(near) / sizeof(*near); i++) {
		uint64_t from = p > near[i] ? p - near[i] : 2;

		if (near[i] == 60000000 && (getenv("TEST_SCALE") || p % 8 != 1))
			continue;
		all_find(n, from, p + 1, expected);
		all_find(n, from, p, 0);
		if (expected)
			all_find(n, from, p + 300 < TOP ? p + 300 : TOP, expected);
	}
}
#endif

TEST_LIMIT(products_of_primes_of_every_size, 120)
{
#ifdef HAVE_GMP
	tine_rng random;

	tine_rng_init(&random, test_seed(), 2);
	for (int bits = 1; bits <= 32; bits++)
		for (int others = bits; others + bits <= 64; others++) {
			uint64_t low = UINT64_C(1) << (bits - 1);
			uint64_t p = next_prime(low + below(&random, low) - 1), q, n;

			low = UINT64_C(1) << (others - 1);
			q = next_prime(low + below(&random, low) - 1);
			q = q < p ? p : q;
			if (p < TOP && !__builtin_mul_overflow(p, q, &n))
				finds_prime(n, p);
		}
#else
	test_skip("NO LIBGMP: no primes to multiply");
#endif
}

TEST_LIMIT(squares_of_primes, 120)
{
#ifdef HAVE_GMP
	tine_rng random;

	tine_rng_init(&random, test_seed(), 3);
	for (int bits = 2; bits <= 32; bits++)
		for (int i = 0; i < 8; i++) {
			uint64_t low = UINT64_C(1) << (bits - 1);
			uint64_t p = next_prime(low + below(&random, low) - 1);

			if (p < TOP)
				finds_prime(p * p, p);
		}
	/* The two largest primes of 32 bits. */
	finds_prime(UINT64_C(4294967291) * 4294967291, 4294967291);
	finds_prime(UINT64_C(4294967291) * 4294967279, 4294967279);
#else
	test_skip("NO LIBGMP: no primes to square");
#endif
}

TEST_LIMIT(primes_of_every_size, 120)
{
#ifdef HAVE_GMP
	tine_rng random;

	tine_rng_init(&random, test_seed(), 4);
	for (int bits = 2; bits <= 64; bits++)
		for (int i = 0; i < 4; i++) {
			uint64_t low = UINT64_C(1) << (bits - 1);
			uint64_t p = next_prime(low + below(&random, low) - 1);
			uint64_t end = p < TOP ? p : TOP, from = below(&random, end);
			uint64_t to = end - from < 2000000 ? end : from + 2000000;

			if (p == 0)
				continue;
			all_find(p, 2, end < 2000000 ? end : 2000000, 0);
			all_find(p, from, to, 0);
		}
#else
	test_skip("NO LIBGMP: no primes");
#endif
}
