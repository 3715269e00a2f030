/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_TEXT_H
#define TINE_MAP_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes that grow; begins as { 0 }. */
struct bytes {
	char *at;
	size_t len, room;
};
void bytes_reserve(struct bytes *, size_t more);
void bytes_add(struct bytes *, const char *, size_t len);
/* To at most so many bytes; no character of UTF-8 is cut. */
void bytes_cut(struct bytes *, size_t most);
void bytes_print(struct bytes *, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Strings, one behind the other; begins as { 0 }. It is used again and again. */
struct strings {
	struct bytes text;
	size_t *starts; /* in the text */
	size_t count, room;
	char **table;
	size_t table_room;
};
void strings_clear(struct strings *);
/* Begins another; what is added to the text is its, until strings_end(). */
void strings_begin(struct strings *);
void strings_end(struct strings *);
void strings_add(struct strings *, const char *, size_t len);
const char *strings_at(const struct strings *, size_t i);
/* All of them, with a NULL behind; until the next is added. */
char **strings_table(struct strings *);
void strings_swap(struct strings *, struct strings *);
void strings_free(struct strings *);

/* No memory: there is nothing to go back to. Says so and leaves with BROKEN. */
void *must(void *memory);

#endif
