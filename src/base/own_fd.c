/* SPDX-License-Identifier: MIT */
#include "base/own_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int fds_raise(int *fds, int n)
{
	int err = 0;

	for (int i = 0; i < n; i++) {
		int low = fds[i];

		if (low > STDERR_FILENO)
			continue;
		fds[i] = fcntl(low, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		if (fds[i] < 0)
			err = -errno;
		close(low);
	}
	for (int i = 0; err && i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return err;
}

struct own_fd own_fd(int fd)
{
	struct stat is;

	return fd >= 0 && fstat(fd, &is) == 0
		       ? (struct own_fd){ fd, is.st_dev, is.st_ino }
		       : (struct own_fd){ .fd = -1 };
}

bool own_fd_is_open(const struct own_fd *own)
{
	struct stat is;

	return own->fd >= 0 && fstat(own->fd, &is) == 0 && is.st_dev == own->device &&
	       is.st_ino == own->inode;
}

int own_fd_use(const struct own_fd *own)
{
	return own_fd_is_open(own) ? own->fd : -1;
}

void own_fd_close(const struct own_fd *own)
{
	if (own_fd_is_open(own))
		close(own->fd);
}
