/* SPDX-License-Identifier: MIT */
/*
 * A descriptor for poll(2) that becomes readable when an object of the family's memory is
 * ready, from the time that it is armed. The protocol is at the head of waiter.c.
 */
#ifndef TINE_WAITER_H
#define TINE_WAITER_H

#include "base/export.h"

/* How a waiter's thread waits at a kind of object; each call has a bound. */
struct waited {
	/* Called when it is armed: what look() is to be passed. NULL: 0. */
	uint64_t (*begin)(void *object);
	/*
	 * Whether it is ready, or has been since it was armed; else sleeps once, until
	 * it may be, or until wake(), or the deadline at the latest; whether it is then.
	 * With TINE_NOWAIT it does not sleep, and is called in the thread that arms.
	 * Looks after the dead where other waits do.
	 */
	bool (*look)(void *object, uint64_t begun, int64_t deadline);
	/* Has look() come back from its sleep, if it sleeps; others may wake as well. */
	void (*wake)(void *object);
};

/*
 * Ends what was armed before, and arms it for this object: if that is ready, the
 * descriptor is readable when this returns, else as soon as it is. Whoever looks by a
 * record of member.h joins before, in the thread that arms. -EINVAL: NULL; -EPERM:
 * inherited from another process.
 */
int waiter_arm(tine_waiter *, const struct waited *, void *object);

#endif
