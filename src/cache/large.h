/* SPDX-License-Identifier: MIT */
#ifndef TINE_CACHE_LARGE_H
#define TINE_CACHE_LARGE_H

#include "cache/handle.h"
#include "cache/hash.h"

/*
 * The value of a large entry, mapped, and in use until large_release(). -ENOENT: there is
 * no such file, or it is another; -EUCLEAN: its value is damaged.
 */
int large_get(tine_cache *, const struct cache_key *, const struct record *,
	      uint64_t born, const void **val);
/* Whether val was one, that is now released. */
bool large_release(tine_cache *, const void *val);
/* Reads all of it: 0, -ENOENT, -EUCLEAN. */
int large_verify(tine_cache *, const struct record *);
/* A copy of the key, to be freed. */
int large_key(tine_cache *, const struct record *, uint64_t born, void **key);
void large_close_all(tine_cache *);
uint64_t large_size(uint64_t key_len, uint64_t val_len);

/* To write one: begin with the lock, which write is without, and end with the lock. */
struct writing {
	struct lockfd claim;
	unsigned row;
	uint64_t number, size;
	uint64_t born; /* the file's time of change, once it is written */
};
/* With the lock. -EBUSY: others write; let go of it, and try again. */
int large_begin(tine_cache *, struct writing *, uint64_t size);
int large_write(tine_cache *, struct writing *, const struct cache_key *, const void *val,
		uint64_t val_len);
/* With the lock: gives up what writers that died had begun. */
int large_reap(tine_cache *);
/* With the lock: it is part of a change (keep), or not wanted. */
int large_end(tine_cache *, struct writing *, bool keep);
void large_unclaim(struct writing *);

#endif
