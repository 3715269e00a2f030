/* SPDX-License-Identifier: MIT */
#ifndef TINE_CACHE_TURN_H
#define TINE_CACHE_TURN_H

#include "cache/handle.h"

/* How long others are waited for at most, whatever the deadline. */
#define PATIENCE_MS 1000
/* The same, by what can go on without the lock, for the cache is no more than a help. */
#define HELP_MS 500

/*
 * The writer's lock, with what a death had left mended. -ETIMEDOUT: others have it until
 * the deadline, or for PATIENCE_MS. -EUCLEAN, here and below: the index is inconsistent;
 * cache_restart() is all that can be done about it.
 */
int cache_lock(tine_cache *, int64_t deadline);
void cache_unlock(tine_cache *);
/*
 * With the lock: ends a change as it went, and what is left of its error. -EAGAIN: the
 * cache was damaged, and has been begun anew.
 */
int cache_settle(tine_cache *, int err);
/* Without the lock: whether a death or damage has left nothing to mend, as it seems. */
bool cache_is_whole(tine_cache *);
int cache_set_max(tine_cache *, uint64_t max_bytes);
/* With the lock: begins the cache anew, for damage or another reason. */
int cache_restart(tine_cache *, bool damaged);
/* Whether the index was found consistent in this boot. */
bool boot_is_noted(tine_cache *);
/* With the lock: notes that it was. */
void boot_note(tine_cache *);

#endif
