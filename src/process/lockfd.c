/* SPDX-License-Identifier: MIT */
/*
 * Locks of open file descriptions (F_OFD_SETLK): the kernel lets go of them when the last
 * descriptor of the description is closed, by whatever death. POSIX's own (F_SETLK) end
 * as soon as the process closes any other descriptor of the file, and keep no threads
 * apart. What is amiss with these, as with flock(2), is that a forked child has the
 * description too, and keeps the lock of a parent that has died.
 *
 * So every descriptor is in a list, and a handler of fork() closes them all in the child,
 * whoever forked, which leaves the parent's locks alone. A descriptor is opened and
 * closed under the lock of the list, which a fork takes: no child has one that is not in
 * its list.
 *
 *	dies when it holds a lock	the lock is free, and who sleeps for it has it
 *	dies when it sleeps		nobody misses it
 *	dies when it opens		the file is there, or is not
 *	dies when it has forked		its lock is free once the child has come to the
 *					handler, or has executed its program: before
 *					anything of the caller's runs there
 *
 * clone(2) and _Fork(3) call no handlers: a child of those keeps what it inherits until
 * it executes a program or ends. That of vfork(2) and posix_spawn(3) does the former.
 */
#include "process/lockfd.h"

#include "base/atfork.h"
#include "base/futex.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SHORTEST_NAP INT64_C(50000)
#define USUAL_NAP    INT64_C(1000000)
#define LONGEST_NAP  INT64_C(200000000)

static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, lockfd) files = LIST_HEAD_INITIALIZER(files);

/* ---- forks ------------------------------------------------------------------------- */

static void hold_files(void)
{
	/* Bound: this process's own threads, which hold it while they open a file. */
	pthread_mutex_lock(&files_lock);
}

static void let_files_go(void)
{
	pthread_mutex_unlock(&files_lock);
}

static void close_inherited(void)
{
	struct lockfd *file;

	LIST_FOREACH (file, &files, others) {
		own_fd_close(&file->own);
		file->own.fd = -1;
	}
	LIST_INIT(&files);
	pthread_mutex_unlock(&files_lock);
}

FILL_ATFORK static void fill_lockfd(void)
{
	atfork_fill(ATFORK_LOCKFD, &(struct atfork){ .before = hold_files,
						     .in_parent = let_files_go,
						     .in_child = close_inherited });
}

/* ---- open and close ---------------------------------------------------------------- */

/*
 * Makes it only where it is missing: in a folder like /tmp the kernel refuses O_CREAT for
 * another user's file, whatever its mode (fs.protected_regular). Not where a link points:
 * there another user may want a file of ours.
 */
static int open_or_make(int dirfd, const char *path)
{
	const int flags = O_RDWR | O_CLOEXEC | O_NOCTTY;
	int fd;

	do {
		fd = openat(dirfd, path, flags);
		if (fd < 0 && errno == ENOENT)
			fd = openat(dirfd, path, flags | O_CREAT | O_NOFOLLOW, 0600);
	} while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

static bool is_refusal(int err)
{
	return err == -EACCES || err == -EPERM || err == -EROFS;
}

/* *shared_only: whether it may be so; then whether it is. */
static int open_regular(int dirfd, const char *path, bool *shared_only)
{
	int fd = open_or_make(dirfd, path), err = 0;
	struct stat now;

	*shared_only = *shared_only && is_refusal(fd);
	if (*shared_only) {
		int refused = fd;

		fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		if (fd < 0)
			return refused;
	}
	if (fd < 0)
		return fd;
	if (fstat(fd, &now) != 0)
		err = -errno;
	else if (!S_ISREG(now.st_mode))
		err = -ENODEV;
	if (err)
		close(fd);
	else
		err = fds_raise(&fd, 1);
	return err ? err : fd;
}

static int list_opened(struct lockfd *file, int dirfd, const char *path, bool shared_only)
{
	int fd;

	*file = (struct lockfd){ .own = { .fd = -1 } };
	if (atfork_error())
		return atfork_error();
	/* Bound: this process's own threads, which hold it while they open a file. */
	pthread_mutex_lock(&files_lock);
	fd = open_regular(dirfd, path, &shared_only);
	*file = (struct lockfd){ .own = own_fd(fd), .shared_only = shared_only };
	if (file->own.fd >= 0)
		LIST_INSERT_HEAD(&files, file, others);
	pthread_mutex_unlock(&files_lock);
	return fd < 0 ? fd : 0;
}

int lockfd_open(struct lockfd *file, int dirfd, const char *path)
{
	return list_opened(file, dirfd, path, false);
}

int lockfd_open_to_share(struct lockfd *file, int dirfd, const char *path)
{
	return list_opened(file, dirfd, path, true);
}

void lockfd_close(struct lockfd *file)
{
	if (file->own.fd < 0)
		return;
	/* Bound: this process's own threads, which hold it while they open a file. */
	pthread_mutex_lock(&files_lock);
	LIST_REMOVE(file, others);
	own_fd_close(&file->own);
	*file = (struct lockfd){ .own = { .fd = -1 } };
	pthread_mutex_unlock(&files_lock);
}

/* ---- lock -------------------------------------------------------------------------- */

static int set_lock(const struct lockfd *file, int command, uint64_t byte, short type)
{
	struct flock lock = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1
	};

	if (byte > INT64_MAX)
		return -EINVAL;
	while (fcntl(file->own.fd, command, &lock) != 0)
		if (errno != EINTR)
			return errno == EACCES ? -EAGAIN : -errno;
	return 0;
}

/*
 * None is longer than a 64th of the wait so far, unless it is short anyhow: where others
 * come and go it takes many looks to find the lock free between them.
 */
static int64_t longer_nap(int64_t nap, int64_t waited)
{
	int64_t most = waited / 64 > USUAL_NAP ? waited / 64 : USUAL_NAP;

	most = most < LONGEST_NAP ? most : LONGEST_NAP;
	return 2 * nap < most ? 2 * nap : most;
}

/* There is no fcntl(2) with a timeout: looks again and again. */
int lockfd_acquire(struct lockfd *file, uint64_t byte, bool shared, int64_t deadline)
{
	short type = shared ? F_RDLCK : F_WRLCK;
	int64_t nap = SHORTEST_NAP, begun = 0;

	/* A lock on what is open there now would keep nobody out. */
	if (!own_fd_is_open(&file->own))
		return -EBADF;
	/* A handler with SA_RESTART would not end the call. */
	if (deadline == TINE_FOREVER && !interrupts.end_waits)
		/*
		 * Bound: none, as the caller asks for: until who has it lets go or dies.
		 */
		return set_lock(file, F_OFD_SETLKW, byte, type);
	for (;;) {
		int err = set_lock(file, F_OFD_SETLK, byte, type);
		int64_t now;
		struct timespec until;

		if (err != -EAGAIN)
			return err;
		now = tine_now();
		if (!begun)
			begun = now;
		if (deadline <= now)
			return -ETIMEDOUT;
		if (interrupt_take())
			return -EINTR;
		until = timespec_of(deadline - now > nap ? now + nap : deadline);
		/* Bound: the nap, and the deadline. */
		interrupt_note(
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL));
		nap = longer_nap(nap, now - begun);
	}
}

bool lockfd_is_taken(const struct lockfd *file, uint64_t byte)
{
	struct flock lock = { .l_type = F_RDLCK,
			      .l_whence = SEEK_SET,
			      .l_start = (off_t)byte,
			      .l_len = 1 };

	return fcntl(file->own.fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

int lockfd_release(struct lockfd *file, uint64_t byte)
{
	return set_lock(file, F_OFD_SETLK, byte, F_UNLCK);
}
