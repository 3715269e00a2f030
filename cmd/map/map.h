/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_H
#define TINE_MAP_H

/*
 * tine map, in pieces: input.c has the rows, words.c what a word of the command is for a
 * row, ready.c the jobs that may start, job.c one job from its start to its end, output.c
 * what jobs have written, keep.c results that are kept, show.c what the user is told, and
 * loop.c the one loop that has all of them. They wait in loop.c alone, in one poll(2).
 */
#include "command.h"
#include "map/output.h"
#include "map/text.h"

#include <tine.h>

#define MAP_SECOND INT64_C(1000000000)

/* What options say. */
struct map_options {
	bool null, script, dry_run, once, longest_first;
	const char *columns; /* or NULL */
	uint64_t per_job;
	unsigned workers;
	int until;  /* one of those below */
	int output; /* the same */
	uint64_t retries;
	int64_t timeout;  /* ns; 0: none */
	uint64_t memory;  /* bytes; 0: no limit */
	uint64_t memfree; /* the same */
	struct map_seed {
		uint64_t value;
		bool given;
	} seed;
	const char *cache, *results, *log, *trace; /* or NULL */
	struct strings inputs, outputs, variables; /* of --in, --out and --env */
};
enum { UNTIL_END, UNTIL_SUCCESS, UNTIL_FAILURE };
enum { OUTPUT_ORDER, OUTPUT_DONE, OUTPUT_LINES };
extern struct map_options map_options;

/* Why a job is over. */
enum why {
	WHY_EXIT,     /* how tells */
	WHY_LATE,     /* --timeout */
	WHY_MEMORY,   /* --memory */
	WHY_SYSTEM,   /* the system had no memory for it */
	WHY_TERMINAL, /* it was stopped, for it wanted the terminal */
	WHY_REFUSED,  /* it cannot be executed: error */
	WHY_MISSING,  /* it has not made a file of --out: detail */
	WHY_UNWANTED, /* others have decided: --until, or a signal */
};

struct job {
	uint64_t number;	/* from 1, in the order of inputs */
	struct strings row;	/* its inputs: lines, or the columns of a row */
	struct strings words;	/* its command; argv is strings_table(&words) */
	uint64_t occurrence;	/* how many jobs before it have the same command */
	int64_t guess;		/* what it may take, in ns; 0: nobody knows */
	int token;		/* of gate_take() */
	unsigned slot, attempt; /* attempt: from 1 */

	enum job_state {
		JOB_RUNS,
		JOB_ENDS,   /* it has been told to; until due */
		JOB_PAUSES, /* between attempts; until due */
		JOB_WAITS,  /* keep_look() is asked again when due */
	} state;
	int64_t due;   /* of its state, as tine_now(); or TINE_FOREVER */
	int64_t begun; /* of this attempt */
	bool killed;   /* by SIGKILL, as it had not ended in time */
	bool delayed;  /* it waits for a process or descriptor, not for keep_look() */
	bool gone;     /* its first process has ended, and others may yet */
	pid_t stopped; /* a process of it that was stopped at the last look, or 0 */
	bool stop_said;
	tine_process *process;
	int pipes[2];	  /* -1: they have ended */
	size_t polled[3]; /* loop.c's: where these are polled, and the process */
	int results[2];	  /* files of --results, or -1 */
	uint64_t turn;	  /* with --output order: of its output */
	struct output *output;
	struct bytes lines[2]; /* with --output lines: what has no newline yet */

	/* How it ended. */
	enum why why;
	tine_exit how;
	int error;	     /* negative errno, with WHY_REFUSED */
	struct bytes detail; /* with WHY_MISSING: the name of the file */
	tine_usage usage;
	uint64_t memory; /* with --memory: bytes of all its processes, when last seen */
	int64_t ns;	 /* of its last attempt; of a kept one, what it took then */
	bool kept;	 /* its result was there already */
	void *keep;	 /* keep.c's own; NULL at the start */
	struct job *next;
};

static inline bool job_is_good(const struct job *job)
{
	return job->why == WHY_EXIT && job->how.code == 0;
}

#endif
