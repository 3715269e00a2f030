/* SPDX-License-Identifier: MIT */
/*
 * A handle's two connections to its server, and how it is asked.
 */
#ifndef TINE_SESSION_H
#define TINE_SESSION_H

#include "store/redis/line.h"
#include "store/redis/version.h"

struct session {
	tine_store store;
	unsigned generation; /* of the process that opened the connections */
	struct trust *trust; /* NULL: no TLS */
	struct line main, ear;
	struct request request;
	struct versions versions;
};

int session_new(struct session **, const struct store_address *);
void session_free(struct session *);
struct session *session_of(tine_store *);

/* After a fork: the child lets go of the parent's connections. */
void session_adopt(struct session *);
void session_drop(struct session *);
void session_drop_ear(struct session *);
int session_open_line(struct session *, struct line *, int64_t deadline);
/* Opens the main line if it is not. */
int session_reach(struct session *, int64_t deadline);

/* What is asked for next. */
struct request *session_begin(tine_store *);
/* How often what is lost may be asked. */
enum repeat { ONCE, AGAIN };
int session_ask(struct session *, enum repeat, redisReply **out);
/* Where only one kind of answer is possible: the number, or -EBADMSG. */
int session_ask_number(struct session *, enum repeat, int64_t *number);
/* What is there: 0; what is not: -ENOENT. */
int session_ask_whether(struct session *, enum repeat);
/*
 * The length of a string, which goes to buf: -ENOENT: nil. Another kind of answer is
 * *other, if the caller knows what to do with it.
 */
ssize_t session_ask_string(struct session *, enum repeat, void *buf, size_t size,
			   int64_t *other);

/*
 * Asks all, and takes the answers. 0 and the last of them (out may be NULL), or the code
 * of the first that is an error. The line is closed if the next answer on it would not be
 * that of the next question.
 */
int session_talk(struct line *, const struct request *, redisReply **out,
		 int64_t deadline);
/* By the main line, which is open. A server that is busy has done nothing. */
int session_exchange(struct session *, redisReply **out, int64_t deadline);
/*
 * An answer to what one deadline bounds, whatever the call is: none is too near for an
 * answer that comes at once, and one that has passed is no deadline for answers.
 */
int64_t session_answer_by(const struct session *, int64_t deadline);

#endif
