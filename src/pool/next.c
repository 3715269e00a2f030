/* SPDX-License-Identifier: MIT */
/*
 * What is done of the jobs that were submitted: a ticket is delivered from where it lies,
 * or from where submit.c has brought it. Any number of the caller's threads may be in
 * here: see pool.h.
 */
#include "pool/tickets.h"

#include "base/deadline.h"
#include "memory/heap.h"
#include "pool/chunk.h"
#include "sync/member.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is done ------------------------------------------------------------------ */

/* The least number that was not returned; none: that of the next. */
static uint64_t least_out(const tine_pool *pool)
{
	const struct ticket *tickets = atomic_load(&pool->ledger->tickets);
	uint64_t least = atomic_load(&pool->submitted) + 1;

	for (unsigned i = 0; tickets && i < ticket_count(pool->ledger); i++)
		if (state_of_ticket(&tickets[i]) != EMPTY &&
		    number_of_ticket(&tickets[i]) < least)
			least = number_of_ticket(&tickets[i]);
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
		    (number ? number_of_ticket(&tickets[i]) == number
			    : !oldest || number_of_ticket(&tickets[i]) <
						 number_of_ticket(oldest)))
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
		vacate_ticket(ticket);
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
		err = pool_await_ticket(pool, some_finished, seen, deadline, &died);
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
		    number_of_ticket(&tickets[i]) == number)
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
		err = pool_await_ticket(pool, some_finished, seen, deadline, &died);
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

/* It stays where it lies, as if a desk that there is not had taken it. */
static void lend_chunk(const tine_pool *pool, struct ticket *ticket,
		       struct chunk_done *done)
{
	const struct chunk *chunk = ticket->chunk;
	const struct reply *answer = atomic_load(&ticket->answer);

	*done = (struct chunk_done){ .job = number_of_ticket(ticket),
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
		err = pool_await_ticket(pool, some_finished, seen, deadline, &died);
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
	vacate_ticket(done->ticket);
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
