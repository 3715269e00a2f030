/* SPDX-License-Identifier: MIT */
/*
 * A lock that many share to read and one has alone to write, and that no death holds up.
 *
 *	tie's value	in each process's own tie to the bond (member.h): its read holds
 *	writer		0; the id of the process that claims it, shifted by one; with
 *			RWLOCK_HOLDS, that it has it
 *	broken		a process ended with that, and no writer was told yet
 *	turn		it is the readers', until one has come in
 *	told		the bond's deaths, as the last writer was told of them
 *
 *	read	value + 1; if the writer's word is not 0, value - 1 again, and wait
 *	write	writer: compare-and-swap from 0 to the claim; wait until the sum of all
 *		values is 0; writer = claim and RWLOCK_HOLDS
 *	release	value - 1; or writer = 0
 *
 * Each of the two first says that it comes and only then looks for the other, so that one
 * of them sees the other. A claim lets no more readers in, so that a writer gets its
 * turn. When a writer releases it and readers sleep, the turn is theirs before the word
 * is 0: another writer claims it only when one has come in, or after a nap.
 *
 *	a reader dies with a hold	its ties count no more once it is buried, and the
 *					next writer is told: the bond has more deaths
 *	dies between + 1 and - 1	the same
 *	a writer dies with a claim	who waits looks at it, and puts 0 in its place
 *	dies with RWLOCK_HOLDS		the same, but first says broken: each reader is
 *					told, until a writer was, who clears it
 *	dies where it clears that	it holds the lock: broken again
 *	who ends a dead writer dies	the next does it; a writer may be told twice
 *	dies before it wakes others	sleepers look again by themselves (sleepers.h)
 *	dies when the turn is theirs	a nap of the next writer
 *	is stopped with a hold, or a	the others wait, until their deadlines
 *	claim
 *
 * A process that ends in order has cut its ties: its read holds are gone, and not told.
 * A writer that holds it counts as dead.
 */
#include "sync/rwlock.h"
#include "base/deadline.h"
#include "base/family.h"
#include "base/interrupt.h"
#include "sync/member.h"
#include "trace/trace.h"

_Static_assert(sizeof(struct rwlock) <= sizeof(tine_rwlock), "tine_rwlock is too small");

/* This thread's last tie, which it mostly needs again. */
static _Thread_local struct {
	struct rwlock *rwlock;
	struct tie *tie;
	uint64_t member, number;
} last __attribute__((tls_model("initial-exec")));

static bool is_last(struct rwlock *rwlock, uint64_t id)
{
	return last.rwlock == rwlock && last.member == id &&
	       atomic_load(&rwlock->bond) >> 24 == last.number &&
	       atomic_load(&last.tie->bond) == &rwlock->bond &&
	       atomic_load(&last.tie->number) == last.number;
}

static int find_own_tie(struct rwlock *rwlock, struct tie **tie, int64_t deadline)
{
	struct member *self;
	int err = member_join(&self, deadline);

	if (err)
		return err;
	if (is_last(rwlock, member_id())) {
		*tie = last.tie;
		return 0;
	}
	err = member_tie_by(self, &rwlock->bond, tie, deadline);
	if (err)
		return err;
	last.rwlock = rwlock;
	last.tie = *tie;
	last.member = member_id();
	last.number = bond_number(&rwlock->bond);
	return 0;
}

/* ---- the writer's word ----------------------------------------------------------- */

static void wake_sides(struct rwlock *rwlock)
{
	sleepers_wake(&rwlock->readers, UINT_MAX);
	sleepers_wake(&rwlock->writers, 1);
}

/* From its own claim or hold. */
static void leave_word(struct rwlock *rwlock)
{
	if (sleepers_any(&rwlock->readers))
		atomic_store(&rwlock->turn, 1);
	atomic_store(&rwlock->writer, 0);
	wake_sides(rwlock);
}

/* True: the word has changed, as whoever wrote it has ended. */
static bool end_dead_writer(struct rwlock *rwlock, uint64_t writer)
{
	if (!writer || !member_ended(writer >> 1))
		return false;
	/* It may have released it before it ended. */
	if (atomic_load(&rwlock->writer) != writer)
		return true;
	if (writer & RWLOCK_HOLDS)
		atomic_store(&rwlock->broken, 1);
	if (atomic_compare_exchange_strong(&rwlock->writer, &writer, 0))
		wake_sides(rwlock);
	return true;
}

/* ---- reading --------------------------------------------------------------------- */

static void stop_reading(struct rwlock *rwlock, struct tie *tie)
{
	atomic_fetch_sub(&tie->value, 1);
	if (atomic_load(&rwlock->writer))
		sleepers_wake(&rwlock->leaving, 1);
}

/* -ETIMEDOUT: there is a writer. */
static int try_read(struct rwlock *rwlock, struct tie *tie)
{
	uint64_t writer;

	do {
		writer = atomic_load(&rwlock->writer);
		if (writer)
			continue;
		atomic_fetch_add(&tie->value, 1);
		if (atomic_load(&rwlock->writer) == 0) {
			if (atomic_load(&rwlock->turn) &&
			    atomic_exchange(&rwlock->turn, 0))
				sleepers_wake(&rwlock->writers, 1);
			return atomic_load(&rwlock->broken) ? -EOWNERDEAD : 0;
		}
		stop_reading(rwlock, tie);
	} while (!writer || end_dead_writer(rwlock, writer));
	return -ETIMEDOUT;
}

int tine_rwlock_read(tine_rwlock *room, int64_t deadline)
{
	struct rwlock *rwlock = (struct rwlock *)room;
	struct nap nap = { .most = FIRST_NAP };
	struct tie *tie;
	int err;

	if (!room || is_no_deadline(deadline))
		return -EINVAL;
	if (is_foreign(room))
		return -EXDEV;
	err = find_own_tie(rwlock, &tie, deadline);
	if (err)
		return err;
	while ((err = try_read(rwlock, tie)) == -ETIMEDOUT && deadline > tine_now()) {
		uint32_t turn;

		if (interrupt_take())
			return -EINTR;
		turn = sleepers_join(&rwlock->readers);
		err = try_read(rwlock, tie);
		if (err != -ETIMEDOUT)
			break;
		nap_logged(&rwlock->readers, turn, &nap, deadline);
	}
	return err;
}

/* ---- writing --------------------------------------------------------------------- */

/* -ETIMEDOUT: another has it, or it is the readers' turn. */
static int try_claim(struct rwlock *rwlock, uint64_t claim, bool late)
{
	uint64_t writer = 0;

	if (late)
		atomic_store(&rwlock->turn, 0);
	if (atomic_load(&rwlock->turn))
		return -ETIMEDOUT;
	while (!atomic_compare_exchange_strong(&rwlock->writer, &writer, claim)) {
		if (!end_dead_writer(rwlock, writer))
			return -ETIMEDOUT;
		writer = 0;
	}
	return 0;
}

static int await_claim(struct rwlock *rwlock, uint64_t claim, int64_t deadline)
{
	struct nap nap = { .most = FIRST_NAP };
	bool late = deadline <= TINE_NOWAIT;
	int err;

	while (try_claim(rwlock, claim, late) != 0) {
		uint32_t turn;

		if ((err = interrupt_or_late(deadline)) != 0)
			return err;
		turn = sleepers_join(&rwlock->writers);
		if (try_claim(rwlock, claim, late) == 0)
			break;
		late = nap_logged(&rwlock->writers, turn, &nap, deadline);
	}
	return 0;
}

static int await_readers(struct rwlock *rwlock, int64_t deadline)
{
	struct nap nap = { .most = FIRST_NAP };
	bool look = true;
	int err;

	while (members_sum(&rwlock->bond) > 0) {
		uint32_t turn = sleepers_join(&rwlock->leaving);

		if (members_sum(&rwlock->bond) == 0)
			break;
		if (look) {
			/* Some may have died. */
			members_sweep();
			look = false;
			continue;
		}
		if ((err = interrupt_or_late(deadline)) != 0)
			return err;
		look = nap_logged(&rwlock->leaving, turn, &nap, deadline);
	}
	return 0;
}

int tine_rwlock_write(tine_rwlock *room, int64_t deadline)
{
	struct rwlock *rwlock = (struct rwlock *)room;
	struct member *self;
	uint64_t claim;
	uint32_t deaths;
	int err;

	if (!room || is_no_deadline(deadline))
		return -EINVAL;
	if (is_foreign(room))
		return -EXDEV;
	err = member_join(&self, deadline);
	if (err)
		return err;
	if (!bond_number(&rwlock->bond))
		return -ENOMEM;
	claim = member_id() << 1;
	err = await_claim(rwlock, claim, deadline);
	if (err)
		return err;
	err = await_readers(rwlock, deadline);
	if (err) {
		leave_word(rwlock);
		return err;
	}
	atomic_store(&rwlock->writer, claim | RWLOCK_HOLDS);
	deaths = bond_deaths(&rwlock->bond);
	if (atomic_load(&rwlock->broken) || atomic_load(&rwlock->told) != deaths)
		err = -EOWNERDEAD;
	atomic_store(&rwlock->told, deaths);
	atomic_store(&rwlock->broken, 0);
	return err;
}

/* ---- release --------------------------------------------------------------------- */

/* Of several threads that release at once, each has a hold of its own, or none. */
static bool take_hold_back(struct tie *tie)
{
	uint32_t held = atomic_load(&tie->value);

	while (held > 0)
		if (atomic_compare_exchange_weak(&tie->value, &held, held - 1))
			return true;
	return false;
}

int tine_rwlock_release(tine_rwlock *room)
{
	struct rwlock *rwlock = (struct rwlock *)room;
	struct tie *tie;
	uint64_t id;

	if (!room)
		return -EINVAL;
	if (is_foreign(room))
		return -EXDEV;
	/* Relaxed: this process's own. */
	id = atomic_load_explicit(&member_own_id, memory_order_relaxed);
	if (!id)
		return -EPERM;
	if (atomic_load(&rwlock->writer) == (id << 1 | RWLOCK_HOLDS)) {
		leave_word(rwlock);
		return 0;
	}
	if (!is_last(rwlock, id)) {
		ties_lock();
		tie = ties_find(member_self(), &rwlock->bond);
		ties_unlock();
	} else {
		tie = last.tie;
	}
	if (!tie || !take_hold_back(tie))
		return -EPERM;
	if (atomic_load(&rwlock->writer))
		sleepers_wake(&rwlock->leaving, 1);
	return 0;
}
