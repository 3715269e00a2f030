/* SPDX-License-Identifier: MIT */
/*
 * Ties a process to its parent, whatever it closes or executes: its own keeper holds a
 * pidfd of the parent, and kills it when that has ended.
 */
#include "base/atfork.h"
#include "process/keeper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

static pid_t forking; /* the process that forked last, and so this one's parent */
static pid_t parent;  /* 0: this process was not forked, or not by fork(3) */

static void note_forking(void)
{
	forking = getpid();
}

static void note_parent(void)
{
	parent = forking;
}

FILL_ATFORK static void fill_ties_slot(void)
{
	atfork_fill(ATFORK_TIES,
		    &(struct atfork){ .before = note_forking, .in_child = note_parent });
}

int tine_process_tie(void)
{
	pid_t of = parent ? parent : getppid();
	int pidfd = (int)syscall(SYS_pidfd_open, of, 0), err;
	struct pollfd gone = { .fd = pidfd, .events = POLLIN };

	if (pidfd < 0 && errno != ESRCH)
		return -errno;
	/*
	 * Bound: it only looks. The number may be another's by now; its own is that of
	 * who is our parent.
	 */
	if (pidfd < 0 || getppid() != of || poll(&gone, 1, 0) != 0)
		kill(getpid(), SIGKILL);
	err = keeper_tie(pidfd);
	close(pidfd);
	return err;
}
