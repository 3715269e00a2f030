/* SPDX-License-Identifier: MIT */
/*
 * The folder of a store: an LMDB environment that may be opened twice, be used across a
 * fork, grow, and be used by strangers who die in it. What is stored is not its business.
 */
#ifndef TINE_STORE_FOLDER_H
#define TINE_STORE_FOLDER_H

#include "base/export.h"
#include "store/file/lmdb.h"
#include "store/file/shared.h"

/* How long a call waits for other processes that may be stopped. */
struct patience {
	int64_t deadline; /* or 0 */
	unsigned ms;	  /* at least so many, from the first wait on */
	bool known;	  /* the deadline is the later of both */
};

struct folder;

struct folder_handle {
	struct folder *folder;
	MDB_txn *reader; /* NULL, or reset between calls */
	MDB_dbi dbi;
};

/*
 * All: -ETIMEDOUT: another process, perhaps a stopped one, was in the way all the while.
 */
/* with_others: other users are trusted. */
int folder_open(struct folder_handle *, const char *path, bool with_others,
		struct patience *);
void folder_close(struct folder_handle *);
/*
 * Runs look(txn, arg) on a snapshot, or change(txn, arg) in a transaction that is
 * committed if it returns 0. Both may be run again from the start. They return 0, a code
 * of LMDB's, or a negative errno value, and these only the latter. need: bytes that the
 * change wants at once, or NEEDS_NONE: it frees more than it takes, and may have the
 * pages that are kept for that, so that a full folder can be emptied.
 */
#define NEEDS_NONE SIZE_MAX
int folder_read(struct folder_handle *, int (*look)(MDB_txn *, void *arg), void *arg,
		struct patience *);
int folder_write(struct folder_handle *, int (*change)(MDB_txn *, void *arg), void *arg,
		 size_t need, struct patience *);
/* Of this process: valid until the handle is closed, or is used in a child. */
int folder_shared(struct folder_handle *, struct folder_shared **out, struct patience *);

#endif
