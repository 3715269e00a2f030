/* SPDX-License-Identifier: MIT */
/*
 * Axes, and the chart of estimates. Places and lengths along x are parts of the width,
 * and text has a size of its own, so that a chart is as wide as the page and can be read
 * at any width.
 */
#include "tour/figures.h"
#include "tour/html.h"
#include "tour/page.h"

#include <math.h>

enum { LABEL = 18, DOT = 7, PANEL = LABEL + TOUR_JOBS * DOT + 22 };

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

/* So that there are three to five: 1, 2 or 5 of some power of ten. */
static double step_of(double range)
{
	double power = pow(10, floor(log10(range / 3))), n = range / 3 / power;

	return power * (n >= 8 ? 10 : n >= 3.5 ? 5 : n >= 1.6 ? 2 : 1);
}

static void unit_line(FILE *out, int y, const char *unit)
{
	fprintf(out, "<text class=\"unit\" x=\"0\" y=\"%d\">%s</text>\n", y + 37, unit);
}

static void linear_axis(FILE *out, double most, int y)
{
	unsigned unit = unit_of(most);
	double end = most / units[unit].seconds, step = step_of(end);
	char label[32];

	for (int i = 0; i * step <= end; i++) {
		snprintf(label, sizeof(label), "%.6g", i * step);
		tick(out, 100 * i * step / end, y, label);
	}
	unit_line(out, y, units[unit].name);
}

/* Powers of ten, every other if they are many. */
static void logarithmic_axis(FILE *out, double least, double most, int y)
{
	int first = (int)lround(log10(least)), decades = (int)log10(most / least);
	char label[32];

	for (int i = 0; i <= decades; i += decades > 4 ? 2 : 1) {
		double seconds = pow(10, first + i);
		unsigned unit = unit_of(seconds);

		snprintf(label, sizeof(label), "%.6g %s", seconds / units[unit].seconds,
			 units[unit].sign);
		tick(out, 100 * i / log10(most / least), y, label);
	}
	unit_line(out, y, "time, logarithmic");
}

void chart_axis(FILE *out, double least, double most, int y)
{
	if (least > 0)
		logarithmic_axis(out, least, most, y);
	else
		linear_axis(out, most, y);
}

/* ---- estimates --------------------------------------------------------------------- */

static void draw_estimates(FILE *out, const struct tour_result *result, int y, double low,
			   double high)
{
	const struct tour_run *run = &result->run;

	fprintf(out, "<text class=\"label\" x=\"0\" y=\"%d\">", y + 13);
	html_text(out, result->name);
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
			html_text(out, section->results[i].name);
			fputs(": ", out);
			html_text(out, section->results[i].run.note);
		}
	fputs("\">\n", out);
	for (double at = ceil(low / step) * step; at < low + 2 * away; at += step) {
		snprintf(label, sizeof(label), "%.6g", at);
		tick(out, 50 * (at - low) / away, height, label);
	}
	unit_line(out, height, "estimate of pi");
	for (unsigned i = 0; i < section->n; i++)
		if (section->results[i].run.jobs) {
			draw_estimates(out, &section->results[i], y, low, low + 2 * away);
			y += PANEL;
		}
	fprintf(out, "<line class=\"pi\" x1=\"50%%\" x2=\"50%%\" y1=\"%d\" y2=\"%d\"/>\n",
		LABEL, height);
	fputs("</svg></figure>\n", out);
}
