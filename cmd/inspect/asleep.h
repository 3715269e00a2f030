/* SPDX-License-Identifier: MIT */
/*
 * Since when threads sleep, or are stopped: since they last ran. The kernel has the
 * moment in /proc/PID/task/TID/sched, by the clock of the processor on which it was, and
 * these clocks differ. So this process goes to each such processor once, and looks there
 * when it runs itself. Where one of both cannot be known, nothing is said.
 */
#ifndef TINE_INSPECT_ASLEEP_H
#define TINE_INSPECT_ASLEEP_H

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

struct asleep {
	struct last_run *runs;
	size_t n, room;
};

/* The object is to get a member of that name, of milliseconds. */
void asleep_note(struct asleep *, pid_t pid, pid_t thread, json_t *object,
		 const char *member);
/* All objects get theirs. */
void asleep_tell(struct asleep *);

#endif
