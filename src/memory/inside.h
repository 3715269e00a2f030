/* SPDX-License-Identifier: MIT */
/*
 * What the files of the family's memory share. The protocol is at the head of heap.c.
 */
#ifndef TINE_MEMORY_INSIDE_H
#define TINE_MEMORY_INSIDE_H

#include "base/export.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNIT	    ((size_t)64 << 10)
#define CLASS_ALIGN 64
#define SLOTS	    (UNIT / CLASS_ALIGN)
#define CLASSES	    18
#define EXACT_LISTS 16 /* of free spans of one length each */
#define SPAN_LISTS  112
#define LISTS	    (SPAN_LISTS + CLASSES)
#define NONE	    UINT32_MAX
/* Beside what owned.h has: the blocks's keepers, below; whose owner is to be freed. */
#define OWNED_BY_SEVERAL (UINT64_C(1) << 63)
#define OWNED_BY_NOBODY	 (UINT64_C(1) << 61)
#define KEPT_MOST	 ((size_t)64 << 20) /* bytes of free pages */

enum kind { FREE = 1, LARGE, SLAB };
enum pages {
	THERE = 1, /* they are committed */
	DIRTY = 2, /* they may hold more than zeros, or would if they were there */
};

struct unit {
	_Atomic uint32_t word;	/* truth: kind and length of the span that begins here */
	_Atomic uint8_t pages;	/* truth */
	uint8_t list;		/* derived: 0: in none, else which of the lists, from 1 */
	uint32_t next, prev;	/* derived: in that list */
	uint32_t begins;	/* derived: of the last unit of a free span in a list */
	_Atomic uint64_t owner; /* truth: of a large block */
};

struct slab {
	_Atomic uint64_t used[SLOTS / 64]; /* truth: a bit for each block in use */
	uint32_t class;			   /* truth, written before the word says SLAB */
	uint32_t room;			   /* derived: blocks free */
	_Atomic bool owned;		   /* truth: its blocks' owners are there */
};

struct heap {
	/* Constant. */
	size_t units;
	char *first, *end; /* where unit 0 begins, and the memory ends */
	struct unit *table;
	struct slab *slabs;
	_Atomic uint64_t *owners; /* SLOTS for each unit: of small blocks */
	_Atomic(void *) root;
	_Alignas(64) tine_lock lock; /* guards all below, the table and the slabs */
	_Atomic uint32_t high;	     /* truth: units ever used; spans tile 0 to high */
	uint32_t head[LISTS];	     /* derived: free spans by length, slabs with room */
	uint64_t filled[2];	     /* derived: which lists of free spans have any */
	_Atomic bool stale;	     /* what is derived has to be derived anew */
	_Atomic size_t used;	     /* derived: bytes in blocks */
	_Atomic size_t kept;	     /* derived: units that are free, and THERE */
	_Atomic bool owns;	     /* some block had an owner */
	_Atomic uint32_t deaths;     /* noted: owners may have ended */
	_Atomic uint32_t settled;    /* of these, by a whole look at all blocks */
};

/* Bytes of each block of a class. */
static inline size_t block_size(uint32_t class)
{
	static const uint16_t classes[CLASSES] = {
		1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 340, 512
	};

	return (size_t)classes[class] * CLASS_ALIGN;
}

static inline uint32_t word_of(enum kind kind, uint32_t len)
{
	return (uint32_t)kind << 28 | len;
}

static inline enum kind kind_of(uint32_t word)
{
	return word >> 28;
}

static inline uint32_t len_of(uint32_t word)
{
	return word & 0xfffffff;
}

/*
 * With the lock held, of which the release makes all of it visible in time. Who looks
 * without it, or after the death of the holder, sees what was written before.
 */
static inline void set_word(struct unit *unit, enum kind kind, uint32_t len)
{
	atomic_store_explicit(&unit->word, word_of(kind, len), memory_order_release);
}

/* With the lock held: others at most read it, as a count of the moment. */
static inline void count_more(_Atomic size_t *count, size_t n)
{
	atomic_store_explicit(count,
			      atomic_load_explicit(count, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static inline void count_less(_Atomic size_t *count, size_t n)
{
	count_more(count, -n);
}

static inline char *address(const struct heap *heap, uint32_t unit)
{
	return heap->first + unit * UNIT;
}

/* ---- heap.c ------------------------------------------------------------------------ */

/* A block in use. */
struct block {
	uint32_t unit, slot;
	_Atomic uint64_t *owner; /* NULL: its slab has none */
};

/* NULL: no family yet. */
struct heap *heap_known(void);
/* False: it is not held. Its holder is stopped, or the system denies the lock. */
bool heap_lock(struct heap *, int64_t deadline);
void heap_unlock(struct heap *);

/* Whether a block in use begins there. What it says of one's own block stays true. */
bool heap_find(const struct heap *, const void *mem, struct block *);

/* With the lock held: a small block, not zeroed. NULL: no memory. */
void *heap_take_small(struct heap *, size_t size, uint64_t owner);
/* With the lock held: room for the owners of the blocks of a slab. -ENOMEM. */
int heap_add_owners(struct heap *, uint32_t unit);
void heap_release(struct heap *, const struct block *);

/* ---- spans.c: with the lock held --------------------------------------------------- */

void list_add(struct heap *, uint32_t unit, unsigned list);
void list_remove(struct heap *, uint32_t unit);
/* Empties the lists, and fills those of free spans; what they keep. */
void spans_derive(struct heap *);
/* A span of so many units, as one large block; NONE: the heap is too small. */
uint32_t spans_take(struct heap *, uint32_t need, uint64_t owner);
/* Makes the heap larger, for such a span. False: no memory. */
bool spans_grow(struct heap *, uint32_t need);
void spans_free(struct heap *, uint32_t unit);

/*
 * Has the pages of a span that is the caller's THERE, and known to this process; with
 * zeros, so many of its bytes are. Without the lock, or with it. -ENOMEM.
 */
int spans_prepare(struct heap *, uint32_t unit, uint32_t len, size_t zeros);
/* Has this process know the pages of a span that another one has made ready. */
void spans_meet(const struct heap *, uint32_t unit, uint32_t len);
/* Gives its pages back. */
void spans_drop_pages(struct heap *, uint32_t unit, uint32_t len);
/* Gives back all that is kept; whether there was any. */
bool spans_trim(struct heap *);

#endif
