/* SPDX-License-Identifier: MIT */
/*
 * Runs the lessons. Each run of a program is a process: it says what it found in a
 * mapping, and ends. If it crashes, fails or takes too long, that is one line of the
 * table. When the tour ends, in any way, so does the program that runs, and so do its
 * processes; on a signal the temporary folder goes as well.
 *
 * The programs of a lesson run in turn, A B C A B C, so that what disturbs the machine
 * disturbs all of them. Traces are of one more run.
 */
#include "tour.h"

#include "../command.h"
#include "embedded.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <tine.h>
#include <unistd.h>

#define LONGEST	       120000 /* milliseconds of a run */
#define LONGEST_PYTHON 900000
#define ENOUGH	       INT64_C(2500000000) /* nanoseconds of a lesson: no further round */
#define ENOUGH_QUICK   INT64_C(400000000)

static struct {
	bool quick, python;
	unsigned workers;
	const char *html, *json, *trace;
} options;

const struct tour_lesson *const tour_lessons[] = {
	&tour_pi,    &tour_cache, &tour_vectors, &tour_streams, &tour_primes,
	&tour_check, &tour_flags, &tour_kill,	 NULL,
};

/* What a program and the tour share. */
struct stage {
	struct tour_run run;
	int err;
};

static struct {
	struct stage *stage;
	sigset_t signals, before;
	int signal; /* that ends the tour, or 0 */
	char folder[4096];
	unsigned lesson, lessons; /* the progress, and how wide it stands there */
	int shown;
} state;

/* ---- files and folders ------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *stat, int type,
			struct FTW *at)
{
	(void)stat;
	(void)type;
	/* The folder itself stays. */
	return at->level > 0 ? remove(path) : 0;
}

static void empty_folder(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* In memory, if there is a folder for it: no disk is to be measured. */
static int make_folder(void)
{
	const char *folder = getenv("TMPDIR");

	if (!folder || !*folder)
		folder = access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
	if (snprintf(state.folder, sizeof(state.folder), "%s/tine-XXXXXX", folder) >=
	    2048)
		return complain(BROKEN, "tour: '%s': %s", folder, strerror(ENAMETOOLONG));
	if (!mkdtemp(state.folder))
		return complain(BROKEN, "tour: '%s': %s", state.folder, strerror(errno));
	return DONE;
}

static void remove_folder(void)
{
	empty_folder(state.folder);
	rmdir(state.folder);
}

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

/* ---- words ------------------------------------------------------------------------- */

/* 100,000,000 of 100000000. */
static char *group_digits(const char *digits, size_t len, char *to)
{
	for (size_t i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	return to;
}

const char *tour_work(const struct tour *tour, const struct tour_lesson *lesson,
		      char *buf, size_t size)
{
	const char *number = tour->quick ? lesson->quick : lesson->work;
	char *to = buf;

	for (const char *at = lesson->unit; *at && to < buf + size - 32; at++) {
		size_t len = strcspn(number, ",");

		if (at[0] != '%' || at[1] != 's') {
			*to++ = *at;
			continue;
		}
		to = group_digits(number, len, to);
		number += number[len] ? len + 1 : len;
		at++;
	}
	*to = '\0';
	return buf;
}

const char *tour_time(double seconds, char *buf, size_t size)
{
	static const char *const units[] = { "s", "ms", "us", "ns" };
	int unit = 0;

	while (seconds < 0.9995 && unit < 3) {
		seconds *= 1000;
		unit++;
	}
	snprintf(buf, size, "%.*f %s",
		 seconds < 9.995   ? 2
		 : seconds < 99.95 ? 1
				   : 0,
		 seconds, units[unit]);
	return buf;
}

const char *tour_ratio(double ratio, char *buf, size_t size)
{
	char digits[32], *end;

	if (ratio >= 0.0995 || ratio <= 0) {
		snprintf(buf, size, "%.*fx",
			 ratio < 9.995	 ? 2
			 : ratio < 99.95 ? 1
					 : 0,
			 ratio);
		return buf;
	}
	snprintf(digits, sizeof(digits), "%.0f", 1 / ratio);
	end = group_digits(digits, strlen(digits), buf + sprintf(buf, "1/"));
	strcpy(end, "x");
	return buf;
}

/* Of %w and %p: "1 worker", "2 workers"; "1 process", "2 processes". */
static void name_program(const struct tour_program *program, char *buf, size_t size)
{
	const char *at = strchr(program->name, '%');
	unsigned n = options.workers;

	if (at)
		snprintf(buf, size, "%.*s%u %s%s%s", (int)(at - program->name),
			 program->name, n, at[1] == 'w' ? "worker" : "process",
			 n == 1		? ""
			 : at[1] == 'w' ? "s"
					: "es",
			 at + 2);
	else
		snprintf(buf, size, "%s", program->name);
}

/* ---- one run ----------------------------------------------------------------------- */

/* A line that the next one covers; "" ends that. */
static void show(const char *line)
{
	struct winsize size = { .ws_col = 80 };
	int len = (int)strlen(line);

	if (!isatty(STDERR_FILENO))
		return;
	ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
	if (len >= size.ws_col)
		len = size.ws_col > 0 ? size.ws_col - 1 : 0;
	fprintf(stderr, "\r%-*.*s%s", state.shown, len, line, *line ? "" : "\r");
	state.shown = len;
}

static void show_program(const struct tour_section *section,
			 const struct tour_result *result)
{
	char line[2 * TOUR_TEXT];

	snprintf(line, sizeof(line), "[%u/%u] %s: %s", state.lesson, state.lessons,
		 section->lesson->title, result->name);
	show(line);
}

/* What a process does that was made for a run. */
static void be_program(const struct tour_program *program, const char *trace, pid_t tour)
{
	struct stage *stage = state.stage;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigprocmask(SIG_SETMASK, &state.before, NULL);
	if (getppid() == tour &&
	    (trace ? setenv("TINE_TRACE", trace, 1) : unsetenv("TINE_TRACE")) == 0)
		stage->err = program->run ? program->run(&stage->run)
					  : tour_python(program, &stage->run);
	_exit(0);
}

/* Waits for one, of a child or for the tour. */
static void take_signal(int64_t ns)
{
	struct timespec wait = { ns / 1000000000, ns % 1000000000 };
	int got = sigtimedwait(&state.signals, NULL, &wait);

	if (got > 0 && got != SIGCHLD)
		state.signal = got;
}

/* Until it has ended, or takes too long, or a signal comes for the tour. */
static bool await(pid_t pid, int64_t deadline, int *how)
{
	while (!state.signal) {
		int64_t left = deadline - tine_now();
		bool ended = waitpid(pid, how, WNOHANG) == pid;

		take_signal(ended ? 0 : left > 0 ? left : 0);
		if (ended)
			return true;
		if (left <= 0)
			break;
	}
	kill(pid, SIGKILL);
	waitpid(pid, how, 0);
	return false;
}

static void fail(struct tour_run *run, const char *why)
{
	/* A program may have said more. */
	if (!*run->note)
		snprintf(run->note, sizeof(run->note), "%s", why);
}

/* Whether it came to an end; what it found, or why not, is on the stage. */
static bool run_once(const struct tour_program *program, const struct tour_run *told,
		     const char *trace)
{
	struct stage *stage = state.stage;
	pid_t tour = getpid(), pid;
	char why[TOUR_TEXT];
	int how = 0;

	*stage = (struct stage){ .run = *told, .err = -TINE_ECRASH };
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		be_program(program, trace, tour);
	if (pid < 0)
		snprintf(why, sizeof(why), "%s", strerror(errno));
	else if (!await(pid, tine_after(program->run ? LONGEST : LONGEST_PYTHON), &how))
		snprintf(why, sizeof(why), "it took too long, and was ended");
	else if (WIFSIGNALED(how))
		snprintf(why, sizeof(why), "it was ended by signal %d", WTERMSIG(how));
	else if (stage->err)
		snprintf(why, sizeof(why), "%s", tine_strerror(stage->err));
	else
		return true;
	fail(&stage->run, why);
	return false;
}

/* ---- a lesson ---------------------------------------------------------------------- */

static void read_numbers(const char *text, struct tour_run *run)
{
	for (run->n = 0; *text && run->n < TOUR_NUMBERS; run->n++) {
		char *end;

		run->numbers[run->n] = strtoull(text, &end, 10);
		text = *end ? end + 1 : end;
	}
}

static bool is_wanted(const struct tour_program *program)
{
	return program->run || options.python;
}

/* Kept in order of time; how many there are so far. */
static void keep(struct tour_run *runs, unsigned n, const struct tour_run *run)
{
	for (; n > 0 && runs[n - 1].seconds > run->seconds; n--)
		runs[n] = runs[n - 1];
	runs[n] = *run;
}

/* Another answer than that of the others is a failure. */
static void compare_answers(struct tour_section *section)
{
	const struct tour_run *first = NULL;

	for (unsigned i = 0; i < section->n; i++) {
		struct tour_result *result = &section->results[i];
		struct tour_run *run = &result->run;

		if (!run->has_answer || result->failed)
			continue;
		if (!first)
			first = run;
		if (run->answer == first->answer)
			continue;
		result->failed = true;
		snprintf(run->note, sizeof(run->note),
			 "its answer is %llu, and should be %llu",
			 (unsigned long long)run->answer,
			 (unsigned long long)first->answer);
	}
}

static void run_round(struct tour_section *section, unsigned round,
		      struct tour_run (*runs)[TOUR_RUNS], const struct tour_run *told)
{
	for (unsigned i = 0; i < section->n && !state.signal; i++) {
		struct tour_result *result = &section->results[i];

		if (result->failed || *result->run.left_out ||
		    (round > 0 && result->program->once))
			continue;
		show_program(section, result);
		result->failed = !run_once(result->program, told, NULL);
		keep(runs[i], round, &state.stage->run);
		result->run = result->failed ? state.stage->run : runs[i][round / 2];
	}
}

static void run_traced(struct tour_section *section, const struct tour_run *told)
{
	for (unsigned i = 0; i < section->n && !state.signal; i++) {
		struct tour_result *result = &section->results[i];

		if (!result->program->timeline || result->failed || *result->run.left_out)
			continue;
		show_program(section, result);
		if (asprintf(&result->trace, "%s/%s-%s.trace", state.folder,
			     section->lesson->id, result->program->id) < 0)
			result->trace = NULL;
		if (!result->trace || !run_once(result->program, told, result->trace)) {
			free(result->trace);
			result->trace = NULL;
		}
	}
}

static void run_lesson(struct tour_section *section)
{
	static struct tour_run runs[TOUR_PROGRAMS][TOUR_RUNS];
	const struct tour_lesson *lesson = section->lesson;
	int64_t begun = tine_now(), enough = options.quick ? ENOUGH_QUICK : ENOUGH;
	char folder[4200];
	struct tour_run told = { .lesson = lesson,
				 .workers = options.workers,
				 .folder = folder };

	snprintf(folder, sizeof(folder), "%s/work", state.folder);
	if (mkdir(folder, 0700) != 0 && errno != EEXIST)
		return;
	read_numbers(options.quick ? lesson->quick : lesson->work, &told);
	for (unsigned round = 0; round < TOUR_RUNS; round++) {
		if (round > 0 && tine_now() - begun > enough)
			break;
		run_round(section, round, runs, &told);
	}
	run_traced(section, &told);
	empty_folder(folder);
	compare_answers(section);
	for (unsigned i = 0; i < section->n; i++) {
		struct tour_result *result = &section->results[i];
		double first = section->results[0].run.seconds;

		if (!section->results[0].failed && !result->failed &&
		    result->run.seconds > 0)
			result->ratio = first / result->run.seconds;
	}
}

/* ---- the tour ---------------------------------------------------------------------- */

static void plan(struct tour *tour, int argc, char **argv)
{
	for (const struct tour_lesson *const *lesson = tour_lessons; *lesson; lesson++) {
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

			if (!is_wanted(each))
				continue;
			result->program = each;
			name_program(each, result->name, sizeof(result->name));
			section->n++;
		}
	}
}

static void print_section(const struct tour *tour, const struct tour_section *section)
{
	char work[TOUR_TEXT], time[32], ratio[64], title[2 * TOUR_TEXT];

	snprintf(title, sizeof(title), "%s: %s", section->lesson->title,
		 tour_work(tour, section->lesson, work, sizeof(work)));
	print_wrapped(title, 0, stdout);
	for (unsigned i = 0; i < section->n; i++) {
		const struct tour_result *result = &section->results[i];
		const struct tour_run *run = &result->run;
		bool left_out = *run->left_out;

		printf("  %-50s %10s %11s\n", result->name,
		       left_out		? "left out"
		       : result->failed ? "FAILED"
					: tour_time(run->seconds, time, sizeof(time)),
		       left_out || result->ratio == 0
			       ? ""
			       : tour_ratio(result->ratio, ratio, sizeof(ratio)));
		printf("      ");
		print_wrapped(left_out ? run->left_out : result->program->shows, 6,
			      stdout);
		if (*run->note) {
			printf("      ");
			print_wrapped(run->note, 6, stdout);
		}
		if (run->look > 0)
			printf("      A look at the flag: %s.\n",
			       tour_time(run->look, time, sizeof(time)));
	}
	printf("\n");
}

static void print_table(const struct tour *tour)
{
	for (unsigned i = 0; i < tour->n; i++)
		print_section(tour, &tour->sections[i]);
	printf("x: times as fast as the first line of its part. Times are the medians of "
	       "one to %d\nruns, as many as time allows, with the start and the end of "
	       "the processes.\n",
	       TOUR_RUNS);
}

/* ---- JSON -------------------------------------------------------------------------- */

static json_t *number_or_null(double number)
{
	return number > 0 ? json_real(number) : json_null();
}

static json_t *text_or_null(const char *text)
{
	return *text ? json_string(text) : json_null();
}

static json_t *describe_result(const struct tour_result *result)
{
	const struct tour_run *run = &result->run;
	bool ran = !result->failed && !*run->left_out;
	json_t *object = json_pack(
		"{s:s, s:s, s:b, s:b, s:o, s:o, s:o, s:o, s:o}", "id",
		result->program->id, "name", result->name, "python",
		result->program->script != NULL, "failed", result->failed, "seconds",
		ran ? json_real(run->seconds) : json_null(), "ratio",
		number_or_null(result->ratio), "look", number_or_null(run->look), "note",
		text_or_null(run->note), "left_out", text_or_null(run->left_out));
	json_t *estimates = run->jobs ? json_array() : NULL;

	for (unsigned i = 0; i < run->jobs; i++)
		json_array_append_new(estimates, json_real(run->estimates[i]));
	if (estimates)
		json_object_set_new(object, "estimates", estimates);
	return object;
}

static json_t *describe_section(const struct tour *tour,
				const struct tour_section *section)
{
	json_t *programs = json_array();
	char work[TOUR_TEXT];

	for (unsigned i = 0; i < section->n; i++)
		json_array_append_new(programs, describe_result(&section->results[i]));
	return json_pack("{s:s, s:s, s:s, s:o}", "id", section->lesson->id, "title",
			 section->lesson->title, "work",
			 tour_work(tour, section->lesson, work, sizeof(work)), "programs",
			 programs);
}

static char *describe(const struct tour *tour)
{
	json_t *lessons = json_array(), *object;
	char *text, *line = NULL;

	for (unsigned i = 0; i < tour->n; i++)
		json_array_append_new(lessons,
				      describe_section(tour, &tour->sections[i]));
	object = json_pack("{s:s, s:s, s:s, s:s, s:i, s:I, s:i, s:b, s:f, s:o}", "tine",
			   tine_version(), "date", tour->date, "system", tour->system,
			   "processor", tour->processor, "processors",
			   (int)tour->processors, "memory", (json_int_t)tour->memory,
			   "workers", (int)tour->workers, "quick", tour->quick, "seconds",
			   tour->seconds, "lessons", lessons);
	text = json_dumps(object, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
	json_decref(object);
	if (text && asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	free(text);
	return line;
}

/* ---- what is written --------------------------------------------------------------- */

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

/* Moves the events of a trace by so many microseconds; where the last one ends. */
static double append_trace(json_t *all, const char *path, double offset)
{
	json_t *events = json_load_file(path, 0, NULL), *event;
	double last = offset;
	size_t i;

	json_array_foreach(events, i, event)
	{
		json_t *begun = json_object_get(event, "ts");
		double at = json_number_value(begun) + offset;

		if (!begun)
			continue;
		json_object_set_new(event, "ts", json_real(at));
		at += json_number_value(json_object_get(event, "dur"));
		last = at > last ? at : last;
	}
	json_array_extend(all, events);
	json_decref(events);
	return last;
}

/* The traces of all programs, one after the other. */
static char *join_traces(const struct tour *tour)
{
	json_t *all = json_array();
	double offset = 0;
	char *text;

	for (unsigned i = 0; i < tour->n; i++)
		for (unsigned j = 0; j < tour->sections[i].n; j++) {
			const char *path = tour->sections[i].results[j].trace;

			if (path)
				offset = append_trace(all, path, offset);
		}
	text = json_dumps(all, JSON_COMPACT | JSON_REAL_PRECISION(15));
	json_decref(all);
	return text;
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
				 join_traces(tour));
	if (options.html && err == DONE)
		err = write_page(tour, outputs->html);
	if (outputs->json >= 0 && err == DONE)
		err = write_text("json", options.json, outputs->json, describe(tour));
	return err;
}

static int print_all(const struct tour *tour)
{
	char *text;

	if (is_stdout(options.json)) {
		text = describe(tour);
		if (!text)
			return complain(BROKEN, "tour: %s", strerror(ENOMEM));
		fputs(text, stdout);
		free(text);
		return DONE;
	}
	print_table(tour);
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

/* Those that end a command, unless they are ignored; and of children. */
static void block_signals(void)
{
	static const int which[] = { SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM };
	struct sigaction action;

	sigemptyset(&state.signals);
	for (size_t i = 0; i < sizeof(which) / sizeof(*which); i++) {
		/* Who ignores its children is not told of them, and cannot wait. */
		if (which[i] == SIGCHLD)
			signal(SIGCHLD, SIG_DFL);
		if (sigaction(which[i], NULL, &action) == 0 &&
		    (which[i] == SIGCHLD || action.sa_handler != SIG_IGN))
			sigaddset(&state.signals, which[i]);
	}
	sigprocmask(SIG_BLOCK, &state.signals, &state.before);
}

static int run_lessons(struct tour *tour)
{
	int64_t begun = tine_now();
	bool failed = false;

	state.lessons = tour->n;
	for (unsigned i = 0; i < tour->n && !state.signal; i++) {
		state.lesson = i + 1;
		run_lesson(&tour->sections[i]);
	}
	tour->seconds = (double)(tine_now() - begun) / 1e9;
	show("");
	for (unsigned i = 0; i < tour->n; i++)
		for (unsigned j = 0; j < tour->sections[i].n; j++)
			failed |= tour->sections[i].results[j].failed;
	return failed ? SOME_FAILED : DONE;
}

static void free_tour(struct tour *tour)
{
	for (unsigned i = 0; tour->sections && i < tour->n; i++)
		for (unsigned j = 0; j < tour->sections[i].n; j++)
			free(tour->sections[i].results[j].trace);
	free(tour->sections);
}

/* After the folder is gone: ends as the signal would have ended it. */
static void pass_signal_on(void)
{
	sigset_t one;

	signal(state.signal, SIG_DFL);
	raise(state.signal);
	sigemptyset(&one);
	sigaddset(&one, state.signal);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
}

static int check_lessons(int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		const struct tour_lesson *const *lesson = tour_lessons;

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

static int run(int argc, char **argv)
{
	struct outputs outputs = { -1, -1, -1 };
	struct tour tour = { .quick = options.quick, .python = options.python };
	int code = check_lessons(argc, argv), err = DONE;

	if (code != DONE)
		return code;
	code = open_outputs(&outputs);
	if (code != DONE)
		goto close;
	if (options.workers == 0)
		options.workers = tine_cpus();
	tour.workers = options.workers;
	describe_machine(&tour);
	state.stage = mmap(NULL, sizeof(*state.stage), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	tour.sections = calloc(sizeof(tour_lessons) / sizeof(*tour_lessons),
			       sizeof(*tour.sections));
	if (state.stage == MAP_FAILED || !tour.sections) {
		code = complain(BROKEN, "tour: %s", strerror(ENOMEM));
		goto close;
	}
	block_signals();
	code = make_folder();
	if (code != DONE)
		goto close;
	plan(&tour, argc, argv);
	code = run_lessons(&tour);
	if (!state.signal)
		err = write_files(&tour, &outputs);
	/* Before anything is printed: a closed pipe would be the end. */
	remove_folder();
	if (state.signal)
		pass_signal_on();
	if (!err)
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
		"Each program runs in a process of its own, three times, the programs of "
		"a "
		"lesson\nin turn, and the median counts; those marked so in "
		"the source run once.\nAll that give an answer must give the same.\n"
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
		".Li id , name , python , failed , seconds , ratio , look , note\nand\n"
		".Li left_out ,\nnull where there is none, and\n.Li estimates\nof pi.\n"
		".Pp\n"
		"Python's programs need\n.Xr python3 1\nwith numpy and joblib.\n"
		"The exit status is 1 if a program failed or gave another answer.\n",
	.example = "tine tour --quick --html report.html",
	.run = run,
};
