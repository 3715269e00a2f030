/* SPDX-License-Identifier: MIT */
#ifndef TINE_INSPECT_INSPECT_H
#define TINE_INSPECT_INSPECT_H

#include "inspect/memory.h"

/* memory_open(), and says on stderr what is wrong. DONE, or an exit code. */
int open_family(const char *command, struct memory *, pid_t);
bool read_pid(const char *text, void *pid);

#endif
