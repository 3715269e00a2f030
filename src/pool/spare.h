/* SPDX-License-Identifier: MIT */
/*
 * The spare: a process that waits to be a worker, where the nursery is large.
 *
 * To fork a large process takes long, for its page tables are copied, and so does its
 * end, for they are taken down before its parent is told. (A gigabyte takes about fifteen
 * milliseconds, each.) So a large nursery forks a process ahead, when nothing has been
 * going on for a while, and seats it at the next desk that loses its worker. As it waits
 * it watches the locks that workers hold as long as they live: of these the kernel tells
 * before it takes the memory down. Then it nudges the nursery, by the signal that the
 * death will send as well.
 *
 * Called is the futex that it sleeps on:
 *
 *	0		there is no spare, or it waits
 *	desk + 1	the nursery has seated it there; it has yet to see
 *
 * The nursery writes the desk's pid, then called; the spare writes 0 back and is a worker
 * from then on. No other spare is forked before.
 *
 *	a worker dies, no spare		another is forked, as in a small nursery
 *	two die				one desk gets the spare
 *	spare dies while it waits	another is forked, in the next calm
 *	it dies called			called is not yet 0: its desk, at which it did
 *					nothing, gets another without a strike
 *	it dies later			as any worker
 *	nursery dies			the kernel kills it (PR_SET_PDEATHSIG); the owner
 *					waits until it is gone, and sets called to 0
 *	owner dies, or frees the pool	the nursery kills it, as the workers
 *	no futex_waitv(2)		the nursery hears of a death when all of it is
 *					over, and has the spare then
 */
#ifndef TINE_SPARE_H
#define TINE_SPARE_H

#include "pool/ledger.h"

#include <sys/types.h>

/* What the spare does until it is called: the desk. */
unsigned spare_wait(struct ledger *, pid_t nursery);

/*
 * For the nursery: calls the spare to the desk. False: there is none.
 */
bool spare_call(struct ledger *, unsigned id);
/* The one that was called to the desk is dead: whether it had not heard yet. */
bool spare_missed(struct ledger *, unsigned id);
/* Whether the desk's worker has let go of its life. */
bool spare_sees_death(struct pool_desk *);

#endif
