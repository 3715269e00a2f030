/* SPDX-License-Identifier: MIT */
#ifndef TINE_PROC_H
#define TINE_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What /proc says of processes. */

/* Whether the process exists, and is no zombie. */
bool process_alive(pid_t);
/*
 * When it was started, in the kernel's ticks, which no two processes of one number share;
 * 0 when it is not alive.
 */
uint64_t process_started(pid_t);
#define STARTED_SOMETIME 1 /* it is alive, and no more can be found out */
#define STARTED_NEVER	 UINT64_MAX
/* The same, and whether its only thread is about to end, and it will be gone at once. */
uint64_t process_look(pid_t, bool *exiting);
/* The process that is its parent now; 0: it is gone, or not to be seen. */
pid_t process_parent(pid_t);
/* The processor on which a thread last ran; -1: it is gone. */
int process_processor(pid_t thread);
/* Whether its first thread is stopped, by a signal or a tracer. */
bool process_stopped(pid_t);
/* The signal that it is stopped by; 0: the kernel does not tell. */
int process_stop_signal(pid_t);
/* Bytes that are resident and the process's own, not shared; 0: it is gone. */
size_t own_memory(pid_t);
/*
 * The variable of that name in the environment of a process as it was executed, without
 * its name; false: there is none, or it is not for us to see.
 */
bool process_variable(pid_t pid, const char *name, char *value, size_t size);

#endif
