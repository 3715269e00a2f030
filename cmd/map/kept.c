/* SPDX-License-Identifier: MIT */
#include "map/kept.h"

#include "map/words.h"

#include <stdint.h>
#include <string.h>

static bool read_number(const char **at, size_t *len, uint64_t *number)
{
	if (*len < sizeof(*number))
		return false;
	memcpy(number, *at, sizeof(*number));
	*at += sizeof(*number);
	*len -= sizeof(*number);
	return true;
}

/* Of what begin_key() of keep.c has made. */
static bool describe_command(const char *at, size_t len, struct bytes *text)
{
	uint64_t folder, words, size;

	if (!read_number(&at, &len, &folder) || folder > len)
		return false;
	at += folder;
	len -= folder;
	if (!read_number(&at, &len, &words) || !read_number(&at, &len, &size) ||
	    size > len || (size > 0 && at[size - 1]))
		return false;
	for (const char *end = at + size; at < end; at += strlen(at) + 1) {
		if (text->len)
			bytes_add(text, " ", 1);
		add_quoted(text, at);
	}
	return true;
}

bool kept_describe(const void *key, size_t len, struct bytes *text)
{
	const char *at = key;

	text->len = 0;
	if (len > sizeof(RESULT_KEY) && memcmp(at, RESULT_KEY, sizeof(RESULT_KEY)) == 0)
		return describe_command(at + sizeof(RESULT_KEY), len - sizeof(RESULT_KEY),
					text);
	if (len > sizeof(TIME_KEY) && memcmp(at, TIME_KEY, sizeof(TIME_KEY)) == 0) {
		bytes_print(text, "# time of");
		return describe_command(at + sizeof(TIME_KEY), len - sizeof(TIME_KEY),
					text);
	}
	if (len <= sizeof(KEPT_PREFIX) || memcmp(at, KEPT_PREFIX, sizeof(KEPT_PREFIX)))
		return false;
	bytes_print(text, "# contents of a file");
	return true;
}
