/* SPDX-License-Identifier: MIT */
/*
 * TLS on a socket, by OpenSSL. Nothing here waits: -EAGAIN tells the events of poll(2) to
 * wait for. Other errors: -TINE_ECERT: the server's certificate; -EACCES: the server does
 * not want ours, or us; -EBADMSG: that is no TLS; -ECONNRESET, -ENOMEM, the socket's.
 */
#ifndef TINE_TLS_H
#define TINE_TLS_H

#include "store/store.h"

/* Whom a handle believes, and what it shows. */
struct trust;
/* NULL where the address is without TLS. -EPROTONOSUPPORT; -EINVAL, or errno: a file. */
int trust_new(struct trust **, const struct store_address *);
void trust_free(struct trust *);

struct tls;
/* Says nothing yet. */
int tls_new(struct tls **, const struct trust *, int fd);
/* Says nothing: neither to the server, nor to the process that it may be a copy of. */
void tls_free(struct tls *);
int tls_greet(struct tls *, short *events);
/* After -EAGAIN with the same bytes again. */
ssize_t tls_send(struct tls *, const void *bytes, size_t len, short *events);
ssize_t tls_receive(struct tls *, void *buf, size_t size, short *events);
/* 1: there is something to receive; -EAGAIN: nothing yet. */
int tls_peek(struct tls *);

#endif
