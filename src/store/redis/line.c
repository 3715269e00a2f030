/* SPDX-License-Identifier: MIT */
/*
 * Nothing here is shared, so that no death can break anything but the connection, which
 * the server then closes. A peer may say anything, in any pieces and at any pace: what is
 * allocated for an answer is bounded by what the call asked for and has come, and each
 * step by the deadline.
 *
 * An answer that comes too late must never be taken for that of the next question: a call
 * that gives up waiting for one closes the line.
 */
#include "store/redis/line.h"

#include "base/futex.h"
#include "store/redis/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PIECES 32 /* of a request, to the kernel at a time */
/* A little less than the time for answers, so that the deadline holds to the end. */
#define FIRST_WAIT(answer) ((answer) - (answer) / 16)

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
	int64_t answer = address->answer_ms * INT64_C(1000000), most = FIRST_WAIT(answer);
	struct timeval first = { .tv_sec = most / 1000000000,
				 .tv_usec = most % 1000000000 / 1000 };
	int fd, err;

	fd = address->kind == STORE_UNIX
		     ? socket_open_unix(address->path, deadline)
		     : socket_open_tcp(address->host, address->port, deadline);
	if (fd < 0)
		return fd;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &first, sizeof(first));
	line->tls = NULL;
	err = trust ? start_tls(line, trust, fd, deadline) : 0;
	if (err)
		goto close_fd;
	line->answer = answer;
	line->value = NULL;
	line->bytes = line->in;
	line->room = sizeof(line->in);
	line->from = line->to = line->taken = 0;
	line->scan = (struct resp_scan){ 0 };
	line->own = own_fd(fd);
	return 0;

close_fd:
	tls_free(line->tls);
	close(fd);
	return err;
}

void line_close(struct line *line)
{
	if (line->own.fd < 0)
		return;
	if (line->bytes != line->in)
		free(line->bytes);
	free(line->value);
	tls_free(line->tls);
	own_fd_close(&line->own);
	line->own.fd = -1;
}

bool line_has_more(const struct line *line)
{
	return line->from + line->taken < line->to;
}

bool line_is_idle(const struct line *line)
{
	char byte;

	if (line_has_more(line))
		return false;
	if (line->tls)
		return tls_peek(line->tls) == -EAGAIN;
	return recv(line->own.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       errno == EAGAIN;
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
			err = socket_wait(line->own.fd, events, deadline);
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
		sent = sendmsg(line->own.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EAGAIN) {
			int err = socket_wait(line->own.fd, POLLOUT, deadline);

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

/* ---- answers ----------------------------------------------------------------------- */

static ssize_t take_by_tls(struct line *line, char *to, size_t room, int64_t deadline)
{
	for (;;) {
		short events = 0;
		ssize_t len = tls_receive(line->tls, to, room, &events);
		int err;

		if (len != -EAGAIN)
			return len < 0 ? line_failure((int)-len) : len;
		err = socket_wait(line->own.fd, events, deadline);
		if (err)
			return err;
	}
}

/*
 * The first wait for an answer, if it may last as long as answers may, is one system
 * call; all others ask poll(2) first.
 */
static ssize_t take_plain(struct line *line, char *to, size_t room, bool first,
			  int64_t deadline)
{
	int flags = MSG_DONTWAIT;

	if (first && deadline - tine_now() >= FIRST_WAIT(line->answer))
		flags = 0;
	for (;;) {
		/* Bound: SO_RCVTIMEO, which is FIRST_WAIT(), or none. */
		ssize_t len = recv(line->own.fd, to, room, flags);
		int err;

		if (len > 0)
			return len;
		if (len == 0)
			return -ECONNRESET;
		if (errno != EAGAIN && errno != EINTR)
			return line_failure(errno);
		flags = MSG_DONTWAIT;
		err = socket_wait(line->own.fd, POLLIN, deadline);
		if (err)
			return err;
	}
}

/* Bytes, at least one, or an error. A peer that always has one more comes to its end. */
static ssize_t take_bytes(struct line *line, char *to, size_t room, bool first,
			  int64_t deadline)
{
	if (!first && deadline != TINE_NOWAIT && tine_now() > deadline)
		return -ETIMEDOUT;
	return line->tls ? take_by_tls(line, to, room, deadline)
			 : take_plain(line, to, room, first, deadline);
}

/* So that more can come behind what has come. */
static int make_room_behind(struct line *line)
{
	char *grown;

	if (line->to < line->room)
		return 0;
	if (line->from > 0) {
		memmove(line->bytes, line->bytes + line->from, line->to - line->from);
		line->to -= line->from;
		line->from = 0;
		return 0;
	}
	grown = malloc(2 * line->room);
	if (!grown)
		return -ENOMEM;
	memcpy(grown, line->bytes, line->to);
	if (line->bytes != line->in)
		free(line->bytes);
	line->bytes = grown;
	line->room *= 2;
	return 0;
}

void line_forget(struct line *line)
{
	if (line->taken > 0)
		line->scan = (struct resp_scan){ 0 };
	line->from += line->taken;
	line->taken = 0;
	free(line->value);
	line->value = NULL;
	if (line->from < line->to)
		return;
	line->from = line->to = 0;
	if (line->bytes == line->in)
		return;
	free(line->bytes);
	line->bytes = line->in;
	line->room = sizeof(line->in);
}

/* All of so many bytes. Those behind the first room ones are let go. */
static int take_all(struct line *line, char *to, size_t room, size_t len,
		    int64_t deadline)
{
	while (len > 0) {
		size_t part = room > 0 ? room : sizeof(line->in);
		ssize_t got = take_bytes(line, room > 0 ? to : line->in,
					 part < len ? part : len, false, deadline);

		if (got < 0)
			return (int)got;
		if (room > 0) {
			to += got;
			room -= (size_t)got;
		}
		len -= (size_t)got;
	}
	return 0;
}

/*
 * A value that is longer than the room for answers, of which a part has come. No more is
 * allocated than is wanted of it.
 */
static int take_long_value(struct line *line, struct resp *value, int64_t deadline)
{
	size_t len = (size_t)value->number, come = line->to - line->from - value->head;
	size_t kept = len < line->wanted ? len : line->wanted, here;
	char end[2];
	int err;

	if (len > TINE_STORE_VALUE_MAX)
		return -EMSGSIZE;
	line->value = malloc(kept > 0 ? kept : 1);
	if (!line->value)
		return -ENOMEM;
	here = come < kept ? come : kept;
	memcpy(line->value, line->bytes + line->from + value->head, here);
	line->from = line->to = 0;
	err = take_all(line, line->value + here, kept - here, len - come, deadline);
	err = err ? err : take_all(line, end, sizeof(end), sizeof(end), deadline);
	if (!err && memcmp(end, "\r\n", 2) != 0)
		err = -EBADMSG;
	value->text = line->value;
	value->len = kept;
	return err;
}

/* 1: it is taken; 0: it is none that is so long, or nothing of it has come. */
static int try_long_value(struct line *line, struct resp *out, int64_t deadline)
{
	int err;

	if (!line->takes_value || line->scan.at > 0)
		return 0;
	err = resp_head(out, line->bytes + line->from, line->to - line->from);
	if (err <= 0 || out->kind != RESP_STRING || (uint64_t)out->number <= line->room)
		return err < 0 ? err : 0;
	err = take_long_value(line, out, deadline);
	return err ? err : 1;
}

int line_receive(struct line *line, struct resp *out, int64_t deadline)
{
	line_forget(line);
	for (bool first = true;; first = false) {
		int whole = try_long_value(line, out, deadline);
		ssize_t len;

		if (whole)
			return whole < 0 ? whole : 0;
		whole = resp_scan(
			&line->scan, line->bytes + line->from, line->to - line->from,
			line->takes_value ? line->most + line->room : line->most);
		/* A peer that says much where little was asked is no Redis. */
		if (whole == -EMSGSIZE && line->most == LINE_FEW)
			return -EBADMSG;
		if (whole < 0)
			return whole;
		if (whole)
			break;
		whole = make_room_behind(line);
		if (whole)
			return whole;
		len = take_bytes(line, line->bytes + line->to, line->room - line->to,
				 first, deadline);
		if (len < 0)
			return (int)len;
		line->to += (size_t)len;
	}
	line->taken = line->scan.at;
	*out = resp_of(line->bytes + line->from, line->taken);
	return 0;
}

int line_refusal(const struct line *line)
{
	struct resp error;

	if (!line->scan.refused)
		return 0;
	error = resp_of(line->bytes + line->from + line->scan.error,
			line->scan.at - line->scan.error);
	return resp_error(&error);
}
