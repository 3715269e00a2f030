/* SPDX-License-Identifier: MIT */
/*
 * The cache: who computes what is not there. A turn is a lock on a byte that the key's
 * hash gives (format.h), of a descriptor of its own, so that it keeps threads apart too.
 *
 *	dies, at any step	the kernel lets go of the byte, and who waits is next
 *	is stopped		others wait for this key, until their deadlines
 *	forks			the child has the flight, and not its turn (lockfd.c)
 */
#include "cache/flight.h"

#include "base/atfork.h"
#include "base/deadline.h"
#include "cache/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct tine_flight {
	struct flight flight;
	tine_cache *cache;
	struct cache_key key; /* whose bytes follow */
	char bytes[];
};

/* ---- turns ------------------------------------------------------------------------- */

/* All of this process, so that no thread waits for itself. */
static pthread_mutex_t flights_mutex = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, flight) flights = LIST_HEAD_INITIALIZER(flights);

static void hold_flights(void)
{
	/* Bound: this process's threads, which hold it for no call that blocks. */
	pthread_mutex_lock(&flights_mutex);
}

static void let_flights_go(void)
{
	pthread_mutex_unlock(&flights_mutex);
}

/* They are the parent's. */
static void forget_flights(void)
{
	struct flight *flight;

	LIST_FOREACH (flight, &flights, others)
		flight->listed = false;
	LIST_INIT(&flights);
	pthread_mutex_unlock(&flights_mutex);
}

FILL_ATFORK static void fill_flights(void)
{
	atfork_fill(ATFORK_FLIGHTS, &(struct atfork){ .before = hold_flights,
						      .in_parent = let_flights_go,
						      .in_child = forget_flights });
}

static bool is_own(const struct flight *wanted)
{
	struct flight *flight;

	/* Bound: this process's threads, which hold it for no call that blocks. */
	pthread_mutex_lock(&flights_mutex);
	LIST_FOREACH (flight, &flights, others)
		if (pthread_equal(flight->thread, wanted->thread) &&
		    flight->inode == wanted->inode && flight->device == wanted->device &&
		    flight->hash[0] == wanted->hash[0] &&
		    flight->hash[1] == wanted->hash[1])
			break;
	pthread_mutex_unlock(&flights_mutex);
	return flight != NULL;
}

static void list_flight(struct flight *flight)
{
	/* Bound: this process's threads, which hold it for no call that blocks. */
	pthread_mutex_lock(&flights_mutex);
	flight->listed = true;
	LIST_INSERT_HEAD(&flights, flight, others);
	pthread_mutex_unlock(&flights_mutex);
}

int flight_start(struct flight *flight, const tine_cache *cache,
		 const struct cache_key *key, int64_t deadline)
{
	int err;

	*flight = (struct flight){ .turn = { .own = { .fd = -1 } },
				   .device = cache->folder.device,
				   .inode = cache->folder.inode,
				   .hash = { key->hash[0], key->hash[1] },
				   .thread = pthread_self() };
	if (is_own(flight))
		return -EDEADLK;
	err = lockfd_open(&flight->turn, own_fd_use(&cache->folder), "lock");
	/* Bound: the caller's deadline, for another that computes it. */
	if (!err)
		err = lockfd_acquire(&flight->turn, FLIGHT | key->hash[0] >> 2, false,
				     deadline);
	if (err == -ETIMEDOUT || err == -EINTR) {
		lockfd_close(&flight->turn);
		return err;
	}
	/*
	 * Without a turn, as in a folder that was removed, it is computed all the same.
	 */
	list_flight(flight);
	return 0;
}

void flight_end(struct flight *flight)
{
	/* Bound: this process's threads, which hold it for no call that blocks. */
	pthread_mutex_lock(&flights_mutex);
	if (flight->listed)
		LIST_REMOVE(flight, others);
	pthread_mutex_unlock(&flights_mutex);
	lockfd_close(&flight->turn);
}

/* ---- of keys of the caller's own --------------------------------------------------- */

/* 1: found; 0: it is not there; -ETIMEDOUT: others keep the lock until the deadline. */
static int is_there_by(tine_cache *cache, const struct cache_key *key, const void **val,
		       size_t *val_len, int64_t deadline)
{
	int err = cache_get(cache, key, val, val_len, deadline);

	/* One that is stopped with the lock is waited for no longer than that. */
	if (err == -ENOENT || (err == -ETIMEDOUT && tine_now() < deadline))
		return 0;
	return err ? err : 1;
}

int tine_cache_begin(tine_cache *cache, const void *bytes, size_t len, const void **val,
		     size_t *val_len, tine_flight **out, int64_t deadline)
{
	struct cache_key key = { .bytes = bytes, .len = len, .kind = KEY_OF_CALLER };
	tine_flight *flight;
	int err;

	if (!cache || !bytes || !len || !val || !val_len || !out ||
	    is_no_deadline(deadline))
		return -EINVAL;
	key_hash(&key);
	err = is_there_by(cache, &key, val, val_len, deadline);
	if (err)
		return err;
	flight = malloc(sizeof(*flight) + len);
	if (!flight)
		return -ENOMEM;
	err = flight_start(&flight->flight, cache, &key, deadline);
	if (err)
		goto free_flight;
	err = is_there_by(cache, &key, val, val_len, deadline);
	if (err)
		goto end_flight;
	count(&cache->misses);
	flight->cache = cache;
	flight->key = key;
	flight->key.bytes = memcpy(flight->bytes, bytes, len);
	*out = flight;
	return 0;

end_flight:
	flight_end(&flight->flight);
free_flight:
	free(flight);
	return err;
}

int tine_flight_finish(tine_flight *flight, const void *val, size_t val_len,
		       int64_t age_ms)
{
	struct content content = { .val = val, .len = val_len, .age_ms = age_ms };
	int err;

	if (!flight || (!val && val_len) || age_ms < 0)
		return -EINVAL;
	/* Bound: PATIENCE_MS. */
	err = cache_keep(flight->cache, &flight->key, &content, TINE_FOREVER);
	tine_flight_free(flight);
	return err;
}

void tine_flight_free(tine_flight *flight)
{
	if (!flight)
		return;
	flight_end(&flight->flight);
	free(flight);
}
