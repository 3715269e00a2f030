/* SPDX-License-Identifier: MIT */
/* The cache: calls, each of which is computed once. */
#include "cache/call.h"

#include "base/deadline.h"
#include "base/options.h"
#include "cache/cache.h"
#include "cache/turn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEY_ROOM 512 /* on the stack, for keys of tasks */
#define GRACE_MS 2   /* to keep a result that was not there before the deadline */

/* What this thread computes, the innermost first. */
struct flight {
	struct flight *outer;
	const tine_cache *cache;
	uint64_t hash[2];
};
static _Thread_local struct flight *flights;

uint64_t task_hash(const char *name)
{
	return (uint32_t)bytes_hash(name, strlen(name)) | 1;
}

/* A task's key: its name with the zero, its version, and the input. */
static int task_key(struct cache_key *key, const tine_task *task, const void *in,
		    char *room, size_t room_len)
{
	size_t name = strlen(task->name) + 1;
	uint32_t version = task->version;
	char *bytes;

	key->len = name + sizeof(version) + task->in_size;
	bytes = key->len <= room_len ? room : malloc(key->len);
	if (!bytes)
		return -ENOMEM;
	memcpy(bytes, task->name, name);
	memcpy(bytes + name, &version, sizeof(version));
	if (task->in_size)
		memcpy(bytes + name + sizeof(version), in, task->in_size);
	key->bytes = bytes;
	key->kind = KEY_OF_TASK;
	key->task = task_hash(task->name);
	key_hash(key);
	return 0;
}

/* 1: it was there. 0: it was not, or for some reason cannot be had. */
static int take_result(tine_cache *cache, const struct cache_key *key,
		       const tine_task *task, void *out, int *status, int64_t deadline)
{
	struct found found;
	bool same;

	if (cache_find(cache, key, &found, deadline) != 0)
		return 0;
	/* Of the same name and version, but another type: as if it were not there. */
	same = found.len == task->out_size;
	if (same) {
		if (task->out_size)
			memcpy(out, found.val, task->out_size);
		*status = found.status;
		count(&cache->hits);
	}
	tine_cache_release(cache, found.val);
	return same;
}

/* Until when a result is to be kept: for the caller waits for that too. */
static int64_t keep_until(int64_t deadline)
{
	int64_t least = tine_after(GRACE_MS), most = tine_after(HELP_MS);

	if (deadline <= TINE_NOWAIT)
		return TINE_NOWAIT;
	return deadline < least ? least : deadline < most ? deadline : most;
}

static int compute_result(tine_cache *cache, const struct cache_key *key,
			  const tine_task *task, const void *in, void *out, int *status,
			  int64_t deadline)
{
	struct flight flight = { .outer = flights,
				 .cache = cache,
				 .hash = { key->hash[0], key->hash[1] } };

	count(&cache->misses);
	flights = &flight;
	*status = task->fn(in, out);
	flights = flight.outer;
	if (*status < 0)
		return *status;
	/* It is there, if it cannot be kept. */
	cache_keep(cache, key, out, task->out_size, *status, keep_until(deadline));
	return 0;
}

/* Of all that ask for it, one at a time comes as far as to compute. */
static int call_once(tine_cache *cache, const struct cache_key *key,
		     const tine_task *task, const void *in, void *out, int *status,
		     int64_t deadline)
{
	struct lockfd turn;
	int err;

	if (take_result(cache, key, task, out, status, deadline))
		return 1;
	for (const struct flight *flight = flights; flight; flight = flight->outer)
		if (flight->cache->inode == cache->inode &&
		    flight->cache->device == cache->device &&
		    flight->hash[0] == key->hash[0] && flight->hash[1] == key->hash[1])
			return -EDEADLK;
	err = lockfd_open(&turn, cache->folder, "lock");
	/* Bound: the caller's deadline, for another that computes it. */
	if (!err)
		err = lockfd_acquire(&turn, FLIGHT | key->hash[0] >> 2, false, deadline);
	/*
	 * Without a turn, as in a folder that was removed, it is computed all the same.
	 */
	if (err != -ETIMEDOUT) {
		err = !err && take_result(cache, key, task, out, status, deadline);
		if (!err)
			err = compute_result(cache, key, task, in, out, status, deadline);
	}
	lockfd_close(&turn);
	return err;
}

int cache_take(tine_cache *cache, const tine_task *task, const void *in, void *out,
	       int *status, uint64_t hash[2])
{
	struct cache_key key = { 0 };
	char room[KEY_ROOM];
	int err = task_key(&key, task, in, room, sizeof(room));

	if (err)
		return err;
	hash[0] = key.hash[0];
	hash[1] = key.hash[1];
	err = take_result(cache, &key, task, out, status, TINE_NOWAIT);
	if (key.bytes != room)
		free((void *)key.bytes);
	return err;
}

int tine_cache_call(tine_cache *cache, const tine_task *task, const void *in, void *out,
		    int *status, int64_t deadline)
{
	struct cache_key key = { 0 };
	char room[KEY_ROOM];
	int err, became = 0;

	if (!cache || !task || !task->name || !task->fn || (!in && task->in_size) ||
	    (!out && task->out_size) || !ROOM_IS_ZERO(task) || is_no_deadline(deadline))
		return -EINVAL;
	err = task_key(&key, task, in, room, sizeof(room));
	if (err)
		return err;
	err = call_once(cache, &key, task, in, out, &became, deadline);
	if (status && (err >= 0 || became < 0))
		*status = became;
	if (key.bytes != room)
		free((void *)key.bytes);
	return err;
}
