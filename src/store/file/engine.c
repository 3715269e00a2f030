/* SPDX-License-Identifier: MIT */
/* The engine of the store that keeps a folder. */
#include "store/file/calls.h"
#include "store/file/lmdb.h"
#include "store/file/op.h"

#include <errno.h>
#include <stdlib.h>

static int file_open(tine_store **out, const struct store_address *address)
{
	struct file_store *store = calloc(1, sizeof(*store));
	struct patience patience = { .ms = address->answer_ms };
	int err;

	if (!store)
		return -ENOMEM;
	err = lmdb_load();
	if (!err)
		err = folder_open(&store->folder, address->path, address->shared,
				  &patience);
	if (err) {
		free(store);
		return err;
	}
	*out = &store->base;
	return 0;
}

static void file_free(tine_store *base)
{
	struct file_store *store = (struct file_store *)base;

	folder_close(&store->folder);
	free(store);
}

static const struct store_engine engine = {
	.open = file_open,
	.free = file_free,
	.set = file_set,
	.set_all = file_set_all,
	.get = file_get,
	.add = file_add,
	.swap = file_swap,
	.lock = file_lock,
	.relock = file_relock,
	.push = file_push,
	.pop = file_pop,
	.put_field = file_put_field,
	.get_field = file_get_field,
	.del_field = file_del_field,
	.fields = file_fields,
	.len = file_len,
	.del = file_del,
	.expire = file_expire,
	.keys = file_keys,
	.lease = file_lease,
	.settle = file_settle,
	.wait = file_wait,
};

const struct store_engine *const store_file_engine = &engine;
