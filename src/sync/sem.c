/* SPDX-License-Identifier: MIT */
/*
 * A semaphore. Without options the total is all there is, and no lock is taken: it
 * changes by compare-and-swap, before the one of a post wakes the sleepers.
 *
 * A mutex is one word: the id (member.h) of the process that took it, or 0. To take it is
 * a compare-and-swap from 0, or from the id of one that has ended, to one's own; to
 * release it, from the id that was seen to 0. So of a release, another's release and the
 * taking after a death one alone succeeds, and none frees what somebody else took since.
 *
 *	dies before the swap		nothing was done
 *	dies after it			has it: who waits looks at the taker, at once and
 *					then with each nap
 *	after a release, before it	sleepers look again by themselves (sleepers.h)
 *	wakes
 *	is stopped with it		who waits, waits until the deadline
 *
 * Where permits are held they come back from the dead. What is true is the total, the
 * permits that are given out or available, and what each process holds: the value of its
 * tie to the semaphore (member.h), which is there for as long as that is not 0. How many
 * are available is the difference. The number kept here may be less than that, when a
 * process has ended or posted meanwhile, and is derived anew when it comes to 0, when
 * the count of deaths has changed, and by who gets the lock with -EOWNERDEAD. A wait is
 * done under the robust lock; every operation takes effect by one store:
 *
 *	wait	the tie's value, one more
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
 *	with a tie of no permits	holds nothing, and is not told
 *	is stopped with the lock	who waits, waits for it, until the deadline. Who
 *					posts needs the lock only so that what is derived
 *					is up to date, and goes without after LOCK_MS;
 *					its tie stays then, until it posts again
 *
 * A process that ends in order has cut its ties: the same, but no death is counted.
 */
#include "sync/sem.h"
#include "base/cpus.h"
#include "base/deadline.h"
#include "base/family.h"
#include "base/interrupt.h"
#include "base/options.h"
#include "sync/member.h"
#include "trace/trace.h"
#include "wait/lock.h"

#define SPINS	40
#define LOCK_MS 20 /* of who posts, or before it looks whether a signal came */

_Static_assert(sizeof(struct sem) <= sizeof(tine_sem), "tine_sem is too small");

int tine_sem_init(tine_sem *room, const tine_sem_opts *opts)
{
	struct sem *sem = (struct sem *)room;

	if (!room || (opts && !ROOM_IS_ZERO(opts)))
		return -EINVAL;
	if (opts && (opts->max > INT_MAX || (opts->mutex && (opts->held || opts->max))))
		return -EINVAL;
	if (is_foreign(room))
		return -EXDEV;
	sem->held = opts && opts->held;
	sem->mutex = opts && opts->mutex;
	sem->spins = sem->mutex && affine_processors() > 1;
	sem->max = opts ? opts->max : 0;
	return 0;
}

/* ---- called with the lock held --------------------------------------------------- */

static void derive_available(struct sem *sem)
{
	uint64_t held = members_sum(&sem->bond);

	sem->available = held < sem->total ? sem->total - held : 0;
}

/* As tine_sem_wait; -ETIMEDOUT: none is available; -EAGAIN: no room for a tie. */
static int take_permit(struct sem *sem, struct member *self)
{
	uint32_t deaths = bond_deaths(&sem->bond);
	struct tie *tie;
	int err;

	if (sem->available == 0 || sem->told != deaths)
		derive_available(sem);
	if (sem->available == 0)
		return -ETIMEDOUT;
	tie = member_tie(self, &sem->bond);
	if (!tie)
		return -EAGAIN;
	atomic_fetch_add(&tie->value, 1);
	sem->available--;
	err = sem->told != deaths ? -EOWNERDEAD : 0;
	sem->told = deaths;
	return err;
}

/* ---- the lock -------------------------------------------------------------------- */

static int lock_sem(struct sem *sem, int64_t deadline)
{
	int err = lock_inner(&sem->lock, deadline);

	if (err == -EOWNERDEAD)
		derive_available(sem);
	return err == -EOWNERDEAD ? 0 : err;
}

/* In slices, so that a signal ends it too. */
static int await_sem_lock(struct sem *sem, int64_t deadline)
{
	/* Mostly nobody has it, and nobody needs to know the time. */
	int err = lock_sem(sem, TINE_NOWAIT);

	while (err == -ETIMEDOUT && deadline > tine_now()) {
		int64_t slice = tine_after(LOCK_MS);

		if (interrupt_take())
			return -EINTR;
		err = lock_sem(sem, earlier(deadline, slice));
	}
	return err;
}

static int take_signal(struct sem *sem)
{
	uint32_t total = atomic_load(&sem->total);

	do {
		if (total == 0)
			return -ETIMEDOUT;
	} while (!atomic_compare_exchange_weak(&sem->total, &total, total - 1));
	return 0;
}

/* The turn is for who has to sleep. */
static int try_permit(struct sem *sem, struct member *self, uint32_t *turn,
		      int64_t deadline)
{
	int err = await_sem_lock(sem, deadline);

	if (err)
		return err;
	err = take_permit(sem, self);
	if (err == -ETIMEDOUT)
		*turn = sleepers_join(&sem->sleepers);
	tine_lock_release(&sem->lock);
	return err;
}

static int wait_for_signal(struct sem *sem, int64_t deadline)
{
	struct nap nap = { .most = FIRST_NAP };
	int err;

	while (take_signal(sem) == -ETIMEDOUT) {
		uint32_t turn;

		if ((err = interrupt_or_late(deadline)) != 0)
			return err;
		turn = sleepers_join(&sem->sleepers);
		if (take_signal(sem) == 0)
			return 0;
		nap_logged(&sem->sleepers, turn, &nap, deadline);
	}
	return 0;
}

/* ---- a mutex ----------------------------------------------------------------------- */

static int take_mutex(struct sem *sem, uint64_t id)
{
	uint64_t taker = 0;

	if (atomic_compare_exchange_strong(&sem->taker, &taker, id))
		return 0;
	if (member_ended(taker) &&
	    atomic_compare_exchange_strong(&sem->taker, &taker, id))
		return -EOWNERDEAD;
	return -ETIMEDOUT;
}

/* Who has it mostly releases it sooner than a sleep and a wake would take. */
static void spin_for_mutex(const struct sem *sem)
{
	for (int i = 0; i < SPINS && atomic_load(&sem->taker); i++)
		cpu_relax();
}

static __attribute__((noinline)) int sleep_for_mutex(struct sem *sem, int64_t deadline)
{
	struct nap nap = { .most = FIRST_NAP };
	struct member *self;
	int err = member_join(&self, deadline);

	if (err)
		return err;
	for (;;) {
		uint32_t turn;

		if (sem->spins && deadline > TINE_NOWAIT)
			spin_for_mutex(sem);
		err = take_mutex(sem, member_id());
		if (err != -ETIMEDOUT || deadline <= tine_now())
			return err;
		if (interrupt_take())
			return -EINTR;
		turn = sleepers_join(&sem->sleepers);
		err = take_mutex(sem, member_id());
		if (err != -ETIMEDOUT)
			return err;
		nap_logged(&sem->sleepers, turn, &nap, deadline);
	}
}

static int wait_for_mutex(struct sem *sem, int64_t deadline)
{
	/* Relaxed: this process's own. */
	uint64_t id = atomic_load_explicit(&member_own_id, memory_order_relaxed),
		 none = 0;

	if (id && atomic_compare_exchange_strong(&sem->taker, &none, id))
		return 0;
	return sleep_for_mutex(sem, deadline);
}

static int release_mutex(struct sem *sem, unsigned n)
{
	uint64_t taker = atomic_load(&sem->taker);

	if (n != 1)
		return -EINVAL;
	if (!taker || !atomic_compare_exchange_strong(&sem->taker, &taker, 0))
		return -EPERM;
	sleepers_wake(&sem->sleepers, 1);
	return 0;
}

/* ---- permits that are held --------------------------------------------------------- */

static int wait_for_permit(struct sem *sem, int64_t deadline)
{
	struct nap nap = { .most = FIRST_NAP };
	struct member *self;
	struct tie *tie;
	bool look = true;
	uint32_t turn = 0;
	int err = member_join(&self, deadline);

	if (err)
		return err;
	if (!bond_number(&sem->bond))
		return -ENOMEM;
	while ((err = try_permit(sem, self, &turn, deadline)) == -ETIMEDOUT ||
	       err == -EAGAIN) {
		if (err == -EAGAIN) {
			/* Not with the lock, as it may wait. */
			err = member_tie_by(self, &sem->bond, &tie, deadline);
			if (err)
				return err;
			continue;
		}
		if (look) {
			/* Somebody may have died, or left, with what we wait for. */
			members_sweep();
			look = false;
			continue;
		}
		if ((err = interrupt_or_late(deadline)) != 0)
			return err;
		look = nap_logged(&sem->sleepers, turn, &nap, deadline);
	}
	return err;
}

/* With the sem's lock or without; with a tie, with the ties' lock. */
static int give(struct sem *sem, struct tie *tie, unsigned n)
{
	uint32_t held = tie ? atomic_load(&tie->value) : 0, back = n < held ? n : held;
	uint32_t total = atomic_load(&sem->total), max = sem->max ? sem->max : INT_MAX;

	do {
		if (n - back > max - total)
			return -EOVERFLOW;
	} while (n > back &&
		 !atomic_compare_exchange_weak(&sem->total, &total, total + n - back));
	if (tie)
		atomic_fetch_sub(&tie->value, back);
	return 0;
}

static int post_permits(struct sem *sem, unsigned n)
{
	struct member *self = member_self();
	/* Mostly nobody has it, and nobody needs to know the time. */
	bool locked = lock_sem(sem, TINE_NOWAIT) == 0 ||
		      lock_sem(sem, tine_after(LOCK_MS)) == 0;
	struct tie *tie;
	int err;

	/* So that no two threads give back the same permit, where there is no lock. */
	ties_lock();
	tie = self ? ties_find(self, &sem->bond) : NULL;
	err = give(sem, tie, n);
	/* Without the lock, another thread may have found it, to take a permit. */
	if (locked && tie && atomic_load(&tie->value) == 0)
		member_untie(tie);
	ties_unlock();
	if (!locked)
		return err;
	if (err == 0)
		sem->available += n;
	tine_lock_release(&sem->lock);
	return err;
}

/* ---- the calls --------------------------------------------------------------------- */

int tine_sem_wait(tine_sem *room, int64_t deadline)
{
	struct sem *sem = (struct sem *)room;

	if (!room || is_no_deadline(deadline))
		return -EINVAL;
	if (is_foreign(room))
		return -EXDEV;
	if (sem->mutex)
		return wait_for_mutex(sem, deadline);
	return sem->held ? wait_for_permit(sem, deadline)
			 : wait_for_signal(sem, deadline);
}

int tine_sem_post(tine_sem *room, unsigned n)
{
	struct sem *sem = (struct sem *)room;
	int err;

	if (!room)
		return -EINVAL;
	if (is_foreign(room))
		return -EXDEV;
	if (sem->mutex)
		return release_mutex(sem, n);
	err = sem->held ? post_permits(sem, n) : give(sem, NULL, n);
	if (err == 0)
		sleepers_wake(&sem->sleepers, n);
	return err;
}

int tine_sem_value(tine_sem *room)
{
	struct sem *sem = (struct sem *)room;
	uint64_t taker, held, total;

	if (!room)
		return -EINVAL;
	if (is_foreign(room))
		return -EXDEV;
	taker = atomic_load(&sem->taker);
	if (sem->mutex)
		return !taker || member_ended(taker);
	if (!sem->held)
		return (int)atomic_load(&sem->total);
	if (!atomic_load(&sem->bond))
		return (int)atomic_load(&sem->total);
	members_sweep();
	/* Read apart: others may have posted in between. */
	held = members_sum(&sem->bond);
	total = atomic_load(&sem->total);
	return held < total ? (int)(total - held) : 0;
}
