/* SPDX-License-Identifier: MIT */
/*
 * A connection to a Redis server. hiredis reads the answers; the socket is handled here,
 * since every wait has a deadline and no write may raise SIGPIPE.
 */
#ifndef TINE_LINE_H
#define TINE_LINE_H

#include "store/redis/reply.h"
#include "store/redis/request.h"
#include "store/redis/tls.h"

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

#endif
