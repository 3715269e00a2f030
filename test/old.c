/* SPDX-License-Identifier: MIT */
/*
 * Folders that version 0.1.0 made (test/old/0.1.0.tar.gz): later ones open them. The
 * store has a value, a list, a dictionary and a counter, the cache an entry by key and
 * one of a task.
 */
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>

static char old_folder[256];

/* That folder of the archive, in TMPDIR. */
static const char *unpack(const char *name)
{
	char command[1024];

	snprintf(command, sizeof(command), "tar -C \"$TMPDIR\" -xzof '%s' %s",
		 OLD_FOLDERS "/0.1.0.tar.gz", name);
	CHECK_EQ(system(command), 0);
	CHECK(snprintf(old_folder, sizeof(old_folder), "%s/%s", getenv("TMPDIR"), name) <
	      (int)sizeof(old_folder));
	return old_folder;
}

static void remove_folder(void)
{
	char command[512];

	snprintf(command, sizeof(command), "rm -rf '%s'", old_folder);
	CHECK_EQ(system(command), 0);
}

static int runs_never(const void *in, void *out)
{
	(void)in;
	(void)out;
	return -EIO;
}

static void check_cache(tine_cache *cache)
{
	const tine_task task = TINE_TASK_NAMED("fixture-twice", runs_never, int, int, 3);
	const void *val;
	int in = 21, out;
	size_t len;

	CHECK_EQ(tine_cache_call(cache, &task, &in, &out, NULL, TINE_FOREVER), 1);
	CHECK_EQ(out, 42);
	CHECK_EQ(tine_cache_get(cache, "key", 3, &val, &len), 0);
	CHECK(len == 5 && memcmp(val, "value", 5) == 0);
	tine_cache_release(cache, val);
}

TEST(a_cache_is_opened_with_all_that_it_has)
{
	tine_cache *cache;

	CHECK_EQ(tine_cache_open(&cache, unpack("cache"), NULL), 0);
	check_cache(cache);
	CHECK_EQ(tine_cache_put(cache, "new", 3, "one", 3), 0);
	tine_cache_free(cache);
	CHECK_EQ(tine_cache_open(&cache, old_folder, NULL), 0);
	check_cache(cache);
	tine_cache_free(cache);
	remove_folder();
}

TEST(a_store_is_opened_with_all_that_it_has)
{
	int64_t counter;
	tine_store *store;
	char url[300], buf[16];
	int err;

	snprintf(url, sizeof(url), "file:%s", unpack("store"));
	err = tine_store_open(&store, url, NULL);
	if (err == -EPROTONOSUPPORT) {
		remove_folder();
		test_skip("no LMDB");
	}
	CHECK_EQ(err, 0);
	CHECK_EQ(tine_store_get(store, "value", buf, sizeof(buf)), 8);
	CHECK(memcmp(buf, "of 0.1.0", 8) == 0);
	CHECK_EQ(tine_store_get_field(store, "dict", "field", buf, sizeof(buf)), 1);
	CHECK_EQ(tine_store_add(store, "counter", 1, &counter), 0);
	CHECK_EQ(counter, 42);
	CHECK_EQ(tine_store_append(store, "list", "third", 5), 0);
	CHECK_EQ(tine_store_take(store, "list", buf, sizeof(buf), TINE_NOWAIT), 5);
	CHECK(memcmp(buf, "first", 5) == 0);
	CHECK_EQ(tine_store_len(store, "list"), 2);
	tine_store_free(store);
	remove_folder();
}
