/* SPDX-License-Identifier: MIT */
/* The cache's folder: open and free; the protocol is at the head of format.h. */
#include "base/atfork.h"
#include "base/options.h"
#include "cache/check.h"
#include "cache/large.h"
#include "cache/turn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MOST_DEFAULT ((uint64_t)5 << 30)
#define LEAST_ROOM   ((uint64_t)1 << 30) /* of address space to map a file with */
#define PATH_ROOM    4096

/* ---- forks ------------------------------------------------------------------------- */

/*
 * A fork waits until no thread is within a change, so that the child's locks are free.
 * The child finds the lock file closed (lockfd.h), and opens it when it needs it. These
 * handlers run before lockfd's, whose lock is taken inside ours.
 */
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tine_cache *list;

static void hold_caches(void)
{
	pthread_mutex_lock(&list_lock);
	for (tine_cache *cache = list; cache; cache = cache->next) {
		pthread_mutex_lock(&cache->mutex);
		pthread_mutex_lock(&cache->maps_mutex);
		pthread_mutex_lock(&cache->index.mutex);
		pthread_mutex_lock(&cache->data.mutex);
	}
}

static void release_caches(void)
{
	for (tine_cache *cache = list; cache; cache = cache->next) {
		pthread_mutex_unlock(&cache->data.mutex);
		pthread_mutex_unlock(&cache->index.mutex);
		pthread_mutex_unlock(&cache->maps_mutex);
		pthread_mutex_unlock(&cache->mutex);
	}
	pthread_mutex_unlock(&list_lock);
}

static void renew_caches(void)
{
	/* The parent brings these in. */
	for (tine_cache *cache = list; cache; cache = cache->next) {
		atomic_store(&cache->hits, 0);
		atomic_store(&cache->misses, 0);
	}
	release_caches();
}

FILL_ATFORK static void fill_cache(void)
{
	atfork_fill(ATFORK_CACHE, &(struct atfork){ .before = hold_caches,
						    .in_parent = release_caches,
						    .in_child = renew_caches });
}

static void note_open(tine_cache *cache)
{
	pthread_mutex_lock(&list_lock);
	cache->next = list;
	if (list)
		list->prev = cache;
	list = cache;
	pthread_mutex_unlock(&list_lock);
}

static void note_closed(tine_cache *cache)
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
static int make_folders(char *path)
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
		err = errno == ENOENT && !existing ? make_folders(path) : -errno;
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
	struct index_header *header;
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
	uint64_t room = max_bytes ? max_bytes : MOST_DEFAULT;
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
	note_open(cache);
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
	note_closed(cache);
	close_files(cache);
	free(cache->path);
	close(cache->folder);
	free(cache);
}
