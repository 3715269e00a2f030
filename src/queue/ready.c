/* SPDX-License-Identifier: MIT */
/* A queue's descriptors for poll(2). */
#include "queue/desk.h"
#include "queue/mend.h"
#include "queue/patience.h"
#include "queue/ring.h"

#include "wait/waiter.h"

/* A get would return at once. */
static bool items_are_ready(tine_queue *queue)
{
	struct ring ring;
	uint64_t head = front_of(queue, queue->grows, &ring);

	return atomic_load(&queue->strays) > 0 || count_full(&ring, head, 1) > 0 ||
	       (all_closed(queue) && queue_has_ended(queue, TINE_NOWAIT));
}

/* A put would. */
static bool room_is_ready(tine_queue *queue)
{
	struct desk *desk = own_desk(queue);

	return queue->grows || all_closed(queue) ||
	       (desk && atomic_load(&desk->role) & CLOSING) ||
	       count_free(queue, &queue->ring, atomic_load(&queue->tail), 1) > 0;
}

static bool sleep_until_ready(tine_queue *queue, struct sleepers *sleepers,
			      bool (*is_ready)(tine_queue *), int64_t deadline)
{
	struct waiting patience = { 0 };
	int64_t now = deadline > TINE_NOWAIT ? tine_now() : 0;

	if (is_ready(queue))
		return true;
	if (deadline <= now) {
		queue_tend(queue, deadline);
		return is_ready(queue);
	}
	patience.seen = sleepers_join(sleepers);
	if (is_ready(queue))
		return true;
	patience.nap.most = deadline - now;
	queue_sleep_once(queue, sleepers, &patience, deadline);
	if (!is_ready(queue))
		return false;
	/* It takes nothing itself: whoever was to be woken in its place is, too. */
	sleepers_wake(sleepers, 1);
	return true;
}

static bool look_for_items(void *object, uint64_t begun, int64_t deadline)
{
	tine_queue *queue = object;

	(void)begun;
	return sleep_until_ready(queue, &queue->items, items_are_ready, deadline);
}

static bool look_for_room(void *object, uint64_t begun, int64_t deadline)
{
	tine_queue *queue = object;

	(void)begun;
	return sleep_until_ready(queue, &queue->room, room_is_ready, deadline);
}

static void wake_for_items(void *object)
{
	sleepers_wake(&((tine_queue *)object)->items, UINT_MAX);
}

static void wake_for_room(void *object)
{
	sleepers_wake(&((tine_queue *)object)->room, UINT_MAX);
}

static const struct waited waited_items = { .look = look_for_items,
					    .wake = wake_for_items };
static const struct waited waited_room = { .look = look_for_room, .wake = wake_for_room };

static int arm_at(tine_waiter *waiter, const struct waited *kind, tine_queue *queue)
{
	struct desk *desk;
	int err;

	if (!waiter)
		return -EINVAL;
	/* The waiter's thread looks after the dead, as whoever has a desk. */
	err = queue_find_desk_soon(queue, &desk);
	return err ? err : waiter_arm(waiter, kind, queue);
}

int tine_waiter_arm_items(tine_waiter *waiter, tine_queue *queue)
{
	return arm_at(waiter, &waited_items, queue);
}

int tine_waiter_arm_room(tine_waiter *waiter, tine_queue *queue)
{
	return arm_at(waiter, &waited_room, queue);
}
