/* SPDX-License-Identifier: MIT */
/* The protocol is at the head of ledger.h. */
#include "pool/ledger.h"

#include "base/futex.h"
#include "memory/heap.h"
#include "memory/owned.h"
#include "pool/chunk.h"
#include "sync/member.h"
#include "wait/lock.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define STEAL_MS 100

static uint32_t waiting_in(const _Atomic uint64_t *place)
{
	uint64_t range = atomic_load_explicit(place, memory_order_relaxed);

	return range_high(range) - range_low(range);
}

static uint32_t waiting_at(const struct pool_desk *desk)
{
	return waiting_in(&desk->range);
}

/* Before the jobs are taken from where they wait: they move to that desk. */
static void begin_theft(struct ledger *ledger, unsigned thief, unsigned victim,
			uint32_t low, uint32_t high)
{
	atomic_store(&ledger->theft.under_way, 0);
	ledger->theft.thief = thief;
	ledger->theft.victim = victim;
	ledger->theft.low = low;
	ledger->theft.high = high;
	atomic_store(&ledger->theft.under_way, 1);
}

/* They were taken. */
static void end_theft(struct ledger *ledger)
{
	struct pool_desk *thief = &ledger->desks[ledger->theft.thief];
	uint32_t low = ledger->theft.low;

	atomic_store(&thief->at, at_of(low, done_of(thief->at), false));
	atomic_store(&thief->range, range_of(low, ledger->theft.high));
	atomic_store(&ledger->theft.under_way, 0);
}

static bool was_taken(struct ledger *ledger)
{
	unsigned victim = ledger->theft.victim;

	if (victim == ledger->workers)
		return range_low(atomic_load(&ledger->pile)) == ledger->theft.high;
	return range_high(atomic_load(&ledger->desks[victim].range)) == ledger->theft.low;
}

/* The lock's last holder died: finish its theft, or forget it. */
static void finish_theft(struct ledger *ledger)
{
	if (!atomic_load(&ledger->theft.under_way))
		return;
	if (was_taken(ledger))
		end_theft(ledger);
	else
		atomic_store(&ledger->theft.under_way, 0);
}

int ledger_lock(struct ledger *ledger, int64_t deadline)
{
	/* Bound: the deadline. */
	int err = lock_steadily(&ledger->lock, deadline);
	uint32_t held;

	if (err && err != -EOWNERDEAD)
		return err;
	/* Relaxed: the lock orders it for holders, and who looks on looks twice. */
	held = atomic_load_explicit(&ledger->held, memory_order_relaxed);
	atomic_store_explicit(&ledger->held, held + 1, memory_order_relaxed);
	if (err)
		finish_theft(ledger);
	return 0;
}

pid_t ledger_holder(struct ledger *ledger, uint32_t *held)
{
	*held = atomic_load(&ledger->held);
	return (pid_t)(atomic_load(lock_word(&ledger->lock)) & FUTEX_TID_MASK);
}

void ledger_unlock(struct ledger *ledger)
{
	tine_lock_release(&ledger->lock);
}

void ledger_deal(struct ledger *ledger, const struct map *map, uint32_t jobs)
{
	uint64_t n = map->in_order ? 0 : jobs, workers = ledger->workers;

	ledger->map = *map;
	atomic_fetch_add(&ledger->deals, 1);
	ledger->failure = (tine_failure){ .index = SIZE_MAX };
	atomic_store(&ledger->jobs, jobs);
	atomic_store(&ledger->found, 0);
	/*
	 * All counts first: a worker that steals at once must not find its own reset
	 * later. Relaxed: whoever goes by them has seen a range.
	 */
	for (uint64_t i = 0; i < workers; i++) {
		struct pool_desk *desk = &ledger->desks[i];

		atomic_store_explicit(&desk->failure, NO_FAILURE, memory_order_relaxed);
		atomic_store_explicit(&desk->unwanted, 0, memory_order_relaxed);
		atomic_store_explicit(&desk->chunk, map->chunk ? map->chunk : 1,
				      memory_order_relaxed);
		atomic_store_explicit(&desk->at, at_of(n * i / workers, 0, false),
				      memory_order_relaxed);
	}
	for (uint64_t i = 0; i < workers; i++)
		atomic_store(&ledger->desks[i].range,
			     range_of(n * i / workers, n * (i + 1) / workers));
	atomic_store(&ledger->pile, range_of(0, map->in_order ? jobs : 0));
	atomic_fetch_add(&ledger->turn, 1);
}

static void withdraw_from(struct ledger *ledger, _Atomic uint64_t *place)
{
	uint64_t range = atomic_load(place);
	int *status = ledger->map.status;

	while (!atomic_compare_exchange_weak(
		place, &range, range_of(range_low(range), range_low(range))))
		;
	for (uint32_t i = range_low(range); status && i < range_high(range); i++)
		status[item_of(&ledger->map, i)] = -ECANCELED;
	atomic_fetch_sub(&ledger->jobs, range_high(range) - range_low(range));
}

void ledger_withdraw(struct ledger *ledger)
{
	for (unsigned i = 0; i < ledger->workers; i++)
		withdraw_from(ledger, &ledger->desks[i].range);
	withdraw_from(ledger, &ledger->pile);
}

/* What lies at a desk lies there in order, and what is on the pile is above it. */
void ledger_settle_search(struct ledger *ledger)
{
	uint64_t found = atomic_load(&ledger->found);

	if (!found)
		return;
	withdraw_from(ledger, &ledger->pile);
	for (unsigned i = 0; i < ledger->workers; i++) {
		uint64_t at = atomic_load(&ledger->desks[i].at);

		if (index_of(at) < found - 1 &&
		    index_of(at) < range_high(atomic_load(&ledger->desks[i].range)))
			return;
	}
	atomic_store(&ledger->settled, 1);
	atomic_store(&ledger->cancelled, 1);
}

void ledger_note_hit(struct ledger *ledger, uint32_t index)
{
	bool least = ledger->map.least;
	uint64_t before = 0;

	while (!atomic_compare_exchange_weak(&ledger->found, &before,
					     (uint64_t)index + 1) &&
	       (before == 0 || (least && before > index + 1)))
		;
	if (before || least)
		return;
	atomic_store(&ledger->cancelled, 1);
	ledger_call(ledger);
}

uint64_t ledger_done(const struct ledger *ledger)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < ledger->workers; i++)
		sum += done_of(atomic_load(&ledger->desks[i].at));
	return sum;
}

uint64_t ledger_failure(const struct ledger *ledger)
{
	uint64_t least = NO_FAILURE;

	for (unsigned i = 0; i < ledger->workers; i++) {
		uint64_t failure = atomic_load(&ledger->desks[i].failure);

		least = failure < least ? failure : least;
	}
	return least;
}

void ledger_call(struct ledger *ledger)
{
	if (atomic_load(&ledger->caller_waits) &&
	    atomic_exchange(&ledger->caller_waits, 0))
		futex_wake(&ledger->caller_waits, INT_MAX);
}

void ledger_ring(struct ledger *ledger)
{
	uint32_t bell = atomic_load(&ledger->bell);

	if (bell % 2 == 0)
		return;
	if (bell_pull(&ledger->rope))
		atomic_compare_exchange_strong(&ledger->bell, &bell, bell + 1);
	else if (atomic_load(&ledger->nursery))
		kill(atomic_load(&ledger->nursery), SIGCHLD);
}

static void wake_desk(struct ledger *ledger, unsigned id)
{
	atomic_fetch_and(&ledger->asleep[id / 64], ~(UINT64_C(1) << id % 64));
	atomic_fetch_add(&ledger->desks[id].wake, 1);
	futex_wake(&ledger->desks[id].wake, 1);
}

void ledger_wake_all(struct ledger *ledger)
{
	for (unsigned i = 0; i < ledger->workers; i++)
		wake_desk(ledger, i);
	ledger_call(ledger);
}

/* Waits, and is not to be taken yet. */
static bool is_paused(const struct ledger *ledger, const struct ticket *ticket)
{
	/* Relaxed: to see it a little later does no harm. */
	int64_t due = atomic_load_explicit(&ticket->due, memory_order_relaxed);

	return due && due > tine_now() && !atomic_load(&ticket->unwanted) &&
	       !atomic_load(&ledger->dropped);
}

/* Whether some ticket is in one of two states. */
static bool any_ticket(const struct ledger *ledger, enum ticket_state one,
		       enum ticket_state other)
{
	const struct ticket *tickets = atomic_load(&ledger->tickets);

	for (unsigned i = 0; tickets && i < ticket_count(ledger); i++) {
		enum ticket_state state = ticket_state(atomic_load(&tickets[i].state));

		if (state == one || state == other)
			return true;
	}
	return false;
}

static bool jobs_wait(const struct ledger *ledger)
{
	for (unsigned i = 0; i < ledger->workers; i++)
		if (waiting_at(&ledger->desks[i]) > 0)
			return true;
	return waiting_in(&ledger->pile) > 0;
}

void ledger_ring_anew(struct ledger *ledger)
{
	if (any_ticket(ledger, DONE, DONE))
		ledger_ring(ledger);
}

bool ledger_has_tickets(const struct ledger *ledger)
{
	return any_ticket(ledger, WAITING, TAKEN);
}

bool ledger_is_idle(const struct ledger *ledger)
{
	return !ledger_has_tickets(ledger) &&
	       ledger_done(ledger) >= atomic_load(&ledger->jobs);
}

/* A desk, or -1. */
static int first_asleep(const struct ledger *ledger)
{
	for (unsigned i = 0; i < (ledger->workers + 63) / 64; i++) {
		uint64_t bits = atomic_load(&ledger->asleep[i]);

		if (bits)
			return (int)i * 64 + __builtin_ctzll(bits);
	}
	return -1;
}

unsigned ledger_asleep(const struct ledger *ledger)
{
	unsigned n = 0;

	for (unsigned i = 0; i < (ledger->workers + 63) / 64; i++)
		n += __builtin_popcountll(atomic_load(&ledger->asleep[i]));
	return n;
}

bool ledger_tickets_wait(const struct ledger *ledger)
{
	const struct ticket *tickets = atomic_load(&ledger->tickets);

	for (unsigned i = 0; tickets && i < ticket_count(ledger); i++)
		if (ticket_state(atomic_load(&tickets[i].state)) == WAITING &&
		    !is_paused(ledger, &tickets[i]))
			return true;
	return false;
}

bool ledger_has_work(const struct ledger *ledger)
{
	return jobs_wait(ledger) || ledger_tickets_wait(ledger);
}

int64_t ledger_due(const struct ledger *ledger, int64_t soon)
{
	const struct ticket *tickets = atomic_load(&ledger->tickets);
	int64_t least = TINE_FOREVER;

	for (unsigned i = 0; tickets && i < ticket_count(ledger); i++) {
		enum ticket_state state = ticket_state(atomic_load(&tickets[i].state));
		int64_t due = atomic_load(&tickets[i].due);

		if (state == TAKEN ||
		    (state == WAITING && !is_paused(ledger, &tickets[i])))
			return soon;
		if (state == WAITING && due < least)
			least = due;
	}
	return least;
}

/*
 * Whoever finds work wakes one more, who does the same: nobody pays for waking all, and a
 * few small jobs are done before the second is up. A worker that is awake looks at all
 * desks before it sleeps, so that the caller has to wake one only when all are asleep.
 */
void ledger_wake_one(struct ledger *ledger, unsigned self)
{
	int found = first_asleep(ledger);

	if (found >= 0 &&
	    (self < ledger->workers || ledger_asleep(ledger) == ledger->workers) &&
	    ledger_has_work(ledger))
		wake_desk(ledger, found);
}

uint32_t desk_take(struct pool_desk *desk, uint32_t most, bool whole, uint32_t *first)
{
	uint64_t range = atomic_load(&desk->range);
	uint32_t low, left, n;

	do {
		low = range_low(range);
		left = range_high(range) - low;
		if (left == 0)
			return 0;
		/* Read after the range: a new deal writes it before. */
		n = atomic_load(&desk->chunk);
		n = n < most ? n : most;
		/*
		 * Half of what waits may still be stolen; what came from the pile is few.
		 */
		if (!whole && n > left / 2)
			n = left / 2 > 0 ? left / 2 : 1;
		n = n < left ? n : left;
	} while (!atomic_compare_exchange_weak(&desk->range, &range,
					       range_of(low + n, range_high(range))));
	*first = low;
	return n;
}

static unsigned fullest(const struct ledger *ledger)
{
	unsigned best = 0;

	for (unsigned i = 1; i < ledger->workers; i++)
		if (waiting_at(&ledger->desks[i]) > waiting_at(&ledger->desks[best]))
			best = i;
	return best;
}

/* With the lock held: nobody else moves a high down, and nobody's range is filled. */
static bool steal_from(struct ledger *ledger, unsigned self, unsigned from)
{
	struct pool_desk *victim = &ledger->desks[from];
	uint64_t range = atomic_load(&victim->range);
	uint32_t left, middle;

	do {
		left = range_high(range) - range_low(range);
		if (left == 0)
			return false;
		middle = range_high(range) - (left + 1) / 2;
		begin_theft(ledger, self, from, middle, range_high(range));
	} while (!atomic_compare_exchange_weak(&victim->range, &range,
					       range_of(range_low(range), middle)));
	end_theft(ledger);
	TRACE(steal, log_of(ledger, self), from, middle, ledger->theft.high - middle);
	return true;
}

bool desk_stock(struct ledger *ledger, unsigned self, uint32_t n)
{
	uint64_t range = atomic_load(&ledger->pile);
	uint32_t low = range_low(range), left = range_high(range) - low;

	if (left == 0)
		return false;
	n = n < left ? n : left;
	begin_theft(ledger, self, ledger->workers, low, low + n);
	atomic_store(&ledger->pile, range_of(low + n, range_high(range)));
	end_theft(ledger);
	return true;
}

/* With the lock held: no more than leave some for others. */
static bool take_from_pile(struct ledger *ledger, unsigned self, uint32_t n)
{
	uint32_t most = waiting_in(&ledger->pile) / (2 * ledger->workers);

	if (n > most)
		n = most > 0 ? most : 1;
	return desk_stock(ledger, self, n);
}

void desk_put_back(struct pool_desk *desk)
{
	uint64_t range = atomic_load(&desk->range);

	while (!atomic_compare_exchange_weak(
		&desk->range, &range,
		range_of(index_of(atomic_load(&desk->at)), range_high(range))))
		;
}

bool desk_steal(struct ledger *ledger, unsigned self, uint32_t many)
{
	bool found = false;

	while (!found && jobs_wait(ledger)) {
		/* Bound: so long; there may be tickets to do instead. */
		if (ledger_lock(ledger, TINE_NOWAIT) != 0 &&
		    ledger_lock(ledger, tine_after(STEAL_MS)) != 0)
			return false;
		/* A deal may have come meanwhile. */
		found = waiting_at(&ledger->desks[self]) > 0 ||
			take_from_pile(ledger, self, many) ||
			steal_from(ledger, self, fullest(ledger));
		ledger_unlock(ledger);
	}
	return found;
}

void desk_note(struct pool_desk *desk, uint32_t index, int status)
{
	uint64_t failure = (uint64_t)index << 32 | (uint32_t)status;

	if (status < 0 && failure < atomic_load(&desk->failure))
		atomic_store(&desk->failure, failure);
}

/* ---- after a death ----------------------------------------------------------------- */

static int verdict_on(const struct pool_desk *desk, bool starved)
{
	uint64_t ended = atomic_load(&desk->ended);

	if (ended && ended == job_of(desk))
		return atomic_load(&desk->ended_status);
	return starved ? -ENOMEM : -TINE_ECRASH;
}

static int limit_of(int verdict)
{
	return verdict == -ETIMEDOUT ? TINE_LIMIT_TIME
	       : verdict == -ENOMEM  ? TINE_LIMIT_MEMORY
				     : 0;
}

/* What a job itself may return as well is not said of one that was ended. */
static int status_of(int verdict)
{
	return limit_of(verdict) ? -TINE_ELIMIT : verdict;
}

void ledger_note_death(struct ledger *ledger, uint32_t index, int status, int limit,
		       tine_exit how)
{
	bool again = ledger->map.later && status == -TINE_ECRASH &&
		     !atomic_load(&ledger->cancelled);

	ledger->failure.deaths++;
	if (again || ledger->failure.index != SIZE_MAX)
		return;
	ledger->failure.status = status;
	ledger->failure.limit = limit;
	ledger->failure.how = how;
	ledger->failure.index = index;
}

/* Who mends a second time counts a death twice. */
static void note_death(struct ledger *ledger, uint32_t index, int verdict, tine_exit how,
		       bool again)
{
	if (again)
		ledger->failure.deaths++;
	else
		ledger_note_death(ledger, index, status_of(verdict), limit_of(verdict),
				  how);
}

/* Whether the job, which is of so many indexes, is to be tried again. */
static bool mend_job(struct ledger *ledger, struct pool_desk *desk, uint32_t index,
		     uint32_t many, tine_exit how, bool starved)
{
	const struct map *map = &ledger->map;
	int verdict = verdict_on(desk, starved), status = status_of(verdict);
	size_t item = item_of(map, index);
	bool again = status == -TINE_ECRASH && map->retries > 0 &&
		     (unsigned)map->status[item] < map->retries &&
		     !atomic_load(&ledger->cancelled);

	note_death(ledger, index, verdict, how, again);
	if (again) {
		map->status[item]++;
		return true;
	}
	if (map->endings) {
		map->endings[item].how = how;
		map->endings[item].limit = limit_of(verdict);
	}
	for (uint32_t i = index; map->status && i < index + many; i++)
		map->status[item_of(map, i)] = status;
	desk_note(desk, index, status);
	return false;
}

/* One of many items; nobody else goes on with what is unwanted. */
static void mend_chunk(struct ledger *ledger, struct ticket *ticket, int verdict,
		       tine_exit how)
{
	bool left = chunk_mend(ticket->chunk, status_of(verdict), limit_of(verdict), how);

	if (left && !atomic_load(&ticket->unwanted)) {
		atomic_store(&ticket->state, ticket_word(WAITING, 0));
		return;
	}
	chunk_drop(ticket->chunk);
	ticket_finish(ledger, ticket, 0);
}

bool ticket_has_tries(const struct ledger *ledger, const struct ticket *ticket)
{
	return ticket->attempts < ticket->retries && !atomic_load(&ticket->unwanted) &&
	       !atomic_load(&ledger->dropped);
}

/* It was tried once more. */
static void wait_anew(struct ticket *ticket)
{
	int64_t ms = pause_after(ticket->pause_ms, ticket->attempts);

	atomic_store(&ticket->due, ms ? tine_after(ms) : 0);
	ticket->attempts++;
	atomic_store(&ticket->state, ticket_word(WAITING, 0));
}

static void mend_ticket(struct ledger *ledger, struct pool_desk *desk,
			struct ticket *ticket, tine_exit how, bool starved)
{
	int verdict = atomic_load(&ticket->unwanted) ? -ECANCELED
						     : verdict_on(desk, starved);
	bool begun = atomic_load(&desk->ticket) == atomic_load(&ticket->number);

	ticket_drop_answer(ledger, ticket);
	if (ticket->chunk) {
		mend_chunk(ledger, ticket, verdict, how);
		return;
	}
	if (begun && (verdict != -TINE_ECRASH || !ticket_has_tries(ledger, ticket))) {
		ticket->how = how;
		ticket->limit = limit_of(verdict);
		ticket_finish(ledger, ticket, status_of(verdict));
	} else if (begun) {
		wait_anew(ticket);
	} else {
		atomic_store(&ticket->state, ticket_word(WAITING, 0));
	}
}

static void mend_tickets(struct ledger *ledger, unsigned id, tine_exit how, bool starved)
{
	struct ticket *tickets = atomic_load(&ledger->tickets);
	struct pool_desk *desk = &ledger->desks[id];

	for (unsigned i = 0; tickets && i < ticket_count(ledger); i++)
		if (atomic_load(&tickets[i].state) == ticket_word(TAKEN, id))
			mend_ticket(ledger, desk, &tickets[i], how, starved);
	atomic_store(&desk->ticket, 0);
}

static void trace_death(struct ledger *ledger, unsigned id, tine_exit how, int status)
{
	const struct pool_desk *desk = &ledger->desks[id];
	uint64_t ticket = atomic_load(&desk->ticket), at = atomic_load(&desk->at);
	struct trace_death death = { how, status, ticket || is_running(at), ticket != 0,
				     ticket ? ticket : index_of(at) };

	TRACE(bury, log_of(ledger, id), &death);
}

/* May itself be cut short and done again: at is what it goes by, and is written last. */
void desk_mend(struct ledger *ledger, unsigned id, tine_exit how, bool starved)
{
	struct pool_desk *desk = &ledger->desks[id];
	uint64_t at = atomic_load(&desk->at), range = atomic_load(&desk->range);
	uint32_t index = index_of(at), done = done_of(at);
	uint32_t many = ledger->map.work == RANGES ? range_low(range) - index : 1;

	if (how.signal)
		how.address = atomic_load(&desk->address);
	trace_death(ledger, id, how, verdict_on(desk, starved));
	mend_tickets(ledger, id, how, starved);
	if (is_running(at) && !mend_job(ledger, desk, index, many, how, starved)) {
		index += many;
		done += many;
	}
	atomic_store(&desk->range, range_of(index, range_high(range)));
	atomic_store(&desk->at, at_of(index, done, false));
	atomic_store(&desk->address, 0);
	atomic_store(&desk->ended, 0);
}

void ledger_end_trace(struct ledger *ledger)
{
	static const tine_exit killed = { .code = -1, .signal = SIGKILL };

	for (unsigned id = 0; id < ledger->workers; id++)
		trace_death(ledger, id, killed, 0);
}

/* ---- tickets ----------------------------------------------------------------------- */

#define OWNED_BY_TICKET (OWNED_BY_OBJECT | UINT64_C(1) << 61)

struct ticket *ticket_at(const struct ledger *ledger, unsigned id)
{
	struct ticket *tickets = atomic_load(&ledger->tickets);

	for (unsigned i = 0; tickets && i < ticket_count(ledger); i++)
		if (atomic_load(&tickets[i].state) == ticket_word(TAKEN, id))
			return &tickets[i];
	return NULL;
}

uint64_t ticket_owner(const struct ledger *ledger, const struct ticket *ticket)
{
	uint64_t where = (uint64_t)((const char *)ledger - (char *)shared_base()) / 64;

	return OWNED_BY_TICKET | where << 24 | (ticket->number & 0xffffff);
}

void ticket_drop_answer(const struct ledger *ledger, struct ticket *ticket)
{
	struct reply *answer = atomic_load(&ticket->answer);

	if (!answer)
		return;
	if (owned_by(answer) == ticket_owner(ledger, ticket))
		tine_shared_free(answer);
	atomic_store(&ticket->answer, NULL);
}

static struct ticket *oldest_waiting(struct ledger *ledger)
{
	struct ticket *tickets = atomic_load(&ledger->tickets), *oldest = NULL;

	for (unsigned i = 0; tickets && i < ticket_count(ledger); i++)
		if (ticket_state(atomic_load(&tickets[i].state)) == WAITING &&
		    (!oldest || tickets[i].number < oldest->number) &&
		    !is_paused(ledger, &tickets[i]))
			oldest = &tickets[i];
	return oldest;
}

struct ticket *ticket_carry(struct ledger *ledger, unsigned id)
{
	struct ticket *ticket;
	uint64_t waits;

	while ((ticket = oldest_waiting(ledger))) {
		waits = ticket_word(WAITING, 0);
		if (atomic_compare_exchange_strong(&ticket->state, &waits,
						   ticket_word(TAKEN, id)))
			break;
	}
	return ticket;
}

int ticket_answer(const struct ledger *ledger, struct ticket *ticket, const void *out,
		  size_t len)
{
	struct reply *answer;
	struct member *self;
	void *mem;
	/* Bound: as long as an allocation of the caller's would wait. */
	int err = member_join(&self, shared_patience());

	if (!err)
		err = owned_new(&mem, sizeof(*answer) + len, member_id(),
				SHARED_PATIENTLY);
	if (err)
		return err;
	answer = mem;
	answer->len = len;
	if (len)
		memcpy(answer->bytes, out, len);
	atomic_store(&ticket->answer, answer);
	owned_pass(answer, member_id(), ticket_owner(ledger, ticket));
	return 0;
}

struct ticket *ticket_take(struct ledger *ledger, unsigned id)
{
	struct pool_desk *desk = &ledger->desks[id];
	struct ticket *ticket;
	uint64_t waits;

	while ((ticket = oldest_waiting(ledger))) {
		waits = ticket_word(WAITING, 0);
		/* Before it is taken: its limit finds a worker that is stopped next. */
		atomic_store(&desk->begun, tine_now());
		/* Relaxed: the number, which is stored next, says that it is there. */
		atomic_store_explicit(&desk->limit_ms, ticket->job_ms,
				      memory_order_relaxed);
		atomic_store(&desk->ticket, ticket->number);
		if (atomic_compare_exchange_strong(&ticket->state, &waits,
						   ticket_word(TAKEN, id)))
			break;
	}
	/* Another job may have come to lie there meanwhile, or none be left. */
	if (atomic_load(&desk->ticket) != (ticket ? ticket->number : 0))
		atomic_store(&desk->ticket, ticket ? ticket->number : 0);
	return ticket;
}

void ticket_finish(struct ledger *ledger, struct ticket *ticket, int status)
{
	ticket->status = status;
	atomic_store(&ticket->state, ticket_word(DONE, 0));
	atomic_fetch_add(&ledger->finished, 1);
	ledger_call(ledger);
	ledger_ring(ledger);
}

bool ticket_retry(struct ledger *ledger, struct ticket *ticket, unsigned id, int *status)
{
	uint64_t waits = ticket_word(WAITING, 0);

	if (!ticket->retry_failures || !ticket_has_tries(ledger, ticket))
		return false;
	ticket_drop_answer(ledger, ticket);
	wait_anew(ticket);
	if (!atomic_load(&ticket->unwanted) ||
	    !atomic_compare_exchange_strong(&ticket->state, &waits,
					    ticket_word(TAKEN, id)))
		return true;
	*status = -ECANCELED;
	return false;
}
