/* SPDX-License-Identifier: MIT */
/*
 * What it costs to sleep and to be woken: queue-wait MEASURE CARRIER prints one number.
 *
 *	trip	nanoseconds of a message there and one back, between two processes on two
 *		processors; whoever answers rests before, so that the other is asleep. The
 *		median. tine, or futex: a store and a wake, a wait and a load, no more
 *	answer	nanoseconds of a question and its answer, both awake. tine, or line: a
 *		store each in a line of the cache that the other looks at, which is the
 *		time that a line takes there and back
 *	idle	milliseconds of processor that 4 consumers use while they wait for 2
 *		seconds in vain. tine, or pipe: poll(2)
 */
#include "bench.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <tine.h>
#include <unistd.h>

#define TRIPS	250
#define WARM	20
#define ANSWERS 1000	/* in each of as many runs as there are trips */
#define REST	2000000 /* nanoseconds */
#define WAITERS 4
#define SECONDS 2

static tine_queue *queues[2];
static struct shared {
	_Alignas(64) _Atomic uint32_t word[2][16];
	_Alignas(64) double used[WAITERS];
} * shared;
static int ends[2];

static void make_queues(void)
{
	for (int i = 0; i < 2; i++)
		if (tine_queue_new(&queues[i], sizeof(uint64_t), NULL) != 0)
			die(1, "tine_queue_new");
}

/* ---- trip -------------------------------------------------------------------------- */

static void tine_send(int way, uint64_t turn)
{
	if (tine_queue_put(queues[way], &turn, sizeof(turn), TINE_FOREVER) != 0)
		die(1, "put");
}

static void tine_receive(int way, uint64_t turn)
{
	uint64_t got;

	if (tine_queue_get(queues[way], &got, sizeof(got), TINE_FOREVER) != sizeof(got) ||
	    got != turn)
		die(1, "get");
}

static void futex_send(int way, uint64_t turn)
{
	atomic_store(shared->word[way], (uint32_t)turn);
	syscall(SYS_futex, shared->word[way], FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void futex_receive(int way, uint64_t turn)
{
	while (atomic_load(shared->word[way]) != (uint32_t)turn)
		syscall(SYS_futex, shared->word[way], FUTEX_WAIT, (uint32_t)turn - 1,
			NULL, NULL, 0);
}

static void line_send(int way, uint64_t turn)
{
	atomic_store_explicit(shared->word[way], (uint32_t)turn, memory_order_release);
}

static void line_receive(int way, uint64_t turn)
{
	while (atomic_load_explicit(shared->word[way], memory_order_acquire) !=
	       (uint32_t)turn)
		;
}

static void pin(int turn)
{
	cpu_set_t all, one;

	if (sched_getaffinity(0, sizeof(all), &all) != 0 || CPU_COUNT(&all) < 2)
		die(SKIP, "there are no two processors");
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && turn-- == 0)
			CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static void rest(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = REST }, NULL);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The rest of whoever answers is taken out of the time. */
static double trip(bool futex)
{
	void (*send)(int, uint64_t) = futex ? futex_send : tine_send;
	void (*receive)(int, uint64_t) = futex ? futex_receive : tine_receive;
	double took[TRIPS], *rested = &shared->used[0];

	make_queues();
	if (fork() == 0) {
		pin(1);
		for (uint64_t turn = 1; turn <= WARM + TRIPS; turn++) {
			double came;

			receive(0, turn);
			came = seconds_now();
			rest();
			*rested = seconds_now() - came;
			send(1, turn);
		}
		_exit(0);
	}
	pin(0);
	for (uint64_t turn = 1; turn <= WARM + TRIPS; turn++) {
		double begun;

		rest();
		begun = seconds_now();
		send(0, turn);
		receive(1, turn);
		if (turn > WARM)
			took[turn - WARM - 1] = seconds_now() - begun - *rested;
	}
	wait(NULL);
	qsort(took, TRIPS, sizeof(*took), compare);
	return took[TRIPS / 2] * 1e9;
}

/* ---- answer ------------------------------------------------------------------------ */

/* The median of many short runs: where others want a processor, most are undisturbed. */
static double answer(bool line)
{
	void (*send)(int, uint64_t) = line ? line_send : tine_send;
	void (*receive)(int, uint64_t) = line ? line_receive : tine_receive;
	double took[TRIPS];

	make_queues();
	if (fork() == 0) {
		pin(1);
		for (uint64_t turn = 1; turn <= TRIPS * ANSWERS; turn++) {
			receive(0, turn);
			send(1, turn);
		}
		_exit(0);
	}
	pin(0);
	for (uint64_t turn = 1, run = 0; run < TRIPS; run++) {
		double begun = seconds_now();

		for (; turn <= (run + 1) * ANSWERS; turn++) {
			send(0, turn);
			receive(1, turn);
		}
		took[run] = seconds_now() - begun;
	}
	wait(NULL);
	qsort(took, TRIPS, sizeof(*took), compare);
	return took[TRIPS / 2] / ANSWERS * 1e9;
}

/* ---- idle -------------------------------------------------------------------------- */

static double processor_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void wait_in_vain(bool pipe)
{
	struct pollfd item = { .fd = ends[0], .events = POLLIN };
	uint64_t got;

	if (pipe ? poll(&item, 1, SECONDS * 1000) != 0
		 : tine_queue_get(queues[0], &got, sizeof(got),
				  tine_after(SECONDS * 1000)) != -ETIMEDOUT)
		die(1, "something came");
}

/* The first use is no waiting. */
static void look_once(bool pipe)
{
	struct pollfd item = { .fd = ends[0], .events = POLLIN };
	uint64_t got;

	if (pipe ? poll(&item, 1, 0) != 0
		 : tine_queue_get(queues[0], &got, sizeof(got), TINE_NOWAIT) !=
			    -ETIMEDOUT)
		die(1, "something was there");
}

static double idle(bool polls)
{
	double used = 0;
	int status;

	make_queues();
	if (pipe(ends) != 0)
		die(1, "pipe");
	for (int i = 0; i < WAITERS; i++)
		if (fork() == 0) {
			double begun;

			look_once(polls);
			rest();
			begun = processor_now();
			wait_in_vain(polls);
			shared->used[i] = processor_now() - begun;
			_exit(0);
		}
	for (int i = 0; i < WAITERS; i++)
		if (wait(&status) < 0 || status != 0)
			die(1, "a process failed");
	for (int i = 0; i < WAITERS; i++)
		used += shared->used[i];
	return used * 1e3;
}

int main(int argc, char **argv)
{
	const char *measure = argc == 3 ? argv[1] : "",
		   *carrier = argc == 3 ? argv[2] : "";
	bool tine = strcmp(carrier, "tine") == 0;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (shared == MAP_FAILED)
		die(1, "no memory");
	if (strcmp(measure, "trip") == 0 && (tine || strcmp(carrier, "futex") == 0))
		printf("%f\n", trip(!tine));
	else if (strcmp(measure, "answer") == 0 && (tine || strcmp(carrier, "line") == 0))
		printf("%f\n", answer(!tine));
	else if (strcmp(measure, "idle") == 0 && (tine || strcmp(carrier, "pipe") == 0))
		printf("%f\n", idle(!tine));
	else
		die(2, "usage: queue-wait trip tine|futex, answer tine|line, idle "
		       "tine|pipe");
	return 0;
}
