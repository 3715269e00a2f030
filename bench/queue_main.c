/* SPDX-License-Identifier: MIT */
/*
 * Producers and consumers, a process each, and the time from the first message to the
 * last, beside loops that do something else if asked for. Of two processors each gets one
 * producer and one consumer, the first ones on different processors: with one of each
 * they run side by side.
 */
#include "bench.h"
#include "queue.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 32 /* of either */

static struct run {
	_Atomic unsigned ready, producing;
	_Atomic bool go, busy;
	double begun[MOST], ended[MOST];
	uint64_t sum[MOST];
} * run;

static const struct carrier *carrier;
static unsigned producers, consumers;
static size_t len, batch;
static uint64_t messages; /* of each producer */
static unsigned busy;	  /* loops, one to a processor, that only use it */

void *queue_memory(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (mem == MAP_FAILED)
		die(1, "no memory");
	return mem;
}

char *queue_buffer(size_t each, size_t n)
{
	char *buffer = aligned_alloc(64, (each * n + 63) / 64 * 64);

	if (!buffer)
		die(1, "no memory");
	memset(buffer, 0, each * n);
	return buffer;
}

static void pin(unsigned turn)
{
	cpu_set_t all, one;
	int left;

	if (sched_getaffinity(0, sizeof(all), &all) != 0 || CPU_COUNT(&all) < 2)
		die(SKIP, "there are no two processors");
	left = (int)(turn % 2);
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && left-- == 0)
			CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static void wait_for_go(void)
{
	atomic_fetch_add(&run->ready, 1);
	while (!atomic_load(&run->go))
		sched_yield();
}

static void produce(unsigned index)
{
	char *stop = queue_buffer(len, 1);

	pin(index);
	wait_for_go();
	run->begun[index] = seconds_now();
	carrier->produce(1 + index * messages, messages, len, batch);
	if (atomic_fetch_sub(&run->producing, 1) > 1)
		return;
	memset(stop, 0xff, len);
	for (unsigned i = 0; i < consumers; i++)
		carrier->put(stop, len, 1);
}

static void consume(unsigned index)
{
	pin(index + 1);
	wait_for_go();
	run->sum[index] = carrier->consume(len, batch);
	run->ended[index] = seconds_now();
}

static void keep_busy(unsigned index)
{
	pin(index);
	while (atomic_load(&run->busy))
		for (volatile int i = 0; i < 1000; i++)
			;
}

static void start(void (*work)(unsigned), unsigned index)
{
	pid_t pid = fork();

	if (pid < 0)
		die(1, "no process");
	if (pid > 0)
		return;
	work(index);
	_exit(0);
}

static void wait_for(unsigned processes)
{
	int status;

	while (processes-- > 0 && wait(&status) > 0)
		if (status != 0)
			die(WIFEXITED(status) ? WEXITSTATUS(status) : 1,
			    "a process failed");
}

/* Seconds; each number must have come once, so far as their sum can tell. */
static double measure(void)
{
	uint64_t all = producers * messages, sum = 0;
	double begun, ended;

	run = queue_memory(sizeof(*run));
	run->producing = producers;
	run->busy = true;
	carrier->make(len);
	for (unsigned i = 0; i < producers; i++)
		start(produce, i);
	for (unsigned i = 0; i < consumers; i++)
		start(consume, i);
	for (unsigned i = 0; i < busy; i++)
		start(keep_busy, i);
	while (atomic_load(&run->ready) < producers + consumers)
		usleep(100);
	atomic_store(&run->go, true);
	wait_for(producers + consumers);
	atomic_store(&run->busy, false);
	wait_for(busy);
	begun = run->begun[0];
	ended = run->ended[0];
	for (unsigned i = 0; i < producers; i++)
		begun = run->begun[i] < begun ? run->begun[i] : begun;
	for (unsigned i = 0; i < consumers; i++) {
		ended = run->ended[i] > ended ? run->ended[i] : ended;
		sum += run->sum[i];
	}
	if (sum != all * (all + 1) / 2)
		die(1, "messages were lost");
	return ended - begun;
}

int queue_main(int argc, char **argv, const struct carrier *carriers)
{
	for (carrier = carriers; argc >= 7 && carrier->name; carrier++)
		if (strcmp(carrier->name, argv[1]) == 0)
			break;
	if (argc < 7 || argc > 8 || !carrier->name)
		die(2, "usage: queue CARRIER PRODUCERS CONSUMERS LEN BATCH MESSAGES "
		       "[BUSY]");
	producers = (unsigned)number(argv[2]);
	consumers = (unsigned)number(argv[3]);
	len = number(argv[4]);
	batch = number(argv[5]);
	if (producers < 1 || producers > MOST || consumers < 1 || consumers > MOST ||
	    len < 8 || batch < 1 || batch > carrier->batch || busy > MOST)
		die(2, "out of range");
	messages = number(argv[6]) / producers;
	busy = argc == 8 ? (unsigned)number(argv[7]) : 0;
	printf("%f\n", measure() / (double)(producers * messages) * 1e9);
	return 0;
}
