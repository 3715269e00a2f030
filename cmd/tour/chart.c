/* SPDX-License-Identifier: MIT */
/*
 * Charts, in SVG. Places and lengths along x are parts of the width, and text has a size
 * of its own, so that a chart is as wide as the page and can be read at any width.
 */
#include "tour.h"

#include <math.h>
#include <string.h>

enum { LABEL = 18, BAR = 22, ROW = 54, DOT = 7, PANEL = LABEL + TOUR_JOBS * DOT + 22 };

static const struct {
	const char *name, *sign;
	double seconds;
} units[] = {
	{ "nanoseconds", "ns", 1e-9 },
	{ "microseconds", "µs", 1e-6 },
	{ "milliseconds", "ms", 1e-3 },
	{ "seconds", "s", 1 },
};

static unsigned unit_of(double seconds)
{
	unsigned unit = 3;

	/* What rounds to one of a unit is one. */
	while (unit > 0 && seconds < units[unit].seconds * 0.9995)
		unit--;
	return unit;
}

/* ---- axes -------------------------------------------------------------------------- */

static void tick(FILE *out, double percent, int y, const char *label)
{
	/* Text at the edges grows inwards. */
	const char *anchor = percent < 7 ? "start" : percent > 92 ? "end" : "middle";

	fprintf(out,
		"<line class=\"tick\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"0\" y2=\"%d\"/>"
		"<text class=\"number\" x=\"%.2f%%\" y=\"%d\" "
		"text-anchor=\"%s\">%s</text>\n",
		percent, percent, y + 5, percent, y + 18, anchor, label);
}

/* So that there are three to six: 1, 2 or 5 of some power of ten. */
static double step_of(double range)
{
	double power = pow(10, floor(log10(range / 3))), n = range / 3 / power;

	return power * (n >= 5 ? 5 : n >= 2 ? 2 : 1);
}

static void unit_line(FILE *out, int y, const char *unit, const char *more)
{
	fprintf(out, "<text class=\"unit\" x=\"0\" y=\"%d\">%s%s</text>\n", y + 37, unit,
		more);
}

void chart_axis(FILE *out, double seconds, int y)
{
	unsigned unit = unit_of(seconds);
	double most = seconds / units[unit].seconds, step = step_of(most);
	char label[32];

	for (int i = 0; i * step <= most; i++) {
		snprintf(label, sizeof(label), "%.6g", i * step);
		tick(out, 100 * i * step / most, y, label);
	}
	unit_line(out, y, units[unit].name, "");
}

/* Powers of ten, every other if they are many. */
static void logarithmic_axis(FILE *out, double least, double most, int y)
{
	int first = (int)lround(log10(least)), decades = (int)log10(most / least);
	char label[32];

	for (int i = 0; i <= decades; i += decades > 5 ? 2 : 1) {
		double seconds = pow(10, first + i);
		unsigned unit = unit_of(seconds);

		snprintf(label, sizeof(label), "%.6g %s", seconds / units[unit].seconds,
			 units[unit].sign);
		tick(out, 100 * i / log10(most / least), y, label);
	}
	unit_line(out, y, units[unit_of(most)].name, ", logarithmic");
}

/* ---- bars -------------------------------------------------------------------------- */

struct bar {
	const struct tour_result *result;
	double seconds; /* 0: it failed */
	char value[112];
};

struct bars {
	struct bar bar[TOUR_PROGRAMS];
	int n;
	double least, most;
	bool logarithmic, python;
};

static void add(struct bars *bars, const struct tour_result *result, double seconds,
		double ratio)
{
	struct bar *bar = &bars->bar[bars->n++];
	char time[32], times[64];

	*bar = (struct bar){ .result = result, .seconds = result->failed ? 0 : seconds };
	bars->python |= result->program->script != NULL;
	if (result->failed) {
		snprintf(bar->value, sizeof(bar->value), "failed");
		return;
	}
	bars->most = fmax(bars->most, seconds);
	bars->least = bars->least > 0 ? fmin(bars->least, seconds) : seconds;
	page_time(seconds, time, sizeof(time));
	if (ratio > 0)
		snprintf(bar->value, sizeof(bar->value), "%s · %s", time,
			 tour_ratio(ratio, times, sizeof(times)));
	else
		snprintf(bar->value, sizeof(bar->value), "%s", time);
}

static double place(const struct bars *bars, double seconds)
{
	double part = bars->logarithmic
			      ? log(seconds / bars->least) / log(bars->most / bars->least)
			      : seconds / bars->most;

	return 100 * fmax(part, 0.004);
}

static void draw_bar(FILE *out, const struct bars *bars, int i)
{
	const struct bar *bar = &bars->bar[i];
	double percent = bar->seconds > 0 ? place(bars, bar->seconds) : 0;
	const char *kind = bar->result->program->script ? " python" : "";
	bool inside = percent > 52;

	fprintf(out, "<text class=\"label\" x=\"0\" y=\"%d\">", i * ROW + 13);
	page_text(out, bar->result->name);
	fprintf(out,
		"</text><rect class=\"bar%s\" x=\"0\" y=\"%d\" width=\"%.2f%%\" "
		"height=\"%d\"/>",
		kind, i * ROW + LABEL, percent, BAR);
	if (bar->seconds > 0 && bar->result->run.died > 0 && !bars->logarithmic)
		fprintf(out,
			"<line class=\"death\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"%d\" "
			"y2=\"%d\"><title>a worker was killed here</title></line>",
			place(bars, bar->result->run.died),
			place(bars, bar->result->run.died), i * ROW + LABEL - 2,
			i * ROW + LABEL + BAR + 2);
	fprintf(out,
		"<text class=\"value%s%s\" x=\"%.2f%%\" dx=\"%d\" y=\"%d\" "
		"text-anchor=\"%s\">%s</text>\n",
		inside ? " inside" : "", bar->seconds > 0 ? kind : " failed", percent,
		inside ? -8 : 8, i * ROW + LABEL + 16, inside ? "end" : "start",
		bar->value);
}

static void draw_bars(FILE *out, struct bars *bars, const char *what, const char *how)
{
	int height = bars->n * ROW;

	if (bars->most <= 0)
		return;
	bars->logarithmic = bars->most > 50 * bars->least;
	/* The least has some length too. */
	if (bars->logarithmic)
		bars->least = pow(10, floor(log10(bars->least / 1.5)));
	fprintf(out, "<figure><figcaption><b>%s.</b> %s", what, how);
	if (bars->python)
		fputs(" <span class=\"keys\">" PAGE_KEY("bar", "C, with tine")
			      PAGE_KEY("bar python", "Python") "</span>",
		      out);
	fprintf(out,
		"</figcaption>\n<svg class=\"chart\" role=\"img\" height=\"%d\" "
		"aria-label=\"%s",
		height + 44, what);
	for (int i = 0; i < bars->n; i++) {
		fputs(i ? "; " : ": ", out);
		page_text(out, bars->bar[i].result->name);
		fprintf(out, ", %s", bars->bar[i].value);
	}
	fputs("\">\n", out);
	if (bars->logarithmic)
		logarithmic_axis(out, bars->least, bars->most, height);
	else
		chart_axis(out, bars->most, height);
	/* What the others are compared with. */
	if (bars->bar[0].seconds > 0)
		fprintf(out,
			"<line class=\"first\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"%d\" "
			"y2=\"%d\"/>\n",
			place(bars, bars->bar[0].seconds),
			place(bars, bars->bar[0].seconds), LABEL, height);
	for (int i = 0; i < bars->n; i++)
		draw_bar(out, bars, i);
	fputs("</svg></figure>\n", out);
}

void chart_times(FILE *out, const struct tour_section *section)
{
	struct bars times = { .n = 0 }, looks = { .n = 0 };

	for (unsigned i = 0; i < section->n; i++) {
		const struct tour_result *result = &section->results[i];

		if (result->failed || result->run.seconds > 0)
			add(&times, result, result->run.seconds, i ? result->ratio : 0);
		if (!result->failed && result->run.look > 0)
			add(&looks, result, result->run.look, 0);
	}
	draw_bars(
		out, &times, "Time of the work",
		"The shorter, the faster. The dashed line is the first program; after a "
		"time stands how many times as fast as that it is.");
	draw_bars(out, &looks, "Time of one look at the flag",
		  "The shorter, the better.");
}

/* ---- estimates --------------------------------------------------------------------- */

static void draw_estimates(FILE *out, const struct tour_result *result, int y, double low,
			   double high)
{
	const struct tour_run *run = &result->run;

	fprintf(out, "<text class=\"label\" x=\"0\" y=\"%d\">", y + 13);
	page_text(out, result->name);
	fprintf(out,
		"</text><rect class=\"lane\" x=\"0\" y=\"%d\" width=\"100%%\" "
		"height=\"%d\"/>",
		y + LABEL, DOT * (TOUR_JOBS + 1));
	for (unsigned i = 0; i < run->jobs; i++)
		fprintf(out,
			"<circle class=\"dot%s\" cx=\"%.2f%%\" cy=\"%u\" r=\"3.5\">"
			"<title>job %u: %.6f</title></circle>",
			result->program->script ? " python" : "",
			100 * (run->estimates[i] - low) / (high - low),
			y + LABEL + DOT * i + DOT, i, run->estimates[i]);
	fputc('\n', out);
}

void chart_estimates(FILE *out, const struct tour_section *section)
{
	double away = 0, low, step;
	int height = 0, y = 0;
	char label[32];

	for (unsigned i = 0; i < section->n; i++) {
		const struct tour_run *run = &section->results[i].run;

		height += run->jobs ? PANEL : 0;
		for (unsigned j = 0; j < run->jobs; j++)
			away = fmax(away, fabs(run->estimates[j] - M_PI));
	}
	if (height == 0)
		return;
	away = fmax(away, 1e-6) * 1.1;
	low = M_PI - away;
	step = step_of(2 * away);
	fprintf(out,
		"<figure><figcaption><b>What each job made of pi.</b> A dot for each "
		"job, "
		"the first at the top; the line is pi itself.</figcaption>\n"
		"<svg class=\"chart\" role=\"img\" height=\"%d\" "
		"aria-label=\"Estimates of pi",
		height + 44);
	for (unsigned i = 0; i < section->n; i++)
		if (section->results[i].run.jobs) {
			fputs("; ", out);
			page_text(out, section->results[i].name);
			fputs(": ", out);
			page_text(out, section->results[i].run.note);
		}
	fputs("\">\n", out);
	for (double at = ceil(low / step) * step; at < low + 2 * away; at += step) {
		snprintf(label, sizeof(label), "%.6g", at);
		tick(out, 50 * (at - low) / away, height, label);
	}
	unit_line(out, height, "estimate of pi", "");
	for (unsigned i = 0; i < section->n; i++)
		if (section->results[i].run.jobs) {
			draw_estimates(out, &section->results[i], y, low, low + 2 * away);
			y += PANEL;
		}
	fprintf(out, "<line class=\"pi\" x1=\"50%%\" x2=\"50%%\" y1=\"%d\" y2=\"%d\"/>\n",
		LABEL, height);
	fputs("</svg></figure>\n", out);
}
