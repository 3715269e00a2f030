/* SPDX-License-Identifier: MIT */
/* The cache: looking and putting; the protocol is at the head of cache.h. */
#include "cache/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
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

void key_hash(struct key *key)
{
	XXH128_hash_t hash = XXH3_128bits(key->bytes, key->len);

	/* The two kinds of keys are apart. */
	key->hash[0] = hash.low64 ^ (uint64_t)key->kind;
	key->hash[1] = hash.high64;
}

/* ---- looking ----------------------------------------------------------------------- */

int small_read(tine_cache *cache, const struct key *key, uint64_t place,
	       const struct record *record, struct found *found)
{
	const word *words = record_key(cache, place, record);
	void *val;

	if (!record->key_inside || !words || !words_equal(words, key->bytes, key->len))
		return -EUCLEAN;
	words = record_value(cache, place, record);
	if (!words)
		return -EUCLEAN;
	val = malloc(record->val_len ? record->val_len : 1);
	if (!val)
		return -ENOMEM;
	words_load(val, words, record->val_len);
	if (record->sum != record_sum(record, bytes_hash(val, record->val_len))) {
		free(val);
		return -EUCLEAN;
	}
	*found = (struct found){ val, record->val_len, record->status };
	return 0;
}

static int read_large(tine_cache *cache, const struct key *key, uint64_t place,
		      const struct record *record, struct found *found)
{
	const word *words = record_key(cache, place, record);
	const void *val;
	int err;

	if (record->key_inside && (!words || !words_equal(words, key->bytes, key->len)))
		return -EUCLEAN;
	if (record->sum != record_sum(record, 0) ||
	    (size_t)record->val_len != record->val_len)
		return -EUCLEAN;
	err = large_get(cache, key, record, &val);
	if (!err)
		*found = (struct found){ val, record->val_len, record->status };
	return err;
}

/*
 * To the precision of a 64th of its age: what several processes use all the time would
 * else go from one processor's cache to the other's for each note.
 */
static void note_use(struct slot *slot, uint64_t now)
{
	if (now - get_word(slot->used) > (now - get_word(slot->born)) / 64)
		atomic_store_explicit(&slot->used, now, memory_order_relaxed);
}

/*
 * The entry of the key. 0; -ENOENT: none; -EUCLEAN: its record, of the slot at *where, is
 * not right, or was not at that moment; else an error.
 */
static int look(tine_cache *cache, const struct key *key, struct slot **where,
		struct found *found)
{
	unsigned steps = CHAIN;
	struct slot *slot = NULL;
	uint64_t now = cache_now(), place;
	struct record record;
	int err = -ENOENT;

	while ((slot = chain_find(cache, key->hash, slot, &steps)) != NULL) {
		place = get_word(slot->place);
		*where = slot;
		err = -EUCLEAN;
		if (!record_read(cache, place, &record) ||
		    record.hash[0] != key->hash[0] || record.hash[1] != key->hash[1] ||
		    record.key_len != key->len || record.kind != (uint32_t)key->kind)
			continue;
		if (cache->max_age && get_word(slot->born) + cache->max_age < now)
			return -ENOENT;
		err = record.file ? read_large(cache, key, place, &record, found)
				  : small_read(cache, key, place, &record, found);
		if (err == 0)
			note_use(slot, now);
		/* The file that the entry had a moment ago is gone. */
		if (err == -ENOENT)
			err = -EUCLEAN;
		if (err != -EUCLEAN)
			return err;
	}
	return steps ? err : -EUCLEAN;
}

/* With the lock, where look() said that the entry is not right. */
static int drop_damaged(tine_cache *cache, const struct slot *slot)
{
	int err = slot ? slot_drop(cache, slot_index(cache, slot)) : -EUCLEAN;

	if (err) {
		undo(cache);
		return cache_restart(cache, true);
	}
	commit(cache);
	return 0;
}

int cache_find(tine_cache *cache, const struct key *key, struct found *found)
{
	struct slot *slot = NULL;
	int err = look(cache, key, &slot, found);

	if (err == -ENOENT || err == -EUCLEAN) {
		/* It may have been on the move, or its chain. */
		err = cache_lock(cache);
		if (err)
			return err;
		slot = NULL;
		err = look(cache, key, &slot, found);
		if (err == -EUCLEAN) {
			err = drop_damaged(cache, slot);
			if (!err)
				err = -ENOENT;
		}
		cache_unlock(cache);
	}
	return err;
}

int tine_cache_get(tine_cache *cache, const void *bytes, size_t len, const void **val,
		   size_t *val_len)
{
	struct key key = { .bytes = bytes, .len = len, .kind = KEY_OF_CALLER };
	struct found found;
	int err;

	if (!cache || !bytes || !len || !val || !val_len)
		return -EINVAL;
	key_hash(&key);
	err = cache_find(cache, &key, &found);
	if (!err)
		count(&cache->hits);
	else if (err == -ENOENT)
		count(&cache->misses);
	if (err)
		return err;
	*val = found.val;
	*val_len = found.len;
	return 0;
}

void tine_cache_release(tine_cache *cache, const void *val)
{
	if (cache && val && !large_release(cache, val))
		free((void *)val);
}

/* ---- putting ----------------------------------------------------------------------- */

/* With the lock: the slot that has the key's hash. As good as the key: 128 bits. */
static struct slot *slot_of(tine_cache *cache, const struct key *key)
{
	unsigned steps = CHAIN;

	return chain_find(cache, key->hash, NULL, &steps);
}

/* Makes the record an entry, in place of another; size: of its file. */
static int enter(tine_cache *cache, const struct key *key, struct record *record,
		 const void *val, uint64_t size)
{
	struct slot *slot = slot_of(cache, key);
	struct header *header;
	uint64_t index, place, now = cache_now(), large;
	int err = 0;

	if (slot && get_word(slot->file)) {
		/* Of which only the file is to go. */
		header = cache_header(cache);
		large = low_of(get_word(slot->sizes)) * HEADER_SIZE;
		if (large > get_word(header->large_bytes))
			return -EUCLEAN;
		err = change(cache, &header->large_bytes,
			     get_word(header->large_bytes) - large);
		if (!err)
			err = change(cache, &header->doomed, get_word(slot->file));
	}
	if (slot)
		index = slot_index(cache, slot);
	else
		err = slot_take(cache, key->hash, &index);
	if (err)
		return err;
	slot = slot_at(cache, index);
	record->slot = index;
	err = log_append(cache, record, key->bytes, val, &place);
	if (!err)
		err = change(cache, &slot->file, record->file);
	if (!err)
		err = change(cache, &slot->sizes, key->task << 32 | size / HEADER_SIZE);
	if (!err)
		err = change(cache, &slot->used, now);
	if (!err)
		err = change(cache, &slot->born, now);
	return err ? err : change(cache, &slot->place, place);
}

int cache_settle(tine_cache *cache, int err)
{
	if (!err) {
		commit(cache);
		return 0;
	}
	undo(cache);
	if (err == -EUCLEAN) {
		err = cache_restart(cache, true);
		return err ? err : -EAGAIN;
	}
	return err;
}

/* Lets others have a turn, when the cache is busy. */
static void pause_a_moment(void)
{
	const struct timespec moment = { 0, 20000 };

	nanosleep(&moment, NULL);
}

static int put_small(tine_cache *cache, const struct key *key, struct record *record,
		     const void *val)
{
	int err;

	record->sum = record_sum(record, bytes_hash(val, record->val_len));
	for (unsigned restarts = 0; restarts < 3;) {
		err = cache_lock(cache);
		if (err)
			return err;
		err = log_room(cache, record_size(record), 0);
		if (err == -EAGAIN) {
			cache_unlock(cache);
			pause_a_moment();
			continue;
		}
		err = cache_settle(cache, err ? err : enter(cache, key, record, val, 0));
		cache_unlock(cache);
		if (err != -EAGAIN)
			return err;
		restarts++;
	}
	return -EIO;
}

static int begin_large(tine_cache *cache, struct writing *writing, uint64_t size)
{
	int err;

	for (unsigned restarts = 0; restarts < 3;) {
		err = cache_lock(cache);
		if (err)
			return err;
		err = log_room(cache, MOST_KEY + sizeof(struct record), size);
		if (!err)
			err = large_begin(cache, writing, size);
		if (err == -EUCLEAN) {
			restarts++;
			err = cache_settle(cache, err);
		}
		cache_unlock(cache);
		if (err != -EAGAIN)
			return err;
		pause_a_moment();
	}
	return -EIO;
}

static int put_large(tine_cache *cache, const struct key *key, struct record *record,
		     const void *val)
{
	uint64_t size = large_size(key->len, record->val_len);
	struct writing writing;
	int err, failure;

	err = begin_large(cache, &writing, size);
	if (err)
		return err;
	failure = large_write(cache, &writing, key, val, record->val_len);
	record->file = writing.number;
	record->sum = record_sum(record, 0);
	err = cache_lock(cache);
	if (err)
		goto unclaim;
	err = large_end(cache, &writing, !failure);
	if (!err && !failure)
		err = enter(cache, key, record, val, size);
	/* The cache has been begun anew; the entry would be the first to go. */
	if (err == -ENOENT)
		err = 0;
	err = cache_settle(cache, err);
	if (err && err != -EAGAIN && !failure && large_end(cache, &writing, false) == 0)
		commit(cache);
	cache_unlock(cache);
unclaim:
	large_unclaim(&writing);
	return failure ? failure : err == -EAGAIN ? 0 : err;
}

int cache_keep(tine_cache *cache, const struct key *key, const void *val, size_t val_len,
	       int status)
{
	struct record record = { .hash = { key->hash[0], key->hash[1] },
				 .key_len = key->len,
				 .val_len = val_len,
				 .kind = key->kind,
				 .key_inside = 1,
				 .status = status };

	if (key->len <= MOST_SMALL && val_len <= MOST_SMALL &&
	    record_size(&record) <= MOST_SMALL)
		return put_small(cache, key, &record, val);
	record.key_inside = key->len <= MOST_KEY;
	return put_large(cache, key, &record, val);
}

int tine_cache_put(tine_cache *cache, const void *bytes, size_t len, const void *val,
		   size_t val_len)
{
	struct key key = { .bytes = bytes, .len = len, .kind = KEY_OF_CALLER };

	if (!cache || !bytes || !len || (!val && val_len))
		return -EINVAL;
	key_hash(&key);
	return cache_keep(cache, &key, val, val_len, 0);
}
