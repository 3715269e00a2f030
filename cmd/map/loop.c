/* SPDX-License-Identifier: MIT */
/*
 * The loop: jobs are started while there are inputs and slots, and then poll(2) waits for
 * their pipes, their ends, signals, standard input and what cannot be written now.
 *
 *	tine is killed		the keeper kills all that jobs have started
 *	the keeper is killed	the kernel kills the jobs' first processes; what they have
 *				started becomes our child, for we are a subreaper, and is
 *				killed here
 *	a signal		no job starts; all get SIGTERM, a second later SIGKILL;
 *				then the signal is raised again
 *	output cannot be written	the same, with an exit code instead of the signal
 *	SIGTSTP			jobs get it too, and tine stops, until it is continued
 */
#include "map/loop.h"

#include "map/gate.h"
#include "map/input.h"
#include "map/job.h"
#include "map/keep.h"
#include "map/polls.h"
#include "map/ready.h"
#include "map/show.h"
#include "map/signals.h"
#include "map/strays.h"
#include "map/watch.h"
#include "map/words.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* How many jobs are taken in a row, before other things are looked at. */
enum { BATCH = 64 };
#define ASK_AGAIN (MAP_SECOND / 20)

static struct {
	struct job **slots;
	unsigned running;
	unsigned delayed; /* of them wait for a process or a descriptor */
	uint64_t number;  /* of the last job */

	bool ended;    /* no more inputs */
	bool wanted;   /* an input, once standard input can be read */
	bool stopping; /* nothing starts any more */
	bool found;    /* with --until success */
	int code;      /* of what is wrong with tine */
	int signal;    /* to be raised in the end */
	bool keeper_died;

	int blocked; /* the descriptor that output waits for, or -1 */
	int signals;
	size_t signalled, input; /* where they are polled */
} loop;

/* ---- ends -------------------------------------------------------------------------- */

static void leave_slot(struct job *job)
{
	loop.slots[job->slot] = NULL;
	loop.running--;
	gate_give(job->token);
	for (unsigned i = 0; loop.delayed > 0 && i < map_options.workers; i++)
		if (loop.slots[i] && loop.slots[i]->delayed)
			loop.slots[i]->due = 0;
}

/* What has not started: it has its place in the order no more. */
static void drop_ready(void)
{
	struct job *job;

	while ((job = ready_take(0))) {
		job_open_output(job);
		/* Of what is empty nothing goes to the file. */
		job_release(job);
	}
}

/* Nothing starts any more, and what runs is not wanted. */
static void stop_everything(void)
{
	loop.stopping = true;
	drop_ready();
	for (unsigned i = 0; i < map_options.workers; i++) {
		struct job *job = loop.slots[i];

		if (!job)
			continue;
		if (job->state == JOB_RUNS)
			job_stop(job, WHY_UNWANTED);
		else if (job->state != JOB_ENDS) {
			job->why = WHY_UNWANTED;
			job->due = 0;
		}
	}
}

/* With what is on standard error already, if it is not 0. */
static void fail_with(int code)
{
	if (loop.code == DONE)
		loop.code = code;
	job_muted = true;
	stop_everything();
}

static void fail_file(int err)
{
	const char *folder = getenv("TMPDIR");

	if (loop.code == DONE)
		complain(BROKEN, "map: output that waits, in %s: %s",
			 folder && *folder ? folder : "/tmp", strerror(-err));
	fail_with(BROKEN);
}

/* Of the standard streams, or of the file where output waits. */
static void fail_output(int fd, int err)
{
	if (fd < 0) {
		fail_file(err);
		return;
	}
	if (err == -EPIPE) {
		/* Who has closed it knows. */
		loop.signal = loop.signal || signals_pipe_ignored() ? loop.signal
								    : SIGPIPE;
		fail_with(BROKEN);
		return;
	}
	if (loop.code == DONE)
		complain(BROKEN, "map: standard %s: %s", fd == 1 ? "output" : "error",
			 strerror(-err));
	fail_with(BROKEN);
}

static void fail_results(int err)
{
	if (loop.code == DONE)
		complain(BROKEN, "map: --results: '%s': %s", map_options.results,
			 strerror(-err));
	fail_with(BROKEN);
}

static void check_file(int err)
{
	if (job_muted)
		return;
	if (job_results_error)
		fail_results(job_results_error);
	else if (err)
		fail_file(err);
}

static void fail_keeper(void)
{
	loop.keeper_died = true;
	if (loop.code == DONE)
		complain(BROKEN, "map: the keeper of its processes was killed");
	fail_with(BROKEN);
}

/* The last of a job. */
static void end_job(struct job *job)
{
	bool good = job_is_good(job);

	if (show_end(job) < 0)
		fail_with(BROKEN);
	keep_drop(job);
	if (job->why == WHY_UNWANTED)
		job_forget(job);
	else
		loop.found |= good;
	leave_slot(job);
	check_file(job_release(job));
	if (loop.stopping)
		return;
	if (map_options.until == (good ? UNTIL_SUCCESS : UNTIL_FAILURE))
		stop_everything();
}

static bool is_tried_again(const struct job *job)
{
	return !job_is_good(job) && job->why != WHY_UNWANTED && !loop.stopping &&
	       job->attempt <= map_options.retries;
}

/* Its first process has ended, or will not. */
static void finish_job(struct job *job)
{
	int err = job_finish(job);

	if (err == -EPIPE) {
		job->why = WHY_UNWANTED;
		fail_keeper();
	} else {
		check_file(err);
	}
	if (loop.stopping && job->why == WHY_EXIT && job->how.signal == SIGTERM)
		job->why = WHY_UNWANTED;
	if (keep_is_on())
		keep_end(job);
	if (!is_tried_again(job)) {
		end_job(job);
		return;
	}
	if (show_attempt(job) < 0)
		fail_with(BROKEN);
	job_forget(job);
	job_pause(job);
}

/* ---- starts ------------------------------------------------------------------------ */

/* What is wrong with the machine for the moment, and not with the job. */
static bool is_shortage(int err)
{
	return err == -EAGAIN || err == -ENOMEM || err == -EMFILE || err == -ENFILE;
}

/* COMMAND itself, which each job would fail of. */
static bool is_command(int err)
{
	return command_plain_word(0) &&
	       (err == -ENOENT || err == -EACCES || err == -ENOEXEC || err == -ENOTDIR);
}

static void refuse_job(struct job *job, int err)
{
	if (err == -EPIPE) {
		job->why = WHY_UNWANTED;
		fail_keeper();
	} else if (is_command(err)) {
		job->why = WHY_UNWANTED;
		if (loop.code == DONE)
			complain(0, "map: '%s': %s", command_plain_word(0),
				 tine_strerror(err));
		fail_with(err == -ENOENT ? 127 : 126);
	} else if (is_shortage(err) || err == -ETIMEDOUT || err == -ENOSYS) {
		job->why = WHY_UNWANTED;
		complain(BROKEN, "map: no job can be started: %s", tine_strerror(err));
		fail_with(BROKEN);
	} else {
		job->why = WHY_REFUSED;
		job->error = err;
		job->attempt++;
	}
	end_job(job);
}

/* Where there is too little for it, it is tried again when another has ended. */
static void launch_job(struct job *job)
{
	int results = job_open_results(job);
	int err = results ? results : job_start(job);

	loop.delayed -= job->delayed;
	job->delayed = is_shortage(err) && loop.running > 1;
	loop.delayed += job->delayed;
	if (job->delayed) {
		job->state = JOB_WAITS;
		job->due = tine_now() + MAP_SECOND;
	} else if (results) {
		job->why = WHY_UNWANTED;
		fail_results(err);
		end_job(job);
	} else if (err) {
		refuse_job(job, err);
	}
}

static void begin_job(struct job *job)
{
	switch (keep_is_on() ? keep_look(job) : KEEP_RUN) {
	case KEEP_HIT:
		job->kept = true;
		end_job(job);
		break;
	case KEEP_BUSY:
		job->state = JOB_WAITS;
		job->due = tine_now() + ASK_AGAIN;
		break;
	case KEEP_RUN:
		launch_job(job);
		break;
	}
}

static unsigned free_slot(void)
{
	unsigned slot = 0;

	while (loop.slots[slot])
		slot++;
	return slot;
}

static void add_ready(struct strings *row)
{
	struct job *job = job_new();

	strings_swap(&job->row, row);
	job->number = ++loop.number;
	job_prepare(job);
	if (map_options.longest_first || (show_is_on() && keep_is_on()))
		job->guess = keep_guess(job);
	ready_add(job);
}

/* What there is of inputs, as far as there is room. */
static void read_ahead(void)
{
	static struct strings row;

	loop.wanted = false;
	while (!loop.stopping && !loop.ended && ready_has_room())
		switch (input_next(&row)) {
		case NEXT_LATER:
			loop.wanted = true;
			return;
		case NEXT_END:
			loop.ended = true;
			if (input_code() && loop.code == DONE)
				loop.code = input_code();
			return;
		case NEXT_ROW:
			add_ready(&row);
			break;
		}
}

static uint64_t first_running(void)
{
	uint64_t first = UINT64_MAX;

	for (unsigned i = 0; i < map_options.workers; i++)
		if (loop.slots[i] && loop.slots[i]->number < first)
			first = loop.slots[i]->number;
	return first;
}

static void begin_next(int token)
{
	struct job *job = ready_take(first_running());

	job->token = token;
	job->slot = free_slot();
	loop.slots[job->slot] = job;
	loop.running++;
	job_open_output(job);
	show_start(job);
	begin_job(job);
}

static bool may_start(void)
{
	return !loop.stopping && !loop.delayed && ready_count() > 0 &&
	       loop.running < map_options.workers;
}

/* True: there may be more to begin at once. */
static bool begin_jobs(void)
{
	for (int i = 0; i < BATCH; i++) {
		int token;

		read_ahead();
		if (!may_start() || !gate_take(loop.running > 0, &token))
			return false;
		begin_next(token);
	}
	return true;
}

/* ---- waiting ----------------------------------------------------------------------- */

static void signal_running(int number)
{
	for (unsigned i = 0; i < map_options.workers; i++)
		if (loop.slots[i] && loop.slots[i]->process &&
		    loop.slots[i]->state == JOB_RUNS)
			tine_process_kill(loop.slots[i]->process, number);
}

/* Jobs have groups of their own, so that a terminal does not stop them. */
static void stop_for_a_while(void)
{
	int64_t begun = tine_now(), ns;

	show_hide();
	signal_running(SIGTSTP);
	signals_stop();
	signal_running(SIGCONT);
	ns = tine_now() - begun;
	for (unsigned i = 0; i < map_options.workers; i++)
		if (loop.slots[i])
			job_shift(loop.slots[i], ns);
}

static void take_signals(void)
{
	int number;

	while ((number = signals_take())) {
		bool again = loop.signal != 0;

		if (number == SIGTSTP) {
			stop_for_a_while();
			continue;
		}
		loop.signal = number;
		job_muted = true;
		stop_everything();
		for (unsigned i = 0; again && i < map_options.workers; i++)
			if (loop.slots[i] && loop.slots[i]->process)
				job_kill(loop.slots[i]);
	}
}

/* The time of a state is over. */
static void take_due(struct job *job)
{
	switch (job->state) {
	case JOB_RUNS:
		job_stop(job, WHY_LATE);
		break;
	case JOB_ENDS:
		if (job->killed || job->gone)
			finish_job(job);
		else
			job_kill(job);
		break;
	case JOB_PAUSES:
	case JOB_WAITS:
		if (loop.stopping) {
			job->why = WHY_UNWANTED;
			loop.delayed -= job->delayed;
			end_job(job);
		} else if (job->state == JOB_WAITS && !job->delayed) {
			begin_job(job);
		} else {
			launch_job(job);
		}
		break;
	}
}

/* Where it ends by itself, others of it have as long as it has itself. */
static void take_end(struct job *job)
{
	bool open = job->pipes[0] >= 0 || job->pipes[1] >= 0;

	job->gone = true;
	if (job->state == JOB_RUNS || !open || job->killed)
		finish_job(job);
}

static bool reads(const struct job *job)
{
	return loop.blocked < 0 || !job_streams(job);
}

static void fill_polls(void)
{
	polls_clear();
	loop.signalled = polls_add(loop.signals, POLLIN);
	loop.input = polls_add(loop.wanted && !loop.stopping ? STDIN_FILENO : -1, POLLIN);
	polls_add(loop.blocked, POLLOUT);
	polls_add(may_start() ? gate_fd() : -1, POLLIN);
	for (unsigned i = 0; i < map_options.workers; i++) {
		struct job *job = loop.slots[i];

		if (!job || !job->process)
			continue;
		job->polled[2] = polls_add(job->gone ? -1 : tine_process_fd(job->process),
					   POLLIN);
		for (int k = 0; k < 2; k++)
			job->polled[k] = polls_add(reads(job) ? job->pipes[k] : -1,
						   POLLIN);
	}
}

static int64_t first_due(int64_t due)
{
	for (unsigned i = 0; i < map_options.workers; i++)
		if (loop.slots[i] && loop.slots[i]->due < due)
			due = loop.slots[i]->due;
	return due;
}

static void take_job(struct job *job)
{
	for (int k = 0; k < 2; k++)
		if (polls_came(job->polled[k]) && job->pipes[k] >= 0)
			check_file(job_read(job, k));
	if (polls_came(job->polled[2]) ||
	    (job->gone && job->pipes[0] < 0 && job->pipes[1] < 0))
		take_end(job);
}

static void wait_for_something(int64_t due)
{
	int64_t now;

	if (may_start() && gate_due() < due)
		due = gate_due();
	due = first_due(due);
	fill_polls();
	if (!polls_wait(due))
		return;
	if (polls_came(loop.signalled))
		take_signals();
	if (polls_came(loop.input))
		input_read();
	now = tine_now();
	for (unsigned i = 0; i < map_options.workers; i++) {
		struct job *job = loop.slots[i];

		if (job && job->process)
			take_job(job);
		/* It may be another one by now. */
		job = loop.slots[i];
		if (job && job->due <= now)
			take_due(job);
	}
}

/* True: all was printed that can be. */
static bool print(void)
{
	int fd, err;

	if (job_muted) {
		loop.blocked = -1;
		return true;
	}
	err = outputs_print(&fd);
	loop.blocked = err > 0 ? fd : -1;
	if (err < 0)
		fail_output(fd, err);
	return err <= 0;
}

static bool is_over(void)
{
	return loop.running == 0 && ready_count() == 0 && (loop.ended || loop.stopping);
}

/* ---- from begin to end ------------------------------------------------------------- */

static int end_code(void)
{
	if (loop.signal)
		signals_raise(loop.signal);
	if (loop.code)
		return loop.code;
	if (map_options.until == UNTIL_SUCCESS)
		return loop.found ? DONE : SOME_FAILED;
	return show_failures() ? SOME_FAILED : DONE;
}

int loop_run(void)
{
	bool more = true, printed = false;

	loop.slots = must(calloc(map_options.workers, sizeof(struct job *)));
	polls_open(4 + 3 * (size_t)map_options.workers);
	loop.blocked = -1;
	outputs_open(map_options.workers);
	if (map_options.output == OUTPUT_LINES)
		output_queue(job_lines = output_new(false));
	job_open();
	watch_open();
	gate_open();
	loop.signals = signals_open();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (;;) {
		int64_t due, drawn;

		more = begin_jobs();
		printed = print();
		if (is_over() && printed)
			break;
		due = watch_jobs(loop.slots);
		drawn = show_line();
		due = drawn < due ? drawn : due;
		wait_for_something(more ? 0 : due);
	}
	show_hide();
	if (loop.keeper_died)
		end_strays();
	if (keep_is_on())
		keep_close();
	if (!loop.signal)
		show_summary(map_options.until != UNTIL_SUCCESS || !loop.found);
	return end_code();
}
