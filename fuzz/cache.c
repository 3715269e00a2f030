/* SPDX-License-Identifier: MIT */
/*
 * A cache's folder that was written over, then opened and used: whatever it gives is
 * right.
 *
 * Of the input, the first byte says what is done before; the rest are edits of the
 * folder's files as they were made: a file, a place in it, how many bytes, and the bytes;
 * or its new length. No file is cut short while it is open: that is death by SIGBUS, and
 * is said.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tine.h>
#include <unistd.h>

#include "cache/format.h"

#define MUST(condition)                                                                  \
	do {                                                                             \
		if (!(condition)) {                                                      \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);  \
			abort();                                                         \
		}                                                                        \
	} while (0)

enum { KEYS = 12, FILES = 8, LARGE = 20000 };

static char folder[64];
static struct file {
	char path[512];
	char *bytes;
	size_t len;
} files[FILES];
static int nfiles;

static size_t length_of(uint64_t key)
{
	return key % 4 == 3 ? LARGE + key : key * 50;
}

static void put_key(tine_cache *cache, uint64_t key)
{
	static char val[LARGE + KEYS];
	int err;

	memset(val, (int)key + 1, length_of(key));
	err = tine_cache_put(cache, &key, sizeof(key), val, length_of(key));
	/* It has been begun anew too often; or a number of files has come to its end. */
	MUST(err == 0 || err == -EIO || err == -EFBIG || err == -ENOSPC ||
	     err == -ETIMEDOUT);
}

static bool get_key(tine_cache *cache, uint64_t key)
{
	const void *val;
	size_t len;

	if (tine_cache_get(cache, &key, sizeof(key), &val, &len) != 0)
		return false;
	MUST(len == length_of(key));
	for (size_t at = 0; at < len; at++)
		MUST(((const char *)val)[at] == (char)(key + 1));
	tine_cache_release(cache, val);
	return true;
}

static void keep_file(const char *path)
{
	struct file *file = &files[nfiles++];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat now;

	MUST(nfiles <= FILES && fd >= 0 && fstat(fd, &now) == 0);
	snprintf(file->path, sizeof(file->path), "%s", path);
	file->len = (size_t)now.st_size;
	file->bytes = malloc(file->len + 1);
	MUST(file->bytes && read(fd, file->bytes, file->len) == (ssize_t)file->len);
	close(fd);
}

static void empty_large(void (*each)(const char *))
{
	char path[512];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/large", folder);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/large/%s", folder, entry->d_name);
		each(path);
	}
	if (dir)
		closedir(dir);
}

static void remove_file(const char *path)
{
	unlink(path);
}

static void remove_folder(void)
{
	static const char *const names[] = { "lock", "index", "data", "large", "" };
	char path[512];

	empty_large(remove_file);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		remove(path);
	}
}

static void make_template(void)
{
	static char name[] = "/dev/shm/tine-fuzz-XXXXXX";
	tine_cache_opts opts = { .max_bytes = 2 << 20 };
	char path[512];
	tine_cache *cache;

	MUST(mkdtemp(name));
	strcpy(folder, name);
	MUST(tine_cache_open(&cache, folder, &opts) == 0);
	for (uint64_t key = 0; key < KEYS; key++)
		put_key(cache, key);
	tine_cache_free(cache);
	snprintf(path, sizeof(path), "%s/index", folder);
	keep_file(path);
	snprintf(path, sizeof(path), "%s/data", folder);
	keep_file(path);
	empty_large(keep_file);
	atexit(remove_folder);
}

static void write_file(const struct file *file)
{
	int fd = open(file->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	MUST(fd >= 0 && write(fd, file->bytes, file->len) == (ssize_t)file->len);
	close(fd);
}

/* Six bytes and more, or what is left. */
static void edit(const uint8_t *data, size_t size)
{
	while (size >= 6) {
		const struct file *file = &files[data[0] % nfiles];
		uint32_t at = (uint32_t)data[1] | data[2] << 8 | (data[3] & 3) << 16;
		size_t len = data[4];
		int fd = open(file->path, O_WRONLY | O_CLOEXEC);

		MUST(fd >= 0);
		/* Most of an index is in its first page, most edits too. */
		if (!(data[3] & 4))
			at %= 8192;
		data += 5;
		size -= 5;
		if (len == 255) {
			MUST(ftruncate(fd, at) == 0);
		} else {
			len = len < size ? len : size;
			MUST(pwrite(fd, data, len, at) == (ssize_t)len);
			data += len;
			size -= len;
		}
		close(fd);
	}
}

static int touch_entry(void *arg, const tine_cache_entry *entry)
{
	const char *bytes = entry->key;
	unsigned *sum = arg;

	for (size_t at = 0; at < entry->len; at++)
		*sum += (unsigned char)bytes[at];
	if (entry->task)
		*sum += (unsigned)strlen(entry->task);
	return 0;
}

static void use(tine_cache *cache, int how)
{
	tine_cache_stats stats;
	uint64_t dropped;
	unsigned sum = 0;

	for (uint64_t key = 0; key < KEYS; key++)
		get_key(cache, key);
	if (how & 2)
		for (uint64_t key = 0; key < 2 * KEYS; key++)
			put_key(cache, key % KEYS);
	tine_cache_list(cache, touch_entry, &sum);
	if (how & 4)
		MUST(tine_cache_verify(cache, &dropped) == 0);
	MUST(tine_cache_stat(cache, &stats) == 0);
	/* What was verified is right all through. */
	if (how & 4) {
		MUST(tine_cache_verify(cache, &dropped) == 0 && dropped == 0);
		put_key(cache, 1);
	}
	for (uint64_t key = 0; key < KEYS; key++)
		get_key(cache, key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint64_t none[2] = { 0 };
	tine_cache *cache = NULL;
	int fd, err;

	if (!*folder)
		make_template();
	if (size < 1)
		return 0;
	empty_large(remove_file);
	for (int i = 0; i < nfiles; i++)
		write_file(&files[i]);
	/* As after a boot, when the index is read through. */
	if (data[0] & 1) {
		fd = open(files[0].path, O_WRONLY | O_CLOEXEC);
		MUST(fd >= 0 &&
		     pwrite(fd, none, sizeof(none),
			    offsetof(struct index_header, boot)) == sizeof(none));
		close(fd);
	}
	edit(data + 1, size - 1);
	err = tine_cache_open(&cache, folder, NULL);
	MUST(err >= 0 || err == -EPROTO);
	if (err >= 0) {
		use(cache, data[0]);
		tine_cache_free(cache);
	}
	return 0;
}
