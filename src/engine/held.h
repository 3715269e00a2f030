/* SPDX-License-Identifier: MIT */
/*
 * What a host has taken of the server's chunks, until the server has their results. In
 * the memory of its agent alone; with the agent it is gone, and told lost by other hosts.
 */
#ifndef TINE_HELD_H
#define TINE_HELD_H

#include "engine/engine.h"
#include "pool/chunk.h"

/* A task of the host's, called in one of the ways that it can be. */
struct stream {
	char name[WIRE_TASK_MAX];
	enum wire_kind kind;
	tine_task task;
};

enum held_state {
	HELD_NOT,     /* a free place */
	HELD_AFAR,    /* its inputs lie at the server */
	HELD_FETCHED, /* its inputs are on their way */
	HELD_WAITING, /* for a worker */
	HELD_RUNNING, /* the pool has it */
	HELD_DONE,    /* its result is to be sent */
	HELD_SENT,    /* and has been; the server has not answered */
};

struct held {
	enum held_state state;
	bool doomed; /* it is another's by now: nothing of it is sent */
	bool in_blob, lent;
	const struct stream *stream;
	char sid[ENGINE_SID_MAX], caller[ENGINE_ID_MAX], seq[ENGINE_SID_MAX];
	struct wire_chunk chunk;
	uint64_t order;		 /* of arrival */
	int64_t came, cancelled; /* when; or 0 */
	bool ended;		 /* its worker is to be */
	void *in;
	size_t in_len;
	uint64_t job;		/* of the pool */
	uint64_t search;	/* number of its search there, or 0 */
	struct chunk_done done; /* while lent */
	unsigned char *header;	/* of its result */
	size_t header_len, out_len;
	const void *out;
};

struct hold {
	tine_pool *pool;
	struct held *all;
	unsigned most;
	uint64_t arrivals, jobs; /* jobs: that were done */
	unsigned crashed;	 /* chunks in a row of which each job crashed */
	int64_t ran_us;		 /* the last chunk; or one that runs, and is longer */
	int64_t moved;		 /* when the last chunk was done, or the first began */
	struct engine_clock clock;
	bool starved;	   /* memory was wanting, and a chunk has no result */
	uint64_t searches; /* counts them */
	struct {
		char caller[ENGINE_ID_MAX];
		uint64_t map;
	} found;     /* the search that a hit of this host's ended last; map 0: none */
	bool urgent; /* a search has its hit: somebody waits for it */
};

int hold_new(struct hold *, tine_pool *, unsigned most);
void hold_free(struct hold *);
/* How many are in that state, the doomed left out. */
unsigned hold_count(const struct hold *, enum held_state);
unsigned hold_not_begun(const struct hold *);
unsigned hold_room(const struct hold *);
/*
 * Takes what has come: 0; -EPROTO: it is none of that stream, and goes back as lost;
 * -ENOMEM, -ENOBUFS: it goes back.
 */
int hold_take(struct hold *, const struct stream *, const struct engine_message *,
	      struct held **);
/*
 * The one whose inputs are to be fetched next; NULL: none. What waits for no worker fits
 * into WIRE_MOST bytes with its results that wait to be sent.
 */
struct held *hold_next_afar(struct hold *, unsigned workers);
/* The inputs, or nil: -ENOENT: it is to be given up. -EPROTO, -ENOMEM. */
int held_feed(struct held *, const struct resp *);
/*
 * Hands to the pool what waits, the oldest first, as long as that has fewer than so many.
 * An error: there is no pool.
 */
int hold_run(struct hold *, unsigned most);
/* The one of that order, in that state; NULL: none. */
struct held *hold_find(struct hold *, uint64_t order, enum held_state);
/* Takes from the pool what is done. */
int hold_collect(struct hold *);
/*
 * Its jobs are unwanted: those that have not begun are dropped. end: those that run are
 * ended.
 */
void held_cancel(struct hold *, struct held *, bool end);
/* Ends what limits of time are over: when the next one is, or TINE_FOREVER. */
int64_t hold_mind(struct hold *, int64_t now);
/* It is another's: it is ended, and forgotten. */
void held_doom(struct hold *, struct held *);
void hold_doom_all(struct hold *);
/* The server has its result, or will not have it. */
void held_forget(struct hold *, struct held *);
/* The one that came last and has not begun; NULL: none. */
struct held *hold_youngest(struct hold *);

#endif
