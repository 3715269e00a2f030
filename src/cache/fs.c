/* SPDX-License-Identifier: MIT */
/* The cache's folder of large files, and what is removed of it. */
#include "cache/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_name large_name(uint64_t number)
{
	struct file_name name;

	snprintf(name.text, sizeof(name.text), "%016llx", (unsigned long long)number);
	return name;
}

void large_remove(int large, uint64_t number)
{
	unlinkat(large, large_name(number).text, 0);
}

void large_remove_all(int large)
{
	int fd = openat(large, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			unlinkat(large, entry->d_name, 0);
	closedir(dir);
}

bool is_private(const struct stat *now)
{
	return now->st_uid == geteuid() && !(now->st_mode & (S_IWGRP | S_IWOTH));
}

uint64_t file_size(int fd)
{
	struct stat now;

	return fstat(fd, &now) == 0 ? (uint64_t)now.st_size : 0;
}

/*
 * In place, for others have it mapped: the files stay as long as they are, and only their
 * blocks are given back.
 */
void file_give_back(int fd, uint64_t from)
{
	uint64_t size = file_size(fd);

	if (size > from)
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from,
			  size - from);
}
