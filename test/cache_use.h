/* SPDX-License-Identifier: MIT */
/* What the tests of the cache share: a folder, and values that say what they are. */
#ifndef TINE_TEST_CACHE_USE_H
#define TINE_TEST_CACHE_USE_H

#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#define MIB (UINT64_C(1) << 20)

static char cache_folder[64];

/* Of this test, and of programs that it runs. Not there before it is used. */
static inline const char *folder(void)
{
	if (!*cache_folder) {
		const char *given = getenv("TINE_TEST_FOLDER");
		char above[] = "/tmp/tine-cache-XXXXXX";

		if (!given)
			CHECK(mkdtemp(above));
		snprintf(cache_folder, sizeof(cache_folder), given ? "%s" : "%s/cache",
			 given ? given : above);
		setenv("TINE_TEST_FOLDER", cache_folder, 1);
	}
	return cache_folder;
}

/* Below the folder above it; of the last few calls. */
static inline const char *beside(const char *name)
{
	static char paths[4][512];
	static int turn;
	char *path = paths[turn++ % 4];

	snprintf(path, sizeof(*paths), "%.*s%s",
		 (int)(strlen(folder()) - strlen("cache")), folder(), name);
	return path;
}

static inline int remove_one(const char *path, const struct stat *file, int type,
			     struct FTW *at)
{
	(void)file;
	(void)type;
	(void)at;
	return remove(path);
}

static inline void remove_folder(const char *path)
{
	CHECK_EQ(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static inline void clean(void)
{
	remove_folder(beside(""));
	unsetenv("TINE_TEST_FOLDER");
	*cache_folder = '\0';
}

/* Bytes on disk, of a folder and its files. What goes meanwhile does not count. */
static inline uint64_t disk_of(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	struct stat now;
	uint64_t sum = 0;

	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		bool self = strcmp(entry->d_name, ".") == 0;
		char below[1024];

		if (strcmp(entry->d_name, "..") == 0 ||
		    fstatat(dirfd(dir), entry->d_name, &now, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		CHECK(snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) <
		      (int)sizeof(below));
		sum += S_ISDIR(now.st_mode) && !self ? disk_of(below)
						     : (uint64_t)now.st_blocks * 512;
	}
	closedir(dir);
	return sum;
}

static inline tine_cache *opened(uint64_t max_bytes)
{
	tine_cache_opts opts = { .max_bytes = max_bytes };
	tine_cache *cache;

	CHECK_EQ(tine_cache_open(&cache, folder(), &opts), 0);
	return cache;
}

static inline tine_cache_stats stats_of(tine_cache *cache)
{
	tine_cache_stats stats;

	CHECK_EQ(tine_cache_stat(cache, &stats), 0);
	return stats;
}

static inline uint64_t dropped_by_verify(tine_cache *cache)
{
	uint64_t dropped = UINT64_MAX;

	CHECK_EQ(tine_cache_verify(cache, &dropped), 0);
	return dropped;
}

/* ---- chance ------------------------------------------------------------------------ */

/* splitmix64 */
static inline uint64_t mix(uint64_t word)
{
	word += UINT64_C(0x9e3779b97f4a7c15);
	word = (word ^ word >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	word = (word ^ word >> 27) * UINT64_C(0x94d049bb133111eb);
	return word ^ word >> 31;
}

static inline size_t roll(uint64_t *state, size_t n)
{
	return mix(++*state) % n;
}

/* ---- values that say what they are ------------------------------------------------- */

/* The turn, and then words that its key, its length and the turn give. */
static inline uint64_t value_word(uint64_t seed, size_t at)
{
	return (at + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ seed;
}

static inline void make_value(void *buf, size_t len, uint64_t key, uint64_t turn)
{
	uint64_t seed = mix(mix(key) + len) + turn;
	char *bytes = buf;

	for (size_t at = 0; at < len; at += 8) {
		uint64_t word = at == 0 && len >= 8 ? turn : value_word(seed, at);

		memcpy(bytes + at, &word, len - at < 8 ? len - at : 8);
		if (len < 8)
			memset(bytes, (int)key, len);
	}
}

static inline bool is_value(const void *val, size_t len, uint64_t key)
{
	const char *bytes = val;
	uint64_t seed = mix(mix(key) + len), turn;

	if (len >= 8) {
		memcpy(&turn, val, 8);
		seed += turn;
	}
	for (size_t at = len < 8 ? 0 : 8; at < len; at += 8) {
		uint64_t word = value_word(seed, at);

		if (len < 8)
			memset(&word, (int)key, 8);
		if (memcmp(bytes + at, &word, len - at < 8 ? len - at : 8) != 0)
			return false;
	}
	return true;
}

static inline int put_value(tine_cache *cache, uint64_t key, size_t len, uint64_t turn)
{
	void *val = malloc(len + 1);
	int err;

	CHECK(val);
	make_value(val, len, key, turn);
	err = tine_cache_put(cache, &key, sizeof(key), val, len);
	free(val);
	return err;
}

/* Its length, -ENOENT or -EBADF. Whatever else is a failure. */
static inline long long got_value(tine_cache *cache, uint64_t key)
{
	const void *val = NULL;
	size_t len = 0;
	int err = tine_cache_get(cache, &key, sizeof(key), &val, &len);

	if (err == -ENOENT || err == -EBADF)
		return err;
	CHECK_EQ(err, 0);
	CHECK((uintptr_t)val % 16 == 0);
	if (!is_value(val, len, key))
		test_fail(__FILE__, __LINE__, "a wrong value of key %" PRIu64, key);
	tine_cache_release(cache, val);
	return (long long)len;
}

/* ---- which there are, without using them ------------------------------------------- */

struct present {
	uint64_t n; /* below which keys are counted */
	bool *keys;
};

static inline int mark_present(void *arg, const tine_cache_entry *entry)
{
	struct present *present = arg;
	uint64_t key;

	if (entry->task || entry->len != sizeof(key))
		return 0;
	memcpy(&key, entry->key, sizeof(key));
	if (key < present->n)
		present->keys[key] = true;
	return 0;
}

static inline void list_present(tine_cache *cache, bool *keys, uint64_t n)
{
	struct present present = { n, keys };

	memset(keys, 0, n);
	CHECK_EQ(tine_cache_list(cache, mark_present, &present), 0);
}

/* ---- strangers: other programs, by exec of this very test -------------------------- */

struct stranger {
	const char *name;
	void (*fn)(void);
	struct stranger *next;
};

static struct stranger *strangers;

/* What become_stranger() runs, by its name. */
#define STRANGER(id)                                                                     \
	static void id(void);                                                            \
	static struct stranger stranger_##id = { #id, id, NULL };                        \
	__attribute__((constructor(1000))) static void add_##id(void)                    \
	{                                                                                \
		stranger_##id.next = strangers;                                          \
		strangers = &stranger_##id;                                              \
	}                                                                                \
	static void id(void)

__attribute__((constructor)) static void be_stranger(void)
{
	const char *name = getenv("TINE_TEST_STRANGER");

	for (struct stranger *each = strangers; name && each; each = each->next)
		if (strcmp(each->name, name) == 0) {
			each->fn();
			_exit(0);
		}
}

static inline void become_stranger(void *name)
{
	char *args[] = { "stranger", NULL };

	setenv("TINE_TEST_STRANGER", name, 1);
	execv("/proc/self/exe", args);
	_exit(99);
}

#endif
