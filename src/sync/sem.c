/* SPDX-License-Identifier: MIT */
/*
 * A semaphore whose permits come back from the dead.
 *
 * What is true is the total, the permits that are given out or available, and what each
 * process holds: the value of its tie to the semaphore (member.h), which is there for as
 * long as that is not 0. How many are available is the difference. The number kept here
 * may be less than that, when a process has ended meanwhile, and is derived anew when it
 * comes to 0, when the count of deaths has changed, and by who gets the lock with
 * -EOWNERDEAD. Every operation is done under the robust lock and takes effect by one
 * store:
 *
 *	wait	the tie's value, one more; where permits are signals, the total, one less
 *	post	the tie's value, fewer. New permits: the total, before the value
 *
 *	dies before the store		nothing was done
 *	dies after it			holds the permit: it comes back as any other's
 *	between total and value		the new ones are given, and the rest come back
 *	holding a permit		who looks next buries it: its ties count no more,
 *					and the deaths are not those that were told last
 *	between value and told		the next is told as well
 *	a poster before it wakes	sleepers look again by themselves (sleepers.h);
 *					they look after the members then as well
 *	with a tie of no permits	a moment of wait or post: it is told all the same
 *
 * A process that ends in order has cut its ties: the same, but no death is counted.
 */
#include "base/options.h"
#include "sync/member.h"
#include "trace/trace.h"
#include "wait/sleepers.h"

struct sem {
	tine_lock lock; /* guards all below, the ties of all processes to it as well */
	member_bond bond;
	struct sleepers sleepers;
	_Atomic uint32_t total; /* truth */
	uint32_t available;	/* derived; the difference, or less */
	uint32_t told;		/* the deaths when a waiter was told last */
	bool signals;		/* constant; then available and the ties are not used */
};

_Static_assert(sizeof(struct sem) <= sizeof(tine_sem), "tine_sem is too small");

int tine_sem_init(tine_sem *room, const tine_sem_opts *opts)
{
	struct sem *sem = (struct sem *)room;

	if (opts && !TAIL_IS_ZERO(opts))
		return -EINVAL;
	sem->signals = opts && opts->signals;
	return 0;
}

/* ---- called with the lock held --------------------------------------------------- */

static void derive(struct sem *sem)
{
	uint64_t held = members_sum(&sem->bond);

	sem->available = held < sem->total ? sem->total - held : 0;
}

static void lock(struct sem *sem)
{
	if (tine_lock_acquire(&sem->lock, TINE_FOREVER) == -EOWNERDEAD && !sem->signals)
		derive(sem);
}

static void unlock(struct sem *sem)
{
	tine_lock_release(&sem->lock);
}

/* As tine_sem_wait; -ETIMEDOUT: none is available. */
static int take(struct sem *sem, struct member *self)
{
	uint32_t deaths = bond_deaths(&sem->bond);
	struct tie *tie;
	int err;

	if (sem->available == 0 || sem->told != deaths)
		derive(sem);
	if (sem->available == 0)
		return -ETIMEDOUT;
	tie = member_tie(self, &sem->bond, true);
	if (!tie)
		return -EAGAIN;
	atomic_fetch_add(&tie->value, 1);
	sem->available--;
	err = sem->told != deaths ? -EOWNERDEAD : 0;
	sem->told = deaths;
	return err;
}

static int take_signal(struct sem *sem)
{
	if (sem->total == 0)
		return -ETIMEDOUT;
	atomic_fetch_sub(&sem->total, 1);
	return 0;
}

/* ---- the calls ------------------------------------------------------------------- */

/* The turn is for who has to sleep. */
static int try(struct sem *sem, struct member *self, uint32_t *turn)
{
	int err;

	lock(sem);
	err = sem->signals ? take_signal(sem) : take(sem, self);
	if (err == -ETIMEDOUT)
		*turn = sleepers_join(&sem->sleepers);
	unlock(sem);
	return err;
}

int tine_sem_wait(tine_sem *room, int64_t deadline)
{
	struct sem *sem = (struct sem *)room;
	struct member *self = sem->signals ? NULL : member_self();
	bool look = !sem->signals;
	struct nap nap = { .most = FIRST_NAP };
	uint32_t turn;
	int err;

	if (!sem->signals && (!self || !bond_number(&sem->bond)))
		return -ENOMEM;
	while ((err = try(sem, self, &turn)) == -ETIMEDOUT) {
		if (look) {
			/* Somebody may have died, or left, with what we wait for. */
			members_sweep();
			look = false;
			continue;
		}
		if (deadline <= tine_now())
			return -ETIMEDOUT;
		look = sleepers_nap(&sem->sleepers, turn, &nap, deadline) &&
		       !sem->signals;
		trace_nap(&nap);
	}
	return err;
}

static int give(struct sem *sem, struct tie *tie, unsigned n)
{
	uint32_t held = tie ? atomic_load(&tie->value) : 0, back = n < held ? n : held;

	if (n - back > INT_MAX - sem->total)
		return -EOVERFLOW;
	if (n > back)
		atomic_fetch_add(&sem->total, n - back);
	if (tie)
		atomic_fetch_sub(&tie->value, back);
	if (tie && back == held)
		member_untie(tie);
	sem->available += n;
	return 0;
}

int tine_sem_post(tine_sem *room, unsigned n)
{
	struct sem *sem = (struct sem *)room;
	struct member *self = sem->signals ? NULL : member_self();
	int err;

	lock(sem);
	err = give(sem, self ? member_tie(self, &sem->bond, false) : NULL, n);
	unlock(sem);
	if (err == 0)
		sleepers_wake(&sem->sleepers, n);
	return err;
}
