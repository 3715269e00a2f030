/* SPDX-License-Identifier: MIT */
/*
 * What it costs to divide: divide BODY [N] prints nanoseconds for each odd number from 3
 * to the root of N, which is prime; so a body that leaves some out is the faster for it.
 * BODY is plain, a loop of n % d, or generic, avx2 or avx512, as in cmd/divide.h.
 */
#include "bench.h"

#include "divide.h"

#include <stdbool.h>
#include <string.h>

#define STEP (UINT64_C(1) << 18)

static uint64_t plain(uint64_t n, uint64_t from, uint64_t to)
{
	for (uint64_t divisor = from | 1; divisor < to; divisor += 2)
		if (n % divisor == 0)
			return divisor;
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 100109100129162907;
	uint64_t end = divide_end(n);
	bool is_plain = argc > 1 && strcmp(argv[1], "plain") == 0;
	divide_body *body = argc < 2   ? NULL
			    : is_plain ? plain
				       : divide_body_named(argv[1]);
	double begun;

	if (!body)
		die(argc < 2 ? 1 : SKIP, "this machine has no such body");
	begun = seconds_now();
	for (uint64_t from = 3; from < end; from += STEP)
		if (body(n, from, from + STEP < end ? from + STEP : end))
			die(1, "it is not prime");
	printf("%.6f\n", (seconds_now() - begun) * 1e9 / ((double)end / 2));
	return 0;
}
