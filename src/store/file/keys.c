/* SPDX-License-Identifier: MIT */
/* Keys, whatever is under them. */
#include "store/file/calls.h"

#include "store/file/expiry.h"
#include "store/file/names.h"
#include "store/file/versions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int run_len(struct op *op)
{
	struct record_head head;
	MDB_val rest;
	int rc = head_find(op, ANY, &head, &rest);

	if (!rc)
		op->found_len = head.kind == VALUE ? rest.mv_size : head.n;
	return rc;
}

ssize_t file_len(tine_store *store, const char *key)
{
	struct op op = { .run = run_len, .key = key };
	int err = op_read(store, &op);

	return err ? err : (ssize_t)op.found_len;
}

static int run_del(struct op *op)
{
	struct record_head head;
	MDB_val rest;
	int rc = expiry_locate(op, ANY, &head, &rest);

	return rc ? rc : expiry_del_key(op, op->key, &head, op->id);
}

int file_del(tine_store *store, const char *key)
{
	struct op op = { .run = run_del, .key = key };

	return op_write(store, &op, NEEDS_NONE);
}

/* Its head anew, with the bytes that follow it. */
static int put_again(struct op *op, const struct record_head *head, const MDB_val *rest)
{
	size_t len = head->kind == VALUE ? rest->mv_size : 0,
	       size = head_size(head) + len;
	MDB_val name = name_of_head(op->key), data;
	char *copy = malloc(size);
	int rc;

	if (!copy)
		return -ENOMEM;
	memcpy(copy, head, head_size(head));
	if (len > 0)
		memcpy(copy + head_size(head), rest->mv_data, len);
	data = val_of(copy, size);
	rc = lmdb.put(op->txn, op->dbi, &name, &data, 0);
	free(copy);
	return rc;
}

static int run_expire(struct op *op)
{
	struct record_head head = { 0 };
	MDB_val rest;
	int rc = expiry_locate(op, ANY, &head, &rest);
	int64_t before = head.expires;

	if (rc)
		return rc;
	head.expires = expiry_after(op->ms);
	/* First, since what else is written may move the rest. */
	rc = put_again(op, &head, &rest);
	rc = rc ? rc : expiry_forget(op, op->key, before);
	return rc || head.expires == 0 ? rc : expiry_note(op, head.expires);
}

int file_expire(tine_store *store, const char *key, int64_t ms)
{
	struct op op = { .run = run_expire, .key = key, .ms = ms };

	return op_write(store, &op, 0);
}

/* found_len: bytes of names in the bag, of size. */
static int add_key(struct op *op, const char *key, size_t len)
{
	if (op->found_len + len > op->size) {
		size_t size = (op->found_len + len) * 2;
		char *bag = realloc(op->bag, size);

		if (!bag)
			return -ENOMEM;
		op->bag = bag;
		op->size = size;
	}
	memcpy(op->bag + op->found_len, key, len);
	op->found_len += len;
	return 0;
}

/* From a head to the next: past all that begins with its name. */
static int next_head(MDB_cursor *cursor, MDB_val *name, MDB_val *data)
{
	struct record_name after;

	memcpy(after.bytes, name->mv_data, name->mv_size);
	after.bytes[name->mv_size - 1] = 1;
	*name = val_of(after.bytes, name->mv_size);
	return lmdb.cursor_get(cursor, name, data, MDB_SET_RANGE);
}

static int collect_keys(struct op *op, MDB_cursor *cursor)
{
	MDB_val prefix = val_of(op->key, strlen(op->key)), name = prefix, data, rest;
	struct record_head head;
	int rc;

	/* Names that begin with 0 are no keys. */
	if (prefix.mv_size == 0)
		name = val_of("\1", 1);
	rc = lmdb.cursor_get(cursor, &name, &data, MDB_SET_RANGE);
	while (!rc && begins_with(&name, &prefix)) {
		if (name.mv_size < 2 || name.mv_size > TINE_STORE_KEY_MAX + 1 ||
		    ((char *)name.mv_data)[name.mv_size - 1] != '\0')
			return MDB_CORRUPTED;
		rc = head_read(&data, &head, &rest);
		if (!rc && !is_over(head.expires))
			rc = add_key(op, name.mv_data, name.mv_size);
		/* That of a value is followed by a head. */
		if (!rc)
			rc = head.kind == VALUE
				     ? lmdb.cursor_get(cursor, &name, &data, MDB_NEXT)
				     : next_head(cursor, &name, &data);
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int run_keys(struct op *op)
{
	MDB_cursor *cursor;
	int rc = lmdb.cursor_open(op->txn, op->dbi, &cursor);

	if (rc)
		return rc;
	op->found_len = 0;
	rc = collect_keys(op, cursor);
	lmdb.cursor_close(cursor);
	return rc;
}

int file_keys(tine_store *store, const char *prefix,
	      int (*each)(void *arg, const char *key), void *arg)
{
	struct op op = { .run = run_keys, .key = prefix };
	int err = op_read(store, &op);

	for (size_t at = 0; !err && at < op.found_len;) {
		const char *key = op.bag + at;

		at += strlen(key) + 1;
		err = each(arg, key);
	}
	free(op.bag);
	return err;
}

/*
 * What is there, and whether that is a change since the version that is known. Present
 * and changed in transaction n: 2n + 1; absent in the snapshot of transaction n: 2n. The
 * snapshot may show more than its number says, but what it shows has its own.
 */
static int look_for_change(struct op *op, struct store_wait *wait)
{
	struct record_head head;
	MDB_val rest;
	uint64_t death;
	int rc = head_find_any(op, wait->key, &head, &rest);

	if (!rc && !is_over(head.expires)) {
		wait->seen = 2 * head.changed + 1;
		wait->changed = wait->seen != wait->version;
		if (head.expires > 0 && (op->expires == 0 || head.expires < op->expires))
			op->expires = head.expires;
		return 0;
	}
	if (rc == -ENOENT)
		rc = deaths_last(op, wait->key, &death);
	else
		death = head.changed;
	if (rc)
		return rc;
	wait->seen = 2 * (op->id > death ? op->id : death);
	wait->changed = wait->version == 0 || wait->version % 2 != 0 ||
			death > wait->version / 2;
	return 0;
}

static int run_wait(struct op *op)
{
	bool changed = false;

	op->expires = 0;
	for (size_t i = 0; i < op->n_waits; i++) {
		int rc = look_for_change(op, &op->waits[i]);

		if (rc)
			return rc;
		changed |= op->waits[i].changed;
	}
	return changed ? 0 : -EAGAIN;
}

int file_wait(tine_store *store, struct store_wait *waits, size_t n, int64_t deadline)
{
	struct op op = { .run = run_wait,
			 .key = waits->key,
			 .waits = waits,
			 .n_waits = n,
			 .patience = waits_until(deadline) };
	int err = op_wait(store, &op, deadline);

	for (size_t i = 0; !err && i < n; i++)
		if (waits[i].changed)
			waits[i].version = waits[i].seen;
	return err;
}
