/* SPDX-License-Identifier: MIT */
#include "base/export.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PLAIN_COLUMNS 80
#define TEXT_COLUMNS  8 /* " 100 % " and the last column, where some terminals wrap */

static size_t columns(int fd)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	return PLAIN_COLUMNS;
}

void tine_progress_bar(void *stream, size_t done, size_t total)
{
	FILE *file = stream ? stream : stderr;
	int fd = fileno(file);
	size_t width, filled;
	double part;
	char bar[256];

	if (fd < 0 || !isatty(fd))
		return;
	part = total > 0 && done < total ? (double)done / (double)total : 1;
	width = columns(fd);
	width = width > TEXT_COLUMNS + 2 ? width - TEXT_COLUMNS - 2 : 0;
	if (width > 60)
		width = 60;
	filled = (size_t)(part * (double)width);
	memset(bar, '#', filled);
	memset(bar + filled, '-', width - filled);
	bar[width] = '\0';
	fprintf(file, "\r[%s] %3d %%%s", bar, (int)(part * 100),
		done < total ? "" : "\n");
	fflush(file);
}
