/* SPDX-License-Identifier: MIT */
/*
 * Jobs that are submitted one by one: the caller's side of tickets (ledger.h).
 *
 * A ticket that is done is delivered from where it lies, or, when a new job needs its
 * place first, is brought home to the caller's own memory: so submitting never waits for
 * the caller itself to collect. Any number of the caller's threads may be in here: see
 * pool.h.
 */
#include "pool/serial.h"

#include "base/deadline.h"
#include "base/futex.h"
#include "base/interrupt.h"
#include "base/options.h"
#include "base/self.h"
#include "memory/heap.h"
#include "pool/cached.h"
#include "pool/chunk.h"
#include "sync/member.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TRIES  100		/* at a mutex that a thread has for a moment */
#define MANY   64		/* jobs of a moment in a row */
#define RARELY INT64_C(1000000) /* nanoseconds between wakes for jobs of a moment */

static enum ticket_state state_of_ticket(const struct ticket *ticket)
{
	return ticket_state(atomic_load(&ticket->state));
}

/* Of one that is not empty. Relaxed: its state was seen before. */
static uint64_t number_of(const struct ticket *ticket)
{
	return atomic_load_explicit(&ticket->number, memory_order_relaxed);
}

static void vacate(struct ticket *ticket)
{
	/* Release: what was read of it was read before it is filled anew. */
	atomic_store_explicit(&ticket->state, ticket_word(EMPTY, 0),
			      memory_order_release);
}

static size_t len_of_ticket(const struct ticket *ticket)
{
	const struct reply *answer = atomic_load(&ticket->answer);

	return answer ? answer->len : ticket->out_size;
}

static tine_done done_of_ticket(const struct ticket *ticket)
{
	return (tine_done){ .tag = ticket->tag,
			    .status = ticket->status,
			    .limit = ticket->limit,
			    .len = len_of_ticket(ticket),
			    .how = ticket->how };
}

/* Threads wait for it awake: it is for a moment, and sleep would cost two calls. */
static void take_hands(tine_pool *pool)
{
	for (int i = 0; i < TRIES; i++) {
		if (pthread_mutex_trylock(&pool->hands) == 0)
			return;
		cpu_relax();
	}
	/* Bound: this process's own threads, which hold it for no call that blocks. */
	pthread_mutex_lock(&pool->hands);
}

static void free_hands(tine_pool *pool)
{
	pthread_mutex_unlock(&pool->hands);
}

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

/* ---- waiting ----------------------------------------------------------------------- */

/* Whether a ticket was done since the caller looked. */
static bool some_finished(const struct ledger *ledger, uint32_t seen)
{
	return atomic_load(&ledger->finished) != seen;
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

/* Without hands. */
static int await_ticket(tine_pool *pool, over_fn *over, uint32_t seen, int64_t deadline,
			int *died)
{
	int64_t now = tine_now(), until = now + pool_glance(pool, false);

	if (deadline <= now) {
		int err;

		if (now - atomic_load(&pool->minded) < GLANCE &&
		    atomic_load(&pool->bell.poll) < 0)
			return -ETIMEDOUT;
		/* Who only ever polls finds out as well. */
		atomic_store(&pool->minded, now);
		err = pool_mind_nursery(pool, died);
		return err ? err : -ETIMEDOUT;
	}
	if (interrupt_take())
		return -EINTR;
	if (pool_doze(pool, over, seen, earlier(until, deadline)))
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

/* Whether all that was submitted was returned. With hands. */
static bool all_returned(const tine_pool *pool)
{
	/* Relaxed: hands orders them. */
	return atomic_load_explicit(&pool->submitted, memory_order_relaxed) ==
	       atomic_load_explicit(&pool->delivered, memory_order_relaxed);
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
		err = await_ticket(pool, some_taken, seen, deadline, &died);
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
		*wish->job = number_of(ticket);
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

/* ---- what is done ------------------------------------------------------------------ */

/* The least number that was not returned; none: that of the next. */
static uint64_t least_out(const tine_pool *pool)
{
	const struct ticket *tickets = atomic_load(&pool->ledger->tickets);
	uint64_t least = atomic_load(&pool->submitted) + 1;

	for (unsigned i = 0; tickets && i < ticket_count(pool->ledger); i++)
		if (state_of_ticket(&tickets[i]) != EMPTY &&
		    number_of(&tickets[i]) < least)
			least = number_of(&tickets[i]);
	for (const struct result *result = pool->results; result; result = result->next)
		least = result->number < least ? result->number : least;
	return least;
}

/* In the order of submission: the number that is to come; else 0, for any. */
static uint64_t wanted_number(const tine_pool *pool)
{
	if (!pool->ordered)
		return 0;
	return pool->picked ? least_out(pool) : atomic_load(&pool->delivered) + 1;
}

/* Where that result hangs, or any; what is there is NULL if none does. */
static struct result **find_result(tine_pool *pool, uint64_t number)
{
	struct result **at = &pool->results;

	while (*at && number && (*at)->number != number)
		at = &(*at)->next;
	return at;
}

/* The ticket of that number, if it is done; or of all that are the oldest. */
static struct ticket *find_done(const tine_pool *pool, uint64_t number)
{
	struct ledger *ledger = pool->ledger;
	struct ticket *tickets = atomic_load(&ledger->tickets), *oldest = NULL;

	for (unsigned i = 0; tickets && i < ticket_count(ledger); i++)
		if (state_of_ticket(&tickets[i]) == DONE &&
		    (number ? number_of(&tickets[i]) == number
			    : !oldest || number_of(&tickets[i]) < number_of(oldest)))
			oldest = &tickets[i];
	return oldest;
}

/* Where a result is to go. */
struct taker {
	void *out; /* or NULL: dropped, but where in_place is */
	size_t size;
	const void **in_place; /* where the answer lies; or NULL */
	tine_done *done;
};

/* 1; -EMSGSIZE, -EINVAL: it stays. */
static int hand_over(tine_pool *pool, const struct taker *to, const tine_done *done,
		     const void *out, struct reply *answer)
{
	if (to->in_place && !answer && done->len)
		return -EINVAL;
	if (to->out && done->len > to->size)
		return -EMSGSIZE;
	if (to->out && done->len)
		memcpy(to->out, answer ? answer->bytes : out, done->len);
	if (to->in_place)
		*to->in_place = answer ? answer->bytes : NULL;
	*to->done = *done;
	if (answer && to->in_place)
		LIST_INSERT_HEAD(&pool->given, answer, others);
	else if (answer)
		tine_shared_free(answer);
	return 1;
}

/* The same; 0: there is none. */
static int deliver_result(tine_pool *pool, uint64_t number, const struct taker *to)
{
	struct result **at = find_result(pool, number), *result = *at;
	int err;

	if (!result)
		return 0;
	err = hand_over(pool, to, &result->done, result->out, result->answer);
	if (err < 0)
		return err;
	*at = result->next;
	if (pool->results_end == &result->next)
		pool->results_end = at;
	free(result);
	return 1;
}

static int deliver_ticket(tine_pool *pool, uint64_t number, const struct taker *to)
{
	struct ticket *ticket = find_done(pool, number);
	tine_done done;
	int err;

	if (!ticket)
		return 0;
	done = done_of_ticket(ticket);
	err = hand_over(pool, to, &done, ticket_result(ticket),
			atomic_load(&ticket->answer));
	if (err > 0)
		vacate(ticket);
	return err;
}

/* One that is there: 1, and it is counted. */
static int deliver(tine_pool *pool, uint64_t number, const struct taker *to)
{
	int err = deliver_result(pool, number, to);

	if (err == 0)
		err = deliver_ticket(pool, number, to);
	if (err > 0)
		/*
		 * Relaxed: hands orders it, and tine_pool_cancel() may be early or late.
		 */
		atomic_store_explicit(&pool->delivered, pool->delivered + 1,
				      memory_order_relaxed);
	return err;
}

/* The descriptor polls readable if there is a result, and only then: see bell.h. */
static void settle_bell(tine_pool *pool)
{
	_Atomic uint32_t *bell = &pool->ledger->bell;
	uint64_t number = wanted_number(pool);

	if (atomic_load(&pool->bell.poll) < 0)
		return;
	if (!*find_result(pool, number) && !find_done(pool, number)) {
		bell_hush(&pool->bell);
		atomic_store(bell, (atomic_load(bell) + 1) | 1);
	}
	if (*find_result(pool, number) || find_done(pool, number))
		ledger_ring(pool->ledger);
}

/* With hands, which it lets go to wait. */
static int next(tine_pool *pool, const struct taker *to, int64_t deadline)
{
	int err, died = 0;

	for (;;) {
		uint32_t seen = atomic_load(&pool->ledger->finished);

		err = deliver(pool, wanted_number(pool), to);
		if (err)
			return err;
		if (all_returned(pool)) {
			atomic_store(&pool->ledger->dropped, 0);
			if (!pool->open || atomic_load(&pool->closed))
				break;
		}
		free_hands(pool);
		err = await_ticket(pool, some_finished, seen, deadline, &died);
		take_hands(pool);
		if (err)
			return err;
	}
	/* Who polls would poll in vain beside a nursery that is dead. */
	return atomic_load(&pool->bell.poll) < 0 ? 0 : pool_mind_nursery(pool, &died);
}

static int take_next(tine_pool *pool, const struct taker *to, int64_t deadline)
{
	int err;

	if (!pool || !to->done || is_no_deadline(deadline))
		return -EINVAL;
	if (!pool_is_ours(pool))
		return -EPERM;
	take_hands(pool);
	err = next(pool, to, deadline);
	settle_bell(pool);
	free_hands(pool);
	if (err > 0)
		trace_glance(pool->trace);
	return err;
}

int tine_pool_next(tine_pool *pool, void *out, size_t size, tine_done *done,
		   int64_t deadline)
{
	return take_next(pool, &(struct taker){ .out = out, .size = size, .done = done },
			 deadline);
}

int tine_pool_next_bytes(tine_pool *pool, const void **out, tine_done *done,
			 int64_t deadline)
{
	return out ? take_next(pool, &(struct taker){ .in_place = out, .done = done },
			       deadline)
		   : -EINVAL;
}

/* Whether it waits, runs or is done, and was not returned. */
static struct ticket *find_ticket(const tine_pool *pool, uint64_t number)
{
	struct ticket *tickets = atomic_load(&pool->ledger->tickets);

	for (unsigned i = 0; tickets && i < ticket_count(pool->ledger); i++)
		if (state_of_ticket(&tickets[i]) != EMPTY &&
		    number_of(&tickets[i]) == number)
			return &tickets[i];
	return NULL;
}

/* With hands, which it lets go to wait. */
static int await_job(tine_pool *pool, uint64_t job, const struct taker *to,
		     int64_t deadline)
{
	int err, died = 0;

	for (;;) {
		uint32_t seen = atomic_load(&pool->ledger->finished);

		err = deliver(pool, job, to);
		if (err > 0)
			pool->picked = true;
		if (err)
			return err < 0 ? err : 0;
		if (!find_ticket(pool, job))
			return -ENOENT;
		free_hands(pool);
		err = await_ticket(pool, some_finished, seen, deadline, &died);
		take_hands(pool);
		if (err)
			return err;
	}
}

int tine_pool_wait(tine_pool *pool, uint64_t job, void *out, size_t size, tine_done *done,
		   int64_t deadline)
{
	struct taker to = { .out = out, .size = size, .done = done };
	int err;

	if (!pool || !job || !done || is_no_deadline(deadline))
		return -EINVAL;
	if (!pool_is_ours(pool))
		return -EPERM;
	take_hands(pool);
	err = await_job(pool, job, &to, deadline);
	settle_bell(pool);
	free_hands(pool);
	return err;
}

/* With hands. True: somebody is in it. */
static bool cancel_ticket(tine_pool *pool, struct ticket *ticket)
{
	uint64_t waits = ticket_word(WAITING, 0);

	atomic_store(&ticket->unwanted, 1);
	/* Taken, as by a desk that there is not, it is nobody else's. */
	if (atomic_compare_exchange_strong(&ticket->state, &waits,
					   ticket_word(TAKEN, pool->ledger->workers))) {
		if (ticket->chunk)
			chunk_drop(ticket->chunk);
		ticket_finish(pool->ledger, ticket, -ECANCELED);
		return false;
	}
	return ticket_state(waits) == TAKEN;
}

int tine_pool_cancel_job(tine_pool *pool, uint64_t job)
{
	struct ticket *ticket;
	bool taken = false;
	int err = 0;

	if (!pool || !job)
		return -EINVAL;
	if (!pool_is_ours(pool))
		return -EPERM;
	take_hands(pool);
	ticket = find_ticket(pool, job);
	if (ticket)
		taken = cancel_ticket(pool, ticket);
	else if (!*find_result(pool, job))
		err = -ENOENT;
	free_hands(pool);
	if (taken) {
		pool_have_watched(pool, true);
		pool_ask(pool);
	}
	return err;
}

/* ---- chunks ------------------------------------------------------------------------ */

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

/* It stays where it lies, as if a desk that there is not had taken it. */
static void lend_chunk(const tine_pool *pool, struct ticket *ticket,
		       struct chunk_done *done)
{
	const struct chunk *chunk = ticket->chunk;
	const struct reply *answer = atomic_load(&ticket->answer);

	*done = (struct chunk_done){ .job = number_of(ticket),
				     .tag = ticket->tag,
				     .n = chunk->n,
				     .deaths = chunk->deaths,
				     .status = chunk->status,
				     .ends = chunk->ends,
				     .out = answer ? answer->bytes
						   : ticket_result(ticket),
				     .out_len = len_of_ticket(ticket),
				     .begun = chunk->begun,
				     .ended = chunk->ended,
				     .worker = chunk->worker,
				     .ticket = ticket };
	atomic_store(&ticket->state, ticket_word(TAKEN, pool->ledger->workers));
}

/* With hands, which it lets go to wait. */
static int await_chunk(tine_pool *pool, struct chunk_done *done, int64_t deadline)
{
	int err = 0, died = 0;

	while (!err) {
		uint32_t seen = atomic_load(&pool->ledger->finished);
		struct ticket *ticket = find_done(pool, 0);

		if (ticket) {
			lend_chunk(pool, ticket, done);
			return 1;
		}
		/* Who polls would poll in vain beside a nursery that is dead. */
		if (!pool_has_tickets(pool))
			return atomic_load(&pool->bell.poll) < 0
				       ? 0
				       : pool_mind_nursery(pool, &died);
		free_hands(pool);
		err = await_ticket(pool, some_finished, seen, deadline, &died);
		take_hands(pool);
	}
	return err;
}

int pool_next_chunk(tine_pool *pool, struct chunk_done *done, int64_t deadline)
{
	int err;

	take_hands(pool);
	err = await_chunk(pool, done, deadline);
	settle_bell(pool);
	free_hands(pool);
	return err;
}

void pool_end_chunk(tine_pool *pool, const struct chunk_done *done)
{
	take_hands(pool);
	ticket_drop_answer(pool->ledger, done->ticket);
	atomic_fetch_add(&pool->delivered, 1);
	vacate(done->ticket);
	free_hands(pool);
}

int pool_cancel_chunk(tine_pool *pool, uint64_t job, bool end)
{
	struct ticket *ticket;
	int err = 0;

	take_hands(pool);
	ticket = find_ticket(pool, job);
	if (!ticket)
		err = -ENOENT;
	else
		atomic_store(&ticket->chunk->cancelled, 1);
	free_hands(pool);
	return err || !end ? err : tine_pool_cancel_job(pool, job);
}

int tine_pool_release(tine_pool *pool, const void *out)
{
	struct reply *answer;

	if (!pool)
		return -EINVAL;
	if (!out)
		return 0;
	if (!pool_is_ours(pool))
		return -EPERM;
	answer = (struct reply *)((char *)out - offsetof(struct reply, bytes));
	take_hands(pool);
	LIST_REMOVE(answer, others);
	free_hands(pool);
	tine_shared_free(answer);
	return 0;
}

int tine_pool_fd(tine_pool *pool)
{
	uint32_t never = 0;
	int fd;

	if (!pool)
		return -EINVAL;
	if (!pool_is_ours(pool))
		return -EPERM;
	take_hands(pool);
	/* Bound: a thread of this process, that starts a nursery: some seconds. */
	pthread_mutex_lock(&pool->minding);
	fd = bell_listen(&pool->bell, pool->nursery.handle.fd);
	pthread_mutex_unlock(&pool->minding);
	if (fd >= 0) {
		atomic_compare_exchange_strong(&pool->ledger->bell, &never, 1);
		settle_bell(pool);
	}
	free_hands(pool);
	return fd;
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
	struct reply *answer;

	for (unsigned i = 0; tickets && i < ticket_count(pool->ledger); i++) {
		/* An empty one was taken, and its answer is elsewhere. */
		if (state_of_ticket(&tickets[i]) != EMPTY)
			ticket_drop_answer(pool->ledger, &tickets[i]);
		stage_trim(&tickets[i].data, 0);
	}
	tine_shared_free(tickets);
	for (struct result *result = pool->results; result; result = result->next)
		tine_shared_free(result->answer);
	/*
	 * What was in the making when its worker was killed is freed as the dead one's.
	 */
	if (pool->has_bytes)
		members_sweep();
	while ((answer = LIST_FIRST(&pool->given))) {
		LIST_REMOVE(answer, others);
		tine_shared_free(answer);
	}
}

void pool_drop_results(tine_pool *pool)
{
	while (pool->results) {
		struct result *next = pool->results->next;

		free(pool->results);
		pool->results = next;
	}
}
