/* SPDX-License-Identifier: MIT */
#ifndef TINE_CACHE_CACHE_H
#define TINE_CACHE_CACHE_H

#include "cache/handle.h"
#include "cache/hash.h"

/* What an entry has, as found or as it is to be kept. */
struct content {
	const void *val;
	size_t len;
	int status;
	int64_t age_ms; /* to be kept: after which it is not found; 0: no limit */
};

/*
 * 0, and to be released; -ENOENT; -ETIMEDOUT: it may be there, for a process keeps the
 * lock until the deadline, or for HELP_MS; an error. A damaged entry is dropped.
 */
int cache_find(tine_cache *, const struct cache_key *, struct content *,
	       int64_t deadline);
/* Copies a small value out: -EUCLEAN: it is not what the checksum says. */
int small_read(tine_cache *, const struct cache_key *, uint64_t place,
	       const struct record *, struct content *);
/* -ETIMEDOUT: it is not kept, for others have the lock. */
int cache_keep(tine_cache *, const struct cache_key *, const struct content *,
	       int64_t deadline);
/* Key and value of a caller's own: as tine_cache_get(). */
int cache_get(tine_cache *, const struct cache_key *, const void **val, size_t *val_len,
	      int64_t deadline);
/* With the lock: the slot that has the key's hash. As good as the key: 128 bits. */
struct slot *slot_of(tine_cache *, const struct cache_key *);

#endif
