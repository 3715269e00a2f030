/* SPDX-License-Identifier: MIT */
/* How whoever finds nothing waits: awake at first, then asleep. */
#ifndef TINE_QUEUE_PATIENCE_H
#define TINE_QUEUE_PATIENCE_H

#include "queue/words.h"

/* Nanoseconds: pauses differ by a factor of seven between processors. */
#define LEAST_PAUSE 300
#define MOST_PAUSE  10000

/*
 * To sleep and to be woken takes longer than most waits: whoever finds nothing stays
 * awake at first. Of two sides one is faster. If it looked all the time it would wait for
 * each message, and take the line that it lies in away from the other side; so it does
 * not look during its first pause. That is longer the next time while several messages
 * went through between two waits, and shorter where it was one, as of a question that
 * waits for its answer, and where half of the ring went by in it: the other side would
 * soon wait in turn. No yield before a time in which the other side would have come from
 * another processor: whoever else is on this one takes a whole turn.
 */
struct waiting {
	uint32_t first; /* pause; 0: not chosen yet */
	bool overslept; /* in it: half of the ring was waiting then */
	unsigned yields;
	int64_t begun, yielded; /* 0: not yet */
	uint32_t seen;		/* the sleepers' turn, once it has joined them */
	bool joined;
	bool last;
	bool calm; /* there was nothing to mend, when so many were buried: */
	uint32_t buried;
	struct nap nap;
};

/* With the desk in hand, after each attempt. */
static inline void keep_pace(struct pace *pace, struct waiting *patience, bool got)
{
	uint32_t pause = pace->n > 1 ? pace->pause * 2 : pace->pause / 2;

	if (got) {
		pace->n++;
		if (patience && patience->overslept) {
			/* Half as long, for the next is doubled. */
			pace->pause /= 4;
			patience->overslept = false;
		}
	} else if (patience && !patience->first) {
		pause = pause < LEAST_PAUSE ? LEAST_PAUSE : pause;
		pace->pause = pause < MOST_PAUSE ? pause : MOST_PAUSE;
		pace->n = 0;
		patience->first = pace->pause;
	}
}

/* Called after each attempt that got nothing: 0: try again; -ETIMEDOUT; -EINTR. */
int queue_wait_a_little(tine_queue *, struct sleepers *, struct waiting *,
			int64_t deadline);
/* Once; then looks after the dead, if that may be why it is awake. */
void queue_sleep_once(tine_queue *, struct sleepers *, struct waiting *,
		      int64_t deadline);

#endif
