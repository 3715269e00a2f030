/* SPDX-License-Identifier: MIT */
/*
 * Items of lists that are on lease: the fields of a dictionary of the list. A field is
 * called by the 16 hexadecimal digits of the lease, which is the millisecond when it
 * ends, and below that 20 bits of the time when it began: so the first field is the
 * lease that ends first. A lease that is over remains what it is until somebody looks
 * for an item; nobody has to be there at its end.
 *
 * Each call is one transaction: who dies in it has done all of it or nothing.
 */
#include "store/file/dicts.h"
#include "store/file/lists.h"

#include "store/file/calls.h"
#include "store/file/names.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEASE_DIGITS 16
#define BEGIN_BITS   20 /* more than the nanoseconds of a millisecond */

static void name_lease(char *field, uint64_t lease)
{
	snprintf(field, LEASE_DIGITS + 1, "%016" PRIx64, lease);
}

/* Of op->key: the lease that ends first, and its item. -ENOENT. */
static int first_lease(struct op *op, char *field, MDB_val *item)
{
	MDB_val prefix = name_of_head(op->key), name = prefix;
	MDB_cursor *cursor;
	int rc = lmdb.cursor_open(op->txn, op->dbi, &cursor);

	if (rc)
		return rc;
	rc = lmdb.cursor_get(cursor, &name, item, MDB_SET);
	rc = rc ? rc : lmdb.cursor_get(cursor, &name, item, MDB_NEXT);
	lmdb.cursor_close(cursor);
	if (rc == MDB_NOTFOUND || (!rc && !begins_with(&name, &prefix)))
		return -ENOENT;
	if (rc)
		return rc;
	if (name.mv_size != prefix.mv_size + LEASE_DIGITS)
		return -EBADMSG;
	memcpy(field, (char *)name.mv_data + prefix.mv_size, LEASE_DIGITS);
	field[LEASE_DIGITS] = '\0';
	return 0;
}

/* What is in the bag, as one that nobody has. */
static int put_lease(struct op *op, struct record_head *head, int64_t now)
{
	char field[LEASE_DIGITS + 1];
	MDB_val data;
	int rc;

	op->lease = (uint64_t)(now / 1000000 + op->ms) << BEGIN_BITS |
		    (uint64_t)(now % 1000000);
	do
		name_lease(field, ++op->lease);
	while ((rc = dict_get(op, field, &data)) == 0);
	return rc == -ENOENT ? dict_put(op, head, field, op->bag, op->found_len) : rc;
}

/* First what comes back from somebody else. */
static int run_lease(struct op *op)
{
	char field[LEASE_DIGITS + 1];
	struct record_head leases;
	int64_t now = wall_ns(), ends = 0;
	MDB_val item;
	int rc;

	op->key = op->leases;
	rc = dict_open(op, &leases);
	rc = rc ? rc : first_lease(op, field, &item);
	if (rc && rc != -ENOENT)
		return rc;
	if (!rc)
		ends = (int64_t)(strtoull(field, NULL, 16) >> BEGIN_BITS);
	if (!rc && ends <= now / 1000000) {
		rc = items_bag(op, &item);
		rc = rc ? rc : put_lease(op, &leases, now);
		rc = rc ? rc : dict_del(op, &leases, field);
		op->key = op->list;
		return rc;
	}
	op->left = rc ? -1 : ends - now / 1000000;
	op->key = op->list;
	rc = items_take(op);
	if (rc)
		return rc;
	op->key = op->leases;
	rc = put_lease(op, &leases, now);
	op->key = op->list;
	return rc;
}

ssize_t file_lease(tine_store *store, const char *list, const char *leases, void *buf,
		   size_t size, int64_t ms, tine_lease *lease, int64_t *left,
		   int64_t deadline)
{
	struct op op = { .run = run_lease,
			 .list = list,
			 .leases = leases,
			 .size = size,
			 .ms = ms,
			 .patience = waits_until(deadline) };
	int err = op_write(store, &op, 0);

	if (!err) {
		op_wake(op.shared, leases);
		*lease = op.lease;
		if (op.found_len > 0)
			memcpy(buf, op.bag, op.found_len);
	} else if (err == -ENOENT) {
		*left = op.left;
	}
	free(op.bag);
	return err ? err : (ssize_t)op.found_len;
}

static int run_settle(struct op *op)
{
	char field[LEASE_DIGITS + 1];
	struct record_head leases;
	MDB_val item;
	int rc;

	name_lease(field, op->lease);
	op->key = op->leases;
	rc = dict_open(op, &leases);
	rc = rc ? rc : dict_get(op, field, &item);
	rc = rc || !op->back ? rc : items_bag(op, &item);
	rc = rc ? rc : dict_del(op, &leases, field);
	op->key = op->list;
	if (rc || !op->back)
		return rc;
	op->val = op->bag;
	op->len = op->found_len;
	return items_put(op, true);
}

int file_settle(tine_store *store, const char *list, const char *leases, tine_lease lease,
		bool back)
{
	struct op op = { .run = run_settle,
			 .list = list,
			 .leases = leases,
			 .lease = lease,
			 .back = back,
			 .size = SIZE_MAX };
	int err = op_write(store, &op, back ? 0 : NEEDS_NONE);

	if (!err)
		op_wake(op.shared, leases);
	free(op.bag);
	return err;
}
