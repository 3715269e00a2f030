/* SPDX-License-Identifier: MIT */
/*
 * A connection to a Redis server, and what is sent there. hiredis reads the answers; the
 * socket is handled here, since every wait has a deadline and no write may raise SIGPIPE.
 */
#ifndef TINE_WIRE_H
#define TINE_WIRE_H

#include "store/redis/tls.h"

#include <hiredis/hiredis.h>

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
/* Nanoseconds that its length takes, beside the time for an answer. */
int64_t request_time(const struct request *);

struct line {
	int fd; /* -1: closed */
	redisReader *reader;
	redisReplyObjectFunctions functions;
	int64_t answer;	 /* nanoseconds that a read waits by itself */
	struct tls *tls; /* or NULL */
	/* Where the answer goes, if it is a string; NULL: into a reply. */
	void *buf;
	size_t size, len; /* len: of the answer */
	bool to_buf;
	char in[64 << 10];
};

/* Connects, with TLS unless trust is NULL, and says nothing else yet. */
int line_open(struct line *, const struct store_address *, const struct trust *,
	      int64_t deadline);
/* Says nothing, for it may be another process's. */
void line_close(struct line *);
int line_send(struct line *, const struct request *, int64_t deadline);
/*
 * The next answer, for reply_free(). -ETIMEDOUT; -ECONNRESET; -EBADMSG: no Redis speaks
 * so; -ENOMEM; those of tls.h. After a failure but -ETIMEDOUT the line is of no more use,
 * and after -ETIMEDOUT it is not where an answer was due.
 */
int line_receive(struct line *, redisReply **, int64_t deadline);
/* Whether it is there and silent, as it must be before something is asked. */
bool line_is_idle(const struct line *);

void reply_free(redisReply *);
/* The code of tine's for an error that a server answered; -EAGAIN: it is busy. */
int reply_error(const redisReply *);

#endif
