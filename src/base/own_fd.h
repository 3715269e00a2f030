/* SPDX-License-Identifier: MIT */
#ifndef TINE_OWN_FD_H
#define TINE_OWN_FD_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * A descriptor and what it was: a program may close it, by closefrom(3), and have another
 * of the number. Only what it was is used, and closed.
 */
struct own_fd {
	int fd; /* -1: none */
	dev_t device;
	ino_t inode; /* a socket's is its own; of pidfds see is_pidfd_of() */
};

/*
 * Moves descriptors that were just made above the standard ones: a program may have
 * closed those, and print all the same, or open files in their place. 0; else all are
 * closed.
 */
int fds_raise(int *fds, int n);

/* What is open there; -1: none. */
struct own_fd own_fd(int fd);
bool own_fd_is_open(const struct own_fd *);
/* The descriptor while it is; else -1, which is -EBADF in any call. */
int own_fd_use(const struct own_fd *);
void own_fd_close(const struct own_fd *);

#endif
