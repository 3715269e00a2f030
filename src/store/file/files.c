/* SPDX-License-Identifier: MIT */
#include "store/file/files.h"

#include "base/limits.h"
#include "base/own_fd.h"
#include "base/trust.h"
#include "store/file/lmdb.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int lmdb_error(int rc)
{
	switch (rc) {
	case MDB_MAP_FULL:
	case EFBIG:
		return -ENOSPC;
	case MDB_TXN_FULL:
	case MDB_CURSOR_FULL:
		return -ENOMEM;
	case MDB_READERS_FULL:
		return -EMFILE;
	default:
		return rc > 0 ? -rc : rc < -30000 ? -EBADMSG : rc;
	}
}

size_t lmdb_page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

size_t whole_pages(size_t size)
{
	return size / lmdb_page_size() * lmdb_page_size();
}

static int path_in(char **out, const char *folder, const char *name)
{
	return asprintf(out, "%s/%s", folder, name) < 0 ? -ENOMEM : 0;
}

static int check_file(int fd, bool with_others)
{
	struct stat now;

	if (fstat(fd, &now) != 0)
		return -errno;
	if (!S_ISREG(now.st_mode))
		return -EBADMSG;
	return with_others ? 0 : check_trust(&now);
}

/* For those who can write to the folder, where they are trusted. */
static int open_to_others(int fd, const char *folder)
{
	struct stat now;

	if (stat(folder, &now) != 0 || fchmod(fd, 0600 | (now.st_mode & 0066)) != 0)
		return -errno;
	return 0;
}

int file_open_in(const char *folder, const char *name, int flags, bool with_others)
{
	const int always = O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK;
	char *path;
	int fd, err = path_in(&path, folder, name);

	if (err)
		return err;
	/* Where others may write, O_CREAT of what is there can be refused. */
	fd = open(path, (flags & ~O_CREAT) | always);
	if (fd < 0 && errno == ENOENT && flags & O_CREAT) {
		fd = open(path, flags | always, 0600);
		if (fd >= 0 && with_others)
			err = open_to_others(fd, folder);
	}
	err = fd < 0 ? -errno : err ? err : check_file(fd, with_others);
	free(path);
	if (!err)
		err = fds_raise(&fd, 1);
	else if (fd >= 0)
		close(fd);
	return err ? err : fd;
}

int file_make_room(int fd, size_t size)
{
	struct stat now;
	int err;

	if (fstat(fd, &now) != 0)
		return -errno;
	if (now.st_size >= (off_t)size && now.st_blocks * 512 >= (off_t)size)
		return 0;
	if (!file_may_reach(size))
		return -ENOSPC;
	do
		err = fallocate(fd, 0, 0, (off_t)size) == 0 ? 0 : errno;
	while (err == EINTR);
	if (err == EOPNOTSUPP)
		err = now.st_size >= (off_t)size || ftruncate(fd, (off_t)size) == 0
			      ? 0
			      : errno;
	return lmdb_error(err);
}

int find_lock_fd(const char *folder)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	struct stat lock, other;
	char *path;
	int found = -1;

	if (!dir)
		return -1;
	if (path_in(&path, folder, "lock.mdb") == 0) {
		if (stat(path, &lock) == 0)
			while (found < 0 && (entry = readdir(dir))) {
				int fd = atoi(entry->d_name);

				if (*entry->d_name != '.' && fstat(fd, &other) == 0 &&
				    other.st_dev == lock.st_dev &&
				    other.st_ino == lock.st_ino)
					found = fd;
			}
		free(path);
	}
	closedir(dir);
	return found;
}
