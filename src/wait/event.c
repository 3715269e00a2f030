/* SPDX-License-Identifier: MIT */
/*
 * A flag that can be waited for, in one word:
 *
 *	bit 0		set
 *	bit 1		somebody may be asleep
 *	bits 2 to 31	how many times it was set, so that a waiter sees a set that was
 *			cleared again before it woke
 *
 * A process that dies asleep leaves bit 1 behind: the next set makes one system call for
 * nothing, and takes the bit away. Set is one exchange, so there is no middle to die in;
 * a setter that dies between the exchange and the wake leaves sleepers that nobody wakes,
 * and therefore a sleeper looks again by itself, every RELOOK.
 */
#include "base/futex.h"

#include "base/deadline.h"

#define SET	1u
#define SLEEPER 2u
#define TURN	4u
#define RELOOK	INT64_C(100000000)

/* For those who cannot inline it. */
extern inline bool tine_event_is_set(const tine_event *event);

static _Atomic uint32_t *event_word(tine_event *event)
{
	return (_Atomic uint32_t *)&event->priv[0];
}

int tine_event_set(tine_event *event)
{
	_Atomic uint32_t *word = event_word(event);
	uint32_t seen;

	if (!event)
		return -EINVAL;
	seen = atomic_load(word);
	do {
		if (seen & SET)
			return 0;
	} while (!atomic_compare_exchange_weak(word, &seen,
					       ((seen + TURN) & ~SLEEPER) | SET));
	if (seen & SLEEPER)
		futex_wake(word, INT_MAX);
	return 0;
}

int tine_event_clear(tine_event *event)
{
	if (!event)
		return -EINVAL;
	atomic_fetch_and(event_word(event), ~SET);
	return 0;
}

int tine_event_wait(tine_event *event, int64_t deadline)
{
	_Atomic uint32_t *word = event_word(event);
	uint32_t seen, first;

	if (!event || is_no_deadline(deadline))
		return -EINVAL;
	seen = atomic_load(word);
	first = seen / TURN;
	for (;;) {
		int64_t now, until;

		if ((seen & SET) || seen / TURN != first)
			return 0;
		now = tine_now();
		if (deadline <= now)
			return -ETIMEDOUT;
		until = deadline - now > RELOOK ? now + RELOOK : deadline;
		if ((seen & SLEEPER) ||
		    atomic_compare_exchange_strong(word, &seen, seen | SLEEPER)) {
			futex_wait(word, seen | SLEEPER, until);
			seen = atomic_load(word);
		}
	}
}
