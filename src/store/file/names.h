/* SPDX-License-Identifier: MIT */
/*
 * What the records of a folder are called. One table, ordered by the bytes of its names:
 *
 *	KEY 0			a head; after it the bytes, if it is of a value
 *	KEY 0 NUMBER		an item of a list, 8 bytes, the first byte highest
 *	KEY 0 FIELD		the value of a dictionary's field
 *	0 'e' TIME KEY		when KEY ends: milliseconds since 1970, 8 bytes as above
 *	0 'd' BUCKET		keys of this bucket that were deleted
 *	0 "tine store"		the mark of folder.c
 */
#ifndef TINE_STORE_NAMES_H
#define TINE_STORE_NAMES_H

#include "base/export.h"
#include "store/file/lmdb.h"

struct record_name {
	size_t len;
	char bytes[2 * TINE_STORE_KEY_MAX + 1];
};

MDB_val val_of(const void *mem, size_t len);
/* The string with its NUL. */
MDB_val name_of_head(const char *key);
MDB_val name_of_item(struct record_name *, const char *key, uint64_t number);
MDB_val name_of_field(struct record_name *, const char *key, const char *field);
MDB_val name_of_end(struct record_name *, int64_t expires, const char *key);
MDB_val name_of_deaths(struct record_name *, unsigned bucket);
uint64_t get_be(const char *from);
bool begins_with(const MDB_val *name, const MDB_val *prefix);

uint64_t hash_of_key(const char *key);
/* Which of WAKE_WORDS. */
unsigned bucket_of_hash(uint64_t hash);

#endif
