/* SPDX-License-Identifier: MIT */
/*
 * Rows of standard input, or of lists behind ":::", of which all combinations are rows.
 * They are read as they are needed, a part of 64 KiB at a time. A regular file is read
 * twice: at first to count its rows and to find what is wrong with it.
 */
#include "map/input.h"

#include "map/map.h"
#include "map/polls.h"
#include "map/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PART = 64 << 10 };

static struct {
	struct list {
		char **first;
		size_t count, at;
	} * lists; /* NULL: standard input */
	size_t list_count;
	bool ended;

	struct rows rows;
	bool regular;
	struct strings header, row;
	bool has_header;
	size_t last_column; /* that is used */

	uint64_t total;
	bool total_known;
	int code;
} input;

/* ---- lists ------------------------------------------------------------------------- */

static void open_lists(char **at)
{
	input.total = 1;
	input.total_known = true;
	while (*at) {
		struct list list = { at + 1, 0, 0 };

		for (at++; *at && strcmp(*at, ":::") != 0; at++)
			list.count++;
		input.lists = must(realloc(input.lists, (input.list_count + 1) *
								sizeof(*input.lists)));
		input.lists[input.list_count++] = list;
		if (__builtin_mul_overflow(input.total, list.count, &input.total))
			input.total_known = false;
		input.ended |= list.count == 0;
	}
}

/* The last varies fastest. */
static enum next next_of_lists(struct strings *row)
{
	size_t i = input.list_count;

	if (input.ended)
		return NEXT_END;
	for (size_t k = 0; k < input.list_count; k++) {
		const char *word = input.lists[k].first[input.lists[k].at];

		strings_add(row, word, strlen(word));
	}
	while (i > 0 && ++input.lists[i - 1].at == input.lists[i - 1].count)
		input.lists[--i].at = 0;
	input.ended = i == 0;
	return NEXT_ROW;
}

/* ---- standard input ---------------------------------------------------------------- */

static void fail(int code, const char *fmt, const char *what)
{
	input.code = complain(code, fmt, (unsigned long long)input.rows.line, what);
	input.ended = true;
}

/* A name that ended there would be another. */
static void look_for_nul(const char *part, size_t len)
{
	if (input.rows.end == '\0' || !memchr(part, '\0', len))
		return;
	for (const char *at = memchr(part, '\0', len); at > part; at--)
		input.rows.line += at[-1] == '\n';
	for (size_t i = input.rows.start; i < input.rows.text.len; i++)
		input.rows.line += input.rows.text.at[i] == '\n';
	fail(USAGE, "map: line %llu of the input has a NUL byte%s",
	     input.rows.how == ROWS_LINES ? "; --null is for names that end in one" : "");
}

void input_read(void)
{
	char part[PART];
	ssize_t len = read(STDIN_FILENO, part, sizeof(part));

	if (len < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (len < 0) {
		input.code = complain(BROKEN, "map: standard input: %s", strerror(errno));
		input.ended = true;
		return;
	}
	if (len == 0)
		input.rows.last = true;
	look_for_nul(part, (size_t)len);
	rows_add(&input.rows, part, (size_t)len);
}

void input_wait(void)
{
	struct pollfd there = { .fd = STDIN_FILENO, .events = POLLIN };

	/* Bound: it is for the user to end, and nothing runs. */
	poll(&there, 1, -1);
	input_read();
}

/* Whether it is one that a table has only by oversight, at its end. */
static bool is_blank(const struct strings *row)
{
	return row->count == 1 && *strings_at(row, 0) == '\0';
}

static void check_row(const struct strings *row)
{
	char text[128];

	if (input.has_header && row->count != input.header.count) {
		snprintf(text, sizeof(text), "%zu column%s, the header %zu", row->count,
			 row->count == 1 ? "" : "s", input.header.count);
		input.rows.line--;
		fail(USAGE, "map: line %llu of the input has %s", text);
	} else if (row->count < input.last_column && !input.lists) {
		snprintf(text, sizeof(text), "%zu column%s, and there is a {%zu}",
			 row->count, row->count == 1 ? "" : "s", input.last_column);
		input.rows.line--;
		fail(USAGE, "map: line %llu of the input has %s", text);
	}
}

static enum next next_of_rows(struct strings *row)
{
	size_t before = row->count;
	const char *why = NULL;
	int taken;

	for (;;) {
		if (input.ended)
			return NEXT_END;
		taken = rows_take(&input.rows, row, &why);
		if (taken < 0) {
			fail(USAGE, "map: line %llu of the input: %s", why);
			return NEXT_END;
		}
		if (taken == 0 && input.rows.last) {
			input.ended = true;
			return NEXT_END;
		}
		if (taken == 0 && !input.regular)
			return NEXT_LATER;
		if (taken == 0) {
			input_read();
			continue;
		}
		if (!input.has_header || input.header.count == 1 || !is_blank(row))
			break;
		strings_clear(row);
	}
	/* With several a job they are counted together. */
	if (map_options.columns && before == 0)
		check_row(row);
	return input.code == DONE ? NEXT_ROW : NEXT_END;
}

static int read_header(void)
{
	static const char mark[] = "\xef\xbb\xbf"; /* of UTF-8, by some programs */
	struct strings *header = &input.header;
	enum next next;

	while ((next = next_of_rows(&input.row)) == NEXT_LATER)
		input_wait();
	for (size_t i = 0; next == NEXT_ROW && i < input.row.count; i++) {
		const char *name = strings_at(&input.row, i);

		if (i == 0 && strncmp(name, mark, strlen(mark)) == 0)
			name += strlen(mark);
		for (size_t k = 0; k < header->count; k++)
			if (strcmp(strings_at(header, k), name) == 0)
				return complain(USAGE,
						"map: the header has two columns "
						"'%s'",
						name);
		strings_add(header, name, strlen(name));
	}
	strings_clear(&input.row);
	input.has_header = true;
	return input.code;
}

static int open_rows(void)
{
	const char *how = map_options.columns;
	struct stat stat_of;
	bool has_header;
	int again;

	input.rows.line = 1;
	input.rows.end = map_options.null ? '\0' : '\n';
	input.rows.how = ROWS_LINES;
	if (how) {
		input.rows.how = strcmp(how, "csv") == 0 ? ROWS_CSV : ROWS_SPLIT;
		input.rows.crlf = strcmp(how, "tsv") == 0;
		input.rows.separator = strcmp(how, "tsv") == 0 ? "\t" : how;
	}
	/* Another command may read the same pipe. */
	again = open_pipe_again(STDIN_FILENO, O_RDONLY);
	if (again >= 0) {
		dup2(again, STDIN_FILENO);
		close(again);
	}
	input.regular = fstat(STDIN_FILENO, &stat_of) == 0 && S_ISREG(stat_of.st_mode);
	has_header = how && (strcmp(how, "csv") == 0 || strcmp(how, "tsv") == 0);
	return has_header ? read_header() : DONE;
}

/* ---- both -------------------------------------------------------------------------- */

int input_open(char **lists)
{
	if (!lists)
		return open_rows();
	open_lists(lists);
	return DONE;
}

void input_columns(struct columns *columns)
{
	/* Where there is no header, there are no rows. */
	columns->names = input.header.count ? &input.header : NULL;
	columns->count = input.lists	       ? input.list_count
			 : input.has_header    ? input.header.count
			 : map_options.columns ? 0
					       : 1;
	if (map_options.per_job > 1 && !map_options.columns && columns->count == 1)
		columns->count = (size_t)map_options.per_job;
}

/* Goes on with the rows as they are now when all have been looked at. */
static int look_at_all(void)
{
	struct rows rows = input.rows;
	struct strings row = { 0 };
	off_t at = lseek(STDIN_FILENO, 0, SEEK_CUR);

	if (at < 0)
		return DONE;
	input.rows.text = (struct bytes){ 0 };
	bytes_add(&input.rows.text, rows.text.at ? rows.text.at : "", rows.text.len);
	while (input_next(&row) == NEXT_ROW)
		input.total++;
	free(input.rows.text.at);
	input.rows = rows;
	strings_free(&row);
	if (input.code)
		return input.code;
	input.total_known = true;
	input.ended = false;
	return lseek(STDIN_FILENO, at, SEEK_SET) < 0 ? complain(BROKEN,
								"map: standard "
								"input: %s",
								strerror(errno))
						     : DONE;
}

int input_check(size_t last_column)
{
	input.last_column = last_column;
	if (input.lists) {
		uint64_t each = map_options.per_job;

		input.total = (input.total + each - 1) / each;
		return DONE;
	}
	return input.regular ? look_at_all() : DONE;
}

bool input_total(uint64_t *total)
{
	*total = input.total;
	return input.total_known;
}

enum next input_next(struct strings *row)
{
	/* A part of a job's inputs stays here until the rest has come. */
	while (input.row.count < map_options.per_job) {
		enum next next = input.lists ? next_of_lists(&input.row)
					     : next_of_rows(&input.row);

		if (next == NEXT_LATER ||
		    (next == NEXT_END && (input.row.count == 0 || input.code)))
			return next;
		if (next == NEXT_END)
			break;
	}
	strings_swap(row, &input.row);
	strings_clear(&input.row);
	return NEXT_ROW;
}

int input_code(void)
{
	return input.code;
}
