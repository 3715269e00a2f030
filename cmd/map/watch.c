/* SPDX-License-Identifier: MIT */
#include "map/watch.h"

#include "map/job.h"
#include "map/show.h"
#include "map/strays.h"

#include "base/proc.h"
#include "process/keeper.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_EVERY (MAP_SECOND / 10)
#define STOP_EVERY   MAP_SECOND

static struct {
	bool terminal;
	int64_t memory_due, stop_due;
} watch = { .memory_due = TINE_FOREVER, .stop_due = TINE_FOREVER };

void watch_open(void)
{
	int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);

	watch.terminal = fd >= 0;
	if (fd >= 0)
		close(fd);
}

/* Not for a tracer, which stops what it traces all the time. */
static bool waits_for_continue(pid_t pid, int *signal)
{
	if (!process_stopped(pid))
		return false;
	/* An older kernel does not tell, and it is 0. */
	*signal = process_stop_signal(pid);
	return *signal == 0 || *signal == SIGSTOP || *signal == SIGTSTP ||
	       *signal == SIGTTIN || *signal == SIGTTOU;
}

struct stop {
	pid_t pid; /* 0: none was found yet */
	int signal;
};

static void find_stop(pid_t pid, void *arg)
{
	struct stop *stop = arg;

	if (stop->pid)
		return;
	if (waits_for_continue(pid, &stop->signal))
		stop->pid = pid;
	else
		/* Of the first thread: most programs start others there, if any. */
		each_child_of_thread(pid, pid, find_stop, stop);
}

/*
 * What wants the terminal is not continued, and ends. Another is: it was stopped by
 * somebody, and is named when it is for the second time.
 */
static void look_for_stop(struct job *job)
{
	pid_t first = tine_process_pid(job->process);
	struct stop stop = { 0 };
	bool again;

	find_stop(first, &stop);
	again = stop.pid && stop.pid == job->stopped;
	if (stop.pid == first && (stop.signal == SIGTTIN || stop.signal == SIGTTOU ||
				  (stop.signal == 0 && watch.terminal)))
		job_stop(job, WHY_TERMINAL);
	else if (again && !job->stop_said)
		show_stopped(job, stop.pid, stop.signal);
	job->stop_said |= again;
	job->stopped = stop.pid;
}

static bool is_watched(const struct job *job)
{
	return job && job->process && job->state == JOB_RUNS;
}

/* By what its keeper has put into its environment. */
static struct job *job_of_mark(struct job *const *slots, pid_t pid)
{
	char mark[SPAWN_MARK_SIZE], other[SPAWN_MARK_SIZE];

	if (!process_variable(pid, SPAWN_MARK, mark, sizeof(mark)))
		return NULL;
	for (unsigned i = 0; i < map_options.workers; i++)
		if (is_watched(slots[i]) &&
		    process_variable(tine_process_pid(slots[i]->process), SPAWN_MARK,
				     other, sizeof(other)) &&
		    strcmp(mark, other) == 0)
			return slots[i];
	return NULL;
}

/* Of the keeper's children, those that are no job have lost their parents. */
static void weigh_orphan(pid_t child, void *arg)
{
	struct job *const *slots = arg;
	struct job *owner = NULL;
	pid_t group = getpgid(child);

	for (unsigned i = 0; i < map_options.workers; i++) {
		if (!is_watched(slots[i]))
			continue;
		if (tine_process_pid(slots[i]->process) == child)
			return;
		if (tine_process_pid(slots[i]->process) == group)
			owner = slots[i];
	}
	if (!owner)
		owner = job_of_mark(slots, child);
	if (owner)
		owner->memory += memory_below(child);
}

static void weigh_jobs(struct job *const *slots)
{
	pid_t keeper = 0;

	for (unsigned i = 0; i < map_options.workers; i++) {
		if (!is_watched(slots[i]))
			continue;
		slots[i]->memory = memory_below(tine_process_pid(slots[i]->process));
		if (!keeper)
			keeper = process_parent(tine_process_pid(slots[i]->process));
	}
	if (keeper)
		each_child_of(keeper, weigh_orphan, (void *)slots);
}

int64_t watch_jobs(struct job *const *slots)
{
	int64_t now = tine_now();
	bool memory = map_options.memory && now >= watch.memory_due;
	bool stops = now >= watch.stop_due;
	bool any = false;

	if (memory)
		weigh_jobs(slots);
	for (unsigned i = 0; i < map_options.workers; i++) {
		struct job *job = slots[i];

		if (!is_watched(job))
			continue;
		any = true;
		if (memory && job->memory > map_options.memory) {
			job->why = WHY_MEMORY;
			job_kill(job);
		} else if (stops) {
			look_for_stop(job);
		}
	}
	if (!any || !map_options.memory)
		watch.memory_due = TINE_FOREVER;
	else if (memory || watch.memory_due == TINE_FOREVER)
		watch.memory_due = now + MEMORY_EVERY;
	if (!any)
		watch.stop_due = TINE_FOREVER;
	else if (stops || watch.stop_due == TINE_FOREVER)
		watch.stop_due = now + STOP_EVERY;
	return watch.memory_due < watch.stop_due ? watch.memory_due : watch.stop_due;
}
