/* SPDX-License-Identifier: MIT */
/* tine map: its options and operands, and what has to be right before a start. */
#include "map/map.h"

#include "map/input.h"
#include "map/job.h"
#include "map/keep.h"
#include "map/loop.h"
#include "map/show.h"
#include "map/sink.h"
#include "map/words.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct map_options map_options = { .per_job = 1, .seed.value = 1 };

/* ---- values of options ------------------------------------------------------------- */

static bool read_some(const char *text, void *into)
{
	return *text && read_text(text, into);
}

static bool read_map_seed(const char *text, void *into)
{
	struct map_seed *seed = into;

	seed->given = true;
	return read_seed(text, &seed->value);
}

/* "1.5", of seconds: into nanoseconds. */
static bool read_seconds(const char *text, void *into)
{
	char *end;
	double value;

	if (!isdigit((unsigned char)*text) && *text != '.')
		return false;
	value = strtod(text, &end);
	if (*end || end == text || !(value >= 0.001) || value > 1e9)
		return false;
	*(int64_t *)into = (int64_t)(value * 1e9);
	return true;
}

/* "64M": bytes, or K, M, G of 1024. */
static bool read_size(const char *text, void *into)
{
	static const char units[] = "KMG";
	size_t len = strlen(text);
	const char *unit = len ? strchr(units, toupper((unsigned char)text[len - 1]))
			       : NULL;
	uint64_t value;
	char digits[32];

	if (len == 0 || len >= sizeof(digits))
		return false;
	memcpy(digits, text, len + 1);
	if (unit)
		digits[len - 1] = '\0';
	if (!read_positive(digits, &value))
		return false;
	for (long i = unit ? unit - units + 1 : 0; i > 0; i--)
		if (__builtin_mul_overflow(value, 1024, &value))
			return false;
	*(uint64_t *)into = value;
	return true;
}

/* One more, each time that the option comes. */
static bool read_more(const char *text, void *into)
{
	if (*text)
		strings_add(into, text, strlen(text));
	return *text;
}

static const char *const untils[] = { "end", "success", "failure", NULL };
static const char *const outputs[] = { "order", "done", "lines", NULL };

static const struct option_row rows[] = {
	{ "null", '0', NULL, NULL, &map_options.null, NULL,
	  "Inputs on standard input end in NUL, not in a newline.", NULL },
	{ "columns", 0, "HOW", read_some, &map_options.columns,
	  "csv, tsv, or any other text, which separates columns",
	  "Each line of standard input is a row of columns. csv and tsv begin with a "
	  "header, whose names are forms.",
	  NULL },
	{ "per-job", 'n', "N", read_positive, &map_options.per_job,
	  "a whole number from 1", "How many inputs a job has. Default: 1.", NULL },
	{ "script", 'c', NULL, NULL, &map_options.script, NULL,
	  "COMMAND is a script for sh, and the inputs are its arguments, $1 and so on.",
	  NULL },
	{ "workers", 'j', "N", read_workers, &map_options.workers,
	  "a whole number from 1 to 1024",
	  "How many jobs run at a time. Default: as many as there are processors.",
	  NULL },
	{ "until", 0, NULL, NULL, &map_options.until, NULL,
	  "End with the first success, or the first failure; jobs that run then are "
	  "ended. Default: end.",
	  untils },
	{ "retries", 0, "N", read_count, &map_options.retries, "a whole number",
	  "How often a job that fails is run again, after a pause of a second, which "
	  "doubles. Default: 0.",
	  NULL },
	{ "timeout", 0, "SECONDS", read_seconds, &map_options.timeout,
	  "a number of seconds from 0.001",
	  "End a job that runs longer. Default: no limit.", NULL },
	{ "memory", 0, "SIZE", read_size, &map_options.memory,
	  "a number of bytes, or of K, M or G",
	  "End a job whose processes together use more memory. Default: no limit.",
	  NULL },
	{ "memfree", 0, "SIZE", read_size, &map_options.memfree,
	  "a number of bytes, or of K, M or G",
	  "Start no job while less memory is available and another job runs. Default: no "
	  "limit.",
	  NULL },
	{ "seed", 's', "SEED", read_map_seed, &map_options.seed,
	  "a whole number below 2^64, decimal or 0x and hexadecimal",
	  "The seed of all jobs' TINE_SEED. Default: 1.", NULL },
	{ "output", 'o', NULL, NULL, &map_options.output, NULL,
	  "Print the output of jobs in the order of inputs, each as it is done, or lines "
	  "as they come, behind the input. Default: order.",
	  outputs },
	{ "results", 0, "DIR", read_some, &map_options.results, "the path of a folder",
	  "Also write the output of job 1 to DIR/000001/stdout and stderr, and so on.",
	  NULL },
	{ "log", 0, "FILE", read_some, &map_options.log, "the path of a file",
	  "Append a JSON object to this file for each attempt, as it ends.", NULL },
	{ "trace", 0, "FILE", read_text, &map_options.trace, "the path of a file",
	  "Write a trace of all attempts to this file, a lane a slot, see tine-trace(7).",
	  NULL },
	{ "dry-run", 0, NULL, NULL, &map_options.dry_run, NULL,
	  "Print the commands, quoted for a shell, and run none. Behind those with a "
	  "kept "
	  "result is '# kept'.",
	  NULL },
	{ "once", 0, NULL, NULL, &map_options.once, NULL,
	  "Keep the results of jobs in the default cache, and run no job whose result is "
	  "there.",
	  NULL },
	{ "cache", 0, "DIR", read_some, &map_options.cache, "the path of a folder",
	  "The same, in this folder.", NULL },
	{ "longest-first", 0, NULL, NULL, &map_options.longest_first, NULL,
	  "Start the jobs first that took longest before, as --once or --cache "
	  "remember it.",
	  NULL },
	{ "in", 0, "FILE", read_more, &map_options.inputs, "the path of a file",
	  "A file that a job reads, besides those that its command names. May have "
	  "forms, "
	  "and may come more than once.",
	  NULL },
	{ "out", 0, "FILE", read_more, &map_options.outputs, "the path of a file",
	  "A file that a job makes. May have forms, and may come more than once.", NULL },
	{ "env", 0, "NAME", read_more, &map_options.variables, "the name of a variable",
	  "A variable of the environment that results depend on. May come more than "
	  "once.",
	  NULL },
	{ 0 },
};

/* ---- before the first job ---------------------------------------------------------- */

/* Behind a script there are its arguments, where an option would be easily meant. */
static int check_operands(int argc, char **argv)
{
	if (argc == 0 || strcmp(argv[0], ":::") == 0)
		return complain(USAGE, "map: COMMAND is missing; try 'tine help map'");
	for (int i = 1; map_options.script && i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--") == 0)
			break;
		for (const struct option_row *row = rows; row->name; row++)
			if ((row->letter && argv[i][1] == row->letter) ||
			    (strncmp(argv[i], "--", 2) == 0 &&
			     strcmp(argv[i] + 2, row->name) == 0))
				return complain(USAGE,
						"map: '%s' is after the script, "
						"whose argument it would be; '--' in "
						"between says that it is",
						argv[i]);
	}
	return DONE;
}

static int check_options(void)
{
	bool table = map_options.columns && (strcmp(map_options.columns, "csv") == 0 ||
					     strcmp(map_options.columns, "tsv") == 0);

	if (map_options.per_job > 1 && map_options.columns)
		return complain(USAGE, "map: --per-job and --columns exclude each other");
	if (map_options.null && table)
		return complain(USAGE, "map: --null and --columns %s exclude each other",
				map_options.columns);
	if (!keep_is_on() && map_options.inputs.count + map_options.outputs.count +
				     map_options.variables.count)
		return complain(USAGE,
				"map: --in, --out and --env need --once or --cache");
	if (!keep_is_on() && map_options.longest_first)
		return complain(USAGE, "map: --longest-first needs --once or --cache");
	if (map_options.retries > 1000)
		return complain(USAGE, "map: --retries must be at most 1000");
	return DONE;
}

static int check_lists(char **lists)
{
	int n = 0;

	if (!lists)
		return DONE;
	for (char **at = lists; *at; at++)
		n += strcmp(*at, ":::") == 0;
	if (map_options.null || map_options.columns)
		return complain(USAGE, "map: --%s is for standard input, not for ':::'",
				map_options.null ? "null" : "columns");
	if (map_options.per_job > 1 && n > 1)
		return complain(USAGE, "map: --per-job is for one list");
	return DONE;
}

/* Of a name that is the same for all jobs. */
static int check_program(void)
{
	const char *name = command_plain_word(0);
	char path[PATH_MAX];
	int err = name ? find_program(name, path, sizeof(path)) : 0;

	if (name && !*name)
		return complain(USAGE, "map: COMMAND is empty");
	if (!err)
		return DONE;
	return complain(err == -ENOENT ? 127 : 126, "map: '%s': %s", name,
			tine_strerror(err));
}

/* 0, or errno. */
static int make_folder(const char *path)
{
	struct stat stat_of;

	if (mkdir(path, 0777) == 0)
		return 0;
	if (errno != EEXIST || stat(path, &stat_of) != 0)
		return errno;
	if (!S_ISDIR(stat_of.st_mode))
		return ENOTDIR;
	return access(path, W_OK | X_OK) == 0 ? 0 : errno;
}

static int open_folder(const char *path)
{
	int err = path ? make_folder(path) : 0;

	if (!err)
		return DONE;
	return complain(USAGE, "map: --results: '%s': %s", path, strerror(err));
}

/* The commands, a line each. */
static int print_commands(void)
{
	static struct bytes line;
	static struct job job;

	for (;;) {
		enum next next = input_next(&job.row);

		if (next == NEXT_LATER)
			input_wait();
		if (next == NEXT_END)
			return input_code();
		if (next != NEXT_ROW)
			continue;
		job.number++;
		line.len = 0;
		job_fill(&job);
		for (size_t i = 0; i < job.words.count; i++) {
			if (i > 0)
				bytes_add(&line, " ", 1);
			add_quoted(&line, strings_at(&job.words, i));
		}
		if (keep_is_on() && keep_would_hit(&job))
			bytes_print(&line, " # kept");
		bytes_add(&line, "\n", 1);
		if (fwrite(line.at, 1, line.len, stdout) != line.len)
			return lose_output("map");
	}
}

/* Where the lists begin, or NULL; what is before them is the command. */
static char **split_operands(int *argc, char **argv)
{
	for (int i = 1; i < *argc; i++)
		if (strcmp(argv[i], ":::") == 0) {
			*argc = i;
			return argv + i;
		}
	return NULL;
}

static int open_all(int argc, char **argv, char **lists)
{
	struct columns columns = { 0 };
	int err = input_open(lists);

	if (err)
		return err;
	input_columns(&columns);
	err = command_parse(argc, argv, map_options.script, &columns);
	if (!err && keep_is_on())
		err = keep_open(&columns);
	if (!err)
		err = check_program();
	if (err)
		return err;
	return input_check(command_last_column() > keep_last_column()
				   ? command_last_column()
				   : keep_last_column());
}

static int run_map(int argc, char **argv)
{
	char **lists = split_operands(&argc, argv);
	int err = check_operands(argc, argv);

	if (!map_options.workers)
		map_options.workers = tine_cpus();
	if (!err)
		err = check_options();
	if (!err)
		err = check_lists(lists);
	if (!err)
		err = open_all(argc, argv, lists);
	if (err)
		return err;
	if (map_options.dry_run)
		return print_commands();
	err = open_folder(map_options.results);
	if (!err)
		err = show_open();
	if (err)
		return err;
	sink_open();
	return loop_run();
}

const struct command map_command = {
	.name = "map",
	.summary = "run a command over many inputs, in parallel, in order",
	.operands = "COMMAND [ARGUMENT]... [::: INPUT...]...",
	.operands_end_options = true,
	.options = rows,
	.description =
		"Runs COMMAND once for each input, several at a time, and prints what it "
		"writes in\nthe order of the inputs.\n",
	.example = "ls *.png | tine map convert {} {.}.webp",
	.run = run_map,
};
