/* SPDX-License-Identifier: MIT */
/*
 * What glibc has since 2.30 only. OLD_LIBC: as if this one were older. So too for
 * ThreadSanitizer, which sees locks of the older call, and not those of the newer.
 */
#ifndef TINE_LIBC_H
#define TINE_LIBC_H

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>

#if !__GLIBC_PREREQ(2, 30) || defined(OLD_LIBC) || defined(__SANITIZE_THREAD__)

/*
 * The older call waits for a time of the day, which may be set: in slices, after each of
 * which the clock is asked that nobody sets. Bound: the deadline, and a slice.
 */
static inline int lock_mutex_until(pthread_mutex_t *mutex, clockid_t clock,
				   const struct timespec *end)
{
	const int64_t second = 1000000000, slice = second / 10;
	int err;

	do {
		struct timespec now, day;
		int64_t left;

		clock_gettime(clock, &now);
		clock_gettime(CLOCK_REALTIME, &day);
		left = (end->tv_sec - now.tv_sec) * second + end->tv_nsec - now.tv_nsec;
		if (left <= 0)
			return ETIMEDOUT;
		day.tv_nsec += left < slice ? left : slice;
		day.tv_sec += day.tv_nsec / second;
		day.tv_nsec %= second;
		err = pthread_mutex_timedlock(mutex, &day);
	} while (err == ETIMEDOUT);
	return err;
}

#define pthread_mutex_clocklock lock_mutex_until

#endif
#endif
