/* SPDX-License-Identifier: MIT */
/* What test/family.c and the programs that it has join share. */
#ifndef TINE_TEST_FAMILY_USE_H
#define TINE_TEST_FAMILY_USE_H

#include <tine.h>

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
