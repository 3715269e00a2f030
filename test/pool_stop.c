/* SPDX-License-Identifier: MIT */
/*
 * Pools beside a process that is stopped, at an instruction that is chosen anew in each
 * run: a worker at anything, a worker or the nursery with the ledger's lock in hand, the
 * nursery, a new worker that has yet to begin.
 */
#include "pool/pool.h"
#include "test.h"

#include <sys/prctl.h>
#include <sys/ptrace.h>

enum { WORKERS = 3, JOBS = 60, GUARD_MS = 20000 };

/* What the one who stops another is told, and what it tells. */
static struct board {
	pid_t workers[64];
	_Atomic int inits;
	_Atomic int ready, stopped, over; /* over: that is enough */
	_Atomic int holds;		  /* it was stopped with the lock in hand */
	_Atomic int freeze;		  /* the worker that begins now stops */
	_Atomic int idle; /* the desk, from 1 on, whose jobs take no time */
} * board;

static unsigned random_state;

static unsigned random_below(unsigned n)
{
	return rand_r(&random_state) % n;
}

static int signs_on(void *arg)
{
	int n = atomic_fetch_add(&board->inits, 1);

	(void)arg;
	/* Also where only ancestors may look. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	board->workers[n % 64] = getpid();
	if (atomic_exchange(&board->freeze, 0))
		raise(SIGSTOP);
	return 0;
}

static tine_pool *make(unsigned workers, int64_t job_ms)
{
	tine_pool_opts opts = {
		.workers = workers, .init = signs_on, .job_ms = job_ms, .retries = 2
	};
	tine_pool *pool;

	random_state = (unsigned)test_seed();
	board = tine_shared_new(1, sizeof(*board));
	CHECK(board);
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	return pool;
}

static void unmake(tine_pool *pool)
{
	tine_pool_free(pool);
	tine_shared_free(board);
}

/* ---- who stops another ------------------------------------------------------------- */

struct aim {
	tine_pool *pool;
	pid_t victim;
	bool with_lock; /* steps count from when it has the ledger's lock */
	bool traced;	/* it stays in the debugger's hands */
	long steps;
};

/* Takes an instruction; false: it has ended. */
static bool step(pid_t pid)
{
	static int pass;
	int status;

	if (ptrace(PTRACE_SINGLESTEP, pid, NULL, (void *)(intptr_t)pass) != 0 ||
	    waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
		return false;
	pass = status >> 16 || WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
	return true;
}

static bool has_lock(const struct aim *aim)
{
	uint32_t held;

	return ledger_holder(aim->pool->ledger, &held) == aim->victim;
}

static void stops(const struct aim *aim)
{
	bool counting = !aim->with_lock;
	long steps = aim->steps;
	int status;

	if (ptrace(PTRACE_SEIZE, aim->victim, NULL, NULL) != 0)
		_exit(1);
	if (ptrace(PTRACE_INTERRUPT, aim->victim, NULL, NULL) != 0 ||
	    waitpid(aim->victim, &status, __WALL) != aim->victim || !WIFSTOPPED(status))
		_exit(1);
	atomic_store(&board->ready, 1);
	while (!counting || steps-- > 0) {
		if (atomic_load(&board->over) || !step(aim->victim))
			_exit(0);
		counting = counting || has_lock(aim);
	}
	atomic_store(&board->holds, has_lock(aim));
	atomic_store(&board->stopped, 1);
	if (!aim->traced)
		ptrace(PTRACE_DETACH, aim->victim, NULL, (void *)(intptr_t)SIGSTOP);
	while (!atomic_load(&board->over)) {
		/* Dead, it is the debugger's to bury first. */
		waitpid(aim->victim, &status, WNOHANG | __WALL);
		test_sleep_us(1000);
	}
	_exit(0);
}

/* 0: it is not to be had. */
static pid_t start_stopping(const struct aim *aim)
{
	pid_t pid;

	atomic_store(&board->ready, 0);
	atomic_store(&board->stopped, 0);
	atomic_store(&board->holds, 0);
	atomic_store(&board->over, 0);
	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		stops(aim);
	/* The victim may be dying. */
	while (!atomic_load(&board->ready)) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return 0;
		test_sleep_us(100);
	}
	return pid;
}

/* Whether it was stopped in time, and with the lock. */
static bool end_stopping(pid_t pid)
{
	bool stopped = atomic_load(&board->stopped);

	atomic_store(&board->over, 1);
	if (pid)
		CHECK_EQ(test_reap(pid), 0);
	return stopped;
}

/* Where the machine is busy, a victim may be through before it is stopped. */
static bool goes_on(long round, long wanted, int stopped)
{
	wanted = test_sampled(wanted);
	return round < wanted || (stopped == 0 && round < 20 * wanted);
}

/* Whether it is stopped, or will not be. */
static bool over_with(pid_t pid)
{
	return !pid || atomic_load(&board->stopped) || !test_alive(pid);
}

/* ---- a map beside it --------------------------------------------------------------- */

static int thrice(const void *in, void *out)
{
	long n = *(const long *)in;
	int idle = atomic_load(&board->idle);

	if (idle == 0)
		test_sleep_us(100);
	else if (n / (JOBS / WORKERS) != idle - 1)
		test_sleep_us(10000);
	*(long *)out = 3 * n;
	return 0;
}

static const tine_task task = TINE_TASK(thrice, long, long);

/* How many jobs did not come to their end. */
static int check_jobs(const long *out, const int *status, int allowed)
{
	int failed = 0;

	for (int i = 0; i < JOBS; i++) {
		if (status[i] == 0)
			CHECK_EQ(out[i], 3L * i);
		else
			CHECK_EQ(status[i], allowed);
		failed += status[i] != 0;
	}
	return failed;
}

static int map_all(tine_pool *pool, int64_t job_ms, int64_t ms, int *status, long *out)
{
	long in[JOBS];
	tine_map_opts opts = { .chunk = 1 + random_below(3),
			       .job_ms = job_ms,
			       .status = status };

	for (int i = 0; i < JOBS; i++)
		in[i] = i;
	return tine_pool_map(pool, &task, in, out, JOBS, &opts, tine_after(ms));
}

/* All is as good as new. */
static void works_again(tine_pool *pool)
{
	int status[JOBS];
	long out[JOBS];

	CHECK_EQ(map_all(pool, 0, GUARD_MS, status, out), 0);
	CHECK_EQ(check_jobs(out, status, 0), 0);
}

static pid_t worker_at(tine_pool *pool, unsigned id)
{
	const struct pool_desk *desk = &pool->ledger->desks[id];
	pid_t pid;

	while (!(pid = atomic_load(&desk->pid)) || !test_alive(pid) ||
	       atomic_load(&desk->seat) != SEAT_READY)
		/* Also the nursery may just have been ended. */
		works_again(pool);
	return pid;
}

static pid_t some_worker(tine_pool *pool)
{
	return worker_at(pool, random_below(pool->ledger->workers));
}

/* Only its own job may fail, by its limit; the others do the rest. */
TEST_LIMIT(a_worker_stopped_at_any_step, 120)
{
	tine_pool *pool = make(WORKERS, 0);
	int stopped = 0, limited = 0;

	for (long round = 0; goes_on(round, 60, stopped); round++) {
		struct aim aim = { .pool = pool,
				   .victim = some_worker(pool),
				   .traced = round % 4 == 3,
				   .steps = random_below(round % 2 ? 3000 : 600) };
		pid_t pid = start_stopping(&aim);
		int status[JOBS], failed, err;
		long out[JOBS];

		err = map_all(pool, 150, GUARD_MS, status, out);
		failed = check_jobs(out, status, -TINE_ELIMIT);
		CHECK(failed <= 1);
		CHECK_EQ(err, failed ? -TINE_ELIMIT : 0);
		stopped += end_stopping(pid);
		limited += failed;
		kill(aim.victim, SIGCONT);
		works_again(pool);
	}
	printf("# %d were stopped, %d of them in a job\n", stopped, limited);
	fflush(stdout);
	CHECK(stopped > 0);
	unmake(pool);
}

/* The same without a limit: it is the deadline that ends what waits for it. */
TEST_LIMIT(and_the_deadline_is_kept, 120)
{
	tine_pool *pool = make(WORKERS, 0);
	int stopped = 0, late = 0;

	for (long round = 0; goes_on(round, 60, stopped); round++) {
		struct aim aim = { .pool = pool,
				   .victim = some_worker(pool),
				   .steps = random_below(round % 2 ? 3000 : 600) };
		pid_t pid = start_stopping(&aim);
		int64_t begun = tine_now();
		int status[JOBS], err;
		long out[JOBS];

		err = map_all(pool, 0, 300, status, out);
		CHECK(tine_now() - begun < INT64_C(10000000000));
		CHECK(err == 0 || err == -ETIMEDOUT);
		for (int i = 0; i < JOBS; i++)
			if (status[i] == 0)
				CHECK_EQ(out[i], 3L * i);
			else
				CHECK(err && (status[i] == -TINE_ELIMIT ||
					      status[i] == -ECANCELED));
		late += err != 0;
		stopped += end_stopping(pid);
		kill(aim.victim, SIGCONT);
		works_again(pool);
	}
	printf("# %d were stopped, %d maps were late\n", stopped, late);
	fflush(stdout);
	CHECK(stopped > 0);
	unmake(pool);
}

/* It is no longer waited for, with no limit and no deadline: no job was in its hands. */
TEST_LIMIT(a_worker_stopped_with_the_lock, 120)
{
	tine_pool *pool = make(WORKERS, 0);
	int held = 0;

	for (long round = 0; goes_on(round, 60, held); round++) {
		unsigned id = random_below(WORKERS);
		struct aim aim = { .pool = pool,
				   .victim = worker_at(pool, id),
				   .with_lock = true,
				   .traced = round % 4 == 3,
				   .steps = random_below(60) };
		pid_t pid = start_stopping(&aim);
		int status[JOBS];
		long out[JOBS];
		bool with_lock;

		/* It has nothing to do but to steal. */
		atomic_store(&board->idle, (int)id + 1);
		/* The job that it may have begun by now has a limit. */
		for (int i = 0; i == 0 || (i < 6 && !over_with(pid)); i++)
			CHECK_EQ(map_all(pool, 2000, GUARD_MS, status, out),
				 check_jobs(out, status, -TINE_ELIMIT) ? -TINE_ELIMIT
								       : 0);
		with_lock = atomic_load(&board->stopped) && atomic_load(&board->holds);
		atomic_store(&board->idle, 0);
		/* Who deals needs the lock. */
		works_again(pool);
		if (with_lock) {
			CHECK_EQ(check_jobs(out, status, 0), 0);
			CHECK(!test_alive(aim.victim));
		}
		held += with_lock;
		end_stopping(pid);
		kill(aim.victim, SIGCONT);
	}
	printf("# %d were stopped with the lock\n", held);
	fflush(stdout);
	CHECK(held > 0);
	unmake(pool);
}

/* ---- the nursery ------------------------------------------------------------------- */

static int kills_the_other(const void *in, void *out)
{
	pid_t victim = *(const int *)in ? board->workers[0] : 0;

	if (victim && victim != getpid())
		kill(victim, SIGKILL);
	test_sleep_us(1000);
	*(int *)out = 1;
	return 0;
}

/* It is continued, and replaces whoever died. */
TEST(a_stopped_nursery_is_continued)
{
	tine_pool *pool = make(2, 0);
	tine_task kills = TINE_TASK(kills_the_other, int, int);
	int in[20] = { 0 }, out[20];
	tine_map_opts opts = { .retries = 3 };
	pid_t nursery = pool->nursery.pid, victim;

	for (int round = 0; round < 3; round++) {
		in[0] = 1;
		board->workers[0] = atomic_load(&pool->ledger->desks[0].pid);
		kill(nursery, SIGSTOP);
		CHECK_EQ(tine_pool_map(pool, &kills, in, out, 20, &opts,
				       tine_after(GUARD_MS)),
			 0);
		victim = atomic_load(&pool->ledger->desks[1].pid);
		kill(victim ? victim : getpid(), victim ? SIGKILL : 0);
		kill(nursery, SIGSTOP);
		works_again(pool);
	}
	/* Whoever ends the pool has not to wait either. */
	kill(nursery, SIGSTOP);
	CHECK_EQ(pool->nursery.pid, nursery);
	unmake(pool);
}

static int stays(const void *in, void *out)
{
	(void)in;
	(void)out;
	test_sleep_us(GUARD_MS * 1000);
	return 0;
}

/* A job that nobody ends but the nursery, which a debugger has: it is as good as dead. */
TEST(a_nursery_in_a_debugger_keeps_no_deadline)
{
	tine_pool *pool = make(2, 0);
	tine_task long_one = TINE_TASK(stays, int, int);
	struct aim aim = { .pool = pool, .victim = pool->nursery.pid, .traced = true };
	int in = 0, out, status;
	tine_map_opts opts = { .status = &status };
	int64_t begun;
	pid_t pid;

	pid = start_stopping(&aim);
	begun = tine_now();
	CHECK_EQ(tine_pool_map(pool, &long_one, &in, &out, 1, &opts, tine_after(100)),
		 -ETIMEDOUT);
	CHECK_EQ(status, -TINE_ELIMIT);
	CHECK(tine_now() - begun < INT64_C(10000000000));
	CHECK(pool->nursery.pid != aim.victim);
	CHECK(end_stopping(pid));
	unmake(pool);
}

/* Stopped while it buries a worker, at every step with the ledger's lock in hand. */
static int dies(const void *in, void *out)
{
	(void)in;
	(void)out;
	kill(getpid(), SIGKILL);
	return 0;
}

/* Nor is there a deadline. */
TEST(a_death_that_a_nursery_in_a_debugger_cannot_see)
{
	tine_pool *pool = make(2, 0);
	tine_task deadly = TINE_TASK(dies, int, int);
	struct aim aim = { .pool = pool, .victim = pool->nursery.pid, .traced = true };
	int in = 0, out;
	pid_t pid;

	pid = start_stopping(&aim);
	CHECK_EQ(tine_pool_map(pool, &deadly, &in, &out, 1, NULL, TINE_FOREVER),
		 -TINE_ECRASH);
	CHECK(pool->nursery.pid != aim.victim);
	CHECK(end_stopping(pid));
	unmake(pool);
}

TEST_LIMIT(a_nursery_stopped_with_the_lock, 120)
{
	tine_pool *pool = make(WORKERS, 0);
	int held = 0;

	for (long round = 0; goes_on(round, 50, held); round++) {
		struct aim aim = { .pool = pool,
				   .victim = pool->nursery.pid,
				   .with_lock = true,
				   .traced = round % 4 == 3,
				   .steps = random_below(300) };
		pid_t worker = some_worker(pool), pid = start_stopping(&aim);

		if (!pid) {
			works_again(pool);
			continue;
		}
		kill(worker, SIGKILL);
		while (!atomic_load(&board->stopped) && test_alive(pid))
			test_sleep_us(500);
		held += atomic_load(&board->holds);
		works_again(pool);
		CHECK(end_stopping(pid));
	}
	printf("# %d were stopped with the lock\n", held);
	fflush(stdout);
	CHECK(held > 0);
	unmake(pool);
}

/* ---- tickets, and beginners -------------------------------------------------------- */

TEST_LIMIT(a_worker_stopped_at_any_step_of_a_ticket, 120)
{
	tine_pool *pool = make(WORKERS, 200);
	int stopped = 0, limited = 0;

	for (long round = 0; goes_on(round, 60, stopped); round++) {
		struct aim aim = { .pool = pool,
				   .victim = some_worker(pool),
				   .traced = round % 4 == 3,
				   .steps = random_below(round % 2 ? 3000 : 600) };
		pid_t pid = start_stopping(&aim);
		int failed = 0;
		tine_done done;
		long out;

		for (long i = 0; i < 12 || (i < 2000 && !over_with(pid)); i++) {
			CHECK_EQ(tine_pool_submit(pool, &task, &i, (uint64_t)i,
						  tine_after(GUARD_MS)),
				 0);
			if (i < 5)
				continue;
			CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done,
						tine_after(GUARD_MS)),
				 1);
			failed += done.status != 0;
			CHECK(done.status == -TINE_ELIMIT || out == 3 * (long)done.tag);
		}
		while (tine_pool_next(pool, &out, sizeof(out), &done,
				      tine_after(GUARD_MS)) == 1) {
			failed += done.status != 0;
			CHECK(done.status == -TINE_ELIMIT || out == 3 * (long)done.tag);
		}
		CHECK(failed <= 1);
		CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done, TINE_NOWAIT), 0);
		limited += failed;
		stopped += end_stopping(pid);
		kill(aim.victim, SIGCONT);
		works_again(pool);
	}
	printf("# %d were stopped, %d of them in a job\n", stopped, limited);
	fflush(stdout);
	CHECK(stopped > 0);
	unmake(pool);
}

/* The only one: it is ended, and another begins. */
TEST(a_worker_stopped_before_it_is_ready)
{
	tine_pool *pool = make(1, 0);

	for (int round = 0; round < 2; round++) {
		int inits = atomic_load(&board->inits);

		atomic_store(&board->freeze, 1);
		kill(worker_at(pool, 0), SIGKILL);
		while (atomic_load(&board->freeze))
			test_sleep_us(500);
		works_again(pool);
		CHECK_EQ(atomic_load(&board->inits), inits + 2);
	}
	unmake(pool);
}

TEST(a_pool_whose_worker_stops_as_it_begins_is_not_made)
{
	tine_pool_opts opts = { .workers = 2, .init = signs_on };
	tine_pool *pool = NULL;

	board = tine_shared_new(1, sizeof(*board));
	atomic_store(&board->freeze, 1);
	CHECK_EQ(tine_pool_new(&pool, &opts), -TINE_ECRASH);
	CHECK(!pool);
	tine_shared_free(board);
}

/* ---- the end ----------------------------------------------------------------------- */

TEST(a_pool_is_freed_whoever_is_stopped)
{
	for (int which = 0; which < 4; which++) {
		tine_pool *pool = make(2, 0);
		struct aim aim = { .pool = pool,
				   .victim = which == 3 ? pool->nursery.pid : 0,
				   .traced = true };
		/* A nursery that is stopped may not have told it yet. */
		pid_t worker = some_worker(pool), pid = 0;

		if (which == 0)
			kill(pool->nursery.pid, SIGSTOP);
		if (which != 2)
			kill(worker, SIGSTOP);
		if (which == 3)
			pid = start_stopping(&aim);
		tine_pool_free(pool);
		if (which == 3)
			end_stopping(pid);
		tine_shared_free(board);
	}
}
