/* SPDX-License-Identifier: MIT */
/*
 * A cache that somebody has written over, or cut short: what it gives is right or is not
 * found, and where nothing is to be mended it begins anew and says so.
 */
#include "cache_use.h"

#include "cache/format.h"

enum { KEYS = 60, TASKS = 12, MOST_FILES = 64 };

/* ---- a cache to damage, as it was -------------------------------------------------- */

static struct file {
	char path[128];
	char *bytes;
	size_t size;
	struct timespec times[2];
} files[MOST_FILES];
static int nfiles;

static int keep_file(const char *path, const struct stat *now, int type, struct FTW *at)
{
	struct file *file = &files[nfiles];
	int fd;

	(void)at;
	if (type != FTW_F)
		return 0;
	CHECK(nfiles < MOST_FILES);
	snprintf(file->path, sizeof(file->path), "%s", path);
	file->size = (size_t)now->st_size;
	file->times[0] = now->st_atim;
	file->times[1] = now->st_mtim;
	file->bytes = malloc(file->size + 1);
	CHECK(file->bytes);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(read(fd, file->bytes, file->size), file->size);
	close(fd);
	nfiles++;
	return 0;
}

static int compute(const void *in, void *out)
{
	make_value(out, 500, *(const uint64_t *)in, 1);
	return 3;
}

static const tine_task task = {
	.name = "compute", .fn = compute, .in_size = 8, .out_size = 500, .version = 1
};

/* Of every third a large one. */
static size_t length_of(uint64_t key)
{
	return key % 3 ? (size_t)(key * 37 % 1500) : (size_t)(17000 + key * 999);
}

static void call_right(tine_cache *cache, uint64_t in)
{
	char out[500];
	int status = -1;
	int err = tine_cache_call(cache, &task, &in, out, &status, tine_after(20000));

	CHECK(err == 0 || err == 1);
	CHECK_EQ(status, 3);
	CHECK(is_value(out, sizeof(out), in));
}

static void make_cache(void)
{
	tine_cache *cache = opened(8 * MIB);
	char key[3000];

	/* Some that were replaced, and places that are free. */
	for (uint64_t i = 0; i < KEYS; i++)
		CHECK_EQ(put_value(cache, i, length_of(KEYS - 1 - i), 0), 0);
	CHECK_EQ(tine_cache_clear(cache, NULL), 0);
	for (uint64_t i = 0; i < KEYS; i++)
		CHECK_EQ(put_value(cache, i, length_of(i), 1), 0);
	for (uint64_t i = 0; i < TASKS; i++)
		call_right(cache, i);
	make_value(key, sizeof(key), 1, 1);
	CHECK_EQ(tine_cache_put(cache, key, sizeof(key), key, sizeof(key)), 0);
	CHECK_EQ(tine_cache_put(cache, key, sizeof(key), files, sizeof(files)), 0);
	tine_cache_free(cache);
	nfiles = 0;
	CHECK_EQ(nftw(folder(), keep_file, 16, FTW_PHYS), 0);
	CHECK(nfiles > 10);
}

static int remove_strange(const char *path, const struct stat *now, int type,
			  struct FTW *at)
{
	(void)now;
	(void)at;
	if (type != FTW_F)
		return 0;
	for (int i = 0; i < nfiles; i++)
		if (strcmp(files[i].path, path) == 0)
			return 0;
	return unlink(path);
}

/* Puts all back, also the times, by which a file is known to be as it was written. */
static void restore(void)
{
	CHECK_EQ(nftw(folder(), remove_strange, 16, FTW_PHYS), 0);
	mkdir(beside("cache/large"), 0700);
	for (int i = 0; i < nfiles; i++) {
		int fd = open(files[i].path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			      0600);

		CHECK(fd >= 0);
		CHECK_EQ(write(fd, files[i].bytes, files[i].size), files[i].size);
		CHECK_EQ(futimens(fd, files[i].times), 0);
		close(fd);
	}
}

static void forget_files(void)
{
	for (int i = 0; i < nfiles; i++)
		free(files[i].bytes);
	nfiles = 0;
	clean();
}

static struct file *file_named(const char *name)
{
	for (int i = 0; i < nfiles; i++)
		if (strcmp(strrchr(files[i].path, '/') + 1, name) == 0)
			return &files[i];
	test_fail(__FILE__, __LINE__, "no file %s", name);
}

static void write_at(const struct file *file, size_t at, const void *bytes, size_t len)
{
	int fd = open(file->path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	CHECK_EQ(pwrite(fd, bytes, len, (off_t)at), len);
	close(fd);
}

/* ---- what it is good for afterwards ------------------------------------------------ */

static int use_entry(void *arg, const tine_cache_entry *entry)
{
	unsigned char *sum = arg;

	for (size_t i = 0; i < entry->len; i++)
		*sum ^= ((const unsigned char *)entry->key)[i];
	for (const char *at = entry->task; at && *at; at++)
		*sum ^= (unsigned char)*at;
	return 0;
}

/* How many of the keys it still has. */
static int use(tine_cache *cache)
{
	tine_cache_stats stats;
	unsigned char sum = 0;
	int found = 0;

	for (uint64_t key = 0; key < KEYS; key++) {
		long long len = got_value(cache, key);

		CHECK(len == -ENOENT || len == (long long)length_of(key));
		found += len >= 0;
	}
	for (uint64_t in = 0; in < TASKS; in++)
		call_right(cache, in);
	CHECK_EQ(tine_cache_list(cache, use_entry, &sum), 0);
	CHECK_EQ(tine_cache_stat(cache, &stats), 0);
	/* Damage may come to light with a change, and take what was put before along. */
	for (int round = 0; round < 2; round++) {
		for (uint64_t key = 100; key < 112; key++)
			CHECK_EQ(put_value(cache, key, length_of(key), 2), 0);
		for (uint64_t key = 0; key < 5; key++)
			CHECK_EQ(put_value(cache, key, length_of(key), 3), 0);
		for (uint64_t key = 0; key < 112; key++) {
			long long len = got_value(cache, key);

			CHECK(len == -ENOENT || len == (long long)length_of(key));
			if (round == 1 && (key < 5 || key >= 100))
				CHECK(len >= 0);
		}
		if (round == 0)
			dropped_by_verify(cache);
		CHECK_EQ(dropped_by_verify(cache), 0);
	}
	return found;
}

/* The limit it has may be one of the bytes that were hit. */
static int open_damaged(tine_cache **cache)
{
	tine_cache_opts opts = { .max_bytes = 8 * MIB };
	int err = tine_cache_open(cache, folder(), &opts);

	if (err != 0 && err != 1)
		test_fail(__FILE__, __LINE__, "tine_cache_open: %s", tine_strerror(err));
	return err;
}

static int open_and_use(int *found)
{
	tine_cache *cache;
	int begun = open_damaged(&cache), again;

	*found = use(cache);
	tine_cache_free(cache);
	/* Nothing is left of it. */
	again = open_damaged(&cache);
	CHECK_EQ(again, 0);
	CHECK_EQ(got_value(cache, 1), length_of(1));
	tine_cache_free(cache);
	return begun;
}

/* ---- by chance --------------------------------------------------------------------- */

/* As after a boot, when an index is read through. */
static void forget_boot(void)
{
	static const uint64_t none[2];

	write_at(file_named("index"), offsetof(struct index_header, boot), none,
		 sizeof(none));
}

/* The first bytes of an index are what it has most of. */
static size_t some_place(const struct file *file, uint64_t *chance)
{
	size_t reach = file->size;

	if (roll(chance, 2) && reach > 12000)
		reach = roll(chance, 2) ? 200 : 12000;
	return reach ? roll(chance, reach) : 0;
}

static void scribble(const struct file *file, uint64_t *chance)
{
	size_t at = some_place(file, chance), len, what = roll(chance, 6);
	unsigned char bytes[4096];

	if (file->size == 0)
		return;
	len = what == 0 ? 1 : what == 1 ? 8 : 1 + roll(chance, what == 2 ? 4096 : 64);
	if (len == 8)
		at &= ~(size_t)7;
	if (len > file->size - at)
		len = file->size - at;
	memcpy(bytes, file->bytes + at, len);
	switch (what) {
	case 0:
		bytes[0] ^= (unsigned char)(1 << roll(chance, 8));
		break;
	case 1:
		/* A word that is nearly right. */
		bytes[0] = (unsigned char)(bytes[0] + 1 + roll(chance, 16) * 16);
		break;
	case 2:
		memset(bytes, roll(chance, 2) ? 0 : 0xff, len);
		break;
	case 3: {
		/* A part of the same file, of another place. */
		size_t from = roll(chance, file->size - len + 1) & ~(size_t)7;

		memcpy(bytes, file->bytes + from, len);
		break;
	}
	default:
		for (size_t i = 0; i < len; i++)
			bytes[i] = (unsigned char)roll(chance, 256);
	}
	write_at(file, at, bytes, len);
}

static void harm(uint64_t *chance, bool in_use)
{
	struct file *file = &files[roll(chance, (size_t)nfiles)];
	struct file *other = &files[roll(chance, (size_t)nfiles)];
	size_t what = roll(chance, in_use ? 10 : 16);

	/* There are many large ones. */
	if (roll(chance, 3))
		file = file_named(roll(chance, 2) ? "index" : "data");
	if (what < 10) {
		scribble(file, chance);
	} else if (what < 13) {
		(void)!truncate(file->path, (off_t)roll(chance, file->size + 1));
	} else if (what < 14) {
		(void)!truncate(file->path, (off_t)(file->size + roll(chance, 100000)));
	} else if (what < 15) {
		unlink(file->path);
	} else {
		write_at(file, 0, other->bytes, other->size);
	}
}

struct round {
	uint64_t chance;
	int begun, found; /* of all rounds */
};

/* Each in a process of its own, which says what repeats it when it fails. */
static void run_rounds(long n, void (*fn)(struct round *))
{
	struct round *round = tine_shared_new(1, sizeof(*round));
	uint64_t seed = test_seed();

	CHECK(round);
	make_cache();
	for (long i = 0; i < n; i++) {
		pid_t pid;
		int how;

		restore();
		round->chance = mix(seed + (uint64_t)i);
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			alarm(20);
			fn(round);
			_exit(0);
		}
		how = test_reap(pid);
		if (how != 0)
			test_fail(__FILE__, __LINE__,
				  "%d, in the first round with TEST_SEED=%" PRIu64, how,
				  seed + (uint64_t)i);
	}
	printf("# begun anew %d times of %ld, else %d of %d entries were there\n",
	       round->begun, n,
	       n > round->begun ? round->found / (int)(n - round->begun) : 0, KEYS);
	/* A few may all have met the same fate. */
	CHECK(n < 20 || round->begun < n);
	tine_shared_free(round);
	forget_files();
}

static void harm_and_open(struct round *round)
{
	int found;

	for (size_t n = 1 + roll(&round->chance, 3); n > 0; n--)
		harm(&round->chance, false);
	if (roll(&round->chance, 2))
		forget_boot();
	round->begun += open_and_use(&found);
	round->found += found;
}

TEST_LIMIT(harmed_by_chance, 200)
{
	run_rounds(test_sampled(400), harm_and_open);
}

/* While it is open, and files keep their lengths. */
static void open_and_harm(struct round *round)
{
	size_t before = roll(&round->chance, KEYS);
	const uint64_t limit = 8 * MIB;
	tine_cache *cache;

	open_damaged(&cache);
	/* Those of a large one may be mapped already, and are not looked at again. */
	for (uint64_t key = 0; key < before; key++)
		if (key % 3)
			CHECK_EQ(got_value(cache, key), length_of(key));
	for (size_t n = 1 + roll(&round->chance, 3); n > 0; n--)
		harm(&round->chance, true);
	/* With less it would be right to refuse. */
	write_at(file_named("index"), offsetof(struct index_header, max_bytes), &limit,
		 sizeof(limit));
	round->found += use(cache);
	tine_cache_free(cache);
}

TEST_LIMIT(harmed_while_it_is_open, 200)
{
	run_rounds(test_sampled(400), open_and_harm);
}

/* ---- one by one -------------------------------------------------------------------- */

TEST_LIMIT(each_file_cut_short, 200)
{
	int found, large = 0;

	make_cache();
	for (int i = 0; i < nfiles; i++) {
		size_t size = files[i].size;
		size_t cuts[] = { 0,	    1,	   8,	   63,	     64,
				  512,	    4095,  4096,   4097,     8192,
				  size / 2, 70000, 131072, size - 1, size - 4096 };

		/* One that is large is as good as another. */
		if (strstr(files[i].path, "/large/") && large++ > 1 && !test_soak())
			continue;
		for (size_t cut = 0; cut < sizeof(cuts) / sizeof(*cuts); cut++)
			for (int booted = 0; booted < 2; booted++) {
				if (cuts[cut] >= size)
					continue;
				restore();
				CHECK_EQ(truncate(files[i].path, (off_t)cuts[cut]), 0);
				if (booted)
					forget_boot();
				open_and_use(&found);
			}
	}
	forget_files();
}

TEST(each_file_gone)
{
	bool gone;
	int found;

	make_cache();
	for (int i = 0; i < nfiles; i++) {
		restore();
		CHECK_EQ(unlink(files[i].path), 0);
		gone = strcmp(files[i].path, beside("cache/index")) == 0;
		CHECK(open_and_use(&found) == 1 || !gone);
		CHECK(gone || found > 0 ||
		      strcmp(files[i].path, beside("cache/data")) == 0);
	}
	restore();
	remove_folder(beside("cache/large"));
	CHECK_EQ(open_and_use(&found), 0);
	CHECK_EQ(found, KEYS - KEYS / 3);
	forget_files();
}

/* A change of one byte costs that entry, and no other. */
TEST(a_large_value_that_was_written_to_is_noticed)
{
	tine_cache *cache;

	make_cache();
	for (int i = 0; i < nfiles; i++) {
		size_t places[5] = { 16, 64 + 3, 200, files[i].size / 2,
				     files[i].size - 1 };

		if (!strstr(files[i].path, "/large/"))
			continue;
		for (int place = 0; place < 5; place++) {
			size_t at = places[place];
			char byte = (char)(files[i].bytes[at] ^ 4);
			int found = 0;

			/* Between the key and the value there is nothing. */
			if (at == 64 + 3 && files[i].size < 100)
				continue;
			restore();
			write_at(&files[i], at, &byte, 1);
			open_damaged(&cache);
			for (uint64_t key = 0; key < KEYS; key++)
				found += got_value(cache, key) >= 0;
			CHECK(found == KEYS || found == KEYS - 1);
			tine_cache_free(cache);
			restore();
			write_at(&files[i], at, &byte, 1);
			open_damaged(&cache);
			CHECK_EQ(dropped_by_verify(cache), 1);
			CHECK_EQ(dropped_by_verify(cache), 0);
			tine_cache_free(cache);
		}
	}
	forget_files();
}

/* Also when its time was set back: then it is who reads all of it that finds out. */
TEST(verify_reads_every_byte)
{
	tine_cache *cache;
	struct file *file;

	make_cache();
	for (int i = 0; i < nfiles; i++) {
		char byte;

		file = &files[i];
		if (!strstr(file->path, "/large/"))
			continue;
		restore();
		byte = (char)(file->bytes[file->size - 1] ^ 1);
		write_at(file, file->size - 1, &byte, 1);
		CHECK_EQ(utimensat(AT_FDCWD, file->path, file->times, 0), 0);
		open_damaged(&cache);
		CHECK_EQ(dropped_by_verify(cache), 1);
		tine_cache_free(cache);
	}
	forget_files();
}

TEST(a_small_value_that_was_written_to_is_noticed)
{
	tine_cache *cache;
	struct file *data;
	int missed = 0;

	make_cache();
	data = file_named("data");
	for (long i = 0; i < test_sampled(400); i++) {
		size_t at = (size_t)i * 997 % data->size;
		char byte = (char)(data->bytes[at] ^ 16);
		int found = 0;

		restore();
		open_damaged(&cache);
		write_at(data, at, &byte, 1);
		for (uint64_t key = 0; key < KEYS; key++)
			found += got_value(cache, key) >= 0;
		CHECK(found >= KEYS - 1);
		missed += found < KEYS;
		tine_cache_free(cache);
	}
	CHECK(missed > 0);
	forget_files();
}

TEST(a_copy_of_it_is_one)
{
	int found;

	/* Other times of modification, other numbers of inodes. */
	make_cache();
	for (int i = 0; i < nfiles; i++)
		files[i].times[1].tv_sec -= 1000000;
	remove_folder(folder());
	CHECK_EQ(mkdir(folder(), 0700), 0);
	restore();
	CHECK_EQ(open_and_use(&found), 0);
	CHECK_EQ(found, KEYS);
	forget_files();
}

TEST(one_of_another_version_is_begun_anew)
{
	uint64_t words[2] = { CACHE_LAYOUT + 1 };
	tine_cache *cache = NULL;
	int found;
	struct file *index;

	make_cache();
	restore();
	index = file_named("index");
	words[1] = (words[0] ^ CACHE_MAGIC) * UINT64_C(0x9e3779b97f4a7c15);
	write_at(index, offsetof(struct index_header, layout), words, sizeof(words));
	memcpy(index->bytes + offsetof(struct index_header, layout), words,
	       sizeof(words));
	CHECK_EQ(open_and_use(&found), 1);
	CHECK_EQ(found, 0);
	/* Once. */
	CHECK_EQ(tine_cache_open(&cache, folder(), NULL), 0);
	tine_cache_free(cache);
	forget_files();
}

/* Who has it open goes on when another finds it beyond mending. */
STRANGER(find_it_damaged)
{
	tine_cache *cache;

	CHECK_EQ(open_damaged(&cache), 1);
	CHECK_EQ(put_value(cache, 1000, 8, 1), 0);
	CHECK_EQ(put_value(cache, 1001, 100000, 1), 0);
	tine_cache_free(cache);
}

TEST(begun_anew_while_others_have_it)
{
	const void *vals[KEYS];
	tine_cache *cache;
	uint64_t zero = 0;
	size_t len;

	make_cache();
	restore();
	cache = opened(0);
	for (uint64_t key = 0; key < KEYS; key++)
		CHECK_EQ(tine_cache_get(cache, &key, 8, &vals[key], &len), 0);
	write_at(file_named("index"), 0, &zero, sizeof(zero));
	CHECK_EQ(test_reap(test_fork(become_stranger, "find_it_damaged")), 0);
	for (uint64_t key = 0; key < KEYS; key++)
		CHECK(is_value(vals[key], length_of(key), key));
	for (uint64_t key = 0; key < KEYS; key++)
		tine_cache_release(cache, vals[key]);
	for (uint64_t key = 0; key < KEYS; key++)
		CHECK_EQ(got_value(cache, key), -ENOENT);
	CHECK_EQ(got_value(cache, 1000), 8);
	CHECK_EQ(got_value(cache, 1001), 100000);
	CHECK_EQ(stats_of(cache).restarts, 1);
	use(cache);
	tine_cache_free(cache);
	forget_files();
}
