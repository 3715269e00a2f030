/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_LOG_H
#define TINE_MAP_LOG_H

#include "map/map.h"

/* The log: an object a line for each attempt. DONE, or an exit code. */
int log_open(void);
/* last: no other attempt follows. 0, or a negative error, which was said. */
int log_attempt(const struct job *, bool last);

/* The inputs of a job, with spaces between them. */
void add_inputs(struct bytes *, const struct job *);
/* A string of JSON. A byte that is no UTF-8 is \udc80 to \udcff, as Python has it. */
void add_json(struct bytes *to, const char *text, size_t len);
/* How an attempt ended, as members of an object, behind others. */
void add_end(struct bytes *to, const struct job *);
/* Why it failed: "exit 37", "killed by SIGSEGV", "over 10 s". */
void add_reason(struct bytes *, const struct job *);

#endif
