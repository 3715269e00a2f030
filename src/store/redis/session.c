/* SPDX-License-Identifier: MIT */
#include "store/redis/session.h"

#include "base/atfork.h"
#include "base/deadline.h"
#include "base/futex.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PER_BYTE   INT64_C(100) /* nanoseconds, of a value of the caller's */
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
	session->knows_time = false;
	session_drop_ear(session);
}

/* A request must not go to what other code has made of the number of a line. */
static bool is_lost(const struct line *line)
{
	return line->own.fd >= 0 && !own_fd_is_open(&line->own);
}

void session_adopt(struct session *session)
{
	if (session->generation == generation && !is_lost(&session->main) &&
	    !is_lost(&session->ear))
		return;
	session_drop(session);
	session->generation = generation;
}

int session_talk(struct line *line, const struct request *request, struct resp *out,
		 int64_t deadline)
{
	int err = request->failed ? -ENOMEM : 0, refused = 0;
	struct resp resp;

	if (err)
		return err;
	err = line_send(line, request, deadline);
	/* A server that hangs up may have said why. */
	if (err == -ECONNRESET && line_receive(line, &resp, TINE_NOWAIT) == 0 &&
	    resp.kind == RESP_ERROR)
		err = line_refusal(line);
	for (unsigned i = 0; i < request->commands && !err; i++) {
		err = line_receive(line, &resp, deadline);
		if (!err && !refused)
			refused = line_refusal(line);
	}
	/* More than was asked for would be taken for the next answer. */
	if (!err && line_has_more(line))
		err = -EBADMSG;
	if (err)
		line_close(line);
	err = err ? err : refused;
	if (!err && out)
		*out = resp;
	return err;
}

/* Who may do other things than this may go on, and a server that loads is one. */
static int greet(struct line *line, struct request *request, int64_t deadline)
{
	struct resp resp;
	int err;

	request_begin(request);
	request_add(request, "s", "PING");
	err = request->failed ? -ENOMEM : line_send(line, request, deadline);
	err = err ? err : line_receive(line, &resp, deadline);
	if (err)
		return err;
	if (resp.kind == RESP_ERROR)
		err = resp.len >= 6 && memcmp(resp.text, "NOPERM", 6) == 0
			      ? 0
			      : line_refusal(line);
	else if (!resp_is_text(&resp, RESP_STATUS, "PONG"))
		err = -EBADMSG;
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

	deadline = earlier(deadline, longest);
	err = line_open(line, &session->store.address, session->trust, deadline);
	if (err)
		return err;
	err = log_in(session, line, deadline);
	if (err)
		line_close(line);
	return err;
}

int session_reach(struct session *session)
{
	session_adopt(session);
	if (session->main.own.fd >= 0)
		return 0;
	return session_open_line(session, &session->main, session->until);
}

int session_exchange(struct session *session, struct resp *out)
{
	for (;;) {
		struct timespec pause = timespec_of(BUSY_PAUSE);
		int err = session_talk(&session->main, &session->request, out,
				       session->until);

		if (session->main.own.fd < 0)
			session_drop(session);
		if (err != -EAGAIN)
			return err;
		if (session->main.own.fd < 0)
			return -ECONNRESET;
		if (tine_now() + BUSY_PAUSE >= session->until)
			return -ETIMEDOUT;
		/* Bound: BUSY_PAUSE, which is over before the call's time is. */
		nanosleep(&pause, NULL);
	}
}

int session_ask(struct session *session, enum repeat repeat, struct resp *out)
{
	int err;

	session_adopt(session);
	/* What is lost before it is sent was not done. */
	if (repeat == ONCE && session->main.own.fd >= 0 && !line_is_idle(&session->main))
		session_drop(session);
	err = session_reach(session);
	err = err ? err : session_exchange(session, out);
	if (err != -ECONNRESET || repeat == ONCE)
		return err;
	err = session_reach(session);
	return err ? err : session_exchange(session, out);
}

struct request *session_again(struct session *session)
{
	request_begin(&session->request);
	return &session->request;
}

void session_extend(struct session *session)
{
	int64_t latest = tine_now() + session->longest;

	session->until = session->last < latest ? session->last : latest;
}

struct request *session_begin_by(tine_store *store, size_t bytes, int64_t deadline)
{
	struct session *session = session_of(store);
	int64_t now = tine_now();

	session->longest = store->address.answer_ms * INT64_C(1000000) +
			   (int64_t)bytes * PER_BYTE;
	session->last = deadline > now ? deadline : now + session->longest;
	session_extend(session);
	return session_again(session);
}

struct request *session_begin(tine_store *store, size_t bytes)
{
	return session_begin_by(store, bytes, TINE_NOWAIT);
}

int session_ask_for(struct session *session, enum repeat repeat, enum resp_kind kind)
{
	struct resp resp;
	int err = session_ask(session, repeat, &resp);

	return err ? err : resp.kind == kind ? 0 : -EBADMSG;
}

int session_ask_number(struct session *session, enum repeat repeat, int64_t *number)
{
	struct resp resp;
	int err = session_ask(session, repeat, &resp);

	if (err)
		return err;
	if (resp.kind != RESP_NUMBER)
		return -EBADMSG;
	*number = resp.number;
	return 0;
}

int session_ask_whether(struct session *session, enum repeat repeat)
{
	int64_t n = 0;
	int err = session_ask_number(session, repeat, &n);

	return err ? err : n == 1 ? 0 : n == 0 ? -ENOENT : -EBADMSG;
}

ssize_t session_ask_string(struct session *session, enum repeat repeat, void *buf,
			   size_t size, int64_t *other)
{
	struct line *line = &session->main;
	struct resp resp;
	int err;

	line->takes_value = true;
	line->wanted = size;
	err = session_ask(session, repeat, &resp);
	line->takes_value = false;
	if (err)
		return err;
	if (resp.kind == RESP_STRING && (!other || resp.number <= (int64_t)size)) {
		if (resp.len > 0 && size > 0)
			memcpy(buf, resp.text, resp.len < size ? resp.len : size);
		return (ssize_t)resp.number;
	}
	if (resp.kind == RESP_NIL)
		return -ENOENT;
	if (resp.kind == RESP_NUMBER && other)
		*other = resp.number;
	return -EBADMSG;
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
	session->main.own.fd = session->ear.own.fd = -1;
	session->main.most = session->ear.most = LINE_FEW;
	session->main.answer = address->answer_ms * INT64_C(1000000);
	/* So that one of another handle is not taken for one of this. */
	session->versions.given = (uint64_t)tine_now();
	session->generation = generation;
	err = trust_new(&session->trust, address);
	if (err)
		goto free_session;
	/* Bound: the address's connect_ms. */
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
