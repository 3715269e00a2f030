/* SPDX-License-Identifier: MIT */
#ifndef TINE_FIGURES_H
#define TINE_FIGURES_H

#include "tour/tour.h"

/* Its name with so many workers in it. */
void tour_name(const struct tour_program *, unsigned workers, char *buf, size_t size);
/* "587 ns", "1.23 ms", "45.6 s": three digits. Returns buf, as the next does. */
const char *tour_time(double seconds, char *buf, size_t size);
/* "1.97x", "456x", "3,580,000x slower": three digits. size: at least 64. */
const char *tour_ratio(double ratio, char *buf, size_t size);
/* "100,000,000 points". */
const char *tour_work(const struct tour *, const struct tour_lesson *, char *buf,
		      size_t size);

/* The fastest program of the library's own, beside the first; NULL: none is faster. */
const struct tour_result *tour_best(const struct tour_section *);
/* One sentence: what this machine is good for, by the tour. Returns buf. */
const char *tour_gist(const struct tour *, char *buf, size_t size);

#endif
