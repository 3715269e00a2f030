/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_POLLS_H
#define TINE_MAP_POLLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Another descriptor of the pipe that this one is of, for which reads and writes wait for
 * nobody: others may have been faster. -1: it is no pipe, or not for us to open.
 */
int open_pipe_again(int fd, int how);

/*
 * What poll(2) waits for: anew each time, and only what is open, for it refuses more
 * entries than a process may have descriptors.
 */
void polls_open(size_t most);
void polls_clear(void);
/* Where it is among them, for polls_came(); 0, if the descriptor is -1: nowhere. */
size_t polls_add(int fd, short events);
bool polls_came(size_t at);
/* Until something came, or the deadline. False: a signal came. */
bool polls_wait(int64_t deadline);

#endif
