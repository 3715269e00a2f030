/* SPDX-License-Identifier: MIT */
/* What a look at a family has found so far. */
#ifndef TINE_INSPECT_FOUND_H
#define TINE_INSPECT_FOUND_H

#include "inspect/asleep.h"
#include "inspect/memory.h"

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

json_t *address_of(const void *);
void look_note(struct look *, const char *at, size_t size, int kind, json_t *);
/* That which the word is in; NULL: in none that was noted. */
const struct known *look_find(const struct look *, const char *word);

/* The process is one of the family. */
void look_add_process(struct look *, pid_t);
/* False: there is no record of that number. */
struct member;
bool look_read_member(const struct look *, unsigned index, struct member *);
/* The process of a member's number; 0: it has ended, or was never there. */
pid_t look_member(const struct look *, unsigned index);
/* Whether somebody sleeps on the word to learn of deaths. */
bool look_is_of_members(const struct look *, const char *word);

#endif
