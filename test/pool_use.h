/* SPDX-License-Identifier: MIT */
/* Pools, and what their jobs and the test tell each other, in the family's memory. */
#ifndef TINE_TEST_POOL_USE_H
#define TINE_TEST_POOL_USE_H

#include "test.h"

#include <tine.h>

/* Made before the pool, so that its workers know where it is. */
static inline void *new_board(size_t size)
{
	void *board = tine_shared_new(1, size);

	CHECK(board);
	return board;
}

static inline tine_pool *new_pool(const tine_pool_opts *opts)
{
	tine_pool *pool;

	CHECK_EQ(tine_pool_new(&pool, opts), 0);
	return pool;
}

/* A pool of these options, with that board. */
#define POOL_WITH(board, ...)                                                            \
	((board) = new_board(sizeof(*(board))),                                          \
	 new_pool(&(tine_pool_opts){ __VA_ARGS__ }))

#endif
