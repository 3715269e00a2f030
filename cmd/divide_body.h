/* SPDX-License-Identifier: MIT */
/*
 * A body of divide.c, which has the reasons: included for each instruction set, with
 * WIDTH bytes in a vector, the attribute TARGET, and what NAME() makes of names.
 */
#define reals  NAME(reals)
#define longs  NAME(longs)
#define offs   NAME(offs)
#define halves NAME(halves)
#define words  NAME(words)
#define signs  NAME(signs)
#define turn   NAME(turn)
#define LONGS  (WIDTH / 8)
#define HALF   (EACH / LONGS) /* vectors of a turn, of longs */
#define WHOLE  (HALF / 2)     /* and of words */
#define INSIDE TARGET static inline __attribute__((always_inline))

typedef double reals __attribute__((vector_size(WIDTH)));
typedef uint64_t longs __attribute__((vector_size(WIDTH)));
typedef int64_t offs __attribute__((vector_size(WIDTH)));
typedef uint32_t halves __attribute__((vector_size(WIDTH / 2)));
typedef uint32_t words __attribute__((vector_size(WIDTH)));
typedef int32_t signs __attribute__((vector_size(WIDTH)));

/* A turn, whose remainders are to be carried on. */
struct turn {
	union {
		halves half[HALF];
		words all[WHOLE];
	} divisor, remainder, change;
};

/* The turn that begins at base, by doubles: whether there is a divisor in it. */
INSIDE bool NAME(by_doubles)(uint64_t n, int64_t base, longs *quotient, longs *remainder)
{
	const longs *wheels = (const longs *)wheel;
	longs zeros = { 0 };
	uint64_t any = 0;

	for (int i = 0; i < HALF; i++) {
		longs d = wheels[i] + (uint64_t)base;
		reals divisor = (reals)(d + WHOLE_BITS) - WHOLE_NUMBERS;
		longs q = (longs)((double)n / divisor + WHOLE_NUMBERS) - WHOLE_BITS;
		longs r = n - q * d;
		longs negative = (longs)((offs)r < 0);

		quotient[i] = q + negative;
		remainder[i] = r + (d & negative);
		zeros |= remainder[i] - 1;
	}
	for (int i = 0; i < LONGS; i++)
		any |= zeros[i];
	return any >> 63;
}

INSIDE void NAME(take_up)(struct turn *turn, int64_t base, uint32_t fall,
			  const longs *quotient, const longs *remainder)
{
	const longs *wheels = (const longs *)wheel;

	for (int i = 0; i < HALF; i++) {
		halves d = __builtin_convertvector(wheels[i] + (uint64_t)base, halves);
		halves q = __builtin_convertvector(quotient[i], halves);

		turn->divisor.half[i] = d;
		turn->remainder.half[i] = __builtin_convertvector(remainder[i], halves);
		turn->change.half[i] = fall * (d + WHEEL) - WHEEL * q;
	}
}

/* Three vectors, for which all have registers: whether they have a divisor in them. */
INSIDE bool NAME(carry_some)(const struct turn *turn, int from, uint32_t fall,
			     int64_t turns)
{
	const words growth = (words){ 0 } + 2 * WHEEL * fall, wide = (words){ 0 } + WHEEL;
	words d[3], r[3], t[3], zeros = { 0 };
	uint32_t any = 0;

	for (int i = 0; i < 3; i++) {
		d[i] = turn->divisor.all[from + i];
		r[i] = turn->remainder.all[from + i];
		t[i] = turn->change.all[from + i];
	}
	for (; turns > 0; turns--)
		_Pragma("GCC unroll 3") for (int i = 0; i < 3; i++)
		{
			words negative;

			d[i] += wide;
			r[i] += t[i];
			/* cppcheck-suppress shiftTooManyBitsSigned */
			negative = (words)((signs)r[i] >> 31);
			r[i] += d[i] & negative;
			t[i] += growth + (wide & negative);
			zeros |= r[i] - 1;
		}
	for (int i = 0; i < WIDTH / 4; i++)
		any |= zeros[i];
	return any >> 31;
}

INSIDE bool NAME(carry)(const struct turn *turn, const struct run *run)
{
	bool any = false;

	for (int i = 0; i < WHOLE; i += 3)
		any |= NAME(carry_some)(turn, i, (uint32_t)run->fall, run->turns);
	return any;
}

TARGET static uint64_t NAME(body)(uint64_t n, uint64_t first, uint64_t end)
{
	const int64_t low = (int64_t)(n >> 50) + 1, to = (int64_t)end;
	int64_t from = first < 2 ? 2 : (int64_t)first, base, careful = worth_it(n);
	uint64_t found = one_by_one(n, from, smaller(to, low));
	longs quotient[HALF], remainder[HALF];
	struct turn turn;

	if (found)
		return found;
	/* Turns hold divisors below from as well; those below low may seem to divide. */
	if (from < low)
		from = low;
	for (base = from / WHEEL * WHEEL; base < to; base += WHEEL) {
		struct run run;

		if (NAME(by_doubles)(n, base, quotient, remainder) &&
		    (found = one_by_one(n, larger(from, base),
					smaller(to, base + WHEEL))))
			return found;
		if (base < careful)
			continue;
		run = run_from(n, base, to);
		if (run.turns < LEAST)
			continue;
		NAME(take_up)(&turn, base, (uint32_t)run.fall, quotient, remainder);
		if (NAME(carry)(&turn, &run))
			careful = base + run.turns * WHEEL;
		else
			base += run.turns * WHEEL;
	}
	return 0;
}

#undef reals
#undef longs
#undef offs
#undef halves
#undef words
#undef signs
#undef turn
#undef LONGS
#undef HALF
#undef WHOLE
#undef INSIDE
#undef WIDTH
#undef TARGET
#undef NAME
