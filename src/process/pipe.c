/* SPDX-License-Identifier: MIT */
/*
 * A pipe for whole messages: a pair of sockets that keep what one call sends together.
 *
 * A message is one packet, and so is there or is not, whoever dies: its length, and then
 * its bytes. What of a long message does not fit into a packet that the kernel takes by
 * default goes into a file in memory, whose descriptor travels along. The packet is
 * filled all the same, so that long messages too wait when a few are on their way.
 *
 * The receiver looks at a packet before it takes it, with its descriptor if it has one,
 * so that it can leave what does not fit, or what it has no descriptor for.
 *
 *	sender dies before it sends	nothing was sent, and its file is gone with it
 *	dies later			what it had sent is received, then the end
 *	receiver dies before it takes	the packet is there still: for another process
 *					with that end, or it goes with the socket
 */
#include "base/export.h"

#include "base/cgroup.h"
#include "base/deadline.h"
#include "base/futex.h"
#include "base/limits.h"

#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define PACKET	  ((size_t)64 << 10)
#define SMALLEST  ((size_t)1 << 10) /* packet, where the limit on buffers is low */
#define LOOK_FROM ((size_t)4 << 20) /* bytes for which it asks the limits on memory */
#define MARGIN	  ((size_t)8 << 20) /* bytes left to everybody else */

struct header {
	uint64_t len; /* of the whole message */
};

int tine_pipe_new(int ends[2])
{
	int made[2];

	if (!ends)
		return -EINVAL;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, made) != 0)
		return errno == ENOBUFS ? -ENOMEM : -errno;
	memcpy(ends, made, sizeof(made));
	return 0;
}

static int wait_until(int end, short events, int64_t deadline)
{
	struct pollfd ready = { .fd = end, .events = events };
	int64_t left = deadline - tine_now();
	struct timespec ts = timespec_of(left > 0 ? left : 0);

	if (deadline == TINE_NOWAIT || left <= 0)
		return -ETIMEDOUT;
	if (interrupt_take())
		return -EINTR;
	/* Bound: the deadline. */
	if (ppoll(&ready, 1, deadline == TINE_FOREVER ? NULL : &ts, NULL) < 0)
		interrupt_note(errno);
	return 0;
}

/* ---- what does not fit into a packet --------------------------------------------- */

/* What a limit refuses, the kernel refuses by a signal. */
static bool file_within_limits(size_t len)
{
	return file_may_reach(len) &&
	       (len < LOOK_FROM || memory_headroom("") >= len + MARGIN);
}

/* A file with these bytes, or a negative error. */
static int file_of(const char *bytes, size_t len)
{
	int file, err;

	if (!file_within_limits(len))
		return -ENOMEM;
	file = memfd_create("tine-message", MFD_CLOEXEC);
	if (file < 0)
		return -errno;
	while (len > 0) {
		/* Bound: a file in memory. */
		ssize_t n = write(file, bytes, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			goto close;
		bytes += n;
		len -= n;
	}
	return file;
close:
	err = errno == ENOSPC || errno == EFBIG ? -ENOMEM : -errno;
	close(file);
	return err;
}

static int read_file(int file, char *buf, size_t len)
{
	off_t at = 0;

	while (len > 0) {
		/* Bound: a file in memory. */
		ssize_t n = pread(file, buf + at, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EBADMSG;
		at += n;
		len -= n;
	}
	return 0;
}

/* ---- sending --------------------------------------------------------------------- */

/* One system call. A file less than 0: none goes with it. */
static int send_packet(int end, const char *bytes, size_t len, size_t of, int file)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct header header = { .len = of };
	struct iovec parts[] = { { &header, sizeof(header) }, { (void *)bytes, len } };
	struct msghdr packet = { .msg_iov = parts, .msg_iovlen = 2 };

	if (file >= 0) {
		packet.msg_control = &control;
		packet.msg_controllen = sizeof(control);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &file, sizeof(file));
	}
	/* Bound: MSG_DONTWAIT. */
	if (sendmsg(end, &packet, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
		return 0;
	switch (errno) {
	case ECONNRESET:
	case ECONNREFUSED:
	case ENOTCONN:
		return -EPIPE;
	case ENOBUFS:
		return -ENOMEM;
	case ETOOMANYREFS:
		return -EMFILE;
	default:
		return -errno;
	}
}

/* So many bytes in the packet. -EMSGSIZE: the kernel has no room for such a packet. */
static int send_split(int end, const char *msg, size_t len, size_t first,
		      int64_t deadline)
{
	int file = -1, err;

	if (len > first) {
		file = file_of(msg + first, len - first);
		if (file < 0)
			return file;
	}
	while ((err = send_packet(end, msg, first, len, file)) != 0) {
		if (err == -EINTR)
			continue;
		if (err != -EAGAIN)
			break;
		err = wait_until(end, POLLOUT, deadline);
		if (err)
			break;
	}
	if (file >= 0)
		close(file);
	return err;
}

int tine_pipe_send(int end, const void *msg, size_t len, int64_t deadline)
{
	size_t most = PACKET - sizeof(struct header);
	int err;

	if (!msg || len == 0 || is_no_deadline(deadline))
		return -EINVAL;
	do {
		err = send_split(end, msg, len, len < most ? len : most, deadline);
		most /= 2;
	} while (err == -EMSGSIZE && most >= SMALLEST / 2);
	return err;
}

/* ---- receiving ------------------------------------------------------------------- */

/*
 * One packet, as far as it fits: its length, 0 for the end, or a negative error. With a
 * place for it, the descriptor that travels along, or -1.
 */
static ssize_t get_packet(int end, struct iovec *parts, size_t n, int flags, int *file)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr packet = { .msg_iov = parts, .msg_iovlen = n };
	struct cmsghdr *found;
	ssize_t len;

	if (file) {
		packet.msg_control = &control;
		packet.msg_controllen = sizeof(control);
		*file = -1;
	}
	do {
		/* A reset is the end of a peer that had not read all; its own stands. */
		/* Bound: MSG_DONTWAIT. */
		len = recvmsg(end, &packet, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (len < 0 && (errno == EINTR || errno == ECONNRESET));
	if (len < 0)
		return errno == ENOBUFS ? -ENOMEM : -errno;
	found = file ? CMSG_FIRSTHDR(&packet) : NULL;
	if (found && found->cmsg_level == SOL_SOCKET && found->cmsg_type == SCM_RIGHTS)
		memcpy(file, CMSG_DATA(found), sizeof(*file));
	return len;
}

/* Waits for a packet and leaves it there. Its full length, 0 for the end, or an error. */
static ssize_t look(int end, struct header *header, int *file, int64_t deadline)
{
	struct iovec part = { header, sizeof(*header) };

	for (;;) {
		ssize_t n = get_packet(end, &part, 1, MSG_PEEK | MSG_TRUNC, file);
		int err;

		if (n != -EAGAIN)
			return n;
		err = wait_until(end, POLLIN, deadline);
		if (err)
			return err;
	}
}

/* The file's part first: the packet is taken last, so that a failure leaves it. */
static ssize_t take_packet(int end, struct header *header, size_t first, char *buf,
			   int file)
{
	struct iovec parts[] = { { header, sizeof(*header) }, { buf, first } };
	size_t len = header->len;
	ssize_t n;

	if (len > first && file < 0)
		return -EMFILE;
	if (len > first) {
		int err = read_file(file, buf + first, len - first);

		if (err)
			return err;
	}
	n = get_packet(end, parts, 2, 0, NULL);
	return n < 0 ? n : (ssize_t)len;
}

ssize_t tine_pipe_recv(int end, void *buf, size_t size, int64_t deadline)
{
	struct header header = { 0 };
	int file = -1;
	ssize_t n;

	if ((!buf && size > 0) || is_no_deadline(deadline))
		return -EINVAL;
	n = look(end, &header, &file, deadline);
	if (n <= 0)
		return n;
	if ((size_t)n <= sizeof(header) || header.len < n - sizeof(header))
		n = -ENOTSOCK; /* not one of ours */
	else if (header.len > size)
		n = -EMSGSIZE;
	else
		n = take_packet(end, &header, n - sizeof(header), buf, file);
	if (file >= 0)
		close(file);
	return n;
}
