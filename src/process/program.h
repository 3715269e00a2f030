/* SPDX-License-Identifier: MIT */
#ifndef TINE_PROGRAM_H
#define TINE_PROGRAM_H

#include "process/child.h"

struct keeper;

/* A program that was spawned, as its owner knows it. In the owner's own memory. */
struct program {
	struct keeper *keeper;
	struct own_fd pidfd;
	pid_t owner, pid;
	int ended; /* 1: and how is known; -ECHILD: and is not */
	tine_exit how;
	tine_usage usage;
};

/* As tine_process_spawn, _wait, _kill, _usage and _free. */
int program_start(struct program *, const tine_command *);
int program_wait(struct program *, tine_exit *how, int64_t deadline);
int program_kill(struct program *, int signal);
int program_usage(struct program *, tine_usage *out);
void program_free(struct program *);

#endif
