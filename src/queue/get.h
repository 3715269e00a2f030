/* SPDX-License-Identifier: MIT */
#ifndef TINE_QUEUE_GET_H
#define TINE_QUEUE_GET_H

#include "queue/sink.h"

/* What is added to the sink, sooner or later; 0: the end; or an error of a get. */
ssize_t queue_get(tine_queue *, const struct sink *, int64_t deadline);

#endif
