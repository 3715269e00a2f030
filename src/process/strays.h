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
 * Kills a child; where it leads a group all of it at once, since a member could fork
 * while others are killed.
 */
void kill_stray(pid_t child);

#endif
