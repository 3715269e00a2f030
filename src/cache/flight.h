/* SPDX-License-Identifier: MIT */
#ifndef TINE_CACHE_FLIGHT_H
#define TINE_CACHE_FLIGHT_H

#include "cache/handle.h"
#include "cache/hash.h"

#include <pthread.h>
#include <sys/queue.h>

/* What one thread computes while others, of any process, wait for it. */
struct flight {
	struct lockfd turn;
	dev_t device; /* of the cache's folder, and what it is within */
	ino_t inode;
	uint64_t hash[2];
	pthread_t thread;
	bool listed;		   /* and not inherited by a child */
	LIST_ENTRY(flight) others; /* of this process */
};

/*
 * Of all that ask for the key, one at a time has 0. -ETIMEDOUT: another has it until the
 * deadline; -EDEADLK: this thread has it. It stays where it is until it is ended.
 */
int flight_start(struct flight *, const tine_cache *, const struct cache_key *,
		 int64_t deadline);
void flight_end(struct flight *);

#endif
