/* SPDX-License-Identifier: MIT */
#include "test.h"

#include "pool/pool.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>

static int square(const void *in, void *out)
{
	long n = *(const long *)in;

	*(long *)out = n * n;
	return 0;
}

static const tine_task squares = TINE_TASK(square, long, long);

static tine_pool *make(unsigned workers)
{
	tine_pool_opts opts = { .workers = workers };
	tine_pool *pool = NULL;

	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	CHECK(pool);
	return pool;
}

static long *numbers(long n)
{
	long *in = malloc(n * sizeof(*in));

	CHECK(in);
	for (long i = 0; i < n; i++)
		in[i] = i;
	return in;
}

static int map(tine_pool *pool, int (*fn)(const void *, void *), const long *in,
	       long *out, size_t n, const tine_map_opts *opts)
{
	tine_task task = { .name = "task",
			   .fn = fn,
			   .in_size = sizeof(*in),
			   .out_size = out ? sizeof(*out) : 0 };

	return tine_pool_map(pool, &task, in, out, n, opts, TINE_FOREVER);
}

TEST(every_job_once_and_in_its_place)
{
	static const size_t sizes[] = { 0, 1, 2, 3, 4, 5, 7, 100, 1000, 65537, 300000 };

	for (unsigned workers = 1; workers <= 9; workers += 2) {
		tine_pool *pool = make(workers);

		for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
			for (size_t chunk = 0; chunk < 200; chunk = chunk * 7 + 1) {
				tine_map_opts opts = { .chunk = chunk };
				long *in = numbers(sizes[i]),
				     *out = calloc(sizes[i] + 1, 8);

				/* Too many chunks. */
				if (test_is_away() && chunk && sizes[i] / chunk > 1000) {
					free(in);
					free(out);
					continue;
				}
				CHECK_EQ(map(pool, square, in, out, sizes[i], &opts), 0);
				for (size_t k = 0; k < sizes[i]; k++)
					CHECK_EQ(out[k], k * k);
				free(in);
				free(out);
			}
		CHECK_EQ(pool_uncalled(pool), 0);
		tine_pool_free(pool);
	}
}

/* Each item names a byte of the family's memory. */
static int mark(const void *in, void *out)
{
	(void)out;
	atomic_fetch_add(*(_Atomic unsigned char *const *)in, 1);
	return 0;
}

TEST(no_job_twice_though_stolen)
{
	const int n = test_is_away() ? 2000 : 200000;
	_Atomic unsigned char *marks = tine_shared_new(n, 1);
	_Atomic unsigned char **in = malloc(n * sizeof(*in));
	tine_task task = { .name = "mark", .fn = mark, .in_size = sizeof(*in) };
	tine_pool *pool = make(4);

	for (int i = 0; i < n; i++)
		in[i] = &marks[i];
	for (int round = 1; round <= 5; round++) {
		tine_map_opts opts = { .chunk = round % 2 };

		CHECK_EQ(tine_pool_map(pool, &task, in, NULL, n, &opts, TINE_FOREVER), 0);
		for (int i = 0; i < n; i++)
			CHECK_EQ(marks[i], round);
	}
	CHECK_EQ(pool_uncalled(pool), 0);
	tine_pool_free(pool);
	free(in);
	tine_shared_free((void *)marks);
}

TEST(again_and_again_nobody_is_forgotten)
{
	tine_pool *pool = make(3);
	long in[4] = { 1, 2, 3, 4 }, out[4];

	for (long i = 0; i < test_scaled(20000); i++) {
		memset(out, 0, sizeof(out));
		CHECK_EQ(map(pool, square, in, out, 1 + i % 4, NULL), 0);
		for (int k = 0; k <= i % 4; k++)
			CHECK_EQ(out[k], in[k] * in[k]);
		/* Long enough now and then for all to fall asleep. */
		if (i % 1000 == 0)
			test_sleep_us(2000);
	}
	CHECK_EQ(pool_uncalled(pool), 0);
	tine_pool_free(pool);
}

TEST(in_place_in_the_familys_memory)
{
	enum { N = 1000 };
	tine_pool *pool = make(2);
	long *in = tine_shared_new(N, sizeof(*in)),
	     *out = tine_shared_new(N, sizeof(*out));
	int *status = tine_shared_new(N, sizeof(*status));
	tine_map_opts opts = { .status = status };

	for (long i = 0; i < N; i++) {
		in[i] = i;
		status[i] = 99;
	}
	CHECK_EQ(map(pool, square, in, out, N, &opts), 0);
	for (long i = 0; i < N; i++) {
		CHECK_EQ(out[i], i * i);
		CHECK_EQ(status[i], 0);
	}
	/* The same memory for both. */
	CHECK_EQ(map(pool, square, out, out, N, NULL), 0);
	for (long i = 0; i < N; i++)
		CHECK_EQ(out[i], i * i * i * i);
	tine_pool_free(pool);
	tine_shared_free(in);
	tine_shared_free(out);
	tine_shared_free(status);
}

static int sometimes(const void *in, void *out)
{
	long n = *(const long *)in;

	*(long *)out = n;
	if (n % 100 == 30)
		return (int)-n;
	return n % 100 == 31 ? 7 : 0;
}

TEST(statuses_are_what_the_jobs_return)
{
	enum { N = 1000 };
	tine_pool *pool = make(4);
	long *in = numbers(N), out[N];
	int status[N];
	tine_map_opts opts = { .status = status };

	/* The failure with the smallest index. */
	for (int i = 0; i < 10; i++) {
		CHECK_EQ(map(pool, sometimes, in, out, N, &opts), -30);
		CHECK_EQ(map(pool, sometimes, in + 31, out, N - 31, NULL), -130);
	}
	CHECK_EQ(map(pool, sometimes, in, out, N, &opts), -30);
	for (int i = 0; i < N; i++) {
		CHECK_EQ(status[i], i % 100 == 30 ? -i : i % 100 == 31 ? 7 : 0);
		CHECK_EQ(out[i], i);
	}
	tine_pool_free(pool);
	free(in);
}

static int dies(const void *in, void *out)
{
	long n = *(const long *)in;

	switch (n % 50) {
	case 3:
		abort();
	case 13:
		raise(SIGSEGV);
		break;
	case 23:
		kill(getpid(), SIGKILL);
		break;
	case 33:
		_exit(0);
	case 43:
		exit(0);
	}
	*(long *)out = n * n;
	return 0;
}

TEST(a_crash_is_one_failed_job)
{
	enum { N = 200 };
	tine_pool *pool = make(3);
	long *in = numbers(N), out[N];
	int status[N];

	for (size_t chunk = 0; chunk <= 64; chunk = chunk * 8 + 1) {
		tine_map_opts opts = { .status = status, .chunk = chunk };

		memset(out, 0, sizeof(out));
		CHECK_EQ(map(pool, dies, in, out, N, &opts), -TINE_ECRASH);
		for (int i = 0; i < N; i++) {
			CHECK_EQ(status[i], i % 10 == 3 ? -TINE_ECRASH : 0);
			if (i % 10 != 3)
				CHECK_EQ(out[i], i * i);
		}
	}
	/* And the pool is as good as new. */
	CHECK_EQ(map(pool, square, in, out, N, NULL), 0);
	tine_pool_free(pool);
	free(in);
}

static int takes_long(const void *in, void *out)
{
	(void)out;
	test_sleep_us(*(const long *)in);
	return 0;
}

/* One long job first: the rest must not wait behind it. */
TEST(jobs_of_different_length_balance)
{
	enum { N = 400 };
	tine_pool *pool = make(2);
	long in[N];
	int64_t begun;

	for (int i = 0; i < N; i++)
		in[i] = i == 0 ? 200000 : 500;
	begun = tine_now();
	CHECK_EQ(map(pool, takes_long, in, NULL, N, NULL), 0);
	/* Dealt out for good, half of the short ones would come after the long one. */
	printf("# %.0f ms\n", (double)(tine_now() - begun) / 1e6);
	tine_pool_free(pool);
}

static int says_pid(const void *in, void *out)
{
	(void)in;
	*(long *)out = getpid();
	test_sleep_us(20000);
	return 0;
}

static int distinct(const long *values, int n)
{
	int count = 0;

	for (int i = 0; i < n; i++) {
		int k = 0;

		while (k < i && values[k] != values[i])
			k++;
		count += k == i;
	}
	return count;
}

TEST(few_long_jobs_run_at_the_same_time)
{
	tine_pool *pool = make(4);
	long in[4] = { 0 }, out[4];

	for (int i = 0; i < 5; i++) {
		CHECK_EQ(map(pool, says_pid, in, out, 4, NULL), 0);
		CHECK_EQ(distinct(out, 4), 4);
	}
	tine_pool_free(pool);
}

TEST(workers_retire)
{
	enum { N = 40 };
	tine_pool_opts opts = { .workers = 2, .jobs_per_worker = 5 };
	long *in = numbers(N), out[N];
	tine_pool *pool;

	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	for (size_t chunk = 0; chunk < 100; chunk += 33) {
		tine_map_opts map_opts = { .chunk = chunk };

		CHECK_EQ(map(pool, says_pid, in, out, N, &map_opts), 0);
		CHECK(distinct(out, N) >= N / 5);
		for (int i = 0; i < N; i++) {
			int jobs = 0;

			for (int k = 0; k < N; k++)
				jobs += out[k] == out[i];
			CHECK(jobs <= 5);
		}
	}
	tine_pool_free(pool);
	free(in);
}

static _Atomic int *shared_count;
static int made_by_init;

static int init_counts(void *arg)
{
	made_by_init = (int)(intptr_t)arg;
	atomic_fetch_add(shared_count, 1);
	return 0;
}

static int says_init(const void *in, void *out)
{
	(void)in;
	*(long *)out = made_by_init;
	return 0;
}

TEST(init_runs_first_in_each_worker)
{
	tine_pool_opts opts = { .workers = 3,
				.init = init_counts,
				.init_arg = (void *)77 };
	long in[10] = { 0 }, out[10];
	tine_pool *pool;

	shared_count = tine_shared_new(1, sizeof(*shared_count));
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	CHECK_EQ(*shared_count, 3);
	CHECK_EQ(map(pool, says_init, in, out, 10, NULL), 0);
	for (int i = 0; i < 10; i++)
		CHECK_EQ(out[i], 77);
	CHECK_EQ(made_by_init, 0);
	tine_pool_free(pool);
	tine_shared_free((void *)shared_count);
}

static int init_fails(void *arg)
{
	return (int)(intptr_t)arg;
}

static int init_crashes(void *arg)
{
	(void)arg;
	abort();
}

TEST(an_init_that_fails_is_told)
{
	tine_pool_opts opts = { .workers = 2,
				.init = init_fails,
				.init_arg = (void *)-ENODEV };
	tine_pool *pool = (void *)1;

	CHECK_EQ(tine_pool_new(&pool, &opts), -ENODEV);
	opts.init_arg = (void *)5;
	CHECK_EQ(tine_pool_new(&pool, &opts), -EINVAL);
	opts.init = init_crashes;
	CHECK_EQ(tine_pool_new(&pool, &opts), -TINE_ECRASH);
	CHECK(pool == (void *)1);
}

static int init_once(void *arg)
{
	(void)arg;
	return atomic_fetch_add(shared_count, 1) < 2 ? 0 : -ENODEV;
}

/* When no worker can be replaced, nobody waits for ever. */
TEST(a_pool_that_lost_all_its_workers_says_so)
{
	enum { N = 10 };
	tine_pool_opts opts = { .workers = 2, .init = init_once };
	long in[N], out[N];
	int status[N];
	tine_map_opts map_opts = { .status = status };
	tine_pool *pool;

	for (int i = 0; i < N; i++)
		in[i] = 3;
	shared_count = tine_shared_new(1, sizeof(*shared_count));
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	CHECK_EQ(map(pool, dies, in, out, N, &map_opts), -ENODEV);
	CHECK_EQ(map(pool, square, in, out, N, NULL), -ENODEV);
	tine_pool_free(pool);
	tine_shared_free((void *)shared_count);
}

static void cancels(void *pool, size_t done, size_t total)
{
	(void)total;
	if (done > 0)
		tine_pool_cancel(pool);
}

static int looks_whether_cancelled(const void *in, void *out)
{
	(void)in;
	if (out)
		*(long *)out = 1;
	for (int i = 0; i < 10000 && !tine_cancelled(); i++)
		test_sleep_us(1000);
	return tine_cancelled() ? -EINTR : 0;
}

static int first_ends_soon(const void *in, void *out)
{
	return *(const long *)in == 0 ? 0 : looks_whether_cancelled(in, out);
}

TEST(cancel_drops_what_has_not_begun)
{
	enum { N = 1000 };
	tine_pool *pool = make(2);
	long *in = numbers(N);
	int status[N], told = 0, dropped = 0;
	tine_map_opts opts = { .status = status,
			       .progress = cancels,
			       .progress_arg = pool };

	CHECK(!tine_cancelled());
	CHECK_EQ(tine_pool_cancel(pool), 0);
	CHECK_EQ(map(pool, first_ends_soon, in, NULL, N, &opts), -ECANCELED);
	for (int i = 0; i < N; i++) {
		told += status[i] == -EINTR;
		dropped += status[i] == -ECANCELED;
	}
	CHECK(told >= 1 && told <= 2);
	CHECK_EQ(told + dropped, N - 1);
	/* Forgotten when the next begins. */
	CHECK_EQ(map(pool, takes_long, in, NULL, 10, NULL), 0);
	tine_pool_free(pool);
	free(in);
}

static tine_pool *to_cancel;

static void on_alarm(int signal)
{
	(void)signal;
	tine_pool_cancel(to_cancel);
}

TEST(cancel_from_a_signal_handler)
{
	long in[4] = { 1, 2, 3, 4 };

	to_cancel = make(2);
	signal(SIGALRM, on_alarm);
	ualarm(50000, 0);
	CHECK_EQ(map(to_cancel, looks_whether_cancelled, in, NULL, 4, NULL), -ECANCELED);
	tine_pool_free(to_cancel);
}

TEST(the_deadline_ends_what_runs)
{
	tine_pool *pool = make(2);
	long in[4] = { 60000000, 60000000, 60000000, 60000000 };
	tine_task task = TINE_TASK_IN(takes_long, long);
	int status[4], ended = 0;
	tine_map_opts opts = { .status = status };

	CHECK_EQ(tine_pool_map(pool, &task, in, NULL, 4, &opts, TINE_NOWAIT), -ETIMEDOUT);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(status[i], -ECANCELED);
	/* Until the deadline leaves both the time to begin. */
	for (int64_t ms = 100; ended < 2; ms *= 2) {
		int dropped = 0;

		CHECK(ms < 60000);
		ended = 0;
		CHECK_EQ(tine_pool_map(pool, &task, in, NULL, 4, &opts, tine_after(ms)),
			 -ETIMEDOUT);
		for (int i = 0; i < 4; i++) {
			ended += status[i] == -TINE_ELIMIT;
			dropped += status[i] == -ECANCELED;
		}
		CHECK(ended <= 2);
		CHECK_EQ(ended + dropped, 4);
	}
	in[0] = in[1] = 1;
	CHECK_EQ(tine_pool_map(pool, &task, in, NULL, 2, &opts, TINE_FOREVER), 0);
	tine_pool_free(pool);
}

struct seen {
	size_t calls, last, total;
};

static void sees(void *arg, size_t done, size_t total)
{
	struct seen *seen = arg;

	CHECK(done >= seen->last);
	seen->calls++;
	seen->last = done;
	seen->total = total;
}

TEST(progress_is_told)
{
	tine_pool *pool = make(2);
	struct seen seen = { 0 };
	long in[10];
	tine_map_opts opts = { .progress = sees, .progress_arg = &seen };

	for (int i = 0; i < 10; i++)
		in[i] = 200000;
	CHECK_EQ(map(pool, takes_long, in, NULL, 10, &opts), 0);
	CHECK(seen.calls >= 3);
	CHECK_EQ(seen.last, 10);
	CHECK_EQ(seen.total, 10);
	tine_pool_free(pool);
}

TEST(bad_arguments)
{
	tine_pool_opts bad_opts = { .reserved = { 1 } }, many = { .workers = 1025 };
	tine_map_opts bad_map = { .reserved = { 0, 1 } };
	tine_task no_fn = { .name = "none", .fn = NULL, .in_size = 8, .out_size = 8 };
	tine_pool *pool = (void *)1;
	long in = 1, out = 5;

	CHECK_EQ(tine_pool_new(NULL, NULL), -EINVAL);
	CHECK_EQ(tine_pool_new(&pool, &bad_opts), -EINVAL);
	/* As with hosts it is their business. */
	if (!test_is_away())
		CHECK_EQ(tine_pool_new(&pool, &many), -EINVAL);
	CHECK(pool == (void *)1);
	pool = make(1);
	CHECK_EQ(tine_pool_map(NULL, &squares, &in, &out, 1, NULL, TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(tine_pool_map(pool, NULL, &in, &out, 1, NULL, TINE_FOREVER), -EINVAL);
	/* Hosts have it. */
	if (!test_is_away())
		CHECK_EQ(tine_pool_map(pool, &no_fn, &in, &out, 1, NULL, TINE_FOREVER),
			 -EINVAL);
	CHECK_EQ(tine_pool_map(pool, &squares, NULL, &out, 1, NULL, TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(tine_pool_map(pool, &squares, &in, NULL, 1, NULL, TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(tine_pool_map(pool, &squares, &in, &out, 1, &bad_map, TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(tine_pool_map(pool, &squares, &in, &out, SIZE_MAX, NULL, TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(tine_pool_map(pool, &squares, &in, &out, (size_t)1 << 50, NULL,
			       TINE_FOREVER),
		 -ENOMEM);
	CHECK_EQ(out, 5);
	CHECK_EQ(tine_pool_map(pool, &squares, NULL, NULL, 0, NULL, TINE_FOREVER), 0);
	tine_pool_free(pool);
	tine_pool_free(NULL);
}

TEST(want_of_memory)
{
	tine_pool_opts opts = { .workers = 2 };
	long in[10] = { 0 }, out[10];
	int status[10];
	tine_map_opts map_opts = { .status = status };

	for (long n = 1;; n++) {
		tine_pool *pool = (void *)1;
		int err;

		test_fail_allocation(n);
		err = tine_pool_new(&pool, &opts);
		if (err == 0) {
			err = map(pool, square, in, out, 10, &map_opts);
			test_fail_allocation(0);
			tine_pool_free(pool);
		} else {
			CHECK(pool == (void *)1);
		}
		CHECK(err == 0 || err == -ENOMEM);
		if (!test_allocation_failed())
			break;
		test_fail_allocation(0);
	}
}

static int uses_parents_pool(void *arg)
{
	tine_pool *pool = arg;
	long in = 1, out;

	CHECK_EQ(map(pool, square, &in, &out, 1, NULL), -EPERM);
	tine_pool_free(pool);
	return 0;
}

TEST(a_pool_is_its_makers)
{
	tine_pool *pool = make(2);
	long in = 3, out = 0;
	tine_process *process;
	tine_exit how;

	CHECK_EQ(tine_process_start(&process, uses_parents_pool, pool, NULL), 0);
	CHECK_EQ(tine_process_wait(process, &how, TINE_FOREVER), 0);
	CHECK_EQ(how.code, 0);
	tine_process_free(process);
	CHECK_EQ(map(pool, square, &in, &out, 1, NULL), 0);
	CHECK_EQ(out, 9);
	tine_pool_free(pool);
}

TEST(two_pools_and_many_pools)
{
	tine_pool *one = make(2), *other = make(3);
	long *in = numbers(1000), out[1000];

	for (int i = 0; i < 10; i++) {
		CHECK_EQ(map(one, square, in, out, 1000, NULL), 0);
		CHECK_EQ(map(other, square, in, out, 1000, NULL), 0);
	}
	tine_pool_free(one);
	CHECK_EQ(map(other, square, in, out, 1000, NULL), 0);
	tine_pool_free(other);
	for (long i = 0; i < test_scaled(300); i++) {
		one = make(2);
		CHECK_EQ(map(one, square, in, out, 10, NULL), 0);
		tine_pool_free(one);
	}
	free(in);
}

static int pool_in_a_job(const void *in, void *out)
{
	long numbers_in[3] = { 1, 2, *(const long *)in }, squares_out[3];
	tine_pool *pool = make(2);
	int err = map(pool, square, numbers_in, squares_out, 3, NULL);

	tine_pool_free(pool);
	*(long *)out = squares_out[2];
	return err;
}

TEST(a_pool_in_a_job_of_a_pool)
{
	tine_pool *pool = make(2);
	long *in = numbers(6), out[6];

	CHECK_EQ(map(pool, pool_in_a_job, in, out, 6, NULL), 0);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(out[i], i * i);
	tine_pool_free(pool);
	free(in);
}

static int prints(const void *in, void *out)
{
	(void)out;
	printf("job %ld\n", *(const long *)in);
	return 0;
}

TEST(what_jobs_print_is_there_once)
{
	int saved = dup(STDOUT_FILENO), file = memfd_create("out", MFD_CLOEXEC);
	char text[1024] = "", line[32];
	long *in = numbers(20);
	tine_pool *pool;

	fflush(stdout);
	/*
	 * To such a file processes write in one place at the same time, but to its end.
	 */
	CHECK(fcntl(file, F_SETFL, O_APPEND) == 0);
	CHECK(dup2(file, STDOUT_FILENO) >= 0);
	setvbuf(stdout, NULL, _IOFBF, 4096);
	printf("parent\n");
	pool = make(3);
	CHECK_EQ(map(pool, prints, in, NULL, 20, NULL), 0);
	/* All of it, before the pool is gone. */
	CHECK_EQ(pread(file, text, sizeof(text), 0), 10 * 6 + 10 * 7);
	tine_pool_free(pool);
	fflush(stdout);
	CHECK(dup2(saved, STDOUT_FILENO) >= 0);
	CHECK_EQ(pread(file, text, sizeof(text), 0), 10 * 6 + 10 * 7 + 7);
	for (int i = 0; i < 20; i++) {
		snprintf(line, sizeof(line), "job %d\n", i);
		CHECK(strstr(text, line));
	}
	close(file);
	close(saved);
	free(in);
}

TEST(a_function_that_is_not_in_the_workers)
{
	long in[3] = { 1, 2, 3 }, out[3] = { 0 };
	tine_pool *pool = make(2);
	int (*fn)(const void *, void *);
	char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (code == MAP_FAILED)
		test_skip("no memory that is both written and executed");
	memcpy(&fn, &code, sizeof(fn));
	CHECK_EQ(map(pool, fn, in, out, 3, NULL), -EFAULT);
	CHECK_EQ(map(pool, square, in, out, 3, NULL), 0);
	munmap(code, 4096);
	tine_pool_free(pool);
}

static int handler_is_default(const void *in, void *out)
{
	struct sigaction action;

	(void)in;
	(void)out;
	sigaction(SIGUSR1, NULL, &action);
	if (action.sa_handler != SIG_DFL)
		return -EINVAL;
	sigaction(SIGCHLD, NULL, &action);
	if (action.sa_handler != SIG_DFL)
		return -EINVAL;
	/* So that system(3) and wait(2) work. */
	return system("exit 3") == 3 << 8 ? 0 : -EIO;
}

TEST(the_callers_handlers_are_not_the_jobs)
{
	tine_pool *pool;
	long in = 1;

	signal(SIGUSR1, on_alarm);
	signal(SIGCHLD, SIG_IGN);
	pool = make(1);
	signal(SIGCHLD, SIG_DFL);
	CHECK_EQ(map(pool, handler_is_default, &in, NULL, 1, NULL), 0);
	tine_pool_free(pool);
}

static void *maps_in_thread(void *arg)
{
	tine_pool *pool = make(2);
	long *in = arg, out[1000];

	for (int i = 0; i < 20; i++)
		CHECK_EQ(map(pool, square, in, out, 1000, NULL), 0);
	tine_pool_free(pool);
	return NULL;
}

TEST(a_pool_for_each_thread)
{
	long *in = numbers(1000);
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, maps_in_thread, in), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	free(in);
}

TEST(descriptors_of_the_parent_do_not_grow)
{
	tine_pool *pool = make(2);
	long in[2] = { 3, 13 }, out[2];
	tine_task task = TINE_TASK(dies, long, long);
	int before;

	test_will_call(pool, &task);
	before = test_descriptors();
	for (int i = 0; i < 10; i++)
		CHECK_EQ(map(pool, dies, in, out, 2, NULL), -TINE_ECRASH);
	CHECK_EQ(test_descriptors(), before);
	tine_pool_free(pool);
}

/* ---- a caller that closes all its descriptors -------------------------------------- */

enum { OWN = 24 };

/* All that is open is closed, and pairs of sockets have the numbers. */
static void replace_descriptors(int *own)
{
	for (int fd = 3; fd < 64; fd++)
		close(fd);
	for (int i = 0; i < OWN; i += 2)
		CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, own + i), 0);
}

/* Open, with nothing to read, and not at their end. */
static void own_are_untouched(const int *own)
{
	for (int i = 0; i < OWN; i++) {
		char byte;

		CHECK_EQ(recv(own[i], &byte, 1, MSG_DONTWAIT), -1);
		CHECK_EQ(errno, EAGAIN);
	}
}

static void close_own(const int *own)
{
	for (int i = 0; i < OWN; i++)
		close(own[i]);
}

static void close_and_free(void *arg)
{
	tine_pool *pool = make(2);
	int own[OWN];

	(void)arg;
	replace_descriptors(own);
	tine_pool_free(pool);
	own_are_untouched(own);
	_exit(0);
}

static void close_and_map(void *arg)
{
	tine_pool_opts opts = { .workers = 2, .memory_per_worker = (size_t)1 << 40 };
	long in[100], out[100];
	tine_pool *pool;
	int own[OWN];

	(void)arg;
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	replace_descriptors(own);
	for (int i = 0; i < 100; i++)
		in[i] = i;
	/* Jobs that were begun when the nursery ended fail; later ones do not. */
	for (int err = -1; err;) {
		err = map(pool, square, in, out, 100, NULL);
		CHECK(err == 0 || err == -TINE_ECRASH);
	}
	for (int i = 0; i < 100; i++)
		CHECK_EQ(out[i], (long)i * i);
	own_are_untouched(own);
	tine_pool_free(pool);
	own_are_untouched(own);
	close_own(own);
	_exit(0);
}

TEST(a_caller_that_closes_all_its_descriptors)
{
	CHECK_EQ(test_reap(test_fork(close_and_free, NULL)), 0);
	CHECK_EQ(test_reap(test_fork(close_and_map, NULL)), 0);
	test_grows_no_further();
}

/* ---- what the caller writes later -------------------------------------------------- */

static long setting;

static int says_setting(const void *in, void *out)
{
	(void)in;
	*(long *)out = setting;
	return 0;
}

static const tine_task setting_task = { .name = "setting",
					.fn = says_setting,
					.out_size = sizeof(long) };

static void check_setting(tine_pool *pool, long seen)
{
	long out[20];

	CHECK_EQ(tine_pool_map(pool, &setting_task, NULL, out, 20, NULL, TINE_FOREVER),
		 0);
	for (int i = 0; i < 20; i++)
		CHECK_EQ(out[i], seen);
}

static void may_not_refresh(void *pool)
{
	CHECK_EQ(tine_pool_refresh(pool), -EPERM);
}

TEST(a_refreshed_pool_sees_what_was_written)
{
	tine_pool *pool;
	tine_done done;
	long out;

	setting = 1;
	pool = make(2);
	setting = 50;
	check_setting(pool, 1);
	/* A result that is there already stays. */
	CHECK_EQ(tine_pool_submit(pool, &setting_task, NULL, 7, TINE_FOREVER), 0);
	while (tine_pool_refresh(pool) == -EBUSY)
		test_sleep_us(1000);
	check_setting(pool, 50);
	CHECK_EQ(tine_pool_next(pool, &out, sizeof(out), &done, TINE_FOREVER), 1);
	CHECK_EQ(done.tag, 7);
	CHECK_EQ(out, 1);
	for (setting = 51; setting < 54; setting++) {
		CHECK_EQ(tine_pool_refresh(pool), 0);
		check_setting(pool, setting);
	}
	CHECK_EQ(test_reap(test_fork(may_not_refresh, pool)), 0);
	tine_pool_free(pool);
}

static int refused;

/* At the last call all are done. */
static void refreshes(void *pool, size_t done, size_t total)
{
	if (done == total)
		return;
	CHECK_EQ(tine_pool_refresh(pool), -EBUSY);
	refused++;
}

static int naps(const void *in, void *out)
{
	(void)in;
	(void)out;
	test_sleep_us(200000);
	return 0;
}

TEST(not_while_jobs_run)
{
	const tine_task task = { .name = "naps", .fn = naps };
	tine_pool *pool = make(2);
	tine_map_opts opts = { .progress = refreshes, .progress_arg = pool };

	CHECK_EQ(tine_pool_map(pool, &task, NULL, NULL, 8, &opts, TINE_FOREVER), 0);
	CHECK(refused > 0);
	tine_pool_free(pool);
}

static int is_itself(const void *in, void *out)
{
	*(int *)out = *(const int *)in;
	return 0;
}

static int nothing(size_t index, const void *arg)
{
	(void)index;
	(void)arg;
	return 0;
}

static int adds(size_t low, size_t high, const void *arg, void *out)
{
	(void)arg;
	*(long *)out = (long)(high - low);
	return 0;
}

static void joins(void *into, const void *from)
{
	*(long *)into += *(const long *)from;
}

/* Also when the map's jobs are done, and its results are on the way. */
static void maps(void *arg, size_t done, size_t total)
{
	static const tine_task task = TINE_TASK(is_itself, int, int);
	static const tine_task each = TINE_TASK_EACH(nothing, int);
	static const tine_task sum = TINE_TASK_REDUCE(adds, joins, int, long);
	int in[] = { 7, 7 }, out[] = { 1, 1 };
	long result = 1;

	CHECK_EQ(tine_pool_map(arg, &task, in, out, 2, NULL, TINE_FOREVER), -EBUSY);
	CHECK_EQ(tine_pool_find(arg, &task, in, out, 2, NULL, NULL, TINE_FOREVER),
		 -EBUSY);
	CHECK_EQ(tine_pool_for(arg, &each, in, 2, NULL, TINE_FOREVER), -EBUSY);
	CHECK_EQ(tine_pool_reduce(arg, &sum, in, 2, &result, NULL, TINE_FOREVER), -EBUSY);
	CHECK_EQ(tine_pool_refresh(arg), -EBUSY);
	CHECK(out[0] == 1 && out[1] == 1 && result == 1);
	refused += done == total ? 1 : 1000;
}

TEST(no_map_in_a_map)
{
	const tine_task task = { .name = "naps", .fn = naps };
	static const tine_task is = TINE_TASK(is_itself, int, int);
	static const tine_task sum = TINE_TASK_REDUCE(adds, joins, int, long);
	tine_pool *pool = make(2);
	tine_map_opts opts = { .progress = maps, .progress_arg = pool };
	int in[100], out[100];
	long result = 0;

	refused = 0;
	CHECK_EQ(tine_pool_map(pool, &task, NULL, NULL, 8, &opts, TINE_FOREVER), 0);
	CHECK(refused > 1000);
	for (int i = 0; i < 100; i++)
		in[i] = i;
	CHECK_EQ(tine_pool_map(pool, &is, in, out, 100, &opts, TINE_FOREVER), 0);
	CHECK(memcmp(in, out, sizeof(in)) == 0);
	CHECK_EQ(tine_pool_reduce(pool, &sum, in, 9, &result, &opts, TINE_FOREVER), 0);
	CHECK_EQ(result, 9);
	tine_pool_free(pool);
}

static int refuses_the_second(void *arg)
{
	(void)arg;
	return setting == 2 ? -ENODEV : 0;
}

TEST(an_init_that_refuses_the_refreshed)
{
	tine_pool_opts opts = { .workers = 2, .init = refuses_the_second };
	tine_pool *pool;

	setting = 1;
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	setting = 2;
	CHECK_EQ(tine_pool_refresh(pool), -ENODEV);
	setting = 3;
	CHECK_EQ(tine_pool_refresh(pool), 0);
	check_setting(pool, 3);
	tine_pool_free(pool);
}
