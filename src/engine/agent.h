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
	char version[24];	/* of a server that is too old */
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

/* ---- a host, as a program has it --------------------------------------------------- */

typedef struct tine_worker tine_worker;

typedef struct tine_worker_opts {
	unsigned workers;	  /* as in tine_pool_opts */
	unsigned jobs_per_worker; /* likewise */
	size_t memory_per_worker;
	int (*init)(void *arg);
	void *init_arg;
	const char *name;  /* of the host, up to 63 bytes. NULL: gethostname(2) */
	unsigned lease_ms; /* silence after which others take over. 0: 5,000 */
	uint8_t reserved8[4];
	uint64_t reserved[6];
} tine_worker_opts;

int tine_worker_start(tine_worker **out, const char *url, const tine_task *tasks,
		      size_t n, const tine_worker_opts *);
int tine_worker_wait(tine_worker *, int64_t deadline);
int tine_worker_drain(tine_worker *);
void tine_worker_free(tine_worker *);

typedef struct tine_host {
	const char *name;
	const char *tasks;  /* separated by blanks */
	unsigned workers;   /* processes */
	unsigned busy;	    /* chunks that run */
	unsigned queued;    /* chunks that wait there */
	unsigned paused_ms; /* since each job crashed there; else 0 */
	int64_t silent_ms;  /* since it was heard of */
	uint64_t done;	    /* jobs */
	uint64_t reserved[4];
} tine_host;

int tine_hosts(const char *url, int (*each)(void *arg, const tine_host *), void *arg);

#endif
