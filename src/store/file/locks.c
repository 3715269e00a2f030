/* SPDX-License-Identifier: MIT */
/*
 * The locks between the processes that use a folder. Each of them may be stopped wherever
 * it is, so that all who wait have a deadline. In this order:
 *
 *	growing	 of threads of this process
 *	shape	 a record lock: while the file is made, mapped anew or opened
 *	writing	 while a transaction writes
 *	reading	 while a slot in LMDB's table of readers is taken, or given back
 *	gate	 shared while a thread is in a transaction, alone while it maps the file
 *
 * LMDB has locks of its own for the last two but one, and takes them without a deadline.
 * So nobody asks it for one but with ours, and finds it free. Where somebody died with
 * LMDB's lock for writers, LMDB looks for dead readers, and for that takes the one for
 * readers; a note says so until it has been done. The gate is taken last: who is inside
 * waits for no other process, so that who shuts it waits for short transactions only.
 *
 *	stopped with the shape	nobody opens the folder, or has it grow; others work on
 *	stopped while writing	nobody else writes; all read, also those who come new
 *	stopped in reading	who reads for the first time has to wait, and who writes
 *				after a death; nobody else
 *	stopped elsewhere	nobody waits; pages that it reads are not used again
 *	dies			the kernel lets go of a record lock, and tells of the
 *				others: what there is to mend is in commit.c
 *
 * Nobody else has the folder open: then who holds writing or reading is gone, with the
 * machine perhaps, and both are made anew.
 */
#include "store/file/inside.h"

#include "base/futex.h"
#include "wait/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define LEAST_MS  1 /* that an expired deadline waits for who is just about to go on */
#define FIRST_NAP INT64_C(50000)
#define LAST_NAP  INT64_C(5000000)

int64_t patience_until(struct patience *patience)
{
	if (!patience->known) {
		int64_t least = tine_after(patience->ms > LEAST_MS ? patience->ms
								   : LEAST_MS);

		if (patience->deadline < least)
			patience->deadline = least;
		patience->known = true;
	}
	return patience->deadline;
}

/* -EAGAIN: another process has it. */
static int lock_byte(const struct folder *folder, int byte, short type)
{
	struct flock lock = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1
	};

	while (fcntl(folder->shape.fd, F_SETLK, &lock) != 0)
		if (errno != EINTR)
			return errno == EACCES ? -EAGAIN : -errno;
	return 0;
}

/* Record locks have no deadlines: it looks again. */
int shape_lock(const struct folder *folder, struct patience *patience)
{
	int64_t nap = FIRST_NAP;
	int err;

	while ((err = lock_byte(folder, SHAPE, F_WRLCK)) == -EAGAIN) {
		struct timespec ts = timespec_of(nap);

		if (tine_now() >= patience_until(patience))
			return -ETIMEDOUT;
		/* Bound: at most LAST_NAP, until the caller's deadline. */
		nanosleep(&ts, NULL);
		nap = nap * 2 < LAST_NAP ? nap * 2 : LAST_NAP;
	}
	return err;
}

void shape_unlock(const struct folder *folder)
{
	lock_byte(folder, SHAPE, F_UNLCK);
}

int presence_note(const struct folder *folder, bool *alone)
{
	struct folder_shared *shared = folder->shared;

	*alone = lock_byte(folder, PRESENCE, F_WRLCK) == 0;
	if (*alone) {
		memset(&shared->writing, 0, sizeof(shared->writing));
		memset(&shared->reading, 0, sizeof(shared->reading));
		atomic_store(&shared->died, 0);
	}
	/* Nobody has it for himself who has not the shape's lock. */
	return lock_byte(folder, PRESENCE, F_RDLCK);
}

/* Most find it free, and need no deadline. */
static int acquire(tine_lock *lock, struct patience *patience)
{
	int err = lock_steadily(lock, TINE_NOWAIT);

	/* Bound: the caller's deadline. */
	return err == -ETIMEDOUT ? lock_steadily(lock, patience_until(patience)) : err;
}

static int mend_after_death(struct folder *folder)
{
	struct folder_shared *shared = folder->shared;

	/* Who opens it has no file yet, and mends by itself. */
	if (atomic_load_explicit(&shared->commit, memory_order_relaxed) == 0 ||
	    !folder->first)
		return 0;
	return own_fd_is_open(&folder->data) ? commit_mend(shared, folder->data.fd)
					     : -EBADF;
}

int reading_lock(struct folder *folder, struct patience *patience)
{
	int err = acquire(&folder->shared->reading, patience);

	return err == -EOWNERDEAD ? 0 : err;
}

void reading_unlock(struct folder *folder)
{
	tine_lock_release(&folder->shared->reading);
}

/* With the lock of those who write, who alone change it. */
static bool is_after_death(const struct folder *folder)
{
	return atomic_load_explicit(&folder->shared->died, memory_order_relaxed) != 0;
}

/* After a death, with that of those who read as well, until LMDB knows of the death. */
int writing_lock(struct folder *folder, struct patience *patience)
{
	int err = acquire(&folder->shared->writing, patience);

	if (err == -EOWNERDEAD)
		atomic_store(&folder->shared->died, 1);
	else if (err)
		return err;
	err = is_after_death(folder) ? reading_lock(folder, patience) : 0;
	if (err)
		goto unlock_writing;
	err = mend_after_death(folder);
	if (err)
		writing_unlock(folder);
	return err;

unlock_writing:
	tine_lock_release(&folder->shared->writing);
	return err;
}

void writing_unlock(struct folder *folder)
{
	if (is_after_death(folder))
		reading_unlock(folder);
	tine_lock_release(&folder->shared->writing);
}

int writing_begin(struct folder *folder, MDB_txn **txn)
{
	int rc = lmdb.txn_begin(folder->env, NULL, 0, txn);

	if (!rc && is_after_death(folder)) {
		atomic_store(&folder->shared->died, 0);
		reading_unlock(folder);
	}
	return rc;
}

int readers_check(struct folder *folder)
{
	int dead = 0, err = lock_steadily(&folder->shared->reading, TINE_NOWAIT);

	if (err && err != -EOWNERDEAD)
		return 0;
	lmdb.reader_check(folder->env, &dead);
	reading_unlock(folder);
	return dead;
}
