/* SPDX-License-Identifier: MIT */
#include "inspect/describe.h"

#include "inspect/process.h"

#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>

/* Those of ASCII, and behind 0xc2, in UTF-8, those of 8 bits. */
static bool is_control(const unsigned char *at)
{
	return *at < 0x20 || *at == 0x7f ||
	       (*at == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0);
}

json_t *printable(const char *name)
{
	char *copy = strdup(name);
	json_t *text;

	if (!copy)
		return NULL;
	for (unsigned char *at = (unsigned char *)copy; *at; at++)
		if (is_control(at)) {
			if (*at == 0xc2)
				*at++ = '?';
			*at = '?';
		}
	text = json_string(copy);
	if (!text) {
		for (unsigned char *at = (unsigned char *)copy; *at; at++)
			if (*at > 0x7e)
				*at = '?';
		text = json_string(copy);
	}
	free(copy);
	return text;
}

json_t *describe_process(struct asleep *asleep, pid_t pid)
{
	struct process_seen seen;
	const char *state;
	json_t *process;

	if (!process_see(pid, &seen))
		return NULL;
	state = process_state(pid);
	process = json_pack("{s:I, s:I, s:o, s:s, s:I}", "pid", (json_int_t)pid, "parent",
			    (json_int_t)seen.parent, "name", printable(seen.name),
			    "state", state, "threads", (json_int_t)seen.threads);
	/* All threads run once more when they are stopped. */
	if (strcmp(state, "stopped") == 0)
		asleep_note(asleep, pid, pid, process, "stopped_ms");
	return process;
}

pid_t describe_holder(json_t *lock, uint32_t word)
{
	pid_t thread = (pid_t)(word & FUTEX_TID_MASK);
	pid_t pid = thread ? process_of_thread(thread) : 0;

	json_object_set_new(lock, "waited_for", json_boolean(word & FUTEX_WAITERS));
	json_object_set_new(lock, "holder_died",
			    json_boolean((word & FUTEX_OWNER_DIED) || (thread && !pid)));
	if (thread) {
		json_object_set_new(lock, "holder", json_integer(pid));
		json_object_set_new(lock, "thread", json_integer(thread));
		json_object_set_new(lock, "state", json_string(process_state(pid)));
	}
	return pid;
}

void name_holder(json_t *wait, pid_t pid)
{
	json_object_set_new(wait, "holder", json_integer(pid));
	json_object_set_new(wait, "holder_state", json_string(process_state(pid)));
}

void name_locker(json_t *wait, uint32_t word)
{
	if (word & FUTEX_TID_MASK)
		name_holder(wait, process_of_thread((pid_t)(word & FUTEX_TID_MASK)));
}

void add_wait(json_t *waits, struct asleep *asleep, json_t *wait, pid_t pid,
	      const struct sleep *sleep)
{
	json_object_set_new(wait, "pid", json_integer(pid));
	json_object_set_new(wait, "thread", json_integer(sleep->thread));
	json_object_set_new(wait, "timed", json_boolean(sleep->timed));
	json_array_append(waits, wait);
	asleep_note(asleep, pid, sleep->thread, wait, "asleep_ms");
	json_decref(wait);
}
