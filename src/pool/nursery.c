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
 *	worker takes too long, or	the nursery looks at the clock while there are
 *					limits
 *	grows too large			and jobs, and ends it (end_doomed)
 *	nursery is stopped		the owner continues it when it next looks (ten
 *					times a second while it waits), and kills it if it
 *					stays stopped, or lets a second pass without an
 *					answer
 *	worker is stopped with the	when somebody has to wait for that, the nursery
 *	ledger's lock in hand		looks twice, ten milliseconds apart, and kills it;
 *					one that is not stopped has half a second
 *	worker is stopped in a job	its limit ends it, or the owner's deadline
 *	worker is stopped before it	when the owner asks a few times, it is killed
 *	is ready
 *	worker is in its .fini		it is killed when that has had its time
 *	owner ends the pool		a worker that is in a job, or not ready, is
 *					killed; the others have their .fini
 *	owner is stopped		all goes on; the lock, if the owner has it, is
 *					waited for until it goes on or dies
 *
 * What a job starts, and leaves to live on, has the nursery for its parent once its own
 * parents have ended: the nursery is a subreaper. When a worker has ended, the nursery
 * kills what is not marked, in its environment, as of another that works; what has no
 * mark is nobody's. Nothing outlives the nursery that it can see.
 *
 * A worker that cannot begin (its .init fails or crashes) is tried a few times, with a
 * pause; then its desk is abandoned, and what waits there is stolen by the others.
 */
#include "pool/crew.h"
#include "pool/ledger.h"

#include "base/cgroup.h"
#include "base/proc.h"
#include "base/signals.h"
#include "pool/worker.h"
#include "process/child.h"
#include "process/strays.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_STRIKES 3
#define PAUSE_MS     20
#define TICK_MS	     50	 /* between looks at workers' memory, at most; and at the clock */
#define STOP_WAIT    10	 /* milliseconds for a worker to stop */
#define MOST_STOPS   20	 /* that a worker did not follow, before it is killed */
#define MOST_LOOKS   3	 /* at a stopped worker that is not ready */
#define LOOK_MS	     10	 /* between looks at who holds the lock */
#define PART_MS	     10	 /* between looks at who takes a job while the pool ends */
#define SWEEP_MS     5	 /* until what was killed has ended, and its children come up */
#define STUCK_MS     500 /* with the lock in hand, without being stopped */

/* A variable, by which it is known whose a stray is. */
#define WORKER_MARK "TINE_WORKER"
static char own_mark[48] = WORKER_MARK "="; /* in environ, where a worker writes to it */

struct nursery {
	struct ledger *ledger;
	int lifeline, deaths; /* deaths: a signalfd */
	sigset_t jobs_mask;   /* the caller's, for the workers */
	bool vacant;	      /* some desk waits for a worker */
	bool sweeping;	      /* something may be left of a worker that has ended */
	int64_t starved;      /* kills for want of memory, so far; -1: not yet known */
	pid_t holder;	      /* of the lock, when last looked at */
	uint32_t held;	      /* and the how many-th */
	int64_t held_since;   /* as far as is known */
	int64_t parting;      /* since when the pool ends, or 0 */
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
}

static void leave_to_caller(int signal)
{
	(void)signal;
}

/*
 * What Ctrl-C, a service manager or timeout(1) sends to the whole group is the caller's
 * to answer: it may want the results so far. By handlers, and not ignored or blocked, so
 * that a program that a job executes finds the defaults.
 */
static void spare_worker_signals(const sigset_t *jobs_mask)
{
	struct sigaction action = { .sa_handler = leave_to_caller,
				    .sa_flags = SA_RESTART };
	sigset_t mask = *jobs_mask;

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigdelset(&mask, SIGINT);
	sigdelset(&mask, SIGTERM);
	sigprocmask(SIG_SETMASK, &mask, NULL);
}

/* In a child: it ends with the nursery, and has nothing of it. */
static void settle(const struct nursery *nursery, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	close(nursery->lifeline);
	close(nursery->deaths);
}

static char *put_number(char *at, unsigned n)
{
	if (n > 9)
		at = put_number(at, n / 10);
	*at = '0' + n % 10;
	return at + 1;
}

/* By hand: a new process faults in each page that it runs, and printf(3) is on many. */
static void write_mark(pid_t nursery, pid_t worker)
{
	char *at = put_number(own_mark + sizeof(WORKER_MARK), (unsigned)nursery);

	*at++ = '.';
	*put_number(at, (unsigned)worker) = '\0';
}

static _Noreturn void be_worker(const struct nursery *nursery, unsigned id)
{
	prctl(PR_SET_NAME, "tine-worker");
	write_mark(getppid(), getpid());
	spare_worker_signals(&nursery->jobs_mask);
	leave(worker_main(nursery->ledger, id));
}

/* The desk is mended. */
static void seat(struct nursery *nursery, unsigned id)
{
	struct pool_desk *desk = &nursery->ledger->desks[id];
	pid_t pid, self = getpid();

	/* Also if this process has yet to find out. */
	if (atomic_load(&nursery->ledger->parting))
		return;
	if (desk->strikes >= MOST_STRIKES) {
		atomic_store(&desk->seat, SEAT_ABANDONED);
		return;
	}
	atomic_store(&desk->seat, SEAT_STARTING);
	pid = fork_quietly();
	if (pid == 0) {
		settle(nursery, self);
		be_worker(nursery, id);
	}
	if (pid > 0) {
		atomic_store(&desk->pid, pid);
		return;
	}
	desk->strikes++;
	atomic_store(&desk->refusal, pid);
	atomic_store(&desk->seat, SEAT_EMPTY);
	nursery->vacant = true;
}

/* Whether it was the system, for want of memory. */
static bool was_starved(struct nursery *nursery, tine_exit how)
{
	int64_t before = nursery->starved;

	if (how.signal != SIGKILL)
		return false;
	nursery->starved = (int64_t)memory_kills("");
	return before >= 0 && nursery->starved > before;
}

static tine_exit exit_of(int status)
{
	return WIFSIGNALED(status) ? (tine_exit){ .code = -1, .signal = WTERMSIG(status) }
				   : (tine_exit){ .code = WEXITSTATUS(status) };
}

static bool has_seat(const struct ledger *ledger, pid_t pid)
{
	for (unsigned id = 0; id < ledger->workers; id++)
		if (atomic_load(&ledger->desks[id].pid) == pid)
			return true;
	return false;
}

/* True: there was something of a worker's that has ended. */
static bool end_left_over(void *arg, pid_t child)
{
	const struct ledger *ledger = arg;
	int nursery, worker;
	char mark[48];

	if (has_seat(ledger, child) || waitpid(child, NULL, WNOHANG) == child)
		return false;
	if (process_variable(child, WORKER_MARK, mark, sizeof(mark)) &&
	    sscanf(mark, "%d.%d", &nursery, &worker) == 2 && nursery == getpid() &&
	    has_seat(ledger, worker))
		return false;
	kill_stray(child);
	return true;
}

/* Ends the children that are left, whatever they are. */
static void end_children(struct ledger *ledger)
{
	struct timespec moment = { 0, 1000000 };

	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
			return;
		each_child(end_left_over, ledger);
		/* Bound: a moment; and the owner kills this process in the end. */
		nanosleep(&moment, NULL);
	}
}

static void reap_killed(pid_t pid)
{
	/* Bound: it is a child of ours, and killed; the owner kills this in the end. */
	while (pid && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static _Noreturn void close_down(struct nursery *nursery)
{
	struct ledger *ledger = nursery->ledger;

	for (unsigned id = 0; id < ledger->workers; id++)
		if (atomic_load(&ledger->desks[id].pid))
			kill(atomic_load(&ledger->desks[id].pid), SIGKILL);
	for (unsigned id = 0; id < ledger->workers; id++)
		reap_killed(atomic_load(&ledger->desks[id].pid));
	for (unsigned id = 0; id < ledger->workers; id++)
		atomic_store(&ledger->desks[id].pid, 0);
	end_children(ledger);
	_exit(0);
}

/* Ends who is stopped, or stuck, with the lock. False: nobody to look at again soon. */
static bool mind_lock(struct nursery *nursery)
{
	uint32_t held, still;
	pid_t holder = ledger_holder(nursery->ledger, &held);
	int64_t ms, now = tine_now();

	if (holder != nursery->holder || held != nursery->held) {
		nursery->holder = holder;
		nursery->held = held;
		nursery->held_since = now;
	}
	if (!holder || !has_seat(nursery->ledger, holder))
		return false;
	ms = (now - nursery->held_since) / 1000000;
	if (ms >= STUCK_MS || (ms >= LOOK_MS && process_stopped(holder)))
		/* Not if it was stopped a little later, in a job. */
		if (ledger_holder(nursery->ledger, &still) == holder && still == held)
			kill(holder, SIGKILL);
	return true;
}

/* To mend the desk of one who died. */
static void lock_ledger(struct nursery *nursery)
{
	int err;

	/* Bound: workers are killed; else the owner has it, or its death frees it. */
	while ((err = ledger_lock(nursery->ledger, tine_after(LOOK_MS))) == -ETIMEDOUT)
		mind_lock(nursery);
	if (err)
		close_down(nursery);
}

static void bury_worker(struct nursery *nursery, pid_t pid, tine_exit how)
{
	struct ledger *ledger = nursery->ledger;
	struct pool_desk *desk;
	enum seat seat_then;
	unsigned id = 0;

	while (id < ledger->workers && atomic_load(&ledger->desks[id].pid) != pid)
		id++;
	if (id == ledger->workers)
		return;
	desk = &ledger->desks[id];
	atomic_store(&desk->pid, 0);
	atomic_fetch_and(&ledger->asleep[id / 64], ~(UINT64_C(1) << id % 64));
	lock_ledger(nursery);
	desk_mend(ledger, id, how, job_of(desk) && was_starved(nursery, how));
	ledger_unlock(ledger);
	seat_then = atomic_load(&desk->seat);
	if (seat_then == SEAT_READY || seat_then == SEAT_LEAVING) {
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
	int status;
	pid_t pid;

	/* Bound: it does not block. */
	while (read(nursery->deaths, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		bury_worker(nursery, pid, exit_of(status));
		nursery->sweeping = true;
	}
	/* In place of a ring that the dead owed, or that a worker cannot give. */
	ledger_ring_anew(nursery->ledger);
}

static void seat_vacant(struct nursery *nursery)
{
	bool wanting = false;

	nursery->vacant = false;
	for (unsigned id = 0; id < nursery->ledger->workers; id++) {
		struct pool_desk *desk = &nursery->ledger->desks[id];

		if (atomic_load(&desk->seat) == SEAT_EMPTY)
			seat(nursery, id);
		wanting |= atomic_load(&desk->seat) == SEAT_EMPTY ||
			   atomic_load(&desk->seat) == SEAT_ABANDONED;
	}
	/* The caller has to know, and the others have that one's jobs to do. */
	if (wanting)
		ledger_wake_all(nursery->ledger);
}

/* False: it has ended, or does not stop, for the moment. */
static bool stop(pid_t pid)
{
	struct timespec moment = { 0, 50000 };

	kill(pid, SIGSTOP);
	for (int64_t end = tine_after(STOP_WAIT); tine_now() < end;) {
		siginfo_t info = { 0 };

		if (waitid(P_PID, pid, &info, WSTOPPED | WNOHANG) != 0)
			return false;
		if (info.si_pid == pid)
			return true;
		/* Bound: a moment, and STOP_WAIT in all. */
		nanosleep(&moment, NULL);
	}
	return false;
}

/* The status that the worker is to be ended with in its job; 0: let it go on. */
static int doom(struct ledger *ledger, unsigned id)
{
	struct pool_desk *desk = &ledger->desks[id];
	uint64_t job = job_of(desk);
	const struct ticket *ticket = job & TICKET_JOB ? ticket_at(ledger, id) : NULL;
	int64_t limit = job & TICKET_JOB ? atomic_load(&desk->limit_ms)
					 : ledger->map.job_ms;
	size_t most = ledger->memory_per_worker;
	int64_t begun = atomic_load(&desk->begun);

	if (job != desk->seen.job) {
		desk->seen.job = job;
		desk->seen.since = tine_now();
		desk->seen.stopped = 0;
	}
	if (!job)
		return 0;
	if (!(job & TICKET_JOB) && job & JOB_TO_BE)
		begun = desk->seen.since;
	if (ticket && atomic_load(&ticket->unwanted))
		return -ECANCELED;
	if (job == atomic_load(&desk->unwanted))
		return atomic_load(&desk->unwanted_status);
	if (limit && (tine_now() - begun) / 1000000 >= limit)
		return -ETIMEDOUT;
	if (most && own_memory(atomic_load(&desk->pid)) > own_limit(desk, most))
		return -ENOMEM;
	return 0;
}

/*
 * Only in that job: stopped, a worker cannot go on to the next between look and blow. One
 * that does not stop, again and again, does not go on either: it is frozen, or a debugger
 * has stopped it already.
 */
static void end_doomed(struct nursery *nursery)
{
	struct ledger *ledger = nursery->ledger;

	for (unsigned id = 0; id < ledger->workers; id++) {
		struct pool_desk *desk = &ledger->desks[id];
		pid_t pid = atomic_load(&desk->pid);
		int status;

		if (!pid || !doom(ledger, id))
			continue;
		if ((stop(pid) || ++desk->seen.stopped >= MOST_STOPS) &&
		    (status = doom(ledger, id)) != 0) {
			atomic_store(&desk->ended_status, status);
			atomic_store(&desk->ended, job_of(desk));
			kill(pid, SIGKILL);
		} else {
			kill(pid, SIGCONT);
		}
		/* Each may take STOP_WAIT. */
		atomic_fetch_add(&ledger->looked, 1);
	}
}

/* Ends who is stopped before it was ready: others may wait for it to begin. */
static void end_unready(struct nursery *nursery)
{
	struct ledger *ledger = nursery->ledger;

	for (unsigned id = 0; id < ledger->workers; id++) {
		struct pool_desk *desk = &ledger->desks[id];
		pid_t pid = atomic_load(&desk->pid);

		if (!pid || atomic_load(&desk->seat) != SEAT_STARTING)
			continue;
		if (!process_stopped(pid))
			desk->seen.stopped = 0;
		else if (++desk->seen.stopped >= MOST_LOOKS)
			kill(pid, SIGKILL);
	}
}

/* The owner has sent bytes. False: there is nothing to look at again soon. */
static bool answer(struct nursery *nursery)
{
	atomic_fetch_add(&nursery->ledger->looked, 1);
	end_doomed(nursery);
	end_unready(nursery);
	return mind_lock(nursery);
}

/* Milliseconds until the next look; -1: there is nothing to look at. */
static int tick(struct nursery *nursery)
{
	struct ledger *ledger = nursery->ledger;
	int64_t shortest = ledger->memory_per_worker ? TICK_MS : INT64_MAX;

	if (!atomic_load(&ledger->watched))
		return -1;
	end_doomed(nursery);
	if (ledger_is_idle(ledger)) {
		/* Whoever brings work from now on says so. */
		atomic_store(&ledger->watched, 0);
		if (ledger_is_idle(ledger))
			return -1;
		atomic_store(&ledger->watched, 1);
	}
	if (ledger->map.job_ms && ledger->map.job_ms / 8 < shortest)
		shortest = ledger->map.job_ms / 8;
	if (atomic_load(&ledger->shortest_ms) &&
	    atomic_load(&ledger->shortest_ms) / 8 < shortest)
		shortest = atomic_load(&ledger->shortest_ms) / 8;
	return shortest < 1 ? 1 : shortest < TICK_MS ? (int)shortest : TICK_MS;
}

/* ---- who ends in order ------------------------------------------------------------- */

/* Milliseconds, of which less than 0 is never. */
static int sooner(int one, int other)
{
	return one < 0 || (other >= 0 && other < one) ? other : one;
}

/* Ends whose .fini has had its time. Milliseconds until the next has. */
static int end_leaving(const struct nursery *nursery)
{
	struct ledger *ledger = nursery->ledger;
	int64_t now = tine_now();
	int next = -1;

	for (unsigned id = 0; ledger->fini && id < ledger->workers; id++) {
		struct pool_desk *desk = &ledger->desks[id];
		pid_t pid = atomic_load(&desk->pid);
		int64_t left;

		if (!pid || atomic_load(&desk->seat) != SEAT_LEAVING)
			continue;
		left = ledger->fini_ms - (now - atomic_load(&desk->begun)) / 1000000;
		if (left <= 0)
			kill(pid, SIGKILL);
		else
			next = sooner(next, left < INT_MAX ? (int)left : INT_MAX);
	}
	return next;
}

/* What it has answered does not count: the caller has it. */
static bool is_busy(const struct ledger *ledger, unsigned id)
{
	uint64_t job = job_of(&ledger->desks[id]);

	return ticket_at(ledger, id) || (job && !(job & TICKET_JOB));
}

/* Looks who is left, and still works. Milliseconds until the next look. */
static int part(struct nursery *nursery)
{
	struct ledger *ledger = nursery->ledger;
	int64_t now = tine_now();
	unsigned left = 0;

	if (!atomic_load(&ledger->parting))
		return -1;
	if (!nursery->parting) {
		nursery->parting = now;
		atomic_fetch_add(&ledger->turn, 1);
		ledger_wake_all(ledger);
	}
	for (unsigned id = 0; id < ledger->workers; id++) {
		pid_t pid = atomic_load(&ledger->desks[id].pid);

		if (pid && (atomic_load(&ledger->desks[id].seat) == SEAT_STARTING ||
			    is_busy(ledger, id)))
			kill(pid, SIGKILL);
		left += pid != 0;
	}
	if (left == 0 || (now - nursery->parting) / 1000000 >= ledger->fini_ms)
		close_down(nursery);
	return PART_MS;
}

/*
 * What the nursery process runs: seats a worker at every desk and a new one where one
 * died, ends workers that are overdue when a byte comes down the lifeline, or has all end
 * in order, and ends all of them and itself when the lifeline breaks.
 */
static int nursery_main(void *arg, int lifeline)
{
	struct nursery nursery = {
		.ledger = arg, .lifeline = lifeline, .vacant = true, .starved = -1
	};
	struct pollfd polled[2] = { { .fd = lifeline, .events = POLLIN },
				    { .events = POLLIN } };
	bool suspicious = false;
	char bytes[64];

	prctl(PR_SET_NAME, "tine-nursery");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	block_signals(&nursery.jobs_mask);
	default_handlers();
	watch_crashes();
	nursery.deaths = deaths_fd();
	if (nursery.deaths < 0)
		return 1;
	polled[1].fd = nursery.deaths;
	putenv(own_mark);
	atomic_store(&nursery.ledger->nursery, getpid());
	seat_vacant(&nursery);
	for (;;) {
		int wait = sooner(tick(&nursery), end_leaving(&nursery)), ready;

		wait = sooner(wait, part(&nursery));
		/* What takes time, but none that anybody waits for. */
		if (nursery.starved < 0 && wait < 0)
			wait = TICK_MS;
		if (nursery.vacant)
			wait = sooner(wait, PAUSE_MS);
		if (suspicious)
			wait = sooner(wait, LOOK_MS);
		if (nursery.sweeping)
			wait = sooner(wait, SWEEP_MS);
		/* Bound: this is where the nursery waits for something to do. */
		ready = poll(polled, 2, wait);

		/* Bound: it does not block. */
		if (polled[0].revents &&
		    recv(lifeline, bytes, sizeof(bytes), MSG_DONTWAIT) == 0)
			close_down(&nursery);
		if (polled[0].revents)
			suspicious = answer(&nursery);
		else if (suspicious)
			suspicious = mind_lock(&nursery);
		if (polled[1].revents)
			bury_all(&nursery);
		if (nursery.sweeping)
			nursery.sweeping = each_child(end_left_over, nursery.ledger) > 0;
		if (ready == 0 && nursery.vacant)
			seat_vacant(&nursery);
		else if (ready == 0 && nursery.starved < 0)
			nursery.starved = (int64_t)memory_kills("");
	}
}

/* ---- what its parent asks ---------------------------------------------------------- */

static unsigned count_seats(const struct ledger *ledger, enum seat seat)
{
	unsigned n = 0;

	for (unsigned id = 0; id < ledger->workers; id++)
		n += atomic_load(&ledger->desks[id].seat) == seat;
	return n;
}

static int refusal_of(const struct pool_desk *desk)
{
	return desk->refusal ? desk->refusal : -TINE_ECRASH;
}

/* Every first worker is, or one is not to be. */
static int all_ready(const struct ledger *ledger)
{
	for (unsigned id = 0; id < ledger->workers; id++)
		if (ledger->desks[id].strikes > 0)
			return refusal_of(&ledger->desks[id]);
	return count_seats(ledger, SEAT_READY) != ledger->workers;
}

static int any_able(const struct ledger *ledger)
{
	return count_seats(ledger, SEAT_ABANDONED) < ledger->workers
		       ? 0
		       : refusal_of(&ledger->desks[0]);
}

static void wake_worker(struct ledger *ledger, const struct child *nursery, bool busy)
{
	(void)nursery;
	ledger_wake_one(ledger, busy ? 0 : ledger->workers);
}

/* Whether these are stopped, their parent finds out. */
static bool suspects_any(struct ledger *ledger)
{
	uint32_t held;

	return ledger_holder(ledger, &held) || count_seats(ledger, SEAT_STARTING) > 0 ||
	       count_seats(ledger, SEAT_LEAVING) > 0;
}

const struct crew nursery_crew = { .main = nursery_main,
				   .ready = all_ready,
				   .able = any_able,
				   .wake = wake_worker,
				   .suspects = suspects_any,
				   .patience = INT64_C(1000000000) };
