/* SPDX-License-Identifier: MIT */
/*
 * A host: a process of the program's, the agent, that takes chunks from a server, has a
 * pool of its own do them, and sends the results. It runs no job itself, so that a job
 * may take days while the agent renews the lease.
 */
#ifndef TINE_AGENT_H
#define TINE_AGENT_H

#include "base/export.h"
#include "pool/bell.h"

#include <stdatomic.h>

/* What the agent and the process that started it share. */
struct agent_words {
	_Atomic uint32_t state; /* futex: 0: it starts; 1: it has joined; 2: it is over */
	_Atomic int32_t result; /* once it is over */
	_Atomic uint32_t drain; /* 1: it takes no more; 2: it ends at once */
};

enum { AGENT_STARTS, AGENT_JOINED, AGENT_OVER };
enum { DRAIN_NOT, DRAIN, END_AT_ONCE };

struct agent_setup {
	const char *url, *name;
	const tine_task *tasks;
	size_t n;
	tine_pool_opts pool;
	unsigned lease_ms;
	struct agent_words *words; /* of the family's memory */
	struct bell bell;	   /* pulled when drain was written */
};

/* The process. */
int agent_main(void *setup, int lifeline);

#endif
