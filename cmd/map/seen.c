/* SPDX-License-Identifier: MIT */
/*
 * Two tables by open addressing: of all hashes, 8 bytes each, and, of those that came
 * more than once, how often. So a million inputs take 16 MB, whichever they are.
 */
#include "map/seen.h"

#include "map/text.h"

#include <stdlib.h>
#include <string.h>

/* Rows of a number of words, of which the first is the hash, or 0. */
struct table {
	uint64_t *rows;
	uint64_t size, used;
	unsigned words;
};

static struct table all = { .words = 1 }, many = { .words = 2 };

static uint64_t *find_row(const struct table *table, uint64_t hash)
{
	uint64_t at = hash & (table->size - 1), *row;

	while ((row = table->rows + at * table->words), *row && *row != hash)
		at = (at + 1) & (table->size - 1);
	return row;
}

static void grow_table(struct table *table)
{
	struct table grown = { .size = table->size ? 2 * table->size : 256,
			       .used = table->used,
			       .words = table->words };
	size_t size = table->words * sizeof(uint64_t);

	grown.rows = must(calloc(grown.size, size));
	for (uint64_t i = 0; i < table->size; i++) {
		uint64_t *row = table->rows + i * table->words;

		if (*row)
			memcpy(find_row(&grown, *row), row, size);
	}
	free(table->rows);
	*table = grown;
}

/* The row of a hash, and whether it is new. */
static uint64_t *take_row(struct table *table, uint64_t hash, int *is_new)
{
	uint64_t *row;

	if (4 * table->used >= 3 * table->size)
		grow_table(table);
	row = find_row(table, hash);
	*is_new = *row == 0;
	table->used += *row == 0;
	*row = hash;
	return row;
}

uint64_t seen_before(uint64_t hash)
{
	int is_new;

	hash += hash == 0;
	take_row(&all, hash, &is_new);
	return is_new ? 0 : ++take_row(&many, hash, &is_new)[1];
}
