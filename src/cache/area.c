/* SPDX-License-Identifier: MIT */
#include "cache/area.h"

#include "base/limits.h"
#include "cache/format.h"
#include "cache/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART_OF_FREE 8

static bool is_free(uint64_t space)
{
	void *probe = mmap(NULL, space, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (probe == MAP_FAILED)
		return false;
	munmap(probe, space);
	return true;
}

/* Of an address space that is limited, a part of what is free: others need some too. */
static uint64_t modest(uint64_t wanted, uint64_t needed)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
		return wanted;
	while (wanted / 2 >= needed && !is_free(PART_OF_FREE * wanted))
		wanted /= 2;
	return wanted;
}

/* Of address space, which may be scarce: what is wanted, or less. */
static int map_area(int fd, uint64_t wanted, uint64_t needed, uint64_t *room, char **base)
{
	int err = -ENOMEM;

	*room = modest(wanted > needed ? wanted : needed, needed);
	for (; err == -ENOMEM && *room >= needed; *room /= 2) {
		*base = mmap(NULL, *room, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (*base != MAP_FAILED)
			return 0;
		err = -errno;
	}
	return err;
}

int area_open(struct area *area, int folder, const char *name, bool shared, uint64_t room)
{
	struct stat now;
	char *base;
	int err, fd;

	*area = (struct area){ .mutex = PTHREAD_MUTEX_INITIALIZER, .own = { .fd = -1 } };
	fd = openat(folder, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
		    shared ? 0666 : 0600);
	if (fd < 0)
		return -errno;
	err = fds_raise(&fd, 1);
	if (err)
		return err;
	if (fstat(fd, &now) != 0 || !S_ISREG(now.st_mode)) {
		err = -ENOTEMPTY;
		goto close_file;
	}
	if (!shared && !is_private(&now)) {
		err = -EPERM;
		goto close_file;
	}
	err = map_area(fd, room, (uint64_t)now.st_size + SEGMENT, &area->room, &base);
	if (err)
		goto close_file;
	area->own = own_fd(fd);
	atomic_init(&area->base, base);
	atomic_init(&area->size, now.st_size);
	return 0;

close_file:
	close(fd);
	return err;
}

void area_close(struct area *area)
{
	struct outgrown *old;

	if (area->own.fd < 0)
		return;
	munmap(atomic_load(&area->base), area->room);
	while ((old = area->outgrown) != NULL) {
		area->outgrown = old->next;
		munmap(old->base, old->room);
		free(old);
	}
	own_fd_close(&area->own);
	area->own.fd = -1;
}

/* Looks how far the file reaches, and maps it anew where that is beyond the mapping. */
static int area_look(struct area *area)
{
	uint64_t size, room;
	struct outgrown *old;
	char *base;
	int err = 0, fd = own_fd_use(&area->own);

	if (fd < 0)
		return -EBADF;
	/* Bound: this process's threads, which map a file with it. */
	pthread_mutex_lock(&area->mutex);
	size = file_size(fd);
	if (size > area->room) {
		old = malloc(sizeof(*old));
		err = old ? map_area(fd, 4 * size, size, &room, &base) : -ENOMEM;
		if (err) {
			free(old);
			goto unlock;
		}
		*old = (struct outgrown){ area->outgrown, atomic_load(&area->base),
					  area->room };
		area->outgrown = old;
		area->room = room;
		atomic_store(&area->base, base);
	}
	/* After the base: who sees the size must not use an older one. */
	atomic_store(&area->size, size);
unlock:
	pthread_mutex_unlock(&area->mutex);
	return err;
}

static bool reaches(struct area *area, uint64_t offset, uint64_t len)
{
	uint64_t size = atomic_load_explicit(&area->size, memory_order_acquire);

	return len <= size && offset <= size - len;
}

void *area_at(struct area *area, uint64_t offset, uint64_t len)
{
	if (!reaches(area, offset, len) &&
	    (area_look(area) != 0 || !reaches(area, offset, len)))
		return NULL;
	return atomic_load_explicit(&area->base, memory_order_acquire) + offset;
}

int area_grow(struct area *area, uint64_t size)
{
	uint64_t now;
	int err = 0, fd;

	if (reaches(area, 0, size))
		return 0;
	fd = own_fd_use(&area->own);
	if (fd < 0)
		return -EBADF;
	now = file_size(fd);
	if (now < size && !file_may_reach(size))
		return -EFBIG;
	if (now < size)
		err = -posix_fallocate(fd, now, size - now);
	return err ? err : area_look(area);
}

uint64_t area_offset(struct area *area, const word *where)
{
	uintptr_t at = (uintptr_t)where, base = (uintptr_t)atomic_load(&area->base);

	if (at >= base && at < base + area->room)
		return at - base;
	for (struct outgrown *old = area->outgrown; old; old = old->next)
		if (at >= (uintptr_t)old->base && at < (uintptr_t)old->base + old->room)
			return at - (uintptr_t)old->base;
	return UINT64_MAX;
}
