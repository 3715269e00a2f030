/* SPDX-License-Identifier: MIT */
/*
 * Waking. A key's bucket has a word in tine.wake, bit 0 of which says that somebody is
 * about to sleep, and the others how often they were woken. Who waits sets the bit, then
 * looks, then sleeps on the word as it was. Who has committed a change then looks at the
 * bit, and if it is set takes it away, counts and wakes: either sees the other.
 *
 * Who waits for several keys sleeps on a word that all such share, whose bit is set
 * before those of the keys' buckets; who takes away the bit of a bucket then does the
 * same there.
 *
 *	dies or is stopped between		who sleeps looks again every RELOOK
 *	the commit and the wake
 *	dies asleep				the bit stays: one wake for nothing
 */
#include "store/file/op.h"

#include "base/futex.h"
#include "store/file/expiry.h"
#include "store/file/names.h"

#include <errno.h>
#include <string.h>

#define RELOOK INT64_C(100000000)

int op_begin(tine_store *base, struct op *op)
{
	struct file_store *store = (struct file_store *)base;
	int err;

	if (op->patience.ms == 0)
		op->patience.ms = base->address.answer_ms;
	err = folder_shared(&store->folder, &op->shared, &op->patience);
	op->dbi = store->folder.dbi;
	return err;
}

static int run_once(MDB_txn *txn, void *arg)
{
	struct op *op = arg;

	op->txn = txn;
	op->id = lmdb.txn_id(txn);
	return op->run(op);
}

int op_read(tine_store *base, struct op *op)
{
	struct file_store *store = (struct file_store *)base;
	int err = op_begin(base, op);

	return err ? err : folder_read(&store->folder, run_once, op, &op->patience);
}

static int run_and_sweep(MDB_txn *txn, void *arg)
{
	struct op *op = arg;
	int rc = run_once(txn, op);

	return rc ? rc : expiry_sweep(op);
}

static _Atomic uint32_t *word_of_key(struct folder_shared *shared, const char *key)
{
	return &shared->words[bucket_of_hash(hash_of_key(key))];
}

/* Whether somebody may have slept there. */
static bool wake_sleepers(_Atomic uint32_t *word)
{
	uint32_t seen = atomic_load(word);

	while (seen & 1)
		if (atomic_compare_exchange_weak(word, &seen, (seen + 2) & ~1u)) {
			futex_wake(word, INT_MAX);
			return true;
		}
	return false;
}

void op_wake(struct folder_shared *shared, const char *key)
{
	if (wake_sleepers(word_of_key(shared, key)))
		wake_sleepers(&shared->several);
}

/* Before a look; returns the word to sleep on, and what it is. */
static _Atomic uint32_t *announce_sleep(const struct op *op, uint32_t *seen)
{
	_Atomic uint32_t *word = op->n_waits > 1 ? &op->shared->several
						 : word_of_key(op->shared, op->key);

	*seen = atomic_fetch_or(word, 1) | 1;
	for (size_t i = 0; op->n_waits > 1 && i < op->n_waits; i++)
		atomic_fetch_or(word_of_key(op->shared, op->waits[i].key), 1);
	return word;
}

int op_write(tine_store *base, struct op *op, size_t need)
{
	struct file_store *store = (struct file_store *)base;
	int err = op_begin(base, op);

	err = err ? err
		  : folder_write(&store->folder, run_and_sweep, op, need, &op->patience);
	if (err)
		return err;
	/* LMDB's commit is not seq_cst. */
	atomic_thread_fence(memory_order_seq_cst);
	op_wake(op->shared, op->key);
	return 0;
}

int op_wait(tine_store *base, struct op *op, int64_t deadline)
{
	int err = op_begin(base, op);

	if (err)
		return err;
	for (;;) {
		uint32_t seen;
		_Atomic uint32_t *word = announce_sleep(op, &seen);
		int64_t now, until, left;

		err = op_read(base, op);
		if (err != -EAGAIN)
			return err;
		now = tine_now();
		if (deadline <= now)
			return -ETIMEDOUT;
		if (interrupt_take())
			return -EINTR;
		until = deadline - now > RELOOK ? now + RELOOK : deadline;
		if (op->expires > 0 && op->expires < INT64_MAX / 1000000) {
			left = op->expires * 1000000 - wall_ns();
			if (left < until - now)
				until = now + (left > 0 ? left : 0);
		}
		/* Bound: RELOOK, or the caller's deadline. */
		futex_wait(word, seen, until);
	}
}

void op_copy_out(struct op *op, const MDB_val *data)
{
	size_t len = data->mv_size < op->size ? data->mv_size : op->size;

	if (len > 0)
		memcpy(op->buf, data->mv_data, len);
	op->found_len = data->mv_size;
}
