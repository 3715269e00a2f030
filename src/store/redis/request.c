/* SPDX-License-Identifier: MIT */
#include "store/redis/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COPIED ((size_t)16 << 10) /* longer words are not */

void request_begin(struct request *request)
{
	request->len = request->n = 0;
	request->commands = 0;
	request->failed = false;
}

void request_free(struct request *request)
{
	free(request->text);
	free(request->splices);
	*request = (struct request){ 0 };
}

static bool make_room_for(struct request *request, size_t len)
{
	size_t room = request->room ? request->room : 256;
	char *text;

	if (request->room - request->len >= len)
		return true;
	while (room - request->len < len)
		room *= 2;
	text = malloc(room);
	if (!text) {
		request->failed = true;
		return false;
	}
	if (request->len > 0)
		memcpy(text, request->text, request->len);
	free(request->text);
	request->text = text;
	request->room = room;
	return true;
}

static void append_bytes(struct request *request, const void *bytes, size_t len)
{
	if (len == 0 || !make_room_for(request, len))
		return;
	memcpy(request->text + request->len, bytes, len);
	request->len += len;
}

/* '*' or '$', the number, and the end of the line. */
static void append_count(struct request *request, char mark, size_t count)
{
	char text[24], *at = text + sizeof(text);

	*--at = '\n';
	*--at = '\r';
	do
		*--at = (char)('0' + count % 10);
	while ((count /= 10) > 0);
	*--at = mark;
	append_bytes(request, at, (size_t)(text + sizeof(text) - at));
}

static void add_splice(struct request *request, const void *bytes, size_t len)
{
	if (request->n == request->most) {
		size_t most = request->most ? 2 * request->most : 4;
		struct splice *splices = malloc(most * sizeof(*splices));

		if (!splices) {
			request->failed = true;
			return;
		}
		if (request->n > 0)
			memcpy(splices, request->splices, request->n * sizeof(*splices));
		free(request->splices);
		request->splices = splices;
		request->most = most;
	}
	request->splices[request->n++] = (struct splice){ request->len, bytes, len };
}

void request_head(struct request *request, size_t words)
{
	append_count(request, '*', words);
	request->commands++;
}

void request_word(struct request *request, const void *bytes, size_t len)
{
	append_count(request, '$', len);
	(len > COPIED ? add_splice : append_bytes)(request, bytes, len);
	append_bytes(request, "\r\n", 2);
}

void request_number(struct request *request, int64_t number)
{
	char text[24];

	request_word(request, text,
		     (size_t)snprintf(text, sizeof(text), "%lld", (long long)number));
}

void request_add(struct request *request, const char *letters, ...)
{
	va_list args;

	request_head(request, strlen(letters));
	va_start(args, letters);
	for (; *letters; letters++) {
		const char *bytes;

		if (*letters == 'i') {
			request_number(request, va_arg(args, int64_t));
			continue;
		}
		bytes = va_arg(args, const char *);
		request_word(request, bytes,
			     *letters == 's' ? strlen(bytes) : va_arg(args, size_t));
	}
	va_end(args);
}

/* Text and splices by turns, the text before the first splice being the first piece. */
struct iovec request_piece(const struct request *request, size_t i)
{
	size_t from = i < 2 ? 0 : request->splices[i / 2 - 1].at;
	size_t to = i / 2 < request->n ? request->splices[i / 2].at : request->len;

	if (i % 2)
		return (struct iovec){ (void *)request->splices[i / 2].bytes,
				       request->splices[i / 2].len };
	return (struct iovec){ request->text + from, to - from };
}
void request_script(struct request *request, const char *script, size_t keys,
		    size_t words)
{
	request_head(request, 3 + keys + words);
	request_word(request, "EVAL", 4);
	request_word(request, script, strlen(script));
	/* The count, as one more word. */
	request_number(request, (int64_t)keys);
}
