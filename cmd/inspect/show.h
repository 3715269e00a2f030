/* SPDX-License-Identifier: MIT */
#ifndef TINE_INSPECT_SHOW_H
#define TINE_INSPECT_SHOW_H

#include <jansson.h>

/* A look as text. */
void show_memory(const json_t *);
void show_folder(const json_t *);

/* Members of an object. */
json_int_t number_in(const json_t *, const char *name);
const char *text_in(const json_t *, const char *name);

#endif
