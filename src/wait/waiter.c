/* SPDX-License-Identifier: MIT */
/*
 * A descriptor for poll(2), and a thread that waits as any caller would and then makes it
 * readable. Nothing of it is in shared memory: who sets an event or puts a message sees a
 * sleeper, and pays for that only while a waiter is armed. So it needs no protocol
 * between processes, and no death that the waits of the object do not know:
 *
 *	who changes the object dies	the thread looks again by itself, as each sleeper
 *	before it wakes			does, and no later than RELOOK
 *	the waiter's process dies	a sleeper that has died: one wake for nothing
 *	it is stopped			a sleeper that sleeps on
 *	it forks			the child has the descriptor and no thread: it
 *					may free its copy, and all else is refused
 *
 * Armed: kind is set, and the thread is busy with it: it looks and sleeps, without the
 * lock, by kind->look(). When that says ready, and no other order came meanwhile, it
 * writes to the descriptor, once, and kind is NULL again. To arm, to disarm and to free
 * are a new order: they take back what was written, and come back when the thread has
 * left the object, which may be freed then. They wake it, again and again, as it may be
 * between its last look at the order and its sleep.
 */
#include "wait/waiter.h"

#include "base/futex.h"
#include "base/own_fd.h"
#include "base/self.h"
#include "base/signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#define RELOOK INT64_C(200000000)
#define AGAIN  INT64_C(1000000)
#define STACK  ((size_t)256 << 10)

struct tine_waiter {
	pid_t pid; /* whose it is */
	struct own_fd own;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t ordered, left;
	const struct waited *kind; /* NULL: not armed */
	void *object;
	uint64_t begun;
	uint64_t order; /* counts what the thread was told */
	bool busy;	/* it is at an object */
	bool ends;
};

/* ---- the thread -------------------------------------------------------------------- */

static void ring(const struct own_fd *own)
{
	uint64_t one = 1;

	/* Bound: it does not block. */
	(void)!write(own_fd_use(own), &one, sizeof(one));
}

/* With the lock, which it lets go of while it is at the object. */
static void visit_object(tine_waiter *waiter)
{
	const struct waited *kind = waiter->kind;
	void *object = waiter->object;
	uint64_t begun = waiter->begun, order = waiter->order;
	bool ready;

	waiter->busy = true;
	pthread_mutex_unlock(&waiter->lock);
	ready = kind->look(object, begun, tine_now() + RELOOK);
	/* Bound: this process's own threads, which hold it for no call that blocks. */
	pthread_mutex_lock(&waiter->lock);
	waiter->busy = false;
	pthread_cond_broadcast(&waiter->left);
	if (!ready || waiter->order != order)
		return;
	ring(&waiter->own);
	waiter->kind = NULL;
}

static void *run_waiter(void *arg)
{
	tine_waiter *waiter = arg;

	/* Bound: this process's own threads, which hold it for no call that blocks. */
	pthread_mutex_lock(&waiter->lock);
	while (!waiter->ends)
		if (waiter->kind)
			visit_object(waiter);
		else
			/* Bound: none: until a thread of this process has an order. */
			pthread_cond_wait(&waiter->ordered, &waiter->lock);
	pthread_mutex_unlock(&waiter->lock);
	return NULL;
}

/* ---- orders ------------------------------------------------------------------------ */

/* With the lock. */
static void leave_object(tine_waiter *waiter)
{
	const struct waited *kind = waiter->kind;
	uint64_t rung;

	waiter->order++;
	waiter->kind = NULL;
	while (kind && waiter->busy) {
		struct timespec until = timespec_of(tine_now() + AGAIN);

		kind->wake(waiter->object);
		/* Bound: AGAIN, and as often until the thread has woken. */
		pthread_cond_timedwait(&waiter->left, &waiter->lock, &until);
	}
	/* Bound: it does not block. */
	(void)!read(own_fd_use(&waiter->own), &rung, sizeof(rung));
}

/* -EINVAL; -EPERM. Nothing of one that was inherited may be waited for. */
static int own_waiter(const tine_waiter *waiter)
{
	if (!waiter)
		return -EINVAL;
	return waiter->pid == self_pid() ? 0 : -EPERM;
}

int waiter_arm(tine_waiter *waiter, const struct waited *kind, void *object)
{
	int err = object ? own_waiter(waiter) : -EINVAL;

	if (err)
		return err;
	if (!own_fd_is_open(&waiter->own))
		return -EBADF;
	/* Bound: this process's own threads, which hold it for no call that blocks. */
	pthread_mutex_lock(&waiter->lock);
	leave_object(waiter);
	waiter->begun = kind->begin ? kind->begin(object) : 0;
	if (kind->look(object, waiter->begun, TINE_NOWAIT)) {
		ring(&waiter->own);
	} else {
		waiter->kind = kind;
		waiter->object = object;
		pthread_cond_signal(&waiter->ordered);
	}
	pthread_mutex_unlock(&waiter->lock);
	return 0;
}

int tine_waiter_disarm(tine_waiter *waiter)
{
	int err = own_waiter(waiter);

	if (err)
		return err;
	/* Bound: this process's own threads, which hold it for no call that blocks. */
	pthread_mutex_lock(&waiter->lock);
	leave_object(waiter);
	pthread_mutex_unlock(&waiter->lock);
	return 0;
}

int tine_waiter_fd(const tine_waiter *waiter)
{
	return waiter ? waiter->own.fd : -EINVAL;
}

/* ---- new and free ------------------------------------------------------------------ */

/* No signal is handled in a thread that the program knows nothing of. */
static int start_thread(tine_waiter *waiter)
{
	pthread_attr_t attributes;
	sigset_t before;
	int err;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	block_signals(&before);
	err = pthread_create(&waiter->thread, &attributes, run_waiter, waiter);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return -err;
}

int tine_waiter_new(tine_waiter **out)
{
	pthread_condattr_t attributes;
	tine_waiter *waiter;
	int err, fd;

	if (!out)
		return -EINVAL;
	waiter = calloc(1, sizeof(*waiter));
	if (!waiter)
		return -ENOMEM;
	waiter->pid = self_pid();
	pthread_mutex_init(&waiter->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&waiter->ordered, &attributes);
	pthread_cond_init(&waiter->left, &attributes);
	pthread_condattr_destroy(&attributes);
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0) {
		err = -errno;
		goto free_waiter;
	}
	err = fds_raise(&fd, 1);
	if (err)
		goto free_waiter;
	waiter->own = own_fd(fd);
	err = start_thread(waiter);
	if (err)
		goto close_fd;
	*out = waiter;
	return 0;

close_fd:
	close(fd);
free_waiter:
	free(waiter);
	return err;
}

void tine_waiter_free(tine_waiter *waiter)
{
	if (!waiter)
		return;
	if (waiter->pid == self_pid()) {
		/* Bound: this process's own threads, as above. */
		pthread_mutex_lock(&waiter->lock);
		waiter->ends = true;
		leave_object(waiter);
		pthread_cond_signal(&waiter->ordered);
		pthread_mutex_unlock(&waiter->lock);
		/* Bound: it is at no object, and ends. */
		pthread_join(waiter->thread, NULL);
		pthread_cond_destroy(&waiter->left);
		pthread_cond_destroy(&waiter->ordered);
		pthread_mutex_destroy(&waiter->lock);
	}
	own_fd_close(&waiter->own);
	free(waiter);
}
