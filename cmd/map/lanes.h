/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_LANES_H
#define TINE_MAP_LANES_H

#include "map/map.h"

/* The file of --trace: a lane a slot, and in it an event for each attempt. */

/* DONE, or an exit code: it cannot be written. */
int lanes_open(void);
/* An attempt is over, or a kept result was there. */
void lanes_attempt(const struct job *);

#endif
