/* SPDX-License-Identifier: MIT */
/* What is done under a queue's lock. */
#ifndef TINE_QUEUE_MEND_H
#define TINE_QUEUE_MEND_H

#include "queue/words.h"

/* ---- under the lock ---------------------------------------------------------------- */

void queue_lock(struct tine_queue *);
void queue_unlock(struct tine_queue *);

/*
 * Seats the process at its desk: 0; -ENOMEM; -EAGAIN: what the last one there left cannot
 * be told from the doings of somebody alive, for the moment.
 */
int queue_sit(struct tine_queue *, uint64_t id);
/* Counts the desk among the closed, once. */
void queue_close(struct tine_queue *, struct desk *, unsigned index);
/* All have closed, and there is no message anywhere that may still come to self. */
bool queue_drained(struct tine_queue *, unsigned self);

/* A message that came back: it is taken when its word is set to taken. */
struct stray {
	_Atomic uint64_t *word;
	uint64_t taken;
	const unsigned char *data;
	size_t len;
	uint64_t position; /* in the ring */
	struct box *box;   /* or the box it is in */
};
bool queue_find_stray(struct tine_queue *, struct stray *);
void queue_count_strays(struct tine_queue *);

/* ---- without it -------------------------------------------------------------------- */

/* Recovers what members left that have ended. Cheap when it was just done. */
void queue_tend(struct tine_queue *);

#endif
