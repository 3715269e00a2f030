/* SPDX-License-Identifier: MIT */
/*
 * The tour: lessons, in the notebook's order. Each has some programs that do the same
 * work in different ways, and are measured by the first of them. A program runs in a
 * process of its own, which may die, and says what it found in memory that it shares with
 * the tour.
 *
 *	tour.c		the command
 *	run.c		runs the programs
 *	print.c		the table and JSON
	events.c	reads traces, and puts them one after the other
	figures.c	times, ratios and names, as all of them say them
 *	pi.c, primes.c, check.c, kill.c
 *			the lessons; the page shows parts of their source
	points.c	what two of them do
 *	python.c	runs the Python programs of bench/python
 *	page.c		the report, of bars.c, chart.c and timeline.c, on html.c
 */
#ifndef TINE_TOUR_H
#define TINE_TOUR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
	TOUR_TEXT = 240,
	TOUR_JOBS = 16,	    /* whose estimates of pi are shown */
	TOUR_PROGRAMS = 16, /* of one lesson, at most */
	TOUR_RUNS = 3,	    /* of one program, of which the median counts */
	TOUR_NUMBERS = 8,
};

/* A run of a program: what it is told, and, below, what it says. */
struct tour_run {
	const struct tour_lesson *lesson;
	unsigned workers;
	unsigned n; /* the lesson's work, for this tour: its numbers */
	uint64_t numbers[TOUR_NUMBERS];
	const char *folder; /* temporary, and empty at the lesson's first program */

	double seconds;	 /* of the work, with starting and ending its processes */
	uint64_t answer; /* the same from all programs of a lesson; if it has one */
	bool has_answer;
	bool never;    /* it comes to no end; seconds: until it was given up */
	double look;   /* seconds that one look at the flag takes, or 0 */
	double died;   /* seconds into the work that a worker was killed at, or 0 */
	unsigned jobs; /* of which there are estimates of pi */
	double estimates[TOUR_JOBS];
	char note[TOUR_TEXT];	  /* what it saw; or empty */
	char left_out[TOUR_TEXT]; /* why it cannot run here; or empty */
};

struct tour_program {
	const char *id;	   /* in JSON: letters, digits and hyphens */
	const char *name;  /* %w: "2 workers"; %p: "2 processes" */
	const char *shows; /* one sentence */
	/* 0, or a negative error; or it dies. NULL: it is a Python program. */
	int (*run)(struct tour_run *);
	bool once;     /* slow, or not the same again: one run is enough */
	bool timeline; /* that the page shows */
	/* With --python: the program, without ".py", and which way it is to go. */
	const char *script, *way;
	bool over_tine; /* by python3 -m tine */
};

struct tour_lesson {
	const char *id, *title;
	const char *chapter;	  /* of doc/course/, in which it is */
	const char *text;	  /* some sentences: what it is about */
	const char *work, *quick; /* numbers with commas between, in full and quickly */
	const char *unit;	  /* of the work: "%s points" */
	const char *source;	  /* the name of the file of its programs: "pi.c" */
	/* Parts of it to show: each from a line that has "[NAME]" to one with "[end]". */
	const char *const *parts;	     /* ends in NULL */
	const struct tour_program *programs; /* ends in no id */
};

/* What a program came to, in all its runs. */
struct tour_result {
	const struct tour_program *program;
	char name[TOUR_TEXT];
	struct tour_run run; /* that of the median */
	double ratio;	     /* the seconds of the first program by its own; or 0 */
	bool failed;	     /* run.note says how */
	char *trace;	     /* the path of a trace of one more run, or NULL */
};

struct tour_section {
	const struct tour_lesson *lesson;
	unsigned n;
	struct tour_result results[TOUR_PROGRAMS];
};

struct tour {
	unsigned workers;
	bool quick, python;
	double seconds; /* all of it */
	double load;	/* of the minute before; below 0: nobody says */
	bool busy;	/* by that, others are at work as well */
	char date[64], system[TOUR_TEXT], processor[TOUR_TEXT];
	unsigned processors; /* that are there */
	uint64_t memory;     /* bytes */
	unsigned n;
	struct tour_section *sections;
};

extern const struct tour_lesson tour_pi, tour_cache, tour_vectors, tour_streams,
	tour_primes, tour_check, tour_flags, tour_kill;

/*
 * Runs what is planned in its sections: DONE, SOME_FAILED, or BROKEN, and has said why or
 * got a signal. Traces are there until tour_end(), which ends the process if there was a
 * signal.
 */
int tour_run(struct tour *);
void tour_end(void);

void tour_print(const struct tour *);
/* To be freed; NULL: no memory. */
char *tour_json(const struct tour *);

/* The interpreter of Python programs, or NULL. Looks once in a process and its forks. */
const char *tour_find_python(void);

/*
 * The run of a Python program: as run() of others. It fails with a line in run->note. All
 * processes that it starts end with the one that calls it.
 */
int tour_python(const struct tour_program *, struct tour_run *);

#endif
