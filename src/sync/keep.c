/* SPDX-License-Identifier: MIT */
/* Blocks that several processes keep, by their ids as members. */
#include "memory/heap.h"
#include "memory/owned.h"
#include "sync/member.h"

#include <errno.h>

int tine_shared_keep(void *mem)
{
	uint64_t id;

	if (!mem)
		return -EINVAL;
	id = member_id();
	return id ? owned_keep(mem, id, shared_patience()) : -ENOMEM;
}

int tine_shared_drop(void *mem)
{
	uint64_t id;

	if (!mem)
		return -EINVAL;
	/* Who is no member keeps nothing. */
	id = atomic_load(&member_own_id);
	return id ? owned_drop(mem, id) : -EPERM;
}
