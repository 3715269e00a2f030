/* SPDX-License-Identifier: MIT */
/*
 * What the caller does while others work: it waits, sees to it that there is a nursery,
 * and ends that when the pool is freed.
 */
#include "pool/serial.h"

#include "base/deadline.h"
#include "base/futex.h"
#include "base/interrupt.h"
#include "base/proc.h"

#define MOMENT	       INT64_C(1000000) /* until another thread may be done */
#define DEATH_WAIT     INT64_C(2000000000)
#define BRIEF	       INT64_C(200000) /* to sleep; about as long as all spins */
#define FEW	       40	       /* one in so many, where sleep is not brief */
#define MOST_NURSERIES 3	       /* that die in one map */
#define ROUSE_EVERY    INT64_C(10000000)
#define STOPPED_WAIT   INT64_C(30000000) /* for a nursery to go on */

uint64_t pool_uncalled(const tine_pool *pool)
{
	return atomic_load(&pool->uncalled);
}

/* ---- the nursery's death ----------------------------------------------------------- */

/*
 * The kernel is killing the workers, and until each is gone it may write to its desk. A
 * worker that cannot be killed (it waits for a dead disk) is waited for no longer than
 * DEATH_WAIT.
 */
static void await(pid_t pid, int64_t deadline)
{
	struct timespec moment = { 0, 200000 };

	/* Bound: the deadline. */
	while (pid && process_alive(pid) && tine_now() < deadline)
		nanosleep(&moment, NULL);
}

static void await_workers(const struct ledger *ledger)
{
	int64_t deadline = tine_now() + DEATH_WAIT;

	for (unsigned id = 0; id < ledger->workers; id++)
		await(atomic_load(&ledger->desks[id].pid), deadline);
}

/* The nursery that is dead cannot have ended what was to be ended. */
static void end_unwanted(struct pool_desk *desk)
{
	uint64_t job = atomic_load(&desk->unwanted);

	if (!job || job != job_of(desk))
		return;
	atomic_store(&desk->ended_status, atomic_load(&desk->unwanted_status));
	atomic_store(&desk->ended, job);
}

/* last: it died too often, and the jobs of the map are dropped. */
static int restart_nursery(tine_pool *pool, bool last)
{
	static const tine_exit killed = { .code = -1, .signal = SIGKILL };
	struct ledger *ledger = pool->ledger;
	int err;

	bell_unwatch(&pool->bell, pool->nursery.handle.fd);
	child_release(&pool->nursery);
	pool->stopped = pool->asked = 0;
	await_workers(ledger);
	/* Bound: so long; all who might hold it are dead, but a process in the kernel. */
	if (ledger_lock(ledger, tine_now() + DEATH_WAIT) != 0)
		return -TINE_ECRASH;
	for (unsigned id = 0; id < ledger->workers; id++) {
		struct pool_desk *desk = &ledger->desks[id];

		end_unwanted(desk);
		desk_mend(ledger, id, killed, false);
		atomic_store(&desk->pid, 0);
		atomic_store(&desk->seat, SEAT_EMPTY);
		desk->strikes = 0;
	}
	atomic_store(&ledger->parting, 0);
	for (unsigned i = 0; i < MAX_WORKERS / 64; i++)
		atomic_store(&ledger->asleep[i], 0);
	if (last)
		ledger_withdraw(ledger);
	ledger_unlock(ledger);
	err = child_start(&pool->nursery, ledger->crew->main, ledger);
	return err ? err : bell_watch(&pool->bell, pool->nursery.handle.fd);
}

/* ---- waiting ----------------------------------------------------------------------- */

/*
 * Whether it was called. A call takes the word from all who sleep and wakes them; so does
 * the last to rise, and whoever lay down meanwhile has to look again.
 */
static bool rise(tine_pool *pool)
{
	_Atomic uint32_t *waits = &pool->ledger->caller_waits;

	if (atomic_fetch_sub(&pool->sleepers, 1) > 1)
		return atomic_load(waits) == 0;
	if (atomic_exchange(waits, 0) == 0)
		return true;
	if (atomic_load(&pool->sleepers) > 0)
		futex_wake(waits, INT_MAX);
	return false;
}

/*
 * A little awake, and then asleep. But where the last wait was long it soon sleeps: awake
 * it takes a processor from the workers, and those that wake meanwhile may be put on one.
 */
bool pool_doze(tine_pool *pool, over_fn *over, uint32_t seen, int64_t until)
{
	struct ledger *ledger = pool->ledger;
	/* Relaxed: it says how long to spin, and nothing of other words. */
	bool brief = atomic_load_explicit(&pool->brief, memory_order_relaxed);
	unsigned spins = brief ? ledger->spins : ledger->spins / FEW;
	int64_t begun;
	bool called;

	if (pool->serial) {
		int64_t due;

		if (serial_work(pool, over, seen, until))
			return true;
		due = ledger_due(ledger, tine_now() + MOMENT);
		until = earlier(until, due);
	}
	for (unsigned i = 0; i < spins; i++) {
		if (over(ledger, seen)) {
			if (!brief)
				atomic_store(&pool->brief, true);
			return true;
		}
		for (int pause = 0; pause < 8; pause++)
			cpu_relax();
	}
	begun = tine_now();
	atomic_fetch_add(&pool->sleepers, 1);
	atomic_store(&ledger->caller_waits, 1);
	/* Bound: until. */
	if (!over(ledger, seen))
		futex_wait(&ledger->caller_waits, 1, until);
	atomic_store(&pool->brief, tine_now() - begun < BRIEF);
	called = rise(pool);
	if (!over(ledger, seen))
		return false;
	if (!called && tine_now() >= until)
		atomic_fetch_add(&pool->uncalled, 1);
	return true;
}

bool pool_lost_nursery(tine_pool *pool)
{
	return child_wait(&pool->nursery, NULL, TINE_NOWAIT) != -ETIMEDOUT;
}

void pool_have_watched(tine_pool *pool, bool limits)
{
	if (limits && !pool->serial && !atomic_exchange(&pool->ledger->watched, 1))
		pool_ask(pool);
}

void pool_tell(tine_pool *pool)
{
	if (pool->elsewhere)
		pool->ledger->crew->wake(pool->ledger, &pool->nursery, false);
}

/* ---- one thread minds the nursery -------------------------------------------------- */

static void ask_nursery(tine_pool *pool)
{
	if (!pool->asked) {
		pool->asked = tine_now();
		pool->answers = atomic_load(&pool->ledger->looked);
	}
	child_nudge(&pool->nursery);
}

static bool begin_minding(tine_pool *pool)
{
	return pthread_mutex_trylock(&pool->minding) == 0;
}

/* What was left to whoever has it is done before, or by the next who has it. */
static void end_minding(tine_pool *pool)
{
	do {
		if (atomic_load(&pool->to_ask) && atomic_exchange(&pool->to_ask, false))
			ask_nursery(pool);
		pthread_mutex_unlock(&pool->minding);
	} while (atomic_load(&pool->to_ask) && begin_minding(pool));
}

void pool_ask(tine_pool *pool)
{
	if (pool->serial)
		return;
	atomic_store(&pool->to_ask, true);
	if (begin_minding(pool))
		end_minding(pool);
}

/*
 * A stopped nursery is continued: that costs no job. One that stays stopped (a debugger
 * has it), or does not answer (it is frozen), is as good as dead.
 */
static void rouse_nursery(tine_pool *pool)
{
	int64_t now = tine_now();

	if (atomic_load(&pool->ledger->looked) != pool->answers)
		pool->asked = 0;
	if (now - pool->roused < ROUSE_EVERY)
		return;
	pool->roused = now;
	if (process_stopped(pool->nursery.pid))
		kill(pool->nursery.pid, SIGCONT);
	if (!process_stopped(pool->nursery.pid))
		pool->stopped = 0;
	else if (pool->stopped == 0)
		pool->stopped = now;
	if ((pool->stopped && now - pool->stopped >= STOPPED_WAIT) ||
	    (pool->asked && now - pool->asked >= pool->ledger->crew->patience))
		kill(pool->nursery.pid, SIGKILL);
}

static void rouse(tine_pool *pool)
{
	rouse_nursery(pool);
	if (pool->ledger->crew->suspects(pool->ledger))
		ask_nursery(pool);
}

void pool_rouse(tine_pool *pool)
{
	if (!begin_minding(pool))
		return;
	rouse(pool);
	end_minding(pool);
}

static int mind_nursery(tine_pool *pool, int *died)
{
	struct ledger *ledger = pool->ledger;

	trace_glance(pool->trace);
	if (pool_lost_nursery(pool)) {
		bool last = ++*died > MOST_NURSERIES;
		int err = restart_nursery(pool, last);

		if (err || last)
			return err ? err : -TINE_ECRASH;
	}
	rouse(pool);
	/* The one who was awake to look for work may have been stopped. */
	ledger->crew->wake(ledger, &pool->nursery, true);
	return ledger->crew->able(ledger);
}

int pool_mind_nursery(tine_pool *pool, int *died)
{
	int err;

	if (pool->serial || !begin_minding(pool))
		return 0;
	err = mind_nursery(pool, died);
	end_minding(pool);
	return err;
}

int pool_await_ticket(tine_pool *pool, over_fn *over, uint32_t seen, int64_t deadline,
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

int pool_lock(tine_pool *pool, int64_t deadline, int *died)
{
	/* Mostly nobody has it, and nobody needs to know the time. */
	int err = ledger_lock(pool->ledger, TINE_NOWAIT);

	for (;;) {
		int64_t slice;

		if (err != -ETIMEDOUT)
			return err;
		slice = tine_now() + ROUSE_EVERY;
		/* Bound: the deadline. */
		err = ledger_lock(pool->ledger, earlier(slice, deadline));
		if (err != -ETIMEDOUT || deadline <= slice)
			return err;
		err = pool_mind_nursery(pool, died);
		if (err)
			return err;
		err = -ETIMEDOUT;
	}
}

/* Somebody may have stopped it. */
static void continue_nursery(tine_pool *pool)
{
	if (child_wait(&pool->nursery, NULL, TINE_NOWAIT) == -ETIMEDOUT)
		kill(pool->nursery.pid, SIGCONT);
}

/* Workers that are in no job end in order. The lifeline still tells of our death. */
static void end_workers(tine_pool *pool)
{
	int64_t deadline = tine_after(pool->ledger->fini_ms);

	if (!pool->ledger->fini)
		return;
	atomic_store(&pool->ledger->parting, 1);
	child_nudge(&pool->nursery);
	continue_nursery(pool);
	/* Bound: the time of .fini, and a little for the nursery to begin and to end. */
	child_wait(&pool->nursery, NULL,
		   deadline < TINE_FOREVER - DEATH_WAIT ? deadline + DEATH_WAIT
							: TINE_FOREVER);
}

/* With the workers, if it is alive; to be released. */
static void end_nursery(tine_pool *pool)
{
	end_workers(pool);
	child_hang_up(&pool->nursery);
	continue_nursery(pool);
	/*
	 * Bound: twice as long; it is killed in between, and may be a debugger's to bury.
	 */
	if (child_wait(&pool->nursery, NULL, tine_now() + DEATH_WAIT) == -ETIMEDOUT) {
		kill(pool->nursery.pid, SIGKILL);
		child_wait(&pool->nursery, NULL, tine_now() + DEATH_WAIT);
	}
	await_workers(pool->ledger);
}

void pool_end_nursery(tine_pool *pool)
{
	if (pool->serial) {
		serial_end(pool);
		return;
	}
	end_nursery(pool);
	child_release(&pool->nursery);
	ledger_end_trace(pool->ledger);
}

int pool_renew_nursery(tine_pool *pool)
{
	if (pool->serial) {
		serial_end(pool);
		return serial_begin(pool);
	}
	end_nursery(pool);
	return restart_nursery(pool, false);
}
