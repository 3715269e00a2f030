/* SPDX-License-Identifier: MIT */
#include "tour/said.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

int said_parse(struct tour_run *run, const char *text)
{
	const char *note = "", *left_out = NULL;
	struct tour_run made = *run;
	json_t *said, *estimates = NULL;
	json_int_t answer = -1;
	json_error_t error;
	int err = -EPROTO, never = 0;

	made.seconds = -1;
	said = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	if (!said ||
	    json_unpack_ex(said, &error, JSON_STRICT,
			   "{s?F, s?b, s?I, s?F, s?F, s?o, s?s, s?s}", "seconds",
			   &made.seconds, "never", &never, "answer", &answer, "look",
			   &made.look, "died", &made.died, "estimates", &estimates,
			   "note", &note, "left_out", &left_out) != 0) {
		snprintf(run->note, sizeof(run->note), "its JSON: %s", error.text);
		goto free_said;
	}
	made.jobs = (unsigned)json_array_size(estimates);
	if (made.jobs > TOUR_JOBS || (made.seconds < 0 && !left_out)) {
		snprintf(run->note, sizeof(run->note), "its JSON is without its seconds");
		goto free_said;
	}
	for (unsigned i = 0; i < made.jobs; i++)
		made.estimates[i] = json_number_value(json_array_get(estimates, i));
	made.never = never;
	made.has_answer = answer >= 0;
	made.answer = made.has_answer ? (uint64_t)answer : 0;
	if (left_out)
		made.seconds = 0;
	snprintf(made.note, sizeof(made.note), "%s", note);
	snprintf(made.left_out, sizeof(made.left_out), "%s", left_out ? left_out : "");
	*run = made;
	err = 0;
free_said:
	json_decref(said);
	return err;
}
