/* SPDX-License-Identifier: MIT */
#include "isprime/isprime.h"

#include "divide.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <tine.h>
#include <unistd.h>

static struct {
	unsigned workers;
	struct flag flag;
	bool json, compare, poll;
} options = { .flag = { .way = FIND } };

static double look[WAYS];      /* seconds, when they are compared */
static bool any, some_are_not; /* numbers were seen; that are not prime */

/* ---- what is printed --------------------------------------------------------------- */

static void print_way(enum way way, const struct result *all)
{
	const char *why = flag_left_out(way);
	double seconds = look[way];
	char speed[64];

	if (why) {
		printf("  %-6s left out: %s\n", ways[way], why);
		return;
	}
	compare_speed(all[ONE].seconds / all[way].seconds, speed, sizeof(speed));
	printf("  %-6s %.6f seconds with %u worker%s: %s one process", ways[way],
	       all[way].seconds, options.workers, options.workers == 1 ? "" : "s", speed);
	if (way != NONE)
		printf(seconds < 1e-6 ? ", %.1f ns a look" : ", %.0f ns a look",
		       seconds * 1e9);
	printf("\n");
}

static void print_answer(const struct result *result, const struct result *all)
{
	printf("%" PRIu64 ": %sprime", result->number, result->prime ? "" : "not ");
	if (result->divisor)
		printf(", divisible by %" PRIu64, result->divisor);
	printf(", %.6f seconds\n", result->seconds);
	if (!all)
		return;
	printf("  %-6s %.6f seconds with one process\n", ways[ONE], all[ONE].seconds);
	for (int way = 0; way < WAYS; way++)
		print_way((enum way)way, all);
}

static void print_run(enum way way, const struct result *all)
{
	printf("{\"flag\": \"%s\", \"workers\": %u, \"seconds\": %.9f, "
	       "\"speedup\": %.4f, \"look\": ",
	       ways[way], way == ONE ? 1 : options.workers, all[way].seconds,
	       all[ONE].seconds / all[way].seconds);
	if (way == ONE || way == NONE)
		printf("null}");
	else
		printf("%.12f}", look[way]);
}

static void print_runs(const struct result *all)
{
	const char *between = "";

	printf(", \"runs\": [");
	print_run(ONE, all);
	for (int way = 0; way < WAYS; way++)
		if (!flag_left_out((enum way)way)) {
			printf(", ");
			print_run((enum way)way, all);
		}
	printf("], \"left_out\": {");
	for (int way = 0; way < WAYS; way++)
		if (flag_left_out((enum way)way)) {
			printf("%s\"%s\": \"%s\"", between, ways[way],
			       flag_left_out((enum way)way));
			between = ", ";
		}
	printf("}");
}

static void print_answer_json(const struct result *result, const struct result *all)
{
	printf("%s{\"number\": %" PRIu64 ", \"prime\": %s, \"divisor\": ",
	       any ? ",\n" : "", result->number, result->prime ? "true" : "false");
	if (result->divisor)
		printf("%" PRIu64, result->divisor);
	else
		printf("null");
	printf(", \"seconds\": %.9f", result->seconds);
	if (all)
		print_runs(all);
	printf("}");
}

/* Of numbers that come one by one, results are not kept back. */
static int check_number(uint64_t number)
{
	struct result results[WAYS + 1], *result = &results[options.flag.way];
	int err = options.compare
			  ? hunt_all_ways(number, options.workers, results)
			  : hunt(number, options.flag.way, options.workers, result);

	if (err)
		return err;
	(options.json ? print_answer_json
		      : print_answer)(result, options.compare ? results : NULL);
	any = true;
	some_are_not |= !result->prime;
	if (fflush(stdout) != 0)
		return lose_output("isprime");
	return DONE;
}

/* ---- the numbers ------------------------------------------------------------------- */

static const char wanted[] = "a whole number from 0 to 2^64 - 1";

static int bad_number(const char *word)
{
	return complain(USAGE, "isprime: NUMBER must be %s, not '%s'", wanted, word);
}

/* The next word, cut where it is too long for a number; false: there is none. */
static bool read_word(char *word, size_t size)
{
	size_t len = 0;
	int c;

	do
		c = getc(stdin);
	while (isspace(c));
	for (; c != EOF && !isspace(c); c = getc(stdin))
		if (len < size - 1)
			word[len++] = c == '\0' ? '?' : (char)c;
	word[len] = '\0';
	if (len == size - 1)
		strcpy(word + len - 3, "...");
	return len > 0;
}

static int check_input(void)
{
	char word[80];
	uint64_t number;
	int err = DONE;

	if (isatty(STDIN_FILENO))
		fprintf(stderr, "tine: isprime: reading numbers from standard input, "
				"until Ctrl-D\n");
	while (err == DONE && read_word(word, sizeof(word)))
		err = read_count(word, &number) ? check_number(number) : bad_number(word);
	if (err == DONE && ferror(stdin))
		return complain(BROKEN, "isprime: standard input: %s", strerror(errno));
	return err;
}

static int check_numbers(int argc, char **argv)
{
	uint64_t number;
	int err = DONE;

	for (int i = 0; i < argc; i++)
		if (strcmp(argv[i], "-") != 0 && !read_count(argv[i], &number))
			return bad_number(argv[i]);
	if (options.json)
		printf("{\"numbers\": [");
	if (argc == 0)
		err = check_input();
	for (int i = 0; err == DONE && i < argc; i++) {
		if (strcmp(argv[i], "-") == 0)
			err = check_input();
		else if (read_count(argv[i], &number))
			err = check_number(number);
	}
	/* What was found before a bad word stands. */
	if (options.json)
		printf("], \"workers\": %u, \"flag\": \"%s\", \"isa\": \"%s\"}\n",
		       options.workers, ways[options.flag.way], divide_isa());
	return err == DONE && some_are_not ? SOME_FAILED : err;
}

/* ---- the command ------------------------------------------------------------------- */

static int run_isprime(int argc, char **argv)
{
	int err;

	if (hunt_engine &&
	    (options.workers || options.compare || options.flag.way != FIND))
		return complain(USAGE, "isprime: --engine and --%s cannot be combined",
				options.workers	  ? "workers"
				: options.compare ? "compare"
						  : "flag");
	if (hunt_engine)
		options.workers = workers_of_engine(hunt_engine);
	if (options.workers == 0)
		options.workers = tine_cpus();
	err = flags_make(&options.flag, options.compare, options.poll);
	if (err == DONE && options.compare)
		flags_time(look);
	if (err == DONE)
		err = check_numbers(argc, argv);
	hunt_end();
	flags_free();
	return err;
}

static const struct option_row rows[] = {
	WORKERS_ROW(options.workers),
	{ "flag", 0, "FLAG", read_flag, &options.flag,
	  "none, find, event, file, a path with a slash or the URL of a store",
	  "How a worker that finds a divisor stops the others. Default: find.", NULL },
	{ "poll", 0, NULL, NULL, &options.poll, NULL,
	  "Read the store of --flag at each look, instead of an event that mirrors it.",
	  NULL },
	{ "compare", 'c', NULL, NULL, &options.compare, NULL,
	  "Also run one process and each flag, and show the times.", NULL },
	ENGINE_ROW(hunt_engine),
	{ "json", 0, NULL, NULL, &options.json, NULL, "Print one JSON object.", NULL },
	TRACE_ROW,
	{ 0 },
};

const struct command isprime_command = {
	.name = "isprime",
	.summary = "tell whether numbers are prime by trial division",
	.operands = "[NUMBER ...]",
	.options = rows,
	.description =
		"Divides each\n"
		".Ar NUMBER ,\n"
		"from 0 to 2^64 \\- 1, by all possible divisors up to its root.\n"
		"Without numbers, and in place of the operand\n"
		".Cm \\- ,\n"
		"the command reads words between white space from standard input, and\n"
		"answers each before it reads the next.\n"
		"0 and 1 are not prime.\n"
		".Pp\n"
		"Small divisors are tried first, without workers.\n"
		"The remaining divisors are divided into ranges for a pool of\n"
		"processes, small divisors first.\n"
		"The pool is started once, when a number needs it.\n"
		"A worker that finds a divisor stops the others by\n"
		".Fl \\-flag :\n"
		".Bl -tag -width event\n"
		".It Cm find\n"
		"the search of the pool,\n"
		".Xr tine_pool_find 3\n"
		".It Cm event\n"
		"an event in shared memory,\n"
		".Xr tine_event 3\n"
		".It Cm file\n"
		"a byte of a temporary file,\n"
		".Xr tine_shared_map 3\n"
		".It Ar path\n"
		"a byte of this file.\n"
		"The file is created if it does not exist, and is not removed.\n"
		"A file of more than one byte is refused.\n"
		".It Ar URL\n"
		"a key of this store, which an event mirrors:\n"
		".Li file:PATH ,\n"
		".Li redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]\n"
		"or\n"
		".Li unix:PATH[?db=N][&user=USER][&password=PASSWORD] ,\n"
		"as in\n"
		".Xr tine_store 3 .\n"
		"With\n"
		".Fl \\-poll\n"
		"every worker reads the store at each of its looks.\n"
		"The key is used by this run alone, and deleted at the end.\n"
		".It Cm none\n"
		"no flag: all ranges are searched to the end.\n"
		".El\n"
		".Pp\n"
		"With\n"
		".Fl \\-engine\n"
		"hosts search the ranges, which run\n"
		".Xr tine-worker 1 ,\n"
		"and the flag is the search of the pool.\n"
		"A range that no host searches is searched by the command.\n"
		".Pp\n"
		"Standard output gets a line for each number: whether it is prime, if\n"
		"not the smallest prime that divides it, and the seconds it took.\n"
		"If the pool was started for the number, they include the start.\n"
		"With\n"
		".Fl \\-json\n"
		"it gets an object with the members\n"
		".Li numbers , workers , flag\n"
		"and\n"
		".Li isa .\n"
		".Li numbers\n"
		"is an array of objects with the members\n"
		".Li number , prime , divisor\n"
		"(or null) and\n"
		".Li seconds ,\n"
		"and with\n"
		".Fl \\-compare\n"
		"also\n"
		".Li runs .\n"
		"That is an array of objects with the members\n"
		".Li flag , workers , seconds , speedup ,\n"
		"relative to one process, and\n"
		".Li look ,\n"
		"the seconds of a look at the flag (or null).\n"
		"The member\n"
		".Li left_out\n"
		"is an object that says why flags were not tried.\n"
		".Pp\n"
		".Fl \\-compare\n"
		"also measures\n"
		".Cm store\n"
		"and\n"
		".Cm redis ,\n"
		"which read a folder and a Redis server at each look, and\n"
		".Cm mirror ,\n"
		"an event that mirrors a key of that server.\n"
		"Folder and server are those of\n"
		".Fl \\-flag ,\n"
		"or private and temporary.\n"
		"Without\n"
		".Xr redis-server 1\n"
		"the last two are left out.\n"
		".Pp\n"
		"The exit status is 0 if all numbers are prime, and 1 if one is not.\n"
		"It is 2 if a word is not a number.\n"
		"Operands are checked before anything is done; on standard input the\n"
		"numbers before the word are answered first.\n",
	.example = "tine isprime 100109100129162907 -j 2 --compare",
	.run = run_isprime,
	.values_of = "flag",
	.values = "none find event file",
};
