/* SPDX-License-Identifier: MIT */
/*
 * The keeper, as its owner sees it: a small process with one thread, which spawns
 * programs for its owner, and ends them and all that they started when the owner is gone.
 * What it does itself is in keeper_main.c.
 *
 * A request is one message on a socket pair: what to do, strings and descriptors. Each
 * has one answer, and a mutex keeps threads apart. They share no memory. The keeper is a
 * clone(2) that sends no signal when it ends, so that neither SIGCHLD nor the owner's
 * wait(2) tells of it.
 *
 *	owner dies			the keeper has a pidfd of it: it kills its
 *					children until there are none, and ends
 *	owner dies in a request		the same; what was spawned for it is among them
 *	owner is stopped		nobody waits for it
 *	owner executes a program	the socket ends, the pidfd does not: what it
 *					spawned runs until that program has ended
 *	owner closes the socket		the next spawn starts another keeper; the first
 *					goes on with what it has
 *	owner forks			the child has no keeper, and closes the socket
 *	owner changes its user		the next spawn starts another keeper, so that
 *					nothing runs with the rights of before
 *	keeper is stopped		the owner continues it when an answer is late, the
 *					kernel (PR_SET_PDEATHSIG) when the owner has died
 *	keeper dies			the kernel kills the programs, though not what
 *					they started; the request returns -EPIPE, and the
 *					next spawn starts another
 */
#include "process/keeper.h"

#include "base/atfork.h"
#include "base/futex.h"
#include "base/own_fd.h"
#include "base/signals.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define PATIENCE_MS 100 /* for an answer, before the keeper is continued */

struct keeper {
	pid_t pid;     /* 0: it is dead, and reaped */
	unsigned uses; /* programs, and ties */
	struct own_fd line;
	uid_t user;
	gid_t group;
	struct keeper *next;
};

static struct keeper *keepers; /* the first is the one that spawns */
/* Held for a request, whose answer has a bound, and never across a fork. */
static pthread_mutex_t keeper_mutex = PTHREAD_MUTEX_INITIALIZER;

/* In a forked child. What it was called with is its parent's. */
static void forget_keepers(void)
{
	for (struct keeper *keeper = keepers; keeper; keeper = keeper->next)
		own_fd_close(&keeper->line);
	keepers = NULL;
	pthread_mutex_init(&keeper_mutex, NULL);
}

FILL_ATFORK static void fill_keepers_slot(void)
{
	atfork_fill(ATFORK_KEEPERS, &(struct atfork){ .in_child = forget_keepers });
}

/* One that cannot be asked any more goes on until its owner ends. */
static void drop_keeper(struct keeper *keeper)
{
	if (keeper->pid && own_fd_is_open(&keeper->line)) {
		kill(keeper->pid, SIGKILL);
		/* Bound: it is being killed. */
		while (waitpid(keeper->pid, NULL, __WALL) < 0 && errno == EINTR)
			;
	}
	own_fd_close(&keeper->line);
	keeper->pid = 0;
	keeper->line.fd = -1;
}

/* One that is dead, or not the first, goes with its last program. */
static void tidy_keepers(void)
{
	struct keeper **at = &keepers;

	while (*at) {
		struct keeper *keeper = *at;

		if (keeper->uses == 0 && (keeper != keepers || !keeper->pid)) {
			*at = keeper->next;
			drop_keeper(keeper);
			free(keeper);
		} else {
			at = &keeper->next;
		}
	}
}

static int start_keeper(void)
{
	struct keeper *keeper = calloc(1, sizeof(*keeper));
	sigset_t before;
	pid_t self = getpid();
	int ends[2], err;

	if (!keeper)
		return -ENOMEM;
	ends[0] = (int)syscall(SYS_pidfd_open, self, 0);
	if (ends[0] < 0) {
		err = -errno;
		goto free_keeper;
	}
	close(ends[0]);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
		err = -errno;
		goto free_keeper;
	}
	err = fds_raise(ends, 2);
	if (err)
		goto free_keeper;
	block_signals(&before);
	keeper->pid = (pid_t)syscall(SYS_clone, 0L, NULL, NULL, NULL, NULL);
	err = keeper->pid < 0 ? -errno : 0;
	if (keeper->pid == 0)
		keeper_main(ends[1], self);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		goto close_ends;
	close(ends[1]);
	keeper->line = own_fd(ends[0]);
	keeper->user = geteuid();
	keeper->group = getegid();
	keeper->next = keepers;
	keepers = keeper;
	return 0;

close_ends:
	close(ends[0]);
	close(ends[1]);
free_keeper:
	free(keeper);
	return err;
}

/* Whether the first keeper can spawn for this process as it is now. */
static bool keeper_serves(void)
{
	return keepers && keepers->pid && own_fd_is_open(&keepers->line) &&
	       keepers->user == geteuid() && keepers->group == getegid();
}

static int await_answer(const struct keeper *keeper, struct answer *answer, int *fd)
{
	int64_t end = tine_after(ANSWER_MS);
	struct pollfd polled = { .fd = keeper->line.fd, .events = POLLIN };

	while (tine_now() < end) {
		size_t n = 1;
		ssize_t len;

		/* Bound: PATIENCE_MS, and ANSWER_MS in all. */
		if (poll(&polled, 1, PATIENCE_MS) == 0)
			kill(keeper->pid, SIGCONT);
		len = take_message(keeper->line.fd, answer, sizeof(*answer), NULL, 0, fd,
				   &n);
		if (len == sizeof(*answer))
			return answer->status;
		if (len != -EAGAIN && len != -EINTR)
			return -EPIPE;
	}
	return -ETIMEDOUT;
}

/* The mutex is held. What the keeper says, or why it says nothing any more. */
static int ask_keeper(struct keeper *keeper, const struct keeper_request *request,
		      const char *strings, const int *fds, size_t n,
		      struct answer *answer, int *fd)
{
	size_t len = strings ? request->len : 0;
	ssize_t sent;
	int err;

	if (!keeper->pid || !own_fd_is_open(&keeper->line))
		return -EPIPE;
	/* There is room: the one before was answered. */
	sent = pass_message(keeper->line.fd, request, sizeof(*request), strings, len, fds,
			    n);
	if (sent == -EBADF || sent == -ETOOMANYREFS || sent == -ENOBUFS)
		return (int)sent;
	err = sent < 0 ? -EPIPE : await_answer(keeper, answer, fd);
	if (err == -ETIMEDOUT || err == -EPIPE)
		drop_keeper(keeper);
	return err;
}

/* The mutex is held. The first keeper, which can spawn for this process as it is now. */
static int have_keeper(void)
{
	return keeper_serves() ? 0 : start_keeper();
}

static void lock_keepers(void)
{
	/* Bound: ANSWER_MS for each thread that is before. */
	pthread_mutex_lock(&keeper_mutex);
}

int keeper_spawn(struct keeper **out, struct keeper_request *request, const char *strings,
		 const int *fds, pid_t *pid, int *pidfd)
{
	struct answer answer = { 0 };
	int err, fd = -1;

	lock_keepers();
	err = have_keeper();
	if (!err)
		err = ask_keeper(keepers, request, strings, fds, passed_count(request),
				 &answer, &fd);
	if (!err) {
		keepers->uses++;
		*out = keepers;
		*pid = answer.pid;
		*pidfd = fd;
	}
	/* The kernel drops a descriptor that this process has no room for. */
	if (!err && fd < 0) {
		struct keeper_request end = { .kind = KEEPER_END, .pid = answer.pid };

		ask_keeper(keepers, &end, NULL, NULL, 0, &answer, &fd);
		keepers->uses--;
		err = -EMFILE;
	}
	tidy_keepers();
	pthread_mutex_unlock(&keeper_mutex);
	return err;
}

static int ask_of(struct keeper *keeper, const struct keeper_request *request,
		  struct answer *answer)
{
	int err, unused;

	lock_keepers();
	err = ask_keeper(keeper, request, NULL, NULL, 0, answer, &unused);
	pthread_mutex_unlock(&keeper_mutex);
	return err;
}

int keeper_kill(struct keeper *keeper, pid_t pid, int signal)
{
	struct keeper_request request = { .kind = KEEPER_KILL,
					  .pid = pid,
					  .signal = signal };
	struct answer answer;

	return ask_of(keeper, &request, &answer);
}

int keeper_look(struct keeper *keeper, pid_t pid, struct answer *answer)
{
	struct keeper_request request = { .kind = KEEPER_LOOK, .pid = pid };

	return ask_of(keeper, &request, answer);
}

void keeper_end(struct keeper *keeper, pid_t pid)
{
	struct keeper_request request = { .kind = KEEPER_END, .pid = pid };
	struct answer answer;
	int unused;

	lock_keepers();
	/*
	 * Where it cannot be asked any more, it goes on: so the number is its program's
	 * still. What that has left ends with this process.
	 */
	if (ask_keeper(keeper, &request, NULL, NULL, 0, &answer, &unused) == -EPIPE &&
	    keeper->pid)
		kill(-pid, SIGKILL);
	keeper->uses--;
	tidy_keepers();
	pthread_mutex_unlock(&keeper_mutex);
}

int keeper_tie(int pidfd)
{
	struct keeper_request request = { .kind = KEEPER_TIE };
	struct answer answer;
	int err, unused;

	lock_keepers();
	err = have_keeper();
	if (!err)
		err = ask_keeper(keepers, &request, NULL, &pidfd, 1, &answer, &unused);
	if (!err)
		keepers->uses++;
	tidy_keepers();
	pthread_mutex_unlock(&keeper_mutex);
	return err;
}
