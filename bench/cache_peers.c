/* SPDX-License-Identifier: MIT */
/*
 * What the cache might have stood on, at the same work as bench/cache.c: cache-peers
 * lmdb|files hit|miss prints the microseconds of a hit of 8 bytes among 10,000 entries,
 * or of looking for them in vain and keeping them. Neither notes when an entry was used,
 * has a limit, or waits for who computes.
 */
#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <string.h>
#include <unistd.h>

enum { HITS = 1000000, FILE_HITS = 100000, MISSES = 20000 };

/* ---- LMDB, without syncing, its reader renewed and not begun anew ------------------ */

static MDB_env *env;
static MDB_dbi table;
static MDB_txn *reader;

static void lmdb_open(void)
{
	MDB_txn *txn;

	need(mdb_env_create(&env) == 0 && mdb_env_set_mapsize(env, 1 << 30) == 0 &&
		     mdb_env_open(env, folder, MDB_NOSYNC | MDB_NOTLS, 0600) == 0 &&
		     mdb_txn_begin(env, NULL, 0, &txn) == 0 &&
		     mdb_dbi_open(txn, NULL, 0, &table) == 0 &&
		     mdb_txn_commit(txn) == 0 &&
		     mdb_txn_begin(env, NULL, MDB_RDONLY, &reader) == 0,
	     "LMDB: open");
	mdb_txn_reset(reader);
}

static bool lmdb_get(uint64_t key)
{
	MDB_val name = { 8, &key }, val;
	bool found;

	need(mdb_txn_renew(reader) == 0, "LMDB: renew");
	found = mdb_get(reader, table, &name, &val) == 0 &&
		memcmp(val.mv_data, &key, 8) == 0;
	mdb_txn_reset(reader);
	return found;
}

static void lmdb_put(uint64_t key)
{
	MDB_val name = { 8, &key }, val = { 8, &key };
	MDB_txn *txn;

	need(mdb_txn_begin(env, NULL, 0, &txn) == 0 &&
		     mdb_put(txn, table, &name, &val, 0) == 0 && mdb_txn_commit(txn) == 0,
	     "LMDB: put");
}

/* ---- a file for each, written elsewhere and renamed -------------------------------- */

static void files_open(void)
{
	need(chdir(folder) == 0, "files: open");
}

static bool files_get(uint64_t key)
{
	char name[24];
	uint64_t val = 0;
	int fd;

	snprintf(name, sizeof(name), "%016llx", (unsigned long long)key);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	need(read(fd, &val, 8) == 8 && val == key, "files: read");
	close(fd);
	return true;
}

static void files_put(uint64_t key)
{
	char name[24];
	int fd = open("new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	snprintf(name, sizeof(name), "%016llx", (unsigned long long)key);
	need(fd >= 0 && write(fd, &key, 8) == 8 && close(fd) == 0 &&
		     rename("new", name) == 0,
	     "files: put");
}

/* ---- measuring --------------------------------------------------------------------- */

struct peer {
	const char *name;
	void (*open)(void);
	bool (*get)(uint64_t key);
	void (*put)(uint64_t key);
	uint64_t hits;
};
static const struct peer peers[] = {
	{ "lmdb", lmdb_open, lmdb_get, lmdb_put, HITS },
	{ "files", files_open, files_get, files_put, FILE_HITS },
};

static double hits(const struct peer *peer)
{
	double begun;

	for (uint64_t key = 0; key < ENTRIES; key++)
		peer->put(key);
	begun = seconds_now();
	for (uint64_t i = 0; i < peer->hits; i++)
		need(peer->get(mix(i) % ENTRIES), "get");
	return 1e6 * (seconds_now() - begun) / (double)peer->hits;
}

static double misses(const struct peer *peer)
{
	double begun = seconds_now();

	for (uint64_t key = 0; key < MISSES; key++) {
		need(!peer->get(key), "found");
		peer->put(key);
	}
	return 1e6 * (seconds_now() - begun) / MISSES;
}

int main(int argc, char **argv)
{
	const struct peer *peer = NULL;
	double took;

	for (size_t i = 0; argc == 3 && i < sizeof(peers) / sizeof(peers[0]); i++)
		if (strcmp(argv[1], peers[i].name) == 0)
			peer = &peers[i];
	if (!peer || (strcmp(argv[2], "hit") != 0 && strcmp(argv[2], "miss") != 0))
		die(2, "usage: cache-peers lmdb|files hit|miss");
	if (!mkdtemp(folder))
		die(1, "no folder in /tmp");
	peer->open();
	took = strcmp(argv[2], "hit") == 0 ? hits(peer) : misses(peer);
	remove_folder();
	printf("%f\n", took);
	return 0;
}
