/* SPDX-License-Identifier: MIT */
/*
 * What the file of a family's memory begins with, for who joins it, and who only looks.
 */
#ifndef TINE_HEAD_H
#define TINE_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAMILY_MAGIC   UINT64_C(0x796c696d6166656e) /* of the head as it is here */
#define FAMILY_LEAST   ((size_t)1 << 20)	    /* bytes of memory */
#define HEAD_HASH_SEED UINT64_C(14695981039346656037)

struct family_head {
	uint64_t magic, stamp;
	uint64_t id;
	uint64_t place; /* of its members' numbers */
	uint64_t base, span;
	uint64_t sum; /* of all before */
};

uint64_t head_hash(uint64_t hash, const void *bytes, size_t len);
/* What two processes must have in common to understand each other's objects. */
uint64_t head_stamp(void);
uint64_t head_sum(const struct family_head *);
/* Of a file of so many bytes. */
bool head_is_whole(const struct family_head *, uint64_t size);
/* Whether the numbers of processes mean the same there as here. */
bool head_is_of_here(const struct family_head *);

#endif
