/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_H
#define TINE_POOL_H

/*
 * The caller's side of a pool, in its own memory, and for any number of its threads: all
 * of them submit and take results, one at a time does maps. What they share is under one
 * of two mutexes, or a word of its own that says nothing of others:
 *
 *	hands	tickets that the caller fills or empties, and the results brought home;
 *		held for no call that blocks
 *	minding	the nursery, and all that is known of it: held as long as it takes to
 *		start another. Who finds it taken leaves that to the one who has it
 *
 * Who has hands may take minding, never the other way about. In a forked child a mutex
 * may be held by a thread that it does not have: the child waits for neither.
 */
#include "base/self.h"
#include "pool/bell.h"
#include "pool/crew.h"
#include "pool/label.h"
#include "pool/ledger.h"
#include "pool/worker.h"
#include "process/child.h"

#include <pthread.h>

struct tine_pool {
	struct child nursery;
	struct ledger *ledger;
	struct trace *trace;	      /* or NULL */
	struct stage in, out, status; /* kept from map to map */
	struct stage items, cached;   /* of maps through a cache */
	struct stage endings, label;
	tine_cache *cache;     /* of what is submitted, or NULL */
	bool ordered, open;    /* open: later jobs are waited for */
	bool elsewhere;	       /* the crew is to be told of jobs */
	struct worker *serial; /* jobs are done here, see serial.h; or NULL */
	_Atomic bool closed;
	_Atomic bool engaged;	   /* by a map: what is kept from map to map is its own */
	_Atomic bool mapping;	   /* tine_pool_cancel() has something to cancel */
	_Atomic bool called_off;   /* and has done so */
	_Atomic bool brief;	   /* the last wait was */
	_Atomic uint32_t sleepers; /* threads that wait, or are about to */
	_Atomic uint64_t uncalled;
	_Atomic uint64_t submitted; /* tickets, and the number of the last; with hands */
	_Atomic uint64_t delivered; /* with hands */

	pthread_mutex_t hands;
	int64_t woke; /* when a worker was woken for a job of a moment */
	struct bell bell;
	struct result
		*results; /* brought home, but not yet asked for; the oldest first */
	struct result **results_end;
	bool picked;		  /* a result was taken out of turn */
	bool has_bytes;		  /* a job of bytes was submitted */
	LIST_HEAD(, reply) given; /* not yet released */

	pthread_mutex_t minding;
	_Atomic bool to_ask;	/* the nursery is to look; whoever has minding asks it */
	_Atomic int64_t minded; /* when who does not wait last looked at the nursery */
	int64_t roused;	  /* when it was last looked at whether the nursery is stopped */
	int64_t stopped;  /* since when it was found so, or 0 */
	int64_t asked;	  /* when the nursery was asked to look, or 0: it has */
	uint32_t answers; /* then */
};

/* What became of a ticket, where it had to make room. */
struct result {
	struct result *next;
	uint64_t number;
	tine_done done;
	struct reply *answer; /* or NULL */
	size_t len;
	char out[];
};

/* Whether this process, and no job of the pool's own, is to call. */
static inline bool pool_is_ours(const tine_pool *pool)
{
	return pool->nursery.owner == self_pid() &&
	       (!pool->serial || !worker_is_here(pool->ledger));
}

/* Whether it is a function of an item: where that is NULL, hosts have it. */
static inline bool pool_can_call(const tine_pool *pool, const tine_task *task)
{
	return task->fn ||
	       (pool->elsewhere && !task->bytes && !task->each && !task->range);
}

#define GLANCE INT64_C(100000000) /* nanoseconds between looks at what others do */
/* The same where nobody is to be told how far it is: an idle caller wakes seldom. */
static inline int64_t pool_glance(const tine_pool *pool, bool reports)
{
	return reports || pool->trace ? GLANCE : 2 * GLANCE;
}

/* seen: what ledger->finished was when the caller last looked at the tickets. */
typedef bool over_fn(const struct ledger *, uint32_t seen);

/* Sleeps until somebody calls, or until then: whether it is over. */
bool pool_doze(tine_pool *, over_fn *over, uint32_t seen, int64_t until);
/* 0: go on. Else nobody is left to work, and no jobs run. */
int pool_mind_nursery(tine_pool *, int *died);
/*
 * For a ticket, until it is over, without hands: 0; -ETIMEDOUT; -EINTR; else as
 * pool_mind_nursery().
 */
int pool_await_ticket(tine_pool *, over_fn *over, uint32_t seen, int64_t deadline,
		      int *died);
/* Has nothing that is stopped hold up the pool, but jobs. */
void pool_rouse(tine_pool *);
/* The ledger's lock, also if its holder is stopped: 0; -ETIMEDOUT; else as above. */
int pool_lock(tine_pool *, int64_t deadline, int *died);
/*
 * Makes a pool whose jobs that crew does, which is told what is at errand, in the
 * family's memory; as tine_pool_new().
 */
int pool_new(tine_pool **out, const tine_pool_opts *, const struct crew *,
	     const void *errand, size_t len);
/* Has a crew that has jobs done elsewhere look at the ledger. Safe in signal handlers. */
void pool_tell(tine_pool *);
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
