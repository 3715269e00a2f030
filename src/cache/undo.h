/* SPDX-License-Identifier: MIT */
#ifndef TINE_CACHE_UNDO_H
#define TINE_CACHE_UNDO_H

#include "cache/handle.h"

/* Changes, with the lock. -EUCLEAN: the index is inconsistent. */
int change_word(tine_cache *, word *, uint64_t to);
/* All since the last are done, and cannot be undone; removes the file that is doomed. */
void commit_changes(tine_cache *);
/* How many changes there have been; 0: one is under way, or the index is not whole. */
uint64_t changes_done(tine_cache *);
/* Also those of a process that died. -EUCLEAN: what was noted is damaged. */
int undo_changes(tine_cache *);

#endif
