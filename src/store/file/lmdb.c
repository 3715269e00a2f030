/* SPDX-License-Identifier: MIT */
#include "store/file/lmdb.h"

#include "base/library.h"

#include <pthread.h>
#include <stdbool.h>

struct lmdb lmdb;
static bool is_whole;

static void find_lmdb(void)
{
	void *file = dlopen(LMDB_FILE, RTLD_NOW);

	if (!file)
		return;
#define FIND(name)                                                                       \
	lmdb.name = (__typeof__(lmdb.name))dlsym(file, "mdb_" #name);                    \
	if (!lmdb.name)                                                                  \
		return;
	EACH_LMDB_FUNCTION(FIND)
	is_whole = true;
}

int lmdb_load(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int err = library_load(LMDB_FILE);

	if (err)
		return err;
	pthread_once(&once, find_lmdb);
	return is_whole ? 0 : -EPROTONOSUPPORT;
}
