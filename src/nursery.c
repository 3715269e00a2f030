/* SPDX-License-Identifier: MIT */
/*
 * The nursery: a small process with one thread between a pool's owner and its workers.
 *
 * Workers are forked from it and not from the owner, for the owner may be large (a fork
 * copies its page tables), may have threads whose locks and state a fork leaves broken,
 * and may be at work when a replacement is needed.
 *
 *	owner dies, by any death	the lifeline breaks: workers are killed, then it
 *					ends
 *	nursery dies			the kernel kills the workers (PR_SET_PDEATHSIG,
 *					which is exact here: the nursery has one thread);
 *					the owner sees it, mends the desks and starts
 *					another
 *	worker dies			SIGCHLD: its desk is mended, a new one is seated
 *
 * A worker that cannot begin (its .init fails or crashes) is tried a few times, with a
 * pause; then its desk is abandoned, and what waits there is stolen by the others.
 */
#include "nursery.h"

#include "child.h"
#include "futex.h"
#include "worker.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define MOST_STRIKES 3
#define PAUSE_MS     20

struct nursery {
	struct ledger *ledger;
	int lifeline, deaths; /* deaths: a signalfd */
	sigset_t jobs_mask;   /* the caller's, for the workers */
	bool vacant;	      /* some desk waits for a worker */
};

/* What the caller's program would do on a signal is not for these processes to do. */
static void default_handlers(void)
{
	struct sigaction action;

	for (int signal = 1; signal < NSIG; signal++)
		if (sigaction(signal, NULL, &action) == 0 &&
		    action.sa_handler != SIG_IGN && action.sa_handler != SIG_DFL) {
			action = (struct sigaction){ .sa_handler = SIG_DFL };
			sigaction(signal, &action, NULL);
		}
	action = (struct sigaction){ .sa_handler = SIG_DFL };
	sigaction(SIGCHLD, &action, NULL);
	/* Ctrl-C is for the caller to answer: it may want the results so far. */
	action.sa_handler = SIG_IGN;
	sigaction(SIGINT, &action, NULL);
}

static _Noreturn void be_worker(const struct nursery *nursery, unsigned id, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	close(nursery->lifeline);
	close(nursery->deaths);
	prctl(PR_SET_NAME, "tine-worker");
	sigprocmask(SIG_SETMASK, &nursery->jobs_mask, NULL);
	leave(worker_main(nursery->ledger, id));
}

/* The desk is mended. */
static void seat(struct nursery *nursery, unsigned id)
{
	struct desk *desk = &nursery->ledger->desks[id];
	pid_t pid, self = getpid();

	if (desk->strikes >= MOST_STRIKES) {
		atomic_store(&desk->seat, SEAT_ABANDONED);
		return;
	}
	atomic_store(&desk->seat, SEAT_STARTING);
	pid = fork_quietly();
	if (pid == 0)
		be_worker(nursery, id, self);
	if (pid > 0) {
		atomic_store(&desk->pid, pid);
		return;
	}
	desk->strikes++;
	atomic_store(&desk->refusal, pid);
	atomic_store(&desk->seat, SEAT_EMPTY);
	nursery->vacant = true;
}

static void bury(struct nursery *nursery, pid_t pid)
{
	struct ledger *ledger = nursery->ledger;
	struct desk *desk;
	unsigned id = 0;

	while (id < ledger->workers && atomic_load(&ledger->desks[id].pid) != pid)
		id++;
	if (id == ledger->workers)
		return;
	desk = &ledger->desks[id];
	atomic_store(&desk->pid, 0);
	atomic_fetch_and(&ledger->asleep[id / 64], ~(UINT64_C(1) << id % 64));
	ledger_lock(ledger);
	desk_mend(ledger, id);
	ledger_unlock(ledger);
	if (atomic_load(&desk->seat) == SEAT_READY) {
		desk->strikes = 0;
		seat(nursery, id);
	} else {
		desk->strikes++;
		atomic_store(&desk->seat, SEAT_EMPTY);
		nursery->vacant = true;
	}
	/* In place of whatever call the dead one took with it. */
	ledger_wake_all(ledger);
}

static void bury_all(struct nursery *nursery)
{
	struct signalfd_siginfo info;
	pid_t pid;

	while (read(nursery->deaths, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		bury(nursery, pid);
}

static void seat_vacant(struct nursery *nursery)
{
	nursery->vacant = false;
	for (unsigned id = 0; id < nursery->ledger->workers; id++)
		if (atomic_load(&nursery->ledger->desks[id].seat) == SEAT_EMPTY)
			seat(nursery, id);
	ledger_wake_all(nursery->ledger);
}

static void end_overdue(struct nursery *nursery)
{
	struct ledger *ledger = nursery->ledger;

	for (unsigned id = 0; id < ledger->workers; id++) {
		struct desk *desk = &ledger->desks[id];
		uint64_t overdue = atomic_load(&desk->overdue);

		if (overdue && overdue == atomic_load(&desk->at) &&
		    atomic_load(&desk->pid))
			kill(atomic_load(&desk->pid), SIGKILL);
	}
}

static _Noreturn void close_down(struct nursery *nursery)
{
	struct ledger *ledger = nursery->ledger;

	for (unsigned id = 0; id < ledger->workers; id++)
		if (atomic_load(&ledger->desks[id].pid))
			kill(atomic_load(&ledger->desks[id].pid), SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	_exit(0);
}

int nursery_main(void *arg, int lifeline)
{
	struct nursery nursery = { .ledger = arg, .lifeline = lifeline, .vacant = true };
	struct pollfd polled[2] = { { .fd = lifeline, .events = POLLIN },
				    { .events = POLLIN } };
	sigset_t set;
	char bytes[64];

	prctl(PR_SET_NAME, "tine-nursery");
	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, &nursery.jobs_mask);
	default_handlers();
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	nursery.deaths = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (nursery.deaths < 0)
		return 1;
	polled[1].fd = nursery.deaths;
	seat_vacant(&nursery);
	for (;;) {
		int ready = poll(polled, 2, nursery.vacant ? PAUSE_MS : -1);

		if (polled[0].revents &&
		    recv(lifeline, bytes, sizeof(bytes), MSG_DONTWAIT) == 0)
			close_down(&nursery);
		if (polled[0].revents)
			end_overdue(&nursery);
		if (polled[1].revents)
			bury_all(&nursery);
		if (ready == 0)
			seat_vacant(&nursery);
	}
}
