/* SPDX-License-Identifier: MIT */
#ifndef TINE_PHILOX_H
#define TINE_PHILOX_H

#include "base/export.h"

/*
 * Writes the doubles of n blocks, two of each, that begin with the counter, whose low
 * word does not overflow on the way. One of these is chosen when it is first needed; NULL
 * where the processor has not that instruction set.
 */
typedef void rng_body(const tine_rng *, double *out, size_t n);
rng_body *rng_body_named(const char *name);

#endif
