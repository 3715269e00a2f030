/* SPDX-License-Identifier: MIT */
#ifndef TINE_LOCK_H
#define TINE_LOCK_H

#include "base/export.h"

#include <stdatomic.h>

/*
 * The last word of one that was used: its type, and above it its place (base/place.h).
 */
#define LOCK_READY 7
#define LOCK_PLACE 8 /* bits to the left */
enum { LOCK_PLAIN = 1, LOCK_RECURSIVE };

/*
 * The futex of it, as the kernel defines them for robust lists: the thread that holds it,
 * or 0, and FUTEX_WAITERS, and FUTEX_OWNER_DIED.
 */
_Atomic uint32_t *lock_word(tine_lock *);
/* As tine_lock_acquire(), but no signal ends it. */
int lock_steadily(tine_lock *, int64_t deadline);
/*
 * For a lock inside an object, whose holders make no call that blocks: as
 * lock_steadily(), but a deadline that has passed leaves a holder that runs the
 * millisecond it may need. Only after 0 and -EOWNERDEAD is it held.
 */
int lock_inner(tine_lock *, int64_t deadline);
/*
 * The same, for as long as its holders have it at most, if they run: some microseconds.
 */
int lock_inner_soon(tine_lock *);
/* Releases it wholly: how many times this thread held it. */
unsigned lock_let_go(tine_lock *);

#endif
