/* SPDX-License-Identifier: MIT */
/*
 * Futexes in shared memory, with absolute deadlines on CLOCK_MONOTONIC.
 */
#ifndef TINE_FUTEX_H
#define TINE_FUTEX_H

#include "base/export.h"
#include "base/interrupt.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static inline struct timespec timespec_of(int64_t nanoseconds)
{
	return (struct timespec){ .tv_sec = nanoseconds / 1000000000,
				  .tv_nsec = nanoseconds % 1000000000 };
}

/*
 * Sleeps while *word is value. 0: woken, or the word was another, or a signal came: look
 * again. -ETIMEDOUT. FUTEX_WAIT_BITSET, since its timeout is absolute.
 */
static inline int futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t deadline)
{
	struct timespec ts = timespec_of(deadline > 0 ? deadline : 0);

	if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value,
		    deadline == TINE_FOREVER ? NULL : &ts, NULL,
		    FUTEX_BITSET_MATCH_ANY) == 0)
		return 0;
	interrupt_note(errno);
	return errno == ETIMEDOUT ? -ETIMEDOUT : 0;
}

/*
 * The same for n words at once, of which each has the value that it says. -ENOSYS: this
 * kernel cannot, or may not.
 */
static inline int futex_wait_any(struct futex_waitv *words, unsigned n, int64_t deadline)
{
#ifdef SYS_futex_waitv
	struct timespec ts = timespec_of(deadline > 0 ? deadline : 0);

	if (syscall(SYS_futex_waitv, words, n, 0, &ts, CLOCK_MONOTONIC) >= 0)
		return 0;
	interrupt_note(errno);
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	return errno == ETIMEDOUT ? -ETIMEDOUT : -ENOSYS;
#else
	(void)words;
	(void)n;
	(void)deadline;
	return -ENOSYS;
#endif
}

/* How many were woken. */
static inline int futex_wake(_Atomic uint32_t *word, int n)
{
	return syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
}

/* For the bodies of bounded spins. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
