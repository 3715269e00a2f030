/* SPDX-License-Identifier: MIT */
#ifndef TINE_KEEPER_H
#define TINE_KEEPER_H

#include "base/export.h"
#include "process/passing.h"

/* A variable, the first of each program's, by which what it starts is known. */
#define SPAWN_MARK	"TINE_SPAWNED"
#define SPAWN_MARK_SIZE 48

struct keeper;

/* What is said to a keeper. */
struct keeper_request {
	enum { KEEPER_SPAWN, KEEPER_KILL, KEEPER_LOOK, KEEPER_END, KEEPER_TIE } kind;
	int signal;
	pid_t pid;	     /* of the program */
	uint32_t argc, envc; /* strings that follow: arguments, then variables */
	uint64_t len;	     /* of all those, in bytes */
	bool family;	     /* the descriptor of the family's memory is passed on */
};
#define MOST_SAID ((size_t)64 << 10) /* of strings, in a message; more: in a file */

/*
 * Descriptors of KEEPER_SPAWN: what becomes 0, 1 and 2; the folder; that of the family's
 * memory, if the program is to have it; the file, if that is where strings are.
 */
enum { PASSED_FOLDER = 3, PASSED_FAMILY };
#define FAMILY_FD 3 /* of the family's memory, in the program */

static inline size_t passed_strings(const struct keeper_request *request)
{
	return PASSED_FAMILY + request->family;
}

static inline size_t passed_count(const struct keeper_request *request)
{
	return passed_strings(request) + (request->len > MOST_SAID);
}

/* And what it says. */
struct answer {
	int status;
	pid_t pid;
	tine_exit how;
	tine_usage usage;
};

/*
 * Each is one request to a keeper, of one thread at a time, and waits for the answer for
 * at most ANSWER_MS; a keeper that is found stopped is continued. Past that: -ETIMEDOUT,
 * and the keeper is killed, with what it has spawned. -EPIPE: it has died.
 */
#define ANSWER_MS 5000

/*
 * fds: passed_count() of them; strings: where they are not in a file. The first call
 * starts the process's keeper; the pidfd is the caller's to close, and keeper_end() has
 * to follow.
 */
int keeper_spawn(struct keeper **, struct keeper_request *, const char *strings,
		 const int *fds, pid_t *pid, int *pidfd);
/* A signal for its process group. -ESRCH: it has ended. */
int keeper_kill(struct keeper *, pid_t pid, int signal);
/* How it ended, and what it used; -EAGAIN: it has not. */
int keeper_look(struct keeper *, pid_t pid, struct answer *);
/* Ends it and all that it started. The keeper is not to be used for it any more. */
void keeper_end(struct keeper *, pid_t pid);
/* From now on this process is killed when that of the pidfd has ended. */
int keeper_tie(int pidfd);

/* The keeper itself. */
_Noreturn void keeper_main(int line, pid_t owner);

#endif
