/* SPDX-License-Identifier: MIT */
/* Where messages go that are taken. */
#ifndef TINE_QUEUE_SINK_H
#define TINE_QUEUE_SINK_H

#include "queue/parcel.h"

#include <string.h>

static inline void copy(void *to, const void *from, size_t len)
{
	/* Spares the call, where it is the larger part. */
	if (len == 8)
		memcpy(to, from, 8);
	else
		memcpy(to, from, len);
}

/* Where messages go: one of any length, or many side by side. */
struct sink {
	char *buf;
	size_t size; /* of the buffer, or of each place in it */
	size_t n;
	bool many;
	tine_lease *lease;
	bool in_place;
	void **block; /* where messages have any length: the taken one's, to be freed */
};

/* Of what a parcel names; 0: there is nothing. */
ssize_t queue_pour_parcel(const struct sink *, const struct parcel *);

/* The result is what it adds. */
static inline ssize_t pour_cell(const struct sink *sink, char *buf, const void *data,
				size_t len)
{
	copy(buf, data, len);
	if (!sink->many)
		return (ssize_t)len;
	if (len < sink->size)
		memset(buf + len, 0, sink->size - len);
	return 1;
}

static inline ssize_t pour(const struct sink *sink, char *buf, const void *data,
			   size_t len)
{
	if (sink->block && len == sizeof(struct parcel))
		return queue_pour_parcel(sink, data);
	return pour_cell(sink, buf, data, len);
}

#endif
