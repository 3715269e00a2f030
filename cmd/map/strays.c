/* SPDX-License-Identifier: MIT */
#include "map/strays.h"

#include "base/proc.h"
#include "process/strays.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void each_child_of_thread(pid_t pid, pid_t thread, child_fn *fn, void *arg)
{
	char path[64];
	FILE *file;
	int child;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, thread);
	file = fopen(path, "re");
	if (!file)
		return;
	while (fscanf(file, "%d", &child) == 1)
		fn(child, arg);
	fclose(file);
}

void each_child_of(pid_t pid, child_fn *fn, void *arg)
{
	char path[64];
	struct dirent *entry;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	folder = opendir(path);
	if (!folder)
		return;
	while ((entry = readdir(folder)))
		if (entry->d_name[0] != '.')
			each_child_of_thread(pid, (pid_t)strtol(entry->d_name, NULL, 10),
					     fn, arg);
	closedir(folder);
}

static bool kill_child(void *unused, pid_t child)
{
	(void)unused;
	kill_stray(child);
	return true;
}

void end_strays(void)
{
	struct timespec moment = { 0, 1000000 };

	for (int i = 0; i < 2000; i++) {
		each_child(kill_child, NULL);
		while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
			;
		if (waitpid(-1, NULL, WNOHANG | __WALL) < 0 && errno == ECHILD)
			return;
		nanosleep(&moment, NULL);
	}
}

static void add_memory(pid_t pid, void *sum)
{
	*(uint64_t *)sum += own_memory(pid);
	each_child_of(pid, add_memory, sum);
}

uint64_t memory_below(pid_t pid)
{
	uint64_t sum = 0;

	add_memory(pid, &sum);
	return sum;
}
