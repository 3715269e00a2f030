/* SPDX-License-Identifier: MIT */
/* What the lesson on death does as the first one does it. */
#ifndef TINE_TOUR_PI_H
#define TINE_TOUR_PI_H

#include "tour/tour.h"

#include <tine.h>

enum { PARTS = 1000 };

struct part {
	uint64_t stream, points;
};

/*
 * A job: how many of a part's points lie in the circle. in: struct part; out: uint64_t.
 */
int points_inside(const void *in, void *out);

/* Has PARTS jobs done by so many workers; 0, or a negative error. */
typedef int parts_map(unsigned workers, const tine_task *, const struct part *,
		      uint64_t *inside, void *arg);

/* All parts, and how long they took; workers 0: in this process. 0, or map's error. */
int count_points(struct tour_run *, unsigned workers, const tine_task *,
		 parts_map *map_parts, void *arg);

#endif
