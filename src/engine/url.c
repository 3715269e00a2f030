/* SPDX-License-Identifier: MIT */
/* Addresses of pools on servers. */
#include "engine/engine.h"

#include "store/redis/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
