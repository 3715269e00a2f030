/* SPDX-License-Identifier: MIT */
/* The cache: read through. */
#include "cache/check.h"

#include "cache/cache.h"
#include "cache/hash.h"
#include "cache/large.h"
#include "cache/log.h"
#include "cache/slots.h"
#include "cache/turn.h"
#include "cache/walk.h"

#include <errno.h>
#include <stdlib.h>

/* ---- the index --------------------------------------------------------------------- */

static int check_entry(tine_cache *cache, uint64_t index, const struct slot *slot)
{
	struct record record;

	if (!record_read(cache, get_word(slot->place), &record) || record.slot != index ||
	    record.hash[0] != get_word(slot->hash[0]) ||
	    record.hash[1] != get_word(slot->hash[1]) ||
	    record.file != get_word(slot->file))
		return -EUCLEAN;
	return 0;
}

static int check_chain(tine_cache *cache, uint64_t bucket, uint64_t slots,
		       uint64_t *linked)
{
	struct slot *slot = slot_at(cache, bucket);
	uint64_t next = slot ? low_half(get_word(slot->links)) : 0;

	for (unsigned steps = CHAIN; next; steps--) {
		slot = slot_at(cache, next - 1);
		if (steps == 0 || next > slots || !slot || !get_word(slot->place) ||
		    slot_bucket(get_word(slot->hash[0]), slots) != bucket)
			return -EUCLEAN;
		(*linked)++;
		next = high_half(get_word(slot->links));
	}
	return 0;
}

static int check_free_slots(tine_cache *cache, uint64_t n)
{
	uint64_t next = get_word(cache_header(cache)->free_slot);

	for (; next; n--) {
		struct slot *slot = slot_at(cache, next - 1);

		if (n == 0 || !slot || get_word(slot->place))
			return -EUCLEAN;
		next = high_half(get_word(slot->links));
	}
	return n == 0 ? 0 : -EUCLEAN;
}

static int check_segments(tine_cache *cache, uint64_t next, uint64_t *n)
{
	uint64_t segments = get_word(cache_header(cache)->segments);

	for (*n = 0; next; ++*n) {
		struct segment *segment = next <= segments
						  ? area_at(&cache->data,
							    (next - 1) * SEGMENT, SEGMENT)
						  : NULL;

		if (!segment || *n > segments || get_word(segment->fill) > SEGMENT)
			return -EUCLEAN;
		next = get_word(segment->next);
	}
	return 0;
}

int cache_check(tine_cache *cache)
{
	struct index_header *header = cache_header(cache);
	uint64_t slots = get_word(header->slots), entries = get_word(header->entries);
	uint64_t used = 0, linked = 0, large = 0, log, spare, holes;
	int err;

	if (entries > slots || (slots && !slot_at(cache, slots - 1)))
		return -EUCLEAN;
	for (uint64_t i = 0; i < slots; i++) {
		struct slot *slot = slot_at(cache, i);

		err = check_chain(cache, i, slots, &linked);
		if (!err && get_word(slot->place)) {
			used++;
			large += low_half(get_word(slot->sizes)) * HEADER_SIZE;
			err = check_entry(cache, i, slot);
		}
		if (err)
			return err;
	}
	for (unsigned row = 0; row < WRITERS; row++)
		if (get_word(header->writing[row].number))
			large += get_word(header->writing[row].size);
	if (used != entries || linked != entries ||
	    large != get_word(header->large_bytes))
		return -EUCLEAN;
	err = check_free_slots(cache, slots - entries);
	if (!err)
		err = check_segments(cache, get_word(header->first), &log);
	if (!err)
		err = check_segments(cache, get_word(header->free_segment), &spare);
	if (!err)
		err = check_segments(cache, get_word(header->hole), &holes);
	if (!err && (spare != get_word(header->free_segments) ||
		     holes != get_word(header->holes) ||
		     log + spare + holes != get_word(header->segments)))
		err = -EUCLEAN;
	return err;
}

int cache_greet(tine_cache *cache)
{
	int err = boot_is_noted(cache) ? 0 : cache_check(cache);

	if (!err)
		boot_note(cache);
	return err;
}

/* ---- every entry ------------------------------------------------------------------- */

static bool is_right(tine_cache *cache, const struct copy *copy)
{
	const struct record *record = &copy->record;
	struct cache_key key = { .bytes = copy->key,
				 .len = record->key_len,
				 .kind = record->kind };
	struct content found;

	if (copy->key) {
		key_hash(&key);
		if (key.hash[0] != record->hash[0] || key.hash[1] != record->hash[1])
			return false;
	}
	if (record->file)
		return record->sum == record_sum(record, 0);
	if (!copy->key || small_read(cache, &key, copy->place, record, &found) != 0)
		return false;
	free((void *)found.val);
	return true;
}

/* With the lock, unless it is another's by now. */
static int drop_copied(tine_cache *cache, uint64_t index, const struct copy *copy,
		       uint64_t *dropped)
{
	const struct slot *slot = used_slot(cache, index);

	/* The place alone may be taken again, when the log was begun anew. */
	if (!slot || get_word(slot->place) != copy->place ||
	    get_word(slot->file) != copy->record.file)
		return 0;
	++*dropped;
	return drop_entry(cache, index);
}

/* What takes long, without the lock. */
static int verify_file(tine_cache *cache, uint64_t index, const struct copy *copy,
		       uint64_t *dropped)
{
	int err = large_verify(cache, &copy->record);

	if (err != -EUCLEAN && err != -ENOENT)
		return err;
	/* Bound: PATIENCE_MS. */
	err = cache_lock(cache, TINE_FOREVER);
	if (err)
		return err;
	err = drop_copied(cache, index, copy, dropped);
	cache_unlock(cache);
	return err;
}

static int verify_slot(tine_cache *cache, uint64_t index, uint64_t *dropped)
{
	struct copy copy;
	/* Bound: PATIENCE_MS. */
	int err = cache_lock(cache, TINE_FOREVER);
	bool large;

	if (err)
		return err;
	err = copy_entry(cache, index, &copy);
	large = !err && copy.record.file;
	if (err == -EUCLEAN || (!err && !is_right(cache, &copy))) {
		err = drop_copied(cache, index, &copy, dropped);
		large = false;
	}
	cache_unlock(cache);
	if (!err && large)
		err = verify_file(cache, index, &copy, dropped);
	free(copy.key);
	return err == -ENOENT ? 0 : err;
}

int tine_cache_verify(tine_cache *cache, uint64_t *dropped)
{
	uint64_t n = 0, entries = 0, slots = 0;
	int err;

	if (!cache)
		return -EINVAL;
	/* Bound: PATIENCE_MS. */
	err = cache_lock(cache, TINE_FOREVER);
	if (err)
		return err;
	entries = get_word(cache_header(cache)->entries);
	err = cache_check(cache);
	if (!err)
		slots = get_word(cache_header(cache)->slots);
	else if (err == -EUCLEAN && (err = cache_restart(cache, true)) == 0)
		n = entries;
	cache_unlock(cache);
	for (uint64_t i = 0; !err && i < slots; i++)
		err = verify_slot(cache, i, &n);
	/* Begun anew in between. */
	if (err == -EAGAIN)
		err = 0;
	if (!err && dropped)
		*dropped = n;
	return err;
}
