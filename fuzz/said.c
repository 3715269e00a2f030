/* SPDX-License-Identifier: MIT */
/* What a Python program says of itself. */
#include "tour/said.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tour_run run = { 0 };
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	if (said_parse(&run, text) == 0 && run.jobs > TOUR_JOBS)
		abort();
	if (memchr(run.note, '\0', sizeof(run.note)) == NULL ||
	    memchr(run.left_out, '\0', sizeof(run.left_out)) == NULL)
		abort();
	free(text);
	return 0;
}
