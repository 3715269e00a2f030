/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_WATCH_H
#define TINE_MAP_WATCH_H

#include "map/map.h"

/*
 * What nothing tells of, and so has to be looked at from time to time, while jobs run:
 * memory, if there is a limit, and whether processes of a job are stopped.
 */
void watch_open(void);
/* Stops jobs that have to be, and says when to look again, or TINE_FOREVER. */
int64_t watch_jobs(struct job *const *slots);

#endif
