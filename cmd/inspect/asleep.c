/* SPDX-License-Identifier: MIT */
#include "inspect/asleep.h"

#include "base/proc.h"
#include "inspect/grow.h"
#include "inspect/process.h"

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PROCESSORS   8192 /* more than a kernel is built for */
#define LONGEST_NAME 15	  /* of a thread, of any bytes */

struct last_run {
	json_t *object;
	const char *member;
	int processor;
	int64_t at; /* milliseconds, of that processor's clock */
};

/* -1: unknown. */
static int64_t last_run_in(const char *sched)
{
	static const char name[] = "\nse.exec_start";
	const char *at = strlen(sched) > LONGEST_NAME ? strstr(sched + LONGEST_NAME, name)
						      : NULL;

	at = at ? strchr(at, ':') : NULL;
	/* 0: it was taken to a processor where it has not run yet. */
	return at && strtoll(at + 1, NULL, 10) > 0 ? strtoll(at + 1, NULL, 10) : -1;
}

void asleep_note(struct asleep *asleep, pid_t pid, pid_t thread, json_t *object,
		 const char *member)
{
	int processor = process_processor(thread);
	struct last_run *runs;
	char text[1024];
	int64_t at;

	if (!proc_read(text, sizeof(text), "/proc/%d/task/%d/sched", pid, thread))
		return;
	at = last_run_in(text);
	/* It may have run meanwhile, elsewhere. */
	if (at < 0 || processor < 0 || process_processor(thread) != processor)
		return;
	runs = grow(asleep->runs, asleep->n, &asleep->room, sizeof(*runs));
	if (!runs)
		return;
	asleep->runs = runs;
	runs[asleep->n++] = (struct last_run){ json_incref(object), member, processor,
					       at };
}

/* Now, by the clock of that processor; -1: it may not be used, or does not tell. */
static int64_t clock_of(int processor)
{
	cpu_set_t set[PROCESSORS / CPU_SETSIZE];
	char text[1024];

	CPU_ZERO_S(sizeof(set), set);
	CPU_SET_S((size_t)processor, sizeof(set), set);
	if (sched_setaffinity(0, sizeof(set), set) != 0)
		return -1;
	/* Else it would be the time of the last tick of that clock. */
	sched_yield();
	if (!proc_read(text, sizeof(text), "/proc/thread-self/sched") ||
	    sched_getcpu() != processor)
		return -1;
	return last_run_in(text);
}

static int by_processor(const void *one, const void *other)
{
	const struct last_run *a = one, *b = other;

	return (a->processor > b->processor) - (a->processor < b->processor);
}

void asleep_tell(struct asleep *asleep)
{
	cpu_set_t before[PROCESSORS / CPU_SETSIZE];
	int64_t now = -1;

	if (asleep->n > 0 && sched_getaffinity(0, sizeof(before), before) == 0) {
		qsort(asleep->runs, asleep->n, sizeof(*asleep->runs), by_processor);
		for (size_t i = 0; i < asleep->n; i++) {
			const struct last_run *run = &asleep->runs[i];

			if (i == 0 || run->processor != run[-1].processor)
				now = clock_of(run->processor);
			if (now >= run->at)
				json_object_set_new(run->object, run->member,
						    json_integer(now - run->at));
		}
		sched_setaffinity(0, sizeof(before), before);
	}
	for (size_t i = 0; i < asleep->n; i++)
		json_decref(asleep->runs[i].object);
	free(asleep->runs);
	*asleep = (struct asleep){ 0 };
}
