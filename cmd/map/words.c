/* SPDX-License-Identifier: MIT */
/*
 * Words with forms. A form is braces with a column, by number or by the header's name, or
 * nothing, and what is wanted of it: "" all, "." without its extension, "/" its last
 * part, "//" its folder, "/." its last part without extension. All other braces are text.
 */
#include "map/words.h"

#include "command.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ALL_COLUMNS = 0 };
enum cut { CUT_NOTHING, CUT_EXTENSION, CUT_FOLDER, CUT_NAME, CUT_BOTH };

/* Text, or a form. */
struct part {
	const char *text; /* NULL: a form */
	size_t len;
	bool is_number; /* {#} */
	size_t column;	/* from 1, or ALL_COLUMNS */
	enum cut cut;
};

struct word {
	char *text;
	size_t count;
	struct part *parts;
};

/* ---- reading ----------------------------------------------------------------------- */

static const struct {
	const char *text;
	enum cut cut;
} cuts[] = {
	{ "//", CUT_NAME },	{ "/.", CUT_BOTH },  { "/", CUT_FOLDER },
	{ ".", CUT_EXTENSION }, { "", CUT_NOTHING },
};

/* Whether what is in the braces looks like a column, so that a wrong one is a mistake. */
static bool looks_like_name(const char *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)at[i]) && !strchr("_-./", at[i]) &&
		    !(at[i] & 0x80))
			return false;
	return len > 0;
}

static size_t find_column(const struct strings *names, const char *at, size_t len)
{
	for (size_t i = 0; names && i < names->count; i++)
		if (strlen(strings_at(names, i)) == len &&
		    memcmp(strings_at(names, i), at, len) == 0)
			return i + 1;
	return 0;
}

/* A number from 1, or 0. */
static size_t read_column(const char *at, size_t len)
{
	size_t value = 0;

	if (len == 0 || len > 9 || at[0] == '0')
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)at[i]))
			return 0;
		value = 10 * value + (size_t)(at[i] - '0');
	}
	return value;
}

/* The form of what is in the braces; false: it is none. */
static bool read_form(const char *at, size_t len, const struct columns *columns,
		      struct part *part)
{
	if (len == 1 && *at == '#') {
		part->is_number = true;
		return true;
	}
	/* A name may end as a form does. */
	part->column = find_column(columns->names, at, len);
	if (part->column > 0)
		return true;
	for (size_t i = 0; i < sizeof(cuts) / sizeof(*cuts); i++) {
		size_t cut = strlen(cuts[i].text), rest = len - cut;

		if (cut > len || memcmp(at + rest, cuts[i].text, cut) != 0)
			continue;
		part->cut = cuts[i].cut;
		if (rest == 0)
			return true;
		part->column = find_column(columns->names, at, rest);
		if (part->column == 0)
			part->column = read_column(at, rest);
		if (part->column > 0)
			return true;
	}
	return false;
}

static int no_such_column(const char *at, size_t len, const struct columns *columns,
			  const char *what)
{
	struct suggestion nearest = { 0 };
	char name[64];

	snprintf(name, sizeof(name), "%.*s", (int)len, at);
	for (size_t i = 0; columns->names && i < columns->names->count; i++)
		suggest(&nearest, name, strings_at(columns->names, i));
	return complain(USAGE, "map: %s%s{%s}: there is no such column%s%s%s",
			what ? what : "", what ? ": " : "", name,
			nearest.word ? "; did you mean {" : "",
			nearest.word ? nearest.word : "", nearest.word ? "}?" : "");
}

static struct part *add_part(struct word *word)
{
	word->parts = must(
		realloc(word->parts, (word->count + 1) * sizeof(*word->parts)));
	word->parts[word->count] = (struct part){ 0 };
	return &word->parts[word->count++];
}

static void add_text(struct word *word, const char *at, size_t len)
{
	struct part *last = word->count ? &word->parts[word->count - 1] : NULL;

	if (len == 0)
		return;
	if (last && last->text) {
		last->len += len;
		return;
	}
	last = add_part(word);
	last->text = at;
	last->len = len;
}

static void word_free(struct word *word)
{
	free(word->text);
	free(word->parts);
	free(word);
}

int word_parse(struct word **out, const char *text, const struct columns *columns,
	       const char *what)
{
	struct word *word = must(calloc(1, sizeof(*word)));
	const char *at = word->text = must(strdup(text));

	while (*at) {
		size_t len = strcspn(at + 1, "{}");
		struct part part = { 0 };

		if (*at != '{' || at[1 + len] != '}') {
			add_text(word, at, 1 + strcspn(at + 1, "{"));
			at += 1 + strcspn(at + 1, "{");
			continue;
		}
		if (read_form(at + 1, len, columns, &part)) {
			if (columns->count && part.column > columns->count) {
				no_such_column(at + 1, len, columns, what);
				goto free_word;
			}
			*add_part(word) = part;
		} else if (columns->names && looks_like_name(at + 1, len)) {
			no_such_column(at + 1, len, columns, what);
			goto free_word;
		} else {
			add_text(word, at, len + 2);
		}
		at += len + 2;
	}
	*out = word;
	return DONE;

free_word:
	word_free(word);
	return USAGE;
}

bool word_has_form(const struct word *word)
{
	for (size_t i = 0; i < word->count; i++)
		if (!word->parts[i].text && !word->parts[i].is_number)
			return true;
	return false;
}

bool word_is_plain(const struct word *word)
{
	return word->count == 0 || (word->count == 1 && word->parts[0].text);
}

size_t word_last_column(const struct word *word)
{
	size_t last = 0;

	for (size_t i = 0; i < word->count; i++)
		if (word->parts[i].column > last)
			last = word->parts[i].column;
	return last;
}

/* ---- filling ----------------------------------------------------------------------- */

/* Slashes at the end belong to no part. */
static size_t path_len(const char *path)
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		len--;
	return len;
}

static const char *last_part(const char *path, size_t len)
{
	const char *slash = len > 1 ? memrchr(path, '/', len) : NULL;

	return slash ? slash + 1 : path;
}

static void add_folder(struct bytes *to, const char *path)
{
	size_t len = path_len(path);
	const char *slash = memrchr(path, '/', len);

	if (!slash) {
		bytes_add(to, ".", 1);
		return;
	}
	len = (size_t)(slash - path);
	while (len > 0 && path[len - 1] == '/')
		len--;
	bytes_add(to, path, len > 0 ? len : 1);
}

/* Dots that a name begins with are no extension's, nor those of "..". */
static size_t without_extension(const char *name, size_t len)
{
	const char *dot = memrchr(name, '.', len);

	return dot && dot > name + strspn(name, ".") ? (size_t)(dot - name) : len;
}

static void add_cut(struct bytes *to, const char *input, enum cut cut)
{
	size_t len = cut == CUT_NOTHING ? strlen(input) : path_len(input);
	const char *name = last_part(input, len);
	size_t name_len = len - (size_t)(name - input);

	switch (cut) {
	case CUT_NOTHING:
		bytes_add(to, input, len);
		break;
	case CUT_EXTENSION:
		bytes_add(to, input,
			  (size_t)(name - input) + without_extension(name, name_len));
		break;
	case CUT_FOLDER:
		bytes_add(to, name, name_len);
		break;
	case CUT_NAME:
		add_folder(to, input);
		break;
	case CUT_BOTH:
		bytes_add(to, name, without_extension(name, name_len));
		break;
	}
}

static void fill_part(const struct part *part, const struct strings *row, uint64_t number,
		      struct bytes *to)
{
	size_t first = part->column ? part->column - 1 : 0;
	size_t end = part->column ? part->column : row->count;

	if (part->text) {
		bytes_add(to, part->text, part->len);
		return;
	}
	if (part->is_number) {
		bytes_print(to, "%llu", (unsigned long long)number);
		return;
	}
	for (size_t i = first; i < end && i < row->count; i++) {
		if (i > first)
			bytes_add(to, " ", 1);
		add_cut(to, strings_at(row, i), part->cut);
	}
}

void word_fill(const struct word *word, const struct strings *row, uint64_t number,
	       struct strings *out)
{
	const struct part *part = word->parts;

	if (word->count == 1 && !part->text && !part->is_number &&
	    part->column == ALL_COLUMNS) {
		for (size_t i = 0; i < row->count; i++) {
			strings_begin(out);
			add_cut(&out->text, strings_at(row, i), part->cut);
			strings_end(out);
		}
		return;
	}
	strings_begin(out);
	for (size_t i = 0; i < word->count; i++)
		fill_part(&word->parts[i], row, number, &out->text);
	strings_end(out);
}

/* ---- the command ------------------------------------------------------------------- */

static struct {
	struct word **words;
	size_t count;
	bool has_form;
} command;

static const struct columns no_columns = { 0 };

static int add_word(const char *text, bool literal, const struct columns *columns)
{
	struct word *word = NULL;
	int err = DONE;

	if (literal) {
		word = must(calloc(1, sizeof(*word)));
		word->text = must(strdup(text));
		add_text(word, word->text, strlen(text));
	} else {
		err = word_parse(&word, text, columns ? columns : &no_columns, NULL);
	}
	if (err)
		return err;
	command.words[command.count++] = word;
	command.has_form |= word_has_form(word);
	return DONE;
}

int command_parse(int argc, char **argv, bool script, const struct columns *columns)
{
	int err = DONE, first = script;

	command.words = must(calloc((size_t)argc + 4, sizeof(*command.words)));
	if (script) {
		add_word("sh", true, NULL);
		add_word("-c", true, NULL);
		add_word(argv[0], true, NULL);
		add_word("sh", true, NULL);
		/*
		 * What says that a word behind it is its argument, and no option of ours.
		 */
		first += argc > 1 && strcmp(argv[1], "--") == 0;
	}
	for (int i = first; i < argc && err == DONE; i++)
		err = add_word(argv[i], false, columns);
	return err;
}

void command_fill(const struct strings *row, uint64_t number, struct strings *out)
{
	strings_clear(out);
	for (size_t i = 0; i < command.count; i++)
		word_fill(command.words[i], row, number, out);
	for (size_t i = 0; i < row->count && !command.has_form; i++)
		strings_add(out, strings_at(row, i), strlen(strings_at(row, i)));
}

size_t command_count(void)
{
	return command.count;
}

const char *command_plain_word(size_t i)
{
	return word_is_plain(command.words[i]) ? command.words[i]->text : NULL;
}

size_t command_last_column(void)
{
	size_t last = 0;

	for (size_t i = 0; i < command.count; i++) {
		size_t column = word_last_column(command.words[i]);

		last = column > last ? column : last;
	}
	return last;
}

/* ---- programs, and shells ---------------------------------------------------------- */

static int try_program(const char *path)
{
	struct stat stat_of;

	if (stat(path, &stat_of) != 0)
		return errno == EACCES ? -EACCES : -ENOENT;
	return S_ISREG(stat_of.st_mode) && access(path, X_OK) == 0 ? 0 : -EACCES;
}

int find_program(const char *name, char *path, size_t size)
{
	const char *at = getenv("PATH");
	int err = -ENOENT;

	if (strchr(name, '/')) {
		snprintf(path, size, "%s", name);
		return try_program(name);
	}
	for (at = at ? at : "/bin:/usr/bin"; at; at = strchr(at, ':')) {
		size_t len;
		int tried;

		at += *at == ':';
		len = strcspn(at, ":");
		if (snprintf(path, size, "%.*s%s%s", (int)len, at, len ? "/" : "",
			     name) >= (int)size)
			continue;
		tried = try_program(path);
		if (tried == 0)
			return 0;
		if (tried == -EACCES)
			err = -EACCES;
	}
	return err;
}

void add_quoted(struct bytes *to, const char *word)
{
	size_t plain = 0;

	while (isalnum((unsigned char)word[plain]) ||
	       (word[plain] && strchr("_-./,:+@%=", word[plain])))
		plain++;
	/* NAME=value before the program would be an assignment. */
	if (plain > 0 && !word[plain] && !strchr(word, '=')) {
		bytes_add(to, word, plain);
		return;
	}
	bytes_add(to, "'", 1);
	for (; *word; word++)
		if (*word == '\'')
			bytes_add(to, "'\\''", 4);
		else
			bytes_add(to, word, 1);
	bytes_add(to, "'", 1);
}
