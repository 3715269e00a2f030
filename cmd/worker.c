/* SPDX-License-Identifier: MIT */
/* A host for the jobs of this command's own tasks, until a signal has it drain. */
#include "command.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <tine.h>
#include <unistd.h>

#define LOOK_MS 100 /* between looks whether the host has ended */

static struct {
	const char *url, *name;
	unsigned workers, lease_ms;
} options;

static bool read_lease(const char *text, void *into)
{
	uint64_t ms;

	if (!read_count(text, &ms) || ms < 100 || ms > 600000)
		return false;
	*(unsigned *)into = (unsigned)ms;
	return true;
}

static bool read_host_name(const char *text, void *into)
{
	*(const char **)into = text;
	return *text && strlen(text) <= 63;
}

static int serve_until_drained(tine_worker *worker, int signals)
{
	struct pollfd polled = { .fd = signals, .events = POLLIN };
	struct signalfd_siginfo info;
	int err;

	while ((err = tine_worker_wait(worker, TINE_NOWAIT)) == -ETIMEDOUT)
		if (poll(&polled, 1, LOOK_MS) > 0 &&
		    read(signals, &info, sizeof(info)) == sizeof(info))
			tine_worker_drain(worker);
	return err;
}

static int run_worker(int argc, char **argv)
{
	tine_worker_opts opts = { .workers = options.workers,
				  .name = options.name,
				  .lease_ms = options.lease_ms };
	const tine_task tasks[] = { pi_task, primes_task, isprime_task };
	tine_worker *worker;
	sigset_t set, before;
	int signals, err;

	(void)argc;
	(void)argv;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	err = tine_worker_start(&worker, pool_of_tine(options.url), tasks,
				sizeof(tasks) / sizeof(*tasks), &opts);
	if (err)
		return complain_of_engine("worker", options.url, err);
	/* Only now: the host and its workers have the mask that was before. */
	sigprocmask(SIG_BLOCK, &set, &before);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	err = signals < 0 ? -errno : serve_until_drained(worker, signals);
	tine_worker_free(worker);
	if (signals >= 0)
		close(signals);
	return err ? complain_of_engine("worker", options.url, err) : DONE;
}

static const struct operand_row operands[] = {
	{ "URL", read_text, &options.url, "a URL", "Of the server, see tine-engines(7).",
	  NULL, false },
	{ 0 },
};

static const struct option_row rows[] = {
	{ "workers", 'j', "N", read_workers, &options.workers,
	  "a whole number from 1 to 1024", "Use N processes. Default: one a processor.",
	  NULL },
	{ "name", 0, "NAME", read_host_name, &options.name, "1 to 63 bytes",
	  "The host's name, for tine workers. Default: that of the machine.", NULL },
	{ "lease", 0, "MS", read_lease, &options.lease_ms,
	  "a whole number from 100 to 600000",
	  "Milliseconds of silence after which other hosts get the jobs, for the first "
	  "host "
	  "of a pool. Default: 5000.",
	  NULL },
	{ 0 },
};

const struct command worker_command = {
	.name = "worker",
	.summary = "do the jobs of tine pi, primes and isprime for others",
	.operand_rows = operands,
	.options = rows,
	.description = "Makes this machine a host: it does jobs of\n"
		       ".Xr tine-pi 1 ,\n"
		       ".Xr tine-primes 1\n"
		       "and\n"
		       ".Xr tine-isprime 1\n"
		       "that are run elsewhere with\n"
		       ".Fl \\-engine Ar URL .\n"
		       "A program with tasks of its own has its own hosts, see\n"
		       ".Xr tine_worker_start 3 .\n"
		       ".Pp\n"
		       "It runs until\n"
		       ".Dv SIGINT\n"
		       "or\n"
		       ".Dv SIGTERM :\n"
		       "then it takes no more jobs, gives back what it has not begun, "
		       "and ends when\n"
		       "those that run are done.\n"
		       "While the server is away, it tries to reach it again.\n"
		       "If it is killed, other hosts get its jobs after the lease.\n",
	.example = "tine worker redis://server -j 4",
	.run = run_worker,
};
