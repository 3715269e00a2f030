/* SPDX-License-Identifier: MIT */
/* A queue begins and ends. */
#include "queue/desk.h"
#include "queue/mend.h"
#include "queue/parcel.h"
#include "queue/patience.h"
#include "queue/ring.h"

#include "base/cpus.h"
#include "base/deadline.h"
#include "base/options.h"
#include "memory/heap.h"

#define CAPACITY      1024
#define LEAST_CELLS   16 /* of the default capacity, and */
#define MOST_BYTES    ((size_t)64 << 20)
#define MOST_CELLS    (UINT64_C(1) << 31)
#define MOST_LEASE_MS INT64_C(1000000000000)

/* -EINVAL: more than there can be. */
static int measure(tine_queue *shape, size_t max_len, const tine_queue_opts *opts)
{
	uint64_t cells = 1;

	if (max_len > MAX_LEN || (opts && !ROOM_IS_ZERO(opts)) ||
	    (opts && (opts->lease_ms < 0 || opts->lease_ms > MOST_LEASE_MS)))
		return -EINVAL;
	shape->any = max_len == 0;
	shape->max_len = shape->any ? MOST_INLINE : max_len;
	if (shape->any)
		max_len = sizeof(struct parcel);
	shape->ring.stride = sizeof(struct cell) + (max_len + 7) / 8 * 8;
	shape->box_stride = sizeof(struct box) + (max_len + 7) / 8 * 8;
	shape->producers = opts && opts->producers ? opts->producers : 1;
	shape->lease = opts ? opts->lease_ms * 1000000 : 0;
	shape->capacity = opts ? opts->capacity : 0;
	shape->grows = shape->capacity == TINE_UNBOUNDED;
	if (shape->capacity == 0 || shape->grows) {
		shape->capacity = CAPACITY;
		while (shape->capacity > LEAST_CELLS &&
		       shape->capacity * shape->ring.stride > MOST_BYTES)
			shape->capacity /= 2;
	}
	if (shape->capacity > MOST_CELLS)
		return -EINVAL;
	while (cells < shape->capacity)
		cells *= 2;
	shape->ring.mask = cells - 1;
	return 0;
}

int tine_queue_new(tine_queue **out, size_t max_len, const tine_queue_opts *opts)
{
	tine_queue shape = { 0 }, *queue;
	size_t head = (sizeof(*queue) + 63) / 64 * 64, cells = 0;
	void *mem;
	int err = out ? measure(&shape, max_len, opts) : -EINVAL;

	if (err)
		return err;
	if (!shape.grows)
		cells = (shape.ring.mask + 1) * shape.ring.stride;
	err = shared_alloc(&mem, head + cells, SHARED_PATIENTLY);
	if (err)
		return err;
	queue = mem;
	queue->max_len = shape.max_len;
	queue->any = shape.any;
	queue->box_stride = shape.box_stride;
	queue->capacity = shape.capacity;
	queue->ring = shape.ring;
	queue->grows = shape.grows;
	queue->producers = shape.producers;
	queue->spins = affine_processors() > 1;
	queue->nap = FIRST_NAP;
	queue->sleep = WATCH_AGAIN;
	queue->lease = shape.lease;
	if (queue->grows) {
		err = queue_first_ring(queue, shared_patience());
		if (err) {
			tine_shared_free(queue);
			return err;
		}
	} else {
		queue->ring.cells = (char *)queue + head;
		ring_begin(&queue->ring, 0);
	}
	queue->magic = QUEUE_MAGIC | (queue->any ? ANY_LENGTH : 0) |
		       (queue->grows ? UNBOUNDED : 0);
	*out = queue;
	return 0;
}

static void free_parcel(tine_queue *queue, const void *data, uint64_t word)
{
	if ((word_state(word) == FULL || word_state(word) == STRAY ||
	     word_state(word) == HELD) &&
	    is_parcel(queue, word_len(word)) && parcel_is_whole(data))
		tine_shared_free(((const struct parcel *)data)->block);
}

static void free_parcels(tine_queue *queue)
{
	struct ring ring;

	for (unsigned n = 0; queue_nth_ring(queue, n, &ring); n++)
		for (uint64_t i = 0; i <= ring.mask; i++)
			free_parcel(queue, cell_in(&ring, i)->data,
				    cell_in(&ring, i)->word);
	for (uint64_t i = 0; i < queue->capacity && box_at(queue, 0); i++)
		free_parcel(queue, box_at(queue, i)->data, box_at(queue, i)->word);
}

void tine_queue_free(tine_queue *queue)
{
	if (!is_queue(queue))
		return;
	if (queue->any)
		free_parcels(queue);
	queue->magic = 0;
	queue_finish_place(queue);
	if (queue->grows)
		queue_free_rings(queue);
	for (unsigned i = 0; i < MEMBERS / DESK_GROUP; i++)
		tine_shared_free(atomic_load(&queue->group[i]));
	tine_shared_free(atomic_load(&queue->boxes));
	tine_shared_free(queue);
}

size_t tine_queue_len(const tine_queue *queue)
{
	struct ring front, back;
	uint64_t head, tail;

	if (!is_queue(queue))
		return 0;
	head = front_of((tine_queue *)queue, queue->grows, &front) - front.skipped;
	back_of(queue, queue->grows, &back, &tail);
	tail = (tail & ~SEALED) - back.skipped;
	/* Read apart: others may have got more than had been put. */
	return (tail > head ? tail - head : 0) + count_strays(queue);
}

int tine_queue_drained(tine_queue *queue, int64_t deadline)
{
	/* Not awake: each look takes the lock. */
	struct waiting patience = { .begun = 1 };
	struct desk *desk;
	bool drained;
	int err;

	if (!is_queue(queue))
		return not_a_queue(queue);
	if (is_no_deadline(deadline))
		return -EINVAL;
	/* If it dies with the lock held, that is noticed by its desk. */
	err = queue_find_desk(queue, &desk, deadline);
	if (err)
		return err;
	for (;;) {
		/* Whoever acknowledges from now on wakes those who wait. */
		atomic_store(&queue->awaited, 1);
		err = queue_lock(queue, earlier(deadline, tine_after(MOMENT_MS)));
		if (err == -EINTR)
			return err;
		if (err == 0) {
			drained = queue_drained(queue);
			queue_unlock(queue);
			if (drained)
				return 0;
		}
		err = queue_wait_a_little(queue, &queue->drained, &patience, deadline);
		if (err)
			return err;
	}
}

int tine_queue_close(tine_queue *queue)
{
	struct desk *desk;
	int err = queue_find_desk_soon(queue, &desk);

	if (err)
		return err;
	/* Another thread's put is over before, or is told. */
	take_desk(desk);
	atomic_fetch_or(&desk->role, CLOSING);
	leave_desk(desk);
	atomic_store(&queue->uncounted, 1);
	/* Whoever has the lock counts, or who looks next. */
	if (queue_lock(queue, tine_after(MOMENT_MS)) == 0)
		queue_unlock(queue);
	queue_wake_all(queue);
	return 0;
}
