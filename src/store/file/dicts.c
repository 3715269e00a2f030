/* SPDX-License-Identifier: MIT */
#include "store/file/dicts.h"

#include "store/file/calls.h"
#include "store/file/expiry.h"
#include "store/file/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int dict_open(struct op *op, struct record_head *head)
{
	MDB_val rest;
	int rc = expiry_locate(op, DICT, head, &rest);

	if (rc == -ENOENT)
		*head = (struct record_head){ .kind = DICT };
	return rc == -ENOENT ? 0 : rc;
}

int dict_get(struct op *op, const char *field, MDB_val *data)
{
	struct record_name name;
	MDB_val at = name_of_field(&name, op->key, field);
	int rc = lmdb.get(op->txn, op->dbi, &at, data);

	return rc == MDB_NOTFOUND ? -ENOENT : rc;
}

int dict_put(struct op *op, struct record_head *head, const char *field, const void *val,
	     size_t len)
{
	struct record_name name;
	MDB_val at = name_of_field(&name, op->key, field), data;
	int rc = dict_get(op, field, &data);

	if (rc == -ENOENT)
		head->n++;
	else if (rc)
		return rc;
	data = val_of(val, len);
	rc = lmdb.put(op->txn, op->dbi, &at, &data, 0);
	return rc ? rc : head_put(op, head);
}

int dict_del(struct op *op, struct record_head *head, const char *field)
{
	struct record_name name;
	MDB_val at = name_of_field(&name, op->key, field);
	int rc = lmdb.del(op->txn, op->dbi, &at, NULL);

	if (rc)
		return rc == MDB_NOTFOUND ? -ENOENT : rc;
	if (--head->n == 0)
		return expiry_del_key(op, op->key, head, op->id);
	return head_put(op, head);
}

static int run_put_field(struct op *op)
{
	struct record_head head;
	int rc = dict_open(op, &head);

	return rc ? rc : dict_put(op, &head, op->field, op->val, op->len);
}

int file_put_field(tine_store *store, const char *dict, const char *field,
		   const void *val, size_t len)
{
	struct op op = {
		.run = run_put_field, .key = dict, .field = field, .val = val, .len = len
	};

	return op_write(store, &op, len);
}

static int run_get_field(struct op *op)
{
	struct record_head head;
	MDB_val rest, data;
	int rc = head_find(op, DICT, &head, &rest);

	rc = rc ? rc : dict_get(op, op->field, &data);
	if (!rc)
		op_copy_out(op, &data);
	return rc;
}

ssize_t file_get_field(tine_store *store, const char *dict, const char *field, void *buf,
		       size_t size)
{
	struct op op = { .run = run_get_field,
			 .key = dict,
			 .field = field,
			 .buf = buf,
			 .size = size };
	int err = op_read(store, &op);

	return err ? err : (ssize_t)op.found_len;
}

static int run_del_field(struct op *op)
{
	struct record_head head;
	MDB_val rest;
	int rc = expiry_locate(op, DICT, &head, &rest);

	return rc ? rc : dict_del(op, &head, op->field);
}

int file_del_field(tine_store *store, const char *dict, const char *field)
{
	struct op op = { .run = run_del_field, .key = dict, .field = field };

	return op_write(store, &op, NEEDS_NONE);
}

/* In the bag of run_fields: this, the field and a NUL, the value. */
struct copied {
	size_t field_len, len;
};

static int add_up(struct op *op, const MDB_val *field, const MDB_val *data)
{
	op->size += sizeof(struct copied) + field->mv_size + 1 + data->mv_size;
	return 0;
}

static int copy_field(struct op *op, const MDB_val *field, const MDB_val *data)
{
	struct copied copied = { field->mv_size, data->mv_size };
	char *to = op->bag + op->found_len;

	memcpy(to, &copied, sizeof(copied));
	to += sizeof(copied);
	memcpy(to, field->mv_data, copied.field_len);
	to += copied.field_len;
	*to++ = '\0';
	memcpy(to, data->mv_data, copied.len);
	op->found_len = (size_t)(to + copied.len - op->bag);
	return 0;
}

static int for_each_field(struct op *op, MDB_cursor *cursor,
			  int (*fn)(struct op *, const MDB_val *, const MDB_val *))
{
	MDB_val prefix = name_of_head(op->key), name = prefix, data;
	int rc = lmdb.cursor_get(cursor, &name, &data, MDB_SET);

	while (!rc) {
		MDB_val field;

		rc = lmdb.cursor_get(cursor, &name, &data, MDB_NEXT);
		if (rc || !begins_with(&name, &prefix))
			break;
		field = val_of((char *)name.mv_data + prefix.mv_size,
			       name.mv_size - prefix.mv_size);
		rc = fn(op, &field, &data);
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/*
 * Copies all of them, so that whatever is done with them neither keeps old pages from
 * being used again, nor the map from growing, nor meets a fork in a snapshot.
 */
static int run_fields(struct op *op)
{
	struct record_head head;
	MDB_val rest;
	MDB_cursor *cursor;
	int rc = head_find(op, DICT, &head, &rest);

	op->size = op->found_len = 0;
	if (rc)
		return rc;
	rc = lmdb.cursor_open(op->txn, op->dbi, &cursor);
	if (rc)
		return rc;
	free(op->bag);
	op->bag = NULL;
	rc = for_each_field(op, cursor, add_up);
	if (!rc) {
		op->bag = malloc(op->size + 1);
		rc = op->bag ? for_each_field(op, cursor, copy_field) : -ENOMEM;
	}
	lmdb.cursor_close(cursor);
	return rc;
}

int file_fields(tine_store *store, const char *dict,
		int (*each)(void *arg, const char *field, const void *val, size_t len),
		void *arg)
{
	struct op op = { .run = run_fields, .key = dict };
	int err = op_read(store, &op);

	for (size_t at = 0; !err && at < op.found_len;) {
		struct copied copied;
		const char *field = op.bag + at + sizeof(copied), *val;

		memcpy(&copied, op.bag + at, sizeof(copied));
		val = field + copied.field_len + 1;
		at = (size_t)(val + copied.len - op.bag);
		err = each(arg, field, val, copied.len);
	}
	free(op.bag);
	return err;
}
