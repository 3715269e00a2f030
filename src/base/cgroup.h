/* SPDX-License-Identifier: MIT */
#ifndef TINE_CGROUP_H
#define TINE_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Calls fn with an open directory of each cgroup that governs this process for the
 * controller ("cpu", "memory"), from its own up to the root of what can be seen, in the
 * hierarchies of both versions. root is put before every path: "" but in tests.
 */
typedef void cgroup_fn(int dir, bool v2, void *arg);
void cgroup_walk(const char *root, const char *controller, cgroup_fn *fn, void *arg);

/* The n-th (from 0) number in a file of the directory; false: none, or the word "max". */
bool cgroup_number(int dir, const char *file, int n, uint64_t *out);

/* The number after a key in a file of lines "key number"; 0 when there is none. */
uint64_t cgroup_keyed(int dir, const char *file, const char *key);

/* Bytes that may still be used before a memory limit or the machine is full. */
uint64_t memory_headroom(const char *root);

/* How often the system has killed a process of our group for its memory. */
uint64_t memory_kills(const char *root);

#endif
