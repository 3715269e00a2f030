/* SPDX-License-Identifier: MIT */
/*
 * Torn commits. A commit writes one of the two first pages, in turn, and who comes after
 * a death believes the one with the higher number. LMDB as Debian builds it stores that
 * number one instruction before the new root, so that who dies between them leaves a root
 * of two commits ago, whose pages are being used again. So there is a lock around LMDB's,
 * and who is about to commit notes under it the commit's number, and the number and the
 * root that are in that page. Who finds such a note under the lock comes after a death:
 * if the page has the new number and the old root, which no page can have otherwise, it
 * gives it the old number. Nobody has seen the commit, since the number that readers go
 * by is elsewhere, and stored later. The note and the lock outlive a machine that stops;
 * who has the folder open alone, as another record lock tells, begins with a new lock.
 */
#include "store/file/inside.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Of a first page: those of LMDB's format 1. */
#define ROOT_AT	  (16 + 112)
#define NUMBER_AT (16 + 128)

static size_t page_of(uint64_t number)
{
	return number % 2 * lmdb_page_size();
}

int commit_mend(struct folder_shared *shared, int fd)
{
	uint64_t commit = atomic_load(&shared->commit), root, number,
		 before = atomic_load(&shared->number_before);
	off_t at = (off_t)page_of(commit);

	if (commit == 0)
		return 0;
	/* Bound: a regular file. */
	if (pread(fd, &root, 8, at + ROOT_AT) != 8 ||
	    pread(fd, &number, 8, at + NUMBER_AT) != 8)
		return -EIO;
	/* Bound: a regular file. */
	if (number == commit && root == atomic_load(&shared->root_before) &&
	    pwrite(fd, &before, 8, at + NUMBER_AT) != 8)
		return -EIO;
	atomic_store(&shared->commit, 0);
	return 0;
}

/*
 * The note is whole before LMDB touches the page, and away only when it is done: a death
 * is seen by others in the order of these stores, and the compiler keeps it.
 */
int commit_noted(struct folder *folder, MDB_txn *txn)
{
	struct folder_shared *shared = folder->shared;
	uint64_t commit = lmdb.txn_id(txn);
	const char *page = folder->first + page_of(commit);
	uint64_t root, number;
	int rc;

	memcpy(&root, page + ROOT_AT, 8);
	memcpy(&number, page + NUMBER_AT, 8);
	atomic_store_explicit(&shared->root_before, root, memory_order_relaxed);
	atomic_store_explicit(&shared->number_before, number, memory_order_relaxed);
	atomic_store_explicit(&shared->commit, commit, memory_order_release);
	rc = lmdb.txn_commit(txn);
	atomic_store_explicit(&shared->commit, 0, memory_order_release);
	return rc;
}
