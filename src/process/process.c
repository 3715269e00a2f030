/* SPDX-License-Identifier: MIT */
#include "base/deadline.h"
#include "base/options.h"
#include "process/child.h"
#include "process/keeper.h"
#include "process/program.h"
#include "queue/queue.h"
#include "sync/member.h"
#include "trace/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

struct tine_process {
	bool spawned; /* program is what counts; else child */
	struct child child;
	struct program program;
	int (*fn)(void *arg);
	void *arg;
	char name[16];
	struct trace *trace; /* or NULL */
	int gate;	     /* of a producer, which is told its id there; or -1 */
};

/* The parent dies along with the child, or writes at once. */
static void wait_at_gate(int gate)
{
	uint64_t id;

	/* Bound: the parent, whose end is this process's end too. */
	while (read(gate, &id, sizeof(id)) < 0 && errno == EINTR)
		;
	member_adopt(id);
	close(gate);
}

static int declare_producer(tine_process *process, tine_queue *queue)
{
	uint64_t id;
	int err = queue_join_for(queue, process->child.pid, &id);

	/* Bound: an eventfd to which nothing has been written. */
	if (!err && write(process->gate, &id, sizeof(id)) < 0)
		err = -errno;
	return err;
}

static int run(void *arg, int lifeline)
{
	struct tine_process *process = arg;

	child_tie(lifeline);
	if (*process->name)
		prctl(PR_SET_NAME, process->name);
	trace_be(process->trace);
	if (process->gate >= 0)
		wait_at_gate(process->gate);
	return process->fn(process->arg) & 0xff;
}

static int start_child(tine_process *process, tine_queue *produces)
{
	int err;

	process->gate = produces ? eventfd(0, EFD_CLOEXEC) : -1;
	if (produces && process->gate < 0)
		return -errno;
	err = child_start(&process->child, run, process);
	if (!err && produces) {
		err = declare_producer(process, produces);
		if (err) {
			kill(process->child.pid, SIGKILL);
			/* Bound: a child that was just killed by SIGKILL. */
			child_wait(&process->child, NULL, TINE_FOREVER);
			child_release(&process->child);
		}
	}
	if (produces)
		close(process->gate);
	return err;
}

int tine_process_start(tine_process **out, int (*fn)(void *arg), void *arg,
		       const tine_process_opts *opts)
{
	tine_queue *produces = opts ? opts->produces : NULL;
	tine_process *process;
	int err;

	if (!out || !fn || (opts && !TAIL_IS_ZERO(opts)))
		return -EINVAL;
	err = produces ? queue_check(produces) : 0;
	if (err)
		return err;
	process = calloc(1, sizeof(*process));
	if (!process)
		return -ENOMEM;
	process->fn = fn;
	process->arg = arg;
	if (opts && opts->name)
		snprintf(process->name, sizeof(process->name), "%s", opts->name);
	process->trace = trace_new(0);
	err = start_child(process, produces);
	if (err) {
		trace_free(process->trace);
		free(process);
		return err;
	}
	trace_place(process->trace, process->child.pid,
		    *process->name ? process->name : "process");
	*out = process;
	return 0;
}

int tine_process_spawn(tine_process **out, const tine_command *command,
		       const tine_process_opts *opts)
{
	tine_process *process;
	int err;

	if (!out || (opts && (opts->name || opts->produces || !TAIL_IS_ZERO(opts))))
		return -EINVAL;
	process = calloc(1, sizeof(*process));
	if (!process)
		return -ENOMEM;
	process->spawned = true;
	err = program_start(&process->program, command);
	if (err) {
		free(process);
		return err;
	}
	*out = process;
	return 0;
}

int tine_process_usage(tine_process *process, tine_usage *out)
{
	if (!process || !out)
		return -EINVAL;
	return process->spawned ? program_usage(&process->program, out) : -ENOTSUP;
}

int tine_process_wait(tine_process *process, tine_exit *how, int64_t deadline)
{
	int err;

	if (!process || is_no_deadline(deadline))
		return -EINVAL;
	if (process->spawned)
		return program_wait(&process->program, how, deadline);
	err = child_await(&process->child, how, deadline);
	if (process->trace && process->child.ended)
		trace_process_end(process->trace, process->child.how);
	return err;
}

/* Until it is reaped, here, its number is its own. */
int tine_process_kill(tine_process *process, int signal)
{
	int err;

	if (!process)
		return -EINVAL;
	if (process->spawned)
		return program_kill(&process->program, signal);
	err = child_wait(&process->child, NULL, TINE_NOWAIT);
	if (err == -EPERM)
		return err;
	if (err != -ETIMEDOUT)
		return -ESRCH;
	return kill(process->child.pid, signal) == 0 ? 0 : -errno;
}

pid_t tine_process_pid(const tine_process *process)
{
	if (!process)
		return -EINVAL;
	return process->spawned ? process->program.pid : process->child.pid;
}

int tine_process_fd(const tine_process *process)
{
	if (!process)
		return -EINVAL;
	if (process->spawned)
		return process->program.owner == getpid() ? process->program.pidfd.fd
							  : -EPERM;
	return process->child.owner == getpid() ? process->child.handle.fd : -EPERM;
}

void tine_process_free(tine_process *process)
{
	if (!process)
		return;
	if (process->spawned) {
		program_free(&process->program);
		free(process);
		return;
	}
	if (tine_process_kill(process, SIGKILL) == 0)
		/* Bound: a child that was just killed by SIGKILL. */
		child_wait(&process->child, NULL, TINE_FOREVER);
	if (process->trace && process->child.ended)
		trace_process_end(process->trace, process->child.how);
	trace_free(process->trace);
	child_release(&process->child);
	free(process);
}
