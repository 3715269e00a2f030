/* SPDX-License-Identifier: MIT */
#ifndef TINE_PAGE_H
#define TINE_PAGE_H

#include "tour/tour.h"

/* The page, whole. Whether it was written is for ferror(). */
void tour_page(const struct tour *, FILE *);

/* ---- its parts --------------------------------------------------------------------- */

/* The best way of each lesson, beside one process; nothing if there is none. */
void chart_gains(FILE *, const struct tour *);
void chart_times(FILE *, const struct tour_section *);
void chart_estimates(FILE *, const struct tour_section *);
/*
 * Below a picture that is y high, in seconds: from 0 if least is 0, else it is a power of
 * ten, and the axis logarithmic.
 */
void chart_axis(FILE *, double least, double most, int y);

/* What each worker did and when, by the trace of a run; nothing if it cannot be read. */
void timeline(FILE *, const struct tour_result *);

#endif
