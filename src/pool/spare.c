/* SPDX-License-Identifier: MIT */
/* The protocol is at the head of spare.h. */
#include "pool/spare.h"

#include "base/futex.h"
#include "wait/lock.h"

#include <signal.h>

#define MOST_WATCHED 127 /* the kernel waits for 128 words at once */

bool spare_sees_death(struct pool_desk *desk)
{
	return atomic_load(lock_word(&desk->life)) & FUTEX_OWNER_DIED;
}

bool spare_call(struct ledger *ledger, unsigned id)
{
	pid_t pid = atomic_load(&ledger->spare);

	if (!pid)
		return false;
	atomic_store(&ledger->desks[id].pid, pid);
	atomic_store(&ledger->spare, 0);
	atomic_store(&ledger->called, id + 1);
	futex_wake(&ledger->called, 1);
	return true;
}

bool spare_missed(struct ledger *ledger, unsigned id)
{
	uint32_t call = id + 1;

	return atomic_compare_exchange_strong(&ledger->called, &call, 0);
}

#ifdef SYS_futex_waitv
/* Has the kernel wake who sleeps there when the holder dies; false: nobody holds it. */
static bool watch(_Atomic uint32_t *word, struct futex_waitv *waiter)
{
	uint32_t seen = atomic_load(word);

	do
		if (!(seen & FUTEX_TID_MASK))
			return false;
	while (!atomic_compare_exchange_weak(word, &seen, seen | FUTEX_WAITERS));
	*waiter = (struct futex_waitv){ .uaddr = (uintptr_t)word,
					.val = seen | FUTEX_WAITERS,
					.flags = FUTEX_32 };
	return true;
}

/* False: this kernel cannot. */
static bool sleep_watching(struct ledger *ledger, unsigned *watched, pid_t nursery)
{
	struct futex_waitv waiters[1 + MOST_WATCHED] = {
		{ .uaddr = (uintptr_t)&ledger->called, .flags = FUTEX_32 }
	};
	unsigned n = 0, before = *watched;

	for (unsigned id = 0; id < ledger->workers && n < MOST_WATCHED; id++)
		n += watch(lock_word(&ledger->desks[id].life), &waiters[1 + n]);
	*watched = n;
	if (n < before)
		kill(nursery, SIGCHLD);
	/* Bound: the nursery, whose death kills this process. */
	return syscall(SYS_futex_waitv, waiters, 1 + n, 0, NULL, CLOCK_MONOTONIC) >= 0 ||
	       errno == EAGAIN || errno == EINTR;
}
#endif

static void sleep_until_called(struct ledger *ledger, unsigned *watched, pid_t nursery)
{
#ifdef SYS_futex_waitv
	if (sleep_watching(ledger, watched, nursery))
		return;
#else
	(void)watched;
	(void)nursery;
#endif
	/* Bound: the nursery, whose death kills this process. */
	futex_wait(&ledger->called, 0, TINE_FOREVER);
}

unsigned spare_wait(struct ledger *ledger, pid_t nursery)
{
	unsigned watched = 0;
	uint32_t call;

	while ((call = atomic_load(&ledger->called)) == 0)
		sleep_until_called(ledger, &watched, nursery);
	atomic_store(&ledger->called, 0);
	return call - 1;
}
