/* SPDX-License-Identifier: MIT */
/*
 * Lines, lines with a separator, and CSV as RFC 4180 has it: a column in quotes may hold
 * commas, newlines and quotes, those twice; a quote anywhere else is a mistake. So an odd
 * number of quotes means that the text ends within a column.
 */
#include "map/rows.h"

#include <string.h>

/* More cannot be arguments of a program. */
enum { MOST_OF_ROW = 4 << 20 };

static const char too_long[] = "it is longer than 4 MiB";

void rows_add(struct rows *rows, const char *from, size_t len)
{
	size_t rest = rows->text.len - rows->start;

	if (rows->start > 0)
		memmove(rows->text.at, rows->text.at + rows->start, rest);
	rows->seen = rows->seen > rows->start ? rows->seen - rows->start : 0;
	rows->start = 0;
	rows->text.len = rest;
	bytes_add(&rows->text, from, len);
	for (const char *at = from; rows->how == ROWS_CSV; at++) {
		at = memchr(at, '"', len - (size_t)(at - from));
		if (!at)
			break;
		rows->quoted = !rows->quoted;
	}
}

static int take_line(struct rows *rows, struct strings *row, const char **why)
{
	const char *from = rows->text.at + rows->start, *end;
	size_t rest = rows->text.len - rows->start, len;

	end = rows->text.len > rows->seen ? memchr(rows->text.at + rows->seen, rows->end,
						   rows->text.len - rows->seen)
					  : NULL;
	if (!end && (!rows->last || rest == 0)) {
		rows->seen = rows->text.len;
		*why = too_long;
		return rest > MOST_OF_ROW ? -1 : 0;
	}
	len = end ? (size_t)(end - from) : rest;
	rows->start += len + (end != NULL);
	rows->seen = rows->start;
	rows->line++;
	if (rows->how == ROWS_LINES) {
		strings_add(row, from, len);
		return 1;
	}
	len -= rows->crlf && len > 0 && from[len - 1] == '\r';
	for (;;) {
		const char *next = memmem(from, len, rows->separator,
					  strlen(rows->separator));
		size_t column = next ? (size_t)(next - from) : len;

		strings_add(row, from, column);
		if (!next)
			return 1;
		from += column + strlen(rows->separator);
		len -= column + strlen(rows->separator);
	}
}

/* The bytes of a column in quotes; after the quote at its end, or NULL: there is none. */
static const char *take_quoted(const char *at, const char *end, struct bytes *to)
{
	for (;;) {
		const char *quote = memchr(at, '"', (size_t)(end - at));

		if (!quote)
			return NULL;
		bytes_add(to, at, (size_t)(quote - at));
		at = quote + 1;
		if (at == end || *at != '"')
			return at;
		bytes_add(to, "\"", 1);
		at++;
	}
}

/* Where the row ends, that begins here; NULL: the text does before. */
static const char *end_of_csv(const char *at, const char *end)
{
	bool quoted = false;

	for (; at < end; at++) {
		if (*at == '"')
			quoted = !quoted;
		else if (*at == '\n' && !quoted)
			return at;
	}
	return NULL;
}

static const char *take_column(const char *at, const char *end, struct strings *row,
			       const char **why)
{
	const char *comma;

	strings_begin(row);
	if (at < end && *at == '"') {
		at = take_quoted(at + 1, end, &row->text);
		*why = !at ? "a quote is not closed"
		       : at < end && *at != ','
			       ? "there is text behind the quotes of a column"
			       : NULL;
	} else {
		comma = memchr(at, ',', (size_t)(end - at));
		comma = comma ? comma : end;
		if (memchr(at, '"', (size_t)(comma - at)))
			*why = "a quote is within a column that is not in quotes";
		bytes_add(&row->text, at, (size_t)(comma - at));
		at = comma;
	}
	strings_end(row);
	return at;
}

/* The line of the last quote, which is the one that is not closed. */
static uint64_t line_of_quote(const struct rows *rows)
{
	const char *at = rows->text.at + rows->start;
	const char *quote = memrchr(at, '"', rows->text.len - rows->start);
	uint64_t line = rows->line;

	for (; quote && at < quote; at++)
		line += *at == '\n';
	return line;
}

static int take_csv(struct rows *rows, struct strings *row, const char **why)
{
	const char *at = rows->text.at + rows->start;
	const char *end = rows->text.at + rows->text.len, *newline, *behind;

	/* What is wrong in the end is told before rows of the same part are taken. */
	if (!rows->last && rows->quoted) {
		*why = too_long;
		return rows->text.len - rows->start > MOST_OF_ROW ? -1 : 0;
	}
	if (rows->last && rows->quoted) {
		rows->line = line_of_quote(rows);
		*why = "a quote is not closed";
		return -1;
	}
	newline = at < end ? end_of_csv(at, end) : NULL;
	if (!newline && (!rows->last || at == end)) {
		*why = too_long;
		return end - at > MOST_OF_ROW ? -1 : 0;
	}
	behind = newline ? newline + 1 : end;
	end = newline ? newline : end;
	end -= end > at && end[-1] == '\r';
	for (;;) {
		*why = NULL;
		at = take_column(at, end, row, why);
		if (*why)
			return -1;
		if (at == end)
			break;
		at++;
	}
	for (at = rows->text.at + rows->start; at < behind; at++)
		rows->line += *at == '\n';
	rows->start = (size_t)(behind - rows->text.at);
	return 1;
}

int rows_take(struct rows *rows, struct strings *row, const char **why)
{
	return rows->how == ROWS_CSV ? take_csv(rows, row, why)
				     : take_line(rows, row, why);
}
