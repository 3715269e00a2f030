/* SPDX-License-Identifier: MIT */
#include "store/redis/resp.h"

#include <errno.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define ERROR_MOST   512 /* bytes of an error that are looked at */
#define LEAST	     3	 /* bytes of an element */

/* ---- lines ------------------------------------------------------------------------- */

/* A decimal number of 64 bits, which is all of the text. */
static bool read_decimal(const char *text, size_t len, int64_t *out)
{
	bool negative = len > 0 && *text == '-';
	uint64_t most = (uint64_t)INT64_MAX + negative, number = 0;

	if (len <= negative)
		return false;
	for (size_t i = negative; i < len; i++) {
		unsigned digit = (unsigned)(unsigned char)text[i] - '0';

		if (digit > 9 || number > (most - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	*out = (int64_t)(negative ? 0 - number : number);
	return true;
}

/* What the number of a string or an array says. */
static int read_count(struct resp *resp)
{
	if (!read_decimal(resp->text, resp->len, &resp->number))
		return -EBADMSG;
	if (resp->kind == RESP_NUMBER)
		return 1;
	if (resp->number == -1)
		resp->kind = RESP_NIL;
	return resp->number >= -1 ? 1 : -EBADMSG;
}

int resp_head(struct resp *resp, const char *bytes, size_t len)
{
	const char *end;

	if (len == 0)
		return 0;
	if (!strchr("+-:$*", *bytes) || *bytes == '\0')
		return -EBADMSG;
	end = memchr(bytes, '\n', len < RESP_LINE_MAX ? len : RESP_LINE_MAX);
	if (!end)
		return len < RESP_LINE_MAX ? 0 : -EBADMSG;
	if (end - bytes < 2 || end[-1] != '\r')
		return -EBADMSG;
	*resp = (struct resp){ .kind = (enum resp_kind) * bytes,
			       .text = bytes + 1,
			       .len = (size_t)(end - bytes) - 2,
			       .head = (size_t)(end - bytes) + 1 };
	return resp->kind == RESP_STATUS || resp->kind == RESP_ERROR ? 1
								     : read_count(resp);
}

/* ---- answers ----------------------------------------------------------------------- */

/* An element is over, and with it all arrays of which it was the last. */
static bool end_element(struct resp_scan *scan)
{
	while (scan->depth > 0 && --scan->left[scan->depth - 1] == 0)
		scan->depth--;
	return scan->depth == 0;
}

static int enter_array(struct resp_scan *scan, int64_t n, size_t most)
{
	size_t expected = 0;

	if (scan->depth == RESP_DEPTH_MAX)
		return -EBADMSG;
	if ((uint64_t)n > most)
		return -EMSGSIZE;
	scan->left[scan->depth++] = (size_t)n;
	for (unsigned i = 0; i < scan->depth; i++)
		expected += scan->left[i];
	/* Those that are open have been counted by their heads. */
	expected -= scan->depth - 1;
	return scan->at + expected * LEAST > most ? -EMSGSIZE : 0;
}

int resp_scan(struct resp_scan *scan, const char *bytes, size_t len, size_t most)
{
	struct resp resp;

	for (;;) {
		int err = resp_head(&resp, bytes + scan->at, len - scan->at);
		size_t body = 0;

		if (err <= 0)
			return err;
		if (resp.kind == RESP_STRING) {
			if ((uint64_t)resp.number > most)
				return -EMSGSIZE;
			body = (size_t)resp.number + 2;
		}
		if (scan->at + resp.head + body > most)
			return -EMSGSIZE;
		if (len - scan->at < resp.head + body)
			return 0;
		if (body > 0 &&
		    memcmp(bytes + scan->at + resp.head + body - 2, "\r\n", 2) != 0)
			return -EBADMSG;
		if (resp.kind == RESP_ERROR && !scan->refused) {
			scan->refused = true;
			scan->error = scan->at;
		}
		scan->at += resp.head + body;
		if (resp.kind == RESP_ARRAY && resp.number > 0) {
			err = enter_array(scan, resp.number, most);
			if (err)
				return err;
		} else if (end_element(scan)) {
			return 1;
		}
	}
}

struct resp resp_of(const char *bytes, size_t len)
{
	struct resp resp = { .kind = RESP_NIL };

	if (resp_head(&resp, bytes, len) == 1 &&
	    (resp.kind == RESP_STRING || resp.kind == RESP_ARRAY)) {
		resp.text = bytes + resp.head;
		resp.len = resp.kind == RESP_STRING ? (size_t)resp.number
						    : len - resp.head;
	}
	return resp;
}

bool resp_next(struct resp *array, struct resp *element)
{
	struct resp_scan scan = { 0 };

	if (resp_scan(&scan, array->text, array->len, array->len) != 1)
		return false;
	*element = resp_of(array->text, scan.at);
	array->text += scan.at;
	array->len -= scan.at;
	return true;
}

bool resp_is_text(const struct resp *resp, enum resp_kind kind, const char *text)
{
	return resp->kind == kind && resp->len == strlen(text) &&
	       memcmp(resp->text, text, resp->len) == 0;
}

bool resp_is_name(const struct resp *resp)
{
	return resp->kind == RESP_STRING && resp->len > 0 &&
	       resp->len <= TINE_STORE_KEY_MAX && !memchr(resp->text, '\0', resp->len);
}

/* ---- errors ------------------------------------------------------------------------ */

/* By the first word. */
static const struct resp_meaning words[] = {
	{ "WRONGTYPE", -TINE_EKIND }, { "NOAUTH", -EACCES },
	{ "WRONGPASS", -EACCES },     { "NOPERM", -EACCES },
	{ "DENIED", -EACCES },	      { "READONLY", -EROFS },
	{ "MISCONF", -EROFS },	      { "NOREPLICAS", -EROFS },
	{ "OOM", -ENOMEM },	      { "MOVED", -EREMOTE },
	{ "ASK", -EREMOTE },	      { "CROSSSLOT", -EREMOTE },
	{ "CLUSTERDOWN", -EREMOTE },  { "TRYAGAIN", -EREMOTE },
	{ "LOADING", -EAGAIN },	      { "BUSY", -EAGAIN },
	{ "MASTERDOWN", -EAGAIN },
};

/* By words further on, of those that begin with ERR. */
static const struct resp_meaning phrases[] = {
	{ "would overflow", -ERANGE },
	{ "not an integer", -EINVAL },
	{ "DB index", -EINVAL },
	{ "SELECT is not allowed", -EINVAL },
	{ "invalid expire", -EINVAL },
	{ "invalid password", -EACCES },
	{ "AUTH", -EACCES },
	{ "max number of clients", -ECONNREFUSED },
	{ "invalid bulk length", -EMSGSIZE },
	{ "exceeds maximum allowed size", -EMSGSIZE },
	{ "TRACKING", -EOPNOTSUPP },
	{ "CLIENT subcommand", -EOPNOTSUPP },
};

static void copy_error(char text[static ERROR_MOST], const struct resp *resp)
{
	size_t most = resp->len < ERROR_MOST - 1 ? resp->len : ERROR_MOST - 1;

	memcpy(text, resp->text, most);
	text[most] = '\0';
}

int resp_error_by_word(const struct resp *resp, const struct resp_meaning *meanings,
		       size_t n)
{
	char text[ERROR_MOST];
	bool script;

	copy_error(text, resp);
	script = strncmp(text, "ERR Error running script", 24) == 0;
	/* Before Redis 7 what a script met comes further on. */
	for (size_t i = 0; i < n; i++) {
		const char *at = script ? strstr(text, meanings[i].text) : text;
		size_t len = strlen(meanings[i].text);

		if (at && strncmp(at, meanings[i].text, len) == 0 &&
		    (at[len] == ' ' || at[len] == '\0'))
			return meanings[i].err;
	}
	return 0;
}

int resp_error(const struct resp *resp)
{
	int err = resp_error_by_word(resp, words, COUNT(words));
	char text[ERROR_MOST];

	if (err)
		return err;
	copy_error(text, resp);
	for (size_t i = 0; i < COUNT(phrases); i++)
		if (strstr(text, phrases[i].text))
			return phrases[i].err;
	return -EBADMSG;
}
