/* SPDX-License-Identifier: MIT */
/*
 * The harness. Each TEST runs in a process and a process group of its own, under a time
 * limit that ends the whole group. It fails on a failed CHECK, on any death, and when it
 * leaves behind a descriptor, a child or grandchild, memory of the family's, a shared
 * mapping, a file in TMPDIR or a name in /dev/shm; both are the program's own. Output is
 * TAP; arguments name the tests to run, or behind a minus those not to run.
 */
#ifndef TINE_TEST_H
#define TINE_TEST_H

#include "base/export.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct test {
	const char *name;
	void (*fn)(void);
	int limit; /* seconds */
	struct test *next;
};

void test_add(struct test *);

/* TEST_LIMIT is for those that take longer than usual. */
#define TEST(id) TEST_LIMIT(id, 180)
#define TEST_LIMIT(id, seconds)                                                          \
	static void id(void);                                                            \
	static struct test test_##id = { #id, id, seconds, NULL };                       \
	__attribute__((constructor)) static void add_##id(void)                          \
	{                                                                                \
		test_add(&test_##id);                                                    \
	}                                                                                \
	static void id(void)

/* All three end the process they are called in, also a child's, which fails the test. */
_Noreturn void test_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
_Noreturn void test_skip(const char *why);

#define CHECK(condition)                                                                 \
	do {                                                                             \
		if (!(condition))                                                        \
			test_fail(__FILE__, __LINE__, "%s", #condition);                 \
	} while (0)

#define CHECK_EQ(value, expected)                                                        \
	do {                                                                             \
		long long value_ = (long long)(value);                                   \
		long long expected_ = (long long)(expected);                             \
		if (value_ != expected_)                                                 \
			test_fail(__FILE__, __LINE__, "%s is %lld, not %lld", #value,    \
				  value_, expected_);                                    \
	} while (0)

/*
 * From now on the n-th allocation (the first is 1) of this process fails; 0: none does.
 */
void test_fail_allocation(long n);
/* Whether that allocation was reached. */
bool test_allocation_failed(void);

/* owned_new(); NULL: any error. */
void *test_own(size_t size, uint64_t owner, int64_t deadline);

/*
 * What the family's memory holds now is no leak: the library's own tables, which the test
 * has made as large as it will need them, and which stay.
 */
void test_grows_no_further(void);
/* Nor are the descriptors that are open now: the library's own, which stay. */
void test_opens_no_further(void);

/* Whether pools are on an engine (TEST_ENGINE), and this test is not for those. */
bool test_is_of_one_machine(const char *name);
/* Whether pools are on an engine, where chunks of one job each come by the thousand. */
bool test_is_away(void);
/*
 * The pool is going to be asked for that task: a host knows its tasks when it starts, and
 * another, with workers of its own, would take its place meanwhile.
 */
void test_will_call(tine_pool *, const tine_task *);

/* Whether this is make soak: all there is, and no sample of it (TEST_SOAK). */
bool test_soak(void);
/* Work scaled down under valgrind and the like, where TEST_SCALE=N divides it. */
long test_scaled(long n);
/* So many attempts at what is left to chance; but for make soak, a part of them. */
long test_sampled(long n);
/* How long to wait for what must come, before it counts as never: TEST_PATIENCE times. */
long test_patience(long ms);
/* Whether this runs under valgrind, which does not let programs execute themselves. */
bool test_under_valgrind(void);
/* A number that differs from run to run, printed so that TEST_SEED=N repeats it. */
uint64_t test_seed(void);
/* Open descriptors of this process, its own look at them left out. */
int test_descriptors(void);
/* Forks with the handful of checks a raw child needs; fn's child ends by _exit(0). */
pid_t test_fork(void (*fn)(void *), void *arg);
/* Waits for that child: its exit code, or minus the signal that ended it. */
int test_reap(pid_t);
/* Kills that child, which has not ended before, and waits for it. */
void test_kill(pid_t);
/* Closes all descriptors but 0 to 2, as daemons do, and has files under their numbers. */
void test_take_descriptors(void);
/* Whether those files are all there, and as they were. */
bool test_has_taken(void);
/* Sleeps so many microseconds. */
void test_sleep_us(long);
/* Whether a process exists and is no zombie. */
bool test_alive(pid_t);

#endif
