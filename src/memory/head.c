/* SPDX-License-Identifier: MIT */
#include "memory/head.h"

#include "base/export.h"
#include "base/family.h"
#include "base/place.h"
#include "stamp.h"

#include <string.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

uint64_t head_hash(uint64_t hash, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(1099511628211);
	return hash;
}

uint64_t head_stamp(void)
{
	static const char version[] = TINE_VERSION, sources[] = STAMP;
	size_t pointer = sizeof(void *);
	uint64_t hash = HEAD_HASH_SEED;

	hash = head_hash(hash, version, sizeof(version));
	hash = head_hash(hash, sources, sizeof(sources));
	hash = head_hash(hash, &pointer, sizeof(pointer));
#ifdef __GLIBC__
	hash = head_hash(hash, gnu_get_libc_version(), strlen(gnu_get_libc_version()));
#endif
	return hash;
}

uint64_t head_sum(const struct family_head *head)
{
	return head_hash(HEAD_HASH_SEED, head, offsetof(struct family_head, sum));
}

bool head_is_whole(const struct family_head *head, uint64_t size)
{
	return head->sum == head_sum(head) && head->span >= FAMILY_LEAST &&
	       head->span == size && head->base % sysconf(_SC_PAGESIZE) == 0 &&
	       head->base > FAMILY_PAGE && head->span <= SIZE_MAX - head->base;
}

bool head_is_of_here(const struct family_head *head)
{
	struct place there = place_unpacked(head->place), here = place_here();

	return !there.namespace || !here.namespace || there.namespace == here.namespace;
}
