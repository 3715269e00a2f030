/* SPDX-License-Identifier: MIT */
/*
 *	isprime.c	the command: numbers come in, answers go out
 *	hunt.c		the smallest divisor of a number, by one process or by many
 *	flag.c		how the one that finds it tells the others
 *
 * Each uses only those below it.
 */
#ifndef TINE_ISPRIME_H
#define TINE_ISPRIME_H

#include "command.h"

/* ONE: one process, and nobody to be told. */
enum way { NONE, FIND, EVENT, BYTE, STORE, REDIS, MIRROR, WAYS, ONE = WAYS };
extern const char *const ways[WAYS + 1];

/* ---- flag.c ------------------------------------------------------------------------ */

struct flag {
	enum way way;
	const char *path; /* or NULL */
	const char *url;  /* of a store, or NULL; then the way is MIRROR */
};

bool read_flag(const char *text, void *flag);

/*
 * Before there are workers, who inherit them: what the flag needs, or all ways if they
 * are compared. poll: a store that it names is asked at each look, and its way is changed
 * to that. DONE, or an exit code.
 */
int flags_make(struct flag *, bool compare, bool poll);
void flags_free(void);

void flag_raise(enum way);
void flag_lower(enum way);
bool flag_is_raised(enum way);

/* Why this way is left out of a comparison, or NULL. */
const char *flag_left_out(enum way);
/* So long each way's look takes, in seconds, by a process that is in nobody's way. */
void flags_time(double look[WAYS]);

/* ---- hunt.c ------------------------------------------------------------------------ */

struct result {
	uint64_t number, divisor; /* the smallest above 1, if it is not prime; else 0 */
	bool prime;
	double seconds;
};

/* The URL of the server whose hosts do the jobs, in the way FIND; or NULL. */
extern const char *hunt_engine;

/* Whether it is prime. Workers start when a number needs them. DONE, or not. */
int hunt(uint64_t number, enum way, unsigned workers, struct result *);
/* With one process, and then in all ways: WAYS + 1 results. */
int hunt_all_ways(uint64_t number, unsigned workers, struct result *);
void hunt_end(void);

#endif
