/* SPDX-License-Identifier: MIT */
/* Where a pool is made: above pools, which know nothing of servers. */
#include "pool/pool.h"
#include "engine/courier.h"

#include <errno.h>

int tine_pool_new(tine_pool **out, const tine_pool_opts *opts)
{
	if (opts && opts->engine && opts->serial)
		return -EINVAL;
	if (opts && opts->engine)
		return courier_pool_new(out, opts->engine, opts->away_ms, opts);
	if (opts && opts->away_ms)
		return -EINVAL;
	return pool_new(out, opts, &nursery_crew, NULL, 0);
}
