/* SPDX-License-Identifier: MIT */
/* Lists within a transaction: of the key of the call. */
#ifndef TINE_STORE_LISTS_H
#define TINE_STORE_LISTS_H

#include "store/file/heads.h"

/* Copies the bytes to the call's bag, unless they are too long for the caller. */
int items_bag(struct op *, const MDB_val *data);
/* Moves the first item to the bag: -ENOENT. */
int items_take(struct op *);
/* Puts the call's value at the end, or in front. */
int items_put(struct op *, bool in_front);

#endif
