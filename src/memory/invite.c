/* SPDX-License-Identifier: MIT */
/*
 * What a member gives to a program that is to join: the memory's descriptor, and names of
 * objects, which say of which family they are.
 */
#include "memory/family.h"
#include "memory/heap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NAME "%016llx-%llx"

int tine_family_fd(void)
{
	return shared_root() ? family_fd(family_known()) : -ENOMEM;
}

uint64_t tine_family_id(void)
{
	const struct family *family = family_known();

	return family ? family->id : 0;
}

int tine_family_name(char name[TINE_FAMILY_NAME], const void *mem)
{
	if (!name || !mem)
		return -EINVAL;
	if (!shared_in_use(mem))
		return -ENOENT;
	snprintf(name, TINE_FAMILY_NAME, NAME, (unsigned long long)tine_family_id(),
		 (unsigned long long)(uintptr_t)mem);
	return 0;
}

int tine_family_find(void **out, const char *name)
{
	char same[TINE_FAMILY_NAME];
	unsigned long long id, at;

	if (!out || !name || sscanf(name, NAME, &id, &at) != 2)
		return -EINVAL;
	snprintf(same, sizeof(same), NAME, id, at);
	if (strcmp(name, same) != 0)
		return -EINVAL;
	if (id != tine_family_id())
		return -EXDEV;
	if (!shared_in_use((const void *)(uintptr_t)at))
		return -ENOENT;
	*out = (void *)(uintptr_t)at;
	return 0;
}
