/* SPDX-License-Identifier: MIT */
/* The protocol is at the head of bell.h. */
#include "pool/bell.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

int bell_new(struct bell *bell)
{
	int ends[2], err;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return -errno;
	err = fds_raise(ends, 2);
	if (err)
		return err;
	*bell = (struct bell){ .near = own_fd(ends[0]),
			       .rope = own_fd(ends[1]),
			       .poll = -1 };
	return 0;
}

/* The program may have closed it, and have another of the number. */
static bool has_poll(const struct bell *bell)
{
	struct epoll_event event = { .events = EPOLLIN };

	return bell->poll >= 0 &&
	       epoll_ctl(bell->poll, EPOLL_CTL_MOD, bell->near.fd, &event) == 0;
}

static int add_to_poll(const struct bell *bell, int handle)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(bell->poll, EPOLL_CTL_ADD, handle, &event) == 0 ? 0 : -errno;
}

int bell_watch(struct bell *bell, int handle)
{
	return has_poll(bell) ? add_to_poll(bell, handle) : 0;
}

void bell_unwatch(struct bell *bell, int handle)
{
	if (has_poll(bell))
		epoll_ctl(bell->poll, EPOLL_CTL_DEL, handle, NULL);
}

int bell_listen(struct bell *bell, int handle)
{
	int fd, err;

	if (bell->poll >= 0)
		return bell->poll;
	fd = epoll_create1(EPOLL_CLOEXEC);
	err = fd < 0 ? -errno : fds_raise(&fd, 1);
	if (err)
		return err;
	bell->poll = fd;
	if ((err = add_to_poll(bell, bell->near.fd)) == 0 &&
	    (handle < 0 || (err = add_to_poll(bell, handle)) == 0))
		return bell->poll;
	close(bell->poll);
	bell->poll = -1;
	return err;
}

bool bell_pull(const struct own_fd *rope)
{
	/* Bound: it does not block. Full, there are bytes enough. */
	return own_fd_is_open(rope) &&
	       (send(rope->fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ||
		errno == EAGAIN);
}

void bell_hush(const struct bell *bell)
{
	char bytes[64];

	if (!own_fd_is_open(&bell->near))
		return;
	/* Bound: it does not block. */
	while (recv(bell->near.fd, bytes, sizeof(bytes), MSG_DONTWAIT) == sizeof(bytes))
		;
}

void bell_free(struct bell *bell)
{
	if (has_poll(bell))
		close(bell->poll);
	own_fd_close(&bell->near);
	own_fd_close(&bell->rope);
}
