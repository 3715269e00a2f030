/* SPDX-License-Identifier: MIT */
#include "engine/wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_MAGIC  0x636e6974u /* "tinc" */
#define RESULT_MAGIC 0x726e6974u /* "tinr" */

static void put_little(unsigned char *at, uint64_t number, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (unsigned char)(number >> 8 * i);
}

static uint64_t get_little(const unsigned char *at, unsigned bytes)
{
	uint64_t number = 0;

	for (unsigned i = 0; i < bytes; i++)
		number |= (uint64_t)at[i] << 8 * i;
	return number;
}

/* ---- chunks ------------------------------------------------------------------------ */

size_t wire_in_len(const struct wire_chunk *chunk)
{
	return chunk->kind == WIRE_CALLS ? (size_t)(chunk->n * chunk->in_size)
					 : (size_t)chunk->in_size;
}

size_t wire_out_len(const struct wire_chunk *chunk)
{
	return chunk->kind == WIRE_CALLS || chunk->kind == WIRE_LEAVES
		       ? (size_t)(chunk->n * chunk->out_size)
		       : 0;
}

void wire_put_chunk(unsigned char *header, const struct wire_chunk *chunk)
{
	put_little(header, CHUNK_MAGIC, 4);
	put_little(header + 4, WIRE_LAYOUT, 2);
	put_little(header + 6, chunk->kind, 1);
	put_little(header + 7, chunk->flags, 1);
	put_little(header + 8, chunk->n, 4);
	put_little(header + 12, 0, 4);
	put_little(header + 16, chunk->map, 8);
	put_little(header + 24, chunk->in_size, 8);
	put_little(header + 32, chunk->out_size, 8);
	put_little(header + 40, chunk->first, 8);
	put_little(header + 48, chunk->total, 8);
	put_little(header + 56, chunk->leaves, 8);
	put_little(header + 64, (uint64_t)chunk->job_ms, 8);
	put_little(header + 72, (uint64_t)chunk->left_ms, 8);
	put_little(header + 80, (uint64_t)chunk->grace_ms, 8);
	put_little(header + 88, 0, 8);
}

/* Whether n of that size are not too much; each factor was looked at by itself. */
static bool is_little(uint64_t n, uint64_t size)
{
	return size <= WIRE_MOST && n <= WIRE_JOBS && n * size <= WIRE_MOST;
}

static bool indexes_fit(const struct wire_chunk *chunk)
{
	switch (chunk->kind) {
	case WIRE_CALLS:
	case WIRE_BYTES:
		return !chunk->first && !chunk->total && !chunk->leaves;
	case WIRE_EACH:
	case WIRE_RANGE:
		return !chunk->total && !chunk->leaves &&
		       chunk->first <= UINT64_MAX - chunk->n;
	case WIRE_LEAVES:
		return chunk->leaves <= chunk->total && chunk->first <= chunk->leaves &&
		       chunk->n <= chunk->leaves - chunk->first;
	}
	return false;
}

static bool chunk_is_sound(const struct wire_chunk *chunk)
{
	bool items = chunk->kind == WIRE_CALLS,
	     slots = items || chunk->kind == WIRE_LEAVES;
	uint32_t most = chunk->kind == WIRE_RANGE ? UINT32_MAX : WIRE_JOBS;

	return chunk->n > 0 && chunk->n <= most && chunk->map != 0 &&
	       chunk->flags <= (WIRE_SEARCH | WIRE_FIRST) && chunk->flags != WIRE_FIRST &&
	       (!chunk->flags || items) &&
	       is_little(items ? chunk->n : 1, chunk->in_size) &&
	       is_little(slots ? chunk->n : 1, chunk->out_size) &&
	       (slots || !chunk->out_size) &&
	       (chunk->kind != WIRE_BYTES || chunk->n == 1) && chunk->job_ms >= 0 &&
	       chunk->left_ms >= 0 && chunk->grace_ms >= 0 && indexes_fit(chunk);
}

int wire_get_chunk(struct wire_chunk *out, const void *header, size_t len)
{
	const unsigned char *at = header;
	struct wire_chunk chunk;

	if (len != WIRE_CHUNK_LEN || get_little(at, 4) != CHUNK_MAGIC ||
	    get_little(at + 4, 2) != WIRE_LAYOUT || get_little(at + 12, 4) != 0 ||
	    get_little(at + 88, 8) != 0)
		return -EPROTO;
	chunk = (struct wire_chunk){
		.kind = (enum wire_kind)get_little(at + 6, 1),
		.flags = (unsigned)get_little(at + 7, 1),
		.n = (uint32_t)get_little(at + 8, 4),
		.map = get_little(at + 16, 8),
		.in_size = get_little(at + 24, 8),
		.out_size = get_little(at + 32, 8),
		.first = get_little(at + 40, 8),
		.total = get_little(at + 48, 8),
		.leaves = get_little(at + 56, 8),
		.job_ms = (int64_t)get_little(at + 64, 8),
		.left_ms = (int64_t)get_little(at + 72, 8),
		.grace_ms = (int64_t)get_little(at + 80, 8),
	};
	if (!chunk_is_sound(&chunk))
		return -EPROTO;
	*out = chunk;
	return 0;
}

/* ---- results ----------------------------------------------------------------------- */

size_t wire_result_len(uint32_t statuses, uint32_t endings)
{
	return WIRE_RESULT_LEN + (size_t)4 * statuses + (size_t)WIRE_ENDING_LEN * endings;
}

void wire_put_result(unsigned char *header, const struct wire_result *result,
		     const int *status, uint32_t statuses,
		     const struct wire_ending *endings, uint32_t n_endings)
{
	unsigned char *at = header + WIRE_RESULT_LEN;

	put_little(header, RESULT_MAGIC, 4);
	put_little(header + 4, WIRE_LAYOUT, 2);
	put_little(header + 6, 0, 2);
	put_little(header + 8, result->n, 4);
	put_little(header + 12, statuses, 4);
	put_little(header + 16, n_endings, 4);
	put_little(header + 20, result->lane, 4);
	put_little(header + 24, (uint64_t)result->ran_us, 8);
	put_little(header + 32, result->out_len, 8);
	put_little(header + 40, (uint64_t)result->begun_us, 8);
	for (uint32_t i = 0; i < statuses; i++, at += 4)
		put_little(at, (uint32_t)status[i], 4);
	for (uint32_t i = 0; i < n_endings; i++, at += WIRE_ENDING_LEN) {
		put_little(at, endings[i].job, 4);
		put_little(at + 4, (uint32_t)endings[i].limit, 4);
		put_little(at + 8, (uint32_t)endings[i].how.code, 4);
		put_little(at + 12, (uint32_t)endings[i].how.signal, 4);
		put_little(at + 16, endings[i].how.address, 8);
	}
}

/* Microseconds, of which as many nanoseconds can be told. */
static bool is_a_time(int64_t us)
{
	return us >= 0 && us <= INT64_C(1) << 53;
}

int wire_get_result(struct wire_result *out, const struct wire_chunk *chunk,
		    const void *header, size_t len, size_t out_len)
{
	const unsigned char *at = header;
	uint32_t jobs = chunk->kind == WIRE_RANGE ? 1 : chunk->n;
	struct wire_result result;

	if (len < WIRE_RESULT_LEN || get_little(at, 4) != RESULT_MAGIC ||
	    get_little(at + 4, 2) != WIRE_LAYOUT || get_little(at + 6, 2) != 0)
		return -EPROTO;
	result = (struct wire_result){
		.n = (uint32_t)get_little(at + 8, 4),
		.statuses = (uint32_t)get_little(at + 12, 4),
		.endings = (uint32_t)get_little(at + 16, 4),
		.lane = (uint32_t)get_little(at + 20, 4),
		.ran_us = (int64_t)get_little(at + 24, 8),
		.out_len = get_little(at + 32, 8),
		.begun_us = (int64_t)get_little(at + 40, 8),
		.status_at = at + WIRE_RESULT_LEN,
	};
	if (result.n != chunk->n || (result.statuses && result.statuses != jobs) ||
	    result.endings > jobs || !is_a_time(result.ran_us) ||
	    !is_a_time(result.begun_us) ||
	    len != wire_result_len(result.statuses, result.endings) ||
	    result.out_len != out_len || out_len > WIRE_MOST ||
	    (chunk->kind != WIRE_BYTES && out_len != wire_out_len(chunk)))
		return -EPROTO;
	result.ending_at = result.status_at + (size_t)4 * result.statuses;
	for (uint32_t i = 0; i < result.endings; i++)
		if (get_little(result.ending_at + (size_t)i * WIRE_ENDING_LEN, 4) >= jobs)
			return -EPROTO;
	*out = result;
	return 0;
}

int wire_status(const struct wire_result *result, uint32_t job)
{
	uint32_t i = result->statuses == 1 ? 0 : job;

	return result->statuses
		       ? (int)(uint32_t)get_little(result->status_at + (size_t)4 * i, 4)
		       : 0;
}

struct wire_ending wire_ending(const struct wire_result *result, uint32_t i)
{
	const unsigned char *at = result->ending_at + (size_t)i * WIRE_ENDING_LEN;

	return (struct wire_ending){
		.job = (uint32_t)get_little(at, 4),
		.limit = (int)(uint32_t)get_little(at + 4, 4),
		.how = { .code = (int)(uint32_t)get_little(at + 8, 4),
			 .signal = (int)(uint32_t)get_little(at + 12, 4),
			 .address = get_little(at + 16, 8) },
	};
}

/* ---- names ------------------------------------------------------------------------- */

size_t wire_escape(char *out, size_t size, const char *text)
{
	static const char digits[] = "0123456789abcdef";
	size_t len = 0;

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			     (c >= '0' && c <= '9') || c == '-' || c == '_';
		const char coded[] = { '%', digits[c >> 4], digits[c & 15] };

		for (size_t i = 0; i < (plain ? 1 : sizeof(coded)); i++, len++)
			if (len + 1 < size)
				out[len] = plain ? (char)c : coded[i];
	}
	if (size > 0)
		out[len < size ? len : size - 1] = '\0';
	return len;
}

static bool has_function(const tine_task *task, enum wire_kind kind)
{
	switch (kind) {
	case WIRE_CALLS:
		return !task->bytes && !task->each && !task->range;
	case WIRE_EACH:
		return task->each;
	case WIRE_RANGE:
		return task->range;
	case WIRE_LEAVES:
		return task->range && task->join;
	case WIRE_BYTES:
		return task->bytes;
	}
	return false;
}

int wire_task_name(char out[static WIRE_TASK_MAX], const tine_task *task,
		   enum wire_kind kind)
{
	static const uint16_t one = 1;
	const char *slash = task->file ? strrchr(task->file, '/') : NULL;
	const char *file = slash ? slash + 1 : task->file;
	size_t len = 0;

	if (!task->name || !*task->name || !has_function(task, kind))
		return -EINVAL;
	if (strlen(task->name) > WIRE_NAME_MAX ||
	    (file && strlen(file) > WIRE_NAME_MAX / 2))
		return -ENAMETOOLONG;
	if (file) {
		len = wire_escape(out, WIRE_TASK_MAX, file);
		out[len++] = ':';
	}
	len += wire_escape(out + len, WIRE_TASK_MAX - len, task->name);
	/* Of functions of bytes the sizes say nothing. */
	snprintf(out + len, WIRE_TASK_MAX - len, ".%u.%c.%zu.%zu.%s", task->version,
		 (char)kind, kind == WIRE_BYTES ? 0 : task->in_size,
		 kind == WIRE_CALLS || kind == WIRE_LEAVES ? task->out_size : 0,
		 *(const uint8_t *)&one ? "le" : "be");
	return 0;
}

/* ---- hosts ------------------------------------------------------------------------- */

int wire_put_host(char out[static WIRE_HOST_MAX], const struct wire_host *host)
{
	char name[3 * sizeof(host->name)];

	wire_escape(name, sizeof(name), host->name);
	return snprintf(out, WIRE_HOST_MAX, "%s %u %u %u %u %llu ", name, host->workers,
			host->busy, host->queued, host->crashing,
			(unsigned long long)host->done);
}

static int digit_of(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Of a word of wire_escape()'s, with room for all of it. */
static bool unescape_name(char *out, size_t size, const char *text, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c == '%') {
			if (len - i < 3 || digit_of(text[i + 1]) < 0 ||
			    digit_of(text[i + 2]) < 0)
				return false;
			c = (char)(digit_of(text[i + 1]) * 16 + digit_of(text[i + 2]));
			i += 2;
		}
		/* It is shown: nothing of it may move the cursor. */
		if (n + 1 >= size || (unsigned char)c < ' ' || c == 127)
			return false;
		out[n++] = c;
	}
	out[n] = '\0';
	return n > 0;
}

/* The next word, up to a blank that has to be there. */
static bool next_word(const char **text, size_t *len, const char **word, size_t *word_len)
{
	const char *blank = memchr(*text, ' ', *len);

	if (!blank)
		return false;
	*word = *text;
	*word_len = (size_t)(blank - *text);
	*len -= *word_len + 1;
	*text = blank + 1;
	return true;
}

static bool next_number(const char **text, size_t *len, uint64_t most, uint64_t *number)
{
	const char *word;
	size_t word_len;

	if (!next_word(text, len, &word, &word_len) || word_len == 0 || word_len > 20)
		return false;
	*number = 0;
	for (size_t i = 0; i < word_len; i++) {
		unsigned digit = (unsigned)(unsigned char)word[i] - '0';

		if (digit > 9 || *number > (most - digit) / 10)
			return false;
		*number = *number * 10 + digit;
	}
	return true;
}

int wire_get_host(struct wire_host *out, const char *text, size_t len, const char **tasks,
		  size_t *tasks_len)
{
	struct wire_host host = { 0 };
	uint64_t numbers[5];
	const char *word;
	size_t word_len;

	if (!next_word(&text, &len, &word, &word_len) ||
	    !unescape_name(host.name, sizeof(host.name), word, word_len))
		return -EPROTO;
	for (int i = 0; i < 5; i++)
		if (!next_number(&text, &len, i < 4 ? UINT32_MAX : UINT64_MAX,
				 &numbers[i]))
			return -EPROTO;
	host.workers = (uint32_t)numbers[0];
	host.busy = (uint32_t)numbers[1];
	host.queued = (uint32_t)numbers[2];
	host.crashing = (uint32_t)numbers[3];
	host.done = numbers[4];
	*out = host;
	*tasks = text;
	*tasks_len = len;
	return 0;
}

bool wire_has_task(const char *tasks, size_t len, const char *task)
{
	size_t n = strlen(task);

	while (len >= n) {
		const char *blank = memchr(tasks, ' ', len);
		size_t word = blank ? (size_t)(blank - tasks) : len;

		if (word == n && memcmp(tasks, task, n) == 0)
			return true;
		if (!blank)
			break;
		len -= word + 1;
		tasks = blank + 1;
	}
	return false;
}
