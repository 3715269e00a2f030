/* SPDX-License-Identifier: MIT */
/*
 * A file as memory. How long a mapping is, unmapping must know: a page of the process's
 * own lies before the file's and says so. There is no table then that threads would have
 * to lock, and a fork copies the page along with the mapping.
 */
#include "base/export.h"
#include "base/limits.h"
#include "base/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x70616d656e697400)

struct map_head {
	uint64_t magic;
	size_t len; /* of all, this page too */
};

static size_t map_page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Holes are filled as well, in a file that is long enough. */
static int fill_with_zeros(int fd, size_t size)
{
	struct stat now;
	int err;

	if (fstat(fd, &now) != 0)
		return -errno;
	if (!S_ISREG(now.st_mode))
		return -ENODEV;
	if (now.st_size < (off_t)size && !file_may_reach((off_t)size))
		return -EFBIG;
	do
		err = posix_fallocate(fd, 0, (off_t)size);
	while (err == EINTR);
	return -err;
}

static int map_with_head(void **out, int fd, size_t size)
{
	size_t page = map_page_size(), len = size + page;
	struct map_head *head = mmap(NULL, len, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *mem = (char *)head + page;
	int err;

	if (head == MAP_FAILED)
		return -errno;
	if (mmap(mem, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
	    MAP_FAILED) {
		err = -errno;
		munmap(head, len);
		return err;
	}
	*head = (struct map_head){ MAGIC, len };
	/* Who writes before what was mapped is stopped here. */
	mprotect(head, page, PROT_READ);
	*out = mem;
	return 0;
}

int tine_shared_map_fd(void **out, int fd, size_t size)
{
	int err;

	if (!out || size == 0)
		return -EINVAL;
	if (size > INT64_MAX / 2)
		return -EFBIG;
	err = fill_with_zeros(fd, size);
	return err ? err : map_with_head(out, fd, size);
}

static int check_owner(int fd)
{
	struct stat now;

	if (fstat(fd, &now) != 0)
		return -errno;
	return S_ISREG(now.st_mode) ? check_trust(&now) : -ENODEV;
}

int tine_shared_map(void **out, const char *path, size_t size)
{
	int fd, err;

	if (!out || !path || size == 0)
		return -EINVAL;
	if (size > INT64_MAX / 2)
		return -EFBIG;
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd < 0)
		return -errno;
	err = check_owner(fd);
	err = err ? err : tine_shared_map_fd(out, fd, size);
	close(fd);
	return err;
}

void tine_shared_unmap(void *mem)
{
	struct map_head *head;

	if (!mem)
		return;
	head = (struct map_head *)((char *)mem - map_page_size());
	if (head->magic == MAGIC)
		munmap(head, head->len);
}
