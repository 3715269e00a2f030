/* SPDX-License-Identifier: MIT */
#include "map/text.h"

#include "command.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* The keeper ends what runs. */
void *must(void *memory)
{
	if (!memory)
		_Exit(complain(BROKEN, "map: out of memory"));
	return memory;
}

void bytes_reserve(struct bytes *bytes, size_t more)
{
	size_t room = bytes->room ? bytes->room : 64;

	if (bytes->len + more <= bytes->room)
		return;
	while (room < bytes->len + more)
		room *= 2;
	bytes->at = must(realloc(bytes->at, room));
	bytes->room = room;
}

void bytes_add(struct bytes *bytes, const char *from, size_t len)
{
	bytes_reserve(bytes, len + 1);
	/* Of none there may be no address. */
	if (len)
		memcpy(bytes->at + bytes->len, from, len);
	bytes->len += len;
}

void bytes_print(struct bytes *bytes, const char *fmt, ...)
{
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	bytes_reserve(bytes, (size_t)len + 1);
	va_start(args, fmt);
	vsnprintf(bytes->at + bytes->len, (size_t)len + 1, fmt, args);
	va_end(args);
	bytes->len += (size_t)len;
}

void bytes_cut(struct bytes *bytes, size_t most)
{
	if (bytes->len <= most)
		return;
	while (most > 0 && (bytes->at[most] & 0xc0) == 0x80)
		most--;
	bytes->len = most;
}

void strings_clear(struct strings *strings)
{
	strings->count = 0;
	strings->text.len = 0;
}

void strings_begin(struct strings *strings)
{
	if (strings->count == strings->room) {
		strings->room = strings->room ? 2 * strings->room : 8;
		strings->starts = must(realloc(strings->starts,
					       strings->room * sizeof(*strings->starts)));
	}
	strings->starts[strings->count++] = strings->text.len;
}

void strings_end(struct strings *strings)
{
	bytes_add(&strings->text, "", 1);
}

void strings_add(struct strings *strings, const char *from, size_t len)
{
	strings_begin(strings);
	bytes_add(&strings->text, from, len);
	strings_end(strings);
}

const char *strings_at(const struct strings *strings, size_t i)
{
	return strings->text.at + strings->starts[i];
}

char **strings_table(struct strings *strings)
{
	if (strings->table_room <= strings->count) {
		strings->table_room = strings->count + 8;
		strings->table = must(realloc(
			strings->table, strings->table_room * sizeof(*strings->table)));
	}
	for (size_t i = 0; i < strings->count; i++)
		strings->table[i] = strings->text.at + strings->starts[i];
	strings->table[strings->count] = NULL;
	return strings->table;
}

void strings_swap(struct strings *one, struct strings *other)
{
	struct strings kept = *one;

	*one = *other;
	*other = kept;
}

void strings_free(struct strings *strings)
{
	free(strings->text.at);
	free(strings->starts);
	free(strings->table);
	*strings = (struct strings){ 0 };
}
