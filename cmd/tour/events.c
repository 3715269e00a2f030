/* SPDX-License-Identifier: MIT */
#include "tour/events.h"

#include <stdlib.h>
#include <string.h>

/* What a program that was killed while it wrote has left, up to its last whole line. */
static json_t *mended(char *text)
{
	char *end = text + strlen(text);

	while (end > text && !(end[-1] == '}' && (strncmp(end, "\n", 1) == 0 ||
						  strncmp(end, ",\n", 2) == 0)))
		end--;
	if (end == text)
		return NULL;
	strcpy(end, "]");
	return json_loads(text, 0, NULL);
}

json_t *events_parse(char *text)
{
	json_t *events = json_loads(text, 0, NULL);

	events = events ? events : mended(text);
	if (!json_is_array(events)) {
		json_decref(events);
		return NULL;
	}
	return events;
}

json_t *events_read(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;
	json_t *events = NULL;

	if (!file)
		return NULL;
	/* JSON has no zero bytes. */
	if (getdelim(&text, &size, '\0', file) > 0)
		events = events_parse(text);
	free(text);
	fclose(file);
	return events;
}

/* Moves the events of a trace by so many microseconds; where the last one ends. */
static double append(json_t *all, const char *path, double offset)
{
	json_t *events = events_read(path), *event;
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

char *events_of_tour(const struct tour *tour)
{
	json_t *all = json_array();
	double offset = 0;
	char *text;

	for (unsigned i = 0; i < tour->n; i++)
		for (unsigned j = 0; j < tour->sections[i].n; j++) {
			const char *path = tour->sections[i].results[j].trace;

			if (path)
				offset = append(all, path, offset);
		}
	text = json_dumps(all, JSON_COMPACT | JSON_REAL_PRECISION(15));
	json_decref(all);
	return text;
}
