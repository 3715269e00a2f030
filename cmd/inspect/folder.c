/* SPDX-License-Identifier: MIT */
/*
 * A cache or a store in a folder: the kernel says which processes have its files open,
 * and which bytes of them they have locked. Nothing of the folder is opened.
 */
#include "inspect/look.h"
#include "inspect/process.h"

#include "cache/format.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct at_folder {
	const char *prefix;	  /* its path, with a slash */
	json_t *report, *process; /* NULL: no file was found yet */
	pid_t pid;
};

/* What the first byte of a lock stands for. */
static const char *meaning(const char *file, uint64_t byte)
{
	if (strcmp(file, "tine.wake") == 0)
		return byte ? "presence" : "shape";
	if (strcmp(file, "lock") != 0)
		return "bytes";
	if (byte >= FLIGHT)
		return "result";
	if (byte >= WRITING && byte < WRITING + WRITERS)
		return "large entry";
	return byte == WRITER ? "writer" : "bytes";
}

static json_t *locks_of(const char *path, const char *name)
{
	json_t *all = json_array();
	char info[PATH_MAX], line[512], mode[16], *at;
	unsigned long long first;
	FILE *file;

	snprintf(info, sizeof(info), "%s", path);
	at = strstr(info, "/fd/");
	snprintf(at, sizeof(info) - (size_t)(at - info), "/fdinfo/%s",
		 strrchr(path, '/') + 1);
	file = fopen(info, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "lock: %*s %*s %*s %15s %*s %*s %llu", mode, &first) ==
		    2)
			json_array_append_new(all,
					      json_pack("{s:s, s:b, s:I}", "for",
							meaning(name, first), "shared",
							strcmp(mode, "READ") == 0, "byte",
							(json_int_t)first));
	if (file)
		fclose(file);
	return all;
}

static void add_file(void *arg, const char *path, const struct stat *file)
{
	struct at_folder *look = arg;
	char link[PATH_MAX];
	ssize_t len = readlink(path, link, sizeof(link) - 1);
	const char *name;

	(void)file;
	if (len < (ssize_t)strlen(look->prefix))
		return;
	link[len] = '\0';
	name = link + strlen(look->prefix);
	if (!look->process) {
		struct process_seen seen;

		if (!process_see(look->pid, &seen))
			return;
		look->process = json_pack("{s:I, s:s, s:o}", "pid", (json_int_t)look->pid,
					  "state", process_state(look->pid), "files",
					  json_array());
		json_array_append_new(json_object_get(look->report, "processes"),
				      look->process);
	}
	json_array_append_new(json_object_get(look->process, "files"),
			      json_pack("{s:o, s:o}", "name",
					json_stringn_nocheck(name, strlen(name)), "locks",
					locks_of(path, name)));
}

static void add_user(void *arg, pid_t pid)
{
	struct at_folder *look = arg;

	look->process = NULL;
	look->pid = pid;
	if (pid != getpid())
		process_files(pid, look->prefix, add_file, look);
}

json_t *look_at_folder(const char *path)
{
	struct at_folder look = { 0 };
	char prefix[PATH_MAX + 1];

	if (!realpath(path, prefix))
		return NULL;
	if (strcmp(prefix, "/") != 0)
		strcat(prefix, "/");
	look.prefix = prefix;
	look.report = json_pack("{s:o, s:o}", "folder",
				json_stringn_nocheck(prefix, strlen(prefix) - 1),
				"processes", json_array());
	processes_all(add_user, &look);
	return look.report;
}
