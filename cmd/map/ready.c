/* SPDX-License-Identifier: MIT */
/*
 * A job without a guess goes before all that have one, for it may be the longest; of
 * those that are equally long the first goes first. A table that is looked through costs
 * microseconds a job, where a start costs a millisecond.
 */
#include "map/ready.h"

#include <string.h>

static struct {
	struct {
		int64_t ns; /* TINE_FOREVER: nobody knows */
		struct job *job;
	} jobs[READY_MOST];
	size_t count, bytes;
	int64_t guessed;
	uint64_t guesses;
} ready;

static size_t text_of(const struct job *job)
{
	return job->row.text.len + job->words.text.len;
}

bool ready_has_room(void)
{
	if (!map_options.longest_first)
		return ready.count == 0;
	return ready.count < READY_MOST && ready.bytes < READY_BYTES;
}

void ready_add(struct job *job)
{
	ready.jobs[ready.count].ns = job->guess ? job->guess : TINE_FOREVER;
	ready.jobs[ready.count++].job = job;
	ready.bytes += text_of(job);
	ready.guessed += job->guess;
	ready.guesses += job->guess != 0;
}

size_t ready_count(void)
{
	return ready.count;
}

static size_t longest(void)
{
	size_t at = 0;

	for (size_t i = 1; i < ready.count; i++)
		if (ready.jobs[i].ns > ready.jobs[at].ns)
			at = i;
	return at;
}

/* Whether all that is before the first of them was printed, or can be. */
static bool output_waits(uint64_t first)
{
	return map_options.output == OUTPUT_ORDER && ready.jobs[0].job->number < first;
}

struct job *ready_take(uint64_t first)
{
	struct job *job;
	size_t at;

	if (ready.count == 0)
		return NULL;
	at = output_waits(first) ? 0 : longest();
	job = ready.jobs[at].job;
	memmove(&ready.jobs[at], &ready.jobs[at + 1],
		(--ready.count - at) * sizeof(*ready.jobs));
	ready.bytes -= text_of(job);
	ready.guessed -= job->guess;
	ready.guesses -= job->guess != 0;
	return job;
}

int64_t ready_guessed(uint64_t *count)
{
	*count = ready.guesses;
	return ready.guessed;
}
