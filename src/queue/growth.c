/* SPDX-License-Identifier: MIT */
/* The rings of a queue without a bound. The protocol is in growth.h. */
#include "queue/growth.h"

#include "memory/heap.h"
#include "memory/owned.h"
#include "sync/member.h"

#include <errno.h>

#define FIRST_BYTES 1024
#define MOST_BYTES  ((size_t)4 << 20) /* of a ring, unless one message is longer */

static struct ring ring_of(const struct tine_queue *queue, struct stretch *stretch)
{
	return (struct ring){
		.cells = stretch->cells,
		.mask = atomic_load_explicit(&stretch->mask, memory_order_relaxed),
		.stride = queue->ring.stride,
		.skipped = atomic_load_explicit(&stretch->skipped, memory_order_relaxed),
	};
}

/* ---- without the lock -------------------------------------------------------------- */

uint64_t queue_front(struct tine_queue *queue, struct ring *ring)
{
	for (;;) {
		uint64_t head = atomic_load(&queue->head);
		struct stretch *front = atomic_load(&queue->front);
		struct stretch *stretch = front, *next;
		uint64_t end;

		for (;; stretch = next) {
			end = atomic_load(&stretch->end);
			next = atomic_load(&stretch->next);
			*ring = ring_of(queue, stretch);
			if (atomic_load(&queue->head) != head ||
			    atomic_load(&queue->front) != front)
				break;
			if (head < end)
				return head;
			if (head == end) {
				atomic_compare_exchange_strong(&queue->head, &head,
							       end + 1);
				break;
			}
		}
	}
}

bool queue_back(const struct tine_queue *queue, struct ring *ring, uint64_t *tail)
{
	do {
		*tail = atomic_load(&queue->tail);
		*ring = ring_of(queue, atomic_load(&queue->back));
	} while (*tail != atomic_load(&queue->tail));
	return !(*tail & SEALED);
}

bool queue_lags(struct tine_queue *queue)
{
	return atomic_load(&queue->head) > atomic_load(&atomic_load(&queue->front)->end);
}

static bool is_too_large(struct tine_queue *queue)
{
	return atomic_load(&queue->head) == atomic_load(&queue->tail) &&
	       atomic_load(&atomic_load(&queue->back)->mask) > queue->ring.mask;
}

bool queue_is_slack(struct tine_queue *queue)
{
	return atomic_load(&queue->oldest) != atomic_load(&queue->front) ||
	       atomic_load(&queue->head) >=
		       atomic_load(&atomic_load(&queue->front)->end) ||
	       is_too_large(queue);
}

/* ---- a new one --------------------------------------------------------------------- */

static int new_stretch(struct stretch **stretch, const struct tine_queue *queue,
		       uint64_t mask, uint64_t owner, int64_t deadline)
{
	void *mem;
	int err = owned_new(&mem, sizeof(**stretch) + (mask + 1) * queue->ring.stride,
			    owner, deadline);

	if (err)
		return err;
	*stretch = mem;
	atomic_store(&(*stretch)->mask, mask);
	return 0;
}

static void begin_stretch(const struct tine_queue *queue, struct stretch *stretch,
			  uint64_t from, uint64_t skipped)
{
	struct ring ring;

	atomic_store(&stretch->from, from);
	atomic_store(&stretch->skipped, skipped);
	atomic_store(&stretch->next, NULL);
	atomic_store(&stretch->end, UNSEALED);
	stretch->done = from;
	ring = ring_of(queue, stretch);
	ring_begin(&ring, from);
}

/* Tail is sealed, and loose is what is to be the back, or is it already. */
static void link_loose(struct tine_queue *queue)
{
	struct stretch *back = atomic_load(&queue->back);
	struct stretch *loose = atomic_load(&queue->loose);
	uint64_t end = atomic_load(&queue->tail) & ~SEALED;

	if (back != loose) {
		begin_stretch(queue, loose, end + 1, atomic_load(&back->skipped) + 1);
		atomic_store(&back->next, loose);
		atomic_store(&back->end, end);
		atomic_store(&queue->back, loose);
	}
	atomic_store(&queue->tail, end + 1);
	atomic_store(&queue->loose, NULL);
}

static int add_stretch(struct tine_queue *queue, uint64_t mask, int64_t deadline)
{
	uint64_t id = member_id();
	struct stretch *stretch;
	int err = new_stretch(&stretch, queue, mask, id, deadline);

	if (err)
		return err;
	atomic_store(&queue->loose, stretch);
	owned_pass(stretch, id, queue->token);
	atomic_fetch_or(&queue->tail, SEALED);
	link_loose(queue);
	return 0;
}

int queue_first_ring(struct tine_queue *queue, int64_t deadline)
{
	uint64_t cells = 1;
	struct stretch *stretch;
	struct member *self;
	/* There are no tokens before there is a member. */
	int err = member_join(&self, deadline);

	if (err)
		return err;
	while (sizeof(*stretch) + 2 * cells * queue->ring.stride <= FIRST_BYTES)
		cells *= 2;
	queue->ring.mask = cells - 1;
	queue->token = member_token();
	err = new_stretch(&stretch, queue, cells - 1, queue->token, deadline);
	if (err)
		return err;
	begin_stretch(queue, stretch, 0, 0);
	atomic_store(&queue->oldest, stretch);
	atomic_store(&queue->front, stretch);
	atomic_store(&queue->back, stretch);
	return 0;
}

int queue_extend(struct tine_queue *queue, int64_t deadline)
{
	struct ring back;
	uint64_t tail, cells;

	queue_fit(queue);
	queue_back(queue, &back, &tail);
	if (atomic_load(&cell_in(&back, tail)->word) == cell_word(FREE, 0, tail))
		return 0;
	cells = back.mask + 1;
	if (2 * cells * back.stride <= MOST_BYTES)
		cells *= 2;
	return add_stretch(queue, cells - 1, deadline);
}

/* ---- the end of one ---------------------------------------------------------------- */

/* Unless it is a dead one's, who was about to free it, and it was freed with that. */
static void drop_loose(struct tine_queue *queue)
{
	struct stretch *loose = atomic_load(&queue->loose);

	if (owned_pass(loose, queue->token, member_id()))
		tine_shared_free(loose);
	atomic_store(&queue->loose, NULL);
}

void queue_move_on(struct tine_queue *queue)
{
	struct stretch *front = atomic_load(&queue->front);
	struct ring ring;
	uint64_t head = queue_front(queue, &ring);

	while (atomic_load(&front->end) < head)
		front = atomic_load(&front->next);
	atomic_store(&queue->front, front);
}

/* Head has left it. */
static bool has_no_message(const struct tine_queue *queue, struct stretch *stretch)
{
	uint64_t end = atomic_load(&stretch->end);
	struct ring ring = ring_of(queue, stretch);

	if (end - stretch->done > ring.mask + 1)
		stretch->done = end - ring.mask - 1;
	while (stretch->done < end &&
	       atomic_load_explicit(&cell_in(&ring, stretch->done)->word,
				    memory_order_acquire) ==
		       freed_in(&ring, stretch->done))
		stretch->done++;
	return stretch->done == end;
}

/* link leads to it. */
static void unlink_stretch(struct tine_queue *queue, _Atomic(struct stretch *) *link)
{
	struct stretch *stretch = atomic_load(link);

	atomic_store(&queue->loose, stretch);
	atomic_store(link, atomic_load(&stretch->next));
	drop_loose(queue);
}

static void free_done(struct tine_queue *queue)
{
	struct stretch *front = atomic_load(&queue->front), *stretch;
	_Atomic(struct stretch *) *link = &queue->oldest;

	while ((stretch = atomic_load(link)) != front) {
		if (has_no_message(queue, stretch))
			unlink_stretch(queue, link);
		else
			link = &stretch->next;
	}
}

void queue_fit(struct tine_queue *queue)
{
	queue_move_on(queue);
	free_done(queue);
	if (is_too_large(queue) &&
	    add_stretch(queue, queue->ring.mask, TINE_NOWAIT) == 0) {
		queue_move_on(queue);
		free_done(queue);
	}
}

static bool is_linked(struct tine_queue *queue, const struct stretch *wanted)
{
	struct stretch *stretch = atomic_load(&queue->oldest);

	while (stretch && stretch != wanted)
		stretch = atomic_load(&stretch->next);
	return stretch != NULL;
}

void queue_finish_growth(struct tine_queue *queue)
{
	struct stretch *loose = atomic_load(&queue->loose);

	if (atomic_load(&queue->tail) & SEALED)
		link_loose(queue);
	else if (loose && is_linked(queue, loose))
		atomic_store(&queue->loose, NULL);
	else if (loose)
		drop_loose(queue);
}

/* ---- looking for one --------------------------------------------------------------- */

bool queue_find_ring(const struct tine_queue *queue, uint64_t position, struct ring *ring)
{
	struct stretch *stretch = atomic_load(&queue->oldest);

	*ring = queue->ring;
	if (!queue->grows)
		return true;
	while (stretch && position >= atomic_load(&stretch->end))
		stretch = atomic_load(&stretch->next);
	if (!stretch || position < atomic_load(&stretch->from))
		return false;
	*ring = ring_of(queue, stretch);
	return true;
}

bool queue_nth_ring(const struct tine_queue *queue, unsigned n, struct ring *ring)
{
	struct stretch *stretch = atomic_load(&queue->oldest);

	*ring = queue->ring;
	if (!queue->grows)
		return n == 0;
	while (stretch && n-- > 0)
		stretch = atomic_load(&stretch->next);
	if (stretch)
		*ring = ring_of(queue, stretch);
	return stretch != NULL;
}

void queue_free_rings(struct tine_queue *queue)
{
	struct stretch *stretch = atomic_load(&queue->oldest), *next;

	queue_finish_growth(queue);
	for (; stretch; stretch = next) {
		next = atomic_load(&stretch->next);
		tine_shared_free(stretch);
	}
}
