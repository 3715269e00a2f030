/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_ROWS_H
#define TINE_MAP_ROWS_H

#include "map/text.h"

#include <stdint.h>

/* Rows in bytes that come one part after the other, and are in at from start to len. */
struct rows {
	enum rows_how { ROWS_LINES, ROWS_SPLIT, ROWS_CSV } how;
	char end;	       /* of a line */
	const char *separator; /* with ROWS_SPLIT */
	struct bytes text;
	size_t start, seen; /* seen: no end of a row before it */
	bool crlf;	    /* with ROWS_SPLIT: a line may end in CR LF */
	bool last;	    /* no more bytes come */
	bool quoted;	    /* the text ends within quotes */
	uint64_t line;	    /* that start is in, from 1 */
};

/* Adds what was read; what was taken goes. */
void rows_add(struct rows *, const char *, size_t len);
/*
 * Adds the columns of the next row to it. 1: there was one; 0: not yet, or never, when
 * the last bytes have come; -1: it is no row, for the reason in *why.
 */
int rows_take(struct rows *, struct strings *row, const char **why);

#endif
