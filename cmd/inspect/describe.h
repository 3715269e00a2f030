/* SPDX-License-Identifier: MIT */
/* What the looks at families and at folders have in common. */
#ifndef TINE_INSPECT_DESCRIBE_H
#define TINE_INSPECT_DESCRIBE_H

#include "inspect/asleep.h"

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

/* A name of any bytes, without those that a terminal would obey, or JSON cannot have. */
json_t *printable(const char *name);
/* NULL: there is none. If it is stopped, asleep_tell() adds since when. */
json_t *describe_process(struct asleep *, pid_t);
/* Of a lock, by its word: who has it. That process; 0: nobody that lives. */
pid_t describe_holder(json_t *lock, uint32_t word);
/* Who has what is waited for: the process, and its state. */
void name_holder(json_t *wait, pid_t);
/* The same of a lock, by its word. */
void name_locker(json_t *wait, uint32_t word);
/* One more of those; asleep_tell() adds since when. */
struct sleep;
void add_wait(json_t *waits, struct asleep *, json_t *wait, pid_t, const struct sleep *);

#endif
