/* SPDX-License-Identifier: MIT */
/*
 * stopped sem|queue|cache|pool TIMES: a process is stopped (SIGSTOP) at a random moment
 * in calls of an object, and another calls it with a deadline of 20 ms. Prints how many
 * milliseconds late the latest of TIMES calls came back, and 0 if none was late.
 */
#include "bench.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <tine.h>
#include <unistd.h>

#define DEADLINE_MS 20

static const tine_sem_opts held = { .held = true };
static tine_sem *sem;
static tine_queue *queue;
static tine_cache *cache;
static tine_pool *pool;
static pid_t *workers; /* of the pool; the first is how many there are */
static char folder[] = "/tmp/tine-bench-XXXXXX";

static int add_one(const void *in, void *out)
{
	*(long *)out = *(const long *)in + 1;
	return 0;
}

static const tine_task task = TINE_TASK(add_one, long, long);

static void use_sem(int64_t deadline)
{
	int err = tine_sem_wait(sem, deadline);

	if (err == 0 || err == -EOWNERDEAD)
		tine_sem_post(sem, 1);
}

static void use_queue(int64_t deadline)
{
	long message = 1;
	ssize_t len = tine_queue_put(queue, &message, sizeof(message), deadline);

	if (len == 0)
		len = tine_queue_get(queue, &message, sizeof(message), deadline);
	(void)len;
}

static void use_cache(int64_t deadline)
{
	static long in;
	long out;

	in += getpid();
	(void)!tine_cache_call(cache, &task, &in, &out, NULL, deadline);
}

static void use_pool(int64_t deadline)
{
	long in[100] = { 0 }, out[100];

	(void)!tine_pool_map(pool, &task, in, out, 100, &(tine_map_opts){ .chunk = 1 },
			     deadline);
}

static int note_worker(void *arg)
{
	(void)arg;
	workers[1 + __atomic_fetch_add(&workers[0], 1, __ATOMIC_SEQ_CST) % 1000] =
		getpid();
	return 0;
}

static void make(const char *what)
{
	sem = tine_shared_new(1, sizeof(*sem));
	workers = tine_shared_new(1001, sizeof(*workers));
	if (!sem || !workers || tine_sem_init(sem, &held) || tine_sem_post(sem, 1))
		die(1, "no semaphore");
	if (tine_queue_new(&queue, sizeof(long), NULL))
		die(1, "no queue");
	if (!strcmp(what, "cache") &&
	    (!mkdtemp(folder) || tine_cache_open(&cache, folder, NULL) < 0))
		die(1, "no cache");
	if (!strcmp(what, "pool") &&
	    tine_pool_new(&pool, &(tine_pool_opts){ .workers = 4, .init = note_worker }))
		die(1, "no pool");
}

static double late_ms(void (*use)(int64_t))
{
	int64_t deadline = tine_after(DEADLINE_MS), late;

	use(deadline);
	late = tine_now() - deadline;
	return late > 0 ? (double)late / 1e6 : 0;
}

static void wait_us(long us)
{
	struct timespec moment = { 0, us * 1000 };

	nanosleep(&moment, NULL);
}

/* A worker of the pool, or a process that calls and calls. */
static double beside_stopped(void (*use)(int64_t), bool of_pool)
{
	pid_t pid = of_pool ? workers[1 + random() % 4] : fork();
	double late;

	if (pid == 0)
		for (;;)
			use(TINE_FOREVER);
	if (of_pool) {
		pid_t stopper = fork();

		if (stopper == 0) {
			wait_us(random() % 5000);
			kill(pid, SIGSTOP);
			wait_us(100000);
			kill(pid, SIGCONT);
			_exit(0);
		}
		/* Map after map: the worker is stopped in one of them. */
		for (late = 0; waitpid(stopper, NULL, WNOHANG) == 0;) {
			double this = late_ms(use);

			late = this > late ? this : late;
		}
		return late;
	}
	wait_us(2000 + random() % 5000);
	kill(pid, SIGSTOP);
	waitpid(pid, NULL, WUNTRACED);
	late = late_ms(use);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return late;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	void (*use)(int64_t) = !strcmp(what, "sem")	? use_sem
			       : !strcmp(what, "queue") ? use_queue
			       : !strcmp(what, "cache") ? use_cache
			       : !strcmp(what, "pool")	? use_pool
							: NULL;
	uint64_t times = number(argc > 2 ? argv[2] : NULL);
	double latest = 0;

	if (!use)
		die(2, "stopped sem|queue|cache|pool TIMES");
	make(what);
	for (uint64_t i = 0; i < times; i++) {
		double late = beside_stopped(use, use == use_pool);

		latest = late > latest ? late : latest;
	}
	tine_pool_free(pool);
	if (cache) {
		char command[64];

		tine_cache_free(cache);
		snprintf(command, sizeof(command), "rm -r %s", folder);
		if (system(command) != 0)
			return 1;
	}
	printf("%.2f\n", latest);
	return 0;
}
