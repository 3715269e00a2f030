/* SPDX-License-Identifier: MIT */
/*
 * Death of workers, of the nursery and of the caller: at random, and at every
 * instruction.
 */
#include "ledger.h"
#include "shared.h"
#include "step.h"
#include "worker.h"

#include <dirent.h>
#include <fcntl.h>

/* ---- a worker dies at every instruction -------------------------------------------- */

enum { JOBS = 3, DESKS = 2 };

struct board {
	struct ledger *ledger;
	struct map map;
	_Atomic int marks[JOBS];
	int status[JOBS];
	long crashes;
};

static int mark(const void *in, void *out)
{
	(void)out;
	atomic_fetch_add(*(_Atomic int *const *)in, 1);
	return 0;
}

static void deal(struct board *board)
{
	for (int i = 0; i < JOBS; i++) {
		atomic_store(&board->marks[i], 0);
		board->status[i] = 1;
	}
	ledger_deal(board->ledger, &board->map, JOBS);
}

/* Does the job at its desk, steals one of the two at the other, and retires. */
static void works(void *arg)
{
	struct board *board = arg;

	worker_main(board->ledger, 0);
}

/* What the nursery does, and then what another worker would. */
static void nothing_is_lost(void *arg, long step)
{
	struct board *board = arg;
	struct ledger *ledger = board->ledger;
	int crashed = 0;

	ledger_lock(ledger);
	desk_mend(ledger, 0);
	ledger_unlock(ledger);
	for (int desk = 0; desk < DESKS; desk++)
		for (uint32_t n, first;
		     (n = desk_take(&ledger->desks[desk], 1, &first)) > 0;) {
			CHECK_EQ(n, 1);
			CHECK_EQ(board->status[first], 1);
			board->status[first] = mark(&((void **)board->map.in)[first],
						    NULL);
			atomic_store(&ledger->desks[desk].at,
				     at_of(first + 1, done_of(ledger->desks[desk].at) + 1,
					   false));
		}
	if (ledger_done(ledger) != JOBS)
		test_fail(__FILE__, __LINE__, "step %ld: %d jobs done", step,
			  (int)ledger_done(ledger));
	for (int i = 0; i < JOBS; i++) {
		crashed += board->status[i] == -TINE_ECRASH;
		if (board->status[i] == 0 && board->marks[i] != 1)
			test_fail(__FILE__, __LINE__,
				  "step %ld: job %d was done %d times", step, i,
				  board->marks[i]);
		if (board->status[i] != 0 && board->status[i] != -TINE_ECRASH)
			test_fail(__FILE__, __LINE__, "step %ld: job %d has status %d",
				  step, i, board->status[i]);
	}
	CHECK(crashed <= 1);
	board->crashes += crashed;
	deal(board);
}

TEST_LIMIT(a_worker_killed_at_every_step, 240)
{
	const struct steps steps = { NULL, works, nothing_is_lost };
	struct board *board = tine_shared_new(1, sizeof(*board));
	_Atomic int **in = tine_shared_new(JOBS, sizeof(*in));
	long n;

	board->ledger = tine_shared_new(1, sizeof(struct ledger) +
						   DESKS * sizeof(struct desk));
	board->ledger->workers = DESKS;
	board->ledger->jobs_per_worker = 2;
	for (int i = 0; i < JOBS; i++)
		in[i] = &board->marks[i];
	board->map = (struct map){ .fn = mark,
				   .in = (char *)in,
				   .status = board->status,
				   .in_size = sizeof(*in),
				   .chunk = 1 };
	deal(board);
	n = test_kill_each_step(&steps, board);
	printf("# %ld steps, %ld deaths in a job\n", n, board->crashes);
	fflush(stdout);
	if (!getenv("TEST_SCALE"))
		CHECK(n > 300 && board->crashes > 20);
	tine_shared_free(in);
	tine_shared_free(board->ledger);
	tine_shared_free(board);
}

/* ---- whole pools, at random -------------------------------------------------------- */

static unsigned random_state;

static unsigned random_below(unsigned n)
{
	return rand_r(&random_state) % n;
}

/* The processes of a group, but the caller: at most n of them. */
static int group_members(pid_t group, pid_t *out, int n)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int count = 0;

	CHECK(dir);
	while ((entry = readdir(dir)) && count < n) {
		pid_t pid = atoi(entry->d_name);

		if (pid > 0 && pid != getpid() && getpgid(pid) == group &&
		    test_alive(pid))
			out[count++] = pid;
	}
	closedir(dir);
	return count;
}

static bool has_name(pid_t pid, const char *name)
{
	char path[64], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, text, sizeof(text) - 1) < 0)
		*text = '\0';
	close(fd);
	return strncmp(text, name, strlen(name)) == 0;
}

enum { MANY = 100000 };

struct tally {
	_Atomic uint32_t stop, kills;
	_Atomic unsigned char counts[MANY];
	int status[MANY];
};

static int count(const void *in, void *out)
{
	(void)out;
	atomic_fetch_add(*(_Atomic unsigned char *const *)in, 1);
	return 0;
}

/* Kills one process of that name after another, until told to stop. */
static void killer(struct tally *tally, const char *name, unsigned pause_us)
{
	pid_t pids[32];

	while (!atomic_load(&tally->stop)) {
		int n = group_members(getpgrp(), pids, 32),
		    chosen = n ? random_below(n) : 0;

		test_sleep_us(random_below(pause_us));
		if (n > 0 && pids[chosen] != getppid() && has_name(pids[chosen], name) &&
		    kill(pids[chosen], SIGKILL) == 0)
			atomic_fetch_add(&tally->kills, 1);
	}
	_exit(0);
}

static void check_tally(struct tally *tally, long *crashed)
{
	for (int i = 0; i < MANY; i++) {
		if (tally->status[i] == -TINE_ECRASH) {
			++*crashed;
			CHECK(tally->counts[i] <= 1);
		} else {
			CHECK_EQ(tally->status[i], 0);
			CHECK_EQ(tally->counts[i], 1);
		}
	}
}

static void kill_during_maps(const char *name, long most_kills, unsigned pause_us)
{
	struct tally *tally = tine_shared_new(1, sizeof(*tally));
	_Atomic unsigned char **in = tine_shared_new(MANY, sizeof(*in));
	tine_task task = { "count", count, sizeof(*in), 0, 0 };
	tine_map_opts opts = { .status = tally->status };
	tine_pool_opts pool_opts = { .workers = 4 };
	long crashed = 0, maps = 0;
	tine_pool *pool;
	pid_t pid;

	random_state = (unsigned)test_seed();
	for (int i = 0; i < MANY; i++)
		in[i] = &tally->counts[i];
	CHECK_EQ(tine_pool_new(&pool, &pool_opts), 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		killer(tally, name, pause_us);
	while (atomic_load(&tally->kills) < most_kills) {
		int err;

		memset((void *)tally->counts, 0, sizeof(tally->counts));
		opts.chunk = maps++ % 3;
		err = tine_pool_map(pool, &task, in, NULL, MANY, &opts, TINE_FOREVER);
		CHECK(err == 0 || err == -TINE_ECRASH);
		check_tally(tally, &crashed);
	}
	atomic_store(&tally->stop, 1);
	CHECK_EQ(test_reap(pid), 0);
	printf("# %u kills in %ld maps of %d jobs: %ld jobs failed\n", tally->kills, maps,
	       MANY, crashed);
	fflush(stdout);
	CHECK(crashed <= 4 * (long)tally->kills);
	tine_pool_free(pool);
	tine_shared_free(in);
	tine_shared_free(tally);
}

TEST_LIMIT(workers_killed_during_maps, 240)
{
	kill_during_maps("tine-worker", test_scaled(500), 4000);
}

TEST_LIMIT(the_nursery_killed_during_maps, 240)
{
	kill_during_maps("tine-nursery", test_scaled(40), 20000);
}

/* ---- the caller -------------------------------------------------------------------- */

static int idles(const void *in, void *out)
{
	(void)in;
	(void)out;
	test_sleep_us(1000);
	return 0;
}

static int starts_a_process(void *arg)
{
	(void)arg;
	pause();
	return 0;
}

/* Pools, maps and processes without end. */
static void busy_caller(void *arg)
{
	tine_task tasks[2] = { { "count", count, 8, 0, 0 }, { "idles", idles, 8, 0, 0 } };
	static _Atomic unsigned char byte, *in[1000];

	(void)arg;
	setpgid(0, 0);
	for (int i = 0; i < 1000; i++)
		in[i] = &byte;
	for (;;) {
		tine_pool_opts opts = { .workers = 3 };
		tine_process *process;
		tine_pool *pool;

		CHECK_EQ(tine_process_start(&process, starts_a_process, NULL, NULL), 0);
		CHECK_EQ(tine_pool_new(&pool, &opts), 0);
		for (int i = 0; i < 4; i++)
			CHECK_EQ(tine_pool_map(pool, &tasks[i % 2], in, NULL,
					       i % 2 ? 10 : 1000, NULL, TINE_FOREVER),
				 0);
		tine_pool_free(pool);
		tine_process_free(process);
	}
}

TEST_LIMIT(the_caller_killed_at_random, 240)
{
	random_state = (unsigned)test_seed();
	for (long i = 0; i < test_scaled(500); i++) {
		pid_t left[32], pid = test_fork(busy_caller, NULL);
		int64_t deadline;

		/* Also while it makes its first. */
		test_sleep_us(random_below(30000));
		setpgid(pid, pid);
		kill(pid, SIGKILL);
		CHECK_EQ(test_reap(pid), -SIGKILL);
		deadline = tine_after(1000);
		while (group_members(pid, left, 32) > 0)
			if (tine_now() > deadline)
				test_fail(__FILE__, __LINE__, "death %ld left process %d",
					  i, left[0]);
	}
	/* What the dead had allocated is lost; do not look. */
	_exit(0);
}
