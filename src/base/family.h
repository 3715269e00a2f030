/* SPDX-License-Identifier: MIT */
/*
 * What this process knows of its family: who it is, and where its memory lies. It is made
 * and joined in memory/family.c.
 */
#ifndef TINE_BASE_FAMILY_H
#define TINE_BASE_FAMILY_H

#include "base/own_fd.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * It lies right before the family's memory, in a page of the process's own, which a fork
 * copies: one pointer publishes all of it.
 */
struct family {
	uint64_t id;
	size_t span;	   /* of the memory, its head included */
	struct own_fd own; /* the program may have closed it */
};

/* Pages of up to this size: what comes first in the memory, and before it. */
#define FAMILY_PAGE ((size_t)64 << 10)

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

/*
 * Where families have their memory, in processes of 47 bits of addresses and more: far
 * from programs, heaps, libraries and stacks, and from what sanitizers keep. Nothing else
 * is there, unless a program asks for it. Each has a place of its own, and no two places
 * the same high bits.
 */
#define FAMILIES_FROM UINT64_C(0x310000000000)
#define FAMILIES      120
#define FAMILY_BITS   37

/* For the calls that are made often: the rest is asked where this is false. */
static inline bool is_near_family(const void *mem)
{
	/* Relaxed: it is only compared. */
	uint64_t own = (uintptr_t)atomic_load_explicit(&the_family, memory_order_relaxed);

	return __builtin_expect(((uintptr_t)mem ^ own) >> FAMILY_BITS == 0, 1);
}

/* Whether it lies in this process's family's memory. */
bool is_in_family(const void *mem);
/* Whether it lies where others have theirs. */
bool is_in_another(const void *mem);

/* Whether an object is another family's, as far as its address can say. */
static inline bool is_foreign(const void *object)
{
	return !is_near_family(object) && is_in_another(object);
}

#endif
