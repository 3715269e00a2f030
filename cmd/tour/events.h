/* SPDX-License-Identifier: MIT */
/* The events of a trace; their form is in tine-trace(7). */
#ifndef TINE_EVENTS_H
#define TINE_EVENTS_H

#include "tour/tour.h"

#include <jansson.h>

/* An array, to be given back; NULL: it is no trace, or there is no memory. */
json_t *events_read(const char *path);
json_t *events_parse(char *text); /* which may be changed */

/* All traces of a tour, one after the other. To be freed; NULL: no memory. */
char *events_of_tour(const struct tour *);

#endif
