/* SPDX-License-Identifier: MIT */
#ifndef TINE_PASSING_H
#define TINE_PASSING_H

#include <stddef.h>
#include <sys/types.h>

#define MOST_PASSED 6 /* descriptors, with one message */

/* A message with descriptors, on a line between the two; never blocks. */
ssize_t pass_message(int line, const void *head, size_t head_len, const char *rest,
		     size_t rest_len, const int *fds, size_t n);
/* The message's length; fds and *n, which was the room there is: what came with it. */
ssize_t take_message(int line, void *head, size_t head_len, char *rest, size_t rest_len,
		     int *fds, size_t *n);

#endif
