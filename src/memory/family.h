/* SPDX-License-Identifier: MIT */
#ifndef TINE_FAMILY_H
#define TINE_FAMILY_H

#include "base/export.h"

#include <stdatomic.h>

/*
 * What this process knows of its family. It lies right before the family's memory, in a
 * page of the process's own, which a fork copies: one pointer publishes all of it.
 */
struct family {
	uint64_t id;
	size_t span; /* of the memory, its head included */
	int fd;	     /* unless the program has closed it */
	dev_t device;
	ino_t inode; /* of the descriptor, by which it is told */
};

/* Pages of up to this size: what comes first in the memory, and before it. */
#define FAMILY_PAGE ((size_t)64 << 10)

/* NULL: this process has no family yet. Only what is in this file reads it. */
extern struct family *_Atomic the_family;

/* This process's family, or NULL. */
static inline struct family *family_known(void)
{
	/* Acquire: what it points to is there. */
	return atomic_load_explicit(&the_family, memory_order_acquire);
}

/* Where its memory begins, at one address in all members. */
static inline char *family_base(const struct family *family)
{
	return (char *)family + FAMILY_PAGE;
}

/* What lies there behind the head: family_room() bytes, zeroed, for who begins it. */
static inline void *family_memory(const struct family *family)
{
	return family_base(family) + FAMILY_PAGE;
}

static inline size_t family_room(const struct family *family)
{
	return family->span - FAMILY_PAGE;
}

/* Whether it lies in this process's family's memory; for each call, and so no more. */
static inline bool family_holds(const void *mem)
{
	const struct family *family = family_known();

	return family && (uintptr_t)mem - (uintptr_t)family_base(family) < family->span;
}

/*
 * This process's family, which is made if there is none: begin() writes what others are
 * to find in its memory. NULL: no memory, or begin() returned another value than 0.
 */
struct family *family_have(int (*begin)(void *mem, size_t len));

/* Its descriptor, or -EBADF: somebody has closed it. */
int family_fd(const struct family *);

/* The variable that tells a program the number of such a descriptor, and whose it is. */
#define FAMILY_VARIABLE	  "TINE_FAMILY"
#define FAMILY_GIVEN	  "%d:%016llx"
#define FAMILY_GIVEN_SIZE 32

#endif
