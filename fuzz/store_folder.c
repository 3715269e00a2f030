/* SPDX-License-Identifier: MIT */
/*
 * A store's folder that was written over, then opened and used: it is refused, or
 * whatever it gives is no death, but by LMDB itself, which ends the process that comes
 * across some damage of its list of free pages. The input is edits of the data file as it
 * was made: a place, two bytes, and the byte that stands there.
 */
#include "store/file/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tine.h>
#include <unistd.h>

#define MUST(condition)                                                                  \
	do {                                                                             \
		if (!(condition)) {                                                      \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);  \
			abort();                                                         \
		}                                                                        \
	} while (0)

enum { KEYS = 40, PAGES = 64 };

static char url[64], path[80];
static char *made;
static size_t made_len;

static void remove_folder(void)
{
	char command[80];

	snprintf(command, sizeof(command), "rm -rf %s", url + 5);
	if (system(command) != 0)
		fprintf(stderr, "%s stays\n", url + 5);
}

static void use_keys(tine_store *store, bool damaged)
{
	static char val[6000];
	char key[16];

	for (int i = 0; i < KEYS; i++) {
		int err;

		snprintf(key, sizeof(key), "key-%d", i);
		err = damaged && i % 2 ? tine_store_del(store, key)
				       : tine_store_set(store, key, val,
							i % 10 ? 300 : sizeof(val));
		MUST(damaged || err == 0);
		tine_store_get(store, key, val, sizeof(val));
	}
}

static void make(void)
{
	char folder[] = "/tmp/tine-fuzz-XXXXXX";
	tine_store *store;
	int fd;

	MUST(mkdtemp(folder));
	snprintf(url, sizeof(url), "file:%s", folder);
	snprintf(path, sizeof(path), "%s/data.mdb", folder);
	atexit(remove_folder);
	MUST(tine_store_open(&store, url, NULL) == 0);
	use_keys(store, false);
	tine_store_free(store);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	made_len = (size_t)lseek(fd, 0, SEEK_END);
	made = malloc(made_len);
	MUST(made && pread(fd, made, made_len, 0) == (ssize_t)made_len);
	close(fd);
}

/* In a child, since LMDB may abort it; nothing else may happen to it. */
static void use_damaged(void)
{
	pid_t pid = fork();
	int status;

	MUST(pid >= 0);
	if (pid == 0) {
		tine_store *store;

		for (int i = 1; i < 32; i++)
			signal(i, SIG_DFL);
		alarm(20);
		if (tine_store_open(&store, url, NULL) == 0) {
			use_keys(store, true);
			tine_store_free(store);
		}
		_exit(0);
	}
	/* The fuzzer has a timer. */
	while (waitpid(pid, &status, 0) != pid)
		MUST(errno == EINTR);
	MUST(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	tine_store *store;
	int fd, err, seen;

	if (!made)
		make();
	fd = open(path, O_RDWR | O_CLOEXEC);
	MUST(fd >= 0 && ftruncate(fd, (off_t)made_len) == 0);
	MUST(pwrite(fd, made, made_len, 0) == (ssize_t)made_len);
	for (; len >= 4; data += 4, len -= 4) {
		/* In the first bytes of a page, where its head is, or of its end. */
		off_t at = data[0] % PAGES * 4096 + (data[1] & 15) * 256 + data[2];

		MUST(pwrite(fd, data + 3, 1, at) == 1);
	}
	seen = check_whole(fd, made_len);
	close(fd);
	err = tine_store_open(&store, url, NULL);
	MUST(err == 0 || err == -EBADMSG);
	MUST(err || seen == 0);
	if (!err) {
		tine_store_free(store);
		use_damaged();
	}
	return 0;
}
