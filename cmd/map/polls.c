/* SPDX-License-Identifier: MIT */
#include "map/polls.h"

#include "map/map.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct {
	struct pollfd *at; /* the first is nothing */
	size_t count;
} polls;

int open_pipe_again(int fd, int how)
{
	char path[64];
	struct stat stat_of;

	if (fstat(fd, &stat_of) != 0 || !S_ISFIFO(stat_of.st_mode))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, how | O_NONBLOCK | O_CLOEXEC);
}

void polls_open(size_t most)
{
	polls.at = must(calloc(most + 1, sizeof(*polls.at)));
}

void polls_clear(void)
{
	polls.count = 1;
}

size_t polls_add(int fd, short events)
{
	if (fd < 0)
		return 0;
	polls.at[polls.count] = (struct pollfd){ .fd = fd, .events = events };
	return polls.count++;
}

bool polls_came(size_t at)
{
	return at > 0 && polls.at[at].revents;
}

bool polls_wait(int64_t deadline)
{
	struct timespec ts = { 0 };
	int64_t left = deadline - tine_now();
	int came;

	if (deadline != TINE_FOREVER && left > 0)
		ts = (struct timespec){ left / MAP_SECOND, left % MAP_SECOND };
	came = ppoll(polls.at + 1, polls.count - 1, deadline == TINE_FOREVER ? NULL : &ts,
		     NULL);
	/* There is nothing that could be waited for otherwise. */
	if (came < 0 && errno != EINTR)
		_Exit(complain(BROKEN, "map: poll: %s", strerror(errno)));
	return came >= 0;
}
