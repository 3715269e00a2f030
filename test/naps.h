/* SPDX-License-Identifier: MIT */
/* Processes that can be told from all others, and counted. */
#ifndef TINE_TEST_NAPS_H
#define TINE_TEST_NAPS_H

#include "test.h"

#include <dirent.h>
#include <fcntl.h>

/* An argument of sleep(1) that no other process has. */
static char nap[32];
static inline const char *name_nap(void)
{
	snprintf(nap, sizeof(nap), "700.%d", getpid());
	return nap;
}

/* As proc(5) has it; 'X': it is gone. */
static inline char state_of(int proc, const char *pid)
{
	char path[300], text[512] = "", *end;
	int fd;

	snprintf(path, sizeof(path), "%s/stat", pid);
	fd = openat(proc, path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		*text = '\0';
	if (fd >= 0)
		close(fd);
	end = strrchr(text, ')');
	return end ? end[2] : 'X';
}

/* How many processes have the nap among their arguments; in one of these states. */
static inline int napping_as(const char *states)
{
	DIR *all = opendir("/proc");
	struct dirent *entry;
	int n = 0;

	while ((entry = readdir(all))) {
		char path[300], text[4096];
		ssize_t len = 0;
		int fd;

		snprintf(path, sizeof(path), "%s/cmdline", entry->d_name);
		if (atoi(entry->d_name) <= 0 || atoi(entry->d_name) == getpid())
			continue;
		fd = openat(dirfd(all), path, O_RDONLY);
		if (fd < 0)
			continue;
		len = read(fd, text, sizeof(text));
		close(fd);
		n += len > 0 && memmem(text, (size_t)len, nap, strlen(nap)) &&
		     strchr(states, state_of(dirfd(all), entry->d_name));
	}
	closedir(all);
	return n;
}

static inline int napping(void)
{
	return napping_as("RSDTtIWP");
}

/*
 * Waits until so many nap, for a program has its arguments only some time after it was
 * spawned; fails when that never comes.
 */
static inline void await_napping(int wanted)
{
	int64_t end = tine_after(test_patience(20000));

	while (napping() != wanted) {
		if (tine_now() > end)
			test_fail(__FILE__, __LINE__, "%d processes nap, not %d",
				  napping(), wanted);
		test_sleep_us(2000);
	}
}

#endif
