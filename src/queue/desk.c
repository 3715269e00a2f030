/* SPDX-License-Identifier: MIT */
/* Who sits at which desk. */
#include "queue/desk.h"
#include "queue/mend.h"
#include "queue/queue.h"

#include "memory/heap.h"

#define SIT_MS 20 /* for a desk, before it looks whether a signal came */

static int sit_down(tine_queue *queue, uint64_t id, uint32_t role, int64_t deadline)
{
	_Atomic uint32_t nothing = 0;
	int err;

	for (bool again = false;; again = true) {
		int64_t slice = deadline;

		/* So that a signal ends this wait too. */
		if (interrupts.end_waits)
			slice = earlier(deadline, tine_after(SIT_MS));
		err = queue_sit(queue, id, role, slice);
		if (err == -ETIMEDOUT && slice < deadline) {
			if (interrupt_take())
				return -EINTR;
			continue;
		}
		if (err != -EAGAIN)
			return err;
		/* Whose claim is the same may be dead as well, and nobody has looked. */
		if (members_sweep() > 0 || !again)
			continue;
		if ((err = interrupt_or_late(deadline)) != 0)
			return err;
		/* Bound: a millisecond, and the caller's deadline. */
		futex_wait(&nothing, 0, earlier(deadline, tine_after(1)));
	}
}

int queue_find_desk(tine_queue *queue, struct desk **desk, int64_t deadline)
{
	struct member *self;
	int err;

	*desk = own_desk(queue);
	if (*desk)
		return 0;
	err = member_join(&self, earlier(deadline, shared_patience()));
	if (err)
		return err;
	err = sit_down(queue, member_id(), 0, deadline);
	*desk = desk_at(queue, member_index(member_id()));
	return err;
}

int queue_find_desk_soon(tine_queue *queue, struct desk **desk)
{
	if (!is_queue(queue))
		return not_a_queue(queue);
	return queue_find_desk(queue, desk, tine_after(DESK_MS));
}

void queue_wait_for_desk(struct desk *desk)
{
	while (atomic_exchange(&desk->busy, 2) != 0)
		/* Bound: our own threads, which hold it for no call that blocks. */
		futex_wait(&desk->busy, 2, TINE_FOREVER);
}

int tine_queue_join(tine_queue *queue)
{
	struct desk *desk;
	int err = queue_find_desk_soon(queue, &desk);

	if (err)
		return err;
	take_desk(desk);
	err = may_put(queue, desk);
	leave_desk(desk);
	return err;
}

int queue_join_for(tine_queue *queue, pid_t child, uint64_t *id)
{
	int64_t deadline = tine_after(DESK_MS);

	int err = member_enter(child, id, deadline);

	return err ? err : sit_down(queue, *id, PRODUCES, deadline);
}

int queue_check(const tine_queue *queue)
{
	return is_queue(queue) ? 0 : not_a_queue(queue);
}
