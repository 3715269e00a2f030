/* SPDX-License-Identifier: MIT */
/* --trace, which commands that compute have: the library's TINE_TRACE, but checked. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *trace_path;

/* The library is quiet about a file that it cannot write. */
int try_trace(const char *path)
{
	struct stat stat;
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
	int err = 0;

	if (fd < 0)
		return errno;
	if (fstat(fd, &stat) != 0)
		err = errno;
	else if (!S_ISREG(stat.st_mode))
		err = ENODEV;
	close(fd);
	return err;
}

/* What is a percent sign here would begin a number there. */
static char *escape(const char *path)
{
	char *escaped = malloc(2 * strlen(path) + 1), *to = escaped;

	for (; escaped && *path; path++) {
		if (*path == '%')
			*to++ = '%';
		*to++ = *path;
	}
	if (escaped)
		*to = '\0';
	return escaped;
}

int check_trace_file(const char *command, const char *path)
{
	int err = *path ? try_trace(path) : ENOENT;

	if (!err)
		return DONE;
	return complain(USAGE, "%s: --trace: '%s': %s", command, path,
			err == ENODEV ? "it is not a regular file" : strerror(err));
}

int begin_trace(const char *command)
{
	char *escaped;
	int err;

	if (!trace_path)
		return DONE;
	err = check_trace_file(command, trace_path);
	if (err)
		return err;
	escaped = escape(trace_path);
	err = !escaped || setenv("TINE_TRACE", escaped, 1) != 0;
	free(escaped);
	return err ? complain(BROKEN, "%s: %s", command, strerror(ENOMEM)) : DONE;
}
