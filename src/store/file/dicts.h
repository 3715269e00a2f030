/* SPDX-License-Identifier: MIT */
/* Dictionaries within a transaction: of the key of the call. */
#ifndef TINE_STORE_DICTS_H
#define TINE_STORE_DICTS_H

#include "store/file/heads.h"

/* For writers: one without fields if there is none. */
int dict_open(struct op *, struct record_head *);
/* -ENOENT */
int dict_get(struct op *, const char *field, MDB_val *data);
int dict_put(struct op *, struct record_head *, const char *field, const void *val,
	     size_t len);
/* -ENOENT; the key, if there is no other field. */
int dict_del(struct op *, struct record_head *, const char *field);

#endif
