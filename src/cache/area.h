/* SPDX-License-Identifier: MIT */
#ifndef TINE_CACHE_AREA_H
#define TINE_CACHE_AREA_H

#include "base/own_fd.h"
#include "cache/format.h"

#include <pthread.h>
#include <stdbool.h>

/* A file that grows, mapped. Stays mapped where it was when it needs more room. */
struct area {
	pthread_mutex_t mutex; /* of the thread that maps it anew */
	struct own_fd own;
	_Atomic(char *) base;
	word size; /* of the file, as far as it is known here to be there */
	uint64_t room;
	struct outgrown {
		struct outgrown *next;
		void *base;
		uint64_t room;
	} * outgrown;
};

/* -EPERM: others can write it, and it is not shared with them. */
int area_open(struct area *, int folder, const char *name, bool shared, uint64_t room);
void area_close(struct area *);
/* Where those bytes are; NULL: the file does not reach so far. */
void *area_at(struct area *, uint64_t offset, uint64_t len);
/* Makes it reach so far: -ENOSPC, or as mmap(2). */
int area_grow(struct area *, uint64_t size);
/* The offset of a word, in whichever mapping it was found; UINT64_MAX: in none. */
uint64_t area_offset(struct area *, const word *where);

#endif
