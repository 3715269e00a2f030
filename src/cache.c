/* SPDX-License-Identifier: MIT */
/* The cache's calls; the protocol is at the head of cache.h. */
#include "cache.h"

#include "options.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
/* The header alone: no library to install where tine runs. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#define MOST_DEFAULT ((uint64_t)5 << 30)
#define LEAST_ROOM   ((uint64_t)1 << 30) /* of address space to map a file with */
#define PATH_ROOM    4096
#define KEY_ROOM     512 /* on the stack, for keys of tasks */

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

static void hash_key(struct key *key)
{
	XXH128_hash_t hash = XXH3_128bits(key->bytes, key->len);

	/* The two kinds of keys are apart. */
	key->hash[0] = hash.low64 ^ (uint64_t)key->kind;
	key->hash[1] = hash.high64;
}

/* ---- forks ------------------------------------------------------------------------- */

/*
 * A fork waits until no thread is within a change, so that the child's locks are free.
 * The child finds the lock file closed (lockfd.h), and opens it when it needs it. These
 * handlers run before lockfd's, whose lock is taken inside ours.
 */
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tine_cache *list;

static void before_fork(void)
{
	pthread_mutex_lock(&list_lock);
	for (tine_cache *cache = list; cache; cache = cache->next) {
		pthread_mutex_lock(&cache->mutex);
		pthread_mutex_lock(&cache->maps_mutex);
		pthread_mutex_lock(&cache->index.mutex);
		pthread_mutex_lock(&cache->data.mutex);
	}
}

static void after_fork(void)
{
	for (tine_cache *cache = list; cache; cache = cache->next) {
		pthread_mutex_unlock(&cache->data.mutex);
		pthread_mutex_unlock(&cache->index.mutex);
		pthread_mutex_unlock(&cache->maps_mutex);
		pthread_mutex_unlock(&cache->mutex);
	}
	pthread_mutex_unlock(&list_lock);
}

static void after_fork_in_child(void)
{
	/* The parent brings these in. */
	for (tine_cache *cache = list; cache; cache = cache->next) {
		atomic_store(&cache->hits, 0);
		atomic_store(&cache->misses, 0);
	}
	after_fork();
}

__attribute__((constructor)) static void handle_forks(void)
{
	pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

static void list_add(tine_cache *cache)
{
	pthread_mutex_lock(&list_lock);
	cache->next = list;
	if (list)
		list->prev = cache;
	list = cache;
	pthread_mutex_unlock(&list_lock);
}

static void list_remove(tine_cache *cache)
{
	pthread_mutex_lock(&list_lock);
	if (cache->prev)
		cache->prev->next = cache->next;
	else
		list = cache->next;
	if (cache->next)
		cache->next->prev = cache->prev;
	pthread_mutex_unlock(&list_lock);
}

/* ---- the folder -------------------------------------------------------------------- */

static int default_folder(char path[PATH_ROOM])
{
	static const char *const from[][2] = { { "TINE_CACHE", "" },
					       { "XDG_CACHE_HOME", "/tine" },
					       { "HOME", "/.cache/tine" } };

	for (size_t i = 0; i < sizeof(from) / sizeof(from[0]); i++) {
		const char *value = getenv(from[i][0]);

		if (!value || !*value)
			continue;
		return snprintf(path, PATH_ROOM, "%s%s", value, from[i][1]) < PATH_ROOM
			       ? 0
			       : -ENAMETOOLONG;
	}
	return -ENOENT;
}

/* Also those above it. */
static int make_folder(char *path)
{
	for (char *slash = path + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
		*slash = '\0';
		if (mkdir(path, 0700) != 0 && errno != EEXIST && errno != EROFS &&
		    errno != EACCES) {
			*slash = '/';
			return -errno;
		}
		*slash = '/';
	}
	return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : -errno;
}

static bool is_there(int folder, const char *name)
{
	return faccessat(folder, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Others may be making the same cache at this moment. */
static bool is_of_cache(const char *name)
{
	static const char *const names[] = {
		".", "..", "lock", "index", "data", "large"
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static int check_contents(int folder)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	while (!err && (entry = readdir(dir)) != NULL)
		if (!is_of_cache(entry->d_name))
			err = -ENOTEMPTY;
	closedir(dir);
	return err;
}

static int open_folder(const char *dir, bool existing)
{
	char path[PATH_ROOM];
	struct stat now;
	size_t len;
	int fd, err;

	if (dir && strlen(dir) >= sizeof(path))
		return -ENAMETOOLONG;
	err = dir ? (strcpy(path, dir), *dir ? 0 : -ENOENT) : default_folder(path);
	if (err)
		return err;
	/* With a slash at its end, a link would be followed. */
	for (len = strlen(path); len > 1 && path[len - 1] == '/'; len--)
		path[len - 1] = '\0';
	if (lstat(path, &now) != 0) {
		err = errno == ENOENT && !existing ? make_folder(path) : -errno;
		if (err)
			return err;
	} else if (S_ISLNK(now.st_mode)) {
		return -ELOOP;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &now) != 0 || now.st_uid != geteuid()) {
		err = -EPERM;
		goto close_folder;
	}
	if (!is_there(fd, "index")) {
		err = existing ? -ENOENT : check_contents(fd);
		if (err)
			goto close_folder;
	}
	return fd;

close_folder:
	close(fd);
	return err;
}

/* However it was named, and whatever the current folder will be. */
static char *path_of(int folder)
{
	char name[32], path[PATH_ROOM];
	ssize_t len;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", folder);
	len = readlink(name, path, sizeof(path) - 1);
	return len < 0 ? NULL : strndup(path, len);
}

static uint64_t default_bytes(int folder)
{
	struct statvfs disk;
	uint64_t bytes;

	if (fstatvfs(folder, &disk) != 0)
		return MOST_DEFAULT;
	bytes = (uint64_t)disk.f_bavail * disk.f_frsize / 10;
	return bytes < LEAST_BYTES    ? LEAST_BYTES
	       : bytes < MOST_DEFAULT ? bytes
				      : MOST_DEFAULT;
}

/* With the lock. 1: begun anew, over damage. */
static int open_index(tine_cache *cache, uint64_t max_bytes)
{
	struct header *header;
	int err, damaged = 0;

	err = cache_greet(cache);
	if (err == -EUCLEAN) {
		damaged = 1;
		err = cache_restart(cache, true);
	}
	if (err)
		return err;
	header = cache_header(cache);
	if (max_bytes == 0 && get_word(header->max_bytes) < LEAST_BYTES)
		max_bytes = default_bytes(cache->folder);
	err = max_bytes ? cache_set_max(cache, max_bytes) : 0;
	return err ? err : damaged;
}

/* 1: begun anew, for its index was gone. */
static int open_files(tine_cache *cache, uint64_t max_bytes)
{
	uint64_t room = max_bytes ? max_bytes : default_bytes(cache->folder);
	bool begun = false;
	int err;

	room = room < LEAST_ROOM / 2  ? LEAST_ROOM
	       : room > INT64_MAX / 4 ? room
				      : 2 * room;
	err = lockfd_open(&cache->lock, cache->folder, "lock");
	if (err)
		return err;
	if (mkdirat(cache->folder, "large", 0700) != 0 && errno != EEXIST) {
		err = -errno;
		goto close_lock;
	}
	cache->large = openat(cache->folder, "large",
			      O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (cache->large < 0) {
		err = -errno;
		goto close_lock;
	}
	err = area_open(&cache->index, cache->folder, "index", room);
	if (err)
		goto close_large;
	err = area_open(&cache->data, cache->folder, "data", room);
	if (err)
		goto close_index;
	err = lockfd_acquire(&cache->lock, WRITER, false, TINE_FOREVER);
	if (err)
		goto close_data;
	/* An index of no length is new, if there are no data yet. */
	if (!area_at(&cache->index, 0, 1)) {
		begun = area_at(&cache->data, 0, 1) != NULL;
		err = cache_restart(cache, begun);
	}
	lockfd_release(&cache->lock, WRITER);
	if (err)
		goto close_data;
	return begun;

close_data:
	area_close(&cache->data);
close_index:
	area_close(&cache->index);
close_large:
	close(cache->large);
close_lock:
	lockfd_close(&cache->lock);
	return err;
}

static void close_files(tine_cache *cache)
{
	large_close_all(cache);
	area_close(&cache->data);
	area_close(&cache->index);
	close(cache->large);
	lockfd_close(&cache->lock);
}

int tine_cache_open(tine_cache **out, const char *dir, const tine_cache_opts *opts)
{
	tine_cache_opts zero = { 0 };
	struct stat now;
	tine_cache *cache;
	uint64_t restarts;
	int err, begun;

	if (!opts)
		opts = &zero;
	if (!out || !TAIL_IS_ZERO(opts) || opts->max_age_ms < 0 ||
	    (opts->max_bytes && opts->max_bytes < LEAST_BYTES))
		return -EINVAL;
	cache = malloc(sizeof(*cache));
	if (!cache)
		return -ENOMEM;
	*cache = (tine_cache){ .mutex = PTHREAD_MUTEX_INITIALIZER,
			       .maps_mutex = PTHREAD_MUTEX_INITIALIZER,
			       .max_age = opts->max_age_ms < INT64_MAX / 1000000
						  ? opts->max_age_ms * 1000000
						  : 0 };
	cache->folder = err = open_folder(dir, opts->existing);
	if (err < 0)
		goto free_cache;
	cache->path = path_of(cache->folder);
	err = -ENOMEM;
	if (!cache->path || fstat(cache->folder, &now) != 0)
		goto free_path;
	cache->device = now.st_dev;
	cache->inode = now.st_ino;
	begun = err = open_files(cache, opts->max_bytes);
	if (err < 0)
		goto free_path;
	restarts = get_word(cache_header(cache)->restarts);
	err = cache_lock(cache);
	if (err)
		goto close_files;
	err = open_index(cache, opts->max_bytes);
	/* It may have been cache_lock() that found the damage. */
	if (err == 0 && (begun || get_word(cache_header(cache)->restarts) != restarts))
		err = 1;
	cache_unlock(cache);
	if (err < 0)
		goto close_files;
	list_add(cache);
	*out = cache;
	return err;

close_files:
	close_files(cache);
free_path:
	free(cache->path);
	close(cache->folder);
free_cache:
	free(cache);
	return err;
}

void tine_cache_free(tine_cache *cache)
{
	if (!cache)
		return;
	/* For the counts alone. */
	if ((atomic_load(&cache->hits) || atomic_load(&cache->misses)) &&
	    cache_lock(cache) == 0)
		cache_unlock(cache);
	list_remove(cache);
	close_files(cache);
	free(cache->path);
	close(cache->folder);
	free(cache);
}

/* ---- looking ----------------------------------------------------------------------- */

/* The value of an entry, as found. */
struct found {
	const void *val;
	size_t len;
	int status;
};

/* Copies a small value out: 0, -EUCLEAN: not what the checksum says, -ENOMEM. */
static int read_small(tine_cache *cache, const struct key *key, uint64_t place,
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
				  : read_small(cache, key, place, &record, found);
		if (err == 0)
			atomic_store_explicit(&slot->used, now, memory_order_relaxed);
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

static int find(tine_cache *cache, const struct key *key, struct found *found)
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

/* One of the two counts. */
static void count(word *number)
{
	atomic_fetch_add_explicit(number, 1, memory_order_relaxed);
}

int tine_cache_get(tine_cache *cache, const void *bytes, size_t len, const void **val,
		   size_t *val_len)
{
	struct key key = { .bytes = bytes, .len = len, .kind = KEY_OF_CALLER };
	struct found found;
	int err;

	if (!cache || !bytes || !len || !val || !val_len)
		return -EINVAL;
	hash_key(&key);
	err = find(cache, &key, &found);
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

/* Ends a change, as it went: what is left of an error. */
static int settle(tine_cache *cache, int err)
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
		err = settle(cache, err ? err : enter(cache, key, record, val, 0));
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
			err = settle(cache, err);
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
	err = settle(cache, err);
	if (err && err != -EAGAIN && !failure && large_end(cache, &writing, false) == 0)
		commit(cache);
	cache_unlock(cache);
unclaim:
	large_unclaim(&writing);
	return failure ? failure : err == -EAGAIN ? 0 : err;
}

static int put(tine_cache *cache, const struct key *key, const void *val, size_t val_len,
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
	hash_key(&key);
	return put(cache, &key, val, val_len, 0);
}

/* ---- calls ------------------------------------------------------------------------- */

/* What this thread computes, the innermost first. */
struct flight {
	struct flight *outer;
	const tine_cache *cache;
	uint64_t hash[2];
};
static _Thread_local struct flight *flights;

static uint64_t task_hash(const char *name)
{
	return (uint32_t)bytes_hash(name, strlen(name)) | 1;
}

/* A task's key: its name with the zero, its version, and the input. */
static int task_key(struct key *key, const tine_task *task, const void *in, char *room,
		    size_t room_len)
{
	size_t name = strlen(task->name) + 1;
	uint32_t version = task->version;
	char *bytes;

	key->len = name + sizeof(version) + task->in_size;
	bytes = key->len <= room_len ? room : malloc(key->len);
	if (!bytes)
		return -ENOMEM;
	memcpy(bytes, task->name, name);
	memcpy(bytes + name, &version, sizeof(version));
	if (task->in_size)
		memcpy(bytes + name + sizeof(version), in, task->in_size);
	key->bytes = bytes;
	key->kind = KEY_OF_TASK;
	key->task = task_hash(task->name);
	hash_key(key);
	return 0;
}

/* 1: it was there. */
static int take(tine_cache *cache, const struct key *key, const tine_task *task,
		void *out, int *status)
{
	struct found found;
	int err = find(cache, key, &found);

	if (err)
		return err == -ENOENT ? 0 : err;
	/* Of the same name and version, but another type: as if it were not there. */
	err = found.len == task->out_size;
	if (err) {
		if (task->out_size)
			memcpy(out, found.val, task->out_size);
		*status = found.status;
		count(&cache->hits);
	}
	tine_cache_release(cache, found.val);
	return err;
}

static int compute(tine_cache *cache, const struct key *key, const tine_task *task,
		   const void *in, void *out, int *status)
{
	struct flight flight = { .outer = flights,
				 .cache = cache,
				 .hash = { key->hash[0], key->hash[1] } };

	count(&cache->misses);
	flights = &flight;
	*status = task->fn(in, out);
	flights = flight.outer;
	if (*status < 0)
		return *status;
	/* It is there, if it cannot be kept. */
	put(cache, key, out, task->out_size, *status);
	return 0;
}

/* Of all that ask for it, one at a time comes as far as to compute. */
static int call(tine_cache *cache, const struct key *key, const tine_task *task,
		const void *in, void *out, int *status, int64_t deadline)
{
	struct lockfd turn;
	int err = take(cache, key, task, out, status);

	if (err)
		return err;
	for (const struct flight *flight = flights; flight; flight = flight->outer)
		if (flight->cache->inode == cache->inode &&
		    flight->cache->device == cache->device &&
		    flight->hash[0] == key->hash[0] && flight->hash[1] == key->hash[1])
			return -EDEADLK;
	err = lockfd_open(&turn, cache->folder, "lock");
	if (err)
		return err;
	err = lockfd_acquire(&turn, FLIGHT | key->hash[0] >> 2, false, deadline);
	if (!err)
		err = take(cache, key, task, out, status);
	if (!err)
		err = compute(cache, key, task, in, out, status);
	lockfd_close(&turn);
	return err;
}

int cache_take(tine_cache *cache, const tine_task *task, const void *in, void *out,
	       int *status, uint64_t hash[2])
{
	struct key key = { 0 };
	char room[KEY_ROOM];
	int err = task_key(&key, task, in, room, sizeof(room));

	if (err)
		return err;
	hash[0] = key.hash[0];
	hash[1] = key.hash[1];
	err = take(cache, &key, task, out, status);
	if (key.bytes != room)
		free((void *)key.bytes);
	return err;
}

int tine_cache_call(tine_cache *cache, const tine_task *task, const void *in, void *out,
		    int *status, int64_t deadline)
{
	struct key key = { 0 };
	char room[KEY_ROOM];
	int err, became = 0;

	if (!cache || !task || !task->name || !task->fn || (!in && task->in_size) ||
	    (!out && task->out_size))
		return -EINVAL;
	err = task_key(&key, task, in, room, sizeof(room));
	if (err)
		return err;
	err = call(cache, &key, task, in, out, &became, deadline);
	if (status && (err >= 0 || became < 0))
		*status = became;
	if (key.bytes != room)
		free((void *)key.bytes);
	return err;
}

/* ---- all of it --------------------------------------------------------------------- */

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
	return settle(cache, err);
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
			err = settle(cache, log_trim(cache));
		cache_unlock(cache);
	} while (!err && i < slots);
	while (!err && more) {
		err = cache_lock(cache);
		if (err)
			return err;
		more = err = log_give_back(cache);
		err = settle(cache, err < 0 ? err : 0);
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
		hash_key(&key);
		if (key.hash[0] != record->hash[0] || key.hash[1] != record->hash[1])
			return false;
	}
	if (record->file)
		return record->sum == record_sum(record, 0);
	if (!copy->key || read_small(cache, &key, copy->place, record, &found) != 0)
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
