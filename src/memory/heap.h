/* SPDX-License-Identifier: MIT */
#ifndef TINE_HEAP_H
#define TINE_HEAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * As tine_shared_new(1, size). 0, -ENOMEM; -ETIMEDOUT: the deadline has passed while
 * another process is stopped in here.
 */
int shared_alloc(void **, size_t size, int64_t deadline);
/* The deadline of calls that have none: in a second. */
int64_t shared_patience(void);
/* The same for calls of these files, found only where there is somebody to wait for. */
#define SHARED_PATIENTLY INT64_MIN

/*
 * A pointer of the family's, NULL at first: to the table of its members. NULL: no memory.
 */
_Atomic(void *) *shared_root(void);

/* Whether len bytes at mem lie in the family's memory. */
bool shared_has(const void *mem, size_t len);
/*
 * Whether it lies in a block that is not freed. Walks through the heap, so ask rarely.
 * True too when it cannot be seen, beside a process that is stopped in here.
 */
bool shared_in_use(const void *mem);

/*
 * The reserved range, and how many bytes of it are allocated; NULL and 0: no family yet.
 */
void *shared_base(void);
size_t shared_span(void);
size_t shared_used(void);

/*
 * Called, without a lock, before the heap grows in which blocks have owners: who has
 * ended, and what was theirs, may be found and freed meanwhile.
 */
void heap_on_growth(void (*look)(void));

/* -EBADMSG unless every structure of the heap agrees with every other; for tests. */
int shared_check(void);

#endif
