/* SPDX-License-Identifier: MIT */
/*
 * What the caller does while others work: it waits, sees to it that there is a nursery,
 * and ends that when the pool is freed.
 */
#include "pool/pool.h"

#include "base/futex.h"
#include "base/proc.h"
#include "pool/nursery.h"

#include <sys/socket.h>

#define DEATH_WAIT     INT64_C(2000000000)
#define BRIEF	       INT64_C(200000) /* to sleep; about as long as all spins */
#define FEW	       40	       /* one in so many, where sleep is not brief */
#define MOST_NURSERIES 3	       /* that die in one map */

uint64_t pool_uncalled(const tine_pool *pool)
{
	return pool->uncalled;
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

	while (pid && process_alive(pid) && tine_now() < deadline)
		nanosleep(&moment, NULL);
}

static void await_workers(const struct ledger *ledger)
{
	int64_t deadline = tine_now() + DEATH_WAIT;

	for (unsigned id = 0; id < ledger->workers; id++)
		await(atomic_load(&ledger->desks[id].pid), deadline);
	await(atomic_load(&ledger->spare), deadline);
}

static int restart_nursery(tine_pool *pool)
{
	static const tine_exit killed = { .code = -1, .signal = SIGKILL };
	struct ledger *ledger = pool->ledger;

	child_release(&pool->nursery);
	await_workers(ledger);
	ledger_lock(ledger);
	for (unsigned id = 0; id < ledger->workers; id++) {
		struct pool_desk *desk = &ledger->desks[id];

		desk_mend(ledger, id, killed, false);
		atomic_store(&desk->pid, 0);
		atomic_store(&desk->seat, SEAT_EMPTY);
		desk->strikes = 0;
	}
	atomic_store(&ledger->spare, 0);
	atomic_store(&ledger->called, 0);
	for (unsigned i = 0; i < MAX_WORKERS / 64; i++)
		atomic_store(&ledger->asleep[i], 0);
	ledger_unlock(ledger);
	return child_start(&pool->nursery, nursery_main, pool->ledger);
}

/* ---- waiting ----------------------------------------------------------------------- */

static bool all_abandoned(const struct ledger *ledger)
{
	for (unsigned id = 0; id < ledger->workers; id++)
		if (atomic_load(&ledger->desks[id].seat) != SEAT_ABANDONED)
			return false;
	return true;
}

/*
 * A little awake, and then asleep. But where the last wait was long it soon sleeps: awake
 * it takes a processor from the workers, and those that wake meanwhile may be put on one.
 */
bool pool_doze(tine_pool *pool, over_fn *over, int64_t until)
{
	struct ledger *ledger = pool->ledger;
	unsigned spins = pool->brief ? ledger->spins : ledger->spins / FEW;
	int64_t begun;
	bool called;

	for (unsigned i = 0; i < spins; i++) {
		if (over(ledger)) {
			pool->brief = true;
			return true;
		}
		for (int pause = 0; pause < 8; pause++)
			cpu_relax();
	}
	begun = tine_now();
	atomic_store(&ledger->caller_waits, 1);
	if (!over(ledger))
		futex_wait(&ledger->caller_waits, 1, until);
	pool->brief = tine_now() - begun < BRIEF;
	called = atomic_exchange(&ledger->caller_waits, 0) == 0;
	if (!over(ledger))
		return false;
	pool->uncalled += !called && tine_now() >= until;
	return true;
}

bool pool_lost_nursery(tine_pool *pool)
{
	return child_wait(&pool->nursery, NULL, TINE_NOWAIT) != -ETIMEDOUT;
}

void pool_have_watched(tine_pool *pool, bool limits)
{
	if (limits && !atomic_exchange(&pool->ledger->watched, 1))
		send(pool->nursery.lifeline, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int pool_mind_nursery(tine_pool *pool, int *died)
{
	struct ledger *ledger = pool->ledger;

	trace_glance(pool->trace);
	if (pool_lost_nursery(pool)) {
		int err = restart_nursery(pool);

		if (err || ++*died > MOST_NURSERIES)
			return err ? err : -TINE_ECRASH;
	}
	/* The one who was awake to look for work may have been stopped. */
	ledger_wake_one(ledger, 0);
	if (!all_abandoned(ledger))
		return 0;
	return ledger->desks[0].refusal ? ledger->desks[0].refusal : -TINE_ECRASH;
}

void pool_end_nursery(tine_pool *pool)
{
	shutdown(pool->nursery.lifeline, SHUT_RDWR);
	/* Somebody may have stopped it. */
	if (child_wait(&pool->nursery, NULL, TINE_NOWAIT) == -ETIMEDOUT)
		kill(pool->nursery.pid, SIGCONT);
	if (child_wait(&pool->nursery, NULL, tine_now() + DEATH_WAIT) == -ETIMEDOUT) {
		kill(pool->nursery.pid, SIGKILL);
		child_wait(&pool->nursery, NULL, TINE_FOREVER);
	}
	await_workers(pool->ledger);
	child_release(&pool->nursery);
	ledger_end_trace(pool->ledger);
}
