/* SPDX-License-Identifier: MIT */
/* What the files of the trace know of each other: log <- json <- trace, file <- json. */
#ifndef TINE_TRACE_INSIDE_H
#define TINE_TRACE_INSIDE_H

#include "trace/trace.h"

#include <limits.h>
#include <sys/types.h>

/* ---- file -------------------------------------------------------------------------- */

/* In a mapping that the family inherits. */
struct trace_file {
	tine_lock lock; /* guards what follows, and the names of this process */
	bool given_up;
	uint64_t end; /* where the next event goes; 0: there is no file yet */
	dev_t device;
	ino_t inode;
	int64_t born;
	_Atomic uint32_t maps;
	char path[PATH_MAX];
};
extern struct trace_file *trace_file; /* or NULL */

/* Whether there is a file; the first to ask makes it. */
bool trace_is_on(void);
/*
 * Another process may be stopped while it holds the lock, or wait for a slow disk. False:
 * not held, and what is to be written waits for the next time.
 */
bool trace_lock(int64_t deadline);
void trace_unlock(void);
/* The deadline of those that may wait: none of the caller's calls has one of its own. */
int64_t trace_patience(void);

#define TRACE_ROOM 16384 /* bytes of a write */
#define TRACE_TAIL 3	 /* bytes that end the array after each write */

/* Events, of which each begins with a comma but the file's first. */
struct text {
	size_t len;
	char buf[TRACE_ROOM];
};

/* With the lock held. What cannot be written ends the trace, as it was. */
void trace_write_out(struct text *);

/* ---- json: all with the file's lock held ------------------------------------------- */

/* pid and tid are where it is in the picture. */
void json_event(struct text *, const struct trace_event *, pid_t pid, pid_t tid);
void json_dropped(struct text *, uint64_t events, pid_t pid, pid_t tid);
void json_map_begin(struct text *, const struct trace_event *map, pid_t pid, pid_t tid);
void json_process_begin(struct text *, const char *name, pid_t, int64_t begun);
void json_process_end(struct text *, pid_t, tine_exit how);
/* A name for the lane, and a number if it is not negative. */
void json_name(struct text *, const char *what, pid_t pid, pid_t tid, const char *name,
	       int number);

#endif
