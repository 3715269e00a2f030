/* SPDX-License-Identifier: MIT */
/* What test/family.c and the programs that it has join share. */
#ifndef TINE_TEST_FAMILY_USE_H
#define TINE_TEST_FAMILY_USE_H

#include <tine.h>

#define MOST_MESSAGES 100000

/* Of many programs that work, and die, together. */
struct board {
	_Atomic uint32_t seeds, messages;
	_Atomic uint8_t put[MOST_MESSAGES], got[MOST_MESSAGES];
	_Atomic uint32_t began, executed, forked, repaired;
	uint32_t one, other; /* equal, but for who has the lock */
	uint32_t writes, written;
	_Atomic int32_t in_mutex;
};

struct scene {
	tine_lock lock;
	tine_sem sem; /* .held */
	tine_sem mutex;
	tine_rwlock rwlock;
	tine_event begun, go;
	tine_cond cond;
	tine_barrier barrier;
	tine_queue *to, *from; /* the joiner, messages of a number */
	void *block;
	_Atomic int state;
	_Atomic int pid;
};

#endif
