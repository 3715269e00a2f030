/* SPDX-License-Identifier: MIT */
/*
 * What it costs to ask whether to go on: ask WHAT [N] divides N, which is prime, in a job
 * of a pool, as tine isprime does, and asks before each block of less than ten
 * microseconds. It prints how much longer that takes than without asking, in percent. The
 * two take turns at each part of the range, and the least of many times counts, since it
 * is one in a hundred that matters. WHAT is
 *
 *	nothing		it does not ask either: how far off the figures are
 *	cancelled	tine_cancelled()
 *	event		an event in the family's memory
 *	byte		a byte of a mapped file
 */
#include "bench.h"

#include "divide.h"

#include <string.h>
#include <tine.h>
#include <unistd.h>

#define BLOCK (UINT64_C(1) << 16)
#define PARTS 32
#define TIMES 40

enum what { NOTHING, CANCELLED, EVENT, BYTE, WHATS };
static const char *const whats[] = { "nothing", "cancelled", "event", "byte" };

static tine_event *event;
static uint8_t *byte;

struct order {
	uint64_t number, end;
	enum what what;
};

/* One loop for each, so that what differs is the question alone. */
#define ASKING(name, question)                                                           \
	static void name(uint64_t n, uint64_t from, uint64_t to)                         \
	{                                                                                \
		for (; from < to; from += BLOCK)                                         \
			if ((question) ||                                                \
			    divide(n, from, from + BLOCK < to ? from + BLOCK : to))      \
				die(1, "it is not prime, or was stopped");               \
	}

ASKING(without, false)
ASKING(by_cancelled, tine_cancelled())
ASKING(by_event, tine_event_is_set(event))
ASKING(by_byte, __atomic_load_n(byte, __ATOMIC_RELAXED))

typedef void loop(uint64_t n, uint64_t from, uint64_t to);

static double time_part(loop *fn, const struct order *order, uint64_t part)
{
	double begun = seconds_now();

	fn(order->number, 3 + order->end * part / PARTS, order->end * (part + 1) / PARTS);
	return seconds_now() - begun;
}

static int measure(const void *in, void *out)
{
	static loop *const loops[] = { without, by_cancelled, by_event, by_byte };
	const struct order *order = in;
	double sums[2] = { 0 };

	for (uint64_t part = 0; part < PARTS; part++) {
		double least[2] = { 1e9, 1e9 };

		for (int i = 0; i < 2 * TIMES; i++) {
			double took = time_part(i % 2 ? loops[order->what] : without,
						order, part);

			if (took < least[i % 2])
				least[i % 2] = took;
		}
		sums[0] += least[0];
		sums[1] += least[1];
	}
	*(double *)out = (sums[1] / sums[0] - 1) * 100;
	return 0;
}

static uint8_t *map_byte(void)
{
	char path[] = "/tmp/tine-XXXXXX";
	int fd = mkstemp(path), err;
	void *mem = NULL;

	if (fd < 0)
		die(1, "no temporary file");
	close(fd);
	err = tine_shared_map(&mem, path, 1);
	unlink(path);
	if (err)
		die(1, tine_strerror(err));
	return mem;
}

int main(int argc, char **argv)
{
	static const tine_task task = TINE_TASK(measure, struct order, double);
	tine_pool_opts opts = { .workers = 1 };
	struct order order = { .what = WHATS };
	tine_pool *pool;
	double more;
	int err;

	for (int i = 0; argc > 1 && i < WHATS; i++)
		if (strcmp(argv[1], whats[i]) == 0)
			order.what = (enum what)i;
	if (order.what == WHATS)
		die(2, "usage: ask nothing|cancelled|event|byte [N]");
	order.number = argc > 2 ? strtoull(argv[2], NULL, 10) : 100109100129162907;
	order.end = divide_end(order.number);
	event = tine_shared_new(1, sizeof(*event));
	byte = map_byte();
	err = tine_pool_new(&pool, &opts);
	if (!err)
		err = tine_pool_find(pool, &task, &order, &more, 1, NULL, NULL,
				     TINE_FOREVER);
	if (err)
		die(1, tine_strerror(err));
	tine_pool_free(pool);
	printf("%.4f\n", more);
	return 0;
}
