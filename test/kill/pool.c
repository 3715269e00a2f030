/* SPDX-License-Identifier: MIT */
/*
 * Death of workers, of the nursery and of the caller: at random, and at every
 * instruction.
 */
#include "memory/heap.h"
#include "pool/ledger.h"
#include "pool/worker.h"
#include "step.h"

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
	uint64_t numbers; /* of the tickets */
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
	CHECK_EQ(ledger_lock(board->ledger, tine_after(2000)), 0);
	ledger_deal(board->ledger, &board->map, JOBS);
	ledger_unlock(board->ledger);
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

	CHECK_EQ(ledger_lock(ledger, tine_after(2000)), 0);
	desk_mend(ledger, 0, (tine_exit){ .code = -1, .signal = SIGKILL }, false);
	ledger_unlock(ledger);
	for (unsigned desk = 0; desk < DESKS; desk++)
		for (uint32_t n, first;
		     (n = desk_take(&ledger->desks[desk], 1, false, &first)) > 0 ||
		     (desk_steal(ledger, desk, 1) &&
		      (n = desk_take(&ledger->desks[desk], 1, false, &first)) > 0);) {
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

static void kill_in_jobs(bool in_order)
{
	const struct steps steps = { NULL, works, nothing_is_lost };
	struct board *board = tine_shared_new(1, sizeof(*board));
	_Atomic int **in = tine_shared_new(JOBS, sizeof(*in));
	long n;

	board->ledger = tine_shared_new(1, sizeof(struct ledger) +
						   DESKS * sizeof(struct pool_desk));
	board->ledger->workers = DESKS;
	board->ledger->jobs_per_worker = 2;
	for (int i = 0; i < JOBS; i++)
		in[i] = &board->marks[i];
	board->map = (struct map){ .fn = mark,
				   .in = (char *)in,
				   .status = board->status,
				   .in_size = sizeof(*in),
				   .chunk = 1,
				   .in_order = in_order };
	deal(board);
	n = test_kill_each_step(&steps, board);
	printf("# %ld deaths in a job\n", board->crashes);
	fflush(stdout);
	CHECK(n > 300);
	if (test_every_step())
		CHECK(board->crashes > 20);
	tine_shared_free(in);
	tine_shared_free(board->ledger);
	tine_shared_free(board);
}

TEST_LIMIT(a_worker_killed_at_every_step, 240)
{
	kill_in_jobs(false);
}

/* It takes two of the three from the pile. */
TEST_LIMIT(a_worker_killed_at_every_step_in_order, 240)
{
	kill_in_jobs(true);
}

/* ---- a worker dies at every instruction of a search for the least hit -------------- */

static const _Atomic int *first_mark;

/* All but the first. */
static int hits(const void *in, void *out)
{
	mark(in, out);
	return *(_Atomic int *const *)in > first_mark;
}

/* Another worker has been faster, with the last. */
static void knows_a_hit(void *arg)
{
	struct board *board = arg;

	atomic_store(&board->ledger->found, JOBS);
}

/* What another worker would do; what is behind the hit is dropped. */
static void search_the_rest(struct board *board)
{
	struct ledger *ledger = board->ledger;
	uint32_t n, first;

	for (unsigned id = 0; id < DESKS; id++) {
		struct pool_desk *desk = &ledger->desks[id];

		while ((n = desk_take(desk, 1, false, &first)) > 0 ||
		       (desk_steal(ledger, id, 1) &&
			(n = desk_take(desk, 1, false, &first)) > 0)) {
			uint64_t found = atomic_load(&ledger->found);
			int status = -ECANCELED;

			CHECK_EQ(n, 1);
			if (!found || first < found)
				status = hits((void **)board->map.in + first, NULL);
			if (status == 1)
				ledger_note_hit(ledger, first);
			board->status[first] = status;
			atomic_store(&desk->at,
				     at_of(first + 1, done_of(desk->at) + 1, false));
		}
	}
}

static void the_least_is_found(void *arg, long step)
{
	struct board *board = arg;
	struct ledger *ledger = board->ledger;
	uint64_t found;

	CHECK_EQ(ledger_lock(ledger, tine_after(2000)), 0);
	desk_mend(ledger, 0, (tine_exit){ .code = -1, .signal = SIGKILL }, false);
	ledger_unlock(ledger);
	search_the_rest(board);
	CHECK_EQ(ledger_done(ledger), JOBS);
	CHECK_EQ(ledger_lock(ledger, tine_after(2000)), 0);
	ledger_settle_search(ledger);
	ledger_unlock(ledger);
	found = atomic_load(&ledger->found);
	if (found < 2 || !atomic_load(&ledger->settled))
		test_fail(__FILE__, __LINE__, "step %ld: found %d", step, (int)found);
	/* Nothing below was dropped, nor is a hit. */
	for (int i = 0; i < (int)found - 1; i++)
		if (board->status[i] != 0 && board->status[i] != -TINE_ECRASH)
			test_fail(__FILE__, __LINE__, "step %ld: job %d has status %d",
				  step, i, board->status[i]);
	board->crashes += board->status[1] == -TINE_ECRASH;
	atomic_store(&ledger->settled, 0);
	atomic_store(&ledger->cancelled, 0);
	deal(board);
}

TEST_LIMIT(a_worker_killed_at_every_step_of_a_search, 240)
{
	const struct steps steps = { knows_a_hit, works, the_least_is_found };
	struct board *board = tine_shared_new(1, sizeof(*board));
	_Atomic int **in = tine_shared_new(JOBS, sizeof(*in));

	board->ledger = tine_shared_new(1, sizeof(struct ledger) +
						   DESKS * sizeof(struct pool_desk));
	board->ledger->workers = DESKS;
	board->ledger->jobs_per_worker = 2;
	first_mark = board->marks;
	for (int i = 0; i < JOBS; i++)
		in[i] = &board->marks[i];
	board->map = (struct map){ .fn = hits,
				   .in = (char *)in,
				   .status = board->status,
				   .in_size = sizeof(*in),
				   .chunk = 1,
				   .search = true,
				   .least = true,
				   .in_order = true };
	deal(board);
	CHECK(test_kill_some_steps(&steps, board, 4) > 300);
	if (test_every_step())
		CHECK(board->crashes > 0);
	tine_shared_free(in);
	tine_shared_free(board->ledger);
	tine_shared_free(board);
}

/* ---- a worker dies at every instruction of a ticket -------------------------------- */

/* It does the older of the two that wait, and retires. */
static void does_one(void *arg)
{
	struct board *board = arg;

	worker_main(board->ledger, 0);
}

static void fill_tickets(struct board *board)
{
	struct ticket *tickets = board->ledger->tickets;

	for (int i = 0; i < 2; i++) {
		atomic_store(&board->marks[i], 0);
		atomic_store(&tickets[i].number, board->numbers++);
		tickets[i].fn = mark;
		tickets[i].data.mem = &((void **)board->map.in)[i];
		tickets[i].attempts = 0;
		tickets[i].retries = board->ledger->retries;
		tickets[i].status = 1;
		tickets[i].how = (tine_exit){ 0 };
		atomic_store(&tickets[i].state, ticket_word(WAITING, 0));
	}
}

static void mend_and_finish(struct ledger *ledger)
{
	struct ticket *ticket;

	CHECK_EQ(ledger_lock(ledger, tine_after(2000)), 0);
	desk_mend(ledger, 0, (tine_exit){ .code = -1, .signal = SIGKILL }, false);
	ledger_unlock(ledger);
	CHECK_EQ(job_of(&ledger->desks[0]), 0);
	while ((ticket = ticket_take(ledger, 1)))
		ticket_finish(ledger, ticket, ticket->fn(ticket->data.mem, NULL));
}

static void each_ticket_once(void *arg, long step)
{
	struct board *board = arg;
	struct ticket *tickets = board->ledger->tickets;
	int retries = (int)board->ledger->retries;

	mend_and_finish(board->ledger);
	for (int i = 0; i < 2; i++) {
		int marks = board->marks[i], status = tickets[i].status;
		bool crashed = status == -TINE_ECRASH;

		if (ticket_state(tickets[i].state) != DONE)
			test_fail(__FILE__, __LINE__,
				  "step %ld: ticket %d is in state %d", step, i,
				  (int)tickets[i].state);
		if (status != 0 && !(crashed && retries == 0 && i == 0))
			test_fail(__FILE__, __LINE__, "step %ld: ticket %d has status %d",
				  step, i, status);
		/* Tried again, it may be done twice, once half; else not even that. */
		if (crashed ? marks > 1
			    : marks < 1 || marks > 1 + (int)tickets[i].attempts)
			test_fail(__FILE__, __LINE__,
				  "step %ld: ticket %d was done %d times", step, i,
				  marks);
		CHECK_EQ(tickets[i].how.signal, crashed ? SIGKILL : 0);
		CHECK(tickets[i].attempts <= board->ledger->retries &&
		      tickets[i].attempts <= 1);
		board->crashes += crashed || tickets[i].attempts > 0;
	}
	fill_tickets(board);
}

static void kill_in_tickets(unsigned retries)
{
	const struct steps steps = { NULL, does_one, each_ticket_once };
	struct board *board = tine_shared_new(1, sizeof(*board));
	_Atomic int **in = tine_shared_new(JOBS, sizeof(*in));
	struct ledger *ledger = tine_shared_new(
		1, sizeof(*ledger) + DESKS * sizeof(struct pool_desk));
	long n;

	ledger->workers = DESKS;
	ledger->jobs_per_worker = 1;
	ledger->retries = retries;
	atomic_store(&ledger->tickets, tine_shared_new(3 * DESKS, sizeof(struct ticket)));
	for (int i = 0; i < JOBS; i++)
		in[i] = &board->marks[i];
	board->ledger = ledger;
	board->map.in = (char *)in;
	board->numbers = 1;
	fill_tickets(board);
	n = test_kill_each_step(&steps, board);
	printf("# %ld deaths in a job\n", board->crashes);
	fflush(stdout);
	CHECK(n > 100);
	if (test_every_step())
		CHECK(board->crashes > 10 && board->crashes < n - 50);
	tine_shared_free(ledger->tickets);
	tine_shared_free(in);
	tine_shared_free(ledger);
	tine_shared_free(board);
}

TEST_LIMIT(a_worker_killed_at_every_step_of_a_ticket, 240)
{
	kill_in_tickets(0);
}

TEST_LIMIT(and_its_ticket_is_tried_again, 240)
{
	kill_in_tickets(1);
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
	tine_task task = { .name = "count", .fn = count, .in_size = sizeof(*in) };
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
	kill_during_maps("tine-worker", test_sampled(500), 4000);
}

TEST_LIMIT(the_nursery_killed_during_maps, 240)
{
	kill_during_maps("tine-nursery", test_sampled(40), 20000);
}

/* A caller that has touched so much that forks and ends take milliseconds. */
static char *grow(void)
{
	const size_t size = (size_t)96 << 20;
	char *ballast = malloc(size);

	CHECK(ballast);
	for (size_t at = 0; at < size; at += 4096)
		((volatile char *)ballast)[at] = 1;
	return ballast;
}

TEST_LIMIT(all_of_a_large_pool_killed_during_maps, 240)
{
	char *ballast = grow();

	kill_during_maps("tine-worker", test_sampled(25), 150000);
	kill_during_maps("tine-", test_sampled(40), 60000);
	free(ballast);
}

/* ---- the other calls, at random ---------------------------------------------------- */

/* A process of the test that kills one of that name after another. */
static pid_t start_killer(struct tally *tally, const char *name, unsigned pause_us)
{
	pid_t pid;

	random_state = (unsigned)test_seed();
	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		killer(tally, name, pause_us);
	return pid;
}

static void stop_killer(struct tally *tally, pid_t pid)
{
	atomic_store(&tally->stop, 1);
	CHECK_EQ(test_reap(pid), 0);
}

static int triple(const void *in, void *out)
{
	uint64_t n = *(const uint64_t *)in;

	/* Some last long enough to be hit. */
	if (n % 64 == 0)
		test_sleep_us(200);
	*(uint64_t *)out = 3 * n;
	return 0;
}

/* How many failed. */
static uint64_t submit_all(tine_pool *pool, uint64_t n, struct tally *tally, bool ordered)
{
	tine_task task = TINE_TASK(triple, uint64_t, uint64_t);
	uint64_t submitted = 0, failed = 0;

	memset((void *)tally->counts, 0, sizeof(tally->counts));
	for (uint64_t got = 0; got < n; got++) {
		tine_done done;
		uint64_t out = 0;

		while (submitted < n && submitted < got + 7 + got % 20) {
			CHECK_EQ(tine_pool_submit(pool, &task, &submitted, submitted,
						  TINE_FOREVER),
				 0);
			submitted++;
		}
		CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done, TINE_FOREVER), 1);
		CHECK(done.tag < n && (!ordered || done.tag == got));
		CHECK_EQ(atomic_fetch_add(&tally->counts[done.tag], 1), 0);
		CHECK_EQ(done.how.signal, done.status ? SIGKILL : 0);
		if (done.status == 0)
			CHECK_EQ(out, 3 * done.tag);
		else
			CHECK_EQ(done.status, -TINE_ECRASH);
		failed += done.status != 0;
	}
	return failed;
}

static void submit_under_fire(const char *name, long most_kills, unsigned pause_us,
			      unsigned retries, bool ordered)
{
	const uint64_t n = (uint64_t)test_sampled(20000);
	tine_pool_opts opts = { .workers = 4, .retries = retries, .ordered = ordered };
	struct tally *tally = tine_shared_new(1, sizeof(*tally));
	uint64_t failed = 0, rounds = 0;
	tine_pool *pool;
	pid_t pid;

	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	pid = start_killer(tally, name, pause_us);
	for (; atomic_load(&tally->kills) < most_kills; rounds++)
		failed += submit_all(pool, n, tally, ordered);
	stop_killer(tally, pid);
	printf("# %u kills in %" PRIu64 " jobs: %" PRIu64 " failed\n", tally->kills,
	       n * rounds, failed);
	fflush(stdout);
	CHECK(failed <= 4 * (uint64_t)tally->kills);
	CHECK(retries == 0 || failed == 0);
	tine_pool_free(pool);
	tine_shared_free(tally);
}

TEST_LIMIT(workers_killed_between_submit_and_next, 240)
{
	submit_under_fire("tine-worker", test_sampled(200), 2000, 0, false);
	submit_under_fire("tine-worker", test_sampled(200), 2000, 0, true);
}

TEST_LIMIT(all_of_a_large_pool_killed_between_submit_and_next, 240)
{
	char *ballast = grow();

	submit_under_fire("tine-worker", test_sampled(30), 150000, 0, false);
	submit_under_fire("tine-", test_sampled(30), 100000, 100, true);
	free(ballast);
}

TEST_LIMIT(and_with_retries_all_succeed, 240)
{
	submit_under_fire("tine-worker", test_sampled(200), 2000, 100, false);
	submit_under_fire("tine-worker", test_sampled(200), 2000, 100, true);
}

TEST_LIMIT(the_nursery_killed_between_submit_and_next, 240)
{
	submit_under_fire("tine-nursery", test_sampled(6), 20000, 0, false);
	submit_under_fire("tine-nursery", test_sampled(6), 20000, 100, true);
}

enum { FEW = 5000 };

/* The greatest is the one that is looked for. */
static int is_last(const void *in, void *out)
{
	uint64_t n = *(const uint64_t *)in;

	*(uint64_t *)out = 3 * n;
	return n == FEW - 1;
}

static void search_under_fire(unsigned retries)
{
	tine_task task = TINE_TASK(is_last, uint64_t, uint64_t);
	struct tally *tally = tine_shared_new(1, sizeof(*tally));
	tine_pool_opts opts = { .workers = 4 };
	uint64_t *in = malloc(FEW * sizeof(*in)), *out = malloc(FEW * sizeof(*out));
	long searches = 0, kills = test_sampled(200);
	tine_pool *pool;
	pid_t pid;

	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	pid = start_killer(tally, "tine-worker", 4000);
	while (atomic_load(&tally->kills) < kills) {
		size_t at = (size_t)searches++ * 7919 % FEW, index = FEW;
		tine_failure failure;
		tine_map_opts map_opts = { .retries = retries,
					   .failure = &failure,
					   .status = tally->status,
					   .chunk = searches % 3 };
		int err;

		for (size_t i = 0; i < FEW; i++)
			in[i] = i;
		in[at] = FEW - 1;
		in[FEW - 1] = at == FEW - 1 ? FEW - 1 : at;
		err = tine_pool_find(pool, &task, in, out, FEW, &index, &map_opts,
				     TINE_FOREVER);
		if (err == -TINE_ECRASH) {
			/* The one itself died, or others did and it was not reached. */
			CHECK(retries == 0 && index == FEW);
			CHECK_EQ(tally->status[at], -TINE_ECRASH);
			CHECK_EQ(failure.status, -TINE_ECRASH);
			continue;
		}
		CHECK_EQ(err, 1);
		CHECK_EQ(index, at);
		for (size_t i = 0; i < FEW; i++)
			if (tally->status[i] == 0 || i == at)
				CHECK_EQ(out[i], 3 * in[i]);
			else if (tally->status[i] != -ECANCELED)
				/* Also one that was under way at the end. */
				CHECK_EQ(tally->status[i], -TINE_ECRASH);
	}
	stop_killer(tally, pid);
	printf("# %u kills in %ld searches\n", tally->kills, searches);
	fflush(stdout);
	tine_pool_free(pool);
	tine_shared_free(tally);
	free(in);
	free(out);
}

TEST_LIMIT(workers_killed_during_searches, 240)
{
	search_under_fire(0);
	search_under_fire(100);
}

/* Each is done, at least once, and as often more as workers died. */
TEST_LIMIT(maps_with_retries_succeed, 240)
{
	struct tally *tally = tine_shared_new(1, sizeof(*tally));
	_Atomic unsigned char **in = tine_shared_new(MANY, sizeof(*in));
	tine_task task = { .name = "count", .fn = count, .in_size = sizeof(*in) };
	tine_pool_opts pool_opts = { .workers = 4 };
	long maps = 0, kills = test_sampled(150);
	tine_pool *pool;
	pid_t pid;

	for (int i = 0; i < MANY; i++)
		in[i] = &tally->counts[i];
	CHECK_EQ(tine_pool_new(&pool, &pool_opts), 0);
	pid = start_killer(tally, "tine-worker", 4000);
	while (atomic_load(&tally->kills) < kills) {
		tine_failure failure;
		tine_map_opts opts = { .status = maps % 2 ? tally->status : NULL,
				       .retries = 100,
				       .failure = &failure,
				       .chunk = maps % 3 };
		size_t twice = 0;

		maps++;
		memset((void *)tally->counts, 0, sizeof(tally->counts));
		memset(tally->status, 0, sizeof(tally->status));
		CHECK_EQ(tine_pool_map(pool, &task, in, NULL, MANY, &opts, TINE_FOREVER),
			 0);
		for (int i = 0; i < MANY; i++) {
			CHECK(tally->counts[i] >= 1);
			CHECK_EQ(tally->status[i], 0);
			twice += tally->counts[i] - 1;
		}
		CHECK_EQ(failure.index, MANY);
		CHECK(twice <= failure.deaths);
	}
	stop_killer(tally, pid);
	printf("# %u kills in %ld maps of %d jobs\n", tally->kills, maps, MANY);
	fflush(stdout);
	tine_pool_free(pool);
	tine_shared_free(in);
	tine_shared_free(tally);
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
	tine_task tasks[2] = { { .name = "count", .fn = count, .in_size = 8 },
			       { .name = "idles", .fn = idles, .in_size = 8 } };
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

static void kill_callers(void (*caller)(void *), long most, unsigned pause_us)
{
	random_state = (unsigned)test_seed();
	for (long i = 0; i < most; i++) {
		pid_t left[32], pid = test_fork(caller, NULL);
		int64_t deadline;

		/* Also while it makes its first. */
		test_sleep_us(random_below(pause_us));
		setpgid(pid, pid);
		test_kill(pid);
		deadline = tine_after(test_patience(20000));
		while (group_members(pid, left, 32) > 0)
			if (tine_now() > deadline)
				test_fail(__FILE__, __LINE__, "death %ld left process %d",
					  i, left[0]);
	}
}

/* Its workers die meanwhile, and are replaced. */
static void large_caller(void *arg)
{
	tine_task task = { .name = "idles", .fn = idles, .in_size = 8 };
	tine_pool_opts opts = { .workers = 2 };
	uint64_t in[10] = { 0 };
	tine_pool *pool;

	(void)arg;
	setpgid(0, 0);
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	for (;;) {
		pid_t pids[8];
		int n = group_members(getpgrp(), pids, 8);

		for (int i = 0; i < n; i++)
			if (has_name(pids[i], "tine-worker")) {
				kill(pids[i], SIGKILL);
				break;
			}
		(void)!tine_pool_map(pool, &task, in, NULL, 10, NULL, TINE_FOREVER);
		test_sleep_us(80000);
	}
}

TEST_LIMIT(the_caller_killed_at_random, 240)
{
	kill_callers(busy_caller, test_sampled(250), 30000);
	/* What the dead had allocated is lost; do not look. */
	_exit(0);
}

TEST_LIMIT(a_large_caller_killed_at_random, 240)
{
	grow();
	kill_callers(large_caller, test_sampled(30), 300000);
	/* What the dead had allocated is lost; do not look. */
	_exit(0);
}
