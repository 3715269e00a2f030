/* SPDX-License-Identifier: MIT */
/* Transactions, as folder.h has them. */
#include "store/file/inside.h"

#include <errno.h>

#define LOOKS 10 /* at a snapshot that seems damaged */

static int look_once(struct folder_handle *handle, int (*look)(MDB_txn *, void *arg),
		     void *arg)
{
	struct folder *folder = handle->folder;
	int rc;

	pthread_rwlock_rdlock(&folder->gate);
	rc = folder->broken;
	if (!rc && handle->reader)
		rc = mdb_txn_renew(handle->reader);
	else if (!rc)
		rc = mdb_txn_begin(folder->env, NULL, MDB_RDONLY, &handle->reader);
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
		void *arg)
{
	int looks = 0, dead, rc, err;

	for (;;) {
		size_t had;

		err = folder_attach(handle);
		if (err)
			return err;
		had = atomic_load_explicit(&handle->folder->map_len,
					   memory_order_relaxed);
		rc = look_once(handle, look, arg);
		switch (rc) {
		case MDB_MAP_RESIZED:
			err = folder_grow(handle->folder, had, 0);
			break;
		case MDB_READERS_FULL:
			dead = 0;
			mdb_reader_check(handle->folder->env, &dead);
			err = dead > 0 ? 0 : lmdb_error(rc);
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
		       void *arg)
{
	MDB_txn *txn;
	int rc;

	pthread_rwlock_rdlock(&folder->gate);
	rc = folder->broken ? folder->broken : writing_lock(folder, folder->data.fd);
	if (rc)
		goto open_gate;
	rc = mdb_txn_begin(folder->env, NULL, 0, &txn);
	if (rc)
		goto unlock_writing;
	rc = change(txn, arg);
	if (!rc)
		rc = commit_noted(folder, txn);
	else
		mdb_txn_abort(txn);
unlock_writing:
	writing_unlock(folder);
open_gate:
	pthread_rwlock_unlock(&folder->gate);
	return rc;
}

int folder_write(struct folder_handle *handle, int (*change)(MDB_txn *, void *arg),
		 void *arg, size_t need)
{
	for (;;) {
		int rc, err = folder_attach(handle);
		size_t had;

		if (err)
			return err;
		had = atomic_load_explicit(&handle->folder->map_len,
					   memory_order_relaxed);
		rc = change_once(handle->folder, change, arg);
		if (rc != MDB_MAP_FULL && rc != MDB_MAP_RESIZED)
			return lmdb_error(rc);
		err = folder_grow(handle->folder, had, rc == MDB_MAP_FULL ? need + 1 : 0);
		if (err)
			return err;
	}
}
