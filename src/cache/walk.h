/* SPDX-License-Identifier: MIT */
#ifndef TINE_CACHE_WALK_H
#define TINE_CACHE_WALK_H

#include "cache/handle.h"

/* A copy of an entry, made with the lock. */
struct copy {
	struct record record;
	uint64_t place, born, used;
	char *key; /* to be freed; NULL: it is in the file */
};

/*
 * With the lock, here and below. The slot, if there is an entry in it: with every lock
 * there may be fewer than before, and what is beyond them is old.
 */
struct slot *used_slot(tine_cache *, uint64_t index);
/* 0, -ENOENT: the slot is free; -EUCLEAN: its entry is damaged. */
int copy_entry(tine_cache *, uint64_t index, struct copy *);
int drop_entry(tine_cache *, uint64_t index);

#endif
