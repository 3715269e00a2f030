/* SPDX-License-Identifier: MIT */
#ifndef TINE_NURSERY_H
#define TINE_NURSERY_H

#include "pool/ledger.h"

/*
 * What the nursery process runs: seats a worker at every desk and a new one where one
 * died, ends workers that are overdue when a byte comes down the lifeline, and ends all
 * of them and itself when the lifeline breaks.
 */
int nursery_main(void *ledger, int lifeline);

#endif
