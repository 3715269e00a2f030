/* SPDX-License-Identifier: MIT */
/* A trace, as the tour reads and draws it. */
#include "tour/page.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("trace", MFD_CLOEXEC);
	char path[64], *page = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&page, &len);
	struct tour_result result = { .name = "a program", .trace = path };

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!out || write(fd, data, size) != (ssize_t)size)
		abort();
	timeline(out, &result);
	fclose(out);
	free(page);
	close(fd);
	return 0;
}
