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
#include "wait/waiter.h"

#include "base/deadline.h"
#include "base/family.h"
#include "base/futex.h"

#define SET	1u
#define SLEEPER 2u
#define TURN	4u
#define RELOOK	INT64_C(200000000)

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
	if (is_foreign(event))
		return -EXDEV;
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
	if (is_foreign(event))
		return -EXDEV;
	atomic_fetch_and(event_word(event), ~SET);
	return 0;
}

static uint64_t count_of_sets(void *event)
{
	return atomic_load(event_word(event)) / TURN;
}

/* Whether it is set, or was since it had been set so often. */
static bool was_set(uint32_t word, uint64_t sets)
{
	return (word & SET) || word / TURN != sets;
}

static bool look_at_event(void *event, uint64_t sets, int64_t deadline)
{
	_Atomic uint32_t *word = event_word(event);
	uint32_t seen = atomic_load(word);

	if (was_set(seen, sets))
		return true;
	if (deadline <= tine_now())
		return false;
	if ((seen & SLEEPER) ||
	    atomic_compare_exchange_strong(word, &seen, seen | SLEEPER))
		/* Bound: the deadline. */
		futex_wait(word, seen | SLEEPER, deadline);
	return was_set(atomic_load(word), sets);
}

int tine_event_wait(tine_event *event, int64_t deadline)
{
	uint64_t sets;
	int err;

	if (!event || is_no_deadline(deadline))
		return -EINVAL;
	if (is_foreign(event))
		return -EXDEV;
	sets = count_of_sets(event);
	for (;;) {
		int64_t relook = tine_now() + RELOOK;

		if (look_at_event(event, sets, earlier(relook, deadline)))
			return 0;
		if ((err = interrupt_or_late(deadline)) != 0)
			return err;
	}
}

static void wake_at_event(void *event)
{
	futex_wake(event_word(event), INT_MAX);
}

static const struct waited waited_event = { .begin = count_of_sets,
					    .look = look_at_event,
					    .wake = wake_at_event };

int tine_waiter_arm_event(tine_waiter *waiter, tine_event *event)
{
	if (is_foreign(event))
		return -EXDEV;
	return waiter_arm(waiter, &waited_event, event);
}
