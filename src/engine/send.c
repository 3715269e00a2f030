/* SPDX-License-Identifier: MIT */
/* Trips that begin: from the ledger to the server, and back if they are unwanted. */
#include "engine/trip.h"

#include "base/futex.h"
#include "pool/cached.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAID_WITHIN INT64_C(250000000) /* how a job ended that is ended */
#define BEAT	    INT64_C(400000000) /* nanoseconds */
#define CHUNK_FIRST INT64_C(5000000)   /* nanoseconds that a chunk is to take */
#define CHUNK_LATER INT64_C(100000000)
#define CHUNK_BYTES ((size_t)64 << 10)
#define MOST_BYTES  ((size_t)64 << 20) /* at the server */
#define ASKED	    16		       /* by name, with a beat */
#define MANY_HOSTS  32
#define FEW_BEATS   8

/* ---- what is asked of the server --------------------------------------------------- */

static void forget_chunk(struct courier *courier, struct trip *trip)
{
	const char *seq = trip->text;

	if (!courier->engine || trip->state != OUT)
		return;
	engine_add_forget(courier->engine, OTHER, courier->id, &seq, 1);
	if (wire_in_len(&trip->chunk) >= WIRE_BLOB)
		engine_add_drop_blob(courier->engine, 'b', courier->id, seq);
}

static void cancel_chunks_of(struct courier *courier, struct trip *trip)
{
	struct engine_asked asked = { { trip->task, trip->sid }, trip->text, false };

	trip->told = true;
	if (!courier->engine || trip->state != OUT)
		return;
	/* Once for all chunks of a map. */
	if (trip->chunk.map != courier->cancelled)
		engine_add_cancel(courier->engine, CANCEL, courier->id, trip->chunk.map);
	courier->cancelled = trip->chunk.map;
	if (*trip->sid)
		engine_add_take_back(courier->engine, TAKE_BACK, courier->id, &asked, 1);
}

void courier_beat(struct courier *courier, int64_t now)
{
	struct engine_asked asked[ASKED];
	const struct trip *oldest[ASKED] = { NULL };
	size_t n = 0;

	for (int i = 0; i < DESKS; i++) {
		const struct trip *trip = &courier->trips[i];
		size_t at = n < ASKED ? n : ASKED;

		if (trip->state != OUT || !*trip->sid)
			continue;
		while (at > 0 && oldest[at - 1]->seq > trip->seq) {
			if (at < ASKED)
				oldest[at] = oldest[at - 1];
			at--;
		}
		if (at < ASKED)
			oldest[at] = trip;
		n += n < ASKED;
	}
	for (size_t i = 0; i < n; i++)
		asked[i] = (struct engine_asked){ { oldest[i]->task, oldest[i]->sid },
						  oldest[i]->text,
						  wire_in_len(&oldest[i]->chunk) >=
							  WIRE_BLOB };
	/* A list of many keeps the server busy, and a few more or less change little. */
	engine_add_call(courier->engine, CALL, courier->id,
			courier->hosts < MANY_HOSTS || courier->beats % FEW_BEATS == 0,
			asked, n);
	courier->beats++;
	courier->beating = true;
	courier->next_beat = now + BEAT;
	courier->beat_sent = now;
}

void courier_send(struct courier *courier, int64_t now)
{
	struct engine_put puts[AT_ONCE];
	uint64_t first = courier->seq + 1;
	size_t n = 0;

	for (int i = 0; i < DESKS && n < AT_ONCE; i++) {
		struct trip *trip = &courier->trips[i];

		if (trip->state != TO_SEND || trip->not_before > now)
			continue;
		if (trip->not_before == INT64_MAX)
			continue;
		trip->seq = ++courier->seq;
		snprintf(trip->text, sizeof(trip->text), "%llu",
			 (unsigned long long)trip->seq);
		*trip->sid = '\0';
		trip->told = false;
		trip->unwanted = 0;
		puts[n++] = (struct engine_put){ trip->task, trip->text, trip->header,
						 trip->in, wire_in_len(&trip->chunk) };
		trip->state = OUT;
		courier->bytes += trip_load(trip);
	}
	if (n)
		engine_add_put(courier->engine, PUT, first, courier->id, puts, n);
	courier->hasty |= n == AT_ONCE;
}

/* ---- what lies in the ledger ------------------------------------------------------- */

static enum wire_kind wire_kind_of(enum work work)
{
	switch (work) {
	case EACH:
		return WIRE_EACH;
	case RANGES:
	case ONES:
		return WIRE_RANGE;
	case LEAVES:
		return WIRE_LEAVES;
	default:
		return WIRE_CALLS;
	}
}

static int64_t ms_until(int64_t deadline)
{
	/* A host ends nothing before the caller's own clock says so. */
	int64_t ms = (deadline - tine_now()) / 1000000 + 2;

	return deadline == TINE_FOREVER ? 0 : ms > 1 ? ms : 1;
}

/* Inputs, where the jobs' items do not lie together. */
static const void *gather(struct trip *trip, const struct map *map)
{
	size_t size = map->in_size;

	if (map->work != CALLS || !map->items)
		return map->in + (map->work == CALLS ? trip->part * size : 0);
	/* It may be written again before it can be sent. */
	if (trip->gathered)
		return trip->gathered;
	trip->gathered = malloc(trip->n * size + 1);
	for (uint32_t i = 0; trip->gathered && i < trip->n; i++)
		memcpy((char *)trip->gathered + i * size,
		       map->in + item_of(map, trip->part + i) * size, size);
	return trip->gathered;
}

/* The part is ready to be sent: 0; -ENOMEM. */
static int write_part(struct courier *courier, struct trip *trip)
{
	const struct map *map = &courier->ledger->map;
	size_t first = map->first + item_of(map, trip->part);
	bool indexes = map->work != CALLS;

	trip->chunk = (struct wire_chunk){
		.kind = wire_kind_of(map->work),
		.flags = (map->search ? WIRE_SEARCH : 0) |
			 (map->search && !map->least ? WIRE_FIRST : 0),
		.n = trip->n,
		.map = 2 * (uint64_t)courier->deal + 2,
		.in_size = map->label->in_size,
		.out_size = map->work == CALLS || map->work == LEAVES ? map->out_size : 0,
		.first = indexes ? first : 0,
		.total = map->work == LEAVES ? map->n : 0,
		.leaves = map->work == LEAVES ? map->leaves : 0,
		.job_ms = map->job_ms,
		.left_ms = ms_until(map->deadline),
		.grace_ms = map->grace_ms,
	};
	trip->in = gather(trip, map);
	if (!trip->in && wire_in_len(&trip->chunk))
		return -ENOMEM;
	strcpy(trip->task, courier->task);
	wire_put_chunk(trip->header, &trip->chunk);
	return 0;
}

static int write_ticket(struct trip *trip)
{
	struct ticket *ticket = trip->ticket;
	bool bytes = ticket->bytes != NULL;

	trip->chunk = (struct wire_chunk){
		.kind = bytes ? WIRE_BYTES : WIRE_CALLS,
		.n = 1,
		.map = 2 * ticket->number + 1,
		.in_size = ticket->in_size,
		.out_size = bytes ? 0 : ticket->out_size,
		.job_ms = ticket->job_ms,
	};
	trip->in = ticket->data.mem;
	wire_put_chunk(trip->header, &trip->chunk);
	return wire_task_name(trip->task, ticket->label, trip->chunk.kind);
}

/* With the lock held: how many of the jobs that wait are to go out next. */
static uint32_t chunk_of(struct courier *courier)
{
	const struct ledger *ledger = courier->ledger;
	const struct map *map = &ledger->map;
	uint64_t pile = atomic_load(&ledger->pile),
		 left = range_high(pile) - range_low(pile);
	bool items = map->work == CALLS || map->work == LEAVES;
	size_t in = map->work == CALLS ? map->in_size : 0,
	       size = items ? (in > map->out_size ? in : map->out_size) : 0;
	uint64_t n = map->chunk, fair = left / (4 * (courier->slots + 1)) + 1;

	if (!n) {
		int64_t time = courier->largest < 16 ? CHUNK_FIRST : CHUNK_LATER;

		n = courier->per_job ? (uint64_t)(time / courier->per_job) + 1 : 1;
		n = n < 16 * (uint64_t)courier->largest ? n : 16 * courier->largest;
		n = n < fair ? n : fair;
		if (size && n > CHUNK_BYTES / size)
			n = CHUNK_BYTES / size;
	}
	if (size && n > WIRE_MOST / size)
		n = WIRE_MOST / size;
	if (map->work != RANGES && n > WIRE_JOBS)
		n = WIRE_JOBS;
	/* Indexes that do not follow each other. */
	if (map->work != CALLS && map->items)
		n = 1;
	return n > 0 ? (uint32_t)n : 1;
}

/* A new deal: with the lock held, so that none begins meanwhile. */
static void look_at_deal(struct courier *courier)
{
	const struct ledger *ledger = courier->ledger;
	uint32_t deal = atomic_load(&ledger->deals);
	char task[WIRE_TASK_MAX] = "";

	if (courier->deal == deal)
		return;
	courier->deal = deal;
	courier->failed = 0;
	if (!ledger->map.label)
		return;
	courier->failed = wire_task_name(task, ledger->map.label,
					 wire_kind_of(ledger->map.work));
	if (strcmp(task, courier->task) != 0) {
		courier->per_job = 0;
		courier->largest = 1;
	}
	strcpy(courier->task, task);
}

/* What waits at a desk, and nobody has taken up: a courier that is dead has left it. */
static uint32_t left_at(const struct pool_desk *desk)
{
	uint64_t range = atomic_load(&desk->range);

	return range_high(range) - range_low(range);
}

static bool pile_is_empty(const struct ledger *ledger)
{
	uint64_t range = atomic_load(&ledger->pile);

	return range_high(range) == range_low(range);
}

/* With the lock held: jobs of the map to that desk. */
static bool take_jobs(struct courier *courier, struct trip *trip)
{
	struct ledger *ledger = courier->ledger;
	struct pool_desk *desk = trip_desk(courier, trip);
	uint32_t first, n;

	look_at_deal(courier);
	n = chunk_of(courier);
	if (!left_at(desk) && !desk_stock(ledger, (unsigned)(trip - courier->trips), n))
		return false;
	atomic_store(&desk->chunk, n);
	n = desk_take(desk, n, true, &first);
	if (n == 0)
		return false;
	trip->state = TO_SEND;
	trip->first = trip->part = first;
	trip->end = first + n;
	trip->n = n;
	return true;
}

static bool take_ticket(struct courier *courier, struct trip *trip)
{
	struct ticket *ticket = ticket_carry(courier->ledger,
					     (unsigned)(trip - courier->trips));
	int err;

	if (!ticket)
		return false;
	trip->state = TO_SEND;
	trip->ticket = ticket;
	trip->n = trip->end = 1;
	if (ticket->cached && cached_find(ticket->cached, ticket->data.mem,
					  ticket_result(ticket), &ticket->status)) {
		trip_land(courier, trip);
		return true;
	}
	err = write_ticket(trip);
	if (atomic_load(&ticket->unwanted) || atomic_load(&courier->ledger->dropped))
		err = -ECANCELED;
	if (err)
		trip_fail_part(courier, trip, err);
	return true;
}

unsigned courier_trips(const struct courier *courier)
{
	unsigned n = 0;

	for (int i = 0; i < DESKS; i++)
		n += courier->trips[i].state != GROUNDED;
	return n;
}

static unsigned window_of(const struct courier *courier)
{
	unsigned each = courier->brief ? WIRE_BRIEF : 2;
	unsigned most = each * courier->slots + 2 * courier->hosts;

	return most < 4 ? 4 : most < DESKS ? most : DESKS;
}

/* The next jobs of the map, if there are, ready to be sent. */
static bool stock_jobs(struct courier *courier, struct trip *trip)
{
	struct ledger *ledger = courier->ledger;
	int err;

	if (!left_at(trip_desk(courier, trip)) && pile_is_empty(ledger))
		return false;
	/* Bound: not at all; it is looked at again soon. */
	if (ledger_lock(ledger, TINE_NOWAIT) != 0) {
		courier->hasty = true;
		return false;
	}
	if (!take_jobs(courier, trip)) {
		ledger_unlock(ledger);
		return false;
	}
	err = courier->failed ? courier->failed : write_part(courier, trip);
	ledger_unlock(ledger);
	if (err)
		trip_fail(courier, trip, err);
	return true;
}

void courier_stock(struct courier *courier)
{
	struct ledger *ledger = courier->ledger;
	unsigned out = courier_trips(courier), most = window_of(courier);
	bool tickets = true, jobs = !atomic_load(&ledger->cancelled);

	if (!ledger_has_work(ledger))
		return;
	for (int i = 0; i < DESKS && out < most && courier->bytes < MOST_BYTES; i++) {
		struct trip *trip = &courier->trips[i];

		if (trip->state != GROUNDED)
			continue;
		tickets = tickets && take_ticket(courier, trip);
		out += tickets || (jobs && stock_jobs(courier, trip));
	}
}

/* ---- what the caller wants otherwise ----------------------------------------------- */

/* It is waited for no longer. */
static void give_up(struct courier *courier, struct trip *trip, int status)
{
	if (!trip->told)
		cancel_chunks_of(courier, trip);
	forget_chunk(courier, trip);
	trip_fail(courier, trip, status);
}

/* Whether its host had the time to say itself how it ended. */
static bool was_patient(struct courier *courier, struct trip *trip, int64_t now)
{
	if (trip->state == TO_SEND || !courier->engine)
		return true;
	if (!trip->unwanted) {
		if (!trip->told)
			cancel_chunks_of(courier, trip);
		/* What is cancelled twice is ended. */
		engine_add_cancel(courier->engine, CANCEL, courier->id, trip->chunk.map);
		trip->unwanted = now;
	}
	courier->hasty = true;
	return now - trip->unwanted >= SAID_WITHIN;
}

static void mind_ticket(struct courier *courier, struct trip *trip, int64_t now)
{
	if (atomic_load(&trip->ticket->unwanted)) {
		if (was_patient(courier, trip, now))
			give_up(courier, trip, -ECANCELED);
	} else if (atomic_load(&courier->ledger->dropped) && trip->state == TO_SEND) {
		trip_fail(courier, trip, -ECANCELED);
	}
}

static void mind_jobs(struct courier *courier, struct trip *trip, int64_t now)
{
	const struct pool_desk *desk = trip_desk(courier, trip);

	if (!trip_is_of_deal(courier, trip)) {
		trip_clear(courier, trip);
	} else if (atomic_load(&desk->unwanted) &&
		   atomic_load(&desk->unwanted) == job_of(desk)) {
		int status = atomic_load(&desk->unwanted_status);

		if (was_patient(courier, trip, now))
			give_up(courier, trip,
				status == -ETIMEDOUT ? -TINE_ELIMIT : status);
	} else if (!atomic_load(&courier->ledger->cancelled)) {
		return;
	} else if (trip->state == TO_SEND) {
		trip_fail(courier, trip, -ECANCELED);
	} else if (!trip->told) {
		cancel_chunks_of(courier, trip);
	}
}

/* Since when nobody serves it, or no server answers. */
static int missing(const struct courier *courier, const struct trip *trip, int64_t now)
{
	int64_t most = courier->away->away_ms * 1000000;

	if (courier->gone && now - courier->gone >= most)
		return courier->gone_by;
	if (!courier->gone && trip->unserved && now - trip->unserved >= most)
		return -TINE_EHOST;
	return trip->ticket ? 0 : courier->failed;
}

/* Suspects are out one at a time. */
static bool suspect_is_out(const struct courier *courier)
{
	for (int i = 0; i < DESKS; i++)
		if (courier->trips[i].state >= OUT && courier->trips[i].lost > 1)
			return true;
	return false;
}

/* All that was submitted, the last first: what waits on a host is not to begin now. */
static void drop_tickets(struct courier *courier)
{
	struct trip *last;

	do {
		last = NULL;
		for (int i = 0; i < DESKS; i++) {
			struct trip *trip = &courier->trips[i];

			if (trip->state == OUT && trip->ticket && !trip->told &&
			    (!last || trip->seq > last->seq))
				last = trip;
		}
		if (last)
			cancel_chunks_of(courier, last);
	} while (last);
}

void courier_mind(struct courier *courier, int64_t now)
{
	bool suspect = suspect_is_out(courier);
	/* Looked at before the map is: that is cancelled first, also for hosts. */
	bool dropped = atomic_load(&courier->ledger->dropped);

	for (int i = 0; i < DESKS; i++) {
		struct trip *trip = &courier->trips[i];
		int err;

		if (trip->state == GROUNDED)
			continue;
		if (trip->ticket)
			mind_ticket(courier, trip, now);
		else
			mind_jobs(courier, trip, now);
		if (trip->state == GROUNDED)
			continue;
		err = missing(courier, trip, now);
		if (err) {
			if (!trip->ticket)
				courier->failed = err;
			give_up(courier, trip, err);
			continue;
		}
		if (trip->state != TO_SEND)
			continue;
		/* Another part than was written. */
		err = trip->ticket ? 0 : write_part(courier, trip);
		if (err) {
			trip_fail(courier, trip, err);
			continue;
		}
		if (trip->lost > 1) {
			trip->not_before = suspect ? INT64_MAX : 0;
			suspect = true;
		}
	}
	if (dropped)
		drop_tickets(courier);
}
