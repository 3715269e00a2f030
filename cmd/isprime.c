/* SPDX-License-Identifier: MIT */
/*
 * Whether numbers are prime, by trial division. Small divisors are tried here, which
 * takes less time than to wake a worker. What is left up to the root is cut into ranges,
 * the jobs of a pool, and a worker that finds a divisor tells the others to stop:
 *
 *	find	it is a hit of tine_pool_find(), which drops what has not begun
 *	event	it sets a tine_event
 *	file	it sets a byte of a mapped file, which a stranger can see as well
 *	mirror	it sets a key of a store, which another machine can see as well, and which
 *		an event mirrors (tine_store_watch)
 *	store	it sets a key of a store, which all others ask for at each look, in a
 *	redis	folder of this machine or on a Redis server
 *	none	it tells nobody, and all ranges are searched
 *
 * The first four are equally fast, since a look is a load; find is the default, since
 * nothing need be made for it. The last two are what the mirror is for.
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
#include <sys/random.h>
#include <sys/stat.h>
#include <tine.h>
#include <unistd.h>

#define ALONE	  (UINT64_C(1) << 20) /* divisors below are tried without workers */
#define RANGE	  (UINT64_C(1) << 21) /* of a job: about a tenth of a millisecond */
#define STEP	  (UINT64_C(1) << 16) /* between looks at the flag: microseconds */
#define RANGES	  ((UINT64_C(1) << 32) / RANGE)
#define RETRIES	  3
#define KEY_MS	  INT64_C(86400000)
#define MIRROR_MS 1000
#define LOOKS_NS  INT64_C(5000000) /* so long it is measured how long a look takes */

enum way { NONE, FIND, EVENT, BYTE, STORE, REDIS, MIRROR, WAYS, ONE = WAYS };
static const char *const ways[] = { "none",  "find",  "event",	"file",
				    "store", "redis", "mirror", "one" };

struct flag {
	enum way way;
	const char *path; /* or NULL */
	const char *url;  /* of a store, or NULL; then the way is MIRROR */
};

static struct {
	unsigned workers;
	struct flag flag;
	bool json, compare, poll;
} options = { .flag = { .way = FIND } };

struct result {
	uint64_t number, divisor; /* the smallest above 1, if it is not prime; else 0 */
	bool prime;
	double seconds;
};

/* What there is as long as the command runs. */
static struct {
	tine_pool *pool; /* made when it is needed */
	tine_event *event, *mirror;
	uint8_t *byte;
	struct {
		tine_store *store; /* or NULL */
		char key[64];
		char why[64]; /* it is left out of the comparison; or "" */
		double look;  /* seconds, when they are compared */
	} flags[WAYS];
	tine_manager *manager;
	bool any, some_are_not; /* numbers were seen; that are not prime */
} state;

/* ---- ranges ------------------------------------------------------------------------ */

struct range {
	uint64_t number, from, to;
	uint64_t way;
};

/* What a job returns; negative: it was dropped, or its worker died. */
enum { NOTHING = 0, FOUND = 1, STOPPED = 2 };

/* Should the run be killed, the key goes by itself. */
static int write_key(enum way way, const char *value)
{
	tine_store *store = state.flags[way].store;
	const char *key = state.flags[way].key;
	int err = tine_store_set(store, key, value, strlen(value));

	return err ? err : tine_store_expire(store, key, KEY_MS);
}

/* A store that fails tells nobody: then all ranges are searched. */
static bool read_key(enum way way)
{
	static bool lost;
	char value = '0';

	if (lost)
		return false;
	lost = tine_store_get(state.flags[way].store, state.flags[way].key, &value, 1) <
	       0;
	return value != '0';
}

static void raise_flag(enum way way)
{
	if (way == EVENT)
		tine_event_set(state.event);
	else if (way == BYTE)
		__atomic_store_n(state.byte, 1, __ATOMIC_RELAXED);
	else if (way == STORE || way == REDIS || way == MIRROR)
		write_key(way, "1");
}

/* The mirror follows; should it come late, what is stopped by it is done after. */
static void lower_flag(enum way way)
{
	int64_t end = tine_after(MIRROR_MS);

	if (way == EVENT)
		tine_event_clear(state.event);
	else if (way == BYTE)
		__atomic_store_n(state.byte, 0, __ATOMIC_RELAXED);
	else if (way == STORE || way == REDIS || way == MIRROR)
		write_key(way, "0");
	while (way == MIRROR && tine_event_is_set(state.mirror) && tine_now() < end)
		usleep(50);
}

static bool is_raised(enum way way)
{
	switch (way) {
	case FIND:
		return tine_cancelled();
	case EVENT:
		return tine_event_is_set(state.event);
	case MIRROR:
		return tine_event_is_set(state.mirror);
	case BYTE:
		return __atomic_load_n(state.byte, __ATOMIC_RELAXED);
	case STORE:
	case REDIS:
		return read_key(way);
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
	lower_flag(way);
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
	uint64_t end = divide_end(number);
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
	    divide_end(number) > ALONE)
		err = hire();
	for (int way = 0; err == DONE && way < WAYS; way++) {
		if (*state.flags[way].why)
			continue;
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

static void print_way(enum way way, const struct result *all)
{
	double look = state.flags[way].look;

	if (*state.flags[way].why) {
		printf("  %-6s left out: %s\n", ways[way], state.flags[way].why);
		return;
	}
	printf("  %-6s %.6f seconds with %u worker%s: %.2f times as fast as one process",
	       ways[way], all[way].seconds, options.workers,
	       options.workers == 1 ? "" : "s", all[ONE].seconds / all[way].seconds);
	if (way != NONE)
		printf(look < 1e-6 ? ", %.1f ns a look" : ", %.0f ns a look", look * 1e9);
	printf("\n");
}

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
		printf("%.12f}", state.flags[way].look);
}

static void print_runs(const struct result *all)
{
	const char *between = "";

	printf(", \"runs\": [");
	print_run(ONE, all);
	for (int way = 0; way < WAYS; way++)
		if (!*state.flags[way].why) {
			printf(", ");
			print_run((enum way)way, all);
		}
	printf("], \"left_out\": {");
	for (int way = 0; way < WAYS; way++)
		if (*state.flags[way].why) {
			printf("%s\"%s\": \"%s\"", between, ways[way],
			       state.flags[way].why);
			between = ", ";
		}
	printf("}");
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
	if (all)
		print_runs(all);
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
		return lose_output("isprime");
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

static bool is_url(const char *text)
{
	static const char *const schemes[] = { "file:", "redis:", "rediss:", "unix:" };

	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++)
		if (strncmp(text, schemes[i], strlen(schemes[i])) == 0)
			return true;
	return false;
}

static bool read_flag(const char *text, void *into)
{
	struct flag *flag = into;

	for (int way = 0; way <= BYTE; way++)
		if (strcmp(text, ways[way]) == 0) {
			*flag = (struct flag){ .way = (enum way)way };
			return true;
		}
	if (is_url(text)) {
		*flag = (struct flag){ .way = MIRROR, .url = text };
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

/* No two runs may have the same, on any machine. */
static int make_key(enum way way)
{
	unsigned char bytes[16];
	char *to = state.flags[way].key;

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -errno;
	to += sprintf(to, "tine-isprime:");
	for (size_t i = 0; i < sizeof(bytes); i++)
		to += sprintf(to, "%02x", bytes[i]);
	return 0;
}

static int open_flag(enum way way, const char *url)
{
	int err = tine_store_open(&state.flags[way].store, url, NULL);

	err = err ? err : make_key(way);
	err = err ? err : write_key(way, "0");
	if (!err && way == MIRROR)
		err = tine_store_watch(state.flags[way].store, state.flags[way].key,
				       state.mirror);
	return err;
}

/* A URL without what is secret in it. */
static int refuse_url(const char *url, int err)
{
	const char *host = strrchr(url, '@'), *end = strchr(url, '?');

	if (host && strstr(url, "//"))
		return complain(USAGE, "isprime: --flag: '%.*s%s': %s",
				(int)(strstr(url, "//") + 2 - url), url, host + 1,
				tine_strerror(err));
	return complain(USAGE, "isprime: --flag: '%.*s': %s",
			end ? (int)(end - url) : (int)strlen(url), url,
			tine_strerror(err));
}

static void leave_out(enum way way, const char *why)
{
	snprintf(state.flags[way].why, sizeof(state.flags[way].why), "%s", why);
}

static bool is_file(const char *url)
{
	return strncmp(url, "file:", 5) == 0;
}

/* LMDB's, which its workers open by name, so that it cannot go at once. */
static int make_folder(const char **url)
{
	static char text[256];
	const char *path;
	int err = temporary_folder(&path);

	if (err)
		return err;
	snprintf(text, sizeof(text), "file:%s", path);
	*url = text;
	return 0;
}

/* The stores that are compared: what --flag says, or private ones, or none. */
static int make_compared(enum way way)
{
	const char *given = options.flag.url, *url = NULL;
	int err = 0;

	if (given && is_file(given) == (way == STORE))
		url = given;
	else if (way == STORE)
		err = make_folder(&url);
	else if (!state.manager)
		err = tine_manager_start(&state.manager, NULL);
	if (!url && state.manager && way != STORE)
		url = tine_manager_url(state.manager);
	err = err ? err : open_flag(way, url);
	if (err && url == given && given)
		return refuse_url(url, err);
	if (err == -EPROTONOSUPPORT)
		leave_out(way, "this build has no such stores");
	else if (err == -ENOENT && !url && way != STORE)
		leave_out(way, "there is no redis-server");
	else if (err)
		leave_out(way, tine_strerror(err));
	return DONE;
}

static int make_stores(void)
{
	const char *url = options.flag.url;
	int err = DONE;

	if (options.poll && !url)
		return complain(USAGE, "isprime: --poll wants the URL of a store in "
				       "--flag");
	if (options.compare || options.flag.way == MIRROR) {
		state.mirror = tine_shared_new(1, sizeof(*state.mirror));
		if (!state.mirror)
			return complain(BROKEN, "isprime: %s", tine_strerror(-ENOMEM));
	}
	if (options.poll)
		options.flag.way = is_file(url) ? STORE : REDIS;
	for (int way = STORE; options.compare && err == DONE && way <= MIRROR; way++)
		err = make_compared((enum way)way);
	if (url && !state.flags[options.flag.way].store && err == DONE) {
		err = open_flag(options.flag.way, url);
		err = err ? refuse_url(url, err) : DONE;
	}
	return err;
}

static void remove_stores(void)
{
	for (int way = STORE; way <= MIRROR; way++) {
		tine_store *store = state.flags[way].store;

		if (store && *state.flags[way].key)
			tine_store_del(store, state.flags[way].key);
		tine_store_free(store);
	}
	tine_manager_free(state.manager);
	remove_temporary_folder();
	tine_shared_free(state.mirror);
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
	return err == DONE ? make_stores() : err;
}

/* In this process, which is not in the way of any other then. */
static void time_looks(void)
{
	for (int way = FIND; way < WAYS; way++) {
		int64_t begun = tine_now(), took;
		unsigned n = 0;

		if (*state.flags[way].why)
			continue;
		do {
			for (int i = 0; i < 64; i++, n++) {
				bool raised = is_raised((enum way)way);

				__asm__ volatile("" ::"r"(raised) : "memory");
			}
			took = tine_now() - begun;
		} while (took < LOOKS_NS);
		state.flags[way].look = (double)took / n / 1e9;
	}
}

static int run(int argc, char **argv)
{
	int err;

	if (options.workers == 0)
		options.workers = tine_cpus();
	err = make_flags();
	if (err == DONE && options.compare)
		time_looks();
	if (err == DONE)
		err = check_all(argc, argv);
	tine_pool_free(state.pool);
	remove_stores();
	tine_shared_unmap(state.byte);
	tine_shared_free(state.event);
	return err;
}

static const struct option_row rows[] = {
	{ "workers", 'j', "WORKERS", read_workers, &options.workers,
	  "a whole number from 1 to 1024",
	  "How many processes; as many as there are processors if not said.", NULL },
	{ "flag", 0, "FLAG", read_flag, &options.flag,
	  "none, find, event, file, a path with a slash or the URL of a store",
	  "How a worker with a divisor stops the others; find if not said.", NULL },
	{ "poll", 0, NULL, NULL, &options.poll, NULL,
	  "Ask the store that --flag names at each look, and mirror it in no event.",
	  NULL },
	{ "compare", 'c', NULL, NULL, &options.compare, NULL,
	  "Do it with one process and with each flag, and show how fast each is.", NULL },
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
		".It Ar URL\na key of this store, which an event mirrors:\n"
		".Li file:PATH ,\n"
		".Li redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]\nor\n"
		".Li unix:PATH[?db=N][&user=USER][&password=PASSWORD] ,\nas of\n"
		".Xr tine_store 3 .\nWith\n.Fl \\-poll\n"
		"every worker asks the store at each of its looks.\n"
		"The key is the run's own, and deleted after it.\n"
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
		".Li flag , workers , seconds , speedup ,\n"
		"relative to one process, and\n"
		".Li look ,\n"
		"the seconds of a look at the flag (or null), and\n"
		".Li left_out ,\n"
		"an object that says why flags were not tried.\n"
		".Pp\n"
		"Compared are also\n.Cm store\nand\n.Cm redis ,\n"
		"which ask a folder and a Redis server at each look, and\n"
		".Cm mirror ,\n"
		"an event that mirrors a key of that server.\n"
		"Folder and server are those of\n.Fl \\-flag ,\n"
		"or private and temporary; without\n.Xr redis-server 1\n"
		"the last two are left out.\n"
		".Pp\n"
		"The exit status is 0 if all numbers are prime, and 1 if one is not.\n"
		"A word that is no number ends it with 2: among operands before anything "
		"is\ndone, on standard input after the answers to the numbers before "
		"it.\n",
	.example = "tine isprime 100109100129162907 -j 2 --compare",
	.run = run,
};
