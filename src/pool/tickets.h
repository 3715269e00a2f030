/* SPDX-License-Identifier: MIT */
/*
 * The caller's side of tickets (ledger.h): what submit.c, which fills them, and next.c,
 * which takes what is done, have in common.
 */
#ifndef TINE_POOL_TICKETS_H
#define TINE_POOL_TICKETS_H

#include "pool/pool.h"

#define HANDS_TRIES 100 /* at a mutex that a thread has for a moment */

static inline enum ticket_state state_of_ticket(const struct ticket *ticket)
{
	return ticket_state(atomic_load(&ticket->state));
}

/* Of one that is not empty. Relaxed: its state was seen before. */
static inline uint64_t number_of_ticket(const struct ticket *ticket)
{
	return atomic_load_explicit(&ticket->number, memory_order_relaxed);
}

static inline void vacate_ticket(struct ticket *ticket)
{
	/* Release: what was read of it was read before it is filled anew. */
	atomic_store_explicit(&ticket->state, ticket_word(EMPTY, 0),
			      memory_order_release);
}

static inline size_t len_of_ticket(const struct ticket *ticket)
{
	const struct reply *answer = atomic_load(&ticket->answer);

	return answer ? answer->len : ticket->out_size;
}

static inline tine_done done_of_ticket(const struct ticket *ticket)
{
	return (tine_done){ .tag = ticket->tag,
			    .status = ticket->status,
			    .limit = ticket->limit,
			    .len = len_of_ticket(ticket),
			    .how = ticket->how };
}

/* Threads wait for it awake: it is for a moment, and sleep would cost two calls. */
static inline void take_hands(tine_pool *pool)
{
	for (int i = 0; i < HANDS_TRIES; i++) {
		if (pthread_mutex_trylock(&pool->hands) == 0)
			return;
		cpu_relax();
	}
	/* Bound: this process's own threads, which hold it for no call that blocks. */
	pthread_mutex_lock(&pool->hands);
}

static inline void free_hands(tine_pool *pool)
{
	pthread_mutex_unlock(&pool->hands);
}

/* Whether a ticket was done since the caller looked. */
static inline bool some_finished(const struct ledger *ledger, uint32_t seen)
{
	return atomic_load(&ledger->finished) != seen;
}

/* Whether all that was submitted was returned. With hands. */
static inline bool all_returned(const tine_pool *pool)
{
	/* Relaxed: hands orders them. */
	return atomic_load_explicit(&pool->submitted, memory_order_relaxed) ==
	       atomic_load_explicit(&pool->delivered, memory_order_relaxed);
}

#endif
