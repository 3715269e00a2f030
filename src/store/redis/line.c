/* SPDX-License-Identifier: MIT */
/*
 * hiredis reads the answers; nothing here is shared, so that no death can break anything
 * but the connection, which the server then closes.
 *
 * An answer that comes too late must never be taken for that of the next question: who
 * gives up waiting for one closes the line.
 */
#include "store/redis/line.h"

#include "base/futex.h"
#include "store/redis/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define PIECES	 32  /* of a request, to the kernel at a time */
#define PER_BYTE 100 /* nanoseconds that an answer may take longer */

static void *(*create_string)(const redisReadTask *, char *, size_t);

/* Values go from the buffer of the reader to the caller's, with no copy between. */
static void *take_string(const redisReadTask *task, char *bytes, size_t len)
{
	struct line *line = task->privdata;

	if (!line->to_buf || task->parent || task->type != REDIS_REPLY_STRING)
		return create_string(task, bytes, len);
	if (line->size > 0)
		memcpy(line->buf, bytes, len < line->size ? len : line->size);
	line->len = len;
	return &reply_taken;
}

static int make_reader(struct line *line)
{
	line->reader = redisReaderCreate();
	if (!line->reader)
		return -ENOMEM;
	line->functions = *line->reader->fn;
	/* The same for all, whoever writes it. */
	__atomic_store_n(&create_string, line->functions.createString, __ATOMIC_RELAXED);
	line->functions.createString = take_string;
	line->functions.freeObject = reply_free_object;
	line->reader->fn = &line->functions;
	line->reader->privdata = line;
	return 0;
}

static int start_tls(struct line *line, const struct trust *trust, int fd,
		     int64_t deadline)
{
	int err = tls_new(&line->tls, trust, fd);
	short events = 0;

	if (err)
		return err;
	for (;;) {
		err = tls_greet(line->tls, &events);
		if (err != -EAGAIN)
			return err;
		err = socket_wait(fd, events, deadline);
		if (err)
			return err;
	}
}

int line_open(struct line *line, const struct store_address *address,
	      const struct trust *trust, int64_t deadline)
{
	struct timeval answer = { .tv_sec = address->answer_ms / 1000,
				  .tv_usec = address->answer_ms % 1000 * 1000 };
	int fd, err;

	fd = address->kind == STORE_UNIX
		     ? socket_open_unix(address->path, deadline)
		     : socket_open_tcp(address->host, address->port, deadline);
	if (fd < 0)
		return fd;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &answer, sizeof(answer));
	line->tls = NULL;
	err = trust ? start_tls(line, trust, fd, deadline) : 0;
	err = err ? err : make_reader(line);
	if (err)
		goto close_fd;
	line->answer = address->answer_ms * INT64_C(1000000);
	line->fd = fd;
	return 0;

close_fd:
	tls_free(line->tls);
	close(fd);
	return err;
}

void line_close(struct line *line)
{
	if (line->fd < 0)
		return;
	redisReaderFree(line->reader);
	tls_free(line->tls);
	close(line->fd);
	line->fd = -1;
}

bool line_is_idle(const struct line *line)
{
	char byte;

	if (line->tls)
		return tls_peek(line->tls) == -EAGAIN;
	return recv(line->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static int line_failure(int err)
{
	return err == EPIPE || err == ENOTCONN ? -ECONNRESET : -err;
}

static int send_by_tls(struct line *line, struct iovec iov, int64_t deadline)
{
	while (iov.iov_len > 0) {
		short events = 0;
		ssize_t sent = tls_send(line->tls, iov.iov_base, iov.iov_len, &events);
		int err = 0;

		if (sent == -EAGAIN)
			err = socket_wait(line->fd, events, deadline);
		else if (sent < 0)
			err = line_failure((int)-sent);
		/* A server that hangs up may have said why. */
		if (err == -ECONNRESET && tls_peek(line->tls) == -EACCES)
			err = -EACCES;
		if (err)
			return err;
		sent = sent > 0 ? sent : 0;
		iov.iov_base = (char *)iov.iov_base + sent;
		iov.iov_len -= (size_t)sent;
	}
	return 0;
}

int line_send(struct line *line, const struct request *request, int64_t deadline)
{
	size_t pieces = 2 * request->n + 1, at = 0, done = 0;
	int failed = 0;

	for (; line->tls && at < pieces && !failed; at++)
		failed = send_by_tls(line, request_piece(request, at), deadline);
	if (failed)
		return failed;
	while (at < pieces) {
		struct iovec iov[PIECES];
		struct msghdr msg = { .msg_iov = iov };
		ssize_t sent;

		do
			iov[msg.msg_iovlen] = request_piece(request, at + msg.msg_iovlen);
		while (++msg.msg_iovlen < PIECES && at + msg.msg_iovlen < pieces);
		iov[0].iov_base = (char *)iov[0].iov_base + done;
		iov[0].iov_len -= done;
		sent = sendmsg(line->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EAGAIN) {
			int err = socket_wait(line->fd, POLLOUT, deadline);

			if (err)
				return err;
			continue;
		}
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return line_failure(errno);
		for (size_t i = 0; i < msg.msg_iovlen; i++) {
			if ((size_t)sent < iov[i].iov_len) {
				done = (i == 0 ? done : 0) + (size_t)sent;
				break;
			}
			sent -= (ssize_t)iov[i].iov_len;
			done = 0;
			at++;
		}
	}
	return 0;
}

static ssize_t take_by_tls(struct line *line, int64_t deadline)
{
	for (;;) {
		short events = 0;
		ssize_t len = tls_receive(line->tls, line->in, sizeof(line->in), &events);
		int err;

		if (len != -EAGAIN)
			return len < 0 ? line_failure((int)-len) : len;
		err = socket_wait(line->fd, events, deadline);
		if (err)
			return err;
	}
}

/*
 * Bytes, or an error. The first wait for an answer, if it may last as long as answers
 * may, is one system call; all others ask poll(2) first.
 */
static ssize_t take_bytes(struct line *line, bool first, int64_t deadline)
{
	int flags = MSG_DONTWAIT;

	if (first && deadline - tine_now() >= line->answer - line->answer / 16)
		flags = 0;
	for (;;) {
		ssize_t len = recv(line->fd, line->in, sizeof(line->in), flags);
		int err;

		if (len > 0)
			return len;
		if (len == 0)
			return -ECONNRESET;
		if (errno == EAGAIN && flags == 0)
			return -ETIMEDOUT;
		if (errno != EAGAIN && errno != EINTR)
			return line_failure(errno);
		flags = MSG_DONTWAIT;
		err = socket_wait(line->fd, POLLIN, deadline);
		if (err)
			return err;
	}
}

static int reader_failure(const redisReader *reader)
{
	return reader->err == REDIS_ERR_OOM ? -ENOMEM : -EBADMSG;
}

int line_receive(struct line *line, redisReply **out, int64_t deadline)
{
	bool first = true;

	for (;; first = false) {
		void *reply = NULL;
		ssize_t len;

		if (redisReaderGetReply(line->reader, &reply) != REDIS_OK)
			return reader_failure(line->reader);
		if (reply) {
			*out = reply;
			return 0;
		}
		len = line->tls ? take_by_tls(line, deadline)
				: take_bytes(line, first, deadline);
		if (len < 0)
			return (int)len;
		deadline += len * PER_BYTE;
		if (redisReaderFeed(line->reader, line->in, (size_t)len) != REDIS_OK)
			return reader_failure(line->reader);
	}
}
