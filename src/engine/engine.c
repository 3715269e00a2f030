/* SPDX-License-Identifier: MIT */
#include "engine/engine.h"

#include "base/futex.h"
#include "engine/script.h"
#include "store/redis/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define CONNECT	     800 /* milliseconds */
#define ANSWER	     5000
#define MOST_SAID    (WIRE_MOST + ((size_t)16 << 20)) /* bytes of an answer */
#define SHA_LEN	     40
#define LOOKS	     5 /* at a clock */
#define COUNT(array) (sizeof(array) / sizeof(*(array)))

struct asked {
	int what;
	uint64_t number;
};

struct way {
	struct line *line;
	struct request request;
	struct asked *asked; /* a ring, whose first is answered next */
	unsigned first, owed, room;
	int refused; /* of what is asked quietly, until the next answer that is not */
};

struct engine {
	struct session *session;
	struct line read, listen;
	struct way ways[ENGINE_WAYS];
	struct engine_clock clock;
	char tag[ENGINE_TAG_MAX];
	char shas[SCRIPTS][SHA_LEN + 1];
	char *strings; /* of the session's address */
};

/* ---- names ------------------------------------------------------------------------- */

const char *engine_tag(const struct engine *engine)
{
	return engine->tag;
}

struct engine_clock *engine_clock(struct engine *engine)
{
	return &engine->clock;
}

const char *engine_sha(const struct engine *engine, enum script script)
{
	return engine->shas[script];
}

const char *engine_key(const struct engine *engine, char out[static ENGINE_KEY_MAX],
		       const char *format, ...)
{
	size_t len = (size_t)snprintf(out, ENGINE_KEY_MAX, "%s", engine->tag);
	va_list args;

	va_start(args, format);
	vsnprintf(out + len, ENGINE_KEY_MAX - len, format, args);
	va_end(args);
	return out;
}

void engine_make_id(char out[static ENGINE_ID_MAX])
{
	uint64_t bits[2] = { 0 };

	/* Bound: few bytes, of a pool that was filled when the system started. */
	if (getrandom(bits, sizeof(bits), 0) != sizeof(bits))
		bits[0] = (uint64_t)tine_now() ^ (uint64_t)getpid() << 40;
	snprintf(out, ENGINE_ID_MAX, "%016llx%016llx", (unsigned long long)bits[0],
		 (unsigned long long)bits[1]);
}

/* ---- errors ------------------------------------------------------------------------ */

static const struct resp_meaning meanings[] = {
	{ "LOADING", -EAGAIN },	  { "BUSY", -EAGAIN },	      { "MASTERDOWN", -EAGAIN },
	{ "READONLY", -EAGAIN },  { "MISCONF", -EAGAIN },     { "NOREPLICAS", -EAGAIN },
	{ "OOM", -EAGAIN },	  { "CLUSTERDOWN", -EAGAIN }, { "TRYAGAIN", -EAGAIN },
	{ "EXECABORT", -EAGAIN }, { "NOGROUP", -ESTALE },     { "NOSCRIPT", -ESTALE },
	{ "UNBLOCKED", -ESTALE }, { "UNKILLABLE", -EAGAIN },
};

int engine_error(const struct resp *resp)
{
	int err = resp_error_by_word(resp, meanings, COUNT(meanings));

	return err ? err : resp_error(resp);
}

/* ---- connections ------------------------------------------------------------------- */

static bool make_way(struct way *way)
{
	unsigned room = way->room ? 2 * way->room : 16;
	struct asked *asked;

	if (way->owed < way->room)
		return true;
	asked = malloc(room * sizeof(*asked));
	if (!asked)
		return false;
	for (unsigned i = 0; i < way->owed; i++)
		asked[i] = way->asked[(way->first + i) % way->room];
	free(way->asked);
	way->asked = asked;
	way->first = 0;
	way->room = room;
	return true;
}

struct request *engine_add(struct engine *engine, enum engine_way which, int what,
			   uint64_t number)
{
	struct way *way = &engine->ways[which];

	if (make_way(way))
		way->asked[(way->first + way->owed++) % way->room] =
			(struct asked){ what, number };
	else
		way->request.failed = true;
	return &way->request;
}

int engine_send(struct engine *engine, enum engine_way which, int64_t deadline)
{
	struct way *way = &engine->ways[which];
	int err = way->request.failed ? -ENOMEM : 0;

	if (!err && way->request.commands > 0)
		err = line_send(way->line, &way->request, deadline);
	request_begin(&way->request);
	return err;
}

bool engine_has_unsent(const struct engine *engine, enum engine_way which)
{
	return engine->ways[which].request.commands > 0;
}

unsigned engine_owed(const struct engine *engine, enum engine_way which)
{
	return engine->ways[which].owed;
}

int engine_fd(const struct engine *engine, enum engine_way which)
{
	return engine->ways[which].line->own.fd;
}

int engine_await(struct engine *engine, enum engine_way which,
		 struct engine_answer *answer, int64_t deadline)
{
	struct way *way = &engine->ways[which];

	for (;;) {
		struct resp resp;
		struct asked asked;
		int err = line_receive(way->line, &resp, deadline);

		if (err)
			return err;
		/* More than was asked for would be taken for the next answer. */
		if (way->owed == 0)
			return -EBADMSG;
		asked = way->asked[way->first];
		way->first = (way->first + 1) % way->room;
		way->owed--;
		err = resp.kind == RESP_ERROR ? engine_error(&resp)
					      : line_refusal(way->line);
		if (asked.what == ENGINE_QUIET) {
			way->refused = way->refused ? way->refused : err;
			continue;
		}
		*answer = (struct engine_answer){ asked.what, asked.number, resp, err };
		if (err && way->refused)
			answer->err = way->refused;
		way->refused = 0;
		return 0;
	}
}

int engine_next(struct engine *engine, enum engine_way which,
		struct engine_answer *answer)
{
	int err = engine_await(engine, which, answer, TINE_NOWAIT);

	return err == -ETIMEDOUT ? 0 : err ? err : 1;
}

/* What it is, and of which layout the pool: whoever may not ask, or not yet, goes on. */
static int check_server(struct engine *engine, struct engine_url *url, int64_t deadline)
{
	struct engine_answer answer;
	char key[ENGINE_KEY_MAX], layout[16];
	int err;

	request_add(engine_add(engine, ENGINE_TALK, 0, 0), "ss", "INFO", "server");
	request_add(engine_add(engine, ENGINE_TALK, 0, 0), "sss", "HGET",
		    engine_key(engine, key, "m"), "layout");
	err = engine_send(engine, ENGINE_TALK, deadline);
	err = err ? err : engine_await(engine, ENGINE_TALK, &answer, deadline);
	if (err)
		return err;
	if (engine_major(&answer.resp, url->version) > 0 && atoi(url->version) < 6)
		return -EOPNOTSUPP;
	err = engine_await(engine, ENGINE_TALK, &answer, deadline);
	if (err || answer.err == -EREMOTE || answer.err == -EACCES)
		return err ? err : answer.err;
	snprintf(layout, sizeof(layout), "%d", WIRE_LAYOUT);
	return answer.resp.kind == RESP_STRING &&
			       !resp_is_text(&answer.resp, RESP_STRING, layout)
		       ? -EPROTO
		       : 0;
}

static int load_scripts(struct engine *engine, int64_t deadline)
{
	struct engine_answer answer;
	int err;

	for (int i = 0; i < SCRIPTS; i++)
		request_add(engine_add(engine, ENGINE_TALK, i, 0), "sss", "SCRIPT",
			    "LOAD", engine_scripts[i]);
	err = engine_send(engine, ENGINE_TALK, deadline);
	for (int i = 0; i < SCRIPTS && !err; i++) {
		err = engine_await(engine, ENGINE_TALK, &answer, deadline);
		err = err ? err : answer.err;
		if (!err &&
		    (answer.resp.kind != RESP_STRING || answer.resp.len != SHA_LEN))
			err = -EBADMSG;
		if (err)
			break;
		memcpy(engine->shas[i], answer.resp.text, SHA_LEN);
	}
	return err;
}

/* A number of seconds, or of microseconds; 0: it is none. */
static int64_t small_number(const struct resp *resp)
{
	char text[16];

	return resp->kind == RESP_STRING &&
			       engine_copy_word(
				       text, sizeof(text),
				       (struct engine_word){ resp->text, resp->len })
		       ? strtoll(text, NULL, 10) % (INT64_C(1) << 40)
		       : 0;
}

/* The best of some. Whoever may not ask has no clock. */
static int read_clock(struct engine *engine, int64_t deadline)
{
	for (int i = 0; i < LOOKS; i++) {
		int64_t sent = tine_now();
		struct engine_answer answer;
		struct resp seconds, us;
		int err;

		request_add(engine_add(engine, ENGINE_TALK, 0, 0), "s", "TIME");
		err = engine_send(engine, ENGINE_TALK, deadline);
		err = err ? err : engine_await(engine, ENGINE_TALK, &answer, deadline);
		if (err)
			return err;
		if (answer.resp.kind == RESP_ARRAY && resp_next(&answer.resp, &seconds) &&
		    resp_next(&answer.resp, &us))
			engine_clock_note(&engine->clock, sent, tine_now(),
					  small_number(&seconds) * 1000000 +
						  small_number(&us));
	}
	return 0;
}

static int open_ways(struct engine *engine, struct engine_url *url, int64_t deadline)
{
	struct line *const lines[ENGINE_WAYS] = { &engine->session->main, &engine->read,
						  &engine->listen };
	int err = 0;

	for (int i = 0; i < ENGINE_WAYS && !err; i++) {
		lines[i]->most = MOST_SAID;
		engine->ways[i].line = lines[i];
		if (i > 0)
			err = session_open_line(engine->session, lines[i], deadline);
	}
	err = err ? err : check_server(engine, url, deadline);
	err = err ? err : load_scripts(engine, deadline);
	return err ? err : read_clock(engine, deadline);
}

int engine_open(struct engine **out, struct engine_url *url, int64_t deadline)
{
	struct store_address address = { .connect_ms = CONNECT, .answer_ms = ANSWER };
	struct engine *engine = calloc(1, sizeof(*engine));
	int err;

	if (!engine)
		return -ENOMEM;
	engine->read.own.fd = engine->listen.own.fd = -1;
	err = -ENOMEM;
	engine->strings = strdup(url->text);
	if (!engine->strings)
		goto free_engine;
	snprintf(engine->tag, sizeof(engine->tag), "tine:{%s}:", url->pool);
	err = store_parse_url(engine->strings, &address);
	if (err)
		goto free_engine;
	/* Bound: CONNECT. */
	err = session_new(&engine->session, &address);
	if (err)
		goto free_engine;
	err = open_ways(engine, url, deadline);
	if (err)
		goto free_engine;
	*out = engine;
	return 0;

free_engine:
	engine_free(engine);
	/* What waits for a master, or a cluster's parts, may be asked again. */
	return err == -EROFS ? -EAGAIN : err;
}

void engine_free(struct engine *engine)
{
	if (!engine)
		return;
	for (int i = 0; i < ENGINE_WAYS; i++) {
		request_free(&engine->ways[i].request);
		free(engine->ways[i].asked);
	}
	line_close(&engine->read);
	line_close(&engine->listen);
	if (engine->session)
		session_free(engine->session);
	free(engine->strings);
	free(engine);
}
