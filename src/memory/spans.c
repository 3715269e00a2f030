/* SPDX-License-Identifier: MIT */
/*
 * Spans of units, and their pages. The protocol is at the head of heap.c.
 *
 * Free spans are in lists by length: one for each length up to EXACT_LISTS, above that
 * four for each power of two. What was freed last is taken first: its pages are there. A
 * free span is in a list, or it was freed without the lock and is found when lists are
 * derived anew; only spans in lists are joined.
 */
#include "memory/inside.h"
#include "memory/pages.h"

#include <errno.h>
#include <string.h>

#define GROW 16 /* units */

/* ---- lists ------------------------------------------------------------------------- */

void list_add(struct heap *heap, uint32_t unit, unsigned list)
{
	struct unit *at = &heap->table[unit];
	uint32_t *head = &heap->head[list];

	at->prev = NONE;
	at->next = *head;
	if (*head != NONE)
		heap->table[*head].prev = unit;
	*head = unit;
	at->list = list + 1;
	if (list < SPAN_LISTS)
		heap->filled[list / 64] |= UINT64_C(1) << list % 64;
}

void list_remove(struct heap *heap, uint32_t unit)
{
	struct unit *at = &heap->table[unit];
	unsigned list = at->list - 1u;

	if (at->prev != NONE)
		heap->table[at->prev].next = at->next;
	else
		heap->head[list] = at->next;
	if (at->next != NONE)
		heap->table[at->next].prev = at->prev;
	at->list = 0;
	if (list < SPAN_LISTS && heap->head[list] == NONE)
		heap->filled[list / 64] &= ~(UINT64_C(1) << list % 64);
}

static unsigned list_of_len(uint32_t len)
{
	unsigned log;

	if (len < EXACT_LISTS)
		return len;
	log = 31 - __builtin_clz(len);
	return EXACT_LISTS + (log - 4) * 4 + (len >> (log - 2)) % 4;
}

/* The first list from there on that has any; SPAN_LISTS: none has. */
static unsigned next_filled(const struct heap *heap, unsigned list)
{
	for (; list < SPAN_LISTS; list = (list / 64 + 1) * 64) {
		uint64_t left = heap->filled[list / 64] >> list % 64;

		if (left)
			return list + __builtin_ctzll(left);
	}
	return SPAN_LISTS;
}

/* ---- spans ------------------------------------------------------------------------- */

static size_t count_there(const struct heap *heap, uint32_t unit, uint32_t len)
{
	size_t n = 0;

	for (uint32_t i = unit; i < unit + len; i++)
		n += atomic_load_explicit(&heap->table[i].pages, memory_order_relaxed) &
		     THERE;
	return n;
}

static void list_span(struct heap *heap, uint32_t unit, uint32_t len)
{
	heap->table[unit + len - 1].begins = unit;
	list_add(heap, unit, list_of_len(len));
}

/* Whether a free span begins there, in a list; its length. */
static uint32_t listed_len(const struct heap *heap, uint32_t unit)
{
	const struct unit *at = &heap->table[unit];
	uint32_t word = atomic_load(&at->word);

	return unit < heap->high && at->list && kind_of(word) == FREE ? len_of(word) : 0;
}

/* Puts a span that is free in its list, as one with its neighbours. */
static void join_span(struct heap *heap, uint32_t unit)
{
	uint32_t len = len_of(heap->table[unit].word), more;

	if (unit + len < heap->high && (more = listed_len(heap, unit + len))) {
		list_remove(heap, unit + len);
		len += more;
	}
	if (unit > 0) {
		uint32_t before = heap->table[unit - 1].begins;

		if (before < unit && listed_len(heap, before) == unit - before) {
			list_remove(heap, before);
			len += unit - before;
			unit = before;
		}
	}
	if (len != len_of(heap->table[unit].word))
		set_word(&heap->table[unit], FREE, len);
	list_span(heap, unit, len);
}

void spans_free(struct heap *heap, uint32_t unit)
{
	uint32_t len = len_of(heap->table[unit].word);

	set_word(&heap->table[unit], FREE, len);
	count_more(&heap->kept, count_there(heap, unit, len));
	join_span(heap, unit);
}

bool spans_grow(struct heap *heap, uint32_t need)
{
	uint32_t high = heap->high, n = need > GROW ? need : GROW;

	if (n > heap->units - high)
		n = need;
	if (need > heap->units - high)
		return false;
	if (pages_commit(&heap->table[high], n * sizeof(*heap->table)) != 0)
		return false;
	set_word(&heap->table[high], FREE, n);
	atomic_store(&heap->high, high + n);
	spans_free(heap, high);
	return true;
}

static uint32_t find_span(const struct heap *heap, uint32_t need)
{
	unsigned list = list_of_len(need);

	/* Here some are shorter; in all that follow none is. */
	for (uint32_t at = heap->head[list]; at != NONE; at = heap->table[at].next)
		if (len_of(heap->table[at].word) >= need)
			return at;
	list = next_filled(heap, list + 1);
	return list < SPAN_LISTS ? heap->head[list] : NONE;
}

uint32_t spans_take(struct heap *heap, uint32_t need, uint64_t owner)
{
	uint32_t unit = find_span(heap, need), len;

	if (unit == NONE)
		return NONE;
	len = len_of(heap->table[unit].word);
	list_remove(heap, unit);
	if (len > need)
		set_word(&heap->table[unit + need], FREE, len - need);
	/* Relaxed: before the word. */
	atomic_store_explicit(&heap->table[unit].owner, owner, memory_order_relaxed);
	set_word(&heap->table[unit], LARGE, need);
	if (len > need)
		list_span(heap, unit + need, len - need);
	count_less(&heap->kept, count_there(heap, unit, need));
	return unit;
}

void spans_derive(struct heap *heap)
{
	uint32_t high = heap->high, word;

	for (size_t list = 0; list < LISTS; list++)
		heap->head[list] = NONE;
	memset(heap->filled, 0, sizeof(heap->filled));
	heap->kept = 0;
	for (uint32_t unit = 0; unit < high; unit++)
		heap->table[unit].list = 0;
	for (uint32_t unit = 0; unit < high; unit += len_of(word)) {
		word = heap->table[unit].word;
		if (kind_of(word) == FREE)
			spans_free(heap, unit);
	}
}

/* ---- pages ------------------------------------------------------------------------- */

/*
 * Units whose pages this process has met. Pages that others give back and commit again it
 * meets one by one: that is slow, and not wrong.
 */
static _Atomic(page_mark *) met_units;

static page_mark *find_met(const struct heap *heap)
{
	page_mark *met = atomic_load(&met_units), *other = NULL;

	if (met)
		return met;
	met = pages_own_marks(heap->units);
	/* Two threads may come first: this one's few marks stay where they are. */
	if (met && !atomic_compare_exchange_strong(&met_units, &other, met))
		return other;
	return met;
}

/* Whether its pages are there, and this process has yet to meet them. */
static bool is_strange(const struct heap *heap, const page_mark *met, uint32_t unit)
{
	return (heap->table[unit].pages & THERE) &&
	       !(met && (met[unit / 8] >> unit % 8 & 1));
}

static void mark_met(page_mark *met, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; met && i < to; i++)
		atomic_fetch_or(&met[i / 8], 1u << i % 8);
}

void spans_meet(const struct heap *heap, uint32_t unit, uint32_t len)
{
	page_mark *met = find_met(heap);
	uint32_t end = unit + len, to;

	for (uint32_t from = unit; from < end; from = to) {
		for (to = from; to < end && is_strange(heap, met, to); to++)
			;
		if (to > from) {
			pages_meet(address(heap, from), (to - from) * UNIT);
			mark_met(met, from, to);
		}
		to++;
	}
}

static int commit_run(struct heap *heap, uint32_t from, uint32_t to)
{
	char *mem = address(heap, from);

	if (pages_commit(mem, (to - from) * UNIT) != 0) {
		pages_drop(mem, (to - from) * UNIT);
		return -ENOMEM;
	}
	mark_met(find_met(heap), from, to);
	return 0;
}

int spans_prepare(struct heap *heap, uint32_t unit, uint32_t len, size_t zeros)
{
	uint32_t end = unit + len, to;

	spans_meet(heap, unit, len);
	for (uint32_t from = unit; from < end; from = to) {
		unsigned pages = heap->table[from].pages;
		size_t at = (from - unit) * UNIT, n;

		for (to = from + 1; to < end && heap->table[to].pages == pages; to++)
			;
		if (!(pages & THERE) && commit_run(heap, from, to) != 0)
			return -ENOMEM;
		n = (to - from) * UNIT;
		if ((pages & DIRTY) && at < zeros)
			pages_zero(address(heap, from), zeros - at < n ? zeros - at : n);
		for (uint32_t i = from; i < to && pages != (THERE | DIRTY); i++)
			heap->table[i].pages = THERE | DIRTY;
	}
	return 0;
}

void spans_drop_pages(struct heap *heap, uint32_t unit, uint32_t len)
{
	for (uint32_t i = unit; i < unit + len; i++)
		heap->table[i].pages &= ~THERE;
	if (!pages_drop(address(heap, unit), len * UNIT))
		return;
	for (uint32_t i = unit; i < unit + len; i++)
		heap->table[i].pages = 0;
}

bool spans_trim(struct heap *heap)
{
	size_t kept = heap->kept;

	for (unsigned list = next_filled(heap, 0); list < SPAN_LISTS;
	     list = next_filled(heap, list + 1))
		for (uint32_t at = heap->head[list]; at != NONE;
		     at = heap->table[at].next)
			spans_drop_pages(heap, at, len_of(heap->table[at].word));
	heap->kept = 0;
	return kept > 0;
}
