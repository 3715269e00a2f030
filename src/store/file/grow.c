/* SPDX-License-Identifier: MIT */
#include "store/file/inside.h"

#include "base/futex.h"
#include "base/libc.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define DOUBLES ((size_t)64 << 20) /* up to there; then half as much again */

/*
 * The old map is gone before LMDB asks for the new one, and if that failed nothing could
 * be done any more: so it is tried out before.
 */
static int map_again(struct folder *folder, size_t size)
{
	void *trial = mmap(NULL, size, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int rc;

	if (trial == MAP_FAILED)
		return -ENOMEM;
	munmap(trial, size);
	rc = lmdb.env_set_mapsize(folder->env, size);
	if (rc)
		return folder->broken = lmdb_error(rc);
	folder_note_map(folder);
	return 0;
}

/* With the gate shut and the shape's lock. dead: readers who hold no pages any more. */
static int resize(struct folder *folder, size_t had, size_t need, int dead)
{
	size_t size;
	struct stat now;
	int err;

	/* Another thread has done it. */
	if (folder->broken || atomic_load(&folder->map_len) != had)
		return folder->broken;
	if (!own_fd_is_open(&folder->data))
		return -EBADF;
	if (fstat(folder->data.fd, &now) != 0)
		return -errno;
	size = whole_pages((size_t)now.st_size);
	if (size > had)
		return map_again(folder, size);
	/* There are pages beyond the file's end. */
	if (need == 0)
		return -EBADMSG;
	if (dead > 0)
		return 0;
	size = had < DOUBLES ? had * 2 : whole_pages(had + had / 2);
	if (size < had + need)
		size = whole_pages(had + need + FIRST_SIZE);
	err = file_make_room(folder->data.fd, size);
	return err ? err : map_again(folder, size);
}

int folder_grow(struct folder *folder, size_t had, size_t need, struct patience *patience)
{
	struct timespec until = timespec_of(patience_until(patience));
	int err, dead;

	/* Bound: the caller's deadline. */
	err = pthread_mutex_clocklock(&folder->growing, CLOCK_MONOTONIC, &until);
	if (err)
		return -err;
	err = own_fd_is_open(&folder->shape) ? shape_lock(folder, patience) : -EBADF;
	if (err)
		goto unlock_growing;
	dead = need > 0 ? readers_check(folder) : 0;
	/* Bound: transactions of this process, in which nobody waits for others. */
	pthread_rwlock_wrlock(&folder->gate);
	err = resize(folder, had, need, dead);
	pthread_rwlock_unlock(&folder->gate);
	shape_unlock(folder);
unlock_growing:
	pthread_mutex_unlock(&folder->growing);
	return err;
}
