/* SPDX-License-Identifier: MIT */
#ifndef TINE_CACHE_TURN_H
#define TINE_CACHE_TURN_H

#include "cache/handle.h"

/*
 * The writer's lock, with what a death had left mended. -EUCLEAN, here and below: the
 * index is inconsistent; cache_restart() is all that can be done about it.
 */
int cache_lock(tine_cache *);
void cache_unlock(tine_cache *);
/*
 * With the lock: ends a change as it went, and what is left of its error. -EAGAIN: the
 * cache was damaged, and has been begun anew.
 */
int cache_settle(tine_cache *, int err);
int cache_set_max(tine_cache *, uint64_t max_bytes);
/* With the lock: begins the cache anew, for damage or another reason. */
int cache_restart(tine_cache *, bool damaged);
/* Whether the index was found consistent in this boot. */
bool boot_is_noted(tine_cache *);
/* With the lock: notes that it was. */
void boot_note(tine_cache *);

#endif
