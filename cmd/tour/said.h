/* SPDX-License-Identifier: MIT */
#ifndef TINE_SAID_H
#define TINE_SAID_H

#include "tour/tour.h"

/*
 * The line of JSON by which a Python program says what it found. 0; else run->note says.
 */
int said_parse(struct tour_run *, const char *text);

#endif
