/* SPDX-License-Identifier: MIT */
/* .fini: which workers have it, and what it may do to a pool. */
#include "step.h"

#include "pool/crew.h"
#include "pool/pool.h"
#include "pool/worker.h"

#include <sys/prctl.h>
#include <sys/socket.h>

enum { GUARD_MS = 20000, LONG_MS = 600000 };

static struct board {
	_Atomic int inits, finis, jobs;
	_Atomic int in_job; /* a worker is in one that does not end */
	_Atomic int indexes[8];
	pid_t workers[64];
	struct ledger *ledger;
	long in_fini;
} * board;

static int begins(void *arg)
{
	(void)arg;
	board->workers[atomic_fetch_add(&board->inits, 1) % 64] = getpid();
	return 0;
}

static void ends(void *arg)
{
	CHECK(arg == board);
	CHECK(!tine_cancelled());
	atomic_fetch_add(&board->finis, 1);
	atomic_fetch_add(&board->indexes[tine_worker_index()], 1);
}

static void ends_forked(void *arg)
{
	if (fork() != 0)
		ends(arg);
}

static void crashes(void *arg)
{
	ends(arg);
	abort();
}

static void exits(void *arg)
{
	ends(arg);
	exit(0);
}

static void hangs(void *arg)
{
	ends(arg);
	for (;;)
		pause();
}

static void stops(void *arg)
{
	ends(arg);
	raise(SIGSTOP);
}

static tine_pool *make(const tine_pool_opts *given)
{
	tine_pool_opts opts = *given;
	tine_pool *pool;

	if (!board)
		board = tine_shared_new(1, sizeof(*board));
	CHECK(board);
	opts.init = begins;
	opts.init_arg = board;
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	return pool;
}

static int square(const void *in, void *out)
{
	*(long *)out = *(const long *)in * *(const long *)in;
	atomic_fetch_add(&board->jobs, 1);
	return 0;
}

static int never_ends(const void *in, void *out)
{
	(void)in;
	(void)out;
	atomic_store(&board->in_job, 1);
	for (;;)
		pause();
	return 0;
}

static const tine_task squares = TINE_TASK(square, long, long);

static void map_all(tine_pool *pool, long n, size_t chunk)
{
	tine_map_opts opts = { .chunk = chunk };
	long *in = calloc(2 * (size_t)n, sizeof(*in)), *out = in + n;

	CHECK(in);
	for (long i = 0; i < n; i++)
		in[i] = i;
	CHECK_EQ(tine_pool_map(pool, &squares, in, out, (size_t)n, &opts,
			       tine_after(GUARD_MS)),
		 0);
	for (long i = 0; i < n; i++)
		CHECK_EQ(out[i], i * i);
	free(in);
}

static bool any_left(void)
{
	for (int i = 0; i < 64; i++)
		if (board->workers[i] && test_alive(board->workers[i]))
			return true;
	return false;
}

/* ---- who has it -------------------------------------------------------------------- */

TEST(each_worker_that_is_replaced_or_freed)
{
	tine_pool *pool = make(
		&(tine_pool_opts){ .workers = 3, .jobs_per_worker = 5, .fini = ends });

	map_all(pool, 40, 0);
	map_all(pool, 40, 1);
	CHECK(board->inits >= 16);
	tine_pool_free(pool);
	CHECK(!any_left());
	/* One that is not yet ready when the pool is freed has had neither. */
	CHECK(board->finis <= board->inits && board->finis >= board->inits - 3);
	for (int i = 0; i < 3; i++)
		CHECK(board->indexes[i] > 0);
	tine_shared_free(board);
}

TEST(an_idle_pool)
{
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 4, .fini = ends });

	tine_pool_free(pool);
	CHECK_EQ(board->finis, 4);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(board->indexes[i], 1);
	tine_shared_free(board);
}

/* Also as soon as the last result is there. */
TEST(after_submitted_jobs)
{
	for (int round = 0; round < 30; round++) {
		tine_pool *pool = make(&(tine_pool_opts){ .workers = 2, .fini = ends });
		long in = 3, out;
		tine_done done;

		for (int i = 0; i < 4; i++)
			CHECK_EQ(tine_pool_submit(pool, &squares, &in, 0, TINE_FOREVER),
				 0);
		while (tine_pool_next(pool, &out, sizeof(out), &done,
				      tine_after(GUARD_MS)) == 1)
			CHECK_EQ(out, 9);
		tine_pool_free(pool);
		CHECK_EQ(board->finis, 2 * (round + 1));
	}
	tine_shared_free(board);
}

TEST(not_one_that_is_in_a_job)
{
	tine_task endless = { .fn = never_ends };
	tine_pool *pool = make(
		&(tine_pool_opts){ .workers = 3, .fini = ends, .fini_ms = LONG_MS });

	CHECK_EQ(tine_pool_submit(pool, &endless, NULL, 0, TINE_FOREVER), 0);
	while (!board->in_job)
		test_sleep_us(500);
	tine_pool_free(pool);
	CHECK(!any_left());
	CHECK_EQ(board->finis, 2);
	tine_shared_free(board);
}

TEST(when_the_pool_is_refreshed)
{
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 2, .fini = ends });

	CHECK_EQ(tine_pool_refresh(pool), 0);
	CHECK_EQ(board->finis, 2);
	map_all(pool, 10, 0);
	tine_pool_free(pool);
	CHECK_EQ(board->finis, 4);
	tine_shared_free(board);
}

static int second_refuses(void *arg)
{
	(void)arg;
	return tine_worker_index() == 1 ? -ENODEV : begins(arg);
}

TEST(where_a_pool_is_not_made)
{
	tine_pool_opts opts = { .workers = 2, .init = second_refuses, .fini = ends };
	tine_pool *pool;

	board = tine_shared_new(1, sizeof(*board));
	opts.init_arg = board;
	CHECK_EQ(tine_pool_new(&pool, &opts), -ENODEV);
	CHECK(board->finis <= 1);
	CHECK(!any_left());
	tine_shared_free(board);
}

TEST(bad_options)
{
	tine_pool *pool;

	CHECK_EQ(tine_pool_new(&pool, &(tine_pool_opts){ .fini_ms = -1 }), -EINVAL);
}

/* ---- what it does ------------------------------------------------------------------ */

/* The only worker is replaced all the same, and the pool is freed. */
static void try_fini(void (*fini)(void *), int64_t ms)
{
	tine_pool *pool = make(&(tine_pool_opts){
		.workers = 1, .jobs_per_worker = 2, .fini = fini, .fini_ms = ms });

	map_all(pool, 7, 0);
	CHECK(board->finis >= 3);
	tine_pool_free(pool);
	CHECK(!any_left());
	tine_shared_free(board);
}

TEST(one_that_crashes)
{
	try_fini(crashes, 0);
}

TEST(one_that_exits)
{
	try_fini(exits, 0);
}

TEST(one_that_forks)
{
	try_fini(ends_forked, 0);
}

TEST(one_that_hangs)
{
	try_fini(hangs, 20);
}

TEST(one_that_is_stopped)
{
	try_fini(stops, 20);
}

/* An empty map is waited for by nobody: the nursery has to see it by itself. */
TEST(one_that_hangs_while_nobody_waits)
{
	tine_pool *pool = make(&(tine_pool_opts){
		.workers = 1, .jobs_per_worker = 1, .fini = hangs, .fini_ms = 20 });
	int64_t guard;

	/* By then it has nothing else to look at. */
	test_sleep_us(150000);
	map_all(pool, 1, 0);
	guard = tine_after(test_patience(GUARD_MS));
	while (board->inits < 2) {
		CHECK(tine_now() < guard);
		test_sleep_us(1000);
	}
	tine_pool_free(pool);
	tine_shared_free(board);
}

/* ---- the owner's death ------------------------------------------------------------- */

static void owns_a_pool(void *arg)
{
	tine_pool *pool = make(&(tine_pool_opts){ .workers = 2, .fini = ends });

	(void)arg;
	CHECK(pool);
	board->in_job = 1;
	for (;;)
		pause();
}

static void frees_a_pool(void *arg)
{
	(void)arg;
	tine_pool_free(make(
		&(tine_pool_opts){ .workers = 2, .fini = hangs, .fini_ms = LONG_MS }));
}

static void await_nobody(void)
{
	int64_t guard = tine_after(test_patience(GUARD_MS));

	while (any_left()) {
		CHECK(tine_now() < guard);
		test_sleep_us(1000);
	}
}

TEST(none_when_the_owner_dies)
{
	pid_t pid;

	board = tine_shared_new(1, sizeof(*board));
	pid = test_fork(owns_a_pool, NULL);
	while (!board->in_job)
		test_sleep_us(500);
	test_kill(pid);
	await_nobody();
	CHECK_EQ(board->finis, 0);
	/* What the dead had allocated is lost; do not look. */
	_exit(0);
}

TEST(the_owner_dies_while_workers_have_it)
{
	pid_t pid;

	board = tine_shared_new(1, sizeof(*board));
	pid = test_fork(frees_a_pool, NULL);
	while (board->finis < 2)
		test_sleep_us(500);
	test_kill(pid);
	await_nobody();
	_exit(0);
}

TEST(the_nursery_is_stopped_or_dies_while_workers_have_it)
{
	static const int signals[] = { SIGSTOP, SIGKILL };

	for (int i = 0; i < 2; i++) {
		tine_pool *pool = make(&(tine_pool_opts){
			.workers = 2, .fini = hangs, .fini_ms = i ? LONG_MS : 50 });
		pid_t pid, nursery = pool->nursery.pid;

		fflush(stdout);
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			while (board->finis < 2 * (i + 1))
				test_sleep_us(500);
			kill(nursery, signals[i]);
			_exit(0);
		}
		tine_pool_free(pool);
		CHECK_EQ(test_reap(pid), 0);
		CHECK(!any_left());
	}
	tine_shared_free(board);
}

/* ---- death and stop at every instruction ------------------------------------------- */

enum { DESK_JOBS = 12 };

static int counts(const void *in, void *out)
{
	(void)in;
	(void)out;
	atomic_fetch_add(&board->jobs, 1);
	return 0;
}

static void deal_anew(void)
{
	static int *status;
	struct map map = { .fn = counts, .chunk = 3 };

	if (!status)
		status = tine_shared_new(DESK_JOBS, sizeof(int));
	for (int i = 0; i < DESK_JOBS; i++)
		status[i] = 1;
	map.status = status;
	map.in = map.out = (char *)board;
	board->jobs = board->finis = 0;
	atomic_store(&board->ledger->parting, 0);
	CHECK_EQ(ledger_lock(board->ledger, tine_after(GUARD_MS)), 0);
	ledger_deal(board->ledger, &map, DESK_JOBS);
	ledger_unlock(board->ledger);
	atomic_store(&board->ledger->desks[0].seat, SEAT_STARTING);
}

static void make_desks(unsigned n, unsigned jobs_per_worker)
{
	board = tine_shared_new(1, sizeof(*board));
	board->ledger = tine_shared_new(1, sizeof(struct ledger) +
						   n * sizeof(struct pool_desk));
	board->ledger->workers = n;
	board->ledger->jobs_per_worker = jobs_per_worker;
	board->ledger->fini = ends;
	board->ledger->init_arg = board;
	board->ledger->nursery = getpid();
	deal_anew();
}

static void unmake_desks(void)
{
	tine_shared_free(board->ledger->map.status);
	tine_shared_free(board->ledger);
	tine_shared_free(board);
}

static void works(void *arg)
{
	(void)arg;
	worker_main(board->ledger, 0);
}

/* It has taken up three, and is too large after the first. */
static int grows(const void *in, void *out)
{
	static char *volatile memory;

	memory = malloc(8 << 20);
	CHECK(memory);
	memset(memory, 1, 8 << 20);
	/* The other sleeps. */
	board->ledger->asleep[0] = 2;
	return counts(in, out);
}

static void looks_at_its_desk(void *arg)
{
	const struct pool_desk *desk = &board->ledger->desks[0];

	ends(arg);
	CHECK_EQ(job_of(desk), 0);
	CHECK_EQ(index_of(desk->at), 1);
	CHECK_EQ(range_low(desk->range), 1);
}

TEST(what_it_has_taken_up_waits_again)
{
	pid_t pid;

	make_desks(2, DESK_JOBS);
	board->ledger->map.fn = grows;
	board->ledger->memory_per_worker = 1 << 20;
	board->ledger->fini = looks_at_its_desk;
	pid = test_fork(works, NULL);
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(board->finis, 1);
	CHECK_EQ(board->jobs, 1);
	CHECK_EQ(board->ledger->asleep[0], 0);
	unmake_desks();
}

/* Those that it had not begun wait; or it died before. */
static void nothing_fails_in_fini(void *arg, long step)
{
	struct pool_desk *desk = &board->ledger->desks[0];
	uint32_t n, first, again = 0;
	int failed = 0;

	(void)arg;
	CHECK(board->finis <= 1);
	if (board->finis) {
		CHECK_EQ(desk->seat, SEAT_LEAVING);
		CHECK_EQ(job_of(desk), 0);
	}
	board->in_fini += desk->seat == SEAT_LEAVING;
	CHECK_EQ(ledger_lock(board->ledger, tine_after(GUARD_MS)), 0);
	desk_mend(board->ledger, 0, (tine_exit){ .code = -1, .signal = SIGKILL }, false);
	ledger_unlock(board->ledger);
	while ((n = desk_take(desk, DESK_JOBS, true, &first)) > 0) {
		atomic_store(&desk->at, at_of(first + n, done_of(desk->at) + n, false));
		again += n;
	}
	for (int i = 0; i < DESK_JOBS; i++)
		failed += board->ledger->map.status[i] == -TINE_ECRASH;
	if (board->finis && (failed || again != DESK_JOBS - 4))
		test_fail(__FILE__, __LINE__, "step %ld: %d failed, %u again", step,
			  failed, again);
	CHECK_EQ(ledger_done(board->ledger), DESK_JOBS);
	deal_anew();
}

TEST_LIMIT(a_worker_killed_at_every_step, 240)
{
	const struct steps steps = { NULL, works, nothing_fails_in_fini };

	make_desks(1, 4);
	CHECK(test_kill_some_steps(&steps, NULL, 4) > 300);
	if (test_every_step())
		CHECK(board->in_fini > 20);
	unmake_desks();
}

/*
 * A worker is stopped at every step of its last job and of its .fini, and others do what
 * lies at its desk, but for the job that it is in.
 */
static void others_do_the_rest(void *arg)
{
	struct ledger *ledger = board->ledger;
	struct pool_desk *desk = &ledger->desks[0];
	uint32_t n, first;

	(void)arg;
	if (atomic_load(&desk->seat) == SEAT_LEAVING)
		CHECK_EQ(job_of(desk), 0);
	while (desk_steal(ledger, 1, 1))
		while ((n = desk_take(&ledger->desks[1], DESK_JOBS, true, &first)) > 0)
			atomic_store(&ledger->desks[1].at,
				     at_of(first + n, done_of(ledger->desks[1].at) + n,
					   false));
	if (atomic_load(&desk->seat) == SEAT_LEAVING)
		CHECK_EQ(ledger_done(ledger), DESK_JOBS);
	/* It may have been left without a job that would be its last. */
	atomic_store(&ledger->parting, 1);
	atomic_fetch_add(&ledger->turn, 1);
	ledger_wake_all(ledger);
}

static void beside_it(void *arg, long step)
{
	(void)step;
	test_call_beside(others_do_the_rest, arg);
}

static void all_is_done(void *arg, long step)
{
	(void)arg;
	if (board->finis != 1 || ledger_done(board->ledger) > DESK_JOBS)
		test_fail(__FILE__, __LINE__, "step %ld: %d, %d done", step, board->finis,
			  (int)ledger_done(board->ledger));
	board->in_fini++;
	deal_anew();
}

TEST_LIMIT(a_worker_stopped_at_every_step, 240)
{
	const struct stops stopped = { NULL, works, beside_it, all_is_done, false };

	/* All that is its own: nothing is left to take up. */
	make_desks(2, 1);
	CHECK(test_stop_some_steps(&stopped, NULL, 8) > 100);
	CHECK(board->in_fini > 0);
	unmake_desks();
}

static tine_pool *stepped;

static void makes_one(void *arg)
{
	(void)arg;
	setpgid(0, 0);
	stepped = make(&(tine_pool_opts){ .workers = 2, .fini = ends });
}

static void frees_it(void *arg)
{
	(void)arg;
	tine_pool_free(stepped);
}

static void nobody_is_left(void *arg, long step)
{
	(void)arg;
	(void)step;
	await_nobody();
	CHECK(board->finis <= 2);
	board->in_fini += board->finis;
	memset(board->workers, 0, sizeof(board->workers));
	board->inits = board->finis = 0;
}

TEST_LIMIT(an_owner_killed_at_every_step_of_free, 240)
{
	const struct steps steps = { makes_one, frees_it, nobody_is_left };

	board = tine_shared_new(1, sizeof(*board));
	CHECK(test_kill_some_steps(&steps, NULL, 64) > 100);
	/* The last has come to its end. */
	CHECK(board->in_fini >= 2);
	_exit(0);
}

/* The nursery, from its first step on; the first worker to begin ends the pool. */
static int begins_the_end(void *arg)
{
	begins(arg);
	atomic_store(&board->ledger->parting, 1);
	kill(getppid(), SIGCHLD);
	return 0;
}

static int ends_of_line[2];

static void is_a_nursery(void *arg)
{
	(void)arg;
	nursery_crew.main(board->ledger, ends_of_line[1]);
}

static void none_outlives_it(void *arg, long step)
{
	struct ledger *ledger = board->ledger;

	nobody_is_left(arg, step);
	for (unsigned id = 0; id < ledger->workers; id++) {
		desk_mend(ledger, id, (tine_exit){ .code = -1, .signal = SIGKILL },
			  false);
		atomic_store(&ledger->desks[id].pid, 0);
		atomic_store(&ledger->desks[id].seat, SEAT_EMPTY);
	}
	atomic_store(&ledger->parting, 0);
}

TEST_LIMIT(a_nursery_killed_at_every_step, 240)
{
	const struct steps steps = { NULL, is_a_nursery, none_outlives_it };

	board = tine_shared_new(1, sizeof(*board));
	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends_of_line), 0);
	board->ledger = tine_shared_new(1, sizeof(struct ledger) +
						   2 * sizeof(struct pool_desk));
	board->ledger->workers = 2;
	board->ledger->init = begins_the_end;
	board->ledger->fini = ends;
	board->ledger->fini_ms = 1000;
	board->ledger->init_arg = board;
	CHECK(test_kill_some_steps(&steps, NULL, 64) > 100);
	close(ends_of_line[0]);
	close(ends_of_line[1]);
	tine_shared_free(board->ledger);
	tine_shared_free(board);
}
