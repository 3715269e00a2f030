/* SPDX-License-Identifier: MIT */
/*
 * Control groups, as cgroups(7) has them: /proc/self/cgroup names this process's group in
 * each hierarchy, /proc/self/mountinfo where the hierarchy is mounted and which group of
 * it is the mount's root (in a container without a namespace of its own, not "/").
 */
#include "base/cgroup.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static FILE *open_under(const char *root, const char *path)
{
	char full[PATH_MAX];

	if (snprintf(full, sizeof(full), "%s%s", root, path) >= (int)sizeof(full))
		return NULL;
	return fopen(full, "re");
}

/* Whether a comma-separated list has the word. */
static bool listed(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = list; (at = strstr(at, word)); at += len)
		if ((at == list || at[-1] == ',') && (at[len] == ',' || at[len] == '\0'))
			return true;
	return false;
}

/* The group of this process, "/a/b", in the hierarchy of the controller; v2: NULL. */
static bool own_group(const char *root, const char *controller, char *out, size_t size)
{
	FILE *file = open_under(root, "/proc/self/cgroup");
	char line[PATH_MAX + 256];
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file)) {
		char *list = strchr(line, ':'),
		     *path = list ? strchr(list + 1, ':') : NULL;

		if (!path)
			continue;
		*path++ = '\0';
		list++;
		path[strcspn(path, "\n")] = '\0';
		found = controller ? listed(list, controller) : *list == '\0';
		if (found && snprintf(out, size, "%s", path) >= (int)size)
			found = false;
	}
	fclose(file);
	return found;
}

/* Where the hierarchy is mounted, and its root there. */
static bool mounted(const char *root, const char *controller, char *point, char *top)
{
	FILE *file = open_under(root, "/proc/self/mountinfo");
	char line[3 * PATH_MAX], type[32], options[1024];
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file)) {
		char *rest = strstr(line, " - ");

		/*
		 * id parent major:minor root point options [optional] - type source
		 * options
		 */
		if (!rest || sscanf(rest, " - %31s %*s %1023s", type, options) != 2 ||
		    sscanf(line, "%*s %*s %*s %4095s %4095s", top, point) != 2)
			continue;
		found = controller ? strcmp(type, "cgroup") == 0 &&
					     listed(options, controller)
				   : strcmp(type, "cgroup2") == 0;
	}
	fclose(file);
	return found;
}

/* From the group's directory up to the mount point, by cutting the path. */
static void climb(const char *root, const char *point, char *group, bool v2,
		  cgroup_fn *fn, void *arg)
{
	for (;;) {
		char path[3 * PATH_MAX], *slash;
		int dir;

		snprintf(path, sizeof(path), "%s%s%s", root, point, group);
		dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (dir >= 0) {
			fn(dir, v2, arg);
			close(dir);
		}
		slash = strrchr(group, '/');
		if (!slash)
			break;
		*slash = '\0';
	}
}

static void walk_one(const char *root, const char *controller, cgroup_fn *fn, void *arg)
{
	char group[PATH_MAX], point[PATH_MAX], top[PATH_MAX], *below = group;
	size_t len;

	if (!own_group(root, controller, group, sizeof(group)) ||
	    !mounted(root, controller, point, top))
		return;
	len = strlen(top);
	if (strcmp(top, "/") == 0)
		len = 0;
	if (strncmp(group, top, len) == 0 && (group[len] == '/' || group[len] == '\0'))
		below = group + len;
	else
		*group =
			'\0'; /* outside what is mounted: its root is the nearest known */
	if (strcmp(below, "/") == 0)
		*below = '\0';
	climb(root, point, below, controller == NULL, fn, arg);
}

void cgroup_walk(const char *root, const char *controller, cgroup_fn *fn, void *arg)
{
	walk_one(root, controller, fn, arg);
	walk_one(root, NULL, fn, arg);
}

static FILE *open_at(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;

	if (fd >= 0 && !file)
		close(fd);
	return file;
}

bool cgroup_number(int dir, const char *name, int n, uint64_t *out)
{
	FILE *file = open_at(dir, name);
	char word[32];
	bool found = false;

	if (!file)
		return false;
	while (fscanf(file, "%31s", word) == 1 && n-- > 0)
		;
	if (n < 0 && *word >= '0' && *word <= '9') {
		*out = strtoull(word, NULL, 10);
		found = true;
	}
	fclose(file);
	return found;
}

static uint64_t keyed(FILE *file, const char *key)
{
	char word[64];
	uint64_t value, found = 0;

	while (fscanf(file, "%63s %" SCNu64 "%*[^\n]", word, &value) == 2)
		if (strcmp(word, key) == 0)
			found = value;
	return found;
}

uint64_t cgroup_keyed(int dir, const char *name, const char *key)
{
	FILE *file = open_at(dir, name);
	uint64_t found = 0;

	if (file) {
		found = keyed(file, key);
		fclose(file);
	}
	return found;
}

static void least_memory(int dir, bool v2, void *arg)
{
	uint64_t *least = arg, limit, used, files, left;

	if (!cgroup_number(dir, v2 ? "memory.max" : "memory.limit_in_bytes", 0, &limit) ||
	    !cgroup_number(dir, v2 ? "memory.current" : "memory.usage_in_bytes", 0,
			   &used) ||
	    limit >= UINT64_MAX / 4)
		return;
	/* Pages of files are given back before anybody is killed. */
	files = cgroup_keyed(dir, "memory.stat",
			     v2 ? "inactive_file" : "total_inactive_file");
	used -= files < used ? files : used;
	left = limit > used ? limit - used : 0;
	if (left < *least)
		*least = left;
}

uint64_t memory_headroom(const char *root)
{
	FILE *file = open_under(root, "/proc/meminfo");
	uint64_t least = UINT64_MAX;

	if (file) {
		uint64_t free_kib = keyed(file, "MemAvailable:");

		rewind(file);
		free_kib += keyed(file, "SwapFree:");
		if (free_kib)
			least = free_kib * 1024;
		fclose(file);
	}
	cgroup_walk(root, "memory", least_memory, &least);
	return least;
}

static void sum_kills(int dir, bool v2, void *arg)
{
	*(uint64_t *)arg += cgroup_keyed(dir, v2 ? "memory.events" : "memory.oom_control",
					 "oom_kill");
}

uint64_t memory_kills(const char *root)
{
	uint64_t kills = 0;

	cgroup_walk(root, "memory", sum_kills, &kills);
	return kills;
}
