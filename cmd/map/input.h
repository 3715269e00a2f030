/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_INPUT_H
#define TINE_MAP_INPUT_H

#include "map/text.h"
#include "map/words.h"

#include <stdint.h>

/*
 * Where the rows are: after a ":::", where argv begins, or NULL: on standard input. Reads
 * a header, for which it may wait, and all of a regular file, to count its rows and to
 * find what is wrong with them before a job starts. DONE, or an exit code: it has said
 * what is wrong.
 */
int input_open(char **lists);
/* What words may name; *names is of columns->names. */
void input_columns(struct columns *columns);
/* Rows that lack a column up to this one are mistakes; before input_check(). */
int input_check(size_t last_column);
/* How many rows there are in all; false: nobody knows yet. */
bool input_total(uint64_t *total);

/*
 * NEXT_ROW: the inputs of the next job. NEXT_LATER: there is none now, but may be when
 * standard input is readable; then input_read(). NEXT_END: there are no more; also when
 * something is wrong, which was said, and input_code() is no longer DONE.
 */
enum next { NEXT_ROW, NEXT_LATER, NEXT_END };
enum next input_next(struct strings *row);
void input_read(void);
/* The same, when there is something to read. */
void input_wait(void);
int input_code(void);

#endif
