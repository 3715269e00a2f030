/* SPDX-License-Identifier: MIT */
/* Stores in a folder: URLs, folders of all kinds, room, and what is left of the dead. */
#include "test.h"

#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define MIB ((size_t)1 << 20)

static char folder[64], url[128];

static void make(void)
{
	strcpy(folder, "/tmp/tine-folder-XXXXXX");
	CHECK(mkdtemp(folder));
	snprintf(url, sizeof(url), "file:%s/store", folder);
}

static const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void clean(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	CHECK_EQ(system(command), 0);
}

static tine_store *open_store(void)
{
	tine_store *store;

	CHECK_EQ(tine_store_open(&store, url, NULL), 0);
	return store;
}

static int open_error(const char *at)
{
	tine_store *store = NULL;
	int err = tine_store_open(&store, at, NULL);

	CHECK((err == 0) == (store != NULL));
	tine_store_free(store);
	return err;
}

static void write_file(const char *path, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK_EQ(write(fd, text, len), len);
	CHECK_EQ(close(fd), 0);
}

TEST(urls)
{
	static const char *const bad[] = {
		"",
		"file",
		"file:",
		"file://host/path",
		"file:a?b",
		"file:a?shared",
		"file:a?shared=2",
		"file:a?shared=1&b",
		"file:?shared=1",
		"file:a#b",
		"file:%",
		"file:%4",
		"file:%zz",
		"file:a%00b",
		"http://x",
		"redis:x",
		"redis://",
		"redis:///0",
		"redis://:1",
		"redis://h:",
		"redis://h:0",
		"redis://h:65536",
		"redis://h:1x",
		"redis://h/x",
		"redis://h/1/2",
		"redis://h/-1",
		"redis://h/99999999999",
		"redis://u@h",
		"redis://u:p@",
		"redis://[::1",
		"redis://[::1]x",
		"redis://[]",
		"redis://h?db=1",
		"rediss://",
		"rediss://h?",
		"rediss://h?db=1",
		"rediss://h?cacert",
		"rediss://h?cacert=",
		"rediss://h?key=k",
		"rediss://h?cert=c&key=",
		"rediss://h?cacert=%",
		"redis://h?cacert=c",
		"unix:p?cacert=c",
		"unix:",
		"unix:?db=1",
		"unix:p?",
		"unix:p?db",
		"unix:p?db=x",
		"unix:p?what=1",
		"unix:p?db=1&",
		"unix:p?user=u",
		"unix:p?password=%0",
		"unix://host/p",
	};
	static const char *const good[] = {
		"redis://127.0.0.1:1",
		"redis://[::1]:1/3",
		"redis://u:p@127.0.0.1:1/0",
		"redis://:p%40%3A@127.0.0.1:1/",
		"rediss://:p@127.0.0.1:1/2?cacert=/no%26where&cert=c&key=k",
		"unix:/nowhere?db=1&user=u&password=p",
		"unix:/nowhere",
		"unix:///nowhere",
		"UNIX:/no%77here",
	};
	char deep[200] = "unix:/";

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (open_error(bad[i]) != -EINVAL)
			test_fail(__FILE__, __LINE__, "'%s' is %d", bad[i],
				  open_error(bad[i]));
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		int err = open_error(good[i]);

		if (err == 0 || err == -EINVAL)
			test_fail(__FILE__, __LINE__, "'%s' is %d", good[i], err);
	}
	memset(deep + 6, 'x', 107);
	CHECK_EQ(open_error(deep), -ENAMETOOLONG);
}

TEST(names_of_folders)
{
	struct stat made;
	char at[256];

	make();
	umask(0);
	snprintf(at, sizeof(at), "file://%s/with%%20space%%25", folder);
	CHECK_EQ(open_error(at), 0);
	CHECK_EQ(stat(path_of("with space%"), &made), 0);
	CHECK_EQ(made.st_mode & 07777, 0700);
	CHECK_EQ(stat(path_of("with space%/data.mdb"), &made), 0);
	CHECK_EQ(made.st_mode & 07777, 0600);
	CHECK_EQ(chdir(folder), 0);
	CHECK_EQ(open_error("file:relative"), 0);
	CHECK_EQ(stat(path_of("relative"), &made), 0);
	clean();
}

TEST(no_folders)
{
	char at[256];

	make();
	CHECK_EQ(open_error("file:/nowhere/at/all"), -ENOENT);
	write_file(path_of("file"), "x", 1);
	snprintf(at, sizeof(at), "file:%s/file", folder);
	CHECK_EQ(open_error(at), -ENOTDIR);
	snprintf(at, sizeof(at), "file:%s/file/below", folder);
	CHECK_EQ(open_error(at), -ENOTDIR);
	clean();
}

/* Nothing is made there, and nothing is lost. */
TEST(folders_of_others)
{
	static char junk[100000];
	struct stat now;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_val key = { 1, "k" }, data = { 1, "v" };

	make();
	CHECK_EQ(mkdir(path_of("store"), 0700), 0);
	write_file(path_of("store/letter"), "dear", 4);
	CHECK_EQ(open_error(url), -EBADMSG);
	CHECK(stat(path_of("store/tine.wake"), &now) != 0);
	unlink(path_of("store/letter"));
	memset(junk, 'j', sizeof(junk));
	for (int i = 0; i < 2; i++) {
		size_t len = i ? 4 : sizeof(junk);

		write_file(path_of("store/data.mdb"), junk, len);
		CHECK_EQ(open_error(url), -EBADMSG);
		CHECK_EQ(open_error(url), -EBADMSG);
		CHECK_EQ(stat(path_of("store/data.mdb"), &now), 0);
		CHECK_EQ(now.st_size, len);
	}
	unlink(path_of("store/data.mdb"));
	CHECK_EQ(mdb_env_create(&env), 0);
	CHECK_EQ(mdb_env_open(env, path_of("store"), MDB_NOSYNC, 0600), 0);
	CHECK_EQ(mdb_txn_begin(env, NULL, 0, &txn), 0);
	CHECK_EQ(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
	CHECK_EQ(mdb_put(txn, dbi, &key, &data, 0), 0);
	CHECK_EQ(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	CHECK_EQ(stat(path_of("store/data.mdb"), &now), 0);
	CHECK_EQ(open_error(url), -EBADMSG);
	CHECK(stat(path_of("store/tine.wake"), &now) != 0);
	clean();
}

TEST(damaged_folders)
{
	tine_store *store;
	char page[4096];
	int fd;

	make();
	store = open_store();
	for (int i = 0; i < 2000; i++) {
		char key[16];

		snprintf(key, sizeof(key), "key-%d", i);
		CHECK_EQ(tine_store_set(store, key, page, 100), 0);
	}
	tine_store_free(store);
	CHECK_EQ(truncate(path_of("store/data.mdb"), 16384), 0);
	CHECK_EQ(open_error(url), -EBADMSG);
	CHECK_EQ(open_error(url), -EBADMSG);
	/* Neither of the first pages is one. */
	fd = open(path_of("store/data.mdb"), O_WRONLY | O_CLOEXEC);
	memset(page, 'x', sizeof(page));
	CHECK_EQ(pwrite(fd, page, sizeof(page), 0), sizeof(page));
	CHECK_EQ(pwrite(fd, page, sizeof(page), 4096), sizeof(page));
	close(fd);
	CHECK_EQ(open_error(url), -EBADMSG);
	clean();
}

/* LMDB ends the process that follows a table whose keys may have several values. */
TEST(tables_of_another_order)
{
	static const unsigned char several = 0x0f;

	make();
	for (off_t table = 40; table <= 88; table += 48) {
		int fd;

		tine_store_free(open_store());
		fd = open(path_of("store/data.mdb"), O_WRONLY | O_CLOEXEC);
		for (off_t first = 0; first <= 4096; first += 4096)
			CHECK_EQ(pwrite(fd, &several, 1, first + table + 4), 1);
		close(fd);
		CHECK_EQ(open_error(url), -EBADMSG);
		CHECK_EQ(unlink(path_of("store/data.mdb")), 0);
	}
	clean();
}

/* LMDB maps as much as the first pages say, and the file would be made as long. */
TEST(a_map_beyond_the_file)
{
	static const uint64_t length = UINT64_C(1) << 45;
	int fd;

	make();
	tine_store_free(open_store());
	fd = open(path_of("store/data.mdb"), O_WRONLY | O_CLOEXEC);
	for (off_t first = 0; first <= 4096; first += 4096)
		CHECK_EQ(pwrite(fd, &length, sizeof(length), first + 32), sizeof(length));
	close(fd);
	CHECK_EQ(open_error(url), -EBADMSG);
	clean();
}

/*
 * Whatever byte is changed: it is refused, or it works, or LMDB finds its list of free
 * pages damaged when it changes the folder, which ends one in a hundred.
 */
static void open_damaged(void *arg)
{
	static char value[8192];
	tine_store *store;
	char key[16];
	int err;

	(void)arg;
	alarm(20);
	err = tine_store_open(&store, url, NULL);
	if (err && err != -EBADMSG && err != -ENOMEM)
		test_fail(__FILE__, __LINE__, "%s", tine_strerror(err));
	for (int i = 0; !err && i < 300; i++) {
		snprintf(key, sizeof(key), "key-%d", i);
		(void)!tine_store_get(store, key, value, sizeof(value));
		if (i % 3 == 0)
			tine_store_del(store, key);
		else
			tine_store_set(store, key, value, 500);
	}
	_exit(err ? 2 : 0);
}

TEST(damage_is_refused_but_in_the_list_of_free_pages)
{
	unsigned random = (unsigned)test_seed();
	static char value[6000];
	int refused = 0, died = 0, n = (int)test_scaled(300);
	tine_store *store;
	char *whole;
	struct stat now;
	int fd;

	make();
	store = open_store();
	for (int i = 0; i < 300; i++) {
		char key[16];

		snprintf(key, sizeof(key), "key-%d", i);
		CHECK_EQ(tine_store_set(store, key, value, i % 10 ? 300 : 6000), 0);
	}
	tine_store_free(store);
	CHECK_EQ(stat(path_of("store/data.mdb"), &now), 0);
	whole = malloc(now.st_size);
	fd = open(path_of("store/data.mdb"), O_RDWR | O_CLOEXEC);
	CHECK_EQ(read(fd, whole, now.st_size), now.st_size);
	for (int i = 0; i < n; i++) {
		int how;

		/* In the heads of pages, and of first pages, for the most part. */
		for (int j = 0; j < 3; j++) {
			long at = rand_r(&random) % 60 * 4096 + rand_r(&random) % 160;
			char byte = (char)rand_r(&random);

			CHECK_EQ(pwrite(fd, &byte, 1, at), 1);
		}
		how = test_reap(test_fork(open_damaged, NULL));
		CHECK(how == 0 || how == 2 || how == -SIGABRT || how == -SIGSEGV ||
		      how == -SIGBUS);
		refused += how == 2;
		died += how < 0;
		CHECK_EQ(pwrite(fd, whole, now.st_size, 0), now.st_size);
		CHECK_EQ(ftruncate(fd, now.st_size), 0);
	}
	CHECK(refused > 0);
	CHECK(died <= n / 20);
	close(fd);
	free(whole);
	CHECK_EQ(open_error(url), 0);
	clean();
}

/* The table of readers is of no use to who comes alone. */
TEST(a_damaged_table_of_readers_is_made_anew)
{
	char junk[4096];
	int fd;
	tine_store *store;

	make();
	CHECK_EQ(open_error(url), 0);
	memset(junk, 0x7f, sizeof(junk));
	fd = open(path_of("store/lock.mdb"), O_WRONLY | O_CLOEXEC);
	CHECK_EQ(pwrite(fd, junk, sizeof(junk), 0), sizeof(junk));
	close(fd);
	store = open_store();
	CHECK_EQ(tine_store_set(store, "key", "x", 1), 0);
	CHECK_EQ(tine_store_len(store, "key"), 1);
	tine_store_free(store);
	clean();
}

static void close_all(void *arg)
{
	tine_store *store = open_store();
	int fds[32];

	(void)arg;
	CHECK_EQ(tine_store_set(store, "key", "x", 1), 0);
	CHECK_EQ(close_range(3, ~0u, 0), 0);
	for (int i = 0; i < 32; i++)
		fds[i] = open("/dev/null", O_RDWR);
	tine_store_free(store);
	for (int i = 0; i < 32; i++)
		CHECK(fcntl(fds[i], F_GETFD) >= 0);
}

TEST(descriptors_that_are_others_now_stay_open)
{
	make();
	CHECK_EQ(test_reap(test_fork(close_all, NULL)), 0);
	clean();
}

/* Half of the first pages: somebody died while he made it. */
TEST(a_folder_half_made)
{
	char page[4096];
	tine_store *store;
	int fd;

	make();
	CHECK_EQ(open_error(url), 0);
	fd = open(path_of("store/data.mdb"), O_RDONLY | O_CLOEXEC);
	CHECK_EQ(read(fd, page, sizeof(page)), sizeof(page));
	close(fd);
	unlink(path_of("store/tine.wake"));
	unlink(path_of("store/lock.mdb"));
	write_file(path_of("store/data.mdb"), page, sizeof(page));
	store = open_store();
	CHECK_EQ(tine_store_set(store, "key", "x", 1), 0);
	tine_store_free(store);
	/* And without what can be made again. */
	unlink(path_of("store/tine.wake"));
	unlink(path_of("store/lock.mdb"));
	store = open_store();
	CHECK_EQ(tine_store_len(store, "key"), 1);
	tine_store_free(store);
	clean();
}

/* ---- whom it trusts ---------------------------------------------------------------- */

static int open_shared(void)
{
	char at[160];

	snprintf(at, sizeof(at), "%s?shared=1", url);
	return open_error(at);
}

static const char *const files[] = { "store/tine.wake", "store/data.mdb",
				     "store/lock.mdb" };

TEST(what_others_can_write_is_refused)
{
	struct stat now;

	make();
	CHECK_EQ(open_error(url), 0);
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(chmod(path_of("store"), i ? 0770 : 0707), 0);
		CHECK_EQ(open_error(url), -EPERM);
		CHECK_EQ(open_shared(), 0);
		CHECK_EQ(chmod(path_of("store"), 0755), 0);
		CHECK_EQ(open_error(url), 0);
	}
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(chmod(path_of(files[i]), 0620), 0);
		CHECK_EQ(open_error(url), -EPERM);
		CHECK_EQ(open_shared(), 0);
		CHECK_EQ(chmod(path_of(files[i]), 0644), 0);
		CHECK_EQ(open_error(url), 0);
	}
	/* One that is made for others has files for them. */
	strcat(url, "-of-many");
	umask(022);
	CHECK_EQ(mkdir(path_of("store-of-many"), 0700), 0);
	CHECK_EQ(chmod(path_of("store-of-many"), 0770), 0);
	CHECK_EQ(open_error(url), -EPERM);
	CHECK(stat(path_of("store-of-many/tine.wake"), &now) != 0);
	CHECK_EQ(open_shared(), 0);
	for (int i = 0; i < 3; i++) {
		char name[64];

		snprintf(name, sizeof(name), "store-of-many%s", files[i] + 5);
		CHECK_EQ(stat(path_of(name), &now), 0);
		CHECK_EQ(now.st_mode & 07777, 0660);
	}
	clean();
}

TEST(what_others_own_is_refused)
{
	if (geteuid() != 0)
		test_skip("not root");
	make();
	CHECK_EQ(open_error(url), 0);
	CHECK_EQ(chown(path_of("store"), 65534, 65534), 0);
	CHECK_EQ(open_error(url), -EPERM);
	CHECK_EQ(open_shared(), 0);
	CHECK_EQ(chown(path_of("store"), 0, 0), 0);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(chown(path_of(files[i]), 65534, 65534), 0);
		CHECK_EQ(open_error(url), -EPERM);
		CHECK_EQ(open_shared(), 0);
		CHECK_EQ(chown(path_of(files[i]), 0, 0), 0);
		CHECK_EQ(open_error(url), 0);
	}
	clean();
}

/* Also for those who trust other users; and nothing is made where a link points. */
TEST(links_are_refused)
{
	char at[256], target[256];
	struct stat now;

	make();
	snprintf(at, sizeof(at), "file:%s/link", folder);
	snprintf(target, sizeof(target), "%s", path_of("store"));
	CHECK_EQ(symlink(target, path_of("link")), 0);
	CHECK_EQ(open_error(at), -ELOOP);
	CHECK_EQ(mkdir(target, 0700), 0);
	CHECK_EQ(open_error(at), -ELOOP);
	strcat(at, "//");
	CHECK_EQ(open_error(at), -ELOOP);
	CHECK(stat(path_of("store/tine.wake"), &now) != 0);
	snprintf(target, sizeof(target), "%s", path_of("target"));
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(open_error(url), 0);
		unlink(path_of(files[i]));
		CHECK_EQ(symlink(target, path_of(files[i])), 0);
		CHECK_EQ(open_error(url), -ELOOP);
		CHECK_EQ(open_shared(), -ELOOP);
		CHECK(stat(target, &now) != 0);
		unlink(path_of(files[i]));
	}
	clean();
}

/* Nobody writes to the other end, so that to open it for reading would not return. */
TEST(what_is_no_file_does_not_block)
{
	make();
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(open_error(url), 0);
		unlink(path_of(files[i]));
		CHECK_EQ(mkfifo(path_of(files[i]), 0600), 0);
		CHECK_EQ(open_error(url), -EBADMSG);
		unlink(path_of(files[i]));
	}
	CHECK_EQ(open_error(url), 0);
	unlink(path_of("store/tine.wake"));
	unlink(path_of("store/data.mdb"));
	CHECK_EQ(mkfifo(path_of("store/data.mdb"), 0600), 0);
	CHECK_EQ(open_error(url), -EBADMSG);
	clean();
}

static void as_nobody(void *arg)
{
	(void)arg;
	if (setgid(65534) != 0 || setuid(65534) != 0)
		_exit(77);
	CHECK_EQ(open_error(url), -EACCES);
}

TEST(no_permission)
{
	int how;

	make();
	CHECK_EQ(open_error(url), 0);
	how = test_reap(test_fork(as_nobody, NULL));
	clean();
	if (how == 77)
		test_skip("not root");
	CHECK_EQ(how, 0);
}

/* On a disk of its own; size: mount's. */
static void mount_small(const char *size)
{
	if (unshare(CLONE_NEWNS) != 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", folder, "tmpfs", 0, size) != 0)
		_exit(77);
}

static void on_read_only(void *arg)
{
	(void)arg;
	mount_small("size=8m");
	CHECK_EQ(open_error(url), 0);
	CHECK_EQ(mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	CHECK_EQ(open_error(url), -EROFS);
	snprintf(url, sizeof(url), "file:%s/other", folder);
	CHECK_EQ(open_error(url), -EROFS);
}

static void on_full(void *arg)
{
	static char value[100000], back[100000];
	tine_store *store;
	char key[16];
	int n = 0, err;

	(void)arg;
	mount_small("size=8m");
	store = open_store();
	memset(value, 'v', sizeof(value));
	for (;; n++) {
		snprintf(key, sizeof(key), "key-%d", n);
		err = tine_store_set(store, key, value, sizeof(value));
		if (err)
			break;
	}
	CHECK_EQ(err, -ENOSPC);
	CHECK(n > 30);
	CHECK_EQ(tine_store_set(store, "large", value, 50 * MIB - MIB), -ENOSPC);
	for (int i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "key-%d", i);
		CHECK_EQ(tine_store_get(store, key, back, sizeof(back)), sizeof(back));
		CHECK(memcmp(value, back, sizeof(back)) == 0);
	}
	/* Room comes back. */
	for (int i = 0; i < n / 2; i++) {
		snprintf(key, sizeof(key), "key-%d", i);
		CHECK_EQ(tine_store_del(store, key), 0);
	}
	CHECK_EQ(tine_store_set(store, "again", value, sizeof(value)), 0);
	tine_store_free(store);
	/* None for a new one. */
	while (n >= 0) {
		int fd = open(path_of("rest"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
			      0600);

		n = write(fd, value, 4096) == 4096 ? n : -1;
		close(fd);
	}
	snprintf(url, sizeof(url), "file:%s/other", folder);
	CHECK_EQ(open_error(url), -ENOSPC);
}

/* Small values and pieces of lists and dictionaries, and all of them go again. */
static void on_full_of_small(void *arg)
{
	static char value[2000];
	tine_store *store;
	char key[16];
	int n = 0, err = 0;

	(void)arg;
	mount_small("size=3m");
	store = open_store();
	for (; !err; n++) {
		snprintf(key, sizeof(key), "key-%d", n);
		if (n % 3 == 0)
			err = tine_store_set(store, key, value, sizeof(value));
		else if (n % 3 == 1)
			err = tine_store_append(store, "list", value, sizeof(value));
		else
			err = tine_store_put_field(store, "dict", key, value,
						   sizeof(value));
	}
	CHECK_EQ(err, -ENOSPC);
	CHECK(n > 300);
	/* Until the last that could be written is. */
	while (tine_store_add(store, "sum", 1, NULL) == 0)
		if (++err > 100)
			break;
	for (int i = 0; i < n - 1; i++) {
		snprintf(key, sizeof(key), "key-%d", i);
		if (i % 3 == 0)
			CHECK_EQ(tine_store_del(store, key), 0);
		else if (i % 3 == 1)
			CHECK_EQ(tine_store_take(store, "list", value, sizeof(value),
						 TINE_FOREVER),
				 sizeof(value));
		else
			CHECK_EQ(tine_store_del_field(store, "dict", key), 0);
	}
	CHECK_EQ(tine_store_set(store, "again", value, sizeof(value)), 0);
	tine_store_free(store);
}

static void on_disk_of_its_own(void (*fn)(void *))
{
	int how;

	make();
	how = test_reap(test_fork(fn, NULL));
	clean();
	if (how == 77)
		test_skip("no right to mount");
	CHECK_EQ(how, 0);
}

TEST(a_read_only_disk)
{
	on_disk_of_its_own(on_read_only);
}

TEST(a_full_disk)
{
	on_disk_of_its_own(on_full);
}

TEST(a_full_disk_can_be_emptied)
{
	on_disk_of_its_own(on_full_of_small);
}

static void with_file_limit(void *arg)
{
	struct rlimit limit = { 3 * MIB, 3 * MIB };
	static char value[100000];
	tine_store *store;
	int err = 0;
	char key[16];

	(void)arg;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	store = open_store();
	for (int i = 0; i < 1000 && !err; i++) {
		snprintf(key, sizeof(key), "key-%d", i);
		err = tine_store_set(store, key, value, sizeof(value));
	}
	CHECK_EQ(err, -ENOSPC);
	tine_store_free(store);
	limit.rlim_cur = 65536;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	strcat(url, "-other");
	CHECK_EQ(open_error(url), -ENOSPC);
}

TEST(a_limit_of_file_size_is_no_signal)
{
	make();
	CHECK_EQ(test_reap(test_fork(with_file_limit, NULL)), 0);
	clean();
}

/* ---- once in a process ------------------------------------------------------------- */

TEST(handles_share_a_folder)
{
	tine_store *stores[20];
	char other[256];
	int open_then = test_descriptors(), after_one;

	make();
	CHECK_EQ(open_error(url), 0);
	CHECK_EQ(symlink(folder, path_of("link")), 0);
	snprintf(other, sizeof(other), "file:%s/link/./store/.", folder);
	stores[0] = open_store();
	after_one = test_descriptors();
	for (int i = 1; i < 20; i++)
		CHECK_EQ(tine_store_open(&stores[i], i % 2 ? other : url, NULL), 0);
	CHECK_EQ(test_descriptors(), after_one);
	for (int i = 0; i < 19; i++) {
		CHECK_EQ(tine_store_set(stores[i], "key", "x", 1), 0);
		CHECK_EQ(tine_store_len(stores[19], "key"), 1);
		tine_store_free(stores[i]);
	}
	CHECK_EQ(tine_store_set(stores[19], "key", "xyz", 3), 0);
	tine_store_free(stores[19]);
	CHECK_EQ(test_descriptors(), open_then);
	clean();
}

static void let_go(void *arg)
{
	int before = test_descriptors();

	/* Its own, in place of those it had inherited. */
	CHECK_EQ(tine_store_len(arg, "key"), 1);
	CHECK_EQ(test_descriptors(), before);
	tine_store_free(arg);
	CHECK_EQ(test_descriptors(), before - 3);
}

static void other_files(void *arg)
{
	int fds[64];
	struct stat now;

	/* As a daemon does; nothing of these may be closed. */
	for (int fd = 3; fd < 256; fd++)
		close(fd);
	for (int i = 0; i < 64; i++)
		fds[i] = open("/dev/null", O_RDONLY);
	CHECK_EQ(tine_store_len(arg, "key"), 1);
	for (int i = 0; i < 64; i++)
		CHECK(fstat(fds[i], &now) == 0 && S_ISCHR(now.st_mode));
}

TEST(a_child_lets_go_of_what_it_inherits)
{
	tine_store *store;

	make();
	store = open_store();
	CHECK_EQ(tine_store_set(store, "key", "x", 1), 0);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(test_reap(test_fork(let_go, store)), 0);
		CHECK_EQ(test_reap(test_fork(other_files, store)), 0);
		CHECK_EQ(tine_store_len(store, "key"), 1);
	}
	tine_store_free(store);
	clean();
}

/* The slots of a parent's readers stay its own, whatever a child does and frees. */
static int slots(void)
{
	MDB_env *env;
	MDB_envinfo info;

	CHECK_EQ(mdb_env_create(&env), 0);
	CHECK_EQ(mdb_env_open(env, path_of("store"), MDB_NOSYNC, 0600), 0);
	CHECK_EQ(mdb_env_info(env, &info), 0);
	mdb_env_close(env);
	return (int)info.me_numreaders;
}

static void count_slots(void *arg)
{
	_exit(slots() <= *(int *)arg ? 0 : 1);
}

static void read_and_die(void *arg)
{
	CHECK_EQ(tine_store_len(arg, "key"), 1);
	kill(getpid(), SIGKILL);
}

TEST(dead_readers_do_not_fill_the_table)
{
	int most = 1000;
	tine_store *store;

	make();
	store = open_store();
	CHECK_EQ(tine_store_set(store, "key", "x", 1), 0);
	for (long i = 0; i < 1500; i++)
		CHECK_EQ(test_reap(test_fork(read_and_die, store)), -SIGKILL);
	CHECK_EQ(tine_store_len(store, "key"), 1);
	CHECK_EQ(test_reap(test_fork(count_slots, &most)), 0);
	tine_store_free(store);
	clean();
}

TEST(handles_without_number)
{
	static tine_store *stores[1200];
	int n = 0, err = 0;

	make();
	for (; n < 1200; n++) {
		stores[n] = open_store();
		err = (int)tine_store_len(stores[n], "key");
		if (err != -ENOENT)
			break;
	}
	CHECK_EQ(err, -EMFILE);
	CHECK(n >= 1000);
	/* They can write all the same. */
	CHECK_EQ(tine_store_set(stores[n], "key", "x", 1), 0);
	tine_store_free(stores[0]);
	CHECK_EQ(tine_store_len(stores[n], "key"), 1);
	for (int i = 1; i <= n; i++)
		tine_store_free(stores[i]);
	clean();
}

/* ---- growth ------------------------------------------------------------------------ */

static void grow(void *arg)
{
	static char value[300000];
	char key[32];

	for (int i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "%d-%d", getpid(), i);
		CHECK_EQ(tine_store_set(arg, key, value, sizeof(value)), 0);
		CHECK_EQ(tine_store_len(arg, key), sizeof(value));
	}
}

/* Each meets what the others have made larger, as reader and as writer. */
TEST(all_grow_at_a_time)
{
	tine_store *store;
	pid_t pids[3];

	make();
	store = open_store();
	for (int i = 0; i < 3; i++)
		pids[i] = test_fork(grow, store);
	grow(store);
	for (int i = 0; i < 3; i++) {
		char key[32];

		CHECK_EQ(test_reap(pids[i]), 0);
		snprintf(key, sizeof(key), "%d-39", pids[i]);
		CHECK_EQ(tine_store_len(store, key), 300000);
	}
	tine_store_free(store);
	clean();
}

static void *grow_in_thread(void *arg)
{
	tine_store *store = open_store();
	char key[32], value[3000] = { 0 };

	for (int i = 0; i < 2000; i++) {
		snprintf(key, sizeof(key), "%s-%d", (char *)arg, i);
		CHECK_EQ(tine_store_set(store, key, value, sizeof(value)), 0);
		CHECK_EQ(tine_store_len(store, key), sizeof(value));
	}
	tine_store_free(store);
	return NULL;
}

TEST(threads_grow_it)
{
	pthread_t threads[3];

	make();
	for (int i = 0; i < 3; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, grow_in_thread,
					(char *[]){ "a", "b", "c" }[i]),
			 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	clean();
}

/* Freed pages are used again, also those of the expired. */
TEST(it_does_not_grow_without_end)
{
	static char value[50000];
	tine_store *store;
	struct stat now;

	make();
	store = open_store();
	for (int i = 0; i < 2000; i++) {
		char key[16];

		snprintf(key, sizeof(key), "key-%d", i);
		CHECK_EQ(tine_store_set(store, key, value, sizeof(value)), 0);
		CHECK_EQ(tine_store_expire(store, key, 1), 0);
		CHECK_EQ(tine_store_append(store, "list", value, sizeof(value)), 0);
		CHECK_EQ(
			tine_store_take(store, "list", value, sizeof(value), TINE_NOWAIT),
			sizeof(value));
	}
	CHECK_EQ(stat(path_of("store/data.mdb"), &now), 0);
	CHECK(now.st_size <= (off_t)(32 * MIB));
	tine_store_free(store);
	clean();
}

TEST(each_allocation_fails)
{
	make();
	CHECK_EQ(open_error(url), 0);
	for (long n = 1;; n++) {
		tine_store *store = NULL;
		char buf[8];
		ssize_t len;
		int err;

		test_fail_allocation(n);
		err = tine_store_open(&store, url, NULL);
		if (!err)
			err = tine_store_append(store, "list", "x", 1);
		if (!err)
			err = tine_store_expire(store, "list", 100000);
		if (!err) {
			len = tine_store_take(store, "list", buf, 8, TINE_NOWAIT);
			err = len < 0 ? (int)len : 0;
		}
		if (!test_allocation_failed()) {
			test_fail_allocation(0);
			CHECK_EQ(err, 0);
			tine_store_free(store);
			break;
		}
		test_fail_allocation(0);
		CHECK_EQ(err, -ENOMEM);
		if (store)
			tine_store_del(store, "list");
		tine_store_free(store);
	}
	clean();
}

/* The first record's value is the format. */
static void set_format(char format)
{
	static char mark[] = "\0tine store";
	MDB_val key = { sizeof(mark), mark }, data = { 1, &format };
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	CHECK_EQ(mdb_env_create(&env), 0);
	CHECK_EQ(mdb_env_open(env, path_of("store"), 0, 0600), 0);
	CHECK_EQ(mdb_txn_begin(env, NULL, 0, &txn), 0);
	CHECK_EQ(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
	CHECK_EQ(mdb_put(txn, dbi, &key, &data, 0), 0);
	CHECK_EQ(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

TEST(a_folder_of_a_later_version)
{
	tine_store *store;
	char buf[8];

	make();
	CHECK_EQ(tine_store_open(&store, url, NULL), 0);
	CHECK_EQ(tine_store_set(store, "key", "value", 5), 0);
	tine_store_free(store);
	set_format(2);
	CHECK_EQ(tine_store_open(&store, url, NULL), -EPROTO);
	set_format(0);
	CHECK_EQ(tine_store_open(&store, url, NULL), -EBADMSG);
	/* Nothing was changed. */
	set_format(1);
	CHECK_EQ(tine_store_open(&store, url, NULL), 0);
	CHECK_EQ(tine_store_get(store, "key", buf, sizeof(buf)), 5);
	tine_store_free(store);
	clean();
}
