/* SPDX-License-Identifier: MIT */
/*
 * What tine inspect shows, anew each second, and what only two looks can tell: rates, and
 * since when something has been as it is.
 */
#include "command.h"

#include "inspect/inspect.h"
#include "inspect/look.h"
#include "inspect/process.h"
#include "inspect/show.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <tine.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

static struct {
	pid_t pid;
	uint64_t count; /* of looks; 0: no limit */
	bool json;
} options;

/* Of the looks before. */
struct past {
	json_t *counts; /* what a name stood for: a number that grows */
	json_t *since;	/* what a name was, and since when */
	int64_t at;	/* of the last; 0: none yet */
	int64_t now;
};

/* How much more it is than at the last look, per second; below 0: it is seen anew. */
static double rate_of(struct past *past, const char *name, json_int_t n)
{
	const json_t *before = json_object_get(past->counts, name);
	double rate = -1;

	if (before && json_integer_value(before) <= n)
		rate = (double)(n - json_integer_value(before)) * SECOND /
		       (double)(past->now - past->at);
	json_object_set_new(past->counts, name, json_integer(n));
	return rate;
}

/* Nanoseconds since it was first seen to be so, and had been for so many. */
static int64_t seen_for(struct past *past, const char *name, const char *what,
			int64_t before)
{
	json_t *entry = json_object_get(past->since, name);

	if (!entry || strcmp(text_in(entry, "what"), what) != 0)
		json_object_set_new(past->since, name,
				    json_pack("{s:s, s:I}", "what", what, "since",
					      (json_int_t)(past->now - before)));
	return past->now - number_in(json_object_get(past->since, name), "since");
}

static void add_rate(struct past *past, json_t *object, const char *name, const char *key,
		     json_int_t n)
{
	double rate = rate_of(past, key, n);

	if (rate >= 0)
		json_object_set_new(object, name, json_real(rate));
}

static void add_to_worker(struct past *past, const char *pool, json_t *worker)
{
	char key[96], what[96];

	snprintf(key, sizeof(key), "%s %lld", pool, number_in(worker, "worker"));
	snprintf(what, sizeof(what), "%lld %s %lld %lld", number_in(worker, "pid"),
		 text_in(worker, "doing"), number_in(worker, "job"),
		 number_in(worker, "done"));
	json_object_set_new(worker, "seen_ms",
			    json_integer(seen_for(past, key, what, 0) / 1000000));
}

static void add_to_pool(struct past *past, json_t *pool)
{
	const char *name = text_in(pool, "address");
	json_int_t finished = number_in(json_object_get(pool, "submitted"), "finished");
	json_t *worker;
	size_t i;

	add_rate(past, pool, "jobs_per_second", name, number_in(pool, "done") + finished);
	for (i = 0; (worker = json_array_get(json_object_get(pool, "workers"), i)); i++)
		add_to_worker(past, name, worker);
}

static void add_to_wait(struct past *past, json_t *wait)
{
	int64_t asleep = number_in(wait, "asleep_ms") * INT64_C(1000000);
	char key[96], what[160];

	snprintf(key, sizeof(key), "wait %lld", number_in(wait, "thread"));
	snprintf(what, sizeof(what), "%s %s", text_in(wait, "for"),
		 text_in(wait, "object"));
	json_object_set_new(wait, "seen_ms",
			    json_integer(seen_for(past, key, what, asleep) / 1000000));
}

static void compare(struct past *past, json_t *report)
{
	json_t *each;
	size_t i;

	past->now = tine_now();
	for (i = 0; (each = json_array_get(json_object_get(report, "pools"), i)); i++)
		add_to_pool(past, each);
	for (i = 0; (each = json_array_get(json_object_get(report, "queues"), i)); i++)
		add_rate(past, each, "messages_per_second", text_in(each, "address"),
			 number_in(each, "taken"));
	for (i = 0; (each = json_array_get(json_object_get(report, "waits"), i)); i++)
		add_to_wait(past, each);
	past->at = past->now;
}

static int look_once(const struct memory *memory, struct past *past)
{
	json_t *report = look_at_memory(memory, options.pid);

	if (!report)
		return complain(BROKEN, "top: too little memory");
	compare(past, report);
	if (options.json) {
		json_dumpf(report, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
		printf("\n");
	} else {
		/* The cursor to the first line, and no more below it. */
		if (isatty(STDOUT_FILENO))
			printf("\033[H\033[J");
		show_memory(report);
		if (!isatty(STDOUT_FILENO))
			printf("\n");
	}
	json_decref(report);
	return fflush(stdout) == 0 ? DONE : lose_output("top: ");
}

static int run_top(int argc, char **argv)
{
	struct past past = { 0 };
	struct memory memory;
	int code = open_family("top", &memory, options.pid);

	(void)argc;
	(void)argv;
	if (code != DONE)
		return code;
	past.counts = json_object();
	past.since = json_object();
	for (uint64_t i = 0; code == DONE; i++) {
		struct timespec second = { .tv_sec = 1 };

		code = look_once(&memory, &past);
		if (code != DONE || i + 1 == options.count)
			break;
		nanosleep(&second, NULL);
		if (strcmp(process_state(options.pid), "ended") == 0)
			break;
	}
	memory_close(&memory);
	json_decref(past.counts);
	json_decref(past.since);
	return code;
}

static const struct operand_row operands[] = {
	{ "PID", read_pid, &options.pid, "a process id", "A process of the family.", NULL,
	  false },
	{ 0 },
};

static const struct option_row rows[] = {
	{ "count", 'n', "N", read_positive, &options.count, "a whole number, at least 1",
	  "End after N looks. Default: when the process ends.", NULL },
	{ "json", 0, NULL, NULL, &options.json, NULL,
	  "Print a line for each look, with one JSON object.", NULL },
	{ 0 },
};

const struct command top_command = {
	.name = "top",
	.summary = "show the same as tine inspect, anew each second",
	.operand_rows = operands,
	.options = rows,
	.description =
		"Each second the command shows what\n"
		".Xr tine-inspect 1\n"
		"shows, with the jobs that each pool ends per second, the messages\n"
		"that are taken from each queue per second, and how long the command\n"
		"has seen a worker at the same job and a thread wait for the same\n"
		"object, for which the sleep before the first look counts as well.\n"
		"It ends with the process, or by a signal.\n"
		"On a terminal each look takes the place of the last one; elsewhere\n"
		"they follow each other.\n"
		".Pp\n"
		"With\n"
		".Fl \\-json\n"
		"the objects are those of\n"
		".Ql tine inspect --json .\n"
		"Pools also have the member\n"
		".Li jobs_per_second ,\n"
		"queues\n"
		".Li messages_per_second ,\n"
		"from the second look on, workers and waits\n"
		".Li seen_ms .\n",
	.example = "tine top -n 10 --json $(pgrep -o simulate)",
	.run = run_top,
};
