/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_JOB_H
#define TINE_MAP_JOB_H

#include "map/map.h"

/* Whose output are lines, with --output lines; queued first, by loop.c. */
extern struct output *job_lines;
/* Output is thrown away from now on. */
extern bool job_muted;
/* 0, or what was wrong with writing a file of --results: a negative errno. */
extern int job_results_error;

void job_open(void);
/* A job, whose row is to be filled. */
struct job *job_new(void);
/* Its command, once it has a row and a number. */
void job_fill(struct job *);
/* The same, and its place in the order; its output, when it is to start. */
void job_prepare(struct job *);
void job_open_output(struct job *);
/* Files of --results for another attempt, if there are any. 0, or a negative error. */
int job_open_results(struct job *);
/* An attempt. 0, or a negative error of tine_process_spawn(), or of pipes. */
int job_start(struct job *);
/* Reads what is there of a stream. 0, or a negative error of a file. */
int job_read(struct job *, bool error);
/* Tells it to end, for this reason: it has a second. */
void job_stop(struct job *, enum why);
void job_kill(struct job *);
/* Once its first process has ended: ends the rest, reads the rest. The same. */
int job_finish(struct job *);
/* It has not run for so long, which does not count. */
void job_shift(struct job *, int64_t ns);
/* Until it is tried again. */
void job_pause(struct job *);
/*
 * Has pieces of output_read(), whole ones, as if the job had written them: any number of
 * times. 0, or a negative error; -EINVAL: they are no pieces.
 */
int job_replay(struct job *, const void *pieces, size_t len);
/* What it has written is not printed, for another attempt follows. */
void job_forget(struct job *);
/* The last of it. The job is gone. */
int job_release(struct job *);

/* Whether it writes straight to standard output, so that it has to wait for that. */
bool job_streams(const struct job *);

#endif
