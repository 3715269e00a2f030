/* SPDX-License-Identifier: MIT */
#ifndef TINE_CACHE_CHECK_H
#define TINE_CACHE_CHECK_H

#include "cache/handle.h"

/* With the lock: reads the index through. -EUCLEAN. */
int cache_check(tine_cache *);
/* With the lock: the same, once in each boot. */
int cache_greet(tine_cache *);

#endif
