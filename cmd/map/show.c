/* SPDX-License-Identifier: MIT */
/* The line on a terminal, and what is said at the end. */
#include "map/show.h"

#include "map/input.h"
#include "map/lanes.h"
#include "map/log.h"
#include "map/ready.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR = 14, MOST_NAMED = 10, TIMES = 512, MOST_OF_NAME = 200 };
#define DRAW_EVERY (MAP_SECOND / 10)

static struct {
	bool terminal;
	size_t drawn; /* bytes of it that are on the terminal */
	bool changed;
	int64_t begun, drawn_at;
	const struct job **slots; /* what runs */
	unsigned running;

	uint64_t ended, kept, failed;
	int64_t summed;	       /* ns that jobs have run or, kept ones, would have */
	uint64_t times[TIMES]; /* how many took so long, by a logarithm */

	/* The failures of the first jobs, by their number. */
	struct failure {
		uint64_t number;
		char *text;
	} failures[MOST_NAMED];
	unsigned named;
	unsigned stops; /* that were said */
} show;

int show_open(void)
{
	const char *term = getenv("TERM");
	int err;

	show.terminal = isatty(STDERR_FILENO) && term && *term &&
			strcmp(term, "dumb") != 0;
	show.begun = show.drawn_at = tine_now();
	show.slots = must(calloc(map_options.workers, sizeof(*show.slots)));
	err = log_open();
	return err ? err : lanes_open();
}

bool show_is_on(void)
{
	return show.terminal;
}

/* ---- how long jobs take ------------------------------------------------------------ */

/* Eight classes to each power of two. */
static unsigned class_of(int64_t ns)
{
	unsigned power = 0;

	while (ns >> power > 15)
		power++;
	return ns < 8 ? 0 : power * 8 + (unsigned)(ns >> power) - 8;
}

static int64_t median(void)
{
	uint64_t before = 0, half = (show.ended + 1) / 2;

	for (unsigned i = 0; i < TIMES; i++) {
		before += show.times[i];
		if (before >= half)
			return (int64_t)(i % 8 + 8) << i / 8;
	}
	return 0;
}

/* What is left, in ns; -1: nobody knows. */
static int64_t time_left(int64_t now)
{
	uint64_t guessed, known, total;
	int64_t each = median(), longest = 0, sum = ready_guessed(&guessed);

	if (!input_total(&total) || show.ended < map_options.workers)
		return -1;
	for (unsigned i = 0; i < map_options.workers; i++) {
		int64_t guess, left;

		if (!show.slots[i])
			continue;
		guess = show.slots[i]->guess ? show.slots[i]->guess : each;
		left = guess - (now - show.slots[i]->begun);
		left = left > 0 ? left : 0;
		longest = left > longest ? left : longest;
		sum += left;
	}
	known = show.ended + show.running + guessed;
	if (total > known)
		sum += (int64_t)(total - known) * each;
	sum /= map_options.workers;
	return sum > longest ? sum : longest;
}

/* ---- jobs -------------------------------------------------------------------------- */

void show_start(struct job *job)
{
	show.slots[job->slot] = job;
	show.running++;
	show.changed = true;
	job->begun = tine_now();
}

/* A control character of UTF-8 in two bytes, U+0080 to U+009F; some terminals obey it. */
static bool is_long_control(const unsigned char *at, const unsigned char *end)
{
	return end - at > 1 && at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0;
}

/* No byte of a name is a terminal's command. */
static void make_visible(struct bytes *text, size_t from)
{
	unsigned char *at = (unsigned char *)text->at, *end = at + text->len;

	for (at += from; at < end; at++) {
		if (*at < 0x20 || *at == 0x7f)
			*at = '?';
		else if (is_long_control(at, end))
			at[0] = at[1] = '?';
	}
}

static void add_visible_inputs(struct bytes *to, const struct job *job)
{
	size_t from = to->len;

	add_inputs(to, job);
	if (to->len > from + MOST_OF_NAME) {
		bytes_cut(to, from + MOST_OF_NAME);
		bytes_print(to, "...");
	}
	make_visible(to, from);
}

/* Those of the lowest numbers are kept. */
static void note_failure(const struct job *job)
{
	struct bytes text = { 0 };
	unsigned at = show.named;

	while (at > 0 && show.failures[at - 1].number > job->number)
		at--;
	if (at == MOST_NAMED)
		return;
	if (show.named == MOST_NAMED)
		free(show.failures[--show.named].text);
	memmove(&show.failures[at + 1], &show.failures[at],
		(show.named - at) * sizeof(*show.failures));
	show.named++;
	add_visible_inputs(&text, job);
	bytes_print(&text, ": ");
	add_reason(&text, job);
	make_visible(&text, 0);
	bytes_add(&text, "", 1);
	show.failures[at] = (struct failure){ job->number, text.at };
}

int show_end(const struct job *job)
{
	show.slots[job->slot] = NULL;
	show.running--;
	show.changed = true;
	lanes_attempt(job);
	if (job->why == WHY_UNWANTED)
		return 0;
	show.ended++;
	show.kept += job->kept;
	show.summed += job->ns;
	show.times[class_of(job->ns)]++;
	if (!job_is_good(job)) {
		show.failed++;
		note_failure(job);
	}
	return log_attempt(job, true);
}

void show_stopped(const struct job *job, pid_t pid, int signal)
{
	struct bytes name = { 0 };

	if (show.stops++ >= MOST_NAMED)
		return;
	show_hide();
	add_visible_inputs(&name, job);
	complain(0, "map: %.*s: process %d is stopped%s%s, and waits for SIGCONT",
		 (int)name.len, name.at, (int)pid, signal ? " by SIG" : "",
		 signal && sigabbrev_np(signal) ? sigabbrev_np(signal) : "");
	free(name.at);
}

int show_attempt(const struct job *job)
{
	show.changed = true;
	lanes_attempt(job);
	return log_attempt(job, false);
}

uint64_t show_failures(void)
{
	return show.failed;
}

/* ---- the line ---------------------------------------------------------------------- */

static void add_clock(struct bytes *to, int64_t ns)
{
	long long seconds = (ns + MAP_SECOND / 2) / MAP_SECOND;

	if (seconds >= 3600)
		bytes_print(to, "%lld:%02lld:%02lld", seconds / 3600, seconds / 60 % 60,
			    seconds % 60);
	else
		bytes_print(to, "%lld:%02lld", seconds / 60, seconds % 60);
}

static void add_bar(struct bytes *to)
{
	uint64_t total;
	bool known = input_total(&total) && total > 0;
	unsigned full = known ? (unsigned)(show.ended * BAR / total) : 0;

	for (unsigned i = 0; i < BAR; i++)
		bytes_add(to, i < full ? "#" : ".", 1);
	bytes_print(to, " %" PRIu64 "/", show.ended);
	if (known)
		bytes_print(to, "%" PRIu64, total);
	else
		bytes_print(to, "?");
	if (show.kept)
		bytes_print(to, "  %" PRIu64 " kept", show.kept);
	if (show.failed)
		bytes_print(to, "  %" PRIu64 " failed", show.failed);
}

static void add_running(struct bytes *to, int64_t now, size_t most)
{
	const char *before = ": ";

	if (show.running == 0)
		return;
	bytes_print(to, "  %u run", show.running);
	for (unsigned i = 0; i < map_options.workers; i++) {
		size_t len = to->len;

		if (!show.slots[i])
			continue;
		bytes_print(to, "%s", before);
		add_inputs(to, show.slots[i]);
		make_visible(to, len);
		bytes_cut(to, len + MOST_OF_NAME);
		bytes_print(to, " ");
		add_clock(to, now - show.slots[i]->begun);
		before = ", ";
		if (to->len > most) {
			to->len = len;
			break;
		}
	}
}

int64_t show_line(void)
{
	static struct bytes line, left;
	int64_t now, rest;
	struct winsize size;
	size_t width = 79;
	struct pollfd room = { .fd = STDERR_FILENO, .events = POLLOUT };

	if (!show.terminal)
		return TINE_FOREVER;
	now = tine_now();
	rest = show.drawn_at + (show.changed ? DRAW_EVERY : MAP_SECOND) - now;
	if (rest > 0)
		return now + rest;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1)
		width = size.ws_col - 1u;
	line.len = left.len = 0;
	rest = time_left(now);
	if (rest >= 0) {
		bytes_print(&left, "  ETA ");
		add_clock(&left, rest);
	}
	add_bar(&line);
	add_running(&line, now, width > left.len ? width - left.len : 0);
	if (line.len + left.len <= width)
		bytes_add(&line, left.at, left.len);
	/* Bytes are no fewer than columns. */
	bytes_cut(&line, width);
	show.drawn_at = now;
	show.changed = false;
	/* Bound: it only looks. A terminal may have been stopped. */
	if (poll(&room, 1, 0) == 1) {
		fprintf(stderr, "\r%.*s%*s", (int)line.len, line.at,
			line.len < show.drawn ? (int)(show.drawn - line.len) : 0, "");
		show.drawn = line.len;
	}
	return now + MAP_SECOND;
}

void show_hide(void)
{
	if (!show.drawn)
		return;
	fprintf(stderr, "\r%*s\r", (int)show.drawn, "");
	show.drawn = 0;
	show.changed = true;
}

/* ---- the end ----------------------------------------------------------------------- */

static void show_named(void)
{
	uint64_t more = show.failed - show.named;

	complain(0, "map: %" PRIu64 " of %" PRIu64 " jobs failed", show.failed,
		 show.ended);
	for (unsigned i = 0; i < show.named; i++)
		fprintf(stderr, "%s\n", show.failures[i].text);
	if (more)
		fprintf(stderr, "and %" PRIu64 " more; %s has all\n", more,
			map_options.log ? map_options.log : "--log FILE");
}

void show_summary(bool failures)
{
	uint64_t run = show.ended - show.kept;

	if (show.failed && failures)
		show_named();
	if (!show.terminal || show.ended == 0)
		return;
	fprintf(stderr, "%" PRIu64 " jobs", show.ended);
	if (show.kept)
		fprintf(stderr, ", %" PRIu64 " kept", show.kept);
	fprintf(stderr, ", %" PRIu64 " run in %.3g s (%u at a time; one by one %.3g s)\n",
		run, (double)(tine_now() - show.begun) / 1e9, map_options.workers,
		(double)show.summed / 1e9);
}
