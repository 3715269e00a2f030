/* SPDX-License-Identifier: MIT */
/* What is going on in a family, or at a folder, as one JSON object. */
#ifndef TINE_INSPECT_LOOK_H
#define TINE_INSPECT_LOOK_H

#include "inspect/memory.h"

#include <jansson.h>

/* NULL: no memory. */
json_t *look_at_memory(const struct memory *, pid_t asked);
/* The processes that have files of the folder open, and what of them they have locked. */
json_t *look_at_folder(const char *path); /* NULL: no such path */

#endif
