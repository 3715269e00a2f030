/* SPDX-License-Identifier: MIT */
/* The locks between those who use a folder. */
#include "store/file/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* Bytes of tine.wake that are locked. */
enum { SHAPE, PRESENCE };

static int lock_byte(const struct folder *folder, int byte, short type, bool wait)
{
	struct flock lock = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1
	};

	while (fcntl(folder->shape.fd, wait ? F_SETLKW : F_SETLK, &lock) != 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int shape_lock(const struct folder *folder, short type)
{
	return lock_byte(folder, SHAPE, type, true);
}

/*
 * Shared by all who have the folder open. With the shape's lock. Nobody else has it: then
 * nobody holds the lock of those who write, unless the machine stopped while he did.
 */
int shape_enter(const struct folder *folder)
{
	if (lock_byte(folder, PRESENCE, F_WRLCK, false) == 0)
		memset(&folder->shared->writing, 0, sizeof(folder->shared->writing));
	return lock_byte(folder, PRESENCE, F_RDLCK, true);
}

int writing_lock(struct folder *folder, int fd)
{
	int err = tine_lock_acquire(&folder->shared->writing, TINE_FOREVER);

	if (err && err != -EOWNERDEAD)
		return err;
	if (atomic_load_explicit(&folder->shared->commit, memory_order_relaxed) == 0)
		return 0;
	err = commit_mend(folder->shared, fd);
	if (err)
		tine_lock_release(&folder->shared->writing);
	return err;
}

void writing_unlock(struct folder *folder)
{
	tine_lock_release(&folder->shared->writing);
}
