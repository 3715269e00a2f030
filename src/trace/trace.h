/* SPDX-License-Identifier: MIT */
/*
 * Traces: what pools and processes did, in the form of Chrome's trace events, in the file
 * that TINE_TRACE names.
 *
 * Each desk of a pool, and each tine_process, has a log in the family's memory. Whoever
 * sits there owns it, and alone writes to it; when the owner is dead, whoever mends the
 * desk does, until another is seated. The caller (who made the pool, or started the
 * process) reads it, about ten times a second and when a map or the pool ends, and writes
 * what it read to the file.
 *
 *	written	 events published so far; the owner's release store of it publishes
 *	drained	 events the caller has read; it alone
 *	open	 written + 1 while the next event is in the making, in the slot that it
 *		 will have: that slot is the owner's in any case, since a log is full
 *		 with one slot left
 *
 * A chunk of jobs opens an event. Chunks that follow without a gap, in number and in
 * time, are added to it until it is MERGE long, so that short jobs cost a few stores a
 * chunk, and the file little. So
 *
 *	owner dies between events	all it did is published
 *	with an event open		its desk (ledger.h) says how far it came; who
 *					mends closes the event: the jobs that were done,
 *					and the one it died in
 *	after the chunk was counted	the event has all of its jobs
 *	after an event is published	the same store has closed it: never twice
 *	mender dies			the next does it again; at most the note of the
 *					death comes twice
 *	caller dies			what it had not yet written is lost, and so are
 *					those whose work it was
 *
 * When a log is full, because the caller has not come by, events that are new are
 * dropped, and counted; the count is in the file, where they would be.
 *
 * The file is a JSON array, and is one after each write: what is added replaces the
 * closing bracket, and ends in another, by a single call. Processes of a family write to
 * one file, by turns: its lock and where its end is are in a mapping that all inherit.
 * One that dies while it writes leaves an array without its end, which readers of traces
 * take, and the next to write begins where the last whole write ended. The file is opened
 * for each write, and left alone if it is not the one that was made: no descriptor is
 * held, and of two programs with one name for it the later has it.
 *
 * Off, all this is a pointer that is NULL, looked at once a chunk.
 */
#ifndef TINE_TRACE_H
#define TINE_TRACE_H

#include "base/export.h"
#include "wait/sleepers.h"

#include <stdatomic.h>

enum trace_kind {
	TRACE_JOBS,    /* of a map */
	TRACE_TICKETS, /* submitted */
	TRACE_STEAL,
	TRACE_START,
	TRACE_END,
	TRACE_SLEEP,   /* of a process */
	TRACE_MAP,     /* the caller's */
	TRACE_MAP_END, /* of one that was seen to begin */
	TRACE_LANE,    /* the name of this line, and a number */
};

struct trace_event {
	union {
		struct {
			int64_t begun, ended;
			uint64_t first, count;
			uint64_t died_in; /* job + 1, or 0 */
		};
		char lane[40];
	};
	uint32_t kind, name; /* as trace_name() gave it */
	uint32_t map;	     /* its number; of END: the status of the job */
	/* Process, desk that was stolen from, result of the map, number of the line. */
	int32_t other;
	tine_exit how;
};

struct trace_log {
	/* The owner. */
	_Alignas(64) _Atomic uint64_t written;
	_Atomic uint64_t open, dropped;
	int32_t pid, before; /* the owner, or 0: none yet, or dead; who was before it */
	uint32_t unlooked;   /* chunks since the clock was */
	uint32_t patience;   /* chunks between two looks at it */
	/* The caller. */
	_Alignas(64) _Atomic uint64_t drained;
	uint64_t told; /* of those that were dropped */
	uint32_t mask; /* constant: slots - 1 */
	struct trace_event *slots;
};

/* ---- the caller -------------------------------------------------------------------- */

/* The logs of a pool or a process, as the caller that made them knows them. */
struct trace {
	struct trace_log *logs; /* of the workers, and the caller's */
	unsigned n, workers;	/* none: it is a process's */
	pid_t owner, thread;	/* the caller; of a process, that itself in its memory */
	pid_t lane;		/* where it is in the picture */
	int64_t looked;		/* when it was drained last */
	struct trace_event map;
	bool in_map, told; /* that it has begun; of a process, that it has ended */
	struct trace *next;
};

/* NULL: TINE_TRACE is not set, its file cannot be written, or no memory. */
struct trace *trace_new(unsigned workers);
/*
 * The number of the process that stands for it in the picture, and its name. That of a
 * pool is NULL, unless its lines have names of their own, by TRACE_LANE.
 */
void trace_place(struct trace *, pid_t, const char *name);
/* A number for a task's name; only while there is a trace. */
uint32_t trace_name(const char *);
/* Writes what is new, when it has not for a while, and nobody else writes. */
void trace_glance(struct trace *);
/* Its number. */
uint32_t trace_map_begin(struct trace *, uint32_t name, size_t n);
void trace_map_end(struct trace *, int result);
void trace_process_end(struct trace *, tine_exit how);
/* Drains; in a child, lets go of its copy. NULL does nothing. */
void trace_free(struct trace *);

/*
 * In a process: its sleeps are logged from now on, and it drains its log itself, until
 * its parent does when it is dead.
 */
void trace_be(struct trace *);
extern struct trace *trace_self; /* or NULL */
void trace_sleep(int64_t begun, int64_t ended);
static inline void trace_nap(const struct nap *nap)
{
	if (trace_self)
		trace_sleep(nap->begun, nap->ended);
}

/* sleepers_nap(), logged. */
static inline bool nap_logged(struct sleepers *sleepers, uint32_t turn, struct nap *nap,
			      int64_t deadline)
{
	bool late = sleepers_nap(sleepers, turn, nap, deadline);

	trace_nap(nap);
	return late;
}

/* ---- the owner of a log ------------------------------------------------------------ */

/* Closes the event that is open, and publishes this one. */
void trace_note(struct trace_log *, const struct trace_event *);

void trace_start(struct trace_log *);
/* A chunk begins. now: if it is known, else 0. */
void trace_jobs_begin(struct trace_log *, enum trace_kind, uint32_t name, uint32_t map,
		      uint64_t first, int64_t now);
/* How many it did: before the desk says that they are done. */
void trace_jobs_done(struct trace_log *, uint64_t n);
/* And when that was, if it is known, else 0. */
void trace_jobs_end(struct trace_log *, int64_t now);
/* Nothing comes for a while. */
void trace_pause(struct trace_log *);
void trace_steal(struct trace_log *, unsigned from, uint64_t first, uint64_t n);

/* With an empty job each call more can be seen; mostly there is no log. */
#define TRACE(what, log, ...)                                                            \
	do {                                                                             \
		if (__builtin_expect((log) != NULL, 0))                                  \
			trace_##what(log, ##__VA_ARGS__);                                \
	} while (0)

/*
 * For an owner that is dead: how it ended, the status of a job that it was in (0: the
 * pool is being freed), and whether it was in one: of a map, at its desk's index, or a
 * ticket.
 */
struct trace_death {
	tine_exit how;
	int status;
	bool died, ticket;
	uint64_t at;
};
void trace_bury(struct trace_log *, const struct trace_death *);

#endif
