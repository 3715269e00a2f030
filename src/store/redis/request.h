/* SPDX-License-Identifier: MIT */
/* What a server is asked, as it is sent. */
#ifndef TINE_REQUEST_H
#define TINE_REQUEST_H

#include "base/export.h"

#include <sys/uio.h>

/*
 * Commands as they are sent, one after another. Long arguments are not copied: they stay
 * where they are until the answer has come.
 */
struct request {
	char *text;
	size_t len, room;
	struct splice {
		size_t at; /* in the text */
		const void *bytes;
		size_t len;
	} * splices;
	size_t n, most;	   /* splices */
	unsigned commands; /* so many answers come */
	bool failed;	   /* no memory */
};

void request_begin(struct request *); /* empties it */
void request_free(struct request *);
/*
 * A command, a letter for each word of it: s: a string; b: bytes and their length (a
 * size_t); i: an int64_t.
 */
void request_add(struct request *, const char *letters, ...);
/* The same by parts: a command of so many words, and each of them. */
void request_head(struct request *, size_t words);
void request_word(struct request *, const void *bytes, size_t len);
void request_number(struct request *, int64_t);

/* A script, and how many keys and words follow it. */
void request_script(struct request *, const char *script, size_t keys, size_t words);
/* Text and splices by turns, the text before the first splice being the first piece. */
struct iovec request_piece(const struct request *, size_t i);

#endif
