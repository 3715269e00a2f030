/* SPDX-License-Identifier: MIT */
/*
 * A lock on the first byte of a file; what happens on each death is at the head of
 * lockfd.c.
 *
 * Who wants it alone and does not get it at once takes another byte, the gate, for as
 * long as it waits. Who wants to share it looks at the gate first, and waits there while
 * it is taken: so those who share it come to an end. Who is stopped at the gate holds up
 * the others as one that has the lock would.
 *
 * Whoever has waited may have the lock of a file that is no more, while another locks a
 * new one of that name. So the path is looked at once more when the lock is held, and the
 * file that is there now is opened in its place.
 */
#include "process/lockfd.h"

#include "base/deadline.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK UINT64_C(0)
#define GATE (UINT64_C(1) << 62)

struct tine_filelock {
	struct lockfd file[2]; /* one is open, or closed by a fork; the other is not */
	unsigned at;	       /* that one */
	bool held;
	char *path;
};

/* ---- the file of that name --------------------------------------------------------- */

/* The folder may change in which a relative path begins. */
static char *whole_path(const char *path)
{
	char folder[PATH_MAX], *whole;

	if (*path == '/' || !getcwd(folder, sizeof(folder)) || *folder != '/')
		return strdup(path);
	return asprintf(&whole, "%s/%s", folder, path) < 0 ? NULL : whole;
}

/* What cannot be seen counts as there. */
static bool is_current(const tine_filelock *lock)
{
	const struct lockfd *file = &lock->file[lock->at];
	struct stat own, named;

	if (fstat(file->own.fd, &own) == 0 && own.st_nlink == 0)
		return false;
	if (stat(lock->path, &named) != 0)
		return errno != ENOENT && errno != ENOTDIR;
	return named.st_dev == file->own.device && named.st_ino == file->own.inode;
}

static int open_anew(tine_filelock *lock)
{
	struct lockfd *file = lock->file;
	int err = lockfd_open_to_share(&file[!lock->at], AT_FDCWD, lock->path);

	if (err) {
		lockfd_release(&file[lock->at], LOCK);
		return err;
	}
	lockfd_close(&file[lock->at]);
	lock->at = !lock->at;
	return 0;
}

int tine_filelock_open(tine_filelock **out, const char *path)
{
	tine_filelock *lock;
	int err;

	if (!out || !path)
		return -EINVAL;
	lock = calloc(1, sizeof(*lock));
	if (!lock)
		return -ENOMEM;
	lock->file[1].own.fd = -1;
	lock->path = whole_path(path);
	err = lock->path ? lockfd_open_to_share(&lock->file[0], AT_FDCWD, path) : -ENOMEM;
	if (err) {
		free(lock->path);
		free(lock);
		return err;
	}
	*out = lock;
	return 0;
}

/* ---- the lock ---------------------------------------------------------------------- */

static int acquire_to_share(struct lockfd *file, int64_t deadline)
{
	int err = 0;

	if (lockfd_is_taken(file, GATE)) {
		/* Bound: the deadline. */
		err = lockfd_acquire(file, GATE, true, deadline);
		lockfd_release(file, GATE);
	}
	/* Bound: the deadline. */
	return err ? err : lockfd_acquire(file, LOCK, true, deadline);
}

static int acquire_alone(struct lockfd *file, int64_t deadline)
{
	int err = lockfd_acquire(file, LOCK, false, TINE_NOWAIT);

	if (err != -ETIMEDOUT || deadline <= tine_now())
		return err;
	/* Bound: the deadline. */
	err = lockfd_acquire(file, GATE, false, deadline);
	if (err)
		return err;
	/* Bound: the deadline. */
	err = lockfd_acquire(file, LOCK, false, deadline);
	lockfd_release(file, GATE);
	return err;
}

int tine_filelock_acquire(tine_filelock *lock, bool shared, int64_t deadline)
{
	int err;

	if (!lock || is_no_deadline(deadline))
		return -EINVAL;
	if (lock->file[lock->at].own.fd < 0)
		return -EPERM;
	/* To the kernel it would be a change of the lock that there is. */
	if (lock->held)
		return -EDEADLK;
	do {
		struct lockfd *file = &lock->file[lock->at];

		if (!shared && file->shared_only)
			return -EACCES;
		err = shared ? acquire_to_share(file, deadline)
			     : acquire_alone(file, deadline);
		if (err)
			return err;
		lock->held = is_current(lock);
		if (!lock->held)
			err = open_anew(lock);
	} while (!err && !lock->held);
	return err;
}

int tine_filelock_release(tine_filelock *lock)
{
	bool current;
	int err;

	if (!lock)
		return -EINVAL;
	if (lock->file[lock->at].own.fd < 0 || !lock->held)
		return -EPERM;
	if (!own_fd_is_open(&lock->file[lock->at].own)) {
		lock->held = false;
		return -EBADF;
	}
	current = is_current(lock);
	err = lockfd_release(&lock->file[lock->at], LOCK);
	lock->held = err != 0;
	return err ? err : current ? 0 : -ESTALE;
}

void tine_filelock_free(tine_filelock *lock)
{
	if (!lock)
		return;
	lockfd_close(&lock->file[lock->at]);
	free(lock->path);
	free(lock);
}
