/* SPDX-License-Identifier: MIT */
/* The desk of a process at a queue, and what it may do there. */
#ifndef TINE_QUEUE_DESK_H
#define TINE_QUEUE_DESK_H

#include "queue/words.h"

#include "base/deadline.h"
#include "base/family.h"
#include "base/futex.h"

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#else
#define __libc_single_threaded 0
#endif

#define DESK_MS 250 /* for a desk, where the call has no deadline */

static inline bool is_queue(const tine_queue *queue)
{
	return queue && (is_near_family(queue) || is_in_family(queue)) &&
	       __builtin_expect((queue->magic | ANY_LENGTH | UNBOUNDED) ==
					(QUEUE_MAGIC | ANY_LENGTH | UNBOUNDED),
				1);
}

/* One that does not grow. */
static inline bool is_bounded(const tine_queue *queue)
{
	return queue && (is_near_family(queue) || is_in_family(queue)) &&
	       __builtin_expect((queue->magic | ANY_LENGTH) == (QUEUE_MAGIC | ANY_LENGTH),
				1);
}

/* The same, and all messages lie in its cells. */
static inline bool is_plain(const tine_queue *queue)
{
	return queue && (is_near_family(queue) || is_in_family(queue)) &&
	       __builtin_expect(queue->magic == QUEUE_MAGIC, 1);
}

/* Of what is no queue: another family's, or none, or freed. */
static inline int not_a_queue(const tine_queue *queue)
{
	return !queue || is_in_family(queue) ? -EINVAL : -EXDEV;
}

/*
 * NULL: it has none yet. Another thread may just have sat down: what it cleared before is
 * seen with the name.
 */
static inline struct desk *own_desk(tine_queue *queue)
{
	uint64_t id = atomic_load_explicit(&member_own_id, memory_order_relaxed);
	struct desk *desk = desk_at(queue, member_index(id));

	return desk && id &&
			       atomic_load_explicit(&desk->member,
						    memory_order_acquire) == id
		       ? desk
		       : NULL;
}

/* Sits down first, where this process has none. 0; -ENOMEM; -ETIMEDOUT; -EINTR. */
int queue_find_desk(tine_queue *, struct desk **, int64_t deadline);
/* The same, of a call that has no deadline. -EINVAL, -EXDEV: it is no queue. */
int queue_find_desk_soon(tine_queue *, struct desk **);
void queue_wait_for_desk(struct desk *);

/* Threads of one process take turns: a desk has room for one claim. */
static inline void take_desk(struct desk *desk)
{
	uint32_t nobody = 0;

	if (!__libc_single_threaded &&
	    !atomic_compare_exchange_strong(&desk->busy, &nobody, 1))
		queue_wait_for_desk(desk);
}

static inline void leave_desk(struct desk *desk)
{
	if (!__libc_single_threaded && atomic_exchange(&desk->busy, 0) == 2)
		futex_wake(&desk->busy, 1);
}

static inline int may_put(tine_queue *queue, struct desk *desk)
{
	uint32_t role = atomic_load_explicit(&desk->role, memory_order_relaxed);

	if ((role & (CLOSING | CLOSED)) || all_closed(queue))
		return -EPIPE;
	if (!(role & PRODUCES))
		atomic_fetch_or(&desk->role, PRODUCES);
	return 0;
}

#endif
