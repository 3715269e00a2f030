/* SPDX-License-Identifier: MIT */
/* What the tour found, as a table and as JSON. */
#include "command.h"
#include "tour/figures.h"
#include "tour/tour.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <tine.h>

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

		printf("  %-46s %10s", result->name,
		       left_out		? "left out"
		       : result->failed ? "FAILED"
		       : run->never	? "never"
					: tour_time(run->seconds, time, sizeof(time)));
		if (result->ratio > 0)
			printf(" %17s", tour_ratio(result->ratio, ratio, sizeof(ratio)));
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
	if (tour->busy)
		printf("The machine was busy when this began, with a load of %.1f for %u "
		       "processors:\ntimes are longer than they need be.\n\n",
		       tour->load, tour->processors);
	printf("x: times as fast as the first line of its part, or as slow. Times are "
	       "the\nmedians of one to %d runs, as many as time allows, with the start "
	       "and "
	       "the end of\nthe processes.\n",
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
	object = json_pack("{s:s, s:s, s:s, s:s, s:i, s:I, s:o, s:i, s:b, s:f, s:o}",
			   "tine", tine_version(), "date", tour->date, "system",
			   tour->system, "processor", tour->processor, "processors",
			   (int)tour->processors, "memory", (json_int_t)tour->memory,
			   "load", tour->load < 0 ? json_null() : json_real(tour->load),
			   "workers", (int)tour->workers, "quick", tour->quick, "seconds",
			   tour->seconds, "lessons", lessons);
	text = json_dumps(object, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
	json_decref(object);
	if (text && asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	free(text);
	return line;
}
