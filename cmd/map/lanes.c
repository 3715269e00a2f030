/* SPDX-License-Identifier: MIT */
/*
 * --trace. The file is a JSON array, and is one after each write: what is added replaces
 * the closing bracket, and ends in another. Jobs may be tine programs with traces of
 * their own, so TINE_TRACE is left to them.
 */
#include "map/lanes.h"

#include "map/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_OF_EVENT_NAME = 200 };
static const char tail[] = "\n]\n";

static struct {
	int file;	/* or -1 */
	off_t end;	/* where the closing bracket is */
	int64_t begun;	/* the zero of its times */
	unsigned named; /* slots that have a name there */
} lanes = { .file = -1 };

/* What cannot be written ends the trace, as it was. */
static void add_events(struct bytes *text)
{
	size_t len = text->len;

	bytes_add(text, tail, sizeof(tail) - 1);
	if (pwrite(lanes.file, text->at, text->len, lanes.end) == (ssize_t)text->len) {
		lanes.end += (off_t)len;
		return;
	}
	if (ftruncate(lanes.file, lanes.end) == 0)
		(void)!pwrite(lanes.file, tail, sizeof(tail) - 1, lanes.end);
	close(lanes.file);
	lanes.file = -1;
}

static void add_name(struct bytes *to, const char *what, int slot, const char *name)
{
	bytes_print(to,
		    "%s\n{\"name\": \"%s\", \"ph\": \"M\", \"pid\": %d, \"tid\": %d, "
		    "\"args\": {\"name\": \"%s",
		    lanes.end + (off_t)to->len > 1 ? "," : "", what, (int)getpid(),
		    slot + 1, name);
	if (slot >= 0)
		bytes_print(to, " %d", slot);
	bytes_print(to, "\"}}");
}

int lanes_open(void)
{
	struct bytes text = { 0 };
	int err;

	if (!map_options.trace)
		return DONE;
	err = check_trace_file("map", map_options.trace);
	if (err)
		return err;
	lanes.file = open(map_options.trace,
			  O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (lanes.file < 0)
		return complain(USAGE, "map: --trace: '%s': %s", map_options.trace,
				strerror(errno));
	lanes.begun = tine_now();
	bytes_print(&text, "[");
	add_name(&text, "process_name", -1, "tine map");
	add_events(&text);
	free(text.at);
	return DONE;
}

void lanes_attempt(const struct job *job)
{
	static struct bytes text, input;
	int64_t ns = job->kept ? tine_now() - job->begun : job->ns;

	if (lanes.file < 0)
		return;
	/* It has not run, or not again. */
	if (job->why == WHY_UNWANTED && (job->attempt == 0 || job->state > JOB_ENDS))
		return;
	text.len = input.len = 0;
	while (lanes.named <= job->slot)
		add_name(&text, "thread_name", (int)lanes.named++, "slot");
	add_inputs(&input, job);
	bytes_cut(&input, MOST_OF_EVENT_NAME);
	bytes_print(&text, ",\n{\"name\": ");
	add_json(&text, input.len ? input.at : "", input.len);
	bytes_print(&text,
		    ", \"cat\": \"job\", \"ph\": \"X\", \"pid\": %d, \"tid\": %u, "
		    "\"ts\": %.3f, \"dur\": %.3f, \"args\": {\"job\": %" PRIu64
		    ", \"attempt\": %u, \"kept\": %s",
		    (int)getpid(), job->slot + 1,
		    (double)(job->begun - lanes.begun) / 1e3, (double)ns / 1e3,
		    job->number, job->attempt, job->kept ? "true" : "false");
	add_end(&text, job);
	bytes_print(&text, "}}");
	add_events(&text);
}
