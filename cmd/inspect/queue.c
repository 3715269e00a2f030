/* SPDX-License-Identifier: MIT */
#include "inspect/parts.h"

#include "inspect/process.h"
#include "queue/growth.h"

#include <stddef.h>
#include <time.h>

#define MOST_BOXES  65536 /* that are looked at */
#define MOST_LEASES 1024  /* that are listed */

static bool is_in(const struct look *look, const void *at, uint64_t n, uint64_t size)
{
	const struct family_head *head = &look->memory->head;
	uint64_t offset = (uintptr_t)at - head->base;

	return (uintptr_t)at >= head->base && offset <= head->span && size > 0 &&
	       n <= (head->span - offset) / size;
}

static bool has_magic(uint16_t magic)
{
	return (magic | ANY_LENGTH | UNBOUNDED) == (QUEUE_MAGIC | ANY_LENGTH | UNBOUNDED);
}

static bool may_be_queue(const struct look *look, const struct tine_queue *queue)
{
	const struct ring *ring = &queue->ring;
	uint64_t cells = ring->mask + 1;

	return has_magic(queue->magic) && cells && (cells & ring->mask) == 0 &&
	       queue->capacity > 0 && queue->max_len <= MAX_LEN &&
	       ring->stride >= sizeof(struct cell) && ring->stride <= 2 * MAX_LEN &&
	       (queue->grows || (queue->capacity <= cells &&
				 is_in(look, ring->cells, cells, ring->stride)));
}

/* Positions that no message had, up to the ring. */
static uint64_t read_skipped(const struct look *look, const struct stretch *at)
{
	struct stretch stretch;

	return at && memory_read(look->memory, at, &stretch, sizeof(stretch))
		       ? atomic_load(&stretch.skipped)
		       : 0;
}

static bool read_desk(const struct look *look, const struct tine_queue *queue,
		      unsigned index, struct desk *desk)
{
	const struct desk *group =
		index < MEMBERS ? atomic_load(&queue->group[index / DESK_GROUP]) : NULL;

	return group &&
	       memory_read(look->memory, group + index % DESK_GROUP, desk,
			   sizeof(*desk)) &&
	       atomic_load(&desk->member) != 0;
}

/* Who has a place at it. */
static json_t *list_desks(const struct look *look, const struct tine_queue *queue)
{
	json_t *all = json_array();
	unsigned n = atomic_load(&queue->desks);
	struct desk desk;

	for (unsigned i = 0; i < n && i < MEMBERS; i++) {
		uint32_t role;

		if (!read_desk(look, queue, i, &desk))
			continue;
		role = atomic_load(&desk.role);
		json_array_append_new(
			all, json_pack("{s:I, s:s, s:b, s:b, s:I}", "pid",
				       (json_int_t)look_member(look, i), "state",
				       process_state(look_member(look, i)), "producer",
				       (role & PRODUCES) != 0, "closed",
				       (role & (CLOSING | CLOSED)) != 0, "leases",
				       (json_int_t)count_leases(&desk)));
	}
	return all;
}

static json_t *lease_of(const struct look *look, const struct tine_queue *queue,
			const struct box *box, uint64_t word)
{
	pid_t pid = look_member(look, box_desk(word));
	json_t *lease = json_pack("{s:I, s:s, s:I, s:I}", "pid", (json_int_t)pid, "state",
				  process_state(pid), "position",
				  (json_int_t)atomic_load(&box->position), "bytes",
				  (json_int_t)word_len(word));
	/* Any numbers may stand there. */
	uint64_t until = (uint64_t)atomic_load(&box->until), now = (uint64_t)tine_now(),
		 begun = until - (uint64_t)queue->lease;

	/* It began when it will have ended, less what it lasts. */
	if (queue->lease > 0) {
		json_object_set_new(lease, "left_ms",
				    json_integer((int64_t)(until - now) / 1000000));
		json_object_set_new(lease, "since_ms",
				    json_integer((int64_t)(now - begun) / 1000000));
	}
	return lease;
}

static json_t *list_leases(const struct look *look, const struct tine_queue *queue)
{
	const char *boxes = atomic_load(&queue->boxes);
	json_t *all = json_array();
	struct box box;

	for (uint64_t i = 0; boxes && i < queue->capacity && i < MOST_BOXES &&
			     json_array_size(all) < MOST_LEASES;
	     i++) {
		uint64_t word;

		if (!memory_read(look->memory, part_of(boxes, i * queue->box_stride),
				 &box, sizeof(box)))
			break;
		word = atomic_load(&box.word);
		if (word_state(word) == HELD)
			json_array_append_new(all, lease_of(look, queue, &box, word));
	}
	return all;
}

bool look_queue(struct look *look, const char *at, size_t size)
{
	struct tine_queue queue;
	uint64_t head, tail;
	json_t *object;

	if (size < sizeof(queue) ||
	    !memory_read(look->memory, part_of(at, offsetof(struct tine_queue, magic)),
			 &queue.magic, sizeof(queue.magic)) ||
	    !has_magic(queue.magic) ||
	    !memory_read(look->memory, at, &queue, sizeof(queue)) ||
	    !may_be_queue(look, &queue))
		return false;
	/* Read in one go, while others move both. */
	head = atomic_load(&queue.head);
	tail = atomic_load(&queue.tail) & ~SEALED;
	if (queue.grows) {
		head -= read_skipped(look, atomic_load(&queue.front));
		tail -= read_skipped(look, atomic_load(&queue.back));
	}
	object = json_pack(
		"{s:o, s:I, s:o, s:I, s:I, s:I, s:I, s:b, s:o, s:o}", "address",
		address_of(at), "messages", (json_int_t)(tail > head ? tail - head : 0),
		"capacity",
		queue.grows ? json_null() : json_integer((json_int_t)queue.capacity),
		"taken", (json_int_t)head, "returned", (json_int_t)count_strays(&queue),
		"producers", (json_int_t)queue.producers, "closed",
		(json_int_t)(uint32_t)atomic_load(&queue.closes), "any_length",
		(int)queue.any, "processes", list_desks(look, &queue), "leases",
		list_leases(look, &queue));
	if (!queue.any)
		json_object_set_new(object, "most_bytes",
				    json_integer((json_int_t)queue.max_len));
	json_array_append_new(look->queues, object);
	look_note(look, at, size, A_QUEUE, object);
	look_locks(look, part_of(at, offsetof(struct tine_queue, lock)),
		   sizeof(tine_lock), "queue");
	return true;
}

const char *queue_word(size_t offset, bool *lock)
{
	*lock = offset == offsetof(struct tine_queue, lock);
	if (*lock)
		return "the lock of a queue";
	if (offset == offsetof(struct tine_queue, items.turn))
		return "a message";
	if (offset == offsetof(struct tine_queue, room.turn))
		return "room";
	if (offset == offsetof(struct tine_queue, drained.turn))
		return "the end of all messages";
	return "a queue";
}
