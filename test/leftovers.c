/* SPDX-License-Identifier: MIT */
/* What a job starts ends with its worker, with the pool and with the caller. */
#include "naps.h"

#include <fcntl.h>
#include <sys/mman.h>

static int run_nap(const void *in, void *out)
{
	char command[512];

	(void)out;
	snprintf(command, sizeof(command),
		 "(setsid nohup sleep %s >/dev/null 2>&1 &); (sleep %s &); %s sleep %s",
		 nap, nap, *(const int *)in ? "exec" : "exit 0;", nap);
	return system(command);
}

static const tine_task nap_task = TINE_TASK_IN(run_nap, int);

static tine_pool *make_pool(unsigned workers)
{
	tine_pool *pool;

	name_nap();
	CHECK_EQ(tine_pool_new(&pool, &(tine_pool_opts){ .workers = workers }), 0);
	return pool;
}

TEST(a_time_limit_ends_what_a_job_has_started)
{
	tine_map_opts opts = { .job_ms = 500 };
	tine_pool *pool = make_pool(2);
	int waits[] = { 1, 1 };

	CHECK(tine_pool_map(pool, &nap_task, waits, NULL, 2, &opts, tine_after(20000)) <
	      0);
	await_napping(0);
	tine_pool_free(pool);
}

TEST(what_a_job_leaves_ends_with_the_pool)
{
	tine_pool *pool = make_pool(2);
	int waits[] = { 0, 0 };

	CHECK_EQ(tine_pool_map(pool, &nap_task, waits, NULL, 2, NULL, tine_after(20000)),
		 0);
	await_napping(4);
	tine_pool_free(pool);
	await_napping(0);
}

static int crash_or_leave(const void *in, void *out)
{
	run_nap(&(int){ 0 }, out);
	if (*(const int *)in)
		kill(getpid(), SIGKILL);
	return 0;
}

TEST(a_death_ends_what_that_worker_left_alone)
{
	static const tine_task task = TINE_TASK_IN(crash_or_leave, int);
	tine_pool *pool = make_pool(2);
	int crashes = 0;

	CHECK_EQ(tine_pool_map(pool, &task, &crashes, NULL, 1, NULL, tine_after(20000)),
		 0);
	await_napping(2);
	crashes = 1;
	CHECK_EQ(tine_pool_map(pool, &task, &crashes, NULL, 1, NULL, tine_after(20000)),
		 -TINE_ECRASH);
	/* Of the other worker, if that was another. */
	for (int64_t end = tine_after(20000); napping() != 2 && napping() != 0;)
		CHECK(tine_now() < end);
	tine_pool_free(pool);
	await_napping(0);
}

/* One ignores SIGTERM, one is stopped, and 500 fork. */
static const char *const stubborn[] = {
	"trap '' TERM HUP INT; (trap '' TERM; exec sleep %s) & exec sleep %s",
	"(sh -c 'kill -STOP $$; exit' %s &); (sleep %s & kill -STOP $!); wait; sleep %s",
};

static int be_stubborn(const void *in, void *out)
{
	char command[512];

	(void)out;
	snprintf(command, sizeof(command), stubborn[*(const int *)in], nap, nap, nap);
	return system(command);
}

TEST(a_time_limit_ends_what_does_not_listen)
{
	static const tine_task task = TINE_TASK_IN(be_stubborn, int);
	tine_map_opts opts = { .job_ms = 500 };
	tine_pool *pool = make_pool(2);
	int ways[] = { 0, 1 };

	CHECK(tine_pool_map(pool, &task, ways, NULL, 2, &opts, tine_after(20000)) < 0);
	await_napping(0);
	tine_pool_free(pool);
}

static int fork_many(const void *in, void *out)
{
	char command[512];

	(void)in;
	(void)out;
	snprintf(command, sizeof(command),
		 "i=0; while [ $i -lt 100 ]; do (setsid sh -c 'sleep %s & sleep %s & "
		 "sleep %s & sleep %s & wait' &); i=$((i + 1)); done; sleep %s",
		 nap, nap, nap, nap, nap);
	return system(command);
}

static void map_forks(void *arg)
{
	static const tine_task task = { .name = "forks", .fn = fork_many };
	tine_pool *pool;

	(void)arg;
	CHECK_EQ(tine_pool_new(&pool, &(tine_pool_opts){ .workers = 1 }), 0);
	(void)!tine_pool_map(pool, &task, NULL, NULL, 1, NULL, TINE_FOREVER);
}

TEST(five_hundred_processes_of_a_job)
{
	int64_t end = tine_after(60000);
	pid_t pid;

	name_nap();
	pid = test_fork(map_forks, NULL);
	while (napping() < 500)
		CHECK(tine_now() < end);
	test_kill(pid);
	await_napping(0);
	test_grows_no_further();
}

static void map_naps(void *arg)
{
	tine_pool *pool;
	int waits[] = { 1, 1 };

	(void)arg;
	CHECK_EQ(tine_pool_new(&pool, &(tine_pool_opts){ .workers = 2 }), 0);
	(void)!tine_pool_map(pool, &nap_task, waits, NULL, 2, NULL, TINE_FOREVER);
}

TEST(the_callers_death_ends_what_jobs_have_started)
{
	pid_t pid;

	name_nap();
	pid = test_fork(map_naps, NULL);
	await_napping(6);
	test_kill(pid);
	await_napping(0);
	/* The dead caller's pool, which is the family's. */
	test_grows_no_further();
}

static int spawn_and_crash(const void *in, void *out)
{
	const char *argv[] = { "sleep", nap, NULL };
	tine_process *process;

	(void)in;
	(void)out;
	CHECK_EQ(tine_process_spawn(&process, &(tine_command){ .argv = argv }, NULL), 0);
	await_napping(1);
	kill(getpid(), SIGKILL);
	return 0;
}

TEST(programs_that_a_job_has_spawned_end_with_its_worker)
{
	static const tine_task task = { .name = "spawn", .fn = spawn_and_crash };
	tine_pool *pool = make_pool(1);

	CHECK_EQ(tine_pool_map(pool, &task, NULL, NULL, 1, NULL, tine_after(20000)),
		 -TINE_ECRASH);
	await_napping(0);
	tine_pool_free(pool);
}

/* ---- a job that returns twice ------------------------------------------------------ */

static int return_twice(const void *in, void *out)
{
	pid_t pid = fork();

	if (pid == 0) {
		/* When the worker has gone on to others. */
		if (*(const int *)in % 2)
			test_sleep_us(2000);
		return -EIO;
	}
	*(long *)out = *(const int *)in * 2;
	return pid < 0 ? -EAGAIN : 0;
}

TEST(a_job_that_returns_twice_answers_once)
{
	static const tine_task task = TINE_TASK(return_twice, int, long);
	tine_pool *pool = make_pool(2);
	enum { JOBS = 100 };
	int in[JOBS];
	long out[JOBS];

	for (int i = 0; i < JOBS; i++)
		in[i] = i;
	for (int turn = 0; turn < 3; turn++) {
		memset(out, 0, sizeof(out));
		CHECK_EQ(tine_pool_map(pool, &task, in, out, JOBS, NULL,
				       tine_after(30000)),
			 0);
		for (int i = 0; i < JOBS; i++)
			CHECK_EQ(out[i], 2 * i);
	}
	tine_pool_free(pool);
}

/* ---- signals ----------------------------------------------------------------------- */

static int signals_of_program(const void *in, void *out)
{
	FILE *status = popen("grep SigIgn /proc/self/status", "r");
	unsigned long ignored = ~0ul;

	(void)in;
	if (!status || fscanf(status, "SigIgn: %lx", &ignored) != 1)
		return -EIO;
	pclose(status);
	*(unsigned long *)out = ignored;
	return 0;
}

TEST(what_a_job_executes_finds_signals_at_their_defaults)
{
	static const tine_task task = { .name = "signals",
					.fn = signals_of_program,
					.out_size = sizeof(unsigned long) };
	unsigned long ignored = 0, mask = 1ul << (SIGINT - 1) | 1ul << (SIGTERM - 1);
	tine_pool *pool;
	sigset_t set;

	signal(SIGTERM, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	pool = make_pool(1);
	CHECK_EQ(tine_pool_map(pool, &task, NULL, &ignored, 1, NULL, tine_after(20000)),
		 0);
	CHECK_EQ(ignored & mask, 0);
	tine_pool_free(pool);
}

static volatile sig_atomic_t handled;

static void handle(int signal)
{
	handled = signal;
}

static int sleep_a_little(const void *in, void *out)
{
	(void)in;
	(void)out;
	test_sleep_us(20000);
	return 0;
}

TEST(a_signal_for_the_group_is_the_callers_to_answer)
{
	static const tine_task task = { .name = "sleep", .fn = sleep_a_little };
	static const int signals[] = { SIGINT, SIGTERM };

	for (int i = 0; i < 2; i++) {
		tine_pool *pool;
		int status[20];
		pid_t pid;

		signal(signals[i], handle);
		handled = 0;
		pool = make_pool(2);
		pid = fork();
		if (pid == 0) {
			signal(signals[i], SIG_IGN);
			test_sleep_us(50000);
			kill(0, signals[i]);
			_exit(0);
		}
		CHECK_EQ(tine_pool_map(pool, &task, NULL, NULL, 20,
				       &(tine_map_opts){ .status = status },
				       tine_after(30000)),
			 0);
		CHECK_EQ(test_reap(pid), 0);
		CHECK_EQ(handled, signals[i]);
		for (int job = 0; job < 20; job++)
			CHECK_EQ(status[job], 0);
		tine_pool_free(pool);
	}
}
