/* SPDX-License-Identifier: MIT */
#include "tour/figures.h"

#include <math.h>
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
	/* What rounds to 1.00 is no slower. */
	bool slow = ratio > 0 && ratio < 0.995;
	double times = slow ? 1 / ratio : ratio, unit = 1;
	char digits[32], *end = buf;

	if (times < 999.5) {
		snprintf(buf, size, "%.*fx%s", decimals(times), times,
			 slow ? " slower" : "");
		return buf;
	}
	/* No figure has more than three digits that say something. */
	while (times / unit >= 999.5)
		unit *= 10;
	snprintf(digits, sizeof(digits), "%.0f", round(times / unit) * unit);
	end = group_digits(digits, strlen(digits), buf);
	strcpy(end, slow ? "x slower" : "x");
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

const struct tour_result *tour_best(const struct tour_section *section)
{
	const struct tour_result *best = NULL;

	for (unsigned i = 1; i < section->n; i++) {
		const struct tour_result *result = &section->results[i];

		if (!result->failed && !result->program->script &&
		    result->ratio > (best ? best->ratio : 1))
			best = result;
	}
	return best;
}

static const struct tour_result *best_of(const struct tour *tour, const char *lesson)
{
	for (unsigned i = 0; i < tour->n; i++)
		if (strcmp(tour->sections[i].lesson->id, lesson) == 0)
			return tour_best(&tour->sections[i]);
	return NULL;
}

/* Of the lessons that tell most, those that there are; a machine may gain by none. */
const char *tour_gist(const struct tour *tour, char *buf, size_t size)
{
	static const struct {
		const char *lesson, *gain;
	} gains[] = {
		{ "pi", "%s does even work %.1f times as fast as with one process" },
		{ "vectors", "%s with vectors, %.0f times" },
		{ "cache", "%s what is kept comes back %.0f times as fast" },
	};
	char workers[64];
	size_t len = 0;

	snprintf(workers, sizeof(workers), "With %u worker%s, this machine",
		 tour->workers, tour->workers == 1 ? "" : "s");
	buf[0] = '\0';
	for (size_t i = 0; i < sizeof(gains) / sizeof(*gains) && len < size; i++) {
		const struct tour_result *best = best_of(tour, gains[i].lesson);
		const char *lead = len ? (i == 2 ? "; and" : ";") : workers;

		if (!best || (i > 0 && len == 0))
			continue;
		len += (size_t)snprintf(buf + len, size - len, gains[i].gain, lead,
					best->ratio);
	}
	if (len == 0)
		snprintf(buf, size, "%s gains nothing over one process in these lessons.",
			 workers);
	else
		snprintf(buf + len, len < size ? size - len : 0, ".");
	return buf;
}
