/* SPDX-License-Identifier: MIT */
#include "inspect/memory.h"

#include "base/family.h"
#include "inspect/process.h"
#include "memory/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define UNITS_AT_ONCE 1024

/* ---- finding it -------------------------------------------------------------------- */

struct search {
	int fd;	 /* of the memory, or -1 */
	int err; /* of the last file that is none */
};

/* 0: it is the memory of a family that can be read here. */
static int read_family(int fd, struct family_head *head)
{
	struct stat file;

	if (fstat(fd, &file) != 0 || pread(fd, head, sizeof(*head), 0) != sizeof(*head) ||
	    head->magic != FAMILY_MAGIC)
		return -ENOENT;
	if (head->stamp != head_stamp())
		return -EPROTO;
	if (!head_is_whole(head, (uint64_t)file.st_size))
		return -EBADMSG;
	return head_is_of_here(head) ? 0 : -ENOTSUP;
}

static void try_file(void *arg, const struct open_file *file)
{
	struct search *search = arg;
	struct family_head head;
	int fd, err;

	if (search->fd >= 0)
		return;
	fd = open(file->link, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	err = read_family(fd, &head);
	if (err)
		close(fd);
	else
		search->fd = fd;
	if (err && err != -ENOENT)
		search->err = err;
}

/* What says where all else is. */
static int read_heap(struct memory *memory)
{
	const char *at = (const char *)(uintptr_t)memory->head.base + FAMILY_PAGE;

	if (!memory_read(memory, at, memory->heap, sizeof(*memory->heap)))
		return -EBADMSG;
	memory->members = atomic_load(&memory->heap->root);
	memory->used = atomic_load(&memory->heap->used);
	memory->lock = at + offsetof(struct heap, lock);
	return 0;
}

int memory_open(struct memory *memory, pid_t pid)
{
	struct search search = { .fd = -1, .err = -ENOENT };
	int err = process_files(pid, MEMORY_LINK, try_file, &search);

	if (search.fd < 0)
		return err ? err : search.err;
	return memory_of(memory, search.fd);
}

int memory_of(struct memory *memory, int fd)
{
	struct stat file;
	int err;

	*memory = (struct memory){ .fd = fd, .heap = malloc(sizeof(struct heap)) };
	err = memory->heap ? read_family(memory->fd, &memory->head) : -ENOMEM;
	if (!err && fstat(memory->fd, &file) != 0)
		err = -EBADMSG;
	if (!err)
		err = read_heap(memory);
	if (err) {
		memory_close(memory);
		return err;
	}
	memory->device = file.st_dev;
	memory->inode = file.st_ino;
	return 0;
}

void memory_close(struct memory *memory)
{
	close(memory->fd);
	free(memory->heap);
}

bool memory_read(const struct memory *memory, const void *at, void *into, size_t len)
{
	uint64_t offset = (uintptr_t)at - memory->head.base;

	return (uintptr_t)at >= memory->head.base && offset <= memory->head.span &&
	       len <= memory->head.span - offset &&
	       pread(memory->fd, into, len, (off_t)offset) == (ssize_t)len;
}

/* ---- blocks ------------------------------------------------------------------------ */

static bool slab_blocks(const struct memory *memory, size_t unit, block_fn *fn, void *arg)
{
	const char *first = part_of(memory->heap->first, unit * UNIT);
	struct slab slab;
	size_t size;

	if (!memory_read(memory, part_of(memory->heap->slabs, unit * sizeof(slab)), &slab,
			 sizeof(slab)) ||
	    slab.class >= CLASSES)
		return false;
	size = block_size(slab.class);
	for (size_t slot = 0; slot < UNIT / size; slot++)
		if (slab.used[slot / 64] >> slot % 64 & 1)
			fn(arg, part_of(first, slot * size), size);
	return true;
}

bool memory_blocks(const struct memory *memory, block_fn *fn, void *arg)
{
	const struct heap *heap = memory->heap;
	struct unit units[UNITS_AT_ONCE];
	size_t from = 0, there = 0, len;
	bool whole = heap->high <= heap->units && heap->units <= memory->head.span / UNIT;

	for (size_t unit = 0; whole && unit < heap->high; unit += len) {
		uint32_t word;

		if (unit - from >= there) {
			from = unit;
			there = heap->high - unit;
			if (there > UNITS_AT_ONCE)
				there = UNITS_AT_ONCE;
			if (!memory_read(memory,
					 part_of(heap->table, unit * sizeof(*units)),
					 units, there * sizeof(*units)))
				return false;
		}
		word = units[unit - from].word;
		len = len_of(word);
		if (len == 0 || len > heap->high - unit)
			return false;
		if (kind_of(word) == LARGE)
			fn(arg, part_of(heap->first, unit * UNIT), len * UNIT);
		else if (kind_of(word) == SLAB)
			whole = slab_blocks(memory, unit, fn, arg);
		else
			whole = kind_of(word) == FREE;
	}
	return whole;
}
