/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_STRAYS_H
#define TINE_MAP_STRAYS_H

#include <stdint.h>
#include <sys/types.h>

/* Kills all children of this process, and theirs, for 2 seconds at most. */
void end_strays(void);
/* Calls fn for each child that another process's threads have made, or been given. */
typedef void child_fn(pid_t child, void *arg);
void each_child_of(pid_t, child_fn *fn, void *arg);
/* The same of one thread; the first has the number of its process. */
void each_child_of_thread(pid_t, pid_t thread, child_fn *fn, void *arg);
/* What the process and all below it have of memory of their own, in bytes. */
uint64_t memory_below(pid_t);

#endif
