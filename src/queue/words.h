/* SPDX-License-Identifier: MIT */
/*
 * The queue: a ring of cells in the family's memory, between any number of processes.
 *
 * Positions count messages from 0; position p lies in cell p mod ring. Producers take
 * positions by moving tail up, consumers by moving head up, each with one
 * compare-and-swap, for one message or for many. What is in a cell, its word says:
 *
 *	FREE(p)		empty, and to be filled as position p
 *	FULL(p, len)	the message of position p; len 0: a hole, nothing to be taken
 *	STRAY(p, len)	as FULL, but head has passed it: its taker died
 *
 * This is Vyukov's bounded queue (sequence numbers in the cells), and that a process may
 * die between the claim of a position and the word that completes it is what is new here.
 * Each process has a desk at the queue, where it writes what it is about to claim before
 * it tries to:
 *
 *	put	check that the cells from tail on are FREE; desk.putting = positions;
 *		tail: compare-and-swap; copy; word = FULL
 *	get	check that the cells from head on are FULL; desk.getting = positions;
 *		head: compare-and-swap; copy; word = FREE of the next round
 *	lease	desk.leased + 1; a box: FREE to TAKING(desk); then as get, but the copy
 *		goes to the box too, and box = HELD(desk, position) before word = FREE
 *	ack	box = FREE; desk.acked + 1
 *
 * When the compare-and-swap fails, the desk takes its words back. So, of a position that
 * tail or head has passed, and whose word is not what completes it: somebody whose desk
 * names it is at it. If nobody alive is, then it was somebody who died.
 *
 * Whoever waits looks from time to time at the members (member.h); if one with a desk
 * here has ended, he recovers, under the queue's robust lock, in this order:
 *
 *	1. the desks of those who have ended are marked fallen; who ends from here on
 *	   counts among the living, until the next recovery
 *	2. each box of a fallen desk:
 *		TAKING		FREE; the message is in the ring still
 *		HELD		if the word of its position is FULL still, that first
 *				becomes FREE; then the box is STRAY
 *	3. for each fallen desk, each position of its two claims:
 *		tail has passed it, word is FREE	a hole: FULL, of length 0
 *		head has passed it, word is FULL	STRAY: to be taken under the lock
 *		a living desk names it too		it may be that one's: look again
 *							later
 *	   it has put: it counts as closed; and if nothing is left to look at again, the
 *	   desk is vacant
 *	4. no desk is marked any more
 *
 * All boxes come before any claim: a message that is FULL and in a box of a dead one
 * would come back twice. The living are asked for their claims before a word is looked
 * at: who does not name a position then, and it is passed, will not be at it later. All
 * of it may be done twice, and it may end between any two steps, by a death or by a
 * deadline: the marks stay, the boxes that were looked at are counted, and the next goes
 * on there.
 *
 * A lease may end before its holder does, given back or run out: under the lock the box
 * becomes STRAY by compare-and-swap from the word that was seen, unless its holder is in
 * the call yet and the cell of its position is FULL still; and desk.ended + 1. The holder
 * that is at its ack meanwhile has it, or is told that it has no such lease.
 *
 * STRAY words come and go under the lock alone, and each such change is noted before: the
 * word, its two values, and what the count of strays, and of a desk's leases that ended,
 * is afterwards. Of what dies there the next to get the lock, with -EOWNERDEAD, sees by
 * the word whether it was done, and sets the counts. A STRAY is taken message out
 * first, and the word second; when it moves from the ring to a box the note names that
 * too, and if the box says HELD the word is freed.
 *
 * Invariants: cells of [head, tail) are FULL, or FREE and named by a desk. Cells before
 * head are FREE of the next round, STRAY, or FULL and named by a desk. The message of a
 * position is in one place that will be delivered: FULL, STRAY or HELD. A desk has taken
 * no more boxes than leased says, and given back no fewer than acked and ended do.
 * Therefore nothing is left when all have closed, head is at tail, there are no strays,
 * no desk names a FULL before head, and nobody else has leased more than has been given
 * back.
 *
 * Who joins, or puts for the first time, writes PRODUCES in the role of its desk, and
 * with any role it counts as closed when it has ended. Who dies before that step is none.
 * A starter may seat its child with that role, under the lock, before the child runs.
 *
 * Closing counts in one word, with the desk that was counted last:
 *
 *	desk.role |= CLOSING; under the lock: queue.closes = (n + 1, desk);
 *	desk.role |= CLOSED
 *
 * Who cannot have the lock leaves the count to whoever has it, or looks next. A death
 * after the first step alone has counted nothing; after the second, the next to get the
 * lock with -EOWNERDEAD finds the desk in the word and does the third.
 *
 * Those who wait for items or for room are sleepers (sleepers.h), and look again by
 * themselves. Where head is at tail, and no lease may run out, whoever brings anything
 * knows of the sleepers; so consumers sleep longer then, and until a member dies
 * (member.h). Whoever sits down wakes them, since they do not watch it yet.
 *
 * A process that is stopped lives, and holds up, until it goes on or is killed:
 *
 *	between claim and word of a put		what lies behind that position, in order
 *	the same of a get or lease		the producers, when the ring has come
 *						round to it; the end of the stream
 *	with a claim that failed		the settling of those positions, where a
 *						dead one named them as well
 *	with a lease, or at ack			the end of the stream, and its box
 *	under the lock				what came back, the count of closes, the
 *						end of the stream, whoever is new
 *	asleep, or about to sleep		nothing
 *
 * Deadlines hold all the same. Nobody waits for the lock with a desk in hand, and whoever
 * may find messages without it does not wait for it at all.
 */
#ifndef TINE_QUEUE_WORDS_H
#define TINE_QUEUE_WORDS_H

#include "sync/member.h"
#include "wait/sleepers.h"

#define MAX_LEN	     ((size_t)1 << 20)
#define MOST_INLINE  56 /* bytes, where messages have any length */
#define DESK_GROUP   64
#define NO_CLAIM     0
#define SEALED	     (UINT64_C(1) << 63) /* of tail */
#define MOST_AT_ONCE 4096		 /* messages in one claim */

#define QUEUE_MAGIC  0x7570
#define ANY_LENGTH   1 /* added to it where messages have any length, */
#define UNBOUNDED    2 /* and where their number has no bound */

enum state { FREE, FULL, STRAY, TAKING, HELD };
enum role { PRODUCES = 1, CLOSING = 2, CLOSED = 4 };
/* In a recovery: counts as living; as dead; the same, and its claims were looked at. */
enum fallen { STANDS, FALLEN, SETTLED };

struct cell {
	_Atomic uint64_t word;
	unsigned char data[];
};

/* A message on lease. */
struct box {
	_Atomic uint64_t word;
	_Atomic uint64_t position; /* of the ring; before the word says HELD */
	_Atomic int64_t until;	   /* where leases run out; likewise */
	_Alignas(8) unsigned char data[];
};

/* In one direction: messages since the last wait, and nanoseconds of its first pause. */
struct pace {
	uint16_t n, pause;
};

/*
 * A process at the queue, by the number of its record. It alone writes, while it lives.
 */
struct desk {
	_Alignas(
		64) _Atomic uint64_t member; /* id; 0: vacant; set last, under the lock */
	_Atomic uint64_t putting, getting;   /* claims */
	_Atomic uint32_t role;
	_Atomic uint32_t
		busy; /* between the threads of the process: 1 held, 2 contended */
	_Atomic uint32_t leased, acked; /* boxes, and before, or after, they were */
	_Atomic uint32_t ended;		/* leases, before their holder: under the lock */
	_Atomic uint32_t fallen;	/* under the lock */
	uint32_t box;			/* where it found a free one last */
	struct pace put_pace, get_pace;
	uint32_t turns; /* of getting */
};

/* Strays: all of them, and above those that are in boxes. */
#define STRAY_OF_RING UINT64_C(1)
#define STRAY_OF_BOX  (UINT64_C(1) << 32 | 1)

/* A word that becomes STRAY, or was. */
struct note {
	_Atomic(_Atomic uint64_t *) word; /* NULL: nothing is going on; set last */
	_Atomic uint64_t from, to;
	_Atomic uint64_t strays;       /* then */
	_Atomic(struct box *) box;     /* that it moves to, or NULL */
	_Atomic uint64_t position;     /* of the word, where there is a box */
	_Atomic(struct desk *) holder; /* whose lease ends with it, or NULL */
	_Atomic uint32_t ended;	       /* of that desk, then */
};

/* Where cells lie: position p in cell p & mask. */
struct ring {
	char *cells;
	uint64_t mask;
	size_t stride;
	uint64_t skipped; /* positions before it that are none (growth.h) */
};

struct stretch;

struct tine_queue {
	/* Constant. */
	size_t max_len, box_stride;
	uint64_t capacity; /* messages; without a bound: boxes */
	struct ring ring;  /* all there is; without a bound: what the first one is like */
	unsigned producers;
	uint16_t magic; /* QUEUE_MAGIC, until it is freed */
	bool any;	/* messages have any length (parcel.h) */
	bool grows;	/* there is no bound (growth.h) */
	bool spins;	/* there is another processor that may do what is waited for */
	int64_t nap;	/* the first, of who waits */
	int64_t sleep;	/* the longest, of who is woken at deaths */
	int64_t lease;	/* how long one lasts; 0: as long as its holder */
	/* Rarely written. */
	_Alignas(64) _Atomic(char *) boxes; /* as many as messages; at the first lease */
	_Atomic uint64_t closes; /* count, and above it the last desk's number + 1 */
	_Atomic uint64_t strays;
	_Atomic uint32_t uncounted; /* somebody has closed, and is perhaps not counted */
	_Atomic uint32_t awaited;   /* somebody waits for a lease to end */
	struct sleepers items, room;
	_Atomic int64_t tended;		    /* when somebody last looked at the members */
	_Alignas(64) _Atomic uint64_t tail; /* by claim */
	_Alignas(64) _Atomic uint64_t head; /* by claim */
	_Alignas(64) tine_lock lock;
	struct note note;
	_Atomic uint64_t swept;		/* boxes below it were looked at */
	_Atomic uint32_t recovering;	/* the fallen are marked */
	uint64_t stray_cell, stray_box; /* where to look for one; hints */
	unsigned stray_ring;
	uint64_t looked;     /* at boxes below it, for leases that ran out */
	_Atomic int64_t due; /* when the first will have; 0: none will */
	struct sleepers drained;
	/* What is to stand at a place, and whose it is until it does; or NULL. */
	_Atomic(void *) fresh;
	_Atomic(_Atomic(void *) *) fresh_place;
	_Atomic uint64_t fresh_token;
	/* Without a bound: rings. */
	_Atomic(struct stretch *) oldest, front, back, loose;
	uint64_t token; /* who owns them */
	/* Rarely written. */
	_Alignas(64) _Atomic unsigned desks; /* from here on none was ever taken */
	_Atomic(struct desk *) group[MEMBERS / DESK_GROUP];
};

/* ---- words ------------------------------------------------------------------------- */

/*
 * state: 3 bits, len: 21, position: 40. In a box, generation: 24, desk: 16 for position.
 */
#define POSITION_BITS 40
#define POSITION_MASK ((UINT64_C(1) << POSITION_BITS) - 1)

static inline uint64_t cell_word(enum state state, size_t len, uint64_t position)
{
	return (uint64_t)state << 61 | (uint64_t)len << POSITION_BITS |
	       (position & POSITION_MASK);
}

static inline enum state word_state(uint64_t word)
{
	return word >> 61;
}

static inline size_t word_len(uint64_t word)
{
	return word >> POSITION_BITS & ((1u << 21) - 1);
}

/* Whether it is in this state at this position, of whatever length. */
static inline bool is_at(uint64_t word, enum state state, uint64_t position)
{
	return (word & ~cell_word(0, (1u << 21) - 1, 0)) == cell_word(state, 0, position);
}

static inline unsigned box_desk(uint64_t word)
{
	return word & 0xffff;
}

static inline uint32_t box_generation(uint64_t word)
{
	return word >> 16 & 0xffffff;
}

static inline uint64_t box_word(enum state state, size_t len, uint32_t generation,
				unsigned desk)
{
	return cell_word(state, len, (uint64_t)(generation & 0xffffff) << 16 | desk);
}

/* A claim: n positions (16 bits, not 0) from the first (48 bits) on. */
static inline uint64_t claim_of(uint64_t first, uint64_t n)
{
	return first << 16 | n;
}

static inline bool claims(uint64_t claim, uint64_t position)
{
	return ((position - (claim >> 16)) & (UINT64_MAX >> 16)) < (claim & 0xffff);
}

static inline struct cell *cell_in(const struct ring *ring, uint64_t position)
{
	return (struct cell *)(ring->cells + (position & ring->mask) * ring->stride);
}

/* Before anybody uses it: from its first position on. */
static inline void ring_begin(const struct ring *ring, uint64_t from)
{
	for (uint64_t i = from; i - from <= ring->mask; i++)
		atomic_store_explicit(&cell_in(ring, i)->word, cell_word(FREE, 0, i),
				      memory_order_relaxed);
}

/* Its cell's word, when its message was taken. */
static inline uint64_t freed_in(const struct ring *ring, uint64_t position)
{
	return cell_word(FREE, 0, position + ring->mask + 1);
}

/* NULL: nothing was ever on lease. */
static inline struct box *box_at(const struct tine_queue *queue, uint64_t index)
{
	char *boxes = atomic_load_explicit(&queue->boxes, memory_order_acquire);

	return boxes ? (struct box *)(boxes + index * queue->box_stride) : NULL;
}

static inline struct desk *desk_at(const struct tine_queue *queue, unsigned index)
{
	struct desk *group = atomic_load_explicit(&queue->group[index / DESK_GROUP],
						  memory_order_acquire);

	return group ? &group[index % DESK_GROUP] : NULL;
}

/* Leases of the desk, that it has or is about to take. */
static inline uint32_t count_leases(const struct desk *desk)
{
	return atomic_load(&desk->leased) - atomic_load(&desk->acked) -
	       atomic_load(&desk->ended);
}

static inline uint32_t count_strays(const struct tine_queue *queue)
{
	return (uint32_t)atomic_load(&queue->strays);
}

static inline bool all_closed(const struct tine_queue *queue)
{
	return (uint32_t)atomic_load(&queue->closes) >= queue->producers;
}

#endif
