/* SPDX-License-Identifier: MIT */
#ifndef TINE_SELF_H
#define TINE_SELF_H

#include <stdatomic.h>
#include <sys/types.h>

/*
 * getpid(2), which the kernel is asked for once: where it is kept the kernel puts zeros
 * in each forked child, whoever forks it and how.
 */
pid_t self_ask(void);
extern _Atomic(_Atomic pid_t *) self_kept;

static inline pid_t self_pid(void)
{
	/* Acquire: what it points to is there. */
	_Atomic pid_t *kept = atomic_load_explicit(&self_kept, memory_order_acquire);
	/* Relaxed: it says nothing of other memory. */
	pid_t pid = kept ? atomic_load_explicit(kept, memory_order_relaxed) : 0;

	return pid ? pid : self_ask();
}

#endif
