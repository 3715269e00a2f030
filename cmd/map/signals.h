/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_SIGNALS_H
#define TINE_MAP_SIGNALS_H

#include <stdbool.h>

/* From now on signals_take() has those that end it, and SIGTSTP. The descriptor. */
int signals_open(void);
/* The next that came, or 0. */
int signals_take(void);
/* Whether writing to a closed pipe is an error as any other, by the caller's wish. */
bool signals_pipe_ignored(void);
/* As SIGTSTP does to any program: until it is continued, or not at all. */
void signals_stop(void);
/* With what it does to any program. */
void signals_raise(int signal);

#endif
