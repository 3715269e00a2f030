/* SPDX-License-Identifier: MIT */
/* How a call waits for a key to change. */
#ifndef TINE_WAIT_H
#define TINE_WAIT_H

#include "store/redis/calls.h"

/* All that was told until now, in a call that has begun. */
void wait_hear(struct session *);
/* From now on the next change of the key is told; and asks whether it is there. */
int wait_arm(struct session *, struct told_key *);
/* Sleeps while the armed key has this version; 0: look again. */
int wait_until_told(struct session *, struct told_key *, int64_t deadline);

#endif
