/* SPDX-License-Identifier: MIT */
/* The lesson on queues: every number of a range is a message. */
#include "tour/tour.h"

#include <errno.h>
#include <stdlib.h>
#include <tine.h>

/* [prime] */
static bool is_prime(uint64_t number)
{
	if (number % 2 == 0)
		return number == 2;
	for (uint64_t divisor = 3; divisor <= number / divisor; divisor += 2)
		if (number % divisor == 0)
			return false;
	return number > 1;
}
/* [end] */

static int loop(struct tour_run *run)
{
	int64_t begun = tine_now();

	for (uint64_t number = run->numbers[0]; number < run->numbers[1]; number++)
		run->answer += is_prime(number);
	run->seconds = (double)(tine_now() - begun) / 1e9;
	run->has_answer = true;
	return 0;
}

/* ---- queues ------------------------------------------------------------------------ */

static tine_queue *numbers, *primes;
static uint64_t first, end;

/* [queue] */
static int put_numbers(void *arg)
{
	(void)arg;
	for (uint64_t number = first; number < end; number++)
		(void)!tine_queue_put(numbers, &number, sizeof(number), TINE_FOREVER);
	return tine_queue_close(numbers);
}

static int check_numbers(void *arg)
{
	uint64_t number;

	(void)arg;

	while (tine_queue_get(numbers, &number, sizeof(number), TINE_FOREVER) > 0)
		if (is_prime(number))
			(void)!tine_queue_put(primes, &number, sizeof(number),
					      TINE_FOREVER);
	return tine_queue_close(primes);
}
/* [end] */

/* [batches] */
enum { BATCH = 256, MOST = 1024 };

static int put_batches(void *arg)
{
	uint64_t batch[BATCH], n;

	(void)arg;

	for (uint64_t next = first; next < end; next += n) {
		for (n = 0; n < BATCH && next + n < end; n++)
			batch[n] = next + n;
		(void)!tine_queue_put_many(numbers, batch, n, TINE_FOREVER);
	}
	return tine_queue_close(numbers);
}

static int check_batches(void *arg)
{
	uint64_t batch[BATCH];
	ssize_t n, found;

	(void)arg;

	while ((n = tine_queue_get_many(numbers, batch, BATCH, TINE_FOREVER)) > 0) {
		found = 0;
		for (ssize_t i = 0; i < n; i++)
			if (is_prime(batch[i]))
				batch[found++] = batch[i];
		if (found)
			(void)!tine_queue_put_many(primes, batch, (size_t)found,
						   TINE_FOREVER);
	}
	return tine_queue_close(primes);
}
/* [end] */

/* [processes] */
static int search(unsigned workers, int (*put)(void *), int (*check)(void *),
		  uint64_t *count)
{
	tine_process *process[MOST + 1] = { NULL };
	tine_queue_opts opts = { .producers = workers };
	uint64_t found[BATCH];
	ssize_t n;
	int err = tine_queue_new(&numbers, sizeof(uint64_t), NULL);

	err = err ? err : tine_queue_new(&primes, sizeof(uint64_t), &opts);
	for (unsigned i = 0; i <= workers && !err; i++)
		err = tine_process_start(&process[i], i ? check : put, NULL, NULL);
	while (!err && (n = tine_queue_get_many(primes, found, BATCH, TINE_FOREVER)) > 0)
		*count += (uint64_t)n;
	for (unsigned i = 0; i <= workers; i++)
		tine_process_free(process[i]);
	tine_queue_free(primes);
	tine_queue_free(numbers);
	return err;
}
/* [end] */

static int by_queues(struct tour_run *run, unsigned workers, int (*put)(void *),
		     int (*check)(void *))
{
	int64_t begun = tine_now();
	int err;

	first = run->numbers[0];
	end = run->numbers[1];
	err = search(workers, put, check, &run->answer);
	run->seconds = (double)(tine_now() - begun) / 1e9;
	run->has_answer = true;
	return err;
}

static int one_worker(struct tour_run *run)
{
	return by_queues(run, 1, put_numbers, check_numbers);
}

static int all_workers(struct tour_run *run)
{
	return by_queues(run, run->workers, put_numbers, check_numbers);
}

static int in_batches(struct tour_run *run)
{
	return by_queues(run, run->workers, put_batches, check_batches);
}

/* ---- jobs -------------------------------------------------------------------------- */

struct range {
	uint64_t from, to;
};

static int count_primes(const void *in, void *out)
{
	const struct range *range = in;
	uint64_t count = 0;

	for (uint64_t number = range->from; number < range->to; number++)
		count += is_prime(number);
	*(uint64_t *)out = count;
	return 0;
}

static int by_jobs(struct tour_run *run)
{
	static const tine_task task = TINE_TASK(count_primes, struct range, uint64_t);
	static struct range range[1000];
	static uint64_t count[1000];
	tine_pool_opts opts = { .workers = run->workers };
	uint64_t from = run->numbers[0], n = run->numbers[1] - from;
	int64_t begun = tine_now();
	tine_pool *pool;
	int err = tine_pool_new(&pool, &opts);

	if (err)
		return err;
	for (uint64_t i = 0; i < 1000; i++)
		range[i] = (struct range){ from + n * i / 1000,
					   from + n * (i + 1) / 1000 };
	err = tine_pool_map(pool, &task, range, count, 1000, NULL, TINE_FOREVER);
	tine_pool_free(pool);
	run->seconds = (double)(tine_now() - begun) / 1e9;
	run->has_answer = true;
	for (int i = 0; i < 1000; i++)
		run->answer += count[i];
	return err;
}

static const char *const parts[] = { "prime", "queue", "processes", NULL };

static const struct tour_program programs[] = {
	{ .id = "loop",
	  .name = "one process",
	  .shows = "A loop, without a message.",
	  .run = loop },
	{ .id = "queue-one",
	  .name = "a queue, one worker",
	  .shows =
		  "Each number is a message to the worker, each prime one back: what the "
		  "messages "
		  "cost, with one process that puts and one that checks.",
	  .run = one_worker },
	{ .id = "queue",
	  .name = "a queue, %w",
	  .shows = "The same, with a worker for each processor.",
	  .run = all_workers,
	  .timeline = true },
	{ .id = "batches",
	  .name = "a queue, %w, batches",
	  .shows = "256 messages at a time: the same queue, at fewer steps a message.",
	  .run = in_batches },
	{ .id = "map",
	  .name = "jobs of a pool, %w",
	  .shows = "A thousand jobs, each a range: where work can be cut beforehand, "
		   "nothing need "
		   "be sent.",
	  .run = by_jobs,
	  .timeline = true },
	{ .id = "python-loop",
	  .name = "Python, one process",
	  .shows = "The loop.",
	  .script = "primes",
	  .way = "loop",
	  .once = true },
	{ .id = "python-queue",
	  .name = "Python, multiprocessing.Queue, %p",
	  .shows = "Each number is pickled, sent through a pipe under a lock, and "
		   "unpickled.",
	  .script = "primes",
	  .way = "queue",
	  .once = true },
	{ .id = "tine-queue",
	  .name = "Python -m tine, Queue, %p",
	  .shows = "The same program over tine: a queue in shared memory.",
	  .script = "primes",
	  .way = "queue",
	  .over_tine = true,
	  .once = true },
	{ .id = "python-manager",
	  .name = "Python, Manager().Queue, %p",
	  .shows = "As the notebook has it: each message goes through a third process.",
	  .script = "primes",
	  .way = "manager",
	  .once = true },
	{ .id = "tine-manager",
	  .name = "Python -m tine, Manager().Queue, %p",
	  .shows = "The same program over tine: no third process.",
	  .script = "primes",
	  .way = "manager",
	  .over_tine = true,
	  .once = true },
	{ 0 },
};

const struct tour_lesson tour_primes = {
	.id = "primes",
	.title = "Primes through queues",
	.chapter = "11-queue",
	.text = "One process puts numbers on a queue, the workers take them, and put "
		"what "
		"is prime on another. A number is little work, so it is the messages "
		"that "
		"are measured: with a dear queue, more processes are slower than one.",
	.work = "100000000,101000000",
	.quick = "100000000,100100000",
	.unit = "the numbers from %s to %s",
	.source = "primes.c",
	.parts = parts,
	.programs = programs,
};
