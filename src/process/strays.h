/* SPDX-License-Identifier: MIT */
#ifndef TINE_STRAYS_H
#define TINE_STRAYS_H

#include "base/export.h"

/*
 * Children that a subreaper did not fork: their parents have ended. The kernel tells
 * a process's children; where it does not, /proc is looked through.
 *
 * Calls fn for each child of this process, which has one thread, and returns how often
 * fn returned true.
 */
typedef bool stray_fn(void *arg, pid_t child);
unsigned each_child(stray_fn *fn, void *arg);

/*
 * The variable of that name in the environment of a process as it was executed, without
 * its name; false: there is none, or it is not for us to see.
 */
bool process_variable(pid_t pid, const char *name, char *value, size_t size);

#endif
