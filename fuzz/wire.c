/* SPDX-License-Identifier: MIT */
/*
 * What travels between callers and hosts, given any bytes: nothing is read beyond them,
 * and what is taken is the same when it is sent on. The first byte says what it is.
 */
#include "engine/wire.h"

#include <stdlib.h>
#include <string.h>

static void demand(bool condition)
{
	if (!condition)
		abort();
}

static void try_chunk(const void *bytes, size_t len)
{
	unsigned char again[WIRE_CHUNK_LEN];
	struct wire_chunk chunk;

	if (wire_get_chunk(&chunk, bytes, len) != 0)
		return;
	demand(chunk.n > 0 && wire_in_len(&chunk) <= WIRE_MOST &&
	       wire_out_len(&chunk) <= WIRE_MOST);
	wire_put_chunk(again, &chunk);
	demand(memcmp(again, bytes, WIRE_CHUNK_LEN) == 0);
}

/* Of a chunk whose size of outputs the first bytes say. */
static void try_result(const unsigned char *bytes, size_t len)
{
	struct wire_chunk chunk = { .kind = WIRE_CALLS };
	struct wire_result result;

	if (len < 4)
		return;
	chunk.n = bytes[0] + 1u;
	chunk.out_size = bytes[1];
	chunk.kind = bytes[2] % 2 ? WIRE_CALLS : WIRE_RANGE;
	if (wire_get_result(&result, &chunk, bytes + 3, len - 3, wire_out_len(&chunk)))
		return;
	demand(result.n == chunk.n);
	for (uint32_t i = 0; i < chunk.n; i++)
		wire_status(&result, i);
	for (uint32_t i = 0; i < result.endings; i++)
		demand(wire_ending(&result, i).job < chunk.n);
}

static void try_host(const char *text, size_t len)
{
	struct wire_host host;
	const char *tasks;
	size_t tasks_len;

	if (wire_get_host(&host, text, len, &tasks, &tasks_len) != 0)
		return;
	demand(*host.name && tasks >= text && tasks + tasks_len == text + len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Nothing may be read beyond what has come. */
	unsigned char *copy;

	if (size == 0)
		return 0;
	copy = malloc(size);
	demand(copy != NULL);
	memcpy(copy, data + 1, size - 1);
	if (data[0] % 3 == 0)
		try_chunk(copy, size - 1);
	else if (data[0] % 3 == 1)
		try_result(copy, size - 1);
	else
		try_host((char *)copy, size - 1);
	free(copy);
	return 0;
}
