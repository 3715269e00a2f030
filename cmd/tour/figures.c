/* SPDX-License-Identifier: MIT */
#include "tour/figures.h"

#include <string.h>

/* 100,000,000 of 100000000. */
static char *group_digits(const char *digits, size_t len, char *to)
{
	for (size_t i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	return to;
}

const char *tour_work(const struct tour *tour, const struct tour_lesson *lesson,
		      char *buf, size_t size)
{
	const char *number = tour->quick ? lesson->quick : lesson->work;
	char *to = buf;

	for (const char *at = lesson->unit; *at && to < buf + size - 32; at++) {
		size_t len = strcspn(number, ",");

		if (at[0] != '%' || at[1] != 's') {
			*to++ = *at;
			continue;
		}
		to = group_digits(number, len, to);
		number += number[len] ? len + 1 : len;
		at++;
	}
	*to = '\0';
	return buf;
}

/* So that it has three digits. */
static int decimals(double number)
{
	return number < 9.995 ? 2 : number < 99.95 ? 1 : 0;
}

const char *tour_time(double seconds, char *buf, size_t size)
{
	static const char *const units[] = { "s", "ms", "us", "ns" };
	int unit = 0;

	while (seconds < 0.9995 && unit < 3) {
		seconds *= 1000;
		unit++;
	}
	snprintf(buf, size, "%.*f %s", decimals(seconds), seconds, units[unit]);
	return buf;
}

const char *tour_ratio(double ratio, char *buf, size_t size)
{
	bool slow = ratio > 0 && ratio < 0.0995;
	char digits[32], *end;

	if (!slow && ratio < 999.5) {
		snprintf(buf, size, "%.*fx", decimals(ratio), ratio);
		return buf;
	}
	snprintf(digits, sizeof(digits), "%.0f", slow ? 1 / ratio : ratio);
	end = group_digits(digits, strlen(digits), stpcpy(buf, slow ? "1/" : ""));
	strcpy(end, "x");
	return buf;
}

/* Of %w and %p: "1 worker", "2 workers"; "1 process", "2 processes". */
void tour_name(const struct tour_program *program, unsigned n, char *buf, size_t size)
{
	const char *at = strchr(program->name, '%');

	if (at)
		snprintf(buf, size, "%.*s%u %s%s%s", (int)(at - program->name),
			 program->name, n, at[1] == 'w' ? "worker" : "process",
			 n == 1		? ""
			 : at[1] == 'w' ? "s"
					: "es",
			 at + 2);
	else
		snprintf(buf, size, "%s", program->name);
}
