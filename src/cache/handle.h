/* SPDX-License-Identifier: MIT */
#ifndef TINE_CACHE_HANDLE_H
#define TINE_CACHE_HANDLE_H

#include "base/export.h"
#include "cache/area.h"
#include "process/lockfd.h"

#include <sys/queue.h>
#include <sys/types.h>

struct mapped;
#define MAP_BUCKETS 256

struct tine_cache {
	/*
	 * Between threads, what byte WRITER is between processes: it is held while this
	 * process waits for others, so that a fork must not wait for it.
	 */
	pthread_mutex_t mutex;
	_Atomic bool stuck; /* waited for the lock in vain, and has not had it since */
	struct lockfd lock;
	struct own_fd folder, large;
	bool shared; /* with other users */
	char *path;  /* of the folder, absolute */
	struct area index, data;
	_Atomic uint64_t max_bytes; /* as it was last seen */
	uint64_t max_age;	    /* nanoseconds; 0: none */
	word hits, misses;	    /* not yet in the header */
	pthread_mutex_t maps_mutex; /* of the large files mapped, large.c */
	struct mapped *by_number[MAP_BUCKETS], *by_address[MAP_BUCKETS];
	unsigned idle;	/* mapped, and not in use */
	uint64_t clock; /* of the header, when those were last looked through */
	LIST_ENTRY(tine_cache) others; /* of this process */
};

static inline struct index_header *cache_header(tine_cache *cache)
{
	return (struct index_header *)atomic_load_explicit(&cache->index.base,
							   memory_order_acquire);
}

/* One of the two counts. */
static inline void count(word *number)
{
	atomic_fetch_add_explicit(number, 1, memory_order_relaxed);
}

#endif
