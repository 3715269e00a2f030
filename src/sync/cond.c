/* SPDX-License-Identifier: MIT */
/*
 * A condition: nothing but those who sleep until woken (sleepers.h).
 *
 * A waiter joins them before it lets go of the lock, so that who changes what it waits
 * for under that lock, and then wakes, finds it. A wake is lost when the one who was
 * woken dies of something else, or the waker on its way: therefore each waiter returns by
 * itself from time to time, as the contract allows, and its caller looks.
 *
 *	dies before it lets go		the lock is handed on as from any dead holder
 *	dies asleep			the next wake makes a system call for nothing
 *	dies with the lock again	as above
 */
#include "base/deadline.h"
#include "base/family.h"
#include "base/interrupt.h"
#include "trace/trace.h"
#include "wait/lock.h"
#include "wait/sleepers.h"

struct cond {
	struct sleepers sleepers;
};

_Static_assert(sizeof(struct cond) <= sizeof(tine_cond), "tine_cond is too small");

static int take_back(tine_lock *lock, unsigned times)
{
	/* Bound: the caller's lock, which the contract has it wait for. */
	int err = lock_steadily(lock, TINE_FOREVER);

	while (--times > 0)
		/* Bound: it is this thread's. */
		(void)!lock_steadily(lock, TINE_FOREVER);
	return err;
}

int tine_cond_wait(tine_cond *room, tine_lock *lock, int64_t deadline)
{
	struct sleepers *sleepers = &((struct cond *)room)->sleepers;
	struct nap nap = { .most = LONGEST_NAP };
	unsigned times;
	uint32_t turn;
	int err;

	if (!room || !lock || is_no_deadline(deadline))
		return -EINVAL;
	if (is_foreign(room) || is_foreign(lock))
		return -EXDEV;
	turn = sleepers_join(sleepers);
	times = lock_let_go(lock);
	if (times == 0)
		return -EPERM;
	nap_logged(sleepers, turn, &nap, deadline);
	err = take_back(lock, times);
	if (err || atomic_load(&sleepers->turn) != turn)
		return err;
	return interrupt_take() ? -EINTR : deadline <= tine_now() ? -ETIMEDOUT : 0;
}

int tine_cond_wake(tine_cond *room, unsigned n)
{
	if (!room)
		return -EINVAL;
	if (is_foreign(room))
		return -EXDEV;
	sleepers_wake(&((struct cond *)room)->sleepers, n);
	return 0;
}
