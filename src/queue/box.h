/* SPDX-License-Identifier: MIT */
/* Boxes: where the messages are that are on lease. The protocol is in words.h. */
#ifndef TINE_QUEUE_BOX_H
#define TINE_QUEUE_BOX_H

#include "queue/desk.h"
#include "queue/mend.h"
#include "queue/sink.h"

static inline struct box *find_box(tine_queue *queue, struct desk *desk)
{
	unsigned index = member_index(
		atomic_load_explicit(&desk->member, memory_order_relaxed));
	uint32_t leased = atomic_load_explicit(&desk->leased, memory_order_relaxed);

	/* Counted before, for whoever looks whether anything is on lease. */
	atomic_store_explicit(&desk->leased, leased + 1, memory_order_relaxed);
	for (uint64_t i = 0; i < queue->capacity; i++) {
		struct box *box;
		uint64_t word;

		if (desk->box >= queue->capacity)
			desk->box = 0;
		box = box_at(queue, desk->box);
		word = atomic_load_explicit(&box->word, memory_order_relaxed);
		if (word_state(word) == FREE &&
		    atomic_compare_exchange_strong(
			    &box->word, &word,
			    box_word(TAKING, 0, box_generation(word) + 1, index)))
			return box;
		desk->box++;
	}
	atomic_store_explicit(&desk->leased, leased, memory_order_relaxed);
	return NULL;
}

/* The same word, in another state and of another length. */
static inline void set_box(struct box *box, enum state state, size_t len)
{
	uint64_t word = atomic_load_explicit(&box->word, memory_order_relaxed);

	atomic_store_explicit(&box->word,
			      box_word(state, len, box_generation(word), box_desk(word)),
			      memory_order_release);
}

/* One box less, which is free already. */
static inline void count_acked(struct desk *desk)
{
	if (__libc_single_threaded)
		atomic_store_explicit(
			&desk->acked,
			atomic_load_explicit(&desk->acked, memory_order_relaxed) + 1,
			memory_order_release);
	else
		atomic_fetch_add(&desk->acked, 1);
}

static inline tine_lease lease_of(const struct box *box, uint64_t index)
{
	return (uint64_t)box_generation(atomic_load(&box->word)) << 32 | index;
}

static inline void begin_lease(tine_queue *queue, struct box *box)
{
	int64_t until;

	if (!queue->lease)
		return;
	until = tine_now() + queue->lease;
	atomic_store(&box->until, until);
	queue_note_due(queue, until);
}

/* The box at which the desk is. */
static inline ssize_t fill_box(tine_queue *queue, struct desk *desk, struct box *box,
			       uint64_t position, const void *data, size_t len,
			       const struct sink *sink)
{
	copy(box->data, data, len);
	begin_lease(queue, box);
	atomic_store_explicit(&box->position, position, memory_order_relaxed);
	set_box(box, HELD, len);
	*sink->lease = lease_of(box, desk->box);
	return pour(sink, sink->buf, data, len);
}

void queue_return_box(struct desk *, struct box *);
/* At the first lease: 0; -ENOMEM; -ETIMEDOUT. */
int queue_make_boxes(tine_queue *, int64_t deadline);
/* As of a get: what the message is long; 0: a hole; -EAGAIN: no message, or no box. */
ssize_t queue_try_lease(tine_queue *, struct desk *, const struct sink *);
/* A message that came back, on lease or not. -EAGAIN: there is none to be had now. */
ssize_t queue_get_stray(tine_queue *, struct desk *, const struct sink *);

#endif
