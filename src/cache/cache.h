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

/* 0, and to be released; -ENOENT; an error. A damaged entry is dropped. */
int cache_find(tine_cache *, const struct cache_key *, struct found *);
/* Copies a small value out: -EUCLEAN: it is not what the checksum says. */
int small_read(tine_cache *, const struct cache_key *, uint64_t place,
	       const struct record *, struct found *);
int cache_keep(tine_cache *, const struct cache_key *, const void *val, size_t val_len,
	       int status);

#endif
