/* SPDX-License-Identifier: MIT */
/*
 * Jobs that are submitted one by one: the caller's side of tickets (ledger.h).
 *
 * A ticket that is done is delivered from where it lies, or, when a new job needs its
 * place first, is brought home to the caller's own memory: so submitting never waits for
 * the caller itself to collect.
 */
#include "pool/pool.h"

#include "base/deadline.h"
#include "base/interrupt.h"
#include "base/options.h"
#include "base/self.h"
#include "memory/heap.h"
#include "pool/cached.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MANY   64		/* jobs of a moment in a row */
#define RARELY INT64_C(1000000) /* nanoseconds between wakes for jobs of a moment */

static enum ticket_state state_of_ticket(const struct ticket *ticket)
{
	return ticket_state(atomic_load(&ticket->state));
}

static void vacate(struct ticket *ticket)
{
	atomic_store(&ticket->state, ticket_word(EMPTY, 0));
}

static tine_done done_of_ticket(const struct ticket *ticket)
{
	return (tine_done){ .tag = ticket->tag,
			    .status = ticket->status,
			    .limit = ticket->limit,
			    .how = ticket->how };
}

/* ---- making room ------------------------------------------------------------------- */

static int bring_ticket(tine_pool *pool, struct ticket *ticket)
{
	struct result *result = malloc(sizeof(*result) + ticket->out_size);

	if (!result)
		return -ENOMEM;
	*result = (struct result){ .number = ticket->number,
				   .done = done_of_ticket(ticket),
				   .len = ticket->out_size };
	if (result->len)
		memcpy(result->out, ticket_result(ticket), result->len);
	*pool->results_end = result;
	pool->results_end = &result->next;
	vacate(ticket);
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

static int make_tickets(tine_pool *pool)
{
	struct ledger *ledger = pool->ledger;

	if (!atomic_load(&ledger->tickets))
		atomic_store(&ledger->tickets,
			     shared_alloc(ticket_count(ledger) * sizeof(struct ticket),
					  shared_patience()));
	return atomic_load(&ledger->tickets) ? 0 : -ENOMEM;
}

/* ---- waiting ----------------------------------------------------------------------- */

/* Whether a ticket was done since the caller looked; it keeps its count in the ledger. */
static bool some_finished(const struct ledger *ledger)
{
	return atomic_load(&ledger->finished) != ledger->collected;
}

/* Fewer wait: they were taken, and soon are finished. */
static bool some_taken(const struct ledger *ledger)
{
	const struct ticket *tickets = atomic_load(&ledger->tickets);
	unsigned waiting = 0;

	for (unsigned i = 0; i < ticket_count(ledger); i++)
		waiting += state_of_ticket(&tickets[i]) == WAITING;
	return waiting < 2 * ledger->workers || some_finished(ledger);
}

static int await_ticket(tine_pool *pool, over_fn *over, int64_t deadline, int *died)
{
	int64_t now = tine_now(), until = now + GLANCE;

	if (deadline <= now) {
		int err;

		if (now - pool->minded < GLANCE)
			return -ETIMEDOUT;
		/* Who only ever polls finds out as well. */
		pool->minded = now;
		err = pool_mind_nursery(pool, died);
		return err ? err : -ETIMEDOUT;
	}
	if (interrupt_take())
		return -EINTR;
	if (pool_doze(pool, over, until < deadline ? until : deadline))
		return 0;
	return pool_mind_nursery(pool, died);
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

static void fill_ticket(tine_pool *pool, struct ticket *ticket, const tine_task *task,
			const void *in, uint64_t tag)
{
	ticket->number = atomic_load(&pool->submitted) + 1;
	ticket->tag = tag;
	ticket->fn = task->fn;
	ticket->in_size = task->in_size;
	ticket->out_size = task->out_size;
	ticket->attempts = 0;
	ticket->status = ticket->limit = 0;
	ticket->how = (tine_exit){ 0 };
	ticket->name = pool->trace ? trace_name(task->name) : 0;
	ticket->cached = NULL;
	if (pool->cache) {
		void *behind = (char *)ticket->data.mem + cached_offset(task);

		cached_fill(behind, pool->cache, task);
		ticket->cached = behind;
	}
	if (task->in_size)
		memcpy(ticket->data.mem, in, task->in_size);
	atomic_store(&pool->submitted, ticket->number);
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

int tine_pool_submit(tine_pool *pool, const tine_task *task, const void *in, uint64_t tag,
		     int64_t deadline)
{
	struct ledger *ledger;
	struct ticket *ticket;
	size_t size;
	int err, died = 0;

	if (!pool || !task || !task->fn || (!in && task->in_size) ||
	    !ROOM_IS_ZERO(task) || is_no_deadline(deadline) ||
	    (pool->cache && !task->name) || data_size(pool, task, &size) != 0)
		return -EINVAL;
	if (pool->nursery.owner != self_pid())
		return -EPERM;
	ledger = pool->ledger;
	err = make_tickets(pool);
	if (err)
		return err;
	/* Whatever was cancelled before is over, and what jobs were like says nothing. */
	if (atomic_load(&pool->submitted) == atomic_load(&pool->delivered)) {
		atomic_store(&ledger->dropped, 0);
		atomic_store(&ledger->moments, 0);
	}
	for (;;) {
		ledger->collected = atomic_load(&ledger->finished);
		err = find_room(pool, &ticket);
		if (err != -EAGAIN)
			break;
		err = await_ticket(pool, some_taken, deadline, &died);
		if (err)
			break;
	}
	if (!err)
		err = stage_reserve(&ticket->data, size);
	if (err)
		return err;
	fill_ticket(pool, ticket, task, in, tag);
	atomic_fetch_add(&ledger->turn, 1);
	wake_enough(pool);
	pool_have_watched(pool, ledger->job_ms || ledger->memory_per_worker);
	return 0;
}

/* In the order of submission: the number that is to come; else 0, for any. */
static uint64_t wanted_number(const tine_pool *pool)
{
	return pool->ordered ? atomic_load(&pool->delivered) + 1 : 0;
}

/* 1; 0: there is none; -EMSGSIZE: it stays. */
static int deliver_result(tine_pool *pool, void *out, size_t size, tine_done *done)
{
	struct result **at = &pool->results, *result;
	uint64_t number = wanted_number(pool);

	while (*at && number && (*at)->number != number)
		at = &(*at)->next;
	result = *at;
	if (!result)
		return 0;
	if (out && result->len > size)
		return -EMSGSIZE;
	*at = result->next;
	if (pool->results_end == &result->next)
		pool->results_end = at;
	if (out)
		memcpy(out, result->out, result->len);
	*done = result->done;
	free(result);
	return 1;
}

/* The same. */
static int deliver_ticket(tine_pool *pool, void *out, size_t size, tine_done *done)
{
	struct ledger *ledger = pool->ledger;
	struct ticket *tickets = atomic_load(&ledger->tickets), *oldest = NULL;
	uint64_t number = wanted_number(pool);

	for (unsigned i = 0; i < ticket_count(ledger); i++)
		if (state_of_ticket(&tickets[i]) == DONE &&
		    (number ? tickets[i].number == number
			    : !oldest || tickets[i].number < oldest->number))
			oldest = &tickets[i];
	if (!oldest)
		return 0;
	if (out && oldest->out_size > size)
		return -EMSGSIZE;
	if (out && oldest->out_size)
		memcpy(out, ticket_result(oldest), oldest->out_size);
	*done = done_of_ticket(oldest);
	vacate(oldest);
	return 1;
}

int tine_pool_next(tine_pool *pool, void *out, size_t size, tine_done *done,
		   int64_t deadline)
{
	int err, died = 0;

	if (!pool || !done || is_no_deadline(deadline))
		return -EINVAL;
	if (pool->nursery.owner != self_pid())
		return -EPERM;
	if (atomic_load(&pool->submitted) == atomic_load(&pool->delivered)) {
		atomic_store(&pool->ledger->dropped, 0);
		return 0;
	}
	for (;;) {
		pool->ledger->collected = atomic_load(&pool->ledger->finished);
		err = deliver_result(pool, out, size, done);
		if (err == 0)
			err = deliver_ticket(pool, out, size, done);
		if (err > 0)
			break;
		if (err == 0)
			err = await_ticket(pool, some_finished, deadline, &died);
		if (err)
			return err;
	}
	atomic_fetch_add(&pool->delivered, 1);
	trace_glance(pool->trace);
	return 1;
}

bool pool_has_tickets(const tine_pool *pool)
{
	const struct ticket *tickets = atomic_load(&pool->ledger->tickets);

	for (unsigned i = 0; tickets && i < ticket_count(pool->ledger); i++)
		if (state_of_ticket(&tickets[i]) == WAITING ||
		    state_of_ticket(&tickets[i]) == TAKEN)
			return true;
	return false;
}

void pool_drop_tickets(tine_pool *pool)
{
	struct ticket *tickets = atomic_load(&pool->ledger->tickets);

	for (unsigned i = 0; tickets && i < ticket_count(pool->ledger); i++)
		stage_trim(&tickets[i].data, 0);
	tine_shared_free(tickets);
}

void pool_drop_results(tine_pool *pool)
{
	while (pool->results) {
		struct result *next = pool->results->next;

		free(pool->results);
		pool->results = next;
	}
}
