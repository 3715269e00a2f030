/* SPDX-License-Identifier: MIT */
/*
 * The loop of pi_openmp.c for one instruction set, which the includer describes:
 *
 *	NAME, TARGET		the function's name and attributes
 *	LANES, DEPTH		64-bit lanes of a vector; vectors of x, and of y, at once
 *	words			the vector's type
 *	SPREAD(n)		n in each lane
 *	LINE(n)			0, n, 2n, ... by lane
 *	ADD, XOR, XOR3, MUL	of words; MUL multiplies the low halves
 *	HIGH(a)			the high halves, moved down
 *	LAST(p, c, k)		p with its halves exchanged, the low one then ^ c ^ k
 *	INSIDE(x, y)		how many points lie in the circle, of 64-bit numbers
 *
 * Words hold one Philox block in each lane, and only low halves count. The even vectors
 * are blocks of x, the odd ones of y. Only the position differs between blocks: that
 * leaves an addition of the first round, and half of the second's products.
 */
#define EACH _Pragma("GCC unroll 8") for (int i = 0; i < 2 * DEPTH; i++)

TARGET static uint64_t NAME(const struct stream *stream, unsigned batches)
{
	const uint64_t x_to_y = (uint64_t)M0 * (BATCH / 2);
	const words m0 = SPREAD(M0), m1 = SPREAD(M1);
	words at = LINE((uint64_t)M0), k0[ROUNDS], k1[ROUNDS];
	uint64_t inside = 0;

	for (int round = 0; round < ROUNDS; round++) {
		k0[round] = SPREAD(stream->k0[round]);
		k1[round] = SPREAD(stream->k1[round]);
	}
	for (unsigned step = 0; step < batches * (BATCH / 2 / LANES / DEPTH); step++) {
		words c0[2 * DEPTH], c1[2 * DEPTH], c2[2 * DEPTH], c3[2 * DEPTH];

		if (step > 0 && step % (BATCH / 2 / LANES / DEPTH) == 0)
			at = ADD(at, SPREAD(x_to_y));
		EACH
		{
			words p0 = ADD(at, SPREAD((uint64_t)M0 * LANES * (i / 2) +
						  (i % 2 ? x_to_y : 0)));
			words p1 = MUL(XOR(HIGH(p0), k1[0]), m1);

			c0[i] = XOR(HIGH(p1), k0[1]);
			c1[i] = p1;
			c2[i] = XOR(p0, k1[1]);
		}
		EACH
		{
			words p0 = MUL(c0[i], m0), p1 = MUL(c2[i], m1);

			c0[i] = XOR3(HIGH(p1), c1[i], k0[2]);
			c2[i] = XOR(HIGH(p0), k1[2]);
			c1[i] = p1;
			c3[i] = p0;
		}
		_Pragma("GCC unroll 8") for (int round = 3; round < ROUNDS - 1; round++)
		{
			EACH
			{
				words p0 = MUL(c0[i], m0), p1 = MUL(c2[i], m1);

				c0[i] = XOR3(HIGH(p1), c1[i], k0[round]);
				c2[i] = XOR3(HIGH(p0), c3[i], k1[round]);
				c1[i] = p1;
				c3[i] = p0;
			}
		}
		EACH
		{
			words p0 = MUL(c0[i], m0), p1 = MUL(c2[i], m1);

			c0[i] = LAST(p1, c1[i], k0[ROUNDS - 1]);
			c2[i] = LAST(p0, c3[i], k1[ROUNDS - 1]);
		}
		_Pragma("GCC unroll 8") for (int i = 0; i < 2 * DEPTH; i += 2)
		{
			inside += INSIDE(c0[i], c0[i + 1]);
			inside += INSIDE(c2[i], c2[i + 1]);
		}
		at = ADD(at, SPREAD((uint64_t)M0 * LANES * DEPTH));
	}
	return inside;
}

#undef EACH
#undef NAME
#undef TARGET
#undef LANES
#undef DEPTH
#undef words
#undef SPREAD
#undef LINE
#undef ADD
#undef XOR
#undef XOR3
#undef MUL
#undef HIGH
#undef LAST
#undef INSIDE
