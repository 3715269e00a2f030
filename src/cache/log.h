/* SPDX-License-Identifier: MIT */
#ifndef TINE_CACHE_LOG_H
#define TINE_CACHE_LOG_H

#include "cache/handle.h"

uint64_t record_size(const struct record *);
/* The record at a place: a copy; false: there is none, or there cannot be. */
bool record_read(tine_cache *, uint64_t place, struct record *);
const word *record_key(tine_cache *, uint64_t place, const struct record *);
const word *record_value(tine_cache *, uint64_t place, const struct record *);
/* Writes a record at the end of the log, with the lock; there is room (log_room). */
int log_append(tine_cache *, const struct record *, const void *key, const void *val,
	       uint64_t *place);
/*
 * With the lock: makes room for a record and so many bytes beside the log, a part of the
 * work at a time: -EAGAIN: more is to be done; let others have the lock in between.
 * -ENOENT: there is too little room, and no entry that could make more.
 */
int log_room(tine_cache *, uint64_t record, uint64_t beside);
/* With the lock: gives back what is at the tail and dead. */
int log_trim(tine_cache *);
/* With the lock: gives blocks of free segments back: 1: there are more; 0. */
int log_give_back(tine_cache *);
/* Bytes of the disk that the cache uses, or has promised. */
uint64_t cache_bytes(tine_cache *);

void words_load(void *to, const word *from, size_t len);
void words_store(word *to, const void *from, size_t len);
bool words_equal(const word *words, const void *bytes, size_t len);

#endif
