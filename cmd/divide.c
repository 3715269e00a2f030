/* SPDX-License-Identifier: MIT */
/*
 * Trial division by all numbers of a range that 2, 3, 5 and 7 do not divide: 48 of each
 * 210, a turn of the wheel. There are three ways to divide, all exact.
 *
 * One by one, where the quotient n/d may be 2^50 or more: d <= n >> 50, less than 2^14.
 *
 * By doubles, a turn at a time. n as a double has a relative error of 2^-53 at most, the
 * division by d (exact, it has 33 bits at most) adds as much, so that the quotient is off
 * by n/d * 2^-52 < 1/4 and a little. 2^52 is added, which rounds it to an integer q, and
 * leaves q in the low bits. If d divides n, then n/d is an integer, and q is that one. If
 * not, then q is off by 3/4 and a little at most. So r = n - q d, in integers, is 0 just
 * where d divides n, and |r| < d: where it is negative, r + d is the remainder.
 *
 * By carrying remainders to the next turn, which takes additions alone. Let d' = d + 210,
 * and a an integer. With n = q d + r
 *
 *	n = (q - a) d' + r',	r' = r + t,	t = a d' - 210 q
 *
 * The quotient falls by floor(n/d) - floor(n/d') from turn to turn. That lies less than 1
 * off n/d - n/d', so if a is the integer part of this, it is a or a + 1: r' is the
 * remainder, or it is negative and r' + d' is. In the next turn t is larger by 420 a, and
 * if one more was taken from the quotient, by another 210. This goes on for as many turns
 * as n/d - n/d' keeps its integer part: three where d is the cube root of n * 2^18, then
 * hundreds. It falls steadily, so that its ends tell how many. They are computed with
 * doubles, and one turn is left out, in which it falls by more than they are off.
 *
 * Remainders are carried in 32 bits. r' is in [-d', d'), and d' at most 2^31, so that the
 * sign is true; t need only be right modulo 2^32. r - 1 is negative just where r is 0.
 * Larger divisors, which only numbers above 2^62 have below their root, take doubles.
 *
 * divide_body.h has the last two, for vectors of any width.
 */
#include "divide.h"

#include "base/isa.h"

#include <math.h>

#define WHEEL 210
#define EACH  48
#define LEAST 3	  /* turns that are worth to be carried */
#define MOST  256 /* done anew by doubles when there is a divisor among them */
#define TOP   (INT64_C(1) << 31)

/* From 2^52 on doubles are whole numbers, and these are the bits of the first. */
#define WHOLE_NUMBERS 0x1p52
#define WHOLE_BITS    0x4330000000000000

/* clang-format off */
static const int64_t wheel[EACH] __attribute__((aligned(64))) = {
	  1,  11,  13,  17,  19,  23,  29,  31,  37,  41,  43,  47,
	 53,  59,  61,  67,  71,  73,  79,  83,  89,  97, 101, 103,
	107, 109, 113, 121, 127, 131, 137, 139, 143, 149, 151, 157,
	163, 167, 169, 173, 179, 181, 187, 191, 193, 197, 199, 209,
};
/* clang-format on */

static int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static uint64_t one_by_one(uint64_t n, int64_t from, int64_t to)
{
	for (int64_t base = from / WHEEL * WHEEL; base < to; base += WHEEL)
		for (int i = 0; i < EACH; i++) {
			int64_t divisor = base + wheel[i];

			if (divisor >= from && divisor < to && n % (uint64_t)divisor == 0)
				return (uint64_t)divisor;
		}
	return 0;
}

/* From where on remainders can be carried over a few turns, more or less. */
static int64_t worth_it(uint64_t n)
{
	return (int64_t)cbrt(2.0 * LEAST * WHEEL * WHEEL * (double)n);
}

/* So many turns, over which the integer part of what the quotient falls by is fall. */
struct run {
	int64_t fall, turns;
};

static struct run run_from(uint64_t n, int64_t base, int64_t to)
{
	const double product = (double)n * WHEEL, first = (double)(base + 1);
	double fall = floor(product / (first * (first + WHEEL)) * (1 + 0x1p-40));
	double last = fall > 0 ? sqrt(product / fall + WHEEL * WHEEL / 4) - WHEEL / 2
			       : (double)to;
	double turns = (last - (double)base - WHEEL) / WHEEL - 1;
	int64_t most = ((to < TOP - WHEEL ? to : TOP - WHEEL) - 1 - base) / WHEEL;
	struct run run = { (int64_t)fall, most < MOST ? most : MOST };

	if (turns < (double)run.turns)
		run.turns = (int64_t)turns;
	return run;
}

#define WIDTH 16
#define TARGET
#define NAME(name) name##_generic
#include "divide_body.h"

#ifdef __x86_64__
#define WIDTH	   32
#define TARGET	   __attribute__((target("avx2")))
#define NAME(name) name##_avx2
#include "divide_body.h"

#define WIDTH	   64
#define TARGET	   __attribute__((target("avx512f,avx512dq")))
#define NAME(name) name##_avx512
#include "divide_body.h"
#endif

static divide_body *const bodies[ISAS] = {
	[ISA_GENERIC] = body_generic,
#ifdef __x86_64__
	[ISA_AVX2] = body_avx2,
	[ISA_AVX512] = body_avx512,
#endif
};

divide_body *divide_body_named(const char *name)
{
	enum isa isa = isa_named(name);

	return isa_is_here(isa) ? bodies[isa] : NULL;
}

const char *divide_isa(void)
{
	return isa_names[isa_chosen()];
}

uint64_t divide(uint64_t n, uint64_t from, uint64_t to)
{
	static divide_body *body;

	if (!body)
		body = bodies[isa_chosen()];
	return body(n, from, to);
}

uint64_t divide_end(uint64_t n)
{
	const uint64_t most = UINT64_C(1) << 32;
	uint64_t end = (uint64_t)sqrt((double)n) + 1;

	/* A root of doubles may be off by one; no square here is beyond 64 bits. */
	end = end < most ? end : most;
	while ((end - 1) * (end - 1) > n)
		end--;
	while (end < most && end * end <= n)
		end++;
	return end;
}
