/* SPDX-License-Identifier: MIT */
/* What a task is called, with its sizes, in the family's memory: kept with its jobs. */
#ifndef TINE_LABEL_H
#define TINE_LABEL_H

#include "base/export.h"

size_t label_size(const tine_task *);
/* The task, whose texts lie behind it. */
const tine_task *label_write(void *at, const tine_task *);

#endif
