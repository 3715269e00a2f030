/* SPDX-License-Identifier: MIT */
#include "map/signals.h"

#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

static struct {
	int fd;
	sigset_t set;
	bool pipe_ignored;
} signals;

int signals_open(void)
{
	static const int taken[] = { SIGHUP, SIGINT, SIGTERM, SIGTSTP };
	struct sigaction action;

	sigemptyset(&signals.set);
	for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
		/* What nohup(1) and the like have it ignore stays so. */
		if (sigaction(taken[i], NULL, &action) == 0 &&
		    action.sa_handler != SIG_IGN)
			sigaddset(&signals.set, taken[i]);
	sigprocmask(SIG_BLOCK, &signals.set, NULL);
	signals.fd = signalfd(-1, &signals.set, SFD_CLOEXEC | SFD_NONBLOCK);
	/* A limit on files is an error as a full disk is; jobs have the default again. */
	signal(SIGXFSZ, SIG_IGN);
	signals.pipe_ignored = signal(SIGPIPE, SIG_IGN) == SIG_IGN;
	return signals.fd;
}

int signals_take(void)
{
	struct signalfd_siginfo info;

	return read(signals.fd, &info, sizeof(info)) == sizeof(info) ? (int)info.ssi_signo
								     : 0;
}

bool signals_pipe_ignored(void)
{
	return signals.pipe_ignored;
}

void signals_stop(void)
{
	sigset_t stop;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTSTP);
	raise(SIGTSTP);
	/* Where no shell could continue it, the kernel forgets the signal. */
	sigprocmask(SIG_UNBLOCK, &stop, NULL);
	sigprocmask(SIG_BLOCK, &stop, NULL);
}

void signals_raise(int number)
{
	signal(number, SIG_DFL);
	sigprocmask(SIG_UNBLOCK, &signals.set, NULL);
	raise(number);
}
