/* SPDX-License-Identifier: MIT */
/* The cache's log of records; the protocol is at the head of format.h. */
#include "cache/log.h"

#include "cache/hash.h"
#include "cache/slots.h"
#include "cache/undo.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define SLICE	   INT64_C(300000) /* nanoseconds; then others have a turn */
#define GIVEN_BACK 4		   /* segments at a time */
#define WALK_MOST  256		   /* records, dead ones too, in search of the oldest */

/* ---- words that others may write --------------------------------------------------- */

void words_load(void *to, const word *from, size_t len)
{
	char *at = to;
	uint64_t last;

	for (; len >= sizeof(*from); len -= sizeof(*from), at += sizeof(*from)) {
		last = get_word(*from++);
		memcpy(at, &last, sizeof(last));
	}
	if (len) {
		last = get_word(*from);
		memcpy(at, &last, len);
	}
}

void words_store(word *to, const void *from, size_t len)
{
	const char *at = from;
	uint64_t last;

	for (; len >= sizeof(*to); len -= sizeof(*to), at += sizeof(*to)) {
		memcpy(&last, at, sizeof(last));
		atomic_store_explicit(to++, last, memory_order_relaxed);
	}
	if (len) {
		last = 0;
		memcpy(&last, at, len);
		atomic_store_explicit(to, last, memory_order_relaxed);
	}
}

bool words_equal(const word *words, const void *bytes, size_t len)
{
	const char *at = bytes;
	uint64_t last;

	for (; len >= sizeof(*words); len -= sizeof(*words), at += sizeof(*words)) {
		memcpy(&last, at, sizeof(last));
		if (get_word(*words++) != last)
			return false;
	}
	if (!len)
		return true;
	last = get_word(*words);
	return memcmp(&last, at, len) == 0;
}

/* ---- records ----------------------------------------------------------------------- */

static uint64_t padded(uint64_t len)
{
	return (len + 15) & ~UINT64_C(15);
}

static uint64_t key_room(const struct record *record)
{
	return record->key_inside ? padded(record->key_len) : 0;
}

uint64_t record_size(const struct record *record)
{
	return sizeof(*record) + key_room(record) +
	       (record->file ? 0 : padded(record->val_len));
}

/* What segment a place is in, at all times one that is there. */
static struct segment *segment_at(tine_cache *cache, uint64_t index)
{
	return index > UINT32_MAX ? NULL
				  : area_at(&cache->data, index * SEGMENT, SEGMENT);
}

bool record_read(tine_cache *cache, uint64_t place, struct record *record)
{
	uint64_t in_segment = place % SEGMENT, room = SEGMENT - in_segment;
	const word *words;

	if (in_segment < sizeof(struct segment) || place % 16 || room < sizeof(*record))
		return false;
	words = area_at(&cache->data, place, sizeof(*record));
	if (!words)
		return false;
	words_load(record, words, sizeof(*record));
	/* Each before the sum, which might overflow. */
	return (record->file || record->val_len <= SEGMENT) &&
	       (!record->key_inside || record->key_len <= SEGMENT) &&
	       record_size(record) <= room;
}

const word *record_key(tine_cache *cache, uint64_t place, const struct record *record)
{
	return area_at(&cache->data, place + sizeof(*record), key_room(record));
}

const word *record_value(tine_cache *cache, uint64_t place, const struct record *record)
{
	return area_at(&cache->data, place + sizeof(*record) + key_room(record),
		       padded(record->val_len));
}

/* ---- the log ----------------------------------------------------------------------- */

uint64_t cache_bytes(tine_cache *cache)
{
	struct index_header *header = cache_header(cache);
	uint64_t slots = get_word(header->slots) / SLOT_STEP * SLOT_STEP + SLOT_STEP;
	uint64_t holes = get_word(header->holes);

	return HEADER_SIZE + slots * sizeof(struct slot) +
	       (get_word(header->segments) - holes) * SEGMENT + holes * HEADER_SIZE +
	       get_word(header->large_bytes);
}

/* Takes the first of a list of segments, if there is one. */
static int list_pop(tine_cache *cache, word *list, word *count, uint64_t *index)
{
	struct segment *segment;
	int err;

	*index = get_word(*list) - 1;
	segment = segment_at(cache, *index);
	if (!segment || get_word(*count) == 0)
		return -EUCLEAN;
	err = change_word(cache, list, get_word(segment->next));
	return err ? err : change_word(cache, count, get_word(*count) - 1);
}

static int list_push(tine_cache *cache, word *list, word *count, uint64_t index)
{
	struct segment *segment = segment_at(cache, index);
	int err = segment ? change_word(cache, &segment->next, get_word(*list))
			  : -EUCLEAN;

	if (!err)
		err = change_word(cache, list, index + 1);
	return err ? err : change_word(cache, count, get_word(*count) + 1);
}

/* One that is free, or a new one; its blocks are allocated. */
static int segment_take(tine_cache *cache, uint64_t *index)
{
	struct index_header *header = cache_header(cache);
	struct segment *segment;
	int err;

	if (get_word(header->free_segment)) {
		err = list_pop(cache, &header->free_segment, &header->free_segments,
			       index);
	} else if (get_word(header->hole)) {
		err = list_pop(cache, &header->hole, &header->holes, index);
	} else {
		*index = get_word(header->segments);
		err = change_word(cache, &header->segments, *index + 1);
	}
	if (!err)
		err = area_grow(&cache->data, (*index + 1) * SEGMENT);
	/* There may be holes before the end of the file. */
	if (!err)
		err = -posix_fallocate(own_fd_use(&cache->data.own), *index * SEGMENT,
				       SEGMENT);
	if (err)
		return err;
	segment = segment_at(cache, *index);
	err = segment ? change_word(cache, &segment->next, 0) : -EUCLEAN;
	return err ? err : change_word(cache, &segment->fill, sizeof(*segment));
}

static int segment_begin(tine_cache *cache)
{
	struct index_header *header = cache_header(cache);
	uint64_t index, last = get_word(header->last);
	struct segment *before;
	int err = segment_take(cache, &index);

	if (err)
		return err;
	if (!last) {
		err = change_word(cache, &header->first, index + 1);
		if (!err)
			err = change_word(cache, &header->tail,
					  index * SEGMENT + sizeof(struct segment));
	} else {
		before = segment_at(cache, last - 1);
		err = before ? change_word(cache, &before->next, index + 1) : -EUCLEAN;
	}
	return err ? err : change_word(cache, &header->last, index + 1);
}

static bool last_holds(tine_cache *cache, uint64_t size)
{
	uint64_t last = get_word(cache_header(cache)->last);
	struct segment *segment = last ? segment_at(cache, last - 1) : NULL;

	return segment && get_word(segment->fill) + size <= SEGMENT;
}

int log_append(tine_cache *cache, const struct record *record, const void *key,
	       const void *val, uint64_t *place)
{
	struct index_header *header = cache_header(cache);
	uint64_t size = record_size(record), fill;
	struct segment *segment;
	word *words;
	int err;

	if (!last_holds(cache, size) && (err = segment_begin(cache)) != 0)
		return err;
	segment = segment_at(cache, get_word(header->last) - 1);
	if (!segment)
		return -EUCLEAN;
	fill = get_word(segment->fill);
	*place = (get_word(header->last) - 1) * SEGMENT + fill;
	words = area_at(&cache->data, *place, size);
	if (!words || fill % 16 || fill < sizeof(*segment))
		return -EUCLEAN;
	words_store(words, record, sizeof(*record));
	words += sizeof(*record) / sizeof(*words);
	if (record->key_inside)
		words_store(words, key, record->key_len);
	words += key_room(record) / sizeof(*words);
	if (!record->file)
		words_store(words, val, record->val_len);
	return change_word(cache, &segment->fill, fill + size);
}

/* ---- its tail ---------------------------------------------------------------------- */

/* The entry whose record this is; NULL: it is dead. */
static struct slot *owner(tine_cache *cache, uint64_t place, const struct record *record)
{
	struct slot *slot = slot_at(cache, record->slot);

	return slot && get_word(slot->place) == place ? slot : NULL;
}

/* The first segment is behind the tail. */
static int segment_leave(tine_cache *cache, struct segment *segment)
{
	struct index_header *header = cache_header(cache);
	uint64_t index = get_word(header->first) - 1, next = get_word(segment->next);
	int err;

	err = change_word(cache, &header->first, next);
	if (!err)
		err = change_word(cache, &header->tail,
				  (next - 1) * SEGMENT + sizeof(struct segment));
	if (!err)
		err = list_push(cache, &header->free_segment, &header->free_segments,
				index);
	if (!err)
		commit_changes(cache);
	return err;
}

/* The segment that the place is in, or follows; NULL: the log is damaged. */
static struct segment *segment_of(tine_cache *cache, uint64_t index, uint64_t place)
{
	struct segment *segment = segment_at(cache, index);
	uint64_t start = index * SEGMENT;

	return segment && get_word(segment->fill) <= SEGMENT &&
			       place >= start + sizeof(*segment) &&
			       place <= start + get_word(segment->fill)
		       ? segment
		       : NULL;
}

/* 1: the tail has moved; 0: it is at an entry, or the end. */
static int tail_step(tine_cache *cache)
{
	struct index_header *header = cache_header(cache);
	uint64_t first = get_word(header->first), tail = get_word(header->tail);
	struct segment *segment;
	struct record record;
	int err;

	if (!first)
		return 0;
	segment = segment_of(cache, first - 1, tail);
	if (!segment)
		return -EUCLEAN;
	if (tail == (first - 1) * SEGMENT + get_word(segment->fill)) {
		if (!get_word(segment->next))
			return 0;
		err = segment_leave(cache, segment);
		return err ? err : 1;
	}
	if (!record_read(cache, tail, &record))
		return -EUCLEAN;
	if (owner(cache, tail, &record))
		return 0;
	err = change_word(cache, &header->tail, tail + record_size(&record));
	if (err)
		return err;
	commit_changes(cache);
	return 1;
}

int log_trim(tine_cache *cache)
{
	int moved;

	do
		moved = tail_step(cache);
	while (moved > 0);
	if (moved < 0)
		undo_changes(cache);
	return moved;
}

int log_give_back(tine_cache *cache)
{
	struct index_header *header = cache_header(cache);
	uint64_t index;
	int err;

	for (unsigned n = 0; n < GIVEN_BACK && get_word(header->free_segment); n++) {
		index = get_word(header->free_segment) - 1;
		/* But for the first page, which has the link. */
		fallocate(own_fd_use(&cache->data.own),
			  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  index * SEGMENT + HEADER_SIZE, SEGMENT - HEADER_SIZE);
		err = list_pop(cache, &header->free_segment, &header->free_segments,
			       &index);
		if (!err)
			err = list_push(cache, &header->hole, &header->holes, index);
		if (err)
			return err;
		commit_changes(cache);
	}
	return get_word(header->free_segment) != 0;
}

/* An entry, as it was looked at. */
struct entry {
	uint64_t place, size, slot, used;
};

/* Entries from the tail on, at most LOOKED_AT: how many. */
static int look_at_oldest(tine_cache *cache, struct entry oldest[])
{
	struct index_header *header = cache_header(cache);
	uint64_t next = get_word(header->first), place = get_word(header->tail);
	unsigned n = 0;

	for (unsigned walked = 0; next && walked < WALK_MOST && n < LOOKED_AT;) {
		struct segment *segment = segment_of(cache, next - 1, place);
		struct record record;
		struct slot *slot;

		if (!segment)
			return -EUCLEAN;
		if (place == (next - 1) * SEGMENT + get_word(segment->fill)) {
			next = get_word(segment->next);
			place = (next - 1) * SEGMENT + sizeof(struct segment);
			walked++;
			continue;
		}
		if (!record_read(cache, place, &record))
			return -EUCLEAN;
		slot = owner(cache, place, &record);
		if (slot)
			oldest[n++] = (struct entry){ place, record_size(&record),
						      record.slot, get_word(slot->used) };
		place += record_size(&record);
		walked++;
	}
	return n;
}

/* Copies an entry's record to the end of the log. */
static int move_record(tine_cache *cache, uint64_t place)
{
	struct record record;
	struct slot *slot;
	char copy[MOST_SMALL];
	uint64_t to, size;
	const word *words;
	int err;

	if (!record_read(cache, place, &record) || record_size(&record) > MOST_SMALL)
		return -EUCLEAN;
	slot = owner(cache, place, &record);
	size = record_size(&record) - sizeof(record);
	words = area_at(&cache->data, place + sizeof(record), size);
	if (!slot || !words)
		return -EUCLEAN;
	words_load(copy, words, size);
	err = log_append(cache, &record, copy, copy + key_room(&record), &to);
	if (!err)
		err = change_word(cache, &slot->place, to);
	if (!err)
		commit_changes(cache);
	return err;
}

/* Drops the least recently used of the oldest; how many bytes of the log that was. */
static int evict(tine_cache *cache, uint64_t *bytes)
{
	struct index_header *header = cache_header(cache);
	struct entry oldest[LOOKED_AT];
	int n = look_at_oldest(cache, oldest), victim = 0, err;

	if (n <= 0)
		return n < 0 ? n : -ENOENT;
	for (int i = 1; i < n; i++)
		if (oldest[i].used < oldest[victim].used)
			victim = i;
	*bytes = oldest[victim].size;
	err = slot_drop(cache, oldest[victim].slot);
	if (!err)
		err = change_word(cache, &header->evictions,
				  get_word(header->evictions) + 1);
	if (!err)
		err = change_word(cache, &header->clock, get_word(header->clock) + 1);
	if (err)
		return err;
	commit_changes(cache);
	for (int i = 0; !err && i < victim; i++)
		err = move_record(cache, oldest[i].place);
	return err ? err : log_trim(cache);
}

/* Past the dead, where a walk has met no others: the tail moves. */
static int pass_dead(tine_cache *cache)
{
	struct index_header *header = cache_header(cache);
	uint64_t tail = get_word(header->tail);
	int err = log_trim(cache);

	return err || get_word(header->tail) != tail ? err : -EUCLEAN;
}

/* Bytes but for those of segments that are free. */
static uint64_t bytes_in_use(tine_cache *cache)
{
	return cache_bytes(cache) -
	       get_word(cache_header(cache)->free_segments) * SEGMENT;
}

/* Of what is free, for a large file. */
static int give_blocks_back(tine_cache *cache, uint64_t beside)
{
	uint64_t max = get_word(cache_header(cache)->max_bytes), begun = cache_now();
	int more = 1;

	while (more > 0 && cache_bytes(cache) + SEGMENT + beside > max) {
		if ((int64_t)(cache_now() - begun) > SLICE)
			return -EAGAIN;
		more = log_give_back(cache);
	}
	return more < 0 ? more : 0;
}

/*
 * While the disk is not used up, nothing is evicted. Then what goes at the tail is twice
 * what comes at the end, so that there is a free segment before one is needed.
 */
int log_room(tine_cache *cache, uint64_t record, uint64_t beside)
{
	struct index_header *header = cache_header(cache);
	uint64_t max = get_word(header->max_bytes), freed = 0, begun = cache_now();
	int err;

	if (beside > max / 2)
		return -EFBIG;
	while (bytes_in_use(cache) + SLACK + beside > max) {
		uint64_t growth = last_holds(cache, record) ? 0 : SEGMENT, bytes = 0;

		/* One more is for those that are moved on. */
		if (!beside && freed >= 2 * record &&
		    bytes_in_use(cache) + growth + SEGMENT <= max)
			break;
		err = evict(cache, &bytes);
		if (err == -ENOENT && get_word(header->entries) == 0)
			return err;
		if (err == -ENOENT)
			err = pass_dead(cache);
		if (err) {
			undo_changes(cache);
			return err;
		}
		freed += bytes;
		if ((int64_t)(cache_now() - begun) > SLICE)
			return -EAGAIN;
	}
	return beside ? give_blocks_back(cache, beside) : 0;
}
