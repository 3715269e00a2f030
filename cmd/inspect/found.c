/* SPDX-License-Identifier: MIT */
#include "inspect/found.h"

#include "inspect/describe.h"
#include "inspect/grow.h"
#include "sync/member.h"

#include <inttypes.h>
#include <stddef.h>

json_t *address_of(const void *at)
{
	return json_sprintf("0x%" PRIxPTR, (uintptr_t)at);
}

void look_note(struct look *look, const char *at, size_t size, int kind, json_t *object)
{
	struct known *known = grow(look->known, look->n, &look->room, sizeof(*known));

	if (!known)
		return;
	look->known = known;
	known[look->n++] = (struct known){ at, size, kind, object };
}

const struct known *look_find(const struct look *look, const char *word)
{
	for (size_t i = 0; i < look->n; i++)
		if (word >= look->known[i].at &&
		    word < look->known[i].at + look->known[i].size)
			return &look->known[i];
	return NULL;
}

/* ---- processes --------------------------------------------------------------------- */

void look_add_process(struct look *look, pid_t pid)
{
	size_t i;
	json_t *each;

	json_array_foreach(look->processes, i,
			   each) if (json_integer_value(json_object_get(each, "pid")) ==
				     pid) return;
	each = describe_process(&look->asleep, pid);
	if (each)
		json_array_append_new(look->processes, each);
}

/* NULL: it was not made yet. */
static const void *group_of_members(const struct look *look, unsigned index)
{
	const void *group = NULL;

	if (!look->members || index >= MEMBERS ||
	    !memory_read(
		    look->memory,
		    part_of(look->members, offsetof(struct members, group) +
						   index / MEMBER_GROUP * sizeof(group)),
		    &group, sizeof(group)))
		return NULL;
	return group;
}

bool look_read_member(const struct look *look, unsigned index, struct member *member)
{
	const void *group = group_of_members(look, index);

	return group &&
	       memory_read(look->memory,
			   part_of(group, index % MEMBER_GROUP * sizeof(*member)), member,
			   sizeof(*member));
}

pid_t look_member(const struct look *look, unsigned index)
{
	struct member member;

	return look_read_member(look, index, &member) && atomic_load(&member.life) % 2
		       ? atomic_load(&member.pid)
		       : 0;
}

bool look_is_of_members(const struct look *look, const char *word)
{
	if (word == part_of(look->members, offsetof(struct members, buried)))
		return true;
	for (unsigned i = 0; i < MEMBERS; i += MEMBER_GROUP) {
		const char *group = group_of_members(look, i);

		if (!group)
			return false;
		if ((uintptr_t)word - (uintptr_t)group <
		    MEMBER_GROUP * sizeof(struct member))
			return true;
	}
	return false;
}
