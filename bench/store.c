/* SPDX-License-Identifier: MIT */
/*
 * What a call of a store costs: store get|put|counter URL TIMES prints the microseconds
 * of one, with values of 16 bytes under 1000 keys, or one counter.
 *
 * shared: two processes add to one counter, TIMES in all, and none may be lost. file:
 * alone is a new folder in /dev/shm, which is removed.
 */
#include "bench.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <tine.h>
#include <unistd.h>

#define KEYS 1000
#define LEN  16

static char keys[KEYS][16];
static char folder[] = "/dev/shm/tine-bench-XXXXXX";

static void check(bool ok, const char *what)
{
	if (!ok)
		die(1, what);
}

static void remove_folder(void)
{
	static const char *const names[] = { "data.mdb", "lock.mdb", "tine.wake" };
	char path[64];

	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		unlink(path);
	}
	rmdir(folder);
}

static tine_store *open_store(const char *url)
{
	char made[64];
	tine_store *store;
	int err;

	if (strcmp(url, "file:") == 0) {
		check(mkdtemp(folder), "mkdtemp");
		atexit(remove_folder);
		snprintf(made, sizeof(made), "file:%s", folder);
		url = made;
	}
	err = tine_store_open(&store, url, NULL);
	if (err)
		die(err == -EPROTONOSUPPORT ? SKIP : 1, tine_strerror(err));
	return store;
}

static void fill(tine_store *store)
{
	for (int i = 0; i < KEYS; i++) {
		snprintf(keys[i], sizeof(keys[i]), "key-%d", i);
		check(tine_store_set(store, keys[i], "0123456789abcdef", LEN) == 0,
		      "set");
	}
}

static void get(tine_store *store, long times)
{
	char buf[LEN];

	for (long i = 0; i < times; i++)
		check(tine_store_get(store, keys[i * 7 % KEYS], buf, LEN) == LEN, "get");
}

static void put(tine_store *store, long times)
{
	for (long i = 0; i < times; i++)
		check(tine_store_set(store, keys[i * 7 % KEYS], &keys[i % KEYS], LEN) ==
			      0,
		      "set");
}

static void counter(tine_store *store, long times)
{
	int64_t now;

	for (long i = 0; i < times; i++)
		check(tine_store_add(store, "counter", 1, &now) == 0, "add");
}

static void shared(tine_store *store, long times)
{
	int64_t sum;
	int status;
	pid_t pid = fork();

	check(pid >= 0, "fork");
	counter(store, times / 2);
	if (pid == 0)
		_exit(0);
	check(waitpid(pid, &status, 0) == pid && status == 0, "the other process");
	check(tine_store_add(store, "counter", 0, &sum) == 0, "add");
	if (sum != times / 2 * 2)
		die(1, "increments were lost");
}

static const struct measure {
	const char *name;
	void (*fn)(tine_store *, long times);
} measures[] = {
	{ "get", get },
	{ "put", put },
	{ "counter", counter },
	{ "shared", shared },
};

int main(int argc, char **argv)
{
	size_t at = 0;
	tine_store *store;
	double begun;
	long times;

	if (argc != 4)
		die(2, "usage: store get|put|counter|shared URL TIMES");
	while (at < 4 && strcmp(measures[at].name, argv[1]) != 0)
		at++;
	check(at < 4, "what is to be measured?");
	times = (long)number(argv[3]);
	store = open_store(argv[2]);
	fill(store);
	begun = seconds_now();
	measures[at].fn(store, times);
	printf("%.4f\n", (seconds_now() - begun) * 1e6 / (double)times);
	tine_store_free(store);
	return 0;
}
