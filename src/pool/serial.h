/* SPDX-License-Identifier: MIT */
/*
 * A pool without processes: its jobs are done in the caller, where a debugger finds them.
 *
 * All of the ledger is as it is elsewhere, with one desk. Whoever of the caller's threads
 * submits or waits sits down at it and does what there is; of all such pools one job at a
 * time runs in a process. A thread that dies takes its process with it, and who waits for
 * one that is stopped in a job does so until its own deadline.
 */
#ifndef TINE_SERIAL_H
#define TINE_SERIAL_H

#include "pool/crew.h"
#include "pool/pool.h"

extern const struct crew serial_crew;

/* Of what a pool is to be, what needs no process. */
tine_pool_opts serial_opts(const tine_pool_opts *);
/* Calls .init, and .fini. */
int serial_begin(tine_pool *);
void serial_end(tine_pool *);
/* Does what there is until it is over, or until then: whether it is over. */
bool serial_work(tine_pool *, over_fn *over, uint32_t seen, int64_t until);
/* Does the tickets that wait, also behind the job of another thread. */
void serial_run(tine_pool *);

#endif
