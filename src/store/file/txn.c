/* SPDX-License-Identifier: MIT */
/* Transactions, as folder.h has them. */
#include "store/file/inside.h"

#include <errno.h>

#define LOOKS 10 /* at a snapshot that seems damaged */

static int look_once(struct folder_handle *handle, int (*look)(MDB_txn *, void *arg),
		     void *arg, struct patience *patience)
{
	struct folder *folder = handle->folder;
	bool is_new = !handle->reader;
	int rc = is_new ? reading_lock(folder, patience) : 0;

	if (rc)
		return rc;
	/* Bound: a thread of this process that maps the file, and waits for nobody. */
	pthread_rwlock_rdlock(&folder->gate);
	rc = folder->broken;
	if (!rc && !is_new)
		rc = mdb_txn_renew(handle->reader);
	else if (!rc)
		rc = mdb_txn_begin(folder->env, NULL, MDB_RDONLY, &handle->reader);
	if (is_new)
		reading_unlock(folder);
	/* Not what a look says by it: another process has the same number. */
	if (rc == EAGAIN)
		rc = EBUSY;
	if (!rc) {
		rc = look(handle->reader, arg);
		mdb_txn_reset(handle->reader);
	}
	pthread_rwlock_unlock(&folder->gate);
	return rc;
}

/*
 * A reader that sleeps between taking a snapshot's number and copying its root may find a
 * later root, which is as good, but with too few pages: then what it looks for seems not
 * to be there, and it looks again.
 */
int folder_read(struct folder_handle *handle, int (*look)(MDB_txn *, void *arg),
		void *arg, struct patience *patience)
{
	int looks = 0, rc, err;

	for (;;) {
		size_t had;

		err = folder_attach(handle, patience);
		if (err)
			return err;
		had = atomic_load_explicit(&handle->folder->map_len,
					   memory_order_relaxed);
		rc = look_once(handle, look, arg, patience);
		switch (rc) {
		case MDB_MAP_RESIZED:
			err = folder_grow(handle->folder, had, 0, patience);
			break;
		case MDB_READERS_FULL:
			err = readers_check(handle->folder) > 0 ? 0 : lmdb_error(rc);
			break;
		case MDB_PAGE_NOTFOUND:
		case MDB_CORRUPTED:
			err = ++looks < LOOKS ? 0 : lmdb_error(rc);
			break;
		default:
			return lmdb_error(rc);
		}
		if (err)
			return err;
	}
}

static int change_once(struct folder *folder, int (*change)(MDB_txn *, void *arg),
		       void *arg, struct patience *patience)
{
	MDB_txn *txn;
	int rc = writing_lock(folder, patience);

	if (rc)
		return rc;
	/* Bound: a thread of this process that maps the file, and waits for nobody. */
	pthread_rwlock_rdlock(&folder->gate);
	rc = folder->broken ? folder->broken : writing_begin(folder, &txn);
	if (rc)
		goto open_gate;
	rc = change(txn, arg);
	if (!rc)
		rc = commit_noted(folder, txn);
	else
		mdb_txn_abort(txn);
open_gate:
	pthread_rwlock_unlock(&folder->gate);
	writing_unlock(folder);
	return rc;
}

int folder_write(struct folder_handle *handle, int (*change)(MDB_txn *, void *arg),
		 void *arg, size_t need, struct patience *patience)
{
	for (;;) {
		int rc, err = folder_attach(handle, patience);
		size_t had;

		if (err)
			return err;
		had = atomic_load_explicit(&handle->folder->map_len,
					   memory_order_relaxed);
		rc = change_once(handle->folder, change, arg, patience);
		if (rc != MDB_MAP_FULL && rc != MDB_MAP_RESIZED)
			return lmdb_error(rc);
		err = folder_grow(handle->folder, had, rc == MDB_MAP_FULL ? need + 1 : 0,
				  patience);
		if (err)
			return err;
	}
}
