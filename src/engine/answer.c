/* SPDX-License-Identifier: MIT */
/* What a server answers, whoever wrote it: words of streams, checked and lent. */
#include "engine/engine.h"

#include <stdlib.h>
#include <string.h>

#define DRIFT_US 100 /* of two clocks from one beat to the next */

void engine_clock_note(struct engine_clock *clock, int64_t sent, int64_t came,
		       int64_t server_us)
{
	int64_t error = (came - sent) / 2000;

	if (server_us <= 0 || server_us > INT64_C(1) << 53)
		return;
	if (clock->known && error > clock->error_us + DRIFT_US) {
		clock->error_us += DRIFT_US;
		return;
	}
	*clock = (struct engine_clock){
		.known = true,
		.offset_us = server_us - (sent / 2 + came / 2) / 1000,
		.error_us = error,
	};
}

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
	case 'f':
		return &message->from;
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
					.from = no_word,
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

int engine_major(const struct resp *resp, char version[static 24])
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
