/* SPDX-License-Identifier: MIT */
/* Leases: messages that come back unless they are acknowledged. */
#include "queue/box.h"
#include "queue/get.h"
#include "queue/ring.h"

#include "base/deadline.h"
#include "memory/heap.h"

/* As get_at_once(), where there are boxes already. */
static inline ssize_t lease_at_once(tine_queue *queue, void *buf, size_t size,
				    tine_lease *lease, int64_t deadline)
{
	struct sink sink = { .lease = lease };
	struct desk *desk = own_desk(queue);
	struct box *box;
	uint64_t first, word;
	struct cell *cell;
	bool tends = false;
	ssize_t got = 0;

	if (!desk || atomic_load_explicit(&queue->strays, memory_order_relaxed) > 0 ||
	    !box_at(queue, 0))
		return 0;
	take_desk(desk);
	first = atomic_load_explicit(&queue->head, memory_order_relaxed);
	cell = cell_in(&queue->ring, first);
	word = atomic_load_explicit(&cell->word, memory_order_acquire);
	box = is_at(word, FULL, first) && word_len(word) > 0 && word_len(word) <= size
		      ? find_box(queue, desk)
		      : NULL;
	if (box && claim(&queue->head, &desk->getting, first, 1)) {
		sink.buf = buf;
		got = fill_box(queue, desk, box, first, cell->data, word_len(word),
			       &sink);
		set_free(&queue->ring, cell, first);
		make_room_known(queue);
		desk->get_pace.n++;
		tends = time_to_tend(desk);
	} else if (box) {
		queue_return_box(desk, box);
	}
	leave_desk(desk);
	if (tends)
		queue_tend(queue, deadline);
	return got;
}

static __attribute__((noinline)) ssize_t lease_slowly(tine_queue *queue, void *buf,
						      size_t size, tine_lease *lease,
						      int64_t deadline)
{
	void *block = NULL;
	struct sink sink = { .buf = buf, .size = size, .n = 1, .lease = lease };

	if (!is_queue(queue))
		return not_a_queue(queue);
	if ((!buf && size > 0) || !lease || is_no_deadline(deadline))
		return -EINVAL;
	/* Which it does not take. */
	if (queue->any)
		sink.block = &block;
	return queue_get(queue, &sink, deadline);
}

ssize_t tine_queue_lease(tine_queue *queue, void *buf, size_t size, tine_lease *lease,
			 int64_t deadline)
{
	ssize_t got;

	if (is_plain(queue) && (buf || size == 0) && lease && !is_no_deadline(deadline)) {
		got = lease_at_once(queue, buf, size, lease, deadline);
		if (got > 0)
			return got;
	}
	return lease_slowly(queue, buf, size, lease, deadline);
}

/* The box of a lease that this process has, and its word: 0; -ENOENT; -ENOMEM. */
static inline int find_lease(tine_queue *queue, tine_lease lease, struct desk **desk,
			     uint64_t *word)
{
	uint64_t index = lease & UINT32_MAX, id = member_id();

	if (!id)
		return -ENOMEM;
	/* Whoever has no desk has no lease. */
	*desk = desk_at(queue, member_index(id));
	if (!*desk || atomic_load(&(*desk)->member) != id || index >= queue->capacity ||
	    !box_at(queue, 0))
		return -ENOENT;
	*word = atomic_load(&box_at(queue, index)->word);
	return word_state(*word) == HELD && box_generation(*word) == lease >> 32 &&
			       box_desk(*word) == member_index(id)
		       ? 0
		       : -ENOENT;
}

/* The block of the message on lease, which is this process's now; NULL: there is none. */
static void *accept_leased(tine_queue *queue, tine_lease lease, uint64_t word)
{
	struct parcel parcel;

	if (!is_parcel(queue, word_len(word)))
		return NULL;
	parcel = *(struct parcel *)box_at(queue, lease & UINT32_MAX)->data;
	return parcel_accept(&parcel, member_id()) ? parcel.block : NULL;
}

int tine_queue_ack(tine_queue *queue, tine_lease lease)
{
	struct desk *desk;
	void *block;
	uint64_t word;
	int err = is_queue(queue) ? find_lease(queue, lease, &desk, &word)
				  : not_a_queue(queue);

	if (err)
		return err;
	block = queue->any ? accept_leased(queue, lease, word) : NULL;
	if (block)
		tine_shared_free(block);
	/* If it ran out just now, and the block was ours, a hole is what comes back. */
	if (!atomic_compare_exchange_strong(&box_at(queue, lease & UINT32_MAX)->word,
					    &word,
					    box_word(FREE, 0, box_generation(word), 0)))
		return block ? 0 : -ENOENT;
	count_acked(desk);
	/* Those who wait for the end of the stream, for a box, or for all to be done. */
	if (all_closed(queue) ||
	    (atomic_load(&queue->awaited) && atomic_exchange(&queue->awaited, 0))) {
		sleepers_wake(&queue->items, UINT_MAX);
		sleepers_wake(&queue->drained, UINT_MAX);
	}
	return 0;
}

int tine_queue_nack(tine_queue *queue, tine_lease lease)
{
	struct desk *desk;
	uint64_t word;
	bool ended;
	int err = is_queue(queue) ? find_lease(queue, lease, &desk, &word)
				  : not_a_queue(queue);

	if (!err)
		err = queue_lock(queue, tine_after(MOMENT_MS));
	if (err)
		return err;
	ended = queue_end_lease(queue, lease & UINT32_MAX, word);
	queue_unlock(queue);
	if (!ended)
		return -ENOENT;
	queue_wake_all(queue);
	return 0;
}
