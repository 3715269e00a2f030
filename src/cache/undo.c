/* SPDX-License-Identifier: MIT */
#include "cache/undo.h"

#include "cache/fs.h"

#include <errno.h>

int change_word(tine_cache *cache, word *where, uint64_t to)
{
	struct index_header *header = cache_header(cache);
	uint64_t n = get_word(header->undos), offset;

	if (n >= MOST_UNDO)
		return -EUCLEAN;
	offset = area_offset(&cache->index, where);
	if (offset == UINT64_MAX)
		offset = area_offset(&cache->data, where) | IN_DATA;
	header->undo[n].where = offset;
	header->undo[n].old = get_word(*where);
	/* Of who is killed the stores are seen up to some moment: in this order. */
	atomic_store_explicit(&header->undos, n + 1, memory_order_release);
	atomic_store_explicit(where, to, memory_order_release);
	return 0;
}

/*
 * Readers believe what they have not found if they see no notes and the same count before
 * and after. In this order: a reader that sees no notes sees the count, and one that sees
 * a word of the next change sees its notes.
 */
static void drop_notes(struct index_header *header)
{
	atomic_store_explicit(&header->commits, get_word(header->commits) + 1,
			      memory_order_release);
	atomic_store_explicit(&header->undos, 0, memory_order_release);
}

uint64_t changes_done(tine_cache *cache)
{
	struct index_header *header = cache_header(cache);
	uint64_t magic, undos;

	/* What was read before this was read before the notes. */
	atomic_thread_fence(memory_order_acquire);
	magic = atomic_load_explicit(&header->magic, memory_order_acquire);
	undos = atomic_load_explicit(&header->undos, memory_order_acquire);
	return magic != CACHE_MAGIC || undos ? 0 : get_word(header->commits) + 1;
}

void commit_changes(tine_cache *cache)
{
	struct index_header *header = cache_header(cache);
	uint64_t doomed = get_word(header->doomed);

	drop_notes(header);
	if (doomed) {
		large_remove(own_fd_use(&cache->large), doomed);
		atomic_store_explicit(&header->doomed, 0, memory_order_release);
	}
}

int undo_changes(tine_cache *cache)
{
	struct index_header *header = cache_header(cache);
	uint64_t n = get_word(header->undos);

	if (n > MOST_UNDO)
		return -EUCLEAN;
	while (n-- > 0) {
		uint64_t where = get_word(header->undo[n].where);
		struct area *area = where & IN_DATA ? &cache->data : &cache->index;
		word *at = where % sizeof(word)
				   ? NULL
				   : area_at(area, where & ~IN_DATA, sizeof(word));

		if (!at)
			return -EUCLEAN;
		atomic_store_explicit(at, get_word(header->undo[n].old),
				      memory_order_release);
	}
	drop_notes(header);
	return 0;
}
