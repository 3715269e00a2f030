/* SPDX-License-Identifier: MIT */
/* What is done under a queue's lock. */
#ifndef TINE_QUEUE_MEND_H
#define TINE_QUEUE_MEND_H

#include "queue/words.h"

#define MOMENT_MS 10 /* for what one gets on without */

/* 0; -ETIMEDOUT. For TINE_NOWAIT it lets others run a few times. */
__attribute__((warn_unused_result)) int queue_lock(struct tine_queue *, int64_t deadline);
/* Counts before those who closed and could not have the lock. */
void queue_unlock(struct tine_queue *);

/* ---- with the lock held ------------------------------------------------------------ */

/* All have closed, and there is no message anywhere that may still come to self. */
bool queue_ended(struct tine_queue *, unsigned self);
/* There is no message anywhere, nor on lease. */
bool queue_drained(struct tine_queue *);

/* A message that came back: it is taken when its word is set to taken. */
struct stray {
	_Atomic uint64_t *word;
	uint64_t was, taken;
	const unsigned char *data;
	size_t len;
	uint64_t position; /* in the ring */
	struct box *box;   /* or the box it is in */
};
/* False: there is none, or it was not found within a moment; then the next goes on. */
bool queue_find_stray(struct tine_queue *, struct stray *);
/* Notes that it is about to be taken, into a box that is not its own, or NULL. */
void queue_note_stray(struct tine_queue *, const struct stray *, struct box *);
/* Does what is noted. */
void queue_take_noted(struct tine_queue *);
/*
 * Ends the lease in a box, whose word was HELD, before its holder: the message is to be
 * delivered again. False: it has ended, or is not complete yet.
 */
bool queue_end_lease(struct tine_queue *, uint64_t index, uint64_t word);

/* ---- without it -------------------------------------------------------------------- */

/* Makes memory at its first use: 0; -ENOMEM; -ETIMEDOUT. */
int queue_place(struct tine_queue *, _Atomic(void *) *, size_t size, int64_t deadline);
/* With the lock held, or before it is freed: what somebody was at in there. */
void queue_finish_place(struct tine_queue *);
/*
 * Seats the process at its desk, with a role or 0: 0; -ENOMEM; -EAGAIN: what the last
 * one there left cannot be told from the doings of somebody alive, for the moment;
 * -ETIMEDOUT.
 */
int queue_sit(struct tine_queue *, uint64_t id, uint32_t role, int64_t deadline);
/*
 * Recovers what members left that have ended. Cheap when it was just done; waits for
 * nobody, and works not much beyond the deadline: the next goes on. Whether it has
 * looked, and nothing is left.
 */
bool queue_tend(struct tine_queue *, int64_t deadline);
/*
 * Makes room in a queue without a bound: 0: there is some, or was; -ENOMEM; -ETIMEDOUT:
 * another process is stopped in here, or in an allocation; -EINTR.
 */
int queue_grow(struct tine_queue *, int64_t deadline);
/* Frees what it can of such a queue's memory. Waits for nobody. */
void queue_trim(struct tine_queue *);
/* Notes when a lease will run out. */
void queue_note_due(struct tine_queue *, int64_t until);
/* Whether it has ended for this process; false too where the lock cannot be had now. */
bool queue_has_ended(struct tine_queue *, int64_t deadline);
void queue_wake_all(struct tine_queue *);

#endif
