/* SPDX-License-Identifier: MIT */
/*
 * The family's memory as a mapping: the first call makes it, and every fork inherits it
 * at its address.
 *
 * It is a file in memory (memfd), of its full size from the beginning and sealed so:
 * whoever has a descriptor could cut it short else, and the next access in any member
 * would be a SIGBUS. There is no name to leak. The descriptor stays open, and is known by
 * its inode: a program may close it, and have another file of its number.
 *
 *	family		this process's own page; not in the file
 *	head		the file's first bytes, which never change
 *	what begin() wrote, and all the rest
 */
#include "memory/family.h"

#include "base/limits.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LARGEST	       ((size_t)64 << 30)
#define SMALLEST       ((size_t)1 << 20)
#define UNDER_VALGRIND ((size_t)2 << 30)
#define SEALS	       (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define ABOVE_STDERR   3

struct family *_Atomic the_family;

/* ---- the file ---------------------------------------------------------------------- */

/*
 * Room for others: a limit on address space or file size takes part of the reservation.
 */
static size_t largest_span(void)
{
	const char *preloaded = getenv("LD_PRELOAD");
	size_t span = LARGEST;
	struct rlimit limit;

	/* At the end valgrind reads all there is, to find leaks, and so fills it. */
	if (preloaded && strstr(preloaded, "/vgpreload_"))
		span = UNDER_VALGRIND;

	if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		while (span > SMALLEST && span > limit.rlim_cur / 4 * 3)
			span /= 2;
	/* Beyond this one ftruncate(2) would raise SIGXFSZ. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		while (span > SMALLEST && span > limit.rlim_cur)
			span /= 2;
	return span;
}

/* A number below 3 may be one that the program will close and open for its own use. */
static int open_file(void)
{
	int fd = memfd_create("tine", MFD_CLOEXEC | MFD_ALLOW_SEALING), moved;

	if (fd < 0 || fd >= ABOVE_STDERR)
		return fd;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, ABOVE_STDERR);
	close(fd);
	return moved;
}

/* ---- the mapping ------------------------------------------------------------------- */

/* With room for this process's page before it, at the address if it is not NULL. */
static struct family *map_file(char *at, int fd, size_t span)
{
	size_t len = FAMILY_PAGE + span;
	struct stat file;
	struct family *family;

	if (fstat(fd, &file) != 0)
		return NULL;
	family = mmap(at, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		      0);
	if (family == MAP_FAILED)
		return NULL;
	if (mprotect(family, FAMILY_PAGE, PROT_READ | PROT_WRITE) != 0 ||
	    mmap(family_base(family), span, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0) == MAP_FAILED) {
		munmap(family, len);
		return NULL;
	}
	/* A core dump would fill in every page of it. */
	madvise(family_base(family), span, MADV_DONTDUMP);
	*family = (struct family){
		.span = span, .fd = fd, .device = file.st_dev, .inode = file.st_ino
	};
	return family;
}

static struct family *make_mapping(int fd)
{
	for (size_t span = largest_span(); span >= SMALLEST; span /= 2) {
		struct family *family;

		if (!file_may_reach(span) || ftruncate(fd, (off_t)span) != 0)
			continue;
		family = map_file(NULL, fd, span);
		if (family)
			return family;
	}
	return NULL;
}

static void drop_mapping(struct family *family)
{
	close(family->fd);
	munmap(family, FAMILY_PAGE + family->span);
}

/* Two threads may come first: the family that is this process's from now on. */
static struct family *publish_family(struct family *family)
{
	struct family *other = NULL;

	mprotect(family, FAMILY_PAGE, PROT_READ);
	if (atomic_compare_exchange_strong(&the_family, &other, family))
		return family;
	drop_mapping(family);
	return other;
}

static struct family *make_family(int (*begin)(void *mem, size_t len))
{
	struct family *family;
	int fd = open_file();

	if (fd < 0)
		return NULL;
	family = make_mapping(fd);
	if (!family) {
		close(fd);
		return NULL;
	}
	if (begin(family_memory(family), family_room(family)) != 0 ||
	    fcntl(fd, F_ADD_SEALS, SEALS) != 0) {
		drop_mapping(family);
		return NULL;
	}
	return publish_family(family);
}

struct family *family_have(int (*begin)(void *mem, size_t len))
{
	struct family *family = family_known();

	return family ? family : make_family(begin);
}
