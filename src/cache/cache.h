/* SPDX-License-Identifier: MIT */
#ifndef TINE_CACHE_CACHE_H
#define TINE_CACHE_CACHE_H

#include "cache/handle.h"
#include "cache/hash.h"

/* The value of an entry, as found. */
struct found {
	const void *val;
	size_t len;
	int status;
};

/*
 * 0, and to be released; -ENOENT; an error. A damaged entry is dropped. Beside a process
 * that keeps the lock until the deadline, or for HELP_MS, it may be not found.
 */
int cache_find(tine_cache *, const struct cache_key *, struct found *, int64_t deadline);
/* Copies a small value out: -EUCLEAN: it is not what the checksum says. */
int small_read(tine_cache *, const struct cache_key *, uint64_t place,
	       const struct record *, struct found *);
/* -ETIMEDOUT: it is not kept, for others have the lock. */
int cache_keep(tine_cache *, const struct cache_key *, const void *val, size_t val_len,
	       int status, int64_t deadline);

#endif
