/* SPDX-License-Identifier: MIT */
/*
 * A ticket of many jobs, the items of a chunk, of which a worker does one after another:
 * what a host has its own pool do for callers elsewhere. An item that crashes or is ended
 * fails alone: the others wait again, in the same ticket, and have another worker.
 *
 * The chunk stands in its ticket's data, behind in and out. Of its words the worker alone
 * writes at, with a store before each item, as at a desk (ledger.h):
 *
 *	dies in item i		at says that i is running: whoever mends fails it, moves
 *				at past it, and has the rest wait
 *	after i, before at	the same; its status is the crash
 *	between items		nothing is running, nothing fails
 *	mender dies		at is what it goes by, and is written last
 *	is stopped in item i	until the item's limit, or until somebody cancels
 *
 * For the owner of the pool alone; not for threads of its.
 */
#ifndef TINE_CHUNK_H
#define TINE_CHUNK_H

#include "pool/ledger.h"

/* What is asked. */
struct chunk_wish {
	enum work work; /* CALLS; EACH, RANGES, LEAVES; task->bytes goes before all */
	const tine_task *task;
	const void *in; /* copied: n items; else the argument, or bytes */
	size_t in_len;
	uint32_t n;    /* jobs; of RANGES indexes, which are one job */
	size_t first;  /* index of EACH, RANGES; of LEAVES: leaf */
	size_t total;  /* of LEAVES: indexes */
	size_t leaves; /* of LEAVES: all of them */
	/* Not 0: no item of a chunk of that number begins after a status of 1. */
	uint64_t search;
	int64_t job_ms;
	uint64_t tag;
};

/* How an item's worker died; zeros where it did not. */
struct chunk_end {
	tine_exit how;
	int limit;
};

/* What has become of it, in place. */
struct chunk_done {
	uint64_t job, tag;
	uint32_t n;	   /* statuses and ends; one of RANGES and of bytes */
	uint32_t deaths;   /* of workers, in items */
	const int *status; /* as of jobs of a map */
	const struct chunk_end *ends;
	const void *out;
	size_t out_len;
	int64_t begun, ended; /* of the first item and the last */
	unsigned worker;      /* that did the last of it */
	struct ticket *ticket;
};

/*
 * Where it is not NULL, *job is its number. -ETIMEDOUT: there is no room, which is for
 * twice as many chunks as workers; those of tine_pool_submit(); -EINVAL also: a length.
 */
int pool_submit_chunk(tine_pool *, const struct chunk_wish *, uint64_t *job,
		      int64_t deadline);
/*
 * One that is done, and in place until pool_end_chunk(): 1; 0: none is submitted;
 * -ETIMEDOUT; those of tine_pool_next(). tine_pool_fd() tells when to ask.
 */
int pool_next_chunk(tine_pool *, struct chunk_done *, int64_t deadline);
void pool_end_chunk(tine_pool *, const struct chunk_done *);
/*
 * Items that have not begun are dropped, and tine_cancelled() is true in the one that
 * runs; end: its worker is ended. -ENOENT: there is none.
 */
int pool_cancel_chunk(tine_pool *, uint64_t job, bool end);

/* ---- for the pool's own files ------------------------------------------------------ */

struct chunk {
	enum work work;
	tine_each_fn *each;
	tine_range_fn *range;
	uint32_t n, indexes;
	size_t in_size, out_size, first, total, leaves;
	uint64_t search;
	_Atomic uint64_t at;	    /* at_of(item, 0, whether it runs); the worker */
	_Atomic uint32_t cancelled; /* the owner: tine_cancelled() reads it */
	uint32_t deaths;	    /* whoever mends */
	int64_t begun, ended;	    /* the worker */
	unsigned worker;	    /* that was in it last */
	int *status;
	struct chunk_end *ends;
};

/* Bytes of the ticket's data. -EINVAL. */
int chunk_size(const struct chunk_wish *, size_t *size);
/* Lays it out in the data, which is there; in is copied. */
struct chunk *chunk_fill(struct ticket *, const struct chunk_wish *);
/* What has not begun is dropped; nobody is in it. */
void chunk_drop(struct chunk *);
/* Its worker has died, with this verdict: whether something is left to be done. */
bool chunk_mend(struct chunk *, int status, int limit, tine_exit how);

#endif
