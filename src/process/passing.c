/* SPDX-License-Identifier: MIT */
/* Messages with descriptors, as a keeper and its owner have them. */
#include "process/passing.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union control {
	char bytes[CMSG_SPACE(MOST_PASSED * sizeof(int))];
	struct cmsghdr align;
};

ssize_t pass_message(int line, const void *head, size_t head_len, const char *rest,
		     size_t rest_len, const int *fds, size_t n)
{
	union control control = { 0 };
	struct iovec parts[] = { { (void *)head, head_len }, { (char *)rest, rest_len } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t len;

	if (n > 0) {
		struct cmsghdr *header;

		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(n * sizeof(int));
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(header), fds, n * sizeof(int));
	}
	/* Bound: MSG_DONTWAIT. */
	len = sendmsg(line, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	return len < 0 ? -errno : len;
}

ssize_t take_message(int line, void *head, size_t head_len, char *rest, size_t rest_len,
		     int *fds, size_t *n)
{
	union control control;
	struct iovec parts[] = { { head, head_len }, { rest, rest_len } };
	struct msghdr message = { .msg_iov = parts,
				  .msg_iovlen = 2,
				  .msg_control = control.bytes,
				  .msg_controllen = CMSG_SPACE(*n * sizeof(int)) };
	/* Bound: MSG_DONTWAIT. */
	ssize_t len = recvmsg(line, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *header = len < 0 ? NULL : CMSG_FIRSTHDR(&message);

	*n = 0;
	if (len < 0)
		return -errno;
	if (header && header->cmsg_type == SCM_RIGHTS) {
		*n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(header), *n * sizeof(int));
	}
	return len;
}
