/* SPDX-License-Identifier: MIT */
/* What a process has of a folder. */
#ifndef TINE_STORE_FILE_INSIDE_H
#define TINE_STORE_FILE_INSIDE_H

#include "base/own_fd.h"
#include "store/file/files.h"
#include "store/file/folder.h"

#include <pthread.h>
#include <sys/stat.h>

/* Of the first map, and of the file. */
#define FIRST_SIZE ((size_t)1 << 20)

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
	struct own_fd data;	 /* LMDB's own */
	pthread_mutex_t growing; /* keeps threads apart, as the shape's lock processes */
	pthread_rwlock_t gate;
	const char *first; /* two pages of the file: LMDB does not tell its map */
	_Atomic size_t map_len;
	bool with_others;
	int broken; /* an error that this process cannot recover from */
	char path[];
};

/* ---- locks.c ----------------------------------------------------------------------- */

int64_t patience_until(struct patience *);
/* Held while the data file is made, mapped or opened. */
int shape_lock(const struct folder *, struct patience *);
void shape_unlock(const struct folder *);
/* With the shape's lock. alone: nobody else has the folder open. */
int presence_note(const struct folder *, bool *alone);
/* -ETIMEDOUT: somebody holds it all the while. */
int writing_lock(struct folder *, struct patience *);
void writing_unlock(struct folder *);
/* With that lock: begins LMDB's transaction, without waiting for its lock. */
int writing_begin(struct folder *, MDB_txn **);
int reading_lock(struct folder *, struct patience *);
void reading_unlock(struct folder *);
/* Gives back the slots of dead readers, if nobody is about to take one: how many. */
int readers_check(struct folder *);

/* ---- commit.c ---------------------------------------------------------------------- */

/* With the lock of those who write. */
int commit_mend(struct folder_shared *, int fd);
int commit_noted(struct folder *, MDB_txn *);

/* ---- check.c ----------------------------------------------------------------------- */

/* 0; -EBADMSG: it is not what LMDB leaves. While nobody writes. */
int check_whole(int fd, size_t size);

/* ---- make.c ------------------------------------------------------------------------ */

int folder_make(struct folder **out, const char *path, bool with_others,
		const struct stat *id, uint32_t generation, struct patience *);
void folder_note_map(struct folder *);
void folder_unmap_first(struct folder *);

/* ---- folder.c ---------------------------------------------------------------------- */

/* Before a call uses the folder. */
int folder_attach(struct folder_handle *, struct patience *);

/* ---- grow.c ------------------------------------------------------------------------ */

/* had: the map that was too small. need 0: others have grown it. */
int folder_grow(struct folder *, size_t had, size_t need, struct patience *);

#endif
