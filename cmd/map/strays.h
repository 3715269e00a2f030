/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_STRAYS_H
#define TINE_MAP_STRAYS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Kills all children of this process, and theirs, for 2 seconds at most. */
void end_strays(void);
/* Whether its first thread is stopped, and by which signal; 0: nobody knows. */
bool is_stopped(pid_t, int *signal);
/* What the process and all below it have of memory of their own, in bytes. */
uint64_t memory_below(pid_t);

#endif
