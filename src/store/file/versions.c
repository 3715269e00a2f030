/* SPDX-License-Identifier: MIT */
#include "store/file/versions.h"

#include "store/file/names.h"

#include <string.h>

#define DEATHS 8

struct deaths {
	uint64_t before; /* the latest of those that are not below */
	struct {
		uint64_t key, changed;
	} last[DEATHS];
};

static int read_deaths(struct op *op, uint64_t hash, struct deaths *deaths)
{
	struct record_name name;
	MDB_val key = name_of_deaths(&name, bucket_of_hash(hash)), data;
	int rc = lmdb.get(op->txn, op->dbi, &key, &data);

	*deaths = (struct deaths){ 0 };
	if (rc == MDB_NOTFOUND)
		return 0;
	if (!rc && data.mv_size != sizeof(*deaths))
		return MDB_CORRUPTED;
	if (!rc)
		memcpy(deaths, data.mv_data, sizeof(*deaths));
	return rc;
}

int deaths_note(struct op *op, const char *key, uint64_t changed)
{
	uint64_t hash = hash_of_key(key);
	struct deaths deaths;
	struct record_name name;
	MDB_val where = name_of_deaths(&name, bucket_of_hash(hash));
	MDB_val data = val_of(&deaths, sizeof(deaths));
	int rc = read_deaths(op, hash, &deaths), at = 0;

	if (rc)
		return rc;
	for (int i = 0; i < DEATHS; i++) {
		if (deaths.last[i].key == hash) {
			at = i;
			break;
		}
		if (deaths.last[i].changed < deaths.last[at].changed)
			at = i;
	}
	if (deaths.last[at].key != hash && deaths.last[at].changed > deaths.before)
		deaths.before = deaths.last[at].changed;
	deaths.last[at].key = hash;
	deaths.last[at].changed = changed;
	return lmdb.put(op->txn, op->dbi, &where, &data, 0);
}

int deaths_last(struct op *op, const char *key, uint64_t *changed)
{
	uint64_t hash = hash_of_key(key);
	struct deaths deaths;
	int rc = read_deaths(op, hash, &deaths);

	*changed = deaths.before;
	for (int i = 0; i < DEATHS; i++)
		if (deaths.last[i].changed > 0 && deaths.last[i].key == hash)
			*changed = deaths.last[i].changed;
	return rc;
}
