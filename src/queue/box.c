/* SPDX-License-Identifier: MIT */
/* Messages that go into boxes, and come back out of them. */
#include "queue/box.h"
#include "queue/ring.h"

void queue_return_box(struct desk *desk, struct box *box)
{
	set_box(box, FREE, 0);
	count_acked(desk);
}

/* A free box, marked as being filled; NULL: all are in use. */
static struct box *take_box(tine_queue *queue, struct desk *desk)
{
	struct box *box = find_box(queue, desk);

	if (box)
		return box;
	/* Who frees one from now on wakes those who wait; one may be free by now. */
	atomic_store(&queue->awaited, 1);
	return find_box(queue, desk);
}

int queue_make_boxes(tine_queue *queue, int64_t deadline)
{
	if (box_at(queue, 0))
		return 0;
	return queue_place(queue, (_Atomic(void *) *)&queue->boxes,
			   queue->capacity * queue->box_stride, deadline);
}

ssize_t queue_try_lease(tine_queue *queue, struct desk *desk, const struct sink *sink)
{
	struct ring ring;
	struct box *box;
	struct cell *cell;
	uint64_t first;
	ssize_t got = 0;
	int64_t k;
	size_t len;

	/* A box is not taken for nothing. */
	first = front_of(queue, queue->grows, &ring);
	if (count_full(&ring, first, 1) == 0)
		return -EAGAIN;
	box = take_box(queue, desk);
	if (!box)
		return -EAGAIN;
	k = claim_full(queue, desk, sink, &ring, &first);
	if (k < 0) {
		queue_return_box(desk, box);
		return k;
	}
	cell = cell_in(&ring, first);
	len = word_len(atomic_load_explicit(&cell->word, memory_order_relaxed));
	if (len > 0 && message_len(queue, cell->data, len) > 0)
		got = fill_box(queue, desk, box, first, cell->data, len, sink);
	else
		queue_return_box(desk, box);
	set_free(&ring, cell, first);
	make_room_known(queue);
	return got;
}

static uint64_t index_of_box(const tine_queue *queue, const struct box *box)
{
	return ((const char *)box - (char *)box_at(queue, 0)) / queue->box_stride;
}

/* With the lock held: takes a message that came back. -EAGAIN: there is none. */
static ssize_t take_stray(tine_queue *queue, struct desk *desk, const struct sink *sink)
{
	struct box *box = NULL;
	struct stray stray;
	size_t len;
	ssize_t got;

	if (!queue_find_stray(queue, &stray))
		return -EAGAIN;
	len = message_len(queue, stray.data, stray.len);
	if (len > sink->size)
		return -EMSGSIZE;
	if (len == 0) {
		queue_note_stray(queue, &stray, NULL);
		queue_take_noted(queue);
		return 0;
	}
	if (sink->lease && stray.box) {
		/* It stays in its box, under another name. */
		stray.taken = box_word(HELD, stray.len, box_generation(stray.was) + 1,
				       member_index(atomic_load(&desk->member)));
		atomic_fetch_add(&desk->leased, 1);
		begin_lease(queue, stray.box);
	} else if (sink->lease) {
		box = take_box(queue, desk);
		if (!box)
			return -EAGAIN;
	}
	queue_note_stray(queue, &stray, box);
	got = box ? fill_box(queue, desk, box, stray.position, stray.data, stray.len,
			     sink)
		  : pour(sink, sink->buf, stray.data, stray.len);
	queue_take_noted(queue);
	if (sink->lease && stray.box)
		*sink->lease = lease_of(stray.box, index_of_box(queue, stray.box));
	return got;
}

ssize_t queue_get_stray(tine_queue *queue, struct desk *desk, const struct sink *sink)
{
	ssize_t got;

	/* With the desk in hand: who cannot have it now looks into the ring first. */
	if (queue_lock(queue, TINE_NOWAIT) != 0)
		return -EAGAIN;
	got = take_stray(queue, desk, sink);
	queue_unlock(queue);
	/* Its cell may be the one that producers wait for. */
	if (got > 0)
		sleepers_wake(&queue->room, 1);
	return got;
}
