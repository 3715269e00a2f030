/* SPDX-License-Identifier: MIT */
/*
 * The courier: a small process with one thread between a caller and the server of its
 * pool, in the place of the nursery (pool/crew.h). It works on the ledger as the worker
 * of all desks at once. At a desk lies one flight: jobs [at.index, low) of the map, or a
 * ticket. It goes out as a chunk, or in parts one after the other, and when all of it is
 * back, results and statuses first, at moves past it. Nothing at a desk ever says that it
 * runs here: so
 *
 *	courier dies		its parent mends the desks: all that was out waits again,
 *				and the next courier, another caller to the server, sends
 *				it anew, after it has buried the one before
 *	it is stopped		its parent continues it, as a nursery
 *	caller dies		the lifeline breaks: it buries itself at the server, and
 *				ends; who dies with it is buried by any host
 *	connection is lost	it opens another and asks what is outstanding, then what is
 *				done; what is neither is sent again
 *	server loses its data	the same: its beat says that the caller was unknown
 *	one key is lost		its beat asks for its oldest by name
 *	host is lost		some host tells: sent again in smaller parts, then one by
 *				one with no other such beside it; lost three times it fails,
 *				as a crash
 *	nobody has the task,	for so long: the jobs fail, with -TINE_EHOST or what
 *	or no server answers	the server was missing by
 *
 * The caller sleeps on the ledger as it does for workers. The courier sleeps in poll(2):
 * whoever has something new for it takes the word `sleeps` from 1 to 0 and sends a byte
 * down the lifeline.
 */
#include "engine/courier.h"

#include "base/futex.h"
#include "engine/engine.h"
#include "pool/cached.h"
#include "pool/pool.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define SAID_WITHIN  INT64_C(250000000)	 /* how a job ended that is ended */
#define DESKS	     128		 /* flights */
#define BEAT	     INT64_C(400000000)	 /* nanoseconds */
#define SILENT	     INT64_C(4000000000) /* without an answer: another connection */
#define AGAIN_AFTER  INT64_C(100000000)	 /* that the server could not take it */
#define OPEN_FOR     INT64_C(900000000)
#define SEND_FOR     INT64_C(8000000000)
#define PATIENCE     INT64_C(20000000000)
#define LOOK	     50		      /* milliseconds, while something is out */
#define CHUNK_FIRST  INT64_C(5000000) /* nanoseconds that a chunk is to take */
#define CHUNK_LATER  INT64_C(100000000)
#define CHUNK_BYTES  ((size_t)64 << 10)
#define MOST_BYTES   ((size_t)64 << 20) /* at the server */
#define AT_ONCE	     64			/* chunks in one transaction */
#define ASKED	     16			/* by name, with a beat */
#define PARTS	     8			/* of what was lost once */
#define LOST_FOR_ALL 3			/* times; then it fails */

/* The errand. */
struct away {
	int64_t away_ms;
	_Atomic int
		state; /* 1: the server has not answered; 0: it has; < 0: it will not */
	_Atomic uint32_t sleeps;
	char caller[ENGINE_ID_MAX]; /* of the last courier */
	char url[];
};

/* What is known of a job of a flight that did not go well at once. */
struct trouble {
	bool done;
	unsigned char lost;
	unsigned tries;
};

enum flight_state {
	GROUNDED, /* nothing is at the desk */
	TO_SEND,
	OUT,
	FETCHED, /* its outputs lie beside the stream */
};

struct trip {
	enum flight_state state;
	struct ticket *ticket; /* or NULL: jobs of the map */
	uint32_t first, end;   /* jobs at the desk */
	uint32_t part, n;      /* jobs of the part that is out: the first, and how many */
	struct trouble *jobs;  /* of all at the desk, or NULL: no trouble */
	unsigned lost;	       /* of the part */
	uint64_t seq;
	char text[24], sid[ENGINE_SID_MAX], task[WIRE_TASK_MAX];
	char done_sid[ENGINE_SID_MAX];
	struct wire_chunk chunk;
	unsigned char header[WIRE_CHUNK_LEN];
	const void *in;
	void *gathered;	       /* inputs that do not lie together, or NULL */
	unsigned char *result; /* the header, while its outputs are fetched */
	size_t result_len;
	int64_t not_before;
	int64_t unserved; /* since when no host has its task, or 0 */
	int64_t unwanted; /* since when, or 0 */
	bool told;	  /* that it is cancelled */
	bool known;	  /* by the server, after a connection was lost */
};

enum what { PUT, CALL, RESULTS, FETCH, CANCEL, TAKE_BACK, KNOWN, OTHER };

struct courier {
	struct ledger *ledger;
	struct away *away;
	int lifeline;
	struct engine_url url;
	struct engine *engine; /* or NULL */
	char id[ENGINE_ID_MAX], last[ENGINE_SID_MAX];
	uint64_t seq;
	bool reading, beating, known; /* known: to the server, since it was opened */
	int64_t next_beat, heard, next_open;
	int64_t gone; /* since when no server answers, or 0 */
	int gone_by;
	unsigned slots, hosts;
	size_t bytes; /* that are out */
	/* Of the map. */
	uint32_t deal; /* the deal that the rest is of */
	char task[WIRE_TASK_MAX];
	int64_t per_job;    /* nanoseconds, or 0: not known */
	uint32_t largest;   /* chunk so far */
	uint64_t cancelled; /* the last map that hosts were told of */
	int failed;	    /* what all jobs of the deal fail with, or 0 */
	bool hasty;	    /* something is to be looked at again soon */
	struct trip flights[DESKS];
};

static struct pool_desk *desk_of(struct courier *courier, const struct trip *flight)
{
	return &courier->ledger->desks[flight - courier->flights];
}

/* ---- what comes back --------------------------------------------------------------- */

static size_t load_of(const struct trip *flight)
{
	size_t in = wire_in_len(&flight->chunk), out = wire_out_len(&flight->chunk);

	return in > out ? in : out;
}

/* It is not at the server any more. */
static void come_back(struct courier *courier, struct trip *flight)
{
	if (flight->state == OUT || flight->state == FETCHED)
		courier->bytes -= load_of(flight);
	free(flight->result);
	flight->result = NULL;
	flight->state = TO_SEND;
}

static void clear_flight(struct courier *courier, struct trip *flight)
{
	if (flight->state != GROUNDED)
		come_back(courier, flight);
	free(flight->jobs);
	free(flight->gathered);
	*flight = (struct trip){ 0 };
}

static bool of_this_deal(const struct courier *courier, const struct trip *flight)
{
	return flight->ticket || courier->deal == atomic_load(&courier->ledger->deals);
}

/* All of it is known: the desk is empty. */
static void land(struct courier *courier, struct trip *flight)
{
	struct pool_desk *desk = desk_of(courier, flight);
	uint64_t at = atomic_load(&desk->at);
	uint32_t n = flight->end - flight->first;

	if (flight->ticket)
		ticket_finish(courier->ledger, flight->ticket, flight->ticket->status);
	else
		atomic_store(&desk->at, at_of(flight->end, done_of(at) + n, false));
	clear_flight(courier, flight);
	if (ledger_done(courier->ledger) >= atomic_load(&courier->ledger->jobs))
		ledger_call(courier->ledger);
}

static struct trouble *troubles_of(struct trip *flight)
{
	if (!flight->jobs)
		flight->jobs = calloc(flight->end - flight->first, sizeof(*flight->jobs));
	return flight->jobs;
}

/* Where the part ends for good, a job is as good as done. */
static bool is_done(const struct trip *flight, uint32_t job)
{
	return flight->jobs && flight->jobs[job - flight->first].done;
}

/* The next jobs that are not done, alike in what became of them; false: all are. */
static bool next_part(struct trip *flight)
{
	uint32_t job = flight->first, most = flight->end - flight->first, n = 1;
	const struct trouble *trouble;

	if (!flight->jobs)
		return false;
	while (job < flight->end && is_done(flight, job))
		job++;
	if (job == flight->end)
		return false;
	trouble = &flight->jobs[job - flight->first];
	if (trouble->lost == 1)
		most = (most - 1) / PARTS + 1;
	if (trouble->lost > 1 || trouble->tries)
		most = 1;
	while (n < most && job + n < flight->end && !trouble[n].done &&
	       trouble[n].lost == trouble->lost && !trouble[n].tries)
		n++;
	flight->part = job;
	flight->n = n;
	flight->lost = trouble->lost;
	return true;
}

static void part_is_done(struct courier *courier, struct trip *flight)
{
	come_back(courier, flight);
	free(flight->gathered);
	flight->gathered = NULL;
	for (uint32_t i = 0; flight->jobs && i < flight->n; i++) {
		struct trouble *trouble = &flight->jobs[flight->part - flight->first + i];

		/* Tried again: it was marked so. */
		trouble->done = !trouble->done;
	}
	if (!next_part(flight))
		land(courier, flight);
}

/* A job of the map. */
static void note_status(struct courier *courier, struct trip *flight, uint32_t job,
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
		desk_note(desk_of(courier, flight), job, status);
	if (status == 1 && map->search)
		ledger_note_hit(ledger, job);
}

/* All jobs of the part have that status, and no results. */
static void fail_part(struct courier *courier, struct trip *flight, int status)
{
	struct ledger *ledger = courier->ledger;

	if (flight->ticket) {
		flight->ticket->status = status;
	} else if (of_this_deal(courier, flight)) {
		for (uint32_t i = 0; i < flight->n; i++)
			note_status(courier, flight, flight->part + i, status);
		if ((status == -TINE_ECRASH || status == -TINE_ELIMIT) &&
		    /* Bound: so long; who has it stopped is ended, or continued. */
		    ledger_lock(ledger, tine_now() + AGAIN_AFTER) == 0) {
			tine_exit how = { .code = -1 };

			ledger_note_death(ledger, flight->part, status,
					  status == -TINE_ELIMIT ? TINE_LIMIT_TIME : 0,
					  how);
			ledger_unlock(ledger);
		}
	}
	part_is_done(courier, flight);
}

/* The rest of it as well. */
static void fail_flight(struct courier *courier, struct trip *flight, int status)
{
	unsigned desk = (unsigned)(flight - courier->flights);

	do
		fail_part(courier, flight, status);
	while (courier->flights[desk].state != GROUNDED);
}

static void finish_ticket(struct courier *courier, struct trip *flight,
			  const struct wire_result *result, const char *out)
{
	struct ticket *ticket = flight->ticket;
	int status = wire_status(result, 0), err = 0;

	if ((status == -TINE_ECRASH ||
	     (status < 0 && status != -TINE_ELIMIT && ticket->retry_failures)) &&
	    ticket_has_tries(courier->ledger, ticket)) {
		int64_t ms = pause_after(ticket->pause_ms, ticket->attempts++);

		come_back(courier, flight);
		flight->not_before = ms ? tine_after(ms) : 0;
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
	land(courier, flight);
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
static bool has_tries(const struct courier *courier, const struct trip *flight,
		      uint32_t job, int status)
{
	const struct ledger *ledger = courier->ledger;

	return status == -TINE_ECRASH && !atomic_load(&ledger->cancelled) &&
	       (flight->jobs ? flight->jobs[job - flight->first].tries : 0) <
		       ledger->map.retries;
}

static void note_endings(struct courier *courier, const struct trip *flight,
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
		uint32_t job = flight->part + ending.job;
		int status = status_in(map, result, ending.job);
		bool again = has_tries(courier, flight, job, status);

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

static bool is_tried_anew(struct courier *courier, struct trip *flight, uint32_t job,
			  int status)
{
	struct trouble *jobs;

	if (!has_tries(courier, flight, job, status))
		return false;
	jobs = troubles_of(flight);
	if (!jobs)
		return false;
	jobs[job - flight->first].tries++;
	/* What part_is_done() turns. */
	jobs[job - flight->first].done = true;
	return true;
}

static void learn(struct courier *courier, const struct trip *flight, int64_t ran_us)
{
	int64_t per_job = (ran_us * 1000 + 50) / flight->n + 1;

	courier->per_job = courier->per_job ? (3 * courier->per_job + per_job) / 4
					    : per_job;
	if (flight->n > courier->largest)
		courier->largest = flight->n;
}

static void finish_jobs(struct courier *courier, struct trip *flight,
			const struct wire_result *result, const char *out)
{
	const struct map *map = &courier->ledger->map;
	size_t size = result->out_len / flight->n;

	learn(courier, flight, result->ran_us);
	note_endings(courier, flight, result);
	for (uint32_t i = 0; i < flight->n; i++) {
		uint32_t job = flight->part + i;
		size_t item = item_of(map, job);
		int status = status_in(map, result, i);

		if (is_tried_anew(courier, flight, job, status))
			continue;
		if (size)
			memcpy(map->out + item * size, out + i * size, size);
		note_status(courier, flight, job, status);
		if (map->cached && status >= 0)
			cached_keep(map->cached, map->in + item * map->in_size,
				    map->out + item * size, status);
	}
	part_is_done(courier, flight);
}

/* What a host has answered; what is no answer is as good as a lost chunk. */
static bool take_outputs(struct courier *courier, struct trip *flight, const void *header,
			 size_t len, const char *out, size_t out_len)
{
	struct wire_result result;

	if (wire_get_result(&result, &flight->chunk, header, len, out_len) != 0)
		return false;
	if (flight->ticket)
		finish_ticket(courier, flight, &result, out);
	else if (of_this_deal(courier, flight))
		finish_jobs(courier, flight, &result, out);
	else
		clear_flight(courier, flight);
	return true;
}

/* Its host is lost, or it says nothing that can be understood. */
static void lose(struct courier *courier, struct trip *flight)
{
	struct trouble *jobs = troubles_of(flight);
	unsigned most = 0;

	for (uint32_t i = 0; jobs && i < flight->n; i++) {
		struct trouble *trouble = &jobs[flight->part - flight->first + i];

		trouble->lost++;
		most = trouble->lost > most ? trouble->lost : most;
	}
	if (!jobs || most >= LOST_FOR_ALL) {
		fail_part(courier, flight, jobs ? -TINE_ECRASH : -ENOMEM);
		return;
	}
	come_back(courier, flight);
	free(flight->gathered);
	flight->gathered = NULL;
	next_part(flight);
}

static struct trip *find_flight(struct courier *courier, uint64_t seq)
{
	for (int i = 0; i < DESKS; i++)
		if ((courier->flights[i].state == OUT ||
		     courier->flights[i].state == FETCHED) &&
		    courier->flights[i].seq == seq)
			return &courier->flights[i];
	return NULL;
}

static struct trip *flight_of(struct courier *courier, struct engine_word word)
{
	char text[24], *end;
	uint64_t seq;

	if (!engine_copy_word(text, sizeof(text), word))
		return NULL;
	errno = 0;
	seq = strtoull(text, &end, 10);
	return *end || errno ? NULL : find_flight(courier, seq);
}

/* ---- what is asked of the server --------------------------------------------------- */

static void forget_chunk(struct courier *courier, struct trip *flight)
{
	const char *seq = flight->text;

	if (!courier->engine || flight->state != OUT)
		return;
	engine_add_forget(courier->engine, OTHER, courier->id, &seq, 1);
	if (wire_in_len(&flight->chunk) >= WIRE_BLOB)
		engine_add_drop_blob(courier->engine, 'b', courier->id, seq);
}

static void cancel_chunks_of(struct courier *courier, struct trip *flight)
{
	struct engine_asked asked = { { flight->task, flight->sid },
				      flight->text,
				      false };

	flight->told = true;
	if (!courier->engine || flight->state != OUT)
		return;
	/* Once for all chunks of a map. */
	if (flight->chunk.map != courier->cancelled)
		engine_add_cancel(courier->engine, CANCEL, courier->id,
				  flight->chunk.map);
	courier->cancelled = flight->chunk.map;
	if (*flight->sid)
		engine_add_take_back(courier->engine, TAKE_BACK, courier->id, &asked, 1);
}

static void add_beat(struct courier *courier, int64_t now)
{
	struct engine_asked asked[ASKED];
	const struct trip *oldest[ASKED];
	size_t n = 0;

	for (int i = 0; i < DESKS; i++) {
		const struct trip *flight = &courier->flights[i];
		size_t at = n < ASKED ? n : ASKED;

		if (flight->state != OUT || !*flight->sid)
			continue;
		while (at > 0 && oldest[at - 1]->seq > flight->seq) {
			if (at < ASKED)
				oldest[at] = oldest[at - 1];
			at--;
		}
		if (at < ASKED)
			oldest[at] = flight;
		n += n < ASKED;
	}
	for (size_t i = 0; i < n; i++)
		asked[i] = (struct engine_asked){ { oldest[i]->task, oldest[i]->sid },
						  oldest[i]->text,
						  wire_in_len(&oldest[i]->chunk) >=
							  WIRE_BLOB };
	engine_add_call(courier->engine, CALL, courier->id, asked, n);
	courier->beating = true;
	courier->next_beat = now + BEAT;
}

static void send_flights(struct courier *courier, int64_t now)
{
	struct engine_put puts[AT_ONCE];
	uint64_t first = courier->seq + 1;
	size_t n = 0;

	for (int i = 0; i < DESKS && n < AT_ONCE; i++) {
		struct trip *flight = &courier->flights[i];

		if (flight->state != TO_SEND || flight->not_before > now)
			continue;
		if (flight->not_before == INT64_MAX)
			continue;
		flight->seq = ++courier->seq;
		snprintf(flight->text, sizeof(flight->text), "%llu",
			 (unsigned long long)flight->seq);
		*flight->sid = '\0';
		flight->told = false;
		flight->unwanted = 0;
		puts[n++] = (struct engine_put){ flight->task, flight->text,
						 flight->header, flight->in,
						 wire_in_len(&flight->chunk) };
		flight->state = OUT;
		courier->bytes += load_of(flight);
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
	int64_t ms = (deadline - tine_now()) / 1000000;

	return deadline == TINE_FOREVER ? 0 : ms > 1 ? ms : 1;
}

/* Inputs, where the jobs' items do not lie together. */
static const void *gather(struct trip *flight, const struct map *map)
{
	size_t size = map->in_size;

	if (map->work != CALLS || !map->items)
		return map->in + (map->work == CALLS ? flight->part * size : 0);
	flight->gathered = malloc(flight->n * size + 1);
	for (uint32_t i = 0; flight->gathered && i < flight->n; i++)
		memcpy((char *)flight->gathered + i * size,
		       map->in + item_of(map, flight->part + i) * size, size);
	return flight->gathered;
}

/* The part is ready to be sent: 0; -ENOMEM. */
static int write_part(struct courier *courier, struct trip *flight)
{
	const struct map *map = &courier->ledger->map;
	size_t first = map->first + item_of(map, flight->part);
	bool indexes = map->work != CALLS;

	flight->chunk = (struct wire_chunk){
		.kind = wire_kind_of(map->work),
		.flags = map->search ? WIRE_SEARCH : 0,
		.n = flight->n,
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
	flight->in = gather(flight, map);
	if (!flight->in && wire_in_len(&flight->chunk))
		return -ENOMEM;
	strcpy(flight->task, courier->task);
	wire_put_chunk(flight->header, &flight->chunk);
	return 0;
}

static int write_ticket(struct trip *flight)
{
	struct ticket *ticket = flight->ticket;
	bool bytes = ticket->bytes != NULL;

	flight->chunk = (struct wire_chunk){
		.kind = bytes ? WIRE_BYTES : WIRE_CALLS,
		.n = 1,
		.map = 2 * ticket->number + 1,
		.in_size = ticket->in_size,
		.out_size = bytes ? 0 : ticket->out_size,
		.job_ms = ticket->job_ms,
	};
	flight->in = ticket->data.mem;
	wire_put_chunk(flight->header, &flight->chunk);
	return wire_task_name(flight->task, ticket->label, flight->chunk.kind);
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
static bool take_jobs(struct courier *courier, struct trip *flight)
{
	struct ledger *ledger = courier->ledger;
	struct pool_desk *desk = desk_of(courier, flight);
	uint32_t first, n;

	look_at_deal(courier);
	n = chunk_of(courier);
	if (!left_at(desk) &&
	    !desk_stock(ledger, (unsigned)(flight - courier->flights), n))
		return false;
	atomic_store(&desk->chunk, n);
	n = desk_take(desk, n, true, &first);
	if (n == 0)
		return false;
	flight->state = TO_SEND;
	flight->first = flight->part = first;
	flight->end = first + n;
	flight->n = n;
	return true;
}

static bool take_ticket(struct courier *courier, struct trip *flight)
{
	struct ticket *ticket = ticket_carry(courier->ledger,
					     (unsigned)(flight - courier->flights));
	int err;

	if (!ticket)
		return false;
	flight->state = TO_SEND;
	flight->ticket = ticket;
	flight->n = flight->end = 1;
	if (ticket->cached && cached_find(ticket->cached, ticket->data.mem,
					  ticket_result(ticket), &ticket->status)) {
		land(courier, flight);
		return true;
	}
	err = write_ticket(flight);
	if (atomic_load(&ticket->unwanted) || atomic_load(&courier->ledger->dropped))
		err = -ECANCELED;
	if (err)
		fail_part(courier, flight, err);
	return true;
}

static unsigned count_out(const struct courier *courier)
{
	unsigned n = 0;

	for (int i = 0; i < DESKS; i++)
		n += courier->flights[i].state != GROUNDED;
	return n;
}

static unsigned window_of(const struct courier *courier)
{
	unsigned most = 2 * (courier->slots + courier->hosts);

	return most < 4 ? 4 : most < DESKS ? most : DESKS;
}

/* The next jobs of the map, if there are, ready to be sent. */
static bool stock_jobs(struct courier *courier, struct trip *flight)
{
	struct ledger *ledger = courier->ledger;
	int err;

	if (!left_at(desk_of(courier, flight)) && pile_is_empty(ledger))
		return false;
	/* Bound: not at all; it is looked at again soon. */
	if (ledger_lock(ledger, TINE_NOWAIT) != 0) {
		courier->hasty = true;
		return false;
	}
	if (!take_jobs(courier, flight)) {
		ledger_unlock(ledger);
		return false;
	}
	err = courier->failed ? courier->failed : write_part(courier, flight);
	ledger_unlock(ledger);
	if (err)
		fail_flight(courier, flight, err);
	return true;
}

static void stock_desks(struct courier *courier)
{
	struct ledger *ledger = courier->ledger;
	unsigned out = count_out(courier), most = window_of(courier);
	bool tickets = true, jobs = !atomic_load(&ledger->cancelled);

	if (!ledger_has_work(ledger))
		return;
	for (int i = 0; i < DESKS && out < most && courier->bytes < MOST_BYTES; i++) {
		struct trip *flight = &courier->flights[i];

		if (flight->state != GROUNDED)
			continue;
		tickets = tickets && take_ticket(courier, flight);
		out += tickets || (jobs && stock_jobs(courier, flight));
	}
}

/* ---- what the caller wants otherwise ----------------------------------------------- */

/* It is waited for no longer. */
static void give_up(struct courier *courier, struct trip *flight, int status)
{
	if (!flight->told)
		cancel_chunks_of(courier, flight);
	forget_chunk(courier, flight);
	fail_flight(courier, flight, status);
}

/* Whether its host had the time to say itself how it ended. */
static bool was_patient(struct courier *courier, struct trip *flight, int64_t now)
{
	if (flight->state == TO_SEND || !courier->engine)
		return true;
	if (!flight->unwanted) {
		if (!flight->told)
			cancel_chunks_of(courier, flight);
		/* What is cancelled twice is ended. */
		engine_add_cancel(courier->engine, CANCEL, courier->id,
				  flight->chunk.map);
		flight->unwanted = now;
	}
	courier->hasty = true;
	return now - flight->unwanted >= SAID_WITHIN;
}

static void mind_ticket(struct courier *courier, struct trip *flight, int64_t now)
{
	if (atomic_load(&flight->ticket->unwanted)) {
		if (was_patient(courier, flight, now))
			give_up(courier, flight, -ECANCELED);
	} else if (atomic_load(&courier->ledger->dropped) && flight->state == TO_SEND) {
		fail_flight(courier, flight, -ECANCELED);
	}
}

static void mind_jobs(struct courier *courier, struct trip *flight, int64_t now)
{
	const struct pool_desk *desk = desk_of(courier, flight);

	if (!of_this_deal(courier, flight)) {
		clear_flight(courier, flight);
	} else if (atomic_load(&desk->unwanted) &&
		   atomic_load(&desk->unwanted) == job_of(desk)) {
		int status = atomic_load(&desk->unwanted_status);

		if (was_patient(courier, flight, now))
			give_up(courier, flight,
				status == -ETIMEDOUT ? -TINE_ELIMIT : status);
	} else if (!atomic_load(&courier->ledger->cancelled)) {
		return;
	} else if (flight->state == TO_SEND) {
		fail_flight(courier, flight, -ECANCELED);
	} else if (!flight->told) {
		cancel_chunks_of(courier, flight);
	}
}

/* Since when nobody serves it, or no server answers. */
static int missing(const struct courier *courier, const struct trip *flight, int64_t now)
{
	int64_t most = courier->away->away_ms * 1000000;

	if (courier->gone && now - courier->gone >= most)
		return courier->gone_by;
	if (!courier->gone && flight->unserved && now - flight->unserved >= most)
		return -TINE_EHOST;
	return flight->ticket ? 0 : courier->failed;
}

/* Suspects are out one at a time. */
static bool suspect_is_out(const struct courier *courier)
{
	for (int i = 0; i < DESKS; i++)
		if (courier->flights[i].state >= OUT && courier->flights[i].lost > 1)
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
			struct trip *flight = &courier->flights[i];

			if (flight->state == OUT && flight->ticket && !flight->told &&
			    (!last || flight->seq > last->seq))
				last = flight;
		}
		if (last)
			cancel_chunks_of(courier, last);
	} while (last);
}

static void mind_flights(struct courier *courier, int64_t now)
{
	bool suspect = suspect_is_out(courier);

	if (atomic_load(&courier->ledger->dropped))
		drop_tickets(courier);
	for (int i = 0; i < DESKS; i++) {
		struct trip *flight = &courier->flights[i];
		int err;

		if (flight->state == GROUNDED)
			continue;
		if (flight->ticket)
			mind_ticket(courier, flight, now);
		else
			mind_jobs(courier, flight, now);
		if (flight->state == GROUNDED)
			continue;
		err = missing(courier, flight, now);
		if (err) {
			if (!flight->ticket)
				courier->failed = err;
			give_up(courier, flight, err);
			continue;
		}
		if (flight->state != TO_SEND)
			continue;
		/* Another part than was written. */
		err = flight->ticket ? 0 : write_part(courier, flight);
		if (err) {
			fail_flight(courier, flight, err);
			continue;
		}
		if (flight->lost > 1) {
			flight->not_before = suspect ? INT64_MAX : 0;
			suspect = true;
		}
	}
}

/* ---- answers ----------------------------------------------------------------------- */

/* True: the server has it not. */
static void note_put(struct courier *courier, const struct engine_answer *answer,
		     int64_t now)
{
	struct resp array = answer->resp, element;
	uint64_t seq = answer->number;
	struct trip *flight;

	if (answer->err) {
		for (int i = 0; i < AT_ONCE; i++)
			if ((flight = find_flight(courier, seq + (uint64_t)i)) &&
			    !*flight->sid) {
				come_back(courier, flight);
				flight->not_before = now + AGAIN_AFTER;
			}
		return;
	}
	while (array.kind == RESP_ARRAY && resp_next(&array, &element)) {
		if (element.kind != RESP_STRING)
			continue;
		flight = find_flight(courier, seq++);
		if (flight && element.len < sizeof(flight->sid)) {
			memcpy(flight->sid, element.text, element.len);
			flight->sid[element.len] = '\0';
		}
	}
}

/* Whether the first of two ids of a stream is the later one. */
static bool is_later(const char *one, const char *other)
{
	uint64_t a[2] = { 0 }, b[2] = { 0 };

	sscanf(one, "%" SCNu64 "-%" SCNu64, &a[0], &a[1]);
	sscanf(other, "%" SCNu64 "-%" SCNu64, &b[0], &b[1]);
	return a[0] != b[0] ? a[0] > b[0] : a[1] > b[1];
}

/* Whether the host has that task. */
static bool serves(const char *tasks, size_t len, const char *task)
{
	size_t n = strlen(task);

	while (len >= n) {
		const char *blank = memchr(tasks, ' ', len);
		size_t word = blank ? (size_t)(blank - tasks) : len;

		if (word == n && memcmp(tasks, task, n) == 0)
			return true;
		if (!blank)
			break;
		len -= word + 1;
		tasks = blank + 1;
	}
	return false;
}

static void look_at_hosts(struct courier *courier, struct resp *hosts, int64_t lease,
			  int64_t now)
{
	struct resp name, silent, info;
	bool served[DESKS] = { false };

	courier->hosts = courier->slots = 0;
	while (resp_next(hosts, &name) && resp_next(hosts, &silent) &&
	       resp_next(hosts, &info)) {
		struct wire_host host;
		const char *tasks;
		size_t len;

		if (info.kind != RESP_STRING || silent.number > lease ||
		    wire_get_host(&host, info.text, info.len, &tasks, &len) != 0)
			continue;
		courier->hosts++;
		courier->slots += host.workers < DESKS ? host.workers : DESKS;
		for (int i = 0; i < DESKS; i++)
			served[i] |= courier->flights[i].state != GROUNDED &&
				     serves(tasks, len, courier->flights[i].task);
	}
	for (int i = 0; i < DESKS; i++) {
		struct trip *flight = &courier->flights[i];

		if (served[i] || flight->state == GROUNDED)
			flight->unserved = 0;
		else if (!flight->unserved)
			flight->unserved = now;
	}
}

/* False: the server has lost what it had. */
static bool note_call(struct courier *courier, struct engine_answer *answer, int64_t now)
{
	struct resp out, unknown, last, gone, hosts, lease, seq;
	char text[ENGINE_SID_MAX] = "";

	courier->beating = false;
	if (answer->err == -EAGAIN)
		return true;
	if (answer->err || answer->resp.kind != RESP_ARRAY ||
	    !resp_next(&answer->resp, &out) || !resp_next(&answer->resp, &unknown) ||
	    !resp_next(&answer->resp, &last) || !resp_next(&answer->resp, &gone) ||
	    !resp_next(&answer->resp, &hosts) || !resp_next(&answer->resp, &lease) ||
	    last.len >= sizeof(text) || gone.kind != RESP_ARRAY ||
	    hosts.kind != RESP_ARRAY)
		return false;
	if (unknown.number && courier->known)
		return false;
	courier->known = true;
	memcpy(text, last.text, last.len);
	text[last.len] = '\0';
	while (resp_next(&gone, &seq)) {
		struct trip *flight = flight_of(
			courier, (struct engine_word){ seq.text, seq.len });

		/* Read up to there, its result would have been seen. */
		if (flight && flight->state == OUT && !is_later(text, courier->last))
			come_back(courier, flight);
	}
	look_at_hosts(courier, &hosts, lease.number > 0 ? lease.number : 5000, now);
	return true;
}

static void note_taken_back(struct courier *courier, struct engine_answer *answer)
{
	struct resp seq;

	while (!answer->err && answer->resp.kind == RESP_ARRAY &&
	       resp_next(&answer->resp, &seq)) {
		struct trip *flight = flight_of(
			courier, (struct engine_word){ seq.text, seq.len });

		if (flight && flight->state == OUT)
			fail_flight(courier, flight, -ECANCELED);
	}
}

/* Its outputs have come, or are gone. */
static void note_fetched(struct courier *courier, struct engine_answer *answer)
{
	struct trip *flight = find_flight(courier, answer->number);
	char text[24], sid[ENGINE_SID_MAX];
	const char *one = sid;

	if (!flight || flight->state != FETCHED)
		return;
	strcpy(text, flight->text);
	strcpy(sid, flight->done_sid);
	if (answer->err || answer->resp.kind != RESP_STRING ||
	    !take_outputs(courier, flight, flight->result, flight->result_len,
			  answer->resp.text, answer->resp.len))
		lose(courier, flight);
	engine_add_drop_blob(courier->engine, 'B', courier->id, text);
	engine_add_read(courier->engine, OTHER, courier->id, &one, 1);
}

/* False: it stays in the stream until its outputs have come. */
static bool take_entry(struct courier *courier, const struct engine_message *message)
{
	struct trip *flight = flight_of(courier, message->seq);

	if (!flight || flight->state != OUT)
		return !flight;
	if (message->given.len != SIZE_MAX) {
		come_back(courier, flight);
		return true;
	}
	if (message->lost.len != SIZE_MAX || message->header.len == SIZE_MAX) {
		lose(courier, flight);
		return true;
	}
	if (message->blob.len == SIZE_MAX) {
		if (message->data.len == SIZE_MAX ||
		    !take_outputs(courier, flight, message->header.text,
				  message->header.len, message->data.text,
				  message->data.len))
			lose(courier, flight);
		return true;
	}
	flight->result = malloc(message->header.len + 1);
	if (!flight->result)
		return false;
	memcpy(flight->result, message->header.text, message->header.len);
	flight->result_len = message->header.len;
	engine_copy_word(flight->done_sid, sizeof(flight->done_sid), message->sid);
	flight->state = FETCHED;
	engine_add_fetch(courier->engine, FETCH, flight->seq, 'B', courier->id,
			 flight->text);
	return false;
}

/* How many results there were. */
static size_t note_results(struct courier *courier, struct engine_answer *answer)
{
	struct resp key, entries;
	char sids[AT_ONCE][ENGINE_SID_MAX];
	const char *read[AT_ONCE];
	size_t n = 0, all = 0;

	while (!answer->err && engine_next_stream(&answer->resp, &key, &entries)) {
		struct engine_message message;

		while (n < AT_ONCE && engine_next_message(&entries, &message)) {
			if (!engine_copy_word(sids[n], sizeof(sids[n]), message.sid))
				continue;
			strcpy(courier->last, sids[n]);
			read[n] = sids[n];
			all++;
			if (take_entry(courier, &message))
				n++;
		}
	}
	if (n)
		engine_add_read(courier->engine, OTHER, courier->id, read, n);
	return all;
}

/* 0; else the connection is of no more use. */
static int take_answers(struct courier *courier, enum engine_way way, int64_t now)
{
	struct engine_answer answer;
	int err;

	while ((err = engine_next(courier->engine, way, &answer)) > 0) {
		courier->heard = now;
		if (answer.err == -ESTALE)
			return answer.err;
		switch ((enum what)answer.what) {
		case PUT:
			note_put(courier, &answer, now);
			break;
		case CALL:
			if (!note_call(courier, &answer, now))
				return -ESTALE;
			break;
		case RESULTS:
			courier->reading = false;
			note_results(courier, &answer);
			break;
		case FETCH:
			note_fetched(courier, &answer);
			break;
		case TAKE_BACK:
			note_taken_back(courier, &answer);
			break;
		case CANCEL:
		case KNOWN:
		case OTHER:
			break;
		}
	}
	return err;
}

/* ---- connections ------------------------------------------------------------------- */

static void close_engine(struct courier *courier, int err, int64_t now)
{
	engine_free(courier->engine);
	courier->engine = NULL;
	courier->cancelled = 0;
	courier->next_open = 0;
	if (!courier->gone) {
		courier->gone = now;
		courier->gone_by = err == -EAGAIN || err == -ETIMEDOUT || err == -ESTALE
					   ? -TINE_EHOST
					   : err;
	}
}

/* What the server has of ours: outstanding first, then done; the rest is sent again. */
static int reconcile(struct courier *courier)
{
	struct engine *engine = courier->engine;
	int64_t deadline = tine_now() + 2 * OPEN_FOR;
	struct engine_answer answer;
	struct resp seq;
	int err;

	for (int i = 0; i < DESKS; i++) {
		courier->flights[i].known = false;
		if (courier->flights[i].state == FETCHED)
			courier->flights[i].state = OUT;
	}
	engine_add_known(engine, KNOWN, courier->id);
	err = engine_send(engine, ENGINE_TALK, deadline);
	err = err ? err : engine_await(engine, ENGINE_TALK, &answer, deadline);
	if (err || answer.err)
		return err ? err : answer.err;
	while (answer.resp.kind == RESP_ARRAY && resp_next(&answer.resp, &seq)) {
		struct trip *flight = flight_of(
			courier, (struct engine_word){ seq.text, seq.len });

		if (flight)
			flight->known = true;
	}
	strcpy(courier->last, "0-0");
	do {
		engine_add_results(engine, RESULTS, courier->id, courier->last, AT_ONCE,
				   1);
		err = engine_send(engine, ENGINE_READ, deadline);
		err = err ? err : engine_await(engine, ENGINE_READ, &answer, deadline);
		if (err || answer.err)
			return err ? err : answer.err;
	} while (note_results(courier, &answer) > 0);
	for (int i = 0; i < DESKS; i++)
		if (courier->flights[i].state == OUT && !courier->flights[i].known)
			come_back(courier, &courier->flights[i]);
	return 0;
}

/* What is of no use to be asked again. */
static bool is_final(int err)
{
	return err != -EAGAIN && err != -ETIMEDOUT && err != -ECONNREFUSED &&
	       err != -ECONNRESET && err != -ENOENT && err != -ENETUNREACH &&
	       err != -EHOSTUNREACH && err != -EPIPE && err != -ENOMEM;
}

static void open_engine(struct courier *courier)
{
	struct away *away = courier->away;
	int64_t now = tine_now();
	int err;

	if (now < courier->next_open)
		return;
	courier->next_open = now + 2 * AGAIN_AFTER;
	err = engine_open(&courier->engine, &courier->url, now + OPEN_FOR);
	if (!err) {
		courier->reading = courier->beating = courier->known = false;
		courier->next_beat = 0;
		courier->heard = tine_now();
		err = reconcile(courier);
		if (err)
			close_engine(courier, err, now);
	}
	if (!err) {
		courier->gone = 0;
		if (*away->caller && strcmp(away->caller, courier->id) != 0)
			engine_add_bury(courier->engine, OTHER, away->caller);
		strcpy(away->caller, courier->id);
	} else if (!courier->gone) {
		courier->gone = now;
		courier->gone_by = err == -EAGAIN || err == -ETIMEDOUT ? -TINE_EHOST
								       : err;
	}
	if (atomic_load(&away->state) == 1 && err != -EAGAIN) {
		atomic_store(&away->state, err == -ETIMEDOUT ? -TINE_EHOST : err);
		ledger_call(courier->ledger);
	} else if (err && is_final(err)) {
		/* What it is called, it is called at once. */
		courier->gone = now - away->away_ms * 1000000;
		courier->gone_by = err;
	}
}

static int exchange(struct courier *courier, int64_t now)
{
	struct engine *engine = courier->engine;
	int err;

	if (!courier->beating && now >= courier->next_beat)
		add_beat(courier, now);
	send_flights(courier, now);
	if (!courier->reading) {
		engine_add_results(engine, RESULTS, courier->id, courier->last, AT_ONCE,
				   60000);
		courier->reading = true;
	}
	/* Bound: so long. */
	err = engine_send(engine, ENGINE_TALK, now + SEND_FOR);
	err = err ? err : engine_send(engine, ENGINE_READ, now + SEND_FOR);
	if (!err && courier->beating && now - courier->heard > SILENT)
		err = -ETIMEDOUT;
	return err;
}

/* The caller is gone, or done with it. */
static int bury_self(struct courier *courier)
{
	int64_t deadline = tine_now() + OPEN_FOR;
	struct engine_answer answer;

	if (!courier->engine)
		return 0;
	engine_add_bury(courier->engine, OTHER, courier->id);
	if (engine_send(courier->engine, ENGINE_TALK, deadline) == 0)
		while (engine_owed(courier->engine, ENGINE_TALK) > 0 &&
		       engine_await(courier->engine, ENGINE_TALK, &answer, deadline) == 0)
			;
	return 0;
}

/* ---- the process ------------------------------------------------------------------- */

/* What the caller may have new for us. */
static uint64_t news_of(const struct ledger *ledger)
{
	return (uint64_t)atomic_load(&ledger->turn) << 8 |
	       atomic_load(&ledger->cancelled) << 1 | atomic_load(&ledger->dropped);
}

static int wait_ms(const struct courier *courier, int64_t now)
{
	int64_t next = courier->engine ? courier->next_beat : courier->next_open;
	int64_t ms = (next - now) / 1000000 + 1;

	if (courier->hasty)
		return 1;
	if (count_out(courier) > 0 && ms > LOOK)
		ms = LOOK;
	return ms < 1 ? 1 : ms > 1000 ? 1000 : (int)ms;
}

/* False: it is over. */
static bool hear_caller(struct courier *courier)
{
	char bytes[64];

	/* Bound: it does not block. */
	if (recv(courier->lifeline, bytes, sizeof(bytes), MSG_DONTWAIT) == 0)
		return false;
	atomic_fetch_add(&courier->ledger->looked, 1);
	return true;
}

static void make_round(struct courier *courier)
{
	int64_t now = tine_now();
	int err = 0;

	courier->hasty = false;
	if (!courier->engine)
		open_engine(courier);
	mind_flights(courier, now);
	stock_desks(courier);
	if (courier->engine)
		err = exchange(courier, now);
	if (err)
		close_engine(courier, err, now);
}

static int courier_main(void *arg, int lifeline)
{
	static struct courier courier;
	struct ledger *ledger = arg;
	struct pollfd polled[3] = { { .fd = lifeline, .events = POLLIN },
				    { .events = POLLIN },
				    { .events = POLLIN } };
	sigset_t set;

	prctl(PR_SET_NAME, "tine-courier");
	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	courier.ledger = ledger;
	courier.away = ledger->errand;
	courier.lifeline = lifeline;
	courier.largest = 1;
	courier.deal = UINT32_MAX;
	if (engine_url_parse(&courier.url, courier.away->url) != 0)
		return 1;
	engine_make_id(courier.id);
	atomic_store(&ledger->nursery, getpid());
	for (;;) {
		uint64_t news = news_of(ledger);
		int64_t now;
		int wait, err = 0;

		make_round(&courier);
		atomic_store(&courier.away->sleeps, 1);
		now = tine_now();
		wait = news == news_of(ledger) ? wait_ms(&courier, now) : 0;
		polled[1].fd = courier.engine ? engine_fd(courier.engine, ENGINE_TALK)
					      : -1;
		polled[2].fd = courier.engine ? engine_fd(courier.engine, ENGINE_READ)
					      : -1;
		/* Bound: the next beat. */
		poll(polled, 3, wait);
		atomic_store(&courier.away->sleeps, 0);
		if (polled[0].revents && !hear_caller(&courier))
			return bury_self(&courier);
		now = tine_now();
		if (polled[1].revents && courier.engine)
			err = take_answers(&courier, ENGINE_TALK, now);
		if (!err && polled[2].revents && courier.engine)
			err = take_answers(&courier, ENGINE_READ, now);
		if (err)
			close_engine(&courier, err, now);
	}
}

/* ---- what its parent asks ---------------------------------------------------------- */

static int has_answered(const struct ledger *ledger)
{
	const struct away *away = ledger->errand;

	return atomic_load(&away->state);
}

/* What it cannot do it says of the jobs. */
static int always_able(const struct ledger *ledger)
{
	(void)ledger;
	return 0;
}

static void wake_courier(struct ledger *ledger, const struct child *courier, bool busy)
{
	struct away *away = ledger->errand;

	(void)busy;
	if (atomic_load(&away->sleeps) && atomic_exchange(&away->sleeps, 0))
		child_nudge(courier);
}

static bool suspects_none(struct ledger *ledger)
{
	uint32_t held;

	return ledger_holder(ledger, &held) != 0;
}

static int accept_task(const tine_task *task, bool ranges, bool leaves, size_t in_len)
{
	enum wire_kind kind = leaves	    ? WIRE_LEAVES
			      : task->bytes ? WIRE_BYTES
			      : task->each  ? WIRE_EACH
			      : ranges	    ? WIRE_RANGE
					    : WIRE_CALLS;
	char name[WIRE_TASK_MAX];

	if (in_len > WIRE_MOST || task->out_size > WIRE_MOST)
		return -EMSGSIZE;
	return wire_task_name(name, task, kind);
}

static const struct crew courier_crew = { .main = courier_main,
					  .ready = has_answered,
					  .able = always_able,
					  .wake = wake_courier,
					  .suspects = suspects_none,
					  .patience = PATIENCE,
					  .accept = accept_task };

int courier_pool_new(tine_pool **out, const char *url, int64_t away_ms,
		     const tine_pool_opts *opts)
{
	tine_pool_opts own = opts ? *opts : (tine_pool_opts){ 0 };
	size_t len = sizeof(struct away) + strlen(url) + 1;
	struct engine_url parsed;
	struct away *away;
	int err;

	if (own.init || own.init_arg || own.fini || own.jobs_per_worker ||
	    own.memory_per_worker || away_ms < 0 || away_ms > MOST_AWAY)
		return -EINVAL;
	err = engine_url_parse(&parsed, url);
	if (err)
		return err;
	engine_url_free(&parsed);
	away = calloc(1, len);
	if (!away)
		return -ENOMEM;
	away->away_ms = away_ms ? away_ms : AWAY_MS;
	atomic_store(&away->state, 1);
	strcpy(away->url, url);
	own.workers = DESKS;
	err = pool_new(out, &own, &courier_crew, away, len);
	free(away);
	return err;
}
