/* SPDX-License-Identifier: MIT */
/*
 * The claims of a queue and their recovery: src/queue/words.h, ring.h, mend.c. Each step
 * of a process is one access to shared memory, and before each that writes it may die.
 *
 * test/cmd/model.sh runs them all. One by hand, and what it found:
 *
 *	spin -a -DPUTS test/model/queue.pml
 *	cc -DSAFETY -o pan pan.c && ./pan -E -m10000
 *	spin -t -k queue.pml.trail -p -g -DPUTS test/model/queue.pml
 *
 * Checked in every state: a word that somebody has claimed is as he left it, a message is
 * whole when it is taken, and taken once, each consumer gets a producer's in order, a
 * desk is vacant only when nothing of it is open, a close counts once, and the stream
 * ends only when nothing is left. And when nobody can go on: what was put has been taken,
 * who lives has finished or waits for what will not come, and the dead have no desk.
 *
 * The configurations, each exhaustive within its bounds:
 *
 *	PUTS		two producers, holes, batches
 *	GETS		two consumers, strays, batches
 *	LEASES		two that lease, and a third when both have died
 *	BOXES		one that leases, one that gets, a third as above; one cell
 *	NACKING		one that leases, whose lease another ends, and one that gets
 *	CLOSING		two producers that close, and a newcomer at a dead one's desk
 *	ENDING		one that leases and one that gets, until the stream ends
 *	SITTING		a newcomer at the desk of a dead one, who may die too, and another
 *	SLEEPING	sleeping and waking (sleepers.h), with deaths
 *	WAKING		the same, but nobody dies, and nobody looks again by himself
 *
 * and -D of one of these is a mistake that must be found:
 *
 *	LATE_CLAIM	the claim is written after the compare-and-swap
 *	KEPT_CLAIM	it is not taken back on failure
 *	EARLY_CLAIM	the next claim is seen before the word that completes the last
 *	IGNORES_LIVING	recovery does not ask for the claims of the living
 *	PLAIN_STORE	recovery stores the word, without compare-and-swap
 *	EARLY_FULL	a word is FULL before the copy is complete
 *	LATE_HELD	box HELD after word FREE
 *	LATE_BOXES	recovery settles boxes after claims
 *	EACH_ALONE	it settles one dead desk after another, boxes and claims of each
 *	OLD_POSITION	the position of a box is read before its word
 *	RING_FIRST	a stray of the ring is taken before those in boxes
 *	EARLY_TAKEN	a stray's word is set before the message is out
 *	NO_FINISH	the lock's next holder does not free a stray that is in a box too
 *	EARLY_NACK	a lease is ended while its cell is FULL still
 *	PLAIN_NACK	it is ended by a store, without compare-and-swap
 *	EARLY_VACANT	the desk is vacant though a claim of it is not settled
 *	LATE_COUNT	strays are counted after the desk is vacant
 *	NO_SWEEP	a newcomer who must wait for a desk does not look at the members
 *	KEPT_LAST	a newcomer leaves the word as it was
 *	NO_CLOSING	closes are counted without the word that says who was counted
 *	EARLY_END	the stream ends when head is at tail, whatever is in the cells
 *	NO_SECOND_LOOK	who is about to sleep does not look again
 *	NEW_TURN	it sleeps on a turn that it noted after it looked
 *	NEW_CAME	a waker takes those for gone who came after it looked
 *	NO_RELOOK	who sleeps does not look again by himself, nor tends
 *
 * Left out: weak memory, threads of a process, lengths and -EMSGSIZE, deadlines, numbers
 * that wrap (positions, generations of boxes), a capacity that is no power of two, how
 * deaths are noticed (member.h), and making desks and boxes. Notes of strays (words.h) are
 * left out too: here who inherits the lock counts the strays. Where claims to put, or to
 * get, are not what a configuration is about, they are one step. Who waits and tends is a
 * process of its own, and when he dies another takes over. Who waits looks when there is
 * something to see; looks in vain, which are many, would change nothing. A message is
 * taken when the word says so: what a process poured, and then died, nobody got.
 */

/* ---- bounds ---------------------------------------------------------------------- */

#if defined(PUTS)
#define DESKS	3
#define KILLS	2
#define TAKERS	1
#define PUTTERS	2
#define RUN	run producer(0, 1, 2, 2); run producer(1, 3, 2, 1); run drain(2, 0)
#elif defined(GETS)
#define DESKS	3
#define KILLS	2
#define TAKERS	2
#define RUN	run feeder(0, 1, 3); run getter(1, 2); run getter(2, 1)
#elif defined(LEASES)
#define DESKS	4
#define KILLS	2
#define TAKERS	3
#define BOX	2
#define RUN	run feeder(0, 1, 2); run leaser(1, 0); run leaser(2, 0); run drain(3, 2)
#elif defined(BOXES)
#define CELLS	1
#define DESKS	4
#define KILLS	2
#define TAKERS	3
#define BOX	1
#define RUN	run feeder(0, 1, 2); run leaser(1, 0); run getter(2, 1); run leaser(3, 2)
#elif defined(NACKING)
#define DESKS	3
#define KILLS	2
#define TAKERS	2
#define BOX	1
#define NACKS	2
#define RUN	run feeder(0, 1, 2); run leaser(1, 0); run drain(2, 0); run ender(DESKS)
#elif defined(CLOSING)
#define CELLS	1
#define DESKS	3
#define KILLS	2
#define TAKERS	1
#define PUTTERS	2
#define ENDS	2
#define NEWCOMER
#define RUN	run feeder(0, 1, 1); run feeder(1, 3, 1); run drain(2, 0); run newcomer(0)
#elif defined(ENDING)
#define DESKS	3
#define KILLS	1
#define TAKERS	2
#define BOX	1
#define ENDS	1
#define RUN	run feeder(0, 1, 2); run getter(1, 1); run leaser(2, 0)
#elif defined(SITTING)
#define DESKS	3
#define KILLS	2
#define TAKERS	2
#define NEWCOMER
#define TENDED	(takers > 0)
#define RUN	run feeder(0, 1, 1); run getter(1, 1); run getter(2, 1); run newcomer(1)
#elif defined(SLEEPING)
#ifdef NO_RELOOK
#define TENDED	false
#endif
#define CELLS	1
#define DESKS	3
#define KILLS	1
#define TAKERS	2
#define FUTEX
#define RUN	run feeder(0, 1, 2); run drain(1, 0); run drain(2, 0)
#elif defined(WAKING)
#define CELLS	1
#define DESKS	3
#define KILLS	0
#define TAKERS	1
#define PUTTERS	2
#define FUTEX
#define NO_RELOOK
#define RUN	run feeder(0, 1, 2); run feeder(1, 3, 1); run drain(2, 0)
#else
#error which configuration
#endif

#ifndef PUTTERS
#define PUTTERS 1
#endif
#ifdef ENDING
#define MUST_FINISH(d) ((d) < PUTTERS || closes >= ENDS)
#else
#define MUST_FINISH(d) ((d) < PUTTERS)
#endif
#ifndef TENDED
#define TENDED true
#endif
#ifndef CELLS
#define CELLS 2
#endif
#define IDS 5 /* messages are 1 to 4 */

/* ---- memory ---------------------------------------------------------------------- */

#define FREE	0
#define FULL	1
#define STRAY	2
#define TAKING	3
#define HELD	4
#define TORN	255

/* Words of cells, and their data: a message, or half of one. */
byte state[CELLS], position[CELLS], length[CELLS], data[CELLS];
byte tail, head, strays;
#define IN(p)		((p) % CELLS)
#define IS(s, p)	(state[IN(p)] == s && position[IN(p)] == (p))
#ifdef PLAIN_STORE
#define STILL(s, p)	true
#else
#define STILL(s, p)	IS(s, p)
#endif
#define SET(s, l, p)	state[IN(p)] = s; length[IN(p)] = l; position[IN(p)] = p
#define SET_FREED(p)	SET(FREE, 0, p + CELLS)

#ifdef BOX
byte box_state[BOX], box_desk[BOX], box_position[BOX], box_data[BOX];
#ifdef NACKS
byte generation[BOX];
#define NEXT_GENERATION(b) generation[b] = (generation[b] + 1) % 8
#else
#define NEXT_GENERATION(b) skip
#endif
#define IN_USE(b)	(box_state[b] == TAKING || box_state[b] == HELD)
#endif

#define CLAIM(first, n)	((first) * 4 + (n))
#define NAMES(claim, p)	((p) >= (claim) / 4 && (p) < (claim) / 4 + (claim) % 4)
#define CLAIM_OF(d, puts) (puts -> putting[d] : getting[d])
byte putting[DESKS], getting[DESKS];
/* The life that sits at the desk, 0: vacant; and the life of the record as last seen. */
byte member[DESKS], life[DESKS];
#define GONE(d)	(member[d] != 0 && member[d] != life[d])
/* Of a recovery: 1 fallen, 2 its claims were looked at too. */
byte fallen[DESKS];
bool recovering;
#define FALLEN(d) (fallen[d] != 0)
#ifdef EACH_ALONE
#define ITS_TURN(d, d_) ((d) == (d_))
#else
#define ITS_TURN(d, d_) (fallen[d] != 0)
#endif

#define PRODUCES 1
#define IS_CLOSING 2
#define CLOSED	4
#ifdef ENDS
byte role[DESKS], closes, closed_last; /* a desk + 1 */
#endif

#define LOCKED	 1
#define ORPHANED 2
byte lock;

#define ITEMS 0
#define ROOM  1
#ifdef FUTEX
/*
 * Sleepers (sleepers.h), on ITEMS + 1 or ROOM + 1, 0: none. Of the numbers there this
 * alone matters: whether the turn is the one noted, whether came is what a waker saw, and
 * whether came and gone differ.
 */
byte noted[DESKS + 1], seen[DESKS + 1], asleep[DESKS + 1];
bool any[2];
#endif

/* ---- what is only looked at ------------------------------------------------------ */

byte kills, takers, takers_lost;
bool dead[DESKS], finished[DESKS], tender_left;
byte seats; /* a newcomer: 1 has no seat yet, 2 has one */
bool returned[IDS], done[IDS];
byte put_by[CELLS], got_by[CELLS]; /* whose position, desk + 1, is not complete */
#ifdef ENDS
byte counted[DESKS];
#endif

#define MAY_DIE	     if :: kills < KILLS -> kills++; goto dies :: true fi
#define STEP(access) atomic { MAY_DIE; access }
#define DONE(m)	     assert(m >= 1 && m < IDS && !done[m]); done[m] = true

/* Whether there is anything new for who tends. */
#define ALL_BURIED   (BURIED(0) && BURIED(1) && BURIED(2) && BURIED(3))
#define BURIED(d)    (!dead[(d) % DESKS] || life[(d) % DESKS] % 2 == 0)
#define SOME_GONE    (GONE(0) || GONE(1 % DESKS) || GONE(2 % DESKS) || GONE(DESKS - 1))
#define HIND_MOVED \
	(GONE(hind - 1) || \
	 !NAMES(CLAIM_OF(hind - 1, hputs), hpos) || \
	 !IS((hputs -> FREE : FULL), hpos))

/* members_sweep() */
inline sweep() {
	atomic {
		do
		:: x < DESKS -> life[x] = life[x] + (BURIED(x) -> 0 : 1); x++
		:: else -> break
		od;
		x = 0
	}
}

/* ---- under the lock -------------------------------------------------------------- */

/* queue_count_strays(): none comes or goes but under the lock. */
inline count_strays() {
	atomic {
		MAY_DIE;
		strays = 0;
		i = 0;
		do
		:: i < CELLS -> strays = strays + (state[i] == STRAY -> 1 : 0); i++
		:: else -> break
		od;
#ifdef BOX
		i = 0;
		do
		:: i < BOX -> strays = strays + (box_state[i] == STRAY -> 1 : 0); i++
		:: else -> break
		od;
#endif
		i = 0
	}
}

/* queue_lock() */
inline take_lock() {
	atomic {
		lock != LOCKED;
		MAY_DIE;
		inherited = (lock == ORPHANED);
		lock = LOCKED;
		locked = true
	}
	if
	:: inherited ->
#if defined(ENDS) && !defined(NO_CLOSING)
		/* finish_closing() */
		STEP(if
		     :: closed_last != 0 && (role[closed_last - 1] & IS_CLOSING) ->
			     role[closed_last - 1] = role[closed_last - 1] | CLOSED
		     :: else
		     fi)
#endif
#if defined(BOX) && !defined(NO_FINISH)
		/* finish_taking() */
		do
#ifdef OLD_POSITION
		:: atomic { b < BOX -> p = box_position[b] }
			if
			:: atomic {
				box_state[b] == HELD && IS(STRAY, p) ->
				MAY_DIE;
				SET_FREED(p); b++
			   }
			:: else -> b++
			fi
#else
		:: atomic { b < BOX && box_state[b] != HELD -> b++ }
		:: atomic { b < BOX && box_state[b] == HELD -> skip }
			if
			:: atomic {
				IS(STRAY, box_position[b]) ->
				MAY_DIE;
				SET_FREED(box_position[b]); b++
			   }
			:: else -> b++
			fi
#endif
		:: else -> break
		od;
		atomic { b = 0; p = 0 }
#endif
		count_strays();
		inherited = false
	:: else
	fi
}

inline release_lock() {
	STEP(lock = 0; locked = false)
}

/* queue_close(), of desk d_ */
inline count_close(d_) {
	skip;
#ifdef ENDS
	if
	:: role[d_] & CLOSED
	:: else ->
#ifdef NO_CLOSING
		STEP(closes++; counted[d_]++; assert(counted[d_] == 1));
#else
		STEP(role[d_] = role[d_] | IS_CLOSING);
		STEP(closes++; closed_last = d_ + 1;
		     counted[d_]++; assert(counted[d_] == 1));
#endif
		STEP(role[d_] = role[d_] | CLOSED)
	fi
#endif
}

/* any_desk(lives_and_claims): the claim first, then the life. */
inline ask_living(puts) {
#ifndef IGNORES_LIVING
	do
	:: atomic {
		j < DESKS && !(member[j] != 0 && NAMES(CLAIM_OF(j, puts), p)) ->
		j++
	   }
	:: atomic {
		j < DESKS && member[j] != 0 && NAMES(CLAIM_OF(j, puts), p) ->
		skip
	   }
		atomic {
			if
			:: !FALLEN(j) -> lives = true; hind = j + 1; hputs = puts; hpos = p
			:: else
			fi;
			j++
		}
	:: else -> break
	od;
	j = 0
#else
	skip
#endif
}

#ifdef BOX
/* settle_boxes() */
inline settle_boxes(d_) {
	do
	:: atomic {
		b < BOX && !(IN_USE(b) && ITS_TURN(box_desk[b], d_)) ->
		b++
	   }
	:: atomic {
		b < BOX && ITS_TURN(box_desk[b], d_) && box_state[b] == TAKING ->
		MAY_DIE;
		box_state[b] = FREE; box_desk[b] = 0; b++
	   }
	:: atomic {
		b < BOX && ITS_TURN(box_desk[b], d_) && box_state[b] == HELD ->
		p = box_position[b]
	   }
		STEP(if
		     :: IS(FULL, p) -> SET_FREED(p); got_by[IN(p)] = 0
		     :: else
		     fi; p = 0);
		STEP(box_state[b] = STRAY; box_desk[b] = 0; b++)
	:: else -> break
	od;
	b = 0
}
#else
inline settle_boxes(d_) { skip }
#endif

/* The word of p by compare-and-swap. */
inline settle(from, to) {
	atomic {
		MAY_DIE;
		if
		:: STILL(from, p) ->
			if
			:: to == FREE -> SET_FREED(p); got_by[IN(p)] = 0
			:: to == STRAY -> SET(STRAY, 1, p); got_by[IN(p)] = 0
			:: to == FULL -> SET(FULL, 0, p); put_by[IN(p)] = 0
			fi
		:: else
		fi
	}
}

/* settle_claim() of a claim to get, and to put */
inline settle_getting(d_) {
	t = head;
	do
	:: atomic {
		i < getting[d_] % 4 ->
		p = getting[d_] / 4 + i;
		i++;
		c = (p < t && t - p <= CELLS && IS(FULL, p) -> 1 : 0)
	   }
		if
		:: c == 1 ->
			c = 0;
			ask_living(0);
			if
			:: lives -> atomic { settled = false; lives = false }
			:: else ->
				settle(FULL, (length[IN(p)] -> STRAY : FREE))
			fi
		:: else
		fi
	:: else -> break
	od;
	atomic { i = 0; p = 0; t = 0 }
}

inline settle_putting(d_) {
	t = tail;
	do
	:: atomic {
		i < putting[d_] % 4 ->
		p = putting[d_] / 4 + i;
		i++;
		c = (p < t && t - p <= CELLS && IS(FREE, p) -> 1 : 0)
	   }
		if
		:: c == 1 ->
			c = 0;
			ask_living(1);
			if
			:: lives -> atomic { settled = false; lives = false }
			:: else ->
				settle(FREE, FULL)
			fi
		:: else
		fi
	:: else -> break
	od;
	atomic { i = 0; p = 0; t = 0 }
}

inline nothing_open(d_) {
	c = 0;
	do
	:: c < CELLS ->
		assert(put_by[c] != d_ + 1 && got_by[c] != d_ + 1);
		c++
	:: else -> break
	od;
	c = 0;
#ifdef BOX
	do
	:: c < BOX ->
		assert(!(box_desk[c] == d_ && IN_USE(c)));
		c++
	:: else -> break
	od;
	c = 0;
#endif
#ifdef ENDS
	assert(role[d_] == 0 || (role[d_] & CLOSED));
#endif
}

/* settle_fallen() */
inline settle_fallen(d_) {
	settled = true;
#ifdef EACH_ALONE
	settle_boxes(d_);
#endif
	settle_getting(d_);
	settle_putting(d_);
#ifdef ENDS
	if
	:: role[d_] != 0 -> count_close(d_)
	:: else
	fi;
#endif
#ifdef EARLY_VACANT
	settled = true;
#endif
#ifndef LATE_COUNT
	count_strays();
#endif
	STEP(fallen[d_] = 2);
	if
	:: settled -> atomic { MAY_DIE; nothing_open(d_); member[d_] = 0 }
	:: else
	fi
}

/* recover(); may be left off at any step, as by a death. */
inline recover() {
	if
	:: !recovering ->
		atomic {
			MAY_DIE;
			x = 0;
			do
			:: x < DESKS -> fallen[x] = (GONE(x) -> 1 : 0); x++
			:: else -> break
			od;
			x = 0
		}
		STEP(recovering = true)
	:: else
	fi;
#if !defined(LATE_BOXES) && !defined(EACH_ALONE)
	settle_boxes(DESKS);
#endif
	do
	:: atomic { x < DESKS && !(fallen[x] == 1 && member[x] != 0) -> x++ }
	:: atomic { x < DESKS && fallen[x] == 1 && member[x] != 0 -> skip }
		settle_fallen(x);
		x++
	:: else -> break
	od;
	x = 0;
#ifdef LATE_BOXES
	settle_boxes(DESKS);
	count_strays();
#endif
	atomic {
		MAY_DIE;
		do
		:: x < DESKS -> fallen[x] = 0; x++
		:: else -> break
		od;
		x = 0
	}
	STEP(recovering = false)
}

#define NONE 99

/* queue_find_stray(), in words s: 0 to CELLS - 1 of the ring, then boxes. */
inline find_stray() {
	atomic {
		s = NONE;
		i = 0;
#if defined(BOX) && !defined(RING_FIRST)
		do
		:: i < BOX && box_state[i] == STRAY -> s = CELLS + i; break
		:: i < BOX && box_state[i] != STRAY -> i++
		:: else -> break
		od;
		i = (s == NONE -> 0 : CELLS);
#endif
		do
		:: i < CELLS && state[i] == STRAY -> s = i; break
		:: i < CELLS && state[i] != STRAY -> i++
		:: else -> break
		od;
#if defined(BOX) && defined(RING_FIRST)
		i = (s == NONE -> 0 : BOX);
		do
		:: i < BOX && box_state[i] == STRAY -> s = CELLS + i; break
		:: i < BOX && box_state[i] != STRAY -> i++
		:: else -> break
		od;
#endif
		i = 0
	}
}

#ifdef BOX
#define BOXES_FREE (box_state[0] == FREE && box_state[BOX - 1] == FREE)
#else
#define BOXES_FREE true
#endif
#define CELLS_FREE (state[0] == FREE && state[CELLS - 1] == FREE)

/* queue_drained(): for who holds no lease. */
inline look_for_end() {
	ended = false;
#ifdef ENDS
	if
	:: closes >= ENDS ->
		if
		:: strays == 0 ->
			t = head;
			if
			:: t == tail ->
				ended = true;
				i = 0;
#ifndef EARLY_END
				do
				:: atomic {
					i < CELLS ->
					ended = ended && state[i] == FREE; i++
				   }
				:: else -> break
				od;
#endif
				i = 0;
#ifdef BOX
				do
				:: atomic {
					i < BOX ->
					ended = ended && box_state[i] == FREE; i++
				   }
				:: else -> break
				od;
				i = 0
#else
				skip
#endif
			:: else
			fi;
			t = 0
		:: else
		fi
	:: else
	fi
#endif
}

/* All who put have ended, and nothing may come any more. */
inline nothing_left() {
	c = 1;
	do
	:: c < IDS -> assert(!returned[c] || done[c]); c++
	:: else -> break
	od;
	c = 0
}

/* ---- waiting --------------------------------------------------------------------- */

#define SEES_ROOM  (IS(FREE, tail))
#define SEES_ITEM  (strays != 0 || IS(FULL, head))
#ifdef ENDS
#define ALL_CLOSED (closes >= ENDS)
#define SEES_END \
	(ALL_CLOSED && head == tail && strays == 0 && CELLS_FREE && BOXES_FREE)
#else
#define ALL_CLOSED false
#define SEES_END   false
#endif
#ifdef BOX
#define STATE_OF_BOX(s_) (box_state[0] == s_ || box_state[BOX - 1] == s_)
#ifdef RING_FIRST
#define RING_STRAY (state[0] == STRAY || state[CELLS - 1] == STRAY)
#else
#define RING_STRAY false
#endif
#define SEES_BOX (STATE_OF_BOX(FREE) || (STATE_OF_BOX(STRAY) && !RING_STRAY))
#endif

#ifdef FUTEX
#ifdef NO_RELOOK
#define LOOKS(sees) false
#else
#define LOOKS(sees) (sees)
#endif

#define NONE_OF(list, w) \
	list[0] = (list[0] == w + 1 -> 0 : list[0]); \
	list[1] = (list[1] == w + 1 -> 0 : list[1]); \
	list[2] = (list[2] == w + 1 -> 0 : list[2]); \
	list[3] = (list[3] == w + 1 -> 0 : list[3])
#ifdef NEW_CAME
#define SEEN_LESS false
#else
#define SEEN_LESS (seen[d] == 0)
#endif

/* wait_a_little(): sleepers_join(), and after another look sleepers_nap(). */
inline wait_a_little(w_, sees) {
	if
	:: !joined ->
		noted[d] = w_ + 1;
		atomic { MAY_DIE; any[w_] = true; NONE_OF(seen, w_) }
		joined = true
#ifdef NO_SECOND_LOOK
		; nap(w_, sees)
#endif
	:: else ->
#ifdef NEW_TURN
		noted[d] = w_ + 1;
#endif
		nap(w_, sees)
	fi
}

inline nap(w_, sees) {
	STEP(if :: noted[d] != 0 -> asleep[d] = w_ + 1; noted[d] = 0 :: else fi);
	atomic {
		asleep[d] == 0 || LOOKS(sees) ->
		MAY_DIE;
		asleep[d] = 0; joined = false
	}
}

/* sleepers_wake() of one */
inline wake(w_) {
	if
	:: atomic { any[w_] -> seen[d] = w_ + 1 }
		atomic { MAY_DIE; NONE_OF(noted, w_) }
		atomic {
			MAY_DIE;
			if
			:: asleep[0] == w_ + 1 -> asleep[0] = 0; seen[d] = 0
			:: asleep[1] == w_ + 1 -> asleep[1] = 0; seen[d] = 0
			:: asleep[2] == w_ + 1 -> asleep[2] = 0; seen[d] = 0
			:: else -> less = true
			fi
		}
		if
		:: less -> STEP(any[w_] = SEEN_LESS; seen[d] = 0; less = false)
		:: else
		fi
	:: else
	fi
}

/* sleepers_wake() of all, of both */
inline wake_all() {
	do
	:: x < 2 ->
		if
		:: atomic { any[x] -> seen[d] = x + 1 }
			atomic { MAY_DIE; NONE_OF(noted, x) }
			STEP(NONE_OF(asleep, x));
			STEP(any[x] = SEEN_LESS; seen[d] = 0)
		:: else
		fi;
		x++
	:: else -> break
	od;
	x = 0
}
#else
inline wake_all() { skip }
#endif

/* ---- processes ------------------------------------------------------------------- */

#define LOCALS \
	byte t, i, j, p, x, c, b, s, m, hind, hputs, hpos, deaths; \
	bool locked, inherited, settled, lives, ended, joined, less
#define FORGET \
	if :: locked -> lock = ORPHANED :: else fi; \
	t = 0; i = 0; j = 0; p = 0; x = 0; c = 0; b = 0; s = 0; m = 0; \
	hind = 0; hputs = 0; hpos = 0; deaths = 0; \
	locked = false; inherited = false; settled = false; lives = false; \
	joined = false; less = false

#ifdef FUTEX
#define NO_SLEEPER noted[d] = 0; seen[d] = 0; asleep[d] = 0
#else
#define NO_SLEEPER skip
#endif

/* A death is seen with all that was written before. */
#define DEATH \
	dead[d] = true; \
	NO_SLEEPER; \
	FORGET

#define FEED data[IN(tail)] = id; SET(FULL, 1, tail); tail++
#define DRAIN \
	if \
	:: length[IN(head)] != 0 -> DONE(data[IN(head)]) \
	:: else \
	fi; \
	SET_FREED(head); head++
#ifdef BOX
#define DRAIN_STRAY \
	if \
	:: s < CELLS -> DONE(data[s]); p = position[s]; SET_FREED(p) \
	:: else -> DONE(box_data[s - CELLS]); box_state[s - CELLS] = FREE \
	fi; \
	strays--; s = 0; p = 0
#else
#define DRAIN_STRAY DONE(data[s]); p = position[s]; SET_FREED(p); strays--; s = 0; p = 0
#endif

/* put() of n messages from first on, each in one step. */
proctype feeder(byte d; byte first; byte n)
{
	byte id = first;
	LOCALS;
again:	do
	:: id < first + n ->
#ifdef CLOSING
		STEP(role[d] = role[d] | PRODUCES);
#endif
#ifdef FUTEX
		atomic {
			if
			:: IS(FREE, tail) -> MAY_DIE; FEED; joined = false
			:: else -> goto nothing
			fi
		}
		wake(ITEMS);
#else
		atomic { SEES_ROOM -> FEED }
#endif
		atomic { returned[id] = true; id++ }
	:: else -> break
	od;
#ifdef CLOSING
	take_lock();
	count_close(d);
	release_lock();
#elif defined(ENDING)
	atomic { lock == 0 -> role[d] = CLOSED; closes++; counted[d]++ }
#endif
	atomic { finished[d] = true; goto over }
#ifdef FUTEX
nothing:
	wait_a_little(ROOM, SEES_ROOM);
	goto again;
#endif
dies:	atomic { DEATH; id = 0 }
over:	skip
}

/* get() in one step; the relief comes when so many have died. */
proctype drain(byte d; byte relief)
{
	LOCALS;
	takers_lost >= relief;
again:
#ifdef FUTEX
	atomic {
		if
		:: IS(FULL, head) -> MAY_DIE; DRAIN; joined = false
		:: else -> goto nothing
		fi
	}
	/* make_room_known() */
	if
	:: tail - head <= CELLS - (CELLS + 1) / 2 -> wake(ROOM)
	:: else
	fi;
	goto again;
nothing:
	wait_a_little(ITEMS, SEES_ITEM);
#else
	atomic {
		SEES_ITEM && (strays == 0 || lock == 0) ->
		if
		:: strays != 0 -> find_stray(); DRAIN_STRAY
		:: else -> DRAIN
		fi
	}
#endif
	goto again;
dies:	atomic { DEATH; takers-- }
}

/* put(): n messages from first on, as many at once as many. */
proctype producer(byte d; byte first; byte n; byte many)
{
	byte id = first, k;
	LOCALS;
again:	do
	:: id < first + n ->
		/* count_free() */
		atomic { t = tail; k = 0 };
		do
		:: atomic { k < many && id + k < first + n && IS(FREE, t + k) -> k++ }
		:: else -> break
		od;
		if
		:: k == 0 && t == tail -> SEES_ROOM; goto again
		:: k == 0 && t != tail -> goto again
		:: else
		fi;
		/* claim() */
#ifndef LATE_CLAIM
		STEP(putting[d] = CLAIM(t, k));
#endif
		atomic {
			MAY_DIE;
			if
			:: tail == t ->
				tail = t + k;
				put_by[IN(t)] = d + 1;
				put_by[IN(t + k - 1)] = d + 1
			:: else -> k = 0
			fi
		}
#ifdef LATE_CLAIM
		STEP(putting[d] = CLAIM(t, k));
#endif
		if
		:: k == 0 ->
#ifndef KEPT_CLAIM
			STEP(putting[d] = 0);
#endif
			goto again
		:: else
		fi;
		/* try_put() */
		i = 0;
		do
		:: i < k ->
			p = t + i;
			STEP(data[IN(p)] = TORN);
#ifdef EARLY_FULL
			STEP(SET(FULL, 1, p); put_by[IN(p)] = 0);
			STEP(data[IN(p)] = id + i);
#else
			STEP(data[IN(p)] = id + i);
			STEP(assert(IS(FREE, p)); SET(FULL, 1, p); put_by[IN(p)] = 0);
#endif
			i++
		:: else -> break
		od;
		i = 0; p = 0;
		/* It returns. */
		atomic {
			do
			:: k > 0 -> returned[id] = true; id++; k--
			:: else -> break
			od;
			t = 0
		}
	:: else -> break
	od;
	atomic { finished[d] = true; goto over }
dies:	atomic { DEATH; id = 0; k = 0 }
over:	skip
}

/* take_stray() of a plain get: the message first, the word second. */
inline get_stray() {
	take_lock();
	find_stray();
	if
	:: s == NONE -> count_strays()
	:: s < CELLS ->
#ifndef EARLY_TAKEN
		m = data[s];
		assert(m != TORN && m == data[s]);
		STEP(p = position[s]; SET_FREED(p); DONE(m));
#else
		STEP(p = position[s]; SET_FREED(p));
		STEP(m = data[s]; DONE(m));
#endif
		STEP(strays--)
	:: else ->
#ifdef BOX
		m = box_data[s - CELLS];
		STEP(box_state[s - CELLS] = FREE; box_desk[s - CELLS] = 0; DONE(m));
		STEP(strays--)
#endif
	fi;
	s = 0; m = 0; p = 0;
	release_lock()
}

/* get(), up to many at once. */
proctype getter(byte d; byte many)
{
	byte h, k, last[2];
	bool looked;
	LOCALS;
again:
	if
	:: SEES_ITEM
	:: SEES_END
	/* In vain, once. */
	:: ALL_CLOSED && !looked -> looked = true
	fi;
	/* attempt() */
	if
	:: strays != 0 -> get_stray(); goto again
	:: else
	fi;
claims:
	/* claim_full() */
	atomic { h = head; k = 0 }
	do
	:: atomic { k < many && IS(FULL, h + k) -> k++ }
	:: else -> break
	od;
	if
	:: k == 0 && h != head -> goto claims
	:: k == 0 && h == head -> goto nothing
	:: else
	fi;
#ifndef LATE_CLAIM
	STEP(getting[d] = CLAIM(h, k));
#endif
	atomic {
		MAY_DIE;
		if
		:: head == h ->
			head = h + k;
			got_by[IN(h)] = d + 1;
			got_by[IN(h + k - 1)] = d + 1
		:: else -> k = 0
		fi
	}
#ifdef LATE_CLAIM
	STEP(getting[d] = CLAIM(h, k));
#endif
	if
	:: k == 0 ->
#ifndef KEPT_CLAIM
		STEP(getting[d] = 0);
#endif
		goto claims
	:: else
	fi;
	/* try_get() */
	do
	:: k > 0 ->
		if
		:: length[IN(h)] != 0 ->
			m = data[IN(h)];
			assert(m != TORN && m == data[IN(h)]);
			assert(m > last[m > 2]);
			last[m > 2] = m
		:: else -> m = 0
		fi;
#ifdef EARLY_CLAIM
		STEP(getting[d] = CLAIM(h + k, 1));
#endif
		atomic {
			MAY_DIE;
			assert(IS(FULL, h));
			SET_FREED(h);
			got_by[IN(h)] = 0;
			if :: m != 0 -> DONE(m) :: else fi;
			m = 0;
			h++; k--
		}
	:: else -> break
	od;
	goto again;
nothing:
#ifdef ENDS
	if
	:: ALL_CLOSED ->
		take_lock();
		look_for_end();
		if
		:: ended -> nothing_left(); release_lock(); finished[d] = true; goto over
		:: else
		fi;
		release_lock()
	:: else
	fi
#endif
	h = 0;
	goto again;
dies:	atomic {
		DEATH;
		h = 0; k = 0; last[0] = 0; last[1] = 0; looked = false;
		takers--; takers_lost++
	}
over:	skip
}

#ifdef BOX
/* take_box() */
inline take_box() {
	do
	:: atomic { b < BOX && box_state[b] != FREE -> b++ }
	:: atomic {
		b < BOX && box_state[b] == FREE ->
		MAY_DIE;
		box_state[b] = TAKING; box_desk[b] = d; NEXT_GENERATION(b);
		break
	   }
	:: else -> break
	od
}

/* fill_box(), of the message m of position h; and returns it. */
inline fill_box() {
	STEP(box_data[b] = TORN);
	STEP(box_data[b] = m);
	STEP(box_position[b] = h);
	STEP(assert(box_state[b] == TAKING && box_desk[b] == d); box_state[b] = HELD)
}

/* lease(), and ack() of each; the relief as above. */
proctype leaser(byte d; byte relief)
{
	byte h, k;
	bool looked;
	LOCALS;
	takers_lost >= relief;
again:
	if
	:: SEES_ITEM && SEES_BOX
	:: SEES_END
	:: ALL_CLOSED && !looked -> looked = true
	fi;
	if
	:: strays != 0 ->
		/* take_stray() */
		take_lock();
		find_stray();
		if
		:: s == NONE -> b = BOX; count_strays()
		:: s < CELLS ->
			take_box();
			if
			:: b < BOX ->
				atomic { m = data[s]; h = position[s] }
				assert(m != TORN);
				fill_box();
				STEP(SET_FREED(h));
				STEP(strays--)
			:: else
			fi
		:: else ->
			atomic { b = s - CELLS; m = box_data[b] }
			assert(m != TORN);
			STEP(box_state[b] = HELD; box_desk[b] = d; NEXT_GENERATION(b));
			STEP(strays--)
		fi;
		s = 0; h = 0;
		release_lock();
		if
		:: b < BOX -> goto leased
		:: else -> b = 0
		fi
	:: else
	fi;
	/* try_lease() */
	h = head;
	if
	:: IS(FULL, h)
	:: else -> goto nothing
	fi;
	take_box();
	if
	:: b == BOX -> b = 0; goto nothing
	:: else
	fi;
claims:
	h = head;
	if
	:: IS(FULL, h)
	:: else ->
		if
		:: h != head -> goto claims
		:: else -> STEP(box_state[b] = FREE; box_desk[b] = 0); b = 0; goto nothing
		fi
	fi;
	STEP(getting[d] = CLAIM(h, 1));
	atomic {
		MAY_DIE;
		k = (head == h -> 1 : 0);
		if
		:: k == 1 -> head = h + 1; got_by[IN(h)] = d + 1
		:: else
		fi
	}
	if
	:: k == 0 -> STEP(getting[d] = 0); goto claims
	:: else -> k = 0
	fi;
	if
	:: length[IN(h)] == 0 ->
		STEP(box_state[b] = FREE; box_desk[b] = 0);
		STEP(assert(IS(FULL, h)); SET_FREED(h); got_by[IN(h)] = 0);
		b = 0; h = 0;
		goto again
	:: else
	fi;
	m = data[IN(h)];
	assert(m != TORN && m == data[IN(h)]);
#ifdef LATE_HELD
	STEP(assert(IS(FULL, h)); SET_FREED(h); got_by[IN(h)] = 0);
	fill_box();
#else
	fill_box();
	STEP(assert(IS(FULL, h)); SET_FREED(h); got_by[IN(h)] = 0);
#endif
	h = 0;
leased:
	/* tine_queue_ack() */
#ifdef NACKS
	STEP(if
	     :: box_state[b] == HELD && box_desk[b] == d ->
		     box_state[b] = FREE; box_desk[b] = 0; DONE(m)
	     :: else
	     fi);
#else
	STEP(assert(box_state[b] == HELD && box_desk[b] == d);
	     box_state[b] = FREE; box_desk[b] = 0; DONE(m));
#endif
	b = 0; m = 0;
	goto again;
nothing:
#ifdef ENDS
	if
	:: ALL_CLOSED ->
		take_lock();
		look_for_end();
		if
		:: ended -> nothing_left(); release_lock(); finished[d] = true; goto over
		:: else
		fi;
		release_lock()
	:: else
	fi
#endif
	h = 0;
	goto again;
dies:	atomic { DEATH; h = 0; k = 0; looked = false; takers--; takers_lost++ }
over:	skip
}
#endif

#ifdef NACKS
/* queue_end_lease(), of whatever is on lease. */
proctype ender(byte d)
{
	byte n, turn;
	LOCALS;
again:
	n < NACKS && STATE_OF_BOX(HELD);
	n++;
	take_lock();
	if
	:: atomic { box_state[b] == HELD -> p = box_position[b]; turn = generation[b] }
		if
#ifndef EARLY_NACK
		:: IS(FULL, p)
#endif
		:: else ->
#ifdef PLAIN_NACK
			STEP(box_state[b] = STRAY; box_desk[b] = 0);
			STEP(strays++)
#else
			STEP(if
			     :: box_state[b] == HELD && generation[b] == turn ->
				     box_state[b] = STRAY; box_desk[b] = 0; less = true
			     :: else
			     fi);
			if
			:: less -> STEP(strays++); less = false
			:: else
			fi
#endif
		fi
	:: else
	fi;
	release_lock();
	p = 0; turn = 0;
	goto again;
	/* It has a desk. */
dies:	atomic { tender_left = true; n = 0; turn = 0; FORGET }
}
#endif

/* queue_tend(), by whoever waits; when he dies, by the next. */
proctype tender(byte d)
{
	LOCALS;
again:
	/* Something is new to be seen. */
	if
	:: TENDED && hind == 0 && (tender_left || !ALL_BURIED || SOME_GONE)
	:: TENDED && hind != 0 && (deaths != kills || !ALL_BURIED || HIND_MOVED)
	fi;
	hind = 0; hputs = 0; hpos = 0;
	deaths = kills;
	sweep();
	if
	:: tender_left || SOME_GONE
	:: else -> goto again
	fi;
	take_lock();
	recover();
	/* The desk of a tender who died has no claims. */
	STEP(tender_left = false);
#ifdef LATE_COUNT
	count_strays();
#endif
	release_lock();
	wake_all();
	goto again;
dies:	atomic {
		tender_left = true;
		NO_SLEEPER;
		FORGET
	}
	goto again
}

#ifdef NEWCOMER
/* sit_down(), with the record of one who died. */
proctype newcomer(byte d)
{
	byte k;
	LOCALS;
again:
	/* enter(): he is buried, if nobody has. */
	atomic {
		dead[d] ->
		life[d] = life[d] + (life[d] % 2 == 1 -> 2 : 1);
		dead[d] = false;
		seats = 1
	}
sits:	take_lock();
	/* queue_sit() */
	/* Of a recovery that goes on already it may be no part. */
	do
	:: k < 2 && member[d] != 0 -> recover(); k++
	:: else -> break
	od;
	k = 0;
	settled = (member[d] == 0);
	if
	:: settled ->
#ifdef LATE_COUNT
		count_strays();
#endif
#ifdef ENDS
#ifndef KEPT_LAST
		STEP(closed_last = 0);
#endif
		STEP(assert(counted[d] == (role[d] != 0 -> 1 : 0));
		     role[d] = 0; counted[d] = 0);
#endif
		STEP(putting[d] = 0);
		STEP(getting[d] = 0);
		STEP(fallen[d] = 0);
		STEP(member[d] = life[d])
	:: else
	fi;
	release_lock();
	if
	:: !settled ->
		/* Try again, when there is something new. */
#ifdef NO_SWEEP
		HIND_MOVED;
#else
		HIND_MOVED || !ALL_BURIED;
		sweep();
#endif
		hind = 0; hputs = 0; hpos = 0;
		goto sits
	:: else
	fi;
	atomic { settled = false; seats = 2 }
#ifdef ENDS
	STEP(role[d] = role[d] | PRODUCES);
	take_lock();
	count_close(d);
	release_lock();
#endif
	atomic { finished[d] = true; goto over }
dies:	atomic {
		dead[d] = true;
		seats = 0;
		k = 0;
		FORGET
	}
	/* Perhaps another comes. */
	if
	:: goto again
	:: goto over
	fi;
over:	skip
}
#endif

/* When nothing more can happen. */
init {
	byte x, c;
	atomic {
		takers = TAKERS;
		do
		:: x < DESKS -> member[x] = 1; life[x] = 1; x++
		:: else -> break
		od;
		x = 0;
		do
		:: x < CELLS -> position[x] = x; x++
		:: else -> break
		od;
		x = 0;
		run tender(DESKS);
		RUN
	}
	timeout ->
	atomic {
		assert(seats != 1);
#ifdef ENDS
		/* Who has not put is no producer. */
		x = 0;
		do
		:: x < PUTTERS -> assert(counted[x] == (role[x] != 0 -> 1 : 0)); x++
		:: else -> break
		od;
		x = 0;
#endif
		assert(!TENDED || (!tender_left && ALL_BURIED && !(SOME_GONE)));
		if
		:: takers > 0 ->
			nothing_left();
			do
			:: x < DESKS ->
				assert(dead[x] || finished[x] || !MUST_FINISH(x));
				x++
			:: else -> break
			od
		:: else
		fi
	}
}
