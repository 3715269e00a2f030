/* SPDX-License-Identifier: MIT */
/*
 * The memory of a family as a stranger sees it: by pread(2) of the file, at the addresses
 * that its members have for it. So no page of it is committed by a look, nothing of it is
 * written, no signal can come of it, and what has been read does not change any more.
 * Whatever is in it may be half written, or wrong: each address is checked.
 */
#ifndef TINE_INSPECT_MEMORY_H
#define TINE_INSPECT_MEMORY_H

#include "memory/head.h"

#include <sys/stat.h>
#include <sys/types.h>

struct memory {
	int fd;
	dev_t device;
	ino_t inode;
	struct family_head head;
	struct heap *heap;   /* as it was */
	const void *members; /* where their table is; NULL: there is none */
	const char *lock;    /* where the lock of its allocator is */
	size_t used;	     /* bytes in blocks */
};

/*
 * Of the process's family. -ESRCH; -EACCES: it may not be looked at; -ENOENT: it has
 * none, or has closed its descriptor; -EPROTO: of another version of tine; -ENOTSUP:
 * of another PID namespace; -EBADMSG: it is damaged.
 */
int memory_open(struct memory *, pid_t);
void memory_close(struct memory *);

/* The same of an open file, which is closed with it. */
int memory_of(struct memory *, int fd);

/* Where a part of an object is that may be at no address that there is. */
static inline const void *part_of(const void *object, uint64_t offset)
{
	return (const void *)((uintptr_t)object + offset);
}

/* False: not all of it is in the memory. */
bool memory_read(const struct memory *, const void *at, void *into, size_t len);

/* Each block in use. False: what says where they are is damaged, or was just changed. */
typedef void block_fn(void *arg, const char *at, size_t size);
bool memory_blocks(const struct memory *, block_fn *, void *arg);

#endif
