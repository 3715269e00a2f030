/* SPDX-License-Identifier: MIT */
/*
 * Queues without a bound: rings one behind the other, linked from the oldest on. Puts are
 * at the last one, the back; gets at the one where head is, mostly the front. Positions
 * count on from ring to ring, and each ring's end is a position that is skipped:
 *
 *	oldest -> ... -> front -> ... -> back
 *	   [from, end)     end + 1 = from of the next
 *
 * While it is not full, a ring is used as that of any queue. If a put finds no room:
 *
 *	with the lock	1. loose = a new ring, the queue's own (memory/owned.h)
 *			2. tail |= SEALED: no claim succeeds any more; tail is where this
 *			   ring will have ended
 *			3. the cells of the new ring are FREE(from), from = tail + 1
 *			4. of the back: next = the new ring, then end = tail
 *			5. back = the new ring
 *			6. tail = from, without SEALED
 *			7. loose = NULL
 *
 * The position that is skipped is why a put that looked at the old ring before, and
 * claims it now, fails: tail never has that value again. A queue that is empty, and
 * whose ring is larger than the first was, gets a small one in the same way.
 *
 *	get		head at the end of its ring: head + 1 by compare-and-swap; so head
 *			is in the next one, which whoever comes next finds by the links
 *			from front on
 *	with the lock	front = the ring where head is; any ring before it, in which each
 *			cell is FREE of the next round, is unlinked: loose = it; the link
 *			before it = its next; then it is freed; loose = NULL
 *
 * In a ring before head all positions are claimed. A cell of it that is not FREE of the
 * next round is in somebody's hands, or its message came back; all others nobody touches
 * any more, since a process does nothing to a cell but what its claim names. So a ring
 * may go while older ones stay, for whoever has stopped in those.
 *
 * Where a ring lies is read before a claim, without the lock, and the ring may be gone by
 * then: so it is believed only if tail, or head and front, still are what they were
 * before: no ring from front on is freed, and the back is none other while tail stays.
 * The family's memory stays mapped; what is read of a block that was freed decides
 * nothing, since the claim fails.
 *
 *	dies in 1		before it is the queue's, it goes with the process
 *	before 2		the next to have the lock frees it
 *	from 2 on, before 7	the next with the lock does 3 to 7
 *	in the unlinking	if loose is in the chain, nothing was done; if it is not,
 *				it is freed by the next, unless it is the dead one's, and
 *				freed with it, already
 *	at head + 1		nothing is left half done
 *
 *	stopped in 1, or unlinking	what needs the lock: a put that finds no room
 *					waits until its deadline; other puts, and gets,
 *					go on
 *	from 2 to 6			puts wait; gets go on
 *	with a claim			as in any ring; its memory stays, and no other
 */
#ifndef TINE_QUEUE_GROWTH_H
#define TINE_QUEUE_GROWTH_H

#include "queue/words.h"

#define UNSEALED UINT64_MAX

/* One ring. from, mask and skipped are constant from when it is linked. */
struct stretch {
	_Atomic(struct stretch *) next; /* before end */
	_Atomic uint64_t end;		/* UNSEALED: not known yet */
	_Atomic uint64_t from, mask, skipped;
	uint64_t done; /* with the lock: positions before it that are done with */
	_Alignas(64) char cells[];
};

/* Without the lock: where head is, and its ring. Moves head on from the end of a ring. */
uint64_t queue_front(struct tine_queue *, struct ring *);
/* Where tail is, and its ring; false: it is sealed. */
bool queue_back(const struct tine_queue *, struct ring *, uint64_t *tail);
/* Something is to be done by queue_fit(), as far as can be seen without the lock. */
bool queue_is_slack(struct tine_queue *);
/* Head has left the front. */
bool queue_lags(struct tine_queue *);

/* ---- with the lock held ------------------------------------------------------------ */

/* The first one, of a queue that is new. 0; -ENOMEM; -ETIMEDOUT. */
int queue_first_ring(struct tine_queue *, int64_t deadline);
/* A larger one, if there is no room. 0; -ENOMEM; -ETIMEDOUT. */
int queue_extend(struct tine_queue *, int64_t deadline);
/* Frees the rings that are done with, and one that is too large for nothing. */
void queue_fit(struct tine_queue *);
/* The last to have the lock died with it. */
void queue_finish_growth(struct tine_queue *);
/* Head is not at the end of a ring. */
void queue_move_on(struct tine_queue *);
/* The ring of a position; false: it is gone, and with it all that was there. */
bool queue_find_ring(const struct tine_queue *, uint64_t position, struct ring *);
/* The n-th ring from the oldest on; false: there are fewer. */
bool queue_nth_ring(const struct tine_queue *, unsigned n, struct ring *);
void queue_free_rings(struct tine_queue *);

#endif
