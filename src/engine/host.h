/* SPDX-License-Identifier: MIT */
/* What the files of an agent share; what becomes of it is at the head of agent.c. */
#ifndef TINE_ENGINE_HOST_H
#define TINE_ENGINE_HOST_H

#include "engine/agent.h"
#include "engine/held.h"

#define MILLION	 INT64_C(1000000) /* nanoseconds of a millisecond */
#define BLOCK_MS 20000		  /* of a read */
#define CANCELS	 64		  /* that are remembered */

/* What an answer is for. */
enum agent_asks {
	JOINED,
	BEATEN,
	TAKEN_IN,
	HEARD,
	FETCHED,
	ACCEPTED,
	GIVEN,
	LEFT,
	COMPARED
};

struct agent {
	const struct agent_setup *setup;
	struct engine_url url;
	struct stream *streams;
	const char **names; /* of the streams */
	size_t n;
	tine_pool *pool;
	struct hold hold;
	struct engine *engine; /* NULL: it is to be reached */
	bool draining;
	int err; /* by which it ends */
	/* join.c */
	char id[ENGINE_ID_MAX];
	bool member;	/* as far as it knows; then it holds under that name */
	unsigned lease; /* milliseconds */
	int64_t heard;	/* when the last beat that was answered was sent */
	int64_t sent;	/* the last beat */
	int64_t beat;	/* the next */
	bool beating;
	int64_t retry, patience;
	/* intake.c */
	char last[ENGINE_SID_MAX]; /* cancel that it has heard */
	struct {
		char caller[ENGINE_ID_MAX];
		uint64_t map;
	} cancels[CANCELS];
	unsigned n_cancels;
	/* appetite.c */
	int64_t pause, paused_until; /* milliseconds; a moment */
	unsigned crashed;	     /* of the hold, when it last asked for others */
	bool comparing;		     /* and has no answer */
	/* deliver.c */
	int64_t due; /* when results that wait for others are to be sent; or 0 */
};

/* ---- intake.c: what comes --------------------------------------------------------- */

/* The streams of its tasks: 0; -EINVAL, -EEXIST, -ENAMETOOLONG, -ENOMEM. */
int intake_open(struct agent *);
void intake_close(struct agent *);
/* Chunks. */
void intake_take(struct agent *, struct resp *answer);
/* Cancels. */
void intake_hear(struct agent *, struct resp *answer);
/* Inputs. */
void intake_feed(struct agent *, const struct engine_answer *);
/* Asks for the inputs that have their turn, and for cancels. */
void intake_ask(struct agent *);
/* The chunk is to be another's; lost: its inputs are gone. */
void intake_return(struct agent *, const struct stream *, const char *sid, bool lost);

/* ---- appetite.c: how much it has at hand ------------------------------------------- */

/* The most that it ever has. */
unsigned appetite_most(const struct agent *);
/* How many the pool is to have. */
unsigned appetite_depth(const struct agent *);
/* Whether chunks are so brief that they are taken, and sent back, by the batch. */
bool appetite_is_hasty(const struct agent *);
/* How many are not done. */
unsigned appetite_at_work(const struct agent *);
void appetite_ask(struct agent *);
/* Gives back what it has beyond that: each stream gives as many as are wanted of all. */
void appetite_shed(struct agent *);
/* Whether crashes or long chunks have changed it. */
void appetite_mind(struct agent *, int64_t now);
/* When it will change by itself; or TINE_FOREVER. */
int64_t appetite_change(const struct agent *);
/* What other hosts there are. */
void appetite_compare(struct agent *, struct resp *hosts);
/* The connection by which it asked is lost. */
void appetite_forget(struct agent *);

/* ---- deliver.c: results ------------------------------------------------------------ */

/* Sends what is due. */
void deliver_results(struct agent *, int64_t now);
/* All of those that were sent before that number have their answer. */
void deliver_forget(struct agent *, uint64_t number);

/* ---- join.c: membership ------------------------------------------------------------ */

/*
 * Connects and joins, once. What it holds must be given up in time meanwhile. An error,
 * of engine_open() or of a server that is none: see join_lose_line().
 */
int join_reach(struct agent *);
/* The same; but a server that is there, and can do nothing yet, is waited for. */
int join_first(struct agent *);
/* What it holds is others' now, or soon. */
void join_lose_lease(struct agent *);
/* Of the connection, by that error: the jobs go on; or it is one that ends the agent. */
void join_lose_line(struct agent *, int err);
/* When it must have been heard, since others take over soon. */
int64_t join_fence(const struct agent *);
void join_beat(struct agent *, int64_t now);
void join_hear(struct agent *, struct resp *answer);
/* Others need not wait for the end of its lease. */
void join_leave(struct agent *);

#endif
