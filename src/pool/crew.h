/* SPDX-License-Identifier: MIT */
/*
 * Who has done what lies in a ledger: a process of the family that the pool's owner
 * starts, and starts anew when it has died. Of what that process does the owner knows no
 * more than this. What it was about to do when it died is in the ledger, where the owner
 * mends it (desk_mend()) before the next begins.
 */
#ifndef TINE_CREW_H
#define TINE_CREW_H

#include "process/child.h"

struct ledger;

struct crew {
	/* The process: ends when its end of the lifeline does. */
	int (*main)(void *ledger, int lifeline);
	/* 0: it can work; 1: not yet; < 0: it is not to be. */
	int (*ready)(const struct ledger *);
	/* 0; else nobody is left to work, nor will be. */
	int (*able)(const struct ledger *);
	/* There is work; busy: who is awake may not look for long. */
	void (*wake)(struct ledger *, const struct child *, bool busy);
	/* Whether it has to look at what is not ready, or in the way of others. */
	bool (*suspects)(struct ledger *);
	/* Nanoseconds that it may take to look. */
	int64_t patience;
	/*
	 * NULL where functions are called in the family. Else 0: so many jobs of the
	 * task, which is kept with them (label.h), can be done elsewhere; or why they
	 * cannot.
	 */
	int (*accept)(const tine_task *, bool ranges, bool leaves, size_t in_len);
};

/* Workers of this machine, and the nursery that they are forked from. */
extern const struct crew nursery_crew;

#endif
