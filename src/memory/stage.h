/* SPDX-License-Identifier: MIT */
#ifndef TINE_STAGE_H
#define TINE_STAGE_H

#include <stddef.h>
#include <stdint.h>

/* Memory that workers see, kept from one use to the next. Zeroed is ready. */
struct stage {
	void *mem;
	size_t size;
};

/*
 * Room for size bytes; what was there is lost if it has to grow. -ENOMEM; -ETIMEDOUT:
 * another process is stopped in an allocation, to the deadline or for a second.
 */
int stage_reserve(struct stage *, size_t size, int64_t deadline);
/* Gives it back if it is larger. */
void stage_trim(struct stage *, size_t most);

#endif
