/* SPDX-License-Identifier: MIT */
/* The cache's folder: open and free; the protocol is at the head of format.h. */
#include "base/atfork.h"
#include "base/options.h"
#include "cache/check.h"
#include "cache/fs.h"
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
 * A fork waits until no thread maps a file, and for no change: in the child nobody has
 * the lock between threads, which is made anew, and the lock file is closed (lockfd.h),
 * and opened when it is needed. These handlers run before lockfd's, whose lock is taken
 * inside ours.
 */
static pthread_mutex_t caches_lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, tine_cache) caches = LIST_HEAD_INITIALIZER(caches);

static void hold_caches(void)
{
	tine_cache *cache;

	/* Bound: this process's threads, which open, map and read regular files. */
	pthread_mutex_lock(&caches_lock);
	LIST_FOREACH (cache, &caches, others) {
		/* Bound: as above. */
		pthread_mutex_lock(&cache->maps_mutex);
		pthread_mutex_lock(&cache->index.mutex);
		pthread_mutex_lock(&cache->data.mutex); /* Bound: as above. */
	}
}

static void release_caches(void)
{
	tine_cache *cache;

	LIST_FOREACH (cache, &caches, others) {
		pthread_mutex_unlock(&cache->data.mutex);
		pthread_mutex_unlock(&cache->index.mutex);
		pthread_mutex_unlock(&cache->maps_mutex);
	}
	pthread_mutex_unlock(&caches_lock);
}

static void renew_caches(void)
{
	tine_cache *cache;

	/* The parent brings these in. */
	LIST_FOREACH (cache, &caches, others) {
		atomic_store(&cache->hits, 0);
		atomic_store(&cache->misses, 0);
		cache->mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
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
	/* Bound: this process's threads, which hold it for no call that blocks. */
	pthread_mutex_lock(&caches_lock);
	LIST_INSERT_HEAD(&caches, cache, others);
	pthread_mutex_unlock(&caches_lock);
}

static void note_closed(tine_cache *cache)
{
	/* Bound: this process's threads, which hold it for no call that blocks. */
	pthread_mutex_lock(&caches_lock);
	LIST_REMOVE(cache, others);
	pthread_mutex_unlock(&caches_lock);
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
static int make_folders(char *path, mode_t mode)
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
	return mkdir(path, mode) == 0 || errno == EEXIST ? 0 : -errno;
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

static int name_folder(const char *dir, char path[PATH_ROOM])
{
	size_t len;

	if (dir && strlen(dir) >= PATH_ROOM)
		return -ENAMETOOLONG;
	if (!dir) {
		int err = default_folder(path);

		if (err)
			return err;
	} else {
		strcpy(path, dir);
	}
	/* With a slash at its end, a link would be followed. */
	for (len = strlen(path); len > 1 && path[len - 1] == '/'; len--)
		path[len - 1] = '\0';
	return *path ? 0 : -ENOENT;
}

static int open_folder(char *path, const tine_cache_opts *opts)
{
	struct stat now;
	int fd, err;

	if (lstat(path, &now) != 0) {
		err = errno == ENOENT && !opts->existing
			      ? make_folders(path, opts->shared ? 0777 : 0700)
			      : -errno;
		if (err)
			return err;
	} else if (S_ISLNK(now.st_mode)) {
		return -ELOOP;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &now) != 0 || (!opts->shared && !is_private(&now))) {
		err = -EPERM;
		goto close_folder;
	}
	if (!is_there(fd, "index")) {
		err = opts->existing ? -ENOENT : check_contents(fd);
		if (err)
			goto close_folder;
	}
	err = fds_raise(&fd, 1);
	return err ? err : fd;

close_folder:
	close(fd);
	return err;
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
		max_bytes = default_bytes(cache->folder.fd);
	err = max_bytes ? cache_set_max(cache, max_bytes) : 0;
	return err ? err : damaged;
}

/* The file of locks: no link, and nobody else's. */
static int open_lock(tine_cache *cache)
{
	struct stat named, now;
	int fd, err;

	/* lockfd_open() would make it for this user alone. */
	fd = openat(cache->folder.fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
		    cache->shared ? 0666 : 0600);
	if (fd < 0)
		return -errno;
	err = fstat(fd, &named) == 0 ? lockfd_open(&cache->lock, cache->folder.fd, "lock")
				     : -errno;
	close(fd);
	if (err)
		return err;
	if (fstat(cache->lock.own.fd, &now) == 0 && now.st_ino == named.st_ino &&
	    now.st_dev == named.st_dev && (cache->shared || is_private(&now)))
		return 0;
	lockfd_close(&cache->lock);
	return -EPERM;
}

/* The folder of large files. */
static int open_large(tine_cache *cache)
{
	struct stat now;
	int fd, err;

	if (mkdirat(cache->folder.fd, "large", cache->shared ? 0777 : 0700) != 0 &&
	    errno != EEXIST)
		return -errno;
	fd = openat(cache->folder.fd, "large",
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &now) != 0 || (!cache->shared && !is_private(&now))) {
		close(fd);
		return -EPERM;
	}
	err = fds_raise(&fd, 1);
	return err ? err : fd;
}

/* An index of no length is new, if there are no data yet. 1: its index was gone. */
static int begin_files(tine_cache *cache)
{
	int64_t until = tine_after(PATIENCE_MS);
	int err, begun = 0;

	if (area_at(&cache->index, 0, 1))
		return 0;
	do
		/* Bound: PATIENCE_MS. */
		err = lockfd_acquire(&cache->lock, WRITER, false, until);
	while (err == -EINTR);
	if (err)
		return err;
	if (!area_at(&cache->index, 0, 1)) {
		begun = area_at(&cache->data, 0, 1) != NULL;
		err = cache_restart(cache, begun);
	}
	lockfd_release(&cache->lock, WRITER);
	return err ? err : begun;
}

/* 1: begun anew, for its index was gone. */
static int open_files(tine_cache *cache, uint64_t max_bytes)
{
	uint64_t room = max_bytes ? max_bytes : MOST_DEFAULT;
	int err;

	room = room < LEAST_ROOM / 2  ? LEAST_ROOM
	       : room > INT64_MAX / 4 ? room
				      : 2 * room;
	err = open_lock(cache);
	if (err)
		return err;
	err = open_large(cache);
	if (err < 0)
		goto close_lock;
	cache->large = own_fd(err);
	err = area_open(&cache->index, cache->folder.fd, "index", cache->shared, room);
	if (err)
		goto close_large;
	err = area_open(&cache->data, cache->folder.fd, "data", cache->shared, room);
	if (err)
		goto close_index;
	err = begin_files(cache);
	if (err < 0)
		goto close_data;
	return err;

close_data:
	area_close(&cache->data);
close_index:
	area_close(&cache->index);
close_large:
	own_fd_close(&cache->large);
close_lock:
	lockfd_close(&cache->lock);
	return err;
}

/* Where nothing is to be mended or set, no lock is needed. */
static bool is_settled(tine_cache *cache, uint64_t max_bytes)
{
	uint64_t max;

	if (!cache_is_whole(cache) || !boot_is_noted(cache))
		return false;
	max = get_word(cache_header(cache)->max_bytes);
	if (max < LEAST_BYTES || (max_bytes && max_bytes != max))
		return false;
	cache->max_bytes = max;
	return true;
}

/* 1: begun anew, over damage. */
static int settle_index(tine_cache *cache, uint64_t max_bytes)
{
	uint64_t restarts;
	int err;

	if (is_settled(cache, max_bytes))
		return 0;
	restarts = get_word(cache_header(cache)->restarts);
	/* Bound: PATIENCE_MS. */
	err = cache_lock(cache, TINE_FOREVER);
	if (err)
		return err;
	err = open_index(cache, max_bytes);
	/* It may have been cache_lock() that found the damage. */
	if (err == 0 && get_word(cache_header(cache)->restarts) != restarts)
		err = 1;
	cache_unlock(cache);
	return err;
}

static void close_files(tine_cache *cache)
{
	large_close_all(cache);
	area_close(&cache->data);
	area_close(&cache->index);
	own_fd_close(&cache->large);
	lockfd_close(&cache->lock);
}

int tine_cache_open(tine_cache **out, const char *dir, const tine_cache_opts *opts)
{
	tine_cache_opts zero = { 0 };
	char path[PATH_ROOM];
	tine_cache *cache;
	int err, begun;

	if (!opts)
		opts = &zero;
	if (!out || !ROOM_IS_ZERO(opts) || opts->max_age_ms < 0 ||
	    (opts->max_bytes && opts->max_bytes < LEAST_BYTES))
		return -EINVAL;
	err = name_folder(dir, path);
	if (err)
		return err;
	cache = malloc(sizeof(*cache));
	if (!cache)
		return -ENOMEM;
	*cache = (tine_cache){ .mutex = PTHREAD_MUTEX_INITIALIZER,
			       .maps_mutex = PTHREAD_MUTEX_INITIALIZER,
			       .shared = opts->shared,
			       .max_age = opts->max_age_ms < INT64_MAX / 1000000
						  ? opts->max_age_ms * 1000000
						  : 0 };
	err = open_folder(path, opts);
	if (err < 0)
		goto free_cache;
	cache->folder = own_fd(err);
	/* However it was named, and whatever the current folder will be. */
	cache->path = realpath(path, NULL);
	if (!cache->path) {
		err = -errno;
		goto free_path;
	}
	begun = err = open_files(cache, opts->max_bytes);
	if (err < 0)
		goto free_path;
	err = settle_index(cache, opts->max_bytes);
	if (err < 0)
		goto close_files;
	note_open(cache);
	*out = cache;
	return err || begun;

close_files:
	close_files(cache);
free_path:
	free(cache->path);
	own_fd_close(&cache->folder);
free_cache:
	free(cache);
	return err;
}

void tine_cache_free(tine_cache *cache)
{
	if (!cache)
		return;
	/* For the counts alone. Bound: PATIENCE_MS. */
	if ((atomic_load(&cache->hits) || atomic_load(&cache->misses)) &&
	    cache_lock(cache, TINE_FOREVER) == 0)
		cache_unlock(cache);
	note_closed(cache);
	close_files(cache);
	free(cache->path);
	own_fd_close(&cache->folder);
	free(cache);
}
