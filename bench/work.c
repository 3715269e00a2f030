/* SPDX-License-Identifier: MIT */
/*
 * What a pool's kinds of work cost beside the same without one: work MEASURE [WORKERS]
 * prints one number.
 *
 *	ranges, ranges-openmp	milliseconds for 1e8 empty indices in ranges
 *	sum, sum-openmp		the same, the square roots of all of them added up
 *	bytes, fixed		nanoseconds of a job that reads and answers 64 bytes, by
 *				one thread that submits and one that takes results:
 *				as bytes of any length, or of its task's size
 *	poll, next		microseconds from the submission of an empty job until its
 *				answer, the caller asleep in poll(2) or in
 *				tine_pool_next(), the worker asleep before
 *	private, shared, copy	milliseconds of a map that reads and writes 128 MiB in
 *				blocks of 64 KiB, in the caller's memory or in the
 *				family's; of memcpy(3) in and out alone
 *	deflate, deflate-openmp	milliseconds for 32 MiB of text in blocks of 128 KiB
 */
#include "bench.h"

#include <errno.h>
#include <math.h>
#include <omp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <tine.h>
#include <zlib.h>

#define INDICES 100000000
#define JOBS	300000
#define ANSWERS 300
#define BLOCK	65536
#define BLOCKS	2048 /* 128 MiB */
#define TEXT	131072
#define TEXTS	256 /* 32 MiB */
#define RUNS	5

static unsigned workers = 2;
static tine_pool *pool;

static void check(int err, int expected)
{
	if (err != expected)
		die(1, tine_strerror(err));
}

/* Milliseconds, the median. */
static double timed(void (*fn)(void))
{
	double seconds[RUNS];

	fn();
	for (int i = 0; i < RUNS; i++) {
		seconds[i] = -seconds_now();
		fn();
		seconds[i] += seconds_now();
	}
	return median(seconds, RUNS) * 1e3;
}

/* ---- ranges ------------------------------------------------------------------------ */

static inline void touch(size_t index)
{
	__asm__ volatile("" ::"r"(index));
}

static int touch_range(size_t low, size_t high, const void *arg, void *out)
{
	(void)arg;
	(void)out;
	for (size_t i = low; i < high; i++)
		touch(i);
	return 0;
}

static int add_range(size_t low, size_t high, const void *arg, void *out)
{
	double sum = 0;

	(void)arg;
	for (size_t i = low; i < high; i++)
		sum += sqrt((double)i);
	*(double *)out = sum;
	return 0;
}

static void join_sums(void *into, const void *sum)
{
	*(double *)into += *(const double *)sum;
}

static void ranges(void)
{
	static const tine_task task = { .name = "touch", .range = touch_range };

	check(tine_pool_for(pool, &task, NULL, INDICES, NULL, TINE_FOREVER), 0);
}

static void ranges_openmp(void)
{
#pragma omp parallel for schedule(guided)
	for (size_t i = 0; i < INDICES; i++)
		touch(i);
}

static double added;

static void sum_of_ranges(void)
{
	static const tine_task task = { .name = "sum",
					.range = add_range,
					.join = join_sums,
					.out_size = sizeof(double) };

	check(tine_pool_reduce(pool, &task, NULL, INDICES, &added, NULL, TINE_FOREVER),
	      0);
}

static void sum_openmp(void)
{
	double sum = 0;

#pragma omp parallel for schedule(guided) reduction(+ : sum)
	for (size_t i = 0; i < INDICES; i++)
		sum += sqrt((double)i);
	added = sum;
}

/* ---- jobs of bytes ----------------------------------------------------------------- */

struct message {
	char bytes[64];
};

static int repeat_fixed(const void *in, void *out)
{
	memcpy(out, in, sizeof(struct message));
	return 0;
}

static int repeat_bytes(const void *in, size_t len)
{
	return tine_job_result(in, len);
}

static const tine_task fixed_task = TINE_TASK(repeat_fixed, struct message,
					      struct message);
static const tine_task bytes_task = { .name = "repeat", .bytes = repeat_bytes };

static void *submit_all(void *of_bytes)
{
	struct message message = { "a job" };

	for (uint64_t i = 0; i < JOBS; i++)
		check(of_bytes ? tine_pool_submit_bytes(pool, &bytes_task, &message,
							sizeof(message), i, TINE_FOREVER)
			       : tine_pool_submit(pool, &fixed_task, &message, i,
						  TINE_FOREVER),
		      0);
	return NULL;
}

static double by_threads(bool of_bytes)
{
	struct message message;
	pthread_t thread;
	tine_done done;
	double begun;

	begun = seconds_now();
	if (pthread_create(&thread, NULL, submit_all, of_bytes ? &message : NULL))
		die(1, "no thread");
	for (uint64_t i = 0; i < JOBS; i++)
		check(tine_pool_next(pool, &message, sizeof(message), &done,
				     TINE_FOREVER),
		      1);
	pthread_join(thread, NULL);
	return (seconds_now() - begun) / JOBS * 1e9;
}

/* ---- an answer --------------------------------------------------------------------- */

/* Long enough that who waits for it has fallen asleep. */
static int rest_and_return(const void *in, void *out)
{
	struct timespec rest = { .tv_nsec = 2000000 };

	(void)in;
	nanosleep(&rest, NULL);
	*(double *)out = seconds_now();
	return 0;
}

static double answer(bool by_poll)
{
	static const tine_task resting = { .name = "rest",
					   .fn = rest_and_return,
					   .out_size = sizeof(double) };
	struct pollfd polled = { tine_pool_fd(pool), POLLIN, 0 };
	double seconds[ANSWERS], ended;
	tine_done done;

	for (int i = 0; i < ANSWERS; i++) {
		int err = -ETIMEDOUT;

		check(tine_pool_submit(pool, &resting, NULL, 0, TINE_FOREVER), 0);
		while (by_poll && err == -ETIMEDOUT) {
			poll(&polled, 1, -1);
			err = tine_pool_next(pool, &ended, sizeof(ended), &done,
					     TINE_NOWAIT);
		}
		if (!by_poll)
			err = tine_pool_next(pool, &ended, sizeof(ended), &done,
					     TINE_FOREVER);
		check(err, 1);
		seconds[i] = seconds_now() - ended;
	}
	return median(seconds, ANSWERS) * 1e6;
}

/* ---- much memory ------------------------------------------------------------------- */

static char *from, *to, *between;

static int invert(const void *in, void *out)
{
	const uint64_t *words = in;
	uint64_t *inverse = out;

	for (size_t i = 0; i < BLOCK / sizeof(*words); i++)
		inverse[i] = ~words[i];
	return 0;
}

static void invert_all(void)
{
	static const tine_task task = {
		.name = "invert", .fn = invert, .in_size = BLOCK, .out_size = BLOCK
	};

	check(tine_pool_map(pool, &task, from, to, BLOCKS, NULL, TINE_FOREVER), 0);
}

static void copy_all(void)
{
	memcpy(between, from, (size_t)BLOCK * BLOCKS);
	memcpy(to, between, (size_t)BLOCK * BLOCKS);
}

static double with_memory(void *(*allocate)(size_t), void (*fn)(void))
{
	from = allocate((size_t)BLOCK * BLOCKS);
	to = allocate((size_t)BLOCK * BLOCKS);
	between = fn == copy_all ? tine_shared_raw((size_t)BLOCK * BLOCKS) : NULL;
	if (!from || !to || (fn == copy_all && !between))
		die(SKIP, "no memory");
	memset(from, 1, (size_t)BLOCK * BLOCKS);
	memset(to, 1, (size_t)BLOCK * BLOCKS);
	return timed(fn);
}

/* ---- compression ------------------------------------------------------------------- */

struct text {
	char bytes[TEXT];
};

struct deflated {
	size_t len;
	unsigned char bytes[TEXT + 256];
};

static struct text *texts;
static size_t deflated_len;

static void write_texts(void)
{
	static const char *const words[] = { "the ",	 "process ", "dies ",	"and ",
					     "another ", "takes ",   "its ",	"place ",
					     "memory ",	 "is ",	     "shared ", "by ",
					     "all ",	 "of ",	     "them ",	"0x" };
	uint64_t state = 1;

	texts = malloc(sizeof(*texts) * TEXTS);
	if (!texts)
		die(SKIP, "no memory");
	for (char *at = texts[0].bytes, *end = at + sizeof(*texts) * TEXTS; at < end;) {
		state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
		for (const char *c = words[state >> 60]; *c && at < end; c++)
			*at++ = *c;
		if (state >> 59 & 1 && at < end)
			*at++ = (char)('0' + (state >> 50 & 31));
	}
}

static void deflate_text(const struct text *text, struct deflated *out)
{
	uLongf len = sizeof(out->bytes);

	if (compress2(out->bytes, &len, (const Bytef *)text->bytes, TEXT, 6) != Z_OK)
		die(1, "zlib");
	out->len = len;
}

static int deflate_job(const void *in, size_t len)
{
	static struct deflated out;

	(void)len;
	deflate_text(in, &out);
	return tine_job_result(out.bytes, out.len);
}

/* In order, as a compressor writes them. */
static void deflate_all(void)
{
	static const tine_task task = { .name = "deflate", .bytes = deflate_job };
	size_t submitted = 0, taken = 0, len = 0;
	const void *bytes;
	tine_done done;

	while (taken < TEXTS) {
		if (submitted < TEXTS &&
		    tine_pool_submit_bytes(pool, &task, &texts[submitted], TEXT,
					   submitted, TINE_NOWAIT) == 0) {
			submitted++;
			continue;
		}
		check(tine_pool_next_bytes(pool, &bytes, &done, TINE_FOREVER), 1);
		len += done.len;
		tine_pool_release(pool, bytes);
		taken++;
	}
	if (deflated_len && len != deflated_len)
		die(1, "it is not the same");
	deflated_len = len;
}

static void deflate_openmp(void)
{
	size_t len = 0;

#pragma omp parallel for ordered schedule(dynamic, 1)
	for (size_t i = 0; i < TEXTS; i++) {
		struct deflated *out = malloc(sizeof(*out));

		deflate_text(&texts[i], out);
#pragma omp ordered
		len += out->len;
		free(out);
	}
	deflated_len = len;
}

/* ------------------------------------------------------------------------------------ */

static double measure(const char *what)
{
	if (!strcmp(what, "ranges"))
		return timed(ranges);
	if (!strcmp(what, "ranges-openmp"))
		return timed(ranges_openmp);
	if (!strcmp(what, "sum"))
		return timed(sum_of_ranges);
	if (!strcmp(what, "sum-openmp"))
		return timed(sum_openmp);
	if (!strcmp(what, "bytes") || !strcmp(what, "fixed"))
		return by_threads(what[0] == 'b');
	if (!strcmp(what, "poll") || !strcmp(what, "next"))
		return answer(what[0] == 'p');
	if (!strcmp(what, "private"))
		return with_memory(malloc, invert_all);
	if (!strcmp(what, "shared"))
		return with_memory(tine_shared_raw, invert_all);
	if (!strcmp(what, "copy"))
		return with_memory(malloc, copy_all);
	write_texts();
	if (!strcmp(what, "deflate"))
		return timed(deflate_all);
	if (!strcmp(what, "deflate-openmp"))
		return timed(deflate_openmp);
	die(2, "usage: work MEASURE [WORKERS]");
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	/* For jobs that come one by one, none is left now and then. */
	bool open = !strcmp(what, "bytes") || !strcmp(what, "fixed");

	if (argc > 2)
		workers = (unsigned)number(argv[2]);
	omp_set_num_threads((int)workers);
	if (!strstr(what, "openmp"))
		check(tine_pool_new(&pool,
				    &(tine_pool_opts){
					    .workers = workers,
					    .ordered = !strcmp(what, "deflate"),
					    .open = open,
				    }),
		      0);
	printf("%f\n", measure(what));
	tine_pool_free(pool);
	return 0;
}
