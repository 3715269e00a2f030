/* SPDX-License-Identifier: MIT */
#include "inspect/look.h"

#include "inspect/describe.h"
#include "inspect/parts.h"
#include "inspect/process.h"
#include "sync/member.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <tine.h>
#include <unistd.h>

/* ---- processes --------------------------------------------------------------------- */

struct joined {
	struct look *look;
	pid_t pid;
	bool found;
};

static void match_file(void *arg, const struct open_file *file)
{
	struct joined *joined = arg;

	if (file->stat.st_dev == joined->look->memory->device &&
	    file->stat.st_ino == joined->look->memory->inode)
		joined->found = true;
}

/* Whoever has the descriptor. */
static void add_if_of_family(void *arg, pid_t pid)
{
	struct joined joined = { .look = arg, .pid = pid };

	if (pid != getpid())
		process_files(pid, MEMORY_LINK, match_file, &joined);
	if (joined.found)
		look_add_process(arg, pid);
}

/* Those that have closed the descriptor are members perhaps. */
static void add_members(struct look *look)
{
	uint32_t high = 0;

	if (look->members &&
	    !memory_read(look->memory,
			 part_of(look->members, offsetof(struct members, high)), &high,
			 sizeof(high)))
		return;
	for (unsigned i = 0; i < high && i < MEMBERS; i++) {
		pid_t pid = look_member(look, i);

		if (pid > 0)
			look_add_process(look, pid);
		look_holds(look, i);
	}
}

/* ---- objects ----------------------------------------------------------------------- */

static void add_object(void *arg, const char *at, size_t size)
{
	struct look *look = arg;

	if (!look_queue(look, at, size) && !look_pool(look, at, size) &&
	    !(size >= MEMBER_GROUP * sizeof(struct member) && look->members &&
	      size <= 2 * MEMBER_GROUP * sizeof(struct member)))
		look_locks(look, at, size, "program");
}

/* ---- who waits for what ------------------------------------------------------------ */

/* What somebody waits for who sleeps on a word. */
static void look_word_wait(struct look *look, pid_t pid, const struct sleep *sleep)
{
	const struct known *known = look_find(look, sleep->word);
	const char *what = "a word of the family's memory";
	const void *object = sleep->word;
	bool lock = false;
	uint32_t value;
	json_t *wait;

	if (!memory_read(look->memory, sleep->word, &value, sizeof(value)))
		return;
	if (known)
		object = known->at;
	if (known && known->kind == A_QUEUE) {
		what = queue_word((size_t)(sleep->word - known->at), &lock);
	} else if (known && known->kind == A_POOL) {
		what = pool_word((size_t)(sleep->word - known->at), &lock);
	} else if (known) {
		what = "a lock";
		lock = true;
	}
	wait = json_pack("{s:s, s:o}", "for", what, "object", address_of(object));
	if (lock)
		name_locker(wait, value);
	else if (!known && !look_owner(look, sleep->word, wait) &&
		 look_holders(look, sleep->word, wait))
		json_object_set_new(wait, "for",
				    json_string("a permit, or a lock to read or write"));
	add_wait(look->waits, &look->asleep, wait, pid, sleep);
}

/* A lock on a file, of which a look at its folder says more. */
static void look_file_wait(struct look *look, pid_t pid, const struct sleep *sleep)
{
	struct open_file file;

	if (!process_file(pid, sleep->fd, "/", &file))
		return;
	add_wait(look->waits, &look->asleep,
		 json_pack("{s:s, s:o, s:I, s:b}", "for", "a file", "file",
			   printable(file.path), "byte", (json_int_t)sleep->lock.l_start,
			   "shared", (int)(sleep->lock.l_type == F_RDLCK)),
		 pid, sleep);
}

struct sleeper {
	struct look *look;
	pid_t pid;
};

static void note_sleep(void *arg, const struct sleep *sleep)
{
	struct sleeper *sleeper = arg;

	if (!sleep->word)
		look_file_wait(sleeper->look, sleeper->pid, sleep);
	else if (!look_is_of_members(sleeper->look, sleep->word))
		look_word_wait(sleeper->look, sleeper->pid, sleep);
}

static void add_waits(struct look *look)
{
	json_t *each;
	size_t i;

	for (i = 0; (each = json_array_get(look->processes, i)); i++) {
		struct sleeper sleeper = { look, (pid_t)json_integer_value(
							 json_object_get(each, "pid")) };

		if (!process_sleeps(sleeper.pid, note_sleep, &sleeper) &&
		    strcmp(process_state(sleeper.pid), "ended") != 0)
			look->untold = true;
	}
}

json_t *look_at_memory(const struct memory *memory, pid_t asked)
{
	struct look look = { .memory = memory,
			     .processes = json_array(),
			     .pools = json_array(),
			     .queues = json_array(),
			     .locks = json_array(),
			     .holds = json_array(),
			     .waits = json_array(),
			     .members = memory->members };
	bool whole;
	json_t *report;

	look_add_process(&look, asked);
	add_members(&look);
	processes_all(add_if_of_family, &look);
	whole = memory_blocks(memory, add_object, &look);
	look_locks(&look, memory->lock, sizeof(tine_lock), "memory");
	add_waits(&look);
	asleep_tell(&look.asleep);
	if (look.untold && json_array_size(look.waits) == 0) {
		json_decref(look.waits);
		look.waits = json_null();
	}
	report = json_pack("{s:o, s:I, s:I, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "family",
			   json_sprintf("%016" PRIx64, memory->head.id), "reserved_bytes",
			   (json_int_t)memory->head.span, "used_bytes",
			   (json_int_t)memory->used, "whole", whole, "processes",
			   look.processes, "pools", look.pools, "queues", look.queues,
			   "locks", look.locks, "holds", look.holds, "waits", look.waits);
	free(look.known);
	return report;
}
