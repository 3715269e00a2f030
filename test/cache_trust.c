/* SPDX-License-Identifier: MIT */
/*
 * Whose folder a cache may lie in, and what it does where the system has little to give.
 */
#include "cache_use.h"

#include "cache/slots.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

static int open_with(bool shared)
{
	tine_cache_opts opts = { .max_bytes = 4 * MIB, .shared = shared };
	tine_cache *cache;
	int err = tine_cache_open(&cache, folder(), &opts);

	if (err >= 0)
		tine_cache_free(cache);
	return err;
}

static mode_t mode_of(const char *path)
{
	struct stat now;

	CHECK_EQ(stat(path, &now), 0);
	return now.st_mode & 0777;
}

/* ---- trust ------------------------------------------------------------------------- */

TEST(a_folder_that_others_can_write_is_refused)
{
	static const mode_t modes[] = { 0777, 0775, 0722, 0702 };

	CHECK_EQ(open_with(false), 0);
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		CHECK_EQ(chmod(folder(), modes[i]), 0);
		CHECK_EQ(open_with(false), -EPERM);
		CHECK_EQ(open_with(true), 0);
	}
	CHECK_EQ(chmod(folder(), 0755), 0);
	CHECK_EQ(open_with(false), 0);
	clean();
}

TEST(files_that_others_can_write_are_refused)
{
	static const char *const names[] = { "cache/lock", "cache/index", "cache/data",
					     "cache/large" };

	CHECK_EQ(open_with(false), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		mode_t mode = mode_of(beside(names[i]));

		CHECK_EQ(chmod(beside(names[i]), mode | 020), 0);
		CHECK_EQ(open_with(false), -EPERM);
		CHECK_EQ(chmod(beside(names[i]), mode | 002), 0);
		CHECK_EQ(open_with(false), -EPERM);
		CHECK_EQ(open_with(true), 0);
		CHECK_EQ(chmod(beside(names[i]), mode), 0);
		CHECK_EQ(open_with(false), 0);
	}
	clean();
}

TEST(files_of_somebody_else_are_refused)
{
	static const char *const names[] = { "cache", "cache/lock", "cache/index",
					     "cache/data", "cache/large" };

	if (geteuid() != 0)
		test_skip("not root");
	CHECK_EQ(open_with(false), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		CHECK_EQ(chown(beside(names[i]), 12345, -1), 0);
		CHECK_EQ(open_with(false), -EPERM);
		CHECK_EQ(open_with(true), 0);
		CHECK_EQ(chown(beside(names[i]), 0, -1), 0);
		CHECK_EQ(open_with(false), 0);
	}
	clean();
}

TEST(links_are_refused)
{
	static const char *const names[] = { "cache/lock", "cache/index", "cache/data",
					     "cache/large" };

	CHECK_EQ(open_with(false), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		for (int shared = 0; shared < 2; shared++) {
			CHECK_EQ(rename(beside(names[i]), beside("kept")), 0);
			CHECK_EQ(symlink(beside("kept"), beside(names[i])), 0);
			CHECK(open_with(shared) < 0);
			CHECK_EQ(unlink(beside(names[i])), 0);
			/* One that leads to nothing is not made to lead to a new file. */
			CHECK_EQ(symlink(beside("nothing"), beside(names[i])), 0);
			CHECK(open_with(shared) < 0);
			CHECK_EQ(access(beside("nothing"), F_OK), -1);
			CHECK_EQ(unlink(beside(names[i])), 0);
			CHECK_EQ(rename(beside("kept"), beside(names[i])), 0);
			CHECK_EQ(open_with(shared), 0);
		}
	clean();
}

static char first_large[512];

static int note_large(const char *path, const struct stat *now, int type, struct FTW *at)
{
	(void)now;
	(void)at;
	if (type == FTW_F)
		snprintf(first_large, sizeof(first_large), "%s", path);
	return 0;
}

static const char *large_file(void)
{
	*first_large = '\0';
	CHECK_EQ(nftw(beside("cache/large"), note_large, 16, FTW_PHYS), 0);
	CHECK(*first_large);
	return first_large;
}

TEST(a_large_file_that_others_can_write_is_a_miss)
{
	tine_cache *cache = opened(4 * MIB);

	CHECK_EQ(put_value(cache, 1, 50000, 1), 0);
	CHECK_EQ(chmod(large_file(), 0622), 0);
	CHECK_EQ(got_value(cache, 1), -ENOENT);
	tine_cache_free(cache);
	clean();
}

TEST(a_shared_one_is_made_as_the_umask_says)
{
	tine_cache_opts opts = { .max_bytes = 4 * MIB, .shared = true };
	mode_t mask = umask(002);
	tine_cache *cache;

	CHECK_EQ(tine_cache_open(&cache, folder(), &opts), 0);
	CHECK_EQ(put_value(cache, 1, 50000, 1), 0);
	CHECK_EQ(got_value(cache, 1), 50000);
	tine_cache_free(cache);
	CHECK_EQ(mode_of(folder()), 0775);
	CHECK_EQ(mode_of(beside("cache/large")), 0775);
	CHECK_EQ(mode_of(beside("cache/lock")), 0664);
	CHECK_EQ(mode_of(beside("cache/index")), 0664);
	CHECK_EQ(mode_of(beside("cache/data")), 0664);
	CHECK_EQ(mode_of(large_file()), 0664);
	umask(mask);
	clean();
}

/* ---- large files ------------------------------------------------------------------- */

/* Who writes to one may set its time of modification back, but not that of the change. */
TEST(a_byte_changed_behind_the_time_of_modification_is_a_miss)
{
	tine_cache *cache = opened(4 * MIB);
	struct stat before;
	char byte;
	int fd;

	CHECK_EQ(put_value(cache, 1, 50000, 1), 0);
	CHECK_EQ(put_value(cache, 2, 60000, 1), 0);
	fd = open(large_file(), O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(fstat(fd, &before), 0);
	/* The clock of files goes by ticks. */
	test_sleep_us(20000);
	CHECK_EQ(pread(fd, &byte, 1, 30000), 1);
	byte ^= 1;
	CHECK_EQ(pwrite(fd, &byte, 1, 30000), 1);
	CHECK_EQ(futimens(fd, (struct timespec[2]){ before.st_atim, before.st_mtim }), 0);
	close(fd);
	CHECK_EQ((got_value(cache, 1) == -ENOENT) + (got_value(cache, 2) == -ENOENT), 1);
	tine_cache_free(cache);
	clean();
}

/* ---- places ------------------------------------------------------------------------ */

static int doubled(const void *in, void *out)
{
	*(int *)out = 2 * *(const int *)in;
	return 0;
}

struct large_result {
	int n;
	char bytes[1 << 20];
};

static int doubled_large(const void *in, void *out)
{
	struct large_result *large = out;

	memset(large, 1, sizeof(*large));
	large->n = 2 * *(const int *)in;
	return 0;
}

static const tine_task small_task = {
	.name = "small", .fn = doubled, .in_size = sizeof(int), .out_size = sizeof(int)
};
static const tine_task large_task = { .name = "large",
				      .fn = doubled_large,
				      .in_size = sizeof(int),
				      .out_size = sizeof(struct large_result) };
static struct large_result results[4];

/* How often a result was there. */
static int use_all(tine_cache *cache, int from)
{
	int hits = 0, got;

	for (int i = from; i < from + 4; i++) {
		int n = 0;

		got = tine_cache_call(cache, &small_task, &i, &n, NULL, TINE_FOREVER);
		CHECK(got >= 0 && n == 2 * i);
		hits += got;
		memset(results, 0, sizeof(results[0]));
		got = tine_cache_call(cache, &large_task, &i, results, NULL,
				      TINE_FOREVER);
		CHECK(got >= 0 && results[0].n == 2 * i && results[0].bytes[99999] == 1);
		hits += got;
	}
	return hits;
}

static void map_large(tine_cache *cache)
{
	tine_map_opts opts = { .cache = cache };
	const int in[4] = { 5, 6, 7, 8 };
	tine_pool *pool;

	CHECK_EQ(tine_pool_new(&pool, &(tine_pool_opts){ .workers = 2 }), 0);
	CHECK_EQ(tine_pool_map(pool, &large_task, in, results, 4, &opts,
			       tine_after(30000)),
		 0);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(results[i].n, 2 * in[i]);
	tine_pool_free(pool);
}

TEST(results_are_delivered_without_the_folder)
{
	tine_cache *cache = opened(16 * MIB);

	CHECK_EQ(use_all(cache, 0), 0);
	CHECK_EQ(use_all(cache, 0), 8);
	remove_folder(folder());
	/* What was never computed before, too. */
	use_all(cache, 0);
	use_all(cache, 4);
	map_large(cache);
	tine_cache_free(cache);
	clean();
}

/* Where it can do without: what a boot is, it cannot know. */
static void without_proc(void *skip)
{
	tine_cache *cache;

	if (unshare(CLONE_NEWNS) != 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("none", "/proc", "tmpfs", 0, NULL) != 0) {
		*(bool *)skip = true;
		return;
	}
	CHECK_EQ(access("/proc/self", F_OK), -1);
	for (int i = 0; i < 2; i++) {
		cache = opened(16 * MIB);
		CHECK_EQ(use_all(cache, 0), 8 * i);
		tine_cache_free(cache);
	}
}

TEST(works_without_proc)
{
	bool *skip = tine_shared_new(1, sizeof(*skip));
	bool skipped;

	folder();
	CHECK_EQ(test_reap(test_fork(without_proc, skip)), 0);
	skipped = *skip;
	tine_shared_free(skip);
	clean();
	if (skipped)
		test_skip("mounts are not permitted");
}

/* 64 MiB of address space, beside what this program has already. */
static void in_little_space(void *arg)
{
	struct rlimit limit;
	tine_cache *cache;
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");
	void *rest[3];

	(void)arg;
	CHECK(file && fscanf(file, "%lu", &pages) == 1);
	fclose(file);
	limit.rlim_cur = limit.rlim_max = pages * 4096 + 64 * MIB;
	CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
	for (int i = 0; i < 2; i++) {
		cache = opened(i ? 0 : 16 * MIB);
		CHECK_EQ(use_all(cache, 0), 8 * i);
		for (uint64_t key = 0; key < 1000; key++)
			CHECK_EQ(put_value(cache, key, 2000, 1), 0);
		for (uint64_t key = 900; key < 1000; key++)
			CHECK_EQ(got_value(cache, key), 2000);
		/* It leaves room for others. */
		for (int n = 0; n < 3; n++)
			CHECK((rest[n] = malloc(8 * MIB)) != NULL);
		for (int n = 0; n < 3; n++)
			free(rest[n]);
		tine_cache_free(cache);
	}
}

TEST(works_in_64_MiB_of_address_space)
{
	if (test_under_valgrind())
		test_skip("valgrind needs the space");
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	test_skip("the sanitizer needs the space");
#endif
	folder();
	CHECK_EQ(test_reap(test_fork(in_little_space, NULL)), 0);
	clean();
}

/* ---- use --------------------------------------------------------------------------- */

/* Whose uses would be noted each quarter of an hour, were it not for the size. */
TEST(what_is_old_and_in_use_stays)
{
	tine_cache *cache = opened(2 * MIB);
	uint64_t day = UINT64_C(86400000000000), chance = 1;

	CHECK_EQ(put_value(cache, 1, 100, 1), 0);
	slot_at(cache, 0)->born -= day;
	slot_at(cache, 0)->used -= day / 1000;
	for (uint64_t key = 10; key < (uint64_t)test_scaled(10000) + 2000; key++) {
		CHECK_EQ(put_value(cache, key, roll(&chance, 4000), 1), 0);
		CHECK_EQ(got_value(cache, 1), 100);
	}
	CHECK(stats_of(cache).evictions > 0);
	tine_cache_free(cache);
	clean();
}
