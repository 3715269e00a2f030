/* SPDX-License-Identifier: MIT */
/*
 * When an absent key was last there. A head has the number of the transaction that last
 * changed the key. An absent key has no head: its version is that of the snapshot in
 * which it was seen to be absent, and it has changed since if it is there, or was deleted
 * in a later transaction. For that each bucket of keys remembers its last deletions, and
 * of those before them the latest. So no change is missed; one that was none is told only
 * to who saw the key absent, and looks again after DEATHS others of its bucket were
 * deleted.
 */
#ifndef TINE_STORE_VERSIONS_H
#define TINE_STORE_VERSIONS_H

#include "store/file/op.h"

/* The key was deleted, after it had last changed in that transaction, or by it. */
int deaths_note(struct op *, const char *key, uint64_t changed);
/* The last transaction in which a key that is absent may have changed. */
int deaths_last(struct op *, const char *key, uint64_t *changed);

#endif
