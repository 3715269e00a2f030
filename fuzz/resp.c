/* SPDX-License-Identifier: MIT */
/*
 * What a server may answer. It comes in two pieces, cut where the first byte says: the
 * outcome is the same as of one, and all that is whole can be walked to its end.
 */
#include "store/redis/resp.h"

#include <stdlib.h>
#include <string.h>

#define MOST ((size_t)1 << 16)

static void demand(bool condition)
{
	if (!condition)
		abort();
}

/* How many elements lie in it, at whatever depth. */
static size_t walk(struct resp resp, unsigned depth)
{
	struct resp element;
	size_t n = 0;

	demand(depth <= RESP_DEPTH_MAX);
	if (resp.kind == RESP_ERROR)
		demand(resp_error(&resp) < 0);
	if (resp.kind == RESP_STRING)
		demand(resp.len == (size_t)resp.number);
	if (resp_is_name(&resp))
		demand(resp.len > 0 && resp.len <= TINE_STORE_KEY_MAX);
	if (resp.kind != RESP_ARRAY)
		return 0;
	while (resp_next(&resp, &element)) {
		walk(element, depth + 1);
		n++;
	}
	demand(n == (size_t)resp.number && resp.len == 0);
	return n;
}

static int scan(struct resp_scan *scan, const char *bytes, size_t len)
{
	/* Nothing may be read beyond what has come. */
	char *copy = malloc(len > 0 ? len : 1);
	int found;

	demand(copy != NULL);
	memcpy(copy, bytes, len);
	found = resp_scan(scan, copy, len, MOST);
	demand(scan->at <= len);
	free(copy);
	return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct resp_scan whole = { 0 }, pieces = { 0 };
	const char *bytes = (const char *)data + 1;
	size_t len = size - 1, cut;
	int found;

	if (size == 0 || len > MOST)
		return 0;
	cut = data[0] < len ? data[0] : len;
	found = scan(&whole, bytes, len);
	if (scan(&pieces, bytes, cut) == 0) {
		demand(scan(&pieces, bytes, len) == found);
		demand(found != 1 ||
		       (pieces.at == whole.at && pieces.refused == whole.refused &&
			(!whole.refused || pieces.error == whole.error)));
	}
	if (found == 1)
		walk(resp_of(bytes, whole.at), 0);
	return 0;
}
