/* SPDX-License-Identifier: MIT */
/* What is in a semaphore, for sem.c and for tine inspect; sem.c has the protocol. */
#ifndef TINE_SEM_H
#define TINE_SEM_H

#include "sync/member.h"
#include "wait/sleepers.h"

struct sem {
	tine_lock lock; /* guards what is derived, and the making of ties */
	member_bond bond;
	struct sleepers sleepers;
	_Atomic uint64_t taker; /* of a mutex */
	_Atomic uint32_t total; /* truth, of the others */
	/* With held. */
	uint32_t available; /* derived; the difference, or less */
	uint32_t told;	    /* the deaths when a waiter was told last */
	/* Constant. */
	uint32_t max; /* of total; 0: INT_MAX */
	bool held, mutex;
	bool spins; /* before it sleeps for a mutex */
};

#endif
