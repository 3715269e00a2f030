/* SPDX-License-Identifier: MIT */
/*
 * Locks in shared memory, and their peers: lock KIND PROCESSES N. So many processes each
 * acquire and release one N times; prints nanoseconds for a pair. With two of them the
 * second is a child, and both hold it for as long as a counter takes that it guards.
 */
#include "bench.h"

#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <tine.h>
#include <unistd.h>

struct shared {
	tine_lock lock;
	tine_sem mutex, held;
	tine_rwlock rwlock;
	pthread_mutex_t pthread_mutex;
	pthread_rwlock_t pthread_rwlock;
	sem_t posix;
	volatile uint64_t count;
	_Atomic unsigned ready;
};

static struct shared *shared;

static void succeed(int err)
{
	if (err)
		die(1, "a lock is not acquired");
}

#define PAIRS(name, change, acquire, release)                                            \
	static void name(uint64_t n)                                                     \
	{                                                                                \
		for (uint64_t i = 0; i < n; i++) {                                       \
			succeed(acquire);                                                \
			if (change)                                                      \
				shared->count++;                                         \
			succeed(release);                                                \
		}                                                                        \
	}

PAIRS(by_lock, 1, tine_lock_acquire(&shared->lock, TINE_FOREVER),
      tine_lock_release(&shared->lock))
PAIRS(by_mutex, 1, tine_sem_wait(&shared->mutex, TINE_FOREVER),
      tine_sem_post(&shared->mutex, 1))
PAIRS(by_held, 1, tine_sem_wait(&shared->held, TINE_FOREVER),
      tine_sem_post(&shared->held, 1))
PAIRS(by_pthread, 1, pthread_mutex_lock(&shared->pthread_mutex),
      pthread_mutex_unlock(&shared->pthread_mutex))
PAIRS(by_posix, 1, sem_wait(&shared->posix), sem_post(&shared->posix))
PAIRS(by_read, 0, tine_rwlock_read(&shared->rwlock, TINE_FOREVER),
      tine_rwlock_release(&shared->rwlock))
PAIRS(by_write, 1, tine_rwlock_write(&shared->rwlock, TINE_FOREVER),
      tine_rwlock_release(&shared->rwlock))
PAIRS(by_pthread_read, 0, pthread_rwlock_rdlock(&shared->pthread_rwlock),
      pthread_rwlock_unlock(&shared->pthread_rwlock))
PAIRS(by_pthread_write, 1, pthread_rwlock_wrlock(&shared->pthread_rwlock),
      pthread_rwlock_unlock(&shared->pthread_rwlock))

static const struct {
	const char *name;
	void (*pairs)(uint64_t n);
} kinds[] = {
	{ "lock", by_lock },
	{ "mutex", by_mutex },
	{ "held", by_held },
	{ "pthread", by_pthread },
	{ "posix", by_posix },
	{ "read", by_read },
	{ "write", by_write },
	{ "pthread-read", by_pthread_read },
	{ "pthread-write", by_pthread_write },
};

static void make_shared(void)
{
	pthread_rwlockattr_t rwlock;
	pthread_mutexattr_t mutex;

	shared = tine_shared_new(1, sizeof(*shared));
	if (!shared)
		die(SKIP, "no memory");
	pthread_mutexattr_init(&mutex);
	pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST);
	pthread_rwlockattr_init(&rwlock);
	pthread_rwlockattr_setpshared(&rwlock, PTHREAD_PROCESS_SHARED);
	succeed(pthread_mutex_init(&shared->pthread_mutex, &mutex));
	succeed(pthread_rwlock_init(&shared->pthread_rwlock, &rwlock));
	succeed(sem_init(&shared->posix, 1, 1));
	succeed(tine_sem_init(&shared->mutex, &(tine_sem_opts){ .mutex = true }));
	succeed(tine_sem_init(&shared->held, &(tine_sem_opts){ .held = true }));
	succeed(tine_sem_post(&shared->held, 1));
}

static void run(void (*pairs)(uint64_t n), uint64_t n, unsigned processes)
{
	pairs(100);
	shared->ready++;
	while (shared->ready < processes)
		;
	pairs(n);
}

int main(int argc, char **argv)
{
	unsigned processes = (unsigned)number(argc > 2 ? argv[2] : NULL);
	uint64_t n = number(argc > 3 ? argv[3] : NULL);
	double begun;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(argv[1], kinds[i].name) != 0)
			continue;
		make_shared();
		for (unsigned p = 1; p < processes; p++)
			if (fork() == 0) {
				run(kinds[i].pairs, n, processes);
				_exit(0);
			}
		begun = seconds_now();
		run(kinds[i].pairs, n, processes);
		while (wait(NULL) > 0)
			;
		printf("%.2f\n", (seconds_now() - begun) / (double)(n * processes) * 1e9);
		return 0;
	}
	die(2, "no such kind");
}
