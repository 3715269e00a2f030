/* SPDX-License-Identifier: MIT */
/*
 * memory new|raw|handed BYTES: to allocate a block of so many bytes, zero it and free it,
 * in a loop, by the time that malloc, memset and free take for it. New is zeroed as it
 * is, raw by memset; what is handed is zeroed and freed by another process. Runs of
 * both take turns; the figure is the median of their ratios.
 */
#include "bench.h"

#include <string.h>
#include <sys/wait.h>
#include <tine.h>
#include <unistd.h>

#define RUNS 101
#define EACH ((size_t)8 << 20) /* bytes of a run */

static size_t size;
static tine_queue *there, *back;

static void use(void *mem)
{
	if (!mem)
		die(1, "no memory");
	/* So that no compiler leaves the block out. */
	__asm__ volatile("" ::"r"(mem) : "memory");
}

static void once_new(void)
{
	void *mem = tine_shared_new(1, size);

	use(mem);
	tine_shared_free(mem);
}

static void once_raw(void)
{
	void *mem = tine_shared_raw(size);

	use(memset(mem, 0, size));
	tine_shared_free(mem);
}

static void once_malloc(void)
{
	void *mem = malloc(size);

	use(memset(mem, 0, size));
	free(mem);
}

static void serve(void)
{
	void *mem;

	while (tine_queue_get(there, &mem, sizeof(mem), TINE_FOREVER) > 0) {
		use(memset(mem, 0, size));
		tine_shared_free(mem);
		if (tine_queue_put(back, &mem, sizeof(mem), TINE_FOREVER) != 0)
			_exit(1);
	}
	_exit(0);
}

static void once_handed(void)
{
	void *mem = tine_shared_raw(size);

	use(mem);
	if (tine_queue_put(there, &mem, sizeof(mem), TINE_FOREVER) != 0 ||
	    tine_queue_get(back, &mem, sizeof(mem), TINE_FOREVER) <= 0)
		die(1, "the other process has ended");
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double run(void (*once)(void))
{
	double begun = seconds_now();

	for (size_t i = 0; i <= EACH / size; i++)
		once();
	return seconds_now() - begun;
}

static double median_ratio(void (*once)(void))
{
	static double ratio[RUNS];

	for (int i = 0; i < RUNS; i++) {
		double time = run(once);

		ratio[i] = time / run(once_malloc);
	}
	qsort(ratio, RUNS, sizeof(*ratio), compare);
	return ratio[RUNS / 2];
}

int main(int argc, char **argv)
{
	const char *how = argc == 3 ? argv[1] : "";
	void (*once)(void) = strcmp(how, "new") == 0	  ? once_new
			     : strcmp(how, "raw") == 0	  ? once_raw
			     : strcmp(how, "handed") == 0 ? once_handed
							  : NULL;

	if (!once)
		die(2, "usage: memory new|raw|handed BYTES");
	size = number(argv[2]);
	if (once == once_handed) {
		if (tine_queue_new(&there, sizeof(void *), NULL) != 0 ||
		    tine_queue_new(&back, sizeof(void *), NULL) != 0)
			die(1, "no queue");
		if (fork() == 0)
			serve();
	}
	printf("%.3f\n", median_ratio(once));
	if (once == once_handed) {
		tine_queue_close(there);
		wait(NULL);
	}
	return 0;
}
