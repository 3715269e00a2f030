/* SPDX-License-Identifier: MIT */
#include "step.h"

#include <stddef.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/user.h>

enum {
	SECTIONS = 100,	      /* of a path, of each of which one step is taken */
	TRAP = 4,	      /* what a breakpoint costs, in single steps */
	ADDRESSES = 1 << 17,  /* places in the table of those seen */
	BESIDE_MS = 2000,     /* until a call counts as held up */
	PATHS = 4,	      /* noted, at least */
	FIRST_ROOM = 1 << 14, /* steps of a path */
	OFTEN = 256,	      /* times an instruction comes, of which all are taken */
	SELDOM = 32,	      /* of those beyond, one of so many */
};

/* Where a life was after its i-th instruction, and for which time. */
struct place {
	uintptr_t address;
	uint32_t time;
};

struct path {
	struct place *places;
	size_t n, room;
	struct place *seen; /* by address: how often until now */
};

struct count {
	long lives, walked, elsewhere, ended, paths, single, traps;
};

/* A child that is stepped through. */
struct walk {
	pid_t pid;
	uintptr_t breakpoint; /* 0: none is set */
	uintptr_t lifted;     /* while a child of vfork(2) runs in its memory */
	unsigned char covered;
	struct count *count;
};

/* ---- a child under ptrace(2) ------------------------------------------------------- */

static pid_t start_stopped(void (*before)(void *), void (*fn)(void *), void *arg)
{
	const long options = PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK |
			     PTRACE_O_TRACEVFORK | PTRACE_O_TRACEVFORKDONE |
			     PTRACE_O_TRACECLONE;
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(SIGTRAP);
		if (before)
			before(arg);
		raise(SIGSTOP);
		fn(arg);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SIGTRAP)
		test_skip("ptrace is not permitted");
	/* What before() did may have come with signals: of its children, say. */
	while (WIFSTOPPED(status) && WSTOPSIG(status) != SIGSTOP) {
		CHECK(ptrace(PTRACE_CONT, pid, NULL,
			     (void *)(intptr_t)WSTOPSIG(status)) == 0);
		CHECK(waitpid(pid, &status, 0) == pid);
	}
	CHECK(WIFSTOPPED(status));
	CHECK(ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)options) == 0);
	return pid;
}

/* One byte of its program: the old one, or -1. */
static int poke(pid_t pid, uintptr_t address, unsigned char byte)
{
	uintptr_t at = address & ~(uintptr_t)7;
	unsigned shift = 8 * (unsigned)(address & 7);
	unsigned long word;

	errno = 0;
	word = (unsigned long)ptrace(PTRACE_PEEKTEXT, pid, (void *)at, NULL);
	if (errno)
		return -1;
	if (ptrace(PTRACE_POKETEXT, pid, (void *)at,
		   (void *)((word & ~(0xffUL << shift)) | (unsigned long)byte
								  << shift)) != 0)
		return -1;
	return (int)(word >> shift & 0xff);
}

#ifdef __x86_64__
static uintptr_t address_of(pid_t pid)
{
	return (uintptr_t)ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.rip),
				 NULL);
}

static void set_address(pid_t pid, uintptr_t address)
{
	CHECK(ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, regs.rip), address) ==
	      0);
}
#else
/* Without addresses there are no breakpoints, and each life is walked from its start. */
static uintptr_t address_of(pid_t pid)
{
	(void)pid;
	return 0;
}

static void set_address(pid_t pid, uintptr_t address)
{
	(void)pid;
	(void)address;
}
#endif

static bool set_breakpoint(struct walk *walk, uintptr_t address)
{
	const unsigned char int3 = 0xcc;
	int covered = poke(walk->pid, address, int3);

	if (covered < 0)
		return false;
	walk->covered = (unsigned char)covered;
	walk->breakpoint = address;
	return true;
}

static void clear_breakpoint(struct walk *walk)
{
	CHECK(poke(walk->pid, walk->breakpoint, walk->covered) >= 0);
	walk->breakpoint = 0;
}

/* What it has just forked runs free, and without the breakpoint that it inherited. */
static void free_forked(struct walk *walk, int event)
{
	unsigned long message;
	int status;
	pid_t pid;

	if (event == PTRACE_EVENT_VFORK_DONE) {
		CHECK(!walk->lifted || set_breakpoint(walk, walk->lifted));
		return;
	}
	CHECK(ptrace(PTRACE_GETEVENTMSG, walk->pid, NULL, &message) == 0);
	pid = (pid_t)message;
	/* A clone may be a process as well, and has a group of its number then. */
	if (event == PTRACE_EVENT_CLONE && syscall(SYS_tgkill, pid, pid, 0) != 0)
		test_fail(__FILE__, __LINE__, "a call that starts a thread has no steps");
	CHECK(waitpid(pid, &status, __WALL) == pid);
	if (event == PTRACE_EVENT_VFORK && (walk->lifted = walk->breakpoint))
		clear_breakpoint(walk);
	if (!WIFSTOPPED(status))
		return;
	if (walk->breakpoint)
		CHECK(poke(pid, walk->breakpoint, walk->covered) >= 0);
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
}

/* Until it traps: by its next step, or at a breakpoint. Whether it is still there. */
static bool resume(struct walk *walk, int request)
{
	int status, signal = 0;

	for (;;) {
		CHECK(ptrace(request, walk->pid, NULL, (void *)(intptr_t)signal) == 0 ||
		      errno == ESRCH);
		CHECK(waitpid(walk->pid, &status, 0) == walk->pid);
		if (WIFEXITED(status)) {
			CHECK_EQ(WEXITSTATUS(status), 0);
			return false;
		}
		if (WIFSIGNALED(status))
			test_fail(__FILE__, __LINE__, "the call ended by signal %d",
				  WTERMSIG(status));
		signal = 0;
		if (status >> 16)
			free_forked(walk, status >> 16);
		else if (WSTOPSIG(status) == SIGTRAP)
			return true;
		else
			signal = WSTOPSIG(status);
	}
}

static bool step(struct walk *walk)
{
	walk->count->single++;
	return resume(walk, PTRACE_SINGLESTEP);
}

/* ---- the path ---------------------------------------------------------------------- */

static void *memory(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);

	CHECK(mem != MAP_FAILED);
	return mem;
}

/* How often this address has been seen, this time included. */
static uint32_t see(struct path *path, uintptr_t address)
{
	size_t i = address * UINT64_C(0x9e3779b97f4a7c15) >> 47;

	for (size_t probes = 0; probes < ADDRESSES; probes++, i++) {
		struct place *place = &path->seen[i % ADDRESSES];

		if (place->time == 0)
			place->address = address;
		if (place->address == address)
			return ++place->time;
	}
	test_fail(__FILE__, __LINE__, "a call of more addresses than expected");
}

static void note(struct path *path, uintptr_t address)
{
	if (path->n == path->room) {
		size_t room = path->room ? 2 * path->room : FIRST_ROOM;
		struct place *places = memory(room * sizeof(*places));

		if (path->n) {
			memcpy(places, path->places, path->n * sizeof(*places));
			munmap(path->places, path->room * sizeof(*places));
		}
		path->places = places;
		path->room = room;
	}
	path->places[path->n++] = (struct place){ address, see(path, address) };
}

/* Walks through a whole life. */
static void note_path(struct path *path, struct walk *walk)
{
	if (path->seen)
		munmap(path->seen, ADDRESSES * sizeof(*path->seen));
	path->seen = memory(ADDRESSES * sizeof(*path->seen));
	path->n = 0;
	walk->count->paths++;
	do
		note(path, address_of(walk->pid));
	while (step(walk));
}

static void free_path(struct path *path)
{
	munmap(path->places, path->room * sizeof(*path->places));
	munmap(path->seen, ADDRESSES * sizeof(*path->seen));
}

/* From where it is the least to walk to step k: a breakpoint there; 0: from the start. */
static size_t best_start(const struct path *path, size_t k)
{
	size_t best = 0, cost = k;

	for (size_t i = k; i > 0 && k - i < cost; i--) {
		size_t its = (size_t)TRAP * path->places[i].time + (k - i);

		if (path->places[i].address && its < cost) {
			best = i;
			cost = its;
		}
	}
	return best;
}

/* Runs to that place; whether it is still there. */
static bool run_to(struct walk *walk, struct place place)
{
	uint32_t time = 0;

	while (time < place.time) {
		if (!walk->breakpoint && !set_breakpoint(walk, place.address))
			test_fail(__FILE__, __LINE__, "no breakpoint at %#lx",
				  (unsigned long)place.address);
		walk->count->traps++;
		if (!resume(walk, PTRACE_CONT))
			return false;
		if (address_of(walk->pid) != place.address + 1)
			continue;
		clear_breakpoint(walk);
		set_address(walk->pid, place.address);
		/* A rep instruction stays where it is for many steps. */
		while (++time < place.time) {
			if (!step(walk))
				return false;
			if (address_of(walk->pid) != place.address)
				break;
		}
	}
	return true;
}

/* To step k of the path, or of what the path is this time: whether it has one. */
static bool go(struct walk *walk, const struct path *path, size_t k, bool walking)
{
	size_t i = walking ? 0 : best_start(path, k);

	if (i > 0 && !run_to(walk, path->places[i]))
		return false;
	for (; i < k; i++)
		if (!step(walk))
			return false;
	if (k < path->n && address_of(walk->pid) != path->places[k].address)
		walk->count->elsewhere++;
	return true;
}

/* ---- lives ------------------------------------------------------------------------- */

/* What is done again and again. */
struct play {
	void (*before)(void *), (*fn)(void *);
	void (*at)(struct play *, struct walk *, size_t k); /* when step k is reached */
	void (*after)(void *arg, long step);
	const struct stops *stops;
	void *arg;
	struct path path;
	struct count count;
	int missed; /* lives without the step, one after the other */
};

static void start(struct play *play, struct walk *walk)
{
	*walk = (struct walk){ .count = &play->count };
	walk->pid = start_stopped(play->before, play->fn, play->arg);
}

static void whole_life(struct play *play, bool noted)
{
	struct walk walk;

	start(play, &walk);
	if (noted)
		note_path(&play->path, &walk);
	else
		while (resume(&walk, PTRACE_CONT))
			;
	if (play->after)
		play->after(play->arg, (long)play->path.n);
}

/* A life up to its k-th step; false if it had fewer, or passed elsewhere. */
static bool one_life(struct play *play, size_t k, bool walking)
{
	struct walk walk;
	bool reached;

	start(play, &walk);
	reached = go(&walk, &play->path, k, walking);
	if (reached) {
		play->count.lives++;
		play->count.walked += walking;
		play->at(play, &walk, k);
	}
	if (play->after)
		play->after(play->arg, (long)k);
	return reached;
}

/* Life k, whatever it takes. */
static void live_until(struct play *play, size_t k)
{
	if (one_life(play, k, false)) {
		play->missed = 0;
		return;
	}
	/* Another path, by what the last life left or by what time it was. */
	if (!one_life(play, k, true))
		play->count.ended++;
	/* Not again and again, or it is all walking. */
	if (++play->missed > 1 && play->count.paths < PATHS + play->count.lives / 16)
		whole_life(play, true);
}

static int64_t cpu_us(void)
{
	int64_t us = 0;

	for (int i = 0; i < 2; i++) {
		struct rusage usage;

		getrusage(i ? RUSAGE_CHILDREN : RUSAGE_SELF, &usage);
		us += (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000) +
		      usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
	}
	return us;
}

static void report(const struct play *play, int64_t us)
{
	const struct count *count = &play->count;

	dprintf(STDOUT_FILENO,
		"# of %zu instructions %ld: %ld steps, %ld traps, %ld paths, %ld walked, "
		"%ld elsewhere, %ld ended before, %lld ms of CPU\n",
		play->path.n - 1, count->lives, count->single, count->traps, count->paths,
		count->walked, count->elsewhere, count->ended, (long long)us / 1000);
}

bool test_every_step(void)
{
	return test_soak() && !getenv("TEST_SCALE");
}

static size_t stride_of(size_t n, long least)
{
	const char *scale = getenv("TEST_SCALE");
	size_t stride = 1;

	if (!test_soak()) {
		stride = (n + SECTIONS - 1) / SECTIONS;
		if (stride < (size_t)least)
			stride = (size_t)least;
	}
	return stride * (scale && atol(scale) > 0 ? (size_t)atol(scale) : 1);
}

/* The thousandth turn of a loop is far to go to, and is like the one before. */
static bool left_out(const struct place *place, unsigned *random)
{
	return test_soak() && place->time > OFTEN && rand_r(random) % SELDOM != 0;
}

static long live_through(struct play *play, long least)
{
	uint64_t seed = test_seed();
	unsigned random = (unsigned)(seed ^ seed >> 32);
	int64_t since = cpu_us();
	size_t stride, wanted = 0;

	/* The first life may find what no other does: tables that are small yet. */
	whole_life(play, false);
	whole_life(play, true);
	for (size_t from = 1; from < play->path.n; from += stride) {
		size_t k;

		/* The path may be another than it was. */
		stride = stride_of(play->path.n, least);
		k = from + (size_t)rand_r(&random) % stride;
		if (k >= play->path.n)
			break;
		if (left_out(&play->path.places[k], &random))
			continue;
		live_until(play, k);
		wanted++;
		/* What has become longer since is not left out. */
		if (from + stride >= play->path.n && test_every_step())
			whole_life(play, true);
	}
	report(play, cpu_us() - since);
	/* Some paths are longer: now and then a look at the dead is due. */
	if ((size_t)play->count.ended > wanted / 2)
		test_fail(__FILE__, __LINE__, "%ld of %zu steps were not reached",
			  play->count.ended, wanted);
	free_path(&play->path);
	return (long)play->path.n;
}

/* ---- a death at each step ---------------------------------------------------------- */

static void die(struct play *play, struct walk *walk, size_t k)
{
	(void)play;
	(void)k;
	kill(walk->pid, SIGKILL);
	CHECK(waitpid(walk->pid, NULL, 0) == walk->pid);
}

long test_kill_some_steps(const struct steps *steps, void *arg, long n)
{
	struct play play = { .before = steps->before,
			     .fn = steps->fn,
			     .at = die,
			     .after = steps->after,
			     .arg = arg };

	return live_through(&play, n);
}

long test_kill_each_step(const struct steps *steps, void *arg)
{
	return test_kill_some_steps(steps, arg, 1);
}

/* ---- a stop at each step ----------------------------------------------------------- */

static void stop(struct play *play, struct walk *walk, size_t k)
{
	int status, how;

	CHECK(ptrace(PTRACE_DETACH, walk->pid, NULL, (void *)(intptr_t)SIGSTOP) == 0);
	CHECK(waitpid(walk->pid, &status, WUNTRACED) == walk->pid);
	CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	play->stops->beside(play->arg, (long)k);
	kill(walk->pid, SIGCONT);
	how = test_reap(walk->pid);
	if (how != 0 && !(how == -SIGKILL && play->stops->may_be_killed))
		test_fail(__FILE__, __LINE__,
			  "step %zu: what had been stopped ended by %d", k, how);
}

long test_stop_some_steps(const struct stops *stops, void *arg, long n)
{
	struct play play = { .before = stops->before,
			     .fn = stops->fn,
			     .at = stop,
			     .after = stops->after,
			     .stops = stops,
			     .arg = arg };

	return live_through(&play, n);
}

long test_stop_each_step(const struct stops *stops, void *arg)
{
	return test_stop_some_steps(stops, arg, 1);
}

void test_call_beside(void (*fn)(void *), void *arg)
{
	int64_t deadline = tine_after(test_patience(BESIDE_MS));
	pid_t pid = test_fork(fn, arg);
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (tine_now() > deadline) {
			kill(pid, SIGKILL);
			test_reap(pid);
			test_fail(__FILE__, __LINE__,
				  "a call has not come back beside a stopped process");
		}
		test_sleep_us(100);
	}
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 0);
}
