/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_H
#define TINE_POOL_H

#include "ledger.h"

/*
 * How often a caller found its map over without having been called: the calls are lost in
 * no run that nobody was killed in. For tests.
 */
uint64_t pool_uncalled(const tine_pool *);

#endif
