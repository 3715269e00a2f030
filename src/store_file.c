/* SPDX-License-Identifier: MIT */
/* The engine of the store that keeps a folder, on LMDB. */
#include "store.h"

#include <errno.h>

static int file_open(tine_store **out, const struct store_address *address)
{
	(void)out;
	(void)address;
	return -ENOSYS;
}

static const struct store_engine engine = {
	.open = file_open,
};

const struct store_engine *const store_file_engine = &engine;
