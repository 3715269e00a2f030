/* SPDX-License-Identifier: MIT */
/*
 * Jobs that are submitted one by one: each is a ticket. One that is done and was not
 * taken is brought home to the caller's own memory when a new job needs its place, so
 * that to submit never waits for the caller itself to collect. Any number of the caller's
 * threads may be in here: see pool.h.
 */
#include "pool/serial.h"

#include "base/deadline.h"
#include "base/options.h"
#include "memory/heap.h"
#include "pool/cached.h"
#include "pool/chunk.h"
#include "pool/tickets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MANY   64		/* jobs of a moment in a row */
#define RARELY INT64_C(1000000) /* nanoseconds between wakes for jobs of a moment */

/* ---- making room ------------------------------------------------------------------- */

/* An answer stays where it lies. */
static int bring_ticket(tine_pool *pool, struct ticket *ticket)
{
	struct result *result = malloc(sizeof(*result) + ticket->out_size);

	if (!result)
		return -ENOMEM;
	*result = (struct result){ .number = ticket->number,
				   .done = done_of_ticket(ticket),
				   .answer = atomic_load(&ticket->answer),
				   .len = ticket->out_size };
	if (result->len)
		memcpy(result->out, ticket_result(ticket), result->len);
	*pool->results_end = result;
	pool->results_end = &result->next;
	vacate_ticket(ticket);
	return 0;
}

/* An empty ticket, if not too many wait: 0; -EAGAIN: they do. */
static int find_room(tine_pool *pool, struct ticket **room)
{
	struct ledger *ledger = pool->ledger;
	struct ticket *tickets = atomic_load(&ledger->tickets), *empty = NULL,
		      *done = NULL;
	unsigned waiting = 0;

	for (unsigned i = 0; i < ticket_count(ledger); i++) {
		switch (state_of_ticket(&tickets[i])) {
		case EMPTY:
			empty = &tickets[i];
			break;
		case WAITING:
			waiting++;
			break;
		case DONE:
			/* A chunk's results stay where they lie. */
			if (!tickets[i].chunk)
				done = &tickets[i];
			break;
		case TAKEN:
			break;
		}
	}
	if (waiting >= 2 * ledger->workers || (!empty && !done))
		return -EAGAIN;
	*room = empty ? empty : done;
	return empty ? 0 : bring_ticket(pool, done);
}

static int make_tickets(tine_pool *pool, int64_t deadline)
{
	int64_t patience = shared_patience();
	struct ledger *ledger = pool->ledger;
	void *mem;
	int err;

	if (atomic_load(&ledger->tickets))
		return 0;
	err = shared_alloc(&mem, ticket_count(ledger) * sizeof(struct ticket),
			   earlier(deadline, patience));
	if (!err)
		atomic_store(&ledger->tickets, mem);
	return err;
}

/* Fewer wait: they were taken, and soon are finished. */
static bool some_taken(const struct ledger *ledger, uint32_t seen)
{
	const struct ticket *tickets = atomic_load(&ledger->tickets);
	unsigned waiting = 0;

	for (unsigned i = 0; i < ticket_count(ledger); i++)
		waiting += state_of_ticket(&tickets[i]) == WAITING;
	return waiting < 2 * ledger->workers || some_finished(ledger, seen);
}

/* ---- the calls --------------------------------------------------------------------- */

/* Behind in and out. */
static size_t cached_offset(const tine_task *task)
{
	return ticket_out(ticket_out(task->in_size) + task->out_size);
}

/* Bytes of a ticket's data. */
static int data_size(const tine_pool *pool, const tine_task *task, size_t *size)
{
	if (__builtin_add_overflow(ticket_out(task->in_size), task->out_size, size) ||
	    *size > SIZE_MAX / 2)
		return -EINVAL;
	if (pool->cache)
		*size = cached_offset(task) + cached_size(pool->cache, task);
	return 0;
}

/* One that a caller wants to add. */
struct wish {
	const tine_task *task;
	const void *in;
	size_t len;
	uint64_t tag;
	const tine_job_opts *opts;	/* or NULL */
	uint64_t *job;			/* or NULL */
	const struct chunk_wish *chunk; /* or NULL */
};

/* Of a function of whatever kind: what is_mapped() in worker.c looks at. */
static tine_fn *code_of_task(const tine_task *task, enum work work)
{
	if (task->bytes)
		return (tine_fn *)(void (*)(void))task->bytes;
	if (work == EACH)
		return (tine_fn *)(void (*)(void))task->each;
	return work == CALLS ? task->fn : (tine_fn *)(void (*)(void))task->range;
}

/* label: where in its data that is to lie, or 0. */
static void fill_ticket(tine_pool *pool, struct ticket *ticket, const struct wish *wish,
			size_t label)
{
	const tine_task *task = wish->task;
	const tine_job_opts *opts = wish->opts;
	/* Relaxed: hands orders submitted, and the state, below, all of the ticket. */
	uint64_t number = atomic_load_explicit(&pool->submitted, memory_order_relaxed) +
			  1;

	atomic_store_explicit(&ticket->number, number, memory_order_relaxed);
	ticket->tag = wish->tag;
	ticket->fn = code_of_task(task, wish->chunk ? wish->chunk->work : CALLS);
	ticket->bytes = task->bytes;
	ticket->in_size = wish->len;
	ticket->out_size = task->out_size;
	ticket->attempts = 0;
	ticket->retries = opts && opts->retries ? opts->retries : pool->ledger->retries;
	ticket->retry_failures = pool->ledger->retry_failures ||
				 (opts && opts->retry_failures);
	ticket->pause_ms = opts && opts->retry_pause_ms ? opts->retry_pause_ms
							: pool->ledger->retry_pause_ms;
	atomic_store_explicit(&ticket->due, 0, memory_order_relaxed);
	ticket->job_ms = opts && opts->job_ms ? opts->job_ms : pool->ledger->job_ms;
	atomic_store_explicit(&ticket->unwanted, 0, memory_order_relaxed);
	ticket->status = ticket->limit = 0;
	ticket->how = (tine_exit){ 0 };
	ticket->name = pool->trace ? trace_name(task->name) : 0;
	ticket->cached = NULL;
	ticket->chunk = NULL;
	if (label)
		ticket->label = label_write((char *)ticket->data.mem + label, task);
	atomic_store_explicit(&ticket->answer, NULL, memory_order_relaxed);
	if (wish->chunk) {
		ticket->job_ms = wish->chunk->job_ms;
		ticket->retries = 0;
		ticket->chunk = chunk_fill(ticket, wish->chunk);
	} else if (task->bytes) {
		ticket->out_size = 0;
	} else if (pool->cache) {
		void *behind = (char *)ticket->data.mem + cached_offset(task);

		cached_fill(behind, pool->cache, task);
		ticket->cached = behind;
	}
	if (wish->len)
		memcpy(ticket->data.mem, wish->in, wish->len);
	atomic_store_explicit(&pool->submitted, number, memory_order_relaxed);
	atomic_store(&ticket->state, ticket_word(WAITING, 0));
}

/*
 * One more is woken when there are more jobs than workers awake. But where jobs last no
 * longer than a wake, that rarely pays: who is awake has done them before.
 */
static void wake_enough(tine_pool *pool)
{
	struct ledger *ledger = pool->ledger;
	struct ticket *tickets = atomic_load(&ledger->tickets);
	unsigned asleep = ledger_asleep(ledger), jobs = 0;

	if (asleep == 0)
		return;
	for (unsigned i = 0; i < ticket_count(ledger); i++)
		jobs += state_of_ticket(&tickets[i]) == WAITING ||
			state_of_ticket(&tickets[i]) == TAKEN;
	if (jobs <= ledger->workers - asleep)
		return;
	if (asleep < ledger->workers && atomic_load(&ledger->moments) >= MANY) {
		int64_t now = tine_now();

		if (now - pool->woke < RARELY)
			return;
		pool->woke = now;
	}
	ledger_wake_one(ledger, 0);
}

/* Room for one more, that waits for a worker: with hands, which it lets go to wait. */
static int await_room(tine_pool *pool, struct ticket **ticket, int64_t deadline)
{
	int err = make_tickets(pool, deadline), died = 0;

	while (!err) {
		uint32_t seen = atomic_load(&pool->ledger->finished);

		err = find_room(pool, ticket);
		if (err != -EAGAIN)
			break;
		if (atomic_load(&pool->closed))
			return -EPIPE;
		free_hands(pool);
		err = pool_await_ticket(pool, some_taken, seen, deadline, &died);
		take_hands(pool);
	}
	return err;
}

/* The nursery is to look often enough for the limit. */
static void note_limit(struct ledger *ledger, int64_t ms)
{
	int64_t shortest = atomic_load(&ledger->shortest_ms);

	if (shortest == 0 || ms < shortest)
		atomic_store(&ledger->shortest_ms, ms);
}

static int submit(tine_pool *pool, const struct wish *wish, int64_t deadline)
{
	struct ledger *ledger = pool->ledger;
	struct ticket *ticket;
	size_t size = wish->len, label = 0;
	int err = 0;

	if (wish->chunk)
		err = chunk_size(wish->chunk, &size);
	else if (!wish->task->bytes)
		err = data_size(pool, wish->task, &size);
	if (pool->elsewhere) {
		/* Not at 0. */
		label = ticket_out(size + 1);
		size = label + label_size(wish->task);
	}
	if (!err)
		err = await_room(pool, &ticket, deadline);
	if (!err)
		err = stage_reserve(&ticket->data, size, deadline);
	if (err)
		return err;
	/* Whatever was cancelled before is over, and what jobs were like says nothing. */
	if (all_returned(pool)) {
		atomic_store(&ledger->dropped, 0);
		atomic_store(&ledger->moments, 0);
	}
	if (wish->opts && wish->opts->job_ms)
		note_limit(ledger, wish->opts->job_ms);
	if (wish->chunk && wish->chunk->job_ms)
		note_limit(ledger, wish->chunk->job_ms);
	pool->has_bytes |= wish->task->bytes != NULL;
	fill_ticket(pool, ticket, wish, label);
	if (wish->job)
		*wish->job = number_of_ticket(ticket);
	atomic_fetch_add(&ledger->turn, 1);
	pool_tell(pool);
	wake_enough(pool);
	return 0;
}

/* What was looked at by each of the calls. */
static int submit_checked(tine_pool *pool, const struct wish *wish, int64_t deadline)
{
	const struct ledger *ledger;
	int err;

	if ((!wish->in && wish->len) || !ROOM_IS_ZERO(wish->task) ||
	    is_no_deadline(deadline))
		return -EINVAL;
	if (wish->len > SIZE_MAX / 2)
		return wish->task->bytes ? -EMSGSIZE : -EINVAL;
	if (!pool_is_ours(pool))
		return -EPERM;
	if (atomic_load(&pool->closed))
		return -EPIPE;
	if (pool->elsewhere) {
		err = pool->ledger->crew->accept(wish->task, false, false, wish->len);
		if (err)
			return err;
	}
	take_hands(pool);
	err = submit(pool, wish, deadline);
	free_hands(pool);
	ledger = pool->ledger;
	if (pool->serial)
		serial_run(pool);
	if (!err)
		pool_have_watched(pool, ledger->job_ms || ledger->memory_per_worker ||
						(wish->opts && wish->opts->job_ms) ||
						(wish->chunk && wish->chunk->job_ms));
	return err;
}

int tine_pool_submit(tine_pool *pool, const tine_task *task, const void *in, uint64_t tag,
		     int64_t deadline)
{
	struct wish wish = { .task = task, .in = in, .tag = tag };

	if (!pool || !task || !pool_can_call(pool, task) || task->bytes ||
	    (pool->cache && !task->name))
		return -EINVAL;
	wish.len = task->in_size;
	return submit_checked(pool, &wish, deadline);
}

int tine_pool_submit_bytes(tine_pool *pool, const tine_task *task, const void *in,
			   size_t len, uint64_t tag, int64_t deadline)
{
	struct wish wish = { .task = task, .in = in, .len = len, .tag = tag };

	if (!pool || !task || !task->bytes)
		return -EINVAL;
	return submit_checked(pool, &wish, deadline);
}

int tine_pool_submit_job(tine_pool *pool, const tine_task *task, const void *in,
			 size_t len, uint64_t tag, const tine_job_opts *opts,
			 uint64_t *job, int64_t deadline)
{
	struct wish wish = { task, in, len, tag, opts, job, NULL };

	if (!pool || !task || (!task->bytes && !pool_can_call(pool, task)) ||
	    (!task->bytes && (len != task->in_size || (pool->cache && !task->name))) ||
	    (opts &&
	     (!ROOM_IS_ZERO(opts) || opts->job_ms < 0 || opts->retry_pause_ms < 0)))
		return -EINVAL;
	return submit_checked(pool, &wish, deadline);
}

int pool_submit_chunk(tine_pool *pool, const struct chunk_wish *chunk, uint64_t *job,
		      int64_t deadline)
{
	struct wish wish = { .task = chunk->task,
			     .in = chunk->in,
			     .len = chunk->in_len,
			     .tag = chunk->tag,
			     .job = job,
			     .chunk = chunk };

	return submit_checked(pool, &wish, deadline);
}

int tine_pool_close(tine_pool *pool)
{
	if (!pool)
		return -EINVAL;
	if (!pool_is_ours(pool))
		return -EPERM;
	atomic_store(&pool->closed, true);
	/* News, for those who wait for more. */
	atomic_fetch_add(&pool->ledger->finished, 1);
	ledger_call(pool->ledger);
	return 0;
}
