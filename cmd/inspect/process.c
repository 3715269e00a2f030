/* SPDX-License-Identifier: MIT */
#include "inspect/process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PATH_SIZE  320
#define MOST_WORDS 128 /* of futex_waitv(2) */

bool proc_read(char *text, size_t size, const char *format, ...)
{
	char path[PATH_SIZE];
	va_list args;
	ssize_t len;
	int fd;

	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	len = read(fd, text, size - 1);
	close(fd);
	text[len > 0 ? len : 0] = '\0';
	return len > 0;
}

bool process_see(pid_t pid, struct process_seen *seen)
{
	char text[1024], *name, *end;
	int parent;

	if (!proc_read(text, sizeof(text), "/proc/%d/stat", pid))
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
	char text[4096], *at;

	if (!proc_read(text, sizeof(text), "/proc/%d/status", thread))
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

bool process_file(pid_t pid, int fd, const char *begins, struct open_file *file)
{
	ssize_t len;

	file->fd = fd;
	snprintf(file->link, sizeof(file->link), "/proc/%d/fd/%d", pid, fd);
	len = readlink(file->link, file->path, sizeof(file->path) - 1);
	if (len <= 0)
		return false;
	file->path[len] = '\0';
	/* Not of any file: that of a server which is away would keep us here. */
	return strncmp(file->path, begins, strlen(begins)) == 0 &&
	       stat(file->link, &file->stat) == 0;
}

int process_files(pid_t pid, const char *begins, file_fn *fn, void *arg)
{
	char path[PATH_SIZE];
	struct open_file file;
	DIR *dir;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return errno == EACCES ? -EACCES : -ESRCH;
	while ((fd = next_number(dir)) >= 0)
		if (process_file(pid, fd, begins, &file))
			fn(arg, &file);
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

bool process_read(pid_t pid, const void *at, void *into, size_t len)
{
	struct iovec here = { into, len }, there = { (void *)at, len };

	return process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)len;
}

static bool is_wait(unsigned long op)
{
	op &= FUTEX_CMD_MASK;
	return op == FUTEX_WAIT || op == FUTEX_WAIT_BITSET;
}

#ifdef SYS_futex_waitv
static void words_of(pid_t pid, struct sleep *sleep, uintptr_t at, unsigned long n,
		     sleep_fn *fn, void *arg)
{
	struct futex_waitv words[MOST_WORDS];

	if (n > MOST_WORDS ||
	    !process_read(pid, (const void *)at, words, n * sizeof(*words)))
		return;
	for (unsigned long i = 0; i < n; i++) {
		sleep->word = (const char *)(uintptr_t)words[i].uaddr;
		fn(arg, sleep);
	}
}
#endif

/* What it is in, as /proc has it: the number of a call, and its arguments. */
static void sleeps_of(pid_t pid, pid_t thread, const char *text, sleep_fn *fn, void *arg)
{
	struct sleep sleep = { .thread = thread };
	unsigned long a[4];
	long call;

	if (sscanf(text, "%ld %lx %lx %lx %lx", &call, &a[0], &a[1], &a[2], &a[3]) != 5)
		return;
	if (call == SYS_futex && is_wait(a[1])) {
		sleep.word = (const char *)a[0];
		sleep.timed = a[3] != 0;
		fn(arg, &sleep);
	} else if (call == SYS_fcntl && (a[1] == F_OFD_SETLKW || a[1] == F_SETLKW)) {
		sleep.fd = (int)a[0];
		if (process_read(pid, (const void *)a[2], &sleep.lock,
				 sizeof(sleep.lock)) &&
		    sleep.lock.l_whence == SEEK_SET)
			fn(arg, &sleep);
	}
#ifdef SYS_futex_waitv
	else if (call == SYS_futex_waitv) {
		sleep.timed = a[3] != 0;
		words_of(pid, &sleep, a[0], a[1], fn, arg);
	}
#endif
}

bool process_sleeps(pid_t pid, sleep_fn *fn, void *arg)
{
	char path[PATH_SIZE], text[512];
	bool told = false;
	pid_t thread;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (thread = next_number(dir)) >= 0) {
		if (!proc_read(text, sizeof(text), "/proc/%d/task/%d/syscall", pid,
			       thread))
			continue;
		told = true;
		sleeps_of(pid, thread, text, fn, arg);
	}
	if (dir)
		closedir(dir);
	return told;
}

/* ---- what it has mapped ------------------------------------------------------------ */

/* As the kernel writes paths there: it spells the end of a line, and no other byte. */
static bool spell_path(const char *path, char spelled[PATH_MAX])
{
	size_t len = 0;

	for (; *path && len < PATH_MAX - 4; path++)
		if (*path == '\n')
			len += (size_t)sprintf(spelled + len, "\\012");
		else
			spelled[len++] = *path;
	spelled[len] = '\0';
	return !*path;
}

void process_maps(pid_t pid, const char *begins, mapping_fn *fn, void *arg)
{
	char path[PATH_SIZE], spelled[PATH_MAX], *line = NULL;
	struct mapping mapping;
	size_t size = 0;
	ssize_t len;
	FILE *file;

	if (!spell_path(begins, spelled))
		return;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	file = fopen(path, "re");
	while (file && (len = getline(&line, &size, file)) > 0) {
		int at = 0;

		line[len - 1] = '\0';
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %" SCNx64 " %*s %*s %n",
			   &mapping.from, &mapping.to, &mapping.offset, &at) != 3 ||
		    at == 0 || strncmp(line + at, spelled, strlen(spelled)) != 0)
			continue;
		snprintf(mapping.name, sizeof(mapping.name), "%s",
			 line + at + strlen(spelled));
		fn(arg, &mapping);
	}
	free(line);
	if (file)
		fclose(file);
}

bool process_is_of_here(pid_t pid)
{
	char path[PATH_SIZE];
	struct stat its, own;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	return stat(path, &its) == 0 && stat("/proc/self/ns/pid", &own) == 0 &&
	       its.st_dev == own.st_dev && its.st_ino == own.st_ino;
}
