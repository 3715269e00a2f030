/* SPDX-License-Identifier: MIT */
/*
 * Locks on bytes of files, between processes that need not be related, and between
 * threads. The protocol is at the head of lockfd.c.
 */
#ifndef TINE_LOCKFD_H
#define TINE_LOCKFD_H

#include "base/export.h"
#include "base/own_fd.h"

#include <sys/queue.h>

/*
 * An open file, whose locks are its own: whatever else this process opens and closes, and
 * whatever it forks. Used by one thread at a time; stays where it is while it is open.
 */
struct lockfd {
	struct own_fd
		own;	  /* -1: not open, or inherited from the process that opened it */
	bool shared_only; /* it may only be read */
	LIST_ENTRY(lockfd) others; /* of this process */
};

/*
 * Opens the file, as openat(2), and makes it, with mode 0600 and the umask, where there
 * is none; a symbolic link is followed, but to no file is -ELOOP. For reading and
 * writing, CLOEXEC. -ENODEV: no regular file; else as open(2). On failure it is as
 * closed.
 */
int lockfd_open(struct lockfd *, int dirfd, const char *path);
/* The same; where it may not be written, for reading, and so for shared locks alone. */
int lockfd_open_to_share(struct lockfd *, int dirfd, const char *path);
/*
 * Locks one byte, which need not be there. Where this lockfd holds it in the other mode,
 * it changes that, and holds it while it waits: two that do so wait for each other. 0;
 * -ETIMEDOUT; -EINTR; -EBADF: not open, inherited, or closed by other code; -EINVAL: byte
 * is over INT64_MAX, or the system has no such locks; -ENOLCK.
 */
int lockfd_acquire(struct lockfd *, uint64_t byte, bool shared, int64_t deadline);
/* Whether another has the byte for itself. */
bool lockfd_is_taken(const struct lockfd *, uint64_t byte);
/* 0, also when it was not held; -EBADF; -ENOLCK. */
int lockfd_release(struct lockfd *, uint64_t byte);
/* Lets go of every byte. What was inherited, or failed to open, is closed already. */
void lockfd_close(struct lockfd *);

#endif
