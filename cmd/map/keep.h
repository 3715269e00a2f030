/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_KEEP_H
#define TINE_MAP_KEEP_H

#include "map/map.h"
#include "map/words.h"

/*
 * Results that are kept, if keep_is_on().
 *
 * keep_open() once, when the words of the command are known; it says what is wrong.
 * keep_last_column() is the largest number of a column in words of --in and --out.
 * keep_look() before a job starts, when its row, words and occurrence are there.
 * KEEP_HIT: it has given all pieces to job_replay(), and set usage and ns, and the job is
 * over, as a good one. KEEP_BUSY: another process runs just this job: it is asked again
 * 50 ms later. KEEP_RUN: the job has to run. It must not block.
 * keep_end() after every attempt that was run, when its output is whole: output_size()
 * and output_read() have it. If the job was good it is kept. It may find a file of --out
 * missing, and then sets why and detail, before it is known whether it is tried again.
 * keep_drop() at the end of every job, also of one that did not run: what is not kept by
 * now is left to others.
 * keep_guess() is what a job of this command took before, in ns, or 0.
 * keep_would_hit() is for --dry-run.
 */
enum keep_answer { KEEP_RUN, KEEP_HIT, KEEP_BUSY };
bool keep_is_on(void);
int keep_open(const struct columns *); /* DONE, or an exit code */
size_t keep_last_column(void);
enum keep_answer keep_look(struct job *);
void keep_end(struct job *);
void keep_drop(struct job *);
int64_t keep_guess(struct job *);
bool keep_would_hit(struct job *);
void keep_close(void);

#endif
