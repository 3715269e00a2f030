/* SPDX-License-Identifier: MIT */
/*
 * A call that ends, or is stopped, after a chosen one of its instructions. The call is
 * made in a child, again and again; between two lives the test process looks at what is
 * left.
 *
 * How the k-th instruction is reached: one life is taken an instruction at a time, and
 * the addresses are noted. In the others a breakpoint stands at the k-th of them, or at
 * one shortly before it that is passed more seldom, and the child runs there. So the time
 * is that of n steps and n short lives, not of n * n / 2 steps. A life that takes another
 * path and ends before is not lost in silence: the next one is walked to that step, and
 * when that comes again, a new path is noted.
 *
 * Which instructions: all of them under TEST_SOAK=1 (make soak), each as often as it
 * comes up to 256 times, and one of 32 of its times beyond; else a sample, one from each
 * of some 100 sections of the path, others in each run (TEST_SEED repeats one).
 * TEST_SCALE=N divides it by N.
 */
#ifndef TINE_TEST_STEP_H
#define TINE_TEST_STEP_H

#include "test.h"

struct steps {
	void (*before)(void *arg); /* in the child, at full speed; or NULL */
	void (*fn)(void *arg);	   /* in the child: the call; starts no threads */
	void (*after)(void *arg, long step); /* in this process, after each death */
};

/*
 * Runs fn in a child again and again, and kills it after its first instruction, after its
 * second, and so on. after() must expect that fn came to its end as well: that is the
 * last death. How many instructions there are.
 */
long test_kill_each_step(const struct steps *, void *arg);
/* Not more often than after every n-th, but for make soak. */
long test_kill_some_steps(const struct steps *, void *arg, long n);

struct stops {
	void (*before)(void *arg);	      /* in the child, at full speed; or NULL */
	void (*fn)(void *arg);		      /* in the child: it is stopped within */
	void (*beside)(void *arg, long step); /* in this process, while it is stopped */
	void (*after)(void *arg,
		      long step); /* in this process, when it has ended; or NULL */
	bool may_be_killed; /* by SIGKILL, by what beside() does: else it must end by 0 */
};

/*
 * As test_kill_each_step(), but the child is stopped, as by SIGSTOP and not by a
 * debugger, so that who sends it SIGKILL or SIGCONT has it die or go on. Then beside() is
 * called, which makes the call under test by test_call_beside(). When that has returned,
 * the child is sent SIGCONT and waited for, and after() looks at what both have done.
 */
long test_stop_each_step(const struct stops *, void *arg);
long test_stop_some_steps(const struct stops *, void *arg, long n);

/*
 * Calls fn in a process of its own, and fails the test when it has not come back within
 * two seconds (times TEST_PATIENCE), whatever else is stopped. That is a guard and no
 * measure: the deadlines of the calls in fn are to be far below it. fn uses CHECK.
 */
void test_call_beside(void (*fn)(void *), void *arg);

/* Whether every instruction is taken, so that a test may count what happened in all. */
bool test_every_step(void);

#endif
