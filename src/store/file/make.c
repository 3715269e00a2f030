/* SPDX-License-Identifier: MIT */
/* A folder is made, or found to be a store, and opened. */
#include "store/file/inside.h"

#include "base/limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define READERS	  1000
#define LOCK_SIZE ((size_t)READERS * 64 + 8192)
#define FLAGS	  (MDB_NOSYNC | MDB_WRITEMAP | MDB_NOTLS)

/* The first record: begins with a byte that no key has. */
static const char mark[] = "\0tine store";
#define MARK_FORMAT 1

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
	int rc = lmdb.dbi_flags(txn, dbi, &flags);

	if (rc)
		return rc;
	rc = lmdb.stat(txn, dbi, &stat);
	if (rc)
		return rc;
	if (flags != 0)
		return MDB_INVALID;
	if (stat.ms_entries == 0)
		return MDB_NOTFOUND;
	rc = lmdb.get(txn, dbi, &key, &data);
	if (rc)
		return rc == MDB_NOTFOUND ? MDB_INVALID : rc;
	if (data.mv_size != 1 || *(char *)data.mv_data < MARK_FORMAT)
		return MDB_INVALID;
	/* A later version has more to say than this one understands. */
	return *(char *)data.mv_data == MARK_FORMAT ? 0 : EPROTO;
}

static int look_for_mark(MDB_env *env)
{
	MDB_txn *txn;
	MDB_dbi dbi;
	int rc = lmdb.txn_begin(env, NULL, MDB_RDONLY, &txn);

	if (rc)
		return rc;
	rc = lmdb.dbi_open(txn, NULL, 0, &dbi);
	rc = rc ? rc : check_mark(txn, dbi);
	lmdb.txn_abort(txn);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/*
 * LMDB opens its files itself. While it does, what can neither be read nor written has
 * the place of standard descriptors that the program has closed, and may print to.
 */
static int have_lmdb_open(MDB_env *env, const char *path, unsigned flags)
{
	int fds[STDERR_FILENO + 1], n = 0, rc, fd;

	while ((fd = open("/", O_PATH | O_CLOEXEC)) >= 0 && fd <= STDERR_FILENO)
		fds[n++] = fd;
	if (fd >= 0)
		close(fd);
	rc = lmdb.env_open(env, path, flags, 0600);
	while (n > 0)
		close(fds[--n]);
	return rc;
}

/* Looks at a file that is there, and changes nothing; a truncated one is no map. */
static int probe(const char *path, off_t size, bool with_mark)
{
	MDB_env *env;
	MDB_envinfo info;
	MDB_stat stat;
	int rc = lmdb.env_create(&env);

	if (rc)
		return rc;
	rc = have_lmdb_open(env, path, MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS);
	if (!rc) {
		lmdb.env_info(env, &info);
		lmdb.env_stat(env, &stat);
		if ((off_t)(info.me_last_pgno + 1) * stat.ms_psize > size)
			rc = MDB_INVALID;
	}
	if (!rc && with_mark)
		rc = look_for_mark(env);
	lmdb.env_close(env);
	return rc;
}

/* Whether all it has is a first page of LMDB's, cut off by a death. */
static bool is_torn(int fd, off_t size)
{
	uint32_t magic = 0;

	/* Bound: a regular file. */
	return size < 2 * (off_t)lmdb_page_size() &&
	       pread(fd, &magic, sizeof(magic), 16) == sizeof(magic) &&
	       magic == 0xBEEFC0DE;
}

/*
 * The length the file is to be mapped with; 0: it is to be made. mend: with the lock of
 * those who write.
 */
static int check_data(const struct folder *folder, size_t *out, bool alone, bool mend)
{
	struct stat now;
	bool made = atomic_load(&folder->shared->made) != 0;
	int err = 0, fd = file_open_in(folder->path, "data.mdb", O_RDWR | O_CREAT,
				       folder->with_others);

	if (fd < 0)
		return fd;
	if (fstat(fd, &now) != 0)
		err = -errno;
	else if (mend && now.st_size >= 2 * (off_t)lmdb_page_size())
		err = commit_mend(folder->shared, fd);
	if (!err && now.st_size > 0 && alone)
		err = check_whole(fd, (size_t)now.st_size);
	if (!err && now.st_size > 0)
		err = lmdb_error(probe(folder->path, now.st_size, !made));
	if (err == -EBADMSG && mend && !made && is_torn(fd, now.st_size)) {
		err = ftruncate(fd, 0) == 0 ? 0 : -errno;
		now.st_size = 0;
	}
	if (!err) {
		*out = whole_pages((size_t)now.st_size);
		if (*out > 0 && *out < FIRST_SIZE)
			*out = FIRST_SIZE;
		err = *out > 0 ? file_make_room(fd, *out) : 0;
	}
	close(fd);
	return err;
}

/*
 * LMDB makes it sparse. Nobody here has it open yet, so that closing it does no harm.
 * What is in it when nobody has the folder open is of no use, and may be damaged.
 */
static int make_lock_file(const struct folder *folder, bool alone)
{
	int err, fd = file_open_in(folder->path, "lock.mdb", O_RDWR | O_CREAT,
				   folder->with_others);

	if (fd < 0)
		return fd;
	err = alone && ftruncate(fd, 0) != 0 ? -errno : file_make_room(fd, LOCK_SIZE);
	close(fd);
	return err;
}

static int put_mark(struct folder *folder)
{
	MDB_val key = { sizeof(mark), (void *)mark };
	MDB_val data = { 1, (char[]){ MARK_FORMAT } };
	MDB_txn *txn;
	int rc = writing_begin(folder, &txn);

	if (rc)
		return rc;
	rc = lmdb.dbi_open(txn, NULL, 0, &folder->dbi);
	rc = rc ? rc : check_mark(txn, folder->dbi);
	if (rc == MDB_NOTFOUND)
		rc = lmdb.put(txn, folder->dbi, &key, &data, 0);
	if (!rc)
		return commit_noted(folder, txn);
	lmdb.txn_abort(txn);
	return rc;
}

/* While another process writes, perhaps for ever. */
static int find_mark(struct folder *folder, struct patience *patience)
{
	MDB_txn *txn;
	int rc = reading_lock(folder, patience);

	if (rc)
		return rc;
	rc = lmdb.txn_begin(folder->env, NULL, MDB_RDONLY, &txn);
	if (!rc) {
		rc = lmdb.dbi_open(txn, NULL, 0, &folder->dbi);
		rc = rc ? rc : check_mark(txn, folder->dbi);
		lmdb.txn_abort(txn);
	}
	reading_unlock(folder);
	return rc;
}

void folder_note_map(struct folder *folder)
{
	MDB_envinfo info;

	lmdb.env_info(folder->env, &info);
	atomic_store(&folder->map_len, info.me_mapsize);
}

static int map_first_pages(struct folder *folder)
{
	void *first = mmap(NULL, 2 * lmdb_page_size(), PROT_READ, MAP_SHARED,
			   folder->data.fd, 0);

	if (first == MAP_FAILED)
		return -errno;
	folder->first = first;
	return 0;
}

void folder_unmap_first(struct folder *folder)
{
	if (folder->first)
		munmap((void *)folder->first, 2 * lmdb_page_size());
}

/*
 * With the shape's lock. writing: and that of those who write. The environment is the
 * caller's to close in any case.
 */
static int open_env(struct folder *folder, bool alone, bool writing,
		    struct patience *patience)
{
	size_t size = 0;
	int rc, fd, err = check_data(folder, &size, alone, writing);

	err = err ? err : make_lock_file(folder, alone);
	if (err)
		return err;
	if (size == 0 && !file_may_reach(FIRST_SIZE))
		return -ENOSPC;
	lmdb.env_set_mapsize(folder->env, size ? size : FIRST_SIZE);
	lmdb.env_set_maxreaders(folder->env, READERS);
	rc = have_lmdb_open(folder->env, folder->path, FLAGS);
	if (rc)
		return lmdb_error(rc);
	lmdb.env_get_fd(folder->env, &fd);
	folder->data = own_fd(fd);
	folder->lock = own_fd(find_lock_fd(folder->path));
	folder_note_map(folder);
	err = map_first_pages(folder);
	err = err ? err : file_make_room(fd, folder->map_len);
	if (err)
		return err;
	readers_check(folder);
	rc = writing ? put_mark(folder) : find_mark(folder, patience);
	if (rc)
		return lmdb_error(rc);
	atomic_store(&folder->shared->made, 1);
	atomic_store(&folder->shared->look, 0);
	return 0;
}

/*
 * LMDB takes what is in the first pages for granted where nobody else has it open. Where
 * others have, there is nothing to write, and who writes, or was stopped there, is not
 * waited for.
 */
static int open_env_locked(struct folder *folder, bool alone, struct patience *patience)
{
	bool may_go_on = !alone && atomic_load(&folder->shared->made) != 0;
	struct patience none = { 0 };
	int err = writing_lock(folder, may_go_on ? &none : patience);

	if (err && !(err == -ETIMEDOUT && may_go_on))
		return err;
	if (err)
		return open_env(folder, false, false, patience);
	err = open_env(folder, alone, true, patience);
	writing_unlock(folder);
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
static int check_folder(const char *path, bool with_others)
{
	struct stat now;
	bool data = false, wake = false;
	int err = check_names(path, &data, &wake), fd;

	if (err || !data || wake)
		return err;
	fd = file_open_in(path, "data.mdb", O_RDONLY, with_others);
	if (fd < 0)
		return fd;
	if (fstat(fd, &now) != 0)
		err = -errno;
	else if (now.st_size > 0 && !is_torn(fd, now.st_size))
		err = check_whole(fd, (size_t)now.st_size);
	if (!err && now.st_size > 0 && !is_torn(fd, now.st_size))
		err = lmdb_error(probe(path, now.st_size, true));
	close(fd);
	return err;
}

int folder_make(struct folder **out, const char *path, bool with_others,
		const struct stat *id, uint32_t generation, struct patience *patience)
{
	struct folder *folder = calloc(1, sizeof(*folder) + strlen(path) + 1);
	bool alone;
	int fd, err;

	if (!folder)
		return -ENOMEM;
	strcpy(folder->path, path);
	folder->device = id->st_dev;
	folder->inode = id->st_ino;
	folder->refs = 1;
	folder->with_others = with_others;
	folder->generation = generation;
	pthread_mutex_init(&folder->growing, NULL);
	err = check_folder(path, with_others);
	if (err)
		goto free_folder;
	fd = file_open_in(path, "tine.wake", O_RDWR | O_CREAT, with_others);
	err = fd < 0 ? fd : 0;
	if (err)
		goto free_folder;
	err = tine_shared_map_fd((void **)&folder->shared, fd, sizeof(*folder->shared));
	if (err)
		goto close_wake;
	folder->shape = own_fd(fd);
	err = shape_lock(folder, patience);
	if (err)
		goto unmap_wake;
	err = init_gate(&folder->gate);
	if (err)
		goto unlock_shape;
	err = lmdb_error(lmdb.env_create(&folder->env));
	if (err)
		goto destroy_gate;
	err = presence_note(folder, &alone);
	err = err ? err : open_env_locked(folder, alone, patience);
	if (err)
		goto close_env;
	shape_unlock(folder);
	*out = folder;
	return 0;

close_env:
	folder_unmap_first(folder);
	lmdb.env_close(folder->env);
destroy_gate:
	pthread_rwlock_destroy(&folder->gate);
unlock_shape:
	shape_unlock(folder);
unmap_wake:
	tine_shared_unmap(folder->shared);
close_wake:
	close(fd);
free_folder:
	free(folder);
	return err;
}
