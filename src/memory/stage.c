/* SPDX-License-Identifier: MIT */
#include "memory/stage.h"

#include "base/export.h"
#include "memory/heap.h"

#include <errno.h>

int stage_reserve(struct stage *stage, size_t size)
{
	void *mem;

	if (size <= stage->size)
		return 0;
	mem = shared_alloc(size, shared_patience());
	if (!mem)
		return -ENOMEM;
	tine_shared_free(stage->mem);
	stage->mem = mem;
	stage->size = size;
	return 0;
}

void stage_trim(struct stage *stage, size_t most)
{
	if (stage->size <= most)
		return;
	tine_shared_free(stage->mem);
	*stage = (struct stage){ 0 };
}
