/* SPDX-License-Identifier: MIT */
/*
 * The allocator in the family's memory (family.h), one large mapping.
 *
 * Pages are committed when they are handed out (MADV_POPULATE_WRITE), so that a full
 * machine is a NULL here and never a SIGBUS later; and large blocks are given back when
 * they are freed.
 *
 * The range is cut into units of 64 KiB. A span is a run of units, and the word of its
 * first unit says all there is to say of it: free, one large block, or (one unit long) a
 * slab of small blocks of one class, with a bit for each in use.
 *
 * These words and bits are the truth. Each operation takes effect by one atomic store to
 * one of them, under the heap's robust lock. Everything else (the lists of slabs with
 * room, counts, the rover) can be derived, and is derived anew by whoever gets the lock
 * with -EOWNERDEAD. So a process may die anywhere:
 *
 *	while it looks for room		nothing was changed
 *	after the word or bit is set	the block is in use, and nobody knows of it: it is
 *					lost to the family, and no more than that one
 *	between split and take		the rest of a split run has its word before the
 *					run is shortened, so that a walk finds either
 *	while it commits or zeroes	done outside the lock on a block already taken:
 *					lost
 *	while it frees			the block is in use still, or free
 *
 * A process that is stopped with the lock holds up who allocates, to the deadline of the
 * call, or for a second. Who frees does not need it: see free_without_lock().
 *
 * A unit's touched byte is set before the unit can hold anything but zeros, and taken
 * away only when its pages have been given back.
 */
#include "memory/heap.h"

#include "base/cgroup.h"
#include "base/futex.h"
#include "memory/family.h"
#include "wait/lock.h"

#include <string.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define UNIT	    ((size_t)64 << 10)
#define GROW	    16 /* units */
#define GIVE_BACK   ((size_t)1 << 20)
#define LOOK_AGAIN  ((size_t)4 << 20) /* bytes committed between looks at the limits */
#define MARGIN	    ((size_t)8 << 20) /* bytes left to everybody else */
#define CLASS_ALIGN 64
#define PATIENT_MS  1000 /* beside a process that is stopped in an allocation */
#define SLOTS	    (UNIT / CLASS_ALIGN)
#define NONE	    UINT32_MAX

enum kind { FREE = 1, LARGE, SLAB };

static const uint16_t classes[] = { 1,	2,  3,	4,  6,	 8,   12,  16,	24,
				    32, 48, 64, 96, 128, 192, 256, 340, 512 };
#define CLASSES (sizeof(classes) / sizeof(*classes))

struct slab {
	_Atomic uint64_t used[SLOTS / 64]; /* truth: a bit for each block in use */
	uint32_t class;			   /* truth, written before the word says SLAB */
	uint32_t room;			   /* derived: blocks free */
	uint32_t next, prev;		   /* derived: slabs of the class with room */
};

struct heap {
	/* Constant. */
	size_t units;
	char *first, *end; /* where unit 0 begins, and the memory ends */
	_Atomic uint32_t *words;
	uint8_t *touched;
	struct slab *slabs;
	_Atomic(void *) root;
	_Alignas(64) tine_lock lock; /* guards all below, the words and the slabs */
	_Atomic uint32_t high;	     /* truth: units ever used; spans tile 0 to high */
	uint32_t rover;		     /* derived: where to look next; begins a span */
	uint32_t list[CLASSES];	     /* derived */
	_Atomic bool stale;	     /* what is derived has to be derived anew */
	_Atomic size_t used;	     /* derived: bytes in blocks */
};

/* ---- pages ------------------------------------------------------------------------- */

/*
 * Kernels before 5.14: a system call that reads answers EFAULT where a load would trap,
 * and reading a page of a memfd commits it. No process has the number -1.
 */
static int populate_by_calls(const char *from, const char *to)
{
	for (const char *page = from; page < to; page += 4096)
		if (syscall(SYS_sched_setaffinity, -1, sizeof(long), page) != 0 &&
		    errno == EFAULT)
			return -ENOMEM;
	return 0;
}

/*
 * Asks first, when it is a lot: what a cgroup's limit refuses, the kernel refuses by
 * killing somebody.
 */
static bool within_limits(size_t len)
{
	static _Atomic size_t unseen = LOOK_AGAIN; /* looks at the first call */

	if (atomic_fetch_add(&unseen, len) + len < LOOK_AGAIN)
		return true;
	atomic_store(&unseen, 0);
	if (memory_headroom("") >= len + MARGIN)
		return true;
	atomic_store(&unseen, LOOK_AGAIN);
	return false;
}

static int populate(void *mem, size_t len)
{
	char *from = (char *)((uintptr_t)mem & ~(uintptr_t)4095);
	char *to = (char *)(((uintptr_t)mem + len + 4095) & ~(uintptr_t)4095);

	if (!within_limits(to - from))
		return -ENOMEM;
	while (madvise(from, to - from, MADV_POPULATE_WRITE) != 0) {
		if (errno == EINVAL)
			return populate_by_calls(from, to);
		if (errno != EINTR && errno != EAGAIN)
			return -ENOMEM;
	}
	return 0;
}

/* ---- beginning ---------------------------------------------------------------------- */

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

/* Writes the tables' places into new memory. */
static int begin_heap(void *mem, size_t len)
{
	size_t per_unit = UNIT + sizeof(_Atomic uint32_t) + sizeof(uint8_t) +
			  sizeof(struct slab);
	struct heap *heap = mem;
	char *base = mem;
	size_t tables, at;

	if (populate(heap, sizeof(*heap)) != 0)
		return -ENOMEM;
	heap->units = (len - UNIT) / per_unit;
	at = round_up(sizeof(*heap), 64);
	heap->words = (_Atomic uint32_t *)(base + at);
	at = round_up(at + heap->units * sizeof(*heap->words), 64);
	heap->touched = (uint8_t *)(base + at);
	at = round_up(at + heap->units * sizeof(*heap->touched), 64);
	heap->slabs = (struct slab *)(base + at);
	tables = round_up(at + heap->units * sizeof(*heap->slabs), UNIT);
	heap->first = base + tables;
	heap->units = (len - tables) / UNIT;
	heap->end = base + len;
	for (size_t class = 0; class < CLASSES; class ++)
		heap->list[class] = NONE;
	return 0;
}

/* NULL: no family yet. */
static struct heap *heap_known(void)
{
	struct family *family = family_known();

	return family ? family_memory(family) : NULL;
}

static struct heap *heap_of_family(void)
{
	struct family *family = family_have(begin_heap);

	return family ? family_memory(family) : NULL;
}

/* ---- derived state ----------------------------------------------------------------- */

static uint32_t word_of(enum kind kind, uint32_t len)
{
	return (uint32_t)kind << 28 | len;
}

static enum kind kind_of(uint32_t word)
{
	return word >> 28;
}

static uint32_t len_of(uint32_t word)
{
	return word & 0xfffffff;
}

static size_t block_size(uint32_t class)
{
	return (size_t)classes[class] * CLASS_ALIGN;
}

static uint32_t capacity(uint32_t class)
{
	return UNIT / block_size(class);
}

static void list_add(struct heap *heap, uint32_t unit)
{
	struct slab *slab = &heap->slabs[unit];
	uint32_t *head = &heap->list[slab->class];

	slab->prev = NONE;
	slab->next = *head;
	if (*head != NONE)
		heap->slabs[*head].prev = unit;
	*head = unit;
}

static void list_remove(struct heap *heap, uint32_t unit)
{
	struct slab *slab = &heap->slabs[unit];

	if (slab->prev != NONE)
		heap->slabs[slab->prev].next = slab->next;
	else
		heap->list[slab->class] = slab->next;
	if (slab->next != NONE)
		heap->slabs[slab->next].prev = slab->prev;
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

	heap->rover = 0;
	for (size_t class = 0; class < CLASSES; class ++)
		heap->list[class] = NONE;
	for (uint32_t unit = 0; unit < heap->high; unit += len_of(heap->words[unit])) {
		struct slab *slab = &heap->slabs[unit];

		if (kind_of(heap->words[unit]) == LARGE) {
			used += len_of(heap->words[unit]) * UNIT;
		} else if (kind_of(heap->words[unit]) == SLAB) {
			slab->room = capacity(slab->class) - count_used(slab);
			used += count_used(slab) * block_size(slab->class);
			if (slab->room > 0)
				list_add(heap, unit);
		}
	}
	heap->used = used;
}

/* False: it is not held. Its holder is stopped, or the system denies the lock. */
static bool lock_heap(struct heap *heap, int64_t deadline)
{
	/* Bound: the deadline; a holder that runs has it for no call that blocks. */
	int err = lock_inner(&heap->lock, deadline);

	if (err && err != -EOWNERDEAD)
		return false;
	if (err || atomic_load(&heap->stale)) {
		/* Before the bits are counted: who clears one later sets it anew. */
		atomic_store(&heap->stale, false);
		derive_heap(heap);
	}
	return true;
}

static void unlock_heap(struct heap *heap)
{
	tine_lock_release(&heap->lock);
}

int64_t shared_patience(void)
{
	return tine_after(PATIENT_MS);
}

/* ---- spans: called with the lock held ---------------------------------------------- */

static bool grow(struct heap *heap, uint32_t need)
{
	uint32_t high = heap->high, n = need > GROW ? need : GROW;

	if (n > heap->units - high)
		n = need;
	if (need > heap->units - high)
		return false;
	/*
	 * Only the words of spans' first units are read: those of the rest may be absent.
	 */
	if (populate((void *)&heap->words[high], n * sizeof(*heap->words)) != 0 ||
	    populate(&heap->touched[high], n * sizeof(*heap->touched)) != 0)
		return false;
	atomic_store(&heap->words[high], word_of(FREE, n));
	atomic_store(&heap->high, high + n);
	return true;
}

/* Joins the free spans that follow, and says how long it is then. */
static uint32_t join(struct heap *heap, uint32_t unit)
{
	uint32_t len = len_of(heap->words[unit]), next = unit + len;

	while (next < heap->high && kind_of(heap->words[next]) == FREE) {
		if (heap->rover == next)
			heap->rover = unit;
		len += len_of(heap->words[next]);
		next = unit + len;
		atomic_store(&heap->words[unit], word_of(FREE, len));
	}
	return len;
}

static uint32_t take(struct heap *heap, uint32_t unit, uint32_t len, uint32_t need)
{
	if (len > need)
		atomic_store(&heap->words[unit + need], word_of(FREE, len - need));
	atomic_store(&heap->words[unit], word_of(LARGE, need));
	heap->rover = unit + need < heap->high ? unit + need : 0;
	return unit;
}

/* A span of so many units, as one large block; NONE when there is no room. Next fit. */
static uint32_t find_span(struct heap *heap, uint32_t need)
{
	uint32_t from = heap->rover, high = heap->high;

	for (int round = 0; round < 2; round++) {
		uint32_t unit = round == 0 ? from : 0, end = round == 0 ? high : from;

		while (unit < end) {
			uint32_t word = heap->words[unit], len = len_of(word);

			if (kind_of(word) == FREE && (len = join(heap, unit)) >= need)
				return take(heap, unit, len, need);
			unit += len;
		}
	}
	return NONE;
}

static uint32_t take_span(struct heap *heap, uint32_t need)
{
	uint32_t unit = find_span(heap, need);

	if (unit == NONE && grow(heap, need))
		unit = find_span(heap, need);
	return unit;
}

/* ---- blocks ------------------------------------------------------------------------ */

static void *address(const struct heap *heap, uint32_t unit)
{
	return heap->first + unit * UNIT;
}

/* Commits and zeroes a span that is taken. */
static int prepare(struct heap *heap, uint32_t unit, uint32_t len)
{
	if (populate(address(heap, unit), len * UNIT) != 0)
		return -ENOMEM;
	for (uint32_t i = unit; i < unit + len; i++)
		if (heap->touched[i])
			memset(address(heap, i), 0, UNIT);
	memset(&heap->touched[unit], 1, len);
	return 0;
}

static void *alloc_large(struct heap *heap, size_t size, int64_t deadline)
{
	size_t need = (size - 1) / UNIT + 1;
	uint32_t unit = NONE;

	if (need > heap->units || !lock_heap(heap, deadline))
		return NULL;
	unit = take_span(heap, need);
	if (unit != NONE)
		heap->used += need * UNIT;
	unlock_heap(heap);
	if (unit == NONE)
		return NULL;
	if (prepare(heap, unit, need) != 0) {
		tine_shared_free(address(heap, unit));
		return NULL;
	}
	return address(heap, unit);
}

static uint32_t class_of(size_t size)
{
	uint32_t class = 0;

	while (block_size(class) < size)
		class ++;
	return class;
}

/* Called with the lock held; so that it ends soon, a slab is one unit. */
static uint32_t new_slab(struct heap *heap, uint32_t class)
{
	uint32_t unit = take_span(heap, 1);
	struct slab *slab;

	if (unit == NONE)
		return NONE;
	slab = &heap->slabs[unit];
	if (populate(slab, sizeof(*slab)) != 0 ||
	    populate(address(heap, unit), UNIT) != 0) {
		atomic_store(&heap->words[unit], word_of(FREE, 1));
		return NONE;
	}
	heap->touched[unit] = 1;
	for (size_t i = 0; i < SLOTS / 64; i++)
		slab->used[i] = 0;
	slab->class = class;
	slab->room = capacity(class);
	atomic_store(&heap->words[unit], word_of(SLAB, 1));
	list_add(heap, unit);
	return unit;
}

static void *alloc_small(struct heap *heap, size_t size, int64_t deadline)
{
	uint32_t class = class_of(size), unit, slot = 0;
	struct slab *slab;
	char *block = NULL;

	if (!lock_heap(heap, deadline))
		return NULL;
	unit = heap->list[class];
	if (unit == NONE)
		unit = new_slab(heap, class);
	if (unit == NONE)
		goto unlock;
	slab = &heap->slabs[unit];
	while (slab->used[slot / 64] == UINT64_MAX)
		slot += 64;
	slot += __builtin_ctzll(~slab->used[slot / 64]);
	atomic_fetch_or(&slab->used[slot / 64], UINT64_C(1) << slot % 64);
	if (--slab->room == 0)
		list_remove(heap, unit);
	heap->used += block_size(class);
	block = (char *)address(heap, unit) + slot * block_size(class);
unlock:
	unlock_heap(heap);
	if (block)
		memset(block, 0, size);
	return block;
}

void *shared_alloc(size_t size, int64_t deadline)
{
	struct heap *heap = heap_of_family();

	if (!heap)
		return NULL;
	if (size == 0)
		size = 1;
	return size > block_size(CLASSES - 1) ? alloc_large(heap, size, deadline)
					      : alloc_small(heap, size, deadline);
}

static void free_small(struct heap *heap, uint32_t unit, size_t offset)
{
	struct slab *slab = &heap->slabs[unit];
	size_t size = block_size(slab->class), slot = offset / size;
	uint64_t bit = UINT64_C(1) << slot % 64;

	if (offset % size != 0 || !(slab->used[slot / 64] & bit))
		return;
	atomic_fetch_and(&slab->used[slot / 64], ~bit);
	heap->used -= size;
	if (slab->room++ == 0)
		list_add(heap, unit);
	/*
	 * The last slab with room stays, so that one block made and freed costs no pages.
	 */
	if (slab->room == capacity(slab->class) &&
	    (slab->next != NONE || slab->prev != NONE)) {
		list_remove(heap, unit);
		atomic_store(&heap->words[unit], word_of(FREE, 1));
	}
}

/*
 * Beside a process that is stopped with the lock. What is true changes by the same store,
 * and the rest is derived by who has the lock next: until then the block is not used
 * again. The holder does not touch a block in use, nor take what is free for anything
 * but that.
 */
static void free_without_lock(struct heap *heap, uint32_t unit, size_t offset)
{
	uint32_t word = atomic_load(&heap->words[unit]);
	struct slab *slab = &heap->slabs[unit];

	if (kind_of(word) == SLAB && offset % block_size(slab->class) == 0) {
		size_t slot = offset / block_size(slab->class);

		atomic_fetch_and(&slab->used[slot / 64], ~(UINT64_C(1) << slot % 64));
	} else if (kind_of(word) == LARGE && offset == 0) {
		atomic_store(&heap->words[unit], word_of(FREE, len_of(word)));
	}
	atomic_store(&heap->stale, true);
}

void *tine_shared_new(size_t n, size_t size)
{
	size_t total;

	return __builtin_mul_overflow(n, size, &total)
		       ? NULL
		       : shared_alloc(total, shared_patience());
}

void tine_shared_free(void *mem)
{
	struct heap *heap = heap_known();
	size_t offset, unit;
	uint32_t word;

	if (!heap || !mem || (char *)mem < heap->first)
		return;
	offset = (char *)mem - heap->first;
	unit = offset / UNIT;
	if (unit >= atomic_load(&heap->high))
		return;
	/* Its owner frees it: nobody else changes the word of a block in use. */
	word = atomic_load(&heap->words[unit]);
	offset %= UNIT;
	if (kind_of(word) == LARGE && offset == 0 && len_of(word) * UNIT >= GIVE_BACK &&
	    madvise(mem, len_of(word) * UNIT, MADV_REMOVE) == 0)
		memset(&heap->touched[unit], 0, len_of(word));

	if (!lock_heap(heap, TINE_NOWAIT)) {
		free_without_lock(heap, unit, offset);
		return;
	}
	word = heap->words[unit];
	if (kind_of(word) == SLAB) {
		free_small(heap, unit, offset);
	} else if (kind_of(word) == LARGE && offset == 0) {
		atomic_store(&heap->words[unit], word_of(FREE, len_of(word)));
		heap->used -= len_of(word) * UNIT;
	}
	unlock_heap(heap);
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

	if (!shared_has(mem, 1))
		return false;
	offset = (const char *)mem - heap->first;
	if (!lock_heap(heap, TINE_NOWAIT))
		return true;
	for (uint32_t unit = 0; unit < heap->high; unit += len_of(heap->words[unit])) {
		uint32_t word = heap->words[unit];
		const struct slab *slab = &heap->slabs[unit];

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
	unlock_heap(heap);
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
	if (!lock_heap(heap, shared_patience()))
		return atomic_load(&heap->used);
	used = heap->used;
	unlock_heap(heap);
	return used;
}

int shared_check(void)
{
	struct heap *heap = heap_of_family();
	size_t used = 0, room[CLASSES] = { 0 };
	uint32_t unit = 0;
	int err = 0;

	if (!heap)
		return -ENOMEM;
	if (!lock_heap(heap, shared_patience()))
		return -ETIMEDOUT;
	for (; unit < heap->high && err == 0; unit += len_of(heap->words[unit])) {
		uint32_t word = heap->words[unit];
		struct slab *slab = &heap->slabs[unit];

		if (kind_of(word) < FREE || kind_of(word) > SLAB || len_of(word) == 0)
			err = -EBADMSG;
		else if (kind_of(word) == LARGE)
			used += len_of(word) * UNIT;
		else if (kind_of(word) == SLAB) {
			used += count_used(slab) * block_size(slab->class);
			room[slab->class] += slab->room;
			if (slab->room + count_used(slab) != capacity(slab->class))
				err = -EBADMSG;
		}
	}
	for (size_t class = 0; class < CLASSES; class ++) {
		for (uint32_t at = heap->list[class]; at != NONE;
		     at = heap->slabs[at].next)
			room[class] -= heap->slabs[at].room;
		if (room[class] != 0)
			err = -EBADMSG;
	}
	if (unit != heap->high || used != heap->used)
		err = -EBADMSG;
	unlock_heap(heap);
	return err;
}
