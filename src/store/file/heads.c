/* SPDX-License-Identifier: MIT */
#include "store/file/heads.h"

#include "store/file/names.h"

#include <errno.h>
#include <string.h>

size_t head_size(const struct record_head *head)
{
	return head->kind == VALUE ? VALUE_HEAD : sizeof(*head);
}

int head_read(const MDB_val *data, struct record_head *head, MDB_val *rest)
{
	if (data->mv_size < VALUE_HEAD)
		return MDB_CORRUPTED;
	memcpy(head, data->mv_data, VALUE_HEAD);
	if (head->kind == VALUE) {
		*rest = val_of((char *)data->mv_data + VALUE_HEAD,
			       data->mv_size - VALUE_HEAD);
		return 0;
	}
	if ((head->kind != LIST && head->kind != DICT) || data->mv_size != sizeof(*head))
		return MDB_CORRUPTED;
	memcpy(head, data->mv_data, sizeof(*head));
	return 0;
}

int head_find_any(struct op *op, const char *key, struct record_head *head, MDB_val *rest)
{
	MDB_val name = name_of_head(key), data;
	int rc = lmdb.get(op->txn, op->dbi, &name, &data);

	if (rc)
		return rc == MDB_NOTFOUND ? -ENOENT : rc;
	return head_read(&data, head, rest);
}

int head_check_kind(const struct record_head *head, enum record_kind kind)
{
	return kind == ANY || head->kind == kind ? 0 : -TINE_EKIND;
}

int head_find(struct op *op, enum record_kind kind, struct record_head *head,
	      MDB_val *rest)
{
	int rc = head_find_any(op, op->key, head, rest);

	if (rc)
		return rc;
	return is_over(head->expires) ? -ENOENT : head_check_kind(head, kind);
}

int head_put(struct op *op, struct record_head *head)
{
	MDB_val name = name_of_head(op->key), data = val_of(head, sizeof(*head));

	head->changed = op->id;
	return lmdb.put(op->txn, op->dbi, &name, &data, 0);
}

int head_put_value(struct op *op, const struct record_head *head, const void *val,
		   size_t len)
{
	MDB_val name = name_of_head(op->key), data = { VALUE_HEAD + len, NULL };
	int rc = lmdb.put(op->txn, op->dbi, &name, &data, MDB_RESERVE);

	if (rc)
		return rc;
	memcpy(data.mv_data, head, VALUE_HEAD);
	if (len > 0)
		memcpy((char *)data.mv_data + VALUE_HEAD, val, len);
	return 0;
}
