/* SPDX-License-Identifier: MIT */
/*
 * What LMDB asks of its users, kept on behalf of those of the store.
 *
 * Once in a process. An environment may be opened once in a process, or the locks of its
 * lock file, which belong to the process, go with the first that is closed. There is a
 * table of the folders that are open, by device and inode; handles share what is in it.
 *
 * Fork. A child must not touch what it inherits, whose slots in the table of readers are
 * the parent's. A handler of pthread_atfork(3) counts generations, so that the first call
 * in a child sees that the folder is of another one; it closes the descriptors by hand,
 * and opens the folder anew. The inherited MDB_env is left as it is, with its map, since
 * mdb_env_close() would clear the parent's slots: a few KiB, and address space.
 *
 * Size. The data file is mapped for writing, and all of it is allocated, so that a full
 * disk is an error and not SIGBUS. The file is as long as the largest map that anybody
 * has of it. LMDB sets its length to that of each new map, and would cut off the pages
 * that another process is writing in a larger one; so nobody maps it but with the length
 * that it has, and while holding a lock on tine.wake: a record lock of fcntl(2), which
 * the kernel takes from who dies. A process that lacks room, or meets pages beyond its
 * map, waits until its other threads are in no transaction (the gate), and maps it anew.
 *
 *	dies while the file is made	it has both first pages, or it is emptied by the
 *					next, or it has no mark yet, and gets one
 *	dies while it grows		the file is longer; who lacks room next, maps that
 *	dies in a transaction		LMDB's lock is robust: the next writer begins
 *					where the last commit ended, with pages that
 *					nobody refers to
 *	dies in a commit		what LMDB writes last is the number of the commit:
 *					before it nothing was done, after it all; but
 *					see below
 *	dies as a reader		its slot keeps old pages from being used again,
 *					until somebody opens the folder, lacks a slot,
 *					lacks room, or follows a writer that died
 *
 * Torn commits. A commit writes one of the two first pages, in turn, and who comes after
 * a death believes the one with the higher number. LMDB as Debian builds it stores that
 * number one instruction before the new root, so that who dies between them leaves a root
 * of two commits ago, whose pages are being used again. So there is a lock around LMDB's,
 * and who is about to commit notes under it the commit's number, and the number and the
 * root that are in that page. Who finds such a note under the lock comes after a death:
 * if the page has the new number and the old root, which no page can have otherwise, it
 * gives it the old number. Nobody has seen the commit, since the number that readers go
 * by is elsewhere, and stored later. The note and the lock outlive a machine that stops;
 * who has the folder open alone, as another record lock tells, begins with a new lock.
 *
 * The processor's store order is the file's order for other processes, whatever dies. It
 * is not the disk's: nothing waits for the disk (MDB_NOSYNC), and a machine that loses
 * power may leave pages of different times there.
 */
#include "store/file/folder.h"

#include "base/limits.h"
#include "memory/heap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_SIZE ((size_t)1 << 20)
#define DOUBLES	   ((size_t)64 << 20) /* up to there; then half as much again */
#define READERS	   1000
#define LOCK_SIZE  ((size_t)READERS * 64 + 8192)
#define FLAGS	   (MDB_NOSYNC | MDB_WRITEMAP | MDB_NOTLS)
#define LOOKS	   10 /* at a snapshot that seems damaged */

/* The first record: begins with a byte that no key has. */
static const char mark[] = "\0tine store";
#define MARK_FORMAT 1

struct own_fd {
	int fd;
	dev_t device;
	ino_t inode;
};

struct folder {
	struct folder *next;
	dev_t device;
	ino_t inode;
	unsigned refs;
	uint32_t generation;
	MDB_env *env;
	MDB_dbi dbi;
	struct folder_shared *shared;
	struct own_fd shape, lock;
	struct own_fd data; /* LMDB's own */
	pthread_rwlock_t gate;
	const char *first; /* two pages of the file: LMDB does not tell its map */
	_Atomic size_t map_len;
	int broken; /* an error that this process cannot recover from */
	char path[];
};

static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
static struct folder *folders, *inherited;
static _Atomic uint32_t generation;

/*
 * Whatever a thread of the parent was doing to the table: here it is empty, and what was
 * in it is only let go of.
 */
static void after_fork_in_child(void)
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

static void handle_forks(void)
{
	pthread_atfork(NULL, NULL, after_fork_in_child);
}

/* LMDB's codes are its own, below -30000, or errno values. */
static int error_of(int rc)
{
	switch (rc) {
	case MDB_MAP_FULL:
	case EFBIG:
		return -ENOSPC;
	case MDB_TXN_FULL:
	case MDB_CURSOR_FULL:
		return -ENOMEM;
	case MDB_READERS_FULL:
		return -EMFILE;
	default:
		return rc > 0 ? -rc : rc < -30000 ? -EBADMSG : rc;
	}
}

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t whole_pages(size_t size)
{
	return size / page_size() * page_size();
}

/* ---- files ------------------------------------------------------------------------- */

static int path_in(char **out, const char *folder, const char *name)
{
	return asprintf(out, "%s/%s", folder, name) < 0 ? -ENOMEM : 0;
}

static int open_in(const char *folder, const char *name, int flags)
{
	char *path;
	int fd, err = path_in(&path, folder, name);

	if (err)
		return err;
	fd = open(path, flags | O_CLOEXEC | O_NOCTTY, 0600);
	err = fd < 0 ? -errno : fd;
	free(path);
	return err;
}

/* Allocates what is not. A file system that cannot may raise SIGBUS when it is full. */
static int make_room(int fd, size_t size)
{
	struct stat now;
	int err;

	if (fstat(fd, &now) != 0)
		return -errno;
	if (now.st_size >= (off_t)size && now.st_blocks * 512 >= (off_t)size)
		return 0;
	if (!file_may_reach(size))
		return -ENOSPC;
	do
		err = fallocate(fd, 0, 0, (off_t)size) == 0 ? 0 : errno;
	while (err == EINTR);
	if (err == EOPNOTSUPP)
		err = now.st_size >= (off_t)size || ftruncate(fd, (off_t)size) == 0
			      ? 0
			      : errno;
	return error_of(err);
}

static void remember_fd(struct own_fd *own, int fd)
{
	struct stat now;

	*own = (struct own_fd){ .fd = -1 };
	if (fd >= 0 && fstat(fd, &now) == 0)
		*own = (struct own_fd){ fd, now.st_dev, now.st_ino };
}

/* A child may have closed it, and opened another file under that number. */
static void close_own(const struct own_fd *own)
{
	struct stat now;

	if (own->fd >= 0 && fstat(own->fd, &now) == 0 && now.st_dev == own->device &&
	    now.st_ino == own->inode)
		close(own->fd);
}

/* LMDB does not tell the descriptor of its lock file. */
static int find_lock_fd(const char *folder)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	struct stat lock, other;
	char *path;
	int found = -1;

	if (!dir)
		return -1;
	if (path_in(&path, folder, "lock.mdb") == 0) {
		if (stat(path, &lock) == 0)
			while (found < 0 && (entry = readdir(dir))) {
				int fd = atoi(entry->d_name);

				if (*entry->d_name != '.' && fstat(fd, &other) == 0 &&
				    other.st_dev == lock.st_dev &&
				    other.st_ino == lock.st_ino)
					found = fd;
			}
		free(path);
	}
	closedir(dir);
	return found;
}

/* Bytes of tine.wake that are locked. */
enum { SHAPE, PRESENCE };

static int lock_byte(const struct folder *folder, int byte, short type, bool wait)
{
	struct flock lock = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1
	};

	while (fcntl(folder->shape.fd, wait ? F_SETLKW : F_SETLK, &lock) != 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* Held while the data file is mapped, opened or closed. */
static int lock_shape(const struct folder *folder, short type)
{
	return lock_byte(folder, SHAPE, type, true);
}

/*
 * Shared by all who have the folder open. With the shape's lock. Nobody else has it: then
 * nobody holds the lock of those who write, unless the machine stopped while he did.
 */
static int enter(const struct folder *folder)
{
	if (lock_byte(folder, PRESENCE, F_WRLCK, false) == 0)
		memset(&folder->shared->writing, 0, sizeof(folder->shared->writing));
	return lock_byte(folder, PRESENCE, F_RDLCK, true);
}

/* ---- torn commits ------------------------------------------------------------------ */

/* Of a first page: those of LMDB's format 1. */
#define ROOT_AT	  (16 + 112)
#define NUMBER_AT (16 + 128)

static size_t page_of(uint64_t number)
{
	return number % 2 * page_size();
}

/* With the lock of those who write. */
static int mend(struct folder_shared *shared, int fd)
{
	uint64_t commit = atomic_load(&shared->commit), root, number,
		 before = atomic_load(&shared->number_before);
	off_t at = (off_t)page_of(commit);

	if (commit == 0)
		return 0;
	if (pread(fd, &root, 8, at + ROOT_AT) != 8 ||
	    pread(fd, &number, 8, at + NUMBER_AT) != 8)
		return -EIO;
	if (number == commit && root == atomic_load(&shared->root_before) &&
	    pwrite(fd, &before, 8, at + NUMBER_AT) != 8)
		return -EIO;
	atomic_store(&shared->commit, 0);
	return 0;
}

/* Whoever died while he held it: all is as it should be, but for that note. */
static int lock_writing(struct folder *folder, int fd)
{
	int err = tine_lock_acquire(&folder->shared->writing, TINE_FOREVER);

	if (err && err != -EOWNERDEAD)
		return err;
	if (atomic_load_explicit(&folder->shared->commit, memory_order_relaxed) == 0)
		return 0;
	err = mend(folder->shared, fd);
	if (err)
		tine_lock_release(&folder->shared->writing);
	return err;
}

static void unlock_writing(struct folder *folder)
{
	tine_lock_release(&folder->shared->writing);
}

/*
 * The note is whole before LMDB touches the page, and away only when it is done: a death
 * is seen by others in the order of these stores, and the compiler keeps it.
 */
static int commit_noted(struct folder *folder, MDB_txn *txn)
{
	struct folder_shared *shared = folder->shared;
	uint64_t commit = mdb_txn_id(txn);
	const char *page = folder->first + page_of(commit);
	uint64_t root, number;
	int rc;

	memcpy(&root, page + ROOT_AT, 8);
	memcpy(&number, page + NUMBER_AT, 8);
	atomic_store_explicit(&shared->root_before, root, memory_order_relaxed);
	atomic_store_explicit(&shared->number_before, number, memory_order_relaxed);
	atomic_store_explicit(&shared->commit, commit, memory_order_release);
	rc = mdb_txn_commit(txn);
	atomic_store_explicit(&shared->commit, 0, memory_order_release);
	return rc;
}

/* ---- opening ----------------------------------------------------------------------- */

/* Whose folder it is: empty, or a store's, as far as names tell. */
static int check_names(const char *path, bool *data, bool *wake)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	bool others = false;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		const char *name = entry->d_name;

		if (strcmp(name, "data.mdb") == 0)
			*data = true;
		else if (strcmp(name, "tine.wake") == 0)
			*wake = true;
		else if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
			others = true;
	}
	closedir(dir);
	return others && !*data && !*wake ? -EBADMSG : 0;
}

/* 0: it has our mark; MDB_NOTFOUND: it has nothing at all. */
static int check_mark(MDB_txn *txn, MDB_dbi dbi)
{
	MDB_val key = { sizeof(mark), (void *)mark }, data;
	MDB_stat stat;
	unsigned flags;
	int rc = mdb_dbi_flags(txn, dbi, &flags);

	if (rc)
		return rc;
	rc = mdb_stat(txn, dbi, &stat);
	if (rc)
		return rc;
	if (flags != 0)
		return MDB_INVALID;
	if (stat.ms_entries == 0)
		return MDB_NOTFOUND;
	rc = mdb_get(txn, dbi, &key, &data);
	if (rc)
		return rc == MDB_NOTFOUND ? MDB_INVALID : rc;
	return data.mv_size == 1 && *(char *)data.mv_data == MARK_FORMAT ? 0
									 : MDB_INVALID;
}

static int look_for_mark(MDB_env *env)
{
	MDB_txn *txn;
	MDB_dbi dbi;
	int rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);

	if (rc)
		return rc;
	rc = mdb_dbi_open(txn, NULL, 0, &dbi);
	rc = rc ? rc : check_mark(txn, dbi);
	mdb_txn_abort(txn);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Looks at a file that is there, and changes nothing; a truncated one is no map. */
static int probe(const char *path, off_t size, bool with_mark)
{
	MDB_env *env;
	MDB_envinfo info;
	MDB_stat stat;
	int rc = mdb_env_create(&env);

	if (rc)
		return rc;
	rc = mdb_env_open(env, path, MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0600);
	if (!rc) {
		mdb_env_info(env, &info);
		mdb_env_stat(env, &stat);
		if ((off_t)(info.me_last_pgno + 1) * stat.ms_psize > size)
			rc = MDB_INVALID;
	}
	if (!rc && with_mark)
		rc = look_for_mark(env);
	mdb_env_close(env);
	return rc;
}

/* Whether all it has is a first page of LMDB's, cut off by a death. */
static bool is_torn(int fd, off_t size)
{
	uint32_t magic = 0;

	return size < 2 * (off_t)page_size() &&
	       pread(fd, &magic, sizeof(magic), 16) == sizeof(magic) &&
	       magic == 0xBEEFC0DE;
}

/* The length the file is to be mapped with; 0: it is to be made. With the lock. */
static int check_data(const struct folder *folder, size_t *out)
{
	struct stat now;
	bool made = atomic_load(&folder->shared->made) != 0;
	int err = 0, fd = open_in(folder->path, "data.mdb", O_RDWR | O_CREAT);

	if (fd < 0)
		return fd;
	if (fstat(fd, &now) != 0)
		err = -errno;
	else if (!S_ISREG(now.st_mode))
		err = -EBADMSG;
	else if (now.st_size >= 2 * (off_t)page_size())
		err = mend(folder->shared, fd);
	if (!err && now.st_size > 0)
		err = error_of(probe(folder->path, now.st_size, !made));
	if (err == -EBADMSG && !made && S_ISREG(now.st_mode) &&
	    is_torn(fd, now.st_size)) {
		err = ftruncate(fd, 0) == 0 ? 0 : -errno;
		now.st_size = 0;
	}
	if (!err) {
		*out = whole_pages((size_t)now.st_size);
		if (*out > 0 && *out < FIRST_SIZE)
			*out = FIRST_SIZE;
		err = *out > 0 ? make_room(fd, *out) : 0;
	}
	close(fd);
	return err;
}

/* LMDB makes it sparse. Nobody here has it open yet, so that closing it does no harm. */
static int make_lock_file(const char *path)
{
	int err, fd = open_in(path, "lock.mdb", O_RDWR | O_CREAT);

	if (fd < 0)
		return fd;
	err = make_room(fd, LOCK_SIZE);
	close(fd);
	return err;
}

static int put_mark(struct folder *folder)
{
	MDB_val key = { sizeof(mark), (void *)mark };
	MDB_val data = { 1, (char[]){ MARK_FORMAT } };
	MDB_txn *txn;
	int rc = mdb_txn_begin(folder->env, NULL, 0, &txn);

	if (rc)
		return rc;
	rc = mdb_dbi_open(txn, NULL, 0, &folder->dbi);
	rc = rc ? rc : check_mark(txn, folder->dbi);
	if (rc == MDB_NOTFOUND)
		rc = mdb_put(txn, folder->dbi, &key, &data, 0);
	if (!rc)
		return commit_noted(folder, txn);
	mdb_txn_abort(txn);
	return rc;
}

static void note_map_len(struct folder *folder)
{
	MDB_envinfo info;

	mdb_env_info(folder->env, &info);
	atomic_store(&folder->map_len, info.me_mapsize);
}

static int map_first_pages(struct folder *folder)
{
	void *first = mmap(NULL, 2 * page_size(), PROT_READ, MAP_SHARED, folder->data.fd,
			   0);

	if (first == MAP_FAILED)
		return -errno;
	folder->first = first;
	return 0;
}

static void unmap_first_pages(struct folder *folder)
{
	if (folder->first)
		munmap((void *)folder->first, 2 * page_size());
}

/* With both locks. The environment is the caller's to close in any case. */
static int open_env(struct folder *folder)
{
	size_t size = 0;
	int rc, fd, dead, err = check_data(folder, &size);

	err = err ? err : make_lock_file(folder->path);
	if (err)
		return err;
	if (size == 0 && !file_may_reach(FIRST_SIZE))
		return -ENOSPC;
	mdb_env_set_mapsize(folder->env, size ? size : FIRST_SIZE);
	mdb_env_set_maxreaders(folder->env, READERS);
	rc = mdb_env_open(folder->env, folder->path, FLAGS, 0600);
	if (rc)
		return error_of(rc);
	mdb_env_get_fd(folder->env, &fd);
	remember_fd(&folder->data, fd);
	remember_fd(&folder->lock, find_lock_fd(folder->path));
	note_map_len(folder);
	err = map_first_pages(folder);
	err = err ? err : make_room(fd, folder->map_len);
	if (err)
		return err;
	mdb_reader_check(folder->env, &dead);
	rc = put_mark(folder);
	if (rc)
		return error_of(rc);
	atomic_store(&folder->shared->made, 1);
	atomic_store(&folder->shared->look, 0);
	return 0;
}

/* LMDB takes what is in the first pages for granted where nobody else has it open. */
static int open_env_locked(struct folder *folder)
{
	int err = tine_lock_acquire(&folder->shared->writing, TINE_FOREVER);

	if (err && err != -EOWNERDEAD)
		return err;
	err = open_env(folder);
	tine_lock_release(&folder->shared->writing);
	return err;
}

static int init_gate(pthread_rwlock_t *gate)
{
	pthread_rwlockattr_t attr;
	int err = pthread_rwlockattr_init(&attr);

	if (err)
		return -err;
	/* Who wants the map to grow must come in among any number of readers. */
	pthread_rwlockattr_setkind_np(&attr,
				      PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	err = pthread_rwlock_init(gate, &attr);
	pthread_rwlockattr_destroy(&attr);
	return -err;
}

/* Before anything is made in a folder that is not ours. */
static int check_folder(const char *path)
{
	struct stat now;
	bool data = false, wake = false;
	int err = check_names(path, &data, &wake), fd;

	if (err || !data || wake)
		return err;
	fd = open_in(path, "data.mdb", O_RDONLY);
	if (fd < 0)
		return fd;
	if (fstat(fd, &now) != 0)
		err = -errno;
	else if (now.st_size > 0 && !is_torn(fd, now.st_size))
		err = error_of(probe(path, now.st_size, true));
	close(fd);
	return err;
}

static int make_folder(struct folder **out, const char *path, const struct stat *id)
{
	struct folder *folder = calloc(1, sizeof(*folder) + strlen(path) + 1);
	char *wake;
	int fd, err;

	if (!folder)
		return -ENOMEM;
	strcpy(folder->path, path);
	folder->device = id->st_dev;
	folder->inode = id->st_ino;
	folder->refs = 1;
	folder->generation = atomic_load(&generation);
	err = check_folder(path);
	err = err ? err : path_in(&wake, path, "tine.wake");
	if (err)
		goto free_folder;
	err = tine_shared_map((void **)&folder->shared, wake, sizeof(*folder->shared));
	free(wake);
	if (err)
		goto free_folder;
	fd = open_in(path, "tine.wake", O_RDWR);
	err = fd < 0 ? fd : 0;
	if (err)
		goto unmap_wake;
	remember_fd(&folder->shape, fd);
	err = lock_shape(folder, F_WRLCK);
	if (err)
		goto close_wake;
	err = init_gate(&folder->gate);
	if (err)
		goto unlock_shape;
	err = error_of(mdb_env_create(&folder->env));
	if (err)
		goto destroy_gate;
	err = enter(folder);
	err = err ? err : open_env_locked(folder);
	if (err)
		goto close_env;
	lock_shape(folder, F_UNLCK);
	*out = folder;
	return 0;

close_env:
	unmap_first_pages(folder);
	mdb_env_close(folder->env);
destroy_gate:
	pthread_rwlock_destroy(&folder->gate);
unlock_shape:
	lock_shape(folder, F_UNLCK);
close_wake:
	close(fd);
unmap_wake:
	tine_shared_unmap(folder->shared);
free_folder:
	free(folder);
	return err;
}

/* With the table. */
static int find_or_make(struct folder **out, const char *path)
{
	struct folder *folder;
	struct stat id;
	char *whole;
	int err;

	if (stat(path, &id) != 0)
		return -errno;
	if (!S_ISDIR(id.st_mode))
		return -ENOTDIR;
	for (folder = folders; folder; folder = folder->next)
		if (folder->device == id.st_dev && folder->inode == id.st_ino) {
			folder->refs++;
			*out = folder;
			return 0;
		}
	whole = realpath(path, NULL);
	if (!whole)
		return -errno;
	err = make_folder(&folder, whole, &id);
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
	close_own(&folder->data);
	close_own(&folder->lock);
	close_own(&folder->shape);
	tine_shared_unmap(folder->shared);
	unmap_first_pages(folder);
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

int folder_open(struct folder_handle *handle, const char *path)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct folder *folder;
	int err = 0;

	pthread_once(&once, handle_forks);
	pthread_mutex_lock(&opening);
	abandon_inherited();
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		err = -errno;
	err = err ? err : find_or_make(&folder, path);
	pthread_mutex_unlock(&opening);
	if (err)
		return err;
	*handle = (struct folder_handle){ folder, NULL, folder->dbi };
	return 0;
}

/* ---- closing, and forks ------------------------------------------------------------ */

/* With the table. */
static void end_folder(struct folder *folder)
{
	struct folder **at = &folders;

	while (*at != folder)
		at = &(*at)->next;
	*at = folder->next;
	lock_shape(folder, F_WRLCK);
	unmap_first_pages(folder);
	mdb_env_close(folder->env);
	lock_shape(folder, F_UNLCK);
	close(folder->shape.fd);
	tine_shared_unmap(folder->shared);
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

	pthread_mutex_lock(&opening);
	if (is_inherited(folder)) {
		abandon_inherited();
	} else {
		mdb_txn_abort(handle->reader);
		if (--folder->refs == 0)
			end_folder(folder);
	}
	pthread_mutex_unlock(&opening);
}

static int attach_anew(struct folder_handle *handle)
{
	struct folder *folder;
	int err;

	pthread_mutex_lock(&opening);
	abandon_inherited();
	err = find_or_make(&folder, handle->folder->path);
	pthread_mutex_unlock(&opening);
	if (!err)
		*handle = (struct folder_handle){ folder, NULL, folder->dbi };
	return err;
}

/* Before a call uses the folder. No order is needed: a fork is this thread's past. */
static inline int attach(struct folder_handle *handle)
{
	return __builtin_expect(is_inherited(handle->folder), 0) ? attach_anew(handle)
								 : 0;
}

/* ---- growing ----------------------------------------------------------------------- */

/*
 * The old map is gone before LMDB asks for the new one, and if that failed nothing could
 * be done any more: so it is tried out before.
 */
static int map_again(struct folder *folder, size_t size)
{
	void *trial = mmap(NULL, size, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int rc;

	if (trial == MAP_FAILED)
		return -ENOMEM;
	munmap(trial, size);
	rc = mdb_env_set_mapsize(folder->env, size);
	if (rc)
		return folder->broken = error_of(rc);
	note_map_len(folder);
	return 0;
}

/* With the gate shut and the lock. */
static int resize(struct folder *folder, size_t had, size_t need)
{
	size_t size;
	struct stat now;
	int err, dead = 0;

	/* Another thread has done it. */
	if (folder->broken || atomic_load(&folder->map_len) != had)
		return folder->broken;
	if (fstat(folder->data.fd, &now) != 0)
		return -errno;
	size = whole_pages((size_t)now.st_size);
	if (size > had)
		return map_again(folder, size);
	/* There are pages beyond the file's end. */
	if (need == 0)
		return -EBADMSG;
	mdb_reader_check(folder->env, &dead);
	if (dead > 0)
		return 0;
	size = had < DOUBLES ? had * 2 : whole_pages(had + had / 2);
	if (size < had + need)
		size = whole_pages(had + need + FIRST_SIZE);
	err = make_room(folder->data.fd, size);
	return err ? err : map_again(folder, size);
}

/* had: the map that was too small. need 0: others have grown it. */
static int grow(struct folder *folder, size_t had, size_t need)
{
	int err;

	pthread_rwlock_wrlock(&folder->gate);
	err = lock_shape(folder, F_WRLCK);
	if (!err) {
		err = resize(folder, had, need);
		lock_shape(folder, F_UNLCK);
	}
	pthread_rwlock_unlock(&folder->gate);
	return err;
}

/* ---- transactions ------------------------------------------------------------------ */

static int look_once(struct folder_handle *handle, int (*look)(MDB_txn *, void *arg),
		     void *arg)
{
	struct folder *folder = handle->folder;
	int rc;

	pthread_rwlock_rdlock(&folder->gate);
	rc = folder->broken;
	if (!rc && handle->reader)
		rc = mdb_txn_renew(handle->reader);
	else if (!rc)
		rc = mdb_txn_begin(folder->env, NULL, MDB_RDONLY, &handle->reader);
	/* Not what a look says by it: another process has the same number. */
	if (rc == EAGAIN)
		rc = EBUSY;
	if (!rc) {
		rc = look(handle->reader, arg);
		mdb_txn_reset(handle->reader);
	}
	pthread_rwlock_unlock(&folder->gate);
	return rc;
}

/*
 * A reader that sleeps between taking a snapshot's number and copying its root may find a
 * later root, which is as good, but with too few pages: then what it looks for seems not
 * to be there, and it looks again.
 */
int folder_read(struct folder_handle *handle, int (*look)(MDB_txn *, void *arg),
		void *arg)
{
	int looks = 0, dead, rc, err;

	for (;;) {
		size_t had;

		err = attach(handle);
		if (err)
			return err;
		had = atomic_load_explicit(&handle->folder->map_len,
					   memory_order_relaxed);
		rc = look_once(handle, look, arg);
		switch (rc) {
		case MDB_MAP_RESIZED:
			err = grow(handle->folder, had, 0);
			break;
		case MDB_READERS_FULL:
			dead = 0;
			mdb_reader_check(handle->folder->env, &dead);
			err = dead > 0 ? 0 : error_of(rc);
			break;
		case MDB_PAGE_NOTFOUND:
		case MDB_CORRUPTED:
			err = ++looks < LOOKS ? 0 : error_of(rc);
			break;
		default:
			return error_of(rc);
		}
		if (err)
			return err;
	}
}

static int change_once(struct folder *folder, int (*change)(MDB_txn *, void *arg),
		       void *arg)
{
	MDB_txn *txn;
	int rc;

	pthread_rwlock_rdlock(&folder->gate);
	rc = folder->broken ? folder->broken : lock_writing(folder, folder->data.fd);
	if (rc)
		goto open_gate;
	rc = mdb_txn_begin(folder->env, NULL, 0, &txn);
	if (rc)
		goto unlock_writing;
	rc = change(txn, arg);
	if (!rc)
		rc = commit_noted(folder, txn);
	else
		mdb_txn_abort(txn);
unlock_writing:
	unlock_writing(folder);
open_gate:
	pthread_rwlock_unlock(&folder->gate);
	return rc;
}

int folder_write(struct folder_handle *handle, int (*change)(MDB_txn *, void *arg),
		 void *arg, size_t need)
{
	for (;;) {
		int rc, err = attach(handle);
		size_t had;

		if (err)
			return err;
		had = atomic_load_explicit(&handle->folder->map_len,
					   memory_order_relaxed);
		rc = change_once(handle->folder, change, arg);
		if (rc != MDB_MAP_FULL && rc != MDB_MAP_RESIZED)
			return error_of(rc);
		err = grow(handle->folder, had, rc == MDB_MAP_FULL ? need + 1 : 0);
		if (err)
			return err;
	}
}

int folder_shared(struct folder_handle *handle, struct folder_shared **out)
{
	int err = attach(handle);

	if (!err)
		*out = handle->folder->shared;
	return err;
}
