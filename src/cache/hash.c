/* SPDX-License-Identifier: MIT */
#include "cache/hash.h"

#include <stddef.h>
#include <time.h>
/* The header alone: no library to install where tine runs. */
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t cache_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

uint64_t bytes_hash(const void *bytes, size_t len)
{
	return XXH3_64bits(bytes, len);
}

uint64_t record_sum(const struct record *record, uint64_t value_hash)
{
	return XXH3_64bits(record->hash, offsetof(struct record, slot) -
						 offsetof(struct record, hash)) +
	       value_hash * UINT64_C(0x9e3779b97f4a7c15);
}

void key_hash(struct cache_key *key)
{
	XXH128_hash_t hash = XXH3_128bits(key->bytes, key->len);

	/* The two kinds of keys are apart. */
	key->hash[0] = hash.low64 ^ (uint64_t)key->kind;
	key->hash[1] = hash.high64;
}
