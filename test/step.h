/* SPDX-License-Identifier: MIT */
#ifndef TINE_TEST_STEP_H
#define TINE_TEST_STEP_H

#include "test.h"

struct steps {
	void (*before)(void *arg);	     /* in the child, at full speed; or NULL */
	void (*fn)(void *arg);		     /* in the child, an instruction at a time */
	void (*after)(void *arg, long step); /* in this process, after each death */
};

/*
 * Runs fn in a child again and again, and kills it after its first instruction, after its
 * second, and so on, until it comes to its end. How many steps it took to the end. The
 * time is that of their square, so that fn should be one call.
 */
long test_kill_each_step(const struct steps *, void *arg);
/*
 * Not after every instruction but every n-th, others in each run, as
 * test_kill_each_step() does where TEST_SCALE is n.
 */
long test_kill_some_steps(const struct steps *, void *arg, long n);

#endif
