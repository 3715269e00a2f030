/* SPDX-License-Identifier: MIT */
/* Jobs of a pool whose results are kept in a cache. */
#ifndef TINE_CACHED_H
#define TINE_CACHED_H

#include "base/export.h"

/*
 * What a worker needs to know to call the task through the cache: it opens that by its
 * path, since it may be older than the caller's handle. In the family's memory.
 */
struct cached {
	int64_t max_age_ms;
	bool shared;
	size_t in_size, out_size, key_size;
	int64_t task_age_ms; /* of the task's results */
	unsigned version;
	size_t name; /* where it begins in text, behind the path */
	char text[];
};

/* How large one is for that task. */
size_t cached_size(const tine_cache *, const tine_task *);
void cached_fill(struct cached *, const tine_cache *, const tine_task *);
/* In a worker: the status of the job, as if it had been called. */
int cached_call(const struct cached *, tine_fn *fn, const void *in, void *out);

/* Whether the result is known: then the status, and out. */
bool cached_find(const struct cached *, const void *in, void *out, int *status);
/* Elsewhere it was done already: keeps what it has returned and written. */
void cached_keep(const struct cached *, const void *in, void *out, int status);

/* Closes what that has opened. */
void cached_forget(void);

/* Of a map, which jobs are to be done. */
struct plan {
	uint32_t *items; /* their indexes, ascending */
	size_t jobs;
	size_t found; /* of a search: the first item that is known to be a hit, or n */
	struct twin {
		uint32_t item, first; /* whose input is alike */
	} * twins;
	size_t twin_count;
};

/*
 * Takes what is known into out and status; jobs that are yet to be done have status
 * -ECANCELED. items: room for n. -ENOMEM, or an error of the cache.
 */
int plan_make(struct plan *, tine_cache *, const tine_task *, const void *in, void *out,
	      size_t n, int *status, uint32_t *items);
/* When they are done: the others that are alike have the same. */
void plan_settle(struct plan *, const tine_task *, void *out, int *status);
void plan_free(struct plan *);

#endif
