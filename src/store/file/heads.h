/* SPDX-License-Identifier: MIT */
/* The head of what is under a key. */
#ifndef TINE_STORE_HEADS_H
#define TINE_STORE_HEADS_H

#include "store/file/op.h"

#include <stddef.h>
#include <time.h>

enum record_kind { ANY, VALUE, LIST, DICT };

struct record_head {
	uint64_t changed; /* the transaction */
	int64_t expires;  /* milliseconds since 1970; 0: never */
	uint64_t kind;
	/* Not of a value. */
	uint64_t first, n;
};

#define VALUE_HEAD offsetof(struct record_head, first)

static inline int64_t wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static inline bool is_over(int64_t expires)
{
	return expires != 0 && wall_ns() / 1000000 >= expires;
}

size_t head_size(const struct record_head *);
int head_check_kind(const struct record_head *, enum record_kind);
/* rest: the bytes of a value. */
int head_read(const MDB_val *, struct record_head *, MDB_val *rest);
/* Also a head whose time is over. */
int head_find_any(struct op *, const char *key, struct record_head *, MDB_val *rest);
/* For readers. */
int head_find(struct op *, enum record_kind, struct record_head *, MDB_val *rest);
int head_put(struct op *, struct record_head *);
int head_put_value(struct op *, const struct record_head *, const void *val, size_t len);

#endif
