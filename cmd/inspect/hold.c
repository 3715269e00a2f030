/* SPDX-License-Identifier: MIT */
/* What members hold of semaphores and of locks to read: the values of their ties. */
#include "inspect/parts.h"

#include "inspect/process.h"
#include "sync/member.h"

#include <stdlib.h>
#include <string.h>

#define MOST_PIECES 64		  /* of a member's ties */
#define OBJECT	    UINT64_C(128) /* bytes that an object has at most, behind its bond */

static void list_ties(struct look *look, pid_t pid, const struct ties *ties)
{
	for (int i = 0; i < TIES; i++) {
		const struct tie *tie = &ties->tie[i];
		member_bond *bond = atomic_load(&tie->bond);
		uint32_t count = atomic_load(&tie->value);
		uint64_t now;

		/* Of an object that is gone the bond's number has become another. */
		if (!bond || !count ||
		    !memory_read(look->memory, bond, &now, sizeof(now)) ||
		    now >> 24 != atomic_load(&tie->number))
			continue;
		json_array_append_new(look->holds, json_pack("{s:I, s:s, s:o, s:I}",
							     "pid", (json_int_t)pid,
							     "state", process_state(pid),
							     "object", address_of(bond),
							     "count", (json_int_t)count));
	}
}

void look_holds(struct look *look, unsigned index)
{
	struct member member;
	const struct ties *more;
	struct ties ties;
	pid_t pid;

	if (!look_read_member(look, index, &member) || atomic_load(&member.life) % 2 == 0)
		return;
	pid = atomic_load(&member.pid);
	list_ties(look, pid, &member.ties);
	more = atomic_load(&member.ties.more);
	for (int i = 0; more && i < MOST_PIECES; i++) {
		if (!memory_read(look->memory, more, &ties, sizeof(ties)))
			return;
		list_ties(look, pid, &ties);
		more = atomic_load(&ties.more);
	}
}

/* Whoever sleeps does so on a word that follows the bond. */
bool look_holders(const struct look *look, const char *word, json_t *wait)
{
	json_t *all = json_array(), *each;

	for (size_t i = 0; (each = json_array_get(look->holds, i)); i++) {
		uintptr_t bond = strtoull(
			json_string_value(json_object_get(each, "object")), NULL, 16);

		if ((uintptr_t)word - bond < OBJECT)
			json_array_append(all, json_object_get(each, "pid"));
	}
	if (json_array_size(all) == 0) {
		json_decref(all);
		return false;
	}
	json_object_set_new(wait, "holders", all);
	return true;
}
