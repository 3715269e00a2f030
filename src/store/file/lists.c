/* SPDX-License-Identifier: MIT */
#include "store/file/lists.h"

#include "store/file/calls.h"
#include "store/file/expiry.h"
#include "store/file/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int items_put(struct op *op, bool in_front)
{
	struct record_head head;
	struct record_name name;
	MDB_val rest, item, data = val_of(op->val, op->len);
	int rc = expiry_locate(op, LIST, &head, &rest);

	if (rc == -ENOENT)
		head = (struct record_head){ .kind = LIST };
	else if (rc)
		return rc;
	/* Numbers go round: before 0 there is the last. */
	if (in_front)
		head.first--;
	item = name_of_item(&name, op->key, head.first + (in_front ? 0 : head.n));
	rc = lmdb.put(op->txn, op->dbi, &item, &data, 0);
	if (rc)
		return rc;
	head.n++;
	return head_put(op, &head);
}

static int run_push(struct op *op)
{
	return items_put(op, false);
}

int file_push(tine_store *store, const char *list, const void *val, size_t len)
{
	struct op op = { .run = run_push, .key = list, .val = val, .len = len };

	return op_write(store, &op, len);
}

/* To the caller only when it is gone from here. */
int items_bag(struct op *op, const MDB_val *data)
{
	if (data->mv_size > op->size)
		return -EMSGSIZE;
	free(op->bag);
	op->bag = malloc(data->mv_size > 0 ? data->mv_size : 1);
	if (!op->bag)
		return -ENOMEM;
	memcpy(op->bag, data->mv_data, data->mv_size);
	op->found_len = data->mv_size;
	return 0;
}

int items_take(struct op *op)
{
	struct record_head head;
	struct record_name name;
	MDB_val rest, item, data;
	int rc = expiry_locate(op, LIST, &head, &rest);

	if (rc)
		return rc;
	item = name_of_item(&name, op->key, head.first);
	rc = lmdb.get(op->txn, op->dbi, &item, &data);
	if (rc)
		return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
	rc = items_bag(op, &data);
	if (rc)
		return rc;
	if (head.n == 1)
		return expiry_del_key(op, op->key, &head, op->id);
	rc = lmdb.del(op->txn, op->dbi, &item, NULL);
	if (rc)
		return rc;
	head.first++;
	head.n--;
	return head_put(op, &head);
}

static int run_is_list(struct op *op)
{
	struct record_head head;
	MDB_val rest;
	int rc = head_find(op, LIST, &head, &rest);

	return rc == -ENOENT ? -EAGAIN : rc;
}

ssize_t file_pop(tine_store *store, const char *list, void *buf, size_t size,
		 int64_t deadline)
{
	struct op op = { .run = items_take,
			 .key = list,
			 .size = size,
			 .patience = waits_until(deadline) };
	int err;

	for (;;) {
		struct op there = { .run = run_is_list,
				    .key = list,
				    .patience = waits_until(deadline) };

		err = op_write(store, &op, NEEDS_NONE);
		if (err != -ENOENT)
			break;
		err = op_wait(store, &there, deadline);
		if (err)
			break;
	}
	if (!err && op.found_len > 0)
		memcpy(buf, op.bag, op.found_len);
	free(op.bag);
	return err ? err : (ssize_t)op.found_len;
}
