/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_OUTPUT_H
#define TINE_MAP_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * What a job has written, both streams, as pieces in the order in which they were read. A
 * piece is a head, 4 bytes, twice its length and 1 if it is of standard error, and then
 * its bytes. What is long is in the one file of them all.
 */
struct output {
	char *memory;		  /* the last pieces */
	uint32_t len, room, head; /* head: of the last piece, if there is one */
	struct extent {
		uint64_t at, len;
	} * extents; /* those before them, in the file */
	size_t count, extents_room;
	uint64_t filed;	  /* bytes of all extents */
	uint64_t printed; /* bytes that were printed; they are still here if it is kept */
	uint32_t left;	  /* of the piece that is being printed */
	bool error;	  /* and whether it is of standard error */
	bool ended, kept;
	bool held;     /* it is not printed before it has ended */
	bool small;    /* it has ended, and its memory is as long as what is in it */
	uint64_t turn; /* its place in the order, if it was queued */
	struct output *next;
};

/* kept: the pieces are wanted once more when the job has ended, by output_read(). */
struct output *output_new(bool kept);
/* Drops what was not printed. */
void output_clear(struct output *);
void output_free(struct output *);
/* How many bytes can be added at once, at least, without a use of the file. */
size_t output_room(const struct output *);
/* 0, or a negative error of the file. */
int output_add(struct output *, bool error, const char *, size_t len);
/* All pieces, heads included, of a kept output: how many bytes, and those from one on. */
uint64_t output_size(const struct output *);
ssize_t output_read(const struct output *, uint64_t from, void *buf, size_t size);
/*
 * The next piece of such bytes: *at is where its own begin, and *len no more counts its
 * head. False: it is none, or not whole.
 */
bool output_piece(const char **at, size_t *len, size_t *piece, bool *error);

/* ---- the order --------------------------------------------------------------------- */

/* workers: how many outputs grow at once, for the memory that each may take. */
void outputs_open(unsigned workers);
/*
 * Puts it at the end of those to be printed; it is printed in its turn, what is added to
 * it later too, and freed once it was ended by output_end() and is printed.
 */
void output_queue(struct output *);
/*
 * The same in two steps. What was queued behind a place that is reserved is not printed
 * before that has an output.
 */
uint64_t output_reserve(void);
void output_place(struct output *, uint64_t turn);
/*
 * Nothing more is added to what was queued; the caller has it no more. 0, or a negative
 * error of the file.
 */
int output_end(struct output *);
/* Whether it is the one that is being printed now. */
bool output_has_turn(const struct output *);
/*
 * Prints what can be printed without waiting. 0: all; 1: more, once *fd can be written;
 * or a negative error, of the standard stream *fd, or of the file if that is -1.
 */
int outputs_print(int *fd);
/* Whether nothing waits to be printed. */
bool outputs_done(void);

#endif
