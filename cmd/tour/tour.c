/* SPDX-License-Identifier: MIT */
/* The command: which lessons, and where what they found goes. */
#include "tour/tour.h"
#include "command.h"
#include "tour/events.h"
#include "tour/figures.h"
#include "tour/page.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

static int refuse_output(int code, const char *option, const char *path, int err)
{
	return complain(code, "tour: --%s: '%s': %s", option, path, strerror(err));
}

/* Before a minute's work: whether there can be such a file, which stays as it is. */
static int try_output(const char *option, const char *path)
{
	struct stat stat_of;
	char *copy;
	int err = 0;

	if (!path)
		return DONE;
	if (stat(path, &stat_of) == 0) {
		err = S_ISDIR(stat_of.st_mode)	? EISDIR
		      : access(path, W_OK) != 0 ? errno
						: 0;
	} else if (errno == ENOENT && *path) {
		copy = strdup(path);
		if (!copy || access(dirname(copy), W_OK | X_OK) != 0)
			err = errno;
		free(copy);
	} else {
		err = errno;
	}
	return err ? refuse_output(USAGE, option, path, err) : DONE;
}

/* Beside it, then in its place: a reader sees all of it, or the old one. 0, or errno. */
static int replace_file(const char *path, const char *text, size_t len, mode_t mode)
{
	char *beside;
	int fd, err;

	if (asprintf(&beside, "%s.XXXXXX", path) < 0)
		return ENOMEM;
	fd = mkostemp(beside, O_CLOEXEC);
	err = fd < 0 ? errno : -write_all(fd, text, len);
	if (fd >= 0 && !err && fchmod(fd, mode) != 0)
		err = errno;
	if (fd >= 0 && close(fd) != 0 && !err)
		err = errno;
	if (fd >= 0 && !err && rename(beside, path) != 0)
		err = errno;
	if (fd >= 0 && err)
		unlink(beside);
	free(beside);
	return err;
}

/* What is there, emptied first. */
static int write_into(const char *path, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY);
	int err = fd < 0 ? errno : -write_all(fd, text, len);

	if (fd >= 0 && close(fd) != 0 && !err)
		err = errno;
	return err;
}

/* A terminal or a pipe is written to, and a file in a folder that takes no other. */
static int write_output(const char *option, const char *path, const char *text,
			size_t len)
{
	mode_t mask = umask(0), mode = 0666 & ~mask;
	char *target = realpath(path, NULL);
	struct stat stat_of;
	int err;

	umask(mask);
	if (target && stat(target, &stat_of) == 0 && !S_ISREG(stat_of.st_mode)) {
		err = write_into(target, text, len);
	} else {
		if (target)
			mode = stat_of.st_mode & 07777;
		err = replace_file(target ? target : path, text, len, mode);
		if (err == EACCES && target)
			err = write_into(target, text, len);
	}
	free(target);
	return err ? refuse_output(BROKEN, option, path, err) : DONE;
}

static int write_page(const struct tour *tour)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int err;

	if (!out)
		return complain(BROKEN, "tour: %s", strerror(errno));
	tour_page(tour, out);
	if (fclose(out) == 0)
		err = write_output("html", options.html, text, len);
	else
		err = complain(BROKEN, "tour: %s", strerror(errno));
	free(text);
	return err;
}

static bool is_stdout(const char *path)
{
	return path && strcmp(path, "-") == 0;
}

static int try_outputs(void)
{
	int err = try_output("html", options.html);

	if (!err && !is_stdout(options.json))
		err = try_output("json", options.json);
	return err ? err : try_output("trace", options.trace);
}

/* Frees the text. */
static int write_text(const char *option, const char *path, char *text)
{
	int err = text ? write_output(option, path, text, strlen(text))
		       : complain(BROKEN, "tour: %s", strerror(ENOMEM));

	free(text);
	return err;
}

static int write_files(const struct tour *tour)
{
	int err = DONE;

	if (options.trace)
		err = write_text("trace", options.trace, events_of_tour(tour));
	if (options.html && err == DONE)
		err = write_page(tour);
	if (options.json && !is_stdout(options.json) && err == DONE)
		err = write_text("json", options.json, tour_json(tour));
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
					"tour: unknown lesson '%s': choose pi, cache, "
					"vectors, streams, primes, check, flags or kill",
					argv[i]);
	}
	return DONE;
}

static int run_tour(int argc, char **argv)
{
	struct tour tour = { .quick = options.quick,
			     .python = options.python,
			     .workers = options.workers };
	int code = check_lessons(argc, argv), err = DONE;

	if (code != DONE)
		return code;
	code = try_outputs();
	if (code != DONE)
		return code;
	if (tour.workers == 0)
		tour.workers = tine_cpus();
	describe_machine(&tour);
	tour.busy = machine_is_busy(&tour.load);
	tour.sections = calloc(sizeof(lessons) / sizeof(*lessons),
			       sizeof(*tour.sections));
	if (!tour.sections)
		return complain(BROKEN, "tour: %s", strerror(ENOMEM));
	plan(&tour, argc, argv);
	code = tour_run(&tour);
	if (code == DONE || code == SOME_FAILED)
		err = write_files(&tour);
	/* Before anything is printed: a closed pipe would be the end. */
	tour_end();
	if (code != BROKEN && !err)
		err = print_all(&tour);
	free_tour(&tour);
	return err ? err : code;
}

static const struct option_row rows[] = {
	{ "quick", 'q', NULL, NULL, &options.quick, NULL,
	  "Do less work in each lesson. It takes seconds instead of a minute.", NULL },
	WORKERS_ROW(options.workers),
	{ "html", 0, "FILE", read_text, &options.html, "the path of a file",
	  "Write the report to this file, as one page without other files.", NULL },
	{ "json", 0, "FILE", read_text, &options.json,
	  "the path of a file, or - for standard output, instead of the table",
	  "Write the results to this file, as one JSON object.", NULL },
	{ "python", 0, NULL, NULL, &options.python, NULL,
	  "Also run the programs in Python, some of them over tine as well if its "
	  "package "
	  "is there. Without --quick that takes some minutes.",
	  NULL },
	{ "trace", 0, "FILE", read_text, &options.trace, "the path of a file",
	  "Write a trace of all processes to this file, see tine-trace(7).", NULL },
	{ 0 },
};

const struct command tour_command = {
	.name = "tour",
	.summary = "run the lessons of a course on processes, and write a report",
	.operands = "[LESSON ...]",
	.options = rows,
	.description =
		"Runs programs that do the same work with one process and with many,\n"
		"in good ways and in bad ones.\n"
		"It shows how long each took and what that teaches.\n"
		"Without a\n"
		".Ar LESSON ,\n"
		"all lessons are run, in this order:\n"
		".Bl -tag -width vectors\n"
		".It Cm pi\n"
		"from random points, by a loop and by a pool of processes\n"
		".It Cm cache\n"
		"the same with results that are kept, the first time and again\n"
		".It Cm vectors\n"
		"the same by vectors\n"
		".It Cm streams\n"
		"why each job needs random numbers of its own\n"
		".It Cm primes\n"
		"in a range, by a loop, by queues and by jobs of a pool\n"
		".It Cm check\n"
		"a number that is too little work for processes\n"
		".It Cm flags\n"
		"numbers that are much work, and how a worker that finds a divisor\n"
		"stops the others: by the search of a pool, an event, a mapped file, a\n"
		"store in a folder, and a Redis server that is read or mirrored\n"
		".It Cm kill\n"
		"a worker is killed in the middle of a job\n"
		".El\n"
		".Pp\n"
		"Each program runs in a process of its own.\n"
		"The programs of a lesson run in turn, up to three times if there is\n"
		"time, and the median counts.\n"
		"All programs that give an answer must give the same answer.\n"
		"For a Redis server a private one is started, as by\n"
		".Xr tine-manager 1 .\n"
		"Without\n"
		".Xr redis-server 1\n"
		"those programs are left out.\n"
		".Pp\n"
		"Standard output gets a table.\n"
		"If standard error is a terminal, it shows which program runs.\n"
		"The report of\n"
		".Fl \\-html\n"
		"has charts, what each worker did when, and the code of the programs.\n"
		"The object of\n"
		".Fl \\-json\n"
		"has the members\n"
		".Li tine , date , system , processor , processors , memory , load ,\n"
		".Li workers , quick , seconds\n"
		"and\n"
		".Li lessons .\n"
		"Each lesson has\n"
		".Li id , title , work\n"
		"and\n"
		".Li programs .\n"
		"Each program has\n"
		".Li id , name , python , failed , never , seconds , ratio , look ,\n"
		".Li note\n"
		"and\n"
		".Li left_out ,\n"
		"null if there is none, and\n"
		".Li estimates\n"
		"of pi.\n"
		".Li never\n"
		"is true of a program that would not end.\n"
		".Pp\n"
		"The programs of Python need\n"
		".Xr python3 1\n"
		"with numpy and joblib.\n"
		"The exit status is 1 if a program failed or gave another answer.\n",
	.example = "tine tour --quick --html report.html",
	.run = run_tour,
	.operand_words = "pi cache vectors streams primes check flags kill",
};
