/* SPDX-License-Identifier: MIT */
/* The cache: calls, each of which is computed once. */
#include "cache/call.h"

#include "cache/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEY_ROOM 512 /* on the stack, for keys of tasks */

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

/* 1: it was there. */
static int take_result(tine_cache *cache, const struct cache_key *key,
		       const tine_task *task, void *out, int *status)
{
	struct found found;
	int err = cache_find(cache, key, &found);

	if (err)
		return err == -ENOENT ? 0 : err;
	/* Of the same name and version, but another type: as if it were not there. */
	err = found.len == task->out_size;
	if (err) {
		if (task->out_size)
			memcpy(out, found.val, task->out_size);
		*status = found.status;
		count(&cache->hits);
	}
	tine_cache_release(cache, found.val);
	return err;
}

static int compute(tine_cache *cache, const struct cache_key *key, const tine_task *task,
		   const void *in, void *out, int *status)
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
	cache_keep(cache, key, out, task->out_size, *status);
	return 0;
}

/* Of all that ask for it, one at a time comes as far as to compute. */
static int call_once(tine_cache *cache, const struct cache_key *key,
		     const tine_task *task, const void *in, void *out, int *status,
		     int64_t deadline)
{
	struct lockfd turn;
	int err = take_result(cache, key, task, out, status);

	if (err)
		return err;
	for (const struct flight *flight = flights; flight; flight = flight->outer)
		if (flight->cache->inode == cache->inode &&
		    flight->cache->device == cache->device &&
		    flight->hash[0] == key->hash[0] && flight->hash[1] == key->hash[1])
			return -EDEADLK;
	err = lockfd_open(&turn, cache->folder, "lock");
	if (err)
		return err;
	err = lockfd_acquire(&turn, FLIGHT | key->hash[0] >> 2, false, deadline);
	if (!err)
		err = take_result(cache, key, task, out, status);
	if (!err)
		err = compute(cache, key, task, in, out, status);
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
	err = take_result(cache, &key, task, out, status);
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
	    (!out && task->out_size))
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
