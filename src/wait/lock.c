/* SPDX-License-Identifier: MIT */
/*
 * A lock that survives its holder: a robust, process-shared mutex of the C library's.
 *
 * The kernel keeps, for each thread, the address of its robust list; when a thread ends,
 * by whatever death, it marks every word on the list and wakes a waiter. So the next to
 * lock learns of the death at once, and a process id used again cannot be taken for the
 * owner. A PI futex (FUTEX_LOCK_PI) needs no list but has that flaw, and hands over from
 * owner to waiter at each contended release, which is slow.
 *
 * Zeroed is ready: the first to come writes into the mutex the words by which an
 * initialised one differs from zero. These are its type, in every C library that has
 * robust mutexes; they are constant from then on, so that to write them is idempotent, by
 * compare-and-swap from zero: whoever dies half-way, the next writes the rest. (Words
 * that change are zero in a fresh mutex: test/lock.c checks it.) The last word says that
 * it is done, and of which type it is. To initialise a lock is no more than to come first
 * with words of another type; one who dies on the way has set the type, or has not.
 */
#include "wait/lock.h"

#include "base/futex.h"
#include "base/libc.h"
#include "base/options.h"

#include <pthread.h>
#include <string.h>

#define READY 7 /* this word */
#define GRACE INT64_C(1000000)

enum { PLAIN = 1, RECURSIVE };

_Static_assert(sizeof(pthread_mutex_t) <= READY * sizeof(uint64_t),
	       "tine_lock has no room for the C library's mutex");

/* -EINVAL: the lock is of another type already. */
static int make_ready(tine_lock *lock, bool recursive)
{
	union {
		pthread_mutex_t mutex;
		uint64_t words[READY];
	} fresh;
	pthread_mutexattr_t attr;
	int err = 0;

	memset(&fresh, 0, sizeof(fresh));
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_settype(&attr, recursive ? PTHREAD_MUTEX_RECURSIVE
						   : PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&fresh.mutex, &attr);
	pthread_mutexattr_destroy(&attr);

	for (int i = 0; i < READY; i++) {
		uint64_t word = 0;

		if (fresh.words[i] &&
		    !atomic_compare_exchange_strong((_Atomic uint64_t *)&lock->priv[i],
						    &word, fresh.words[i]) &&
		    word != fresh.words[i])
			err = -EINVAL;
	}
	atomic_store((_Atomic uint64_t *)&lock->priv[READY],
		     recursive == (err == 0) ? RECURSIVE : PLAIN);
	return err;
}

int tine_lock_init(tine_lock *lock, const tine_lock_opts *opts)
{
	if (opts && !TAIL_IS_ZERO(opts))
		return -EINVAL;
	return make_ready(lock, opts && opts->recursive);
}

static pthread_mutex_t *mutex_of(tine_lock *lock)
{
	if (!atomic_load_explicit((_Atomic uint64_t *)&lock->priv[READY],
				  memory_order_acquire))
		make_ready(lock, false);
	return (pthread_mutex_t *)lock->priv;
}

int tine_lock_acquire(tine_lock *lock, int64_t deadline)
{
	pthread_mutex_t *mutex = mutex_of(lock);
	int err = pthread_mutex_trylock(mutex);

	if (err == EBUSY && deadline == TINE_FOREVER) {
		/* Bound: none, as the caller asks for. */
		err = pthread_mutex_lock(mutex);
	} else if (err == EBUSY && deadline > TINE_NOWAIT) {
		struct timespec ts = timespec_of(deadline);

		/* Bound: the deadline. */
		err = pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &ts);
	} else if (err == EBUSY) {
		err = ETIMEDOUT;
	}
	if (err == EOWNERDEAD)
		pthread_mutex_consistent(mutex);
	return -err;
}

int lock_inner(tine_lock *lock, int64_t deadline)
{
	int err = tine_lock_acquire(lock, TINE_NOWAIT);
	int64_t soonest;

	if (err != -ETIMEDOUT)
		return err;
	soonest = tine_now() + GRACE;
	/* Bound: the deadline, or GRACE. */
	return tine_lock_acquire(lock, deadline > soonest ? deadline : soonest);
}

int tine_lock_release(tine_lock *lock)
{
	return -pthread_mutex_unlock(mutex_of(lock));
}

/* The kernel's part of it, in the C library's mutex the first word. */
_Atomic uint32_t *lock_word(tine_lock *lock)
{
	return (_Atomic uint32_t *)mutex_of(lock);
}

unsigned lock_let_go(tine_lock *lock)
{
	unsigned times = 0;

	while (tine_lock_release(lock) == 0) {
		times++;
		if (lock->priv[READY] == PLAIN)
			break;
	}
	return times;
}
