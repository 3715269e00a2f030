/* SPDX-License-Identifier: MIT */
#include "memory/stage.h"

#include "base/deadline.h"
#include "memory/heap.h"

#include <errno.h>

int stage_reserve(struct stage *stage, size_t size, int64_t deadline)
{
	int64_t patience = shared_patience();
	void *mem;
	int err;

	if (size <= stage->size)
		return 0;
	err = shared_alloc(&mem, size, earlier(deadline, patience));
	if (err)
		return err;
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
