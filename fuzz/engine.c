/* SPDX-License-Identifier: MIT */
/*
 * What a pool on a server is told: the entries of its streams and INFO, whatever bytes
 * they are, and the URL by which it is named. Nothing is read beyond them, and what is
 * taken lies in them. The first byte says what it is.
 */
#include "engine/engine.h"

#include <stdlib.h>
#include <string.h>

static void demand(bool condition)
{
	if (!condition)
		abort();
}

static void try_word(struct engine_word word, const char *bytes, size_t len)
{
	char copy[ENGINE_SID_MAX];

	if (engine_copy_word(copy, sizeof(copy), word))
		demand(strlen(copy) == word.len);
	demand(word.len == SIZE_MAX ||
	       (word.text >= bytes && word.text + word.len <= bytes + len));
}

static void try_message(const struct engine_message *message, const char *bytes,
			size_t len)
{
	try_word(message->sid, bytes, len);
	try_word(message->caller, bytes, len);
	try_word(message->seq, bytes, len);
	try_word(message->header, bytes, len);
	try_word(message->data, bytes, len);
	try_word(message->blob, bytes, len);
	try_word(message->lost, bytes, len);
	try_word(message->given, bytes, len);
	try_word(message->map, bytes, len);
}

static void try_answer(const char *bytes, size_t len)
{
	struct resp_scan scan = { 0 };
	struct engine_message message;
	struct resp answer, key, entries;
	char version[24] = "";
	size_t n = 0;

	if (resp_scan(&scan, bytes, len, 1 << 16) != 1)
		return;
	answer = resp_of(bytes, scan.at);
	if (engine_major(&answer, version) != 0)
		demand(*version >= '0' && *version <= '9');
	while (engine_next_stream(&answer, &key, &entries))
		while (engine_next_message(&entries, &message))
			do {
				try_message(&message, bytes, len);
				demand(++n <= len);
			} while (engine_next_chunk(&message));
}

static void try_url(const char *text)
{
	struct engine_url url, again;

	if (engine_url_parse(&url, text) != 0)
		return;
	demand(*url.pool && !strpbrk(url.pool, "{}:/ "));
	/* What is left of it is a URL, and names no pool. */
	demand(engine_url_parse(&again, url.text) == 0);
	demand(strcmp(again.text, url.text) == 0);
	engine_url_free(&again);
	engine_url_free(&url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool is_url = size > 0 && data[0] % 2 == 0;
	char *copy;

	if (size == 0)
		return 0;
	/* Nothing may be read beyond what has come. */
	copy = calloc(1, is_url || size == 1 ? size : size - 1);
	demand(copy != NULL);
	memcpy(copy, data + 1, size - 1);
	if (is_url)
		try_url(copy);
	else
		try_answer(copy, size - 1);
	free(copy);
	return 0;
}
