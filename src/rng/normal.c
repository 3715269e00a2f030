/* SPDX-License-Identifier: MIT */
/*
 * Normal numbers, by the inverse of the distribution: Wichura, "Algorithm AS 241: The
 * Percentage Points of the Normal Distribution", Applied Statistics 37(3), 1988, there
 * PPND16, good to 1e-16. One word makes one number, so that a position in the stream
 * stays a position.
 *
 * The bits are the same everywhere: the operations are those that IEEE 754 rounds
 * exactly, in this order, none of them fused (-ffp-contract=off); the logarithm is here,
 * as libraries differ in theirs.
 */
#include "rng/philox.h"

#define TERMS(x) (sizeof(x) / sizeof(*(x)))

/* The lowest power first. */
static double polynomial(const double *of, size_t n, double x)
{
	double sum = of[n - 1];

	for (size_t i = n - 1; i > 0; i--)
		sum = sum * x + of[i - 1];
	return sum;
}

/* Of a normal x above 0: that of its power of two, and 2 atanh((m - 1) / (m + 1)). */
static double logarithm(double x)
{
	static const double atanh_terms[] = { 1.0,	1.0 / 3,  1.0 / 5,  1.0 / 7,
					      1.0 / 9,	1.0 / 11, 1.0 / 13, 1.0 / 15,
					      1.0 / 17, 1.0 / 19, 1.0 / 21, 1.0 / 23 };
	/* The first has zeros enough at its end for an exact product. */
	const double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
	union {
		double number;
		uint64_t bits;
	} m = { .number = x };
	int power = (int)(m.bits >> 52) - 1023;
	double s;

	m.bits = (m.bits & UINT64_C(0xfffffffffffff)) | UINT64_C(1023) << 52;
	if (m.number > 0x1.6a09e667f3bcdp+0) { /* the root of 2 */
		m.number *= 0.5;
		power++;
	}
	s = (m.number - 1) / (m.number + 1);
	return power * ln2_high +
	       (power * ln2_low +
		2 * s * polynomial(atanh_terms, TERMS(atanh_terms), s * s));
}

static double of_centre(double q)
{
	static const double above[] = {
		3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
		1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
		3.3430575583588128105e4, 2.5090809287301226727e3
	};
	static const double below[] = { 1.0,
					4.2313330701600911252e1,
					6.8718700749205790830e2,
					5.3941960214247511077e3,
					2.1213794301586595867e4,
					3.9307895800092710610e4,
					2.8729085735721942674e4,
					5.2264952788528545610e3 };
	double r = 0.180625 - q * q;

	return q * polynomial(above, TERMS(above), r) /
	       polynomial(below, TERMS(below), r);
}

static double of_tail(double r)
{
	static const double above[] = {
		1.42343711074968357734e0,  4.63033784615654529590e0,
		5.76949722146069140550e0,  3.64784832476320460504e0,
		1.27045825245236838258e0,  2.41780725177450611770e-1,
		2.27238449892691845833e-2, 7.74545014278341407640e-4
	};
	static const double below[] = { 1.0,
					2.05319162663775882187e0,
					1.67638483018380384940e0,
					6.89767334985100004550e-1,
					1.48103976427480074590e-1,
					1.51986665636164571966e-2,
					5.47593808499534494600e-4,
					1.05075007164441684324e-9 };

	return polynomial(above, TERMS(above), r - 1.6) /
	       polynomial(below, TERMS(below), r - 1.6);
}

static double of_far_tail(double r)
{
	static const double above[] = {
		6.65790464350110377720e0,  5.46378491116411436990e0,
		1.78482653991729133580e0,  2.96560571828504891230e-1,
		2.65321895265761230930e-2, 1.24266094738807843860e-3,
		2.71155556874348757815e-5, 2.01033439929228813265e-7
	};
	static const double below[] = { 1.0,
					5.99832206555887937690e-1,
					1.36929880922735805310e-1,
					1.48753612908506148525e-2,
					7.86869131145613259100e-4,
					1.84631831751005468180e-5,
					1.42151175831644588870e-7,
					2.04426310338993978564e-15 };

	return polynomial(above, TERMS(above), r - 5) /
	       polynomial(below, TERMS(below), r - 5);
}

/*
 * The high 53 bits are one of 2^53 intervals of equal probability, whose middle this is
 * the number of. Its distance from one half, and from the nearer end, are exact.
 */
double rng_normal_of(uint64_t word)
{
	int64_t interval = (int64_t)(word >> 11) - (INT64_C(1) << 52);
	double q = ((double)interval + 0.5) * 0x1p-53, r, x;

	if (q >= -0.425 && q <= 0.425)
		return of_centre(q);
	r = __builtin_sqrt(-logarithm(q < 0 ? 0.5 + q : 0.5 - q));
	x = r <= 5 ? of_tail(r) : of_far_tail(r);
	return q < 0 ? -x : x;
}
