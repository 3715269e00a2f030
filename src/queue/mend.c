/* SPDX-License-Identifier: MIT */
/* What is done under a queue's lock, recovery above all. The protocol is in words.h. */
#include "queue/mend.h"

#include "base/futex.h"
#include "memory/heap.h"

#define TEND_EVERY INT64_C(1000000)

static uint64_t freed(const struct tine_queue *queue, uint64_t position)
{
	return cell_word(FREE, 0, position + queue->mask + 1);
}

/* ---- the lock ---------------------------------------------------------------------- */

/* The desk in the word was counted; that it says so itself may be missing. */
static void finish_closing(struct tine_queue *queue)
{
	uint64_t last = atomic_load(&queue->closes) >> 32;
	struct desk *desk = last ? desk_at(queue, last - 1) : NULL;

	if (desk && (atomic_load(&desk->role) & CLOSING))
		atomic_fetch_or(&desk->role, CLOSED);
}

/* A stray of the ring that is in a box already was taken. */
static void finish_taking(struct tine_queue *queue)
{
	for (uint64_t i = 0; box_at(queue, 0) && i < queue->capacity; i++) {
		struct box *box = box_at(queue, i);
		struct cell *cell;
		uint64_t position;

		/* Its position is of this message once the word says HELD. */
		if (word_state(atomic_load(&box->word)) != HELD)
			continue;
		position = atomic_load(&box->position);
		cell = cell_of(queue, position);
		if (is_at(atomic_load(&cell->word), STRAY, position))
			atomic_store(&cell->word, freed(queue, position));
	}
}

void queue_count_strays(struct tine_queue *queue)
{
	uint32_t n = 0;

	for (uint64_t i = 0; i <= queue->mask; i++)
		n += word_state(atomic_load(&cell_of(queue, i)->word)) == STRAY;
	for (uint64_t i = 0; box_at(queue, 0) && i < queue->capacity; i++)
		n += word_state(atomic_load(&box_at(queue, i)->word)) == STRAY;
	atomic_store(&queue->strays, n);
}

void queue_lock(struct tine_queue *queue)
{
	if (tine_lock_acquire(&queue->lock, TINE_FOREVER) != -EOWNERDEAD)
		return;
	finish_closing(queue);
	finish_taking(queue);
	queue_count_strays(queue);
}

void queue_unlock(struct tine_queue *queue)
{
	tine_lock_release(&queue->lock);
}

/* ---- recovery ---------------------------------------------------------------------- */

typedef bool desk_fn(struct tine_queue *, struct desk *, unsigned index, void *arg);

/* Calls fn for each desk where somebody sits, until it returns true. */
static bool any_desk(struct tine_queue *queue, desk_fn *fn, void *arg)
{
	for (unsigned i = 0; i < atomic_load(&queue->desks); i++) {
		struct desk *desk = desk_at(queue, i);

		if (!desk)
			i |= DESK_GROUP - 1;
		else if (atomic_load(&desk->member) && fn(queue, desk, i, arg))
			return true;
	}
	return false;
}

struct question {
	uint64_t position;
	bool putting;
};

static bool lives_and_claims(struct tine_queue *queue, struct desk *desk, unsigned index,
			     void *arg)
{
	const struct question *question = arg;
	uint64_t claim = atomic_load(question->putting ? &desk->putting : &desk->getting);

	(void)queue;
	(void)index;
	return claims(claim, question->position) &&
	       !member_gone(atomic_load(&desk->member));
}

/* A dead one's claim to put: false when some of it may be somebody else's. */
static bool settle_putting(struct tine_queue *queue, uint64_t claim)
{
	uint64_t tail = atomic_load(&queue->tail);
	bool settled = true;

	for (uint64_t i = 0; i < (claim & 0xffff); i++) {
		/* Claims have the low bits of a position that is less than a lap away. */
		uint64_t behind = (tail - (claim >> 16) - i) & (UINT64_MAX >> 16);
		struct question question = { tail - behind, true };
		_Atomic uint64_t *word = &cell_of(queue, question.position)->word;
		uint64_t empty = cell_word(FREE, 0, question.position);

		if (behind == 0 || behind > queue->mask + 1 || atomic_load(word) != empty)
			continue;
		if (any_desk(queue, lives_and_claims, &question))
			settled = false;
		else
			atomic_compare_exchange_strong(
				word, &empty, cell_word(FULL, 0, question.position));
	}
	return settled;
}

/* Whether it was copied to a box, by another dead one that had claimed it as well. */
static bool is_held(const struct tine_queue *queue, uint64_t position)
{
	for (uint64_t i = 0; box_at(queue, 0) && i < queue->capacity; i++) {
		struct box *box = box_at(queue, i);

		if (word_state(atomic_load(&box->word)) == HELD &&
		    atomic_load(&box->position) == position)
			return true;
	}
	return false;
}

static bool settle_getting(struct tine_queue *queue, uint64_t claim)
{
	uint64_t head = atomic_load(&queue->head);
	bool settled = true;

	for (uint64_t i = 0; i < (claim & 0xffff); i++) {
		uint64_t behind = (head - (claim >> 16) - i) & (UINT64_MAX >> 16);
		struct question question = { head - behind, false };
		uint64_t position = question.position, full, then;
		_Atomic uint64_t *word = &cell_of(queue, position)->word;

		full = atomic_load(word);
		if (behind == 0 || behind > queue->mask + 1 ||
		    !is_at(full, FULL, position))
			continue;
		if (any_desk(queue, lives_and_claims, &question)) {
			settled = false;
			continue;
		}
		then = word_len(full) == 0 || is_held(queue, position)
			       ? freed(queue, position)
			       : cell_word(STRAY, word_len(full), position);
		atomic_compare_exchange_strong(word, &full, then);
	}
	return settled;
}

static void settle_boxes(struct tine_queue *queue, unsigned index)
{
	for (uint64_t i = 0; box_at(queue, 0) && i < queue->capacity; i++) {
		struct box *box = box_at(queue, i);
		uint64_t word = atomic_load(&box->word), position, full;
		struct cell *cell;

		if ((word_state(word) != TAKING && word_state(word) != HELD) ||
		    box_desk(word) != index)
			continue;
		if (word_state(word) == TAKING) {
			atomic_store(&box->word,
				     box_word(FREE, 0, box_generation(word), 0));
			continue;
		}
		position = atomic_load(&box->position);
		cell = cell_of(queue, position);
		full = atomic_load(&cell->word);
		if (is_at(full, FULL, position))
			atomic_compare_exchange_strong(&cell->word, &full,
						       freed(queue, position));
		atomic_store(&box->word,
			     box_word(STRAY, word_len(word), box_generation(word), 0));
	}
}

/* Whether the desk is vacant then. */
static bool recover(struct tine_queue *queue, struct desk *desk, unsigned index)
{
	bool settled;

	/* Boxes first: a message in both places stays in one. */
	settle_boxes(queue, index);
	settled = settle_getting(queue, atomic_load(&desk->getting));
	settled &= settle_putting(queue, atomic_load(&desk->putting));
	if (atomic_load(&desk->role))
		queue_close(queue, desk, index);
	/* Before nobody is seen to have died here. */
	queue_count_strays(queue);
	if (settled)
		atomic_store(&desk->member, 0);
	return settled;
}

static bool gone(struct tine_queue *queue, struct desk *desk, unsigned index, void *arg)
{
	(void)queue;
	(void)index;
	(void)arg;
	return member_gone(atomic_load(&desk->member));
}

static bool recover_gone(struct tine_queue *queue, struct desk *desk, unsigned index,
			 void *arg)
{
	if (gone(queue, desk, index, arg))
		recover(queue, desk, index);
	return false;
}

void queue_tend(struct tine_queue *queue)
{
	int64_t now = tine_now(), last = atomic_load(&queue->tended);

	if (now - last < TEND_EVERY ||
	    !atomic_compare_exchange_strong(&queue->tended, &last, now))
		return;
	members_sweep();
	if (!any_desk(queue, gone, NULL))
		return;
	queue_lock(queue);
	any_desk(queue, recover_gone, NULL);
	queue_unlock(queue);
	sleepers_wake(&queue->items, UINT_MAX);
	sleepers_wake(&queue->room, UINT_MAX);
}

/* ---- desks ------------------------------------------------------------------------- */

int queue_sit(struct tine_queue *queue, uint64_t id)
{
	unsigned index = member_index(id);
	_Atomic(struct desk *) *group = &queue->group[index / DESK_GROUP];
	struct desk *desk;

	if (!atomic_load(group))
		atomic_store(group,
			     shared_alloc(DESK_GROUP * sizeof(*desk), shared_patience()));
	desk = desk_at(queue, index);
	if (!desk)
		return -ENOMEM;
	if (atomic_load(&queue->desks) <= index)
		atomic_store(&queue->desks, index + 1);
	if (atomic_load(&desk->member) == id)
		return 0;
	/* Who had the record before has ended. */
	if (atomic_load(&desk->member) && !recover(queue, desk, index))
		return -EAGAIN;
	/* It says who was closed last: no longer this desk. */
	atomic_store(&queue->closes, (uint32_t)atomic_load(&queue->closes));
	atomic_store(&desk->putting, NO_CLAIM);
	atomic_store(&desk->getting, NO_CLAIM);
	atomic_store(&desk->role, 0);
	atomic_store(&desk->busy, 0);
	desk->box = 0;
	atomic_store(&desk->member, id);
	return 0;
}

void queue_close(struct tine_queue *queue, struct desk *desk, unsigned index)
{
	if (atomic_load(&desk->role) & CLOSED)
		return;
	atomic_fetch_or(&desk->role, CLOSING);
	atomic_store(&queue->closes, (uint64_t)(index + 1) << 32 |
					     ((uint32_t)atomic_load(&queue->closes) + 1));
	atomic_fetch_or(&desk->role, CLOSED);
}

/* ---- messages ---------------------------------------------------------------------- */

bool queue_drained(struct tine_queue *queue, unsigned self)
{
	bool own = false, others = false;

	if (!all_closed(queue) || atomic_load(&queue->strays) ||
	    atomic_load(&queue->head) != atomic_load(&queue->tail))
		return false;
	for (uint64_t i = 0; i <= queue->mask; i++)
		if (word_state(atomic_load(&cell_of(queue, i)->word)) != FREE)
			return false;
	for (uint64_t i = 0; box_at(queue, 0) && i < queue->capacity; i++) {
		uint64_t word = atomic_load(&box_at(queue, i)->word);

		if (word_state(word) == FREE)
			continue;
		own |= box_desk(word) == self;
		others |= box_desk(word) != self;
	}
	/* Two that hold leases must not wait for each other. */
	return own || !others;
}

static bool stray_of_ring(struct tine_queue *queue, uint64_t i, struct stray *stray)
{
	uint64_t head = atomic_load(&queue->head);
	struct cell *cell = cell_of(queue, i);
	uint64_t word = atomic_load(&cell->word);

	if (word_state(word) != STRAY)
		return false;
	/*
	 * The word has the low bits of the position; it is less than a lap behind head.
	 */
	*stray = (struct stray){ .word = &cell->word,
				 .data = cell->data,
				 .len = word_len(word),
				 .position = head - ((head - word) & POSITION_MASK) };
	stray->taken = freed(queue, stray->position);
	return true;
}

static bool stray_of_box(struct tine_queue *queue, uint64_t i, struct stray *stray)
{
	struct box *box = box_at(queue, i);
	uint64_t word = atomic_load(&box->word);

	if (word_state(word) != STRAY)
		return false;
	*stray = (struct stray){ .word = &box->word,
				 .taken = box_word(FREE, 0, box_generation(word), 0),
				 .data = box->data,
				 .len = word_len(word),
				 .box = box };
	return true;
}

bool queue_find_stray(struct tine_queue *queue, struct stray *stray)
{
	/*
	 * Boxes first: who leases one of the ring needs a box, and these may be all there
	 * are.
	 */
	for (uint64_t i = 0; box_at(queue, 0) && i < queue->capacity; i++)
		if (stray_of_box(queue, i, stray))
			return true;
	for (uint64_t i = 0; i <= queue->mask; i++)
		if (stray_of_ring(queue, i, stray))
			return true;
	return false;
}
