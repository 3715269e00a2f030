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

#define QUIET	     (-1) /* of what is asked: nobody has the answer */
#define CONNECT	     800  /* milliseconds */
#define ANSWER	     5000
#define MOST_SAID    (WIRE_MOST + ((size_t)16 << 20)) /* bytes of an answer */
#define SHA_LEN	     40
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
	char tag[ENGINE_TAG_MAX];
	char shas[SCRIPTS][SHA_LEN + 1];
	char *strings; /* of the session's address */
};

/* ---- addresses --------------------------------------------------------------------- */

static int hex_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 0: a name that a pool may have, decoded. */
static int decode_pool(char out[static POOL_NAME_MAX + 1], const char *text, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int c = (unsigned char)text[i];

		if (c == '%') {
			if (len - i < 3 || hex_of(text[i + 1]) < 0 ||
			    hex_of(text[i + 2]) < 0)
				return -EINVAL;
			c = hex_of(text[i + 1]) * 16 + hex_of(text[i + 2]);
			i += 2;
		}
		if (c == 0 || c == '{' || c == '}')
			return -EINVAL;
		if (n == POOL_NAME_MAX)
			return -ENAMETOOLONG;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return n > 0 ? 0 : -EINVAL;
}

/* Cuts the parameter out of the text. */
static int take_pool(char *text, char pool[static POOL_NAME_MAX + 1])
{
	char *at = strchr(text, '?'), *end;
	bool first = true, found = false;

	pool[0] = '\0';
	while (at) {
		end = strchr(at + 1, '&');
		if (strncmp(at + 1, "pool=", 5) != 0) {
			at = end;
			first = false;
			continue;
		}
		if (found)
			return -EINVAL;
		found = true;
		end = end ? end : at + strlen(at);
		if (decode_pool(pool, at + 6, (size_t)(end - at) - 6))
			return decode_pool(pool, at + 6, (size_t)(end - at) - 6);
		/* What follows takes its place, behind the same mark. */
		if (first && *end)
			memmove(at + 1, end + 1, strlen(end + 1) + 1);
		else
			memmove(at, end, strlen(end) + 1);
		at = *at ? at : NULL;
	}
	return 0;
}

/* The base name of what runs. */
static void name_program(char pool[static POOL_NAME_MAX + 1])
{
	char path[4096];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	const char *base;

	path[len > 0 ? len : 0] = '\0';
	base = strrchr(path, '/');
	snprintf(pool, POOL_NAME_MAX + 1, "%.*s", POOL_NAME_MAX,
		 base && base[1] ? base + 1 : "tine");
}

int engine_url_parse(struct engine_url *out, const char *url)
{
	struct store_address address = { 0 };
	char pool[POOL_NAME_MAX + 1], *copy;
	char *text = strdup(url);
	int err = text ? take_pool(text, pool) : -ENOMEM;

	if (err)
		goto free_text;
	copy = strdup(text);
	err = copy ? store_parse_url(copy, &address) : -ENOMEM;
	free(copy);
	if (!err && address.kind == STORE_FILE)
		err = -EINVAL;
	if (err)
		goto free_text;
	if (!*pool)
		name_program(pool);
	*out = (struct engine_url){ .text = text };
	wire_escape(out->pool, sizeof(out->pool), pool);
	return 0;

free_text:
	free(text);
	return err;
}

void engine_url_free(struct engine_url *url)
{
	free(url->text);
	url->text = NULL;
}

/* ---- names ------------------------------------------------------------------------- */

const char *engine_tag(const struct engine *engine)
{
	return engine->tag;
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
	return engine->ways[which].line->fd;
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
		if (asked.what == QUIET) {
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

/* "6" of 6.2.1; 0: that says nothing. */
static int major_of(const struct resp *resp, char version[static 24])
{
	static const char mark[] = "redis_version:";
	const char *at = resp->kind == RESP_STRING
				 ? memmem(resp->text, resp->len, mark, sizeof(mark) - 1)
				 : NULL;
	size_t left, len = 0;

	if (!at)
		return 0;
	at += sizeof(mark) - 1;
	left = (size_t)(resp->text + resp->len - at);
	while (len < left && len < 23 &&
	       ((at[len] >= '0' && at[len] <= '9') || at[len] == '.'))
		len++;
	memcpy(version, at, len);
	version[len] = '\0';
	return atoi(version);
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
	if (major_of(&answer.resp, url->version) > 0 && atoi(url->version) < 6)
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
	return err ? err : load_scripts(engine, deadline);
}

int engine_open(struct engine **out, struct engine_url *url, int64_t deadline)
{
	struct store_address address = { .connect_ms = CONNECT, .answer_ms = ANSWER };
	struct engine *engine = calloc(1, sizeof(*engine));
	int err;

	if (!engine)
		return -ENOMEM;
	engine->read.fd = engine->listen.fd = -1;
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

/* ---- what is asked ----------------------------------------------------------------- */

static void add_text(struct request *request, const char *text)
{
	request_word(request, text, strlen(text));
}

static void add_number_text(struct request *request, uint64_t number)
{
	request_number(request, (int64_t)number);
}

/* A script with its first word, T; so many follow. */
static struct request *add_script(struct engine *engine, enum script script, int what,
				  uint64_t number, size_t words)
{
	struct request *request = engine_add(engine, ENGINE_TALK, what, number);
	char key[ENGINE_KEY_MAX];

	request_head(request, 5 + words);
	add_text(request, "EVALSHA");
	add_text(request, engine->shas[script]);
	add_text(request, "1");
	add_text(request, engine_key(engine, key, "w"));
	add_text(request, engine->tag);
	return request;
}

static void add_expiry(struct engine *engine, const char *key)
{
	request_add(engine_add(engine, ENGINE_TALK, QUIET, 0), "ssi", "PEXPIRE", key,
		    (int64_t)KEYS_MS);
}

static void add_blob(struct engine *engine, char kind, const char *caller,
		     const char *seq, const void *bytes, size_t len)
{
	char key[ENGINE_KEY_MAX];

	request_add(engine_add(engine, ENGINE_TALK, QUIET, 0), "ssbsi", "SET",
		    engine_key(engine, key, "%c:%s:%s", kind, caller, seq), bytes, len,
		    "PX", (int64_t)KEYS_MS);
}

void engine_add_join(struct engine *engine, int what, const char *host, const char *info,
		     unsigned lease_ms, const char *const *tasks, size_t n,
		     const char *old, const struct engine_entry *held, size_t n_held)
{
	struct request *request = add_script(engine, SCRIPT_JOIN, what, 0,
					     7 + n + 2 * n_held);

	add_text(request, host);
	add_text(request, info);
	add_number_text(request, lease_ms);
	add_number_text(request, WIRE_LAYOUT);
	add_number_text(request, KEYS_MS);
	add_text(request, old ? old : "");
	add_number_text(request, n);
	for (size_t i = 0; i < n; i++)
		add_text(request, tasks[i]);
	for (size_t i = 0; i < n_held; i++) {
		add_text(request, held[i].task);
		add_text(request, held[i].sid);
	}
}

void engine_add_beat(struct engine *engine, int what, const char *host, const char *info,
		     unsigned lease_ms, const char *const *tasks, size_t n)
{
	struct request *request = add_script(engine, SCRIPT_BEAT, what, 0, 6 + n);

	add_text(request, host);
	add_text(request, info);
	add_number_text(request, lease_ms);
	add_number_text(request, WIRE_LAYOUT);
	add_number_text(request, KEYS_MS);
	add_number_text(request, CALLER_MS);
	for (size_t i = 0; i < n; i++)
		add_text(request, tasks[i]);
}

void engine_add_done(struct engine *engine, int what, uint64_t number, const char *host,
		     const char *task, const char *caller, const struct engine_done *done,
		     size_t n)
{
	struct request *request;

	for (size_t i = 0; i < n; i++)
		if (done[i].out_len >= WIRE_BLOB)
			add_blob(engine, 'B', caller, done[i].seq, done[i].out,
				 done[i].out_len);
	request = add_script(engine, SCRIPT_DONE, what, number, 4 + 5 * n);
	add_text(request, host);
	add_number_text(request, KEYS_MS);
	add_text(request, task);
	add_text(request, caller);
	for (size_t i = 0; i < n; i++) {
		bool large = done[i].out_len >= WIRE_BLOB;

		add_text(request, done[i].sid);
		add_text(request, done[i].seq);
		request_word(request, done[i].header, done[i].header_len);
		request_word(request, large ? "" : done[i].out,
			     large ? 0 : done[i].out_len);
		add_number_text(request, (large ? 1 : 0) + (done[i].in_blob ? 2 : 0));
	}
}

void engine_add_give(struct engine *engine, int what, const char *host, bool lost,
		     const struct engine_entry *entries, size_t n)
{
	struct request *request = add_script(engine, SCRIPT_GIVE, what, 0, 3 + 2 * n);

	add_text(request, host);
	add_number_text(request, KEYS_MS);
	add_text(request, lost ? "l" : "g");
	for (size_t i = 0; i < n; i++) {
		add_text(request, entries[i].task);
		add_text(request, entries[i].sid);
	}
}

void engine_add_leave(struct engine *engine, int what, const char *host,
		      const char *const *tasks, size_t n)
{
	struct request *request = add_script(engine, SCRIPT_LEAVE, what, 0, 2 + n);

	add_text(request, host);
	add_number_text(request, KEYS_MS);
	for (size_t i = 0; i < n; i++)
		add_text(request, tasks[i]);
}

void engine_add_take(struct engine *engine, int what, const char *host, size_t count,
		     int64_t ms, const char *const *tasks, size_t n)
{
	struct request *request = engine_add(engine, ENGINE_READ, what, 0);
	char key[ENGINE_KEY_MAX];

	request_head(request, 9 + 2 * n);
	add_text(request, "XREADGROUP");
	add_text(request, "GROUP");
	add_text(request, "g");
	add_text(request, host);
	add_text(request, "COUNT");
	add_number_text(request, count);
	add_text(request, "BLOCK");
	request_number(request, ms);
	add_text(request, "STREAMS");
	for (size_t i = 0; i < n; i++)
		add_text(request, engine_key(engine, key, "q:%s", tasks[i]));
	for (size_t i = 0; i < n; i++)
		add_text(request, ">");
}

void engine_add_listen(struct engine *engine, int what, const char *last, int64_t ms)
{
	char key[ENGINE_KEY_MAX];

	request_add(engine_add(engine, ENGINE_LISTEN, what, 0), "ssisss", "XREAD",
		    "BLOCK", ms, "STREAMS", engine_key(engine, key, "x"), last);
}

void engine_add_fetch(struct engine *engine, int what, uint64_t number, char kind,
		      const char *caller, const char *seq)
{
	char key[ENGINE_KEY_MAX];

	request_add(engine_add(engine, ENGINE_TALK, what, number), "ss", "GET",
		    engine_key(engine, key, "%c:%s:%s", kind, caller, seq));
}

/* The seqs become outstanding, and their chunks lie in the stream, in one step. */
void engine_add_put(struct engine *engine, int what, uint64_t number, const char *caller,
		    const struct engine_put *puts, size_t n)
{
	char key[ENGINE_KEY_MAX], outstanding[ENGINE_KEY_MAX];
	struct request *request = engine_add(engine, ENGINE_TALK, QUIET, 0);

	engine_key(engine, outstanding, "o:%s", caller);
	request_add(request, "s", "MULTI");
	for (size_t i = 0; i < n; i++)
		if (puts[i].in_len >= WIRE_BLOB)
			add_blob(engine, 'b', caller, puts[i].seq, puts[i].in,
				 puts[i].in_len);
	engine_add(engine, ENGINE_TALK, QUIET, 0);
	request_head(request, 2 + 2 * n);
	add_text(request, "HSET");
	add_text(request, outstanding);
	for (size_t i = 0; i < n; i++) {
		add_text(request, puts[i].seq);
		add_text(request, "");
	}
	for (size_t i = 0; i < n; i++) {
		bool large = puts[i].in_len >= WIRE_BLOB;

		engine_add(engine, ENGINE_TALK, QUIET, 0);
		request_add(request, "ssssssssbsb", "XADD",
			    engine_key(engine, key, "q:%s", puts[i].task), "*", "c",
			    caller, "s", puts[i].seq, "h", puts[i].header,
			    (size_t)WIRE_CHUNK_LEN, large ? "b" : "a",
			    large ? "" : puts[i].in, large ? 0 : puts[i].in_len);
	}
	add_expiry(engine, outstanding);
	request_add(engine_add(engine, ENGINE_TALK, what, number), "s", "EXEC");
}

void engine_add_call(struct engine *engine, int what, const char *caller,
		     const struct engine_asked *asked, size_t n)
{
	struct request *request = add_script(engine, SCRIPT_CALL, what, 0, 2 + 4 * n);

	add_text(request, caller);
	add_number_text(request, KEYS_MS);
	for (size_t i = 0; i < n; i++) {
		add_text(request, asked[i].entry.task);
		add_text(request, asked[i].entry.sid);
		add_text(request, asked[i].seq);
		add_text(request, asked[i].blob ? "1" : "0");
	}
}

void engine_add_results(struct engine *engine, int what, const char *caller,
			const char *last, size_t count, int64_t ms)
{
	char key[ENGINE_KEY_MAX];

	request_add(engine_add(engine, ENGINE_READ, what, 0), "ssisisss", "XREAD",
		    "COUNT", (int64_t)count, "BLOCK", ms, "STREAMS",
		    engine_key(engine, key, "r:%s", caller), last);
}

/* A command, a key of the caller's, and words. */
static void add_words(struct engine *engine, int what, const char *command, char kind,
		      const char *caller, const char *const *words, size_t n)
{
	struct request *request = engine_add(engine, ENGINE_TALK, what, 0);
	char key[ENGINE_KEY_MAX];

	request_head(request, 2 + n);
	add_text(request, command);
	add_text(request, engine_key(engine, key, "%c:%s", kind, caller));
	for (size_t i = 0; i < n; i++)
		add_text(request, words[i]);
}

void engine_add_read(struct engine *engine, int what, const char *caller,
		     const char *const *sids, size_t n)
{
	add_words(engine, what, "XDEL", 'r', caller, sids, n);
}

void engine_add_known(struct engine *engine, int what, const char *caller)
{
	add_words(engine, what, "HKEYS", 'o', caller, NULL, 0);
}

void engine_add_drop_blob(struct engine *engine, char kind, const char *caller,
			  const char *seq)
{
	char key[ENGINE_KEY_MAX];

	request_add(engine_add(engine, ENGINE_TALK, QUIET, 0), "ss", "DEL",
		    engine_key(engine, key, "%c:%s:%s", kind, caller, seq));
}

void engine_add_forget(struct engine *engine, int what, const char *caller,
		       const char *const *seqs, size_t n)
{
	add_words(engine, what, "HDEL", 'o', caller, seqs, n);
}

void engine_add_take_back(struct engine *engine, int what, const char *caller,
			  const struct engine_asked *asked, size_t n)
{
	struct request *request = add_script(engine, SCRIPT_TAKE_BACK, what, 0,
					     1 + 3 * n);

	add_text(request, caller);
	for (size_t i = 0; i < n; i++) {
		add_text(request, asked[i].entry.task);
		add_text(request, asked[i].entry.sid);
		add_text(request, asked[i].seq);
	}
}

void engine_add_cancel(struct engine *engine, int what, const char *caller, uint64_t map)
{
	char key[ENGINE_KEY_MAX];

	engine_key(engine, key, "x");
	request_add(engine_add(engine, ENGINE_TALK, what, map), "sssssssssi", "XADD", key,
		    "MAXLEN", "~", "1000", "*", "c", caller, "m", (int64_t)map);
	add_expiry(engine, key);
}

void engine_add_bury(struct engine *engine, int what, const char *caller)
{
	add_text(add_script(engine, SCRIPT_BURY, what, 0, 1), caller);
}

void engine_add_hosts(struct engine *engine, int what)
{
	add_script(engine, SCRIPT_HOSTS, what, 0, 0);
}

/* ---- what is answered -------------------------------------------------------------- */

bool engine_next_stream(struct resp *answer, struct resp *key, struct resp *entries)
{
	struct resp pair;

	return answer->kind == RESP_ARRAY && resp_next(answer, &pair) &&
	       pair.kind == RESP_ARRAY && resp_next(&pair, key) &&
	       key->kind == RESP_STRING && resp_next(&pair, entries) &&
	       entries->kind == RESP_ARRAY;
}

static struct engine_word *word_called(struct engine_message *message,
				       const struct resp *name)
{
	if (name->kind != RESP_STRING || name->len != 1)
		return NULL;
	switch (*name->text) {
	case 'c':
		return &message->caller;
	case 's':
		return &message->seq;
	case 'h':
		return &message->header;
	case 'a':
		return &message->data;
	case 'b':
		return &message->blob;
	case 'l':
		return &message->lost;
	case 'g':
		return &message->given;
	case 'm':
		return &message->map;
	}
	return NULL;
}

static const struct engine_word no_word = { NULL, SIZE_MAX };

/* Up to the next chunk's seq, or the end. */
static void read_words(struct engine_message *message)
{
	struct resp name, value;

	while (resp_next(&message->rest, &name) && resp_next(&message->rest, &value)) {
		struct engine_word *word = word_called(message, &name);

		if (!word || value.kind != RESP_STRING)
			continue;
		if (word == &message->seq && word->len != SIZE_MAX) {
			message->next = (struct engine_word){ value.text, value.len };
			return;
		}
		*word = (struct engine_word){ value.text, value.len };
	}
}

bool engine_next_message(struct resp *entries, struct engine_message *out)
{
	struct resp entry, sid;

	*out = (struct engine_message){ .sid = no_word,
					.caller = no_word,
					.seq = no_word,
					.header = no_word,
					.data = no_word,
					.blob = no_word,
					.lost = no_word,
					.given = no_word,
					.map = no_word,
					.next = no_word };
	if (!resp_next(entries, &entry))
		return false;
	if (entry.kind != RESP_ARRAY || !resp_next(&entry, &sid) ||
	    sid.kind != RESP_STRING)
		return true;
	out->sid = (struct engine_word){ sid.text, sid.len };
	/* Nil: it was deleted before it was read again. */
	if (resp_next(&entry, &out->rest) && out->rest.kind == RESP_ARRAY)
		read_words(out);
	return true;
}

bool engine_next_chunk(struct engine_message *message)
{
	if (message->next.len == SIZE_MAX)
		return false;
	message->seq = message->next;
	message->header = message->data = message->blob = message->lost = message->given =
		message->next = no_word;
	read_words(message);
	return true;
}

bool engine_copy_word(char *out, size_t size, struct engine_word word)
{
	if (word.len == SIZE_MAX || word.len == 0 || word.len >= size ||
	    memchr(word.text, '\0', word.len))
		return false;
	memcpy(out, word.text, word.len);
	out[word.len] = '\0';
	return true;
}
