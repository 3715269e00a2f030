/* SPDX-License-Identifier: MIT */
/* The cache's files and index; the protocol is at the head of cache.h. */
#include "cache/cache.h"

#include "base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- files that grow --------------------------------------------------------------- */

static uint64_t file_size(int fd)
{
	struct stat now;

	return fstat(fd, &now) == 0 ? (uint64_t)now.st_size : 0;
}

/* Of address space, which may be scarce: what it needs is twice what there is. */
static int map_file(int fd, uint64_t wanted, uint64_t needed, uint64_t *room, char **base)
{
	for (*room = wanted; *room >= needed; *room /= 2) {
		*base = mmap(NULL, *room, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (*base != MAP_FAILED)
			return 0;
		if (errno != ENOMEM)
			break;
	}
	return errno ? -errno : -ENOMEM;
}

int area_open(struct area *area, int folder, const char *name, uint64_t room)
{
	struct stat now;
	char *base;
	int err;

	*area = (struct area){ .mutex = PTHREAD_MUTEX_INITIALIZER };
	area->fd = openat(folder, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (area->fd < 0)
		return -errno;
	if (fstat(area->fd, &now) != 0 || !S_ISREG(now.st_mode)) {
		err = -ENOTEMPTY;
		goto close_file;
	}
	err = map_file(area->fd, room, 2 * (uint64_t)now.st_size + SEGMENT, &area->room,
		       &base);
	if (err)
		goto close_file;
	atomic_init(&area->base, base);
	atomic_init(&area->size, now.st_size);
	return 0;

close_file:
	close(area->fd);
	area->fd = -1;
	return err;
}

void area_close(struct area *area)
{
	struct outgrown *old;

	if (area->fd < 0)
		return;
	munmap(atomic_load(&area->base), area->room);
	while ((old = area->outgrown) != NULL) {
		area->outgrown = old->next;
		munmap(old->base, old->room);
		free(old);
	}
	close(area->fd);
	area->fd = -1;
}

/* Looks how far the file reaches, and maps it anew where that is beyond the mapping. */
static int area_look(struct area *area)
{
	uint64_t size, room;
	struct outgrown *old;
	char *base;
	int err = 0;

	pthread_mutex_lock(&area->mutex);
	size = file_size(area->fd);
	if (size > area->room) {
		old = malloc(sizeof(*old));
		err = old ? map_file(area->fd, 4 * size, size, &room, &base) : -ENOMEM;
		if (err) {
			free(old);
			goto unlock;
		}
		*old = (struct outgrown){ area->outgrown, atomic_load(&area->base),
					  area->room };
		area->outgrown = old;
		area->room = room;
		atomic_store(&area->base, base);
	}
	/* After the base: who sees the size must not use an older one. */
	atomic_store(&area->size, size);
unlock:
	pthread_mutex_unlock(&area->mutex);
	return err;
}

static bool reaches(struct area *area, uint64_t offset, uint64_t len)
{
	uint64_t size = atomic_load_explicit(&area->size, memory_order_acquire);

	return len <= size && offset <= size - len;
}

void *area_at(struct area *area, uint64_t offset, uint64_t len)
{
	if (!reaches(area, offset, len) &&
	    (area_look(area) != 0 || !reaches(area, offset, len)))
		return NULL;
	return atomic_load_explicit(&area->base, memory_order_acquire) + offset;
}

int area_grow(struct area *area, uint64_t size)
{
	uint64_t now;
	int err = 0;

	if (reaches(area, 0, size))
		return 0;
	now = file_size(area->fd);
	if (now < size && !file_may_reach(size))
		return -EFBIG;
	if (now < size)
		err = -posix_fallocate(area->fd, now, size - now);
	return err ? err : area_look(area);
}

/* The offset of a word, in whichever mapping it was found; UINT64_MAX: in none. */
static uint64_t area_offset(struct area *area, const word *where)
{
	uintptr_t at = (uintptr_t)where, base = (uintptr_t)atomic_load(&area->base);

	if (at >= base && at < base + area->room)
		return at - base;
	for (struct outgrown *old = area->outgrown; old; old = old->next)
		if (at >= (uintptr_t)old->base && at < (uintptr_t)old->base + old->room)
			return at - (uintptr_t)old->base;
	return UINT64_MAX;
}

struct header *cache_header(tine_cache *cache)
{
	return (struct header *)atomic_load_explicit(&cache->index.base,
						     memory_order_acquire);
}

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

/* ---- changes ----------------------------------------------------------------------- */

int change(tine_cache *cache, word *where, uint64_t to)
{
	struct header *header = cache_header(cache);
	uint64_t n = get_word(header->undos), offset;

	if (n >= MOST_UNDO)
		return -EUCLEAN;
	offset = area_offset(&cache->index, where);
	if (offset == UINT64_MAX)
		offset = area_offset(&cache->data, where) | IN_DATA;
	header->undo[n].where = offset;
	header->undo[n].old = get_word(*where);
	/* Of who is killed the stores are seen up to some moment: in this order. */
	atomic_store_explicit(&header->undos, n + 1, memory_order_release);
	atomic_store_explicit(where, to, memory_order_release);
	return 0;
}

void commit(tine_cache *cache)
{
	struct header *header = cache_header(cache);
	uint64_t doomed = get_word(header->doomed);

	atomic_store_explicit(&header->undos, 0, memory_order_release);
	if (doomed) {
		large_remove(cache, doomed);
		atomic_store_explicit(&header->doomed, 0, memory_order_release);
	}
}

static int undo_all(tine_cache *cache)
{
	struct header *header = cache_header(cache);
	uint64_t n = get_word(header->undos);

	if (n > MOST_UNDO)
		return -EUCLEAN;
	while (n-- > 0) {
		uint64_t where = get_word(header->undo[n].where);
		struct area *area = where & IN_DATA ? &cache->data : &cache->index;
		word *at = where % sizeof(word)
				   ? NULL
				   : area_at(area, where & ~IN_DATA, sizeof(word));

		if (!at)
			return -EUCLEAN;
		atomic_store_explicit(at, get_word(header->undo[n].old),
				      memory_order_release);
	}
	atomic_store_explicit(&header->undos, 0, memory_order_release);
	return 0;
}

void undo(tine_cache *cache)
{
	undo_all(cache);
}

/* ---- the lock ---------------------------------------------------------------------- */

static uint64_t check_of(uint64_t value)
{
	return (value ^ CACHE_MAGIC) * UINT64_C(0x9e3779b97f4a7c15);
}

/* 0; -EPROTO: of another version; -ENODATA: it is still to be made; -EUCLEAN. */
static int is_index(tine_cache *cache)
{
	struct header *header = area_at(&cache->index, 0, HEADER_SIZE);
	uint64_t layout, magic;

	if (!header)
		return -EUCLEAN;
	magic = get_word(header->magic);
	if (magic == CACHE_BEGUN || (magic == 0 && get_word(header->check) == 0))
		return -ENODATA;
	if (magic != CACHE_MAGIC)
		return -EUCLEAN;
	layout = get_word(header->layout);
	if (get_word(header->check) != check_of(layout))
		return -EUCLEAN;
	return layout == CACHE_LAYOUT ? 0 : -EPROTO;
}

int cache_set_max(tine_cache *cache, uint64_t max_bytes)
{
	struct header *header = cache_header(cache);
	int err = change(cache, &header->max_bytes, max_bytes);

	if (!err)
		err = change(cache, &header->max_check, check_of(max_bytes));
	if (err)
		return err;
	commit(cache);
	cache->max_bytes = max_bytes;
	return 0;
}

/* What costs little to see: the limit, and that the files are as long as they must be. */
static int check_header(tine_cache *cache)
{
	struct header *header = cache_header(cache);
	uint64_t slots = get_word(header->slots), segments = get_word(header->segments);

	if (get_word(header->max_check) != check_of(get_word(header->max_bytes)) ||
	    (slots && !slot_at(cache, slots - 1)) ||
	    (segments && (segments > UINT32_MAX ||
			  !area_at(&cache->data, (segments - 1) * SEGMENT, SEGMENT))))
		return -EUCLEAN;
	return 0;
}

/* What a death has left, with the lock. */
static int mend(tine_cache *cache)
{
	struct header *header = cache_header(cache);
	int err = is_index(cache);

	if (err)
		return err;
	err = undo_all(cache);
	if (!err && get_word(header->doomed))
		commit(cache);
	return err ? err : check_header(cache);
}

static void bring_in(tine_cache *cache)
{
	struct header *header = cache_header(cache);

	header->hits += atomic_exchange(&cache->hits, 0);
	header->misses += atomic_exchange(&cache->misses, 0);
}

int cache_lock(tine_cache *cache)
{
	int err = 0;

	pthread_mutex_lock(&cache->mutex);
	/* In a child, which inherits no locks. */
	if (cache->lock.fd < 0)
		err = lockfd_open(&cache->lock, cache->folder, "lock");
	if (err)
		goto unlock_threads;
	err = lockfd_acquire(&cache->lock, WRITER, false, TINE_FOREVER);
	if (err)
		goto unlock_threads;
	err = mend(cache);
	if (err == -EUCLEAN || err == -ENODATA)
		err = cache_restart(cache, err == -EUCLEAN);
	if (err)
		goto unlock_processes;
	bring_in(cache);
	cache->max_bytes = get_word(cache_header(cache)->max_bytes);
	return 0;

unlock_processes:
	lockfd_release(&cache->lock, WRITER);
unlock_threads:
	pthread_mutex_unlock(&cache->mutex);
	return err;
}

void cache_unlock(tine_cache *cache)
{
	lockfd_release(&cache->lock, WRITER);
	pthread_mutex_unlock(&cache->mutex);
}

/* ---- begun anew -------------------------------------------------------------------- */

/* Which boot this is; zeros where it cannot be known: then each open looks. */
static void this_boot(uint64_t boot[2])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	char text[36];

	boot[0] = boot[1] = 0;
	if (fd < 0)
		return;
	if (read(fd, text, sizeof(text)) == sizeof(text)) {
		boot[0] = bytes_hash(text, 18) | 1;
		boot[1] = bytes_hash(text + 18, 18);
	}
	close(fd);
}

static void note_boot(struct header *header, const uint64_t boot[2])
{
	header->boot[0] = boot[0];
	header->boot[1] = boot[1];
}

/*
 * In place, for others have it mapped: the files stay as long as they are, and only their
 * blocks are given back.
 */
static void give_back(int fd, uint64_t from)
{
	uint64_t size = file_size(fd);

	if (size > from)
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from,
			  size - from);
}

int cache_restart(tine_cache *cache, bool damaged)
{
	uint64_t boot[2], kept[5] = { 0 }, size;
	struct header *header;
	int err;

	size = HEADER_SIZE + SLOT_STEP * sizeof(struct slot);
	err = area_grow(&cache->index, size);
	if (!err)
		err = -posix_fallocate(cache->index.fd, 0, size);
	if (err)
		return err;
	header = cache_header(cache);
	if (get_word(header->check) == check_of(get_word(header->layout))) {
		kept[0] = get_word(header->restarts);
		kept[1] = get_word(header->hits);
		kept[2] = get_word(header->misses);
		kept[3] = get_word(header->evictions);
		kept[4] = get_word(header->files);
	}
	/* Who dies here leaves the damage, or says that there was none. */
	atomic_store(&header->magic, damaged ? 0 : CACHE_BEGUN);
	give_back(cache->data.fd, 0);
	give_back(cache->index.fd, size);
	for (word *at = &header->clock; at < (word *)(header + 1); at++)
		*at = 0;
	header->layout = CACHE_LAYOUT;
	header->check = check_of(CACHE_LAYOUT);
	if (get_word(header->max_check) != check_of(get_word(header->max_bytes))) {
		header->max_bytes = cache->max_bytes;
		header->max_check = check_of(cache->max_bytes);
	}
	header->restarts = kept[0] + damaged;
	header->hits = kept[1];
	header->misses = kept[2];
	header->evictions = kept[3];
	/* So that no number is given twice, if the clock is not set back. */
	header->files = cache_now() / 1000;
	if (get_word(header->files) <= kept[4])
		header->files = kept[4] + 1;
	header->clock = header->files;
	large_remove_all(cache);
	this_boot(boot);
	note_boot(header, boot);
	atomic_store(&header->magic, CACHE_MAGIC);
	return 0;
}

int cache_greet(tine_cache *cache)
{
	struct header *header = cache_header(cache);
	uint64_t boot[2];
	int err;

	this_boot(boot);
	if (boot[0] && get_word(header->boot[0]) == boot[0] &&
	    get_word(header->boot[1]) == boot[1])
		return 0;
	err = cache_check(cache);
	if (!err)
		note_boot(header, boot);
	return err;
}

/* ---- slots ------------------------------------------------------------------------- */

/*
 * Linear hashing: of n buckets, each new one takes its part of one that there was, so
 * that the table grows with the slots, by one at a time. Litwin: Linear Hashing (VLDB
 * 1980).
 */
static uint64_t bucket_of(uint64_t hash, uint64_t n)
{
	uint64_t mask = n < 2 ? 0 : (UINT64_C(2) << (63 - __builtin_clzll(n - 1))) - 1;
	uint64_t bucket = hash & mask;

	return bucket < n ? bucket : bucket & mask >> 1;
}

static int link_next(tine_cache *cache, struct slot *slot, uint64_t next)
{
	return change(cache, &slot->links, next << 32 | low_of(get_word(slot->links)));
}

static int link_head(tine_cache *cache, struct slot *slot, uint64_t head)
{
	return change(cache, &slot->links,
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
		slot = slot_at(cache, bucket_of(hash[0], slots));
		if (!slot)
			return NULL;
		next = low_of(get_word(slot->links));
	} else {
		next = high_of(get_word(after->links));
	}
	while (next && *steps > 0 && (slot = slot_at(cache, next - 1)) != NULL) {
		(*steps)--;
		if (get_word(slot->hash[0]) == hash[0] &&
		    get_word(slot->hash[1]) == hash[1])
			return slot;
		next = high_of(get_word(slot->links));
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
	next = low_of(get_word(old->links));
	for (unsigned steps = CHAIN; !err && next; steps--) {
		uint64_t self = next;

		slot = slot_at(cache, self - 1);
		if (!slot || steps == 0)
			return -EUCLEAN;
		next = high_of(get_word(slot->links));
		if (!(get_word(slot->hash[0]) & half)) {
			before = slot;
			continue;
		}
		err = before ? link_next(cache, before, next)
			     : link_head(cache, old, next);
		if (!err)
			err = link_next(cache, slot, low_of(get_word(fresh->links)));
		if (!err)
			err = link_head(cache, fresh, self);
	}
	return err;
}

static int slot_make(tine_cache *cache, uint64_t *index)
{
	struct header *header = cache_header(cache);
	uint64_t n = get_word(header->slots), size;
	struct slot *slot;
	int err;

	if (n >= UINT32_MAX - 1)
		return -ENOSPC;
	size = HEADER_SIZE + (n / SLOT_STEP + 1) * SLOT_STEP * sizeof(*slot);
	err = area_grow(&cache->index, size);
	/* Blocks that were given back when the cache was begun anew. */
	if (!err && n % SLOT_STEP == 0)
		err = -posix_fallocate(cache->index.fd, size - SLOT_STEP * sizeof(*slot),
				       SLOT_STEP * sizeof(*slot));
	if (err)
		return err;
	header = cache_header(cache);
	slot = slot_at(cache, n);
	if (!slot)
		return -EUCLEAN;
	slot->place = 0;
	slot->links = 0;
	err = change(cache, &header->slots, n + 1);
	if (!err && n > 0)
		err = divide_bucket(cache, n);
	*index = n;
	return err;
}

int slot_take(tine_cache *cache, const uint64_t hash[2], uint64_t *index)
{
	struct header *header = cache_header(cache);
	struct slot *slot, *bucket;
	int err;

	if (get_word(header->free_slot)) {
		*index = get_word(header->free_slot) - 1;
		slot = slot_at(cache, *index);
		if (!slot || get_word(slot->place))
			return -EUCLEAN;
		err = change(cache, &header->free_slot, high_of(get_word(slot->links)));
	} else {
		err = slot_make(cache, index);
	}
	if (err)
		return err;
	header = cache_header(cache);
	slot = slot_at(cache, *index);
	bucket = slot_at(cache, bucket_of(hash[0], get_word(header->slots)));
	if (!slot || !bucket)
		return -EUCLEAN;
	err = change(cache, &slot->hash[0], hash[0]);
	if (!err)
		err = change(cache, &slot->hash[1], hash[1]);
	if (!err)
		err = link_next(cache, slot, low_of(get_word(bucket->links)));
	if (!err)
		err = link_head(cache, bucket, *index + 1);
	if (!err)
		err = change(cache, &slot->file, 0);
	if (!err)
		err = change(cache, &slot->sizes, 0);
	if (!err)
		err = change(cache, &header->entries, get_word(header->entries) + 1);
	return err;
}

static int unlink_slot(tine_cache *cache, struct slot *slot, uint64_t index)
{
	uint64_t slots = get_word(cache_header(cache)->slots), next, after;
	struct slot *bucket, *at, *before = NULL;

	bucket = slot_at(cache, bucket_of(get_word(slot->hash[0]), slots));
	if (!bucket)
		return -EUCLEAN;
	after = high_of(get_word(slot->links));
	next = low_of(get_word(bucket->links));
	for (unsigned steps = CHAIN; next && steps > 0; steps--) {
		if (next == index + 1)
			return before ? link_next(cache, before, after)
				      : link_head(cache, bucket, after);
		at = slot_at(cache, next - 1);
		if (!at)
			break;
		before = at;
		next = high_of(get_word(at->links));
	}
	return -EUCLEAN;
}

int slot_drop(tine_cache *cache, uint64_t index)
{
	struct header *header = cache_header(cache);
	struct slot *slot = slot_at(cache, index);
	uint64_t bytes;
	int err;

	if (!slot || get_word(slot->place) == 0 || get_word(header->entries) == 0)
		return -EUCLEAN;
	err = unlink_slot(cache, slot, index);
	if (!err)
		err = change(cache, &slot->place, 0);
	if (!err)
		err = link_next(cache, slot, get_word(header->free_slot));
	if (!err)
		err = change(cache, &header->free_slot, index + 1);
	if (!err)
		err = change(cache, &header->entries, get_word(header->entries) - 1);
	if (err || !get_word(slot->file))
		return err;
	bytes = low_of(get_word(slot->sizes)) * HEADER_SIZE;
	if (bytes > get_word(header->large_bytes))
		return -EUCLEAN;
	err = change(cache, &header->large_bytes, get_word(header->large_bytes) - bytes);
	return err ? err : change(cache, &header->doomed, get_word(slot->file));
}

/* ---- reading it through ------------------------------------------------------------ */

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
	uint64_t next = slot ? low_of(get_word(slot->links)) : 0;

	for (unsigned steps = CHAIN; next; steps--) {
		slot = slot_at(cache, next - 1);
		if (steps == 0 || next > slots || !slot || !get_word(slot->place) ||
		    bucket_of(get_word(slot->hash[0]), slots) != bucket)
			return -EUCLEAN;
		(*linked)++;
		next = high_of(get_word(slot->links));
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
		next = high_of(get_word(slot->links));
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
	struct header *header = cache_header(cache);
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
			large += low_of(get_word(slot->sizes)) * HEADER_SIZE;
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
