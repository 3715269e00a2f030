/* SPDX-License-Identifier: MIT */
/* The file of a trace, which processes write to by turns; see the head of trace.h. */
#include "base/limits.h"
#include "trace/inside.h"
#include "wait/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENT_MS 1000 /* for the file, which may be on a slow disk */

struct trace_file *trace_file;

static const char tail[] = "\n]\n";
_Static_assert(sizeof(tail) - 1 == TRACE_TAIL, "the tail is so long");

int64_t trace_patience(void)
{
	return tine_after(PATIENT_MS);
}

/* %p is the number of the process, %% is %. */
static bool expand(const char *given, char *path, size_t size)
{
	size_t len = 0;

	for (; *given && len + 24 < size; given++) {
		if (given[0] == '%' && given[1] == 'p') {
			len += (size_t)snprintf(path + len, size - len, "%d", getpid());
			given++;
			continue;
		}
		given += given[0] == '%' && given[1] == '%';
		path[len++] = *given;
	}
	path[len] = '\0';
	return len > 0 && !*given;
}

/*
 * A new file each time: whoever else writes to one of the name sees that it is not its
 * own any more. One in a folder that takes no new files is used as it is.
 */
static int make_file(const char *given, char *path)
{
	struct stat before;
	int fd = open(given, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		      0666);

	if (fd < 0)
		return -1;
	if (fstat(fd, &before) != 0 || !S_ISREG(before.st_mode) ||
	    !realpath(given, path)) {
		close(fd);
		return -1;
	}
	if (before.st_size > 0 && unlink(path) == 0) {
		close(fd);
		return open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
			    before.st_mode & 0777);
	}
	if (ftruncate(fd, 0) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool begin_file(const char *given)
{
	char path[PATH_MAX];
	struct stat stat;
	int fd;

	if (!expand(given, path, sizeof(path)) || !file_may_reach(TRACE_ROOM))
		return false;
	fd = make_file(path, trace_file->path);
	if (fd < 0)
		return false;
	/* Bound: a regular file. */
	if (fstat(fd, &stat) != 0 || pwrite(fd, "[\n]\n", 4, 0) != 4) {
		close(fd);
		return false;
	}
	close(fd);
	trace_file->device = stat.st_dev;
	trace_file->inode = stat.st_ino;
	trace_file->end = 1;
	trace_file->born = tine_now();
	return true;
}

static void map_trace(void)
{
	const char *given = secure_getenv("TINE_TRACE");
	void *mem;

	if (!given || !*given)
		return;
	mem = mmap(NULL, sizeof(*trace_file), PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mem != MAP_FAILED)
		trace_file = mem;
}

static pthread_once_t mapped = PTHREAD_ONCE_INIT;

/* So that processes that are forked before anything is traced have one file. */
__attribute__((constructor)) static void map_early(void)
{
	if (secure_getenv("TINE_TRACE"))
		pthread_once(&mapped, map_trace);
}

bool trace_lock(int64_t deadline)
{
	int err = lock_steadily(&trace_file->lock, deadline);

	return err == 0 || err == -EOWNERDEAD;
}

void trace_unlock(void)
{
	tine_lock_release(&trace_file->lock);
}

bool trace_is_on(void)
{
	const char *given = secure_getenv("TINE_TRACE");
	bool on;

	pthread_once(&mapped, map_trace);
	if (!trace_file || !trace_lock(trace_patience()))
		return false;
	if (trace_file->end == 0 && !trace_file->given_up)
		trace_file->given_up = !given || !begin_file(given);
	on = !trace_file->given_up;
	trace_unlock();
	return on;
}

static bool write_at(int fd, const char *bytes, size_t len, uint64_t at)
{
	while (len > 0) {
		/* Bound: a regular file. */
		ssize_t n = pwrite(fd, bytes, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		bytes += n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return true;
}

void trace_write_out(struct text *text)
{
	size_t len = text->len;
	struct stat stat;
	int fd = -1;

	text->len = 0;
	memcpy(text->buf + len, tail, TRACE_TAIL);
	if (len == 0 || trace_file->given_up)
		return;
	fd = open(trace_file->path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	/* Of a file that is gone, the next may have the number; it is not so long yet. */
	if (fd < 0 || fstat(fd, &stat) != 0 || stat.st_dev != trace_file->device ||
	    stat.st_ino != trace_file->inode ||
	    (uint64_t)stat.st_size < trace_file->end + TRACE_TAIL) {
		trace_file->given_up = true;
	} else if (!file_may_reach(trace_file->end + len + TRACE_TAIL) ||
		   !write_at(fd, text->buf, len + TRACE_TAIL, trace_file->end)) {
		trace_file->given_up = true;
		if (ftruncate(fd, (off_t)(trace_file->end + TRACE_TAIL)) == 0)
			write_at(fd, tail, TRACE_TAIL, trace_file->end);
	} else {
		trace_file->end += len;
	}
	if (fd >= 0)
		close(fd);
}
