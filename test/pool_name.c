/* SPDX-License-Identifier: MIT */
/* Prints the pool that this program has where none is named, as one of two builds. */
#include "engine/engine.h"

#include <stdio.h>

int main(void)
{
	struct engine_url url;

	if (engine_url_parse(&url, "redis://h") != 0)
		return 1;
	printf("%s\n", url.pool);
	fprintf(stderr, "%s\n", BUILD);
	engine_url_free(&url);
	return 0;
}
