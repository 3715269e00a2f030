/* SPDX-License-Identifier: MIT */
#ifndef TINE_CACHE_SLOTS_H
#define TINE_CACHE_SLOTS_H

#include "cache/handle.h"

struct slot *slot_at(tine_cache *, uint64_t index); /* NULL: there is none */
uint64_t slot_index(tine_cache *, const struct slot *);
/* The bucket of a hash, of so many. */
uint64_t slot_bucket(uint64_t hash, uint64_t n);
/*
 * Walks the chain of the hash: the slot after that one (NULL: the first) that has the
 * hash; NULL: no more. steps counts down, from CHAIN, against circles.
 */
struct slot *chain_find(tine_cache *, const uint64_t hash[2], struct slot *after,
			unsigned *steps);
#define CHAIN 4096
/* With the lock: a slot for the hash, linked; its record is yet to be written. */
int slot_take(tine_cache *, const uint64_t hash[2], uint64_t *index);
/*
 * With the lock: unlinks the slot of an entry, and dooms its file: only one for each
 * commit_changes().
 */
int slot_drop(tine_cache *, uint64_t index);

#endif
