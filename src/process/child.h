/* SPDX-License-Identifier: MIT */
#ifndef TINE_CHILD_H
#define TINE_CHILD_H

#include "base/export.h"
#include "base/own_fd.h"

#include <signal.h>
#include <sys/queue.h>

/* A child process, as its parent knows it. In the parent's own memory. */
struct child {
	pid_t pid, owner;
	struct own_fd lifeline; /* our end: closed by our death, which ends the child */
	struct own_fd handle;	/* readable when it has ended: a pidfd, or the lifeline */
	struct own_fd far_end;	/* the child's end, while it is being started */
	int ended;		/* 1: and how is known; -ECHILD: and nobody knows how */
	tine_exit how;
	LIST_ENTRY(child) others; /* of this process */
};

/*
 * Forks. The child runs main(arg, its end of the lifeline) and leaves with what it
 * returns. It has the caller's signal mask, and of the caller's descriptors all but the
 * lifelines.
 */
int child_start(struct child *, int (*main)(void *arg, int lifeline), void *arg);
/* Called in the child: from now on the kernel kills it when its parent is gone. */
void child_tie(int lifeline);
/* As tine_process_wait; but no signal ends the first. */
int child_wait(struct child *, tine_exit *how, int64_t deadline);
int child_await(struct child *, tine_exit *how, int64_t deadline);
/* Sends a byte on the lifeline, if it is still open. */
void child_nudge(const struct child *);
/* Ends the lifeline, if it is still open. */
void child_hang_up(const struct child *);
/*
 * Lets go of the descriptors. Does not end the child, but where child_tie() was called.
 */
void child_release(struct child *);

/* Whether it is open, and a pidfd of that process. */
bool is_pidfd_of(const struct own_fd *, pid_t);
void close_pidfd(const struct own_fd *, pid_t);

/* Forks with every signal blocked until it is over; the child gets the caller's mask. */
pid_t fork_quietly(void);
/* Leaves a child: what it has printed is written, nothing else is done. */
_Noreturn void leave(int code);

#endif
