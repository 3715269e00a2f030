/* SPDX-License-Identifier: MIT */
/*
 * Blocks of the family's memory that belong to somebody, so that no death loses one.
 *
 * A block's owner is a number that stands beside the block, not in it: a block of 64 KiB
 * takes 64 KiB. It is one of
 *
 *	a member's id		(member_id() in sync/member.h) when that member has ended,
 *				the block is freed by the next look at the members
 *	OWNED_BY_OBJECT | n	never ends: who made up n hands the block on or frees it
 *	0			nobody: any block of tine_shared_new()
 *
 * A block has its owner from the instruction on by which it is in use, and to hand it on
 * is one compare-and-swap. So who dies in a call has left the block to the one or to the
 * other; and who takes a block over from a dead member, or finds that it cannot, knows
 * whether the family has freed it.
 *
 * Only its owner touches, hands on or frees a block; what it hands over it must have
 * written before. To free it: tine_shared_free(), which waits for nobody.
 */
#ifndef TINE_OWNED_H
#define TINE_OWNED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OWNED_BY_OBJECT (UINT64_C(1) << 62)

/*
 * A block of size bytes, aligned to 64, not zeroed. 0, -ENOMEM or -ETIMEDOUT, as
 * shared_alloc() in memory/heap.h.
 */
int owned_new(void **, size_t size, uint64_t owner, int64_t deadline);
/* Hands it on. False, and nothing is changed: it is not from's. Blocks for nobody. */
bool owned_pass(void *mem, uint64_t from, uint64_t to);
/* Whose it is; 0 too when it is no block in use. */
uint64_t owned_by(const void *mem);

/*
 * Several may own a block of tine_shared_new(), each of them many times: who keeps it, by
 * a member's id. The last to drop it frees it, and tine_shared_free() does not.
 *
 * keep: -EINVAL no block in use begins there; -EPERM it has an owner already; -ENOMEM;
 * -ETIMEDOUT as owned_new(); -EOVERFLOW it keeps it 16,383 times.
 * drop: -EINVAL; -EPERM it does not keep it. Waits for nobody.
 */
int owned_keep(void *mem, uint64_t id, int64_t deadline);
int owned_drop(void *mem, uint64_t id);

/* Called before a member is seen to have ended: something of its may be left. */
void owned_note_death(void);
/*
 * Frees what belongs to members that have ended, if there may be anything, and takes
 * their keeping back. Blocks for nobody: what it cannot do is done by the next.
 */
typedef bool owner_gone_fn(uint64_t id);
void owned_bury(owner_gone_fn *);

#endif
