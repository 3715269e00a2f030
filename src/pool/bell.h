/* SPDX-License-Identifier: MIT */
/*
 * The bell: how a caller that polls descriptors hears of results.
 *
 * It is a pair of sockets that is made with the pool, since workers inherit it: they send
 * a byte at the rope, the far end, and the caller finds it at the near one. What the
 * caller polls is an epoll descriptor of that end and of the nursery's handle, since with
 * the nursery's death nobody is left to ring.
 *
 * The word ledger->bell is odd while the caller wants to hear: then who has finished a
 * ticket sends a byte and moves the word on to the next even number, by
 * compare-and-swap, so that it cannot undo a later odd one. The caller, when there is
 * nothing to be taken, empties the socket, makes the word odd, and looks once more. So
 *
 *	a result is there	a byte is, or the word is odd and one is about to be sent
 *	none is			no byte, but of one who was late: the caller finds
 *				nothing, and empties the socket
 *	worker dies before	the nursery rings after each death
 *	it has rung
 *	it dies before it has	the next one rings too: a byte too many
 *	moved the word
 *	it is stopped there	others ring for what they finish themselves; its own
 *				ticket waits for it, or for its limit, as in the job
 *	the job has closed the	told by its inode; the worker wakes the nursery, which
 *	descriptor		rings
 *	nursery dies		its handle polls readable until the caller has started
 *				another
 *
 * The word is 0 until the caller first asks for the descriptor: nobody sends a thing.
 */
#ifndef TINE_BELL_H
#define TINE_BELL_H

#include "base/export.h"
#include "base/own_fd.h"

#include <stdatomic.h>

/* The caller's. */
struct bell {
	struct own_fd near;
	struct own_fd rope; /* in the ledger too: the same in each of the processes */
	_Atomic int poll;   /* -1 until the caller has asked for it */
};

int bell_new(struct bell *);
/*
 * The descriptor to poll; it is readable as well while the handle is, unless that is -1.
 * Or an error.
 */
int bell_listen(struct bell *, int handle);
/* Another handle, in place of one that is about to be closed. */
void bell_unwatch(struct bell *, int handle);
int bell_watch(struct bell *, int handle);
/* Sends a byte; false: it cannot. */
bool bell_pull(const struct own_fd *rope);
/* Takes all bytes. */
void bell_hush(const struct bell *);
/* Also in a child, which has a copy. */
void bell_free(struct bell *);

#endif
