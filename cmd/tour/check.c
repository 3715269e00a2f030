/* SPDX-License-Identifier: MIT */
/*
 * Lessons on one number: whether it is prime, by trial division in many processes, and
 * how a process that finds a divisor stops the others.
 */
#include "tour/tour.h"

#include "divide.h"

#include <errno.h>
#include <tine.h>
#include <unistd.h>

enum {
	SMALL = 1001,  /* odd, as all ranges begin */
	MOST = 1024,   /* ranges */
	RANGES = 64,   /* with an early exit */
	EVERY = 1000,  /* divisions between two looks at what is slow to ask */
	LOOKS_MS = 10, /* for which looks are timed */
};

/* [range] */
struct range {
	uint64_t number, from, to;
};

static int has_divisor(const void *in, void *out)
{
	const struct range *range = in;

	(void)out;
	for (uint64_t divisor = range->from; divisor < range->to; divisor += 2)
		if (range->number % divisor == 0)
			return 1;
	return 0;
}
/* [end] */

/* [cut] */
/* n ranges of odd numbers, from one up to the root. */
static void cut(uint64_t number, uint64_t from, struct range *range, unsigned n)
{
	uint64_t to = divide_end(number), share = (to - from) / n / 2 * 2 + 2;

	for (unsigned i = 0; i < n; i++, from += share)
		range[i] = (struct range){ number, from,
					   from + share < to ? from + share : to };
}
/* [end] */

/* 1: it has a divisor below SMALL; 0: it is prime; -1: nobody knows yet. */
static int try_small(uint64_t number)
{
	struct range small = { number, 3, SMALL };

	if (number % 2 == 0 || number < 3)
		return number != 2;
	if (number < (uint64_t)SMALL * SMALL)
		small.to = divide_end(number);
	if (has_divisor(&small, NULL))
		return 1;
	return number < (uint64_t)SMALL * SMALL ? 0 : -1;
}

static bool is_composite(uint64_t number)
{
	struct range all = { number, 3, divide_end(number) };

	return number % 2 == 0 || has_divisor(&all, NULL);
}

/* Primes are added up, so that a wrong one shows. */
static void tell(struct tour_run *run, uint64_t number, bool composite)
{
	run->answer = (run->answer + (composite ? 0 : number)) % (UINT64_C(1) << 63);
	run->has_answer = true;
}

static int serial(struct tour_run *run)
{
	int64_t begun = tine_now();

	for (unsigned i = 0; i < run->n; i++)
		tell(run, run->numbers[i], is_composite(run->numbers[i]));
	run->seconds = (double)(tine_now() - begun) / 1e9;
	return 0;
}

/* ---- one small number -------------------------------------------------------------- */

/* So many that the clock can tell; whatever a turn takes, for so long at most. */
enum { TURNS = 1000000, TURNS_MS = 50 };

/* Of the first number: 1: composite; 0: prime; or an error. */
typedef int turn_fn(const struct tour_run *, tine_pool *);

/* What is short does not look at the clock at each turn. */
static int time_turns(struct tour_run *run, tine_pool *pool, turn_fn *turn, int at_once)
{
	int64_t begun = tine_now(), took = 0;
	int composite = 0, n = 0;

	while (n < TURNS && took < TURNS_MS * 1000000 && composite >= 0) {
		for (int i = 0; i < at_once && composite >= 0; i++, n++) {
			composite = turn(run, pool);
			__asm__ volatile("" ::"r"(composite) : "memory");
		}
		took = tine_now() - begun;
	}
	run->seconds = (double)took / n / 1e9;
	tell(run, run->numbers[0], composite);
	return composite < 0 ? composite : 0;
}

static int turn_serial(const struct tour_run *run, tine_pool *pool)
{
	(void)pool;
	return is_composite(run->numbers[0]);
}

static int serial_small(struct tour_run *run)
{
	return time_turns(run, NULL, turn_serial, 64);
}

/* [naive] */
static const tine_task divide_task = TINE_TASK_IN(has_divisor, struct range);

/* The whole of it in as many ranges as there are workers; each is searched to its end. */
static int check_naively(tine_pool *pool, uint64_t number, unsigned workers)
{
	struct range range[MOST] = { 0 };
	int status[MOST], err;
	tine_map_opts opts = { .status = status };

	cut(number, 3, range, workers);
	err = tine_pool_map(pool, &divide_task, range, NULL, workers, &opts,
			    TINE_FOREVER);
	if (err < 0)
		return err;
	for (unsigned i = 0; i < workers; i++)
		if (status[i] == 1)
			return 1;
	return number % 2 == 0;
}
/* [end] */

static int turn_with_pool(const struct tour_run *run, tine_pool *pool)
{
	return check_naively(pool, run->numbers[0], run->workers);
}

static int turn_less_naive(const struct tour_run *run, tine_pool *pool)
{
	int composite = try_small(run->numbers[0]);

	return composite < 0 ? turn_with_pool(run, pool) : composite;
}

static int turn_naive(const struct tour_run *run, tine_pool *none)
{
	tine_pool_opts opts = { .workers = run->workers };
	tine_pool *pool;
	int composite = tine_pool_new(&pool, &opts);

	(void)none;
	if (composite)
		return composite;
	composite = turn_with_pool(run, pool);
	tine_pool_free(pool);
	return composite;
}

static int naive_small(struct tour_run *run)
{
	return time_turns(run, NULL, turn_naive, 1);
}

static int time_with_pool(struct tour_run *run, turn_fn *turn, int at_once)
{
	tine_pool_opts opts = { .workers = run->workers };
	tine_pool *pool;
	int err = tine_pool_new(&pool, &opts);

	if (err)
		return err;
	err = time_turns(run, pool, turn, at_once);
	tine_pool_free(pool);
	return err;
}

static int kept_small(struct tour_run *run)
{
	return time_with_pool(run, turn_with_pool, 1);
}

static int less_naive_small(struct tour_run *run)
{
	return time_with_pool(run, turn_less_naive, 64);
}

/* ---- flags ------------------------------------------------------------------------- */

/* [event] */
static tine_event *event; /* in the family's memory */

static inline bool event_is_set(void)
{
	return tine_event_is_set(event); /* one load */
}

static inline void set_event(void)
{
	tine_event_set(event);
}
/* [end] */

/* [file] */
static unsigned char *byte; /* of a file that is mapped */

static inline bool byte_is_set(void)
{
	return __atomic_load_n(byte, __ATOMIC_RELAXED);
}

static inline void set_byte(void)
{
	__atomic_store_n(byte, 1, __ATOMIC_RELAXED);
}
/* [end] */

/* [store] */
static tine_store *store; /* a folder's, or a Redis server's */

static inline bool key_is_set(void)
{
	char value = 0;

	return tine_store_get(store, "found", &value, 1) == 1 && value == '1';
}

static inline void set_key(void)
{
	tine_store_set(store, "found", "1", 1);
}
/* [end] */

/* The same loop for each flag: 1, a divisor; 0: none, or another has one. */
__attribute__((always_inline)) static inline int
search(const struct range *range, unsigned every, bool (*is_set)(void), void (*set)(void))
{
	unsigned left = every;

	for (uint64_t divisor = range->from; divisor < range->to; divisor += 2) {
		if (--left == 0) {
			left = every;
			if (is_set())
				return 0;
		}
		if (range->number % divisor == 0) {
			set();
			return 1;
		}
	}
	return 0;
}

static int search_by_event(const void *in, void *out)
{
	(void)out;
	return search(in, 1, event_is_set, set_event);
}

static int search_by_file(const void *in, void *out)
{
	(void)out;
	return search(in, 1, byte_is_set, set_byte);
}

static int search_by_store(const void *in, void *out)
{
	(void)out;
	return search(in, EVERY, key_is_set, set_key);
}

/* Looks at the event, which follows the key, and sets the key. */
static int search_by_mirror(const void *in, void *out)
{
	(void)out;
	return search(in, 1, event_is_set, set_key);
}

/* The vectors of tine isprime, and the pool's own early exit. */
static int search_by_vectors(const void *in, void *out)
{
	const struct range *range = in;

	(void)out;
	for (uint64_t from = range->from; from < range->to && !tine_cancelled();
	     from += 1 << 16) {
		uint64_t to = from + (1 << 16);

		if (divide(range->number, from, to < range->to ? to : range->to))
			return 1;
	}
	return 0;
}

/* [find] */
static int search_till_cancelled(const void *in, void *out)
{
	const struct range *range = in;

	(void)out;
	for (uint64_t divisor = range->from; divisor < range->to && !tine_cancelled();
	     divisor += 2)
		if (range->number % divisor == 0)
			return 1;
	return 0;
}
/* [end] */

/* Before each number. */
static int clear_flag(void)
{
	int err = 0;

	if (byte)
		*byte = 0;
	if (store)
		err = tine_store_set(store, "found", "0", 1);
	if (event && !store)
		tine_event_clear(event);
	/* A mirror follows when it has heard. */
	while (event && store && !err && tine_event_is_set(event))
		usleep(50);
	return err;
}

/* [map] */
/* Whether any range has a divisor. All jobs run; those that see the flag are short. */
static int map_ranges(tine_pool *pool, const tine_task *task, const struct range *range)
{
	int status[RANGES];
	tine_map_opts opts = { .status = status };
	int err = tine_pool_map(pool, task, range, NULL, RANGES, &opts, TINE_FOREVER);

	for (int i = 0; i < RANGES && !err; i++)
		if (status[i] == 1)
			return 1;
	return err;
}
/* [end] */

/* How the ranges that are left are searched, with one pool for all numbers. */
enum way { NAIVE, LESS_NAIVE, FLAG, FIND };

static int check(tine_pool *pool, const tine_task *task, enum way way, uint64_t number,
		 unsigned workers)
{
	struct range range[RANGES];
	int composite = way == NAIVE ? -1 : try_small(number);
	int err = composite < 0 ? clear_flag() : 0;

	if (composite >= 0 || err)
		return err ? err : composite;
	if (way == NAIVE || way == LESS_NAIVE)
		return check_naively(pool, number, workers);
	cut(number, SMALL, range, RANGES);
	if (way == FLAG)
		return map_ranges(pool, task, range);
	return tine_pool_find(pool, task, range, NULL, RANGES, NULL, NULL, TINE_FOREVER);
}

static int check_all(struct tour_run *run, tine_fn *fn, enum way way)
{
	const tine_task task = { .name = "divide",
				 .fn = fn,
				 .in_size = sizeof(struct range) };
	tine_pool_opts opts = { .workers = run->workers };
	int64_t begun = tine_now();
	int composite = 0;
	tine_pool *pool;
	int err = tine_pool_new(&pool, &opts);

	if (err)
		return err;
	for (unsigned i = 0; i < run->n && composite >= 0; i++) {
		composite = check(pool, &task, way, run->numbers[i], run->workers);
		tell(run, run->numbers[i], composite);
	}
	tine_pool_free(pool);
	run->seconds = (double)(tine_now() - begun) / 1e9;
	return composite < 0 ? composite : 0;
}

static int turn_by_find(const struct tour_run *run, tine_pool *pool)
{
	static const tine_task task = TINE_TASK_IN(search_till_cancelled, struct range);
	struct range range[RANGES];

	cut(run->numbers[0], 3, range, RANGES);
	return tine_pool_find(pool, &task, range, NULL, RANGES, NULL, NULL, TINE_FOREVER);
}

static int find_small(struct tour_run *run)
{
	return time_with_pool(run, turn_by_find, 1);
}

static void time_looks(struct tour_run *run, bool (*is_set)(void))
{
	int64_t begun = tine_now(), took;
	unsigned n = 0;

	do {
		for (int i = 0; i < 64; i++, n++) {
			bool set = is_set();

			__asm__ volatile("" ::"r"(set) : "memory");
		}
		took = tine_now() - begun;
	} while (took < LOOKS_MS * 1000000);
	run->look = (double)took / n / 1e9;
}

static int naive(struct tour_run *run)
{
	return check_all(run, has_divisor, NAIVE);
}

static int less_naive(struct tour_run *run)
{
	return check_all(run, has_divisor, LESS_NAIVE);
}

static int by_find(struct tour_run *run)
{
	return check_all(run, search_till_cancelled, FIND);
}

static int by_vectors(struct tour_run *run)
{
	return check_all(run, search_by_vectors, FIND);
}

static int by_event(struct tour_run *run)
{
	int err;

	event = tine_shared_new(1, sizeof(*event));
	if (!event)
		return -ENOMEM;
	time_looks(run, event_is_set);
	err = check_all(run, search_by_event, FLAG);
	tine_shared_free(event);
	return err;
}

static int by_file(struct tour_run *run)
{
	char path[4096];
	void *mem;
	int err;

	snprintf(path, sizeof(path), "%s/flag", run->folder);
	err = tine_shared_map(&mem, path, 1);
	if (err)
		return err;
	byte = mem;
	time_looks(run, byte_is_set);
	err = check_all(run, search_by_file, FLAG);
	tine_shared_unmap(mem);
	return err;
}

static void leave_out(struct tour_run *run, const char *why)
{
	snprintf(run->left_out, sizeof(run->left_out), "%s", why);
}

/* Of a folder, or of a private server; asked each time, or mirrored. */
static int by_store_at(struct tour_run *run, const char *url, bool mirrored)
{
	int err = tine_store_open(&store, url, NULL);

	if (err == -EPROTONOSUPPORT) {
		leave_out(run, "this build has no such stores");
		return 0;
	}
	if (err)
		return err;
	err = tine_store_set(store, "found", "0", 1);
	if (mirrored && !err) {
		event = tine_shared_new(1, sizeof(*event));
		err = event ? tine_store_watch(store, "found", event) : -ENOMEM;
	}
	if (!err) {
		time_looks(run, mirrored ? event_is_set : key_is_set);
		err = check_all(run, mirrored ? search_by_mirror : search_by_store, FLAG);
	}
	tine_store_free(store);
	return err;
}

static int by_folder(struct tour_run *run)
{
	char url[4096];

	/* In memory, where there is a folder for that. */
	snprintf(url, sizeof(url), "file:%s/store", run->folder);
	return by_store_at(run, url, false);
}

static int by_server(struct tour_run *run, bool mirrored)
{
	tine_manager *manager;
	int err = tine_manager_start(&manager, NULL);

	if (err == -ENOENT || err == -EPROTONOSUPPORT) {
		leave_out(run, err == -ENOENT ? "there is no redis-server"
					      : "this build has no such stores");
		return 0;
	}
	if (err)
		return err;
	err = by_store_at(run, tine_manager_url(manager), mirrored);
	tine_manager_free(manager);
	return err;
}

static int by_redis(struct tour_run *run)
{
	return by_server(run, false);
}

static int by_mirror(struct tour_run *run)
{
	return by_server(run, true);
}

/* ---- the lessons ------------------------------------------------------------------- */

static const char *const small_parts[] = { "range", "cut", "naive", NULL };

static const struct tour_program small_programs[] = {
	{ .id = "serial",
	  .name = "one process",
	  .shows = "A loop, which finds the divisor 5 at once.",
	  .run = serial_small },
	{ .id = "naive",
	  .name = "%w, a pool for it",
	  .shows = "Starts a pool for one number, as the notebook does, and all but the "
		   "first search their range to the end, in vain.",
	  .run = naive_small,
	  .timeline = true },
	{ .id = "kept",
	  .name = "%w, a pool that is there",
	  .shows = "The same without the start.",
	  .run = kept_small },
	{ .id = "find",
	  .name = "%w, the pool's own search",
	  .shows = "The first divisor ends it: what is left is to wake the workers.",
	  .run = find_small },
	{ .id = "less-naive",
	  .name = "small divisors first",
	  .shows = "A few divisions before the workers are asked: here they are not "
		   "asked at all.",
	  .run = less_naive_small },
	{ .id = "python-serial",
	  .name = "Python, one process",
	  .shows = "The loop.",
	  .script = "check",
	  .way = "serial",
	  .once = true },
	{ .id = "python-naive",
	  .name = "Python, multiprocessing, %p",
	  .shows = "A Pool for one number.",
	  .script = "check",
	  .way = "naive",
	  .once = true },
	{ .id = "tine-naive",
	  .name = "Python -m tine, multiprocessing, %p",
	  .shows = "The same program over tine.",
	  .script = "check",
	  .way = "naive",
	  .over_tine = true,
	  .once = true },
	{ .id = "python-less",
	  .name = "Python, small divisors first",
	  .shows = "The notebook's remedy.",
	  .script = "check",
	  .way = "less",
	  .once = true },
	{ 0 },
};

const struct tour_lesson tour_check = {
	.id = "check",
	.title = "A number that is no work",
	.chapter = "16-naive",
	.text = "Most numbers have a small divisor. To ask other processes costs more "
		"than to look, so look first: the serial part of a parallel program.",
	.work = "112272535095295",
	.quick = "112272535095295",
	.unit = "%s",
	.source = "check.c",
	.parts = small_parts,
	.programs = small_programs,
};

static const char *const flag_parts[] = { "find", "event", "file", "store", "map", NULL };

static const struct tour_program flag_programs[] = {
	{ .id = "serial",
	  .name = "one process",
	  .shows = "A loop that ends at the first divisor.",
	  .run = serial },
	{ .id = "naive",
	  .name = "%w, no flag",
	  .shows = "A range for each worker: one with a divisor ends, the others search "
		   "on.",
	  .run = naive,
	  .timeline = true },
	{ .id = "less-naive",
	  .name = "%w, small divisors first",
	  .shows = "The same for the large numbers, but the small one is no work now.",
	  .run = less_naive },
	{ .id = "find",
	  .name = "%w, the pool's own search",
	  .shows = "tine_pool_find() with 64 ranges: the first divisor ends all of it.",
	  .run = by_find,
	  .timeline = true },
	{ .id = "event",
	  .name = "%w, an event",
	  .shows = "A word in shared memory, looked at before each division: one load.",
	  .run = by_event },
	{ .id = "file",
	  .name = "%w, a mapped file",
	  .shows = "A byte of a file, which strangers could map as well.",
	  .run = by_file },
	{ .id = "store",
	  .name = "%w, a store in a folder",
	  .shows = "A key of a folder, asked every 1,000 divisions.",
	  .run = by_folder },
	{ .id = "manager",
	  .name = "%w, a Redis server, asked",
	  .shows = "A key of a server, asked every 1,000 divisions, as the notebook's "
		   "Manager is.",
	  .run = by_redis,
	  .once = true },
	{ .id = "mirror",
	  .name = "%w, a Redis server, mirrored",
	  .shows = "The same key, which an event follows: the loop pays one load again.",
	  .run = by_mirror },
	{ .id = "vectors",
	  .name = "%w, by vectors",
	  .shows = "As tine isprime does it: eight or more divisions at once, and the "
		   "pool's "
		   "search.",
	  .run = by_vectors },
	{ .id = "python-serial",
	  .name = "Python, one process",
	  .shows = "The loop.",
	  .script = "check",
	  .way = "serial",
	  .once = true },
	{ .id = "python-naive",
	  .name = "Python, %p, no flag",
	  .shows = "A Pool for each number.",
	  .script = "check",
	  .way = "naive",
	  .once = true },
	{ .id = "python-less",
	  .name = "Python, %p, small divisors first",
	  .shows = "The notebook's remedy.",
	  .script = "check",
	  .way = "less",
	  .once = true },
	{ .id = "python-manager",
	  .name = "Python, %p, Manager().Value",
	  .shows = "A flag in another process, asked every 1,000 divisions.",
	  .script = "check",
	  .way = "manager",
	  .once = true },
	{ .id = "tine-manager",
	  .name = "Python -m tine, %p, Manager().Value",
	  .shows = "The same program over tine: the flag is a word in shared memory.",
	  .script = "check",
	  .way = "manager",
	  .over_tine = true,
	  .once = true },
	{ .id = "python-mmap",
	  .name = "Python, %p, mmap",
	  .shows = "A byte of a mapped file.",
	  .script = "check",
	  .way = "mmap",
	  .once = true },
	{ 0 },
};

const struct tour_lesson tour_flags = {
	.id = "flags",
	.title = "A worker with a divisor stops the others",
	.chapter = "19-flags",
	.text = "Five numbers: one that is no work, two with a large least divisor, "
		"and "
		"two primes. A flag saves work where there is a divisor, and costs a "
		"look at each turn where there is none: so the look must be cheap.",
	.work = "112272535095295,100109100129100369,100109100129101027,"
		"100109100129100151,100109100129162907",
	.quick = "112272535095295,1001091037433191,1001091069408877,1001091001290019,"
		 "1001091001350023",
	.unit = "%s, %s, %s, %s and %s",
	.source = "check.c",
	.parts = flag_parts,
	.programs = flag_programs,
};
