/* SPDX-License-Identifier: MIT */
#include "store/redis/socket.h"

#include "base/futex.h"
#include "base/own_fd.h"
#include "store/redis/host.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define FULL_PAUSE 1000000 /* nanoseconds, when a socket's queue is full */
#define IDLE_S	   10	   /* before the kernel asks whether the peer is there */
#define ASK_S	   3
#define ASK_TIMES  3

int socket_wait(int fd, short events, int64_t deadline)
{
	struct pollfd polled = { .fd = fd, .events = events };

	for (;;) {
		int64_t left = deadline - tine_now();
		struct timespec ts = timespec_of(left > 0 ? left : 0);
		/* Bound: the deadline, which is that of a call or of a connection. */
		int n = ppoll(&polled, 1, deadline == TINE_FOREVER ? NULL : &ts, NULL);

		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		interrupt_note(errno);
		if (errno != EINTR)
			return -errno;
	}
}

/* What connect(2) says, as tine.h does. */
static int refusal(int err)
{
	switch (err) {
	case ENOENT:
	case ENOTDIR:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENETUNREACH:
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
		return -ECONNREFUSED;
	case EPERM:
		return -EACCES;
	default:
		return -err;
	}
}

static int connect_socket(int fd, const struct sockaddr *to, socklen_t len,
			  int64_t deadline)
{
	struct timespec moment = { .tv_nsec = FULL_PAUSE };
	socklen_t size = sizeof(int);
	int err;

	/* Bound: SOCK_NONBLOCK. */
	while (connect(fd, to, len) != 0) {
		if (errno == EINPROGRESS || errno == EINTR) {
			err = socket_wait(fd, POLLOUT, deadline);
			if (err)
				return err;
			getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size);
			return err ? refusal(err) : 0;
		}
		/* Of a Unix socket: too many wait to be accepted. */
		if (errno != EAGAIN)
			return refusal(errno);
		if (tine_now() >= deadline)
			return -ETIMEDOUT;
		/* Bound: FULL_PAUSE. */
		nanosleep(&moment, NULL);
	}
	return 0;
}

static void set_number(int fd, int level, int option, int number)
{
	setsockopt(fd, level, option, &number, sizeof(number));
}

/* So that who waits for changes notices a peer that is gone without a word. */
static void keep_alive(int fd)
{
	set_number(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_number(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_number(fd, IPPROTO_TCP, TCP_KEEPIDLE, IDLE_S);
	set_number(fd, IPPROTO_TCP, TCP_KEEPINTVL, ASK_S);
	set_number(fd, IPPROTO_TCP, TCP_KEEPCNT, ASK_TIMES);
}

static int open_socket(const struct sockaddr *to, socklen_t len, int64_t deadline)
{
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int err;

	if (fd < 0)
		return refusal(errno);
	if (to->sa_family != AF_UNIX)
		keep_alive(fd);
	err = connect_socket(fd, to, len, deadline);
	if (err)
		close(fd);
	else
		err = fds_raise(&fd, 1);
	return err ? err : fd;
}

int socket_open_unix(const char *path, int64_t deadline)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(to.sun_path))
		return -ENAMETOOLONG;
	strcpy(to.sun_path, path);
	return open_socket((struct sockaddr *)&to, sizeof(to), deadline);
}
/* Each of a name's addresses has its share of the time that is left. */
int socket_open_tcp(const char *host, unsigned port, int64_t deadline)
{
	struct addrinfo *found;
	int err = host_find(host, port, &found, deadline), left = 0;

	if (err)
		return err;
	for (struct addrinfo *each = found; each; each = each->ai_next)
		left++;
	err = -ECONNREFUSED;
	for (struct addrinfo *each = found; each; each = each->ai_next) {
		int64_t now = tine_now();

		err = open_socket(each->ai_addr, each->ai_addrlen,
				  now + (deadline - now) / left--);
		if (err >= 0)
			break;
	}
	freeaddrinfo(found);
	return err;
}
