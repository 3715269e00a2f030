/* SPDX-License-Identifier: MIT */
/* The hosts of a pool: what they have to do, and what they can. */
#include "command.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <tine.h>

static struct {
	const char *url;
	bool json;
} options;

static unsigned listed;

static void print_json_tasks(const char *text)
{
	const char *between = "";

	printf("\"tasks\": [");
	while (*text) {
		size_t len = strcspn(text, " ");
		char *task = strndup(text, len);

		printf("%s", between);
		print_json_string(task ? task : "");
		free(task);
		between = ", ";
		text += len + strspn(text + len, " ");
	}
	printf("]");
}

/* Only once there is an answer. */
static void begin_json(void)
{
	printf(listed++ ? ",\n" : "{\"hosts\": [\n");
}

static int print_json_host(void *arg, const tine_host *host)
{
	(void)arg;
	begin_json();
	printf("  {\"name\": ");
	print_json_string(host->name);
	printf(", \"workers\": %u, \"busy\": %u, \"queued\": %u, \"done\": %" PRIu64
	       ", \"silent_ms\": %" PRId64 ", \"paused_ms\": %u, ",
	       host->workers, host->busy, host->queued, host->done, host->silent_ms,
	       host->paused_ms);
	print_json_tasks(host->tasks);
	printf("}");
	return 0;
}

static int print_host(void *arg, const tine_host *host)
{
	(void)arg;
	if (listed++ == 0)
		printf("%-24s %7s %5s %7s %12s %10s\n", "host", "workers", "busy",
		       "queued", "done", "silent ms");
	printf("%-24s %7u %5u %7u %12" PRIu64 " %10" PRId64 "%s\n", host->name,
	       host->workers, host->busy, host->queued, host->done, host->silent_ms,
	       host->paused_ms ? "  pauses: all jobs crash there" : "");
	for (const char *task = host->tasks; *task;) {
		size_t len = strcspn(task, " ");

		printf("    %.*s\n", (int)len, task);
		task += len + strspn(task + len, " ");
	}
	return 0;
}

static int run_workers(int argc, char **argv)
{
	int err;

	(void)argc;
	(void)argv;
	err = tine_hosts(pool_of_tine(options.url),
			 options.json ? print_json_host : print_host, NULL);
	if (err)
		return complain_of_engine("workers", options.url, err);
	if (options.json)
		printf(listed ? "\n]}\n" : "{\"hosts\": []}\n");
	else if (!listed)
		printf("no host\n");
	return DONE;
}

static const struct operand_row operands[] = {
	{ "URL", read_text, &options.url, "a URL", "Of the server, see tine-engines(7).",
	  NULL, false },
	{ 0 },
};

static const struct option_row rows[] = {
	{ "json", 0, NULL, NULL, &options.json, NULL, "Print one JSON object.", NULL },
	{ 0 },
};

const struct command workers_command = {
	.name = "workers",
	.summary = "list the hosts of a pool, and the tasks that they have",
	.operand_rows = operands,
	.options = rows,
	.description =
		"Prints for each host of the pool its name, its worker processes, the\n"
		"chunks of jobs that run and that wait there, the jobs it has done, and "
		"the\n"
		"milliseconds since it was last heard of, and below them its tasks.\n"
		"A task is\n"
		".Ar file : Ns Ar name . Ns Ar version . Ns Ar kind . Ns Ar in . Ns Ar "
		"out . "
		"Ns Ar order ,\n"
		"where\n"
		".Ar in\n"
		"and\n"
		".Ar out\n"
		"are sizes in bytes: a caller's jobs go to hosts that have the same.\n"
		"With\n"
		".Fl \\-json\n"
		"it prints an object whose\n"
		".Li hosts\n"
		"are objects with the members\n"
		".Li name ,\n"
		".Li workers ,\n"
		".Li busy ,\n"
		".Li queued ,\n"
		".Li done ,\n"
		".Li silent_ms ,\n"
		".Li paused_ms\n"
		"and\n"
		".Li tasks .\n",
	.example = "tine workers redis://server",
	.run = run_workers,
};
