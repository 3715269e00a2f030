/* SPDX-License-Identifier: MIT */
/*
 * Runs the lessons. Each run of a program is a process: it says what it found in a
 * mapping, and ends. If it crashes, fails or takes too long, that is one line of the
 * table. When the tour ends, in any way, so does the program that runs, and so do its
 * processes, and the temporary folder goes as well.
 *
 * The programs of a lesson run in turn, A B C A B C, so that what disturbs the machine
 * disturbs all of them. Traces are of one more run.
 */
#include "command.h"
#include "tour/tour.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <tine.h>
#include <unistd.h>

#define LONGEST	       120000 /* milliseconds of a run */
#define LONGEST_PYTHON 900000
#define ENOUGH	       INT64_C(2500000000) /* nanoseconds of a lesson: no further round */
#define ENOUGH_QUICK   INT64_C(400000000)

/* What a program and the tour share. */
struct stage {
	struct tour_run run;
	int err;
};

static struct {
	struct stage *stage;
	sigset_t signals, before;
	int signal;	    /* that ends the tour, or 0 */
	const char *folder; /* temporary; in memory, for no disk is to be measured */
	unsigned lesson, lessons; /* the progress, and how wide it stands there */
	int shown;
} state;

/* ---- one run ----------------------------------------------------------------------- */

/* A line that the next one covers; "" ends that. */
static void show(const char *line)
{
	struct winsize size = { 0 };
	int len = (int)strlen(line), columns;

	if (!isatty(STDERR_FILENO))
		return;
	ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
	/* Some do not know how wide they are. */
	columns = size.ws_col ? size.ws_col : 80;
	if (len >= columns)
		len = columns - 1;
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

static void run_lesson(const struct tour *tour, struct tour_section *section)
{
	static struct tour_run runs[TOUR_PROGRAMS][TOUR_RUNS];
	const struct tour_lesson *lesson = section->lesson;
	int64_t begun = tine_now(), enough = tour->quick ? ENOUGH_QUICK : ENOUGH;
	char folder[4200];
	struct tour_run told = { .lesson = lesson,
				 .workers = tour->workers,
				 .folder = folder };

	snprintf(folder, sizeof(folder), "%s/%s", state.folder, lesson->id);
	if (mkdir(folder, 0700) != 0)
		return;
	read_numbers(tour->quick ? lesson->quick : lesson->work, &told);
	for (unsigned round = 0; round < TOUR_RUNS; round++) {
		if (round > 0 && tine_now() - begun > enough)
			break;
		run_round(section, round, runs, &told);
	}
	run_traced(section, &told);
	compare_answers(section);
	for (unsigned i = 0; i < section->n; i++) {
		struct tour_result *result = &section->results[i];
		double first = section->results[0].run.seconds;

		if (!section->results[0].failed && !result->failed &&
		    result->run.seconds > 0 && !result->run.never)
			result->ratio = first / result->run.seconds;
	}
}

/* ---- the tour ---------------------------------------------------------------------- */

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

int tour_run(struct tour *tour)
{
	int64_t begun = tine_now();
	bool failed = false;
	int err;

	state.stage = mmap(NULL, sizeof(*state.stage), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (state.stage == MAP_FAILED)
		return complain(BROKEN, "tour: %s", strerror(errno));
	block_signals();
	err = temporary_folder(&state.folder);
	if (err)
		return complain(BROKEN, "tour: a temporary folder: %s",
				tine_strerror(err));
	/* Here, so that the processes of programs need not. */
	if (tour->python)
		tour_find_python();
	state.lessons = tour->n;
	for (unsigned i = 0; i < tour->n && !state.signal; i++) {
		state.lesson = i + 1;
		run_lesson(tour, &tour->sections[i]);
	}
	tour->seconds = (double)(tine_now() - begun) / 1e9;
	show("");
	for (unsigned i = 0; i < tour->n; i++)
		for (unsigned j = 0; j < tour->sections[i].n; j++)
			failed |= tour->sections[i].results[j].failed;
	return state.signal ? BROKEN : failed ? SOME_FAILED : DONE;
}

void tour_end(void)
{
	remove_temporary_folder();
	sigprocmask(SIG_SETMASK, &state.before, NULL);
	/* As it would have ended who has no folder to remove. */
	if (state.signal) {
		signal(state.signal, SIG_DFL);
		raise(state.signal);
	}
}
