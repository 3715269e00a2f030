/* SPDX-License-Identifier: MIT */
/*
 * A temporary folder that stays behind after no death. A process waits until all are gone
 * that have the other end of a pipe, and removes it; it is in a session of its own, where
 * what ends a terminal or a process group does not reach it. Its name is known before
 * there is a folder, so that none is made that nobody would remove.
 */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
	char path[128];
	pid_t remover; /* or 0 */
	int lifeline;
} state;

static int remove_entry(const char *path, const struct stat *stat, int type,
			struct FTW *at)
{
	(void)stat;
	(void)type;
	(void)at;
	return remove(path);
}

static int start_remover(void)
{
	int ends[2], err;
	char byte;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -errno;
	fflush(stdout);
	state.remover = fork();
	err = -errno;
	if (state.remover == 0) {
		setsid();
		close(ends[1]);
		while (read(ends[0], &byte, 1) != 0)
			;
		nftw(state.path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
		_exit(0);
	}
	close(ends[0]);
	state.lifeline = ends[1];
	if (state.remover > 0)
		return 0;
	close(ends[1]);
	return err;
}

void remove_temporary_folder(void)
{
	if (state.remover <= 0)
		return;
	close(state.lifeline);
	while (waitpid(state.remover, NULL, 0) < 0 && errno == EINTR)
		;
	state.remover = 0;
}

int temporary_folder(const char **path)
{
	const char *base = getenv("TMPDIR");
	uint64_t name;
	int err;

	if (!base || !*base)
		base = access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
	if (getrandom(&name, sizeof(name), 0) != sizeof(name))
		return -EIO;
	if (snprintf(state.path, sizeof(state.path), "%s/tine-%016" PRIx64, base, name) >=
	    (int)sizeof(state.path))
		return -ENAMETOOLONG;
	err = start_remover();
	if (err)
		return err;
	if (mkdir(state.path, 0700) != 0) {
		err = -errno;
		/* What is there is another's. */
		kill(state.remover, SIGKILL);
		remove_temporary_folder();
		return err;
	}
	*path = state.path;
	return 0;
}
