/* SPDX-License-Identifier: MIT */
/* Blocks that several processes keep, by their ids as members. */
#include "memory/heap.h"
#include "memory/owned.h"
#include "sync/member.h"

#include <errno.h>

int tine_shared_keep(void *mem)
{
	int64_t deadline = shared_patience();
	struct member *self;
	int err;

	if (!mem)
		return -EINVAL;
	err = member_join(&self, deadline);
	return err ? err : owned_keep(mem, member_id(), deadline);
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
