/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_LOOP_H
#define TINE_MAP_LOOP_H

/* Runs all jobs; the exit code. Where a signal has ended it, it is raised again. */
int loop_run(void);

#endif
