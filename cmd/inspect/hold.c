/* SPDX-License-Identifier: MIT */
/*
 * What members hold of semaphores and of locks to read: the values of their ties. Of a
 * mutex and of a lock to write the object says who has it; where somebody sleeps at one,
 * it begins so many bytes before the word.
 */
#include "inspect/parts.h"

#include "inspect/describe.h"
#include "inspect/process.h"
#include "sync/rwlock.h"
#include "sync/sem.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define MOST_PIECES 64		  /* of a member's ties */
#define OBJECT	    UINT64_C(128) /* bytes that an object has at most, behind its bond */

static void list_ties(struct look *look, pid_t pid, const struct ties *ties)
{
	for (int i = 0; i < TIES; i++) {
		const struct tie *tie = &ties->tie[i];
		member_bond *bond = atomic_load(&tie->bond);
		uint32_t count = atomic_load(&tie->value);
		uint64_t now;

		/* Of an object that is gone the bond's number has become another. */
		if (!bond || !count ||
		    !memory_read(look->memory, bond, &now, sizeof(now)) ||
		    now >> 24 != atomic_load(&tie->number))
			continue;
		json_array_append_new(look->holds, json_pack("{s:I, s:s, s:o, s:I}",
							     "pid", (json_int_t)pid,
							     "state", process_state(pid),
							     "object", address_of(bond),
							     "count", (json_int_t)count));
	}
}

void look_holds(struct look *look, unsigned index)
{
	struct member member;
	const struct ties *more;
	struct ties ties;
	pid_t pid;

	if (!look_read_member(look, index, &member) || atomic_load(&member.life) % 2 == 0)
		return;
	pid = atomic_load(&member.pid);
	list_ties(look, pid, &member.ties);
	more = atomic_load(&member.ties.more);
	for (int i = 0; more && i < MOST_PIECES; i++) {
		if (!memory_read(look->memory, more, &ties, sizeof(ties)))
			return;
		list_ties(look, pid, &ties);
		more = atomic_load(&ties.more);
	}
}

/* Whoever sleeps does so on a word that follows the bond. */
bool look_holders(const struct look *look, const char *word, json_t *wait)
{
	json_t *all = json_array(), *each;

	for (size_t i = 0; (each = json_array_get(look->holds, i)); i++) {
		uintptr_t bond = strtoull(
			json_string_value(json_object_get(each, "object")), NULL, 16);

		if ((uintptr_t)word - bond < OBJECT)
			json_array_append(all, json_object_get(each, "pid"));
	}
	if (json_array_size(all) == 0) {
		json_decref(all);
		return false;
	}
	json_object_set_new(wait, "holders", all);
	return true;
}

/* The process of a member's id; 0: it has ended, or this is none. */
static pid_t process_of_id(const struct look *look, uint64_t id)
{
	struct member member;

	return look_read_member(look, member_index(id), &member) &&
			       atomic_load(&member.life) == id / MEMBERS &&
			       id / MEMBERS % 2 == 1
		       ? atomic_load(&member.pid)
		       : 0;
}

/* What is no semaphore may have any byte there, which a bool must not be read as. */
static unsigned byte_of(const bool *flag)
{
	unsigned char byte;

	memcpy(&byte, flag, sizeof(byte));
	return byte;
}

/* Of all that a mutex does not use, nothing was ever written. */
static pid_t taker_of(const struct look *look, const char *at)
{
	static const tine_lock unused;
	struct sem sem;

	if (!memory_read(look->memory, at, &sem, sizeof(sem)) ||
	    byte_of(&sem.mutex) != 1 || byte_of(&sem.held) || sem.max || sem.total ||
	    sem.available || sem.told || atomic_load(&sem.bond) ||
	    memcmp(&sem.lock, &unused, sizeof(unused)) != 0)
		return 0;
	return process_of_id(look, atomic_load(&sem.taker));
}

static pid_t writer_of(const struct look *look, const char *at)
{
	struct rwlock rwlock;
	uint64_t writer;

	if (!memory_read(look->memory, at, &rwlock, sizeof(rwlock)) ||
	    atomic_load(&rwlock.broken) > 1 || atomic_load(&rwlock.turn) > 1)
		return 0;
	writer = atomic_load(&rwlock.writer);
	return writer & RWLOCK_HOLDS ? process_of_id(look, writer >> 1) : 0;
}

bool look_owner(const struct look *look, const char *word, json_t *wait)
{
	static const struct {
		pid_t (*owner)(const struct look *, const char *at);
		size_t word;
		const char *what;
	} kinds[] = {
		{ taker_of, offsetof(struct sem, sleepers), "a mutex" },
		{ writer_of, offsetof(struct rwlock, readers), "a lock to read" },
		{ writer_of, offsetof(struct rwlock, writers), "a lock to write" },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const char *at = word - kinds[i].word;
		pid_t pid = (uintptr_t)at % _Alignof(struct sem) == 0
				    ? kinds[i].owner(look, at)
				    : 0;

		if (!pid)
			continue;
		json_object_set_new(wait, "for", json_string(kinds[i].what));
		json_object_set_new(wait, "object", address_of(at));
		name_holder(wait, pid);
		return true;
	}
	return false;
}
