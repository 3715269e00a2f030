/* SPDX-License-Identifier: MIT */
#include "inspect/parts.h"

#include "inspect/describe.h"
#include "inspect/process.h"
#include "wait/lock.h"

#include <pthread.h>
#include <stdlib.h>

#define MOST_SCANNED ((size_t)1 << 20) /* bytes of a block */
#define MOST_LOCKS   4096	       /* that are listed */

/* Process-shared and robust, as the C library has them in its mutexes' kind. */
#define KIND	0x90
#define KIND_AT 2 /* this word */

/* By the word that says that it was made ready in this place. */
static bool may_be_lock(const struct look *look, const uint64_t *words)
{
	uint64_t place = look->memory->head.place << LOCK_PLACE;

	return (words[LOCK_READY] == (place | LOCK_PLAIN) ||
		words[LOCK_READY] == (place | LOCK_RECURSIVE)) &&
	       (words[KIND_AT] & KIND) == KIND;
}

static void list_lock(struct look *look, const char *at, const uint64_t *words,
		      const char *of)
{
	json_t *object;
	pid_t pid;

	if (json_array_size(look->locks) >= MOST_LOCKS)
		return;
	object = json_pack("{s:o, s:s}", "address", address_of(at), "of", of);
	pid = describe_holder(object, (uint32_t)words[0]);
	if (pid)
		look_add_process(look, pid);
	json_array_append_new(look->locks, object);
	look_note(look, at, sizeof(tine_lock), A_LOCK, object);
}

/* Those that nobody has, nor died with, are not worth a line. */
void look_locks(struct look *look, const char *at, size_t size, const char *of)
{
	size_t len = size < MOST_SCANNED ? size : MOST_SCANNED;
	uint64_t *words = malloc(len);

	if (words && memory_read(look->memory, at, words, len))
		for (size_t i = 0; i + 8 <= len / 8; i += 8)
			if ((uint32_t)words[i] && may_be_lock(look, words + i))
				list_lock(look, part_of(at, 8 * i), words + i, of);
	free(words);
}
