/* SPDX-License-Identifier: MIT */
/*
 * A lock on the first byte of a file; what happens on each death is at the head of
 * lockfd.c. The file is never removed: who has it open would hold a lock on a file that
 * is no more, while another locks a new one of that name.
 */
#include "process/lockfd.h"

#include "base/deadline.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

struct tine_filelock {
	struct lockfd file;
	bool held;
};

int tine_filelock_open(tine_filelock **out, const char *path)
{
	tine_filelock *lock;
	int err;

	if (!out || !path)
		return -EINVAL;
	lock = calloc(1, sizeof(*lock));
	if (!lock)
		return -ENOMEM;
	err = lockfd_open(&lock->file, AT_FDCWD, path);
	if (err) {
		free(lock);
		return err;
	}
	*out = lock;
	return 0;
}

int tine_filelock_acquire(tine_filelock *lock, bool shared, int64_t deadline)
{
	int err;

	if (!lock || is_no_deadline(deadline))
		return -EINVAL;
	if (lock->file.fd < 0)
		return -EPERM;
	/* To the kernel it would be a change of the lock that there is. */
	if (lock->held)
		return -EDEADLK;
	err = lockfd_acquire(&lock->file, 0, shared, deadline);
	lock->held = err == 0;
	return err;
}

int tine_filelock_release(tine_filelock *lock)
{
	int err;

	if (!lock)
		return -EINVAL;
	if (lock->file.fd < 0 || !lock->held)
		return -EPERM;
	err = lockfd_release(&lock->file, 0);
	lock->held = err != 0;
	return err;
}

void tine_filelock_free(tine_filelock *lock)
{
	if (!lock)
		return;
	lockfd_close(&lock->file);
	free(lock);
}
