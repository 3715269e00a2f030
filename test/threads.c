/* SPDX-License-Identifier: MIT */
/* Pools of processes that have threads, and jobs that start threads. */
#include "test.h"

#include <pthread.h>
#ifdef HAVE_OPENBLAS
#include <cblas.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

enum { JOBS = 20 };

static void check(tine_fn *fn, unsigned workers)
{
	tine_task task = { .name = "task",
			   .fn = fn,
			   .in_size = sizeof(long),
			   .out_size = sizeof(long) };
	tine_pool_opts opts = { .workers = workers };
	long in[JOBS], out[JOBS];
	tine_pool *pool;

	for (long i = 0; i < JOBS; i++)
		in[i] = i;
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	for (int round = 0; round < 3; round++) {
		CHECK_EQ(tine_pool_map(pool, &task, in, out, JOBS, NULL, TINE_FOREVER),
			 0);
		for (long i = 0; i < JOBS; i++)
			CHECK_EQ(out[i], i * 1000);
	}
	for (long i = 0; i < JOBS; i++)
		CHECK_EQ(tine_pool_submit(pool, &task, &in[i], i, TINE_FOREVER), 0);
	for (long i = 0; i < JOBS; i++) {
		tine_done done;

		CHECK_EQ(tine_pool_next(pool, out, sizeof(*out), &done, TINE_FOREVER), 1);
		CHECK_EQ(done.status, 0);
		CHECK_EQ(*out, (long)done.tag * 1000);
	}
	tine_pool_free(pool);
}

static _Atomic bool stop;

/* Holds the allocator's locks now and then. */
static void *allocates(void *arg)
{
	while (!atomic_load(&stop)) {
		void *volatile mem = malloc(1 + rand() % 100000);

		free(mem);
	}
	return arg;
}

struct part {
	long n, sum;
};

static void *adds(void *arg)
{
	struct part *part = arg;

	for (int i = 0; i < 250; i++)
		part->sum += part->n;
	return NULL;
}

static int with_threads(const void *in, void *out)
{
	struct part parts[4];
	pthread_t threads[4];
	long sum = 0;

	for (int i = 0; i < 4; i++) {
		parts[i] = (struct part){ .n = *(const long *)in };
		if (pthread_create(&threads[i], NULL, adds, &parts[i]) != 0)
			return -EAGAIN;
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		sum += parts[i].sum;
	}
	free(malloc(1000));
	*(long *)out = sum;
	return 0;
}

TEST(threads_in_parent_and_jobs)
{
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, allocates, NULL), 0);
	for (int round = 0; round < 20; round++)
		check(with_threads, 2);
	atomic_store(&stop, true);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

#ifdef _OPENMP
static long add_up(long n)
{
	long sum = 0;

#pragma omp parallel for reduction(+ : sum) num_threads(4)
	for (int i = 0; i < 1000; i++)
		sum += n;
	return sum;
}

static int with_openmp(const void *in, void *out)
{
	*(long *)out = add_up(*(const long *)in);
	return 0;
}

static int adds_up(void *arg)
{
	return add_up(*(long *)arg) == *(long *)arg * 1000 ? 7 : 1;
}
#endif

TEST(openmp_in_jobs)
{
#ifdef _OPENMP
	check(with_openmp, 2);
#else
	test_skip("the compiler has no OpenMP");
#endif
}

TEST(openmp_in_the_parent_before_and_in_jobs)
{
#ifdef _OPENMP
	CHECK_EQ(add_up(7), 7000);
	check(with_openmp, 2);
	CHECK_EQ(add_up(8), 8000);
#else
	test_skip("the compiler has no OpenMP");
#endif
}

TEST(openmp_in_the_parent_before_and_in_a_process)
{
#ifdef _OPENMP
	for (long n = 7; n < 12; n++) {
		tine_process *process;
		tine_exit how;

		CHECK_EQ(add_up(n), n * 1000);
		CHECK_EQ(tine_process_start(&process, adds_up, &n, NULL), 0);
		CHECK_EQ(add_up(n), n * 1000);
		CHECK_EQ(tine_process_wait(process, &how, TINE_FOREVER), 0);
		CHECK_EQ(how.code, 7);
		tine_process_free(process);
	}
#else
	test_skip("the compiler has no OpenMP");
#endif
}

/* ---- a library with threads of its own --------------------------------------------- */

#ifdef HAVE_OPENBLAS
enum { SIDE = 250 };

/* n times a matrix of ones, times another, and four elements of the product. */
static long multiply(long n)
{
	static double a[SIDE * SIDE], b[SIDE * SIDE], c[SIDE * SIDE];
	const int last = SIDE * SIDE - 1;

	for (int i = 0; i < SIDE * SIDE; i++) {
		a[i] = (double)n;
		b[i] = 1;
		c[i] = -1;
	}
	openblas_set_num_threads(4);
	cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SIDE, SIDE, SIDE, 1, a,
		    SIDE, b, SIDE, 0, c, SIDE);
	return (long)(c[0] + c[last / 3] + c[last / 2] + c[last]);
}

static int with_openblas(const void *in, void *out)
{
	*(long *)out = multiply(*(const long *)in);
	return 0;
}

static int multiplies(void *arg)
{
	return multiply(*(long *)arg) == *(long *)arg * 1000 ? 7 : 1;
}
#endif

TEST(openblas_in_jobs)
{
#ifdef HAVE_OPENBLAS
	check(with_openblas, 2);
#else
	test_skip("no OpenBLAS");
#endif
}

TEST(openblas_in_the_parent_before_and_in_jobs)
{
#ifdef HAVE_OPENBLAS
	for (long round = 0; round < test_scaled(5); round++) {
		CHECK_EQ(multiply(7), 7000);
		check(with_openblas, 2);
		CHECK_EQ(multiply(8), 8000);
	}
#else
	test_skip("no OpenBLAS");
#endif
}

TEST(openblas_in_the_parent_before_and_in_a_process)
{
#ifdef HAVE_OPENBLAS
	for (long n = 7; n < 12; n++) {
		tine_process *process;
		tine_exit how;

		CHECK_EQ(multiply(n), n * 1000);
		CHECK_EQ(tine_process_start(&process, multiplies, &n, NULL), 0);
		CHECK_EQ(tine_process_wait(process, &how, TINE_FOREVER), 0);
		CHECK_EQ(how.code, 7);
		tine_process_free(process);
	}
#else
	test_skip("no OpenBLAS");
#endif
}
