/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

static char folder[64];

static const char *path_of(const char *name)
{
	static char path[128];

	if (!*folder) {
		strcpy(folder, "/tmp/tine-map-XXXXXX");
		CHECK(mkdtemp(folder));
	}
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void clean(const char *name)
{
	unlink(path_of(name));
	CHECK_EQ(rmdir(folder), 0);
	*folder = '\0';
}

static long long size_of(const char *path)
{
	struct stat now;

	return stat(path, &now) == 0 ? (long long)now.st_size : -1;
}

static void fill(const char *path, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	for (size_t i = 0; i < size; i++)
		CHECK_EQ(write(fd, "x", 1), 1);
	CHECK_EQ(close(fd), 0);
}

TEST(made_zeroed_and_kept)
{
	const char *path = path_of("file");
	struct stat made;
	char *mem = NULL;
	void *again;

	umask(0022);
	CHECK_EQ(tine_shared_map((void **)&mem, path, 10000), 0);
	CHECK_EQ(stat(path, &made), 0);
	CHECK_EQ(made.st_mode & 07777, 0600);
	CHECK_EQ(made.st_size, 10000);
	CHECK((long long)made.st_blocks * 512 >= 10000);
	CHECK_EQ((uintptr_t)mem % 4096, 0);
	for (int i = 0; i < 10000; i++)
		CHECK_EQ(mem[i], 0);
	strcpy(mem + 9000, "stays");
	tine_shared_unmap(mem);
	CHECK_EQ(tine_shared_map(&again, path, 9006), 0);
	CHECK(strcmp((char *)again + 9000, "stays") == 0);
	CHECK_EQ(size_of(path), 10000);
	tine_shared_unmap(again);
	clean("file");
}

TEST(a_umask_takes_away)
{
	const char *path = path_of("file");
	struct stat made;
	void *mem;

	umask(0277);
	CHECK_EQ(tine_shared_map(&mem, path, 1), 0);
	CHECK_EQ(stat(path, &made), 0);
	CHECK_EQ(made.st_mode & 07777, 0400);
	tine_shared_unmap(mem);
	clean("file");
}

TEST(grows_but_does_not_shrink)
{
	const char *path = path_of("file");
	char *mem;
	void *small;

	fill(path, 3);
	CHECK_EQ(tine_shared_map(&small, path, 1), 0);
	CHECK_EQ(size_of(path), 3);
	CHECK_EQ(tine_shared_map((void **)&mem, path, 1 << 20), 0);
	CHECK_EQ(size_of(path), 1 << 20);
	CHECK(memcmp(mem, "xxx\0", 4) == 0);
	mem[(1 << 20) - 1] = 1;
	/* Both are the file. */
	mem[0] = 'y';
	CHECK_EQ(*(char *)small, 'y');
	tine_shared_unmap(small);
	CHECK_EQ(mem[0], 'y');
	tine_shared_unmap(mem);
	clean("file");
}

TEST(holes_are_filled)
{
	const char *path = path_of("file");
	struct stat now;
	void *mem;

	fill(path, 0);
	CHECK_EQ(truncate(path, 1 << 20), 0);
	CHECK_EQ(tine_shared_map(&mem, path, 1 << 19), 0);
	CHECK_EQ(stat(path, &now), 0);
	CHECK_EQ(now.st_size, 1 << 20);
	CHECK((long long)now.st_blocks * 512 >= 1 << 19);
	tine_shared_unmap(mem);
	clean("file");
}

TEST(errors_leave_the_output)
{
	const char *path = path_of("file");
	int here = 0;
	void *mem = &here;

	CHECK_EQ(tine_shared_map(&mem, path, 0), -EINVAL);
	CHECK_EQ(tine_shared_map(NULL, path, 1), -EINVAL);
	CHECK_EQ(tine_shared_map(&mem, NULL, 1), -EINVAL);
	CHECK_EQ(size_of(path), -1);
	CHECK_EQ(tine_shared_map(&mem, folder, 1), -EISDIR);
	CHECK_EQ(tine_shared_map(&mem, "", 1), -ENOENT);
	CHECK_EQ(tine_shared_map(&mem, "/nowhere/at/all", 1), -ENOENT);
	CHECK_EQ(tine_shared_map(&mem, "/dev/null", 1), -ENODEV);
	CHECK_EQ(tine_shared_map(&mem, path, SIZE_MAX), -EFBIG);
	/* Not refused by what it is, but by the disk or the file system. */
	CHECK(tine_shared_map(&mem, path, (size_t)1 << 61) < 0);
	CHECK_EQ(mkfifo(path_of("pipe"), 0600), 0);
	CHECK_EQ(tine_shared_map(&mem, path_of("pipe"), 1), -ENODEV);
	unlink(path_of("pipe"));
	CHECK(mem == &here);
	clean("file");
}

/* Of others, or for others to write: refused, unless the caller opens it. */
TEST(whom_it_trusts)
{
	const char *path = path_of("file");
	int here = 0, fd;
	void *mem = &here;

	fill(path, 5);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(chmod(path, i ? 0602 : 0620), 0);
		if (i == 2 && chown(path, 65534, 65534) != 0)
			break;
		if (i == 2)
			CHECK_EQ(chmod(path, 0600), 0);
		CHECK_EQ(tine_shared_map(&mem, path, 10), -EPERM);
		CHECK_EQ(size_of(path), 5);
		CHECK(mem == &here);
	}
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK_EQ(tine_shared_map_fd(&mem, fd, 10), 0);
	CHECK_EQ(close(fd), 0);
	CHECK_EQ(size_of(path), 10);
	((char *)mem)[9] = 'y';
	tine_shared_unmap(mem);
	CHECK_EQ(chmod(path, 0644), 0);
	if (chown(path, geteuid(), getegid()) == 0)
		CHECK_EQ(tine_shared_map(&mem, path, 10), 0);
	CHECK_EQ(((char *)mem)[9], 'y');
	tine_shared_unmap(mem);
	clean("file");
}

/* And nothing is made where they point. */
TEST(links_are_refused)
{
	const char *path = path_of("link");
	int here = 0;
	void *mem = &here;

	CHECK_EQ(symlink("file", path), 0);
	CHECK_EQ(tine_shared_map(&mem, path, 10), -ELOOP);
	CHECK_EQ(size_of(path_of("file")), -1);
	fill(path_of("file"), 5);
	CHECK_EQ(tine_shared_map(&mem, path_of("link"), 10), -ELOOP);
	CHECK_EQ(size_of(path_of("file")), 5);
	CHECK(mem == &here);
	unlink(path_of("link"));
	clean("file");
}

TEST(errors_of_a_descriptor)
{
	const char *path = path_of("file");
	int here = 0, fd;
	void *mem = &here;

	CHECK_EQ(tine_shared_map_fd(&mem, -1, 10), -EBADF);
	fill(path, 5);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK_EQ(tine_shared_map_fd(&mem, fd, 0), -EINVAL);
	CHECK_EQ(tine_shared_map_fd(NULL, fd, 10), -EINVAL);
	CHECK_EQ(tine_shared_map_fd(&mem, fd, SIZE_MAX), -EFBIG);
	close(fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(tine_shared_map_fd(&mem, fd, 10) < 0);
	close(fd);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	CHECK_EQ(tine_shared_map_fd(&mem, fd, 10), -ENODEV);
	close(fd);
	CHECK(mem == &here);
	clean("file");
}

static void as_nobody(void *path)
{
	void *mem;

	if (setgid(65534) != 0 || setuid(65534) != 0)
		_exit(77);
	CHECK_EQ(tine_shared_map(&mem, path, 1), -EACCES);
}

TEST(no_permission)
{
	const char *path = path_of("file");
	int how;

	fill(path, 1);
	how = test_reap(test_fork(as_nobody, (void *)path));
	clean("file");
	if (how == 77)
		test_skip("not root");
	CHECK_EQ(how, 0);
}

static void with_file_limit(void *path)
{
	struct rlimit limit = { 100000, 100000 };
	void *mem;

	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	CHECK_EQ(tine_shared_map(&mem, path, 100001), -EFBIG);
	CHECK_EQ(tine_shared_map(&mem, path, 100000), 0);
	tine_shared_unmap(mem);
}

TEST(a_limit_of_file_size_is_no_signal)
{
	CHECK_EQ(test_reap(test_fork(with_file_limit, (void *)path_of("file"))), 0);
	clean("file");
}

static void on_small_disk(void *path)
{
	size_t size = 0;
	char *mem;

	if (unshare(CLONE_NEWNS) != 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", folder, "tmpfs", 0, "size=256k") != 0)
		_exit(77);
	CHECK_EQ(tine_shared_map((void **)&mem, path, 1 << 20), -ENOSPC);
	/* What can be mapped can be touched, to the last byte of the disk. */
	for (;; size += 4096) {
		int err = tine_shared_map((void **)&mem, path, size + 4096);

		if (err) {
			CHECK_EQ(err, -ENOSPC);
			break;
		}
		memset(mem, 1, size + 4096);
		tine_shared_unmap(mem);
	}
	CHECK(size >= 128 << 10);
	/* Not even a sparse file of its own length. */
	CHECK_EQ(truncate(path, 1 << 20), 0);
	CHECK_EQ(tine_shared_map((void **)&mem, path, 1 << 20), -ENOSPC);
}

TEST(a_full_disk)
{
	int how = test_reap(test_fork(on_small_disk, (void *)path_of("file")));

	clean("file");
	if (how == 77)
		test_skip("no right to mount");
	CHECK_EQ(how, 0);
}

TEST(unmapping_nothing)
{
	tine_shared_unmap(NULL);
}

static void write_and_unmap(void *mem)
{
	strcpy(mem, "by the child");
	tine_shared_unmap(mem);
}

TEST(a_fork_inherits_it)
{
	char *mem;

	CHECK_EQ(tine_shared_map((void **)&mem, path_of("file"), 100), 0);
	CHECK_EQ(test_reap(test_fork(write_and_unmap, mem)), 0);
	CHECK(strcmp(mem, "by the child") == 0);
	tine_shared_unmap(mem);
	clean("file");
}

static void *map_often(void *arg)
{
	const char *path = arg;
	long turns = test_scaled(2000);

	for (long i = 0; i < turns; i++) {
		size_t size = (size_t)(i % 40 + 1) * 1000;
		char *mem;

		CHECK_EQ(tine_shared_map((void **)&mem, path, size), 0);
		__atomic_fetch_add((int *)mem, 1, __ATOMIC_RELAXED);
		mem[size - 1] = 1;
		tine_shared_unmap(mem);
	}
	return NULL;
}

TEST(many_threads_at_once)
{
	const char *path = path_of("file");
	pthread_t threads[4];
	int *mem;

	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, map_often, (void *)path), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(tine_shared_map((void **)&mem, path, 4), 0);
	CHECK_EQ(*mem, 4 * test_scaled(2000));
	tine_shared_unmap(mem);
	clean("file");
}

/* ---- strangers: other programs, by exec of this very test ---------------------- */

struct meeting {
	tine_event come, go;
	tine_lock lock;
	tine_cond changed;
	int number, turns;
};

#define TURNS 2000

static void add_up(struct meeting *meeting)
{
	for (int i = 0; i < TURNS; i++) {
		CHECK_EQ(tine_lock_acquire(&meeting->lock, TINE_FOREVER), 0);
		meeting->number++;
		CHECK_EQ(tine_lock_release(&meeting->lock), 0);
	}
}

/* They take turns by the condition: who calls with 0 has the even ones. */
static void alternate(struct meeting *meeting, int mine)
{
	CHECK_EQ(tine_lock_acquire(&meeting->lock, TINE_FOREVER), 0);
	for (int i = 0; i < 100; i++) {
		while (meeting->turns % 2 != mine)
			CHECK_EQ(tine_cond_wait(&meeting->changed, &meeting->lock,
						tine_after(20000)),
				 0);
		meeting->turns++;
		tine_cond_wake(&meeting->changed, UINT_MAX);
	}
	CHECK_EQ(tine_lock_release(&meeting->lock), 0);
}

static void be_stranger(const char *mode, const char *path)
{
	struct meeting *meeting;

	CHECK_EQ(tine_shared_map((void **)&meeting, path, sizeof(*meeting)), 0);
	tine_event_set(&meeting->come);
	if (strcmp(mode, "die") == 0) {
		CHECK_EQ(tine_lock_acquire(&meeting->lock, TINE_FOREVER), 0);
		meeting->number = 42;
		kill(getpid(), SIGKILL);
	}
	CHECK_EQ(tine_event_wait(&meeting->go, tine_after(20000)), 0);
	add_up(meeting);
	alternate(meeting, 1);
	tine_shared_unmap(meeting);
}

__attribute__((constructor)) static void stranger(void)
{
	const char *mode = getenv("TINE_TEST_STRANGER");

	if (!mode)
		return;
	be_stranger(mode, getenv("TINE_TEST_PATH"));
	_exit(0);
}

static void become_stranger(void *mode)
{
	char *args[] = { "stranger", NULL };

	setenv("TINE_TEST_STRANGER", mode, 1);
	setenv("TINE_TEST_PATH", path_of("file"), 1);
	execv("/proc/self/exe", args);
	_exit(99);
}

TEST(strangers_meet)
{
	struct meeting *meeting;
	pid_t pid;

	path_of("file");
	pid = test_fork(become_stranger, "meet");
	CHECK_EQ(tine_shared_map((void **)&meeting, path_of("file"), sizeof(*meeting)),
		 0);
	CHECK_EQ(tine_event_wait(&meeting->come, tine_after(20000)), 0);
	tine_event_set(&meeting->go);
	add_up(meeting);
	alternate(meeting, 0);
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(meeting->number, 2 * TURNS);
	CHECK_EQ(meeting->turns, 200);
	tine_shared_unmap(meeting);
	clean("file");
}

TEST(a_stranger_dies_with_a_lock)
{
	struct meeting *meeting;
	pid_t pid;

	path_of("file");
	pid = test_fork(become_stranger, "die");
	CHECK_EQ(tine_shared_map((void **)&meeting, path_of("file"), sizeof(*meeting)),
		 0);
	CHECK_EQ(test_reap(pid), -SIGKILL);
	CHECK_EQ(meeting->number, 42);
	CHECK_EQ(tine_lock_acquire(&meeting->lock, tine_after(20000)), -EOWNERDEAD);
	CHECK_EQ(tine_lock_release(&meeting->lock), 0);
	tine_shared_unmap(meeting);
	clean("file");
}
