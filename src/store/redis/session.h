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
	/* Of the call that goes on. */
	int64_t last;	 /* when it is over, whatever it still has to ask */
	int64_t until;	 /* when the answer to its question has to be there */
	int64_t longest; /* for an answer */
	/* What the server's clock has shown beyond ours, in nanoseconds. */
	bool knows_time;
	int64_t ahead;
	struct versions versions;
};

int session_new(struct session **, const struct store_address *);
void session_free(struct session *);
struct session *session_of(tine_store *);

/*
 * Before a call: a child lets go of its parent's connections, and any process of one that
 * other code has closed.
 */
void session_adopt(struct session *);
void session_drop(struct session *);
void session_drop_ear(struct session *);
int session_open_line(struct session *, struct line *, int64_t deadline);
/* Opens the main line if it is not. */
int session_reach(struct session *);

/*
 * A call begins. There is one limit for all that it asks: answer_ms, and time for so many
 * bytes of the caller's, to and fro. Nothing that the server says makes it longer.
 */
struct request *session_begin(tine_store *, size_t bytes);
/*
 * One that ends with its deadline, if that has not passed yet, and may ask until then;
 * each of its questions has that limit for itself (session_extend()).
 */
struct request *session_begin_by(tine_store *, size_t bytes, int64_t deadline);
void session_extend(struct session *);
/* The next question of the same call. */
struct request *session_again(struct session *);

/* How often what is lost may be asked. */
enum repeat { ONCE, AGAIN };
/* 0 and the answer (unless NULL), which is lent until the next question. */
int session_ask(struct session *, enum repeat, struct resp *out);
/* Where only one kind of answer is possible: it, or -EBADMSG. */
int session_ask_for(struct session *, enum repeat, enum resp_kind);
int session_ask_number(struct session *, enum repeat, int64_t *number);
/* What is there: 0; what is not: -ENOENT. */
int session_ask_whether(struct session *, enum repeat);
/*
 * The length of a string, which goes to buf: -ENOENT: nil. If the caller knows what
 * to do with a number (other), that is a second answer, beside -EBADMSG, and a string has
 * to fit.
 */
ssize_t session_ask_string(struct session *, enum repeat, void *buf, size_t size,
			   int64_t *other);

/*
 * Asks all, and takes the answers. 0 and the last of them (out may be NULL), or the code
 * of the first error in them, at whatever depth. The line is closed if the next answer on
 * it would not be that of the next question.
 */
int session_talk(struct line *, const struct request *, struct resp *out,
		 int64_t deadline);
/* By the main line, which is open. A server that is busy has done nothing. */
int session_exchange(struct session *, struct resp *out);

#endif
