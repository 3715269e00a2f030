/* SPDX-License-Identifier: MIT */
#include "process/strays.h"

#include "base/proc.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Numbers with a space behind each; a piece may end within one. */
static unsigned each_number(int fd, stray_fn *fn, void *arg)
{
	unsigned count = 0;
	char text[4096];
	ssize_t len;
	pid_t pid = 0;

	/* Bound: a file of the kernel's own. */
	while ((len = read(fd, text, sizeof(text))) > 0)
		for (ssize_t i = 0; i < len; i++)
			if (text[i] >= '0' && text[i] <= '9') {
				pid = pid * 10 + (text[i] - '0');
			} else if (pid > 0) {
				count += fn(arg, pid);
				pid = 0;
			}
	return count;
}

/* By hand, since opendir(3) allocates, which a keeper must not. */
static unsigned each_of_all(stray_fn *fn, void *arg)
{
	struct entry {
		uint64_t inode;
		int64_t next;
		unsigned short len;
		unsigned char type;
		char name[];
	};
	_Alignas(struct entry) char entries[4096];
	int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unsigned count = 0;
	pid_t self = getpid();
	long len;

	while (fd >= 0 &&
	       (len = syscall(SYS_getdents64, fd, entries, sizeof(entries))) > 0)
		for (long at = 0; at < len; at += ((struct entry *)(entries + at))->len) {
			const struct entry *entry = (struct entry *)(entries + at);
			pid_t pid = (pid_t)strtol(entry->name, NULL, 10);

			if (pid > 0 && process_parent(pid) == self)
				count += fn(arg, pid);
		}
	if (fd >= 0)
		close(fd);
	return count;
}

unsigned each_child(stray_fn *fn, void *arg)
{
	int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
	unsigned count;

	if (fd < 0)
		return each_of_all(fn, arg);
	count = each_number(fd, fn, arg);
	close(fd);
	return count;
}

void kill_stray(pid_t child)
{
	kill(-child, SIGKILL);
	kill(child, SIGKILL);
}
