/* SPDX-License-Identifier: MIT */
/*
 * When keys end. A key whose time is over is taken for absent by all who look; each
 * writer deletes a few of them for good. tine.wake says when it is worth while to look
 * for one.
 */
#ifndef TINE_STORE_EXPIRY_H
#define TINE_STORE_EXPIRY_H

#include "store/file/heads.h"

int expiry_forget(struct op *, const char *key, int64_t expires);
int expiry_note(struct op *, int64_t expires);
/* The time that is ms from now; 0: never. */
int64_t expiry_after(int64_t ms);
/* All of the key, of whatever kind it is. */
int expiry_del_key(struct op *, const char *key, const struct record_head *,
		   uint64_t changed);
/* For writers: what is over is gone when this returns -ENOENT. */
int expiry_locate(struct op *, enum record_kind, struct record_head *, MDB_val *rest);
/* Deletes some keys whose time is over. */
int expiry_sweep(struct op *);

#endif
