/* SPDX-License-Identifier: MIT */
/*
 * The store, as far as it is the same for all engines: the URL is taken apart and the
 * arguments are checked here, once; the work is the engine's. No state is kept here that
 * a death could break.
 */
#include "store/store.h"

#include "base/options.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONNECT_MS 800
#define ANSWER_MS  5000
#define REDIS_PORT 6379
#define SOCKET_MAX 107 /* bytes of a Unix socket's path */

#ifndef HAVE_LMDB
const struct store_engine *const store_file_engine = NULL;
#endif
#ifndef HAVE_HIREDIS
const struct store_engine *const store_redis_engine = NULL;
#endif

/* ---- the URL ----------------------------------------------------------------------- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place. False: a % without its two digits, or a NUL. */
static bool unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		int high, low;

		if (*text != '%') {
			*to++ = *text;
			continue;
		}
		high = hex_digit(text[1]);
		low = high < 0 ? -1 : hex_digit(text[2]);
		if (low < 0 || high + low == 0)
			return false;
		*to++ = (char)(high * 16 + low);
		text += 2;
	}
	*to = '\0';
	return true;
}

/* Ends the text before the first (or last) c, and returns what follows; NULL: no c. */
static char *split(char *text, char c, bool last)
{
	char *at = last ? strrchr(text, c) : strchr(text, c);

	if (!at)
		return NULL;
	*at = '\0';
	return at + 1;
}

static bool parse_number(const char *text, unsigned least, unsigned most, unsigned *out)
{
	unsigned long number = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		number = number * 10 + (unsigned long)(*text - '0');
		if (number > most)
			return false;
	}
	*out = (unsigned)number;
	return number >= least;
}

/* Three slashes are one, two would be a host's. */
static bool parse_path(char *text, const char **path)
{
	if (text[0] == '/' && text[1] == '/') {
		if (text[2] != '/')
			return false;
		text += 2;
	}
	*path = text;
	return !strpbrk(text, "?#") && unescape(text) && *text;
}

static int parse_file(char *text, struct store_address *address)
{
	address->kind = STORE_FILE;
	return parse_path(text, &address->path) ? 0 : -EINVAL;
}

/* Files, with TLS. */
static bool parse_file_parameter(const char *name, const char *val,
				 struct store_address *address)
{
	if (strcmp(name, "cacert") == 0)
		address->cacert = val;
	else if (strcmp(name, "cert") == 0)
		address->cert = val;
	else if (strcmp(name, "key") == 0)
		address->key = val;
	else
		return false;
	return *val != '\0';
}

static bool parse_parameter(char *text, struct store_address *address)
{
	char *val = split(text, '=', false);

	if (!val || !unescape(val))
		return false;
	if (address->tls)
		return parse_file_parameter(text, val, address);
	if (strcmp(text, "db") == 0)
		return parse_number(val, 0, INT_MAX, &address->db);
	if (strcmp(text, "user") == 0)
		address->user = *val ? val : NULL;
	else if (strcmp(text, "password") == 0)
		address->password = val;
	else
		return false;
	return true;
}

/* NULL: none. */
static bool parse_parameters(char *text, struct store_address *address)
{
	char *next;

	for (; text; text = next) {
		next = split(text, '&', false);
		if (!parse_parameter(text, address))
			return false;
	}
	return true;
}

static int parse_unix(char *text, struct store_address *address)
{
	char *parameters = split(text, '?', false);

	address->kind = STORE_UNIX;
	if (!parse_path(text, &address->path) || !parse_parameters(parameters, address))
		return -EINVAL;
	/* Nobody is known by name alone. */
	if (address->user && !address->password)
		return -EINVAL;
	return strlen(address->path) > SOCKET_MAX ? -ENAMETOOLONG : 0;
}

static bool parse_login(char *text, struct store_address *address)
{
	char *password = split(text, ':', false);

	if (!password || !unescape(text) || !unescape(password))
		return false;
	address->user = *text ? text : NULL;
	address->password = password;
	return true;
}

/* HOST, HOST:PORT, [ADDRESS] or [ADDRESS]:PORT. */
static bool parse_host(char *text, struct store_address *address)
{
	char *port;

	if (*text == '[') {
		port = split(++text, ']', false);
		if (!port || (*port && *port != ':'))
			return false;
		port = *port ? port + 1 : NULL;
	} else {
		port = split(text, ':', false);
	}
	address->host = text;
	address->port = REDIS_PORT;
	return unescape(text) && *text &&
	       (!port || parse_number(port, 1, 65535, &address->port));
}

static int parse_tcp(char *text, struct store_address *address)
{
	char *db, *host;

	address->kind = STORE_TCP;
	if (strncmp(text, "//", 2) != 0 || strpbrk(text, "?#"))
		return -EINVAL;
	text += 2;
	db = split(text, '/', false);
	host = split(text, '@', true);
	if ((host && !parse_login(text, address)) ||
	    !parse_host(host ? host : text, address) ||
	    (db && *db && !parse_number(db, 0, INT_MAX, &address->db)))
		return -EINVAL;
	return 0;
}

static int parse_tls(char *text, struct store_address *address)
{
	char *parameters = split(text, '?', false);

	address->tls = true;
	if (parse_tcp(text, address) != 0 || !parse_parameters(parameters, address) ||
	    (address->key && !address->cert))
		return -EINVAL;
	/* They may be in one file. */
	address->key = address->key ? address->key : address->cert;
	return 0;
}

static const struct scheme {
	const char *name;
	int (*parse)(char *text, struct store_address *);
	const struct store_engine *const *engine;
} schemes[] = {
	{ "file", parse_file, &store_file_engine },
	{ "redis", parse_tcp, &store_redis_engine },
	{ "rediss", parse_tls, &store_redis_engine },
	{ "unix", parse_unix, &store_redis_engine },
};

/* Cuts the text, which the address then points into. */
static int parse(char *text, struct store_address *address,
		 const struct store_engine **engine)
{
	char *rest = split(text, ':', false);

	for (size_t i = 0; rest && i < sizeof(schemes) / sizeof(*schemes); i++)
		if (strcasecmp(text, schemes[i].name) == 0) {
			*engine = *schemes[i].engine;
			return schemes[i].parse(rest, address);
		}
	return -EINVAL;
}

/* ---- handles ----------------------------------------------------------------------- */

int tine_store_open(tine_store **out, const char *url, const tine_store_opts *opts)
{
	static const tine_store_opts defaults;
	struct store_address address = { 0 };
	const struct store_engine *engine;
	tine_store *store;
	char *strings;
	int err;

	opts = opts ? opts : &defaults;
	if (!out || !url || !TAIL_IS_ZERO(opts))
		return -EINVAL;
	address.connect_ms = opts->connect_ms ? opts->connect_ms : CONNECT_MS;
	address.answer_ms = opts->answer_ms ? opts->answer_ms : ANSWER_MS;
	strings = strdup(url);
	if (!strings)
		return -ENOMEM;
	err = parse(strings, &address, &engine);
	if (!err && !engine)
		err = -EPROTONOSUPPORT;
	if (!err)
		err = engine->open(&store, &address);
	if (err) {
		free(strings);
		return err;
	}
	store->engine = engine;
	store->address = address;
	store->strings = strings;
	store->watches = NULL;
	*out = store;
	return 0;
}

void tine_store_free(tine_store *store)
{
	char *strings;

	if (!store)
		return;
	store_unwatch_all(store);
	strings = store->strings;
	store->engine->free(store);
	free(strings);
}

/* ---- calls ------------------------------------------------------------------------- */

/* Of a key or a field: 1 to TINE_STORE_KEY_MAX bytes. */
static bool is_name(const char *text)
{
	return text && *text &&
	       strnlen(text, TINE_STORE_KEY_MAX + 1) <= TINE_STORE_KEY_MAX;
}

static int check_value(const void *val, size_t len)
{
	if (!val && len > 0)
		return -EINVAL;
	return len > TINE_STORE_VALUE_MAX ? -EMSGSIZE : 0;
}

int tine_store_set(tine_store *store, const char *key, const void *val, size_t len)
{
	int err = is_name(key) ? check_value(val, len) : -EINVAL;

	return err ? err : store->engine->set(store, key, val, len);
}

ssize_t tine_store_get(tine_store *store, const char *key, void *buf, size_t size)
{
	if (!is_name(key) || (!buf && size > 0))
		return -EINVAL;
	return store->engine->get(store, key, buf, size);
}

int tine_store_set_all(tine_store *store, const tine_store_item *items, size_t n)
{
	if (!items && n > 0)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		int err = is_name(items[i].key) ? check_value(items[i].val, items[i].len)
						: -EINVAL;

		if (err)
			return err;
	}
	return n > 0 ? store->engine->set_all(store, items, n) : 0;
}

int tine_store_add(tine_store *store, const char *key, int64_t by, int64_t *now)
{
	return is_name(key) ? store->engine->add(store, key, by, now) : -EINVAL;
}

int tine_store_swap(tine_store *store, const char *key, const void *old, size_t old_len,
		    const void *val, size_t len)
{
	int err = is_name(key) ? check_value(old, old_len) : -EINVAL;

	err = err ? err : check_value(val, len);
	return err ? err : store->engine->swap(store, key, old, old_len, val, len);
}

int tine_store_push(tine_store *store, const char *list, const void *val, size_t len)
{
	int err = is_name(list) ? check_value(val, len) : -EINVAL;

	return err ? err : store->engine->push(store, list, val, len);
}

ssize_t tine_store_pop(tine_store *store, const char *list, void *buf, size_t size,
		       int64_t deadline)
{
	if (!is_name(list) || (!buf && size > 0))
		return -EINVAL;
	return store->engine->pop(store, list, buf, size, deadline);
}

int tine_store_put_field(tine_store *store, const char *dict, const char *field,
			 const void *val, size_t len)
{
	int err = is_name(dict) && is_name(field) ? check_value(val, len) : -EINVAL;

	return err ? err : store->engine->put_field(store, dict, field, val, len);
}

ssize_t tine_store_get_field(tine_store *store, const char *dict, const char *field,
			     void *buf, size_t size)
{
	if (!is_name(dict) || !is_name(field) || (!buf && size > 0))
		return -EINVAL;
	return store->engine->get_field(store, dict, field, buf, size);
}

int tine_store_del_field(tine_store *store, const char *dict, const char *field)
{
	if (!is_name(dict) || !is_name(field))
		return -EINVAL;
	return store->engine->del_field(store, dict, field);
}

int tine_store_fields(tine_store *store, const char *dict,
		      int (*each)(void *arg, const char *field, const void *val,
				  size_t len),
		      void *arg)
{
	if (!is_name(dict) || !each)
		return -EINVAL;
	return store->engine->fields(store, dict, each, arg);
}

ssize_t tine_store_len(tine_store *store, const char *key)
{
	return is_name(key) ? store->engine->len(store, key) : -EINVAL;
}

int tine_store_del(tine_store *store, const char *key)
{
	return is_name(key) ? store->engine->del(store, key) : -EINVAL;
}

int tine_store_expire(tine_store *store, const char *key, int64_t ms)
{
	if (!is_name(key) || ms < 0)
		return -EINVAL;
	return store->engine->expire(store, key, ms);
}

int tine_store_keys(tine_store *store, const char *prefix,
		    int (*each)(void *arg, const char *key), void *arg)
{
	if (!prefix || !each ||
	    strnlen(prefix, TINE_STORE_KEY_MAX + 1) > TINE_STORE_KEY_MAX)
		return -EINVAL;
	return store->engine->keys(store, prefix, each, arg);
}

int tine_store_wait(tine_store *store, const char *key, uint64_t *version,
		    int64_t deadline)
{
	if (!is_name(key) || !version)
		return -EINVAL;
	return store->engine->wait(store, key, version, deadline);
}
