/* SPDX-License-Identifier: MIT */
#ifndef TINE_SIGNALS_H
#define TINE_SIGNALS_H

#include <signal.h>
#include <sys/signalfd.h>

/* All of them, for this thread. before: NULL, or has the mask from which it was. */
static inline void block_signals(sigset_t *before)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, before);
}

/* Readable when a child has ended, where SIGCHLD is blocked. -1: errno. */
static inline int deaths_fd(void)
{
	sigset_t deaths;

	sigemptyset(&deaths);
	sigaddset(&deaths, SIGCHLD);
	return signalfd(-1, &deaths, SFD_CLOEXEC | SFD_NONBLOCK);
}

#endif
