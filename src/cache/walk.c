/* SPDX-License-Identifier: MIT */
/* The cache: all of its entries. */
#include "cache/walk.h"

#include "base/options.h"
#include "cache/cache.h"
#include "cache/call.h"
#include "cache/hash.h"
#include "cache/large.h"
#include "cache/log.h"
#include "cache/slots.h"
#include "cache/turn.h"
#include "cache/undo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * The slot, if there is an entry in it: with every lock there may be fewer than before,
 * and what is beyond them is old.
 */
struct slot *used_slot(tine_cache *cache, uint64_t index)
{
	struct slot *slot = index < get_word(cache_header(cache)->slots)
				    ? slot_at(cache, index)
				    : NULL;

	return slot && get_word(slot->place) ? slot : NULL;
}

/* 0, -ENOENT: the slot is free; -EUCLEAN: its entry is damaged. */
int copy_entry(tine_cache *cache, uint64_t index, struct copy *copy)
{
	struct slot *slot = used_slot(cache, index);
	const word *words;

	*copy = (struct copy){ 0 };
	if (!slot)
		return -ENOENT;
	copy->record.file = get_word(slot->file);
	copy->place = get_word(slot->place);
	copy->born = get_word(slot->born);
	copy->used = get_word(slot->used);
	if (!record_read(cache, copy->place, &copy->record) ||
	    copy->record.slot != index || copy->record.key_len == 0)
		return -EUCLEAN;
	if (!copy->record.key_inside)
		return 0;
	words = record_key(cache, copy->place, &copy->record);
	copy->key = words ? malloc(copy->record.key_len) : NULL;
	if (!copy->key)
		return words ? -ENOMEM : -EUCLEAN;
	words_load(copy->key, words, copy->record.key_len);
	return 0;
}

/* Takes a task's key apart: whether it is one. */
static bool describe(const struct copy *copy, tine_cache_entry *entry)
{
	const char *key = copy->key;
	size_t len = copy->record.key_len, name;
	uint32_t version;

	*entry = (tine_cache_entry){ .key = key,
				     .len = len,
				     .val_len = copy->record.val_len,
				     .born = copy->born,
				     .age_ms = copy->record.in_seconds
						       ? copy->record.age * INT64_C(1000)
						       : copy->record.age,
				     .used = copy->used };
	if (copy->record.kind == KEY_OF_CALLER)
		return true;
	name = strnlen(key, len) + 1;
	if (copy->record.kind != KEY_OF_TASK || name + sizeof(version) > len)
		return false;
	memcpy(&version, key + name, sizeof(version));
	entry->task = key;
	entry->version = version;
	entry->key = key + name + sizeof(version);
	entry->len = len - name - sizeof(version);
	return true;
}

int tine_cache_list(tine_cache *cache, int (*each)(void *arg, const tine_cache_entry *),
		    void *arg)
{
	tine_cache_entry entry;
	struct copy copy;
	uint64_t slots;
	int err;

	if (!cache || !each)
		return -EINVAL;
	/* Bound: PATIENCE_MS. */
	err = cache_lock(cache, TINE_FOREVER);
	if (err)
		return err;
	slots = get_word(cache_header(cache)->slots);
	cache_unlock(cache);
	for (uint64_t i = 0; i < slots; i++) {
		/* Bound: PATIENCE_MS. */
		err = cache_lock(cache, TINE_FOREVER);
		if (err)
			return err;
		err = copy_entry(cache, i, &copy);
		cache_unlock(cache);
		if (!err && !copy.key)
			err = large_key(cache, &copy.record, copy.born,
					(void **)&copy.key);
		if (!err && describe(&copy, &entry))
			err = each(arg, &entry);
		else if (err == -ENOENT || err == -EUCLEAN)
			err = 0;
		free(copy.key);
		if (err)
			return err;
	}
	return 0;
}

/* With the lock. */
int drop_entry(tine_cache *cache, uint64_t index)
{
	int err = slot_drop(cache, index);

	if (!err) {
		struct index_header *header = cache_header(cache);

		err = change_word(cache, &header->clock, get_word(header->clock) + 1);
	}
	return cache_settle(cache, err);
}

/* Entries to be removed: with the lock, 1: the slot's is one; 0; an error. */
typedef int is_doomed(tine_cache *, uint64_t index, const void *which);

static int is_of_task(tine_cache *cache, uint64_t index, const void *hash)
{
	struct slot *slot = used_slot(cache, index);

	/* Of tasks whose names share a hash of 32 bits, all go. */
	return slot && high_half(get_word(slot->sizes)) == *(const uint64_t *)hash;
}

struct prefix {
	const void *bytes;
	size_t len;
};

static int has_prefix(tine_cache *cache, uint64_t index, const void *which)
{
	const struct prefix *prefix = which;
	struct copy copy;
	int err = copy_entry(cache, index, &copy);

	if (!err &&
	    (copy.record.kind != KEY_OF_CALLER || copy.record.key_len < prefix->len))
		goto free_key;
	if (!err && !copy.key)
		err = large_key(cache, &copy.record, copy.born, (void **)&copy.key);
	if (!err)
		err = memcmp(copy.key, prefix->bytes, prefix->len) == 0;
	else if (err == -ENOENT || err == -EUCLEAN)
		err = 0;
free_key:
	free(copy.key);
	return err;
}

/* Of what was dropped, the room. */
static int give_room_back(tine_cache *cache)
{
	int err, more;

	do {
		/* Bound: PATIENCE_MS. */
		err = cache_lock(cache, TINE_FOREVER);
		if (err)
			return err;
		more = err = log_give_back(cache);
		err = cache_settle(cache, err < 0 ? err : 0);
		cache_unlock(cache);
	} while (!err && more > 0);
	return err;
}

static int drop_all(tine_cache *cache, is_doomed *doomed, const void *which)
{
	uint64_t i = 0, slots;
	int err;

	do {
		/* Bound: PATIENCE_MS. */
		err = cache_lock(cache, TINE_FOREVER);
		if (err)
			return err;
		slots = get_word(cache_header(cache)->slots);
		/* A part at a time, so that others have a turn. */
		for (unsigned n = 0; !err && n < 256 && i < slots; n++, i++) {
			err = doomed(cache, i, which);
			if (err > 0)
				err = drop_entry(cache, i);
		}
		if (!err)
			err = cache_settle(cache, log_trim(cache));
		cache_unlock(cache);
	} while (!err && i < slots);
	if (!err)
		err = give_room_back(cache);
	/* Begun anew, over damage: there is none left. */
	return err == -EAGAIN ? 0 : err;
}

static int clear_all(tine_cache *cache)
{
	/* Bound: PATIENCE_MS. */
	int err = cache_lock(cache, TINE_FOREVER);

	if (err)
		return err;
	err = cache_restart(cache, false);
	cache_unlock(cache);
	return err;
}

/* 0: no memory. */
static uint64_t hash_of_task(const tine_task *task)
{
	size_t size = identity_size(task);
	char *identity = size ? malloc(size) : NULL;
	uint64_t hash;

	if (!identity)
		return 0;
	identity_write(identity, task);
	hash = task_hash(identity);
	free(identity);
	return hash;
}

int tine_cache_clear(tine_cache *cache, const tine_task *task)
{
	uint64_t hash;

	if (!cache || (task && (!task->name || !ROOM_IS_ZERO(task))))
		return -EINVAL;
	if (!task)
		return clear_all(cache);
	hash = hash_of_task(task);
	return hash ? drop_all(cache, is_of_task, &hash) : -ENOMEM;
}

int tine_cache_del_prefix(tine_cache *cache, const void *bytes, size_t len)
{
	struct prefix prefix = { bytes, len };

	if (!cache || !bytes || !len)
		return -EINVAL;
	return drop_all(cache, has_prefix, &prefix);
}

int tine_cache_del(tine_cache *cache, const void *bytes, size_t len)
{
	struct cache_key key = { .bytes = bytes, .len = len, .kind = KEY_OF_CALLER };
	struct slot *slot;
	int err;

	if (!cache || !bytes || !len)
		return -EINVAL;
	key_hash(&key);
	/* Bound: PATIENCE_MS. */
	err = cache_lock(cache, TINE_FOREVER);
	if (err)
		return err;
	slot = slot_of(cache, &key);
	err = slot ? drop_entry(cache, slot_index(cache, slot)) : -ENOENT;
	if (!err)
		err = cache_settle(cache, log_trim(cache));
	cache_unlock(cache);
	return err == -EAGAIN ? 0 : err;
}

int tine_cache_stat(tine_cache *cache, tine_cache_stats *stats)
{
	struct index_header *header;
	int err;

	if (!cache || !stats)
		return -EINVAL;
	/* Bound: PATIENCE_MS. */
	err = cache_lock(cache, TINE_FOREVER);
	if (err)
		return err;
	header = cache_header(cache);
	*stats = (tine_cache_stats){ .entries = get_word(header->entries),
				     .bytes = cache_bytes(cache),
				     .max_bytes = get_word(header->max_bytes),
				     .hits = get_word(header->hits),
				     .misses = get_word(header->misses),
				     .evictions = get_word(header->evictions),
				     .restarts = get_word(header->restarts) };
	cache_unlock(cache);
	return 0;
}
