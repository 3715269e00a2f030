/* SPDX-License-Identifier: MIT */
#include "map/watch.h"

#include "map/job.h"
#include "map/strays.h"

#include <fcntl.h>
#include <signal.h>
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
	int signal;

	/* An older kernel does not tell which signal it was. */
	return is_stopped(tine_process_pid(job->process), &signal) &&
	       (signal == SIGTTIN || signal == SIGTTOU || signal == 0);
}

int64_t watch_jobs(struct job *const *slots)
{
	int64_t now = tine_now();
	bool memory = map_options.memory && now >= watch.memory_due;
	bool terminal = watch.terminal && now >= watch.terminal_due;
	bool any = false;

	for (unsigned i = 0; i < map_options.workers; i++) {
		struct job *job = slots[i];

		if (!job || !job->process || job->state != JOB_RUNS)
			continue;
		any = true;
		if (memory &&
		    memory_below(tine_process_pid(job->process)) > map_options.memory) {
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
