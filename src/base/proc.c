/* SPDX-License-Identifier: MIT */
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define IS_EXITING   4 /* the kernel's PF_EXITING, in the flags of /proc/PID/stat */
#define FOLDER_LINKS 2 /* of a folder; that of the threads has one more for each thread */

/* A file of /proc/PID, up to size - 1 bytes of it; false: there is none. */
static bool read_proc(pid_t pid, const char *name, char *text, size_t size)
{
	char path[64];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	/* Bound: a file of the kernel's, which is there. */
	len = read(fd, text, size - 1);
	close(fd);
	text[len > 0 ? len : 0] = '\0';
	return true;
}

/* A field of /proc/PID/stat, as proc(5) numbers them, from the third on. */
static const char *stat_field(const char *text, int number)
{
	const char *at = strrchr(text, ')');

	for (int i = 2; at && i < number; i++) {
		at = strchr(at, ' ');
		at += at != NULL;
	}
	return at ? at : "";
}

/* Whether the process is a child of ours in such a state; others keep their report. */
static bool is_child_that(int state, pid_t pid)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)pid, &info, state | WNOHANG | WNOWAIT | __WALL) == 0 &&
	       info.si_pid == pid;
}

/*
 * Whether it has ended, where no file can be opened, for want of descriptors or of /proc:
 * then the first thread has let its memory go, and there is no other.
 */
static bool ended_as_seen_without_a_file(pid_t pid)
{
	char path[64], at;
	struct stat threads;

	if (kill(pid, 0) != 0 && errno != EPERM)
		return true;
	if (is_child_that(WEXITED, pid))
		return true;
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	if (readlink(path, &at, 1) >= 0 || errno != ENOENT)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	return stat(path, &threads) == 0 && threads.st_nlink <= FOLDER_LINKS + 1;
}

/* A zombie that has more than one thread is a process whose first thread has ended. */
uint64_t process_look(pid_t pid, bool *exiting)
{
	char text[1024], state;

	*exiting = false;
	if (!read_proc(pid, "stat", text, sizeof(text)))
		return ended_as_seen_without_a_file(pid) ? 0 : STARTED_SOMETIME;
	*exiting = strtoul(stat_field(text, 9), NULL, 10) & IS_EXITING &&
		   strtol(stat_field(text, 20), NULL, 10) == 1;
	state = *stat_field(text, 3);
	if (!state || state == 'X' ||
	    (state == 'Z' && strtol(stat_field(text, 20), NULL, 10) <= 1))
		return 0;
	return strtoull(stat_field(text, 22), NULL, 10) + STARTED_SOMETIME + 1;
}

uint64_t process_started(pid_t pid)
{
	bool exiting;

	return process_look(pid, &exiting);
}

/* One of its fields; otherwise: it is gone, or not to be seen. */
static long stat_number(pid_t pid, int field, long otherwise)
{
	char text[1024];

	return read_proc(pid, "stat", text, sizeof(text))
		       ? strtol(stat_field(text, field), NULL, 10)
		       : otherwise;
}

pid_t process_parent(pid_t pid)
{
	return (pid_t)stat_number(pid, 4, 0);
}

int process_processor(pid_t thread)
{
	return (int)stat_number(thread, 39, -1);
}

bool process_stopped(pid_t pid)
{
	char text[1024], state;

	if (!read_proc(pid, "stat", text, sizeof(text)))
		return is_child_that(WSTOPPED, pid);
	state = *stat_field(text, 3);
	return state == 'T' || state == 't';
}

int process_stop_signal(pid_t pid)
{
	return (int)stat_number(pid, 52, 0);
}

bool process_alive(pid_t pid)
{
	return process_started(pid) != 0;
}

size_t own_memory(pid_t pid)
{
	unsigned long resident, shared;
	char text[256];

	if (!read_proc(pid, "statm", text, sizeof(text)) ||
	    sscanf(text, "%*s %lu %lu", &resident, &shared) != 2 || shared > resident)
		return 0;
	return (resident - shared) * (size_t)sysconf(_SC_PAGESIZE);
}

bool process_variable(pid_t pid, const char *name, char *value, size_t size)
{
	size_t name_len = strlen(name), at = 0;
	char path[64], text[4096];
	bool found = false, matches = true;
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/environ", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	/* Bound: a file of the kernel's own. */
	while (!found && (len = read(fd, text, sizeof(text))) > 0)
		for (ssize_t i = 0; i < len && !found; i++) {
			if (text[i] == '\0') {
				found = matches && at > name_len;
				if (found)
					value[at - name_len - 1] = '\0';
				at = 0;
				matches = true;
				continue;
			}
			if (at < name_len)
				matches = matches && text[i] == name[at];
			else if (at == name_len)
				matches = matches && text[i] == '=';
			else if (at - name_len < size)
				value[at - name_len - 1] = text[i];
			else
				matches = false;
			at++;
		}
	close(fd);
	return found;
}
