/* SPDX-License-Identifier: MIT */
/*
 * The rings of a queue without a bound: src/queue/growth.h. Each step of a process is one
 * access to shared memory, and before each that writes it may die. test/cmd/model.sh runs
 * it; how one is run by hand stands in queue.pml.
 *
 * Checked in every state: what is read of a ring that is believed is the queue's, as is
 * every cell that is written to, which is as its claim found it; a message is taken once,
 * and each consumer gets a producer's in order. And when nobody can go on: what was put
 * has been taken, who lives has finished, and the rings of the queue are those of the
 * chain.
 *
 *	GROWING		two that put, one that gets
 *	MOVING		one that puts, two that get, and nobody dies
 *	TRIMMING	one that puts, one that gets, and a ring that is given up while empty
 *
 * and -D of one of these is a mistake that must be found:
 *
 *	NO_RECHECK	what was read of a ring is believed without another look
 *	ONLY_HEAD	it is if head is the same, whatever the front
 *	NO_SEAL		the tail is not sealed while a ring is linked
 *	EARLY_FREE	a ring is freed as soon as head has left it
 *	NO_FINISH	who inherits the lock does not finish what was begun
 *	LATE_LOOSE	a ring is the queue's before it is noted as loose
 *	LATE_NOTE	it is unlinked before it is
 *
 * Left out: what queue.pml has. Claims are one step here, as are a cell's word and data, and
 * a recovery. Rings are all of one size, and have a cell each.
 */

#if defined(GROWING)
#define DESKS	5
#define PUTTERS	2
#define GETTERS	1
#define RUN	run putter(0, 1, 2); run putter(1, 3, 1); run getter(2)
#define SHRINKS	0
#define KILLS	1
#elif defined(MOVING)
#define DESKS	5
#define PUTTERS	1
#define GETTERS	2
#define RUN	run putter(0, 1, 2); run getter(2); run getter(3)
#define SHRINKS	0
#define KILLS	0
#elif defined(TRIMMING)
#define DESKS	5
#define PUTTERS	1
#define GETTERS	1
#define RUN	run putter(0, 1, 2); run getter(2)
#define SHRINKS	1
#define KILLS	1
#else
#error which configuration
#endif
#define MENDER	(DESKS - 1)
#define IDS	4 /* messages are 1 to 3 */
#define RINGS	3

#define FREE	0
#define FULL	1
#define HOLE	0 /* as data */
#define NONE	0
#define QUEUE	9
#define OPEN	99 /* the end of a ring that is not sealed */
#define SEALED	100

/* Rings, by number + 1 where one may be none; their words. */
byte owner[RINGS], next[RINGS], end[RINGS], from[RINGS];
byte state[RINGS], position[RINGS], data[RINGS];
byte oldest, front, back, loose;
byte tail, head, lock;
byte putting[DESKS], getting[DESKS]; /* a position + 1 */

#define IS(s, r, p)	(state[r] == s && position[r] == (p))
#define SET(s, r, p)	state[r] = s; position[r] = p
#define HAS(r, p)	(owner[r] == QUEUE && from[r] <= (p) && (p) < end[r])
#ifdef NO_SEAL
#define SEAL		skip
#else
#define SEAL		tail = (tail >= SEALED -> tail : tail + SEALED)
#endif
#define POSITION(t)	((t) >= SEALED -> (t) - SEALED : (t))

#define LOCKED	 1
#define ORPHANED 2

byte kills, shrinks, lost;
bool dead[DESKS], buried[DESKS], settled[DESKS], finished[DESKS], over;
bool returned[IDS], done[IDS];

#define MAY_DIE	     if :: kills < KILLS && d != MENDER -> kills++; goto dies :: true fi
#define STEP(access) atomic { MAY_DIE; access }
#define DONE(m)	     assert(m >= 1 && m < IDS && !done[m]); done[m] = true
#define NEWER(m) \
	assert(m >= 3 -> m > last3 : m > last1); \
	last3 = (m >= 3 -> m : last3); last1 = (m >= 3 -> last1 : m)

#define LOCALS \
	byte t, h, r, e, n, f, l, p, m, last1, last3 = 2; \
	bool locked, inherited, linked, trims

/* ---- with the lock ----------------------------------------------------------------- */

/* link_loose() */
inline link_loose() {
	atomic { t = POSITION(tail); r = back; l = loose }
	if
	:: r + 1 != l ->
		STEP(next[l - 1] = NONE; end[l - 1] = OPEN; from[l - 1] = t + 1;
		     SET(FREE, l - 1, t + 1));
		STEP(next[r] = l);
		STEP(end[r] = t);
		STEP(back = l - 1)
	:: else
	fi;
	STEP(tail = t + 1);
	STEP(loose = NONE);
	atomic { t = 0; r = 0; l = 0 }
}

/* add_stretch(); m: there was memory */
inline add_ring() {
	atomic {
		MAY_DIE;
		if
		:: owner[0] == NONE -> l = 1
		:: owner[0] != NONE && owner[1] == NONE -> l = 2
		:: owner[0] != NONE && owner[1] != NONE && owner[2] == NONE -> l = 3
		:: else -> l = 0
		fi;
		if
		:: l != 0 -> owner[l - 1] = d + 1
		:: else
		fi
	}
	if
	:: l != 0 ->
#ifdef LATE_LOOSE
		STEP(owner[l - 1] = QUEUE);
		STEP(loose = l);
#else
		STEP(loose = l);
		STEP(owner[l - 1] = QUEUE);
#endif
		STEP(SEAL);
		link_loose()
	:: else
	fi
}

/* drop_loose() */
inline drop_loose() {
	STEP(if
	     :: owner[loose - 1] == QUEUE -> owner[loose - 1] = d + 1; m = 1
	     :: else
	     fi);
	if
	:: m == 1 -> STEP(owner[loose - 1] = NONE; m = 0)
	:: else
	fi;
	STEP(loose = NONE)
}

/* is_linked() */
inline look_for_loose() {
	atomic {
		r = oldest + 1;
		do
		:: r != NONE && r != loose -> r = next[r - 1]
		:: else -> break
		od;
		linked = (r != NONE);
		r = 0
	}
}

/* queue_lock(), and queue_finish_growth() */
inline take_lock() {
	atomic {
		lock != LOCKED;
		MAY_DIE;
		inherited = (lock == ORPHANED);
		lock = LOCKED;
		locked = true
	}
#ifndef NO_FINISH
	if
	:: inherited && tail >= SEALED -> link_loose()
	:: inherited && tail < SEALED && loose != NONE ->
		look_for_loose();
		if
		:: linked -> STEP(loose = NONE)
		:: else -> drop_loose()
		fi
	:: else
	fi;
#endif
	atomic { inherited = false; linked = false }
}

inline release_lock() {
	STEP(lock = 0; locked = false)
}

/* queue_move_on() */
inline move_on() {
	STEP(if
	     :: head == end[front] -> head = head + 1
	     :: else
	     fi);
	do
	:: head > end[front] -> STEP(front = next[front] - 1)
	:: else -> break
	od
}

/* The ring has no message in anybody's hands: its one cell is free of the next round. */
#ifdef EARLY_FREE
#define IS_DONE(r_) true
#else
#define IS_DONE(r_) (from[r_] == end[r_] || IS(FREE, r_, end[r_]))
#endif

/* free_done(); p: the ring before r, + 1 */
inline free_done() {
	atomic { r = oldest; p = NONE }
	do
	:: r != front && IS_DONE(r) ->
#ifndef LATE_NOTE
		STEP(loose = r + 1);
#endif
		atomic {
			MAY_DIE;
			if
			:: p == NONE -> oldest = next[r] - 1
			:: else -> next[p - 1] = next[r]
			fi;
			e = next[r] - 1
		}
#ifdef LATE_NOTE
		STEP(loose = r + 1);
#endif
		drop_loose();
		atomic { r = e; e = 0 }
	:: r != front && !IS_DONE(r) -> atomic { p = r + 1; r = next[r] - 1 }
	:: else -> break
	od;
	atomic { r = 0; p = 0 }
}

/* ---- what there is to see ---------------------------------------------------------- */

#define FULL_AT(r_)   (HAS(r_, head) && IS(FULL, r_, head))
#define END_AT(r_)    (owner[r_] == QUEUE && end[r_] == head)
#define SEES_ITEM     (FULL_AT(0) || FULL_AT(1) || FULL_AT(2))
#define SEES_END      (END_AT(0) || END_AT(1) || END_AT(2))
#define SEES_MEMORY   (owner[0] == NONE || owner[1] == NONE || owner[2] == NONE)
#define SEES_ROOM     (tail >= SEALED || IS(FREE, back, tail))
#define IS_SLACK      (oldest != front || head > end[front])
#define MAY_SHRINK    (shrinks < SHRINKS && head == tail)

/* ---- processes --------------------------------------------------------------------- */

#define FORGET \
	if :: locked -> lock = ORPHANED :: else fi; \
	locked = false; t = 0; h = 0; r = 0; e = 0; n = 0; f = 0; l = 0; p = 0; m = 0; \
	last1 = 0; last3 = 0; linked = false; inherited = false; trims = false

/* queue_grow() */
inline grow() {
	take_lock();
	move_on();
	free_done();
	if
	:: IS(FREE, back, tail)
	:: else -> add_ring()
	fi;
	release_lock()
}

proctype putter(byte d; byte first; byte many)
{
	byte id = first;
	LOCALS;
again:	do
	:: id < first + many ->
		t = tail;
		r = back;
#ifndef NO_RECHECK
		atomic {
			if
			:: tail != t -> goto again
			:: else ->
				assert(t >= SEALED || owner[r] == QUEUE)
			fi
		}
#else
		assert(t >= SEALED || owner[r] == QUEUE);
#endif
		if
		:: atomic { t >= SEALED || !IS(FREE, r, t) -> t = 0; r = 0 }
			/* No memory, or not yet: until something has changed. */
			atomic { SEES_ROOM || SEES_MEMORY || lock == ORPHANED }
			grow();
			goto again
		:: else
		fi;
		atomic {
			MAY_DIE;
			if
			:: tail == t -> putting[d] = t + 1; tail = t + 1
			:: else -> t = 0; r = 0; goto again
			fi
		}
		atomic {
			MAY_DIE;
			assert(owner[r] == QUEUE && IS(FREE, r, t));
			data[r] = id;
			SET(FULL, r, t);
			returned[id] = true;
			id++; t = 0; r = 0; putting[d] = 0
		}
	:: else -> break
	od;
	atomic { finished[d] = true; goto over_ }
dies:	atomic { dead[d] = true; FORGET }
over_:	skip
}

proctype getter(byte d)
{
	LOCALS;
again:	atomic { SEES_ITEM || SEES_END || over -> h = 0; f = 0; e = 0; n = 0; l = 0 }
	if
	:: over -> goto over_
	:: else
	fi;
	h = head;
	f = front;
	l = f;
walk:	atomic { e = end[f]; n = next[f] }
#ifdef NO_RECHECK
	assert(owner[f] == QUEUE);
#else
	atomic {
		if
#ifdef ONLY_HEAD
		:: head != h -> goto again
#else
		:: head != h || front != l -> goto again
#endif
		:: else -> assert(owner[f] == QUEUE)
		fi
	}
#endif
	if
	:: h > e -> atomic { assert(n != NONE); f = n - 1; goto walk }
	:: h == e ->
		atomic {
			MAY_DIE;
			if
			:: head == h -> head = h + 1
			:: else
			fi
		}
		if
		:: atomic { lock == 0 -> trims = true }
		:: else
		fi;
		if
		:: trims ->
			trims = false;
			take_lock();
			move_on();
			free_done();
			release_lock()
		:: else
		fi;
		goto again
	:: else
	fi;
	if
	:: IS(FULL, f, h)
	:: else -> goto again
	fi;
	atomic {
		MAY_DIE;
		if
		:: head == h -> getting[d] = h + 1; head = h + 1
		:: else -> goto again
		fi
	}
	atomic {
		MAY_DIE;
		assert(owner[f] == QUEUE && IS(FULL, f, h));
		m = data[f];
		if
		:: m != HOLE -> DONE(m); NEWER(m)
		:: else
		fi;
		m = 0;
		SET(FREE, f, h + 1);
		getting[d] = 0
	}
	goto again;
dies:	atomic {
		dead[d] = true; lost++;
		FORGET
	}
over_:	skip
}

#define UNDONE(list, s, end_) \
	(list[c] != 0 && list[c] - 1 < end_ && \
	 (HAS(0, list[c] - 1) && IS(s, 0, list[c] - 1) || \
	  HAS(1, list[c] - 1) && IS(s, 1, list[c] - 1) || \
	  HAS(2, list[c] - 1) && IS(s, 2, list[c] - 1)))

/* The recovery of desk c, whose process is dead and buried. */
inline settle() {
	atomic {
		settled[c] = true;
		r = 0;
		do
		:: r < RINGS ->
			if
			:: UNDONE(getting, FULL, head) && HAS(r, getting[c] - 1) ->
				if
				:: data[r] != HOLE -> DONE(data[r])
				:: else
				fi;
				SET(FREE, r, getting[c])
			:: UNDONE(putting, FREE, tail) && HAS(r, putting[c] - 1) &&
			   IS(FREE, r, putting[c] - 1) ->
				data[r] = HOLE; SET(FULL, r, putting[c] - 1)
			:: else
			fi;
			r++
		:: else -> break
		od;
		r = 0
	}
}

/* Buries, recovers, and tends; it does not die. */
proctype mender()
{
	byte d = MENDER, c;
	LOCALS;
	do
	:: atomic {
		dead[c] && !buried[c] ->
		buried[c] = true;
		owner[0] = (owner[0] == c + 1 -> NONE : owner[0]);
		owner[1] = (owner[1] == c + 1 -> NONE : owner[1]);
		owner[2] = (owner[2] == c + 1 -> NONE : owner[2])
	   }
	:: atomic {
		buried[c] && !settled[c] && lock != LOCKED -> skip
	   }
		take_lock();
		settle();
		release_lock()
	:: atomic { !dead[c] && dead[(c + 1) % 4] -> c = (c + 1) % 4 }
	:: atomic { !dead[c] && dead[(c + 2) % 4] -> c = (c + 2) % 4 }
	:: atomic { !dead[c] && dead[(c + 3) % 4] -> c = (c + 3) % 4 }
	:: atomic { lock == 0 && (IS_SLACK || MAY_SHRINK) -> skip }
		take_lock();
		move_on();
		free_done();
		if
		:: MAY_SHRINK -> shrinks++; add_ring(); move_on(); free_done()
		:: else
		fi;
		release_lock()
	:: over -> break
	od;
	goto end_;
dies:	assert(false);
end_:	skip
}

#define IN_CHAIN(r_) \
	(oldest == r_ || next[oldest] == r_ + 1 || \
	 (next[oldest] != NONE && next[next[oldest] - 1] == r_ + 1))

init {
	atomic {
		owner[0] = QUEUE; end[0] = OPEN;
		end[1] = OPEN; end[2] = OPEN;
		run mender();
		RUN
	}
	/* Nobody can go on. */
	timeout;
	atomic {
		assert(lock == 0);
		assert(loose == NONE && tail < SEALED);
		if
		:: lost < GETTERS ->
			assert(head == tail);
			assert(!returned[1] || done[1]);
			assert(!returned[2] || done[2]);
			assert(!returned[3] || done[3])
		:: else
		fi;
		assert(finished[0] || dead[0] || lost == GETTERS);
		assert(PUTTERS < 2 || finished[1] || dead[1] || lost == GETTERS);
		assert((owner[0] != NONE) == IN_CHAIN(0));
		assert((owner[1] != NONE) == IN_CHAIN(1));
		assert((owner[2] != NONE) == IN_CHAIN(2));
		over = true
	}
}
