/* SPDX-License-Identifier: MIT */
/* Claims of cells: what each put and get does. The protocol is in words.h. */
#ifndef TINE_QUEUE_RING_H
#define TINE_QUEUE_RING_H

#include "queue/growth.h"
#include "queue/sink.h"

#define MOST_FETCHED 32 /* cells */
#define LEAST_STRIDE 16
#define TEND_TURNS   64

/*
 * Release, of the claim: what the desk claimed before is complete when it is seen. Of the
 * cursor: whoever sees that it has passed sees the claim too.
 */
static inline bool claim(_Atomic uint64_t *end, _Atomic uint64_t *claims, uint64_t first,
			 uint64_t n)
{
	atomic_store_explicit(claims, claim_of(first, n), memory_order_release);
	if (atomic_compare_exchange_strong_explicit(
		    end, &first, first + n, memory_order_acq_rel, memory_order_relaxed))
		return true;
	atomic_store_explicit(claims, NO_CLAIM, memory_order_release);
	return false;
}

/*
 * Where head is, and its ring. What a call has written to stays in memory; a copy of it
 * may be in registers while cells are written.
 */
static inline uint64_t front_of(tine_queue *queue, bool grows, struct ring *ring)
{
	if (grows) {
		struct ring front;
		uint64_t head = queue_front(queue, &front);

		*ring = front;
		return head;
	}
	*ring = queue->ring;
	return atomic_load_explicit(&queue->head, memory_order_relaxed);
}

/* Where tail is, and its ring; false: it is sealed. */
static inline bool back_of(const tine_queue *queue, bool grows, struct ring *ring,
			   uint64_t *tail)
{
	if (grows) {
		struct ring back;
		uint64_t end;
		bool open = queue_back(queue, &back, &end);

		*ring = back;
		*tail = end;
		return open;
	}
	*ring = queue->ring;
	*tail = atomic_load_explicit(&queue->tail, memory_order_relaxed);
	return true;
}

/* How many cells from the position on are free, of at most n. */
static inline uint64_t count_free(const tine_queue *queue, const struct ring *ring,
				  uint64_t first, uint64_t n)
{
	uint64_t k = 0;

	if (queue->capacity <= queue->ring.mask) {
		uint64_t used = first - atomic_load(&queue->head);
		uint64_t left = used < queue->capacity ? queue->capacity - used : 0;

		n = n < left ? n : left;
	}
	while (k < n && atomic_load_explicit(&cell_in(ring, first + k)->word,
					     memory_order_acquire) ==
				cell_word(FREE, 0, first + k))
		k++;
	return k;
}

static inline uint64_t count_full(const struct ring *ring, uint64_t first, uint64_t n)
{
	uint64_t k = 0;

	while (k < n && is_at(atomic_load_explicit(&cell_in(ring, first + k)->word,
						   memory_order_acquire),
			      FULL, first + k))
		k++;
	return k;
}

static inline void set_free(const struct ring *ring, struct cell *cell, uint64_t position)
{
	atomic_store_explicit(&cell->word, freed_in(ring, position),
			      memory_order_release);
}

/*
 * Producers are not woken for each cell, but when half of them are free: each would fill
 * one, and sleep again. No fence: if a sleeper is missed, the next to get sees it, or it
 * looks again by itself.
 */
static inline void make_room_known(tine_queue *queue)
{
	uint64_t half = (queue->capacity + 1) / 2;

	if (sleepers_any(&queue->room) &&
	    atomic_load(&queue->tail) - atomic_load(&queue->head) <=
		    queue->capacity - half)
		sleepers_wake(&queue->room, half);
}

/*
 * Who always finds messages never sleeps, and looks after the dead all the same.
 */
static inline bool time_to_tend(struct desk *desk)
{
	return ++desk->turns % TEND_TURNS == 0;
}

/*
 * From another processor, many lines take little longer than one, if asked for at once.
 */
static inline void fetch(const struct ring *ring, uint64_t first, uint64_t n)
{
	for (uint64_t i = 0; i < n && i < MOST_FETCHED; i += 64 / LEAST_STRIDE)
		__builtin_prefetch(cell_in(ring, first + i));
}

/*
 * Claims messages from head on: how many, -EAGAIN: none, -EMSGSIZE: the first is too
 * long.
 */
static inline __attribute__((always_inline)) int64_t
claim_full(tine_queue *queue, struct desk *desk, const struct sink *sink,
	   struct ring *ring, uint64_t *first)
{
	struct cell *cell;
	int64_t k;
	bool fits;

	do {
		*first = front_of(queue, queue->grows, ring);
		if (sink->many)
			fetch(ring, *first, sink->n);
		k = (int64_t)count_full(ring, *first, sink->n);
		cell = cell_in(ring, *first);
		fits = k == 0 ||
		       message_len(queue, cell->data,
				   word_len(atomic_load_explicit(
					   &cell->word, memory_order_relaxed))) <=
			       sink->size;
		if ((k == 0 || !fits) && *first == atomic_load(&queue->head))
			return fits ? -EAGAIN : -EMSGSIZE;
	} while (k == 0 || !fits || !claim(&queue->head, &desk->getting, *first, k));
	return k;
}

#endif
