/* SPDX-License-Identifier: MIT */
/*
 * A cache or a store in a folder: the kernel says which processes have its files open,
 * which bytes of them they have locked, and which bytes or words of them their threads
 * wait for. Nothing of the folder is opened: what stands in a word is read where the
 * process that waits has it.
 */
#include "inspect/look.h"

#include "inspect/describe.h"
#include "inspect/grow.h"
#include "inspect/process.h"

#include "cache/format.h"
#include "store/file/shared.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAKE "tine.wake"

/* A lock that the kernel keeps. */
struct byte_lock {
	pid_t pid;
	int fd;
	dev_t device;
	ino_t inode;
	uint64_t first, last;
	bool shared;
};

/* A file of the folder as a process has it mapped. */
struct mapped {
	struct mapped *next;
	struct mapping mapping;
};

struct at_folder {
	const char *prefix;		   /* its path, with a slash */
	json_t *processes, *locks, *waits; /* of the report */
	json_t *process;		   /* NULL: no file of it was found yet */
	pid_t pid;			   /* which it is */
	struct mapped *mapped;		   /* its */
	struct byte_lock *byte_locks;
	size_t n, room;
	struct asleep asleep;
};

/* What the first byte of a lock stands for. */
static const char *meaning(const char *file, uint64_t byte)
{
	if (strcmp(file, WAKE) == 0)
		return byte == PRESENCE ? "presence" : "shape";
	/* LMDB's: each process that reads has the byte of its number. */
	if (strcmp(file, "lock.mdb") == 0)
		return byte == 0 ? "presence" : "reader";
	if (strcmp(file, "lock") != 0)
		return "bytes";
	if (byte >= FLIGHT)
		return "result";
	if (byte >= WRITING && byte < WRITING + WRITERS)
		return "large entry";
	return byte == WRITER ? "writer" : "bytes";
}

/* ---- which processes, and what they have locked ------------------------------------ */

static void keep_lock(struct at_folder *look, const struct byte_lock *lock)
{
	struct byte_lock *all = grow(look->byte_locks, look->n, &look->room,
				     sizeof(*all));

	if (!all)
		return;
	look->byte_locks = all;
	all[look->n++] = *lock;
}

/* As in "1: OFDLCK ADVISORY  WRITE -1 00:2f:1234 0 EOF". */
static bool read_lock(const char *line, struct byte_lock *lock)
{
	char mode[16], last[24];

	if (sscanf(line, "lock: %*s %*s %*s %15s %*s %*s %" SCNu64 " %23s", mode,
		   &lock->first, last) != 3)
		return false;
	lock->shared = strcmp(mode, "READ") == 0;
	lock->last = strcmp(last, "EOF") == 0 ? UINT64_MAX : strtoull(last, NULL, 10);
	return true;
}

static json_t *locks_of(struct at_folder *look, const struct open_file *file,
			const char *name)
{
	struct byte_lock lock = { .pid = look->pid,
				  .fd = file->fd,
				  .device = file->stat.st_dev,
				  .inode = file->stat.st_ino };
	json_t *all = json_array();
	char path[64], line[512];
	FILE *info;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", look->pid, file->fd);
	info = fopen(path, "re");
	while (info && fgets(line, sizeof(line), info)) {
		if (!read_lock(line, &lock))
			continue;
		keep_lock(look, &lock);
		json_array_append_new(all, json_pack("{s:s, s:b, s:I}", "for",
						     meaning(name, lock.first), "shared",
						     (int)lock.shared, "byte",
						     (json_int_t)lock.first));
	}
	if (info)
		fclose(info);
	return all;
}

static void add_file(void *arg, const struct open_file *file)
{
	struct at_folder *look = arg;
	const char *name = file->path + strlen(look->prefix);

	if (!look->process) {
		look->process = describe_process(&look->asleep, look->pid);
		if (!look->process)
			return;
		json_object_set_new(look->process, "files", json_array());
		json_array_append_new(look->processes, look->process);
	}
	json_array_append_new(json_object_get(look->process, "files"),
			      json_pack("{s:o, s:o}", "name", printable(name), "locks",
					locks_of(look, file, name)));
}

static void add_user(void *arg, pid_t pid)
{
	struct at_folder *look = arg;

	look->process = NULL;
	look->pid = pid;
	if (pid != getpid())
		process_files(pid, look->prefix, add_file, look);
}

/* ---- words in files ---------------------------------------------------------------- */

static void keep_mapping(void *arg, const struct mapping *mapping)
{
	struct at_folder *look = arg;
	struct mapped *mapped = malloc(sizeof(*mapped));

	if (!mapped)
		return;
	*mapped = (struct mapped){ look->mapped, *mapping };
	look->mapped = mapped;
}

static void forget_mappings(struct at_folder *look)
{
	while (look->mapped) {
		struct mapped *next = look->mapped->next;

		free(look->mapped);
		look->mapped = next;
	}
}

/* What a word is for; whether it is a lock's, and so has the number of a thread. */
static const char *word_meaning(const char *file, uint64_t offset, bool *lock)
{
	const uint64_t words = offsetof(struct folder_shared, words);

	/* LMDB's own are the C library's, as ours are. */
	*lock = strcmp(file, "lock.mdb") == 0;
	if (*lock)
		return "a lock of LMDB";
	if (strcmp(file, WAKE) != 0)
		return "a word";
	*lock = true;
	if (offset == offsetof(struct folder_shared, writing))
		return "writing";
	if (offset == offsetof(struct folder_shared, reading))
		return "reading";
	*lock = false;
	if (offset == offsetof(struct folder_shared, several))
		return "a change of one of several keys";
	if (offset >= words && offset < words + WAKE_WORDS * sizeof(uint32_t))
		return "a change of a key";
	return "a word";
}

/* Those that nobody has, nor died with, are not worth a line. */
static void add_word_lock(struct at_folder *look, const struct mapped *wake,
			  uint64_t offset)
{
	uintptr_t at = wake->mapping.from + (uintptr_t)offset;
	json_t *object;
	uint32_t value;
	bool lock;

	if (at + sizeof(value) > wake->mapping.to ||
	    !process_read(look->pid, (const void *)at, &value, sizeof(value)) || !value)
		return;
	object = json_pack("{s:s, s:s, s:I}", "for", word_meaning(WAKE, offset, &lock),
			   "file", WAKE, "offset", (json_int_t)offset);
	describe_holder(object, value);
	json_array_append_new(look->locks, object);
}

/* Any process of a store can tell; false: this one has not mapped it. */
static bool add_word_locks(struct at_folder *look)
{
	for (const struct mapped *at = look->mapped; at; at = at->next)
		if (strcmp(at->mapping.name, WAKE) == 0 && at->mapping.offset == 0) {
			add_word_lock(look, at, offsetof(struct folder_shared, writing));
			add_word_lock(look, at, offsetof(struct folder_shared, reading));
			return true;
		}
	return false;
}

/* ---- who waits for what ------------------------------------------------------------ */

static void add_word_wait(struct at_folder *look, const struct sleep *sleep)
{
	const struct mapped *at = look->mapped;
	uintptr_t address = (uintptr_t)sleep->word;
	uint64_t offset;
	const char *what;
	uint32_t value;
	json_t *wait;
	bool lock;

	while (at && (address < at->mapping.from || address >= at->mapping.to))
		at = at->next;
	if (!at)
		return;
	offset = address - at->mapping.from + at->mapping.offset;
	what = word_meaning(at->mapping.name, offset, &lock);
	wait = json_pack("{s:s, s:o, s:I}", "for", what, "file",
			 printable(at->mapping.name), "offset", (json_int_t)offset);
	if (lock && process_is_of_here(look->pid) &&
	    process_read(look->pid, sleep->word, &value, sizeof(value)))
		name_locker(wait, value);
	add_wait(look->waits, &look->asleep, wait, look->pid, sleep);
}

/* Whether the lock is in the way of who wants that; its own becomes what it wants. */
static bool is_in_the_way(const struct at_folder *look, const struct byte_lock *lock,
			  const struct byte_lock *wanted)
{
	return lock->device == wanted->device && lock->inode == wanted->inode &&
	       lock->first <= wanted->last && lock->last >= wanted->first &&
	       !(lock->shared && wanted->shared) &&
	       !(lock->pid == look->pid && lock->fd == wanted->fd);
}

/* One that has it alone, or each that shares it. */
static void name_byte_holders(const struct at_folder *look, json_t *wait,
			      const struct byte_lock *wanted)
{
	json_t *all = json_array();
	pid_t last = 0;

	/* Of two descriptors of a process each may have the process's lock. */
	for (size_t i = 0; i < look->n; i++)
		if (is_in_the_way(look, &look->byte_locks[i], wanted) &&
		    look->byte_locks[i].pid != last) {
			last = look->byte_locks[i].pid;
			json_array_append_new(all, json_integer(last));
		}
	if (json_array_size(all) == 1)
		name_holder(wait, (pid_t)json_integer_value(json_array_get(all, 0)));
	else if (json_array_size(all) > 1)
		json_object_set(wait, "holders", all);
	json_decref(all);
}

static void add_byte_wait(struct at_folder *look, const struct sleep *sleep)
{
	const struct flock *lock = &sleep->lock;
	struct byte_lock wanted = { .fd = sleep->fd,
				    .first = (uint64_t)lock->l_start,
				    .last = (uint64_t)lock->l_start +
					    (uint64_t)lock->l_len - 1,
				    .shared = lock->l_type == F_RDLCK };
	struct open_file file;
	const char *name;
	json_t *wait;

	if (lock->l_len == 0)
		wanted.last = UINT64_MAX;
	if (!process_file(look->pid, sleep->fd, look->prefix, &file))
		return;
	wanted.device = file.stat.st_dev;
	wanted.inode = file.stat.st_ino;
	name = file.path + strlen(look->prefix);
	wait = json_pack("{s:s, s:o, s:I, s:b}", "for", meaning(name, wanted.first),
			 "file", printable(name), "byte", (json_int_t)wanted.first,
			 "shared", (int)wanted.shared);
	name_byte_holders(look, wait, &wanted);
	add_wait(look->waits, &look->asleep, wait, look->pid, sleep);
}

static void note_folder_sleep(void *arg, const struct sleep *sleep)
{
	if (sleep->word)
		add_word_wait(arg, sleep);
	else
		add_byte_wait(arg, sleep);
}

static void add_folder_waits(struct at_folder *look)
{
	bool locks_known = false, untold = false;
	json_t *each;
	size_t i;

	for (i = 0; (each = json_array_get(look->processes, i)); i++) {
		look->pid = (pid_t)json_integer_value(json_object_get(each, "pid"));
		process_maps(look->pid, look->prefix, keep_mapping, look);
		if (!locks_known && process_is_of_here(look->pid))
			locks_known = add_word_locks(look);
		if (!process_sleeps(look->pid, note_folder_sleep, look) &&
		    strcmp(process_state(look->pid), "ended") != 0)
			untold = true;
		forget_mappings(look);
	}
	if (untold && json_array_size(look->waits) == 0) {
		json_decref(look->waits);
		look->waits = json_null();
	}
}

json_t *look_at_folder(const char *path)
{
	struct at_folder look = { .processes = json_array(),
				  .locks = json_array(),
				  .waits = json_array() };
	char prefix[PATH_MAX + 1];
	json_t *folder;

	if (!realpath(path, prefix))
		return NULL;
	folder = printable(prefix);
	if (strcmp(prefix, "/") != 0)
		strcat(prefix, "/");
	look.prefix = prefix;
	processes_all(add_user, &look);
	add_folder_waits(&look);
	asleep_tell(&look.asleep);
	free(look.byte_locks);
	return json_pack("{s:o, s:o, s:o, s:o}", "folder", folder, "processes",
			 look.processes, "locks", look.locks, "waits", look.waits);
}
