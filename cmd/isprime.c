/* SPDX-License-Identifier: MIT */
/*
 * Whether numbers are prime, by trial division. Small divisors are tried here, which
 * takes less time than to wake a worker. What is left up to the root is cut into ranges,
 * the jobs of a pool, and a worker that finds a divisor tells the others to stop:
 *
 *	find	it is a hit of tine_pool_find(), which drops what has not begun
 *	event	it sets a tine_event
 *	file	it sets a byte of a mapped file, which a stranger can see as well
 *	none	it tells nobody, and all ranges are searched
 *
 * Flags are equally fast; find is the default, since nothing need be made for it.
 *
 * The divisor is the smallest. Ranges below the one with a divisor may have been dropped
 * or left half-way: these are done after it. They are few, since all workers go through
 * the ranges in ascending order, side by side. So a divisor is found by many workers as
 * much sooner than by one as a prime is.
 *
 * The ranges of workers that died, and died when they were tried again, are done here.
 */
#include "command.h"
#include "divide.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tine.h>
#include <unistd.h>

#define ALONE	(UINT64_C(1) << 20) /* divisors below are tried without workers */
#define RANGE	(UINT64_C(1) << 21) /* of a job: about a tenth of a millisecond */
#define STEP	(UINT64_C(1) << 16) /* between looks at the flag: microseconds */
#define RANGES	((UINT64_C(1) << 32) / RANGE)
#define RETRIES 3

enum way { NONE, FIND, EVENT, BYTE, WAYS, ONE = WAYS };
static const char *const ways[] = { "none", "find", "event", "file", "one" };

struct flag {
	enum way way;
	const char *path; /* or NULL */
};

static struct {
	unsigned workers;
	struct flag flag;
	bool json, compare;
} options = { .flag = { .way = FIND } };

struct result {
	uint64_t number, divisor; /* the smallest above 1, if it is not prime; else 0 */
	bool prime;
	double seconds;
};

/* What there is as long as the command runs. */
static struct {
	tine_pool *pool; /* made when it is needed */
	tine_event *event;
	uint8_t *byte;
	bool any, some_are_not; /* numbers were seen; that are not prime */
} state;

/* ---- ranges ------------------------------------------------------------------------ */

struct range {
	uint64_t number, from, to;
	uint64_t way;
};

/* What a job returns; negative: it was dropped, or its worker died. */
enum { NOTHING = 0, FOUND = 1, STOPPED = 2 };

static void raise_flag(enum way way)
{
	if (way == EVENT)
		tine_event_set(state.event);
	else if (way == BYTE)
		__atomic_store_n(state.byte, 1, __ATOMIC_RELAXED);
}

static void lower_flags(void)
{
	if (state.event)
		tine_event_clear(state.event);
	if (state.byte)
		__atomic_store_n(state.byte, 0, __ATOMIC_RELAXED);
}

static bool is_raised(enum way way)
{
	switch (way) {
	case FIND:
		return tine_cancelled();
	case EVENT:
		return tine_event_is_set(state.event);
	case BYTE:
		return __atomic_load_n(state.byte, __ATOMIC_RELAXED);
	default:
		return false;
	}
}

static int search(const void *in, void *out)
{
	const struct range *range = in;
	enum way way = (enum way)range->way;

	for (uint64_t from = range->from; from < range->to; from += STEP) {
		uint64_t left = range->to - from, divisor;

		if (is_raised(way))
			return STOPPED;
		divisor = divide(range->number, from, from + (left < STEP ? left : STEP));
		if (divisor == 0)
			continue;
		*(uint64_t *)out = divisor;
		raise_flag(way);
		return FOUND;
	}
	return NOTHING;
}

static const tine_task search_task = TINE_TASK(search, struct range, uint64_t);

/* Of one number. */
struct hunt {
	struct range ranges[RANGES];
	uint64_t divisors[RANGES];
	int status[RANGES];
	size_t n;
	uint64_t best; /* the smallest divisor yet, or UINT64_MAX */
};

/*
 * The pool gives each worker as many jobs as the others, one after the other; in what it
 * gives, each is to find every so manieth range, in ascending order.
 */
static void cut(struct hunt *hunt, uint64_t number, uint64_t end, enum way way)
{
	size_t workers = options.workers, n = (end - ALONE - 1) / RANGE + 1;
	uint64_t from = ALONE;

	for (size_t turn = 0; from < end; turn++)
		for (size_t worker = 0; worker < workers; worker++) {
			size_t at = n * worker / workers + turn;

			if (at >= n * (worker + 1) / workers)
				continue;
			hunt->ranges[at] = (struct range){
				number, from, end - from < RANGE ? end : from + RANGE, way
			};
			from += RANGE;
		}
	hunt->n = n;
	hunt->best = UINT64_MAX;
}

/* Those are left that may hold a smaller divisor and were not searched to the end. */
static void keep_rest(struct hunt *hunt)
{
	size_t left = 0;

	for (size_t i = 0; i < hunt->n; i++)
		if (hunt->status[i] == FOUND && hunt->divisors[i] < hunt->best)
			hunt->best = hunt->divisors[i];
	for (size_t i = 0; i < hunt->n; i++)
		if (hunt->status[i] != FOUND && hunt->status[i] != NOTHING &&
		    hunt->ranges[i].from < hunt->best)
			hunt->ranges[left++] = hunt->ranges[i];
	hunt->n = left;
}

/* What became of each range is told by its status, so the error may be dropped. */
static void search_in_parallel(struct hunt *hunt, enum way way)
{
	tine_map_opts opts = { .chunk = 1, .status = hunt->status, .retries = RETRIES };

	for (size_t i = 0; i < hunt->n; i++) {
		hunt->status[i] = STOPPED;
		hunt->ranges[i].way = way;
	}
	lower_flags();
	if (way == FIND)
		tine_pool_find(state.pool, &search_task, hunt->ranges, hunt->divisors,
			       hunt->n, NULL, &opts, TINE_FOREVER);
	else
		tine_pool_map(state.pool, &search_task, hunt->ranges, hunt->divisors,
			      hunt->n, &opts, TINE_FOREVER);
	keep_rest(hunt);
}

static void search_here(struct hunt *hunt)
{
	for (size_t i = 0; i < hunt->n; i++)
		hunt->status[i] = search(&hunt->ranges[i], &hunt->divisors[i]);
	keep_rest(hunt);
}

/* The pool, if there is none. That workers are killed while they start is no reason. */
static int hire(void)
{
	tine_pool_opts opts = { .workers = options.workers };
	int err = state.pool ? 0 : -TINE_ECRASH;

	for (int i = 0; i <= RETRIES && err == -TINE_ECRASH; i++)
		err = tine_pool_new(&state.pool, &opts);
	if (err)
		return complain(BROKEN, "isprime: cannot start %u workers: %s",
				options.workers, tine_strerror(err));
	return DONE;
}

static int search_ranges(uint64_t number, uint64_t end, enum way way, uint64_t *divisor)
{
	static struct hunt hunt;
	int err = hire();

	if (err)
		return err;
	cut(&hunt, number, end, way);
	search_in_parallel(&hunt, way);
	if (hunt.n > 0)
		search_in_parallel(&hunt, NONE);
	if (hunt.n > 0)
		search_here(&hunt);
	*divisor = hunt.best == UINT64_MAX ? 0 : hunt.best;
	return DONE;
}

/* ---- a number ---------------------------------------------------------------------- */

/* The first number whose square is larger. */
static uint64_t end_of(uint64_t number)
{
	uint64_t low = 0, high = UINT64_C(1) << 32;

	while (high - low > 1) {
		uint64_t middle = low + (high - low) / 2;

		*(middle * middle <= number ? &low : &high) = middle;
	}
	return high;
}

/* The smallest divisor above 1 and below end, the number itself left out; 0: none. */
static uint64_t small_divisor(uint64_t number, uint64_t end)
{
	static const uint64_t first[] = { 2, 3, 5, 7 };

	for (int i = 0; i < 4; i++)
		if (number % first[i] == 0)
			return number == first[i] ? 0 : first[i];
	return divide(number, 11, end);
}

static int verify(uint64_t number, enum way way, struct result *result)
{
	int64_t begun = tine_now();
	uint64_t end = end_of(number);
	int err = DONE;

	*result = (struct result){ .number = number };
	if (number > 1) {
		result->divisor = small_divisor(number, end < ALONE ? end : ALONE);
		if (result->divisor == 0 && end > ALONE && way == ONE)
			result->divisor = divide(number, ALONE, end);
		else if (result->divisor == 0 && end > ALONE)
			err = search_ranges(number, end, way, &result->divisor);
		result->prime = result->divisor == 0;
	}
	result->seconds = (double)(tine_now() - begun) / 1e9;
	return err;
}

/* One process, and then all ways. The pool is there before the first of them. */
static int compare(uint64_t number, struct result *results)
{
	int err = verify(number, ONE, &results[ONE]);

	if (err == DONE && (results[ONE].divisor == 0 || results[ONE].divisor >= ALONE) &&
	    end_of(number) > ALONE)
		err = hire();
	for (int way = 0; err == DONE && way < WAYS; way++) {
		err = verify(number, (enum way)way, &results[way]);
		if (err == DONE && results[way].divisor != results[ONE].divisor)
			err = complain(BROKEN,
				       "isprime: with flag %s, %" PRIu64
				       " divides it, with one process, %" PRIu64,
				       ways[way], results[way].divisor,
				       results[ONE].divisor);
	}
	return err;
}

/* ---- what is printed --------------------------------------------------------------- */

static void print_text(const struct result *result, const struct result *all)
{
	printf("%" PRIu64 ": %sprime", result->number, result->prime ? "" : "not ");
	if (result->divisor)
		printf(", divisible by %" PRIu64, result->divisor);
	printf(", %.6f seconds\n", result->seconds);
	if (!all)
		return;
	printf("  %-6s %.6f seconds with one process\n", ways[ONE], all[ONE].seconds);
	for (int way = 0; way < WAYS; way++)
		printf("  %-6s %.6f seconds with %u worker%s: %.2f times as fast as one "
		       "process\n",
		       ways[way], all[way].seconds, options.workers,
		       options.workers == 1 ? "" : "s",
		       all[ONE].seconds / all[way].seconds);
}

static void print_run(enum way way, const struct result *all, const char *between)
{
	printf("{\"flag\": \"%s\", \"workers\": %u, \"seconds\": %.9f, "
	       "\"speedup\": %.4f}%s",
	       ways[way], way == ONE ? 1 : options.workers, all[way].seconds,
	       all[ONE].seconds / all[way].seconds, between);
}

static void print_json(const struct result *result, const struct result *all)
{
	printf("%s{\"number\": %" PRIu64 ", \"prime\": %s, \"divisor\": ",
	       state.any ? ",\n" : "", result->number, result->prime ? "true" : "false");
	if (result->divisor)
		printf("%" PRIu64, result->divisor);
	else
		printf("null");
	printf(", \"seconds\": %.9f", result->seconds);
	if (all) {
		printf(", \"runs\": [");
		print_run(ONE, all, ", ");
		for (int way = 0; way < WAYS; way++)
			print_run((enum way)way, all, way + 1 < WAYS ? ", " : "]");
	}
	printf("}");
}

/* Of numbers that come one by one, results are not kept back. */
static int check(uint64_t number)
{
	struct result results[WAYS + 1], *result = &results[options.flag.way];
	int err = options.compare ? compare(number, results)
				  : verify(number, options.flag.way, result);

	if (err)
		return err;
	(options.json ? print_json : print_text)(result,
						 options.compare ? results : NULL);
	state.any = true;
	state.some_are_not |= !result->prime;
	if (fflush(stdout) != 0)
		return complain(BROKEN, "isprime: standard output: %s", strerror(errno));
	return DONE;
}

/* ---- the numbers ------------------------------------------------------------------- */

static const char wanted[] = "a whole number from 0 to 2^64 - 1";

static int bad_number(const char *word)
{
	return complain(USAGE, "isprime: NUMBER wants %s, not '%s'", wanted, word);
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

	while (err == DONE && read_word(word, sizeof(word)))
		err = read_count(word, &number) ? check(number) : bad_number(word);
	if (err == DONE && ferror(stdin))
		return complain(BROKEN, "isprime: standard input: %s", strerror(errno));
	return err;
}

static int check_all(int argc, char **argv)
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
			err = check(number);
	}
	/* What was found before a bad word stands. */
	if (options.json)
		printf("], \"workers\": %u, \"flag\": \"%s\", \"isa\": \"%s\"}\n",
		       options.workers, ways[options.flag.way], divide_isa());
	return err == DONE && state.some_are_not ? SOME_FAILED : err;
}

/* ---- the flags --------------------------------------------------------------------- */

static bool read_flag(const char *text, void *into)
{
	struct flag *flag = into;

	for (int way = 0; way < WAYS; way++)
		if (strcmp(text, ways[way]) == 0) {
			*flag = (struct flag){ .way = (enum way)way };
			return true;
		}
	*flag = (struct flag){ .way = BYTE, .path = text };
	return strchr(text, '/') != NULL;
}

/* A file with something in it is somebody's. */
static int map_path(const char *path)
{
	struct stat file;
	void *byte;
	int err;

	if (stat(path, &file) == 0 && S_ISREG(file.st_mode) && file.st_size > 1)
		return complain(USAGE, "isprime: --flag: '%s' holds %lld bytes, not one",
				path, (long long)file.st_size);
	err = tine_shared_map(&byte, path, 1);
	if (err)
		return complain(USAGE, "isprime: --flag: '%s': %s", path,
				tine_strerror(err));
	state.byte = byte;
	return DONE;
}

static int map_temporary(void)
{
	const char *folder = getenv("TMPDIR");
	char path[4096];
	void *byte;
	int fd, err;

	snprintf(path, sizeof(path), "%s/tine-XXXXXX",
		 folder && *folder ? folder : "/tmp");
	fd = mkstemp(path);
	if (fd < 0)
		return complain(BROKEN, "isprime: '%s': %s", path, strerror(errno));
	close(fd);
	err = tine_shared_map(&byte, path, 1);
	unlink(path);
	if (err)
		return complain(BROKEN, "isprime: '%s': %s", path, tine_strerror(err));
	state.byte = byte;
	return DONE;
}

/* Before there are workers, who inherit them. */
static int make_flags(void)
{
	int err = DONE;

	if (options.compare || options.flag.way == EVENT) {
		state.event = tine_shared_new(1, sizeof(*state.event));
		if (!state.event)
			return complain(BROKEN, "isprime: %s", tine_strerror(-ENOMEM));
	}
	if (options.flag.path)
		err = map_path(options.flag.path);
	else if (options.compare || options.flag.way == BYTE)
		err = map_temporary();
	return err;
}

static int run(int argc, char **argv)
{
	int err;

	if (options.workers == 0)
		options.workers = tine_cpus();
	err = make_flags();
	if (err == DONE)
		err = check_all(argc, argv);
	tine_pool_free(state.pool);
	tine_shared_unmap(state.byte);
	tine_shared_free(state.event);
	return err;
}

static const struct option_row rows[] = {
	{ "workers", 'j', "WORKERS", read_workers, &options.workers,
	  "a whole number from 1 to 1024",
	  "How many processes; as many as there are processors if not said.", NULL },
	{ "flag", 0, "FLAG", read_flag, &options.flag,
	  "none, find, event, file or a path with a slash",
	  "How a worker with a divisor stops the others; find if not said.", NULL },
	{ "compare", 'c', NULL, NULL, &options.compare, NULL,
	  "Do it with one process and with each flag, and show how fast each is.", NULL },
	{ "json", 0, NULL, NULL, &options.json, NULL, "Print one JSON object.", NULL },
	{ 0 },
};

const struct command isprime_command = {
	.name = "isprime",
	.summary = "tell whether numbers are prime by trial division",
	.operands = "[NUMBER ...]",
	.options = rows,
	.description =
		"Divides each\n.Ar NUMBER ,\nfrom 0 to 2^64 \\- 1, by what may divide "
		"it, "
		"up to its root.\n"
		"Without numbers, and where one is\n.Cm \\- ,\n"
		"they are read from standard input, words between white space, and each "
		"is\nanswered before the next is read.\n"
		"0 and 1 are not prime.\n"
		".Pp\n"
		"Small divisors are tried first, without workers.\n"
		"What is left is cut into ranges for a pool of processes, small ones "
		"first, which\nis started when a number needs it, and once.\n"
		"A worker that finds a divisor stops the others by\n.Fl \\-flag :\n"
		".Bl -tag -width event\n"
		".It Cm find\nthe pool's own search,\n.Xr tine_pool_find 3\n"
		".It Cm event\nan event in shared memory,\n.Xr tine_event 3\n"
		".It Cm file\na byte of a temporary file,\n.Xr tine_shared_map 3\n"
		".It Ar path\na byte of this file, which is made if it is not there, and "
		"stays.\nA file of more than one byte is not taken.\n"
		".It Cm none\nnot at all: all ranges are searched to the end.\n"
		".El\n"
		".Pp\n"
		"Standard output gets a line for each number: whether it is prime, the "
		"smallest\nprime that divides it if it is not, and the seconds it took, "
		"with the start of\nthe pool where it was started for it; with\n"
		".Fl \\-json\n"
		"an object with the members\n"
		".Li numbers , workers , flag\n"
		"and\n"
		".Li isa ,\n"
		"of which the first is an array of objects with the members\n"
		".Li number , prime , divisor\n"
		"(or null) and\n"
		".Li seconds ,\n"
		"and with\n"
		".Fl \\-compare\n"
		"also\n"
		".Li runs ,\n"
		"an array of objects with the members\n"
		".Li flag , workers , seconds\n"
		"and\n"
		".Li speedup ,\n"
		"relative to one process.\n"
		".Pp\n"
		"The exit status is 0 if all numbers are prime, and 1 if one is not.\n"
		"A word that is no number ends it with 2: among operands before anything "
		"is\ndone, on standard input after the answers to the numbers before "
		"it.\n",
	.example = "tine isprime 100109100129162907 -j 2 --compare",
	.run = run,
};
