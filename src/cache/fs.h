/* SPDX-License-Identifier: MIT */
#ifndef TINE_CACHE_FS_H
#define TINE_CACHE_FS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct file_name {
	char text[24];
};

struct file_name large_name(uint64_t number);
void large_remove(int large, uint64_t number);
/* A process that is writing one finds its row gone, and removes it. */
void large_remove_all(int large);

/* Whether nobody but this user can write it. */
bool is_private(const struct stat *);
uint64_t file_size(int fd);
/* Gives back blocks from there on; the file stays as long, for others have it mapped. */
void file_give_back(int fd, uint64_t from);

#endif
