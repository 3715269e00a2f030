/* SPDX-License-Identifier: MIT */
/*
 * The ledger: what a pool knows of every job, in the family's memory.
 *
 * A pool has desks, and each worker process sits at one. The jobs of a map, numbers 0 to
 * n - 1, are dealt out to the desks, and stay at a desk until they are done or are taken
 * to another desk; a worker may die, its desk stays. At a desk are
 *
 *	[at.index, range.low)	taken up: the worker goes through them one by one
 *	[range.low, range.high)	waiting: the worker takes from the front, others steal
 *				from the back
 *
 * The words that say so, and who writes them:
 *
 *	range	low and high, 32 bits each. The worker moves low up, by compare-and-swap;
 *		a thief moves high down, by compare-and-swap under the lock.
 *	at	index, jobs done at this desk (31 bits), and whether job index is running.
 *		The worker alone. One store finishes a job and begins the next.
 *	theft	what the holder of the lock is about to move, and whereto.
 *
 * Where jobs are to begin in the order of their numbers, none is dealt to a desk: all lie
 * on the pile, and a worker without work moves some from the front of that to its desk,
 * as it steals: with the lock, and by the same word that finishes what a death cut short.
 * Desks are stolen from when the pile is empty.
 *
 *	pile	low and high, as of a range. The holder of the lock.
 *
 * Where the hit of the least number is wanted, found only falls. Jobs above it are
 * dropped as their turn comes, and the caller, when it finds no job below it undone,
 * cancels the rest.
 *
 * A map is over when the desks' done counts add up to n. Each count only grows, and each
 * job is counted once, so that the sum may be read while others write.
 *
 * What a death leaves, and who mends it (always with the lock held, the nursery before it
 * seats a new worker; the new pool's parent when the nursery itself has died):
 *
 *	worker takes up a chunk	low moved or not: [index, low) says what is taken up
 *	worker in job i		at says that i is running: it alone fails; at moves past
 *				it
 *	after job i, before at	the same; what it wrote stands, its status is the crash
 *	between jobs		nothing is running, nothing fails
 *	thief, lock held	the next holder gets -EOWNERDEAD and finishes the theft if
 *				the victim's high was moved, and drops it if not
 *	then, at a dead desk	low moves back to at.index, so that all of it waits again
 *	asleep or waking others	the nursery wakes everybody after each death
 *	in its .fini		nothing: it was in no job, and has put back what it had
 *				taken up
 *
 * Of a range of indexes (enum work) all that is taken up is one job: at stands at its
 * first index until all are done, and they fail together.
 *
 * A job that is to be tried again stays where it is: at does not move past it, and its
 * status counts the attempts (above 0) until it is done.
 *
 * A worker is ended in a job (its limit, the deadline) by its parent, the nursery, and
 * only while it is stopped: so it cannot have gone on to the next job in between. Whether
 * it is to be ended is asked again then, since a later map may have a job of that name.
 * What is taken up and not begun has a name as well, so that limits and deadlines find a
 * worker that is stopped before its first job of a chunk.
 *
 * What a stop (SIGSTOP, a debugger, a freezer) leaves waiting, and for how long:
 *
 *	worker in a job, or with	its jobs wait for it, until a limit or the
 *	jobs taken up			deadline; others steal what waits at its desk
 *	worker with the lock		the nursery kills it as soon as somebody has to
 *					wait: no job is running then, and none fails
 *	worker asleep, or looking	nobody; the caller wakes another at its next
 *					glance
 *	before a ticket's finish	the ticket waits, as a job does
 *	between DONE and finished	the caller finds the ticket at its next glance;
 *					one that polls a descriptor, when another ticket
 *					is done or the worker's limit is over (bell.h)
 *	worker that is starting		its desk's jobs are stolen; when the caller looks,
 *					the nursery kills it
 *	worker that ends in order	its desk's jobs are stolen; the nursery kills it
 *					when .fini has had its time, which it learns from
 *					the worker, or when the caller looks
 *	nursery				deaths and limits wait until the caller looks, and
 *					continues it, or kills it if that does not help
 *	caller, also with the lock	all of the pool: it works for nobody else
 *
 * The lock is held for no call that blocks. held counts its holders, so that who waits
 * can tell one that comes to no end from many that come one after the other. Whoever
 * cannot have the lock does without what it is for; nobody goes on without it.
 *
 * Besides the map there may be tickets: jobs that were submitted one by one. A ticket's
 * state is one word:
 *
 *	EMPTY	  the caller fills it		WAITING	  any worker may take it
 *	TAKEN	  by the desk in the word	DONE	  the caller has yet to collect it
 *
 * A worker's death makes the ticket it has taken WAITING or DONE, as its attempts go, and
 * so does the worker itself after a failure, where those are tried again. No worker takes
 * it before it is due; who sleeps wakes by itself then, if it has seen the ticket wait.
 * Others are woken by the nursery when that worker dies, and at the caller's next glance
 * when it is stopped.
 *
 * A ticket that is cancelled says so itself: the caller finishes it if it waits, the
 * nursery ends the worker that has it, as for a limit, and if that dies meanwhile, or is
 * about to be done, whoever mends or takes the ticket next finds it unwanted. A worker
 * that has it wait again looks at that once more, for its caller may have found it taken.
 * One of many items is in chunk.h.
 *
 * The caller deals while it holds the lock, so no theft is under way; at that time every
 * range is empty. A worker reads what the map is after it has got a job of it, and the
 * map cannot end, nor another begin, before it says that this job is done.
 */
#ifndef TINE_LEDGER_H
#define TINE_LEDGER_H

#include "base/cpus.h"
#include "base/export.h"
#include "memory/stage.h"
#include "pool/bell.h"
#include "trace/trace.h"

#include <stdatomic.h>
#include <sys/queue.h>

#define MAX_JOBS ((uint32_t)1 << 30) /* of one deal: counts have 31 bits */

enum seat {
	SEAT_EMPTY,
	SEAT_STARTING,
	SEAT_READY,
	SEAT_LEAVING, /* in its .fini, since begun */
	SEAT_ABANDONED,
};

struct pool_desk {
	/* The worker's own line; thieves touch range. */
	_Alignas(64) _Atomic uint64_t range;
	_Atomic uint64_t at;
	_Atomic uint64_t failure; /* least (index, status), else NO_FAILURE; the worker */
	_Atomic uint32_t chunk;	  /* jobs to take up next; the worker, and the dealer */
	_Atomic uint64_t ticket; /* the number of the ticket it is in, or 0; the worker */
	_Atomic int64_t limit_ms; /* of the ticket it is in, or 0; the worker */
	_Atomic int64_t begun; /* the job, where it has a limit, or .fini; the worker */
	_Atomic uint64_t address; /* of its crash; the worker, in a handler of signals */
	_Atomic uint64_t born;	  /* bytes it had to begin with; the worker */
	/* What others write. */
	_Alignas(64) _Atomic uint32_t wake; /* futex: counts up to wake the worker */
	_Atomic uint32_t seat;		    /* the nursery; READY, LEAVING: the worker */
	_Atomic int32_t pid;		    /* the nursery */
	_Atomic int32_t refusal;	    /* the worker: what .init said */
	/* The caller: end the worker if this is its job still, with this status. */
	_Atomic uint64_t unwanted;
	_Atomic int32_t unwanted_status;
	_Atomic uint32_t strikes; /* the nursery: deaths in a row before it was ready */
	/* The nursery: it has ended the worker in this job, with this status. */
	_Atomic uint64_t ended;
	_Atomic int32_t ended_status;
	_Alignas(64) struct {
		uint64_t job;
		int64_t since;
		unsigned stopped; /* how often the worker did not stop, or start */
	} seen;			  /* what the nursery saw when it last looked */
};

/* What a job of a map is: */
enum work {
	CALLS,	/* fn of an item */
	EACH,	/* each of an index */
	RANGES, /* range of all that is taken up */
	LEAVES, /* range of a leaf, of a share of n, with a slot of its own at out */
	JOINS,	/* the slots of FAN subtrees, in the first of them */
	ONES,	/* range of an index alone */
};
#define FAN 16

struct map {
	enum work work;
	tine_fn *fn; /* or what is in its place: known to be there */
	tine_each_fn *each;
	tine_range_fn *range;
	tine_join_fn *join;
	size_t first;		     /* the index of job 0 */
	size_t n;		     /* indexes of all leaves */
	size_t leaves;		     /* so many */
	size_t step;		     /* between slots of subtrees */
	const struct cached *cached; /* or NULL: results are kept, see cached.h */
	const uint32_t *items;	     /* of the jobs; NULL: job i is item i */
	const char *in;
	char *out;
	int *status;	      /* or NULL */
	tine_ending *endings; /* or NULL; zeroed; whoever mends */
	size_t in_size, out_size;
	uint32_t chunk;	  /* 0: adaptive */
	bool search;	  /* a status of 1 is a hit, and ends it */
	bool in_order;	  /* jobs begin so */
	bool least;	  /* the hit of the least number is wanted */
	unsigned retries; /* status is there, and zeroed, where it is not 0 */
	bool later;	  /* the caller has jobs that died in it tried again */
	int64_t job_ms;
	/* For who has them done elsewhere. */
	const tine_task *label;
	int64_t deadline, grace_ms;
	uint32_t name, number; /* in a trace */
};

/*
 * What a job of bytes answers: a block of the family's memory, of which the first line is
 * this and the rest the bytes. The worker makes it as its own (memory/owned.h), fills it,
 * writes to its ticket where it is, and hands it on to the ticket:
 *
 *	dies before it is handed on	it is freed as all that is the dead worker's; who
 *					mends finds it is not the ticket's, and forgets it
 *	dies before the ticket is done	who mends frees it: the job has failed, or is
 *					tried again
 *	pool is freed			so is all that was not released
 */
struct reply {
	size_t len;
	LIST_ENTRY(reply) others; /* the caller: what it has been given */
	_Alignas(64) char bytes[];
};

/* A job that was submitted. */
enum ticket_state { EMPTY, WAITING, TAKEN, DONE };

struct ticket {
	_Alignas(64) _Atomic uint64_t state; /* and the desk above it */
	/* The caller, while it is EMPTY; the worker or the mender, before it is DONE. */
	_Atomic uint64_t number; /* counts from 1 */
	uint64_t tag;
	tine_fn *fn;
	tine_bytes_fn *bytes;		/* or NULL; then fn is not called */
	_Atomic(struct reply *) answer; /* the worker; who mends; the caller */
	struct stage data;		/* in, and from the next multiple of 64 on, out */
	size_t in_size, out_size;
	const struct cached *cached; /* or NULL, as in a map */
	struct chunk *chunk;	/* or NULL: one job; else fn is of all of its items */
	const tine_task *label; /* or NULL; as in a map */
	unsigned attempts, retries;
	bool retry_failures;
	int64_t pause_ms;    /* before the second try; doubles */
	_Atomic int64_t due; /* not before then, or 0: at once; as attempts */
	int64_t job_ms;
	_Atomic uint32_t unwanted; /* the caller: it is cancelled, whoever has it */
	int status, limit;
	tine_exit how;
	uint32_t name; /* in a trace */
};

#define LEDGER_MAGIC UINT64_C(0x72656764656c6e74)

struct ledger {
	/* Constant. */
	uint64_t magic; /* by which tine inspect finds it; 0: it is freed */
	const struct crew *crew;
	void *errand; /* what the crew was told; behind the desks */
	unsigned workers, jobs_per_worker, retries;
	bool retry_failures;
	int64_t retry_pause_ms;
	size_t memory_per_worker;
	int64_t job_ms;		     /* of tickets that have no limit of their own */
	_Atomic int64_t shortest_ms; /* of all limits of tickets, or 0; the caller */
	_Atomic unsigned spins; /* none until all are seated: they need the processors */
	int (*init)(void *arg);
	void (*fini)(void *arg); /* or NULL */
	void *init_arg;
	int64_t fini_ms;
	struct trace_log *logs; /* one for each desk, or NULL */
	/* The caller writes, with the lock held and no job anywhere. */
	struct map map;
	_Atomic uint32_t jobs;		    /* of this deal, but for those withdrawn */
	_Atomic uint32_t deals;		    /* counts them */
	_Alignas(64) _Atomic uint32_t turn; /* counts deals and tickets */
	_Atomic uint32_t settled;   /* the least hit is known; the holder of the lock */
	_Atomic uint32_t cancelled; /* the map: tine_cancelled() reads it */
	_Atomic uint32_t dropped;   /* the tickets: the same; the caller */
	_Atomic uint64_t
		found; /* index + 1 of the first hit, or the least; the workers */
	_Atomic uint32_t joined;  /* all slots of a reduction; the process for it */
	_Atomic uint64_t hit;	  /* in a chunk of that search, the last; the workers */
	_Atomic uint32_t watched; /* the nursery looks at the clock */
	_Atomic uint32_t parting; /* workers are to end in order; the caller */
	_Atomic(struct ticket *) tickets; /* the caller, once; three for each worker */
	_Atomic uint32_t moments; /* tickets in a row that lasted a moment; the workers */
	_Alignas(64) _Atomic uint32_t finished;	    /* counts tickets done */
	_Alignas(64) _Atomic uint32_t caller_waits; /* futex */
	_Atomic uint32_t bell;			    /* see bell.h */
	struct own_fd rope;
	_Atomic int32_t nursery;				/* its pid; itself */
	_Alignas(64) _Atomic uint64_t asleep[MAX_WORKERS / 64]; /* a bit for each desk */
	_Alignas(64) tine_lock lock;
	_Atomic uint32_t held;	 /* counts holders; the holder of the lock */
	_Atomic uint32_t looked; /* counts answers to the caller's bytes; the nursery */
	_Atomic uint64_t pile;	 /* the holder of the lock */
	struct {
		_Atomic uint32_t under_way;
		uint32_t thief, victim; /* the number of desks: the pile */
		uint32_t low, high;	/* of what moves */
	} theft;			/* the holder of the lock */
	tine_failure failure; /* of this deal; whoever mends, with the lock held */
	struct pool_desk desks[];
};

#define NO_FAILURE UINT64_MAX

/* ---- words ------------------------------------------------------------------------- */

static inline uint64_t range_of(uint32_t low, uint32_t high)
{
	return (uint64_t)high << 32 | low;
}

static inline uint32_t range_low(uint64_t range)
{
	return (uint32_t)range;
}

static inline uint32_t range_high(uint64_t range)
{
	return range >> 32;
}

static inline uint64_t at_of(uint32_t index, uint32_t done, bool running)
{
	return (uint64_t)index << 32 | (uint64_t)done << 1 | running;
}

static inline uint32_t index_of(uint64_t at)
{
	return at >> 32;
}

static inline uint32_t done_of(uint64_t at)
{
	return (uint32_t)at >> 1;
}

static inline bool is_running(uint64_t at)
{
	return at & 1;
}

#define TICKET_JOB (UINT64_C(1) << 63)
#define JOB_TO_BE  (UINT64_C(1) << 62) /* taken up, and not begun */

/* Names the job at the desk, of the map or a ticket; 0: none. */
static inline uint64_t job_of(const struct pool_desk *desk)
{
	uint64_t ticket = atomic_load(&desk->ticket), at = atomic_load(&desk->at);

	if (ticket)
		return TICKET_JOB | ticket;
	if (is_running(at))
		return at;
	return range_low(atomic_load(&desk->range)) > index_of(at) ? JOB_TO_BE | at : 0;
}

/* How large its worker may be: what it was forked with is not of its making. */
static inline uint64_t own_limit(const struct pool_desk *desk, size_t limit)
{
	uint64_t born = atomic_load(&desk->born);

	return limit < UINT64_MAX - born ? born + limit : UINT64_MAX;
}

/* NULL: nothing is traced. */
static inline struct trace_log *log_of(const struct ledger *ledger, unsigned id)
{
	return ledger->logs ? &ledger->logs[id] : NULL;
}

/* The index of the job's item, where in, out and status have it. */
static inline size_t item_of(const struct map *map, uint32_t job)
{
	return map->items ? map->items[job] : job;
}

static inline uint64_t ticket_word(enum ticket_state state, unsigned desk)
{
	return (uint64_t)desk << 8 | state;
}

static inline enum ticket_state ticket_state(uint64_t word)
{
	return word & 0xff;
}

/* Where the result begins. */
static inline size_t ticket_out(size_t in_size)
{
	return (in_size + 63) / 64 * 64;
}

static inline void *ticket_result(const struct ticket *ticket)
{
	return (char *)ticket->data.mem + ticket_out(ticket->in_size);
}

/* Milliseconds before a job is tried again that has been tried so often before. */
static inline int64_t pause_after(int64_t first, unsigned tries)
{
	return tries < 63 && first <= INT64_MAX >> tries ? first << tries : INT64_MAX;
}

static inline unsigned ticket_count(const struct ledger *ledger)
{
	return 3 * ledger->workers;
}

/* ---- the ledger as a whole --------------------------------------------------------- */

/* 0, also after its holder's death; -ETIMEDOUT, or another error: it is not held. */
int ledger_lock(struct ledger *, int64_t deadline);
void ledger_unlock(struct ledger *);
/* The process whose thread holds it, 0: none, and the how many-th holder that is. */
pid_t ledger_holder(struct ledger *, uint32_t *held);

/* With the lock held: deals n jobs of the map out. */
void ledger_deal(struct ledger *, const struct map *, uint32_t n);
uint64_t ledger_done(const struct ledger *);
/* The least failure among all desks, or NO_FAILURE. */
uint64_t ledger_failure(const struct ledger *);
/* Wakes the threads of the caller that wait. */
void ledger_call(struct ledger *);
/* Rings for a result, where the caller polls; anew: also for those of others. */
void ledger_ring(struct ledger *);
void ledger_ring_anew(struct ledger *);
/* Wakes a sleeping worker other than self, if there is one and work for it. */
void ledger_wake_one(struct ledger *, unsigned self);
void ledger_wake_all(struct ledger *);
bool ledger_has_work(const struct ledger *);
/* Whether a ticket is there to be taken. */
bool ledger_tickets_wait(const struct ledger *);
/*
 * Until when a worker may sleep; soon: where there are tickets that may wait any moment.
 */
int64_t ledger_due(const struct ledger *, int64_t soon);
/* Whether all jobs and tickets are done. */
bool ledger_is_idle(const struct ledger *);
/* With the lock held: drops what nobody has taken up of a map that is cancelled. */
void ledger_withdraw(struct ledger *);
/* With the lock held: cancels the search for the least hit, once no job is below it. */
void ledger_settle_search(struct ledger *);
/* How many workers sleep, or are about to. */
unsigned ledger_asleep(const struct ledger *);
/* Whether there are tickets that are not done. */
bool ledger_has_tickets(const struct ledger *);

/* ---- one desk ---------------------------------------------------------------------- */

/*
 * Takes up a chunk, of at most so many jobs: the first of them, and how many; 0: none.
 * whole: none is left for thieves.
 */
uint32_t desk_take(struct pool_desk *, uint32_t most, bool whole, uint32_t *first);
/* Has what the desk's worker has taken up, and not begun, wait again. There is some. */
void desk_put_back(struct pool_desk *);
/*
 * Moves jobs to this empty desk, so many from the pile, or else half of those at the
 * fullest. False: there are none.
 */
bool desk_steal(struct ledger *, unsigned self, uint32_t many);
/*
 * With the lock held: so many jobs, if there are, from the front of the pile to the desk,
 * which is empty.
 */
bool desk_stock(struct ledger *, unsigned id, uint32_t many);
/* Notes a status below zero. */
void desk_note(struct pool_desk *, uint32_t index, int status);
/*
 * After its worker's death, and how it died: fails the job that was running, or has it
 * tried again, and puts back what waits. starved: the system killed it for its memory.
 */
void desk_mend(struct ledger *, unsigned id, tine_exit how, bool starved);

/* With the lock held: a job of the map has failed by a death; the first is kept. */
void ledger_note_death(struct ledger *, uint32_t index, int status, int limit,
		       tine_exit how);
/* A hit of a search: the first is kept, or the least, and may end it. */
void ledger_note_hit(struct ledger *, uint32_t index);

/* In the trace: the pool is freed, and its workers are gone. */
void ledger_end_trace(struct ledger *);

/* ---- tickets ----------------------------------------------------------------------- */

/* The one that the desk's worker has taken, or NULL. */
struct ticket *ticket_at(const struct ledger *, unsigned id);
/* As the owner of an answer: no other ticket has its number for millions of tickets. */
uint64_t ticket_owner(const struct ledger *, const struct ticket *);
/* Frees the answer, if it is the ticket's. */
void ticket_drop_answer(const struct ledger *, struct ticket *);
/* The one that waits longest, taken for the desk; NULL: none. */
struct ticket *ticket_take(struct ledger *, unsigned id);
/* The same, but the desk's worker is not in it: if it dies, the ticket waits again. */
struct ticket *ticket_carry(struct ledger *, unsigned id);
/* Answers one of bytes: -ENOMEM. */
int ticket_answer(const struct ledger *, struct ticket *, const void *out, size_t len);
void ticket_finish(struct ledger *, struct ticket *, int status);
/* Whether it may be tried once more. */
bool ticket_has_tries(const struct ledger *, const struct ticket *);
/* The desk's worker has failed in it. True: it waits again; else its status is known. */
bool ticket_retry(struct ledger *, struct ticket *, unsigned id, int *status);

#endif
