/* SPDX-License-Identifier: MIT */
/* The results of a host, on their way to those who wait for them. */
#include "engine/host.h"

#include <string.h>

#define MOST_BYTES ((size_t)128 << 10) /* of results in one step, and one more */

/* Of one task and one caller; false: there is none. */
static bool send_some_results(struct agent *agent)
{
	struct engine_done list[ENGINE_DONE_MOST];
	struct hold *hold = &agent->hold;
	const struct held *first = NULL;
	size_t n = 0, bytes = 0;

	for (unsigned i = 0; i < hold->most && n < ENGINE_DONE_MOST && bytes < MOST_BYTES;
	     i++) {
		struct held *held = &hold->all[i];

		if (held->state != HELD_DONE || held->doomed)
			continue;
		first = first ? first : held;
		if (held->stream != first->stream ||
		    strcmp(held->caller, first->caller) != 0)
			continue;
		list[n++] = (struct engine_done){ held->sid,	    held->seq,
						  held->header,	    held->out,
						  held->header_len, held->out_len,
						  held->in_blob };
		bytes += held->header_len +
			 (held->out_len < WIRE_BLOB ? held->out_len : 0);
		held->state = HELD_SENT;
		held->order = hold->arrivals + 1;
	}
	if (!first)
		return false;
	engine_add_done(agent->engine, ACCEPTED, ++hold->arrivals, agent->id,
			first->stream->name, first->caller, list, n);
	return true;
}

/* Where more are about to come they go together, after a millisecond at most. */
static bool results_are_due(struct agent *agent, int64_t now)
{
	unsigned done = hold_count(&agent->hold, HELD_DONE);

	if (done == 0 || agent->hold.urgent || !appetite_is_hasty(agent) ||
	    hold_count(&agent->hold, HELD_RUNNING) == 0 ||
	    done >= appetite_most(agent) / 2) {
		agent->hold.urgent = false;
		agent->due = 0;
		return done > 0;
	}
	if (agent->due == 0)
		agent->due = now + MILLION;
	if (now < agent->due)
		return false;
	agent->due = 0;
	return true;
}

void deliver_results(struct agent *agent, int64_t now)
{
	if (results_are_due(agent, now))
		while (send_some_results(agent))
			;
}

void deliver_forget(struct agent *agent, uint64_t number)
{
	struct hold *hold = &agent->hold;

	for (unsigned i = 0; i < hold->most; i++)
		if (hold->all[i].state == HELD_SENT && hold->all[i].order <= number)
			held_forget(hold, &hold->all[i]);
}
