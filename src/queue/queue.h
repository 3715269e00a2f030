/* SPDX-License-Identifier: MIT */
/* For those who start producers. */
#ifndef TINE_QUEUE_QUEUE_H
#define TINE_QUEUE_QUEUE_H

#include "base/export.h"

#include <sys/types.h>

/* 0; -EINVAL: it is no queue; -EXDEV: another family's. */
int queue_check(const tine_queue *);
/*
 * Makes a child that was just forked a producer, and a member of the family, before it
 * calls anything itself: it is told its id, for member_adopt(). 0; -ENOMEM, -ETIMEDOUT,
 * -EINTR.
 */
int queue_join_for(tine_queue *, pid_t child, uint64_t *id);

#endif
