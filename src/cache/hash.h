/* SPDX-License-Identifier: MIT */
#ifndef TINE_CACHE_HASH_H
#define TINE_CACHE_HASH_H

#include "cache/format.h"

#include <stddef.h>

/* A key, and what is known of it. */
struct cache_key {
	const void *bytes;
	size_t len;
	int kind;
	uint64_t hash[2];
	uint64_t task;
};

void key_hash(struct cache_key *);
/* XXH3, of 64 bits. */
uint64_t bytes_hash(const void *, size_t len);
uint64_t record_sum(const struct record *, uint64_t value_hash);
/* Nanoseconds since 1970. */
uint64_t cache_now(void);

#endif
