/* SPDX-License-Identifier: MIT */
/* Values; counters and locks, which are values. */
#include "store/file/calls.h"

#include "store/file/expiry.h"
#include "store/file/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 20 /* bytes of a counter */

static int run_set(struct op *op)
{
	struct record_head head = { 0 };
	MDB_val rest;
	int rc = expiry_locate(op, VALUE, &head, &rest);

	if (rc && rc != -ENOENT)
		return rc;
	if (!rc && (rc = expiry_forget(op, op->key, head.expires)) != 0)
		return rc;
	head = (struct record_head){ .changed = op->id,
				     .kind = VALUE,
				     .expires = expiry_after(op->ms) };
	rc = head_put_value(op, &head, op->val, op->len);
	return rc || head.expires == 0 ? rc : expiry_note(op, head.expires);
}

int file_set(tine_store *store, const char *key, const void *val, size_t len, int64_t ms)
{
	struct op op = { .run = run_set, .key = key, .val = val, .len = len, .ms = ms };

	return op_write(store, &op, len);
}

static int run_set_all(struct op *op)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < op->size; i++) {
		op->key = op->items[i].key;
		op->val = op->items[i].val;
		op->len = op->items[i].len;
		rc = run_set(op);
	}
	return rc;
}

int file_set_all(tine_store *store, const tine_store_item *items, size_t n)
{
	struct op op = { .run = run_set_all, .items = items, .size = n };
	size_t need = 0;
	int err;

	for (size_t i = 0; i < n; i++)
		need += items[i].len;
	err = op_write(store, &op, need);
	for (size_t i = 0; !err && i < n; i++)
		op_wake(op.shared, items[i].key);
	return err;
}

static int run_get(struct op *op)
{
	struct record_head head;
	MDB_val rest;
	int rc = head_find(op, VALUE, &head, &rest);

	if (!rc)
		op_copy_out(op, &rest);
	return rc;
}

ssize_t file_get(tine_store *store, const char *key, void *buf, size_t size)
{
	struct op op = { .run = run_get, .key = key, .buf = buf, .size = size };
	int err = op_read(store, &op);

	return err ? err : (ssize_t)op.found_len;
}

/* As Redis has it: no space, no plus, no zero in front. */
static bool parse_counter(const MDB_val *data, int64_t *out)
{
	const char *text = data->mv_data, *end = text + data->mv_size;
	bool below = text < end && *text == '-';
	int64_t number = 0;

	if (data->mv_size > NUMBER_MAX || text + below == end ||
	    (text[below] == '0' && data->mv_size > 1))
		return false;
	for (text += below; text < end; text++) {
		int digit = *text - '0';

		/* Downwards, where there is one more. */
		if (digit < 0 || digit > 9 ||
		    __builtin_mul_overflow(number, 10, &number) ||
		    __builtin_sub_overflow(number, digit, &number))
			return false;
	}
	if (!below && number == INT64_MIN)
		return false;
	*out = below ? number : -number;
	return true;
}

static size_t print_counter(char *text, int64_t number)
{
	char digits[NUMBER_MAX];
	uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
	size_t n = 0, len = 0;

	do
		digits[n++] = (char)('0' + rest % 10);
	while ((rest /= 10) > 0);
	if (number < 0)
		text[len++] = '-';
	while (n > 0)
		text[len++] = digits[--n];
	return len;
}

static int run_add(struct op *op)
{
	struct record_head head = { .kind = VALUE };
	MDB_val rest;
	char text[NUMBER_MAX];
	int64_t number = 0;
	int rc = expiry_locate(op, VALUE, &head, &rest);

	if (rc == -ENOENT)
		head.expires = 0;
	else if (rc)
		return rc;
	else if (!parse_counter(&rest, &number))
		return -EINVAL;
	if (__builtin_add_overflow(number, op->by, &op->sum))
		return -ERANGE;
	head.kind = VALUE;
	head.changed = op->id;
	return head_put_value(op, &head, text, print_counter(text, op->sum));
}

int file_add(tine_store *store, const char *key, int64_t by, int64_t *now)
{
	struct op op = { .run = run_add, .key = key, .by = by };
	int err = op_write(store, &op, 0);

	if (!err && now)
		*now = op.sum;
	return err;
}

static int run_swap(struct op *op)
{
	struct record_head head;
	MDB_val rest;
	int rc = expiry_locate(op, VALUE, &head, &rest);
	bool there = !rc;

	if (rc && rc != -ENOENT)
		return rc;
	if (there != (op->old != NULL) ||
	    (there &&
	     (rest.mv_size != op->old_len ||
	      (op->old_len > 0 && memcmp(rest.mv_data, op->old, op->old_len) != 0))))
		return -EAGAIN;
	if (op->val)
		return run_set(op);
	return there ? expiry_del_key(op, op->key, &head, op->id) : 0;
}

int file_swap(tine_store *store, const char *key, const void *old, size_t old_len,
	      const void *val, size_t len)
{
	struct op op = { .run = run_swap,
			 .key = key,
			 .old = old,
			 .old_len = old_len,
			 .val = val,
			 .len = len };

	return op_write(store, &op, val ? len : NEEDS_NONE);
}

/* ---- locks ------------------------------------------------------------------------- */

/* Two numbers, with a space between them. */
static int parse_lock(const MDB_val *data, int64_t *fence, int64_t *until)
{
	const char *space = memchr(data->mv_data, ' ', data->mv_size);
	size_t len = space ? (size_t)(space - (char *)data->mv_data) : 0;
	MDB_val first = { len, data->mv_data };
	MDB_val second = { space ? data->mv_size - len - 1 : 0, (char *)space + 1 };

	return space && parse_counter(&first, fence) && parse_counter(&second, until) &&
			       *fence >= 0 && *until >= 0
		       ? 0
		       : -EINVAL;
}

static int put_lock(struct op *op, int64_t fence, int64_t until)
{
	char text[2 * NUMBER_MAX + 1];
	size_t len = print_counter(text, fence);

	text[len++] = ' ';
	len += print_counter(text + len, until);
	op->val = text;
	op->len = len;
	op->ms = 0;
	return run_set(op);
}

/* The lock of the key; without one it is free, and was never taken. */
static int find_lock(struct op *op, int64_t *fence, int64_t *until)
{
	struct record_head head;
	MDB_val rest;
	int rc = expiry_locate(op, VALUE, &head, &rest);

	*fence = *until = 0;
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	return parse_lock(&rest, fence, until);
}

static int run_lock(struct op *op)
{
	int64_t fence, until, now = wall_ns() / 1000000;
	int rc = find_lock(op, &fence, &until);

	if (rc)
		return rc;
	if (until > now) {
		op->expires = until - now;
		return -EAGAIN;
	}
	op->sum = fence + 1;
	return put_lock(op, op->sum, expiry_after(op->ms));
}

int file_lock(tine_store *store, const char *key, int64_t ms, uint64_t *fence,
	      int64_t *left, int64_t deadline)
{
	struct op op = {
		.run = run_lock, .key = key, .ms = ms, .patience = waits_until(deadline)
	};
	int err = op_write(store, &op, 0);

	if (err == -EAGAIN)
		*left = op.expires;
	else if (!err)
		*fence = (uint64_t)op.sum;
	return err;
}

static int run_relock(struct op *op)
{
	int64_t fence, until;
	int rc = find_lock(op, &fence, &until);

	if (rc)
		return rc;
	if (fence != op->by)
		return -ENOENT;
	return put_lock(op, fence, expiry_after(op->ms));
}

int file_relock(tine_store *store, const char *key, uint64_t fence, int64_t ms)
{
	struct op op = { .run = run_relock, .key = key, .by = (int64_t)fence, .ms = ms };

	return op_write(store, &op, 0);
}
