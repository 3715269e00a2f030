/* SPDX-License-Identifier: MIT */
/* Waiting for room, for messages, or for the last of them to be done. */
#include "queue/patience.h"
#include "queue/desk.h"
#include "queue/mend.h"

#include "base/cpus.h"
#include "trace/trace.h"

#include <sched.h>

#define YIELD_EVERY 12000 /* nanoseconds */
#define AWAKE	    25000 /* at first, */
#define YIELDS	    4	  /* and then */

static void pause_until(int64_t until)
{
	do
		for (int i = 0; i < 8; i++)
			cpu_relax();
	while (tine_now() < until);
}

/* Whether half of the ring, or more, is what is waited for. */
static bool has_plenty(tine_queue *queue, const struct sleepers *sleepers)
{
	uint64_t used = atomic_load(&queue->tail) - atomic_load(&queue->head);

	if (queue->grows)
		return false;
	return (sleepers == &queue->items ? used : queue->capacity - used) >=
	       (queue->capacity + 1) / 2;
}

/* False: that has lasted long enough. */
static bool stay_awake(tine_queue *queue, const struct sleepers *sleepers,
		       struct waiting *patience, int64_t now, int64_t deadline)
{
	if (!patience->begun) {
		patience->begun = patience->yielded = now;
		pause_until(earlier(now + patience->first, deadline));
		patience->overslept = has_plenty(queue, sleepers);
		return true;
	}
	if (now - patience->begun >= AWAKE)
		return false;
	if (now - patience->yielded < YIELD_EVERY) {
		pause_until(earlier(now + LEAST_PAUSE, deadline));
		return true;
	}
	sched_yield();
	patience->yielded = tine_now();
	return true;
}

static bool tend(tine_queue *queue, struct waiting *patience, int64_t deadline)
{
	patience->buried = members_buried();
	patience->calm = queue_tend(queue, deadline);
	return patience->calm;
}

/*
 * Whether all that a sleeping consumer waits for will wake it, deaths aside: where a
 * message is about to come, or the end, whoever is at it need not know of the sleeper.
 */
static bool may_sleep_long(tine_queue *queue, const struct sleepers *sleepers)
{
	return sleepers == &queue->items && !all_closed(queue) &&
	       atomic_load(&queue->head) == atomic_load(&queue->tail) &&
	       atomic_load(&queue->strays) == 0 && !queue->lease;
}

/* Until it is woken, or somebody dies; false: it did not sleep so. */
static bool sleep_long(const tine_queue *queue, struct sleepers *sleepers,
		       struct waiting *patience, int64_t deadline)
{
	static _Atomic bool refused;
	struct futex_waitv words[WATCHED + 1];
	unsigned n = atomic_load(&refused) ? 0
					   : members_watch(words + 1, patience->buried);
	int err;

	if (n == 0)
		return false;
	words[0] = (struct futex_waitv){ .uaddr = (uintptr_t)&sleepers->turn,
					 .val = patience->seen,
					 .flags = FUTEX_32 };
	patience->nap.begun = tine_now();
	/* Bound: WATCH_AGAIN, and the caller's deadline. */
	err = futex_wait_any(words, n + 1,
			     earlier(patience->nap.begun + queue->sleep, deadline));
	patience->nap.ended = tine_now();
	if (err == -ENOSYS)
		atomic_store(&refused, true);
	return err != -ENOSYS;
}

void queue_sleep_once(tine_queue *queue, struct sleepers *sleepers,
		      struct waiting *patience, int64_t deadline)
{
	bool late;

	/* Whoever has taken the last message comes here next. */
	if (sleepers == &queue->items)
		sleepers_wake(&queue->drained, UINT_MAX);
	/* A handler with SA_RESTART would not end a long sleep. */
	if (!interrupts.end_waits && may_sleep_long(queue, sleepers) &&
	    (patience->calm || tend(queue, patience, deadline)) &&
	    sleep_long(queue, sleepers, patience, deadline)) {
		late = atomic_load(&sleepers->turn) == patience->seen;
		patience->calm = false;
	} else {
		late = sleepers_nap(sleepers, patience->seen, &patience->nap, deadline);
	}
	trace_nap(&patience->nap);
	if (late)
		tend(queue, patience, deadline);
}

int queue_wait_a_little(tine_queue *queue, struct sleepers *sleepers,
			struct waiting *patience, int64_t deadline)
{
	int64_t now = deadline > TINE_NOWAIT ? tine_now() : 0;

	if (deadline <= now) {
		/* Who never sleeps must look after the dead all the same. */
		queue_tend(queue, deadline);
		if (patience->last)
			return -ETIMEDOUT;
		patience->last = true;
		return 0;
	}
	if (queue->spins && stay_awake(queue, sleepers, patience, now, deadline))
		return 0;
	if (interrupt_take())
		return -EINTR;
	if (patience->yields++ < YIELDS) {
		sched_yield();
		return 0;
	}
	if (!patience->joined) {
		if (patience->nap.most == 0)
			patience->nap.most = queue->nap;
		patience->seen = sleepers_join(sleepers);
		patience->joined = true;
		return 0;
	}
	patience->joined = false;
	queue_sleep_once(queue, sleepers, patience, deadline);
	return 0;
}
