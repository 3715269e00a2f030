/* SPDX-License-Identifier: MIT */
/*
 * What a server answers, in the words of RESP 2: lines, strings, and arrays of both. It
 * stays in the bytes in which it came: nothing is allocated for what a server announces.
 */
#ifndef TINE_RESP_H
#define TINE_RESP_H

#include "base/export.h"

#define RESP_LINE_MAX  ((size_t)16 << 10) /* bytes of a line, with its end */
#define RESP_DEPTH_MAX 5		  /* arrays in arrays */

enum resp_kind {
	RESP_STATUS = '+',
	RESP_ERROR = '-',
	RESP_NUMBER = ':',
	RESP_STRING = '$',
	RESP_ARRAY = '*',
	RESP_NIL = '_',
};

struct resp {
	enum resp_kind kind;
	int64_t number; /* or the elements of an array, or the bytes of a string */
	/* Of a status, an error, a string; of an array, all that is in it. */
	const char *text;
	size_t len;
	size_t head; /* bytes of its first line */
};

/*
 * The first line of an answer, whose string or elements need not have come. 1; 0: more
 * has to come; -EBADMSG: no Redis speaks so.
 */
int resp_head(struct resp *, const char *bytes, size_t len);

/* How far an answer has come, zeroed before its first byte. */
struct resp_scan {
	size_t at; /* bytes that were looked at; in the end, those of the answer */
	size_t left[RESP_DEPTH_MAX];
	unsigned depth;
	bool refused; /* an error is in it, at whatever depth: */
	size_t error; /* where */
};

/*
 * Looks at what has come since. 1: the answer is whole; 0: more has to come, where
 * everything announced may still come within so many bytes; -EMSGSIZE: it cannot;
 * -EBADMSG.
 */
int resp_scan(struct resp_scan *, const char *bytes, size_t len, size_t most);

/* What a whole answer is. */
struct resp resp_of(const char *bytes, size_t len);
/* Takes the next element out of an array; false: there is none. */
bool resp_next(struct resp *array, struct resp *element);

struct resp_meaning {
	const char *text;
	int err;
};

/* What the first word of an error means by that table; 0: it is not in it. */
int resp_error_by_word(const struct resp *, const struct resp_meaning *, size_t n);
/* The code of tine's for an error that a server answered; -EAGAIN: it is busy. */
int resp_error(const struct resp *);
bool resp_is_text(const struct resp *, enum resp_kind, const char *text);
/* Others may have made names that tine has none for. */
bool resp_is_name(const struct resp *);

#endif
