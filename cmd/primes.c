/* SPDX-License-Identifier: MIT */
/*
 * The primes of a range by trial division. The range is cut into windows with a bit for
 * each number, so that memory is bounded, and primes come in order. There are three ways
 * to fill a window, with the same arithmetic:
 *
 *	serial	a loop
 *	map	jobs of a pool, each a batch of numbers
 *	queue	each number is a message to the workers, and each prime is one back
 *
 * The queue: the parent puts numbers until no more fit, takes the primes there are, and
 * sleeps until a worker sees that half the numbers are gone, and sets an event: a parent
 * that waits for room is woken more often. The queue of primes has room for all that can
 * come of the numbers under way, so that no worker waits for the parent. The stream of
 * numbers ends when the parent has closed it, that of primes when each worker has.
 *
 * A worker takes its numbers, a batch at a time, into the family's memory, and takes more
 * when the primes of these are on their way. When it dies, the parent finds there what it
 * had, and checks it all anew: a prime that comes twice sets the same bit. What it had
 * not wholly taken comes back by itself. To lease each number would do as well, but
 * costs several times what the messages cost now.
 */
#include "command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <tine.h>
#include <unistd.h>

#define SHOWN	   10	 /* primes at either end */
#define MOST_BATCH 64	 /* numbers a worker takes at a time: a power of two, in a word */
#define BATCHES	   65536 /* in the largest window */
#define QUEUED	   256	 /* batches that wait for workers */
#define PARCEL	   1024	 /* messages that the parent moves at a time */
#define TICK	   100	 /* milliseconds that it waits before it looks around */

enum way { QUEUE, MAP, SERIAL };
static const char *const ways[] = { "queue", "map", "serial", NULL };

static struct {
	uint64_t first;
	struct range_end end;
	unsigned workers;
	int way;
	bool print, json, compare;
	const char *engine;
} options;

struct window {
	uint64_t first;
	size_t n;
	unsigned batch; /* numbers a worker takes at a time: 1 to 64, a power of two */
	uint64_t *bits;
};

struct result {
	uint64_t count;
	uint64_t first[SHOWN], last[SHOWN]; /* last: a ring */
	double seconds;
	unsigned workers;
	enum way way;
};

struct search {
	struct result *result;
	tine_pool *pool;
	struct window window;
	int64_t shown; /* when progress was, last */
};

/* ---- arithmetic -------------------------------------------------------------------- */

static bool has_no_divisor_32(uint32_t number)
{
	for (uint32_t divisor = 3;; divisor += 2) {
		uint32_t quotient = number / divisor;

		if (quotient < divisor)
			return true;
		if (number % divisor == 0)
			return false;
	}
}

static bool has_no_divisor_64(uint64_t number)
{
	for (uint64_t divisor = 3;; divisor += 2) {
		uint64_t quotient = number / divisor;

		if (quotient < divisor)
			return true;
		if (number % divisor == 0)
			return false;
	}
}

/* Even numbers are dismissed; then odd divisors up to the root: the quotient is less. */
static bool is_prime(uint64_t number)
{
	if (number % 2 == 0 || number < 3)
		return number == 2;
	if (number <= UINT32_MAX)
		return has_no_divisor_32((uint32_t)number);
	return has_no_divisor_64(number);
}

/* A bit for each of up to 64 numbers. */
static uint64_t check(uint64_t first, unsigned n)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < n; i++)
		bits |= (uint64_t)is_prime(first + i) << i;
	return bits;
}

/* ---- windows ----------------------------------------------------------------------- */

static uint64_t last_number(void)
{
	return options.end.number - 1;
}

static bool is_empty(void)
{
	return !options.end.wrapped && options.first == options.end.number;
}

/* The larger the numbers, the longer each takes, and the fewer are a fair share. */
static unsigned batch_for(uint64_t number)
{
	int bits = 64 - __builtin_clzll(number | 1), spare = 20 - bits / 2;

	return spare >= 6 ? MOST_BATCH : spare > 0 ? 1u << spare : 1;
}

static unsigned batch_at(const struct window *window, size_t at)
{
	size_t left = window->n - at;

	return left < window->batch ? (unsigned)left : window->batch;
}

/* The bits of a batch, which never lie in two words. */
static void set_bits(struct window *window, size_t at, uint64_t bits)
{
	window->bits[at / 64] |= bits << at % 64;
}

static void set_bit(struct window *window, uint64_t prime)
{
	uint64_t at = prime - window->first;

	if (at < window->n)
		window->bits[at / 64] |= UINT64_C(1) << at % 64;
}

/* So many numbers of the window are done, more or less. */
static void show(struct search *search, size_t done)
{
	uint64_t before = search->window.first - options.first,
		 total = last_number() - options.first;
	int64_t now = tine_now();

	if (now - search->shown < TICK * INT64_C(1000000) || before + done >= total ||
	    (options.print && isatty(STDOUT_FILENO)))
		return;
	search->shown = now;
	tine_progress_bar(NULL, before + done, total);
}

/* ---- serial and map ---------------------------------------------------------------- */

static int fill_serially(struct search *search)
{
	struct window *window = &search->window;
	bool show_it = isatty(STDERR_FILENO);

	for (size_t at = 0; at < window->n; at += window->batch) {
		set_bits(window, at, check(window->first + at, batch_at(window, at)));
		if (show_it)
			show(search, at);
	}
	return 0;
}

struct batch {
	uint64_t first, n;
};

static int check_batch(const void *in, void *out)
{
	const struct batch *batch = in;

	*(uint64_t *)out = check(batch->first, (unsigned)batch->n);
	return 0;
}

const tine_task primes_task = TINE_TASK(check_batch, struct batch, uint64_t);

static void show_map(void *arg, size_t done, size_t total)
{
	struct search *search = arg;

	(void)total;
	show(search, done * search->window.batch);
}

/* Batches whose worker died are checked here. */
static int map(struct search *search, struct batch *batches, uint64_t *bits, int *status,
	       size_t n)
{
	struct window *window = &search->window;
	tine_map_opts opts = { .status = status,
			       .progress = isatty(STDERR_FILENO) ? show_map : NULL,
			       .progress_arg = search };
	int err;

	for (size_t i = 0; i < n; i++)
		batches[i] = (struct batch){ window->first + i * window->batch,
					     batch_at(window, i * window->batch) };
	err = tine_pool_map(search->pool, &primes_task, batches, bits, n, &opts,
			    TINE_FOREVER);
	if (err && err != -TINE_ECRASH)
		return err;
	for (size_t i = 0; i < n; i++) {
		if (err && status[i])
			check_batch(&batches[i], &bits[i]);
		set_bits(window, i * window->batch, bits[i]);
	}
	return 0;
}

static int fill_by_map(struct search *search)
{
	size_t n = (search->window.n - 1) / search->window.batch + 1;
	struct batch *batches = malloc(n * sizeof(*batches));
	uint64_t *bits = malloc(n * sizeof(*bits));
	int *status = malloc(n * sizeof(*status));
	int err = -ENOMEM;

	if (batches && bits && status)
		err = map(search, batches, bits, status, n);
	free(status);
	free(bits);
	free(batches);
	return err;
}

/* ---- queue ------------------------------------------------------------------------- */

struct crew {
	tine_queue *numbers, *primes;
	tine_event *hungry; /* half the numbers that fit are gone */
	size_t fit;
	unsigned batch, workers;
	struct worker *worker;
};

struct worker {
	struct crew *crew;
	tine_process *process;
	uint64_t *held; /* a batch, in the family's memory */
};

static int work(void *arg)
{
	struct worker *worker = arg;
	struct crew *crew = worker->crew;
	uint64_t primes[MOST_BATCH];
	ssize_t n;

	while ((n = tine_queue_get_many(crew->numbers, worker->held, crew->batch,
					TINE_FOREVER)) > 0) {
		size_t found = 0;

		if (tine_queue_len(crew->numbers) < crew->fit / 2)
			tine_event_set(crew->hungry);
		for (ssize_t i = 0; i < n; i++)
			if (is_prime(worker->held[i]))
				primes[found++] = worker->held[i];
		if (tine_queue_put_many(crew->primes, primes, found, TINE_FOREVER) < 0)
			return 1;
	}
	return n < 0 || tine_queue_close(crew->primes) != 0;
}

static void dismiss(struct crew *crew)
{
	for (unsigned i = 0; crew->worker && i < crew->workers; i++)
		tine_process_free(crew->worker[i].process);
	if (crew->worker)
		tine_shared_free(crew->worker[0].held);
	free(crew->worker);
	tine_shared_free(crew->hungry);
	tine_queue_free(crew->primes);
	tine_queue_free(crew->numbers);
}

/* Room for the primes of all numbers that are put at once, wait already, or are held. */
static int make_queues(struct crew *crew)
{
	size_t held = (size_t)crew->workers * crew->batch;
	tine_queue_opts numbers = { .capacity = crew->fit };
	tine_queue_opts primes = { .capacity = 2 * crew->fit + held,
				   .producers = crew->workers };
	int err = tine_queue_new(&crew->numbers, sizeof(uint64_t), &numbers);

	err = err ? err : tine_queue_new(&crew->primes, sizeof(uint64_t), &primes);
	crew->hungry = tine_shared_new(1, sizeof(*crew->hungry));
	return err || crew->hungry ? err : -ENOMEM;
}

static int hire(struct crew *crew)
{
	tine_process_opts opts = { .name = "primes" };
	uint64_t *held = tine_shared_new(crew->workers, MOST_BATCH * sizeof(*held));
	int err = 0;

	crew->worker = calloc(crew->workers, sizeof(*crew->worker));
	if (!crew->worker || !held) {
		tine_shared_free(held);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < crew->workers; i++)
		crew->worker[i] = (struct worker){ crew, NULL, held + i * MOST_BATCH };
	for (unsigned i = 0; err == 0 && i < crew->workers; i++)
		err = tine_process_start(&crew->worker[i].process, work, &crew->worker[i],
					 &opts);
	return err;
}

static int collect(struct crew *crew, struct window *window, int64_t deadline)
{
	uint64_t primes[PARCEL];
	ssize_t n;

	while ((n = tine_queue_get_many(crew->primes, primes, PARCEL, deadline)) > 0)
		for (ssize_t i = 0; i < n; i++)
			set_bit(window, primes[i]);
	return n == -ETIMEDOUT ? 0 : (int)n;
}

/* Puts numbers until no more fit, or as many as fit were put; how many, or why not. */
static ssize_t hand_out(struct crew *crew, const struct window *window, size_t at)
{
	size_t sum = 0, left = window->n - at, most = left < crew->fit ? left : crew->fit;
	uint64_t numbers[PARCEL];

	while (sum < most) {
		size_t n = most - sum < PARCEL ? most - sum : PARCEL;
		ssize_t put;

		for (size_t i = 0; i < n; i++)
			numbers[i] = window->first + at + sum + i;
		put = tine_queue_put_many(crew->numbers, numbers, n, TINE_NOWAIT);
		if (put < 0 && put != -ETIMEDOUT)
			return put;
		sum += put > 0 ? (size_t)put : 0;
		if (put < (ssize_t)n)
			break;
	}
	return (ssize_t)sum;
}

static bool all_ended(struct crew *crew)
{
	for (unsigned i = 0; i < crew->workers; i++)
		if (tine_process_wait(crew->worker[i].process, NULL, TINE_NOWAIT) ==
		    -ETIMEDOUT)
			return false;
	return true;
}

/* The rest of the numbers, of which so many are out. */
static int feed(struct crew *crew, struct search *search, size_t at)
{
	struct window *window = &search->window;

	while (at < window->n) {
		ssize_t n;

		show(search, at - tine_queue_len(crew->numbers));
		if (tine_event_wait(crew->hungry, tine_after(TICK)) == -ETIMEDOUT &&
		    all_ended(crew))
			return -TINE_ECRASH;
		tine_event_clear(crew->hungry);
		n = collect(crew, window, TINE_NOWAIT);
		if (n == 0)
			n = hand_out(crew, window, at);
		if (n < 0)
			return (int)n;
		at += (size_t)n;
	}
	return tine_queue_close(crew->numbers);
}

/* Waits for a worker; if it did not end in order, checks what it held. */
static int part_with(struct worker *worker, struct search *search)
{
	struct crew *crew = worker->crew;
	tine_exit how = { 0 };
	int err, failed = 0;

	while ((err = tine_process_wait(worker->process, &how, tine_after(TICK))) ==
		       -ETIMEDOUT &&
	       failed == 0) {
		failed = collect(crew, &search->window, TINE_NOWAIT);
		show(search, search->window.n - tine_queue_len(crew->numbers));
	}
	if (failed || (err == 0 && how.code == 0))
		return failed;
	if (how.signal)
		complain(0,
			 "primes: signal %d ended worker %d; its numbers are checked "
			 "again",
			 how.signal, (int)tine_process_pid(worker->process));
	for (unsigned i = 0; i < crew->batch; i++)
		if (is_prime(worker->held[i]))
			set_bit(&search->window, worker->held[i]);
	return 0;
}

/* When all have ended: what the last had not wholly taken, and the last primes. */
static int check_rest(struct crew *crew, struct window *window)
{
	uint64_t number;
	ssize_t n;

	while ((n = tine_queue_get_many(crew->numbers, &number, 1, TINE_FOREVER)) > 0)
		if (is_prime(number))
			set_bit(window, number);
	return n < 0 ? (int)n : collect(crew, window, tine_after(TICK));
}

static int fill_by_queue(struct search *search)
{
	struct crew crew = { .batch = search->window.batch,
			     .fit = (size_t)QUEUED * search->window.batch,
			     .workers = search->result->workers };
	ssize_t out = make_queues(&crew);
	int err;

	/* The workers find numbers when they come. */
	if (out == 0)
		out = hand_out(&crew, &search->window, 0);
	err = out < 0 ? (int)out : hire(&crew);
	if (err == 0)
		err = feed(&crew, search, (size_t)out);
	for (unsigned i = 0; err == 0 && i < crew.workers; i++)
		err = part_with(&crew.worker[i], search);
	if (err == 0)
		err = check_rest(&crew, &search->window);
	dismiss(&crew);
	return err;
}

/* ---- the search -------------------------------------------------------------------- */

static void add_prime(struct result *result, uint64_t prime)
{
	if (result->count < SHOWN)
		result->first[result->count] = prime;
	result->last[result->count % SHOWN] = prime;
	result->count++;
	if (options.print)
		printf("%" PRIu64 "\n", prime);
}

/* Takes the primes out of the window, and leaves it empty. */
static int empty(struct window *window, struct result *result)
{
	for (size_t i = 0; i <= (window->n - 1) / 64; i++)
		for (; window->bits[i]; window->bits[i] &= window->bits[i] - 1)
			add_prime(result,
				  window->first + i * 64 +
					  (unsigned)__builtin_ctzll(window->bits[i]));
	return options.print && fflush(stdout) != 0 ? -errno : 0;
}

/*
 * Sets the size of a window. The larger, the seldomer all workers wait for the slowest;
 * only who prints waits for each: then it grows or shrinks so as to take about a second.
 */
static void size_window(struct window *window, int64_t took)
{
	uint64_t left = last_number() - window->first;
	size_t most;

	window->batch = batch_for(window->first + (left < BATCHES ? left : BATCHES));
	most = (size_t)window->batch * BATCHES;
	if (!options.print)
		window->n = most;
	else if (took < INT64_C(200000000))
		window->n *= 8;
	else if (took > INT64_C(4000000000) && window->n >= 1024)
		window->n /= 8;
	if (window->n > most)
		window->n = most;
	if (window->n - 1 > left)
		window->n = (size_t)left + 1;
}

static int (*const fill[])(struct search *) = { fill_by_queue, fill_by_map,
						fill_serially };

static int search_all(struct search *search)
{
	struct window *window = &search->window;
	int64_t took = 0;
	int err;

	window->first = options.first;
	window->n = 1024 / 8;
	window->bits = calloc((size_t)BATCHES * MOST_BATCH / 64, sizeof(uint64_t));
	if (!window->bits)
		return -ENOMEM;
	for (;;) {
		int64_t begun = tine_now();

		size_window(window, took);
		err = fill[search->result->way](search);
		if (err == 0)
			err = empty(window, search->result);
		took = tine_now() - begun;
		if (err || last_number() - window->first == window->n - 1)
			break;
		window->first += window->n;
	}
	free(window->bits);
	if (err == 0 && search->shown)
		tine_progress_bar(NULL, 1, 1);
	return err;
}

static int measure(enum way way, unsigned workers, struct result *result)
{
	struct search search = { .result = result };
	tine_pool_opts opts = { .workers = workers,
				.engine = pool_of_tine(options.engine) };
	int64_t begun = tine_now();
	int err = 0;

	*result = (struct result){ .way = way, .workers = way == SERIAL ? 1 : workers };
	if (!is_empty()) {
		if (way == MAP)
			err = tine_pool_new(&search.pool, &opts);
		if (err && options.engine)
			return complain_of_engine("primes", options.engine, err);
		if (err == 0)
			err = search_all(&search);
		tine_pool_free(search.pool);
	}
	result->seconds = (double)(tine_now() - begun) / 1e9;
	if (options.engine)
		result->workers = workers_of_engine(options.engine);
	if (err == -TINE_ECRASH)
		return complain(SOME_FAILED, "primes: no worker is left");
	if (err && ferror(stdout)) {
		errno = -err;
		return lose_output("primes");
	}
	if (err)
		return complain(BROKEN, "primes: %s", tine_strerror(err));
	return DONE;
}

/* ---- what is printed --------------------------------------------------------------- */

static unsigned shown(const struct result *result)
{
	return result->count < SHOWN ? (unsigned)result->count : SHOWN;
}

static uint64_t last_shown(const struct result *result, unsigned i)
{
	return result->last[(result->count - shown(result) + i) % SHOWN];
}

static const char *text_of_end(void)
{
	static char text[24];

	if (options.end.wrapped)
		return "18446744073709551616";
	snprintf(text, sizeof(text), "%" PRIu64, options.end.number);
	return text;
}

static void print_text(const struct result *results, int n)
{
	const struct result *result = &results[n - 1];
	char speed[64];

	printf("primes   %" PRIu64 " in [%" PRIu64 ", %s)\n", result->count,
	       options.first, text_of_end());
	for (unsigned i = 0; i < shown(result); i++)
		printf("%s %" PRIu64, i ? "" : "first   ", result->first[i]);
	for (unsigned i = 0; i < shown(result); i++)
		printf("%s %" PRIu64, i ? "" : "\nlast    ", last_shown(result, i));
	printf("%sworkers  %u\nvia      %s\nseconds  %.6f\n", result->count ? "\n" : "",
	       result->workers, ways[result->way], result->seconds);
	for (int i = 0; n > 1 && i < n; i++)
		printf("%-6s   %.6f seconds with %u worker%s: %s serial\n",
		       ways[results[i].way], results[i].seconds, results[i].workers,
		       results[i].workers == 1 ? "" : "s",
		       compare_speed(results[0].seconds / results[i].seconds, speed,
				     sizeof(speed)));
}

static void print_json(const struct result *results, int n)
{
	const struct result *result = &results[n - 1];

	printf("{\"first\": %" PRIu64 ", \"last\": %s, \"count\": %" PRIu64
	       ", \"primes_first\": [",
	       options.first, text_of_end(), result->count);
	for (unsigned i = 0; i < shown(result); i++)
		printf("%s%" PRIu64, i ? ", " : "", result->first[i]);
	printf("], \"primes_last\": [");
	for (unsigned i = 0; i < shown(result); i++)
		printf("%s%" PRIu64, i ? ", " : "", last_shown(result, i));
	printf("], \"workers\": %u, \"via\": \"%s\", \"seconds\": %.9f", result->workers,
	       ways[result->way], result->seconds);
	for (int i = 0; n > 1 && i < n; i++)
		printf("%s{\"via\": \"%s\", \"workers\": %u, \"seconds\": %.9f, "
		       "\"speedup\": %.4f}",
		       i ? ", " : ", \"runs\": [", ways[results[i].way],
		       results[i].workers, results[i].seconds,
		       results[0].seconds / results[i].seconds);
	printf("%s}\n", n > 1 ? "]" : "");
}

/* ---- the command ------------------------------------------------------------------- */

static bool same(const struct result *a, const struct result *b)
{
	return a->count == b->count &&
	       memcmp(a->first, b->first, sizeof(a->first)) == 0 &&
	       memcmp(a->last, b->last, sizeof(a->last)) == 0;
}

/* Serially, with one worker, with all. How many runs there were; 0: *err says why not. */
static int compare(unsigned workers, struct result *results, int *err)
{
	const enum way way[] = { SERIAL, (enum way)options.way, (enum way)options.way };
	const unsigned with[] = { 1, 1, workers };
	int n = workers == 1 ? 2 : 3;

	for (int i = 0; i < n; i++) {
		*err = measure(way[i], with[i], &results[i]);
		if (*err)
			return 0;
		if (same(&results[0], &results[i]))
			continue;
		*err = complain(BROKEN,
				"primes: %u workers found other primes than one loop",
				with[i]);
		return 0;
	}
	return n;
}

static int wrong(char **argv)
{
	if (!options.end.wrapped && options.end.number < options.first)
		return complain(USAGE, "primes: LAST '%s' is below FIRST '%s'", argv[1],
				argv[0]);
	if (options.print && (options.json || options.compare))
		return complain(USAGE, "primes: --print and --%s cannot be combined",
				options.json ? "json" : "compare");
	if (options.compare && options.way == SERIAL)
		return complain(
			USAGE,
			"primes: --compare already runs serial: choose another --via");
	if (options.engine && options.way != MAP)
		return complain(USAGE, "primes: --engine wants --via map");
	if (options.engine && (options.workers || options.compare))
		return complain(USAGE, "primes: --engine and --%s cannot be combined",
				options.workers ? "workers" : "compare");
	return DONE;
}

static int run_primes(int argc, char **argv)
{
	unsigned workers = options.workers ? options.workers : tine_cpus();
	struct result results[3];
	int n = 1, err = wrong(argv);

	(void)argc;
	if (err)
		return err;
	if (options.compare)
		n = compare(workers, results, &err);
	else
		err = measure((enum way)options.way, workers, results);
	if (err)
		return err;
	if (options.json)
		print_json(results, n);
	else if (!options.print)
		print_text(results, n);
	return DONE;
}

static const struct operand_row operands[] = {
	{ "FIRST", read_count, &options.first,
	  "a whole number from 0 to 2^64 - 1, such as 1e8 or 100_000_000",
	  "The first number of the range.", NULL, false },
	{ "LAST", read_range_end, &options.end, "a whole number from 0 to 2^64",
	  "The end of the range. This number is not in it.", NULL, false },
	{ 0 },
};

static const struct option_row rows[] = {
	WORKERS_ROW(options.workers),
	{ .name = "via",
	  .into = &options.way,
	  .choices = ways,
	  .text = "How workers get their numbers. Default: queue." },
	{ "print", 'p', NULL, NULL, &options.print, NULL,
	  "Print only the primes, one on each line.", NULL },
	{ "compare", 'c', NULL, NULL, &options.compare, NULL,
	  "Also run a loop and one worker, and show the times.", NULL },
	ENGINE_ROW(options.engine),
	{ "json", 0, NULL, NULL, &options.json, NULL, "Print one JSON object.", NULL },
	TRACE_ROW,
	{ 0 },
};

const struct command primes_command = {
	.name = "primes",
	.summary = "find the primes of a range by trial division",
	.operand_rows = operands,
	.options = rows,
	.description =
		"Divides each number from\n"
		".Ar FIRST\n"
		"to below\n"
		".Ar LAST\n"
		"by 2, and then by odd numbers up to its root.\n"
		"The command shows how work is passed to processes.\n"
		"There are better ways to find primes.\n"
		".Pp\n"
		"With\n"
		".Fl \\-via Cm queue\n"
		"each number is a message to the workers, and each prime a message\n"
		"back.\n"
		"With\n"
		".Cm map\n"
		"batches of numbers are jobs of a pool.\n"
		"With\n"
		".Cm serial\n"
		"there is one loop, without workers.\n"
		"The result is the same.\n"
		"If a worker is killed, the other workers check its numbers again.\n"
		".Pp\n"
		"Standard output gets the number of primes, the first ten and the last\n"
		"ten, the workers, the way and the seconds.\n"
		"With\n"
		".Fl \\-json\n"
		"it gets an object with the members\n"
		".Li first , last , count , primes_first , primes_last , workers , via\n"
		"and\n"
		".Li seconds .\n"
		"With\n"
		".Fl \\-compare\n"
		"the object also has\n"
		".Li runs ,\n"
		"an array of objects with the members\n"
		".Li via , workers , seconds\n"
		"and\n"
		".Li speedup ,\n"
		"relative to the loop.\n"
		".Fl \\-print\n"
		"cannot be combined with either.\n",
	.example = "tine primes 1e8 101e6 -j 2 --compare",
	.run = run_primes,
};
