/* SPDX-License-Identifier: MIT */
/* Getting messages, copied or in place. The protocol is in words.h. */
#include "queue/get.h"
#include "queue/box.h"
#include "queue/patience.h"
#include "queue/ring.h"

#include "base/deadline.h"
#include "memory/heap.h"

/*
 * 0: only holes. Little is stored but what has to be: stores keep their order, and here
 * they wait for cells that other processors have.
 */
static inline __attribute__((always_inline)) ssize_t
try_get(tine_queue *queue, struct desk *desk, const struct sink *sink)
{
	struct ring ring;
	uint64_t first;
	int64_t k = claim_full(queue, desk, sink, &ring, &first);
	char *buf = sink->buf;
	ssize_t got = 0;

	for (int64_t i = 0; i < k; i++) {
		struct cell *cell = cell_in(&ring, first + i);
		size_t len = word_len(
			atomic_load_explicit(&cell->word, memory_order_relaxed));

		if (len > 0) {
			got += pour_cell(sink, buf, cell->data, len);
			buf += sink->size;
		}
		set_free(&ring, cell, first + i);
	}
	if (k < 0)
		return k;
	make_room_known(queue);
	return got;
}

/* The same, of one message of any length. */
static __attribute__((noinline)) ssize_t try_get_any(tine_queue *queue, struct desk *desk,
						     const struct sink *sink)
{
	struct ring ring;
	uint64_t first;
	int64_t k = claim_full(queue, desk, sink, &ring, &first);
	struct cell *cell = cell_in(&ring, first);
	ssize_t got = 0;
	size_t len;

	if (k < 0)
		return k;
	len = word_len(atomic_load_explicit(&cell->word, memory_order_relaxed));
	if (len > 0)
		got = pour(sink, sink->buf, cell->data, len);
	set_free(&ring, cell, first);
	make_room_known(queue);
	return got;
}

static ssize_t attempt(tine_queue *queue, struct desk *desk, const struct sink *sink,
		       struct waiting *patience, int64_t deadline)
{
	ssize_t got = -EAGAIN;
	bool tends;

	take_desk(desk);
	if (atomic_load_explicit(&queue->strays, memory_order_relaxed) > 0)
		got = queue_get_stray(queue, desk, sink);
	if (got == -EAGAIN)
		got = sink->lease   ? queue_try_lease(queue, desk, sink)
		      : sink->block ? try_get_any(queue, desk, sink)
				    : try_get(queue, desk, sink);
	keep_pace(&desk->get_pace, patience, got > 0);
	tends = time_to_tend(desk);
	leave_desk(desk);
	if (tends)
		queue_tend(queue, deadline);
	if (queue->grows && queue_lags(queue))
		queue_trim(queue);
	return got;
}

ssize_t queue_get(tine_queue *queue, const struct sink *sink, int64_t deadline)
{
	struct waiting patience = { 0 };
	struct desk *desk;
	ssize_t got;
	int err = queue_find_desk(queue, &desk, deadline);

	if (!err && sink->lease)
		err = queue_make_boxes(queue, deadline);
	if (err)
		return err;
	for (;;) {
		got = attempt(queue, desk, sink, &patience, deadline);
		if (got > 0)
			return got;
		if (got == 0)
			continue;
		if (got != -EAGAIN)
			return got;
		if (all_closed(queue) && queue_has_ended(queue, deadline))
			return 0;
		err = queue_wait_a_little(queue, &queue->items, &patience, deadline);
		if (err)
			return err;
	}
}

/*
 * What most calls need, where a message is at hand: its length; 0: nothing was done, and
 * queue_get() sees why. The sink that it has would be built, and read, for each message.
 */
static inline __attribute__((always_inline)) ssize_t
get_at_once(tine_queue *queue, void *buf, size_t size, bool grows, int64_t deadline)
{
	struct desk *desk = own_desk(queue);
	uint64_t first, word;
	struct cell *cell;
	struct ring ring;
	bool tends = false;
	ssize_t got = 0;

	if (!desk || atomic_load_explicit(&queue->strays, memory_order_relaxed) > 0)
		return 0;
	take_desk(desk);
	first = front_of(queue, grows, &ring);
	cell = cell_in(&ring, first);
	word = atomic_load_explicit(&cell->word, memory_order_acquire);
	if (is_at(word, FULL, first) && word_len(word) <= size &&
	    claim(&queue->head, &desk->getting, first, 1)) {
		got = (ssize_t)word_len(word);
		copy(buf, cell->data, got);
		set_free(&ring, cell, first);
		make_room_known(queue);
		desk->get_pace.n++;
		tends = time_to_tend(desk);
	}
	leave_desk(desk);
	if (tends)
		queue_tend(queue, deadline);
	if (grows && queue_lags(queue))
		queue_trim(queue);
	return got;
}

static __attribute__((noinline)) ssize_t get_elsewhere(tine_queue *queue, void *buf,
						       size_t size, int64_t deadline)
{
	void *block = NULL;
	struct sink sink = { .buf = buf, .size = size, .n = 1 };
	ssize_t got;

	if (!is_queue(queue))
		return not_a_queue(queue);
	if (queue->any)
		sink.block = &block;
	else if ((got = get_at_once(queue, buf, size, true, deadline)) > 0)
		return got;
	if ((!buf && size > 0) || is_no_deadline(deadline))
		return -EINVAL;
	got = queue_get(queue, &sink, deadline);
	if (block)
		tine_shared_free(block);
	return got;
}

ssize_t tine_queue_get(tine_queue *queue, void *buf, size_t size, int64_t deadline)
{
	struct sink sink = { .buf = buf, .size = size, .n = 1 };
	ssize_t got;

	if (!is_plain(queue))
		return get_elsewhere(queue, buf, size, deadline);
	if ((!buf && size > 0) || is_no_deadline(deadline))
		return -EINVAL;
	got = get_at_once(queue, buf, size, false, deadline);
	if (got > 0)
		return got;
	return queue_get(queue, &sink, deadline);
}

ssize_t tine_queue_get_many(tine_queue *queue, void *msgs, size_t n, int64_t deadline)
{
	struct sink sink = { .buf = msgs, .n = n, .many = true };
	struct desk *desk;
	ssize_t got;

	if (!is_queue(queue))
		return not_a_queue(queue);
	if (!msgs || n == 0 || queue->any || is_no_deadline(deadline))
		return -EINVAL;
	sink.size = queue->max_len;
	if (n > MOST_AT_ONCE)
		sink.n = MOST_AT_ONCE;
	desk = own_desk(queue);
	got = desk ? attempt(queue, desk, &sink, NULL, deadline) : 0;
	return got > 0 ? got : queue_get(queue, &sink, deadline);
}

ssize_t tine_queue_take(tine_queue *queue, const void **msg, int64_t deadline)
{
	void *block = NULL, *small;
	struct sink sink = {
		.size = SIZE_MAX, .n = 1, .in_place = true, .block = &block
	};
	ssize_t got;
	int err;

	if (!is_queue(queue))
		return not_a_queue(queue);
	if (!queue->any || !msg || is_no_deadline(deadline))
		return -EINVAL;
	/* Of one that lies in its cell. */
	err = queue_new_block(&small, MOST_INLINE, deadline);
	if (err)
		return err;
	sink.buf = small;
	got = queue_get(queue, &sink, deadline);
	if (got > 0)
		*msg = block ? block : small;
	if (got <= 0 || block)
		tine_shared_free(small);
	return got;
}

int tine_queue_release(tine_queue *queue, const void *msg)
{
	if (!is_queue(queue))
		return not_a_queue(queue);
	if (!queue->any || !msg)
		return -EINVAL;
	if (owned_by(msg) != member_id())
		return -ENOENT;
	tine_shared_free((void *)msg);
	return 0;
}
