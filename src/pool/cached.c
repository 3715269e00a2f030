/* SPDX-License-Identifier: MIT */
#include "pool/cached.h"

#include "cache/call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- in a worker ------------------------------------------------------------------- */

size_t cached_size(const tine_cache *cache, const tine_task *task)
{
	return sizeof(struct cached) + strlen(cache->path) + 1 + identity_size(task);
}

void cached_fill(struct cached *cached, const tine_cache *cache, const tine_task *task)
{
	*cached = (struct cached){ .max_age_ms = cache->max_age / 1000000,
				   .shared = cache->shared,
				   .in_size = task->in_size,
				   .out_size = task->out_size,
				   .key_size = task->key_size,
				   .task_age_ms = task->max_age_ms,
				   .version = task->version,
				   .name = strlen(cache->path) + 1 };
	strcpy(cached->text, cache->path);
	identity_write(cached->text + cached->name, task);
}

/* The one that this process had last; jobs seldom use two. */
static struct {
	tine_cache *cache;
	char *path;
	int64_t max_age_ms;
} own;

void cached_forget(void)
{
	tine_cache_free(own.cache);
	free(own.path);
	own.cache = NULL;
	own.path = NULL;
}

static tine_cache *own_cache(const struct cached *cached)
{
	tine_cache_opts opts = { .max_age_ms = cached->max_age_ms,
				 .shared = cached->shared };

	if (own.cache && own.max_age_ms == cached->max_age_ms &&
	    strcmp(own.path, cached->text) == 0)
		return own.cache;
	cached_forget();
	own.path = strdup(cached->text);
	own.max_age_ms = cached->max_age_ms;
	if (!own.path || tine_cache_open(&own.cache, own.path, &opts) < 0)
		return NULL;
	return own.cache;
}

static tine_task task_of(const struct cached *cached, tine_fn *fn)
{
	return (tine_task){ .name = cached->text + cached->name,
			    .fn = fn,
			    .in_size = cached->in_size,
			    .out_size = cached->out_size,
			    .key_size = cached->key_size,
			    .max_age_ms = cached->task_age_ms,
			    .version = cached->version };
}

int cached_call(const struct cached *cached, tine_fn *fn, const void *in, void *out)
{
	tine_task task = task_of(cached, fn);
	tine_cache *cache = own_cache(cached);
	int status = 0, err;

	/* A folder that was removed is no reason not to do the job. */
	if (!cache)
		return fn(in, out);
	/* Bound: the deadline of the map and job_ms, which end this worker. */
	err = tine_cache_call(cache, &task, in, out, &status, TINE_FOREVER);
	return err < 0 ? err : status;
}

bool cached_find(const struct cached *cached, const void *in, void *out, int *status)
{
	tine_task task = task_of(cached, NULL);
	tine_cache *cache = own_cache(cached);
	uint64_t hash[2];

	return cache && cache_take(cache, &task, in, out, status, hash) == 1;
}

static int known_status;

static int give_known(const void *in, void *out)
{
	(void)in;
	(void)out;
	return known_status;
}

void cached_keep(const struct cached *cached, const void *in, void *out, int status)
{
	tine_task task = task_of(cached, give_known);
	tine_cache *cache = own_cache(cached);

	known_status = status;
	/* Who does it at the moment keeps it as well. */
	if (cache && tine_cache_call(cache, &task, in, out, &status, TINE_NOWAIT) < 0)
		return;
}

/* ---- in the caller ----------------------------------------------------------------- */

/* Where among the jobs of the plan one of that hash is, or is to be entered. */
struct table {
	uint32_t *rows;	       /* job + 1; 0: empty */
	uint64_t (*hashes)[2]; /* of the jobs */
	size_t mask;
};

static int table_new(struct table *table, size_t n)
{
	size_t rows = 16;

	while (rows < 2 * n)
		rows *= 2;
	table->mask = rows - 1;
	table->rows = calloc(rows, sizeof(*table->rows));
	table->hashes = malloc((n ? n : 1) * sizeof(*table->hashes));
	if (table->rows && table->hashes)
		return 0;
	free(table->rows);
	free(table->hashes);
	return -ENOMEM;
}

static void table_free(struct table *table)
{
	free(table->rows);
	free(table->hashes);
}

/* The row of the first job whose key is alike, or an empty one. */
static uint32_t *table_find(const struct table *table, const struct plan *plan,
			    const uint64_t hash[2], const char *in, const tine_task *task,
			    size_t item)
{
	size_t size = task->in_size, key_size = task_key_size(task);
	size_t row = hash[0] & table->mask;

	for (; table->rows[row]; row = (row + 1) & table->mask) {
		size_t job = table->rows[row] - 1;

		if (table->hashes[job][0] == hash[0] &&
		    table->hashes[job][1] == hash[1] &&
		    (!size || memcmp(in + plan->items[job] * size, in + item * size,
				     key_size) == 0))
			break;
	}
	return &table->rows[row];
}

static int add_twin(struct plan *plan, size_t *room, uint32_t item, uint32_t first)
{
	if (plan->twin_count == *room) {
		size_t more = *room ? 2 * *room : 64;
		void *twins = realloc(plan->twins, more * sizeof(*plan->twins));

		if (!twins)
			return -ENOMEM;
		plan->twins = twins;
		*room = more;
	}
	plan->twins[plan->twin_count++] = (struct twin){ item, first };
	return 0;
}

static void note_known(struct plan *plan, size_t item, int status)
{
	if (status == 1 && item < plan->found)
		plan->found = item;
}

int plan_make(struct plan *plan, tine_cache *cache, const tine_task *task, const void *in,
	      void *out, size_t n, int *status, uint32_t *items)
{
	struct table table;
	size_t room = 0;
	int err;

	*plan = (struct plan){ .items = items, .found = n };
	err = table_new(&table, n);
	if (err)
		return err;
	for (size_t i = 0; !err && i < n; i++) {
		const char *item_in = (const char *)in + i * task->in_size;
		char *item_out = (char *)out + i * task->out_size;
		uint64_t hash[2];
		uint32_t *row;

		status[i] = -ECANCELED;
		err = cache_take(cache, task, item_in, item_out, &status[i], hash);
		if (err == 1) {
			note_known(plan, i, status[i]);
			err = 0;
			continue;
		}
		if (err)
			break;
		row = table_find(&table, plan, hash, in, task, i);
		if (*row) {
			err = add_twin(plan, &room, i, plan->items[*row - 1]);
			continue;
		}
		memcpy(table.hashes[plan->jobs], hash, sizeof(hash));
		plan->items[plan->jobs++] = i;
		*row = plan->jobs;
	}
	table_free(&table);
	if (err)
		plan_free(plan);
	return err;
}

void plan_settle(struct plan *plan, const tine_task *task, void *out, int *status)
{
	size_t size = task->out_size;
	char *bytes = out;

	for (size_t i = 0; i < plan->twin_count; i++) {
		const struct twin *twin = &plan->twins[i];

		status[twin->item] = status[twin->first];
		if (size)
			memcpy(bytes + twin->item * size, bytes + twin->first * size,
			       size);
	}
}

void plan_free(struct plan *plan)
{
	free(plan->twins);
	plan->twins = NULL;
}
