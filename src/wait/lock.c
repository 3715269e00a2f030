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
 * it is done, of which type it is, and in which place (base/place.h): there thread ids
 * mean what they say. To initialise a lock is no more than to come first with words of
 * another type; one who dies on the way has set the type, or has not.
 *
 * What the kernel does not hand on:
 *
 *	locks past the 2048th on a list		refused before: each thread counts its own
 *	those that follow, on the list, one	the holder's thread id is no thread's any
 *	whose memory is gone; those of a copy	more: a waiter that sees so puts "its
 *	of the memory				owner died" in its place
 *	held when the machine went down, in	the place's boot is another: the same,
 *	a file					before the lock is used
 *	held by a thread that another PID	refused: the place's namespace is another
 *	namespace has under another number
 *
 * Both changes are a compare-and-swap of the futex from the word that was seen; a waiter
 * that dies before or after it leaves that to the next. It would be wrong only if in
 * between others had handed the lock on, and now a new thread that was given the same
 * number held it.
 */
#include "wait/lock.h"

#include "base/atfork.h"
#include "base/deadline.h"
#include "base/family.h"
#include "base/futex.h"
#include "base/libc.h"
#include "base/options.h"
#include "base/place.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#define TYPE	   UINT64_C(0xff)
#define MOST_LOCKS 2040 /* that a thread holds; of the kernel's 2048 */
#define RESERVED   40	/* of them, for locks inside objects */
#define SPINS	   100	/* before a sleep, which takes some microseconds */
#define GRACE	   INT64_C(1000000)
#define RELOOK	   INT64_C(200000000)

_Static_assert(sizeof(pthread_mutex_t) <= LOCK_READY * sizeof(uint64_t),
	       "tine_lock has no room for the C library's mutex");

/* This process's, as it stands in the word; UNKNOWN: to be found out, as of no word. */
#define UNKNOWN UINT64_C(0x7f)
static _Atomic uint64_t own_place = UNKNOWN;

/* How many locks more this thread may hold; less than it may, until it has looked. */
static _Thread_local int room __attribute__((tls_model("initial-exec")));
static _Thread_local bool looked __attribute__((tls_model("initial-exec")));

/* The child's one thread holds nothing, and may be in another namespace. */
static void forget_locks(void)
{
	own_place = UNKNOWN;
	room = 0;
	looked = false;
}

FILL_ATFORK static void fill_lock(void)
{
	atfork_fill(ATFORK_LOCK, &(struct atfork){ .in_child = forget_locks });
}

/* ---- making it ready --------------------------------------------------------------- */

static _Atomic uint64_t *word_of_lock(tine_lock *lock, int i)
{
	return (_Atomic uint64_t *)&lock->priv[i];
}

static uint64_t find_place(void)
{
	uint64_t place = atomic_load(&own_place);

	if (place == UNKNOWN) {
		place = place_packed(place_here()) << LOCK_PLACE;
		atomic_store(&own_place, place);
	}
	return place;
}

/* -EINVAL: the lock is of another type already. */
static int make_ready(tine_lock *lock, bool recursive)
{
	union {
		pthread_mutex_t mutex;
		uint64_t words[LOCK_READY];
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

	for (int i = 0; i < LOCK_READY; i++) {
		uint64_t word = 0;

		if (fresh.words[i] &&
		    !atomic_compare_exchange_strong(word_of_lock(lock, i), &word,
						    fresh.words[i]) &&
		    word != fresh.words[i])
			err = -EINVAL;
	}
	atomic_store(word_of_lock(lock, LOCK_READY),
		     (recursive == (err == 0) ? LOCK_RECURSIVE : LOCK_PLAIN) |
			     find_place());
	return err;
}

/* What nobody holds that lives. From the word as it was seen. */
static void set_died(tine_lock *lock, uint32_t seen)
{
	atomic_compare_exchange_strong((_Atomic uint32_t *)lock->priv, &seen,
				       FUTEX_OWNER_DIED | (seen & FUTEX_WAITERS));
}

/* The word is not as this process would write it. */
static int look_at_place(tine_lock *lock)
{
	uint64_t word = atomic_load(word_of_lock(lock, LOCK_READY)), own = find_place();
	struct place here = place_unpacked(own >> LOCK_PLACE),
		     there = place_unpacked(word >> LOCK_PLACE);
	uint32_t seen = (uint32_t)atomic_load((_Atomic uint32_t *)lock->priv);

	if ((word & TYPE) == 0) {
		make_ready(lock, false);
		return 0;
	}
	if (there.boot && here.boot && there.boot != here.boot) {
		if (seen & FUTEX_TID_MASK)
			set_died(lock, seen);
		atomic_compare_exchange_strong(word_of_lock(lock, LOCK_READY), &word,
					       (word & TYPE) | own);
		return 0;
	}
	if (there.namespace && here.namespace && there.namespace != here.namespace)
		return -ENOTSUP;
	return 0;
}

/* 0: it is the mutex that it says. */
static inline int make_usable(tine_lock *lock)
{
	/* Acquire: its other words. Relaxed: ours is only compared. */
	uint64_t word = atomic_load_explicit(word_of_lock(lock, LOCK_READY),
					     memory_order_acquire),
		 own = atomic_load_explicit(&own_place, memory_order_relaxed);

	if (__builtin_expect(word - own - LOCK_PLAIN <= LOCK_RECURSIVE - LOCK_PLAIN, 1))
		return 0;
	return look_at_place(lock);
}

int tine_lock_init(tine_lock *lock, const tine_lock_opts *opts)
{
	int err;

	if (!lock || (opts && !ROOM_IS_ZERO(opts)))
		return -EINVAL;
	if (is_foreign(lock))
		return -EXDEV;
	/* One that a machine left behind which went down is in use. */
	if (atomic_load(word_of_lock(lock, LOCK_READY)) && (err = look_at_place(lock)))
		return err;
	return make_ready(lock, opts && opts->recursive);
}

/* ---- what a thread may hold -------------------------------------------------------- */

/*
 * The kernel denies the list to who gives a wrong size, and a filter of system calls
 * (seccomp) to everybody: without it no death would be noticed.
 */
static int look_at_room(int reserve)
{
	if (looked)
		return room > reserve ? 0 : -EAGAIN;
	if (syscall(SYS_set_robust_list, NULL, 0) != 0 && errno != EINVAL)
		return -ENOSYS;
	looked = true;
	room = MOST_LOCKS;
	return 0;
}

/* Relaxed: another thread may be making it ready too, and writes the same. */
static inline uint64_t type_of_lock(tine_lock *lock)
{
	return atomic_load_explicit(word_of_lock(lock, LOCK_READY),
				    memory_order_relaxed) &
	       TYPE;
}

/* Whether this thread, which holds it, holds it more than once. */
static inline bool is_nested(tine_lock *lock)
{
#ifdef __GLIBC__
	return type_of_lock(lock) == LOCK_RECURSIVE &&
	       ((pthread_mutex_t *)lock->priv)->__data.__count > 1;
#else
	return false;
#endif
}

/* ---- the calls --------------------------------------------------------------------- */

/* Whether the thread that holds it is gone, and the kernel will not hand it on. */
static void look_at_holder(tine_lock *lock)
{
	uint32_t seen = atomic_load((_Atomic uint32_t *)lock->priv);
	pid_t holder = (pid_t)(seen & FUTEX_TID_MASK);

	if (holder && kill(holder, 0) != 0 && errno == ESRCH)
		set_died(lock, seen);
}

/*
 * As pthread_mutex_clocklock(), which a signal does not end: sleeps on the mutex's word
 * as that does. Others may sleep there still when it has the mutex, and whoever releases
 * it is to know. EINTR: a signal was noted.
 */
static int sleep_for_lock(tine_lock *lock, int64_t until)
{
	_Atomic uint32_t *word = (_Atomic uint32_t *)lock->priv;
	int err = EBUSY;

	while (err == EBUSY) {
		uint32_t seen = atomic_load(word);

		if (interrupts.came)
			return EINTR;
		if (until <= tine_now())
			return ETIMEDOUT;
		/* Bound: until. */
		if ((seen & FUTEX_TID_MASK) &&
		    ((seen & FUTEX_WAITERS) ||
		     atomic_compare_exchange_strong(word, &seen, seen | FUTEX_WAITERS)))
			futex_wait(word, seen | FUTEX_WAITERS, until);
		err = pthread_mutex_trylock((pthread_mutex_t *)lock->priv);
	}
	if (err == 0 || err == EOWNERDEAD)
		atomic_fetch_or(word, FUTEX_WAITERS);
	return err;
}

/*
 * An error of the C library's. EINTR only where a signal ends it; else it is noted, and
 * no further one is.
 */
static __attribute__((noinline)) int wait_for_lock(tine_lock *lock, int64_t deadline,
						   bool ends)
{
	pthread_mutex_t *mutex = (pthread_mutex_t *)lock->priv;
	int err;

	do {
		int64_t relook = tine_now() + RELOOK;
		struct timespec ts;

		if (ends && interrupt_take())
			return EINTR;
		relook = earlier(relook, deadline);
		ts = timespec_of(relook);
		/* Bound: RELOOK, and the deadline. */
		err = interrupts.end_waits && !interrupts.came
			      ? sleep_for_lock(lock, relook)
			      : pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &ts);
		if (err == ETIMEDOUT)
			look_at_holder(lock);
		else if (err != EINTR)
			return err;
	} while (deadline > tine_now());
	err = pthread_mutex_trylock(mutex);
	return err == EBUSY ? ETIMEDOUT : err;
}

/* Leaves so much room. */
static inline int acquire_with_room(tine_lock *lock, int64_t deadline, int reserve,
				    bool ends)
{
	int err;

	if (__builtin_expect(room <= reserve, 0) && (err = look_at_room(reserve)))
		return err;
	err = make_usable(lock);
	if (err)
		return err;
	err = pthread_mutex_trylock((pthread_mutex_t *)lock->priv);
	if (err == EBUSY)
		err = deadline > TINE_NOWAIT ? wait_for_lock(lock, deadline, ends)
					     : ETIMEDOUT;
	if (err == EOWNERDEAD)
		pthread_mutex_consistent((pthread_mutex_t *)lock->priv);
	if ((err == 0 || err == EOWNERDEAD) && !is_nested(lock))
		room--;
	return -err;
}

int tine_lock_acquire(tine_lock *lock, int64_t deadline)
{
	if (!lock || is_no_deadline(deadline))
		return -EINVAL;
	if (is_foreign(lock))
		return -EXDEV;
	return acquire_with_room(lock, deadline, RESERVED, true);
}

int lock_steadily(tine_lock *lock, int64_t deadline)
{
	return acquire_with_room(lock, deadline, RESERVED, false);
}

int lock_inner_soon(tine_lock *lock)
{
	int err = acquire_with_room(lock, TINE_NOWAIT, 0, false);

	for (int i = 0; err == -ETIMEDOUT && i < SPINS; i++) {
		cpu_relax();
		err = acquire_with_room(lock, TINE_NOWAIT, 0, false);
	}
	return err;
}

int lock_inner(tine_lock *lock, int64_t deadline)
{
	int err = acquire_with_room(lock, TINE_NOWAIT, 0, false);
	int64_t soonest;

	if (err != -ETIMEDOUT)
		return err;
	soonest = tine_now() + GRACE;
	/* Bound: the deadline, or GRACE. */
	return acquire_with_room(lock, deadline > soonest ? deadline : soonest, 0, false);
}

int tine_lock_release(tine_lock *lock)
{
	int err = lock ? make_usable(lock) : -EINVAL;
	bool last;

	if (err)
		return err;
	last = !is_nested(lock);
	err = pthread_mutex_unlock((pthread_mutex_t *)lock->priv);
	if (err == 0 && last)
		room++;
	return -err;
}

/* The kernel's part of it, in the C library's mutex the first word. */
_Atomic uint32_t *lock_word(tine_lock *lock)
{
	make_usable(lock);
	return (_Atomic uint32_t *)lock->priv;
}

unsigned lock_let_go(tine_lock *lock)
{
	unsigned times = 0;

	while (tine_lock_release(lock) == 0) {
		times++;
		if (type_of_lock(lock) == LOCK_PLAIN)
			break;
	}
	return times;
}
