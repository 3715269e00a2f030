/* SPDX-License-Identifier: MIT */
/*
 * What the processes that have a folder open share: the file tine.wake, for the store and
 * for tine inspect; locks.c has the protocol of the locks, op.c that of the words.
 */
#ifndef TINE_STORE_FILE_SHARED_H
#define TINE_STORE_FILE_SHARED_H

#include "base/export.h"

#include <stdatomic.h>

/* Bytes of the file that are locked. */
enum { SHAPE, PRESENCE };

#define WAKE_WORDS 1024u
struct folder_shared {
	_Atomic int64_t look; /* when a writer is to look for what has expired */
	_Atomic uint32_t made;
	_Atomic uint32_t several; /* where those sleep who wait for several keys */
	/* A commit that is under way, or whose writer died; see commit.c. */
	_Atomic uint64_t commit, root_before, number_before;
	uint64_t unused_too[3];
	tine_lock writing;
	_Atomic uint32_t words[WAKE_WORDS];
	tine_lock reading;
	/* Somebody died who was writing, and LMDB has not noticed yet. */
	_Atomic uint32_t died;
	uint32_t unused_three[15];
};

#endif
