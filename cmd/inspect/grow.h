/* SPDX-License-Identifier: MIT */
#ifndef TINE_INSPECT_GROW_H
#define TINE_INSPECT_GROW_H

#include <stdlib.h>

#define FIRST_ROOM 64 /* items */

/* An array of n items, with room for one more; NULL: none, and it is as it was. */
static inline void *grow(void *items, size_t n, size_t *room, size_t size)
{
	size_t more = *room ? 2 * *room : FIRST_ROOM;

	if (n < *room)
		return items;
	items = realloc(items, more * size);
	if (items)
		*room = more;
	return items;
}

#endif
