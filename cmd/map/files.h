/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_FILES_H
#define TINE_MAP_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <tine.h>

/* What is under a name. */
struct file_seen {
	enum file_kind {
		FILE_NONE,
		FILE_REGULAR, /* and what is in it is known */
		FILE_OTHER,   /* a folder, a device: nobody can tell what is in it */
		FILE_HIDDEN,  /* it cannot be read, or changes all the time: error */
	} kind;
	int error;	  /* negative errno, or 0 */
	uint64_t hash[2]; /* XXH3 of 128 bits */
	uint64_t state[7];
	bool fresh; /* it was changed so shortly before that its state may not tell */
};

/* The size is in the state, with device, inode and the times of change. */
enum { FILE_SIZE = 2 };

/*
 * Contents are read once for each state of a file: the cache, which may be NULL, has the
 * hash.
 */
void file_look(tine_cache *, const char *name, struct file_seen *);
/* Whether it is now as it was then. */
bool file_is_same(tine_cache *, const char *name, const struct file_seen *then);

#endif
