/* SPDX-License-Identifier: MIT */
/*
 * Whether a data file is what LMDB leaves. LMDB believes each page: a damaged one has it
 * read beyond the map, or go round for ever. So who opens a folder that nobody else has
 * open looks at every page that is in use, once: that it is the page it is taken for,
 * that what it points to lies in it, and that no page is used twice, or used and free.
 * That is bounded by the length of the file. Bytes that are changed within a key or a
 * value are not noticed.
 */
#include "store/file/inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Of LMDB's format 1: offsets in a page, a node, a first page and a table in that. */
#define HEAD	  16u
#define NODE	  8u
#define BRANCH	  1u
#define LEAF	  2u
#define OVERFLOWS 4u
#define KINDS	  15u
#define BIG	  1u
#define MAGIC	  0xBEEFC0DEu
#define TABLE	  48u
#define MAPPED	  16u
#define KEY_MAX	  511u
#define DEPTH_MAX 32u
/* Of a table: how keys are compared, and whether one has several values. */
#define ORDER	     0x7fu
#define INTEGER_KEYS 8u

struct check {
	const unsigned char *map;
	size_t page, last; /* the last that is used */
	unsigned char *seen;
	/* LMDB's table of free pages: each value is a number of them, and they. */
	bool is_free;
};

static uint16_t read16(const unsigned char *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

static uint64_t read64(const unsigned char *at)
{
	uint64_t number;

	memcpy(&number, at, sizeof(number));
	return number;
}

static bool see(struct check *check, uint64_t page)
{
	if (page < 2 || page > check->last || check->seen[page])
		return false;
	check->seen[page] = 1;
	return true;
}

/* NULL: it is another page, or was seen before. */
static const unsigned char *see_page(struct check *check, uint64_t number, unsigned kind)
{
	const unsigned char *page = check->map + number * check->page;

	if (!see(check, number) || read64(page) != number ||
	    (read16(page + 10) & KINDS) != kind)
		return NULL;
	return page;
}

static bool check_numbers(struct check *check, const unsigned char *data, size_t len)
{
	uint64_t n, before = UINT64_MAX;

	if (len < 8)
		return false;
	n = read64(data);
	if (n > len / 8 - 1)
		return false;
	/* The largest comes first; of another order LMDB ends the process. */
	for (uint64_t i = 1; i <= n; i++) {
		uint64_t number = read64(data + 8 * i);

		if (number >= before || !see(check, number))
			return false;
		before = number;
	}
	return true;
}

static bool check_big(struct check *check, uint64_t number, size_t len)
{
	const unsigned char *page = see_page(check, number, OVERFLOWS);
	uint64_t pages;

	if (!page)
		return false;
	pages = read16(page + 12) | (uint64_t)read16(page + 14) << 16;
	if (pages < (HEAD + len + check->page - 1) / check->page ||
	    pages > check->last - number + 1)
		return false;
	for (uint64_t i = 1; i < pages; i++)
		if (!see(check, number + i))
			return false;
	return !check->is_free || check_numbers(check, page + HEAD, len);
}

static bool check_leaf_node(struct check *check, const unsigned char *node, size_t room)
{
	unsigned flags = read16(node + 4), key = read16(node + 6);
	size_t len = read16(node) | (size_t)read16(node + 2) << 16;
	const unsigned char *data = node + NODE + key;

	if (key == 0 || key > KEY_MAX || (flags & ~BIG))
		return false;
	if (NODE + key + (flags ? 8 : len) > room)
		return false;
	if (flags)
		return check_big(check, read64(data), len);
	return !check->is_free || check_numbers(check, data, len);
}

/* depth: of pages below, this one too. */
static bool check_tree(struct check *check, uint64_t number, unsigned depth)
{
	const unsigned char *page = see_page(check, number, depth > 1 ? BRANCH : LEAF);
	unsigned lower, upper;

	if (!page)
		return false;
	lower = read16(page + 12);
	upper = read16(page + 14);
	if (lower <= HEAD || lower % 2 || lower > upper || upper > check->page)
		return false;
	for (unsigned at = HEAD; at < lower; at += 2) {
		unsigned offset = read16(page + at);
		const unsigned char *node = page + offset;

		if (offset < upper || offset + NODE > check->page)
			return false;
		if (depth == 1) {
			if (!check_leaf_node(check, node, check->page - offset))
				return false;
			continue;
		}
		if (NODE + read16(node + 6) > check->page - offset ||
		    !check_tree(check,
				read16(node) | (uint64_t)read16(node + 2) << 16 |
					(uint64_t)read16(node + 4) << 32,
				depth - 1))
			return false;
	}
	return true;
}

static bool check_table(struct check *check, const unsigned char *table, bool is_free)
{
	unsigned depth = read16(table + 6);
	uint64_t root = read64(table + 40);

	check->is_free = is_free;
	if ((read16(table + 4) & ORDER) != (is_free ? INTEGER_KEYS : 0))
		return false;
	if (root == UINT64_MAX)
		return depth == 0;
	return depth > 0 && depth <= DEPTH_MAX && check_tree(check, root, depth);
}

/*
 * Both first pages are, and no map was longer than the file is, or is made to be: LMDB
 * maps as much as they say; the one with the higher number counts.
 */
static const unsigned char *find_first(const unsigned char *map, size_t page, size_t len)
{
	const unsigned char *first[2] = { map + HEAD, map + page + HEAD };

	for (int i = 0; i < 2; i++) {
		uint32_t words[2], size;

		memcpy(words, first[i], sizeof(words));
		memcpy(&size, first[i] + 24, sizeof(size));
		if (words[0] != MAGIC || words[1] != 1 || size != page ||
		    read64(first[i] + MAPPED) >
			    (len < FIRST_SIZE ? FIRST_SIZE : len + page))
			return NULL;
	}
	return first[read64(first[0] + 128) < read64(first[1] + 128)];
}

static int check_pages_mapped(struct check *check, size_t size)
{
	const unsigned char *first = find_first(check->map, check->page, size);
	bool whole;

	if (!first)
		return -EBADMSG;
	check->last = read64(first + 120);
	if (check->last < 1 || check->last >= size / check->page)
		return -EBADMSG;
	check->seen = calloc(check->last + 1, 1);
	if (!check->seen)
		return -ENOMEM;
	whole = check_table(check, first + 24 + TABLE, false) &&
		check_table(check, first + 24, true);
	free(check->seen);
	return whole ? 0 : -EBADMSG;
}

int check_whole(int fd, size_t size)
{
	struct check check = { .page = lmdb_page_size() };
	void *map;
	int err;

	if (size < 2 * check.page)
		return -EBADMSG;
	map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	check.map = map;
	err = check_pages_mapped(&check, size);
	munmap(map, size);
	return err;
}
