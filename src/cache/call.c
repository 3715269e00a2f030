/* SPDX-License-Identifier: MIT */
/* The cache: calls, each of which is computed once. */
#include "cache/call.h"

#include "base/deadline.h"
#include "base/options.h"
#include "cache/cache.h"
#include "cache/flight.h"
#include "cache/turn.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_ROOM 512 /* on the stack, for keys of tasks */
#define GRACE_MS 2   /* to keep a result that was not there before the deadline */

/* Of the program that runs; NULL: no memory. */
static const char *program_path(void)
{
	static _Atomic(char *) known;
	static const char gone[] = " (deleted)"; /* was replaced by a newer one */
	char path[PATH_MAX], *copy = atomic_load(&known), *other = NULL;
	ssize_t len;

	if (copy)
		return copy;
	len = readlink("/proc/self/exe", path, sizeof(path));
	if (len <= 0) /* without /proc */
		len = snprintf(path, sizeof(path), "%s", program_invocation_name);
	else if ((size_t)len >= sizeof(gone) &&
		 memcmp(path + len - sizeof(gone) + 1, gone, sizeof(gone) - 1) == 0)
		len -= sizeof(gone) - 1;
	copy = strndup(path, len);
	if (!copy || atomic_compare_exchange_strong(&known, &other, copy))
		return copy;
	free(copy);
	return other;
}

uint64_t task_hash(const char *identity)
{
	return (uint32_t)bytes_hash(identity, strlen(identity)) | 1;
}

size_t identity_size(const tine_task *task)
{
	size_t name = strlen(task->name) + 1;
	const char *program;

	if (!task->file)
		return name;
	program = program_path();
	return program ? strlen(program) + 1 + strlen(task->file) + 1 + name : 0;
}

void identity_write(char *to, const tine_task *task)
{
	if (task->file) {
		to = stpcpy(to, program_path());
		*to++ = ':';
		to = stpcpy(to, task->file);
		*to++ = ':';
	}
	strcpy(to, task->name);
}

size_t task_key_size(const tine_task *task)
{
	return task->key_size && task->key_size < task->in_size ? task->key_size
								: task->in_size;
}

/* A task's key: its identity with the zero, its version, and what counts of the input. */
static int task_key(struct cache_key *key, const tine_task *task, const void *in,
		    char *room, size_t room_len)
{
	size_t name = identity_size(task), in_size = task_key_size(task);
	uint32_t version = task->version;
	char *bytes;

	if (name == 0)
		return -ENOMEM;
	key->len = name + sizeof(version) + in_size;
	bytes = key->len <= room_len ? room : malloc(key->len);
	if (!bytes)
		return -ENOMEM;
	identity_write(bytes, task);
	memcpy(bytes + name, &version, sizeof(version));
	if (in_size)
		memcpy(bytes + name + sizeof(version), in, in_size);
	key->bytes = bytes;
	key->kind = KEY_OF_TASK;
	key->task = task_hash(bytes);
	key_hash(key);
	return 0;
}

/* 1: it was there. 0: it was not, or for some reason cannot be had. */
static int take_result(tine_cache *cache, const struct cache_key *key,
		       const tine_task *task, void *out, int *status, int64_t deadline)
{
	struct content found;
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
	struct content content = { .val = out,
				   .len = task->out_size,
				   .age_ms = task->max_age_ms };

	count(&cache->misses);
	content.status = *status = task->fn(in, out);
	if (*status < 0)
		return *status;
	/* It is there, if it cannot be kept. */
	cache_keep(cache, key, &content, keep_until(deadline));
	return 0;
}

/* Of all that ask for it, one at a time comes as far as to compute. */
static int call_once(tine_cache *cache, const struct cache_key *key,
		     const tine_task *task, const void *in, void *out, int *status,
		     int64_t deadline)
{
	struct flight flight;
	int err;

	if (take_result(cache, key, task, out, status, deadline))
		return 1;
	err = flight_start(&flight, cache, key, deadline);
	if (err)
		return err;
	err = take_result(cache, key, task, out, status, deadline);
	if (!err)
		err = compute_result(cache, key, task, in, out, status, deadline);
	flight_end(&flight);
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
	    (!out && task->out_size) || task->max_age_ms < 0 || !ROOM_IS_ZERO(task) ||
	    is_no_deadline(deadline))
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
