/* SPDX-License-Identifier: MIT */
/* What the files of a courier share; its protocol is at the head of courier.c. */
#ifndef TINE_TRIP_H
#define TINE_TRIP_H

#include "engine/engine.h"
#include "pool/ledger.h"

#define DESKS	    128		       /* trips */
#define AGAIN_AFTER INT64_C(100000000) /* that the server could not take it */
#define AT_ONCE	    64		       /* chunks in one transaction */

/* The errand. */
struct away {
	int64_t away_ms;
	_Atomic int
		state; /* 1: the server has not answered; 0: it has; < 0: it will not */
	_Atomic uint32_t sleeps;
	char caller[ENGINE_ID_MAX]; /* of the last courier */
	/* Lines of a trace; the courier's. */
	struct {
		char host[ENGINE_ID_MAX];
		uint32_t slot;
	} lanes[DESKS];
	unsigned n_lanes;
	char url[];
};

/* What is known of a job of a trip that did not go well at once. */
struct trouble {
	bool done;
	unsigned char lost;
	unsigned tries;
};

enum trip_state {
	GROUNDED, /* nothing is at the desk */
	TO_SEND,
	OUT,
	FETCHED, /* its outputs lie beside the stream */
};

struct trip {
	enum trip_state state;
	struct ticket *ticket; /* or NULL: jobs of the map */
	uint32_t first, end;   /* jobs at the desk */
	uint32_t part, n;      /* jobs of the part that is out: the first, and how many */
	struct trouble *jobs;  /* of all at the desk, or NULL: no trouble */
	unsigned lost;	       /* of the part */
	uint64_t seq;
	char text[24], sid[ENGINE_SID_MAX], task[WIRE_TASK_MAX];
	char done_sid[ENGINE_SID_MAX], host[ENGINE_ID_MAX];
	struct wire_chunk chunk;
	unsigned char header[WIRE_CHUNK_LEN];
	const void *in;
	void *gathered;	       /* inputs that do not lie together, or NULL */
	unsigned char *result; /* the header, while its outputs are fetched */
	size_t result_len;
	int64_t not_before;
	int64_t unserved; /* since when no host has its task, or 0 */
	int64_t unwanted; /* since when, or 0 */
	bool told;	  /* that it is cancelled */
	bool known;	  /* by the server, after a connection was lost */
};

enum what { PUT, CALL, RESULTS, FETCH, CANCEL, TAKE_BACK, KNOWN, OTHER };

struct courier {
	struct ledger *ledger;
	struct away *away;
	int lifeline;
	struct engine_url url;
	struct engine *engine; /* or NULL */
	char id[ENGINE_ID_MAX], last[ENGINE_SID_MAX];
	uint64_t seq;
	bool reading, beating, known; /* known: to the server, since it was opened */
	int64_t next_beat, beat_sent, heard, next_open;
	int64_t gone; /* since when no server answers, or 0 */
	int gone_by;
	unsigned slots, hosts, beats;
	bool brief;   /* the last chunk was */
	size_t bytes; /* that are out */
	/* Of the map. */
	uint32_t deal; /* the deal that the rest is of */
	char task[WIRE_TASK_MAX];
	int64_t per_job;    /* nanoseconds, or 0: not known */
	uint32_t largest;   /* chunk so far */
	uint64_t cancelled; /* the last map that hosts were told of */
	int failed;	    /* what all jobs of the deal fail with, or 0 */
	bool hasty;	    /* something is to be looked at again soon */
	struct trip trips[DESKS];
};

static inline struct pool_desk *trip_desk(struct courier *courier,
					  const struct trip *trip)
{
	return &courier->ledger->desks[trip - courier->trips];
}

/* ---- trip.c: what comes back ---------------------------------------------------- */

/* Bytes that it is at the server. */
size_t trip_load(const struct trip *);
/* It is not at the server any more, and is to be sent. */
void trip_come_back(struct courier *, struct trip *);
void trip_clear(struct courier *, struct trip *);
/* Its jobs are those of the deal that goes on. */
bool trip_is_of_deal(const struct courier *, const struct trip *);
/* All of it is known: the desk is empty. */
void trip_land(struct courier *, struct trip *);
/* All jobs of the part, or of the rest too, have that status, and no results. */
void trip_fail_part(struct courier *, struct trip *, int status);
void trip_fail(struct courier *, struct trip *, int status);
/* What a host has answered; false: that is no answer. */
bool trip_take(struct courier *, struct trip *, const void *header, size_t len,
	       const char *out, size_t out_len);
/* Its host is lost, or it says nothing that can be understood. */
void trip_lose(struct courier *, struct trip *);
/* The one that is at the server under that number; NULL: none. */
struct trip *trip_find(struct courier *, uint64_t seq);
struct trip *trip_of(struct courier *, struct engine_word);

/* ---- lane.c: where and when it ran, in a trace ----------------------------------- */

/* The slots of a host that the server has named. */
void lanes_learn(struct courier *, const struct resp *id, const struct wire_host *);
/* Only where there is a trace. */
void lane_note(struct courier *, const struct trip *, const struct wire_result *);

/* ---- send.c: what goes out, and what the caller wants otherwise ------------------ */

void courier_beat(struct courier *, int64_t now);
/* What is ready is put into the next request. */
void courier_send(struct courier *, int64_t now);
/* How many trips there are. */
unsigned courier_trips(const struct courier *);
/* Takes from the ledger what there is room for. */
void courier_stock(struct courier *);
/* Whether what is out is wanted still, and not missing for too long. */
void courier_mind(struct courier *, int64_t now);

#endif
