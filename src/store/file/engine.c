/* SPDX-License-Identifier: MIT */
/*
 * The engine of the store that keeps a folder: what is in it. One table, ordered by the
 * bytes of its keys:
 *
 *	KEY 0			a head; after it the bytes, if it is of a value
 *	KEY 0 NUMBER		an item of a list, 8 bytes, the first byte highest
 *	KEY 0 FIELD		the value of a dictionary's field
 *	0 'e' TIME KEY		when KEY ends: milliseconds since 1970, 8 bytes as above
 *	0 'd' BUCKET		keys of this bucket that were deleted
 *	0 "tine store"		the mark of store_folder.c
 *
 * Each call is one transaction, so that who dies in it has done all of it or nothing.
 *
 * Time. A key whose time is over is taken for absent by all who look; each writer deletes
 * a few of them for good. tine.wake says when it is worth while to look for one.
 *
 * Versions. A head has the number of the transaction that last changed the key. An absent
 * key has no head: its version is that of the snapshot in which it was seen to be absent,
 * and it has changed since if it is there, or was deleted in a later transaction. For
 * that each bucket of keys remembers its last deletions, and of those before them the
 * latest. So no change is missed; one that was none is told only to who saw the key
 * absent, and looks again after DEATHS others of its bucket were deleted.
 *
 * Waiting. A key's bucket has a word in tine.wake, bit 0 of which says that somebody is
 * about to sleep, and the others how often they were woken. Who waits sets the bit, then
 * looks, then sleeps on the word as it was. Who has committed a change then looks at the
 * bit, and if it is set takes it away, counts and wakes: either sees the other.
 *
 *	dies between the commit and the wake	who sleeps looks again every RELOOK
 *	dies asleep				the bit stays: one wake for nothing
 */
#include "store/store.h"

#include "base/futex.h"
#include "store/file/folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RELOOK	   INT64_C(100000000)
#define SWEEP	   4 /* keys that a writer deletes for their time being over */
#define SWEEP_MS   10000
#define DEATHS	   8
#define NUMBER_MAX 20 /* bytes of a counter */

struct file_store {
	tine_store base;
	struct folder_handle folder;
};

enum kind { ANY, VALUE, LIST, DICT };

struct head {
	uint64_t changed; /* the transaction */
	int64_t expires;  /* milliseconds since 1970; 0: never */
	uint64_t kind;
	/* Not of a value. */
	uint64_t first, n;
};

#define VALUE_HEAD offsetof(struct head, first)

struct deaths {
	uint64_t before; /* the latest of those that are not below */
	struct {
		uint64_t key, changed;
	} last[DEATHS];
};

/* What a call wants, and what it found. */
struct op {
	int (*run)(struct op *);
	MDB_txn *txn;
	MDB_dbi dbi;
	struct folder_shared *shared;
	uint64_t id; /* of the transaction */
	const char *key, *field;
	const void *val, *old;
	size_t len, old_len;
	const tine_store_item *items;
	int64_t by, ms;
	char *buf;
	size_t size;
	/* Found. */
	int64_t sum;
	size_t found_len;
	uint64_t version, last_version;
	int64_t expires;
	char *bag; /* copies */
};

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static bool is_over(int64_t expires)
{
	return expires != 0 && now_ns() / 1000000 >= expires;
}

/* ---- names ------------------------------------------------------------------------- */

#define NAME_MAX_LEN (2 * TINE_STORE_KEY_MAX + 1)

struct name {
	size_t len;
	char bytes[NAME_MAX_LEN];
};

static MDB_val val_of(const void *mem, size_t len)
{
	return (MDB_val){ len, (void *)mem };
}

/* The string with its NUL. */
static MDB_val name_of_head(const char *key)
{
	return val_of(key, strlen(key) + 1);
}

static void put_be(char *to, uint64_t number)
{
	number = __builtin_bswap64(number);
	memcpy(to, &number, 8);
}

static uint64_t get_be(const char *from)
{
	uint64_t number;

	memcpy(&number, from, 8);
	return __builtin_bswap64(number);
}

static MDB_val name_of_item(struct name *name, const char *key, uint64_t number)
{
	size_t len = strlen(key) + 1;

	memcpy(name->bytes, key, len);
	put_be(name->bytes + len, number);
	return val_of(name->bytes, len + 8);
}

static MDB_val name_of_field(struct name *name, const char *key, const char *field)
{
	size_t len = strlen(key) + 1, field_len = strlen(field);

	memcpy(name->bytes, key, len);
	memcpy(name->bytes + len, field, field_len);
	return val_of(name->bytes, len + field_len);
}

static MDB_val name_of_end(struct name *name, int64_t expires, const char *key)
{
	size_t len = strlen(key);

	memcpy(name->bytes, "\0e", 2);
	put_be(name->bytes + 2, (uint64_t)expires);
	memcpy(name->bytes + 10, key, len);
	return val_of(name->bytes, 10 + len);
}

static MDB_val name_of_deaths(struct name *name, unsigned bucket)
{
	memcpy(name->bytes, "\0d", 2);
	name->bytes[2] = (char)(bucket >> 8);
	name->bytes[3] = (char)bucket;
	return val_of(name->bytes, 4);
}

static bool begins_with(const MDB_val *name, const MDB_val *prefix)
{
	return name->mv_size >= prefix->mv_size &&
	       memcmp(name->mv_data, prefix->mv_data, prefix->mv_size) == 0;
}

/* FNV-1a; what it leaves to the high bits comes to the low ones as well. */
static uint64_t hash_of(const char *key)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *key; key++)
		hash = (hash ^ (unsigned char)*key) * UINT64_C(0x100000001b3);
	return hash ^ hash >> 32;
}

static unsigned bucket_of(uint64_t hash)
{
	return hash % WAKE_WORDS;
}

/* ---- deletions --------------------------------------------------------------------- */

static int read_deaths(struct op *op, uint64_t hash, struct deaths *deaths)
{
	struct name name;
	MDB_val key = name_of_deaths(&name, bucket_of(hash)), data;
	int rc = mdb_get(op->txn, op->dbi, &key, &data);

	*deaths = (struct deaths){ 0 };
	if (rc == MDB_NOTFOUND)
		return 0;
	if (!rc && data.mv_size != sizeof(*deaths))
		return MDB_CORRUPTED;
	if (!rc)
		memcpy(deaths, data.mv_data, sizeof(*deaths));
	return rc;
}

/* The key was deleted, after it had last changed in that transaction, or by it. */
static int bury(struct op *op, const char *key, uint64_t changed)
{
	uint64_t hash = hash_of(key);
	struct deaths deaths;
	struct name name;
	MDB_val where = name_of_deaths(&name, bucket_of(hash));
	MDB_val data = val_of(&deaths, sizeof(deaths));
	int rc = read_deaths(op, hash, &deaths), at = 0;

	if (rc)
		return rc;
	for (int i = 0; i < DEATHS; i++) {
		if (deaths.last[i].key == hash) {
			at = i;
			break;
		}
		if (deaths.last[i].changed < deaths.last[at].changed)
			at = i;
	}
	if (deaths.last[at].key != hash && deaths.last[at].changed > deaths.before)
		deaths.before = deaths.last[at].changed;
	deaths.last[at].key = hash;
	deaths.last[at].changed = changed;
	return mdb_put(op->txn, op->dbi, &where, &data, 0);
}

/* The last transaction in which a key that is absent may have changed. */
static int last_death(struct op *op, const char *key, uint64_t *changed)
{
	uint64_t hash = hash_of(key);
	struct deaths deaths;
	int rc = read_deaths(op, hash, &deaths);

	*changed = deaths.before;
	for (int i = 0; i < DEATHS; i++)
		if (deaths.last[i].changed > 0 && deaths.last[i].key == hash)
			*changed = deaths.last[i].changed;
	return rc;
}

/* ---- heads ------------------------------------------------------------------------- */

static size_t head_size(const struct head *head)
{
	return head->kind == VALUE ? VALUE_HEAD : sizeof(*head);
}

/* rest: the bytes of a value. */
static int read_head(const MDB_val *data, struct head *head, MDB_val *rest)
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

/* Also a head whose time is over. */
static int find_any(struct op *op, const char *key, struct head *head, MDB_val *rest)
{
	MDB_val name = name_of_head(key), data;
	int rc = mdb_get(op->txn, op->dbi, &name, &data);

	if (rc)
		return rc == MDB_NOTFOUND ? -ENOENT : rc;
	return read_head(&data, head, rest);
}

static int check_kind(const struct head *head, enum kind kind)
{
	return kind == ANY || head->kind == kind ? 0 : -TINE_EKIND;
}

/* For readers. */
static int find(struct op *op, enum kind kind, struct head *head, MDB_val *rest)
{
	int rc = find_any(op, op->key, head, rest);

	if (rc)
		return rc;
	return is_over(head->expires) ? -ENOENT : check_kind(head, kind);
}

static int put_head(struct op *op, struct head *head)
{
	MDB_val name = name_of_head(op->key), data = val_of(head, sizeof(*head));

	head->changed = op->id;
	return mdb_put(op->txn, op->dbi, &name, &data, 0);
}

static int put_value(struct op *op, const struct head *head, const void *val, size_t len)
{
	MDB_val name = name_of_head(op->key), data = { VALUE_HEAD + len, NULL };
	int rc = mdb_put(op->txn, op->dbi, &name, &data, MDB_RESERVE);

	if (rc)
		return rc;
	memcpy(data.mv_data, head, VALUE_HEAD);
	if (len > 0)
		memcpy((char *)data.mv_data + VALUE_HEAD, val, len);
	return 0;
}

/* ---- time -------------------------------------------------------------------------- */

static void look_earlier(struct op *op, int64_t ms)
{
	int64_t seen = atomic_load(&op->shared->look);

	while (ms < seen && !atomic_compare_exchange_weak(&op->shared->look, &seen, ms))
		;
}

static int forget_end(struct op *op, const char *key, int64_t expires)
{
	struct name name;
	MDB_val end = name_of_end(&name, expires, key);
	int rc = expires ? mdb_del(op->txn, op->dbi, &end, NULL) : 0;

	return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
}

static int note_end(struct op *op, int64_t expires)
{
	struct name name;
	MDB_val end = name_of_end(&name, expires, op->key), nothing = { 0, NULL };

	look_earlier(op, expires);
	return mdb_put(op->txn, op->dbi, &end, &nothing, 0);
}

/* All records of the key, of whatever kind it is. */
static int del_records(struct op *op, const char *key, const struct head *head)
{
	MDB_val prefix = name_of_head(key), name = prefix, data;
	MDB_cursor *cursor;
	int rc;

	if (head->kind == VALUE)
		return mdb_del(op->txn, op->dbi, &prefix, NULL);
	rc = mdb_cursor_open(op->txn, op->dbi, &cursor);
	if (rc)
		return rc;
	rc = mdb_cursor_get(cursor, &name, &data, MDB_SET_RANGE);
	while (!rc && begins_with(&name, &prefix)) {
		rc = mdb_cursor_del(cursor, 0);
		if (!rc)
			rc = mdb_cursor_get(cursor, &name, &data, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int del_key(struct op *op, const char *key, const struct head *head,
		   uint64_t changed)
{
	int rc = forget_end(op, key, head->expires);

	rc = rc ? rc : del_records(op, key, head);
	return rc ? rc : bury(op, key, changed);
}

/* For writers: what is over is gone when this returns -ENOENT. */
static int locate(struct op *op, enum kind kind, struct head *head, MDB_val *rest)
{
	int rc = find_any(op, op->key, head, rest);

	if (rc)
		return rc;
	if (!is_over(head->expires))
		return check_kind(head, kind);
	rc = del_key(op, op->key, head, head->changed);
	return rc ? rc : -ENOENT;
}

/* The key that ends first: its time, or 0: none does. */
static int first_end(struct op *op, char *key, int64_t *expires)
{
	MDB_val prefix = val_of("\0e", 2), name = prefix, data;
	MDB_cursor *cursor;
	size_t len;
	int rc = mdb_cursor_open(op->txn, op->dbi, &cursor);

	if (rc)
		return rc;
	rc = mdb_cursor_get(cursor, &name, &data, MDB_SET_RANGE);
	mdb_cursor_close(cursor);
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
static int sweep(struct op *op)
{
	char key[TINE_STORE_KEY_MAX + 1];
	int64_t look = atomic_load(&op->shared->look), expires, now;
	struct head head;
	MDB_val rest;
	int rc;

	now = now_ns() / 1000000;
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
		rc = find_any(op, key, &head, &rest);
		if (!rc && head.expires != expires)
			rc = -ENOENT;
		rc = rc ? rc : del_key(op, key, &head, head.changed);
		if (rc)
			return rc == -ENOENT ? MDB_CORRUPTED : rc;
	}
	return 0;
}

/* ---- transactions ------------------------------------------------------------------ */

static int begin_op(struct file_store *store, struct op *op)
{
	int err = folder_shared(&store->folder, &op->shared);

	op->dbi = store->folder.dbi;
	return err;
}

static int look(MDB_txn *txn, void *arg)
{
	struct op *op = arg;

	op->txn = txn;
	op->id = mdb_txn_id(txn);
	return op->run(op);
}

static int read_op(tine_store *base, struct op *op)
{
	struct file_store *store = (struct file_store *)base;
	int err = begin_op(store, op);

	return err ? err : folder_read(&store->folder, look, op);
}

static int change(MDB_txn *txn, void *arg)
{
	struct op *op = arg;
	int rc = look(txn, op);

	return rc ? rc : sweep(op);
}

static void wake(struct folder_shared *shared, const char *key)
{
	_Atomic uint32_t *word = &shared->words[bucket_of(hash_of(key))];
	uint32_t seen = atomic_load(word);

	while (seen & 1)
		if (atomic_compare_exchange_weak(word, &seen, (seen + 2) & ~1u)) {
			futex_wake(word, INT_MAX);
			return;
		}
}

/* need: bytes. */
static int write_op(tine_store *base, struct op *op, size_t need)
{
	struct file_store *store = (struct file_store *)base;
	int err = begin_op(store, op);

	err = err ? err : folder_write(&store->folder, change, op, need);
	if (err)
		return err;
	/* LMDB's commit is not seq_cst. */
	atomic_thread_fence(memory_order_seq_cst);
	wake(op->shared, op->key);
	return 0;
}

/* ---- values ------------------------------------------------------------------------ */

static int run_set(struct op *op)
{
	struct head head = { 0 };
	MDB_val rest;
	int rc = locate(op, VALUE, &head, &rest);

	if (rc && rc != -ENOENT)
		return rc;
	if (!rc && (rc = forget_end(op, op->key, head.expires)) != 0)
		return rc;
	head = (struct head){ .changed = op->id, .kind = VALUE };
	return put_value(op, &head, op->val, op->len);
}

static int file_set(tine_store *store, const char *key, const void *val, size_t len)
{
	struct op op = { .run = run_set, .key = key, .val = val, .len = len };

	return write_op(store, &op, len);
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

static int file_set_all(tine_store *store, const tine_store_item *items, size_t n)
{
	struct op op = { .run = run_set_all, .items = items, .size = n };
	size_t need = 0;
	int err;

	for (size_t i = 0; i < n; i++)
		need += items[i].len;
	err = write_op(store, &op, need);
	for (size_t i = 0; !err && i < n; i++)
		wake(op.shared, items[i].key);
	return err;
}

static void copy_out(struct op *op, const MDB_val *data)
{
	size_t len = data->mv_size < op->size ? data->mv_size : op->size;

	if (len > 0)
		memcpy(op->buf, data->mv_data, len);
	op->found_len = data->mv_size;
}

static int run_get(struct op *op)
{
	struct head head;
	MDB_val rest;
	int rc = find(op, VALUE, &head, &rest);

	if (!rc)
		copy_out(op, &rest);
	return rc;
}

static ssize_t file_get(tine_store *store, const char *key, void *buf, size_t size)
{
	struct op op = { .run = run_get, .key = key, .buf = buf, .size = size };
	int err = read_op(store, &op);

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
	struct head head = { .kind = VALUE };
	MDB_val rest;
	char text[NUMBER_MAX];
	int64_t number = 0;
	int rc = locate(op, VALUE, &head, &rest);

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
	return put_value(op, &head, text, print_counter(text, op->sum));
}

static int file_add(tine_store *store, const char *key, int64_t by, int64_t *now)
{
	struct op op = { .run = run_add, .key = key, .by = by };
	int err = write_op(store, &op, 0);

	if (!err && now)
		*now = op.sum;
	return err;
}

static int run_swap(struct op *op)
{
	struct head head;
	MDB_val rest;
	int rc = locate(op, VALUE, &head, &rest);
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
	return there ? del_key(op, op->key, &head, op->id) : 0;
}

static int file_swap(tine_store *store, const char *key, const void *old, size_t old_len,
		     const void *val, size_t len)
{
	struct op op = { .run = run_swap,
			 .key = key,
			 .old = old,
			 .old_len = old_len,
			 .val = val,
			 .len = len };

	return write_op(store, &op, len);
}

/* ---- waiting ----------------------------------------------------------------------- */

/*
 * What is there, and whether that is a change since last_version. Present and changed in
 * transaction n: 2n + 1; absent in the snapshot of transaction n: 2n. The snapshot may
 * show more than its number says, but what it shows has its own.
 */
static int run_version(struct op *op)
{
	struct head head;
	MDB_val rest;
	uint64_t death;
	int rc = find_any(op, op->key, &head, &rest);

	op->expires = 0;
	if (!rc && !is_over(head.expires)) {
		op->version = 2 * head.changed + 1;
		op->expires = head.expires;
		return op->version == op->last_version ? -EAGAIN : 0;
	}
	if (rc == -ENOENT)
		rc = last_death(op, op->key, &death);
	else
		death = head.changed;
	if (rc)
		return rc;
	op->version = 2 * (op->id > death ? op->id : death);
	if (op->last_version == 0 || op->last_version % 2 != 0)
		return 0;
	return death > op->last_version / 2 ? 0 : -EAGAIN;
}

/*
 * Runs look, which says -EAGAIN while there is nothing to be had, until it says something
 * else.
 */
static int wait_for(tine_store *base, struct op *op, int64_t deadline)
{
	struct file_store *store = (struct file_store *)base;
	_Atomic uint32_t *word;
	int err = begin_op(store, op);

	if (err)
		return err;
	word = &op->shared->words[bucket_of(hash_of(op->key))];
	for (;;) {
		uint32_t seen = atomic_fetch_or(word, 1) | 1;
		int64_t now, until, left;

		err = read_op(base, op);
		if (err != -EAGAIN)
			return err;
		now = tine_now();
		if (deadline <= now)
			return -ETIMEDOUT;
		until = deadline - now > RELOOK ? now + RELOOK : deadline;
		if (op->expires > 0 && op->expires < INT64_MAX / 1000000) {
			left = op->expires * 1000000 - now_ns();
			if (left < until - now)
				until = now + (left > 0 ? left : 0);
		}
		futex_wait(word, seen, until);
	}
}

static int file_wait(tine_store *store, const char *key, uint64_t *version,
		     int64_t deadline)
{
	struct op op = { .run = run_version, .key = key, .last_version = *version };
	int err = wait_for(store, &op, deadline);

	if (!err)
		*version = op.version;
	return err;
}

/* ---- lists ------------------------------------------------------------------------- */

static int run_push(struct op *op)
{
	struct head head;
	struct name name;
	MDB_val rest, item, data = val_of(op->val, op->len);
	int rc = locate(op, LIST, &head, &rest);

	if (rc == -ENOENT)
		head = (struct head){ .kind = LIST };
	else if (rc)
		return rc;
	item = name_of_item(&name, op->key, head.first + head.n);
	rc = mdb_put(op->txn, op->dbi, &item, &data, 0);
	if (rc)
		return rc;
	head.n++;
	return put_head(op, &head);
}

static int file_push(tine_store *store, const char *list, const void *val, size_t len)
{
	struct op op = { .run = run_push, .key = list, .val = val, .len = len };

	return write_op(store, &op, len);
}

static int run_pop(struct op *op)
{
	struct head head;
	struct name name;
	MDB_val rest, item, data;
	int rc = locate(op, LIST, &head, &rest);

	if (rc)
		return rc;
	item = name_of_item(&name, op->key, head.first);
	rc = mdb_get(op->txn, op->dbi, &item, &data);
	if (rc)
		return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
	if (data.mv_size > op->size)
		return -EMSGSIZE;
	/* To the caller only when it is gone from here. */
	free(op->bag);
	op->bag = malloc(data.mv_size > 0 ? data.mv_size : 1);
	if (!op->bag)
		return -ENOMEM;
	memcpy(op->bag, data.mv_data, data.mv_size);
	op->found_len = data.mv_size;
	if (head.n == 1)
		return del_key(op, op->key, &head, op->id);
	rc = mdb_del(op->txn, op->dbi, &item, NULL);
	if (rc)
		return rc;
	head.first++;
	head.n--;
	return put_head(op, &head);
}

static int run_is_list(struct op *op)
{
	struct head head;
	MDB_val rest;
	int rc = find(op, LIST, &head, &rest);

	return rc == -ENOENT ? -EAGAIN : rc;
}

static ssize_t file_pop(tine_store *store, const char *list, void *buf, size_t size,
			int64_t deadline)
{
	struct op op = { .run = run_pop, .key = list, .size = size };
	int err;

	for (;;) {
		struct op there = { .run = run_is_list, .key = list };

		err = write_op(store, &op, 0);
		if (err != -ENOENT)
			break;
		err = wait_for(store, &there, deadline);
		if (err)
			break;
	}
	if (!err && op.found_len > 0)
		memcpy(buf, op.bag, op.found_len);
	free(op.bag);
	return err ? err : (ssize_t)op.found_len;
}

/* ---- dictionaries ------------------------------------------------------------------ */

static int run_put_field(struct op *op)
{
	struct head head;
	struct name name;
	MDB_val rest, field = name_of_field(&name, op->key, op->field), data;
	int rc = locate(op, DICT, &head, &rest);

	if (rc == -ENOENT)
		head = (struct head){ .kind = DICT };
	else if (rc)
		return rc;
	rc = mdb_get(op->txn, op->dbi, &field, &data);
	if (rc == MDB_NOTFOUND)
		head.n++;
	else if (rc)
		return rc;
	data = val_of(op->val, op->len);
	rc = mdb_put(op->txn, op->dbi, &field, &data, 0);
	return rc ? rc : put_head(op, &head);
}

static int file_put_field(tine_store *store, const char *dict, const char *field,
			  const void *val, size_t len)
{
	struct op op = {
		.run = run_put_field, .key = dict, .field = field, .val = val, .len = len
	};

	return write_op(store, &op, len);
}

static int run_get_field(struct op *op)
{
	struct head head;
	struct name name;
	MDB_val rest, field = name_of_field(&name, op->key, op->field), data;
	int rc = find(op, DICT, &head, &rest);

	if (rc)
		return rc;
	rc = mdb_get(op->txn, op->dbi, &field, &data);
	if (rc)
		return rc == MDB_NOTFOUND ? -ENOENT : rc;
	copy_out(op, &data);
	return 0;
}

static ssize_t file_get_field(tine_store *store, const char *dict, const char *field,
			      void *buf, size_t size)
{
	struct op op = { .run = run_get_field,
			 .key = dict,
			 .field = field,
			 .buf = buf,
			 .size = size };
	int err = read_op(store, &op);

	return err ? err : (ssize_t)op.found_len;
}

static int run_del_field(struct op *op)
{
	struct head head;
	struct name name;
	MDB_val rest, field = name_of_field(&name, op->key, op->field);
	int rc = locate(op, DICT, &head, &rest);

	if (rc)
		return rc;
	rc = mdb_del(op->txn, op->dbi, &field, NULL);
	if (rc)
		return rc == MDB_NOTFOUND ? -ENOENT : rc;
	if (--head.n == 0)
		return del_key(op, op->key, &head, op->id);
	return put_head(op, &head);
}

static int file_del_field(tine_store *store, const char *dict, const char *field)
{
	struct op op = { .run = run_del_field, .key = dict, .field = field };

	return write_op(store, &op, 0);
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
	int rc = mdb_cursor_get(cursor, &name, &data, MDB_SET);

	while (!rc) {
		MDB_val field;

		rc = mdb_cursor_get(cursor, &name, &data, MDB_NEXT);
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
	struct head head;
	MDB_val rest;
	MDB_cursor *cursor;
	int rc = find(op, DICT, &head, &rest);

	op->size = op->found_len = 0;
	if (rc)
		return rc;
	rc = mdb_cursor_open(op->txn, op->dbi, &cursor);
	if (rc)
		return rc;
	free(op->bag);
	op->bag = NULL;
	rc = for_each_field(op, cursor, add_up);
	if (!rc) {
		op->bag = malloc(op->size + 1);
		rc = op->bag ? for_each_field(op, cursor, copy_field) : -ENOMEM;
	}
	mdb_cursor_close(cursor);
	return rc;
}

static int file_fields(tine_store *store, const char *dict,
		       int (*each)(void *arg, const char *field, const void *val,
				   size_t len),
		       void *arg)
{
	struct op op = { .run = run_fields, .key = dict };
	int err = read_op(store, &op);

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

/* ---- keys of any kind -------------------------------------------------------------- */

static int run_len(struct op *op)
{
	struct head head;
	MDB_val rest;
	int rc = find(op, ANY, &head, &rest);

	if (!rc)
		op->found_len = head.kind == VALUE ? rest.mv_size : head.n;
	return rc;
}

static ssize_t file_len(tine_store *store, const char *key)
{
	struct op op = { .run = run_len, .key = key };
	int err = read_op(store, &op);

	return err ? err : (ssize_t)op.found_len;
}

static int run_del(struct op *op)
{
	struct head head;
	MDB_val rest;
	int rc = locate(op, ANY, &head, &rest);

	return rc ? rc : del_key(op, op->key, &head, op->id);
}

static int file_del(tine_store *store, const char *key)
{
	struct op op = { .run = run_del, .key = key };

	return write_op(store, &op, 0);
}

/* Its head anew, with the bytes that follow it. */
static int put_again(struct op *op, const struct head *head, const MDB_val *rest)
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
	rc = mdb_put(op->txn, op->dbi, &name, &data, 0);
	free(copy);
	return rc;
}

static int run_expire(struct op *op)
{
	struct head head = { 0 };
	MDB_val rest;
	int64_t now = (now_ns() + 999999) / 1000000;
	int rc = locate(op, ANY, &head, &rest);
	int64_t before = head.expires;

	if (rc)
		return rc;
	head.expires = 0;
	if (op->ms > 0 && __builtin_add_overflow(now, op->ms, &head.expires))
		head.expires = INT64_MAX;
	/* First, since what else is written may move the rest. */
	rc = put_again(op, &head, &rest);
	rc = rc ? rc : forget_end(op, op->key, before);
	return rc || head.expires == 0 ? rc : note_end(op, head.expires);
}

static int file_expire(tine_store *store, const char *key, int64_t ms)
{
	struct op op = { .run = run_expire, .key = key, .ms = ms };

	return write_op(store, &op, 0);
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
	struct name after;

	memcpy(after.bytes, name->mv_data, name->mv_size);
	after.bytes[name->mv_size - 1] = 1;
	*name = val_of(after.bytes, name->mv_size);
	return mdb_cursor_get(cursor, name, data, MDB_SET_RANGE);
}

static int collect_keys(struct op *op, MDB_cursor *cursor)
{
	MDB_val prefix = val_of(op->key, strlen(op->key)), name = prefix, data, rest;
	struct head head;
	int rc;

	/* Names that begin with 0 are no keys. */
	if (prefix.mv_size == 0)
		name = val_of("\1", 1);
	rc = mdb_cursor_get(cursor, &name, &data, MDB_SET_RANGE);
	while (!rc && begins_with(&name, &prefix)) {
		if (name.mv_size < 2 || name.mv_size > TINE_STORE_KEY_MAX + 1 ||
		    ((char *)name.mv_data)[name.mv_size - 1] != '\0')
			return MDB_CORRUPTED;
		rc = read_head(&data, &head, &rest);
		if (!rc && !is_over(head.expires))
			rc = add_key(op, name.mv_data, name.mv_size);
		/* That of a value is followed by a head. */
		if (!rc)
			rc = head.kind == VALUE
				     ? mdb_cursor_get(cursor, &name, &data, MDB_NEXT)
				     : next_head(cursor, &name, &data);
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int run_keys(struct op *op)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(op->txn, op->dbi, &cursor);

	if (rc)
		return rc;
	op->found_len = 0;
	rc = collect_keys(op, cursor);
	mdb_cursor_close(cursor);
	return rc;
}

static int file_keys(tine_store *store, const char *prefix,
		     int (*each)(void *arg, const char *key), void *arg)
{
	struct op op = { .run = run_keys, .key = prefix };
	int err = read_op(store, &op);

	for (size_t at = 0; !err && at < op.found_len;) {
		const char *key = op.bag + at;

		at += strlen(key) + 1;
		err = each(arg, key);
	}
	free(op.bag);
	return err;
}

/* ---- handles ----------------------------------------------------------------------- */

static int file_open(tine_store **out, const struct store_address *address)
{
	struct file_store *store = calloc(1, sizeof(*store));
	int err;

	if (!store)
		return -ENOMEM;
	err = folder_open(&store->folder, address->path);
	if (err) {
		free(store);
		return err;
	}
	*out = &store->base;
	return 0;
}

static void file_free(tine_store *base)
{
	struct file_store *store = (struct file_store *)base;

	folder_close(&store->folder);
	free(store);
}

static const struct store_engine engine = {
	.open = file_open,
	.free = file_free,
	.set = file_set,
	.set_all = file_set_all,
	.get = file_get,
	.add = file_add,
	.swap = file_swap,
	.push = file_push,
	.pop = file_pop,
	.put_field = file_put_field,
	.get_field = file_get_field,
	.del_field = file_del_field,
	.fields = file_fields,
	.len = file_len,
	.del = file_del,
	.expire = file_expire,
	.keys = file_keys,
	.wait = file_wait,
};

const struct store_engine *const store_file_engine = &engine;
