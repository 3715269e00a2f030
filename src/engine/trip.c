/* SPDX-License-Identifier: MIT */
/* Trips that end: results, failures and losses, into the ledger. See courier.c. */
#include "engine/trip.h"

#include "pool/cached.h"

#include <stdlib.h>
#include <string.h>

#define PARTS	     8 /* of what was lost once */
#define LOST_FOR_ALL 3 /* times; then it fails */

size_t trip_load(const struct trip *trip)
{
	size_t in = wire_in_len(&trip->chunk), out = wire_out_len(&trip->chunk);

	return in > out ? in : out;
}

/* It is not at the server any more. */
void trip_come_back(struct courier *courier, struct trip *trip)
{
	if (trip->state == OUT || trip->state == FETCHED)
		courier->bytes -= trip_load(trip);
	free(trip->result);
	trip->result = NULL;
	trip->state = TO_SEND;
}

void trip_clear(struct courier *courier, struct trip *trip)
{
	if (trip->state != GROUNDED)
		trip_come_back(courier, trip);
	free(trip->jobs);
	free(trip->gathered);
	*trip = (struct trip){ 0 };
}

bool trip_is_of_deal(const struct courier *courier, const struct trip *trip)
{
	return trip->ticket || courier->deal == atomic_load(&courier->ledger->deals);
}

/* All of it is known: the desk is empty. */
void trip_land(struct courier *courier, struct trip *trip)
{
	struct pool_desk *desk = trip_desk(courier, trip);
	uint64_t at = atomic_load(&desk->at);
	uint32_t n = trip->end - trip->first;

	if (trip->ticket)
		ticket_finish(courier->ledger, trip->ticket, trip->ticket->status);
	else
		atomic_store(&desk->at, at_of(trip->end, done_of(at) + n, false));
	trip_clear(courier, trip);
	if (ledger_done(courier->ledger) >= atomic_load(&courier->ledger->jobs))
		ledger_call(courier->ledger);
}

static struct trouble *troubles_of(struct trip *trip)
{
	if (!trip->jobs)
		trip->jobs = calloc(trip->end - trip->first, sizeof(*trip->jobs));
	return trip->jobs;
}

/* Where the part ends for good, a job is as good as done. */
static bool is_done(const struct trip *trip, uint32_t job)
{
	return trip->jobs && trip->jobs[job - trip->first].done;
}

/* The next jobs that are not done, alike in what became of them; false: all are. */
static bool next_part(struct trip *trip)
{
	uint32_t job = trip->first, most = trip->end - trip->first, n = 1;
	const struct trouble *trouble;

	if (!trip->jobs)
		return false;
	while (job < trip->end && is_done(trip, job))
		job++;
	if (job == trip->end)
		return false;
	trouble = &trip->jobs[job - trip->first];
	if (trouble->lost == 1)
		most = (most - 1) / PARTS + 1;
	if (trouble->lost > 1 || trouble->tries)
		most = 1;
	while (n < most && job + n < trip->end && !trouble[n].done &&
	       trouble[n].lost == trouble->lost && !trouble[n].tries)
		n++;
	trip->part = job;
	trip->n = n;
	trip->lost = trouble->lost;
	return true;
}

static void part_is_done(struct courier *courier, struct trip *trip)
{
	trip_come_back(courier, trip);
	free(trip->gathered);
	trip->gathered = NULL;
	for (uint32_t i = 0; trip->jobs && i < trip->n; i++) {
		struct trouble *trouble = &trip->jobs[trip->part - trip->first + i];

		/* Tried again: it was marked so. */
		trouble->done = !trouble->done;
	}
	if (!next_part(trip))
		trip_land(courier, trip);
}

/* A job of the map. */
static void note_status(struct courier *courier, struct trip *trip, uint32_t job,
			int status)
{
	struct ledger *ledger = courier->ledger;
	const struct map *map = &ledger->map;
	uint64_t found = atomic_load(&ledger->found);

	/* Behind a hit that is known: dropped, though it ran. */
	if (map->least && found && job >= found)
		status = -ECANCELED;
	if (map->status)
		map->status[item_of(map, job)] = status;
	if (status < 0)
		desk_note(trip_desk(courier, trip), job, status);
	if (status == 1 && map->search)
		ledger_note_hit(ledger, job);
}

/* All jobs of the part have that status, and no results. */
void trip_fail_part(struct courier *courier, struct trip *trip, int status)
{
	struct ledger *ledger = courier->ledger;

	if (trip->ticket) {
		trip->ticket->status = status;
	} else if (trip_is_of_deal(courier, trip)) {
		for (uint32_t i = 0; i < trip->n; i++)
			note_status(courier, trip, trip->part + i, status);
		if ((status == -TINE_ECRASH || status == -TINE_ELIMIT) &&
		    /* Bound: so long; who has it stopped is ended, or continued. */
		    ledger_lock(ledger, tine_now() + AGAIN_AFTER) == 0) {
			tine_exit how = { .code = -1 };

			ledger_note_death(ledger, trip->part, status,
					  status == -TINE_ELIMIT ? TINE_LIMIT_TIME : 0,
					  how);
			ledger_unlock(ledger);
		}
	}
	part_is_done(courier, trip);
}

/* The rest of it as well. */
void trip_fail(struct courier *courier, struct trip *trip, int status)
{
	unsigned desk = (unsigned)(trip - courier->trips);

	do
		trip_fail_part(courier, trip, status);
	while (courier->trips[desk].state != GROUNDED);
}

static void finish_ticket(struct courier *courier, struct trip *trip,
			  const struct wire_result *result, const char *out)
{
	struct ticket *ticket = trip->ticket;
	int status = wire_status(result, 0), err = 0;

	if (status == -TINE_ECRASH && atomic_load(&ticket->unwanted))
		status = -ECANCELED;
	if ((status == -TINE_ECRASH ||
	     (status < 0 && status != -TINE_ELIMIT && ticket->retry_failures)) &&
	    ticket_has_tries(courier->ledger, ticket)) {
		int64_t ms = pause_after(ticket->pause_ms, ticket->attempts++);

		trip_come_back(courier, trip);
		trip->not_before = ms ? tine_after(ms) : 0;
		return;
	}
	if (ticket->bytes)
		err = result->out_len ? ticket_answer(courier->ledger, ticket, out,
						      result->out_len)
				      : 0;
	else if (result->out_len)
		memcpy(ticket_result(ticket), out, result->out_len);
	if (result->endings) {
		struct wire_ending ending = wire_ending(result, 0);

		ticket->how = ending.how;
		ticket->limit = ending.limit;
	}
	if (ticket->cached && status >= 0)
		cached_keep(ticket->cached, ticket->data.mem, ticket_result(ticket),
			    status);
	ticket->status = err ? err : status;
	trip_land(courier, trip);
}

/* What is ended by the deadline of a map, a host calls cancelled. */
static int status_in(const struct map *map, const struct wire_result *result,
		     uint32_t job)
{
	int status = wire_status(result, job);

	if (status != -ECANCELED || tine_now() < map->deadline)
		return status;
	for (uint32_t i = 0; i < result->endings; i++)
		if (wire_ending(result, i).job == job)
			return -TINE_ELIMIT;
	return status;
}

/* Whether a job of the map that has that status is to be tried again at once. */
static bool has_tries(const struct courier *courier, const struct trip *trip,
		      uint32_t job, int status)
{
	const struct ledger *ledger = courier->ledger;

	return status == -TINE_ECRASH && !atomic_load(&ledger->cancelled) &&
	       (trip->jobs ? trip->jobs[job - trip->first].tries : 0) <
		       ledger->map.retries;
}

static void note_endings(struct courier *courier, const struct trip *trip,
			 const struct wire_result *result)
{
	struct ledger *ledger = courier->ledger;
	const struct map *map = &ledger->map;
	bool locked;

	if (!result->endings)
		return;
	/* Bound: so long; else the failure is told by its status alone. */
	locked = ledger_lock(ledger, tine_now() + AGAIN_AFTER) == 0;
	for (uint32_t i = 0; i < result->endings; i++) {
		struct wire_ending ending = wire_ending(result, i);
		uint32_t job = trip->part + ending.job;
		int status = status_in(map, result, ending.job);
		bool again = has_tries(courier, trip, job, status);

		if (status == -TINE_ELIMIT && !ending.limit)
			ending.limit = TINE_LIMIT_TIME;
		if (map->endings && !again) {
			map->endings[item_of(map, job)].how = ending.how;
			map->endings[item_of(map, job)].limit = ending.limit;
		}
		if (locked && again)
			ledger->failure.deaths++;
		else if (locked)
			ledger_note_death(ledger, job, status, ending.limit, ending.how);
	}
	if (locked)
		ledger_unlock(ledger);
}

static bool is_tried_anew(struct courier *courier, struct trip *trip, uint32_t job,
			  int status)
{
	struct trouble *jobs;

	if (!has_tries(courier, trip, job, status))
		return false;
	jobs = troubles_of(trip);
	if (!jobs)
		return false;
	jobs[job - trip->first].tries++;
	/* What part_is_done() turns. */
	jobs[job - trip->first].done = true;
	return true;
}

static void learn(struct courier *courier, const struct trip *trip, int64_t ran_us)
{
	int64_t per_job = (ran_us * 1000 + 50) / trip->n + 1;

	courier->per_job = courier->per_job ? (3 * courier->per_job + per_job) / 4
					    : per_job;
	if (trip->n > courier->largest)
		courier->largest = trip->n;
}

static void finish_jobs(struct courier *courier, struct trip *trip,
			const struct wire_result *result, const char *out)
{
	const struct map *map = &courier->ledger->map;
	size_t size = result->out_len / trip->n;

	learn(courier, trip, result->ran_us);
	note_endings(courier, trip, result);
	for (uint32_t i = 0; i < trip->n; i++) {
		uint32_t job = trip->part + i;
		size_t item = item_of(map, job);
		int status = status_in(map, result, i);

		if (is_tried_anew(courier, trip, job, status))
			continue;
		if (size)
			memcpy(map->out + item * size, out + i * size, size);
		note_status(courier, trip, job, status);
		if (map->cached && status >= 0)
			cached_keep(map->cached, map->in + item * map->in_size,
				    map->out + item * size, status);
	}
	part_is_done(courier, trip);
}

/* What a host has answered; what is no answer is as good as a lost chunk. */
bool trip_take(struct courier *courier, struct trip *trip, const void *header, size_t len,
	       const char *out, size_t out_len)
{
	struct wire_result result;

	if (wire_get_result(&result, &trip->chunk, header, len, out_len) != 0)
		return false;
	courier->brief = result.ran_us < WIRE_BRIEF_US;
	if (courier->ledger->logs && (trip->ticket || trip_is_of_deal(courier, trip)))
		lane_note(courier, trip, &result);
	if (trip->ticket)
		finish_ticket(courier, trip, &result, out);
	else if (trip_is_of_deal(courier, trip))
		finish_jobs(courier, trip, &result, out);
	else
		trip_clear(courier, trip);
	return true;
}

/* Its host is lost, or it says nothing that can be understood. */
void trip_lose(struct courier *courier, struct trip *trip)
{
	struct trouble *jobs = troubles_of(trip);
	unsigned most = 0;

	for (uint32_t i = 0; jobs && i < trip->n; i++) {
		struct trouble *trouble = &jobs[trip->part - trip->first + i];

		trouble->lost++;
		most = trouble->lost > most ? trouble->lost : most;
	}
	if (!jobs || most >= LOST_FOR_ALL) {
		trip_fail_part(courier, trip, jobs ? -TINE_ECRASH : -ENOMEM);
		return;
	}
	trip_come_back(courier, trip);
	free(trip->gathered);
	trip->gathered = NULL;
	next_part(trip);
}

struct trip *trip_find(struct courier *courier, uint64_t seq)
{
	for (int i = 0; i < DESKS; i++)
		if ((courier->trips[i].state == OUT ||
		     courier->trips[i].state == FETCHED) &&
		    courier->trips[i].seq == seq)
			return &courier->trips[i];
	return NULL;
}

struct trip *trip_of(struct courier *courier, struct engine_word word)
{
	char text[24], *end;
	uint64_t seq;

	if (!engine_copy_word(text, sizeof(text), word))
		return NULL;
	errno = 0;
	seq = strtoull(text, &end, 10);
	return *end || errno ? NULL : trip_find(courier, seq);
}
