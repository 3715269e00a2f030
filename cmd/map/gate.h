/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_GATE_H
#define TINE_MAP_GATE_H

#include "map/map.h"

/*
 * What a job needs to start, beside a slot: memory, with --memfree, and below make -j one
 * of its tokens. One job may always run.
 */
void gate_open(void);
/*
 * Whether another job may start. *token: what gate_give() is to have when it has ended,
 * or when there is no job after all. Else it may when gate_fd(), if that is not -1, is
 * readable, or at gate_due().
 */
bool gate_take(bool any_runs, int *token);
void gate_give(int token);
int gate_fd(void);
int64_t gate_due(void);

#endif
