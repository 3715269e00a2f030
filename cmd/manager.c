/* SPDX-License-Identifier: MIT */
/*
 * A private Redis server for programs that have no common parent: prints its URL, and
 * serves until the process that started the command ends, or the command does.
 */
#include "command.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <tine.h>
#include <unistd.h>

static struct {
	const char *path; /* NULL: in a folder of its own */
	bool json;
} options;

static bool read_path(const char *text, void *into)
{
	*(const char **)into = text;
	return *text != '\0';
}

static int start(tine_manager **manager)
{
	int err = tine_manager_start(manager, options.path);

	switch (err) {
	case 0:
		return DONE;
	case -EADDRINUSE:
		return complain(USAGE, "manager: --at: '%s' is there already",
				options.path);
	case -ENAMETOOLONG:
		return complain(USAGE, "manager: --at: '%s' has more than 107 bytes",
				options.path);
	case -ENOENT:
		if (!options.path)
			break;
		/* fall through */
	case -ENOTDIR:
	case -EACCES:
		/* Of the folder, unless there is no server. */
		return complain(options.path ? USAGE : BROKEN, "manager: '%s': %s",
				options.path ? options.path : "", tine_strerror(err));
	}
	if (err == -ENOENT)
		return complain(BROKEN, "manager: there is no redis-server in PATH");
	return complain(BROKEN, "manager: redis-server: %s", tine_strerror(err));
}

static int print_url(const tine_manager *manager)
{
	if (options.json)
		printf("{\"url\": \"%s\", \"pid\": %ld}\n", tine_manager_url(manager),
		       (long)tine_manager_pid(manager));
	else
		printf("%s\n", tine_manager_url(manager));
	if (fflush(stdout) != 0)
		return complain(BROKEN, "manager: standard output: %s", strerror(errno));
	return DONE;
}

/* The signal that is to end it, or 0: the parent has ended; or -1: the server has. */
static int serve(int signals, int parent, int server)
{
	struct pollfd polled[] = { { .fd = signals, .events = POLLIN },
				   { .fd = parent, .events = POLLIN },
				   { .fd = server, .events = POLLIN } };
	struct signalfd_siginfo info;

	while (poll(polled, 3, -1) < 0)
		if (errno != EINTR)
			return -1;
	if (polled[0].revents && read(signals, &info, sizeof(info)) == sizeof(info))
		return (int)info.ssi_signo;
	return polled[1].revents ? 0 : -1;
}

static int open_process(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static int run_manager(int argc, char **argv)
{
	static const int ends[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
	pid_t parent_pid = getppid();
	int parent = open_process(parent_pid), server, signals, code, ended = 0;
	tine_manager *manager;
	sigset_t set;

	(void)argc;
	(void)argv;
	if (parent < 0 && getppid() == parent_pid)
		return complain(BROKEN, "manager: %s", strerror(errno));
	/* Whoever started it and has ended already wants nothing of it. */
	if (getppid() != parent_pid)
		return DONE;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		struct sigaction action;

		/* What nohup(1) and the like have it ignore stays so. */
		if (sigaction(ends[i], NULL, &action) != 0 ||
		    action.sa_handler != SIG_IGN)
			sigaddset(&set, ends[i]);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (signals < 0)
		return complain(BROKEN, "manager: %s", strerror(errno));
	code = start(&manager);
	if (code == DONE) {
		server = open_process(tine_manager_pid(manager));
		code = print_url(manager);
		if (code == DONE)
			ended = serve(signals, parent, server);
		tine_manager_free(manager);
		close(server);
	}
	close(signals);
	close(parent);
	if (code == DONE && ended < 0)
		return complain(BROKEN, "manager: redis-server has ended");
	/* The shell is to see what ended it. */
	if (ended > 0) {
		signal(ended, SIG_DFL);
		sigprocmask(SIG_UNBLOCK, &set, NULL);
		raise(ended);
	}
	return code;
}

static const struct option_row rows[] = {
	{ "at", 0, "PATH", read_path, &options.path,
	  "a path that does not exist yet, of at most 107 bytes",
	  "The path of the socket. A socket without a server is replaced. Default: a "
	  "new folder.",
	  NULL },
	{ "json", 0, NULL, NULL, &options.json, NULL, "Print one JSON object.", NULL },
	{ 0 },
};

const struct command manager_command = {
	.name = "manager",
	.summary = "run a private Redis server as long as its parent runs",
	.options = rows,
	.description =
		"Starts\n"
		".Xr redis-server 1\n"
		"on a Unix socket of mode 0600, with a password, without TCP and\n"
		"without a disk.\n"
		"When the server answers, the command prints its URL, for\n"
		".Xr tine_store_open 3 .\n"
		"With\n"
		".Fl \\-json\n"
		"it prints an object with the members\n"
		".Li url\n"
		"and\n"
		".Li pid ,\n"
		"the process id of the server.\n"
		".Pp\n"
		"The command runs until the process that started it has ended, or\n"
		"until a signal ends it.\n"
		"Then the server ends and the socket is removed, also if the command\n"
		"is killed.\n"
		"The password does not appear in a list of processes.\n"
		"Every process that can read the URL has the password.\n",
	.example = "tine manager --at /tmp/redis",
	.run = run_manager,
};
