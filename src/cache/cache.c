/* SPDX-License-Identifier: MIT */
/* The cache: looking and putting; the protocol is at the head of format.h. */
#include "cache/cache.h"

#include "base/deadline.h"
#include "cache/hash.h"
#include "cache/large.h"
#include "cache/log.h"
#include "cache/slots.h"
#include "cache/turn.h"
#include "cache/undo.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define MOST_LOOKS 8 /* without the lock, at what others change at the same time */

/* ---- looking ----------------------------------------------------------------------- */

int small_read(tine_cache *cache, const struct cache_key *key, uint64_t place,
	       const struct record *record, struct content *found)
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
	*found = (struct content){ .val = val,
				   .len = record->val_len,
				   .status = record->status };
	return 0;
}

static int read_large(tine_cache *cache, const struct cache_key *key, uint64_t place,
		      const struct record *record, uint64_t born, struct content *found)
{
	const word *words = record_key(cache, place, record);
	const void *val;
	int err;

	if (record->key_inside && (!words || !words_equal(words, key->bytes, key->len)))
		return -EUCLEAN;
	if (record->sum != record_sum(record, 0) ||
	    (size_t)record->val_len != record->val_len)
		return -EUCLEAN;
	err = large_get(cache, key, record, born, &val);
	if (!err)
		*found = (struct content){ .val = val,
					   .len = record->val_len,
					   .status = record->status };
	return err;
}

/*
 * To the precision of a 64th of its age: what several processes use all the time would
 * else go from one processor's cache to the other's for each note. But of an old entry
 * that would be longer than new ones stay: never longer than it takes to write the whole
 * cache anew at 8 GB/s.
 */
static void note_use(const tine_cache *cache, struct slot *slot, uint64_t now)
{
	uint64_t since = now - get_word(slot->used);

	if (since > (now - get_word(slot->born)) / 64 || since > cache->max_bytes / 8)
		atomic_store_explicit(&slot->used, now, memory_order_relaxed);
}

/* By what the handle bears, or by what was said when it was put. */
static bool is_too_old(const tine_cache *cache, const struct record *record,
		       uint64_t born, uint64_t now)
{
	uint64_t unit = record->in_seconds ? 1000000000 : 1000000;

	return (cache->max_age && born + cache->max_age < now) ||
	       (record->age && born + record->age * unit < now);
}

static void set_age(struct record *record, int64_t age_ms)
{
	const int64_t most = (1 << 30) - 1;

	record->in_seconds = age_ms > most;
	if (record->in_seconds)
		age_ms /= 1000;
	record->age = age_ms < most ? age_ms : 0;
}

/*
 * The entry of the key. 0; -ENOENT: none; -EUCLEAN: its record, of the slot at *where, is
 * not right, or was not at that moment; else an error.
 */
static int look_up(tine_cache *cache, const struct cache_key *key, struct slot **where,
		   struct content *found)
{
	unsigned steps = CHAIN;
	struct slot *slot = NULL;
	uint64_t now = cache_now(), place, born;
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
		born = get_word(slot->born);
		if (is_too_old(cache, &record, born, now))
			return -ENOENT;
		err = record.file ? read_large(cache, key, place, &record, born, found)
				  : small_read(cache, key, place, &record, found);
		if (err == 0)
			note_use(cache, slot, now);
		/* The file that the entry had a moment ago is gone. */
		if (err == -ENOENT)
			err = -EUCLEAN;
		if (err != -EUCLEAN)
			return err;
	}
	return steps ? err : -EUCLEAN;
}

/* With the lock, where look_up() said that the entry is not right. */
static int drop_damaged(tine_cache *cache, const struct slot *slot)
{
	int err = slot ? slot_drop(cache, slot_index(cache, slot)) : -EUCLEAN;

	if (err) {
		undo_changes(cache);
		return cache_restart(cache, true);
	}
	commit_changes(cache);
	return 0;
}

/* What is not found, though it is there: it may be on the move, or its chain. */
static bool is_missing(int err)
{
	return err == -ENOENT || err == -EUCLEAN;
}

/* Without the lock. -EUCLEAN: damaged, or changing all the time. */
static int find_quietly(tine_cache *cache, const struct cache_key *key,
			struct content *found)
{
	struct slot *slot = NULL;
	int err = look_up(cache, key, &slot, found);

	for (unsigned n = 0; n < MOST_LOOKS && is_missing(err); n++) {
		uint64_t before = changes_done(cache);

		err = look_up(cache, key, &slot, found);
		if (is_missing(err) && before && changes_done(cache) == before)
			return err;
	}
	return is_missing(err) ? -EUCLEAN : err;
}

int cache_find(tine_cache *cache, const struct cache_key *key, struct content *found,
	       int64_t deadline)
{
	struct slot *slot = NULL;
	int err = find_quietly(cache, key, found);
	int64_t patience;

	if (err != -EUCLEAN)
		return err;
	patience = tine_after(HELP_MS);
	err = cache_lock(cache, earlier(deadline, patience));
	if (err)
		return err;
	err = look_up(cache, key, &slot, found);
	if (err == -EUCLEAN) {
		err = drop_damaged(cache, slot);
		if (!err)
			err = -ENOENT;
	}
	cache_unlock(cache);
	return err;
}

int cache_get(tine_cache *cache, const struct cache_key *key, const void **val,
	      size_t *val_len, int64_t deadline)
{
	struct content found;
	int err = cache_find(cache, key, &found, deadline);

	if (err)
		return err;
	count(&cache->hits);
	*val = found.val;
	*val_len = found.len;
	return 0;
}

int tine_cache_get(tine_cache *cache, const void *bytes, size_t len, const void **val,
		   size_t *val_len)
{
	struct cache_key key = { .bytes = bytes, .len = len, .kind = KEY_OF_CALLER };
	int err;

	if (!cache || !bytes || !len || !val || !val_len)
		return -EINVAL;
	key_hash(&key);
	/* Bound: HELP_MS. */
	err = cache_get(cache, &key, val, val_len, TINE_FOREVER);
	if (err == -ETIMEDOUT)
		err = -ENOENT;
	if (err == -ENOENT)
		count(&cache->misses);
	return err;
}

void tine_cache_release(tine_cache *cache, const void *val)
{
	if (cache && val && !large_release(cache, val))
		free((void *)val);
}

/* ---- putting ----------------------------------------------------------------------- */

struct slot *slot_of(tine_cache *cache, const struct cache_key *key)
{
	unsigned steps = CHAIN;

	return chain_find(cache, key->hash, NULL, &steps);
}

/*
 * Makes the record an entry, in place of another; size: of its file; born: as the file.
 */
static int make_entry(tine_cache *cache, const struct cache_key *key,
		      struct record *record, const void *val, uint64_t size,
		      uint64_t born)
{
	struct slot *slot = slot_of(cache, key);
	struct index_header *header;
	uint64_t index, place, now = cache_now(), large;
	int err = 0;

	if (slot && get_word(slot->file)) {
		/* Of which only the file is to go. */
		header = cache_header(cache);
		large = low_half(get_word(slot->sizes)) * HEADER_SIZE;
		if (large > get_word(header->large_bytes))
			return -EUCLEAN;
		err = change_word(cache, &header->large_bytes,
				  get_word(header->large_bytes) - large);
		if (!err)
			err = change_word(cache, &header->doomed, get_word(slot->file));
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
		err = change_word(cache, &slot->file, record->file);
	if (!err)
		err = change_word(cache, &slot->sizes,
				  key->task << 32 | size / HEADER_SIZE);
	/* The same moment, so that the first use is noted, however soon it is. */
	if (!err)
		err = change_word(cache, &slot->used, born ? born : now);
	if (!err)
		err = change_word(cache, &slot->born, born ? born : now);
	return err ? err : change_word(cache, &slot->place, place);
}

/* It is others' files that are being written, or the index is too large. */
static int nothing_left(tine_cache *cache)
{
	struct index_header *header = cache_header(cache);
	uint64_t writing = 0;
	int err;

	if (get_word(header->large_bytes) == 0)
		return cache_restart(cache, false);
	err = large_reap(cache);
	if (err)
		return err;
	for (unsigned row = 0; row < WRITERS; row++)
		if (get_word(header->writing[row].number))
			writing += get_word(header->writing[row].size);
	return writing == get_word(header->large_bytes) ? -EBUSY : -EUCLEAN;
}

/* As log_room(). -EBUSY: nothing but files that others write is left. */
static int room_for(tine_cache *cache, uint64_t record, uint64_t beside)
{
	int err = log_room(cache, record, beside);

	return err == -ENOENT ? nothing_left(cache) : err;
}

/*
 * Others have a turn. 0: try again: this put has made some room, and goes on (-EAGAIN),
 * or it waits for what others write (-EBUSY), until the deadline or for PATIENCE_MS.
 */
static int let_others(int err, int64_t deadline, int64_t *patience)
{
	const struct timespec moment = { 0, 20000 };

	if (!*patience)
		*patience = tine_after(PATIENCE_MS);
	if (err == -EBUSY) {
		int64_t now = tine_now();

		if (now >= deadline || now >= *patience)
			return -ETIMEDOUT;
	}
	/* Bound: 20 us. */
	nanosleep(&moment, NULL);
	return 0;
}

static int put_small(tine_cache *cache, const struct cache_key *key,
		     struct record *record, const void *val, int64_t deadline)
{
	int64_t patience = 0;
	int err;

	record->sum = record_sum(record, bytes_hash(val, record->val_len));
	for (unsigned restarts = 0; restarts < 3;) {
		err = cache_lock(cache, deadline);
		if (err)
			return err;
		err = room_for(cache, record_size(record), 0);
		if (err == -EAGAIN || err == -EBUSY) {
			cache_unlock(cache);
			err = let_others(err, deadline, &patience);
			if (err)
				return err;
			continue;
		}
		err = cache_settle(cache,
				   err ? err : make_entry(cache, key, record, val, 0, 0));
		cache_unlock(cache);
		if (err != -EAGAIN)
			return err;
		restarts++;
	}
	return -EIO;
}

static int begin_large(tine_cache *cache, struct writing *writing, uint64_t size,
		       int64_t deadline)
{
	int64_t patience = 0;
	int err;

	for (unsigned restarts = 0; restarts < 3;) {
		err = cache_lock(cache, deadline);
		if (err)
			return err;
		err = room_for(cache, MOST_KEY + sizeof(struct record), size);
		if (!err)
			err = large_begin(cache, writing, size);
		if (err == -EUCLEAN) {
			restarts++;
			err = cache_settle(cache, err);
		}
		cache_unlock(cache);
		if (err == -EAGAIN || err == -EBUSY)
			err = let_others(err, deadline, &patience);
		else
			return err;
		if (err)
			return err;
	}
	return -EIO;
}

static int put_large(tine_cache *cache, const struct cache_key *key,
		     struct record *record, const void *val, int64_t deadline)
{
	uint64_t size = large_size(key->len, record->val_len);
	struct writing writing;
	int err, failure;

	err = begin_large(cache, &writing, size, deadline);
	if (err)
		return err;
	failure = large_write(cache, &writing, key, val, record->val_len);
	record->file = writing.number;
	record->sum = record_sum(record, 0);
	/* Without it the row is free, and the next that has it removes the file. */
	err = cache_lock(cache, deadline);
	if (err)
		goto unclaim;
	err = large_end(cache, &writing, !failure);
	if (!err && !failure)
		err = make_entry(cache, key, record, val, size, writing.born);
	/* The cache has been begun anew; the entry would be the first to go. */
	if (err == -ENOENT)
		err = 0;
	err = cache_settle(cache, err);
	if (err && err != -EAGAIN && !failure && large_end(cache, &writing, false) == 0)
		commit_changes(cache);
	cache_unlock(cache);
unclaim:
	large_unclaim(&writing);
	return failure ? failure : err == -EAGAIN ? 0 : err;
}

int cache_keep(tine_cache *cache, const struct cache_key *key,
	       const struct content *content, int64_t deadline)
{
	struct record record = { .hash = { key->hash[0], key->hash[1] },
				 .key_len = key->len,
				 .val_len = content->len,
				 .kind = key->kind,
				 .key_inside = 1,
				 .status = content->status };

	set_age(&record, content->age_ms);
	if (key->len <= MOST_SMALL && content->len <= MOST_SMALL &&
	    record_size(&record) <= MOST_SMALL)
		return put_small(cache, key, &record, content->val, deadline);
	record.key_inside = key->len <= MOST_KEY;
	return put_large(cache, key, &record, content->val, deadline);
}

int tine_cache_put_for(tine_cache *cache, const void *bytes, size_t len, const void *val,
		       size_t val_len, int64_t age_ms)
{
	struct cache_key key = { .bytes = bytes, .len = len, .kind = KEY_OF_CALLER };
	struct content content = { .val = val, .len = val_len, .age_ms = age_ms };

	if (!cache || !bytes || !len || (!val && val_len) || age_ms < 0)
		return -EINVAL;
	key_hash(&key);
	/* Bound: PATIENCE_MS. */
	return cache_keep(cache, &key, &content, TINE_FOREVER);
}

int tine_cache_put(tine_cache *cache, const void *bytes, size_t len, const void *val,
		   size_t val_len)
{
	return tine_cache_put_for(cache, bytes, len, val, val_len, 0);
}
