/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_H
#define TINE_POOL_H

#include "pool/ledger.h"
#include "process/child.h"

struct tine_pool {
	struct child nursery;
	struct ledger *ledger;
	struct trace *trace;	      /* or NULL */
	struct stage in, out, status; /* kept from map to map */
	struct stage items, cached;   /* of maps through a cache */
	tine_cache *cache;	      /* of what is submitted, or NULL */
	uint64_t uncalled;
	_Atomic bool mapping;	    /* tine_pool_cancel() has something to cancel */
	_Atomic uint64_t submitted; /* tickets, and the number of the last */
	_Atomic uint64_t delivered;
	bool ordered;
	bool brief;	  /* the last wait was */
	int64_t woke;	  /* when a worker was woken for a job of a moment */
	int64_t minded;	  /* when who does not wait last looked at the nursery */
	int64_t roused;	  /* when it was last looked at whether the nursery is stopped */
	int64_t stopped;  /* since when it was found so, or 0 */
	int64_t asked;	  /* when the nursery was asked to look, or 0: it has */
	uint32_t answers; /* then */
	struct result
		*results; /* brought home, but not yet asked for; the oldest first */
	struct result **results_end;
};

/* What became of a ticket, where it had to make room. */
struct result {
	struct result *next;
	uint64_t number;
	tine_done done;
	size_t len;
	char out[];
};

#define GLANCE INT64_C(100000000) /* nanoseconds between looks at what others do */

typedef bool over_fn(const struct ledger *);

/* Sleeps until somebody calls, or until then: whether it is over. */
bool pool_doze(tine_pool *, over_fn *over, int64_t until);
/* 0: go on. Else nobody is left to work, and no jobs run. */
int pool_mind_nursery(tine_pool *, int *died);
/* Has nothing that is stopped hold up the pool, but jobs. */
void pool_rouse(tine_pool *);
/* The ledger's lock, also if its holder is stopped: 0; -ETIMEDOUT; else as above. */
int pool_lock(tine_pool *, int64_t deadline, int *died);
/* Has the nursery look who is to be ended, or is stopped in others' way. */
void pool_ask(tine_pool *);
/* Has the nursery look at the clock, if there are limits, from now on. */
void pool_have_watched(tine_pool *, bool limits);
/* Whether it has died and no other was started yet. */
bool pool_lost_nursery(tine_pool *);
/* Ends it and the workers, which are in no job, and forks another. */
int pool_renew_nursery(tine_pool *);
/* Whether jobs that were submitted are not done. */
bool pool_has_tickets(const tine_pool *);
/* Ends it and the workers. */
void pool_end_nursery(tine_pool *);
/* Frees what is kept from map to map, but so many bytes of each. */
void pool_trim(tine_pool *, size_t most);
/* Frees all that was submitted; the workers are gone. */
void pool_drop_tickets(tine_pool *);
/* Frees what was brought home; also in a child, which has a copy. */
void pool_drop_results(tine_pool *);

/*
 * How often a caller found its map over without having been called: the calls are lost in
 * no run that nobody was killed in. For tests.
 */
uint64_t pool_uncalled(const tine_pool *);

#endif
