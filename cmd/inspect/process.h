/* SPDX-License-Identifier: MIT */
/* What /proc says of processes that are looked at. */
#ifndef TINE_INSPECT_PROCESS_H
#define TINE_INSPECT_PROCESS_H

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define MEMORY_LINK "/memfd:tine" /* of the descriptor of a family's memory */

struct process_seen {
	char name[64];
	char state; /* as in /proc/PID/stat */
	pid_t parent;
	long threads;
};

/* All that fits of a file of /proc. False: it is not there, or may not be read. */
bool proc_read(char *text, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* False: there is none. */
bool process_see(pid_t, struct process_seen *);
/* "running", "sleeping", "stopped", "ended". */
const char *process_state(pid_t);
/* The process of a thread; 0: there is none. */
pid_t process_of_thread(pid_t);

/* What a descriptor of a process is open for. */
struct open_file {
	int fd; /* there */
	struct stat stat;
	char path[PATH_MAX]; /* what it was opened as */
	char link[64];	     /* what opens it */
};

/* False: the process has none of that number, or its path begins otherwise. */
bool process_file(pid_t, int fd, const char *begins, struct open_file *);

/* Each descriptor of the process whose file's path begins so. 0; -ESRCH; -EACCES. */
typedef void file_fn(void *arg, const struct open_file *);
int process_files(pid_t, const char *begins, file_fn *, void *arg);
/* Each process of this user's, or for root each. */
typedef void process_fn(void *arg, pid_t);
void processes_all(process_fn *, void *arg);

/* What a thread sleeps for: a word, or a lock on a file. */
struct sleep {
	pid_t thread;
	bool timed;	   /* it wakes by itself, and may look again */
	const char *word;  /* NULL: a lock, */
	int fd;		   /* of this file, */
	struct flock lock; /* of these bytes */
};

/* Each of them, of all threads. False: the system does not tell. */
typedef void sleep_fn(void *arg, const struct sleep *);
bool process_sleeps(pid_t, sleep_fn *, void *arg);

struct mapping {
	uintptr_t from, to;
	uint64_t offset;     /* in the file */
	char name[PATH_MAX]; /* what the path has after that beginning */
};

/* Each mapping of the process of a file whose path begins so. */
typedef void mapping_fn(void *arg, const struct mapping *);
void process_maps(pid_t, const char *begins, mapping_fn *, void *arg);

/* False: not all of it is there, or it may not be read. */
bool process_read(pid_t, const void *at, void *into, size_t len);
/* Whether it calls threads by the same numbers as this one. */
bool process_is_of_here(pid_t);

#endif
