/* SPDX-License-Identifier: MIT */
/*
 * The members of the family that share objects whose state must outlive them: who they
 * are, and whether they live.
 *
 * Each such process has a record, and its first thread here holds the record's lock until
 * it ends: the kernel marks a robust lock at any death, so that to look at a process
 * costs one attempt at its lock, no system call, and no process number used again can
 * deceive.
 *
 *	life	odd while a process has the record; one more when it takes it, one more
 *		when it is buried. A member's id is the record's number and its life.
 *	ties	the objects that want to be told of the death, where the tie's value is
 *		not 0. The process alone writes them while it lives. There are as many as
 *		it needs: more of them are hung on, and stay with the record.
 *
 *	dies before life is odd		the record is free, its lock is handed on
 *	dies later			whoever looks first gets -EOWNERDEAD: buries it,
 *					that is, tells the ties and adds one to life, in
 *					this order
 *	burier dies			the next does it again: objects may be told twice
 *	dies where it hangs on ties	those are there, or their memory is lost
 *	the first thread ends alone	who looks finds the lock free and /proc says that
 *					the process lives: the lock is let go again, and
 *					/proc asked now and then, until another thread
 *					of it comes by and takes the lock
 *	executes a program		counts as alive until that ends, or joins the
 *					family: it knows its own number
 *
 * A process may enter a child that it has just forked, and that has not called anything
 * here. Until the child adopts the record, and takes its lock, its end is seen as that of
 * one whose first thread has ended:
 *
 *	the parent dies on the way	the record is free, or the child's as below
 *	the child dies before it adopts	/proc says so, to whoever looks next
 *
 * Whoever waits may sleep until somebody dies: on the words of the records' locks, which
 * the kernel wakes one sleeper for, and on a count of burials, which the burier wakes all
 * for. So the one whom the kernel wakes looks at the members, and the others learn of it:
 *
 *	it dies before it looks		that is a death too, and the next is woken
 *	it is stopped			the others look by themselves (WATCH_AGAIN)
 */
#ifndef TINE_MEMBER_H
#define TINE_MEMBER_H

#include "base/export.h"
#include "base/futex.h"

#include <stdatomic.h>
#include <sys/types.h>

#define TIES 32 /* in a piece */

/*
 * What an object that wants to be told of deaths begins with: a number that no other
 * object of the family has or had (40 bits), above a count of deaths (24 bits). Zero:
 * none yet. A burier changes it by compare-and-swap, so that memory freed and used for
 * something else is left alone.
 */
typedef _Atomic uint64_t member_bond;
#define BOND_DEATHS ((UINT64_C(1) << 24) - 1)

struct tie {
	_Atomic(member_bond *)
		bond;		 /* NULL: free; written last when made, first when cut */
	_Atomic uint64_t number; /* the bond's number */
	_Atomic uint32_t value;	 /* the object's own */
};

struct ties {
	struct tie tie[TIES];
	_Atomic(struct ties *) more; /* NULL, or where they go on; for good */
};

struct member {
	tine_lock alive;
	_Atomic uint64_t life;
	_Atomic int32_t pid;
	_Atomic uint64_t started; /* tells a process from a later one of its number */
	_Atomic int64_t looked;	  /* when /proc last said that it lives */
	struct ties ties;
};

#define MEMBERS	      16384 /* at a time */
#define MEMBER_GROUP  64    /* records that are allocated at once */
#define MEMBER_GROUPS (MEMBERS / MEMBER_GROUP)

/* The table, at the root of the family's memory. */
struct members {
	_Atomic uint64_t bonds;	 /* numbers given out */
	_Atomic uint64_t tokens; /* the same */
	_Atomic uint32_t high;	 /* records below it were taken once */
	_Atomic uint32_t next;	 /* to be looked at in /proc */
	_Atomic int64_t asked;	 /* /proc; later by what has been saved since */
	_Atomic uint32_t buried; /* how many; a futex */
	_Atomic(struct member *) group[MEMBER_GROUPS]; /* filled from the front */
};

/*
 * This process, which is entered if it was not. -ENOMEM: no memory, or too many;
 * -ETIMEDOUT: another process is stopped in an allocation.
 */
int member_join(struct member **, int64_t deadline);
/* The same, with shared_patience(); NULL: any error. */
struct member *member_self(void);

/*
 * Enters a child, which waits until it has been told its id, and adopts it before
 * anything else. Errors as those of member_join().
 */
int member_enter(pid_t child, uint64_t *id, int64_t deadline);
void member_adopt(uint64_t id);

/* Its id, the record's number in the low bits; 0: member_self() would be NULL. */
extern _Atomic uint64_t member_own_id;
static inline uint64_t member_id(void)
{
	uint64_t id = atomic_load_explicit(&member_own_id, memory_order_relaxed);

	if (__builtin_expect(id == 0, 0) && member_self())
		id = atomic_load_explicit(&member_own_id, memory_order_relaxed);
	return id;
}

static inline unsigned member_index(uint64_t id)
{
	return id % MEMBERS;
}

/* Whether the member has ended, as far as members_sweep() has seen. */
bool member_gone(uint64_t id);
/* The same; but looks at that one member, and buries it. Never blocks. */
bool member_ended(uint64_t id);
/* Looks at every member, and buries those that have ended; how many. Never blocks. */
unsigned members_sweep(void);

/* At least so often, whoever sleeps on deaths looks by itself. */
#define WATCH_AGAIN INT64_C(2000000000)
#define WATCHED	    64
/* The count of burials, as of before a look at the members; for members_watch(). */
uint32_t members_buried(void);
/*
 * The words to sleep on until a member dies or is buried, each with its value: how many.
 * 0: one has died since the look, or more than WATCHED live, or the kernel cannot watch
 * one of them.
 */
unsigned members_watch(struct futex_waitv words[static WATCHED], uint32_t buried);

/*
 * Owners of a block (memory/owned.h) on its way. As long as the member lives, one that it
 * has not used for a million calls; and one that nobody in the family has or had. 0: no
 * memory.
 */
uint64_t member_sender(uint64_t id);
uint64_t member_token(void);

/* The bond's number, given now if it has none; 0: no memory. */
uint64_t bond_number(member_bond *);
uint32_t bond_deaths(member_bond *);

/* This process's tie to the bond, made if it has none; NULL: there is no room. */
struct tie *member_tie(struct member *, member_bond *);
/* The same, which makes room. 0, -ENOMEM; -ETIMEDOUT as member_join(). */
int member_tie_by(struct member *, member_bond *, struct tie **, int64_t deadline);
void member_untie(struct tie *);
/* Keeps the other threads of this process from its ties, for no call that blocks. */
void ties_lock(void);
void ties_unlock(void);
/* With that lock: this process's tie to the bond, or NULL. */
struct tie *ties_find(struct member *, const member_bond *);
/* The sum of the values of all ties to the bond. */
uint64_t members_sum(member_bond *);

/* Called by a process that ends in order: its ties are cut, and not told. */
void member_leave(void);

#endif
