/* SPDX-License-Identifier: MIT */
/* What is told of a job that crashed, and which worker a job is in. */
#include "test.h"

#include <setjmp.h>

static const tine_pool_opts one = { .workers = 1 };

static long depth(long n)
{
	volatile char frame[4096];

	frame[0] = (char)n;
	return n > 0 ? depth(n - 1) + frame[0] : 0;
}

enum { NOTHING, TOUCHES, RAISES, IS_KILLED, OVERFLOWS, HANDLES, DIES_IN_A_CHILD };

static sigjmp_buf back;

static void jumps(int signal)
{
	(void)signal;
	siglongjmp(back, 1);
}

static int crashes(const void *in, void *out)
{
	pid_t pid;
	int status;

	*(int *)out = 7;
	switch (*(const int *)in) {
	case TOUCHES:
		*(volatile int *)0x1230 = 1;
		break;
	case RAISES:
		raise(SIGSEGV);
		break;
	case IS_KILLED:
		raise(SIGKILL);
		break;
	case OVERFLOWS:
		depth(1 << 30);
		break;
	case HANDLES:
		signal(SIGSEGV, jumps);
		if (sigsetjmp(back, 1) == 0)
			*(volatile int *)0x1230 = 1;
		return 0;
	case DIES_IN_A_CHILD:
		pid = fork();
		if (pid == 0)
			*(volatile int *)0x4560 = 1;
		waitpid(pid, &status, 0);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
		raise(SIGKILL);
		break;
	}
	return 0;
}

static const tine_task task = TINE_TASK(crashes, int, int);

static tine_done run(tine_pool *pool, int what)
{
	tine_done done;
	int out;

	CHECK_EQ(tine_pool_submit(pool, &task, &what, 0, TINE_FOREVER), 0);
	CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done, TINE_FOREVER), 1);
	return done;
}

TEST(where_it_crashed)
{
	tine_pool *pool;
	tine_done done;

	CHECK_EQ(tine_pool_new(&pool, &one), 0);
	done = run(pool, TOUCHES);
	CHECK_EQ(done.status, -TINE_ECRASH);
	CHECK_EQ(done.how.signal, SIGSEGV);
	CHECK_EQ(done.how.address, 0x1230);
	/* What somebody sends has no address, nor does it have that of another. */
	done = run(pool, RAISES);
	CHECK_EQ(done.how.signal, SIGSEGV);
	CHECK_EQ(done.how.address, 0);
	done = run(pool, IS_KILLED);
	CHECK_EQ(done.how.signal, SIGKILL);
	CHECK_EQ(done.how.address, 0);
	done = run(pool, DIES_IN_A_CHILD);
	CHECK_EQ(done.how.signal, SIGKILL);
	CHECK_EQ(done.how.address, 0);
	CHECK_EQ(run(pool, HANDLES).status, 0);
	tine_pool_free(pool);
}

TEST(for_want_of_stack)
{
	tine_pool *pool;
	tine_done done;

	if (test_under_valgrind())
		test_skip("valgrind has a stack of its own");
	CHECK_EQ(tine_pool_new(&pool, &one), 0);
	done = run(pool, OVERFLOWS);
	CHECK_EQ(done.how.signal, SIGSEGV);
	CHECK(done.how.address != 0);
	tine_pool_free(pool);
}

TEST(in_a_map)
{
	static const int in[3] = { NOTHING, TOUCHES, NOTHING };
	tine_failure failure;
	tine_map_opts opts = { .failure = &failure };
	tine_pool *pool;
	int out[3];

	CHECK_EQ(tine_pool_new(&pool, &one), 0);
	CHECK_EQ(tine_pool_map(pool, &task, in, out, 3, &opts, TINE_FOREVER),
		 -TINE_ECRASH);
	CHECK_EQ(failure.index, 1);
	CHECK_EQ(failure.how.signal, SIGSEGV);
	CHECK_EQ(failure.how.address, 0x1230);
	tine_pool_free(pool);
}

TEST(the_ending_of_each_job)
{
	static const int in[4] = { NOTHING, TOUCHES, IS_KILLED, NOTHING };
	tine_ending endings[4];
	tine_map_opts opts = { .endings = endings };
	tine_pool *pool;
	int out[4];

	memset(endings, 1, sizeof(endings));
	CHECK_EQ(tine_pool_new(&pool, &one), 0);
	CHECK_EQ(tine_pool_map(pool, &task, in, out, 4, &opts, TINE_FOREVER),
		 -TINE_ECRASH);
	CHECK_EQ(endings[0].how.signal, 0);
	CHECK_EQ(endings[1].how.signal, SIGSEGV);
	CHECK_EQ(endings[1].how.address, 0x1230);
	CHECK_EQ(endings[2].how.signal, SIGKILL);
	CHECK_EQ(endings[2].how.address, 0);
	CHECK_EQ(endings[3].how.signal, 0);
	for (int i = 0; i < 4; i++)
		CHECK(!endings[i].cached && endings[i].limit == 0);
	CHECK_EQ(tine_pool_map(pool, &task, in, out, 4, &opts, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(endings[1].how.signal, 0);
	tine_pool_free(pool);
}

/* ---- which worker ------------------------------------------------------------------ */

enum { WORKERS = 3 };

static _Atomic int *met;

static int asks(const void *in, void *out)
{
	int index = tine_worker_index();

	/* Until all are in a job. */
	atomic_fetch_or(met, 1 << index);
	while (atomic_load(met) != (1 << WORKERS) - 1)
		test_sleep_us(500);
	*(int *)out = index;
	if (*(const int *)in)
		raise(SIGKILL);
	return 0;
}

static int knows(void *arg)
{
	(void)arg;
	return tine_worker_index() >= 0 && tine_worker_index() < WORKERS ? 0 : -EDOM;
}

TEST(workers_have_numbers)
{
	static const tine_task ask = TINE_TASK(asks, int, int);
	tine_pool_opts opts = { .workers = WORKERS, .init = knows };
	tine_map_opts single = { .chunk = 1 };
	tine_pool *pool;

	met = tine_shared_new(1, sizeof(*met));
	CHECK(met);
	CHECK_EQ(tine_worker_index(), -1);
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	for (int round = 0; round < 4; round++) {
		int in[WORKERS] = { 0 }, out[WORKERS], seen = 0;

		/* Each round but the last kills one, whose number another then has. */
		in[1] = round < 3;
		atomic_store(met, 0);
		CHECK_EQ(tine_pool_map(pool, &ask, in, out, WORKERS, &single,
				       TINE_FOREVER),
			 round < 3 ? -TINE_ECRASH : 0);
		for (int i = 0; i < WORKERS; i++)
			seen |= in[i] ? 0 : 1 << out[i];
		CHECK_EQ(__builtin_popcount(seen), round < 3 ? WORKERS - 1 : WORKERS);
		CHECK(seen < 1 << WORKERS);
	}
	CHECK_EQ(tine_worker_index(), -1);
	tine_pool_free(pool);
	tine_shared_free(met);
}
