/* SPDX-License-Identifier: MIT */
#include "queue/desk.h"
#include "queue/sink.h"

#include "memory/heap.h"

int queue_new_block(void **block, size_t len, int64_t deadline)
{
	uint64_t id = member_id();

	deadline = earlier(deadline, shared_patience());
	*block = id ? owned_new(len, id, deadline) : NULL;
	if (*block)
		return 0;
	return id && deadline > TINE_NOWAIT && deadline <= tine_now() ? -ETIMEDOUT
								      : -ENOMEM;
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
