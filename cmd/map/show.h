/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_SHOW_H
#define TINE_MAP_SHOW_H

#include "map/map.h"

/* The line on a terminal, what is said at the end, the log and the trace. */

/* DONE, or an exit code: the log or the trace cannot be opened. */
int show_open(void);
/* Whether there is a line, which makes use of guesses. */
bool show_is_on(void);
/* A job has started, or is over; its slot is its place in the line. */
void show_start(struct job *);
/* Into the log, the trace and the failures. 0, or a negative error of the log. */
int show_end(const struct job *);
/* One of its processes is stopped, and nobody knows by whom. */
void show_stopped(const struct job *, pid_t, int signal);
/* An attempt of which another follows. The same. */
int show_attempt(const struct job *);

/* Draws the line, if it is time to; when it is, or TINE_FOREVER. */
int64_t show_line(void);
/* Nothing of the line is left on the terminal, until it is drawn again. */
void show_hide(void);

/* What is said at the end, if there is something to say: with failures or without. */
void show_summary(bool failures);
uint64_t show_failures(void);

#endif
