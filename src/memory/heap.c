/* SPDX-License-Identifier: MIT */
/*
 * The allocator in the family's memory (family.h), one large mapping.
 *
 * Pages are committed when they are first handed out (MADV_POPULATE_WRITE), so that a
 * full machine is a NULL here and never a SIGBUS later. Those of freed blocks are kept,
 * KEPT_MOST bytes of them and no more: a block freed and allocated anew costs no system
 * call.
 *
 * The range is cut into units of 64 KiB. A span is a run of units, and the word of its
 * first unit says all there is to say of it: free, one large block, or (one unit long) a
 * slab of small blocks of one class, with a bit for each in use.
 *
 * These words and bits are the truth. Each operation takes effect by one atomic store to
 * one of them, under the heap's robust lock. Everything else (the lists of free spans and
 * of slabs with room, counts) can be derived, and is derived anew by whoever gets the
 * lock with -EOWNERDEAD. So a process may die anywhere:
 *
 *	while it looks for room		nothing was changed
 *	after the word or bit is set	the block is in use, and nobody knows of it: if it
 *					has an owner (owned.h) it is freed with what
 *					else the dead owned; else it is lost to the
 *					family, and no more than that one
 *	between split and take		the rest of a split run has its word before the
 *					run is shortened, so that a walk finds either
 *	while it commits or zeroes	done outside the lock on a block already taken:
 *					as above
 *	while it frees			the block is in use still, or free
 *	between free and join		two free spans in a row, joined when lists are
 *					derived
 *
 * A process that is stopped with the lock holds up who allocates, to the deadline of the
 * call, or for a second. Who frees does not need it: see free_without_lock().
 *
 * What a unit's pages are:
 *
 *	0		zeros, wherever they are committed
 *	THERE|DIRTY	committed, and handed out since; set before the block is returned
 *	DIRTY		about to be given back, or given back by who died before saying so
 *
 * An owner's word is written before the block's bit or word, and read only of blocks in
 * use, so that what stands there of earlier blocks means nothing.
 */
#include "memory/heap.h"

#include "base/futex.h"
#include "memory/family.h"
#include "memory/inside.h"
#include "memory/owned.h"
#include "memory/pages.h"
#include "wait/lock.h"

#include <string.h>

#define PATIENT_MS 1000 /* beside a process that is stopped in an allocation */

static void (*_Atomic look_at_deaths)(void);

/* ---- beginning --------------------------------------------------------------------- */

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

/* Writes the tables' places into new memory, for as many units as there is room for. */
static int begin_heap(void *mem, size_t len)
{
	size_t per_unit = UNIT + sizeof(struct unit) + sizeof(struct slab) +
			  SLOTS * sizeof(uint64_t);
	size_t units = (len - UNIT) / per_unit, at = round_up(sizeof(struct heap), 64);
	struct heap *heap = mem;
	char *base = mem;

	if (pages_commit(heap, sizeof(*heap)) != 0)
		return -ENOMEM;
	heap->table = (struct unit *)(base + at);
	at = round_up(at + units * sizeof(*heap->table), 64);
	heap->slabs = (struct slab *)(base + at);
	at = round_up(at + units * sizeof(*heap->slabs), 64);
	heap->owners = (_Atomic uint64_t *)(base + at);
	at = round_up(at + units * SLOTS * sizeof(*heap->owners), UNIT);
	heap->first = base + at;
	heap->end = base + len;
	heap->units = (len - at) / UNIT < units ? (len - at) / UNIT : units;
	for (size_t list = 0; list < LISTS; list++)
		heap->head[list] = NONE;
	return 0;
}

struct heap *heap_known(void)
{
	struct family *family = family_known();

	return family ? family_memory(family) : NULL;
}

static struct heap *heap_of_family(void)
{
	struct family *family = family_have(begin_heap);

	return family ? family_memory(family) : NULL;
}

void heap_on_growth(void (*look)(void))
{
	atomic_store(&look_at_deaths, look);
}

/* ---- derived state ----------------------------------------------------------------- */

static uint32_t capacity(uint32_t class)
{
	return UNIT / block_size(class);
}

static uint32_t count_used(const struct slab *slab)
{
	uint32_t n = 0;

	for (size_t i = 0; i < SLOTS / 64; i++)
		n += __builtin_popcountll(slab->used[i]);
	return n;
}

static void derive_heap(struct heap *heap)
{
	size_t used = 0;
	uint32_t word;

	spans_derive(heap);
	for (uint32_t unit = 0; unit < heap->high; unit += len_of(word)) {
		struct slab *slab = &heap->slabs[unit];

		word = heap->table[unit].word;
		if (kind_of(word) == LARGE &&
		    heap->table[unit].owner == OWNED_BY_NOBODY) {
			spans_free(heap, unit);
		} else if (kind_of(word) == LARGE) {
			used += len_of(word) * UNIT;
		} else if (kind_of(word) == SLAB) {
			slab->room = capacity(slab->class) - count_used(slab);
			used += count_used(slab) * block_size(slab->class);
			if (slab->room > 0)
				list_add(heap, unit, SPAN_LISTS + slab->class);
		}
	}
	heap->used = used;
}

int64_t shared_patience(void)
{
	return tine_after(PATIENT_MS);
}

bool heap_lock(struct heap *heap, int64_t deadline)
{
	int err = lock_inner_soon(&heap->lock);

	if (err == -ETIMEDOUT)
		/* Bound: the deadline; a holder that runs makes no call that blocks. */
		err = lock_inner(&heap->lock, deadline == SHARED_PATIENTLY
						      ? shared_patience()
						      : deadline);

	if (err && err != -EOWNERDEAD)
		return false;
	if (err || atomic_load(&heap->stale)) {
		/* Before the bits are counted: who clears one later sets it anew. */
		atomic_store(&heap->stale, false);
		derive_heap(heap);
	}
	return true;
}

void heap_unlock(struct heap *heap)
{
	tine_lock_release(&heap->lock);
}

/* ---- blocks: with the lock held ---------------------------------------------------- */

/* -ENOSPC: the heap has to grow. */
static int take_large(struct heap *heap, size_t size, uint64_t owner, void **out)
{
	size_t need = (size - 1) / UNIT + 1;
	uint32_t unit = spans_take(heap, need, owner);

	if (unit == NONE)
		return -ENOSPC;
	count_more(&heap->used, need * UNIT);
	*out = address(heap, unit);
	return 0;
}

static uint32_t class_of(size_t size)
{
	uint32_t class = 0;

	while (block_size(class) < size)
		class ++;
	return class;
}

/* So that it ends soon, a slab is one unit. */
static int new_slab(struct heap *heap, uint32_t class, uint32_t *out)
{
	uint32_t unit = spans_take(heap, 1, OWNED_BY_NOBODY);
	struct slab *slab;

	if (unit == NONE)
		return -ENOSPC;
	slab = &heap->slabs[unit];
	if (pages_commit(slab, sizeof(*slab)) != 0 ||
	    spans_prepare(heap, unit, 1, 0) != 0) {
		spans_free(heap, unit);
		return -ENOMEM;
	}
	for (size_t i = 0; i < SLOTS / 64; i++)
		slab->used[i] = 0;
	slab->class = class;
	slab->room = capacity(class);
	slab->owned = false;
	set_word(&heap->table[unit], SLAB, 1);
	list_add(heap, unit, SPAN_LISTS + class);
	*out = unit;
	return 0;
}

int heap_add_owners(struct heap *heap, uint32_t unit)
{
	struct slab *slab = &heap->slabs[unit];
	_Atomic uint64_t *owners = &heap->owners[unit * SLOTS];
	size_t len = capacity(slab->class) * sizeof(*owners);

	if (slab->owned)
		return 0;
	if (pages_commit(owners, len) != 0)
		return -ENOMEM;
	memset((void *)owners, 0, len);
	atomic_store(&heap->owns, true);
	atomic_store(&slab->owned, true);
	return 0;
}

static int take_small(struct heap *heap, size_t size, uint64_t owner, void **out)
{
	uint32_t class = class_of(size), unit, slot = 0;
	struct slab *slab;
	int err;

	unit = heap->head[SPAN_LISTS + class];
	if (unit == NONE && (err = new_slab(heap, class, &unit)))
		return err;
	if (owner && (err = heap_add_owners(heap, unit)))
		return err;
	slab = &heap->slabs[unit];
	while (slab->used[slot / 64] == UINT64_MAX)
		slot += 64;
	slot += __builtin_ctzll(~slab->used[slot / 64]);
	if (slab->owned)
		atomic_store_explicit(&heap->owners[unit * SLOTS + slot], owner,
				      memory_order_relaxed); /* before the bit */
	atomic_fetch_or(&slab->used[slot / 64], UINT64_C(1) << slot % 64);
	if (--slab->room == 0)
		list_remove(heap, unit);
	count_more(&heap->used, block_size(class));
	*out = address(heap, unit) + slot * block_size(class);
	return 0;
}

static bool is_small(size_t size)
{
	return size <= block_size(CLASSES - 1);
}

static int take(struct heap *heap, size_t size, uint64_t owner, void **out)
{
	return is_small(size) ? take_small(heap, size, owner, out)
			      : take_large(heap, size, owner, out);
}

static int take_or_grow(struct heap *heap, size_t size, uint64_t owner, void **out)
{
	int err = take(heap, size, owner, out);

	if (err == -ENOSPC &&
	    spans_grow(heap, is_small(size) ? 1 : (size - 1) / UNIT + 1))
		err = take(heap, size, owner, out);
	return err;
}

void *heap_take_small(struct heap *heap, size_t size, uint64_t owner)
{
	void *mem = NULL;

	return take_or_grow(heap, size, owner, &mem) == 0 ? mem : NULL;
}

static void release_small(struct heap *heap, uint32_t unit, uint32_t slot)
{
	struct slab *slab = &heap->slabs[unit];
	size_t size = block_size(slab->class);

	atomic_fetch_and(&slab->used[slot / 64], ~(UINT64_C(1) << slot % 64));
	count_less(&heap->used, size);
	if (slab->room++ == 0)
		list_add(heap, unit, SPAN_LISTS + slab->class);
	/*
	 * The last slab with room stays, so that one block made and freed costs no pages.
	 */
	if (slab->room == capacity(slab->class) &&
	    (heap->table[unit].next != NONE || heap->table[unit].prev != NONE)) {
		list_remove(heap, unit);
		if (heap->kept >= KEPT_MOST / UNIT)
			spans_drop_pages(heap, unit, 1);
		spans_free(heap, unit);
	}
}

/* Gives the pages of a large block back that is about to be freed, if enough are kept. */
static void drop_surplus(struct heap *heap, uint32_t unit)
{
	uint32_t len = len_of(heap->table[unit].word);

	if (len + heap->kept > KEPT_MOST / UNIT && heap->table[unit].pages & THERE)
		spans_drop_pages(heap, unit, len);
}

void heap_release(struct heap *heap, const struct block *block)
{
	uint32_t word = heap->table[block->unit].word;

	if (kind_of(word) == SLAB) {
		release_small(heap, block->unit, block->slot);
		return;
	}
	drop_surplus(heap, block->unit);
	count_less(&heap->used, len_of(word) * UNIT);
	spans_free(heap, block->unit);
}

/* ---- new --------------------------------------------------------------------------- */

/* Locked, and taken; by all means, or if there is room. */
static int take_locked(struct heap *heap, size_t size, uint64_t owner, bool grow,
		       int64_t deadline, void **out)
{
	int err;

	if (!heap_lock(heap, deadline))
		return -ETIMEDOUT;
	err = grow ? take_or_grow(heap, size, owner, out) : take(heap, size, owner, out);
	heap_unlock(heap);
	return err;
}

/* What there is to be zeroed, is. */
static int try_alloc(struct heap *heap, size_t size, uint64_t owner, size_t zeros,
		     int64_t deadline, void **out)
{
	void (*look)(void) = atomic_load_explicit(&heap->owns, memory_order_relaxed)
				     ? atomic_load(&look_at_deaths)
				     : NULL;
	void *mem;
	int err = take_locked(heap, size, owner, !look, deadline, &mem);

	/* Before more is made: what the dead owned is room as well. */
	if (err == -ENOSPC && look) {
		look();
		err = take_locked(heap, size, owner, true, deadline, &mem);
	}
	if (err)
		return err;
	if (is_small(size)) {
		memset(mem, 0, zeros);
	} else if (spans_prepare(heap, ((char *)mem - heap->first) / UNIT,
				 (size - 1) / UNIT + 1, zeros) != 0) {
		tine_shared_free(mem);
		return -ENOMEM;
	}
	*out = mem;
	return 0;
}

/* Gives all kept pages back to the machine, which has none; whether there were any. */
static bool trim(struct heap *heap, int64_t deadline)
{
	bool any;

	if (!heap->kept || !heap_lock(heap, deadline))
		return false;
	any = spans_trim(heap);
	heap_unlock(heap);
	return any;
}

static int alloc(void **out, size_t size, uint64_t owner, bool zeroed, int64_t deadline)
{
	struct heap *heap = heap_of_family();
	size_t zeros;
	int err;

	if (!heap || size / UNIT >= heap->units)
		return -ENOMEM;
	size += size == 0;
	zeros = zeroed ? size : 0;
	err = try_alloc(heap, size, owner, zeros, deadline, out);
	if ((err == -ENOMEM || err == -ENOSPC) && trim(heap, deadline))
		err = try_alloc(heap, size, owner, zeros, deadline, out);
	return err == -ENOSPC ? -ENOMEM : err;
}

int shared_alloc(void **out, size_t size, int64_t deadline)
{
	return alloc(out, size, 0, true, deadline);
}

int owned_new(void **out, size_t size, uint64_t owner, int64_t deadline)
{
	struct heap *heap = heap_of_family();

	if (heap && !heap->owns)
		atomic_store(&heap->owns, true);
	return alloc(out, size, owner, false, deadline);
}

void *tine_shared_new(size_t n, size_t size)
{
	void *mem = NULL;
	size_t total;

	if (!__builtin_mul_overflow(n, size, &total))
		(void)shared_alloc(&mem, total, SHARED_PATIENTLY);
	return mem;
}

void *tine_shared_raw(size_t size)
{
	void *mem = NULL;

	(void)alloc(&mem, size, 0, false, SHARED_PATIENTLY);
	return mem;
}

/* ---- free -------------------------------------------------------------------------- */

bool heap_find(const struct heap *heap, const void *mem, struct block *block)
{
	size_t offset = (const char *)mem - heap->first, unit = offset / UNIT;
	uint32_t word;

	offset %= UNIT;
	if ((const char *)mem < heap->first || unit >= atomic_load(&heap->high))
		return false;
	word = atomic_load(&heap->table[unit].word);
	*block = (struct block){ .unit = unit, .owner = &heap->table[unit].owner };
	if (kind_of(word) == SLAB) {
		const struct slab *slab = &heap->slabs[unit];
		size_t size = block_size(slab->class);

		block->slot = offset / size;
		block->owner = slab->owned ? &heap->owners[unit * SLOTS + block->slot]
					   : NULL;
		return offset % size == 0 &&
		       (slab->used[block->slot / 64] >> block->slot % 64 & 1);
	}
	return kind_of(word) == LARGE && offset == 0;
}

/*
 * Beside a process that is stopped with the lock. What is true changes by the same store,
 * and the rest is derived by who has the lock next: until then the block is not used
 * again. The holder does not touch a block in use, nor take what is free for anything
 * but that.
 */
static void free_without_lock(struct heap *heap, const struct block *block)
{
	_Atomic uint32_t *word = &heap->table[block->unit].word;

	/* Before and after: so that who dies in between has said it as well. */
	atomic_store(&heap->stale, true);
	if (kind_of(*word) == SLAB)
		atomic_fetch_and(&heap->slabs[block->unit].used[block->slot / 64],
				 ~(UINT64_C(1) << block->slot % 64));
	else
		atomic_store(word, word_of(FREE, len_of(*word)));
	atomic_store(&heap->stale, true);
}

void tine_shared_free(void *mem)
{
	struct heap *heap = heap_known();
	struct block block;

	/* Its owner frees it: nobody else changes the word of a block in use. */
	if (!heap || !mem || !heap_find(heap, mem, &block) ||
	    (block.owner && (*block.owner & OWNED_BY_SEVERAL)))
		return;
	/* It takes a while, and the lock is not needed for it. */
	if (kind_of(heap->table[block.unit].word) == LARGE)
		drop_surplus(heap, block.unit);

	if (!heap_lock(heap, TINE_NOWAIT)) {
		free_without_lock(heap, &block);
		return;
	}
	/* Not if it was freed twice, by two at a time. */
	if (heap_find(heap, mem, &block))
		heap_release(heap, &block);
	heap_unlock(heap);
}

/* ---- looking at it ----------------------------------------------------------------- */

_Atomic(void *) *shared_root(void)
{
	struct heap *heap = heap_of_family();

	return heap ? &heap->root : NULL;
}

bool shared_has(const void *mem, size_t len)
{
	struct heap *heap = heap_known();
	const char *from = mem;

	return heap && from >= heap->first && from < heap->end &&
	       len <= (size_t)(heap->end - from);
}

bool shared_in_use(const void *mem)
{
	struct heap *heap = heap_known();
	bool in_use = false;
	size_t offset;
	uint32_t word;

	if (!shared_has(mem, 1))
		return false;
	offset = (const char *)mem - heap->first;
	if (!heap_lock(heap, TINE_NOWAIT))
		return true;
	for (uint32_t unit = 0; unit < heap->high; unit += len_of(word)) {
		const struct slab *slab = &heap->slabs[unit];

		word = heap->table[unit].word;
		if (offset / UNIT >= unit + len_of(word))
			continue;
		if (kind_of(word) == SLAB) {
			size_t slot = offset % UNIT / block_size(slab->class);

			in_use = slab->used[slot / 64] >> slot % 64 & 1;
		} else {
			in_use = kind_of(word) == LARGE;
		}
		break;
	}
	heap_unlock(heap);
	return in_use;
}

void *shared_base(void)
{
	struct family *family = family_known();

	return family ? family_base(family) : NULL;
}

size_t shared_span(void)
{
	struct family *family = family_known();

	return family ? family->span : 0;
}

size_t shared_used(void)
{
	struct heap *heap = heap_known();
	size_t used;

	if (!heap)
		return 0;
	/* The lock, so that what a dead process left is counted. */
	if (!heap_lock(heap, shared_patience()))
		return atomic_load(&heap->used);
	used = heap->used;
	heap_unlock(heap);
	return used;
}

/* Whether the lists hold what they are to hold, and that much room in each class. */
static bool lists_agree(const struct heap *heap, size_t free_units, const size_t *room)
{
	size_t there = 0, units = 0;

	for (unsigned list = 0; list < LISTS; list++) {
		uint32_t at = heap->head[list], before = NONE;
		size_t left = list < SPAN_LISTS ? 0 : room[list - SPAN_LISTS];

		if (list < SPAN_LISTS &&
		    (at != NONE) != (heap->filled[list / 64] >> list % 64 & 1))
			return false;
		for (; at != NONE; before = at, at = heap->table[at].next) {
			const struct unit *unit = &heap->table[at];

			if (unit->list != list + 1 || unit->prev != before)
				return false;
			if (list >= SPAN_LISTS) {
				left -= heap->slabs[at].room;
				continue;
			}
			units += len_of(unit->word);
			for (uint32_t i = 0; i < len_of(unit->word); i++)
				there += heap->table[at + i].pages & THERE;
		}
		if (left != 0)
			return false;
	}
	return units == free_units && there == heap->kept;
}

static int check_locked(const struct heap *heap)
{
	size_t used = 0, free_units = 0, room[CLASSES] = { 0 };
	uint32_t unit = 0, word;

	for (; unit < heap->high; unit += len_of(word)) {
		const struct slab *slab = &heap->slabs[unit];

		word = heap->table[unit].word;
		if (kind_of(word) < FREE || kind_of(word) > SLAB || len_of(word) == 0)
			return -EBADMSG;
		if (kind_of(word) == FREE) {
			free_units += len_of(word);
		} else if (kind_of(word) == LARGE) {
			used += len_of(word) * UNIT;
		} else {
			used += count_used(slab) * block_size(slab->class);
			room[slab->class] += slab->room;
			if (slab->room + count_used(slab) != capacity(slab->class))
				return -EBADMSG;
		}
	}
	return unit == heap->high && used == heap->used &&
			       lists_agree(heap, free_units, room)
		       ? 0
		       : -EBADMSG;
}

int shared_check(void)
{
	struct heap *heap = heap_of_family();
	bool again;
	int err;

	if (!heap)
		return -ENOMEM;
	do {
		if (!heap_lock(heap, shared_patience()))
			return -ETIMEDOUT;
		err = check_locked(heap);
		/* Somebody has freed a block without the lock meanwhile. */
		again = err && atomic_load(&heap->stale);
		heap_unlock(heap);
	} while (again);
	return err;
}
