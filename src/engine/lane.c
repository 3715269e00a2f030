/* SPDX-License-Identifier: MIT */
/*
 * Lines of a trace: each slot of a host has one of the pool's logs, of which the courier
 * is the owner. Which is whose stands with the errand, so that the next courier goes on;
 * one that dies has told at most a name of a line that it did not count.
 *
 * Clocks meet at the server's: host and courier each know how far theirs is from it, to
 * within half of a beat's way there and back. What would end after its result came ends
 * then.
 */
#include "engine/trip.h"

#include <stdio.h>
#include <string.h>

static unsigned lane_of(struct courier *courier, const char *host, uint32_t slot,
			const char *name)
{
	struct away *away = courier->away;
	struct trace_event event = { .kind = TRACE_LANE, .other = (int32_t)slot };
	unsigned i = 0;

	while (i < away->n_lanes &&
	       (away->lanes[i].slot != slot || strcmp(away->lanes[i].host, host) != 0))
		i++;
	if (i < away->n_lanes)
		return i;
	/* The last one is for all that are too many. */
	if (i == DESKS)
		return DESKS - 1;
	away->lanes[i].slot = slot;
	strcpy(away->lanes[i].host, host);
	snprintf(event.lane, sizeof(event.lane), "%.39s", name);
	trace_note(&courier->ledger->logs[i], &event);
	away->n_lanes++;
	return i;
}

void lanes_learn(struct courier *courier, const struct resp *id,
		 const struct wire_host *host)
{
	char text[ENGINE_ID_MAX];

	if (!courier->ledger->logs || id->kind != RESP_STRING ||
	    !engine_copy_word(text, sizeof(text),
			      (struct engine_word){ id->text, id->len }))
		return;
	for (uint32_t slot = 0; slot < host->workers && slot < DESKS; slot++)
		lane_of(courier, text, slot, host->name);
}

/* Those that were dropped before they began did not run. */
static uint32_t jobs_that_ran(const struct wire_result *result, uint32_t n)
{
	uint32_t ran = n;

	if (result->statuses == 1)
		ran = wire_status(result, 0) != -ECANCELED ? n : 0;
	for (uint32_t i = 0; i < result->statuses && result->statuses > 1; i++)
		ran -= wire_status(result, i) == -ECANCELED;
	return ran - (result->endings < ran ? result->endings : ran);
}

void lane_note(struct courier *courier, const struct trip *trip,
	       const struct wire_result *result)
{
	const struct map *map = &courier->ledger->map;
	const struct ticket *ticket = trip->ticket;
	const struct engine_clock *clock = engine_clock(courier->engine);
	int64_t now = tine_now() / 1000, begun = now;
	struct trace_event event = {
		.kind = ticket ? TRACE_TICKETS : TRACE_JOBS,
		.name = ticket ? ticket->name : map->name,
		.map = ticket ? 0 : map->number,
		.first = ticket ? ticket->number : trip->part,
		.count = jobs_that_ran(result, trip->n),
	};

	if (!*trip->host)
		return;
	if (result->begun_us && clock->known)
		begun = result->begun_us - clock->offset_us;
	if (begun > now - result->ran_us)
		begun = now - result->ran_us;
	event.begun = begun * 1000;
	event.ended = (begun + result->ran_us) * 1000;
	if (result->endings)
		event.died_in = event.first + wire_ending(result, 0).job + 1;
	/* One that no beat has named yet has its id for a name. */
	trace_note(&courier->ledger->logs[lane_of(courier, trip->host, result->lane,
						  trip->host)],
		   &event);
}
