/* SPDX-License-Identifier: MIT */
/*
 * What is in a lock to read or write, for rwlock.c and for tine inspect; rwlock.c has the
 * protocol.
 */
#ifndef TINE_RWLOCK_H
#define TINE_RWLOCK_H

#include "sync/member.h"
#include "wait/sleepers.h"

#define RWLOCK_HOLDS UINT64_C(1)

struct rwlock {
	member_bond bond;
	_Atomic uint64_t writer;
	struct sleepers readers, writers; /* who waits for the writer's word */
	struct sleepers leaving;	  /* the writer, for the readers */
	_Atomic uint32_t told, broken, turn;
};

#endif
