/* SPDX-License-Identifier: MIT */
/* What is the same for all kinds, and the names of keys. */
#include "store/redis/calls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES ((size_t)64 << 20) /* of the names that come at a time */

static const char len_script[] =
	"local kind=redis.call('TYPE',KEYS[1]).ok "
	"if kind=='string' then return redis.call('STRLEN',KEYS[1]) "
	"elseif kind=='list' then return redis.call('LLEN',KEYS[1]) "
	"elseif kind=='hash' then return redis.call('HLEN',KEYS[1]) "
	"elseif kind=='none' then return -1 else return -2 end";

ssize_t redis_len(tine_store *store, const char *key)
{
	struct request *request = session_begin(store, 0);
	int64_t len = 0;
	int err;

	request_script(request, len_script, 1, 0);
	request_word(request, key, strlen(key));
	err = session_ask_number(session_of(store), AGAIN, &len);
	if (err)
		return err;
	if (len < 0)
		return len == -1 ? -ENOENT : len == -2 ? -TINE_EKIND : -EBADMSG;
	return (ssize_t)len;
}

int redis_del(tine_store *store, const char *key)
{
	request_add(session_begin(store, 0), "ss", "DEL", key);
	return session_ask_whether(session_of(store), ONCE);
}

static const char persist_script[] =
	"redis.call('PERSIST',KEYS[1]) return redis.call('EXISTS',KEYS[1])";

int redis_expire(tine_store *store, const char *key, int64_t ms)
{
	struct request *request = session_begin(store, 0);

	if (ms > 0) {
		request_add(request, "ssi", "PEXPIRE", key,
			    ms < LATEST_END ? ms : LATEST_END);
	} else {
		request_script(request, persist_script, 1, 0);
		request_word(request, key, strlen(key));
	}
	return session_ask_whether(session_of(store), AGAIN);
}

struct names {
	char **all;
	size_t n, most;
};

static void free_names(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->all[i]);
	free(names->all);
	*names = (struct names){ 0 };
}

static int add_name(struct names *names, const struct resp *name)
{
	size_t most = names->most ? 2 * names->most : 64;
	char **all;

	if (names->n == names->most) {
		all = realloc(names->all, most * sizeof(*all));
		if (!all)
			return -ENOMEM;
		names->all = all;
		names->most = most;
	}
	names->all[names->n] = strndup(name->text, name->len);
	return names->all[names->n] ? (names->n++, 0) : -ENOMEM;
}

/* What SCAN answers: the next cursor, and names. */
static int take_names(struct names *names, struct resp *resp, char *cursor, size_t size)
{
	struct resp next, list, name;
	int err = 0;

	if (resp->kind != RESP_ARRAY || resp->number != 2 || !resp_next(resp, &next) ||
	    !resp_next(resp, &list) || next.kind != RESP_STRING || next.len >= size ||
	    list.kind != RESP_ARRAY)
		return -EBADMSG;
	memcpy(cursor, next.text, next.len);
	cursor[next.len] = '\0';
	while (!err && resp_next(&list, &name)) {
		if (name.kind != RESP_STRING)
			err = -EBADMSG;
		else if (resp_is_name(&name))
			err = add_name(names, &name);
	}
	return err;
}

static void write_pattern(char *pattern, const char *prefix)
{
	for (; *prefix; prefix++) {
		if (strchr("*?[]\\", *prefix))
			*pattern++ = '\\';
		*pattern++ = *prefix;
	}
	strcpy(pattern, "*");
}

static int scan_names(struct session *session, const char *prefix, struct names *names)
{
	char pattern[2 * TINE_STORE_KEY_MAX + 2], cursor[32] = "0";
	/* The cursor of a server that was lost says nothing to the next. */
	enum repeat repeat = AGAIN;
	int err;

	write_pattern(pattern, prefix);
	do {
		struct resp resp;

		request_add(session_again(session), "ssssss", "SCAN", cursor, "MATCH",
			    pattern, "COUNT", "1000");
		err = session_ask(session, repeat, &resp);
		err = err ? err : take_names(names, &resp, cursor, sizeof(cursor));
		if (!err && tine_now() > session->until)
			err = -ETIMEDOUT;
		repeat = ONCE;
	} while (!err && strcmp(cursor, "0") != 0);
	return err;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* SCAN may tell a key more than once. */
int redis_keys(tine_store *store, const char *prefix,
	       int (*each)(void *arg, const char *key), void *arg)
{
	struct session *session = session_of(store);
	struct names names = { 0 };
	int err;

	session_begin(store, 0);
	session->main.most = MOST_BYTES;
	err = scan_names(session, prefix, &names);
	if (err == -ECONNRESET) {
		free_names(&names);
		err = scan_names(session, prefix, &names);
	}
	session->main.most = LINE_FEW;
	line_forget(&session->main);
	if (names.n > 0)
		qsort(names.all, names.n, sizeof(*names.all), compare_names);
	for (size_t i = 0; i < names.n && !err; i++)
		if (i == 0 || strcmp(names.all[i], names.all[i - 1]) != 0)
			err = each(arg, names.all[i]);
	free_names(&names);
	return err;
}
