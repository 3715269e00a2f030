/* SPDX-License-Identifier: MIT */
/*
 * Who owns blocks. See owned.h; the heap's own protocol is at the head of heap.c.
 *
 * A block that several keep has as its owner the first of a chain of small blocks, in
 * which a word for each keeper has its id and how many times it keeps the block. These
 * words are the truth. They change under the heap's lock; but what a keeper takes back it
 * takes from its own word, so that it can without, beside a process that is stopped.
 *
 *	dies before the word is set	it keeps nothing; the link of a chain that was to
 *					be is its own, and freed with it
 *	between a link and its owner	the look at what the dead owned finds the chain
 *					first, and makes its links the chain's
 *	after the last word is cleared	the same look frees a block with no keeper left
 *	while a block with its chain	the links are nobody's before the block is free:
 *	is freed			the look frees what is nobody's
 *
 * The look is owned_bury(): whoever notes a death counts it first (owned_note_death()),
 * and any member does the rest when it next comes by. They are settled when all has been
 * looked at: who is killed before leaves it to the next.
 */
#include "memory/owned.h"

#include "base/futex.h"
#include "memory/heap.h"
#include "memory/inside.h"

#include <errno.h>

#define KEEPERS	  7
#define ID_BITS	  50
#define ID	  ((UINT64_C(1) << ID_BITS) - 1)
#define ONCE	  (UINT64_C(1) << ID_BITS)
#define OF_CHAINS OWNED_BY_OBJECT /* of no object: no bond has the number 0 */

struct link {
	_Atomic(struct link *) next;
	_Atomic uint64_t keeper[KEEPERS]; /* 0: free; else an id, below a count */
};

/* ---- one owner --------------------------------------------------------------------- */

bool owned_pass(void *mem, uint64_t from, uint64_t to)
{
	struct heap *heap = heap_known();
	struct block block;
	uint32_t word;

	if (!heap || !heap_find(heap, mem, &block) || !block.owner ||
	    !atomic_compare_exchange_strong(block.owner, &from, to))
		return false;
	/* Most likely it is the one who takes it that calls, and will look at it. */
	word = atomic_load(&heap->table[block.unit].word);
	if (kind_of(word) == LARGE)
		spans_meet(heap, block.unit, len_of(word));
	return true;
}

uint64_t owned_by(const void *mem)
{
	struct heap *heap = heap_known();
	struct block block;

	return heap && heap_find(heap, mem, &block) && block.owner
		       ? atomic_load(block.owner)
		       : 0;
}

/* ---- several: with the lock held, unless it says otherwise ------------------------- */

static struct link *chain_of(uint64_t owner)
{
	return (struct link *)(uintptr_t)(owner & ~OWNED_BY_SEVERAL);
}

/* The keeper's word in the chain; with id 0, a free one. NULL: none. Without the lock. */
static _Atomic uint64_t *find_keeper(struct link *link, uint64_t id)
{
	for (; link; link = atomic_load(&link->next))
		for (int i = 0; i < KEEPERS; i++)
			if ((atomic_load(&link->keeper[i]) & ID) == id)
				return &link->keeper[i];
	return NULL;
}

static bool is_kept(struct link *link)
{
	for (; link; link = atomic_load(&link->next))
		for (int i = 0; i < KEEPERS; i++)
			if (atomic_load(&link->keeper[i]))
				return true;
	return false;
}

static void set_owner(struct heap *heap, void *mem, uint64_t owner)
{
	struct block block;

	if (heap_find(heap, mem, &block) && block.owner)
		atomic_store(block.owner, owner);
}

static void own_links(struct heap *heap, struct link *link, uint64_t owner)
{
	for (; link; link = atomic_load(&link->next))
		set_owner(heap, link, owner);
}

static void release_with_chain(struct heap *heap, const struct block *block)
{
	struct link *link = chain_of(atomic_load(block->owner)), *next;
	struct block at;

	own_links(heap, link, OWNED_BY_NOBODY);
	heap_release(heap, block);
	for (; link; link = next) {
		next = atomic_load(&link->next);
		if (heap_find(heap, link, &at))
			heap_release(heap, &at);
	}
}

/* A link with one keeper, hung in where nothing is yet; it is the keeper's until then. */
static int add_link(struct heap *heap, _Atomic uint64_t *owner,
		    _Atomic(struct link *) *next, uint64_t id)
{
	struct link *link = heap_take_small(heap, sizeof(*link), id);

	if (!link)
		return -ENOMEM;
	atomic_store(&link->next, NULL);
	atomic_store(&link->keeper[0], id + ONCE);
	for (int i = 1; i < KEEPERS; i++)
		atomic_store(&link->keeper[i], 0);
	if (next)
		atomic_store(next, link);
	else
		atomic_store(owner, OWNED_BY_SEVERAL | (uintptr_t)link);
	set_owner(heap, link, OF_CHAINS);
	return 0;
}

/* Of one's own word; other threads of the process may change it too. */
static int keep_again(_Atomic uint64_t *word, uint64_t id)
{
	uint64_t seen = atomic_load(word);

	do {
		if ((seen & ID) != id)
			return -EAGAIN;
		if (seen > UINT64_MAX - ONCE)
			return -EOVERFLOW;
	} while (!atomic_compare_exchange_weak(word, &seen, seen + ONCE));
	return 0;
}

static int keep_locked(struct heap *heap, void *mem, uint64_t id)
{
	_Atomic(struct link *) *end;
	_Atomic uint64_t *word;
	struct link *chain;
	struct block block;
	uint64_t owner;
	int err;

	if (!heap_find(heap, mem, &block))
		return -EINVAL;
	if (!block.owner &&
	    (heap_add_owners(heap, block.unit) != 0 || !heap_find(heap, mem, &block)))
		return -ENOMEM;
	owner = atomic_load(block.owner);
	if (owner == 0)
		return add_link(heap, block.owner, NULL, id);
	if (!(owner & OWNED_BY_SEVERAL))
		return -EPERM;
	chain = chain_of(owner);
	word = find_keeper(chain, id);
	if (word && (err = keep_again(word, id)) != -EAGAIN)
		return err;
	word = find_keeper(chain, 0);
	if (word) {
		atomic_store(word, id + ONCE);
		return 0;
	}
	for (end = &chain->next; atomic_load(end); end = &atomic_load(end)->next)
		;
	return add_link(heap, NULL, end, id);
}

int owned_keep(void *mem, uint64_t id, int64_t deadline)
{
	struct heap *heap = heap_known();
	int err;

	if (!heap)
		return -EINVAL;
	if (!heap_lock(heap, deadline))
		return -ETIMEDOUT;
	atomic_store(&heap->owns, true);
	err = keep_locked(heap, mem, id);
	heap_unlock(heap);
	return err;
}

/* Takes back one of its times. 1: it was the last. */
static int drop_once(struct link *chain, uint64_t id)
{
	_Atomic uint64_t *word = find_keeper(chain, id);
	uint64_t seen = word ? atomic_load(word) : 0;

	do {
		if ((seen & ID) != id)
			return -EPERM;
	} while (!atomic_compare_exchange_weak(word, &seen,
					       seen >= 2 * ONCE ? seen - ONCE : 0));
	return seen < 2 * ONCE;
}

int owned_drop(void *mem, uint64_t id)
{
	struct heap *heap = heap_known();
	struct block block;
	uint64_t owner = 0;
	bool locked;
	int last;

	if (!heap)
		return -EINVAL;
	/* Without it: the chain of a block that this process keeps stays as it is. */
	locked = heap_lock(heap, TINE_NOWAIT);
	if (!heap_find(heap, mem, &block)) {
		last = -EINVAL;
		goto unlock;
	}
	if (block.owner)
		owner = atomic_load(block.owner);
	last = owner & OWNED_BY_SEVERAL ? drop_once(chain_of(owner), id) : -EPERM;
	if (last <= 0)
		goto unlock;
	if (!locked)
		atomic_fetch_add(&heap->deaths, 1);
	else if (!is_kept(chain_of(owner)))
		release_with_chain(heap, &block);
unlock:
	if (locked)
		heap_unlock(heap);
	return last < 0 ? last : 0;
}

/* ---- deaths ------------------------------------------------------------------------ */

void owned_note_death(void)
{
	struct heap *heap = heap_known();

	if (heap && atomic_load(&heap->owns))
		atomic_fetch_add(&heap->deaths, 1);
}

/* What there is to be done with a block that has an owner. */
typedef void visit_fn(struct heap *, const struct block *, owner_gone_fn *);

static void bury_keepers(struct heap *heap, const struct block *block,
			 owner_gone_fn *gone)
{
	uint64_t owner = atomic_load(block->owner), id;

	if (!(owner & OWNED_BY_SEVERAL))
		return;
	for (struct link *link = chain_of(owner); link; link = atomic_load(&link->next))
		for (int i = 0; i < KEEPERS; i++)
			if ((id = atomic_load(&link->keeper[i]) & ID) && gone(id))
				atomic_store(&link->keeper[i], 0);
	if (is_kept(chain_of(owner)))
		own_links(heap, chain_of(owner), OF_CHAINS);
	else
		release_with_chain(heap, block);
}

static void bury_owner(struct heap *heap, const struct block *block, owner_gone_fn *gone)
{
	uint64_t owner = atomic_load(block->owner);

	if (owner == 0 || (owner & (OWNED_BY_SEVERAL | OWNED_BY_OBJECT)))
		return;
	/* Somebody may be about to take it over from the dead. */
	if (owner != OWNED_BY_NOBODY &&
	    (!gone(owner) ||
	     !atomic_compare_exchange_strong(block->owner, &owner, OWNED_BY_NOBODY)))
		return;
	heap_release(heap, block);
}

static void visit_slab(struct heap *heap, uint32_t unit, visit_fn *visit,
		       owner_gone_fn *gone)
{
	struct slab *slab = &heap->slabs[unit];

	for (uint32_t slot = 0; slab->owned && slot < SLOTS; slot++) {
		if (slab->used[slot / 64] >> slot % 64 == 0)
			slot |= 63;
		else if (slab->used[slot / 64] >> slot % 64 & 1)
			visit(heap,
			      &(struct block){
				      .unit = unit,
				      .slot = slot,
				      .owner = &heap->owners[unit * SLOTS + slot] },
			      gone);
	}
}

/* What is freed on the way is joined with what is before or behind, if that is free. */
static void visit_all(struct heap *heap, visit_fn *visit, owner_gone_fn *gone)
{
	uint32_t word;

	for (uint32_t unit = 0; unit < heap->high; unit += len_of(word)) {
		word = heap->table[unit].word;
		if (kind_of(word) == LARGE)
			visit(heap,
			      &(struct block){ .unit = unit,
					       .owner = &heap->table[unit].owner },
			      gone);
		else if (kind_of(word) == SLAB)
			visit_slab(heap, unit, visit, gone);
	}
}

void owned_bury(owner_gone_fn *gone)
{
	struct heap *heap = heap_known();
	uint32_t deaths = heap ? atomic_load(&heap->deaths) : 0;

	if (!heap || deaths == atomic_load(&heap->settled) ||
	    !heap_lock(heap, TINE_NOWAIT))
		return;
	visit_all(heap, bury_keepers, gone);
	visit_all(heap, bury_owner, gone);
	atomic_store(&heap->settled, deaths);
	heap_unlock(heap);
}
