/* SPDX-License-Identifier: MIT */
#ifndef TINE_CACHE_CALL_H
#define TINE_CACHE_CALL_H

#include "cache/handle.h"

uint64_t task_hash(const char *name);
/*
 * 1: the result is there, and taken; 0: it is not, or it would have to be waited for;
 * -ENOMEM. And the hash of its key.
 */
int cache_take(tine_cache *, const tine_task *, const void *in, void *out, int *status,
	       uint64_t hash[2]);

#endif
