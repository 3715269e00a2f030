/* SPDX-License-Identifier: MIT */
#include "step.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define SOON tine_after(20000)

extern char **environ;

static char folder[64];

static const char *path_of(const char *name)
{
	static _Thread_local char path[128];

	if (!*folder) {
		strcpy(folder, "/tmp/tine-filelock-XXXXXX");
		CHECK(mkdtemp(folder));
	}
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void clean(void)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	CHECK(dir);
	while ((entry = readdir(dir)))
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	CHECK_EQ(rmdir(folder), 0);
	*folder = '\0';
}

static void fill(const char *name, const char *text, mode_t mode)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	CHECK(fd >= 0);
	CHECK_EQ(fchmod(fd, mode), 0);
	CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
	CHECK_EQ(close(fd), 0);
}

static tine_filelock *open_lock(const char *name)
{
	tine_filelock *lock;

	CHECK_EQ(tine_filelock_open(&lock, path_of(name)), 0);
	return lock;
}

static tine_filelock *hold(const char *name)
{
	tine_filelock *lock = open_lock(name);

	CHECK_EQ(tine_filelock_acquire(lock, false, SOON), 0);
	return lock;
}

/* Whether it is free, to another handle than its holder's. */
static bool is_free(const char *name)
{
	tine_filelock *lock = open_lock(name);
	int err = tine_filelock_acquire(lock, false, TINE_NOWAIT);

	tine_filelock_free(lock);
	CHECK(err == 0 || err == -ETIMEDOUT);
	return err == 0;
}

static void comes_free(const char *name)
{
	tine_filelock_free(hold(name));
}

/* ---- the file ---------------------------------------------------------------------- */

TEST(made_empty_and_kept)
{
	struct stat made;
	tine_filelock *lock;

	umask(0022);
	lock = hold("file");
	CHECK_EQ(tine_filelock_release(lock), 0);
	tine_filelock_free(lock);
	CHECK_EQ(stat(path_of("file"), &made), 0);
	CHECK_EQ(made.st_mode & 07777, 0600);
	CHECK_EQ(made.st_size, 0);
	clean();
}

TEST(a_umask_takes_away)
{
	struct stat made;

	path_of("file"); /* makes the folder, which no umask is for */
	umask(0277);
	tine_filelock_free(hold("file"));
	CHECK_EQ(stat(path_of("file"), &made), 0);
	CHECK_EQ(made.st_mode & 07777, 0400);
	clean();
}

TEST(what_is_in_it_stays)
{
	struct stat before, now;

	fill("file", "of its own", 0640);
	CHECK_EQ(stat(path_of("file"), &before), 0);
	comes_free("file");
	CHECK_EQ(stat(path_of("file"), &now), 0);
	CHECK_EQ(now.st_size, before.st_size);
	CHECK_EQ(now.st_mode, before.st_mode);
	CHECK_EQ(now.st_mtim.tv_sec, before.st_mtim.tv_sec);
	CHECK_EQ(now.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
	clean();
}

/* But nothing is made where they point. */
TEST(symbolic_links_are_followed)
{
	tine_filelock *lock;

	path_of("file");
	CHECK_EQ(symlink("file", path_of("link")), 0);
	CHECK_EQ(tine_filelock_open(&lock, path_of("link")), -ELOOP);
	CHECK_EQ(access(path_of("file"), F_OK), -1);
	tine_filelock_free(hold("file"));
	lock = hold("link");
	CHECK(!is_free("file"));
	CHECK(!is_free("link"));
	tine_filelock_free(lock);
	clean();
}

TEST(errors_leave_the_output)
{
	int here = 0;
	tine_filelock *lock = (tine_filelock *)&here;

	CHECK_EQ(tine_filelock_open(NULL, path_of("file")), -EINVAL);
	CHECK_EQ(tine_filelock_open(&lock, NULL), -EINVAL);
	CHECK_EQ(tine_filelock_open(&lock, ""), -ENOENT);
	CHECK_EQ(tine_filelock_open(&lock, path_of("no/file")), -ENOENT);
	CHECK_EQ(tine_filelock_open(&lock, folder), -EISDIR);
	CHECK_EQ(tine_filelock_open(&lock, "/dev/null"), -ENODEV);
	CHECK_EQ(mkfifo(path_of("pipe"), 0600), 0);
	CHECK_EQ(tine_filelock_open(&lock, path_of("pipe")), -ENODEV);
	CHECK_EQ(symlink("loop", path_of("loop")), 0);
	CHECK_EQ(tine_filelock_open(&lock, path_of("loop")), -ELOOP);
	test_fail_allocation(1);
	CHECK_EQ(tine_filelock_open(&lock, path_of("file")), -ENOMEM);
	CHECK(test_allocation_failed());
	CHECK_EQ(access(path_of("file"), F_OK), -1);
	CHECK(lock == (tine_filelock *)&here);
	tine_filelock_free(NULL);
	clean();
}

static void become_nobody(void)
{
	if (setgid(65534) != 0 || setuid(65534) != 0)
		_exit(77);
}

static void refused(void *arg)
{
	tine_filelock *lock;

	(void)arg;
	become_nobody();
	CHECK_EQ(tine_filelock_open(&lock, path_of("file")), -EACCES);
	CHECK_EQ(tine_filelock_open(&lock, path_of("missing")), -EACCES);
}

TEST(no_permission)
{
	int how;

	fill("file", "", 0);
	CHECK_EQ(chmod(folder, 0755), 0);
	how = test_reap(test_fork(refused, NULL));
	clean();
	if (how == 77)
		test_skip("not root");
	CHECK_EQ(how, 0);
}

static void share_what_may_be_read(void *arg)
{
	tine_filelock *lock;

	(void)arg;
	become_nobody();
	lock = open_lock("file");
	CHECK_EQ(tine_filelock_acquire(lock, false, TINE_NOWAIT), -EACCES);
	CHECK_EQ(tine_filelock_acquire(lock, true, TINE_NOWAIT), 0);
	CHECK_EQ(tine_filelock_release(lock), 0);
	/* It heeds the others, and they it. */
	CHECK_EQ(tine_filelock_acquire(lock, true, SOON), 0);
	fill("held", "", 0600);
	while (access(path_of("tried"), F_OK) != 0)
		test_sleep_us(1000);
	tine_filelock_free(lock);
}

TEST(what_may_be_read_is_shared)
{
	tine_filelock *lock;
	pid_t pid;
	int how;

	fill("file", "", 0444);
	CHECK_EQ(chmod(folder, 0777), 0);
	pid = test_fork(share_what_may_be_read, NULL);
	while (access(path_of("held"), F_OK) != 0 && waitpid(pid, NULL, WNOHANG) == 0)
		test_sleep_us(1000);
	if (access(path_of("held"), F_OK) != 0) {
		clean();
		test_skip("not root");
	}
	lock = open_lock("file");
	CHECK_EQ(tine_filelock_acquire(lock, false, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_filelock_acquire(lock, true, TINE_NOWAIT), 0);
	fill("tried", "", 0600);
	how = test_reap(pid);
	tine_filelock_free(lock);
	clean();
	CHECK_EQ(how, 0);
}

static void lock_a_neighbours(void *arg)
{
	(void)arg;
	become_nobody();
	comes_free("file");
}

/* As in /tmp: the kernel would refuse to make a file that is another's. */
TEST(another_users_file_in_a_sticky_folder)
{
	int how;

	fill("file", "", 0666);
	how = chown(path_of("file"), 1, 1);
	CHECK_EQ(chmod(folder, 01777), 0);
	how = how == 0 ? test_reap(test_fork(lock_a_neighbours, NULL)) : 77;
	clean();
	if (how == 77)
		test_skip("not root");
	CHECK_EQ(how, 0);
}

static void on_read_only_disk(void *arg)
{
	tine_filelock *lock;

	(void)arg;
	if (unshare(CLONE_NEWNS) != 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", folder, "tmpfs", 0, "size=256k") != 0)
		_exit(77);
	fill("file", "", 0600);
	CHECK_EQ(mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	CHECK_EQ(tine_filelock_open(&lock, path_of("missing")), -EROFS);
	lock = open_lock("file");
	CHECK_EQ(tine_filelock_acquire(lock, false, TINE_NOWAIT), -EACCES);
	CHECK_EQ(tine_filelock_acquire(lock, true, TINE_NOWAIT), 0);
	tine_filelock_free(lock);
}

TEST(a_read_only_disk)
{
	int how;

	path_of("file");
	how = test_reap(test_fork(on_read_only_disk, NULL));
	clean();
	if (how == 77)
		test_skip("no right to mount");
	CHECK_EQ(how, 0);
}

/* ---- the lock ---------------------------------------------------------------------- */

TEST_LIMIT(alone_or_shared, 20)
{
	tine_filelock *one = open_lock("file"), *other = open_lock("file");

	CHECK_EQ(tine_filelock_acquire(one, false, TINE_NOWAIT), 0);
	CHECK_EQ(tine_filelock_acquire(other, false, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_filelock_acquire(other, true, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_filelock_release(other), -EPERM);
	CHECK_EQ(tine_filelock_release(one), 0);
	CHECK_EQ(tine_filelock_acquire(one, true, TINE_NOWAIT), 0);
	CHECK_EQ(tine_filelock_acquire(other, false, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_filelock_acquire(other, true, TINE_FOREVER), 0);
	CHECK_EQ(tine_filelock_release(one), 0);
	CHECK_EQ(tine_filelock_acquire(one, false, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_filelock_release(other), 0);
	CHECK_EQ(tine_filelock_acquire(one, false, TINE_FOREVER), 0);
	tine_filelock_free(one);
	CHECK_EQ(tine_filelock_acquire(other, true, TINE_NOWAIT), 0);
	tine_filelock_free(other);
	clean();
}

TEST_LIMIT(held_once, 20)
{
	tine_filelock *lock = open_lock("file");

	CHECK_EQ(tine_filelock_release(lock), -EPERM);
	for (int shared = 0; shared < 2; shared++) {
		CHECK_EQ(tine_filelock_acquire(lock, shared, SOON), 0);
		for (int again = 0; again < 2; again++) {
			CHECK_EQ(tine_filelock_acquire(lock, again, TINE_NOWAIT),
				 -EDEADLK);
			CHECK_EQ(tine_filelock_acquire(lock, again, TINE_FOREVER),
				 -EDEADLK);
		}
		CHECK(!is_free("file"));
		CHECK_EQ(tine_filelock_release(lock), 0);
		CHECK_EQ(tine_filelock_release(lock), -EPERM);
		CHECK(is_free("file"));
	}
	tine_filelock_free(lock);
	clean();
}

static void *release_later(void *lock)
{
	test_sleep_us(20000);
	CHECK_EQ(tine_filelock_release(lock), 0);
	return NULL;
}

TEST_LIMIT(deadlines, 40)
{
	tine_filelock *holder = hold("file"), *lock = open_lock("file");
	const int64_t deadlines[] = { TINE_FOREVER, SOON };
	pthread_t thread;
	int64_t deadline = tine_after(30);

	CHECK_EQ(tine_filelock_acquire(lock, false, -1), -ETIMEDOUT);
	CHECK_EQ(tine_filelock_acquire(lock, false, deadline), -ETIMEDOUT);
	CHECK(tine_now() >= deadline);
	deadline = tine_after(1);
	CHECK_EQ(tine_filelock_acquire(lock, true, deadline), -ETIMEDOUT);
	CHECK(tine_now() >= deadline);
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(pthread_create(&thread, NULL, release_later, holder), 0);
		CHECK_EQ(tine_filelock_acquire(lock, false, deadlines[i]), 0);
		pthread_join(thread, NULL);
		CHECK_EQ(tine_filelock_release(lock), 0);
		CHECK_EQ(tine_filelock_acquire(holder, false, TINE_NOWAIT), 0);
	}
	tine_filelock_free(holder);
	tine_filelock_free(lock);
	clean();
}

static void ignore(int number)
{
	(void)number;
}

static void wait_through_signals(void *arg)
{
	struct sigaction action = { .sa_handler = ignore };

	(void)arg;
	sigaction(SIGUSR1, &action, NULL);
	comes_free("file");
}

static void wait_for_ever_through_signals(void *arg)
{
	struct sigaction action = { .sa_handler = ignore };
	tine_filelock *lock = open_lock("file");

	(void)arg;
	sigaction(SIGUSR1, &action, NULL);
	CHECK_EQ(tine_filelock_acquire(lock, false, TINE_FOREVER), 0);
	tine_filelock_free(lock);
}

TEST_LIMIT(signals_do_not_end_the_wait, 40)
{
	void (*const waiters[])(void *) = { wait_through_signals,
					    wait_for_ever_through_signals };

	for (int i = 0; i < 2; i++) {
		tine_filelock *lock = hold("file");
		pid_t pid;

		signal(SIGUSR1, SIG_IGN);
		pid = test_fork(waiters[i], NULL);
		for (int n = 0; n < 20; n++) {
			test_sleep_us(1000);
			kill(pid, SIGUSR1);
		}
		CHECK(test_alive(pid));
		tine_filelock_free(lock);
		CHECK_EQ(test_reap(pid), 0);
	}
	clean();
}

/* Adds 1 to the number in the file, again and again. */
static void *count(void *arg)
{
	long turns = *(long *)arg;
	tine_filelock *lock = open_lock("file");
	int fd = open(path_of("file"), O_RDWR | O_CLOEXEC);

	for (long i = 0; i < turns; i++) {
		long number = 0;

		CHECK_EQ(tine_filelock_acquire(lock, false, i % 4 ? TINE_FOREVER : SOON),
			 0);
		CHECK(pread(fd, &number, sizeof(number), 0) >= 0);
		number++;
		CHECK_EQ(pwrite(fd, &number, sizeof(number), 0), sizeof(number));
		CHECK_EQ(tine_filelock_release(lock), 0);
	}
	close(fd);
	tine_filelock_free(lock);
	return NULL;
}

static void count_in_threads(void *turns)
{
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, count, turns), 0);
	count(turns);
	pthread_join(thread, NULL);
}

static long number_in_file(void)
{
	int fd = open(path_of("file"), O_RDONLY | O_CLOEXEC);
	long number = 0;

	CHECK(pread(fd, &number, sizeof(number), 0) >= 0);
	close(fd);
	return number;
}

TEST(one_at_a_time)
{
	long turns = test_scaled(1500);
	pid_t pids[3];

	path_of("file");
	for (int i = 0; i < 3; i++)
		pids[i] = test_fork(count_in_threads, &turns);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(number_in_file(), 6 * turns);
	clean();
}

static void read_often(void *mem)
{
	volatile long *pair = mem;
	tine_filelock *lock = open_lock("file");
	long turns = test_scaled(2000);

	for (long i = 0; i < turns; i++) {
		CHECK_EQ(tine_filelock_acquire(lock, true, SOON), 0);
		CHECK_EQ(pair[0], pair[1]);
		CHECK_EQ(tine_filelock_release(lock), 0);
	}
	tine_filelock_free(lock);
}

static void write_often(void *mem)
{
	volatile long *pair = mem;
	tine_filelock *lock = open_lock("file");
	long turns = test_scaled(500);

	for (long i = 0; i < turns; i++) {
		CHECK_EQ(tine_filelock_acquire(lock, false, SOON), 0);
		pair[0]++;
		sched_yield();
		pair[1]++;
		CHECK_EQ(tine_filelock_release(lock), 0);
	}
	tine_filelock_free(lock);
}

TEST(readers_see_no_half_written)
{
	long *pair = tine_shared_new(2, sizeof(*pair));
	pid_t pids[4];

	path_of("file");
	for (int i = 0; i < 4; i++)
		pids[i] = test_fork(i % 2 ? write_often : read_often, pair);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(pair[0], 2 * test_scaled(500));
	tine_shared_free(pair);
	clean();
}

TEST(other_descriptors_of_the_file_do_not_matter)
{
	tine_filelock *lock = hold("file");

	close(open(path_of("file"), O_RDWR | O_CLOEXEC));
	CHECK(!is_free("file"));
	/* Nor do other handles, such as that look's, which is freed by now. */
	CHECK(!is_free("file"));
	tine_filelock_free(lock);
	CHECK(is_free("file"));
	clean();
}

/* ---- writers' turn ----------------------------------------------------------------- */

static void share_until_stopped(void *stop)
{
	tine_filelock *lock = open_lock("file");

	while (!tine_event_is_set(stop)) {
		CHECK_EQ(tine_filelock_acquire(lock, true, SOON), 0);
		test_sleep_us(10000);
		CHECK_EQ(tine_filelock_release(lock), 0);
	}
	tine_filelock_free(lock);
}

/* There is always somebody who shares it, by a deadline or without. */
TEST_LIMIT(whoever_wants_it_alone_gets_its_turn, 60)
{
	tine_event *stop = tine_shared_new(1, sizeof(*stop));
	tine_filelock *lock = open_lock("file");
	pid_t pids[4];

	for (int i = 0; i < 4; i++)
		pids[i] = test_fork(share_until_stopped, stop);
	test_sleep_us(50000);
	for (int i = 0; i < 6; i++) {
		CHECK_EQ(tine_filelock_acquire(lock, false, i % 2 ? TINE_FOREVER : SOON),
			 0);
		CHECK_EQ(tine_filelock_release(lock), 0);
		test_sleep_us(20000);
	}
	tine_event_set(stop);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	tine_filelock_free(lock);
	tine_shared_free(stop);
	clean();
}

static void wait_alone(void *arg)
{
	(void)arg;
	comes_free("file");
}

TEST_LIMIT(whoever_dies_at_the_gate_holds_nobody_up, 30)
{
	tine_filelock *lock = open_lock("file"), *other = open_lock("file");

	CHECK_EQ(tine_filelock_acquire(lock, true, TINE_NOWAIT), 0);
	for (int i = 0; i < 5; i++) {
		pid_t pid = test_fork(wait_alone, NULL);

		while (tine_filelock_acquire(other, true, TINE_NOWAIT) == 0) {
			CHECK_EQ(tine_filelock_release(other), 0);
			test_sleep_us(1000);
		}
		test_kill(pid);
		CHECK_EQ(tine_filelock_acquire(other, true, TINE_NOWAIT), 0);
		CHECK_EQ(tine_filelock_release(other), 0);
	}
	tine_filelock_free(other);
	tine_filelock_free(lock);
	clean();
}

/* ---- files that are removed or replaced -------------------------------------------- */

static void put_another_in_its_place(int how)
{
	char other[128];

	strcpy(other, path_of(how == 1 ? "new" : "old"));
	switch (how) {
	case 0:
		CHECK_EQ(unlink(path_of("file")), 0);
		break;
	case 1:
		fill("new", "", 0600);
		CHECK_EQ(rename(other, path_of("file")), 0);
		break;
	default: /* The old one is there still, by another name. */
		CHECK_EQ(rename(path_of("file"), other), 0);
		fill("file", "", 0600);
	}
}

TEST_LIMIT(nobody_gets_the_lock_of_a_file_that_is_no_more, 30)
{
	for (int how = 0; how < 3; how++) {
		tine_filelock *first = hold("file"), *late = open_lock("file"), *second;

		put_another_in_its_place(how);
		second = hold("file");
		/* Who had it, and somebody else too, is told. */
		CHECK_EQ(tine_filelock_release(first), -ESTALE);
		CHECK_EQ(tine_filelock_release(first), -EPERM);
		CHECK_EQ(tine_filelock_acquire(late, false, TINE_NOWAIT), -ETIMEDOUT);
		CHECK_EQ(tine_filelock_acquire(late, true, tine_after(5)), -ETIMEDOUT);
		CHECK_EQ(tine_filelock_release(second), 0);
		CHECK_EQ(tine_filelock_acquire(late, false, TINE_NOWAIT), 0);
		CHECK_EQ(tine_filelock_acquire(first, false, TINE_NOWAIT), -ETIMEDOUT);
		CHECK_EQ(tine_filelock_release(late), 0);
		CHECK_EQ(tine_filelock_acquire(first, true, TINE_NOWAIT), 0);
		tine_filelock_free(first);
		tine_filelock_free(second);
		tine_filelock_free(late);
		unlink(path_of("file"));
	}
	clean();
}

static void wait_for_the_new(void *arg)
{
	(void)arg;
	tine_filelock_free(hold("file"));
	/* It is that of the name that was waited for. */
	CHECK_EQ(access(path_of("file"), F_OK), 0);
}

TEST_LIMIT(whoever_waits_while_it_is_removed_locks_the_new, 30)
{
	tine_filelock *lock = hold("file");
	pid_t pid = test_fork(wait_for_the_new, NULL);

	test_sleep_us(30000);
	put_another_in_its_place(0);
	CHECK_EQ(tine_filelock_release(lock), -ESTALE);
	CHECK_EQ(test_reap(pid), 0);
	tine_filelock_free(lock);
	clean();
}

TEST_LIMIT(what_cannot_be_opened_anew_is_not_held, 30)
{
	tine_filelock *lock = open_lock("file");

	CHECK_EQ(unlink(path_of("file")), 0);
	CHECK_EQ(rmdir(folder), 0);
	CHECK_EQ(tine_filelock_acquire(lock, false, TINE_NOWAIT), -ENOENT);
	CHECK_EQ(tine_filelock_release(lock), -EPERM);
	CHECK_EQ(mkdir(folder, 0700), 0);
	CHECK_EQ(tine_filelock_acquire(lock, false, TINE_NOWAIT), 0);
	CHECK_EQ(tine_filelock_release(lock), 0);
	tine_filelock_free(lock);
	clean();
}

/* Also where the path was relative, and the process is elsewhere by now. */
TEST_LIMIT(a_relative_path_stays_what_it_was, 30)
{
	tine_filelock *lock;

	path_of("file");
	CHECK_EQ(chdir(folder), 0);
	CHECK_EQ(tine_filelock_open(&lock, "file"), 0);
	CHECK_EQ(chdir("/"), 0);
	put_another_in_its_place(0);
	CHECK_EQ(tine_filelock_acquire(lock, false, TINE_NOWAIT), 0);
	CHECK(!is_free("file"));
	CHECK_EQ(tine_filelock_release(lock), 0);
	tine_filelock_free(lock);
	clean();
}

/* ---- other programs ---------------------------------------------------------------- */

static void lock_by_fcntl(void *arg)
{
	struct flock lock = { .l_type = F_WRLCK };
	int fd = open(path_of("file"), O_RDWR | O_CLOEXEC);

	(void)arg;
	CHECK_EQ(fcntl(fd, F_SETLK, &lock), -1);
	CHECK(errno == EAGAIN || errno == EACCES);
	/* The rest of the file is nobody's. */
	lock.l_start = 1;
	CHECK_EQ(fcntl(fd, F_SETLK, &lock), 0);
	CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
	close(fd);
}

TEST(fcntl_heeds_it_and_flock_does_not)
{
	tine_filelock *lock = hold("file");
	struct flock all = { .l_type = F_WRLCK };
	int fd;

	CHECK_EQ(test_reap(test_fork(lock_by_fcntl, NULL)), 0);
	CHECK_EQ(tine_filelock_release(lock), 0);
	fd = open(path_of("file"), O_RDWR | O_CLOEXEC);
	CHECK_EQ(fcntl(fd, F_SETLK, &all), 0);
	CHECK_EQ(tine_filelock_acquire(lock, true, TINE_NOWAIT), -ETIMEDOUT);
	close(fd);
	CHECK_EQ(tine_filelock_acquire(lock, true, TINE_NOWAIT), 0);
	tine_filelock_free(lock);
	clean();
}

__attribute__((constructor)) static void stranger(void)
{
	const char *mode = getenv("TINE_TEST_STRANGER");
	long turns = 300;

	if (!mode)
		return;
	strcpy(folder, getenv("TINE_TEST_FOLDER"));
	if (strcmp(mode, "count") == 0)
		count_in_threads(&turns);
	if (strcmp(mode, "pause") == 0)
		pause();
	if (strcmp(mode, "hold") == 0) {
		tine_filelock *lock = hold("file");

		fill("held", "", 0600);
		pause();
		tine_filelock_free(lock);
	}
	_exit(0);
}

static void set_stranger(const char *mode)
{
	setenv("TINE_TEST_STRANGER", mode, 1);
	setenv("TINE_TEST_FOLDER", folder, 1);
}

static void become_stranger(void *mode)
{
	char *args[] = { "stranger", NULL };

	set_stranger(mode);
	execv("/proc/self/exe", args);
	_exit(99);
}

TEST(strangers_take_turns)
{
	long turns = 300;
	pid_t pids[2];

	path_of("file");
	for (int i = 0; i < 2; i++)
		pids[i] = test_fork(become_stranger, "count");
	count_in_threads(&turns);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(number_in_file(), 3 * 2 * turns);
	clean();
}

TEST(a_stranger_dies_with_it)
{
	pid_t pid;

	path_of("file");
	pid = test_fork(become_stranger, "hold");
	while (access(path_of("held"), F_OK) != 0)
		test_sleep_us(500);
	CHECK(!is_free("file"));
	test_kill(pid);
	CHECK(is_free("file"));
	clean();
}

/* ---- forks and deaths -------------------------------------------------------------- */

static void use_inherited(void *arg)
{
	tine_filelock *lock = arg, *own;

	CHECK_EQ(tine_filelock_acquire(lock, false, TINE_NOWAIT), -EPERM);
	CHECK_EQ(tine_filelock_acquire(lock, true, TINE_FOREVER), -EPERM);
	CHECK_EQ(tine_filelock_release(lock), -EPERM);
	own = open_lock("file");
	CHECK_EQ(tine_filelock_acquire(own, true, TINE_NOWAIT), -ETIMEDOUT);
	tine_filelock_free(lock);
	CHECK_EQ(tine_filelock_acquire(own, true, TINE_NOWAIT), -ETIMEDOUT);
	tine_filelock_free(own);
}

TEST_LIMIT(a_child_may_only_free_it, 20)
{
	tine_filelock *lock = hold("file");

	CHECK_EQ(test_reap(test_fork(use_inherited, lock)), 0);
	CHECK(!is_free("file"));
	CHECK_EQ(tine_filelock_release(lock), 0);
	tine_filelock_free(lock);
	clean();
}

struct scene {
	tine_event ready;
	_Atomic pid_t child;
	void (*have_child)(struct scene *);
};

static void linger(void *arg)
{
	(void)arg;
	for (;;)
		pause();
}

static void by_fork(struct scene *scene)
{
	atomic_store(&scene->child, test_fork(linger, NULL));
}

static void fork_and_linger(void *scene)
{
	by_fork(scene);
	linger(NULL);
}

static void by_fork_twice(struct scene *scene)
{
	test_fork(fork_and_linger, scene);
	while (!atomic_load(&scene->child))
		test_sleep_us(500);
}

static void by_exec(struct scene *scene)
{
	atomic_store(&scene->child, test_fork(become_stranger, "pause"));
}

static void by_spawn(struct scene *scene)
{
	char *args[] = { "stranger", NULL };
	pid_t pid;

	set_stranger("pause");
	CHECK_EQ(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, args, environ), 0);
	atomic_store(&scene->child, pid);
}

static void own(void *arg)
{
	struct scene *scene = arg;

	hold("file");
	scene->have_child(scene);
	tine_event_set(&scene->ready);
	linger(NULL);
}

static void heir(void *forever)
{
	tine_filelock *lock = open_lock("file");

	CHECK_EQ(tine_filelock_acquire(lock, false, forever ? TINE_FOREVER : SOON), 0);
	tine_filelock_free(lock);
}

static void outlived_by(void (*have_child)(struct scene *))
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t owner, heirs[2];

	path_of("file");
	scene->have_child = have_child;
	owner = test_fork(own, scene);
	CHECK_EQ(tine_event_wait(&scene->ready, SOON), 0);
	CHECK(!is_free("file"));
	heirs[0] = test_fork(heir, NULL);
	heirs[1] = test_fork(heir, scene);
	test_sleep_us(5000);
	CHECK(test_alive(heirs[0]) && test_alive(heirs[1]));
	test_kill(owner);
	CHECK_EQ(test_reap(heirs[0]), 0);
	CHECK_EQ(test_reap(heirs[1]), 0);
	CHECK(is_free("file"));
	CHECK(test_alive(atomic_load(&scene->child)));
	/* All that is left of this test's. */
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM);
	tine_shared_free(scene);
	clean();
}

TEST_LIMIT(outlived_by_a_child, 30)
{
	outlived_by(by_fork);
}

TEST_LIMIT(outlived_by_a_grandchild, 30)
{
	outlived_by(by_fork_twice);
}

TEST_LIMIT(outlived_by_a_program, 30)
{
	outlived_by(by_exec);
}

TEST_LIMIT(outlived_by_a_spawned_program, 30)
{
	outlived_by(by_spawn);
}

static void own_and_execute(void *arg)
{
	struct scene *scene = arg;

	hold("file");
	tine_event_set(&scene->ready);
	become_stranger("pause");
}

TEST_LIMIT(the_owner_executes_a_program, 30)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t pid;

	path_of("file");
	pid = test_fork(own_and_execute, scene);
	CHECK_EQ(tine_event_wait(&scene->ready, SOON), 0);
	comes_free("file");
	CHECK(test_alive(pid));
	test_kill(pid);
	tine_shared_free(scene);
	clean();
}

/* How many descriptors of this process are of files in the folder. */
static int descriptors_there(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int n = 0;

	CHECK(dir);
	while ((entry = readdir(dir))) {
		char target[128] = "";

		if (readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1) > 0)
			n += strncmp(target, folder, strlen(folder)) == 0;
	}
	closedir(dir);
	return n;
}

static void has_none(void *arg)
{
	(void)arg;
	CHECK_EQ(descriptors_there(), 0);
}

static void lock_without_its_descriptor(void *arg)
{
	tine_filelock *held = hold("held"), *other = open_lock("other");

	(void)arg;
	test_take_descriptors();
	CHECK_EQ(tine_filelock_acquire(other, false, TINE_NOWAIT), -EBADF);
	CHECK_EQ(tine_filelock_acquire(other, true, SOON), -EBADF);
	CHECK_EQ(tine_filelock_release(held), -EBADF);
	CHECK_EQ(tine_filelock_release(held), -EPERM);
	tine_filelock_free(other);
	tine_filelock_free(held);
	CHECK(test_has_taken());
}

TEST(a_descriptor_that_is_anothers_now_is_not_locked)
{
	path_of("held");
	CHECK_EQ(test_reap(test_fork(lock_without_its_descriptor, NULL)), 0);
	clean();
}

TEST(freed_in_any_order)
{
	static const int orders[][3] = { { 0, 1, 2 }, { 2, 1, 0 }, { 1, 0, 2 } };

	for (int order = 0; order < 3; order++) {
		tine_filelock *locks[3];

		for (int i = 0; i < 3; i++)
			locks[i] = open_lock("file");
		for (int i = 0; i < 3; i++) {
			CHECK_EQ(descriptors_there(), 3 - i);
			CHECK_EQ(test_reap(test_fork(has_none, NULL)), 0);
			tine_filelock_free(locks[orders[order][i]]);
		}
		CHECK_EQ(descriptors_there(), 0);
	}
	clean();
}

static atomic_bool enough;

static void *open_and_free(void *arg)
{
	const char *name = arg;

	while (!atomic_load(&enough)) {
		tine_filelock *one = hold(name), *other = open_lock(name);

		tine_filelock_free(one);
		CHECK_EQ(tine_filelock_acquire(other, false, SOON), 0);
		tine_filelock_free(other);
	}
	return NULL;
}

static void has_none_and_can(void *arg)
{
	has_none(arg);
	tine_filelock_free(hold("third"));
}

TEST_LIMIT(forks_while_threads_open_and_free, 60)
{
	static const char *const names[] = { "first", "second" };
	long turns = test_scaled(400);
	pthread_t threads[2];

	path_of("file");
	for (int i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, open_and_free,
					(void *)names[i]),
			 0);
	for (long i = 0; i < turns; i++)
		CHECK_EQ(test_reap(test_fork(has_none_and_can, NULL)), 0);
	atomic_store(&enough, true);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	clean();
}

/* ---- killed at any moment ---------------------------------------------------------- */

static tine_filelock *stepped;

static void open_it(void *arg)
{
	(void)arg;
	stepped = open_lock("file");
}

static void acquire_and_release(void *arg)
{
	(void)arg;
	CHECK_EQ(tine_filelock_acquire(stepped, false, TINE_FOREVER), 0);
	CHECK_EQ(tine_filelock_release(stepped), 0);
}

static void is_free_after(void *arg, long step)
{
	(void)arg;
	if (!is_free("file"))
		test_fail(__FILE__, __LINE__, "step %ld: it is held", step);
}

TEST(killed_at_every_step_it_comes_free)
{
	const struct steps steps = { open_it, acquire_and_release, is_free_after };

	path_of("file");
	CHECK(test_kill_each_step(&steps, NULL) > 20);
	clean();
}

static tine_filelock *sharing;

static void acquire_in_vain(void *arg)
{
	(void)arg;
	CHECK_EQ(tine_filelock_acquire(stepped, false, tine_after(1)), -ETIMEDOUT);
}

static void can_be_shared(void *arg, long step)
{
	tine_filelock *lock = open_lock("file");
	int err = tine_filelock_acquire(lock, true, TINE_NOWAIT);

	(void)arg;
	if (err)
		test_fail(__FILE__, __LINE__, "step %ld: %s", step, tine_strerror(err));
	tine_filelock_free(lock);
}

/* Of who waits to have it alone; this process shares it all the time. */
TEST(killed_at_every_step_of_a_wait_it_can_be_shared)
{
	const struct steps steps = { open_it, acquire_in_vain, can_be_shared };

	sharing = open_lock("file");
	CHECK_EQ(tine_filelock_acquire(sharing, true, TINE_NOWAIT), 0);
	CHECK(test_kill_each_step(&steps, NULL) > 20);
	tine_filelock_free(sharing);
	clean();
}

/* Who has it writes its name there, and must find it until it lets go. */
static void contend(void *arg)
{
	_Atomic pid_t *holder = arg;
	tine_filelock *lock = open_lock("file");

	for (int i = 0;; i++) {
		CHECK_EQ(tine_filelock_acquire(lock, false, i % 2 ? TINE_FOREVER : SOON),
			 0);
		if (i == 0)
			test_fork(linger, NULL);
		atomic_store(holder, getpid());
		for (int n = 0; n < 100; n++)
			CHECK_EQ(atomic_load(holder), getpid());
		CHECK_EQ(tine_filelock_release(lock), 0);
	}
}

TEST_LIMIT(killed_at_random_with_children_that_live_on, 60)
{
	_Atomic pid_t *holder = tine_shared_new(1, sizeof(*holder));
	long rounds = test_scaled(300);
	tine_rng rng;
	pid_t pids[3];

	path_of("file");
	tine_rng_init(&rng, test_seed(), 0);
	for (int i = 0; i < 3; i++)
		pids[i] = test_fork(contend, (void *)holder);
	for (long round = 0; round < rounds; round++) {
		pid_t *victim = &pids[tine_rng_u32(&rng) % 3];

		test_sleep_us(tine_rng_u32(&rng) % 2000);
		test_kill(*victim);
		*victim = test_fork(contend, (void *)holder);
		if (round % 10 == 0)
			comes_free("file");
	}
	for (int i = 0; i < 3; i++)
		test_kill(pids[i]);
	/* Soon: a child that had just been forked is about to let go of it. */
	comes_free("file");
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM);
	tine_shared_free((void *)holder);
	clean();
}
