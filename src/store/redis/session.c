/* SPDX-License-Identifier: MIT */
#include "store/redis/session.h"

#include "base/atfork.h"
#include "base/futex.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define GRACE	   INT64_C(100000000) /* for an answer, however near the deadline */
#define BUSY_PAUSE INT64_C(5000000)

/* How many forks this process is away from the first. */
static unsigned generation;

static void count_forks(void)
{
	generation++;
}

FILL_ATFORK static void fill_redis(void)
{
	atfork_fill(ATFORK_STORE_REDIS, &(struct atfork){ .in_child = count_forks });
}

struct session *session_of(tine_store *store)
{
	return (struct session *)store;
}

/* ---- connections ------------------------------------------------------------------- */

void session_drop_ear(struct session *session)
{
	line_close(&session->ear);
	versions_end_all(&session->versions);
}

void session_drop(struct session *session)
{
	line_close(&session->main);
	session_drop_ear(session);
}

void session_adopt(struct session *session)
{
	if (session->generation == generation)
		return;
	session_drop(session);
	session->generation = generation;
}

/*
 * Asks all, and takes the answers. 0 and the last of them (out may be NULL), or the code
 * of the first that is an error. The line is closed if the next answer on it would not be
 * that of the next question.
 */
int session_talk(struct line *line, const struct request *request, redisReply **out,
		 int64_t deadline)
{
	redisReply *reply = NULL;
	int err = request->failed ? -ENOMEM : 0, refused = 0;

	if (err)
		return err;
	deadline += request_time(request);
	err = line_send(line, request, deadline);
	/* A server that hangs up may have said why. */
	if (err == -ECONNRESET && line_receive(line, &reply, TINE_NOWAIT) == 0 &&
	    reply->type == REDIS_REPLY_ERROR)
		err = reply_error(reply);
	for (unsigned i = 0; i < request->commands && !err; i++) {
		reply_free(reply);
		reply = NULL;
		err = line_receive(line, &reply, deadline);
		if (!err && !refused && reply->type == REDIS_REPLY_ERROR)
			refused = reply_error(reply);
	}
	if (err)
		line_close(line);
	err = err ? err : refused;
	if (!err && out)
		*out = reply;
	else
		reply_free(reply);
	return err;
}

/* Who may do other things than this may go on, and a server that loads is one. */
static int greet(struct line *line, struct request *request, int64_t deadline)
{
	redisReply *reply;
	int err;

	request_begin(request);
	request_add(request, "s", "PING");
	err = request->failed ? -ENOMEM : line_send(line, request, deadline);
	err = err ? err : line_receive(line, &reply, deadline);
	if (err)
		return err;
	if (reply->type == REDIS_REPLY_ERROR)
		err = strncmp(reply->str, "NOPERM", 6) == 0 ? 0 : reply_error(reply);
	else if (reply->type != REDIS_REPLY_STATUS || strcmp(reply->str, "PONG") != 0)
		err = -EBADMSG;
	reply_free(reply);
	return err == -EAGAIN ? 0 : err;
}

static int log_in(struct session *session, struct line *line, int64_t deadline)
{
	const struct store_address *address = &session->store.address;
	struct request request = { 0 };
	int err = 0;

	if (address->user)
		request_add(&request, "sss", "AUTH", address->user, address->password);
	else if (address->password)
		request_add(&request, "ss", "AUTH", address->password);
	if (address->db)
		request_add(&request, "si", "SELECT", (int64_t)address->db);
	if (request.commands > 0)
		err = session_talk(line, &request, NULL, deadline);
	if (!err)
		err = greet(line, &request, deadline);
	request_free(&request);
	return err;
}

int session_open_line(struct session *session, struct line *line, int64_t deadline)
{
	int64_t longest = tine_after(session->store.address.connect_ms);
	int err;

	deadline = deadline < longest ? deadline : longest;
	err = line_open(line, &session->store.address, session->trust, deadline);
	if (err)
		return err;
	err = log_in(session, line, deadline);
	if (err)
		line_close(line);
	return err;
}

int session_reach(struct session *session, int64_t deadline)
{
	session_adopt(session);
	return session->main.fd < 0 ? session_open_line(session, &session->main, deadline)
				    : 0;
}

/*
 * An answer to what one deadline bounds, whatever the call is: none is too near for an
 * answer that comes at once, and one that has passed is no deadline for answers.
 */
int64_t session_answer_by(const struct session *session, int64_t deadline)
{
	int64_t now = tine_now(), latest = now + session->main.answer;

	if (deadline <= now || deadline > latest)
		return latest;
	deadline = deadline > now + GRACE ? deadline : now + GRACE;
	return deadline < latest ? deadline : latest;
}

/* By the main line, which is open. A server that is busy has done nothing. */
int session_exchange(struct session *session, redisReply **out, int64_t deadline)
{
	for (;;) {
		struct timespec pause = timespec_of(BUSY_PAUSE);
		int err = session_talk(&session->main, &session->request, out, deadline);

		if (session->main.fd < 0)
			session_drop(session);
		if (err != -EAGAIN)
			return err;
		if (session->main.fd < 0)
			return -ECONNRESET;
		if (tine_now() + BUSY_PAUSE >= deadline)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
}

static int session_ask_by(struct session *session, enum repeat repeat, redisReply **out,
			  int64_t deadline)
{
	int err;

	session_adopt(session);
	/* What is lost before it is sent was not done. */
	if (repeat == ONCE && session->main.fd >= 0 && !line_is_idle(&session->main))
		session_drop(session);
	err = session_reach(session, deadline);
	err = err ? err : session_exchange(session, out, deadline);
	if (err != -ECONNRESET || repeat == ONCE)
		return err;
	err = session_reach(session, deadline);
	return err ? err : session_exchange(session, out, deadline);
}

int session_ask(struct session *session, enum repeat repeat, redisReply **out)
{
	return session_ask_by(session, repeat, out,
			      session_answer_by(session, TINE_NOWAIT));
}

/* What is asked for next. */
struct request *session_begin(tine_store *store)
{
	struct request *request = &session_of(store)->request;

	request_begin(request);
	return request;
}

/* Where only one kind of answer is possible: the number, or -EBADMSG. */
int session_ask_number(struct session *session, enum repeat repeat, int64_t *number)
{
	redisReply *reply;
	int err = session_ask(session, repeat, &reply);

	if (err)
		return err;
	if (reply->type == REDIS_REPLY_INTEGER)
		*number = reply->integer;
	else
		err = -EBADMSG;
	reply_free(reply);
	return err;
}

/* What is there: 0; what is not: -ENOENT. */
int session_ask_whether(struct session *session, enum repeat repeat)
{
	int64_t n = 0;
	int err = session_ask_number(session, repeat, &n);

	return err ? err : n > 0 ? 0 : -ENOENT;
}

/*
 * The length of a string, which goes to buf: -ENOENT: nil. Another kind of answer is
 * *other, if the caller knows what to do with it.
 */
ssize_t session_ask_string(struct session *session, enum repeat repeat, void *buf,
			   size_t size, int64_t *other)
{
	struct line *line = &session->main;
	redisReply *reply;
	ssize_t len;
	int err;

	line->to_buf = true;
	line->buf = buf;
	line->size = size;
	err = session_ask(session, repeat, &reply);
	line->to_buf = false;
	if (err)
		return err;
	len = -EBADMSG;
	if (reply->type == REDIS_REPLY_STRING)
		len = (ssize_t)line->len;
	else if (reply->type == REDIS_REPLY_NIL)
		len = -ENOENT;
	else if (reply->type == REDIS_REPLY_INTEGER && other)
		*other = reply->integer;
	reply_free(reply);
	return len;
}

/* ---- handles ----------------------------------------------------------------------- */

int session_new(struct session **out, const struct store_address *address)
{
	struct session *session;
	int err;

	if (atfork_error())
		return atfork_error();
	session = malloc(sizeof(*session));
	if (!session)
		return -ENOMEM;
	memset(session, 0, sizeof(*session));
	session->store.address = *address;
	session->main.fd = session->ear.fd = -1;
	session->main.answer = address->answer_ms * INT64_C(1000000);
	/* So that one of another handle is not taken for one of this. */
	session->versions.given = (uint64_t)tine_now();
	session->generation = generation;
	err = trust_new(&session->trust, address);
	if (err)
		goto free_session;
	err = session_open_line(session, &session->main, TINE_FOREVER);
	if (err)
		goto free_trust;
	*out = session;
	return 0;

free_trust:
	trust_free(session->trust);
free_session:
	free(session);
	return err;
}

void session_free(struct session *session)
{
	session_drop(session);
	trust_free(session->trust);
	request_free(&session->request);
	versions_free(&session->versions);
	free(session);
}
