/* SPDX-License-Identifier: MIT */
/*
 * Folders in a state that is known, for test/cmd/inspect.sh: FOLDER/cache, where a child
 * computes a result and another waits for it; FOLDER/store, where one has the lock for
 * those who write, one waits for it, and one for a change of a key; FOLDER/files, where a
 * lock is shared by two, and one wants it alone. Each line on standard output is a name
 * and a value. It ends when its standard input does.
 */
#include "store/file/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONG_MS 600000

struct scene {
	tine_event computes, writes, shares[2];
	tine_cache *cache;
	tine_store *store;
};

static int compute(void *arg)
{
	struct scene *scene = arg;
	tine_flight *flight;
	const void *val;
	size_t len;

	if (tine_cache_begin(scene->cache, "key", 3, &val, &len, &flight, TINE_NOWAIT))
		return 1;
	tine_event_set(&scene->computes);
	pause();
	return 0;
}

static int wait_for_result(void *arg)
{
	struct scene *scene = arg;
	tine_flight *flight;
	const void *val;
	size_t len;

	return tine_cache_begin(scene->cache, "key", 3, &val, &len, &flight,
				TINE_FOREVER) < 0;
}

/* As a call that writes has it, but for as long as the test takes. */
static int hold_writing(void *arg)
{
	struct scene *scene = arg;
	int fd = open("store/tine.wake", O_RDWR | O_CLOEXEC);
	struct folder_shared *shared;

	if (fd < 0 || tine_shared_map_fd((void **)&shared, fd, sizeof(*shared)) ||
	    tine_lock_acquire(&shared->writing, TINE_NOWAIT))
		return 1;
	tine_event_set(&scene->writes);
	pause();
	return 0;
}

static int wait_to_set(void *arg)
{
	struct scene *scene = arg;

	return tine_store_set(scene->store, "other", "x", 1);
}

static int wait_for_change(void *arg)
{
	struct scene *scene = arg;
	uint64_t version = 0;

	if (tine_store_wait(scene->store, "key", &version, TINE_FOREVER))
		return 1;
	return tine_store_wait(scene->store, "key", &version, TINE_FOREVER);
}

static int share(void *arg)
{
	tine_filelock *lock;

	if (tine_filelock_open(&lock, "files/a") ||
	    tine_filelock_acquire(lock, true, TINE_NOWAIT))
		return 1;
	tine_event_set(arg);
	pause();
	return 0;
}

static int wait_for_file(void *arg)
{
	tine_filelock *lock;

	(void)arg;
	return tine_filelock_open(&lock, "files/a") ||
	       tine_filelock_acquire(lock, false, TINE_FOREVER);
}

static bool start(const char *name, int (*fn)(void *), void *arg, tine_event *done)
{
	tine_process *child;

	if (tine_process_start(&child, fn, arg, NULL) ||
	    (done && tine_event_wait(done, TINE_FOREVER)))
		return false;
	printf("%s %d\n", name, (int)tine_process_pid(child));
	return true;
}

static bool start_at_store(struct scene *scene)
{
	const tine_store_opts opts = { .answer_ms = LONG_MS };
	int err = tine_store_open(&scene->store, "file:store", &opts);

	if (err)
		return err == -EPROTONOSUPPORT;
	return start("writer", hold_writing, scene, &scene->writes) &&
	       start("setter", wait_to_set, scene, NULL) &&
	       start("watcher", wait_for_change, scene, NULL);
}

int main(int argc, char **argv)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	char byte;

	if (argc != 2 || chdir(argv[1]) != 0 || !scene ||
	    tine_cache_open(&scene->cache, "cache", NULL) || mkdir("files", 0700) != 0)
		return 1;
	if (!start("computer", compute, scene, &scene->computes) ||
	    !start("follower", wait_for_result, scene, NULL) ||
	    !start("sharer", share, &scene->shares[0], &scene->shares[0]) ||
	    !start("other", share, &scene->shares[1], &scene->shares[1]) ||
	    !start("alone", wait_for_file, NULL, NULL) || !start_at_store(scene))
		return 1;
	printf("main %d\nready\n", (int)getpid());
	fflush(stdout);
	if (read(STDIN_FILENO, &byte, 1) < 0)
		return 1;
	_exit(0);
}
