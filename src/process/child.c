/* SPDX-License-Identifier: MIT */
/*
 * Children that end with their parent, whatever ends it, and without a process or thread
 * that watches.
 *
 * The parent holds one end of a socket pair, the lifeline, and the child the other, which
 * it sets to send itself SIGKILL when something happens there (F_SETSIG, O_ASYNC).
 * Nothing is ever written, so that what happens is the end of the parent: the kernel
 * closes its end. PR_SET_PDEATHSIG would be simpler, but fires when the *thread* ends
 * that forked.
 *
 * The child's end is also in flight, as a message to the parent's that nobody receives.
 * So the file that the kernel sends the signal for exists as long as the parent's end
 * does: also when the child has closed it, with all its descriptors or by executing a
 * program. The kernel gives the signal before it drops what was in flight.
 *
 * For this to hold, no other process may keep the parent's end open. All lifelines of a
 * process are in one list, and a handler of fork() closes them in each of its children,
 * whoever forked. A program that a child executes has none of them: they are CLOEXEC.
 *
 *	parent dies before the child is tied	child_tie() looks, after tying
 *	parent dies later			SIGKILL
 *	child dies				the parent's pidfd says so; where the
 *						kernel (or valgrind) has none, the
 *						parent's end does
 */
#include "process/child.h"

#include "base/atfork.h"
#include "base/futex.h"
#include "base/signals.h"
#include "process/passing.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static pthread_mutex_t children_lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, child) children = LIST_HEAD_INITIALIZER(children);
/* Our end of the line to our parent, when tied. */
static struct own_fd own_lifeline = { .fd = -1 };
static _Thread_local struct child *starting;

static void hold_children(void)
{
	/* Bound: this process's own threads, which hold it for no call that blocks. */
	pthread_mutex_lock(&children_lock);
}

static void let_children_go(void)
{
	pthread_mutex_unlock(&children_lock);
}

/* Pidfds have one inode, with other descriptors, in kernels before 6.9. */
bool is_pidfd_of(const struct own_fd *own, pid_t pid)
{
	char path[64], text[512], *line;
	ssize_t len;
	int info;

	if (!own_fd_is_open(own))
		return false;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", own->fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return syscall(SYS_pidfd_send_signal, own->fd, 0, NULL, 0) == 0 ||
		       errno != EBADF;
	/* Bound: a file of the kernel's, which is there. */
	len = read(info, text, sizeof(text) - 1);
	close(info);
	text[len > 0 ? len : 0] = '\0';
	line = strstr(text, "\nPid:");
	/* -1 once it is reaped. */
	return line &&
	       (strtol(line + 5, NULL, 10) == pid || strtol(line + 5, NULL, 10) == -1);
}

void close_pidfd(const struct own_fd *own, pid_t pid)
{
	if (is_pidfd_of(own, pid))
		close(own->fd);
}

static void close_handle(const struct child *child)
{
	if (child->handle.fd != child->lifeline.fd)
		close_pidfd(&child->handle, child->pid);
}

static void forget_children(void)
{
	struct child *child;

	LIST_FOREACH (child, &children, others) {
		close_handle(child);
		own_fd_close(&child->lifeline);
		if (child != starting)
			own_fd_close(&child->far_end);
		child->lifeline.fd = child->handle.fd = -1;
	}
	LIST_INIT(&children);
	own_fd_close(&own_lifeline);
	own_lifeline.fd = -1;
	pthread_mutex_init(&children_lock, NULL);
}

FILL_ATFORK static void fill_children(void)
{
	atfork_fill(ATFORK_CHILDREN, &(struct atfork){ .before = hold_children,
						       .in_parent = let_children_go,
						       .in_child = forget_children });
}

pid_t fork_quietly(void)
{
	sigset_t before;
	int err;
	pid_t pid;

	block_signals(&before);
	pid = fork();
	err = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return pid < 0 ? -err : pid;
}

void leave(int code)
{
	fflush(stdout);
	fflush(stderr);
	atfork_leave();
	_exit(code);
}

static void list(struct child *child)
{
	/* Bound: this process's own threads, which hold it for no call that blocks. */
	pthread_mutex_lock(&children_lock);
	LIST_INSERT_HEAD(&children, child, others);
	pthread_mutex_unlock(&children_lock);
}

static void unlist(struct child *child)
{
	/* Bound: as before a fork. */
	pthread_mutex_lock(&children_lock);
	LIST_REMOVE(child, others);
	pthread_mutex_unlock(&children_lock);
}

static int open_pidfd(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd >= 0 && fds_raise(&fd, 1) == 0 ? fd : -1;
}

/*
 * Where the user has too many descriptors in flight (ETOOMANYREFS) the child's end is
 * only the child's: it ends with its parent unless it closes that.
 */
static void hold_far_end(int far_end)
{
	pass_message(far_end, "", 1, NULL, 0, &far_end, 1);
}

/*
 * Takes it back: the end of the child is seen at the lifeline, where there is no pidfd.
 */
static void release_far_end(int lifeline)
{
	char byte;

	/* Bound: MSG_DONTWAIT. */
	recv(lifeline, &byte, 1, MSG_DONTWAIT);
}

/* Of OpenMP 5, where the program has it. */
extern int omp_pause_resource_all(int kind) __attribute__((weak));
#define PAUSE_SOFT 1

int child_start(struct child *child, int (*main)(void *, int), void *arg)
{
	struct own_fd far_end;
	int ends[2], err;

	if (atfork_error())
		return atfork_error();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return -errno;
	err = fds_raise(ends, 2);
	if (err)
		return err;
	*child = (struct child){
		.owner = getpid(),
		.lifeline = own_fd(ends[0]),
		.handle = { .fd = -1 },
		.far_end = own_fd(ends[1]),
	};
	/*
	 * What threads OpenMP keeps for this one, a fork leaves behind, and GCC's OpenMP
	 * would wait for them in the child.
	 */
	if (omp_pause_resource_all)
		omp_pause_resource_all(PAUSE_SOFT);
	hold_far_end(ends[1]);
	list(child);
	starting = child;
	child->pid = fork_quietly();
	starting = NULL;
	if (child->pid == 0) {
		interrupt_forget();
		/* What the parent has yet to print, the parent prints. */
		__fpurge(stdout);
		__fpurge(stderr);
		leave(main(arg, ends[1]));
	}
	/* Bound: this process's own threads, which hold it for no call that blocks. */
	pthread_mutex_lock(&children_lock);
	far_end = child->far_end;
	child->far_end.fd = -1;
	if (child->pid > 0)
		child->handle = own_fd(open_pidfd(child->pid));
	if (child->handle.fd < 0) {
		child->handle = child->lifeline;
		release_far_end(child->lifeline.fd);
	}
	pthread_mutex_unlock(&children_lock);
	own_fd_close(&far_end);
	if (child->pid < 0) {
		child_release(child);
		return child->pid;
	}
	return 0;
}

void child_tie(int lifeline)
{
	struct pollfd gone = { .fd = lifeline, .events = POLLIN };

	own_lifeline = own_fd(lifeline);
	if (fcntl(lifeline, F_SETOWN, getpid()) != 0 ||
	    fcntl(lifeline, F_SETSIG, SIGKILL) != 0 ||
	    /* Bound: no time at all. */
	    fcntl(lifeline, F_SETFL, O_ASYNC) != 0 || poll(&gone, 1, 0) != 0)
		kill(getpid(), SIGKILL);
}

#define UNSURE INT64_C(100000000) /* nanoseconds, before it is asked whose it is */

/* 0: it has ended; -ETIMEDOUT: not yet. */
static int reap(struct child *child)
{
	siginfo_t info = { 0 };

	if (child->ended)
		return 0;
	while (waitid(P_PID, child->pid, &info, WEXITED | WNOHANG) != 0) {
		if (errno == EINTR)
			continue;
		child->ended = -ECHILD;
		return 0;
	}
	if (info.si_pid == 0)
		return -ETIMEDOUT;
	child->ended = 1;
	child->how = info.si_code == CLD_EXITED
			     ? (tine_exit){ .code = info.si_status }
			     : (tine_exit){ .code = -1, .signal = info.si_status };
	return 0;
}

static bool has_handle(const struct child *child)
{
	return child->handle.fd == child->lifeline.fd
		       ? own_fd_is_open(&child->handle)
		       : is_pidfd_of(&child->handle, child->pid);
}

/*
 * The lifeline ends a little before the process does; and the program may have closed
 * either descriptor, and have another of the number.
 */
static void wait_for_handle(const struct child *child, int64_t deadline, bool again)
{
	struct pollfd ended = { .fd = child->handle.fd, .events = POLLIN };
	int64_t left = deadline == TINE_FOREVER ? TINE_FOREVER : deadline - tine_now();
	struct timespec ts, moment = { 0, 1000000 };

	if (!again && left > UNSURE)
		left = UNSURE;
	ts = timespec_of(left > 0 ? left : 0);
	if (!again || has_handle(child)) {
		/* Bound: the deadline. */
		int n = ppoll(&ended, 1, left == TINE_FOREVER ? NULL : &ts, NULL);

		if (n < 0)
			interrupt_note(errno);
		if (n <= 0 || child->handle.fd != child->lifeline.fd)
			return;
	}
	/* Bound: a millisecond. */
	if (nanosleep(&moment, NULL) != 0)
		interrupt_note(errno);
}

static int wait_for_child(struct child *child, tine_exit *how, int64_t deadline,
			  bool ends)
{
	bool again = false;

	if (child->owner != getpid())
		return -EPERM;
	while (reap(child) != 0) {
		if (deadline <= tine_now())
			return -ETIMEDOUT;
		if (ends && interrupt_take())
			return -EINTR;
		wait_for_handle(child, deadline, again);
		again = true;
	}
	if (child->ended < 0)
		return child->ended;
	if (how)
		*how = child->how;
	return 0;
}

int child_wait(struct child *child, tine_exit *how, int64_t deadline)
{
	return wait_for_child(child, how, deadline, false);
}

int child_await(struct child *child, tine_exit *how, int64_t deadline)
{
	return wait_for_child(child, how, deadline, true);
}

void child_nudge(const struct child *child)
{
	if (own_fd_is_open(&child->lifeline))
		/* Bound: it does not block. */
		send(child->lifeline.fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void child_hang_up(const struct child *child)
{
	if (own_fd_is_open(&child->lifeline))
		shutdown(child->lifeline.fd, SHUT_RDWR);
}

void child_release(struct child *child)
{
	if (child->owner != getpid() || child->lifeline.fd < 0)
		return;
	unlist(child);
	close_handle(child);
	own_fd_close(&child->lifeline);
	child->lifeline.fd = child->handle.fd = -1;
}
