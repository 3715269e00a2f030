/* SPDX-License-Identifier: MIT */
/*
 * A call of the store on a folder. Each is one transaction, so that who dies in it has
 * done all of it or nothing.
 */
#ifndef TINE_STORE_OP_H
#define TINE_STORE_OP_H

#include "store/file/folder.h"
#include "store/store.h"

struct file_store {
	tine_store base;
	struct folder_handle folder;
};

/* What a call wants, and what it found. */
struct op {
	int (*run)(struct op *);
	MDB_txn *txn;
	MDB_dbi dbi;
	struct folder_shared *shared;
	uint64_t id; /* of the transaction */
	const char *key, *field;
	const char *list, *leases;
	const void *val, *old;
	size_t len, old_len;
	const tine_store_item *items;
	struct store_wait *waits; /* or NULL: only for key */
	size_t n_waits;
	int64_t by, ms;
	char *buf;
	size_t size;
	tine_lease lease; /* of a new one, found */
	bool back;
	/* Found. */
	int64_t sum, left;
	size_t found_len;
	int64_t expires;
	char *bag; /* copies */
	struct patience patience;
};

/* Of a call that has a deadline. */
static inline struct patience waits_until(int64_t deadline)
{
	return (struct patience){ .deadline = deadline, .ms = 1 };
}

/* So that the handle's folder is this process's, and op->shared too. */
int op_begin(tine_store *, struct op *);
int op_read(tine_store *, struct op *);
/* need: bytes. */
int op_write(tine_store *, struct op *, size_t need);
/* Whoever waits for the key. */
void op_wake(struct folder_shared *, const char *key);
/* At most size bytes of it, to the caller's buffer. */
void op_copy_out(struct op *, const MDB_val *);
/*
 * Reads again and again while op->run says -EAGAIN, that there is nothing to be had;
 * sleeps meanwhile until the key changes, or one of op->waits, or op->expires.
 */
int op_wait(tine_store *, struct op *, int64_t deadline);

#endif
