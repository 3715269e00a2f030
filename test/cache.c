/* SPDX-License-Identifier: MIT */
/* What a cache keeps, where it keeps it, and what of it when there is no room. */
#include "cache_use.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <time.h>

static const size_t lengths[] = { 0,	  1,	  7,	   8,	  15,	  16,	 17,
				  31,	  32,	  63,	   64,	  65,	  100,	 255,
				  256,	  1000,	  4095,	   4096,  4097,	  16383, 16384,
				  16385,  32768,  65519,   65535, 65536,  65537, 99999,
				  131072, 262145, MIB - 1, MIB,	  MIB + 1 };
#define LENGTHS (sizeof(lengths) / sizeof(*lengths))

static int put_text(tine_cache *cache, const char *key, const char *val)
{
	return tine_cache_put(cache, key, strlen(key), val, strlen(val));
}

static bool has_text(tine_cache *cache, const char *key, const char *expected)
{
	const void *val;
	size_t len;
	bool same;

	if (tine_cache_get(cache, key, strlen(key), &val, &len) != 0)
		return false;
	same = len == strlen(expected) && memcmp(val, expected, len) == 0;
	tine_cache_release(cache, val);
	return same;
}

/* ---- get and put ------------------------------------------------------------------- */

TEST(put_and_got)
{
	tine_cache *cache = opened(16 * MIB);
	const void *val = &cache;
	size_t len = 42;

	CHECK_EQ(tine_cache_get(cache, "key", 3, &val, &len), -ENOENT);
	CHECK(val == &cache && len == 42);
	CHECK_EQ(put_text(cache, "key", "value"), 0);
	CHECK_EQ(tine_cache_get(cache, "key", 3, &val, &len), 0);
	CHECK_EQ(len, 5);
	CHECK(memcmp(val, "value", 5) == 0);
	CHECK_EQ((uintptr_t)val % 16, 0);
	tine_cache_release(cache, val);
	CHECK_EQ(tine_cache_get(cache, "ke", 2, &val, &len), -ENOENT);
	CHECK_EQ(tine_cache_get(cache, "key\0", 4, &val, &len), -ENOENT);
	tine_cache_free(cache);
	clean();
}

TEST(replaced)
{
	tine_cache *cache = opened(16 * MIB);

	for (size_t i = 0; i < 3 * LENGTHS; i++) {
		size_t len = lengths[(i * 17) % LENGTHS];

		CHECK_EQ(put_value(cache, 1, len, i), 0);
		CHECK_EQ(got_value(cache, 1), len);
		CHECK_EQ(stats_of(cache).entries, 1);
	}
	tine_cache_free(cache);
	clean();
}

TEST(there_when_it_is_opened_again)
{
	tine_cache *cache = opened(64 * MIB);

	for (size_t i = 0; i < LENGTHS; i++)
		CHECK_EQ(put_value(cache, i, lengths[i], i), 0);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < LENGTHS; i++)
			CHECK_EQ(got_value(cache, i), lengths[i]);
		CHECK_EQ(stats_of(cache).entries, LENGTHS);
		tine_cache_free(cache);
		cache = opened(0);
		CHECK_EQ(stats_of(cache).max_bytes, 64 * MIB);
	}
	tine_cache_free(cache);
	clean();
}

/* By another pattern, since these are keys. */
static char *key_of(size_t len, int which)
{
	char *key = malloc(len);

	CHECK(key);
	make_value(key, len, 1000 + (uint64_t)which, 0);
	key[len - 1] = (char)which;
	return key;
}

TEST(keys_of_any_length)
{
	tine_cache *cache = opened(64 * MIB);

	for (int round = 0; round < 2; round++)
		for (size_t i = 1; i < LENGTHS; i++)
			for (int which = 0; which < 3; which++) {
				char *key = key_of(lengths[i], which);
				uint64_t number = i * 3 + (uint64_t)which, got;
				const void *val;
				size_t len;

				if (round == 0) {
					CHECK_EQ(tine_cache_put(cache, key, lengths[i],
								&number, 8),
						 0);
				} else {
					CHECK_EQ(tine_cache_get(cache, key, lengths[i],
								&val, &len),
						 0);
					CHECK_EQ(len, 8);
					memcpy(&got, val, 8);
					CHECK_EQ(got, number);
					tine_cache_release(cache, val);
					/* One that is not there but for its last bit. */
					key[lengths[i] - 1] ^= 64;
					CHECK_EQ(tine_cache_get(cache, key, lengths[i],
								&val, &len),
						 -ENOENT);
				}
				free(key);
			}
	tine_cache_free(cache);
	clean();
}

TEST_LIMIT(of_64_mebibytes, 120)
{
	tine_cache *cache = opened(512 * MIB);
	size_t len = test_scaled(64) * MIB;

	for (uint64_t key = 0; key < 3; key++)
		CHECK_EQ(put_value(cache, key, len - key, key), 0);
	for (uint64_t key = 0; key < 3; key++)
		CHECK_EQ(got_value(cache, key), len - key);
	tine_cache_free(cache);
	cache = opened(0);
	for (uint64_t key = 0; key < 3; key++)
		CHECK_EQ(got_value(cache, key), len - key);
	tine_cache_free(cache);
	clean();
}

static bool room_for(uint64_t disk, uint64_t memory)
{
	struct statvfs free_disk;

	folder();
	return getenv("TEST_SCALE") == NULL && statvfs(beside(""), &free_disk) == 0 &&
	       (uint64_t)free_disk.f_bavail * free_disk.f_frsize > disk &&
	       (uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) >
		       memory;
}

TEST_LIMIT(of_a_gigabyte_or_so, 240)
{
	tine_cache *cache;
	bool room = room_for(4096 * MIB, 3072 * MIB);
	size_t len = (test_soak() ? 1024 : 192) * MIB;

	if (!room) {
		remove_folder(beside(""));
		test_skip("not that much disk and memory");
	}
	cache = opened(3072 * MIB);
	CHECK_EQ(put_value(cache, 1, len, 1), 0);
	CHECK_EQ(got_value(cache, 1), len);
	CHECK(disk_of(folder()) >= len);
	tine_cache_free(cache);
	cache = opened(0);
	CHECK_EQ(got_value(cache, 1), len);
	CHECK_EQ(tine_cache_clear(cache, NULL), 0);
	CHECK(disk_of(folder()) < 16 * MIB);
	tine_cache_free(cache);
	clean();
}

TEST(errors_leave_the_output)
{
	tine_cache_opts opts = { .reserved = { [4] = 1 } };
	tine_cache *cache = NULL, *none = NULL;
	const void *val = &cache;
	size_t len = 1;

	folder();
	CHECK_EQ(tine_cache_open(&none, folder(), &opts), -EINVAL);
	opts = (tine_cache_opts){ .max_bytes = MIB - 1 };
	CHECK_EQ(tine_cache_open(&none, folder(), &opts), -EINVAL);
	opts = (tine_cache_opts){ .max_age_ms = -1 };
	CHECK_EQ(tine_cache_open(&none, folder(), &opts), -EINVAL);
	CHECK_EQ(tine_cache_open(NULL, folder(), NULL), -EINVAL);
	CHECK_EQ(access(folder(), F_OK), -1);
	CHECK(tine_cache_open(&none, "/dev/null", NULL) < 0);
	CHECK(tine_cache_open(&none, "/dev/null/below", NULL) < 0);
	CHECK(tine_cache_open(&none, "", NULL) < 0);
	CHECK(!none);
	cache = opened(MIB);
	CHECK_EQ(tine_cache_get(NULL, "a", 1, &val, &len), -EINVAL);
	CHECK_EQ(tine_cache_get(cache, NULL, 1, &val, &len), -EINVAL);
	CHECK_EQ(tine_cache_get(cache, "a", 0, &val, &len), -EINVAL);
	CHECK_EQ(tine_cache_put(NULL, "a", 1, "a", 1), -EINVAL);
	CHECK_EQ(tine_cache_put(cache, NULL, 1, "a", 1), -EINVAL);
	CHECK_EQ(tine_cache_put(cache, "a", 0, "a", 1), -EINVAL);
	CHECK_EQ(tine_cache_put(cache, "a", 1, NULL, 1), -EINVAL);
	CHECK(val == &cache && len == 1);
	CHECK_EQ(tine_cache_put(cache, "a", 1, NULL, 0), 0);
	CHECK_EQ(tine_cache_get(cache, "a", 1, &val, &len), 0);
	CHECK_EQ(len, 0);
	CHECK(val != NULL);
	tine_cache_release(cache, val);
	tine_cache_release(cache, NULL);
	tine_cache_free(cache);
	tine_cache_free(NULL);
	clean();
}

/* Each that a call may make fails in turn: the call says so, and the next works. */
TEST(no_memory)
{
	tine_cache *cache = NULL;
	int err;

	folder();
	for (long n = 1;; n++) {
		test_fail_allocation(n);
		err = tine_cache_open(&cache, folder(), NULL);
		test_fail_allocation(0);
		if (!err)
			break;
		CHECK_EQ(err, -ENOMEM);
	}
	for (size_t i = 0; i < LENGTHS; i++) {
		for (long n = 1;; n++) {
			const void *val;
			size_t len;
			bool reached;

			test_fail_allocation(n);
			err = put_text(cache, "another", "value");
			err = err ? err : tine_cache_put(cache, &i, sizeof(i), "x", 1);
			reached = test_allocation_failed();
			test_fail_allocation(0);
			CHECK(err == 0 || err == -ENOMEM);
			CHECK_EQ(put_value(cache, i, lengths[i], 1), 0);
			test_fail_allocation(n);
			err = tine_cache_get(cache, &i, sizeof(i), &val, &len);
			reached |= test_allocation_failed();
			test_fail_allocation(0);
			CHECK(err == 0 || err == -ENOMEM);
			if (err == 0)
				tine_cache_release(cache, val);
			CHECK_EQ(got_value(cache, i), lengths[i]);
			if (!reached)
				break;
		}
	}
	CHECK_EQ(dropped_by_verify(cache), 0);
	tine_cache_free(cache);
	clean();
}

/* ---- values that somebody has ------------------------------------------------------ */

enum { HELD = 40 };

struct held {
	const void *val;
	size_t len;
};

static void hold(tine_cache *cache, struct held *held)
{
	for (uint64_t key = 0; key < HELD; key++) {
		CHECK_EQ(put_value(cache, key, lengths[key % LENGTHS], key), 0);
		CHECK_EQ(tine_cache_get(cache, &key, 8, &held[key].val, &held[key].len),
			 0);
	}
}

static void check_held(const struct held *held)
{
	for (uint64_t key = 0; key < HELD; key++) {
		CHECK_EQ(held[key].len, lengths[key % LENGTHS]);
		CHECK(is_value(held[key].val, held[key].len, key));
	}
}

static void let_go(tine_cache *cache, struct held *held)
{
	for (int key = 0; key < HELD; key++)
		tine_cache_release(cache, held[key].val);
}

TEST(bytes_stay_when_replaced)
{
	tine_cache *cache = opened(64 * MIB);
	struct held held[HELD];

	hold(cache, held);
	for (int turn = 0; turn < 3; turn++)
		for (uint64_t key = 0; key < HELD; key++)
			CHECK_EQ(put_value(cache, key, lengths[key % LENGTHS], 100 + key),
				 0);
	check_held(held);
	let_go(cache, held);
	tine_cache_free(cache);
	clean();
}

TEST(bytes_stay_when_cleared)
{
	tine_cache *cache = opened(64 * MIB);
	struct held held[HELD];

	hold(cache, held);
	CHECK_EQ(tine_cache_clear(cache, NULL), 0);
	check_held(held);
	for (uint64_t key = 1000; key < 1000 + HELD; key++)
		CHECK_EQ(put_value(cache, key, lengths[key % LENGTHS], key), 0);
	check_held(held);
	let_go(cache, held);
	tine_cache_free(cache);
	clean();
}

TEST(bytes_stay_when_others_need_the_room)
{
	tine_cache *cache = opened(16 * MIB), *other = opened(0);
	struct held held[HELD];
	uint64_t turn = 0;

	hold(cache, held);
	for (uint64_t key = 1000; key < 1400; key++)
		CHECK_EQ(put_value(key % 2 ? cache : other, key,
				   roll(&turn, (size_t)test_scaled(200000)), key),
			 0);
	check_held(held);
	let_go(other, (struct held[HELD]){ { NULL, 0 } });
	let_go(cache, held);
	tine_cache_free(other);
	tine_cache_free(cache);
	clean();
}

/* As often as one likes, each to be released. */
TEST(held_many_times)
{
	tine_cache *cache = opened(16 * MIB);
	const void *vals[2000];
	size_t len;

	for (uint64_t key = 0; key < 2; key++)
		CHECK_EQ(put_value(cache, key, key ? 300000 : 8, key), 0);
	for (uint64_t i = 0; i < 2000; i++) {
		uint64_t key = i % 2;

		CHECK_EQ(tine_cache_get(cache, &key, 8, &vals[i], &len), 0);
	}
	for (int i = 0; i < 1999; i++)
		tine_cache_release(cache, vals[(i * 7) % 2000]);
	for (int i = 0; i < 2000; i++)
		if (i == (1999 * 7) % 2000)
			CHECK(is_value(vals[i], i % 2 ? 300000 : 8, i % 2));
	tine_cache_release(cache, vals[(1999 * 7) % 2000]);
	tine_cache_free(cache);
	clean();
}

STRANGER(get_and_hang)
{
	tine_cache *cache = opened(0);
	const void *val;
	size_t len;

	for (uint64_t key = 0; key < 4; key++)
		CHECK_EQ(tine_cache_get(cache, &key, 8, &val, &len), 0);
	/* Not released, ever. */
	close(open(beside("got"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	pause();
}

/* A reader that forgets, or is killed, keeps nothing from going. */
TEST(a_reader_that_does_not_release)
{
	tine_cache *cache = opened(8 * MIB);
	int64_t deadline = tine_after(20000);
	pid_t pid;

	for (uint64_t key = 0; key < 4; key++)
		CHECK_EQ(put_value(cache, key, MIB, key), 0);
	pid = test_fork(become_stranger, "get_and_hang");
	while (access(beside("got"), F_OK) != 0 && tine_now() < deadline)
		test_sleep_us(500);
	for (int alive = 1; alive >= 0; alive--) {
		for (uint64_t key = 10; key < 40; key++)
			CHECK_EQ(put_value(cache, key, MIB, key), 0);
		CHECK(disk_of(folder()) <= 8 * MIB);
		if (alive)
			test_kill(pid);
	}
	CHECK_EQ(tine_cache_clear(cache, NULL), 0);
	CHECK(disk_of(folder()) < MIB);
	tine_cache_free(cache);
	clean();
}

/* ---- disks of their own ------------------------------------------------------------ */

static void mount_here(unsigned long flags, const char *options)
{
	if (unshare(CLONE_NEWNS) != 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", beside(""), "tmpfs", flags, options) != 0)
		_exit(77);
}

static void on_mount(void (*fn)(void *), void *arg)
{
	int how;

	folder();
	how = test_reap(test_fork(fn, arg));
	clean();
	if (how == 77)
		test_skip("no right to mount");
	CHECK_EQ(how, 0);
}

/* ---- limits ------------------------------------------------------------------------ */

TEST(no_more_than_max_bytes)
{
	const uint64_t most = 4 * MIB;
	tine_cache *cache = opened(most);
	uint64_t chance = test_seed();

	for (long i = 0; i < test_scaled(4000); i++) {
		size_t len = roll(&chance, 8) ? roll(&chance, 3000)
					      : roll(&chance, 500000);
		uint64_t disk;

		CHECK_EQ(put_value(cache, roll(&chance, 3000), len, i), 0);
		disk = disk_of(folder());
		if (disk > most)
			test_fail(__FILE__, __LINE__, "%" PRIu64 " bytes on disk", disk);
		CHECK(stats_of(cache).bytes <= most);
	}
	for (uint64_t key = 0; key < 3000; key++)
		got_value(cache, key);
	CHECK(stats_of(cache).evictions > 0 || getenv("TEST_SCALE"));
	CHECK_EQ(dropped_by_verify(cache), 0);
	tine_cache_free(cache);
	clean();
}

/* Of many small ones too, whose room is the index's. */
TEST(a_mebibyte_of_tiny_ones)
{
	tine_cache *cache = opened(MIB);
	uint64_t found = 0;

	for (uint64_t key = 0; key < (uint64_t)test_scaled(100000); key++) {
		CHECK_EQ(put_value(cache, key, 8, key), 0);
		CHECK(key % 500 || disk_of(folder()) <= MIB);
	}
	for (uint64_t key = 0; key < (uint64_t)test_scaled(100000); key++)
		found += got_value(cache, key) == 8;
	CHECK_EQ(found, stats_of(cache).entries);
	CHECK(found >= 1000);
	tine_cache_free(cache);
	clean();
}

TEST(lowered_and_raised)
{
	tine_cache *cache = opened(64 * MIB), *other;

	for (uint64_t key = 0; key < 100; key++)
		CHECK_EQ(put_value(cache, key, key % 2 ? 400000 : 4000, key), 0);
	other = opened(4 * MIB);
	CHECK_EQ(stats_of(cache).max_bytes, 4 * MIB);
	/* By the next that is put, wherever. */
	CHECK_EQ(put_value(cache, 100, 8, 0), 0);
	CHECK(disk_of(folder()) <= 4 * MIB);
	tine_cache_free(other);
	other = opened(64 * MIB);
	for (uint64_t key = 0; key < 100; key++)
		CHECK_EQ(put_value(cache, key, key % 2 ? 400000 : 4000, key), 0);
	for (uint64_t key = 0; key < 100; key++)
		CHECK(got_value(cache, key) > 0);
	tine_cache_free(other);
	tine_cache_free(cache);
	clean();
}

TEST(too_large_to_keep)
{
	tine_cache *cache = opened(4 * MIB);
	char *key = key_of(3 * MIB, 1);

	CHECK_EQ(put_value(cache, 1, 100, 0), 0);
	CHECK_EQ(put_value(cache, 1, 2 * MIB + 1, 0), -EFBIG);
	CHECK_EQ(put_value(cache, 2, 40 * MIB, 0), -EFBIG);
	CHECK_EQ(tine_cache_put(cache, key, 3 * MIB, "x", 1), -EFBIG);
	CHECK_EQ(put_value(cache, 3, MIB, 0), 0);
	CHECK_EQ(got_value(cache, 1), 100);
	CHECK_EQ(got_value(cache, 2), -ENOENT);
	CHECK_EQ(got_value(cache, 3), MIB);
	free(key);
	tine_cache_free(cache);
	clean();
}

static void write_and_die(void *cache)
{
	put_value(cache, (uint64_t)getpid(), 7 * MIB, 1);
	_exit(0);
}

/* What the dead had begun to write, and promised of the disk, is nobody's. */
TEST(dead_writers_make_room)
{
	tine_cache *cache = opened(16 * MIB);
	uint64_t chance = test_seed();

	for (long i = 0; i < test_scaled(60); i++) {
		pid_t pids[2];

		CHECK_EQ(tine_cache_clear(cache, NULL), 0);
		for (int n = 0; n < 2; n++)
			pids[n] = test_fork(write_and_die, cache);
		test_sleep_us((long)roll(&chance, 20000));
		for (int n = 0; n < 2; n++)
			kill(pids[n], SIGKILL);
		for (int n = 0; n < 2; n++)
			test_reap(pids[n]);
		CHECK_EQ(put_value(cache, 1, 3 * MIB, 1), 0);
		CHECK_EQ(put_value(cache, 2, 3 * MIB, 1), 0);
		CHECK_EQ(got_value(cache, 1), 3 * MIB);
		CHECK(disk_of(folder()) <= 16 * MIB);
	}
	CHECK_EQ(stats_of(cache).restarts, 0);
	CHECK_EQ(dropped_by_verify(cache), 0);
	tine_cache_free(cache);
	clean();
}

/* Of the whole file system: what has gone is not kept by who had it, once released. */
static uint64_t used_of_disk(void)
{
	struct statvfs disk;

	CHECK_EQ(statvfs(beside(""), &disk), 0);
	return (uint64_t)(disk.f_blocks - disk.f_bfree) * disk.f_frsize;
}

static void pin_nothing(void *arg)
{
	tine_cache *cache;

	(void)arg;
	mount_here(0, "size=64m");
	cache = opened(16 * MIB);
	for (uint64_t key = 0; key < 100; key++) {
		CHECK_EQ(put_value(cache, key, MIB, 1), 0);
		CHECK_EQ(got_value(cache, key), MIB);
		CHECK(key < 30 || used_of_disk() <= 16 * MIB);
	}
	tine_cache_free(cache);
}

TEST(what_has_gone_is_gone_from_the_disk)
{
	on_mount(pin_nothing, NULL);
}

/* ---- recency ----------------------------------------------------------------------- */

enum { FEW = 8 };

/*
 * Of a few, in a cache that holds no more than a few, those that go when others come are
 * the first of those that were read: looked at after each that comes.
 */
static void evict_in_order(size_t len, uint64_t max_bytes, uint64_t *chance)
{
	tine_cache *cache = opened(max_bytes);
	bool keys[FEW];
	uint64_t order[FEW];
	int gone = 0;

	for (uint64_t key = 0; key < FEW; key++) {
		order[key] = key;
		CHECK_EQ(put_value(cache, key, len, key), 0);
	}
	for (int i = FEW - 1; i > 0; i--) {
		size_t at = roll(chance, (size_t)i + 1);
		uint64_t key = order[i];

		order[i] = order[at];
		order[at] = key;
	}
	for (int i = 0; i < FEW; i++)
		CHECK_EQ(got_value(cache, order[i]), len);
	for (uint64_t key = 1000; gone < FEW; key++) {
		CHECK(key < 100000);
		CHECK_EQ(put_value(cache, key, len, key), 0);
		list_present(cache, keys, FEW);
		while (gone < FEW && !keys[order[gone]])
			gone++;
		for (int i = gone; i < FEW; i++)
			if (!keys[order[i]])
				test_fail(__FILE__, __LINE__,
					  "of %zu bytes: number %d went before number %d",
					  len, i, gone);
		CHECK(!(stats_of(cache).evictions == 0 && gone > 0));
	}
	CHECK_EQ(got_value(cache, order[FEW - 1]), -ENOENT);
	tine_cache_free(cache);
	clean();
}

TEST(the_least_recently_used_goes)
{
	uint64_t chance = test_seed();

	for (int round = 0; round < 10; round++) {
		evict_in_order(40000, MIB, &chance);
		evict_in_order(150000, 2 * MIB, &chance);
		evict_in_order(400000, 5 * MIB, &chance);
	}
}

/* Among many, those that were read since are the last to go, all but a few. */
static void evict_unread(size_t len, uint64_t max_bytes, uint64_t *chance)
{
	tine_cache *cache = opened(max_bytes);
	uint64_t n = 0, read = 0, lost[2] = { 0 };
	bool *keys, was_read[4096] = { false };

	while (stats_of(cache).evictions == 0 && n < 4096)
		CHECK_EQ(put_value(cache, n++, len, 1), 0);
	for (uint64_t key = 0; key < n; key++)
		if (roll(chance, 2)) {
			was_read[key] = got_value(cache, key) > 0;
			read += was_read[key];
		}
	for (uint64_t key = 10000; key < 10000 + n / 4; key++)
		CHECK_EQ(put_value(cache, key, len, 1), 0);
	keys = calloc(n, sizeof(*keys));
	CHECK(keys);
	list_present(cache, keys, n);
	for (uint64_t key = 0; key < n; key++)
		lost[was_read[key]] += !keys[key];
	printf("# of %" PRIu64 " entries, %" PRIu64 " of them read, %" PRIu64
	       " went that were not, %" PRIu64 " that were\n",
	       n, read, lost[0], lost[1]);
	CHECK(lost[0] >= n / 8);
	CHECK(lost[1] <= n / 50);
	free(keys);
	tine_cache_free(cache);
	clean();
}

TEST(what_was_read_is_the_last_to_go)
{
	uint64_t chance = test_seed();

	evict_unread(1000, 2 * MIB, &chance);
	evict_unread(10000, 8 * MIB, &chance);
	evict_unread(40000, 32 * MIB, &chance);
}

/* One that is put, and never read, has been used when it was put. */
TEST(first_in_first_out_unless_read)
{
	tine_cache *cache = opened(8 * MIB);
	bool keys[200];
	uint64_t key = 0, first;

	while (stats_of(cache).evictions == 0)
		CHECK_EQ(put_value(cache, key++, 100000, 0), 0);
	CHECK(key < 200 && key > 20);
	list_present(cache, keys, key);
	for (first = 0; !keys[first]; first++)
		;
	CHECK(first >= 1 && first < 10);
	for (uint64_t i = first; i < key; i++)
		CHECK(keys[i]);
	tine_cache_free(cache);
	clean();
}

TEST(what_is_read_stays)
{
	static const size_t lens[] = { 8, 500, 5000, 60000 };
	tine_cache *cache = opened(2 * MIB);
	uint64_t turn = 0;

	for (uint64_t hot = 0; hot < 4; hot++)
		CHECK_EQ(put_value(cache, hot, lens[hot], 1), 0);
	for (uint64_t key = 10; key < (uint64_t)test_scaled(20000) + 500; key++) {
		CHECK_EQ(put_value(cache, key, roll(&turn, 4000), 1), 0);
		for (uint64_t hot = 0; hot < 4; hot++)
			CHECK_EQ(got_value(cache, hot), lens[hot]);
	}
	CHECK(stats_of(cache).evictions > 0);
	tine_cache_free(cache);
	clean();
}

/* To have it read by one process is as good. */
STRANGER(read_all_of_it)
{
	tine_cache *cache = opened(0);

	for (uint64_t key = 0; key < 10; key++)
		CHECK(got_value(cache, key) > 0);
	tine_cache_free(cache);
}

TEST(what_a_stranger_has_read_stays)
{
	tine_cache *cache = opened(8 * MIB);
	bool keys[30];
	int left = 20;

	for (uint64_t key = 0; key < 30; key++)
		CHECK_EQ(put_value(cache, key, key < 10 && key % 2 ? 100 : 100000, 0), 0);
	CHECK_EQ(test_reap(test_fork(become_stranger, "read_all_of_it")), 0);
	for (uint64_t key = 100; left > 0; key++) {
		CHECK(key < 1000);
		CHECK_EQ(put_value(cache, key, 50000, 0), 0);
		list_present(cache, keys, 30);
		left = 0;
		for (int i = 10; i < 30; i++)
			left += keys[i];
		for (int i = 0; i < 10; i++)
			CHECK(keys[i] || left == 0);
	}
	tine_cache_free(cache);
	clean();
}

/* ---- age --------------------------------------------------------------------------- */

static tine_cache *opened_for(int64_t max_age_ms)
{
	tine_cache_opts opts = { .max_bytes = 16 * MIB, .max_age_ms = max_age_ms };
	tine_cache *cache;

	CHECK_EQ(tine_cache_open(&cache, folder(), &opts), 0);
	return cache;
}

TEST(old_ones_are_not_found)
{
	tine_cache *patient = opened_for(0), *hasty = opened_for(20);
	tine_cache *slow = opened_for(3600000);
	int64_t deadline = tine_after(20000);

	CHECK_EQ(put_value(patient, 1, 100, 1), 0);
	CHECK_EQ(put_value(patient, 2, 200000, 1), 0);
	test_sleep_us(30000);
	/* The clock may be set back meanwhile. */
	while ((got_value(hasty, 1) > 0 || got_value(hasty, 2) > 0) &&
	       tine_now() < deadline)
		test_sleep_us(1000);
	CHECK_EQ(got_value(hasty, 1), -ENOENT);
	CHECK_EQ(got_value(hasty, 2), -ENOENT);
	CHECK_EQ(got_value(slow, 1), 100);
	CHECK_EQ(got_value(slow, 2), 200000);
	CHECK_EQ(got_value(patient, 1), 100);
	/* Put again, it is young; to read it does not make it so. */
	CHECK_EQ(put_value(hasty, 1, 50, 2), 0);
	CHECK_EQ(got_value(patient, 1), 50);
	tine_cache_free(slow);
	tine_cache_free(hasty);
	tine_cache_free(patient);
	clean();
}

/* ---- which folder ------------------------------------------------------------------ */

static long long mode_of(const char *path)
{
	struct stat now;

	CHECK_EQ(stat(path, &now), 0);
	return now.st_mode & 07777;
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void open_default(tine_cache **cache)
{
	CHECK_EQ(tine_cache_open(cache, NULL, NULL), 0);
	CHECK_EQ(put_text(*cache, "key", "value"), 0);
	tine_cache_free(*cache);
}

TEST(the_default_folder)
{
	tine_cache *cache;
	char path[600];

	umask(0);
	setenv("HOME", beside("home"), 1);
	unsetenv("XDG_CACHE_HOME");
	unsetenv("TINE_CACHE");
	open_default(&cache);
	CHECK_EQ(mode_of(beside("home/.cache/tine")), 0700);
	CHECK_EQ(mode_of(beside("home/.cache")), 0700);
	CHECK_EQ(mode_of(beside("home")), 0700);

	snprintf(path, sizeof(path), "%s", beside("xdg/deep"));
	setenv("XDG_CACHE_HOME", path, 1);
	open_default(&cache);
	CHECK_EQ(mode_of(beside("xdg/deep/tine")), 0700);
	CHECK_EQ(mode_of(beside("xdg")), 0700);

	setenv("TINE_CACHE", beside("mine"), 1);
	open_default(&cache);
	CHECK_EQ(mode_of(beside("mine")), 0700);
	CHECK(access(beside("mine/tine"), F_OK) != 0);

	/* Empty is as not there. */
	remove_folder(beside("xdg/deep/tine"));
	setenv("TINE_CACHE", "", 1);
	open_default(&cache);
	CHECK_EQ(access(beside("xdg/deep/tine"), F_OK), 0);
	remove_folder(beside("home/.cache"));
	setenv("XDG_CACHE_HOME", "", 1);
	open_default(&cache);
	CHECK_EQ(access(beside("home/.cache/tine"), F_OK), 0);
	clean();
}

TEST(no_home)
{
	tine_cache *cache = NULL;

	unsetenv("HOME");
	unsetenv("XDG_CACHE_HOME");
	unsetenv("TINE_CACHE");
	CHECK_EQ(tine_cache_open(&cache, NULL, NULL), -ENOENT);
	setenv("HOME", "", 1);
	CHECK_EQ(tine_cache_open(&cache, NULL, NULL), -ENOENT);
	CHECK(!cache);
}

TEST(made_for_its_owner_alone)
{
	tine_cache *cache;

	umask(0);
	cache = opened(MIB);
	CHECK_EQ(put_value(cache, 1, 300000, 1), 0);
	CHECK_EQ(put_value(cache, 2, 8, 1), 0);
	tine_cache_free(cache);
	CHECK_EQ(mode_of(folder()), 0700);
	/* An empty folder is as good as none. */
	remove_folder(folder());
	CHECK_EQ(mkdir(folder(), 0700), 0);
	cache = opened(MIB);
	tine_cache_free(cache);
	clean();
}

/* A relative path is of the folder that this was when it was opened. */
TEST(a_change_of_folder)
{
	tine_cache *cache;

	folder();
	CHECK_EQ(chdir(beside("")), 0);
	CHECK_EQ(tine_cache_open(&cache, "cache/", NULL), 0);
	CHECK_EQ(chdir("/"), 0);
	CHECK_EQ(put_value(cache, 1, 300000, 1), 0);
	CHECK_EQ(put_value(cache, 2, 8, 1), 0);
	CHECK_EQ(got_value(cache, 1), 300000);
	tine_cache_free(cache);
	cache = opened(0);
	CHECK_EQ(got_value(cache, 1), 300000);
	CHECK_EQ(got_value(cache, 2), 8);
	tine_cache_free(cache);
	clean();
}

static void open_fails(int expected)
{
	tine_cache *cache = NULL;

	CHECK_EQ(tine_cache_open(&cache, folder(), NULL), expected);
	CHECK(!cache);
}

TEST(a_symbolic_link_is_refused)
{
	folder();
	CHECK_EQ(mkdir(beside("real"), 0700), 0);
	CHECK_EQ(symlink("real", folder()), 0);
	open_fails(-ELOOP);
	CHECK_EQ(rmdir(beside("real")), 0);
	open_fails(-ELOOP);
	CHECK_EQ(access(beside("real"), F_OK), -1);
	clean();
}

TEST(a_folder_of_other_things_is_refused)
{
	folder();
	CHECK_EQ(mkdir(folder(), 0700), 0);
	write_file(beside("cache/precious"), "precious");
	open_fails(-ENOTEMPTY);
	CHECK_EQ(unlink(beside("cache/precious")), 0);
	CHECK_EQ(mkdir(beside("cache/folder"), 0700), 0);
	open_fails(-ENOTEMPTY);
	CHECK_EQ(rmdir(beside("cache/folder")), 0);
	CHECK_EQ(rmdir(folder()), 0);
	write_file(folder(), "precious");
	open_fails(-ENOTDIR);
	CHECK_EQ(disk_of(beside("")) > 0, 1);
	clean();
}

TEST(what_is_added_to_a_cache_stays)
{
	tine_cache *cache = opened(2 * MIB);
	struct stat now;

	write_file(beside("cache/precious"), "precious");
	for (uint64_t key = 0; key < 40; key++)
		CHECK_EQ(put_value(cache, key, 200000, 0), 0);
	CHECK_EQ(tine_cache_clear(cache, NULL), 0);
	tine_cache_free(cache);
	cache = opened(0);
	tine_cache_free(cache);
	CHECK_EQ(stat(beside("cache/precious"), &now), 0);
	CHECK_EQ(now.st_size, 8);
	clean();
}

TEST(a_folder_of_somebody_else_is_refused)
{
	tine_cache *cache;

	if (geteuid() != 0)
		test_skip("not root");
	cache = opened(MIB);
	tine_cache_free(cache);
	CHECK_EQ(chown(folder(), 12345, 12345), 0);
	open_fails(-EPERM);
	remove_folder(folder());
	CHECK_EQ(mkdir(folder(), 0700), 0);
	CHECK_EQ(chown(folder(), 12345, 12345), 0);
	open_fails(-EPERM);
	clean();
}

static void as_nobody(void *arg)
{
	(void)arg;
	if (setgid(65534) != 0 || setuid(65534) != 0)
		_exit(77);
	open_fails(-EACCES);
}

TEST(a_folder_without_permission)
{
	int how;

	if (geteuid() != 0)
		test_skip("not root");
	/* One that it may not make, and one of its own that it may not write. */
	folder();
	CHECK_EQ(chmod(beside(""), 0755), 0);
	how = test_reap(test_fork(as_nobody, NULL));
	CHECK(how == 0 || how == 77);
	CHECK_EQ(mkdir(folder(), 0555), 0);
	CHECK_EQ(chown(folder(), 65534, 65534), 0);
	CHECK_EQ(chmod(folder(), 0555), 0);
	CHECK_EQ(test_reap(test_fork(as_nobody, NULL)), how);
	clean();
	if (how == 77)
		test_skip("no other user");
}

static void on_read_only_disk(void *full)
{
	mount_here(0, "size=16m");
	if (full) {
		tine_cache *cache = opened(4 * MIB);

		CHECK_EQ(put_value(cache, 1, 8, 1), 0);
		tine_cache_free(cache);
	}
	if (mount(NULL, beside(""), NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0)
		_exit(77);
	open_fails(-EROFS);
}

TEST(a_disk_that_is_read_only)
{
	on_mount(on_read_only_disk, NULL);
	on_mount(on_read_only_disk, "full");
}

static int computed;

static int compute(const void *in, void *out)
{
	computed++;
	make_value(out, 100000, *(const uint64_t *)in, 1);
	return 0;
}

static const tine_task compute_task = {
	.name = "compute", .fn = compute, .in_size = 8, .out_size = 100000
};

static void on_small_disk(void *arg)
{
	bool kept[400] = { false };
	uint64_t chance = 1, n = 0;
	char *out = malloc(100000);
	tine_cache *cache;
	int err;

	(void)arg;
	mount_here(0, "size=6m");
	cache = opened(64 * MIB);
	for (uint64_t key = 0; key < 400; key++) {
		err = put_value(cache, key, roll(&chance, 4) ? 1000 : 90000, 1);
		CHECK(err == 0 || err == -ENOSPC);
		kept[key] = err == 0;
		n += err == 0;
	}
	CHECK(n < 400);
	/* There may be less room than there was; what is there is right. */
	for (uint64_t key = 0; key < 400; key++)
		CHECK(got_value(cache, key) < 0 || kept[key]);
	for (uint64_t key = 0; key < 30; key++) {
		err = tine_cache_call(cache, &compute_task, &key, out, NULL, TINE_NOWAIT);
		CHECK_EQ(err, 0);
		CHECK(is_value(out, 100000, key));
	}
	CHECK_EQ(computed, 30);
	CHECK_EQ(dropped_by_verify(cache), 0);
	tine_cache_free(cache);
	cache = opened(0);
	for (uint64_t key = 0; key < 400; key++)
		CHECK(got_value(cache, key) < 0 || kept[key]);
	CHECK_EQ(tine_cache_clear(cache, NULL), 0);
	for (uint64_t key = 0; key < 20; key++)
		CHECK_EQ(put_value(cache, key, 20000, 1), 0);
	for (uint64_t key = 0; key < 20; key++)
		CHECK_EQ(got_value(cache, key), 20000);
	tine_cache_free(cache);
	free(out);
}

TEST(a_full_disk)
{
	on_mount(on_small_disk, NULL);
}

static void on_tiny_disk(void *arg)
{
	tine_cache *cache = NULL;
	int err;

	(void)arg;
	mount_here(0, "size=16k");
	err = tine_cache_open(&cache, folder(), NULL);
	if (err == 0)
		err = put_value(cache, 1, 40000, 1);
	CHECK_EQ(err, -ENOSPC);
	tine_cache_free(cache);
}

TEST(no_disk_at_all)
{
	on_mount(on_tiny_disk, NULL);
}

static void with_file_limit(void *arg)
{
	struct rlimit limit = { 200000, 200000 };
	tine_cache *cache;
	int err;

	(void)arg;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	err = tine_cache_open(&cache, folder(), NULL);
	if (err == 0) {
		err = put_value(cache, 1, 300000, 1);
		for (uint64_t key = 0; key < 1000 && err == 0; key++)
			err = put_value(cache, key, 8000, 1);
		tine_cache_free(cache);
	}
	CHECK(err == -EFBIG || err == -ENOSPC || err == 0);
}

TEST(a_limit_of_file_size_is_no_signal)
{
	folder();
	CHECK_EQ(test_reap(test_fork(with_file_limit, NULL)), 0);
	clean();
}

/* ---- stat, list, clear, verify ----------------------------------------------------- */

static int twice(const void *in, void *out)
{
	*(int *)out = 2 * *(const int *)in;
	return 7;
}

static int length(const void *in, void *out)
{
	(void)in;
	(void)out;
	return 0;
}

static const tine_task twice_task = TINE_TASK_NAMED("twice", twice, int, int, 0);
static const tine_task twice_next = { .name = "twice",
				      .fn = twice,
				      .in_size = sizeof(int),
				      .out_size = sizeof(int),
				      .version = 1 };
static const tine_task length_task = { .name = "length", .fn = length, .version = 3 };

static void fill(tine_cache *cache)
{
	int out;

	for (int in = 1; in <= 3; in++)
		CHECK_EQ(tine_cache_call(cache, &twice_task, &in, &out, NULL,
					 TINE_FOREVER),
			 0);
	for (int in = 1; in <= 2; in++)
		CHECK_EQ(tine_cache_call(cache, &twice_next, &in, &out, NULL,
					 TINE_FOREVER),
			 0);
	CHECK_EQ(tine_cache_call(cache, &length_task, NULL, NULL, NULL, TINE_FOREVER), 0);
	CHECK_EQ(put_text(cache, "twice", "a key of my own"), 0);
	CHECK_EQ(put_value(cache, 5, 300000, 1), 0);
}

TEST(counts)
{
	tine_cache *cache = opened(8 * MIB);
	tine_cache_stats before, now;

	before = stats_of(cache);
	CHECK_EQ(before.entries, 0);
	CHECK_EQ(before.hits + before.misses + before.evictions + before.restarts, 0);
	CHECK_EQ(before.max_bytes, 8 * MIB);
	fill(cache);
	now = stats_of(cache);
	CHECK_EQ(now.entries, 8);
	CHECK_EQ(now.hits, 0);
	CHECK_EQ(now.misses, 6);
	CHECK(now.bytes >= 300000 && now.bytes <= 8 * MIB);
	CHECK_EQ(got_value(cache, 5), 300000);
	CHECK_EQ(got_value(cache, 6), -ENOENT);
	CHECK(has_text(cache, "twice", "a key of my own"));
	CHECK_EQ(tine_cache_call(cache, &length_task, NULL, NULL, NULL, TINE_FOREVER), 1);
	tine_cache_free(cache);
	cache = opened(0);
	now = stats_of(cache);
	CHECK_EQ(now.hits, 3);
	CHECK_EQ(now.misses, 7);
	CHECK_EQ(now.evictions, 0);
	CHECK_EQ(tine_cache_clear(cache, NULL), 0);
	CHECK_EQ(stats_of(cache).entries, 0);
	tine_cache_free(cache);
	clean();
}

/* What a handle has counted and not yet told is not told by a child as well. */
TEST(hits_are_counted_once)
{
	tine_cache *cache = opened(8 * MIB), *other = opened(0);
	pid_t pid;

	CHECK_EQ(put_value(cache, 1, 8, 1), 0);
	for (int i = 0; i < 10; i++)
		CHECK_EQ(got_value(cache, 1), 8);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK_EQ(got_value(cache, 1), 8);
		tine_cache_free(cache);
		_exit(0);
	}
	CHECK_EQ(test_reap(pid), 0);
	tine_cache_free(cache);
	CHECK_EQ(stats_of(other).hits, 11);
	tine_cache_free(other);
	clean();
}

struct seen {
	int twice[2], length, own, others, stop;
	int64_t least;
};

static int see(void *arg, const tine_cache_entry *entry)
{
	struct seen *seen = arg;
	int in;

	CHECK(entry->born >= seen->least);
	CHECK(entry->used >= entry->born);
	if (!entry->task) {
		CHECK((entry->len == 5 && memcmp(entry->key, "twice", 5) == 0 &&
		       entry->val_len == 15) ||
		      (entry->len == 8 && entry->val_len == 300000));
		seen->own++;
	} else if (strcmp(entry->task, "twice") == 0) {
		CHECK(entry->version < 2);
		CHECK_EQ(entry->len, sizeof(in));
		CHECK_EQ(entry->val_len, sizeof(int));
		memcpy(&in, entry->key, sizeof(in));
		CHECK(in >= 1 && in <= 3);
		seen->twice[entry->version] += in;
	} else if (strcmp(entry->task, "length") == 0) {
		CHECK_EQ(entry->version, 3);
		CHECK_EQ(entry->len, 0);
		CHECK_EQ(entry->val_len, 0);
		seen->length++;
	} else {
		seen->others++;
	}
	return --seen->stop == 0 ? 42 : 0;
}

static int64_t clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

TEST(listed)
{
	tine_cache *cache = opened(8 * MIB);
	/* The clock of the system may be of ticks. */
	struct seen seen = { .least = clock_now() - 20000000 };

	CHECK_EQ(tine_cache_list(cache, see, &seen), 0);
	CHECK_EQ(seen.own + seen.length + seen.others, 0);
	fill(cache);
	CHECK_EQ(tine_cache_list(cache, see, &seen), 0);
	CHECK_EQ(seen.twice[0], 6);
	CHECK_EQ(seen.twice[1], 3);
	CHECK_EQ(seen.length, 1);
	CHECK_EQ(seen.own, 2);
	CHECK_EQ(seen.others, 0);
	for (int n = 1; n <= 8; n++) {
		seen = (struct seen){ .stop = n };
		CHECK_EQ(tine_cache_list(cache, see, &seen), 42);
		CHECK_EQ(seen.stop, 0);
	}
	CHECK_EQ(tine_cache_list(cache, NULL, NULL), -EINVAL);
	tine_cache_free(cache);
	clean();
}

static int use_all(void *arg, const tine_cache_entry *entry)
{
	tine_cache *cache = arg;
	char key[16];
	void *copy;

	CHECK(entry->len <= sizeof(key));
	memcpy(key, entry->key, entry->len);
	if (!entry->task) {
		const void *val;
		size_t len;

		CHECK_EQ(tine_cache_get(cache, entry->key, entry->len, &val, &len), 0);
		copy = malloc(len);
		CHECK(copy);
		memcpy(copy, val, len);
		tine_cache_release(cache, val);
		CHECK_EQ(tine_cache_put(cache, entry->key, entry->len, copy, len), 0);
		free(copy);
	} else {
		CHECK_EQ(tine_cache_clear(cache, &length_task), 0);
	}
	CHECK_EQ(put_value(cache, mix((uint64_t)(uintptr_t)entry->task), 100, 1), 0);
	/* Its, for the call. */
	CHECK(memcmp(key, entry->key, entry->len) == 0);
	return 0;
}

TEST(used_while_it_is_listed)
{
	tine_cache *cache = opened(64 * MIB);

	fill(cache);
	CHECK_EQ(tine_cache_list(cache, use_all, cache), 0);
	CHECK_EQ(dropped_by_verify(cache), 0);
	CHECK_EQ(got_value(cache, 5), 300000);
	tine_cache_free(cache);
	clean();
}

TEST(cleared_by_task)
{
	tine_cache *cache = opened(8 * MIB);
	int in = 1, out;

	fill(cache);
	/* All versions, whatever this one is, and no keys of the caller's. */
	CHECK_EQ(tine_cache_clear(cache, &twice_next), 0);
	CHECK_EQ(stats_of(cache).entries, 3);
	CHECK(has_text(cache, "twice", "a key of my own"));
	CHECK_EQ(tine_cache_call(cache, &length_task, NULL, NULL, NULL, TINE_FOREVER), 1);
	CHECK_EQ(tine_cache_call(cache, &twice_task, &in, &out, NULL, TINE_FOREVER), 0);
	CHECK_EQ(tine_cache_call(cache, &twice_next, &in, &out, NULL, TINE_FOREVER), 0);
	CHECK_EQ(tine_cache_clear(cache, &(tine_task){ .name = "nothing" }), 0);
	CHECK_EQ(stats_of(cache).entries, 5);
	CHECK_EQ(tine_cache_clear(cache, &(tine_task){ .name = "length" }), 0);
	CHECK_EQ(stats_of(cache).entries, 4);
	CHECK_EQ(dropped_by_verify(cache), 0);
	CHECK_EQ(tine_cache_clear(cache, NULL), 0);
	CHECK(!has_text(cache, "twice", "a key of my own"));
	CHECK_EQ(got_value(cache, 5), -ENOENT);
	tine_cache_free(cache);
	clean();
}

/* ---- growth ------------------------------------------------------------------------ */

STRANGER(watch_it_grow)
{
	tine_cache *cache = opened(0);
	int64_t deadline = tine_after(100000);
	uint64_t chance = (uint64_t)getpid(), n;

	while ((n = stats_of(cache).entries) > 0 || tine_now() < deadline) {
		for (int i = 0; i < 100 && n > 0; i++)
			CHECK_EQ(got_value(cache, roll(&chance, n)), 8);
		if (access(beside("grown"), F_OK) == 0)
			break;
	}
	for (uint64_t key = 0; key < n; key += 7)
		CHECK_EQ(got_value(cache, key), 8);
	/* One that was there from the start grows along. */
	CHECK_EQ(put_value(cache, UINT64_MAX - (uint64_t)getpid(), 8, 1), 0);
	tine_cache_free(cache);
}

static void watch_inherited(void *cache)
{
	uint64_t chance = (uint64_t)getpid(), n = 0;

	while (access(beside("grown"), F_OK) != 0) {
		n = stats_of(cache).entries;
		for (int i = 0; i < 100 && n > 0; i++)
			CHECK_EQ(got_value(cache, roll(&chance, n)), 8);
	}
	for (uint64_t key = 0; key < n; key += 7)
		CHECK_EQ(got_value(cache, key), 8);
	tine_cache_free(cache);
}

TEST_LIMIT(grows_while_others_have_it, 120)
{
	tine_cache *cache = opened(512 * MIB), *other = opened(0);
	uint64_t n = (uint64_t)test_scaled(200000);
	pid_t pids[3];

	pids[0] = test_fork(watch_inherited, cache);
	pids[1] = test_fork(become_stranger, "watch_it_grow");
	pids[2] = test_fork(become_stranger, "watch_it_grow");
	for (uint64_t key = 0; key < n; key++)
		CHECK_EQ(put_value(cache, key, 8, key), 0);
	write_file(beside("grown"), "");
	for (int i = 0; i < 3; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(stats_of(other).entries, n + 2);
	for (uint64_t key = 0; key < n; key++)
		CHECK_EQ(got_value(other, key), 8);
	CHECK_EQ(stats_of(cache).evictions, 0);
	CHECK_EQ(dropped_by_verify(cache), 0);
	tine_cache_free(other);
	tine_cache_free(cache);
	clean();
}

/* ---- forks, threads, handles ------------------------------------------------------- */

struct churn {
	tine_cache *cache;
	uint64_t chance, keys;
	long turns;
	size_t largest;
	uint32_t stop; /* or when this is set */
};

static void churn(struct churn *churn)
{
	for (long i = 0; i < churn->turns && !__atomic_load_n(&churn->stop, 0); i++) {
		uint64_t key = roll(&churn->chance, churn->keys);
		size_t what = roll(&churn->chance, 100), len;
		int err;

		len = roll(&churn->chance, 16) ? roll(&churn->chance, 1000)
					       : roll(&churn->chance, churn->largest);
		if (what < 60) {
			got_value(churn->cache, key);
		} else if (what < 98) {
			err = put_value(churn->cache, key, len, churn->chance);
			if (err != -ENOSPC)
				CHECK_EQ(err, 0);
		} else if (what < 99) {
			stats_of(churn->cache);
		} else if (roll(&churn->chance, 20) == 0) {
			CHECK_EQ(tine_cache_clear(churn->cache, NULL), 0);
		}
	}
}

static void *churn_thread(void *arg)
{
	churn(arg);
	return NULL;
}

static void churn_child(void *arg)
{
	churn(arg);
	tine_cache_free(((struct churn *)arg)->cache);
}

STRANGER(churn_stranger)
{
	struct churn work = { .cache = opened(0),
			      .chance = mix((uint64_t)getpid()),
			      .keys = 300,
			      .turns = test_scaled(6000),
			      .largest = 200000 };

	churn(&work);
	tine_cache_free(work.cache);
}

TEST_LIMIT(many_processes_at_once, 120)
{
	const uint64_t most = 4 * MIB;
	tine_cache *cache = opened(most);
	struct churn work = { .cache = cache,
			      .chance = test_seed(),
			      .keys = 300,
			      .turns = test_scaled(6000),
			      .largest = 200000 };
	int left = 8;

	for (int i = 0; i < left; i++) {
		work.chance = mix(work.chance);
		if (i % 2)
			test_fork(churn_child, &work);
		else
			test_fork(become_stranger, "churn_stranger");
	}
	while (left > 0) {
		int how;
		uint64_t disk = disk_of(folder());

		/* And what each is at putting. */
		if (disk > most + 8 * UINT64_C(204800))
			test_fail(__FILE__, __LINE__, "%" PRIu64 " bytes on disk", disk);
		if (waitpid(-1, &how, WNOHANG) > 0) {
			CHECK_EQ(how, 0);
			left--;
		}
	}
	CHECK(disk_of(folder()) <= most);
	for (uint64_t key = 0; key < 300; key++)
		got_value(cache, key);
	CHECK_EQ(dropped_by_verify(cache), 0);
	CHECK_EQ(stats_of(cache).restarts, 0);
	tine_cache_free(cache);
	clean();
}

TEST_LIMIT(many_threads_at_once, 120)
{
	tine_cache *cache = opened(4 * MIB), *other = opened(0);
	uint64_t seed = test_seed();
	struct churn works[6];
	pthread_t threads[6];

	for (int i = 0; i < 6; i++) {
		works[i] = (struct churn){ .cache = i % 3 ? cache : other,
					   .chance = mix(seed + (uint64_t)i),
					   .keys = 300,
					   .turns = test_scaled(6000),
					   .largest = 200000 };
		CHECK_EQ(pthread_create(&threads[i], NULL, churn_thread, &works[i]), 0);
	}
	for (int i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(dropped_by_verify(cache), 0);
	tine_cache_free(other);
	tine_cache_free(cache);
	clean();
}

/* While other threads are inside of any call. */
TEST_LIMIT(forked_while_in_use, 120)
{
	tine_cache *cache = opened(4 * MIB);
	uint64_t seed = test_seed();
	struct churn works[3];
	pthread_t threads[3];

	for (int i = 0; i < 3; i++) {
		works[i] = (struct churn){ .cache = cache,
					   .chance = mix(seed + (uint64_t)i),
					   .keys = 300,
					   .turns = LONG_MAX,
					   .largest = 200000 };
		CHECK_EQ(pthread_create(&threads[i], NULL, churn_thread, &works[i]), 0);
	}
	for (long i = 0; i < test_scaled(200); i++) {
		struct churn work = { .cache = cache,
				      .chance = mix(seed + (uint64_t)i + 1000),
				      .keys = 300,
				      .turns = 50,
				      .largest = 200000 };
		pid_t pid = test_fork(churn_child, &work);

		if (i % 3 == 0) {
			test_sleep_us((long)roll(&seed, 3000));
			kill(pid, SIGKILL);
			test_reap(pid);
		} else {
			CHECK_EQ(test_reap(pid), 0);
		}
	}
	for (int i = 0; i < 3; i++)
		__atomic_store_n(&works[i].stop, 1, 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(dropped_by_verify(cache), 0);
	tine_cache_free(cache);
	clean();
}

static void use_what_was_got(void *arg)
{
	struct held *held = arg;

	check_held(held);
	CHECK_EQ(1, 1);
}

/* What the parent has got is the child's too, of which each lets go for itself. */
TEST(a_fork_inherits_what_was_got)
{
	tine_cache *cache = opened(64 * MIB);
	struct held held[HELD];
	pid_t pid;

	hold(cache, held);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		use_what_was_got(held);
		let_go(cache, held);
		CHECK_EQ(tine_cache_clear(cache, NULL), 0);
		CHECK_EQ(put_value(cache, 1, 100, 9), 0);
		tine_cache_free(cache);
		_exit(0);
	}
	CHECK_EQ(test_reap(pid), 0);
	check_held(held);
	let_go(cache, held);
	CHECK_EQ(got_value(cache, 1), 100);
	tine_cache_free(cache);
	clean();
}

static int doubles(const void *in, void *out)
{
	*(int *)out = 2 * *(const int *)in;
	return 0;
}

/* Both of one that was made here, and in a child of one that was inherited. */
static void use_without_descriptors(void *arg)
{
	static const tine_task task = TINE_TASK(doubles, int, int);
	tine_cache *cache = arg ? arg : opened(64 * MIB);
	int in = 21, out = 0;

	test_take_descriptors();
	CHECK_EQ(put_value(cache, 1, 100, 2), -EBADF);
	CHECK_EQ(put_value(cache, 2, MIB, 2), -EBADF);
	CHECK_EQ(tine_cache_clear(cache, NULL), -EBADF);
	CHECK_EQ(got_value(cache, 1), 100);
	CHECK_EQ(got_value(cache, 3), -EBADF);
	CHECK_EQ(tine_cache_call(cache, &task, &in, &out, NULL, TINE_FOREVER), 0);
	CHECK_EQ(out, 42);
	CHECK(test_has_taken());
	tine_cache_free(cache);
	CHECK(test_has_taken());
}

TEST(descriptors_that_are_others_now_are_left_alone)
{
	tine_cache *cache = opened(64 * MIB);

	CHECK_EQ(put_value(cache, 1, 100, 1), 0);
	CHECK_EQ(put_value(cache, 3, MIB, 1), 0);
	CHECK_EQ(test_reap(test_fork(use_without_descriptors, NULL)), 0);
	CHECK_EQ(test_reap(test_fork(use_without_descriptors, cache)), 0);
	CHECK_EQ(got_value(cache, 3), MIB);
	tine_cache_free(cache);
	clean();
}

TEST(two_handles)
{
	tine_cache *first = opened(16 * MIB), *second = opened(0);

	for (uint64_t key = 0; key < LENGTHS; key++)
		CHECK_EQ(put_value(key % 2 ? first : second, key, lengths[key], 1), 0);
	for (uint64_t key = 0; key < LENGTHS; key++) {
		CHECK_EQ(got_value(first, key), lengths[key]);
		CHECK_EQ(got_value(second, key), lengths[key]);
	}
	tine_cache_free(first);
	for (uint64_t key = 0; key < LENGTHS; key++)
		CHECK_EQ(put_value(second, key, lengths[LENGTHS - 1 - key], 2), 0);
	first = opened(0);
	for (uint64_t key = 0; key < LENGTHS; key++)
		CHECK_EQ(got_value(first, key), lengths[LENGTHS - 1 - key]);
	CHECK_EQ(tine_cache_clear(first, NULL), 0);
	for (uint64_t key = 0; key < LENGTHS; key++)
		CHECK_EQ(got_value(second, key), -ENOENT);
	tine_cache_free(second);
	tine_cache_free(first);
	clean();
}

/* Who opens one that another is making has it, or makes it. */
STRANGER(open_at_once)
{
	tine_cache *cache;

	for (int round = 0; round < 20; round++) {
		CHECK_EQ(tine_cache_open(&cache, folder(), NULL), 0);
		CHECK_EQ(put_value(cache, (uint64_t)round, 100, 1), 0);
		CHECK_EQ(got_value(cache, (uint64_t)round), 100);
		tine_cache_free(cache);
	}
}

TEST(opened_by_many_at_once)
{
	for (long round = 0; round < test_scaled(40); round++) {
		pid_t pids[4];

		folder();
		for (int i = 0; i < 4; i++)
			pids[i] = test_fork(become_stranger, "open_at_once");
		for (int i = 0; i < 4; i++)
			CHECK_EQ(test_reap(pids[i]), 0);
		clean();
	}
}
