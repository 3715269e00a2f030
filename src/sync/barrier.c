/* SPDX-License-Identifier: MIT */
/*
 * A barrier that no death holds up.
 *
 * One word is the truth of it, and changes by compare-and-swap alone:
 *
 *	round (16 bits)		ends are counted
 *	ends (8)		how the last 8 rounds ended, the last one lowest: a bit is
 *				set when a death broke the round
 *	arrived (16)		parties that wait in this round
 *	deaths (24)		the bond's deaths (member.h) that this round knows of
 *
 * A round ends when the last party comes, or when the bond has had more deaths than the
 * word says: whoever sees that first ends the round as broken and begins the next one
 * with the new count. An arrival is a swap of a word whose deaths were just compared with
 * the bond's: who completes a round after a death was counted, compared before it was.
 * Whoever comes looks after the dead, before it completes the round or sleeps.
 *
 *	completion or death	one swap wins. A sleeper finds its round ended, and in the
 *				word, how; a death after that is the next round's
 *	time-out or either	a party leaves by a swap from the same round: it fails
 *				when the round has ended, and the party returns as it did
 *
 * That it is told of each death once is kept in each process's own tie to the bond, which
 * it makes before it arrives: the value is the deaths it knows of and one more, 0 in a
 * new tie, whose process is told of nothing that was before it came. A death that broke
 * the round it sleeps in, or came since it was here, is told, and noted there.
 *
 *	dies before it has a tie	it was no party
 *	dies with a tie			is buried by who comes last or looks again asleep
 *	dies before it wakes the others	they look again by themselves (sleepers.h)
 *
 * A process that ends in order has cut its ties. Had a thread of it been waiting, that
 * arrival stands.
 */
#include "base/deadline.h"
#include "base/family.h"
#include "base/interrupt.h"
#include "sync/member.h"
#include "trace/trace.h"
#include "wait/sleepers.h"

#define MOST_PARTIES 65535
#define ENDS	     8

#define ARRIVAL	     (BOND_DEATHS + 1)

struct barrier {
	member_bond bond;
	_Atomic uint64_t word;
	struct sleepers sleepers;
};

_Static_assert(sizeof(struct barrier) <= sizeof(tine_barrier),
	       "tine_barrier is too small");

/* ---- the word -------------------------------------------------------------------- */

static uint32_t deaths_of(uint64_t word)
{
	return word & BOND_DEATHS;
}

static unsigned arrived_of(uint64_t word)
{
	return word >> 24 & 0xffff;
}

static uint8_t ends_of(uint64_t word)
{
	return word >> 40;
}

static uint16_t round_of(uint64_t word)
{
	return word >> 48;
}

/* The word of the next round, in which nobody has arrived. */
static uint64_t after(uint64_t word, bool broken, uint32_t deaths)
{
	uint64_t round = (uint16_t)(round_of(word) + 1);
	uint64_t ends = (uint8_t)(ends_of(word) << 1 | broken);

	return round << 48 | ends << 40 | deaths;
}

/* Given that the round of the word mine has ended. */
static bool was_broken(uint64_t mine, uint64_t now)
{
	uint16_t since = round_of(now) - round_of(mine);

	if (deaths_of(now) == deaths_of(mine))
		return false;
	/* So long ago that it is forgotten, when others went on without it. */
	if (since > ENDS)
		return true;
	return ends_of(now) >> (since - 1) & 1;
}

/* ---- deaths ---------------------------------------------------------------------- */

/* Breaks the round, if there were deaths it does not know of. */
static void break_round(struct barrier *barrier)
{
	for (;;) {
		/* In this order, so that the bond's deaths are never the older. */
		uint64_t word = atomic_load(&barrier->word);
		uint32_t deaths = bond_deaths(&barrier->bond);

		if (deaths_of(word) == deaths)
			return;
		if (atomic_compare_exchange_strong(&barrier->word, &word,
						   after(word, true, deaths))) {
			sleepers_wake(&barrier->sleepers, UINT_MAX);
			return;
		}
	}
}

/* Notes that the process knows of all deaths until now; whether it was to be told. */
static bool hears(struct barrier *barrier, struct tie *tie)
{
	uint32_t known = atomic_load(&tie->value);
	uint32_t deaths = bond_deaths(&barrier->bond);

	return known != deaths + 1 &&
	       atomic_compare_exchange_strong(&tie->value, &known, deaths + 1) &&
	       known != 0;
}

/* ---- waiting --------------------------------------------------------------------- */

/* 0: *mine is the word of the round it waits in; 1: it was the last; -EOWNERDEAD. */
static int arrive(struct barrier *barrier, struct tie *tie, unsigned parties,
		  uint64_t *mine)
{
	bool look = true;

	for (;;) {
		uint32_t known = atomic_load(&tie->value);
		uint64_t word = atomic_load(&barrier->word);
		uint32_t deaths = bond_deaths(&barrier->bond);
		bool last = arrived_of(word) + 1 >= parties;

		if (known != deaths + 1) {
			if (!hears(barrier, tie))
				continue;
			break_round(barrier);
			return -EOWNERDEAD;
		}
		if (deaths_of(word) != deaths) {
			break_round(barrier);
		} else if (last && look) {
			members_sweep();
			look = false;
		} else if (atomic_compare_exchange_strong(
				   &barrier->word, &word,
				   last ? after(word, false, deaths) : word + ARRIVAL)) {
			*mine = word;
			return last;
		}
	}
}

static int sleep_through(struct barrier *barrier, struct tie *tie, uint64_t mine,
			 int64_t deadline)
{
	struct nap nap = { .most = FIRST_NAP };
	bool look = true, cut = false;

	for (;;) {
		uint32_t turn = sleepers_join(&barrier->sleepers);
		uint64_t word = atomic_load(&barrier->word);

		if (round_of(word) != round_of(mine)) {
			if (!was_broken(mine, word))
				return 0;
			hears(barrier, tie);
			return -EOWNERDEAD;
		}
		if (bond_deaths(&barrier->bond) != deaths_of(mine)) {
			break_round(barrier);
		} else if (look) {
			members_sweep();
			look = false;
		} else if ((cut |= interrupt_take()) || deadline <= tine_now()) {
			if (atomic_compare_exchange_strong(&barrier->word, &word,
							   word - ARRIVAL))
				return cut ? -EINTR : -ETIMEDOUT;
		} else {
			look = nap_logged(&barrier->sleepers, turn, &nap, deadline);
		}
	}
}

int tine_barrier_wait(tine_barrier *room, unsigned parties, int64_t deadline)
{
	struct barrier *barrier = (struct barrier *)room;
	struct member *self;
	struct tie *tie;
	uint64_t mine;
	int last, err;

	if (!room || parties == 0 || parties > MOST_PARTIES || is_no_deadline(deadline))
		return -EINVAL;
	if (is_foreign(room))
		return -EXDEV;
	err = member_join(&self, deadline);
	if (err)
		return err;
	err = member_tie_by(self, &barrier->bond, &tie, deadline);
	if (err)
		return err;
	last = arrive(barrier, tie, parties, &mine);
	if (last == 0)
		return sleep_through(barrier, tie, mine, deadline);
	if (last == 1)
		sleepers_wake(&barrier->sleepers, UINT_MAX);
	return last;
}
