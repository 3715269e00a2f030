/* SPDX-License-Identifier: MIT */
#include "queue/desk.h"
#include "queue/sink.h"

#include "memory/heap.h"

int queue_new_block(void **block, size_t len, int64_t deadline)
{
	struct member *self;
	int err;

	deadline = earlier(deadline, shared_patience());
	err = member_join(&self, deadline);
	return err ? err : owned_new(block, len, member_id(), deadline);
}

ssize_t queue_pour_parcel(const struct sink *sink, const struct parcel *parcel)
{
	if (!parcel_is_whole(parcel))
		return 0;
	if (!sink->in_place)
		memcpy(sink->buf, parcel->block, parcel->len);
	if (!sink->lease) {
		if (!parcel_accept(parcel, member_id()))
			return 0;
		*sink->block = parcel->block;
	}
	return (ssize_t)parcel->len;
}
