/* SPDX-License-Identifier: MIT */
#ifndef TINE_CPUS_H
#define TINE_CPUS_H

#include <stdbool.h>

#define MAX_WORKERS 1024 /* of a pool */

/*
 * Among how many workers the processors are shared; in a worker, and in what it starts.
 */
extern unsigned cpus_sharers;

/* Processors that the affinity of this thread leaves, at least 1. */
unsigned affine_processors(void);
/* Those that quotas leave as well, at least 1. root as cgroup_walk() has it. */
unsigned processors(const char *root);

/* Whether pools are to have no processes: TINE_WORKERS is 0. */
bool cpus_are_none(void);

#endif
