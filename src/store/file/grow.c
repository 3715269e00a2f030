/* SPDX-License-Identifier: MIT */
#include "store/file/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define FIRST_SIZE ((size_t)1 << 20)
#define DOUBLES	   ((size_t)64 << 20) /* up to there; then half as much again */

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
	rc = mdb_env_set_mapsize(folder->env, size);
	if (rc)
		return folder->broken = lmdb_error(rc);
	folder_note_map(folder);
	return 0;
}

/* With the gate shut and the lock. */
static int resize(struct folder *folder, size_t had, size_t need)
{
	size_t size;
	struct stat now;
	int err, dead = 0;

	/* Another thread has done it. */
	if (folder->broken || atomic_load(&folder->map_len) != had)
		return folder->broken;
	if (fstat(folder->data.fd, &now) != 0)
		return -errno;
	size = whole_pages((size_t)now.st_size);
	if (size > had)
		return map_again(folder, size);
	/* There are pages beyond the file's end. */
	if (need == 0)
		return -EBADMSG;
	mdb_reader_check(folder->env, &dead);
	if (dead > 0)
		return 0;
	size = had < DOUBLES ? had * 2 : whole_pages(had + had / 2);
	if (size < had + need)
		size = whole_pages(had + need + FIRST_SIZE);
	err = file_make_room(folder->data.fd, size);
	return err ? err : map_again(folder, size);
}

int folder_grow(struct folder *folder, size_t had, size_t need)
{
	int err;

	pthread_rwlock_wrlock(&folder->gate);
	err = shape_lock(folder, F_WRLCK);
	if (!err) {
		err = resize(folder, had, need);
		shape_lock(folder, F_UNLCK);
	}
	pthread_rwlock_unlock(&folder->gate);
	return err;
}
