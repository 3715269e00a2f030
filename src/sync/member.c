/* SPDX-License-Identifier: MIT */
/* The protocol is at the head of member.h. */
#include "sync/member.h"

#include "base/atfork.h"
#include "base/futex.h"
#include "base/libc.h"
#include "base/proc.h"
#include "memory/family.h"
#include "memory/heap.h"
#include "memory/owned.h"
#include "wait/lock.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#define GRACE	    INT64_C(1000000) /* for other threads, past a deadline */
#define ADOPT	    INT64_C(10000000)
#define RELOOK	    INT64_C(100000000) /* at a process whose first thread has ended */
#define APART	    INT64_C(5000000)   /* looks at /proc, on the average */

#define SENDER_BITS 40 /* of an id, below the number of a send */
#define SENDS	    ((UINT64_C(1) << 20) - 1)
#define IS_TOKEN    (UINT64_C(1) << 60) /* no bond has such a number */

static pthread_mutex_t entering = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t tying = PTHREAD_MUTEX_INITIALIZER;
static struct member *_Atomic self;
static struct {
	struct tie *tie;
	const member_bond *bond;
	uint64_t number;
} recent; /* tie that was asked for; with tying */
_Atomic uint64_t member_own_id;

/* ---- the table --------------------------------------------------------------------- */

/* Sets a pointer to new zeroed memory, once; who comes second takes the first's. */
static int fill_once(_Atomic(void *) *pointer, size_t size, int64_t deadline)
{
	void *seen = atomic_load(pointer), *mem;
	int err;

	if (seen)
		return 0;
	err = shared_alloc(&mem, size, deadline);
	if (!err && !atomic_compare_exchange_strong(pointer, &seen, mem))
		tine_shared_free(mem);
	return err;
}

static int make_table(int64_t deadline)
{
	_Atomic(void *) *root = shared_root();

	return root ? fill_once(root, sizeof(struct members), deadline) : -ENOMEM;
}

/* NULL: nobody has made it yet. */
static struct members *table(void)
{
	_Atomic(void *) *root = shared_root();

	return root ? atomic_load(root) : NULL;
}

static struct member *record(struct members *members, unsigned index)
{
	struct member *group = atomic_load(&members->group[index / MEMBER_GROUP]);

	return group ? &group[index % MEMBER_GROUP] : NULL;
}

/* ---- burial ------------------------------------------------------------------------ */

static void tell_tie(const struct tie *tie)
{
	member_bond *bond = atomic_load(&tie->bond);
	uint64_t number = atomic_load(&tie->number), seen;

	/* An object elsewhere may be in the memory of that process alone. */
	if (!bond || !number || atomic_load(&tie->value) == 0 ||
	    !shared_has(bond, sizeof(*bond)))
		return;
	seen = atomic_load(bond);
	while (seen >> 24 == number &&
	       !atomic_compare_exchange_weak(
		       bond, &seen, (seen & ~BOND_DEATHS) | ((seen + 1) & BOND_DEATHS)))
		;
}

static void cut_ties(struct member *member)
{
	for (struct ties *ties = &member->ties; ties; ties = atomic_load(&ties->more))
		for (int i = 0; i < TIES; i++)
			atomic_store(&ties->tie[i].bond, NULL);
}

/* With its lock held. */
static void bury_member(struct member *member)
{
	for (struct ties *ties = &member->ties; ties; ties = atomic_load(&ties->more))
		for (int i = 0; i < TIES; i++)
			tell_tie(&ties->tie[i]);
	owned_note_death();
	atomic_fetch_add(&member->life, 1);
	/* The next to take the record cuts them again, if this is not reached. */
	cut_ties(member);
	atomic_fetch_add(&table()->buried, 1);
	futex_wake(&table()->buried, INT_MAX);
}

static bool in_use(const struct member *member)
{
	return atomic_load(&member->life) % 2 != 0;
}

/*
 * By what /proc says; where it says too little, it is better not to bury the living. This
 * process may have another record, of the program that it was before.
 */
static bool lives(const struct member *member, bool *ends)
{
	pid_t pid = atomic_load(&member->pid);
	uint64_t started = process_look(pid, ends), known = atomic_load(&member->started);

	if (pid == getpid() && member != atomic_load(&self))
		return false;
	return started && (started == STARTED_SOMETIME || known == STARTED_SOMETIME ||
			   started == known);
}

/*
 * Takes the lock of a record nobody lives in; buries who did. False: somebody lives
 * there, or is about to.
 */
static bool take_vacant(struct member *member, bool *buried)
{
	int err = tine_lock_acquire(&member->alive, TINE_NOWAIT);
	bool ends;

	if (err && err != -EOWNERDEAD)
		return false;
	if (!in_use(member))
		return true;
	if (lives(member, &ends)) {
		/* Its lock is free before it is gone: who looks soon again sees that. */
		if (!ends)
			atomic_store(&member->looked, tine_now());
		tine_lock_release(&member->alive);
		return false;
	}
	bury_member(member);
	*buried = true;
	return true;
}

static bool look_at_member(struct member *member)
{
	bool buried = false;

	if (take_vacant(member, &buried))
		tine_lock_release(&member->alive);
	return buried;
}

/*
 * Where the first thread has ended and the process lives, as /proc says: to ask that
 * takes as long as a look at a hundred others. So it is asked of each in turn, and all
 * who look together ask no more than once in APART, or as often as they might have in
 * RELOOK.
 */
static unsigned look_at_headless(struct members *members, unsigned high)
{
	int64_t now = tine_now(), asked = atomic_load(&members->asked);
	unsigned n = 0;

	if (asked < now - RELOOK)
		asked = now - RELOOK;
	for (unsigned i = 0; i < high && asked + APART <= now; i++) {
		struct member *member = record(
			members, atomic_fetch_add(&members->next, 1) % high);
		int64_t looked = atomic_load(&member->looked);

		if (!in_use(member) || !looked || now < looked + RELOOK)
			continue;
		asked += APART;
		n += look_at_member(member);
	}
	atomic_store(&members->asked, asked);
	return n;
}

/* This process's first thread has ended, and others had to see it: this one holds it. */
static void hold_anew(struct member *member)
{
	int err = tine_lock_acquire(&member->alive, TINE_NOWAIT);

	if (err == 0 || err == -EOWNERDEAD)
		atomic_store(&member->looked, 0);
}

bool member_ended(uint64_t id)
{
	struct members *members = table();
	struct member *member = members ? record(members, member_index(id)) : NULL;
	int64_t looked = member ? atomic_load(&member->looked) : 0;

	if (member && member != atomic_load(&self) && !member_gone(id) &&
	    (!looked || tine_now() >= looked + RELOOK))
		look_at_member(member);
	return member_gone(id);
}

static bool owner_gone(uint64_t owner)
{
	return member_gone(owner & ((UINT64_C(1) << SENDER_BITS) - 1));
}

/* The program that joins was a member before, with what it held then. */
static void bury_former(void)
{
	struct members *members = table();
	unsigned high = members ? atomic_load(&members->high) : 0;

	for (unsigned i = 0; i < high; i++) {
		struct member *member = record(members, i);

		if (in_use(member) && atomic_load(&member->pid) == getpid() &&
		    member != atomic_load(&self))
			look_at_member(member);
	}
}

unsigned members_sweep(void)
{
	struct members *members = table();
	unsigned n = 0, high = members ? atomic_load(&members->high) : 0;
	bool headless = false;

	for (unsigned i = 0; i < high; i++) {
		struct member *member = record(members, i);
		bool looked;

		if (!in_use(member))
			continue;
		looked = atomic_load(&member->looked) != 0;
		if (member != atomic_load(&self) && looked)
			headless = true;
		else if (member != atomic_load(&self))
			n += look_at_member(member);
		else if (looked)
			hold_anew(member);
	}
	if (headless)
		n += look_at_headless(members, high);
	owned_bury(owner_gone);
	return n;
}

/* ---- owners of blocks -------------------------------------------------------------- */

uint64_t member_sender(uint64_t id)
{
	static _Atomic uint64_t sends;

	if (id >> SENDER_BITS)
		return 0;
	return id | (atomic_fetch_add(&sends, 1) % SENDS + 1) << SENDER_BITS;
}

uint64_t member_token(void)
{
	struct members *members = table();

	if (!members)
		return 0;
	return OWNED_BY_OBJECT | IS_TOKEN | (atomic_fetch_add(&members->tokens, 1) + 1);
}

/* ------------------------------------------------------------------------------------ */

static void sweep_before_growth(void)
{
	members_sweep();
}

/* ---- sleeping until a death -------------------------------------------------------- */

uint32_t members_buried(void)
{
	struct members *members = table();

	return members ? atomic_load(&members->buried) : 0;
}

static void watch_word(struct futex_waitv *to, _Atomic uint32_t *word, uint32_t value)
{
	*to = (struct futex_waitv){ .uaddr = (uintptr_t)word,
				    .val = value,
				    .flags = FUTEX_32 };
}

/* False: nobody holds it that the kernel could watch. */
static bool watch_member(struct futex_waitv *to, struct member *member)
{
	_Atomic uint32_t *word = lock_word(&member->alive);
	uint32_t seen = atomic_load(word);

	/* As any thread that waits for the lock. It stays: nobody ever lets it go. */
	do {
		if (!(seen & FUTEX_TID_MASK))
			return false;
	} while (!(seen & FUTEX_WAITERS) &&
		 !atomic_compare_exchange_weak(word, &seen, seen | FUTEX_WAITERS));
	watch_word(to, word, seen | FUTEX_WAITERS);
	return true;
}

unsigned members_watch(struct futex_waitv words[static WATCHED], uint32_t buried)
{
	struct members *members = table();
	unsigned n = 0, high = members ? atomic_load(&members->high) : 0;

	if (!members)
		return 0;
	watch_word(&words[n++], &members->buried, buried);
	for (unsigned i = 0; i < high; i++) {
		struct member *member = record(members, i);

		if (!in_use(member) || member == atomic_load(&self))
			continue;
		if (n == WATCHED || !watch_member(&words[n], member))
			return 0;
		n++;
	}
	return n;
}

/* ---- oneself ----------------------------------------------------------------------- */

/* Whatever a thread of the parent was at: the child is no member yet. */
static void forget_self(void)
{
	pthread_mutex_init(&entering, NULL);
	pthread_mutex_init(&tying, NULL);
	atomic_store(&self, NULL);
	atomic_store(&member_own_id, 0);
	recent.number = 0;
}

static void raise_high(struct members *members, uint32_t to)
{
	uint32_t seen = atomic_load(&members->high);

	while (seen < to && !atomic_compare_exchange_weak(&members->high, &seen, to))
		;
}

/* With its lock held. */
static int enter_table(pid_t pid, struct member **entered, uint64_t *id, int64_t deadline)
{
	uint64_t started = process_started(pid);
	struct members *members;
	int err = make_table(deadline);

	if (err)
		return err;
	members = table();
	for (unsigned i = 0; i < MEMBERS; i++) {
		struct member *member;
		bool buried = false;

		err = fill_once((_Atomic(void *) *)&members->group[i / MEMBER_GROUP],
				MEMBER_GROUP * sizeof(*member), deadline);
		if (err)
			return err;
		member = record(members, i);
		if (!take_vacant(member, &buried))
			continue;
		cut_ties(member);
		raise_high(members, i + 1);
		atomic_store(&member->pid, pid);
		/* A child that has ended already was not started at such a time. */
		atomic_store(&member->started, started ? started : STARTED_NEVER);
		atomic_store(&member->looked, 0);
		atomic_fetch_add(&member->life, 1);
		*entered = member;
		*id = atomic_load(&member->life) * MEMBERS + i;
		return 0;
	}
	return -ENOMEM;
}

int member_enter(pid_t child, uint64_t *id, int64_t deadline)
{
	struct member *member;
	int err = enter_table(child, &member, id, deadline);

	if (!err)
		tine_lock_release(&member->alive);
	return err;
}

void member_adopt(uint64_t id)
{
	struct member *member = record(table(), member_index(id));

	/*
	 * Bound: ADOPT. Whoever looks at the record holds it for a moment; beside one
	 * that is stopped there, /proc goes on to say that this process lives.
	 */
	(void)lock_steadily(&member->alive, tine_now() + ADOPT);
	atomic_store(&member_own_id, id);
	atomic_store(&self, member);
}

int member_join(struct member **out, int64_t deadline)
{
	struct member *member = atomic_load_explicit(&self, memory_order_acquire);
	int64_t soonest;
	struct timespec until;
	uint64_t id;
	int err = 0;

	*out = member;
	if (member)
		return 0;
	soonest = tine_now() + GRACE;
	if (deadline < soonest)
		deadline = soonest;
	until = timespec_of(deadline);
	/* Bound: the deadline. Another thread may wait in there, to a later one. */
	if (pthread_mutex_clocklock(&entering, CLOCK_MONOTONIC, &until) != 0)
		return -ETIMEDOUT;
	member = atomic_load(&self);
	if (!member)
		err = enter_table(getpid(), &member, &id, deadline);
	if (!err && member != atomic_load(&self)) {
		atomic_store(&member_own_id, id);
		atomic_store(&self, member);
	}
	pthread_mutex_unlock(&entering);
	*out = member;
	return err;
}

struct member *member_self(void)
{
	struct member *member;

	return member_join(&member, shared_patience()) == 0 ? member : NULL;
}

/*
 * Also when the program ends by exit(3). Its other threads may be at work until it has.
 */
__attribute__((destructor)) void member_leave(void)
{
	struct member *member = atomic_load(&self);

	if (member)
		cut_ties(member);
}

FILL_ATFORK static void fill_member(void)
{
	atfork_fill(ATFORK_MEMBER,
		    &(struct atfork){ .in_child = forget_self, .leave = member_leave });
	heap_on_growth(sweep_before_growth);
	family_on_join(bury_former);
}

/* ---- ids and ties ------------------------------------------------------------------ */

bool member_gone(uint64_t id)
{
	struct members *members = table();
	struct member *member = members ? record(members, member_index(id)) : NULL;

	return !member || atomic_load(&member->life) != id / MEMBERS;
}

uint64_t bond_number(member_bond *bond)
{
	uint64_t seen = atomic_load(bond);

	if (seen)
		return seen >> 24;
	if (make_table(SHARED_PATIENTLY) != 0)
		return 0;
	atomic_compare_exchange_strong(bond, &seen,
				       (atomic_fetch_add(&table()->bonds, 1) + 1) << 24);
	return atomic_load(bond) >> 24;
}

uint32_t bond_deaths(member_bond *bond)
{
	return atomic_load(bond) & BOND_DEATHS;
}

/* Whether the object is no more: its memory is free, or somebody else's by now. */
static bool is_stale(const struct tie *tie)
{
	member_bond *bond = atomic_load(&tie->bond);

	return bond && shared_has(bond, sizeof(*bond)) &&
	       (atomic_load(bond) >> 24 != atomic_load(&tie->number) ||
		!shared_in_use(bond));
}

static struct tie *find_tie(struct member *member, member_bond *bond, uint64_t number,
			    struct tie **vacant)
{
	for (struct ties *ties = &member->ties; ties; ties = atomic_load(&ties->more)) {
		for (int i = 0; i < TIES; i++) {
			struct tie *tie = &ties->tie[i];
			member_bond *to = atomic_load(&tie->bond);

			if (to == bond && atomic_load(&tie->number) == number)
				return tie;
			if (!*vacant && !to)
				*vacant = tie;
		}
	}
	return NULL;
}

/*
 * As find_tie(). Mostly it is the one that was asked for last. Whatever was made of its
 * place since, or for its bond, would have been asked for after this: it is as it was, or
 * was cut.
 */
static struct tie *look_for_tie(struct member *member, member_bond *bond, uint64_t number,
				struct tie **vacant)
{
	if (recent.bond != bond || recent.number != number)
		return find_tie(member, bond, number, vacant);
	if (atomic_load(&recent.tie->bond))
		return recent.tie;
	*vacant = recent.tie;
	return NULL;
}

/* Where a process is stopped in the heap, each look may take a moment. */
static struct tie *find_stale(struct member *member)
{
	int64_t until = tine_now() + GRACE;

	for (struct ties *ties = &member->ties; ties; ties = atomic_load(&ties->more))
		for (int i = 0; i < TIES && tine_now() <= until; i++)
			if (is_stale(&ties->tie[i]))
				return &ties->tie[i];
	return NULL;
}

void ties_lock(void)
{
	/* Bound: this process's own threads, which hold it for no call that blocks. */
	pthread_mutex_lock(&tying);
}

void ties_unlock(void)
{
	pthread_mutex_unlock(&tying);
}

struct tie *ties_find(struct member *member, const member_bond *bond)
{
	uint64_t number = atomic_load(bond) >> 24;
	struct tie *vacant = NULL;

	return number ? look_for_tie(member, (member_bond *)bond, number, &vacant) : NULL;
}

struct tie *member_tie(struct member *member, member_bond *bond)
{
	uint64_t number = bond_number(bond);
	struct tie *vacant = NULL, *tie;

	ties_lock();
	tie = number ? look_for_tie(member, bond, number, &vacant) : NULL;
	if (number && !tie && !vacant)
		vacant = find_stale(member);
	if (!tie && vacant) {
		atomic_store(&vacant->bond, NULL);
		atomic_store(&vacant->value, 0);
		atomic_store(&vacant->number, number);
		atomic_store(&vacant->bond, bond);
		tie = vacant;
	}
	if (tie) {
		recent.tie = tie;
		recent.bond = bond;
		recent.number = number;
	}
	ties_unlock();
	return tie;
}

static int hang_on_ties(struct member *member, int64_t deadline)
{
	struct ties *last = &member->ties, *more;

	while ((more = atomic_load(&last->more)))
		last = more;
	return fill_once((_Atomic(void *) *)&last->more, sizeof(*last), deadline);
}

int member_tie_by(struct member *member, member_bond *bond, struct tie **out,
		  int64_t deadline)
{
	int64_t soonest = tine_now() + GRACE;
	int err = 0;

	if (deadline < soonest)
		deadline = soonest;
	if (!bond_number(bond))
		return -ENOMEM;
	while (!err && !(*out = member_tie(member, bond)))
		err = hang_on_ties(member, deadline);
	return err;
}

void member_untie(struct tie *tie)
{
	atomic_store(&tie->bond, NULL);
}

/* 0 when it is another's. */
static uint32_t tie_value(const struct tie *tie, const member_bond *bond, uint64_t number)
{
	uint32_t value;

	if (atomic_load(&tie->bond) != bond || atomic_load(&tie->number) != number)
		return 0;
	value = atomic_load(&tie->value);
	/* It may have changed hands in between: these are written around the value. */
	return atomic_load(&tie->bond) == bond && atomic_load(&tie->number) == number
		       ? value
		       : 0;
}

uint64_t members_sum(member_bond *bond)
{
	struct members *members = table();
	uint64_t number = bond_number(bond), sum = 0;
	unsigned high = members ? atomic_load(&members->high) : 0;

	for (unsigned i = 0; i < high; i++) {
		const struct member *member = record(members, i);
		const struct ties *ties = in_use(member) ? &member->ties : NULL;

		for (; ties; ties = atomic_load(&ties->more))
			for (int at = 0; at < TIES; at++)
				sum += tie_value(&ties->tie[at], bond, number);
	}
	return sum;
}
