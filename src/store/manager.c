/* SPDX-License-Identifier: MIT */
/*
 * A private redis-server, and the process between it and its creator: the keeper. It has
 * one thread and does nothing but wait for the end of either.
 *
 *	creator dies, by any death	the lifeline breaks: the keeper kills the server,
 *					removes socket and folder, and ends
 *	server dies			the keeper removes socket and folder, and ends
 *	keeper dies			the kernel kills the server (PR_SET_PDEATHSIG,
 *					exact here: the keeper has one thread);
 *					tine_manager_free() removes the files
 *	keeper is stopped		the server serves; the creator kills the keeper
 *					when its time to end is over
 *	keeper and creator die both	the server as well; the files stay, until the next
 *					manager at the same path takes the socket's place
 *
 * What is left is always a socket that nobody listens to. The folder is made by the
 * keeper, so that nothing is made that nobody would remove.
 *
 * Where the path is given, others may start a manager at it, and the server would put its
 * socket in the place of any other. So who looks whether somebody listens there holds a
 * lock on the folder until his own server does, or until what he found dead is removed.
 *
 * Both are in a session of their own, so that what ends the creator's terminal or process
 * group reaches the creator alone. The password is in a file without a name that the
 * server reads as its configuration: neither ps nor the environment shows it.
 */
#include "base/futex.h"
#include "base/signals.h"
#include "process/child.h"

#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define START_MS    5000
#define END_MS	    5000
#define LOOK_NS	    500000
#define SECRET	    32 /* bytes */
#define PATH_MOST   108
#define URL_MOST    (4 * PATH_MOST + 2 * SECRET + 64)
#define CONFIG_MOST (4 * PATH_MOST + 2 * SECRET + 512)
#define CLOSE_MOST  65536 /* descriptors, where the kernel has no close_range(2) */

struct tine_manager {
	struct child keeper;
	pid_t pid; /* of the server; 0: not known */
	int report;
	bool own_folder;
	struct stat socket;	/* as the creator has seen it; zeroed */
	char folder[PATH_MOST]; /* of its own, or that of the socket */
	char path[PATH_MOST];
	char password[2 * SECRET + 1];
	char url[URL_MOST];
};

/* What the two say to the creator, in this order, while they start. */
struct report {
	pid_t pid; /* or 0: */
	int err;
};

/* ---- the path ---------------------------------------------------------------------- */

/* A descriptor; -1: there can be none; -ETIMEDOUT: another has it, perhaps stopped. */
static int lock_folder(const char *folder, int64_t deadline)
{
	struct timespec moment = { .tv_nsec = LOOK_NS };
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* Bound: LOCK_NB; in all the caller's deadline, looking anew every LOOK_NS. */
	while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (tine_now() > deadline) {
			close(fd);
			return -ETIMEDOUT;
		}
		/* Bound: LOOK_NS. */
		nanosleep(&moment, NULL);
	}
	return fd;
}

/* Children may have copies of it for a moment. */
static void unlock_folder(int fd)
{
	if (fd < 0)
		return;
	/* Bound: it lets go, and waits for nobody. */
	flock(fd, LOCK_UN);
	close(fd);
}

/* Whether it is a socket that nobody listens to. */
static bool is_dead(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct stat file;
	bool dead;
	int fd;

	if (lstat(path, &file) != 0 || !S_ISSOCK(file.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	strcpy(to.sun_path, path);
	/* Bound: SOCK_NONBLOCK. */
	dead = connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 &&
	       errno == ECONNREFUSED;
	close(fd);
	return dead;
}

/* ---- the server -------------------------------------------------------------------- */

static void close_range_of(unsigned from, unsigned to)
{
	if (from > to || syscall(SYS_close_range, from, to, 0) == 0)
		return;
	for (unsigned fd = from; fd <= to && fd < CLOSE_MOST; fd++)
		close((int)fd);
}

/* What the caller's program has open is not for these processes to keep open. */
static void close_all_but(int fd)
{
	if (fd > 3)
		close_range_of(3, (unsigned)fd - 1);
	close_range_of((unsigned)fd + 1, ~0u);
}

/* Where the caller has closed the first three, other things may be there. */
static int above_standard(int fd)
{
	return fd > 2 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static void no_output(void)
{
	int null = open("/dev/null", O_RDWR);

	for (int fd = 0; fd < 3; fd++)
		if (null >= 0 && null != fd)
			dup2(null, fd);
	if (null > 2)
		close(null);
}

/* As redis.conf reads what is quoted. */
static void quote(char *to, const char *text)
{
	for (; *text; text++)
		to += sprintf(to, "\\x%02x", (unsigned char)*text);
}

/*
 * On a file that has no name. The working folder is one where nobody can make a file, so
 * that nothing is read from the disk at the start, nor written later.
 */
static int write_config(const struct tine_manager *manager)
{
	char text[CONFIG_MOST], path[4 * PATH_MOST];
	int fd = memfd_create("tine-manager", MFD_CLOEXEC), len;

	if (fd < 0)
		return -errno;
	quote(path, manager->path);
	len = snprintf(text, sizeof(text),
		       "port 0\nunixsocket \"%s\"\nunixsocketperm 600\nrequirepass %s\n"
		       "save \"\"\nappendonly no\ndaemonize no\nsupervised no\n"
		       "loglevel warning\nlogfile \"\"\ndir /proc/self\n",
		       path, manager->password);
	/* Bound: a file in memory. */
	if (write(fd, text, (size_t)len) != len || lseek(fd, 0, SEEK_SET) != 0) {
		close(fd);
		return -EIO;
	}
	return fd;
}

static void report_start(int fd, pid_t pid, int err)
{
	struct report report = { pid, err };

	/* Bound: O_NONBLOCK. A caller that does not hear it is gone. */
	if (write(fd, &report, sizeof(report)) < 0)
		return;
}

static _Noreturn void be_server(const struct tine_manager *manager, pid_t keeper)
{
	int report = manager->report, config;
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != keeper)
		_exit(1);
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(077);
	report_start(report, getpid(), 0);
	config = write_config(manager);
	if (config >= 0 && dup2(config, 0) == 0) {
		close_all_but(report);
		execlp("redis-server", "redis-server", "-", NULL);
	}
	report_start(report, 0, config < 0 ? config : -errno);
	_exit(1);
}

/* ---- the keeper -------------------------------------------------------------------- */

/* One that is killed listens until the last of its threads has ended. */
static bool is_our_socket(const struct tine_manager *manager)
{
	const struct stat *socket = &manager->socket;
	struct stat file;

	return socket->st_ino && lstat(manager->path, &file) == 0 &&
	       file.st_ino == socket->st_ino && file.st_dev == socket->st_dev &&
	       file.st_ctim.tv_sec == socket->st_ctim.tv_sec &&
	       file.st_ctim.tv_nsec == socket->st_ctim.tv_nsec;
}

/*
 * The server has ended, or is about to. What else listens there is another's. A socket
 * that stays, because others hold the lock all the while, gives its place to the next.
 */
static void remove_files(const struct tine_manager *manager, int64_t deadline)
{
	int lock = manager->own_folder ? -1 : lock_folder(manager->folder, deadline);

	if (lock == -ETIMEDOUT)
		return;
	if (manager->own_folder || is_our_socket(manager) || is_dead(manager->path))
		unlink(manager->path);
	unlock_folder(lock);
	if (manager->own_folder)
		rmdir(manager->folder);
}

static void await_either_end(int lifeline, int deaths, pid_t pid)
{
	struct pollfd polled[] = { { .fd = lifeline, .events = POLLIN },
				   { .fd = deaths, .events = POLLIN } };

	/*
	 * Bound: the life of the creator or of the server, which is what it waits for.
	 * Nothing is ever written to the lifeline.
	 */
	while (poll(polled, 2, -1) <= 0 || !polled[0].revents)
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return;
	kill(pid, SIGKILL);
	/* Bound: it was killed. */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int be_keeper(void *arg, int lifeline)
{
	struct tine_manager *manager = arg;
	pid_t self, pid;
	int deaths;

	prctl(PR_SET_NAME, "tine-keeper");
	block_signals(NULL);
	signal(SIGCHLD, SIG_DFL);
	setsid();
	self = getpid();
	lifeline = above_standard(lifeline);
	manager->report = above_standard(manager->report);
	no_output();
	deaths = deaths_fd();
	if (deaths < 0 || (manager->own_folder && mkdir(manager->folder, 0700) != 0)) {
		report_start(manager->report, 0, -errno);
		return 1;
	}
	pid = fork_quietly();
	if (pid == 0)
		be_server(manager, self);
	if (pid < 0)
		report_start(manager->report, 0, pid);
	/* The lower of the two that stay, and then the other. */
	close_range_of((unsigned)(lifeline > deaths ? lifeline : deaths) + 1, ~0u);
	for (int fd = 3; fd < lifeline || fd < deaths; fd++)
		if (fd != lifeline && fd != deaths)
			close(fd);
	if (pid > 0)
		await_either_end(lifeline, deaths, pid);
	remove_files(manager, tine_after(END_MS));
	return 0;
}

/* ---- the creator ------------------------------------------------------------------- */

static int random_hex(char *to, size_t bytes)
{
	unsigned char secret[SECRET];

	while (getrandom(secret, bytes, 0) != (ssize_t)bytes)
		if (errno != EINTR)
			return -errno;
	for (size_t i = 0; i < bytes; i++)
		sprintf(to + 2 * i, "%02x", secret[i]);
	return 0;
}

static int choose_folder(tine_manager *manager)
{
	const char *base = getenv("TMPDIR");
	char name[17];
	int err = random_hex(name, 8);

	if (err)
		return err;
	/* What else stands in the path takes 28 bytes. */
	if (!base || *base != '/' || strlen(base) > PATH_MOST - 29 ||
	    access(base, W_OK | X_OK) != 0)
		base = "/tmp";
	snprintf(manager->folder, sizeof(manager->folder), "%.79s/tine-%s", base, name);
	snprintf(manager->path, sizeof(manager->path), "%.101s/redis", manager->folder);
	manager->own_folder = true;
	return 0;
}

/* Absolute, for the processes that are told it may be anywhere. */
static int take_path(tine_manager *manager, const char *path)
{
	char folder[4096] = "";

	if (*path == '\0')
		return -EINVAL;
	if (*path != '/' && !getcwd(folder, sizeof(folder)))
		return -errno;
	if (strlen(folder) + (*folder != '\0') + strlen(path) >= sizeof(manager->path))
		return -ENAMETOOLONG;
	if (*folder)
		strcat(strcpy(manager->path, folder), "/");
	strcat(manager->path, path);
	strcpy(manager->folder, manager->path);
	*(strrchr(manager->folder, '/') + 1) = '\0';
	return 0;
}

/* Takes the place of what a manager has left that died with its keeper. */
static int clear_path(const tine_manager *manager)
{
	struct stat file;

	if (lstat(manager->path, &file) == 0)
		return is_dead(manager->path) && unlink(manager->path) == 0 ? 0
									    : -EADDRINUSE;
	if (errno != ENOENT)
		return -errno;
	return access(manager->folder, W_OK | X_OK) == 0 ? 0 : -errno;
}

static void write_url(tine_manager *manager)
{
	char *to = manager->url + sprintf(manager->url, "unix:");

	for (const char *at = manager->path; *at; at++)
		to += sprintf(to,
			      isalnum((unsigned char)*at) || strchr("/._-", *at)
				      ? "%c"
				      : "%%%02x",
			      (unsigned char)*at);
	sprintf(to, "?password=%s", manager->password);
}

/* Whether it answers, within a second and by the deadline. */
static bool answers(const tine_manager *manager, int64_t deadline)
{
	/* For each of its three steps. */
	int64_t most = (deadline - tine_now()) / 3;
	static const char wanted[] = "+OK\r\n+PONG\r\n";
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct timeval second = { .tv_sec = 1 };
	char text[2 * SECRET + 32], said[sizeof(wanted)] = "";
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), len;
	bool good = false;

	if (fd < 0)
		return false;
	if (most < 1000000000)
		second = (struct timeval){ .tv_usec = most > 1000 ? most / 1000 : 1 };
	strcpy(to.sun_path, manager->path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof(second));
	len = snprintf(text, sizeof(text), "AUTH %s\r\nPING\r\n", manager->password);
	/* Bound: that for each, whatever the server does. */
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
	    send(fd, text, (size_t)len, MSG_NOSIGNAL) == len)
		good = recv(fd, said, sizeof(said) - 1, MSG_WAITALL) > 0 &&
		       strcmp(said, wanted) == 0;
	close(fd);
	return good;
}

/* 0; what the two have reported; -TINE_ECRASH: the server did not like something. */
static int await_server(tine_manager *manager, int reports, int64_t deadline)
{
	struct timespec moment = { .tv_nsec = LOOK_NS };

	for (;;) {
		struct report report;

		/* Before the look at the reports, whose last may come just before. */
		bool over = child_wait(&manager->keeper, NULL, TINE_NOWAIT) != -ETIMEDOUT;

		/* Bound: O_NONBLOCK. */
		while (read(reports, &report, sizeof(report)) == sizeof(report)) {
			if (report.err)
				return report.err;
			manager->pid = report.pid;
		}
		if (over)
			return -TINE_ECRASH;
		if (manager->pid && answers(manager, deadline))
			return 0;
		if (tine_now() > deadline)
			return -ETIMEDOUT;
		/* Bound: LOOK_NS. */
		nanosleep(&moment, NULL);
	}
}

/*
 * The keeper's end. It says by its exit code whether it has removed the files. One that
 * is stopped is killed when the time is over, and the kernel kills the server for it.
 */
static void end_keeper(tine_manager *manager, int64_t deadline)
{
	tine_exit how = { .code = -1 };

	child_hang_up(&manager->keeper);
	if (child_wait(&manager->keeper, &how, deadline) == -ETIMEDOUT) {
		kill(manager->keeper.pid, SIGKILL);
		/* Bound: it was killed. */
		child_wait(&manager->keeper, &how, TINE_FOREVER);
	}
	if (how.code != 0)
		remove_files(manager, deadline);
	child_release(&manager->keeper);
}

int tine_manager_start(tine_manager **out, const char *path)
{
	int64_t deadline = tine_after(START_MS);
	tine_manager *manager;
	int reports[2], lock = -1, err;
	bool started;

	if (!out)
		return -EINVAL;
	manager = calloc(1, sizeof(*manager));
	if (!manager)
		return -ENOMEM;
	err = path ? take_path(manager, path) : choose_folder(manager);
	err = err ? err : random_hex(manager->password, SECRET);
	if (err)
		goto free_manager;
	write_url(manager);
	if (path) {
		lock = lock_folder(manager->folder, deadline);
		err = lock == -ETIMEDOUT ? lock : clear_path(manager);
		if (err)
			goto unlock;
	}
	if (pipe2(reports, O_CLOEXEC | O_NONBLOCK) != 0) {
		err = -errno;
		goto unlock;
	}
	manager->report = reports[1];
	err = child_start(&manager->keeper, be_keeper, manager);
	close(reports[1]);
	started = !err;
	err = err ? err : await_server(manager, reports[0], deadline);
	close(reports[0]);
	if (!err)
		lstat(manager->path, &manager->socket);
	/* Before the keeper is to remove what there is, which takes it as well. */
	unlock_folder(lock);
	if (err && started)
		end_keeper(manager, deadline);
	if (err)
		goto free_manager;
	*out = manager;
	return 0;

unlock:
	unlock_folder(lock);
free_manager:
	free(manager);
	return err;
}

const char *tine_manager_url(const tine_manager *manager)
{
	return manager ? manager->url : NULL;
}

pid_t tine_manager_pid(const tine_manager *manager)
{
	return manager ? manager->pid : -EINVAL;
}

void tine_manager_free(tine_manager *manager)
{
	if (!manager)
		return;
	if (manager->keeper.owner == getpid())
		end_keeper(manager, tine_after(END_MS));
	free(manager);
}
