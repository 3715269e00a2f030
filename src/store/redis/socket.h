/* SPDX-License-Identifier: MIT */
/* Sockets that connect in time: a descriptor, or an error. */
#ifndef TINE_SOCKET_H
#define TINE_SOCKET_H

#include "base/export.h"

int socket_open_unix(const char *path, int64_t deadline);
int socket_open_tcp(const char *host, unsigned port, int64_t deadline);
/* For events of poll(2). */
int socket_wait(int fd, short events, int64_t deadline);

#endif
