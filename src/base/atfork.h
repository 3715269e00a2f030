/* SPDX-License-Identifier: MIT */
/*
 * What the layers do when the process forks, in an order that is written here.
 *
 * One set of handlers is registered, before the program's own constructors run: in a fork
 * that began without them, the child would find the locks as other threads had them. Each
 * layer fills its slot by a constructor, so that this file knows none of them.
 *
 * No handler waits for another process: what a fork needs is the locks of this process's
 * own threads, and those only where none holds them while it waits for somebody.
 */
#ifndef TINE_ATFORK_H
#define TINE_ATFORK_H

/*
 * Before a fork from the first to the last, after it from the last to the first: a thread
 * that has a lock of one slot may take one of a later slot.
 */
enum atfork_slot {
	ATFORK_WORKER,
	ATFORK_STORE_FILE,
	ATFORK_STORE_REDIS,
	ATFORK_CACHE,
	ATFORK_FLIGHTS,
	ATFORK_TIES,
	ATFORK_KEEPERS,
	ATFORK_CHILDREN,
	ATFORK_LOCKFD,
	ATFORK_MEMBER,
	ATFORK_LOCK,
	ATFORK_SLOTS
};

/* Each may be NULL. */
struct atfork {
	void (*before)(void);
	void (*in_parent)(void);
	void (*in_child)(void);
	void (*leave)(void); /* the process ends in order, by _exit(2) */
};

/* In a constructor of FILL_ATFORK's priority. */
void atfork_fill(enum atfork_slot, const struct atfork *);
#define FILL_ATFORK __attribute__((constructor(101)))

/* 0, or why forks are not handled. */
int atfork_error(void);
/* Calls what the slots have for it, first to last. */
void atfork_leave(void);

#endif
