/* SPDX-License-Identifier: MIT */
/*
 * The parts of a look. An object is found by what stands at the beginning of a block, and
 * believed if all its numbers and addresses can be true.
 */
#ifndef TINE_INSPECT_PARTS_H
#define TINE_INSPECT_PARTS_H

#include "inspect/asleep.h"
#include "inspect/memory.h"
#include "inspect/process.h"

#include <jansson.h>

/* An object, so that a word that somebody sleeps on can be told from its address. */
struct known {
	const char *at;
	size_t size;
	enum { A_QUEUE, A_POOL, A_LOCK } kind;
	json_t *object; /* as it is in the report */
};

struct look {
	const struct memory *memory;
	json_t *processes, *pools, *queues, *locks, *holds, *waits;
	struct known *known;
	size_t n, room;
	const void *members; /* their table; NULL: there is none */
	struct asleep asleep;
	bool untold; /* the system does not tell what a process waits for */
};

void look_note(struct look *, const char *at, size_t size, int kind, json_t *);
/* The process is one of the family. */
void look_add_process(struct look *, pid_t);
json_t *address_of(const void *);

/* Whether the block is one; then it is in the report. */
bool look_queue(struct look *, const char *at, size_t size);
bool look_pool(struct look *, const char *at, size_t size);
/* What the word at that offset is for; whether it is a lock. */
const char *queue_word(size_t offset, bool *lock);
const char *pool_word(size_t offset, bool *lock);
/* The locks in so many bytes that somebody has; of what they are. */
void look_locks(struct look *, const char *at, size_t size, const char *of);
/* The process of a member's number; 0: it has ended, or was never there. */
pid_t look_member(const struct look *, unsigned index);
/* False: there is no record of that number. */
struct member;
bool look_read_member(const struct look *, unsigned index, struct member *);
/* What the member holds. */
void look_holds(struct look *, unsigned index);
/* Who holds something of the object that the word is in; false: nobody is known to. */
bool look_holders(const struct look *, const char *word, json_t *wait);
/* The same of a mutex, or of a lock that a writer has: who, of what, and where it is. */
bool look_owner(const struct look *, const char *word, json_t *wait);
/* What somebody waits for who sleeps on a word. */
void look_wait(struct look *, pid_t, const struct sleep *);

#endif
