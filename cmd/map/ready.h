/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_READY_H
#define TINE_MAP_READY_H

#include "map/map.h"

/*
 * Jobs whose inputs were read and that have not started, in the order of inputs: one at
 * most, or with --longest-first as many as READY_MOST, of READY_BYTES of text.
 */
enum { READY_MOST = 4096, READY_BYTES = 4 << 20 };
bool ready_has_room(void);
void ready_add(struct job *);
size_t ready_count(void);
/*
 * The job to start next, or NULL. first: the number of the first job that runs. A job
 * before it is what the order of output waits for, and longer ones do not go before it.
 */
struct job *ready_take(uint64_t first);
/* What those that have a guess will take together, and how many they are. */
int64_t ready_guessed(uint64_t *count);

#endif
