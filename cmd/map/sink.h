/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_SINK_H
#define TINE_MAP_SINK_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Standard output and error, of which neither is waited for. 0; or 1: not now, but once
 * *fd can be written; or a negative error of *fd.
 */
void sink_open(void);
/* Takes *taken of the bytes, maybe fewer than all. */
int sink_add(bool error, const char *, size_t len, size_t *taken, int *fd);
/* Writes what it has taken. */
int sink_flush(int *fd);

#endif
