/* SPDX-License-Identifier: MIT */
/*
 * The keeper's own side; see keeper.c for how it is asked.
 *
 * It is a subreaper: what a program leaves behind, by any number of forks, setsid() or
 * nohup, becomes the keeper's child once its parents have ended. So only children have to
 * be looked at: those that have to go are killed, and theirs come up.
 *
 * Its memory is the owner's, copied on write. Where that is large it is given back, for
 * the owner pays for what it changes. Nothing here allocates, or takes a lock.
 *
 *	program ends		it stays a zombie until the owner lets go of it, so that
 *				its number, and its group's, is its own, and how it ended
 *				can be asked at any time
 *	program is stopped	SIGKILL ends it all the same
 *	child dies between	the keeper goes on, and answers as if it had executed:
 *	clone and exec		the owner learns the rest from the pidfd
 *	child is stopped there	the keeper waits; the owner gives up after ANSWER_MS and
 *				kills the keeper, and the kernel the child
 *
 * Whose a child is that was not spawned here tells a variable in its environment; where
 * it has none, its process group; else it goes with the last program that can have
 * started it.
 */
#include "base/futex.h"
#include "base/proc.h"
#include "base/signals.h"
#include "process/keeper.h"
#include "process/strays.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* An owner whose memory is worth giving back; much of a sanitizer's is its own. */
#ifdef __SANITIZE_ADDRESS__
#define LARGE SIZE_MAX
#else
#define LARGE ((size_t)64 << 20)
#endif
#define WORTH_IT      ((size_t)1 << 20) /* a mapping that is */
#define MOST_TIES     8
#define PAUSE_US      200
#define END_MS	      2000 /* for what was killed to be gone */
#define PROGRAM_STACK ((size_t)256 << 10)

/* The descriptors it has, at these numbers; 0, 1 and 2 are /dev/null. */
enum { LINE = 3, ENDS, OWNER, NUMBERED };

struct spawned {
	pid_t pid;
	uint64_t number;  /* in its mark */
	uint64_t started; /* as process_started() says */
};

struct keeping {
	pid_t owner;
	int ties[MOST_TIES]; /* pidfds of those that the owner is tied to */
	unsigned tied;
	bool asked; /* the line has not ended */
	struct spawned *programs;
	size_t count, room;
	uint64_t number; /* of the last that was spawned */
};

static void pause_us(long us)
{
	struct timespec moment = { 0, us * 1000 };

	/* Bound: the time given. */
	nanosleep(&moment, NULL);
}

/* ---- beginning --------------------------------------------------------------------- */

/* Private memory that holds neither the stack, nor this thread's variables, nor code. */
static void give_back(uintptr_t from, uintptr_t to)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	uintptr_t self = (uintptr_t)__builtin_thread_pointer();

	if (to - from >= WORTH_IT && !(here >= from && here < to) &&
	    !(self >= from && self < to))
		madvise((void *)from, to - from, MADV_DONTNEED);
}

static void give_back_all(void)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	char text[4096];
	size_t kept = 0;
	ssize_t len;

	if (fd < 0)
		return;
	/* Bound: a file of the kernel's own. */
	while ((len = read(fd, text + kept, sizeof(text) - 1 - kept)) > 0) {
		char *line = text, *end;

		text[kept + (size_t)len] = '\0';
		while ((end = strchr(line, '\n'))) {
			unsigned long from, to, inode;

			*end = '\0';
			if (sscanf(line, "%lx-%lx rw-p %*s %*s %lu", &from, &to,
				   &inode) == 3 &&
			    inode == 0 && !strstr(line, "[stack"))
				give_back(from, to);
			line = end + 1;
		}
		kept = strlen(line);
		memmove(text, line, kept);
	}
	close(fd);
}

static void move_descriptor(int from, int to)
{
	if (from != to && dup3(from, to, O_CLOEXEC) == to)
		close(from);
}

static void close_from(int first)
{
	struct rlimit limit;

	if (syscall(SYS_close_range, first, ~0U, 0) == 0)
		return;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > 1 << 20)
		limit.rlim_cur = 1 << 20;
	for (int fd = first; fd < (int)limit.rlim_cur; fd++)
		close(fd);
}

/* Leaves LINE, ENDS and OWNER open, and /dev/null below them. */
static void settle_descriptors(int line, pid_t owner)
{
	int null;

	move_descriptor(line, LINE);
	close_from(LINE + 1);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		_exit(1);
	for (int fd = 0; fd < LINE; fd++)
		dup2(null, fd);
	close(null);
	move_descriptor(deaths_fd(), ENDS);
	move_descriptor((int)syscall(SYS_pidfd_open, owner, 0), OWNER);
	if (fcntl(ENDS, F_GETFD) < 0 || fcntl(OWNER, F_GETFD) < 0)
		_exit(1);
}

/*
 * By the kernel's own call: that of the C library refuses its own two signals, which
 * posix_spawn(3), and so make(1), leaves ignored in what it starts. Zeros: the default.
 */
static void settle_signals(void)
{
	const unsigned long action[8] = { 0 };

	for (int signal = 1; signal < NSIG; signal++)
		syscall(SYS_rt_sigaction, signal, action, NULL, 8);
}

/* ---- programs ---------------------------------------------------------------------- */

/* What is to be executed; read by the child, which writes refusal. */
struct execution {
	char **argv, **env;
	const int *fds;
	bool family; /* is among them */
	pid_t keeper;
	int refusal;
};

/* The sanitizer would mark its stack, which becomes another program's. */
__attribute__((no_sanitize_address)) static int be_program(void *arg)
{
	struct execution *program = arg;
	sigset_t none;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != program->keeper)
		_exit(127);
	for (int fd = 0; fd < 3; fd++)
		if (dup2(program->fds[fd], fd) < 0)
			goto refuse;
	if (fchdir(program->fds[PASSED_FOLDER]) != 0 ||
	    (program->family && dup2(program->fds[PASSED_FAMILY], FAMILY_FD) < 0))
		goto refuse;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Found in the path that it will have, not in the keeper's. */
	environ = program->env;
	execvpe(program->argv[0], program->argv, program->env);
refuse:
	program->refusal = errno;
	_exit(127);
}

/*
 * The child has this memory until it executes, and a stack of its own: execvpe(3) copies
 * the arguments for a script without "#!".
 */
static pid_t fork_program(struct execution *program, size_t argc)
{
	size_t size = PROGRAM_STACK + argc * sizeof(char *);
	char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	pid_t pid;

	if (stack == MAP_FAILED)
		return -ENOMEM;
	pid = clone(be_program, stack + (size & ~(size_t)15),
		    CLONE_VM | CLONE_VFORK | SIGCHLD, program);
	if (pid < 0)
		pid = -errno;
	munmap(stack, size);
	return pid;
}

static int make_room(struct keeping *keeping)
{
	size_t room = keeping->room ? 2 * keeping->room : 4096 / sizeof(struct spawned);
	struct spawned *programs;

	if (keeping->count < keeping->room)
		return 0;
	programs = mmap(NULL, room * sizeof(*programs), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (programs == MAP_FAILED)
		return -ENOMEM;
	if (keeping->programs) {
		memcpy(programs, keeping->programs, keeping->count * sizeof(*programs));
		munmap(keeping->programs, keeping->room * sizeof(*programs));
	}
	keeping->programs = programs;
	keeping->room = room;
	return 0;
}

static int spawn_program(struct keeping *keeping, struct execution *program, size_t argc,
			 struct answer *answer, int *pidfd)
{
	int err = make_room(keeping);
	pid_t pid;

	if (err)
		return err;
	pid = fork_program(program, argc);
	if (pid < 0)
		return pid;
	err = -program->refusal;
	if (!err) {
		*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		err = *pidfd < 0 ? -errno : 0;
	}
	if (err) {
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL);
		/* Bound: it has been killed. */
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return err;
	}
	keeping->programs[keeping->count++] = (struct spawned){ pid, keeping->number,
								process_started(pid) };
	answer->pid = pid;
	return 0;
}

static void fill_table(char **table, char **string, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		table[i] = *string;
		*string += strlen(*string) + 1;
	}
	table[n] = NULL;
}

/* Whether there are so many strings in so many bytes. */
static bool strings_agree(const struct keeper_request *request, const char *strings)
{
	size_t n = 0;

	for (size_t i = 0; i < request->len; i++)
		n += strings[i] == '\0';
	return request->argc > 0 && n == (size_t)request->argc + request->envc &&
	       strings[request->len - 1] == '\0';
}

static int spawn_from(struct keeping *keeping, const struct keeper_request *request,
		      char *strings, const int *fds, struct answer *answer, int *pidfd)
{
	size_t pointers = (size_t)request->argc + request->envc + 3;
	struct execution program = { .fds = fds,
				     .family = request->family,
				     .keeper = getpid() };
	char mark[SPAWN_MARK_SIZE];
	char **table;
	int err;

	if (!strings_agree(request, strings))
		return -EINVAL;
	table = mmap(NULL, pointers * sizeof(*table), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (table == MAP_FAILED)
		return -ENOMEM;
	program.argv = table;
	program.env = table + request->argc + 1;
	snprintf(mark, sizeof(mark), SPAWN_MARK "=%d.%llu", program.keeper,
		 (unsigned long long)++keeping->number);
	fill_table(program.argv, &strings, request->argc);
	program.env[0] = mark;
	fill_table(program.env + 1, &strings, request->envc);
	err = spawn_program(keeping, &program, request->argc, answer, pidfd);
	munmap(table, pointers * sizeof(*table));
	return err;
}

/* Of strings that were too long for a message. */
static int spawn_from_file(struct keeping *keeping, const struct keeper_request *request,
			   const int *fds, struct answer *answer, int *pidfd)
{
	char *strings = mmap(NULL, request->len, PROT_READ | PROT_WRITE, MAP_PRIVATE,
			     fds[passed_strings(request)], 0);
	int err;

	if (strings == MAP_FAILED)
		return -errno;
	err = spawn_from(keeping, request, strings, fds, answer, pidfd);
	munmap(strings, request->len);
	return err;
}

static int64_t nanoseconds_of(struct timeval time)
{
	return time.tv_sec * INT64_C(1000000000) + time.tv_usec * INT64_C(1000);
}

/* It stays a zombie. */
static int look_at(pid_t pid, struct answer *answer)
{
	siginfo_t info = { 0 };
	struct rusage usage;

	/* The C library's has no usage. */
	if (syscall(SYS_waitid, P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT, &usage) !=
	    0)
		return -ECHILD;
	if (info.si_pid == 0)
		return -EAGAIN;
	answer->how = info.si_code == CLD_EXITED
			      ? (tine_exit){ .code = info.si_status }
			      : (tine_exit){ .code = -1, .signal = info.si_status };
	answer->usage = (tine_usage){
		.user_ns = nanoseconds_of(usage.ru_utime),
		.system_ns = nanoseconds_of(usage.ru_stime),
		.memory_max = (uint64_t)usage.ru_maxrss * 1024,
	};
	return 0;
}

/* ---- what programs leave behind ---------------------------------------------------- */

static const struct spawned *program_of(const struct keeping *keeping, pid_t pid)
{
	for (size_t i = 0; i < keeping->count; i++)
		if (keeping->programs[i].pid == pid)
			return &keeping->programs[i];
	return NULL;
}

/* The program whose mark a process has, or NULL. */
static const struct spawned *marked_by(const struct keeping *keeping, pid_t pid)
{
	unsigned long long number;
	char mark[SPAWN_MARK_SIZE];
	int keeper;

	if (!process_variable(pid, SPAWN_MARK, mark, sizeof(mark)) ||
	    sscanf(mark, "%d.%llu", &keeper, &number) != 2 || keeper != getpid())
		return NULL;
	for (size_t i = 0; i < keeping->count; i++)
		if (keeping->programs[i].number == number)
			return &keeping->programs[i];
	return NULL;
}

/* Whether a stray is this program's, or nobody's and this program's as well as any. */
static bool owns_stray(const struct keeping *keeping, const struct spawned *spawned,
		       pid_t stray)
{
	const struct spawned *whose = marked_by(keeping, stray);
	uint64_t started;

	if (!whose)
		whose = program_of(keeping, getpgid(stray));
	if (whose)
		return whose == spawned;
	started = process_started(stray);
	for (size_t i = 0; i < keeping->count; i++)
		if (&keeping->programs[i] != spawned &&
		    keeping->programs[i].started <= started)
			return false;
	return true;
}

struct sweep {
	const struct keeping *keeping;
	const struct spawned *spawned; /* whose strays; NULL: everybody's */
};

/* True: there was one. */
static bool end_stray(void *arg, pid_t child)
{
	const struct sweep *sweep = arg;

	if (program_of(sweep->keeping, child) || waitpid(child, NULL, WNOHANG) == child)
		return false;
	if (sweep->spawned && !owns_stray(sweep->keeping, sweep->spawned, child))
		return false;
	kill_stray(child);
	return true;
}

static bool reap_stray(void *arg, pid_t child)
{
	return !program_of(arg, child) && waitpid(child, NULL, WNOHANG) == child;
}

static int end_program(struct keeping *keeping, pid_t pid)
{
	const struct spawned *spawned = program_of(keeping, pid);
	struct sweep sweep = { keeping, spawned };
	int64_t end = tine_after(END_MS);
	struct answer unused;
	long us = PAUSE_US;

	if (!spawned)
		return -ECHILD;
	/* Of its group too, whose number is its own as long as it is not waited for. */
	kill(-pid, SIGKILL);
	while (look_at(pid, &unused) == -EAGAIN || each_child(end_stray, &sweep) > 0) {
		/* What cannot be killed now, in the kernel or another user's, is left. */
		if (tine_now() > end)
			break;
		pause_us(us);
		us = us < 10000 ? 2 * us : us;
	}
	waitpid(pid, NULL, WNOHANG);
	keeping->programs[spawned - keeping->programs] =
		keeping->programs[--keeping->count];
	return 0;
}

/* Programs stay until they are let go of; strays do not. */
static void reap_strays(const struct keeping *keeping)
{
	struct signalfd_siginfo info;
	bool strays = false;

	while (read(ENDS, &info, sizeof(info)) > 0) /* Bound: it does not block. */
		strays |= !program_of(keeping, (pid_t)info.ssi_pid);
	if (strays)
		each_child(reap_stray, (void *)keeping);
}

/* The owner is gone. */
static _Noreturn void end_everything(struct keeping *keeping)
{
	struct sweep sweep = { keeping, NULL };
	long us = PAUSE_US;

	for (size_t i = 0; i < keeping->count; i++)
		kill(-keeping->programs[i].pid, SIGKILL);
	keeping->count = 0;
	for (;;) {
		each_child(end_stray, &sweep);
		/* Without /proc it sees no strays, but reaps them. */
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
			_exit(0);
		pause_us(us);
		us = us < 100000 ? 2 * us : us;
	}
}

/* ---- requests ---------------------------------------------------------------------- */

/* Keeps the descriptor. */
static int add_tie(struct keeping *keeping, int *fd)
{
	if (keeping->tied == MOST_TIES)
		return -EAGAIN;
	keeping->ties[keeping->tied++] = *fd;
	*fd = -1;
	return 0;
}

static int kill_program(const struct keeping *keeping, pid_t pid, int signal)
{
	struct answer unused;

	if (!program_of(keeping, pid) || look_at(pid, &unused) != -EAGAIN)
		return -ESRCH;
	return kill(-pid, signal) == 0 ? 0 : -errno;
}

/* The kernel drops descriptors that there is no room for. */
static int serve_request(struct keeping *keeping, const struct keeper_request *request,
			 char *strings, int *fds, size_t n, struct answer *answer,
			 int *pidfd)
{
	switch (request->kind) {
	case KEEPER_SPAWN:
		if (n != passed_count(request))
			return -EMFILE;
		return request->len > MOST_SAID
			       ? spawn_from_file(keeping, request, fds, answer, pidfd)
			       : spawn_from(keeping, request, strings, fds, answer,
					    pidfd);
	case KEEPER_KILL:
		return kill_program(keeping, request->pid, request->signal);
	case KEEPER_LOOK:
		return look_at(request->pid, answer);
	case KEEPER_END:
		return end_program(keeping, request->pid);
	case KEEPER_TIE:
		return n == 1 ? add_tie(keeping, &fds[0]) : -EMFILE;
	}
	return -EINVAL;
}

static void take_request(struct keeping *keeping)
{
	static char strings[MOST_SAID];
	struct keeper_request request;
	struct answer answer = { 0 };
	int fds[MOST_PASSED], pidfd = -1;
	size_t n = MOST_PASSED;
	ssize_t len = take_message(LINE, &request, sizeof(request), strings,
				   sizeof(strings), fds, &n);

	if (len == -EAGAIN || len == -EINTR)
		return;
	if (len < (ssize_t)sizeof(request)) {
		keeping->asked = false;
		return;
	}
	answer.status = serve_request(keeping, &request, strings, fds, n, &answer,
				      &pidfd);
	pass_message(LINE, &answer, sizeof(answer), NULL, 0, &pidfd, pidfd >= 0);
	if (pidfd >= 0)
		close(pidfd);
	while (n-- > 0)
		if (fds[n] >= 0)
			close(fds[n]);
}

void keeper_main(int line, pid_t owner)
{
	struct keeping keeping = { .owner = owner, .asked = true };

	prctl(PR_SET_NAME, "tine-keeper");
	/* In a group of its own: what is sent to the owner's is not meant for it. */
	setpgid(0, 0);
	settle_signals();
	settle_descriptors(line, owner);
	/* It fires also when just the thread has ended that asked: that does no harm. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGCONT) != 0 || getppid() != owner ||
	    chdir("/") != 0)
		_exit(1);
	if (own_memory(getpid()) >= LARGE)
		give_back_all();
	for (;;) {
		struct pollfd polled[NUMBERED - LINE + MOST_TIES];
		unsigned n = 0;

		for (int fd = LINE; fd < NUMBERED; fd++)
			polled[n++] = (struct pollfd){ .fd = fd, .events = POLLIN };
		for (unsigned i = 0; i < keeping.tied; i++)
			polled[n++] = (struct pollfd){ .fd = keeping.ties[i],
						       .events = POLLIN };
		if (!keeping.asked)
			polled[0].fd = -1;
		/* Bound: none is wanted; whatever happens wakes it, SIGCONT too. */
		if (poll(polled, n, -1) < 0)
			continue;
		if (polled[OWNER - LINE].revents)
			end_everything(&keeping);
		for (unsigned i = NUMBERED - LINE; i < n; i++)
			if (polled[i].revents)
				kill(owner, SIGKILL);
		if (polled[ENDS - LINE].revents)
			reap_strays(&keeping);
		if (polled[0].revents)
			take_request(&keeping);
	}
}
