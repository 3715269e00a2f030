/* SPDX-License-Identifier: MIT */
/* The cache's large files; the protocol is at the head of format.h. */
#include "cache/large.h"

#include "base/limits.h"
#include "cache/fs.h"
#include "cache/hash.h"
#include "cache/slots.h"
#include "cache/undo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Files that stay mapped though nobody uses them, and how large one may be. */
#define MOST_IDLE 16
#define IDLE_SIZE ((uint64_t)64 << 20)

/* A file that this process has mapped. */
struct mapped {
	struct mapped *same_number, *same_address; /* in their buckets */
	const struct large *base;
	const void *val;
	uint64_t size, number;
	uint64_t slot; /* of its entry, as long as there is one */
	uint64_t used;
	unsigned users;
};

static uint64_t value_offset(uint64_t key_len)
{
	return (sizeof(struct large) + key_len + 63) & ~UINT64_C(63);
}

uint64_t large_size(uint64_t key_len, uint64_t val_len)
{
	uint64_t size = value_offset(key_len) + val_len;

	return (size + HEADER_SIZE - 1) / HEADER_SIZE * HEADER_SIZE;
}

static const void *value_in(const struct large *large)
{
	return (const char *)large + value_offset(large->key_len);
}

static uint64_t nanoseconds(struct timespec time)
{
	return (uint64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Whether it is as it was when it was written, by what the kernel has noted. */
static bool is_untouched(const struct stat *now, const struct large *head, uint64_t born)
{
	return nanoseconds(now->st_mtim) == (uint64_t)head->stamp &&
	       nanoseconds(now->st_ctim) == born;
}

/* ---- those that are mapped --------------------------------------------------------- */

static unsigned number_bucket(uint64_t number)
{
	return number % MAP_BUCKETS;
}

static unsigned address_bucket(const void *val)
{
	return ((uintptr_t)val >> 12) % MAP_BUCKETS;
}

static struct mapped **by_number(tine_cache *cache, uint64_t number)
{
	struct mapped **at = &cache->by_number[number_bucket(number)];

	while (*at && (*at)->number != number)
		at = &(*at)->same_number;
	return at;
}

static struct mapped **by_value(tine_cache *cache, const void *val)
{
	struct mapped **at = &cache->by_address[address_bucket(val)];

	while (*at && (*at)->val != val)
		at = &(*at)->same_address;
	return at;
}

static void note_mapped(tine_cache *cache, struct mapped *mapped)
{
	unsigned number = number_bucket(mapped->number);
	unsigned address = address_bucket(mapped->val);

	mapped->same_number = cache->by_number[number];
	cache->by_number[number] = mapped;
	mapped->same_address = cache->by_address[address];
	cache->by_address[address] = mapped;
}

static void forget(tine_cache *cache, struct mapped *mapped)
{
	*by_number(cache, mapped->number) = mapped->same_number;
	*by_value(cache, mapped->val) = mapped->same_address;
	munmap((void *)mapped->base, mapped->size);
	free(mapped);
}

/* Whether its entry is there still, and it is not too large to be kept for it. */
static bool is_wanted(tine_cache *cache, const struct mapped *mapped)
{
	const struct slot *slot = slot_at(cache, mapped->slot);

	return slot && get_word(slot->place) && get_word(slot->file) == mapped->number &&
	       mapped->size <= IDLE_SIZE;
}

/* Lets go of the idle ones that are too many, or whose entries are gone. */
static void sweep_idle(tine_cache *cache)
{
	uint64_t clock = get_word(cache_header(cache)->clock);
	bool changed = clock != cache->clock;

	cache->clock = clock;
	while (changed || cache->idle > MOST_IDLE) {
		struct mapped *oldest = NULL, *next;

		for (unsigned i = 0; i < MAP_BUCKETS; i++)
			for (struct mapped *at = cache->by_number[i]; at; at = next) {
				next = at->same_number;
				if (at->users)
					continue;
				if (changed && !is_wanted(cache, at)) {
					cache->idle--;
					forget(cache, at);
				} else if (!oldest || at->used < oldest->used) {
					oldest = at;
				}
			}
		changed = false;
		if (cache->idle > MOST_IDLE) {
			cache->idle--;
			forget(cache, oldest);
		}
	}
}

void large_close_all(tine_cache *cache)
{
	for (unsigned i = 0; i < MAP_BUCKETS; i++)
		while (cache->by_number[i])
			forget(cache, cache->by_number[i]);
}

/* ---- reading ----------------------------------------------------------------------- */

static bool sum_is_right(const struct large *large)
{
	struct record record = { .hash = { large->hash[0], large->hash[1] },
				 .key_len = large->key_len,
				 .val_len = large->val_len,
				 .file = large->number };
	uint64_t hash = bytes_hash(value_in(large), large->val_len);

	hash ^= bytes_hash((const char *)large + sizeof(*large), large->key_len);
	return large->sum == record_sum(&record, hash);
}

/*
 * Maps the file of an entry: 0, -ENOENT, -EUCLEAN, or as mmap(2). born 0: reads it all.
 */
static int map_large(tine_cache *cache, const struct record *record, uint64_t born,
		     const struct large **out, uint64_t *size)
{
	uint64_t needed = value_offset(record->key_len) + record->val_len;
	const struct large *large;
	struct large head;
	struct stat now;
	int fd, err = 0;

	fd = openat(own_fd_use(&cache->large), large_name(record->file).text,
		    O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? -ENOENT : -errno;
	if (fstat(fd, &now) != 0 || !S_ISREG(now.st_mode) ||
	    (!cache->shared && !is_private(&now)) || record->val_len > INT64_MAX / 2 ||
	    (uint64_t)now.st_size != needed) {
		err = -EUCLEAN;
		goto close_file;
	}
	/* Read, for a page that is first touched costs ten times as much. */
	/* Bound: a regular file. */
	if (pread(fd, &head, sizeof(head), 0) != sizeof(head) ||
	    head.magic != LARGE_MAGIC || head.number != record->file ||
	    head.key_len != record->key_len || head.val_len != record->val_len ||
	    head.hash[0] != record->hash[0] || head.hash[1] != record->hash[1]) {
		err = -EUCLEAN;
		goto close_file;
	}
	large = mmap(NULL, needed, PROT_READ, MAP_SHARED, fd, 0);
	if (large == MAP_FAILED) {
		err = -errno;
		goto close_file;
	}
	if (!is_untouched(&now, &head, born) && !sum_is_right(large)) {
		err = -EUCLEAN;
		goto unmap;
	}
	*out = large;
	*size = needed;
	close(fd);
	return 0;

unmap:
	munmap((void *)large, needed);
close_file:
	close(fd);
	return err;
}

static bool is_of_key(const struct large *large, const struct cache_key *key)
{
	return large->key_len == key->len && large->hash[0] == key->hash[0] &&
	       large->hash[1] == key->hash[1] &&
	       memcmp((const char *)large + sizeof(*large), key->bytes, key->len) == 0;
}

int large_get(tine_cache *cache, const struct cache_key *key, const struct record *record,
	      uint64_t born, const void **val)
{
	const struct large *large;
	struct mapped *mapped;
	int err = 0;

	/* Bound: this process's threads, which map and read regular files. */
	pthread_mutex_lock(&cache->maps_mutex);
	mapped = *by_number(cache, record->file);
	if (!mapped) {
		mapped = malloc(sizeof(*mapped));
		err = mapped ? 0 : -ENOMEM;
		if (err)
			goto unlock;
		*mapped = (struct mapped){ .number = record->file };
		err = map_large(cache, record, born, &large, &mapped->size);
		if (err) {
			free(mapped);
			goto unlock;
		}
		mapped->base = large;
		mapped->val = (const char *)large + value_offset(record->key_len);
		note_mapped(cache, mapped);
		cache->idle++;
	}
	mapped->slot = record->slot;
	if (!record->key_inside && !is_of_key(mapped->base, key)) {
		err = -EUCLEAN;
		goto unlock;
	}
	if (mapped->users++ == 0)
		cache->idle--;
	*val = mapped->val;
unlock:
	if (cache->idle)
		sweep_idle(cache);
	pthread_mutex_unlock(&cache->maps_mutex);
	return err;
}

bool large_release(tine_cache *cache, const void *val)
{
	struct mapped *mapped;

	/* Bound: this process's threads, which map and read regular files. */
	pthread_mutex_lock(&cache->maps_mutex);
	mapped = *by_value(cache, val);
	if (mapped && mapped->users && --mapped->users == 0) {
		mapped->used = cache_now();
		cache->idle++;
		if (mapped->size > IDLE_SIZE) {
			cache->idle--;
			forget(cache, mapped);
		} else {
			sweep_idle(cache);
		}
	}
	pthread_mutex_unlock(&cache->maps_mutex);
	return mapped != NULL;
}

int large_verify(tine_cache *cache, const struct record *record)
{
	const struct large *large;
	uint64_t size;
	int err = map_large(cache, record, 0, &large, &size);

	if (!err)
		munmap((void *)large, size);
	return err;
}

int large_key(tine_cache *cache, const struct record *record, uint64_t born, void **key)
{
	const struct large *large;
	uint64_t size;
	int err = map_large(cache, record, born, &large, &size);

	if (err)
		return err;
	*key = malloc(large->key_len);
	if (*key)
		memcpy(*key, (const char *)large + sizeof(*large), large->key_len);
	munmap((void *)large, size);
	return *key ? 0 : -ENOMEM;
}

/* ---- writing ----------------------------------------------------------------------- */

static int claim_row(tine_cache *cache, struct writing *writing)
{
	int err = lockfd_open(&writing->claim, own_fd_use(&cache->folder), "lock");

	if (err)
		return err;
	for (writing->row = 0; writing->row < WRITERS; writing->row++) {
		/* Bound: TINE_NOWAIT. */
		err = lockfd_acquire(&writing->claim, WRITING + writing->row, false,
				     TINE_NOWAIT);
		if (err != -ETIMEDOUT)
			break;
	}
	if (err)
		lockfd_close(&writing->claim);
	return err == -ETIMEDOUT ? -EBUSY : err;
}

/* What whoever wrote in this row had promised of the disk. */
static int give_up_row(tine_cache *cache, unsigned row)
{
	struct index_header *header = cache_header(cache);
	uint64_t size = get_word(header->writing[row].size);
	int err;

	if (size > get_word(header->large_bytes))
		return -EUCLEAN;
	err = change_word(cache, &header->large_bytes,
			  get_word(header->large_bytes) - size);
	if (!err)
		err = change_word(cache, &header->doomed,
				  get_word(header->writing[row].number));
	return err ? err : change_word(cache, &header->writing[row].number, 0);
}

int large_reap(tine_cache *cache)
{
	struct index_header *header = cache_header(cache);
	struct lockfd claim;
	int err = lockfd_open(&claim, own_fd_use(&cache->folder), "lock");

	if (err)
		return err;
	for (unsigned row = 0; !err && row < WRITERS; row++) {
		/* Bound: TINE_NOWAIT. */
		if (!get_word(header->writing[row].number) ||
		    lockfd_acquire(&claim, WRITING + row, false, TINE_NOWAIT) != 0)
			continue;
		err = give_up_row(cache, row);
		if (!err)
			commit_changes(cache);
		lockfd_release(&claim, WRITING + row);
	}
	lockfd_close(&claim);
	return err;
}

/* One that no file has, though the count of them may have been damaged. */
static int new_number(tine_cache *cache, uint64_t *number)
{
	*number = get_word(cache_header(cache)->files);
	for (unsigned tries = 0; tries < 100; tries++)
		if (faccessat(own_fd_use(&cache->large), large_name(++*number).text, F_OK,
			      AT_SYMLINK_NOFOLLOW) != 0)
			return 0;
	return -EUCLEAN;
}

int large_begin(tine_cache *cache, struct writing *writing, uint64_t size)
{
	struct index_header *header = cache_header(cache);
	int err = claim_row(cache, writing);

	if (err)
		return err;
	if (get_word(header->writing[writing->row].number)) {
		err = give_up_row(cache, writing->row);
		if (err)
			goto undo;
		commit_changes(cache);
	}
	err = new_number(cache, &writing->number);
	if (err)
		goto undo;
	writing->size = size;
	err = change_word(cache, &header->files, writing->number);
	if (!err)
		err = change_word(cache, &header->large_bytes,
				  get_word(header->large_bytes) + size);
	if (!err)
		err = change_word(cache, &header->writing[writing->row].size, size);
	if (!err)
		err = change_word(cache, &header->writing[writing->row].number,
				  writing->number);
	if (err)
		goto undo;
	commit_changes(cache);
	return 0;

undo:
	undo_changes(cache);
	lockfd_close(&writing->claim);
	return err;
}

static int write_all(int fd, const void *bytes, uint64_t len, uint64_t offset)
{
	const char *at = bytes;

	while (len > 0) {
		/* Bound: a regular file. */
		ssize_t n = pwrite(fd, at, len < 1 << 30 ? len : 1 << 30, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		offset += n;
		len -= n;
	}
	return 0;
}

int large_write(tine_cache *cache, struct writing *writing, const struct cache_key *key,
		const void *val, uint64_t val_len)
{
	struct large large = { .magic = LARGE_MAGIC,
			       .number = writing->number,
			       .key_len = key->len,
			       .val_len = val_len,
			       .hash = { key->hash[0], key->hash[1] },
			       .stamp = cache_now() };
	struct record record = { .hash = { key->hash[0], key->hash[1] },
				 .key_len = key->len,
				 .val_len = val_len,
				 .file = writing->number };
	struct timespec times[2] = { { large.stamp / 1000000000,
				       large.stamp % 1000000000 } };
	struct stat now;
	int fd, err;

	if (!file_may_reach(value_offset(key->len) + val_len))
		return -EFBIG;
	large.sum = record_sum(&record, bytes_hash(val, val_len) ^
						bytes_hash(key->bytes, key->len));
	fd = openat(own_fd_use(&cache->large), large_name(writing->number).text,
		    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
		    cache->shared ? 0666 : 0600);
	if (fd < 0)
		return -errno;
	err = -posix_fallocate(fd, 0, value_offset(key->len) + val_len);
	if (!err)
		err = write_all(fd, &large, sizeof(large), 0);
	if (!err)
		err = write_all(fd, key->bytes, key->len, sizeof(large));
	if (!err)
		err = write_all(fd, val, val_len, value_offset(key->len));
	times[1] = times[0];
	if (!err && (futimens(fd, times) != 0 || fstat(fd, &now) != 0))
		err = -errno;
	if (close(fd) != 0 && !err)
		err = -errno;
	if (err)
		large_remove(own_fd_use(&cache->large), writing->number);
	else
		writing->born = nanoseconds(now.st_ctim);
	return err;
}

int large_end(tine_cache *cache, struct writing *writing, bool keep)
{
	struct index_header *header = cache_header(cache);

	/* The cache was begun anew meanwhile. */
	if (get_word(header->writing[writing->row].number) != writing->number) {
		large_remove(own_fd_use(&cache->large), writing->number);
		return -ENOENT;
	}
	return keep ? change_word(cache, &header->writing[writing->row].number, 0)
		    : give_up_row(cache, writing->row);
}

void large_unclaim(struct writing *writing)
{
	lockfd_close(&writing->claim);
}
