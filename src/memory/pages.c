/* SPDX-License-Identifier: MIT */
#include "memory/pages.h"

#include "base/cgroup.h"
#include "base/isa.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define LOOK_AGAIN ((size_t)4 << 20) /* bytes committed between looks at the limits */
#define MARGIN	   ((size_t)8 << 20) /* bytes left to everybody else */

/*
 * Kernels before 5.14: a system call that reads answers EFAULT where a load would trap,
 * and reading a page of a memfd commits it. No process has the number -1.
 */
static int populate_by_calls(const char *from, const char *to)
{
	for (const char *page = from; page < to; page += 4096)
		if (syscall(SYS_sched_setaffinity, -1, sizeof(long), page) != 0 &&
		    errno == EFAULT)
			return -ENOMEM;
	return 0;
}

/*
 * Asks first, when it is a lot: what a cgroup's limit refuses, the kernel refuses by
 * killing somebody.
 */
static bool within_limits(size_t len)
{
	static _Atomic size_t unseen = LOOK_AGAIN; /* looks at the first call */

	if (atomic_fetch_add(&unseen, len) + len < LOOK_AGAIN)
		return true;
	atomic_store(&unseen, 0);
	if (memory_headroom("") >= len + MARGIN)
		return true;
	atomic_store(&unseen, LOOK_AGAIN);
	return false;
}

static int populate(char *from, char *to)
{
	while (madvise(from, to - from, MADV_POPULATE_WRITE) != 0) {
		if (errno == EINVAL)
			return populate_by_calls(from, to);
		if (errno != EINTR && errno != EAGAIN)
			return -ENOMEM;
	}
	return 0;
}

static char *page_at(const void *mem)
{
	return (char *)((uintptr_t)mem & ~(uintptr_t)4095);
}

int pages_commit(void *mem, size_t len)
{
	char *from = page_at(mem), *to = page_at((char *)mem + len + 4095);

	return within_limits(to - from) ? populate(from, to) : -ENOMEM;
}

void pages_meet(void *mem, size_t len)
{
	populate(page_at(mem), page_at((char *)mem + len + 4095));
}

/*
 * In the cache these stores are a tenth faster than those of memset(3), which is what a
 * large block costs beside malloc(3)'s. How many bytes were written.
 */
#ifdef __x86_64__
__attribute__((target("avx2"))) static size_t zero_by_vectors(char *mem, size_t len)
{
	const __m256i zero = _mm256_setzero_si256();
	size_t done = 0;

	for (; done + 64 <= len; done += 64) {
		_mm256_store_si256((__m256i *)(mem + done), zero);
		_mm256_store_si256((__m256i *)(mem + done + 32), zero);
	}
	return done;
}
#endif

void pages_zero(void *mem, size_t len)
{
	size_t done = 0;

#ifdef __x86_64__
	if (isa_is_here(ISA_AVX2))
		done = zero_by_vectors(mem, len);
#endif
	memset((char *)mem + done, 0, len - done);
}

bool pages_drop(void *mem, size_t len)
{
	return madvise(mem, len, MADV_REMOVE) == 0;
}

page_mark *pages_own_marks(size_t n)
{
	size_t len = n / 8 + 1;
	void *mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);

	if (mem == MAP_FAILED)
		return NULL;
	if (madvise(mem, len, MADV_WIPEONFORK) == 0)
		return mem;
	munmap(mem, len);
	return NULL;
}
