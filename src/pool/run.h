/* SPDX-License-Identifier: MIT */
/* A call that has many jobs done: what those of map.c and index.c share. */
#ifndef TINE_RUN_H
#define TINE_RUN_H

#include "pool/cached.h"
#include "pool/pool.h"

struct run {
	tine_pool *pool;
	const tine_map_opts *opts;
	struct map map;	 /* moves on with base */
	void *out_there; /* where the jobs find all of it */
	int *status_there;
	void *endings_there;
	size_t items;	    /* the caller's */
	size_t total, base; /* jobs of all deals, and of those before this one */
	/* Of a map whose items go through the stages piece by piece: see run.c. */
	size_t piece;	     /* jobs of a deal, or 0 */
	const char *in_home; /* where the caller has them; NULL: the jobs find all */
	char *out_home;
	unsigned rounds;  /* at most, in which failures are dealt anew, see run.c */
	struct plan plan; /* where there is a cache, which items are jobs */
	int64_t deadline;
	bool late;     /* the deadline has passed, or */
	bool cut;      /* a signal ended the wait */
	int64_t ended; /* when the search was seen to have its hits, or 0 */
	int nurseries; /* that died */
	int err;
	size_t found; /* the first hit, or SIZE_MAX */
	tine_failure failure;
};

/* Where workers find n items of the caller's: there, or in the stage. */
int run_place(const struct run *, struct stage *, const void *items, size_t n,
	      size_t size, void **placed);
/* 0; or why the task's jobs cannot be done where they are to be. */
int run_accept(const tine_pool *, const tine_task *, bool ranges, bool leaves);
/* Its task, where that is to be told. */
int run_label(struct run *, const tine_task *);
void run_begin_trace(struct run *, const tine_task *);
/* Whether all jobs are done, or none is to be: else an error. The first failure. */
int run_work(struct run *, int *failure);
/* Prepares for tries after the first. -ENOMEM, -EINVAL: too many jobs. */
int run_plan_tries(struct run *);
/*
 * Where there may have been some, the negative status of the smallest index; else given.
 */
int run_failure(const struct run *, int given);
/* What it is called that the call has ended too soon. */
int run_late_error(const struct run *);
void run_tell_failure(const struct run *);
/*
 * Around all that a call does with the pool. -EBUSY: another call does, of a thread that
 * is not to, or the one whose progress function makes this one.
 */
int run_begin(tine_pool *);
/* Frees what is not worth to be kept. err: what the call returns. */
void run_end(tine_pool *, int err);

#endif
