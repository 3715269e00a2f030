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

#endif
