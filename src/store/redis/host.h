/* SPDX-License-Identifier: MIT */
/* The addresses of a host, in time. */
#ifndef TINE_HOST_H
#define TINE_HOST_H

#include "base/export.h"

#include <netdb.h>

/* For freeaddrinfo(3). -ECONNREFUSED: there is no such host; -ETIMEDOUT; -ENOMEM. */
int host_find(const char *host, unsigned port, struct addrinfo **, int64_t deadline);

#endif
