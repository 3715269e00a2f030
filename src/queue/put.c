/* SPDX-License-Identifier: MIT */
/* Putting messages, copied or in place. The protocol is in words.h. */
#include "queue/desk.h"
#include "queue/mend.h"
#include "queue/patience.h"
#include "queue/ring.h"

#include "base/deadline.h"
#include "memory/heap.h"

/* How many of n messages were put; -EAGAIN: there is no room. */
static inline __attribute__((always_inline)) ssize_t
try_put(tine_queue *queue, struct desk *desk, const char *messages, size_t len, size_t n,
	bool grows)
{
	struct ring ring;
	uint64_t first, k;

	if (n > MOST_AT_ONCE)
		n = MOST_AT_ONCE;
	do {
		k = back_of(queue, grows, &ring, &first)
			    ? count_free(queue, &ring, first, n)
			    : 0;
		if (k == 0 && first == atomic_load(&queue->tail))
			return -EAGAIN;
	} while (k == 0 || !claim(&queue->tail, &desk->putting, first, k));
	for (uint64_t i = 0; i < k; i++) {
		struct cell *cell = cell_in(&ring, first + i);

		copy(cell->data, messages + i * len, len);
		atomic_store_explicit(&cell->word, cell_word(FULL, len, first + i),
				      memory_order_release);
	}
	/* Those asleep were so before they looked, or they see the word. */
	atomic_thread_fence(memory_order_seq_cst);
	sleepers_wake(&queue->items, k);
	return (ssize_t)k;
}

/* What most calls need, where there is room; false: nothing was done. */
static inline __attribute__((always_inline)) bool
put_at_once(tine_queue *queue, const char *msg, size_t len, bool grows)
{
	struct desk *desk = own_desk(queue);
	ssize_t got;

	if (!desk)
		return false;
	take_desk(desk);
	got = may_put(queue, desk);
	if (got == 0)
		got = try_put(queue, desk, msg, len, 1, grows);
	if (got > 0)
		desk->put_pace.n++;
	leave_desk(desk);
	return got > 0;
}

static int wait_for_room(tine_queue *queue, struct waiting *patience, int64_t deadline)
{
	if (queue->grows)
		return queue_grow(queue, deadline);
	return queue_wait_a_little(queue, &queue->room, patience, deadline);
}

static __attribute__((noinline)) ssize_t put(tine_queue *queue, const char *messages,
					     size_t len, size_t n, int64_t deadline)
{
	struct waiting patience = { 0 };
	size_t done = 0;
	struct desk *desk;
	ssize_t got;
	int err = queue_find_desk(queue, &desk, deadline);

	if (err)
		return err;
	while (done < n) {
		take_desk(desk);
		got = may_put(queue, desk);
		if (got == 0)
			got = try_put(queue, desk, messages + done * len, len, n - done,
				      queue->grows);
		keep_pace(&desk->put_pace, &patience, got > 0);
		leave_desk(desk);
		if (got > 0) {
			/* Not patient anew: each cell that is freed would end a sleep. */
			done += got;
			continue;
		}
		if (got == -EAGAIN)
			got = wait_for_room(queue, &patience, deadline);
		if (got != 0)
			return done > 0 ? (ssize_t)done : got;
	}
	return (ssize_t)done;
}

/* With the desk in hand, so that no other thread of the process is at a send. */
static ssize_t try_send(tine_queue *queue, struct desk *desk, struct parcel *parcel)
{
	uint64_t owner = member_id();
	ssize_t got;

	parcel->sender = member_sender(owner);
	if (!parcel->sender || !owned_pass(parcel->block, owner, parcel->sender))
		return -ENOENT;
	got = try_put(queue, desk, (char *)parcel, sizeof(*parcel), 1, queue->grows);
	owned_pass(parcel->block, parcel->sender, got > 0 ? parcel->token : owner);
	return got;
}

/* The block is this process's; unless 0 is returned, it still is. */
static int send_block(tine_queue *queue, void *block, size_t len, int64_t deadline)
{
	struct parcel parcel = { .block = block, .len = len, .token = member_token() };
	struct waiting patience = { 0 };
	struct desk *desk;
	ssize_t got;
	int err = parcel.token ? queue_find_desk(queue, &desk, deadline) : -ENOMEM;

	while (!err) {
		take_desk(desk);
		got = may_put(queue, desk);
		if (got == 0)
			got = try_send(queue, desk, &parcel);
		keep_pace(&desk->put_pace, &patience, got > 0);
		leave_desk(desk);
		if (got > 0)
			return 0;
		err = got == -EAGAIN ? wait_for_room(queue, &patience, deadline)
				     : (int)got;
	}
	return err;
}

/* -EMSGSIZE where messages have a length. */
static __attribute__((noinline)) int put_long(tine_queue *queue, const void *msg,
					      size_t len, int64_t deadline)
{
	void *block;
	int err;

	if (!queue->any)
		return -EMSGSIZE;
	err = queue_new_block(&block, len, deadline);
	if (err)
		return err;
	memcpy(block, msg, len);
	err = send_block(queue, block, len, deadline);
	if (err)
		tine_shared_free(block);
	return err;
}

static inline __attribute__((always_inline)) int
put_one(tine_queue *queue, const void *msg, size_t len, int64_t deadline, bool grows)
{
	ssize_t n;

	if (!msg || len == 0 || is_no_deadline(deadline))
		return -EINVAL;
	if (len > queue->max_len)
		return put_long(queue, msg, len, deadline);
	if (put_at_once(queue, msg, len, grows))
		return 0;
	n = put(queue, msg, len, 1, deadline);
	return n < 0 ? (int)n : 0;
}

/* Where there is no bound; apart, so that the others are as short as they were. */
static __attribute__((noinline)) int put_unbounded(tine_queue *queue, const void *msg,
						   size_t len, int64_t deadline)
{
	if (!is_queue(queue))
		return not_a_queue(queue);
	return put_one(queue, msg, len, deadline, true);
}

int tine_queue_put(tine_queue *queue, const void *msg, size_t len, int64_t deadline)
{
	if (!is_bounded(queue))
		return put_unbounded(queue, msg, len, deadline);
	return put_one(queue, msg, len, deadline, false);
}

ssize_t tine_queue_put_many(tine_queue *queue, const void *msgs, size_t n,
			    int64_t deadline)
{
	if (!is_queue(queue))
		return not_a_queue(queue);
	if ((!msgs && n > 0) || queue->any || is_no_deadline(deadline))
		return -EINVAL;
	return put(queue, msgs, queue->max_len, n, deadline);
}

int tine_queue_reserve(tine_queue *queue, size_t len, void **mem)
{
	void *block;
	int err;

	if (!is_queue(queue))
		return not_a_queue(queue);
	if (!queue->any || !mem || len == 0)
		return -EINVAL;
	err = queue_new_block(&block, len, shared_patience());
	if (!err)
		*mem = block;
	return err;
}

int tine_queue_commit(tine_queue *queue, void *mem, size_t len, int64_t deadline)
{
	if (!is_queue(queue))
		return not_a_queue(queue);
	if (!queue->any || !mem || len == 0 || is_no_deadline(deadline))
		return -EINVAL;
	if (owned_by(mem) != member_id())
		return -ENOENT;
	return send_block(queue, mem, len, deadline);
}
