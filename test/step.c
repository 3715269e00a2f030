/* SPDX-License-Identifier: MIT */
#include "step.h"

#include <sys/ptrace.h>

static pid_t start_stopped(const struct steps *steps, void *arg)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(SIGTRAP);
		if (steps->before)
			steps->before(arg);
		raise(SIGSTOP);
		steps->fn(arg);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status))
		test_skip("ptrace is not permitted");
	CHECK(WIFSTOPPED(status));
	CHECK_EQ(WSTOPSIG(status), SIGSTOP);
	return pid;
}

/* Whether it is still there after so many more instructions. */
static bool go(pid_t pid, long steps)
{
	int status, pass = 0;

	while (steps-- > 0) {
		CHECK(ptrace(PTRACE_SINGLESTEP, pid, NULL, (void *)(intptr_t)pass) == 0);
		CHECK(waitpid(pid, &status, 0) == pid);
		if (WIFEXITED(status)) {
			CHECK_EQ(WEXITSTATUS(status), 0);
			return false;
		}
		CHECK(WIFSTOPPED(status));
		pass = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
	}
	return true;
}

long test_kill_each_step(const struct steps *steps, void *arg)
{
	return test_kill_some_steps(steps, arg, 1);
}

long test_kill_some_steps(const struct steps *steps, void *arg, long stride)
{
	long scale = getenv("TEST_SCALE") ? atol(getenv("TEST_SCALE")) : 1, at = 1;

	stride *= scale > 0 ? scale : 1;
	if (stride > 1)
		at += (long)(test_seed() % (uint64_t)stride);
	for (;; at += stride) {
		pid_t pid = start_stopped(steps, arg);

		if (!go(pid, at))
			return at;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		steps->after(arg, at);
	}
}
