/* SPDX-License-Identifier: MIT */
#include "store/file/expiry.h"

#include "store/file/names.h"
#include "store/file/versions.h"

#include <errno.h>
#include <string.h>

#define SWEEP	 4 /* keys that a writer deletes for their time being over */
#define SWEEP_MS 10000

static void look_earlier(struct op *op, int64_t ms)
{
	int64_t seen = atomic_load(&op->shared->look);

	while (ms < seen && !atomic_compare_exchange_weak(&op->shared->look, &seen, ms))
		;
}

int expiry_forget(struct op *op, const char *key, int64_t expires)
{
	struct record_name name;
	MDB_val end = name_of_end(&name, expires, key);
	int rc = expires ? lmdb.del(op->txn, op->dbi, &end, NULL) : 0;

	return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
}

int expiry_note(struct op *op, int64_t expires)
{
	struct record_name name;
	MDB_val end = name_of_end(&name, expires, op->key), nothing = { 0, NULL };

	look_earlier(op, expires);
	return lmdb.put(op->txn, op->dbi, &end, &nothing, 0);
}

int64_t expiry_after(int64_t ms)
{
	int64_t now = (wall_ns() + 999999) / 1000000, expires = 0;

	if (ms > 0 && __builtin_add_overflow(now, ms, &expires))
		expires = INT64_MAX;
	return expires;
}

/* All records of the key, of whatever kind it is. */
static int del_records(struct op *op, const char *key, const struct record_head *head)
{
	MDB_val prefix = name_of_head(key), name = prefix, data;
	MDB_cursor *cursor;
	int rc;

	if (head->kind == VALUE)
		return lmdb.del(op->txn, op->dbi, &prefix, NULL);
	rc = lmdb.cursor_open(op->txn, op->dbi, &cursor);
	if (rc)
		return rc;
	rc = lmdb.cursor_get(cursor, &name, &data, MDB_SET_RANGE);
	while (!rc && begins_with(&name, &prefix)) {
		rc = lmdb.cursor_del(cursor, 0);
		if (!rc)
			rc = lmdb.cursor_get(cursor, &name, &data, MDB_NEXT);
	}
	lmdb.cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int expiry_del_key(struct op *op, const char *key, const struct record_head *head,
		   uint64_t changed)
{
	int rc = expiry_forget(op, key, head->expires);

	rc = rc ? rc : del_records(op, key, head);
	return rc ? rc : deaths_note(op, key, changed);
}

int expiry_locate(struct op *op, enum record_kind kind, struct record_head *head,
		  MDB_val *rest)
{
	int rc = head_find_any(op, op->key, head, rest);

	if (rc)
		return rc;
	if (!is_over(head->expires))
		return head_check_kind(head, kind);
	rc = expiry_del_key(op, op->key, head, head->changed);
	return rc ? rc : -ENOENT;
}

/* The key that ends first: its time, or 0: none does. */
static int first_end(struct op *op, char *key, int64_t *expires)
{
	MDB_val prefix = val_of("\0e", 2), name = prefix, data;
	MDB_cursor *cursor;
	size_t len;
	int rc = lmdb.cursor_open(op->txn, op->dbi, &cursor);

	if (rc)
		return rc;
	rc = lmdb.cursor_get(cursor, &name, &data, MDB_SET_RANGE);
	lmdb.cursor_close(cursor);
	*expires = 0;
	if (rc || !begins_with(&name, &prefix))
		return rc == MDB_NOTFOUND ? 0 : rc;
	if (name.mv_size < 11 || name.mv_size > 10 + TINE_STORE_KEY_MAX)
		return MDB_CORRUPTED;
	len = name.mv_size - 10;
	*expires = (int64_t)get_be((char *)name.mv_data + 2);
	memcpy(key, (char *)name.mv_data + 10, len);
	key[len] = '\0';
	return 0;
}

/*
 * Deletes some keys whose time is over. The time to look for the next is set ahead of the
 * commit; if that fails, what is over stays for a while, and nothing else.
 */
int expiry_sweep(struct op *op)
{
	char key[TINE_STORE_KEY_MAX + 1];
	int64_t look = atomic_load(&op->shared->look), expires, now;
	struct record_head head;
	MDB_val rest;
	int rc;

	now = wall_ns() / 1000000;
	if (now < look && look <= now + SWEEP_MS)
		return 0;
	for (int i = 0; i < SWEEP; i++) {
		rc = first_end(op, key, &expires);
		if (rc)
			return rc;
		if (expires == 0 || expires > now) {
			if (expires == 0 || expires > now + SWEEP_MS)
				expires = now + SWEEP_MS;
			atomic_store(&op->shared->look, expires);
			return 0;
		}
		rc = head_find_any(op, key, &head, &rest);
		if (!rc && head.expires != expires)
			rc = -ENOENT;
		rc = rc ? rc : expiry_del_key(op, key, &head, head.changed);
		if (rc)
			return rc == -ENOENT ? MDB_CORRUPTED : rc;
	}
	return 0;
}
