/* SPDX-License-Identifier: MIT */
/*
 * The parts of a look. An object is found by what stands at the beginning of a block, and
 * believed if all its numbers and addresses can be true.
 */
#ifndef TINE_INSPECT_PARTS_H
#define TINE_INSPECT_PARTS_H

#include "inspect/found.h"

/* Whether the block is one; then it is in the report. */
bool look_queue(struct look *, const char *at, size_t size);
bool look_pool(struct look *, const char *at, size_t size);
/* What the word at that offset is for; whether it is a lock. */
const char *queue_word(size_t offset, bool *lock);
const char *pool_word(size_t offset, bool *lock);
/* The locks in so many bytes that somebody has; of what they are. */
void look_locks(struct look *, const char *at, size_t size, const char *of);
/* What the member holds. */
void look_holds(struct look *, unsigned index);
/* Who holds something of the object that the word is in; false: nobody is known to. */
bool look_holders(const struct look *, const char *word, json_t *wait);
/* The same of a mutex, or of a lock that a writer has: who, of what, and where it is. */
bool look_owner(const struct look *, const char *word, json_t *wait);

#endif
