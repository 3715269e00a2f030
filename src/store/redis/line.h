/* SPDX-License-Identifier: MIT */
/*
 * A connection to a Redis server: every wait has a deadline, no write raises SIGPIPE, and
 * every answer has its bounds.
 */
#ifndef TINE_LINE_H
#define TINE_LINE_H

#include "base/own_fd.h"
#include "store/redis/request.h"
#include "store/redis/resp.h"
#include "store/redis/tls.h"

#define LINE_FEW ((size_t)64 << 10) /* bytes of answers that are no values */

struct line {
	struct own_fd own; /* -1: closed */
	int64_t answer;	   /* nanoseconds that a read waits by itself */
	struct tls *tls;   /* or NULL */
	size_t most;	   /* bytes of an answer */
	/*
	 * It may be a string of up to TINE_STORE_VALUE_MAX, of which so much is wanted.
	 */
	bool takes_value;
	size_t wanted;
	/* What has come: the answer, and what lies behind it. */
	struct resp_scan scan;
	char *bytes;
	char *value;		      /* one that was too long for that, or NULL */
	size_t from, taken, to, room; /* taken: of the answer, once it is whole */
	char in[64 << 10];
};

/* Connects, with TLS unless trust is NULL, and says nothing else yet. */
int line_open(struct line *, const struct store_address *, const struct trust *,
	      int64_t deadline);
/* Says nothing, for it may be another process's. */
void line_close(struct line *);
int line_send(struct line *, const struct request *, int64_t deadline);
/*
 * The next answer, whose text is lent until the next call. -ETIMEDOUT; -ECONNRESET;
 * -EBADMSG: no Redis speaks so; -EMSGSIZE: it is out of bounds; -ENOMEM; those of tls.h.
 * After a failure but -ETIMEDOUT the line is of no more use, and after -ETIMEDOUT it is
 * not where an answer was due. Of a value that is
 * longer than was wanted the text is the beginning, and its number the length.
 */
int line_receive(struct line *, struct resp *, int64_t deadline);
/* The code of the first error in that answer, at whatever depth; 0: there is none. */
int line_refusal(const struct line *);
/* Lets that answer go, and the memory that it took. */
void line_forget(struct line *);
/* Whether something has come behind that answer. */
bool line_has_more(const struct line *);
/* Whether it is there and silent, as it must be before something is asked. */
bool line_is_idle(const struct line *);

#endif
