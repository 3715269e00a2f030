/* SPDX-License-Identifier: MIT */
#ifndef TINE_CACHE_CALL_H
#define TINE_CACHE_CALL_H

#include "cache/handle.h"

/*
 * The bytes, with the zero, of what tells a task from all others but for its version: its
 * name, or the program, the source file and the name. 0: no memory.
 */
size_t identity_size(const tine_task *);
void identity_write(char *to, const tine_task *);
uint64_t task_hash(const char *identity);
/* Bytes of the input that are a part of the key. */
size_t task_key_size(const tine_task *);
/*
 * 1: the result is there, and taken; 0: it is not, or it would have to be waited for;
 * -ENOMEM. And the hash of its key.
 */
int cache_take(tine_cache *, const tine_task *, const void *in, void *out, int *status,
	       uint64_t hash[2]);

#endif
