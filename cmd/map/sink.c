/* SPDX-License-Identifier: MIT */
#include "map/sink.h"

#include "map/show.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a pipe takes at once, if it takes anything: a page. */
enum { SURE = 4096, SINK = 64 << 10 };

static struct {
	bool error; /* what is in it is for standard error */
	size_t at, len;
	char bytes[SINK];
	bool may_block[2];
} sink;

static bool may_block(int fd)
{
	struct stat stat_of;

	if (fstat(fd, &stat_of) != 0 || S_ISREG(stat_of.st_mode))
		return false;
	return !S_ISCHR(stat_of.st_mode) || isatty(fd);
}

void sink_open(void)
{
	for (int i = 0; i < 2; i++)
		sink.may_block[i] = may_block(i + 1);
}

int sink_flush(int *fd)
{
	*fd = sink.error ? STDERR_FILENO : STDOUT_FILENO;
	while (sink.at < sink.len) {
		struct pollfd room = { .fd = *fd, .events = POLLOUT };
		size_t len = sink.len - sink.at;
		ssize_t done;

		/* Bound: it only looks. */
		if (sink.may_block[sink.error] && poll(&room, 1, 0) == 0)
			return 1;
		if (sink.may_block[sink.error] && len > SURE)
			len = SURE;
		show_hide();
		done = write(*fd, sink.bytes + sink.at, len);
		if (done < 0 && errno == EAGAIN)
			return 1;
		if (done < 0 && errno != EINTR)
			return -errno;
		sink.at += done > 0 ? (size_t)done : 0;
	}
	sink.at = sink.len = 0;
	return 0;
}

int sink_add(bool error, const char *from, size_t len, size_t *taken, int *fd)
{
	*taken = 0;
	if (sink.len == SINK || (sink.len > 0 && sink.error != error)) {
		int err = sink_flush(fd);

		if (err)
			return err;
	}
	sink.error = error;
	*taken = len < SINK - sink.len ? len : SINK - sink.len;
	memcpy(sink.bytes + sink.len, from, *taken);
	sink.len += *taken;
	return 0;
}
