/* SPDX-License-Identifier: MIT */
/* The command: which lessons, and where what they found goes. */
#include "tour/tour.h"
#include "command.h"
#include "tour/events.h"
#include "tour/figures.h"
#include "tour/page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <tine.h>
#include <unistd.h>

static struct {
	bool quick, python;
	unsigned workers;
	const char *html, *json, *trace;
} options;

static const struct tour_lesson *const lessons[] = {
	&tour_pi,    &tour_cache, &tour_vectors, &tour_streams, &tour_primes,
	&tour_check, &tour_flags, &tour_kill,	 NULL,
};

/* ---- what is written --------------------------------------------------------------- */

/*
 * Opened before a minute's work, and not emptied before there is something else to be in
 * it.
 */
static int open_output(const char *option, const char *path, int *fd)
{
	*fd = -1;
	if (!path)
		return DONE;
	*fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
	if (*fd < 0)
		return complain(USAGE, "tour: --%s: '%s': %s", option, path,
				strerror(*path ? errno : ENOENT));
	return DONE;
}

static int write_output(const char *option, const char *path, int fd, const char *text,
			size_t len)
{
	if (ftruncate(fd, 0) != 0 && errno != EINVAL)
		goto fail;
	for (size_t at = 0; at < len;) {
		ssize_t n = write(fd, text + at, len - at);

		if (n < 0 && errno != EINTR)
			goto fail;
		at += n > 0 ? (size_t)n : 0;
	}
	return DONE;
fail:
	return complain(BROKEN, "tour: --%s: '%s': %s", option, path, strerror(errno));
}

static int write_page(const struct tour *tour, int fd)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int err;

	if (!out)
		return complain(BROKEN, "tour: %s", strerror(errno));
	tour_page(tour, out);
	if (fclose(out) == 0)
		err = write_output("html", options.html, fd, text, len);
	else
		err = complain(BROKEN, "tour: %s", strerror(errno));
	free(text);
	return err;
}

struct outputs {
	int html, json, trace;
};

static bool is_stdout(const char *path)
{
	return path && strcmp(path, "-") == 0;
}

static int open_outputs(struct outputs *outputs)
{
	const char *json = is_stdout(options.json) ? NULL : options.json;
	int err = open_output("html", options.html, &outputs->html);

	err = err ? err : open_output("json", json, &outputs->json);
	return err ? err : open_output("trace", options.trace, &outputs->trace);
}

static void close_outputs(const struct outputs *outputs)
{
	const int fds[] = { outputs->html, outputs->json, outputs->trace };

	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* Frees the text. */
static int write_text(const char *option, const char *path, int fd, char *text)
{
	int err = text ? write_output(option, path, fd, text, strlen(text))
		       : complain(BROKEN, "tour: %s", strerror(ENOMEM));

	free(text);
	return err;
}

static int write_files(const struct tour *tour, const struct outputs *outputs)
{
	int err = DONE;

	if (options.trace)
		err = write_text("trace", options.trace, outputs->trace,
				 events_of_tour(tour));
	if (options.html && err == DONE)
		err = write_page(tour, outputs->html);
	if (outputs->json >= 0 && err == DONE)
		err = write_text("json", options.json, outputs->json, tour_json(tour));
	return err;
}

static int print_all(const struct tour *tour)
{
	char *text;

	if (is_stdout(options.json)) {
		text = tour_json(tour);
		if (!text)
			return complain(BROKEN, "tour: %s", strerror(ENOMEM));
		fputs(text, stdout);
		free(text);
		return DONE;
	}
	tour_print(tour);
	if (options.html)
		printf("\nThe report is in %s\n", options.html);
	return DONE;
}

/* ---- the command ------------------------------------------------------------------- */

/* Of a line "name : value" in a file of /proc. */
static void read_proc(const char *path, const char *name, char *value, size_t size)
{
	FILE *file = fopen(path, "re");
	char line[512];

	*value = '\0';
	while (file && !*value && fgets(line, sizeof(line), file)) {
		char *colon = strchr(line, ':');

		if (!colon || strncmp(line, name, strlen(name)) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(value, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
	}
	if (file)
		fclose(file);
}

static void describe_machine(struct tour *tour)
{
	time_t now = time(NULL);
	struct utsname name;
	struct tm day;

	uname(&name);
	snprintf(tour->system, sizeof(tour->system), "%s %s %s", name.sysname,
		 name.release, name.machine);
	read_proc("/proc/cpuinfo", "model name", tour->processor,
		  sizeof(tour->processor));
	if (!*tour->processor)
		snprintf(tour->processor, sizeof(tour->processor), "%s", name.machine);
	tour->processors = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	tour->memory = (uint64_t)sysconf(_SC_PHYS_PAGES) *
		       (uint64_t)sysconf(_SC_PAGESIZE);
	strftime(tour->date, sizeof(tour->date), "%Y-%m-%d %H:%M",
		 localtime_r(&now, &day));
}

static void free_tour(struct tour *tour)
{
	for (unsigned i = 0; tour->sections && i < tour->n; i++)
		for (unsigned j = 0; j < tour->sections[i].n; j++)
			free(tour->sections[i].results[j].trace);
	free(tour->sections);
}

static void plan(struct tour *tour, int argc, char **argv)
{
	for (const struct tour_lesson *const *lesson = lessons; *lesson; lesson++) {
		struct tour_section *section = &tour->sections[tour->n];
		bool asked = argc == 0;

		for (int i = 0; i < argc; i++)
			asked |= strcmp(argv[i], (*lesson)->id) == 0;
		if (!asked)
			continue;
		section->lesson = *lesson;
		tour->n++;
		for (const struct tour_program *each = (*lesson)->programs; each->id;
		     each++) {
			struct tour_result *result = &section->results[section->n];

			if (!each->run && !tour->python)
				continue;
			result->program = each;
			tour_name(each, tour->workers, result->name,
				  sizeof(result->name));
			section->n++;
		}
	}
}

static int check_lessons(int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		const struct tour_lesson *const *lesson = lessons;

		while (*lesson && strcmp(argv[i], (*lesson)->id) != 0)
			lesson++;
		if (!*lesson)
			return complain(USAGE,
					"tour: LESSON wants pi, cache, vectors, streams, "
					"primes, check, flags or kill, not '%s'",
					argv[i]);
	}
	return DONE;
}

static int run_tour(int argc, char **argv)
{
	struct outputs outputs = { -1, -1, -1 };
	struct tour tour = { .quick = options.quick,
			     .python = options.python,
			     .workers = options.workers };
	int code = check_lessons(argc, argv), err = DONE;

	if (code != DONE)
		return code;
	code = open_outputs(&outputs);
	if (code != DONE)
		goto close;
	if (tour.workers == 0)
		tour.workers = tine_cpus();
	describe_machine(&tour);
	tour.sections = calloc(sizeof(lessons) / sizeof(*lessons),
			       sizeof(*tour.sections));
	if (!tour.sections) {
		code = complain(BROKEN, "tour: %s", strerror(ENOMEM));
		goto close;
	}
	plan(&tour, argc, argv);
	code = tour_run(&tour);
	if (code == DONE || code == SOME_FAILED)
		err = write_files(&tour, &outputs);
	/* Before anything is printed: a closed pipe would be the end. */
	tour_end();
	if (code != BROKEN && !err)
		err = print_all(&tour);
close:
	free_tour(&tour);
	close_outputs(&outputs);
	return err ? err : code;
}

static const struct option_row rows[] = {
	{ "quick", 'q', NULL, NULL, &options.quick, NULL,
	  "Less work in each lesson: seconds, not a minute.", NULL },
	{ "workers", 'j', "WORKERS", read_workers, &options.workers,
	  "a whole number from 1 to 1024",
	  "How many processes; as many as there are processors if not said.", NULL },
	{ "html", 0, "FILE", read_text, &options.html, "the path of a file",
	  "Write the report to this file: one page, complete in itself.", NULL },
	{ "json", 0, "FILE", read_text, &options.json,
	  "the path of a file, or - for standard output, instead of the table",
	  "Write what was found to this file, as one JSON object.", NULL },
	{ "python", 0, NULL, NULL, &options.python, NULL,
	  "Run Python's programs as well, on the same work: some minutes, if not quick.",
	  NULL },
	{ "trace", 0, "FILE", read_text, &options.trace, "the path of a file",
	  "Write what each process did to this file: see tine-trace(7).", NULL },
	{ 0 },
};

const struct command tour_command = {
	.name = "tour",
	.summary = "run the lessons of a course on processes, and report on them",
	.operands = "[LESSON ...]",
	.options = rows,
	.description =
		"Runs programs that do the same work with one process and with many, in "
		"good ways\nand in bad ones, and shows how long each took and what that "
		"teaches.\nWithout a\n.Ar LESSON ,\nall are run, in this order:\n"
		".Bl -tag -width vectors\n"
		".It Cm pi\nfrom random points, by a loop and by a pool of processes\n"
		".It Cm cache\nthe same with results that are kept, at first and again\n"
		".It Cm vectors\nthe same by vectors\n"
		".It Cm streams\nwhy each job needs random numbers of its own\n"
		".It Cm primes\nin a range, by a loop, by queues and by jobs of a pool\n"
		".It Cm check\na number that is too little work for processes\n"
		".It Cm flags\nnumbers that are much work, and how who finds a divisor "
		"stops the others:\nby the pool's search, an event, a mapped file, a "
		"store "
		"in a folder, and a Redis\nserver that is asked or mirrored\n"
		".It Cm kill\na worker is killed in the middle of a job\n"
		".El\n"
		".Pp\n"
		"Each program runs in a process of its own, the programs of a lesson in "
		"turn, up to\nthree times if there is time, and the median counts.\n"
		"All that give an answer must give the same.\n"
		"For a Redis server a private one is started, as by\n"
		".Xr tine-manager 1 ;\nwithout\n.Xr redis-server 1\nthose programs are "
		"left out.\n"
		".Pp\n"
		"Standard output gets a table; a terminal sees on standard error which "
		"program runs.\nThe report of\n.Fl \\-html\nhas charts, what each worker "
		"did when, and the code of the programs.\nThe object of\n.Fl "
		"\\-json\nhas the members\n"
		".Li tine , date , system , processor , processors , memory , workers , "
		"quick , seconds\nand\n.Li lessons ,\nof which each has\n"
		".Li id , title , work\nand\n.Li programs ,\nof which each has\n"
		".Li id , name , python , failed , never , seconds , ratio , look , "
		"note\nand\n"
		".Li left_out ,\nnull where there is none, and\n.Li estimates\nof pi;\n"
		".Li never\nis true of a program that comes to no end.\n"
		".Pp\n"
		"Python's programs need\n.Xr python3 1\nwith numpy and joblib.\n"
		"The exit status is 1 if a program failed or gave another answer.\n",
	.example = "tine tour --quick --html report.html",
	.run = run_tour,
};
