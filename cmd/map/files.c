/* SPDX-License-Identifier: MIT */
/*
 * What is in files, by a hash that is kept under the file's state: device, inode, size,
 * and times of modification and of change, the second of which no program can set back.
 * A clock of files ticks in milliseconds, on some file systems in seconds: who changes a
 * file twice in a tick changes no time. So of a file that was changed less than FRESH ago
 * the state says nothing, neither now nor later, and it is read again.
 */
#include "map/files.h"

#include "map/kept.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { BLOCK = 256 << 10, MOST_LOOKS = 3 };
#define FRESH INT64_C(2000000000)

/* As a key of the cache. */
struct state_key {
	char name[16];
	uint64_t state[7];
};

static bool take_state(const struct stat *now, struct file_seen *seen)
{
	const uint64_t state[] = { now->st_dev,		 now->st_ino,
				   now->st_size,	 now->st_mtim.tv_sec,
				   now->st_mtim.tv_nsec, now->st_ctim.tv_sec,
				   now->st_ctim.tv_nsec };
	bool same = memcmp(seen->state, state, sizeof(state)) == 0;

	memcpy(seen->state, state, sizeof(state));
	return same;
}

/* Also what seems to come from the future. */
static bool is_fresh(const struct stat *is)
{
	int64_t before,
		modified = is->st_mtim.tv_sec * INT64_C(1000000000) + is->st_mtim.tv_nsec;
	int64_t changed = is->st_ctim.tv_sec * INT64_C(1000000000) + is->st_ctim.tv_nsec;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	before = now.tv_sec * INT64_C(1000000000) + now.tv_nsec - FRESH;
	return modified > before || changed > before;
}

/* Whether as many bytes were there as the file has. */
static int hash_contents(int fd, uint64_t size, uint64_t hash[2])
{
	static XXH3_state_t state;
	static char block[BLOCK];
	XXH128_hash_t digest;
	uint64_t done = 0;
	ssize_t len;

	XXH3_128bits_reset(&state);
	for (;;) {
		/* Bound: a regular file. */
		len = read(fd, block, sizeof(block));
		if (len == 0)
			break;
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return -errno;
		XXH3_128bits_update(&state, block, (size_t)len);
		done += (uint64_t)len;
	}
	digest = XXH3_128bits_digest(&state);
	hash[0] = digest.low64;
	hash[1] = digest.high64;
	/* Files of /proc have no size, and no times that say anything. */
	return done == size ? 0 : -EAGAIN;
}

/* 0; -EAGAIN: it was changed meanwhile. */
static int read_file(const char *name, struct file_seen *seen)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), err;
	struct stat now;

	if (fd < 0)
		return errno == ENOENT ? -EAGAIN : -errno;
	err = fstat(fd, &now) != 0 ? -errno : 0;
	if (!err && (!take_state(&now, seen) || !S_ISREG(now.st_mode)))
		err = -EAGAIN;
	if (!err)
		err = hash_contents(fd, seen->state[FILE_SIZE], seen->hash);
	if (!err && (fstat(fd, &now) != 0 || !take_state(&now, seen)))
		err = -EAGAIN;
	close(fd);
	return err;
}

static bool recall(tine_cache *cache, const struct state_key *key, uint64_t hash[2])
{
	const void *val;
	size_t len;
	bool known;

	if (tine_cache_get(cache, key, sizeof(*key), &val, &len) != 0)
		return false;
	known = len == 2 * sizeof(*hash);
	if (known)
		memcpy(hash, val, len);
	tine_cache_release(cache, val);
	return known;
}

static int look_once(tine_cache *cache, const char *name, struct file_seen *seen)
{
	struct state_key key = { .name = STATE_KEY };
	struct stat now;
	int err;

	if (stat(name, &now) != 0) {
		err = errno;
		if (err == ENOENT || err == ENOTDIR || err == ENAMETOOLONG ||
		    err == ELOOP) {
			seen->kind = FILE_NONE;
			return 0;
		}
		return -err;
	}
	if (!S_ISREG(now.st_mode)) {
		seen->kind = FILE_OTHER;
		return 0;
	}
	seen->kind = FILE_REGULAR;
	seen->fresh = is_fresh(&now);
	take_state(&now, seen);
	memcpy(key.state, seen->state, sizeof(key.state));
	if (cache && !seen->fresh && recall(cache, &key, seen->hash))
		return 0;
	err = read_file(name, seen);
	if (!err && cache && !seen->fresh)
		/* If it cannot be kept, the file is read once more. */
		tine_cache_put(cache, &key, sizeof(key), seen->hash, sizeof(seen->hash));
	return err;
}

void file_look(tine_cache *cache, const char *name, struct file_seen *seen)
{
	int err = -EAGAIN;

	*seen = (struct file_seen){ .kind = FILE_NONE };
	for (int i = 0; err == -EAGAIN && i < MOST_LOOKS; i++)
		err = look_once(cache, name, seen);
	if (!err)
		return;
	seen->kind = FILE_HIDDEN;
	seen->error = err;
}

bool file_is_same(tine_cache *cache, const char *name, const struct file_seen *then)
{
	struct file_seen now;
	struct stat is;

	if (then->kind == FILE_REGULAR && !then->fresh && stat(name, &is) == 0) {
		now = *then;
		if (S_ISREG(is.st_mode) && take_state(&is, &now))
			return true;
	}
	file_look(cache, name, &now);
	return now.kind == then->kind &&
	       (now.kind != FILE_REGULAR ||
		(now.state[FILE_SIZE] == then->state[FILE_SIZE] &&
		 now.hash[0] == then->hash[0] && now.hash[1] == then->hash[1]));
}
