/* SPDX-License-Identifier: MIT */
/* What is done under a queue's lock, recovery above all. The protocol is in words.h. */
#include "queue/mend.h"
#include "queue/desk.h"
#include "queue/growth.h"

#include "base/deadline.h"
#include "base/futex.h"
#include "memory/heap.h"
#include "memory/owned.h"
#include "wait/lock.h"

#include <sched.h>
#include <string.h>

#define TEND_EVERY INT64_C(1000000)
#define YIELDS	   8
#define PIECE	   16384 /* words between looks at the time: tens of microseconds */
#define LOOK	   65536 /* words in one search for a stray */

#define CLAIM_MASK (UINT64_MAX >> 16) /* of a position, in a claim */

/* How far back a position may lie that is in a ring yet. */
static uint64_t lap(const struct tine_queue *queue)
{
	return queue->grows ? CLAIM_MASK / 2 : queue->ring.mask + 1;
}

/* ---- strays ------------------------------------------------------------------------ */

static bool is_in_boxes(const struct tine_queue *queue, const _Atomic uint64_t *word)
{
	const char *first = atomic_load(&queue->boxes), *at = (const char *)word;

	return first && at >= first && at < first + queue->capacity * queue->box_stride;
}

static void note(struct tine_queue *queue, _Atomic uint64_t *word, uint64_t from,
		 uint64_t to, struct desk *holder)
{
	uint64_t by = is_in_boxes(queue, word) ? STRAY_OF_BOX : STRAY_OF_RING;
	uint64_t strays = atomic_load(&queue->strays);

	atomic_store(&queue->note.from, from);
	atomic_store(&queue->note.to, to);
	atomic_store(&queue->note.strays,
		     word_state(to) == STRAY ? strays + by : strays - by);
	if (holder)
		atomic_store(&queue->note.ended, atomic_load(&holder->ended) + 1);
	atomic_store(&queue->note.holder, holder);
	atomic_store(&queue->note.word, word);
}

static void count_noted(struct tine_queue *queue)
{
	struct desk *holder = atomic_load(&queue->note.holder);

	if (holder)
		atomic_store(&holder->ended, atomic_load(&queue->note.ended));
	atomic_store(&queue->strays, atomic_load(&queue->note.strays));
}

void queue_take_noted(struct tine_queue *queue)
{
	struct note *noted = &queue->note;
	uint64_t from = atomic_load(&noted->from);

	if (atomic_compare_exchange_strong(atomic_load(&noted->word), &from,
					   atomic_load(&noted->to)))
		count_noted(queue);
	atomic_store(&noted->word, NULL);
	atomic_store(&noted->box, NULL);
}

void queue_note_stray(struct tine_queue *queue, const struct stray *stray,
		      struct box *box)
{
	atomic_store(&queue->note.position, stray->position);
	atomic_store(&queue->note.box, box);
	note(queue, stray->word, stray->was, stray->taken, NULL);
}

/* The last to have the lock died with a note. */
static void finish_noted(struct tine_queue *queue)
{
	struct note *noted = &queue->note;
	_Atomic uint64_t *word = atomic_load(&noted->word);
	struct box *box = atomic_load(&noted->box);
	uint64_t from = atomic_load(&noted->from), to = atomic_load(&noted->to);

	if (word && box && word_state(atomic_load(&box->word)) == HELD &&
	    atomic_load(&box->position) == atomic_load(&noted->position))
		atomic_compare_exchange_strong(word, &from, to);
	/* A word is STRAY until who has the lock says otherwise; another it may not stay.
	 */
	if (word && (word_state(to) == STRAY ? atomic_load(word) == to
					     : atomic_load(word) != from))
		count_noted(queue);
	atomic_store(&noted->word, NULL);
	atomic_store(&noted->box, NULL);
}

static void make_stray(struct tine_queue *queue, _Atomic uint64_t *word, uint64_t from,
		       uint64_t to, uint64_t index, struct desk *holder)
{
	uint64_t strays = atomic_load(&queue->strays);

	if (is_in_boxes(queue, word)) {
		if (strays >> 32 == 0)
			queue->stray_box = index;
	} else if ((uint32_t)strays == strays >> 32) {
		queue->stray_ring = 0;
		queue->stray_cell = index;
	}
	note(queue, word, from, to, holder);
	queue_take_noted(queue);
}

static bool stray_of_ring(struct tine_queue *queue, const struct ring *ring, uint64_t i,
			  struct stray *stray)
{
	uint64_t head = atomic_load(&queue->head);
	struct cell *cell = cell_in(ring, i);
	uint64_t word = atomic_load(&cell->word);

	if (word_state(word) != STRAY)
		return false;
	/*
	 * The word has the low bits of the position; it is less than a lap behind head.
	 */
	*stray = (struct stray){ .word = &cell->word,
				 .was = word,
				 .data = cell->data,
				 .len = word_len(word),
				 .position = head - ((head - word) & POSITION_MASK) };
	stray->taken = freed_in(ring, stray->position);
	return true;
}

static bool stray_of_box(struct tine_queue *queue, uint64_t i, struct stray *stray)
{
	struct box *box = box_at(queue, i);
	uint64_t word = atomic_load(&box->word);

	if (word_state(word) != STRAY)
		return false;
	*stray = (struct stray){ .word = &box->word,
				 .was = word,
				 .taken = box_word(FREE, 0, box_generation(word), 0),
				 .data = box->data,
				 .len = word_len(word),
				 .box = box };
	return true;
}

static bool find_in_rings(struct tine_queue *queue, struct stray *stray)
{
	unsigned looked_at = 0;
	struct ring ring;

	while (looked_at < LOOK) {
		if (!queue_nth_ring(queue, queue->stray_ring, &ring)) {
			queue->stray_ring = 0;
			continue;
		}
		for (; queue->stray_cell <= ring.mask && looked_at < LOOK; looked_at++) {
			if (stray_of_ring(queue, &ring, queue->stray_cell, stray))
				return true;
			queue->stray_cell++;
		}
		if (queue->stray_cell > ring.mask) {
			queue->stray_cell = 0;
			queue->stray_ring++;
		}
	}
	return false;
}

bool queue_find_stray(struct tine_queue *queue, struct stray *stray)
{
	uint64_t strays = atomic_load(&queue->strays);

	/*
	 * Boxes first: who leases one of the ring needs a box, and these may be all there
	 * are.
	 */
	for (unsigned n = 0; strays >> 32 && n < LOOK; n++) {
		if (queue->stray_box >= queue->capacity)
			queue->stray_box = 0;
		if (stray_of_box(queue, queue->stray_box, stray))
			return true;
		queue->stray_box++;
	}
	return strays && strays >> 32 == 0 && find_in_rings(queue, stray);
}

/* ---- closing ----------------------------------------------------------------------- */

static void count_closed(struct tine_queue *queue, struct desk *desk, unsigned index)
{
	if (atomic_load(&desk->role) & CLOSED)
		return;
	atomic_fetch_or(&desk->role, CLOSING);
	atomic_store(&queue->closes, (uint64_t)(index + 1) << 32 |
					     ((uint32_t)atomic_load(&queue->closes) + 1));
	atomic_fetch_or(&desk->role, CLOSED);
}

/* The desk in the word was counted; that it says so itself may be missing. */
static void finish_closing(struct tine_queue *queue)
{
	uint64_t last = atomic_load(&queue->closes) >> 32;
	struct desk *desk = last ? desk_at(queue, last - 1) : NULL;

	if (desk && (atomic_load(&desk->role) & CLOSING))
		atomic_fetch_or(&desk->role, CLOSED);
}

/* ---- desks ------------------------------------------------------------------------- */

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

static bool count_if_closing(struct tine_queue *queue, struct desk *desk, unsigned index,
			     void *arg)
{
	(void)arg;
	if (atomic_load(&desk->role) & CLOSING)
		count_closed(queue, desk, index);
	return false;
}

static bool is_gone(struct tine_queue *queue, struct desk *desk, unsigned index,
		    void *arg)
{
	(void)queue;
	(void)index;
	(void)arg;
	return member_gone(atomic_load(&desk->member));
}

/* ---- the lock ---------------------------------------------------------------------- */

/* Unless it is at its place, or a dead one's, and is freed with what else was its. */
void queue_finish_place(struct tine_queue *queue)
{
	void *mem = atomic_load(&queue->fresh);

	if (mem && atomic_load(atomic_load(&queue->fresh_place)) != mem &&
	    owned_pass(mem, atomic_load(&queue->fresh_token), member_id()))
		tine_shared_free(mem);
	atomic_store(&queue->fresh, NULL);
}

int queue_lock(struct tine_queue *queue, int64_t deadline)
{
	/* Bound: the caller's deadline. */
	int err = lock_steadily(&queue->lock, deadline);

	for (int i = 0; err == -ETIMEDOUT && deadline <= TINE_NOWAIT && i < YIELDS; i++) {
		sched_yield();
		/* Bound: TINE_NOWAIT. */
		err = lock_steadily(&queue->lock, TINE_NOWAIT);
	}
	if (err != -EOWNERDEAD)
		return err;
	finish_closing(queue);
	finish_noted(queue);
	queue_finish_place(queue);
	if (queue->grows)
		queue_finish_growth(queue);
	/* It may have been about to, */
	atomic_store(&queue->uncounted, 1);
	/* and may have looked at some of the leases. */
	if (queue->lease && box_at(queue, 0))
		queue_note_due(queue, 1);
	return 0;
}

void queue_unlock(struct tine_queue *queue)
{
	if (atomic_load(&queue->uncounted) && atomic_exchange(&queue->uncounted, 0))
		any_desk(queue, count_if_closing, NULL);
	tine_lock_release(&queue->lock);
}

/* ---- recovery: marks --------------------------------------------------------------- */

struct fall {
	bool any, leased;
};

static bool mark_fallen(struct tine_queue *queue, struct desk *desk, unsigned index,
			void *arg)
{
	struct fall *fall = arg;

	if (!is_gone(queue, desk, index, NULL))
		return false;
	atomic_store(&desk->fallen, FALLEN);
	fall->any = true;
	fall->leased |= count_leases(desk) != 0;
	return false;
}

static bool clear_mark(struct tine_queue *queue, struct desk *desk, unsigned index,
		       void *arg)
{
	(void)queue;
	(void)index;
	(void)arg;
	atomic_store(&desk->fallen, STANDS);
	return false;
}

/* So much is done whatever the deadline, and again before each look at the time. */
struct shift {
	int64_t deadline;
	uint64_t left; /* words to look at */
};

static bool shift_is_over(struct shift *shift, uint64_t looked_at)
{
	if (looked_at < shift->left) {
		shift->left -= looked_at;
		return false;
	}
	shift->left = PIECE;
	return shift->deadline != TINE_FOREVER && shift->deadline <= tine_now();
}

/* ---- recovery: boxes --------------------------------------------------------------- */

static void settle_box(struct tine_queue *queue, uint64_t index)
{
	struct box *box = box_at(queue, index);
	uint64_t word = atomic_load(&box->word), position, full;
	_Atomic uint64_t *left;
	struct ring ring;

	if ((word_state(word) != TAKING && word_state(word) != HELD) ||
	    atomic_load(&desk_at(queue, box_desk(word))->fallen) == STANDS)
		return;
	if (word_state(word) == TAKING) {
		atomic_store(&box->word, box_word(FREE, 0, box_generation(word), 0));
		return;
	}
	position = atomic_load(&box->position);
	if (queue_find_ring(queue, position, &ring)) {
		left = &cell_in(&ring, position)->word;
		full = atomic_load(left);
		if (is_at(full, FULL, position))
			atomic_compare_exchange_strong(left, &full,
						       freed_in(&ring, position));
	}
	make_stray(queue, &box->word, word,
		   box_word(STRAY, word_len(word), box_generation(word), 0), index, NULL);
}

/* 0; -ETIMEDOUT: some are left. */
static int settle_boxes(struct tine_queue *queue, struct shift *shift)
{
	uint64_t i = atomic_load(&queue->swept);

	while (i < queue->capacity) {
		settle_box(queue, i++);
		if (shift_is_over(shift, 1)) {
			atomic_store(&queue->swept, i);
			return -ETIMEDOUT;
		}
	}
	atomic_store(&queue->swept, i);
	return 0;
}

/* ---- recovery: claims -------------------------------------------------------------- */

/* A dead one's claim, and which of its positions living desks name too. */
struct inquest {
	uint64_t first, n;
	bool putting;
	uint64_t named[MOST_AT_ONCE / 64];
};

static bool ask_living(struct tine_queue *queue, struct desk *desk, unsigned index,
		       void *arg)
{
	struct inquest *inquest = arg;
	uint64_t claim, ahead, behind, from = 0, to = 0;

	(void)queue;
	(void)index;
	if (atomic_load(&desk->fallen) != STANDS)
		return false;
	claim = atomic_load(inquest->putting ? &desk->putting : &desk->getting);
	ahead = ((claim >> 16) - inquest->first) & CLAIM_MASK;
	behind = (inquest->first - (claim >> 16)) & CLAIM_MASK;
	if (ahead < inquest->n) {
		from = ahead;
		to = ahead + (claim & 0xffff);
	} else if (behind < (claim & 0xffff)) {
		to = (claim & 0xffff) - behind;
	}
	for (uint64_t i = from; i < to && i < inquest->n; i++)
		inquest->named[i / 64] |= UINT64_C(1) << i % 64;
	return false;
}

static void settle_put(struct tine_queue *queue, uint64_t position)
{
	uint64_t empty = cell_word(FREE, 0, position);
	struct ring ring;

	if (queue_find_ring(queue, position, &ring))
		atomic_compare_exchange_strong(&cell_in(&ring, position)->word, &empty,
					       cell_word(FULL, 0, position));
}

static void settle_get(struct tine_queue *queue, uint64_t position)
{
	_Atomic uint64_t *word;
	struct ring ring;
	uint64_t full;

	if (!queue_find_ring(queue, position, &ring))
		return;
	word = &cell_in(&ring, position)->word;
	full = atomic_load(word);

	if (!is_at(full, FULL, position))
		return;
	if (word_len(full) == 0)
		atomic_compare_exchange_strong(word, &full, freed_in(&ring, position));
	else
		make_stray(queue, word, full, cell_word(STRAY, word_len(full), position),
			   queue->grows ? 0 : position & ring.mask, NULL);
}

static bool is_undone(const struct tine_queue *queue, uint64_t position, bool putting)
{
	struct ring ring;

	return queue_find_ring(queue, position, &ring) &&
	       is_at(atomic_load(&cell_in(&ring, position)->word), putting ? FREE : FULL,
		     position);
}

/* False: some of the claim may be somebody else's. */
static bool settle_claim(struct tine_queue *queue, uint64_t claim, bool putting)
{
	uint64_t end = atomic_load(putting ? &queue->tail : &queue->head);
	struct inquest inquest = { claim >> 16, claim & 0xffff, putting, { 0 } };
	bool settled = true;

	any_desk(queue, ask_living, &inquest);
	for (uint64_t i = 0; i < inquest.n; i++) {
		/* Claims have the low bits of a position that is less than a lap away. */
		uint64_t behind = (end - inquest.first - i) & CLAIM_MASK;

		if (behind == 0 || behind > lap(queue) ||
		    !is_undone(queue, end - behind, putting))
			continue;
		if (inquest.named[i / 64] >> i % 64 & 1)
			settled = false;
		else if (putting)
			settle_put(queue, end - behind);
		else
			settle_get(queue, end - behind);
	}
	return settled;
}

/* ---- recovery ---------------------------------------------------------------------- */

/* True: it is late. */
static bool settle_fallen(struct tine_queue *queue, struct desk *desk, unsigned index,
			  void *shift)
{
	uint64_t getting = atomic_load(&desk->getting);
	uint64_t putting = atomic_load(&desk->putting);
	bool settled;

	if (atomic_load(&desk->fallen) != FALLEN)
		return false;
	/* It has no box any more. */
	atomic_store(&desk->leased,
		     atomic_load(&desk->acked) + atomic_load(&desk->ended));
	settled = settle_claim(queue, getting, false);
	settled &= settle_claim(queue, putting, true);
	if (atomic_load(&desk->role))
		count_closed(queue, desk, index);
	atomic_store(&desk->fallen, SETTLED);
	if (settled)
		atomic_store(&desk->member, 0);
	return shift_is_over(shift, (getting & 0xffff) + (putting & 0xffff) +
					    2 * atomic_load(&queue->desks));
}

/* 0; -ETIMEDOUT: the next goes on. */
static int recover(struct tine_queue *queue, int64_t deadline)
{
	struct shift shift = { deadline, PIECE };
	struct fall fall = { false, false };
	int err;

	if (!atomic_load(&queue->recovering)) {
		any_desk(queue, mark_fallen, &fall);
		if (!fall.any)
			return 0;
		atomic_store(&queue->swept, fall.leased ? 0 : queue->capacity);
		atomic_store(&queue->recovering, 1);
	}
	err = settle_boxes(queue, &shift);
	if (err)
		return err;
	if (any_desk(queue, settle_fallen, &shift))
		return -ETIMEDOUT;
	any_desk(queue, clear_mark, NULL);
	atomic_store(&queue->recovering, 0);
	return 0;
}

void queue_wake_all(struct tine_queue *queue)
{
	sleepers_wake(&queue->items, UINT_MAX);
	sleepers_wake(&queue->room, UINT_MAX);
	sleepers_wake(&queue->drained, UINT_MAX);
}

/* ---- leases that end before their holders ------------------------------------------ */

bool queue_end_lease(struct tine_queue *queue, uint64_t index, uint64_t word)
{
	struct box *box = box_at(queue, index);
	uint64_t position = atomic_load(&box->position);
	uint64_t stray = box_word(STRAY, word_len(word), box_generation(word), 0);

	if (is_undone(queue, position, false))
		return false;
	make_stray(queue, &box->word, word, stray, index, desk_at(queue, box_desk(word)));
	return atomic_load(&box->word) == stray;
}

void queue_note_due(struct tine_queue *queue, int64_t until)
{
	int64_t seen = atomic_load(&queue->due);

	while ((seen == 0 || seen > until) &&
	       !atomic_compare_exchange_strong(&queue->due, &seen, until))
		;
}

static bool some_are_due(const struct tine_queue *queue, int64_t now)
{
	int64_t due = atomic_load(&queue->due);

	return due != 0 && due <= now;
}

/* 0; -ETIMEDOUT: the next goes on. */
static int end_leases(struct tine_queue *queue, int64_t now, struct shift *shift)
{
	atomic_store(&queue->due, 0);
	while (queue->looked < queue->capacity) {
		struct box *box = box_at(queue, queue->looked);
		uint64_t word = atomic_load(&box->word);
		int64_t until = atomic_load(&box->until);

		if (word_state(word) == HELD && until > now)
			queue_note_due(queue, until);
		else if (word_state(word) == HELD &&
			 !queue_end_lease(queue, queue->looked, word))
			queue_note_due(queue, now + TEND_EVERY);
		queue->looked++;
		if (shift_is_over(shift, 1)) {
			queue_note_due(queue, now);
			return -ETIMEDOUT;
		}
	}
	queue->looked = 0;
	return 0;
}

/* ------------------------------------------------------------------------------------ */

bool queue_tend(struct tine_queue *queue, int64_t deadline)
{
	int64_t now = tine_now(), last = atomic_load(&queue->tended);
	int err;

	if (now - last < TEND_EVERY ||
	    !atomic_compare_exchange_strong(&queue->tended, &last, now))
		return false;
	members_sweep();
	if (!atomic_load(&queue->recovering) && !atomic_load(&queue->uncounted) &&
	    !some_are_due(queue, now) && !any_desk(queue, is_gone, NULL) &&
	    !(queue->grows && queue_is_slack(queue)))
		return true;
	if (queue_lock(queue, TINE_NOWAIT) != 0)
		return false;
	err = recover(queue, deadline);
	if (!err && some_are_due(queue, now))
		err = end_leases(queue, now, &(struct shift){ deadline, PIECE });
	if (!err && queue->grows)
		queue_fit(queue);
	queue_unlock(queue);
	if (err)
		atomic_store(&queue->tended, last);
	queue_wake_all(queue);
	return false;
}

/*
 * With the lock held. mem is this process's until it is the token's, which nobody else
 * has. Who dies
 *
 *	before it is the token's	the family frees it with the dead
 *	before it is at its place	who gets the lock next frees it
 *	later				it is there
 *
 * and who is stopped has the lock.
 */
static void put_at(struct tine_queue *queue, _Atomic(void *) *place, void *mem)
{
	atomic_store(&queue->fresh_place, place);
	atomic_store(&queue->fresh_token, member_token());
	atomic_store(&queue->fresh, mem);
	owned_pass(mem, member_id(), atomic_load(&queue->fresh_token));
	atomic_store(place, mem);
	atomic_store(&queue->fresh, NULL);
}

int queue_place(struct tine_queue *queue, _Atomic(void *) *place, size_t size,
		int64_t deadline)
{
	int64_t moment = tine_after(MOMENT_MS), patience = shared_patience();
	struct member *self;
	void *mem;
	int err;

	if (atomic_load_explicit(place, memory_order_acquire))
		return 0;
	/* It is made once: then also who has no time has a moment. */
	deadline = deadline < moment ? moment : deadline;
	deadline = earlier(deadline, patience);
	err = member_join(&self, deadline);
	if (err)
		return err;
	err = owned_new(&mem, size, member_id(), deadline);
	if (err)
		return err;
	memset(mem, 0, size);
	err = queue_lock(queue, deadline);
	if (err)
		goto free_mem;
	if (!atomic_load(place)) {
		put_at(queue, place, mem);
		mem = NULL;
	}
	queue_unlock(queue);
free_mem:
	tine_shared_free(mem);
	return err;
}

/* With the lock held. */
static int take_seat(struct tine_queue *queue, struct desk *desk, uint64_t id,
		     int64_t deadline)
{
	unsigned index = member_index(id);
	int err;

	if (atomic_load(&queue->desks) <= index)
		atomic_store(&queue->desks, index + 1);
	if (atomic_load(&desk->member) == id)
		return 0;
	/*
	 * Who had the record before has ended; of the recovery that is going on the desk
	 * may be no part.
	 */
	for (int i = 0; i < 2 && atomic_load(&desk->member); i++) {
		err = recover(queue, deadline);
		if (err)
			return err;
	}
	if (atomic_load(&desk->member))
		return -EAGAIN;
	/* It says who was closed last: no longer this desk. */
	atomic_store(&queue->closes, (uint32_t)atomic_load(&queue->closes));
	atomic_store(&desk->putting, NO_CLAIM);
	atomic_store(&desk->getting, NO_CLAIM);
	atomic_store(&desk->role, 0);
	atomic_store(&desk->busy, 0);
	atomic_store(&desk->fallen, STANDS);
	desk->box = 0;
	atomic_store(&desk->member, id);
	return 0;
}

int queue_sit(struct tine_queue *queue, uint64_t id, uint32_t role, int64_t deadline)
{
	unsigned index = member_index(id);
	_Atomic(void *) *group = (_Atomic(void *) *)&queue->group[index / DESK_GROUP];
	int err;

	err = queue_place(queue, group, DESK_GROUP * sizeof(struct desk), deadline);
	if (err)
		return err;
	err = queue_lock(queue, deadline);
	if (err)
		return err;
	err = take_seat(queue, desk_at(queue, index), id, deadline);
	/* Before a recovery can find it without: it may have ended already. */
	if (!err)
		atomic_fetch_or(&desk_at(queue, index)->role, role);
	queue_unlock(queue);
	/* Those who sleep until somebody dies do not know of this one, and are to. */
	queue_wake_all(queue);
	return err;
}

/* ---- the end ----------------------------------------------------------------------- */

struct remains {
	unsigned self;
	bool own, others; /* on lease */
	bool message;	  /* that somebody is at, or was */
};

/*
 * Whoever lives frees the cells of his claim one after another, so that the last says it
 * all; of the dead any may be left.
 */
static bool has_message(const struct tine_queue *queue, const struct desk *desk)
{
	bool gone = member_gone(atomic_load(&desk->member));
	uint64_t claim = atomic_load(&desk->getting), head = atomic_load(&queue->head);

	for (uint64_t i = claim & 0xffff; i > 0; i--) {
		uint64_t behind = (head - (claim >> 16) - i + 1) & CLAIM_MASK;

		if (behind != 0 && behind <= lap(queue) &&
		    is_undone(queue, head - behind, false))
			return true;
		if (!gone)
			break;
	}
	return false;
}

static bool see_remains(struct tine_queue *queue, struct desk *desk, unsigned index,
			void *arg)
{
	struct remains *remains = arg;

	if (count_leases(desk) != 0) {
		remains->own |= index == remains->self;
		remains->others |= index != remains->self;
	}
	remains->message |= has_message(queue, desk);
	return remains->message;
}

static bool nothing_remains(struct tine_queue *queue, struct remains *remains)
{
	if (queue->grows)
		queue_move_on(queue);
	return !atomic_load(&queue->strays) &&
	       atomic_load(&queue->head) == atomic_load(&queue->tail) &&
	       !any_desk(queue, see_remains, remains);
}

bool queue_ended(struct tine_queue *queue, unsigned self)
{
	struct remains remains = { .self = self };

	/* Two that hold leases must not wait for each other. */
	return all_closed(queue) && nothing_remains(queue, &remains) &&
	       (remains.own || !remains.others);
}

bool queue_drained(struct tine_queue *queue)
{
	struct remains remains = { .self = MEMBERS };

	return nothing_remains(queue, &remains) && !remains.others;
}

bool queue_has_ended(tine_queue *queue, int64_t deadline)
{
	bool ended;

	if (queue_lock(queue, earlier(deadline, tine_after(MOMENT_MS))) != 0)
		return false;
	ended = queue_ended(queue, member_index(member_id()));
	queue_unlock(queue);
	return ended;
}

/* ---- growth ------------------------------------------------------------------------ */

int queue_grow(struct tine_queue *queue, int64_t deadline)
{
	int64_t least = tine_after(DESK_MS), patience = shared_patience();
	/* Bound: the caller's deadline, or DESK_MS. */
	int err = queue_lock(queue, deadline > least ? deadline : least);

	if (err)
		return err;
	err = queue_extend(queue, patience);
	queue_unlock(queue);
	return err;
}

void queue_trim(struct tine_queue *queue)
{
	if (queue_lock(queue, TINE_NOWAIT) != 0)
		return;
	queue_fit(queue);
	queue_unlock(queue);
}
