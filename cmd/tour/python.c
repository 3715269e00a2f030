/* SPDX-License-Identifier: MIT */
/*
 * The Python programs of a tour, which say in JSON what they found.
 *
 * Python's processes do not all end with the one that started them: a manager serves for
 * ever, and who waits for a message of a multiprocessing.Queue holds both its ends. So
 * there is a process between, the keeper, to which the kernel gives the orphans of those
 * below it. All are in the tour's process group, so that Ctrl-C reaches Python.
 *
 *	tour_python's process dies,	the lifeline breaks: the keeper ends what is
 *	by any death			below it, and itself
 *	Python ends			the same, and says how it ended
 *	keeper dies			the kernel kills Python (PDEATHSIG); what that
 *					has started may stay
 *
 * They have a moment from SIGTERM to SIGKILL, for those who then clean up: joblib leaves
 * names in /dev/shm to a process that ignores SIGTERM and looks for the end of the
 * others.
 */
#include "tour/embedded.h"
#include "tour/said.h"
#include "tour/tour.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <tine.h>
#include <unistd.h>

#define SECOND	 INT64_C(1000000000)
#define LONGEST	 (600 * SECOND) /* that a program may take */
#define GRACE	 SECOND		/* from SIGTERM to SIGKILL */
#define LOOK_MS	 10
#define SAID	 16384 /* bytes */
#define SHORT	 70    /* bytes of a folder in which there may be sockets */
#define NO_EXEC	 127
#define SIGNALED 128 /* and the signal: how the keeper leaves, as shells do */

struct script {
	char **argv;
	int lifeline, said, complaints;
	sigset_t mask; /* of signals, before all were blocked */
};

/* ---- the keeper -------------------------------------------------------------------- */

static pid_t parent_of(const char *pid)
{
	char path[PATH_MAX], text[512];
	const char *end;
	size_t len;
	FILE *stat;
	int parent;

	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	stat = fopen(path, "re");
	if (!stat)
		return -1;
	len = fread(text, 1, sizeof(text) - 1, stat);
	fclose(stat);
	text[len] = '\0';
	/* After the name of the program, which may have anything in it. */
	end = strrchr(text, ')');
	return end && sscanf(end, ") %*c %d", &parent) == 1 ? parent : -1;
}

static void signal_children(int number)
{
	DIR *processes = opendir("/proc");
	struct dirent *entry;

	if (!processes)
		return;
	while ((entry = readdir(processes)))
		if (isdigit((unsigned char)*entry->d_name) &&
		    parent_of(entry->d_name) == getpid())
			kill(atoi(entry->d_name), number);
	closedir(processes);
}

/* Reaps who has ended. False: there are no children. */
static bool reap(pid_t python, int *status)
{
	int how;
	pid_t pid;

	while ((pid = waitpid(-1, &how, WNOHANG)) > 0)
		if (pid == python)
			*status = how;
	return pid == 0;
}

/* Also those that become orphans meanwhile. */
static void end_children(pid_t python, int *status)
{
	int64_t grace_ends = tine_now() + GRACE;

	while (reap(python, status)) {
		signal_children(tine_now() < grace_ends ? SIGTERM : SIGKILL);
		poll(NULL, 0, LOOK_MS);
	}
}

static _Noreturn void be_python(const struct script *script, pid_t keeper)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == keeper && dup2(open("/dev/null", O_RDONLY), 0) == 0 &&
	    dup2(script->said, 1) == 1 && dup2(script->complaints, 2) == 2) {
		sigprocmask(SIG_SETMASK, &script->mask, NULL);
		execvp(*script->argv, script->argv);
	}
	dprintf(script->complaints, "%s: %s\n", *script->argv, strerror(errno));
	_exit(NO_EXEC);
}

static _Noreturn void keep(const struct script *script)
{
	struct pollfd polled[] = { { .fd = script->lifeline, .events = POLLIN },
				   { .events = POLLIN } };
	struct signalfd_siginfo info;
	pid_t self = getpid(), python;
	int status = -1;
	sigset_t deaths;

	prctl(PR_SET_NAME, "tine-keeper");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&deaths);
	sigaddset(&deaths, SIGCHLD);
	polled[1].fd = signalfd(-1, &deaths, SFD_CLOEXEC);
	python = polled[1].fd < 0 ? -1 : fork();
	if (python == 0)
		be_python(script, self);
	if (python < 0) {
		dprintf(script->complaints, "python3: %s\n", strerror(errno));
		_exit(NO_EXEC);
	}
	close(script->said);
	/* Nothing is ever written to the lifeline. */
	while (status == -1 && poll(polled, 2, -1) > 0 && !polled[0].revents) {
		if (read(polled[1].fd, &info, sizeof(info)) < 0)
			break;
		reap(python, &status);
	}
	end_children(python, &status);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : SIGNALED + WTERMSIG(status));
}

/* ---- what it prints ---------------------------------------------------------------- */

/* Until all who might have ended, or the deadline. */
static int read_all(int fd, char *text, size_t size, int64_t deadline)
{
	size_t len = 0;
	ssize_t got = 1;

	while (got > 0 && len + 1 < size) {
		int64_t left = deadline - tine_now();
		struct pollfd polled = { .fd = fd, .events = POLLIN };
		int ready = left > 0 ? poll(&polled, 1, (int)(left / 1000000) + 1) : 0;

		if (ready == 0)
			return -ETIMEDOUT;
		got = ready < 0 ? -1 : read(fd, text + len, size - 1 - len);
		if (got < 0 && errno != EINTR)
			return -errno;
		if (got < 0)
			got = 1;
		else
			len += (size_t)got;
	}
	text[len] = '\0';
	return 0;
}

/* What it complained of: an exception is on the last line. */
static void note_complaint(struct tour_run *run, int complaints, int code)
{
	char text[1024];
	off_t size = lseek(complaints, 0, SEEK_END);
	off_t from = size < (off_t)sizeof(text) ? 0 : size - (off_t)sizeof(text) + 1;
	ssize_t len = pread(complaints, text, sizeof(text) - 1, from);
	char *line;

	while (len > 0 && isspace((unsigned char)text[len - 1]))
		len--;
	text[len > 0 ? len : 0] = '\0';
	line = strrchr(text, '\n');
	line = line ? line + 1 : text;
	for (char *at = line; *at; at++)
		if (!isprint((unsigned char)*at))
			*at = '?';
	if (code > SIGNALED)
		snprintf(run->note, sizeof(run->note), "ended by signal %d (%s)",
			 code - SIGNALED, strsignal(code - SIGNALED));
	else if (*line)
		snprintf(run->note, sizeof(run->note), "%.*s", TOUR_TEXT - 1, line);
	else
		snprintf(run->note, sizeof(run->note), "exit code %d", code);
}

/* ---- a run ------------------------------------------------------------------------- */

static bool imports(const char *python, const char *modules)
{
	char *argv[] = { (char *)python, "-c", (char *)modules, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int status, err;
	pid_t pid;

	if (posix_spawn_file_actions_init(&actions) != 0)
		return false;
	/* The tour blocks what Ctrl-C sends. */
	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	err = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0) ||
	      posix_spawn_file_actions_adddup2(&actions, 0, 1) ||
	      posix_spawn_file_actions_adddup2(&actions, 0, 2) ||
	      posix_spawnp(&pid, python, &actions, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	if (err)
		return false;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return status == 0;
}

const char *tour_find_python(void)
{
	static const char *const pythons[] = { "python3", "/usr/bin/python3" };
	/* Without them, there are programs that run, and others that say why not. */
	static const char *const modules[] = { "import numpy, joblib", "" };
	static const char *found;
	static bool looked;

	for (size_t i = 0; !looked && i < 2; i++)
		for (size_t j = 0; !found && j < 2; j++)
			if (imports(pythons[j], modules[i]))
				found = pythons[j];
	looked = true;
	return found;
}

static int write_script(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");
	int err = 0;

	if (!file)
		return -errno;
	if (fputs(text, file) < 0)
		err = -EIO;
	if (fclose(file) != 0)
		err = -errno;
	return err;
}

/* Runs it: its exit code, or a negative error. */
static int run_script(struct script *script, char *said, size_t size)
{
	int lifeline[2], pipe_ends[2], status, err;
	sigset_t all;
	pid_t keeper;

	if (pipe2(lifeline, O_CLOEXEC) != 0)
		return -errno;
	if (pipe2(pipe_ends, O_CLOEXEC) != 0) {
		err = -errno;
		close(lifeline[0]);
		close(lifeline[1]);
		return err;
	}
	script->lifeline = lifeline[0];
	script->said = pipe_ends[1];
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &script->mask);
	keeper = fork();
	err = keeper < 0 ? -errno : 0;
	if (keeper == 0) {
		close(lifeline[1]);
		close(pipe_ends[0]);
		keep(script);
	}
	sigprocmask(SIG_SETMASK, &script->mask, NULL);
	close(lifeline[0]);
	close(pipe_ends[1]);
	if (!err)
		err = read_all(pipe_ends[0], said, size, tine_now() + LONGEST);
	close(lifeline[1]);
	close(pipe_ends[0]);
	while (keeper > 0 && waitpid(keeper, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (err)
		return err;
	return WIFEXITED(status) ? WEXITSTATUS(status) : SIGNALED + WTERMSIG(status);
}

int tour_python(const struct tour_program *program, struct tour_run *run)
{
	char name[64], path[PATH_MAX], workers[16], numbers[TOUR_NUMBERS][24], said[SAID];
	char *python = (char *)tour_find_python(), *argv[3 + 4 + TOUR_NUMBERS + 1];
	struct script script = { .argv = argv };
	const char *text;
	unsigned n = 0;
	int err;

	snprintf(name, sizeof(name), "%s.py", program->script);
	text = embedded(name);
	if (!text || run->n > TOUR_NUMBERS)
		return -EINVAL;
	if (!python || (program->over_tine && !imports(python, "import tine"))) {
		snprintf(run->left_out, sizeof(run->left_out), "there is no %s",
			 python ? "package of tine for Python" : "python3");
		return 0;
	}
	if (snprintf(path, sizeof(path), "%s/%s", run->folder, name) >= PATH_MAX)
		return -ENAMETOOLONG;
	snprintf(workers, sizeof(workers), "%u", run->workers);
	argv[n++] = python;
	if (program->over_tine) {
		argv[n++] = "-m";
		argv[n++] = "tine";
	}
	argv[n++] = path;
	argv[n++] = (char *)program->way;
	argv[n++] = workers;
	argv[n++] = (char *)run->folder;
	for (unsigned i = 0; i < run->n; i++) {
		snprintf(numbers[i], sizeof(numbers[i]), "%" PRIu64, run->numbers[i]);
		argv[n++] = numbers[i];
	}
	argv[n] = NULL;
	err = write_script(path, text);
	if (err)
		return err;
	script.complaints = memfd_create("stderr", MFD_CLOEXEC);
	if (script.complaints < 0)
		return -errno;
	setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
	if (strlen(run->folder) <= SHORT)
		setenv("TMPDIR", run->folder, 1);
	err = run_script(&script, said, sizeof(said));
	if (err == -ETIMEDOUT) {
		snprintf(run->note, sizeof(run->note), "it took longer than %d minutes",
			 (int)(LONGEST / SECOND / 60));
	} else if (err > 0) {
		note_complaint(run, script.complaints, err);
		err = -EIO;
	} else if (err == 0) {
		err = said_parse(run, said);
	}
	close(script.complaints);
	return err;
}
