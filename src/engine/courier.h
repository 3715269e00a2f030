/* SPDX-License-Identifier: MIT */
/* A pool whose jobs hosts do: what the caller has for it in its own memory is a pool. */
#ifndef TINE_COURIER_H
#define TINE_COURIER_H

#include "base/export.h"

#define AWAY_MS	  30000
#define MOST_AWAY INT64_C(1000000000) /* milliseconds */

/*
 * As tine_pool_new(), on a server; away_ms: how long that, or a host with a job's task,
 * may be missing. Options that are a host's business are -EINVAL. As engine_url_parse()
 * and engine_open().
 */
int courier_pool_new(tine_pool **out, const char *url, int64_t away_ms,
		     const tine_pool_opts *);

#endif
