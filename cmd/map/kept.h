/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_KEPT_H
#define TINE_MAP_KEPT_H

#include "map/text.h"

/* How all keys of tine map in a cache begin, with the zero. */
#define KEPT_PREFIX "tine map"
/* Of a result, of how long a command takes, and of what is in a file. */
#define RESULT_KEY KEPT_PREFIX "\0result 1"
#define TIME_KEY   KEPT_PREFIX "\0time 1"
#define STATE_KEY  KEPT_PREFIX "\0file 1"

/*
 * What such a key is of, as text: the command of a job, or what else is known. False: it
 * is no such key.
 */
bool kept_describe(const void *key, size_t len, struct bytes *text);

#endif
