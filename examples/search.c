/* SPDX-License-Identifier: MIT */
/*
 * A search for primes: one process puts numbers into a queue, four put the primes into
 * another. When all four have closed it, or have died, tine_queue_get() returns 0.
 */
#include <stdio.h>
#include <tine.h>

#define WORKERS 4
static tine_queue *primes;

static int put_numbers(void *queue)
{
	int err = 0;

	for (long n = 100000000; n < 100100000 && !err; n++)
		err = tine_queue_put(queue, &n, sizeof(n), TINE_FOREVER);
	return err || tine_queue_close(queue);
}

static int is_prime(long number)
{
	for (long divisor = 3; divisor <= number / divisor; divisor += 2)
		if (number % divisor == 0)
			return 0;
	return number % 2;
}

static int check_numbers(void *queue)
{
	long n, err = tine_queue_join(primes);

	while (!err && tine_queue_get(queue, &n, sizeof(n), TINE_FOREVER) > 0)
		if (is_prime(n))
			err = tine_queue_put(primes, &n, sizeof(n), TINE_FOREVER);
	return err || tine_queue_close(primes);
}

int main(void)
{
	tine_process *process[WORKERS + 1] = { NULL };
	tine_queue *numbers = NULL;
	long prime, count = 0;
	int err = tine_queue_new(&numbers, sizeof(long), NULL) ||
		  tine_queue_new(&primes, sizeof(long),
				 &(tine_queue_opts){ .producers = WORKERS });

	for (int i = 0; i <= WORKERS && !err; i++)
		err = tine_process_start(&process[i], i ? check_numbers : put_numbers,
					 numbers, NULL);
	while (!err && tine_queue_get(primes, &prime, sizeof(long), TINE_FOREVER) > 0)
		count++;
	printf("%ld primes%s\n", count, err ? ", and then an error" : "");
	for (int i = 0; i <= WORKERS; i++)
		tine_process_free(process[i]);
	tine_queue_free(primes);
	tine_queue_free(numbers);
	return err != 0;
}
