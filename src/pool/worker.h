/* SPDX-License-Identifier: MIT */
#ifndef TINE_WORKER_H
#define TINE_WORKER_H

#include "pool/ledger.h"

/* In the nursery, for all workers: where one crashes is noted. */
void watch_crashes(void);

/*
 * Sits at the desk and works until it dies; returns to retire, with a child's exit code.
 */
int worker_main(struct ledger *, unsigned id);

/*
 * In the caller itself, see serial.h: begins, by .init; does a little of what there is,
 * false: there is nothing, or another thread is at it until then; and ends, by .fini.
 */
struct worker;
int worker_begin_here(struct worker **, struct ledger *);
bool worker_step_here(struct worker *, int64_t until);
void worker_end_here(struct worker *);
/* Whether this thread is in one of its jobs. */
bool worker_is_here(const struct ledger *);

#endif
