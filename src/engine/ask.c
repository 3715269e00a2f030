/* SPDX-License-Identifier: MIT */
/* What callers and hosts ask a server, by commands and scripts. */
#include "engine/engine.h"

#include "engine/script.h"

#include <string.h>

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
	add_text(request, engine_sha(engine, script));
	add_text(request, "1");
	add_text(request, engine_key(engine, key, "w"));
	add_text(request, engine_tag(engine));
	return request;
}

static void add_expiry(struct engine *engine, const char *key)
{
	request_add(engine_add(engine, ENGINE_TALK, ENGINE_QUIET, 0), "ssi", "PEXPIRE",
		    key, (int64_t)KEYS_MS);
}

static void add_blob(struct engine *engine, char kind, const char *caller,
		     const char *seq, const void *bytes, size_t len)
{
	char key[ENGINE_KEY_MAX];

	request_add(engine_add(engine, ENGINE_TALK, ENGINE_QUIET, 0), "ssbsi", "SET",
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
		request_word(request, done[i].out, large ? 0 : done[i].out_len);
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
	struct request *request = engine_add(engine, ENGINE_TALK, ENGINE_QUIET, 0);

	engine_key(engine, outstanding, "o:%s", caller);
	request_add(request, "s", "MULTI");
	for (size_t i = 0; i < n; i++)
		if (puts[i].in_len >= WIRE_BLOB)
			add_blob(engine, 'b', caller, puts[i].seq, puts[i].in,
				 puts[i].in_len);
	engine_add(engine, ENGINE_TALK, ENGINE_QUIET, 0);
	request_head(request, 2 + 2 * n);
	add_text(request, "HSET");
	add_text(request, outstanding);
	for (size_t i = 0; i < n; i++) {
		add_text(request, puts[i].seq);
		add_text(request, "");
	}
	for (size_t i = 0; i < n; i++) {
		bool large = puts[i].in_len >= WIRE_BLOB;

		engine_add(engine, ENGINE_TALK, ENGINE_QUIET, 0);
		request_add(request, "ssssssssbsb", "XADD",
			    engine_key(engine, key, "q:%s", puts[i].task), "*", "c",
			    caller, "s", puts[i].seq, "h", puts[i].header,
			    (size_t)WIRE_CHUNK_LEN, large ? "b" : "a", puts[i].in,
			    large ? 0 : puts[i].in_len);
	}
	add_expiry(engine, outstanding);
	request_add(engine_add(engine, ENGINE_TALK, what, number), "s", "EXEC");
}

void engine_add_call(struct engine *engine, int what, const char *caller, bool list,
		     const struct engine_asked *asked, size_t n)
{
	struct request *request = add_script(engine, SCRIPT_CALL, what, 0, 3 + 4 * n);

	add_text(request, caller);
	add_number_text(request, KEYS_MS);
	add_text(request, list ? "1" : "0");
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

	request_add(engine_add(engine, ENGINE_TALK, ENGINE_QUIET, 0), "ss", "DEL",
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
