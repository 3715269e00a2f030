/* SPDX-License-Identifier: MIT */
/*
 * Those who sleep until something changes. To wake them costs no system call when nobody
 * has gone to sleep since the last wake that left nobody asleep.
 *
 *	turn	one more with each wake; the word they sleep on
 *	came	one more with each who is about to sleep
 *	gone	what came was, when a wake left nobody asleep
 *
 * A sleeper notes the turn, is counted in came, and only then looks whether it has to
 * sleep, which it does while the turn is the one it noted. A waker changes what they look
 * at, and only then reads came: either it sees the sleeper come, or the sleeper sees the
 * change. Who had come before a waker changed the turn, and is not asleep when it wakes,
 * does not fall asleep any more: when fewer were woken than was asked for, all who had
 * come by then are gone.
 *
 *	sleeper dies			came was counted: one system call for nothing
 *	waker dies, the turn changed	those asleep look again by themselves
 *	dies when just woken		the wake was for nothing; the others look again
 *
 * Therefore a sleep is a short one at first, and none is longer than LONGEST_NAP.
 */
#ifndef TINE_SLEEPERS_H
#define TINE_SLEEPERS_H

#include "base/futex.h"

#define FIRST_NAP   INT64_C(1000000)
#define LONGEST_NAP INT64_C(200000000)

struct sleepers {
	_Atomic uint32_t turn, came, gone;
};

struct nap {
	int64_t most;	      /* nanoseconds, of the next */
	int64_t begun, ended; /* of the last */
};

/* Called before the last look at what is waited for; the turn, for sleepers_nap(). */
static inline uint32_t sleepers_join(struct sleepers *sleepers)
{
	uint32_t turn = atomic_load(&sleepers->turn);

	atomic_fetch_add(&sleepers->came, 1);
	/*
	 * The look may be by loads that are weaker than seq_cst, which an addition does
	 * not keep behind it everywhere. A waker has the like between change and look.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	return turn;
}

/*
 * Sleeps until woken, or nap->most or the deadline is over: true, and nap->most is longer
 * from now on; it is time to look at what nobody wakes for.
 */
static inline bool sleepers_nap(struct sleepers *sleepers, uint32_t turn, struct nap *nap,
				int64_t deadline)
{
	bool first = nap->begun == 0;
	int64_t next;
	int err;

	nap->begun = tine_now();
	if (first && (next = interrupt_next_sleep(sleepers, nap->begun)) > nap->most)
		nap->most = next;
	if (deadline > nap->begun && deadline - nap->begun > nap->most)
		deadline = nap->begun + nap->most;
	/* Bound: the nap, and the caller's deadline. */
	err = futex_wait(&sleepers->turn, turn, deadline);
	nap->ended = tine_now();
	if (err == 0)
		return false;
	nap->most = nap->most * 2 < LONGEST_NAP ? nap->most * 2 : LONGEST_NAP;
	interrupt_slept(sleepers, nap->ended, nap->most);
	return true;
}

/* Whether sleepers_wake() would find anybody, perhaps. */
static inline bool sleepers_any(struct sleepers *sleepers)
{
	return atomic_load(&sleepers->came) != atomic_load(&sleepers->gone);
}

static inline void sleepers_wake(struct sleepers *sleepers, unsigned n)
{
	uint32_t came = atomic_load(&sleepers->came);
	int most = n < INT_MAX ? (int)n : INT_MAX;

	if (n == 0 || came == atomic_load(&sleepers->gone))
		return;
	atomic_fetch_add(&sleepers->turn, 1);
	if (futex_wake(&sleepers->turn, most) < most)
		atomic_store(&sleepers->gone, came);
}

#endif
