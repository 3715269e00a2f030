/* SPDX-License-Identifier: MIT */
/*
 * What LMDB asks of its users, kept on behalf of those of the store.
 *
 * Once in a process. An environment may be opened once in a process, or the locks of its
 * lock file, which belong to the process, go with the first that is closed. There is a
 * table of the folders that are open, by device and inode; handles share what is in it.
 *
 * Fork. A child must not touch what it inherits, whose slots in the table of readers are
 * the parent's. A handler of fork(2) counts generations, so that the first call
 * in a child sees that the folder is of another one; it closes the descriptors by hand,
 * and opens the folder anew. The inherited MDB_env is left as it is, with its map, since
 * mdb_env_close() would clear the parent's slots: a few KiB, and address space.
 *
 * Size. The data file is mapped for writing, and all of it is allocated, so that a full
 * disk is an error and not SIGBUS. The file is as long as the largest map that anybody
 * has of it. LMDB sets its length to that of each new map, and would cut off the pages
 * that another process is writing in a larger one; so nobody maps it but with the length
 * that it has, and while holding the shape's lock (locks.c). A process that lacks room,
 * or meets pages beyond its map, waits until its other threads are in no transaction (the
 * gate), and maps it anew.
 *
 *	dies while the file is made	it has both first pages, or it is emptied by the
 *					next, or it has no mark yet, and gets one
 *	dies while it grows		the file is longer; who lacks room next, maps that
 *	dies in a transaction		LMDB's lock is robust: the next writer begins
 *					where the last commit ended, with pages that
 *					nobody refers to
 *	dies in a commit		what LMDB writes last is the number of the commit:
 *					before it nothing was done, after it all; the
 *					number that readers go by follows, here or
 *					in the next writer; see commit.c for torn ones
 *	dies as a reader		its slot keeps old pages from being used again,
 *					until somebody opens the folder, lacks a slot,
 *					lacks room, or follows a writer that died
 *
 * The processor's store order is the file's order for other processes, whatever dies. It
 * is not the disk's: nothing waits for the disk (MDB_NOSYNC), and a machine that loses
 * power may leave pages of different times there.
 */
#include "store/file/inside.h"

#include "base/atfork.h"
#include "base/trust.h"
#include "memory/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TURN_MS 100

static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
static struct folder *folders, *inherited;
static _Atomic uint32_t generation;

/*
 * Whatever a thread of the parent was doing to the table: here it is empty, and what was
 * in it is only let go of.
 */
static void forget_folders(void)
{
	struct folder **end = &folders;

	pthread_mutex_init(&opening, NULL);
	while (*end)
		end = &(*end)->next;
	*end = inherited;
	inherited = folders;
	folders = NULL;
	atomic_fetch_add(&generation, 1);
}

FILL_ATFORK static void fill_folders(void)
{
	atfork_fill(ATFORK_STORE_FILE, &(struct atfork){ .in_child = forget_folders });
}

/* With the table. */
static int find_or_make(struct folder **out, const char *path, bool with_others,
			struct patience *patience)
{
	struct folder *folder;
	struct stat id;
	char *whole;
	int err;

	if (lstat(path, &id) != 0)
		return -errno;
	if (!S_ISDIR(id.st_mode))
		return S_ISLNK(id.st_mode) ? -ELOOP : -ENOTDIR;
	err = with_others ? 0 : check_trust(&id);
	if (err)
		return err;
	for (folder = folders; folder; folder = folder->next)
		if (folder->device == id.st_dev && folder->inode == id.st_ino) {
			folder->refs++;
			*out = folder;
			return 0;
		}
	whole = realpath(path, NULL);
	if (!whole)
		return -errno;
	err = folder_make(&folder, whole, with_others, &id, atomic_load(&generation),
			  patience);
	free(whole);
	if (err)
		return err;
	folder->next = folders;
	folders = folder;
	*out = folder;
	return 0;
}

/* Handles still point to it. */
static void abandon(struct folder *folder)
{
	own_fd_close(&folder->data);
	own_fd_close(&folder->lock);
	own_fd_close(&folder->shape);
	tine_shared_unmap(folder->shared);
	folder_unmap_first(folder);
}

/*
 * With the table, in a child, before it has any folder open itself: to close a file takes
 * all record locks of it from the process.
 */
static void abandon_inherited(void)
{
	while (inherited) {
		struct folder *folder = inherited;

		inherited = folder->next;
		abandon(folder);
	}
}

/*
 * Waits for other processes a little at a time, so that no thread of this one waits for
 * another that does.
 */
static int attach_anew(struct folder_handle *handle, const char *path, bool with_others,
		       struct patience *patience)
{
	struct folder *folder = NULL;
	int err;

	do {
		int64_t until = tine_after(TURN_MS);
		struct patience turn = { .deadline = until, .known = true };

		if (patience_until(patience) < until)
			turn.deadline = patience->deadline;
		/* Bound: threads of this process, which hold it for a turn each. */
		pthread_mutex_lock(&opening);
		abandon_inherited();
		err = find_or_make(&folder, path, with_others, &turn);
		pthread_mutex_unlock(&opening);
	} while (err == -ETIMEDOUT && tine_now() < patience->deadline);
	if (!err)
		*handle = (struct folder_handle){ folder, NULL, folder->dbi };
	return err;
}

/* A link is none any more with a slash behind it. */
static char *without_slashes(const char *path)
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		len--;
	return strndup(path, len);
}

int folder_open(struct folder_handle *handle, const char *path, bool with_others,
		struct patience *patience)
{
	char *bare;
	int err = atfork_error();

	if (err)
		return err;
	bare = without_slashes(path);
	if (!bare)
		return -ENOMEM;
	if (mkdir(bare, 0700) != 0 && errno != EEXIST)
		err = -errno;
	err = err ? err : attach_anew(handle, bare, with_others, patience);
	free(bare);
	return err;
}

/* With the table. */
static void end_folder(struct folder *folder)
{
	struct folder **at = &folders;

	while (*at != folder)
		at = &(*at)->next;
	*at = folder->next;
	/* LMDB closes its own unseen. If it cannot, its memory stays. */
	if (own_fd_is_open(&folder->data) && own_fd_is_open(&folder->lock)) {
		folder_unmap_first(folder);
		lmdb.env_close(folder->env);
		own_fd_close(&folder->shape);
		tine_shared_unmap(folder->shared);
	} else {
		abandon(folder);
	}
	pthread_rwlock_destroy(&folder->gate);
	free(folder);
}

static bool is_inherited(const struct folder *folder)
{
	return folder->generation !=
	       atomic_load_explicit(&generation, memory_order_relaxed);
}

void folder_close(struct folder_handle *handle)
{
	struct folder *folder = handle->folder;

	/* Bound: threads of this process, which hold it for a turn each. */
	pthread_mutex_lock(&opening);
	if (is_inherited(folder)) {
		abandon_inherited();
	} else {
		lmdb.txn_abort(handle->reader);
		if (--folder->refs == 0)
			end_folder(folder);
	}
	pthread_mutex_unlock(&opening);
}

/* No order is needed: a fork is this thread's past. */
int folder_attach(struct folder_handle *handle, struct patience *patience)
{
	return __builtin_expect(is_inherited(handle->folder), 0)
		       ? attach_anew(handle, handle->folder->path,
				     handle->folder->with_others, patience)
		       : 0;
}

int folder_shared(struct folder_handle *handle, struct folder_shared **out,
		  struct patience *patience)
{
	int err = folder_attach(handle, patience);

	if (!err)
		*out = handle->folder->shared;
	return err;
}
