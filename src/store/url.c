/* SPDX-License-Identifier: MIT */
/* URLs of stores, taken apart in place. */
#include "store/store.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

#define REDIS_PORT 6379
#define SOCKET_MAX 107 /* bytes of a Unix socket's path */

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
	char *parameter = split(text, '?', false);

	address->kind = STORE_FILE;
	if (parameter) {
		address->shared = strcmp(parameter, "shared=1") == 0;
		if (!address->shared && strcmp(parameter, "shared=0") != 0)
			return -EINVAL;
	}
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
} schemes[] = {
	{ "file", parse_file },
	{ "redis", parse_tcp },
	{ "rediss", parse_tls },
	{ "unix", parse_unix },
};

int store_parse_url(char *text, struct store_address *address)
{
	char *rest = split(text, ':', false);

	for (size_t i = 0; rest && i < sizeof(schemes) / sizeof(*schemes); i++)
		if (strcasecmp(text, schemes[i].name) == 0)
			return schemes[i].parse(rest, address);
	return -EINVAL;
}
