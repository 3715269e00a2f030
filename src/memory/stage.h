/* SPDX-License-Identifier: MIT */
#ifndef TINE_STAGE_H
#define TINE_STAGE_H

#include <stddef.h>

/* Memory that workers see, kept from one use to the next. Zeroed is ready. */
struct stage {
	void *mem;
	size_t size;
};

/* Room for size bytes; what was there is lost if it has to grow. */
int stage_reserve(struct stage *, size_t size);
/* Gives it back if it is larger. */
void stage_trim(struct stage *, size_t most);

#endif
