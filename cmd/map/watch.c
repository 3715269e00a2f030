/* SPDX-License-Identifier: MIT */
#include "map/watch.h"

#include "map/job.h"
#include "map/strays.h"

#include "base/proc.h"
#include "process/keeper.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_EVERY   (MAP_SECOND / 10)
#define TERMINAL_EVERY MAP_SECOND

static struct {
	bool terminal;
	int64_t memory_due, terminal_due;
} watch = { .memory_due = TINE_FOREVER, .terminal_due = TINE_FOREVER };

void watch_open(void)
{
	int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);

	watch.terminal = fd >= 0;
	if (fd >= 0)
		close(fd);
}

static bool is_stopped_by_terminal(const struct job *job)
{
	pid_t pid = tine_process_pid(job->process);
	int signal;

	if (!process_stopped(pid))
		return false;
	signal = process_stop_signal(pid);
	/* An older kernel does not tell. */
	return signal == SIGTTIN || signal == SIGTTOU || signal == 0;
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
	bool terminal = watch.terminal && now >= watch.terminal_due;
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
		} else if (terminal && is_stopped_by_terminal(job)) {
			job_stop(job, WHY_TERMINAL);
		}
	}
	if (!any || !map_options.memory)
		watch.memory_due = TINE_FOREVER;
	else if (memory || watch.memory_due == TINE_FOREVER)
		watch.memory_due = now + MEMORY_EVERY;
	if (!any || !watch.terminal)
		watch.terminal_due = TINE_FOREVER;
	else if (terminal || watch.terminal_due == TINE_FOREVER)
		watch.terminal_due = now + TERMINAL_EVERY;
	return watch.memory_due < watch.terminal_due ? watch.memory_due
						     : watch.terminal_due;
}
