/* SPDX-License-Identifier: MIT */
/* The cache: all of its entries. */
#include "cache/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A copy of an entry, made with the lock. */
struct copy {
	struct record record;
	uint64_t place, born, used;
	char *key;
};

/*
 * The slot, if there is an entry in it: with every lock there may be fewer than before,
 * and what is beyond them is old.
 */
static struct slot *used_slot(tine_cache *cache, uint64_t index)
{
	struct slot *slot = index < get_word(cache_header(cache)->slots)
				    ? slot_at(cache, index)
				    : NULL;

	return slot && get_word(slot->place) ? slot : NULL;
}

/* 0, -ENOENT: the slot is free; -EUCLEAN: its entry is damaged. */
static int copy_entry(tine_cache *cache, uint64_t index, struct copy *copy)
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
	err = cache_lock(cache);
	if (err)
		return err;
	slots = get_word(cache_header(cache)->slots);
	cache_unlock(cache);
	for (uint64_t i = 0; i < slots; i++) {
		err = cache_lock(cache);
		if (err)
			return err;
		err = copy_entry(cache, i, &copy);
		cache_unlock(cache);
		if (!err && !copy.key)
			err = large_key(cache, &copy.record, (void **)&copy.key);
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
static int drop(tine_cache *cache, uint64_t index)
{
	int err = slot_drop(cache, index);

	if (!err) {
		struct header *header = cache_header(cache);

		err = change(cache, &header->clock, get_word(header->clock) + 1);
	}
	return cache_settle(cache, err);
}

/* Whether the slot's entry is one of that task. */
static bool is_of_task(tine_cache *cache, uint64_t index, uint64_t hash)
{
	struct slot *slot = used_slot(cache, index);

	/* Of tasks whose names share a hash of 32 bits, all go. */
	return slot && high_of(get_word(slot->sizes)) == hash;
}

static int clear_all(tine_cache *cache)
{
	int err = cache_lock(cache);

	if (err)
		return err;
	err = cache_restart(cache, false);
	cache_unlock(cache);
	return err;
}

int tine_cache_clear(tine_cache *cache, const tine_task *task)
{
	uint64_t hash, i = 0, slots;
	int err = 0, more = 1;

	if (!cache || (task && !task->name))
		return -EINVAL;
	if (!task)
		return clear_all(cache);
	hash = task_hash(task->name);
	do {
		err = cache_lock(cache);
		if (err)
			return err;
		slots = get_word(cache_header(cache)->slots);
		/* A part at a time, so that others have a turn. */
		for (unsigned n = 0; !err && n < 256 && i < slots; n++, i++)
			if (is_of_task(cache, i, hash))
				err = drop(cache, i);
		if (!err)
			err = cache_settle(cache, log_trim(cache));
		cache_unlock(cache);
	} while (!err && i < slots);
	while (!err && more) {
		err = cache_lock(cache);
		if (err)
			return err;
		more = err = log_give_back(cache);
		err = cache_settle(cache, err < 0 ? err : 0);
		cache_unlock(cache);
	}
	return err == -EAGAIN ? 0 : err;
}

int tine_cache_stat(tine_cache *cache, tine_cache_stats *stats)
{
	struct header *header;
	int err;

	if (!cache || !stats)
		return -EINVAL;
	err = cache_lock(cache);
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

static bool is_right(tine_cache *cache, const struct copy *copy)
{
	const struct record *record = &copy->record;
	struct key key = { .bytes = copy->key,
			   .len = record->key_len,
			   .kind = record->kind };
	struct found found;

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
	return drop(cache, index);
}

/* What takes long, without the lock. */
static int verify_file(tine_cache *cache, uint64_t index, const struct copy *copy,
		       uint64_t *dropped)
{
	int err = large_verify(cache, &copy->record);

	if (err != -EUCLEAN && err != -ENOENT)
		return err;
	err = cache_lock(cache);
	if (err)
		return err;
	err = drop_copied(cache, index, copy, dropped);
	cache_unlock(cache);
	return err;
}

static int verify_slot(tine_cache *cache, uint64_t index, uint64_t *dropped)
{
	struct copy copy;
	int err = cache_lock(cache);
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
	err = cache_lock(cache);
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
