/* SPDX-License-Identifier: MIT */
/* The protocol is at the head of chunk.h; the calls are in submit.c and next.c. */
#include "pool/chunk.h"

#include <errno.h>
#include <string.h>

static uint32_t item_count(const struct chunk_wish *wish)
{
	return wish->task->bytes || wish->work == RANGES ? 1 : wish->n;
}

/* Bytes of all results. */
static int results_size(const struct chunk_wish *wish, size_t *size)
{
	*size = 0;
	if (wish->task->bytes || (wish->work != CALLS && wish->work != LEAVES))
		return 0;
	return __builtin_mul_overflow((size_t)wish->n, wish->task->out_size, size)
		       ? -EINVAL
		       : 0;
}

static size_t inputs_size(const struct chunk_wish *wish)
{
	return wish->work == CALLS ? wish->n * wish->task->in_size : wish->task->in_size;
}

/* Where the chunk is in the data. */
static size_t chunk_offset(size_t in_len, size_t out_len)
{
	return ticket_out(ticket_out(in_len) + out_len);
}

int chunk_size(const struct chunk_wish *wish, size_t *size)
{
	size_t items = item_count(wish), out_len;

	if (wish->n == 0 || wish->n > MAX_JOBS || wish->in_len > SIZE_MAX / 4 ||
	    (!wish->in && wish->in_len))
		return -EINVAL;
	if (results_size(wish, &out_len) != 0 || out_len > SIZE_MAX / 4 ||
	    (!wish->task->bytes && inputs_size(wish) != wish->in_len))
		return -EINVAL;
	*size = chunk_offset(wish->in_len, out_len) + sizeof(struct chunk) +
		items * (sizeof(int) + sizeof(struct chunk_end));
	return 0;
}

struct chunk *chunk_fill(struct ticket *ticket, const struct chunk_wish *wish)
{
	const struct tine_task *task = wish->task;
	size_t items = item_count(wish);
	struct chunk *chunk;

	results_size(wish, &ticket->out_size);
	chunk = (void *)((char *)ticket->data.mem +
			 chunk_offset(wish->in_len, ticket->out_size));
	memset(chunk, 0,
	       sizeof(*chunk) + items * (sizeof(int) + sizeof(struct chunk_end)));
	chunk->work = wish->work;
	chunk->each = task->each;
	chunk->range = task->range;
	chunk->n = items;
	chunk->indexes = wish->n;
	chunk->in_size = task->in_size;
	chunk->out_size = task->out_size;
	chunk->first = wish->first;
	chunk->total = wish->total;
	chunk->leaves = wish->leaves;
	chunk->search = wish->search;
	chunk->ends = (struct chunk_end *)(chunk + 1);
	chunk->status = (int *)(chunk->ends + items);
	return chunk;
}

void chunk_drop(struct chunk *chunk)
{
	for (uint32_t i = index_of(atomic_load(&chunk->at)); i < chunk->n; i++)
		chunk->status[i] = -ECANCELED;
	atomic_store(&chunk->at, at_of(chunk->n, 0, false));
}

bool chunk_mend(struct chunk *chunk, int status, int limit, tine_exit how)
{
	uint64_t at = atomic_load(&chunk->at);
	uint32_t item = index_of(at);

	if (is_running(at)) {
		chunk->status[item] = status;
		chunk->ends[item] = (struct chunk_end){ how, limit };
		chunk->deaths++;
		atomic_store(&chunk->at, at_of(++item, 0, false));
	}
	return item < chunk->n;
}
