/* SPDX-License-Identifier: MIT */
#include "inspect/process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PATH_SIZE  320
#define MOST_WORDS 128 /* of futex_waitv(2) */

/* All that fits; false: there is no such file, or it may not be read. */
static bool read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return false;
	len = read(fd, text, size - 1);
	close(fd);
	text[len > 0 ? len : 0] = '\0';
	return len > 0;
}

bool process_see(pid_t pid, struct process_seen *seen)
{
	char path[PATH_SIZE], text[1024], *name, *end;
	int parent;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (!read_file(path, text, sizeof(text)))
		return false;
	name = strchr(text, '(');
	end = strrchr(text, ')');
	if (!name || !end ||
	    sscanf(end + 1,
		   " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d "
		   "%*d %*d %ld",
		   &seen->state, &parent, &seen->threads) != 3)
		return false;
	*end = '\0';
	snprintf(seen->name, sizeof(seen->name), "%s", name + 1);
	seen->parent = parent;
	return true;
}

const char *process_state(pid_t pid)
{
	struct process_seen seen;

	if (pid <= 0 || !process_see(pid, &seen) || seen.state == 'X' ||
	    (seen.state == 'Z' && seen.threads <= 1))
		return "ended";
	if (seen.state == 'T' || seen.state == 't')
		return "stopped";
	return seen.state == 'R' ? "running" : "sleeping";
}

pid_t process_of_thread(pid_t thread)
{
	char path[PATH_SIZE], text[4096], *at;

	snprintf(path, sizeof(path), "/proc/%d/status", thread);
	if (!read_file(path, text, sizeof(text)))
		return 0;
	at = strstr(text, "\nTgid:");
	return at ? (pid_t)strtol(at + 6, NULL, 10) : 0;
}

/* The next entry whose name is a number; -1: there is none. */
static pid_t next_number(DIR *dir)
{
	struct dirent *entry;

	while ((entry = readdir(dir)))
		if (isdigit((unsigned char)entry->d_name[0]))
			return (pid_t)strtol(entry->d_name, NULL, 10);
	return -1;
}

int process_files(pid_t pid, const char *begins, file_fn *fn, void *arg)
{
	char path[PATH_SIZE], link[PATH_SIZE];
	struct stat file;
	DIR *dir;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return errno == EACCES ? -EACCES : -ESRCH;
	errno = 0;
	while ((fd = next_number(dir)) >= 0) {
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
		len = readlink(path, link, sizeof(link));
		if (len >= (ssize_t)strlen(begins) &&
		    memcmp(link, begins, strlen(begins)) == 0 && stat(path, &file) == 0)
			fn(arg, path, &file);
	}
	closedir(dir);
	return 0;
}

void processes_all(process_fn *fn, void *arg)
{
	DIR *dir = opendir("/proc");
	char path[PATH_SIZE];
	struct stat entry;
	pid_t pid;

	if (!dir)
		return;
	while ((pid = next_number(dir)) >= 0) {
		snprintf(path, sizeof(path), "/proc/%d", pid);
		if (geteuid() == 0 ||
		    (stat(path, &entry) == 0 && entry.st_uid == geteuid()))
			fn(arg, pid);
	}
	closedir(dir);
}

/* ---- who sleeps on what ------------------------------------------------------------ */

static bool is_wait(unsigned long op)
{
	op &= FUTEX_CMD_MASK;
	return op == FUTEX_WAIT || op == FUTEX_WAIT_BITSET;
}

#ifdef SYS_futex_waitv
static void words_of(pid_t pid, pid_t thread, uintptr_t at, unsigned long n, sleep_fn *fn,
		     void *arg)
{
	struct futex_waitv words[MOST_WORDS];
	struct iovec into = { words, n * sizeof(*words) },
		     from = { (void *)at, n * sizeof(*words) };

	if (n > MOST_WORDS ||
	    process_vm_readv(pid, &into, 1, &from, 1, 0) != (ssize_t)into.iov_len)
		return;
	for (unsigned long i = 0; i < n; i++)
		fn(arg, thread, (const char *)(uintptr_t)words[i].uaddr);
}
#endif

bool process_sleeps(pid_t pid, sleep_fn *fn, void *arg)
{
	char path[PATH_SIZE], text[512];
	unsigned long at, op;
	bool told = false;
	pid_t thread;
	long call;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (thread = next_number(dir)) >= 0) {
		snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, thread);
		if (!read_file(path, text, sizeof(text)))
			continue;
		told = true;
		if (sscanf(text, "%ld %lx %lx", &call, &at, &op) != 3)
			continue;
		if (call == SYS_futex && is_wait(op))
			fn(arg, thread, (const char *)at);
#ifdef SYS_futex_waitv
		else if (call == SYS_futex_waitv)
			words_of(pid, thread, at, op, fn, arg);
#endif
	}
	if (dir)
		closedir(dir);
	return told;
}
