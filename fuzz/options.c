/* SPDX-License-Identifier: MIT */
/* The words of a command line: the command's, and then up to 15, with zeros between. */
#include "command.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct command *command;
	char *text = malloc(size + 1), *argv[MOST + 1], *at = text;
	int argc = 0, first = 0, n = 0, code;

	while (commands[n])
		n++;
	memcpy(text, data, size);
	text[size] = '\0';
	command = commands[size ? data[0] % n : 0];
	for (; at <= text + size && argc < MOST; at += strlen(at) + 1)
		argv[argc++] = at;
	argv[argc] = NULL;
	code = options_parse(command, argc, argv, &first);
	if (code != DONE && code != USAGE && code != -1)
		abort();
	if (code == DONE && (first < 1 || first > argc))
		abort();
	free(text);
	return 0;
}
