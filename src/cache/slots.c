/* SPDX-License-Identifier: MIT */
/* The cache's slots: a table of hashes that grows by one at a time. */
#include "cache/slots.h"

#include "cache/undo.h"

#include <errno.h>
#include <fcntl.h>

struct slot *slot_at(tine_cache *cache, uint64_t index)
{
	return index > UINT32_MAX
		       ? NULL
		       : area_at(&cache->index, HEADER_SIZE + index * sizeof(struct slot),
				 sizeof(struct slot));
}

uint64_t slot_index(tine_cache *cache, const struct slot *slot)
{
	return (area_offset(&cache->index, slot->hash) - HEADER_SIZE) / sizeof(*slot);
}

/*
 * Linear hashing: of n buckets, each new one takes its part of one that there was, so
 * that the table grows with the slots, by one at a time. Litwin: Linear Hashing (VLDB
 * 1980).
 */
uint64_t slot_bucket(uint64_t hash, uint64_t n)
{
	uint64_t mask = n < 2 ? 0 : (UINT64_C(2) << (63 - __builtin_clzll(n - 1))) - 1;
	uint64_t bucket = hash & mask;

	return bucket < n ? bucket : bucket & mask >> 1;
}

static int link_next(tine_cache *cache, struct slot *slot, uint64_t next)
{
	return change_word(cache, &slot->links,
			   next << 32 | low_half(get_word(slot->links)));
}

static int link_head(tine_cache *cache, struct slot *slot, uint64_t head)
{
	return change_word(cache, &slot->links,
			   (get_word(slot->links) & ~(uint64_t)UINT32_MAX) | head);
}

struct slot *chain_find(tine_cache *cache, const uint64_t hash[2], struct slot *after,
			unsigned *steps)
{
	uint64_t slots = get_word(cache_header(cache)->slots), next;
	struct slot *slot = after;

	if (!after) {
		if (slots == 0)
			return NULL;
		slot = slot_at(cache, slot_bucket(hash[0], slots));
		if (!slot)
			return NULL;
		next = low_half(get_word(slot->links));
	} else {
		next = high_half(get_word(after->links));
	}
	while (next && *steps > 0 && (slot = slot_at(cache, next - 1)) != NULL) {
		(*steps)--;
		if (get_word(slot->hash[0]) == hash[0] &&
		    get_word(slot->hash[1]) == hash[1])
			return slot;
		next = high_half(get_word(slot->links));
	}
	return NULL;
}

/* The bucket that is new takes from the one it divides what now is its. */
static int divide_bucket(tine_cache *cache, uint64_t bucket)
{
	uint64_t half = UINT64_C(1) << (63 - __builtin_clzll(bucket)), next;
	struct slot *fresh = slot_at(cache, bucket), *old, *slot, *before = NULL;
	int err = 0;

	old = slot_at(cache, bucket - half);
	if (!fresh || !old)
		return -EUCLEAN;
	next = low_half(get_word(old->links));
	for (unsigned steps = CHAIN; !err && next; steps--) {
		uint64_t self = next;

		slot = slot_at(cache, self - 1);
		if (!slot || steps == 0)
			return -EUCLEAN;
		next = high_half(get_word(slot->links));
		if (!(get_word(slot->hash[0]) & half)) {
			before = slot;
			continue;
		}
		err = before ? link_next(cache, before, next)
			     : link_head(cache, old, next);
		if (!err)
			err = link_next(cache, slot, low_half(get_word(fresh->links)));
		if (!err)
			err = link_head(cache, fresh, self);
	}
	return err;
}

static int slot_make(tine_cache *cache, uint64_t *index)
{
	struct index_header *header = cache_header(cache);
	uint64_t n = get_word(header->slots), size;
	struct slot *slot;
	int err;

	if (n >= UINT32_MAX - 1)
		return -ENOSPC;
	size = HEADER_SIZE + (n / SLOT_STEP + 1) * SLOT_STEP * sizeof(*slot);
	err = area_grow(&cache->index, size);
	/* Blocks that were given back when the cache was begun anew. */
	if (!err && n % SLOT_STEP == 0)
		err = -posix_fallocate(own_fd_use(&cache->index.own),
				       size - SLOT_STEP * sizeof(*slot),
				       SLOT_STEP * sizeof(*slot));
	if (err)
		return err;
	header = cache_header(cache);
	slot = slot_at(cache, n);
	if (!slot)
		return -EUCLEAN;
	slot->place = 0;
	slot->links = 0;
	err = change_word(cache, &header->slots, n + 1);
	if (!err && n > 0)
		err = divide_bucket(cache, n);
	*index = n;
	return err;
}

int slot_take(tine_cache *cache, const uint64_t hash[2], uint64_t *index)
{
	struct index_header *header = cache_header(cache);
	struct slot *slot, *bucket;
	int err;

	if (get_word(header->free_slot)) {
		*index = get_word(header->free_slot) - 1;
		slot = slot_at(cache, *index);
		if (!slot || get_word(slot->place))
			return -EUCLEAN;
		err = change_word(cache, &header->free_slot,
				  high_half(get_word(slot->links)));
	} else {
		err = slot_make(cache, index);
	}
	if (err)
		return err;
	header = cache_header(cache);
	slot = slot_at(cache, *index);
	bucket = slot_at(cache, slot_bucket(hash[0], get_word(header->slots)));
	if (!slot || !bucket)
		return -EUCLEAN;
	err = change_word(cache, &slot->hash[0], hash[0]);
	if (!err)
		err = change_word(cache, &slot->hash[1], hash[1]);
	if (!err)
		err = link_next(cache, slot, low_half(get_word(bucket->links)));
	if (!err)
		err = link_head(cache, bucket, *index + 1);
	if (!err)
		err = change_word(cache, &slot->file, 0);
	if (!err)
		err = change_word(cache, &slot->sizes, 0);
	if (!err)
		err = change_word(cache, &header->entries, get_word(header->entries) + 1);
	return err;
}

static int unlink_slot(tine_cache *cache, struct slot *slot, uint64_t index)
{
	uint64_t slots = get_word(cache_header(cache)->slots), next, after;
	struct slot *bucket, *at, *before = NULL;

	bucket = slot_at(cache, slot_bucket(get_word(slot->hash[0]), slots));
	if (!bucket)
		return -EUCLEAN;
	after = high_half(get_word(slot->links));
	next = low_half(get_word(bucket->links));
	for (unsigned steps = CHAIN; next && steps > 0; steps--) {
		if (next == index + 1)
			return before ? link_next(cache, before, after)
				      : link_head(cache, bucket, after);
		at = slot_at(cache, next - 1);
		if (!at)
			break;
		before = at;
		next = high_half(get_word(at->links));
	}
	return -EUCLEAN;
}

int slot_drop(tine_cache *cache, uint64_t index)
{
	struct index_header *header = cache_header(cache);
	struct slot *slot = slot_at(cache, index);
	uint64_t bytes;
	int err;

	if (!slot || get_word(slot->place) == 0 || get_word(header->entries) == 0)
		return -EUCLEAN;
	err = unlink_slot(cache, slot, index);
	if (!err)
		err = change_word(cache, &slot->place, 0);
	if (!err)
		err = link_next(cache, slot, get_word(header->free_slot));
	if (!err)
		err = change_word(cache, &header->free_slot, index + 1);
	if (!err)
		err = change_word(cache, &header->entries, get_word(header->entries) - 1);
	if (err || !get_word(slot->file))
		return err;
	bytes = low_half(get_word(slot->sizes)) * HEADER_SIZE;
	if (bytes > get_word(header->large_bytes))
		return -EUCLEAN;
	err = change_word(cache, &header->large_bytes,
			  get_word(header->large_bytes) - bytes);
	return err ? err : change_word(cache, &header->doomed, get_word(slot->file));
}
