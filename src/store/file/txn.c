/* SPDX-License-Identifier: MIT */
/* Transactions, as folder.h has them. */
#include "store/file/inside.h"

#include <errno.h>
#include <string.h>

#define LOOKS	    10 /* at a snapshot that seems damaged */
#define KEPT_PAGES  64
#define LARGE_PAGES 1024

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
		rc = lmdb.txn_renew(handle->reader);
	else if (!rc)
		rc = lmdb.txn_begin(folder->env, NULL, MDB_RDONLY, &handle->reader);
	if (is_new)
		reading_unlock(folder);
	/* Not what a look says by it: another process has the same number. */
	if (rc == EAGAIN)
		rc = EBUSY;
	if (!rc) {
		rc = look(handle->reader, arg);
		lmdb.txn_reset(handle->reader);
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

/* What it wants, and what is kept for those that free. */
static size_t pages_for(size_t need)
{
	size_t pages = need / lmdb_page_size() + 1;

	/*
	 * One that is large meets the end of the map by itself, if there is too little.
	 */
	return (pages < LARGE_PAGES ? pages : LARGE_PAGES) + KEPT_PAGES;
}

static bool has_room(struct folder *folder, size_t need)
{
	MDB_envinfo info;

	lmdb.env_info(folder->env, &info);
	return info.me_last_pgno + pages_for(need) < info.me_mapsize / lmdb_page_size();
}

/*
 * Pages that LMDB will use again: in its first table each number of them is followed by
 * them.
 */
static int count_free_pages(MDB_txn *txn, void *arg)
{
	MDB_cursor *cursor;
	MDB_val key, data;
	size_t *n = arg, of_one;
	int rc = lmdb.cursor_open(txn, 0, &cursor);

	*n = 0;
	if (rc)
		return rc;
	while ((rc = lmdb.cursor_get(cursor, &key, &data, MDB_NEXT)) == 0)
		if (data.mv_size >= sizeof(of_one)) {
			memcpy(&of_one, data.mv_data, sizeof(of_one));
			*n += of_one;
		}
	lmdb.cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int change_once(struct folder *folder, int (*change)(MDB_txn *, void *arg),
		       void *arg, bool may_have_all, size_t need,
		       struct patience *patience)
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
	rc = may_have_all || has_room(folder, need) ? change(txn, arg) : MDB_MAP_FULL;
	if (!rc)
		rc = commit_noted(folder, txn);
	else
		lmdb.txn_abort(txn);
open_gate:
	pthread_rwlock_unlock(&folder->gate);
	writing_unlock(folder);
	return rc;
}

/* In bytes. */
static size_t wanted(int rc, size_t need)
{
	if (rc == MDB_MAP_RESIZED)
		return 0;
	return need == NEEDS_NONE ? 1 : need + (KEPT_PAGES + 1) * lmdb_page_size();
}

int folder_write(struct folder_handle *handle, int (*change)(MDB_txn *, void *arg),
		 void *arg, size_t need, struct patience *patience)
{
	bool may_have_all = need == NEEDS_NONE;

	for (;;) {
		int rc, err = folder_attach(handle, patience);
		size_t had, n_free;

		if (err)
			return err;
		had = atomic_load_explicit(&handle->folder->map_len,
					   memory_order_relaxed);
		rc = change_once(handle->folder, change, arg, may_have_all, need,
				 patience);
		if (rc != MDB_MAP_FULL && rc != MDB_MAP_RESIZED)
			return lmdb_error(rc);
		err = folder_grow(handle->folder, had, wanted(rc, need), patience);
		if (err == -ENOSPC && !may_have_all) {
			err = folder_read(handle, count_free_pages, &n_free, patience);
			if (!err && n_free < pages_for(need))
				err = -ENOSPC;
			may_have_all = true;
		}
		if (err)
			return err;
	}
}
