/* SPDX-License-Identifier: MIT */
/* The files of a folder. */
#ifndef TINE_STORE_FILE_FILES_H
#define TINE_STORE_FILE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

size_t lmdb_page_size(void);
size_t whole_pages(size_t size);
/* LMDB's codes are its own, below -30000, or errno values. */
int lmdb_error(int rc);
/*
 * In a folder. -EBADMSG: no regular file; -ELOOP: a link; -EPERM: not this user's, or
 * others can write to it, unless they are trusted. One that is made is for those who can
 * write to the folder.
 */
int file_open_in(const char *folder, const char *name, int flags, bool with_others);
/* Allocates what is not. A file system that cannot may raise SIGBUS when it is full. */
int file_make_room(int fd, size_t size);
/* LMDB does not tell the descriptor of its lock file. */
int find_lock_fd(const char *folder);

#endif
