/* SPDX-License-Identifier: MIT */
/*
 * Waits that a signal ends, in threads that asked for it by tine_interruptible().
 *
 * Whatever sleeps notes that a handler ran meanwhile. A call with a deadline asks before
 * each of its sleeps whether that was noted, and returns -EINTR then. What sleeps inside,
 * for other processes that are in a call, notes it and goes on: then the signal ends the
 * next wait of the thread, and is not lost.
 *
 * A signal just before a sleep ends nothing. Who must not miss it waits in slices, and
 * looks by itself between them. So that this is not more work than one long wait, a
 * thread remembers the last sleep that nobody ended: who sleeps at the same place next
 * goes on where that was (sleepers.h).
 */
#ifndef TINE_INTERRUPT_H
#define TINE_INTERRUPT_H

#include "base/export.h"

#include <errno.h>

struct interrupts {
	bool end_waits; /* what the thread asked for */
	bool came;
	const void *slept_at;
	int64_t slept_until, next_sleep; /* next_sleep: how long, in nanoseconds */
};

extern _Thread_local struct interrupts interrupts
	__attribute__((tls_model("initial-exec")));

/* After a system call that slept; with its errno. */
static inline void interrupt_note(int err)
{
	if (err == EINTR && interrupts.end_waits)
		interrupts.came = true;
}

/* Whether one was noted, which from now on is told. */
static inline bool interrupt_take(void)
{
	bool came = interrupts.came;

	interrupts.came = false;
	return came;
}

/* Before a sleep: 0; -ETIMEDOUT: the deadline has passed; -EINTR: one was noted. */
static inline int interrupt_or_late(int64_t deadline)
{
	if (deadline <= tine_now())
		return -ETIMEDOUT;
	return interrupt_take() ? -EINTR : 0;
}

/* After a sleep that nobody has ended. */
static inline void interrupt_slept(const void *at, int64_t until, int64_t next_sleep)
{
	if (!interrupts.end_waits)
		return;
	interrupts.slept_at = at;
	interrupts.slept_until = until;
	interrupts.next_sleep = next_sleep;
}

/* Before the first sleep of a call: how long it is to be, of one that goes on, else 0. */
static inline int64_t interrupt_next_sleep(const void *at, int64_t now)
{
	if (!interrupts.end_waits || interrupts.slept_at != at ||
	    now - interrupts.slept_until > interrupts.next_sleep)
		return 0;
	return interrupts.next_sleep;
}

/* In a new process, whose thread has asked for nothing. */
static inline void interrupt_forget(void)
{
	interrupts = (struct interrupts){ 0 };
}

#endif
