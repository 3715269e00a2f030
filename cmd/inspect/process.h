/* SPDX-License-Identifier: MIT */
/* What /proc says of processes that are looked at. */
#ifndef TINE_INSPECT_PROCESS_H
#define TINE_INSPECT_PROCESS_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#define MEMORY_LINK "/memfd:tine" /* of the descriptor of a family's memory */

struct process_seen {
	char name[64];
	char state; /* as in /proc/PID/stat */
	pid_t parent;
	long threads;
};

/* False: there is none. */
bool process_see(pid_t, struct process_seen *);
/* "running", "sleeping", "stopped", "ended". */
const char *process_state(pid_t);
/* The process of a thread; 0: there is none. */
pid_t process_of_thread(pid_t);

/*
 * Each descriptor of the process whose link begins so, by a path that opens it. 0;
 * -ESRCH; -EACCES.
 */
typedef void file_fn(void *arg, const char *path, const struct stat *);
int process_files(pid_t, const char *begins, file_fn *, void *arg);

/* Each process of this user's, or for root each. */
typedef void process_fn(void *arg, pid_t);
void processes_all(process_fn *, void *arg);

/* Each word that a thread of the process sleeps on. False: the system does not tell. */
typedef void sleep_fn(void *arg, pid_t thread, const char *word);
bool process_sleeps(pid_t, sleep_fn *, void *arg);

#endif
