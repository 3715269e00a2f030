/* SPDX-License-Identifier: MIT */
/* The primes of [FIRST, LAST), one a line, by a library that is not ours. */
#include <errno.h>
#include <inttypes.h>
#include <primesieve.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	uint64_t first, last, *primes;
	size_t n;

	if (argc != 3)
		return 2;
	first = strtoull(argv[1], NULL, 10);
	errno = 0;
	last = strtoull(argv[2], NULL, 10);
	if (errno == ERANGE) /* 2^64 */
		last = 0;
	else if (last == first)
		return 0;
	primes = primesieve_generate_primes(first, last - 1, &n, UINT64_PRIMES);
	for (size_t i = 0; i < n; i++)
		printf("%" PRIu64 "\n", primes[i]);
	primesieve_free(primes);
	return 0;
}
