/* SPDX-License-Identifier: MIT */
/* One table of options makes the parser, the help, the manual and the completion. */
#include "command.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <tine.h>
#include <unistd.h>

enum { MOST_OPTIONS = 32, HELP = 1000, VERSION, LIST = 128, COLUMNS = 80, TEXT = 31 };

int complain(int code, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "tine: ");
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return code;
}

void print_json_string(const char *text)
{
	putchar('"');
	for (const unsigned char *at = (const unsigned char *)text; *at; at++)
		if (*at == '"' || *at == '\\')
			printf("\\%c", *at);
		else if (*at < 0x20 || *at > 0x7e)
			printf("\\u%04x", *at);
		else
			putchar(*at);
	putchar('"');
}

int lose_output(const char *command)
{
	/* Where SIGPIPE is ignored: who closed the pipe knows. */
	if (errno == EPIPE)
		return BROKEN;
	return complain(BROKEN, "%s%sstandard output: %s", command ? command : "",
			command ? ": " : "", strerror(errno));
}

int write_all(int fd, const char *at, size_t len)
{
	while (len > 0) {
		ssize_t done = write(fd, at, len);

		if (done < 0 && errno != EINTR)
			return -errno;
		at += done > 0 ? done : 0;
		len -= done > 0 ? (size_t)done : 0;
	}
	return 0;
}

const char *compare_speed(double ratio, char *buf, size_t size)
{
	if (ratio >= 0.995 || ratio <= 0)
		snprintf(buf, size, "%.2f times as fast as", ratio);
	else
		snprintf(buf, size, "%.2f times as slow as", 1 / ratio);
	return buf;
}

bool machine_is_busy(double *load)
{
	if (getloadavg(load, 1) != 1)
		*load = -1;
	return *load > 0.5 * (double)sysconf(_SC_NPROCESSORS_ONLN);
}

/* Whether what follows the option is a value of it. */
static bool has_value(const struct option_row *row)
{
	return row->argument || row->choices;
}

/* The choices with what stands between them: between all of them, and the last two. */
static const char *join(const char *const *choices, const char *between, const char *last,
			char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (const char *const *each = choices; *each; each++) {
		const char *before = each == choices ? "" : each[1] ? between : last;

		len += (size_t)snprintf(buf + len, size - len, "%s%s", before, *each);
		if (len >= size)
			break;
	}
	return buf;
}

static int count_rows(const struct command *command)
{
	int n = 0;

	while (command->options[n].name)
		n++;
	return n;
}

/* What getopt_long wants. Values from 0 on are rows. */
static void make_tables(const struct command *command, struct option *longs, char *shorts)
{
	int n = count_rows(command);

	if (command->operands_end_options)
		*shorts++ = '+';
	*shorts++ = ':';
	for (int i = 0; i < n; i++) {
		const struct option_row *row = &command->options[i];

		longs[i] = (struct option){ row->name, has_value(row), NULL, i };
		if (!row->letter)
			continue;
		*shorts++ = row->letter;
		if (has_value(row))
			*shorts++ = ':';
	}
	*shorts++ = 'h';
	*shorts = '\0';
	longs[n] = (struct option){ "help", 0, NULL, HELP };
	longs[n + 1] = (struct option){ "version", 0, NULL, VERSION };
	longs[n + 2] = (struct option){ 0 };
}

static const struct option_row *row_of(const struct command *command, int value)
{
	int n = count_rows(command);

	if (value < n)
		return &command->options[value];
	for (int i = 0; i < n; i++)
		if (command->options[i].letter == value)
			return &command->options[i];
	return NULL;
}

static bool choose(const char *const *choices, const char *text, void *into)
{
	for (int i = 0; choices[i]; i++)
		if (strcmp(choices[i], text) == 0) {
			*(int *)into = i;
			return true;
		}
	return false;
}

static int take(const struct command *command, const struct option_row *row,
		const char *text)
{
	char list[LIST];

	if (!has_value(row)) {
		*(bool *)row->into = true;
		return DONE;
	}
	if (row->choices ? choose(row->choices, text, row->into)
			 : row->read(text, row->into))
		return DONE;
	return complain(USAGE, "%s: --%s must be %s, not '%s'", command->name, row->name,
			row->choices ? join(row->choices, ", ", " or ", list, LIST)
				     : row->wants,
			text);
}

static int take_operands(const struct command *command, int argc, char **argv)
{
	const struct operand_row *row = command->operand_rows;
	char list[LIST];
	int i = 0;

	if (command->operands)
		return DONE;
	for (; row && row->name && !(row->optional && i == argc); row++, i++) {
		if (i == argc)
			return complain(USAGE, "%s: %s is missing; try 'tine help %s'",
					command->name, row->name, command->name);
		if (row->choices ? !choose(row->choices, argv[i], row->into)
				 : !row->read(argv[i], row->into))
			return complain(USAGE, "%s: %s must be %s, not '%s'",
					command->name, row->name,
					row->choices ? join(row->choices, ", ", " or ",
							    list, LIST)
						     : row->wants,
					argv[i]);
	}
	if (i == argc)
		return DONE;
	return complain(USAGE, "%s: unexpected operand '%s': it takes %s operands",
			command->name, argv[i], i == 0 ? "no" : "no more");
}

/* The word that the last option was in: getopt_long() takes a beginning for a name. */
static const char *last_word(char **argv)
{
	return optarg && optarg == argv[optind - 1] ? argv[optind - 2] : argv[optind - 1];
}

static bool is_whole(const struct option *longs, int value, const char *word)
{
	while (longs->name && longs->val != value)
		longs++;
	return !longs->name || (strncmp(word, "--", 2) == 0 &&
				strcspn(word + 2, "=") == strlen(longs->name));
}

static int no_such_option(const struct command *command, const struct option *longs,
			  const char *word)
{
	struct suggestion nearest = { 0 };
	char name[64];

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, "="), word);
	for (; longs->name && strncmp(name, "--", 2) == 0; longs++)
		suggest(&nearest, name + 2, longs->name);
	if (nearest.word)
		return complain(USAGE, "%s: no option '%s'; did you mean '--%s'?",
				command->name, word, nearest.word);
	return complain(USAGE, "%s: no option '%s'; try 'tine help %s'", command->name,
			word, command->name);
}

/* Unless the workers are said otherwise. */
static void warn_of_workers(const struct command *command)
{
	const char *given = getenv("TINE_WORKERS");
	const struct option_row *row = command->options;
	char *end;
	unsigned long n;

	while (row->name && row->read != read_workers)
		row++;
	if (!given || !row->name || *(unsigned *)row->into != 0)
		return;
	n = strtoul(given, &end, 10);
	if (strcmp(given, "0") == 0)
		return;
	if (!isdigit((unsigned char)*given) || *end || n == 0)
		complain(DONE,
			 "%s: TINE_WORKERS is '%s', not a number from 1 to 1024, and is "
			 "ignored",
			 command->name, given);
	else if (n > 1024)
		complain(DONE, "%s: TINE_WORKERS is %s: 1024 is used", command->name,
			 given);
}

int options_parse(const struct command *command, int argc, char **argv, int *first)
{
	struct option longs[MOST_OPTIONS + 3];
	char shorts[2 * MOST_OPTIONS + 5];
	int value, err;

	make_tables(command, longs, shorts);
	opterr = 0;
	/* Anew, whatever was parsed before. */
	optind = 0;
	while ((value = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (value != '?' && value != ':' &&
		    !is_whole(longs, value, last_word(argv)))
			return no_such_option(command, longs, last_word(argv));
		if (value == 'h' || value == HELP) {
			print_help(command, stdout);
			return -1;
		}
		if (value == VERSION) {
			printf("tine %s\n", tine_version());
			return -1;
		}
		if (value == ':')
			return complain(USAGE, "%s: '%s' needs a value", command->name,
					argv[optind - 1]);
		if (value == '?' && optopt && !row_of(command, optopt))
			return complain(USAGE, "%s: no option '-%c'; try 'tine help %s'",
					command->name, optopt, command->name);
		if (value == '?')
			return no_such_option(command, longs, argv[optind - 1]);
		err = take(command, row_of(command, value), optarg);
		if (err)
			return err;
	}
	*first = optind;
	err = take_operands(command, argc - optind, argv + optind);
	if (err == DONE)
		warn_of_workers(command);
	return err;
}

/* ---- what is printed --------------------------------------------------------------- */

/* What follows the option: " WORKERS", " queue|map|serial", or nothing. */
static const char *value_of(const struct option_row *row, char *buf, size_t size)
{
	char list[LIST];

	snprintf(buf, size, "%s%s", has_value(row) ? " " : "",
		 row->choices	 ? join(row->choices, "|", "|", list, sizeof(list))
		 : row->argument ? row->argument
				 : "");
	return buf;
}

/* A word of a line that is so long already, or of the next, after the indent. */
static int print_word(const char *word, int len, int at, int indent, FILE *out)
{
	if (at > indent && at + 1 + len > COLUMNS)
		at = fprintf(out, "\n%*s", indent, "") - 1;
	else if (at > indent)
		at += fprintf(out, " ");
	return at + fprintf(out, "%.*s", len, word);
}

void print_wrapped(const char *text, int indent, FILE *out)
{
	int at = indent;

	while (*text) {
		int len = (int)strcspn(text, " ");

		at = print_word(text, len, at, indent, out);
		text += len;
		text += *text == ' ';
	}
	fputc('\n', out);
}

static void print_operand_names(const struct command *command, FILE *out)
{
	if (command->operands)
		fprintf(out, " %s", command->operands);
	for (const struct operand_row *row = command->operand_rows; row && row->name;
	     row++)
		fprintf(out, row->optional ? " [%s]" : " %s", row->name);
	fputc('\n', out);
}

static void print_usage(const struct command *command, FILE *out)
{
	char value[LIST], word[2 * LIST];
	int indent = (int)strlen("usage: tine ") + (int)strlen(command->name);
	int at = indent + 1;

	fprintf(out, "usage: tine %s", command->name);
	for (const struct option_row *row = command->options; row->name; row++) {
		value_of(row, value, sizeof(value));
		if (row->letter)
			snprintf(word, sizeof(word), "[-%c%s]", row->letter, value);
		else
			snprintf(word, sizeof(word), "[--%s%s]", row->name, value);
		at = print_word(word, (int)strlen(word), at, indent, out);
	}
	if (command->operands)
		at = print_word(command->operands, (int)strlen(command->operands), at,
				indent, out);
	for (const struct operand_row *row = command->operand_rows; row && row->name;
	     row++) {
		snprintf(word, sizeof(word), row->optional ? "[%s]" : "%s", row->name);
		at = print_word(word, (int)strlen(word), at, indent, out);
	}
	fputc('\n', out);
}

static void print_help_row(const struct option_row *row, FILE *out)
{
	char value[LIST], head[2 * LIST];

	snprintf(head, sizeof(head), "%c%c%s --%s%s", row->letter ? '-' : ' ',
		 row->letter ? row->letter : ' ', row->letter ? "," : " ", row->name,
		 value_of(row, value, sizeof(value)));
	fprintf(out, "  %-28s ", head);
	/* A head that is too long has a line of its own. */
	if (strlen(head) > 28)
		fprintf(out, "\n%*s", TEXT, "");
	print_wrapped(row->text, TEXT, out);
}

static const struct option_row help_row = { .name = "help",
					    .letter = 'h',
					    .text = "Show this help." };
static const struct option_row version_row = { .name = "version",
					       .text = "Show the version of tine." };

void print_help(const struct command *command, FILE *out)
{
	if (!command) {
		fprintf(out, "tine: process parallelism for C, at the command line\n\n"
			     "usage: tine COMMAND [OPTION]...\n\n");
		for (const struct command *const *each = commands; *each; each++)
			fprintf(out, "  %-10s %s\n", (*each)->name, (*each)->summary);
		fprintf(out, "  %-10s %s\n", "help",
			"show this help, or the options of a command");
		fprintf(out, "\n'tine COMMAND --help' shows the options of a command, "
			     "'tine --version' the\nversion.\n\nexample: tine pi -n 1e8 "
			     "--compare\n");
		return;
	}
	fprintf(out, "%s\n\n", command->summary);
	print_usage(command, out);
	fputc('\n', out);
	for (const struct operand_row *row = command->operand_rows; row && row->name;
	     row++) {
		fprintf(out, "  %-28s ", row->name);
		print_wrapped(row->text, TEXT, out);
	}
	for (const struct option_row *row = command->options; row->name; row++)
		print_help_row(row, out);
	print_help_row(&help_row, out);
	print_help_row(&version_row, out);
	fprintf(out, "\nexample: %s\n", command->example);
}

static void print_manual_head(const char *name, const char *summary, FILE *out)
{
	char title[64];

	snprintf(title, sizeof(title), "%s", name);
	for (char *at = title; *at; at++)
		*at = (char)toupper((unsigned char)*at);
	fprintf(out,
		".\\\" Made from the table of options.\n.Dd November 24, 2026\n.Dt %s "
		"1\n.Os\n"
		".Sh NAME\n.Nm %s\n.Nd %s\n",
		title, name, summary);
}

/* mdoc wants each sentence on a line of its own. */
static void print_sentences(const char *text, FILE *out)
{
	for (; *text; text++)
		fputc(*text == ' ' && text[-1] == '.' ? '\n' : *text, out);
	fputc('\n', out);
}

static void print_manual_options(const struct command *command, FILE *out)
{
	char list[LIST];

	fprintf(out, ".Bl -tag -width Ds\n");
	for (const struct operand_row *row = command->operand_rows; row && row->name;
	     row++) {
		fprintf(out, ".It Ar %s\n", row->name);
		print_sentences(row->text, out);
		fprintf(out, "It is %s.\n",
			row->choices ? join(row->choices, ", ", " or ", list, LIST)
				     : row->wants);
	}
	for (const struct option_row *row = command->options; row->name; row++) {
		fprintf(out, ".It ");
		if (row->letter)
			fprintf(out, "Fl %c , ", row->letter);
		fprintf(out, "Fl \\-%s", row->name);
		if (row->argument)
			fprintf(out, " Ar %s", row->argument);
		if (row->choices)
			fprintf(out, " Cm %s",
				join(row->choices, " | ", " | ", list, LIST));
		fputc('\n', out);
		print_sentences(row->text, out);
		if (row->wants)
			fprintf(out, "The value is %s.\n", row->wants);
	}
	fprintf(out, ".It Fl h , Fl \\-help\nShow the options and exit.\n"
		     ".It Fl \\-version\nShow the version of tine and exit.\n.El\n");
}

static void print_manual_exit(FILE *out)
{
	fprintf(out,
		".Sh EXIT STATUS\n.Bl -tag -width Ds\n"
		".It 0\nSuccess.\n.It 1\nA job failed.\n.It 2\nWrong usage.\n"
		".It 3\nThe command itself failed: no memory, no processes, a full "
		"disk.\n"
		".El\n.Pp\nA signal that ends the command ends all its processes.\n"
		"The shell sees 128 and the number of the signal: 130 after Ctrl-C.\n"
		"If standard output is a pipe without a reader, the command ends\n"
		"without a message.\n");
}

static void print_manual_of_tine(FILE *out)
{
	print_manual_head("tine", "process parallelism for C, at the command line", out);
	fprintf(out, ".Sh SYNOPSIS\n.Nm\n.Ar command\n.Op Ar option ...\n.Nm\n.Cm help\n"
		     ".Op Ar command\n.Nm\n.Fl \\-version\n.Sh DESCRIPTION\n.Nm\n"
		     "runs programs that use the tine library.\nEach "
		     "command has a\n"
		     "manual page of its own.\n.Bl -tag -width Ds\n");
	for (const struct command *const *each = commands; *each; each++)
		fprintf(out, ".It Cm %s\n%s.\nSee\n.Xr tine-%s 1 .\n", (*each)->name,
			(*each)->summary, (*each)->name);
	fprintf(out, ".It Cm help Op Ar command\nShow the commands, or the options of "
		     "a command.\n.El\n"
		     ".Pp\nResults go to standard output.\nProgress goes to standard "
		     "error, and\n"
		     "only to a terminal.\n"
		     ".Sh ENVIRONMENT\n.Bl -tag -width TINE_WORKERS\n"
		     ".It Ev TINE_WORKERS\nThe default number of workers, see\n"
		     ".Xr tine_cpus 3 .\n"
		     ".It Ev TINE_CACHE\nThe default folder of the cache, see\n"
		     ".Xr tine_cache_open 3 .\n"
		     ".It Ev TINE_ISA\nThe widest instruction set that random numbers "
		     "and trial\ndivision may use, see\n"
		     ".Xr tine_rng 3 .\n"
		     ".It Ev TINE_TRACE\nA file for a trace of all processes, see\n"
		     ".Xr tine-trace 7 .\n.El\n");
	print_manual_exit(out);
	fprintf(out, ".Sh SEE ALSO\n");
	for (const struct command *const *each = commands; *each; each++)
		fprintf(out, ".Xr tine-%s 1 ,\n", (*each)->name);
	fprintf(out, ".Xr tine 7\n");
}

void print_manual(const struct command *command, FILE *out)
{
	char name[64];

	if (!command) {
		print_manual_of_tine(out);
		return;
	}
	snprintf(name, sizeof(name), "tine-%s", command->name);
	print_manual_head(name, command->summary, out);
	fprintf(out, ".Sh SYNOPSIS\n.Nm tine %s\n.Op Ar option ...\n", command->name);
	if (command->operands || command->operand_rows) {
		fprintf(out, ".Ar");
		print_operand_names(command, out);
	}
	fprintf(out, ".Sh DESCRIPTION\n%s", command->description);
	print_manual_options(command, out);
	print_manual_exit(out);
	fprintf(out, ".Sh EXAMPLES\n.Dl %s\n.Sh SEE ALSO\n.Xr tine 1 ,\n.Xr tine 7\n",
		command->example);
}

/* Values of options, by command and option; where there are none, files. */
static void print_completion_values(FILE *out)
{
	char list[LIST];

	fprintf(out, "\tcase \"${COMP_WORDS[1]} ${COMP_WORDS[COMP_CWORD - 1]}\" in\n");
	for (const struct command *const *each = commands; *each; each++)
		for (const struct option_row *row = (*each)->options; row->name; row++) {
			bool told = (*each)->values_of &&
				    strcmp((*each)->values_of, row->name) == 0;

			if (!has_value(row))
				continue;
			fprintf(out, "\t\"%s --%s\"", (*each)->name, row->name);
			if (row->letter)
				fprintf(out, " | \"%s -%c\"", (*each)->name, row->letter);
			fprintf(out, ") words=\"%s\" ;;\n",
				row->choices ? join(row->choices, " ", " ", list, LIST)
				: told	     ? (*each)->values
					     : "");
		}
	fprintf(out, "\tesac\n");
}

void print_completion(FILE *out)
{
	char list[LIST];

	fprintf(out, "# bash completion for tine: made from the table of options\n"
		     "_tine()\n{\n"
		     "\tlocal word=\"${COMP_WORDS[COMP_CWORD]}\" words=\n\n"
		     "\tif [ \"$COMP_CWORD\" -eq 1 ] || "
		     "[ \"$COMP_CWORD\" -eq 2 -a \"${COMP_WORDS[1]}\" = help ]; then\n"
		     "\t\twords=\"");
	for (const struct command *const *each = commands; *each; each++)
		fprintf(out, "%s ", (*each)->name);
	fprintf(out,
		"help --version --help\"\n\telse\n\t\tcase \"${COMP_WORDS[1]}\" in\n");
	for (const struct command *const *each = commands; *each; each++) {
		fprintf(out, "\t\t%s) words=\"", (*each)->name);
		for (const struct operand_row *row = (*each)->operand_rows;
		     row && row->name; row++)
			if (row->choices)
				fprintf(out, "%s ",
					join(row->choices, " ", " ", list, LIST));
		for (const struct option_row *row = (*each)->options; row->name; row++)
			fprintf(out, "--%s ", row->name);
		if ((*each)->operand_words)
			fprintf(out, "%s ", (*each)->operand_words);
		fprintf(out, "--help --version\" ;;\n");
	}
	fprintf(out, "\t\tesac\n\tfi\n");
	print_completion_values(out);
	fprintf(out, "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n}\n"
		     "complete -o default -F _tine tine\n");
}
