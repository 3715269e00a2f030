/* SPDX-License-Identifier: MIT */
/*
 * The family's memory as a mapping: the first call makes it, every fork inherits it, and
 * a program that was executed joins it by its descriptor; at one address in all of them.
 *
 * It is a file in memory (memfd), of its full size from the beginning and sealed so:
 * whoever has a descriptor could cut it short else, and the next access in any member
 * would be a SIGBUS. There is no name to leak. The descriptor stays open, and is known by
 * its inode: a program may close it, and have another file of its number.
 *
 *	family		before the memory, this process's own page
 *	head		the file's first bytes, which never change: what a stranger has
 *			to check before it looks at anything else
 *	room		what begin() wrote, and all the rest
 *
 * The address is one that the kernel gives nobody who does not ask for it, and another in
 * each family, so that it is free in the programs that join.
 *
 * To join writes nothing that others see: who dies or is stopped in it is a stranger
 * still, and after it a process like any other, which becomes a member as they do, when
 * it first uses what has members (member.h). One that was a member before it executed
 * the program that joins is buried then, as any dead one is, by itself: all others see
 * that it lives.
 *
 * What strangers may be: built apart from the founder, linked statically or not, of the
 * same sources of tine and version of the C library (the stamp). Therefore no object in
 * the family's memory may have
 *
 *	the address of a function, of a constant or of a variable: jobs and their
 *		functions are in a pool's ledger, which only its owner and the workers
 *		that were forked for it use
 *	the number of a descriptor: pidfds, lifelines and sockets are in the memory of
 *		the process that has them
 *	what depends on the processors or the limits of one process, but where it is
 *		only a measure, as how long a queue's first nap is
 *
 * and what is static in a process is found anew in each: its record among the members,
 * its place, what its threads may hold. Two things mean the same in programs that have
 * nothing in common: the numbers of processes and threads, in records and locks, in one
 * PID namespace (hence the place in the head); and the links of the robust lists, which
 * point into the holder's own memory and are followed by that holder alone.
 */
#include "memory/family.h"

#include "base/futex.h"
#include "base/limits.h"
#include "base/own_fd.h"
#include "base/place.h"
#include "memory/head.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define LARGEST	       ((size_t)64 << 30)
#define UNDER_VALGRIND ((size_t)2 << 30)
#define SEALS	       (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define ABOVE_STDERR   3
#define HUGE_PAGE      ((size_t)2 << 20)

/* ---- the head ---------------------------------------------------------------------- */

/* Of another process it is another, also where the kernel has no random numbers yet. */
static uint64_t random_number(void)
{
	uint64_t number[2];

	if (getrandom(number, sizeof(number), GRND_NONBLOCK) != sizeof(number)) {
		const void *random = (const void *)getauxval(AT_RANDOM);

		number[0] = (uint64_t)tine_now() ^ (uint64_t)getpid() << 32;
		number[1] = random ? head_hash(number[0], random, 16) : 0;
	}
	return head_hash(number[0], &number[1], sizeof(number[1])) | 1;
}

static int write_head(const struct family *family)
{
	struct family_head head = { .magic = FAMILY_MAGIC,
				    .stamp = head_stamp(),
				    .id = family->id,
				    .place = place_packed(place_here()),
				    .base = (uintptr_t)family_base(family),
				    .span = family->span };

	head.sum = head_sum(&head);
	/* Bound: a file in memory. */
	return pwrite(family->own.fd, &head, sizeof(head), 0) == sizeof(head) ? 0
									      : -ENOMEM;
}

/* As tine_family_join, of what the descriptor says. Looks at nothing but the head. */
static int read_head(struct family_head *head, int fd)
{
	int seals, flags = fcntl(fd, F_GETFL);
	struct stat file;

	if (flags < 0 || fstat(fd, &file) != 0)
		return -EBADF;
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0)
		return -EBADMSG;
	if ((flags & O_ACCMODE) != O_RDWR)
		return -EACCES;
	/* Bound: a file in memory. */
	if (pread(fd, head, sizeof(*head), 0) != sizeof(*head) ||
	    head->magic != FAMILY_MAGIC)
		return -EBADMSG;
	if (file.st_uid != geteuid() && file.st_uid != 0)
		return -EPERM;
	if (head->stamp != head_stamp())
		return -EPROTO;
	if ((seals & SEALS) != SEALS || !head_is_whole(head, (uint64_t)file.st_size))
		return -EBADMSG;
	return head_is_of_here(head) ? 0 : -ENOTSUP;
}

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
		while (span > FAMILY_LEAST && span > limit.rlim_cur / 4 * 3)
			span /= 2;
	/* Beyond this one ftruncate(2) would raise SIGXFSZ. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		while (span > FAMILY_LEAST && span > limit.rlim_cur)
			span /= 2;
	return span;
}

static int open_file(void)
{
	int fd = memfd_create("tine", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	return fd >= 0 && fds_raise(&fd, 1) == 0 ? fd : -1;
}

/* ---- the mapping ------------------------------------------------------------------- */

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

/*
 * With room for this process's page before it. At the address, where the flags say so;
 * kernels before 4.17 take that for a wish.
 */
static int map_file(struct family **out, uintptr_t at, int flags, int fd, size_t span)
{
	size_t len = FAMILY_PAGE + span;
	struct own_fd own = own_fd(fd);
	struct family *family;

	if (own.fd < 0)
		return -EBADF;
	family = mmap((void *)at, len, PROT_NONE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
	if (family == MAP_FAILED)
		return -errno;
	if ((flags && (uintptr_t)family != at) ||
	    mprotect(family, FAMILY_PAGE, PROT_READ | PROT_WRITE) != 0 ||
	    mmap(family_base(family), span, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0) == MAP_FAILED) {
		munmap(family, len);
		return flags && (uintptr_t)family != at ? -EEXIST : -ENOMEM;
	}
	/* A core dump would fill in every page of it. */
	madvise(family_base(family), span, MADV_DONTDUMP);
	*family = (struct family){ .span = span, .own = own };
	*out = family;
	return 0;
}

/* Where to have it, with the page before it; the kernel is free to choose another. */
static uintptr_t wish(uint64_t random, size_t span)
{
	const uint64_t place = UINT64_C(1) << FAMILY_BITS;
	uint64_t at = FAMILIES_FROM + random % FAMILIES * place;

	at += random / FAMILIES % ((place - span - FAMILY_PAGE) / HUGE_PAGE) * HUGE_PAGE;
	return at <= UINTPTR_MAX - place ? (uintptr_t)at : 0;
}

static int make_mapping(struct family **out, int fd)
{
	int err = -ENOMEM;

	for (size_t span = largest_span(); err && span >= FAMILY_LEAST; span /= 2)
		if (file_may_reach(span) && ftruncate(fd, (off_t)span) == 0)
			err = map_file(out, wish(random_number() >> 1, span), 0, fd,
				       span);
	return err;
}

static void drop_mapping(struct family *family)
{
	close(family->own.fd);
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
	if (make_mapping(&family, fd) != 0) {
		close(fd);
		return NULL;
	}
	family->id = random_number();
	if (begin(family_memory(family), family_room(family)) != 0 ||
	    write_head(family) != 0 || fcntl(fd, F_ADD_SEALS, SEALS) != 0) {
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

int family_fd(const struct family *family)
{
	return own_fd_is_open(&family->own) ? family->own.fd : -EBADF;
}

/* ---- joining ----------------------------------------------------------------------- */

static int map_others(struct family **out, const struct family_head *head, int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, ABOVE_STDERR), err;

	if (copy < 0)
		return -errno;
	err = map_file(out, head->base - FAMILY_PAGE, MAP_FIXED_NOREPLACE, copy,
		       head->span);
	if (err)
		close(copy);
	else
		(*out)->id = head->id;
	return err;
}

static void (*_Atomic look_at_former)(void);

void family_on_join(void (*look)(void))
{
	atomic_store(&look_at_former, look);
}

static int join_family(int fd)
{
	void (*look)(void) = atomic_load(&look_at_former);
	struct family *family = family_known();
	struct family_head head;
	int err = read_head(&head, fd);

	if (err)
		return err;
	if (!family) {
		err = map_others(&family, &head, fd);
		if (err)
			return err;
		family = publish_family(family);
		if (family->id == head.id && look)
			look();
	}
	return family->id == head.id ? 0 : -EBUSY;
}

/* What tine_process_spawn() has given this program, in the form of FAMILY_GIVEN. */
static int join_inherited(void)
{
	const char *given = secure_getenv(FAMILY_VARIABLE);
	const struct family *family = family_known();
	char same[FAMILY_GIVEN_SIZE];
	struct family_head head;
	unsigned long long id;
	int fd, err;

	if (!given)
		return -ENOENT;
	if (sscanf(given, FAMILY_GIVEN, &fd, &id) != 2 ||
	    snprintf(same, sizeof(same), FAMILY_GIVEN, fd, id) < 0 ||
	    strcmp(given, same) != 0)
		return -EBADMSG;
	if (family)
		return family->id == id ? 0 : -EBUSY;
	err = read_head(&head, fd);
	if (err)
		return err;
	/* The program that was given it may have started this one without. */
	if (head.id != id)
		return -EBADF;
	err = join_family(fd);
	if (!err)
		close(fd);
	return err;
}

int tine_family_join(int fd)
{
	if (fd < TINE_FAMILY_INHERITED)
		return -EBADF;
	return fd == TINE_FAMILY_INHERITED ? join_inherited() : join_family(fd);
}
