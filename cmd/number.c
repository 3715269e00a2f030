/* SPDX-License-Identifier: MIT */
#include "command.h"

#include <ctype.h>
#include <string.h>

/* Reads digits, with single underscores between them; how many, or -1. */
static int read_digits(const char **at, uint64_t *value, bool *overflow)
{
	int n = 0;

	for (;; ++*at) {
		char c = **at;

		if (c == '_' && n > 0 && isdigit((unsigned char)(*at)[1]))
			continue;
		if (!isdigit((unsigned char)c))
			return n;
		*overflow |= __builtin_mul_overflow(*value, 10, value) ||
			     __builtin_add_overflow(*value, (uint64_t)(c - '0'), value);
		n++;
	}
}

static bool scale(uint64_t *value, int exponent)
{
	for (; exponent > 0 && *value > 0; exponent--)
		if (__builtin_mul_overflow(*value, 10, value))
			return false;
	for (; exponent < 0 && *value > 0; exponent++) {
		if (*value % 10 != 0)
			return false;
		*value /= 10;
	}
	return true;
}

bool read_count(const char *text, void *into)
{
	uint64_t value = 0, power = 0;
	int whole, places = 0;
	bool overflow = false;

	whole = read_digits(&text, &value, &overflow);
	if (*text == '.') {
		text++;
		places = read_digits(&text, &value, &overflow);
		if (places == 0)
			return false;
	}
	if (whole == 0)
		return false;
	if (*text == 'e' || *text == 'E') {
		text += text[1] == '+' ? 2 : 1;
		if (read_digits(&text, &power, &overflow) == 0)
			return false;
	}
	if (*text != '\0' || overflow || power > 1000 ||
	    !scale(&value, (int)power - places))
		return false;
	*(uint64_t *)into = value;
	return true;
}

bool read_range_end(const char *text, void *into)
{
	static const char top[] = "18446744073709551616";
	struct range_end end = { 0 };

	if (!read_count(text, &end.number)) {
		for (int i = 0; top[i]; i++, text++) {
			text += i > 0 && *text == '_';
			if (*text != top[i])
				return false;
		}
		if (*text != '\0')
			return false;
		end.wrapped = true;
	}
	*(struct range_end *)into = end;
	return true;
}

bool read_positive(const char *text, void *into)
{
	uint64_t value;

	if (!read_count(text, &value) || value == 0)
		return false;
	*(uint64_t *)into = value;
	return true;
}

bool read_workers(const char *text, void *into)
{
	uint64_t value;

	if (!read_count(text, &value) || value == 0 || value > 1024)
		return false;
	*(unsigned *)into = (unsigned)value;
	return true;
}

bool read_seed(const char *text, void *into)
{
	uint64_t value = 0;

	if (text[0] != '0' || (text[1] != 'x' && text[1] != 'X'))
		return read_count(text, into);
	text += 2;
	if (strlen(text) < 1 || strlen(text) > 16)
		return false;
	for (; *text; text++) {
		if (!isxdigit((unsigned char)*text))
			return false;
		value = value << 4 | (isdigit((unsigned char)*text)
					      ? (unsigned)(*text - '0')
					      : (unsigned)(tolower(*text) - 'a' + 10));
	}
	*(uint64_t *)into = value;
	return true;
}

bool read_text(const char *text, void *into)
{
	*(const char **)into = text;
	return true;
}
