/* SPDX-License-Identifier: MIT */
/* What the tour found, as a table and as JSON; and its traces, as one. */
#include "tour.h"

#include "../command.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <tine.h>

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

/* ---- the table --------------------------------------------------------------------- */

static void print_section(const struct tour *tour, const struct tour_section *section)
{
	char work[TOUR_TEXT], time[32], ratio[64], title[2 * TOUR_TEXT];

	snprintf(title, sizeof(title), "%s: %s", section->lesson->title,
		 tour_work(tour, section->lesson, work, sizeof(work)));
	print_wrapped(title, 0, stdout);
	for (unsigned i = 0; i < section->n; i++) {
		const struct tour_result *result = &section->results[i];
		const struct tour_run *run = &result->run;
		bool left_out = *run->left_out;

		printf("  %-50s %10s", result->name,
		       left_out		? "left out"
		       : result->failed ? "FAILED"
		       : run->never	? "never"
					: tour_time(run->seconds, time, sizeof(time)));
		if (result->ratio > 0)
			printf(" %11s", tour_ratio(result->ratio, ratio, sizeof(ratio)));
		printf("\n");
		printf("      ");
		print_wrapped(left_out ? run->left_out : result->program->shows, 6,
			      stdout);
		if (*run->note) {
			printf("      ");
			print_wrapped(run->note, 6, stdout);
		}
		if (run->look > 0)
			printf("      A look at the flag: %s.\n",
			       tour_time(run->look, time, sizeof(time)));
	}
	printf("\n");
}

void tour_print(const struct tour *tour)
{
	for (unsigned i = 0; i < tour->n; i++)
		print_section(tour, &tour->sections[i]);
	printf("x: times as fast as the first line of its part. Times are the medians "
	       "of\n"
	       "one to %d runs, as many as time allows, with the start and the end of "
	       "the\nprocesses.\n",
	       TOUR_RUNS);
}

/* ---- JSON -------------------------------------------------------------------------- */

static json_t *number_or_null(double number)
{
	return number > 0 ? json_real(number) : json_null();
}

static json_t *text_or_null(const char *text)
{
	return *text ? json_string(text) : json_null();
}

static json_t *describe_result(const struct tour_result *result)
{
	const struct tour_run *run = &result->run;
	bool ran = !result->failed && !*run->left_out && !run->never;
	json_t *object = json_pack(
		"{s:s, s:s, s:b, s:b, s:b, s:o, s:o, s:o, s:o, s:o}", "id",
		result->program->id, "name", result->name, "python",
		result->program->script != NULL, "failed", result->failed, "never",
		run->never, "seconds", ran ? json_real(run->seconds) : json_null(),
		"ratio", number_or_null(result->ratio), "look", number_or_null(run->look),
		"note", text_or_null(run->note), "left_out", text_or_null(run->left_out));
	json_t *estimates = run->jobs ? json_array() : NULL;

	for (unsigned i = 0; i < run->jobs; i++)
		json_array_append_new(estimates, json_real(run->estimates[i]));
	if (estimates)
		json_object_set_new(object, "estimates", estimates);
	return object;
}

static json_t *describe_section(const struct tour *tour,
				const struct tour_section *section)
{
	json_t *programs = json_array();
	char work[TOUR_TEXT];

	for (unsigned i = 0; i < section->n; i++)
		json_array_append_new(programs, describe_result(&section->results[i]));
	return json_pack("{s:s, s:s, s:s, s:o}", "id", section->lesson->id, "title",
			 section->lesson->title, "work",
			 tour_work(tour, section->lesson, work, sizeof(work)), "programs",
			 programs);
}

char *tour_json(const struct tour *tour)
{
	json_t *lessons = json_array(), *object;
	char *text, *line = NULL;

	for (unsigned i = 0; i < tour->n; i++)
		json_array_append_new(lessons,
				      describe_section(tour, &tour->sections[i]));
	object = json_pack("{s:s, s:s, s:s, s:s, s:i, s:I, s:i, s:b, s:f, s:o}", "tine",
			   tine_version(), "date", tour->date, "system", tour->system,
			   "processor", tour->processor, "processors",
			   (int)tour->processors, "memory", (json_int_t)tour->memory,
			   "workers", (int)tour->workers, "quick", tour->quick, "seconds",
			   tour->seconds, "lessons", lessons);
	text = json_dumps(object, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
	json_decref(object);
	if (text && asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	free(text);
	return line;
}

/* ---- traces ------------------------------------------------------------------------ */

/* Moves the events of a trace by so many microseconds; where the last one ends. */
static double append_trace(json_t *all, const char *path, double offset)
{
	json_t *events = json_load_file(path, 0, NULL), *event;
	double last = offset;
	size_t i;

	json_array_foreach(events, i, event)
	{
		json_t *begun = json_object_get(event, "ts");
		double at = json_number_value(begun) + offset;

		if (!begun)
			continue;
		json_object_set_new(event, "ts", json_real(at));
		at += json_number_value(json_object_get(event, "dur"));
		last = at > last ? at : last;
	}
	json_array_extend(all, events);
	json_decref(events);
	return last;
}

/* The traces of all programs, one after the other. */
char *tour_trace(const struct tour *tour)
{
	json_t *all = json_array();
	double offset = 0;
	char *text;

	for (unsigned i = 0; i < tour->n; i++)
		for (unsigned j = 0; j < tour->sections[i].n; j++) {
			const char *path = tour->sections[i].results[j].trace;

			if (path)
				offset = append_trace(all, path, offset);
		}
	text = json_dumps(all, JSON_COMPACT | JSON_REAL_PRECISION(15));
	json_decref(all);
	return text;
}
