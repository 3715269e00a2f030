/* SPDX-License-Identifier: MIT */
/* What a process has of a folder. */
#ifndef TINE_STORE_FILE_INSIDE_H
#define TINE_STORE_FILE_INSIDE_H

#include "store/file/files.h"
#include "store/file/folder.h"

#include <pthread.h>
#include <sys/stat.h>

struct folder {
	struct folder *next;
	dev_t device;
	ino_t inode;
	unsigned refs;
	uint32_t generation;
	MDB_env *env;
	MDB_dbi dbi;
	struct folder_shared *shared;
	struct own_fd shape, lock;
	struct own_fd data; /* LMDB's own */
	pthread_rwlock_t gate;
	const char *first; /* two pages of the file: LMDB does not tell its map */
	_Atomic size_t map_len;
	int broken; /* an error that this process cannot recover from */
	char path[];
};

/* ---- locks.c ----------------------------------------------------------------------- */

/* Held while the data file is mapped, opened or closed. */
int shape_lock(const struct folder *, short type);
/*
 * Shared by all who have the folder open. With the shape's lock. Nobody else has it: then
 * nobody holds the lock of those who write, unless the machine stopped while he did.
 */
int shape_enter(const struct folder *);
/* Whoever died while he held it: all is as it should be, but for a note of commit.c's. */
int writing_lock(struct folder *, int fd);
void writing_unlock(struct folder *);

/* ---- commit.c ---------------------------------------------------------------------- */

/* With the lock of those who write. */
int commit_mend(struct folder_shared *, int fd);
int commit_noted(struct folder *, MDB_txn *);

/* ---- make.c ------------------------------------------------------------------------ */

int folder_make(struct folder **out, const char *path, const struct stat *id,
		uint32_t generation);
void folder_note_map(struct folder *);
void folder_unmap_first(struct folder *);

/* ---- folder.c ---------------------------------------------------------------------- */

/* Before a call uses the folder. */
int folder_attach(struct folder_handle *);

/* ---- grow.c ------------------------------------------------------------------------ */

/* had: the map that was too small. need 0: others have grown it. */
int folder_grow(struct folder *, size_t had, size_t need);

#endif
