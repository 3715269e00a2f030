/* SPDX-License-Identifier: MIT */
/* Of a build without TLS. */
#include "store/redis/tls.h"

#include <errno.h>

int trust_new(struct trust **out, const struct store_address *address)
{
	*out = NULL;
	return address->tls ? -EPROTONOSUPPORT : 0;
}

void trust_free(struct trust *trust)
{
	(void)trust;
}

int tls_new(struct tls **out, const struct trust *trust, int fd)
{
	(void)out;
	(void)trust;
	(void)fd;
	return -EPROTONOSUPPORT;
}

void tls_free(struct tls *tls)
{
	(void)tls;
}

int tls_greet(struct tls *tls, short *events)
{
	(void)tls;
	(void)events;
	return -EPROTONOSUPPORT;
}

ssize_t tls_send(struct tls *tls, const void *bytes, size_t len, short *events)
{
	(void)bytes;
	(void)len;
	return tls_greet(tls, events);
}

ssize_t tls_receive(struct tls *tls, void *buf, size_t size, short *events)
{
	(void)buf;
	(void)size;
	return tls_greet(tls, events);
}

int tls_peek(struct tls *tls)
{
	return tls_greet(tls, NULL);
}
