/* SPDX-License-Identifier: MIT */
/* Charts of times: a bar for each program. */
#include "tour/figures.h"
#include "tour/html.h"
#include "tour/page.h"

#include <math.h>

enum { LABEL = 18, BAR = 22, ROW = 54 };

struct bar {
	const struct tour_result *result;
	double seconds; /* 0: it failed, or has no end */
	char value[32], ratio[80];
};

struct bars {
	struct bar bar[TOUR_PROGRAMS];
	int n;
	double least, most;
	bool compared, logarithmic, python, deaths;
};

static void add(struct bars *bars, const struct tour_result *result, double seconds,
		double ratio)
{
	struct bar *bar = &bars->bar[bars->n++];
	char times[64];

	*bar = (struct bar){ .result = result };
	bars->python |= result->program->script != NULL;
	if (result->failed || result->run.never) {
		snprintf(bar->value, sizeof(bar->value), "%s",
			 result->failed ? "failed" : "never");
		return;
	}
	bar->seconds = seconds;
	bars->deaths |= bars->compared && result->run.died > 0;
	bars->most = fmax(bars->most, seconds);
	bars->least = bars->least > 0 ? fmin(bars->least, seconds) : seconds;
	html_time(seconds, bar->value, sizeof(bar->value));
	if (ratio > 0)
		snprintf(bar->ratio, sizeof(bar->ratio), " · %s",
			 tour_ratio(ratio, times, sizeof(times)));
}

static double place(const struct bars *bars, double seconds)
{
	double part = bars->logarithmic
			      ? log(seconds / bars->least) / log(bars->most / bars->least)
			      : seconds / bars->most;

	return 100 * fmax(part, 0.004);
}

static void draw_line(FILE *out, const char *class, double percent, int from, int to)
{
	fprintf(out,
		"<line class=\"%s\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"%d\" y2=\"%d\"/>\n",
		class, percent, percent, from, to);
}

static void draw_bar(FILE *out, const struct bars *bars, int i)
{
	const struct bar *bar = &bars->bar[i];
	double percent = bar->seconds > 0 ? place(bars, bar->seconds) : 0;
	const char *kind = bar->result->program->script ? " python" : "";
	bool inside = percent > 52;

	fprintf(out, "<text class=\"label\" x=\"0\" y=\"%d\">", i * ROW + 13);
	html_text(out, bar->result->name);
	fprintf(out,
		"</text><rect class=\"bar%s\" x=\"0\" y=\"%d\" width=\"%.2f%%\" "
		"height=\"%d\"/>",
		kind, i * ROW + LABEL, percent, BAR);
	if (bars->compared && bar->seconds > 0 && bar->result->run.died > 0)
		draw_line(out, "death", place(bars, bar->result->run.died),
			  i * ROW + LABEL - 3, i * ROW + LABEL + BAR + 3);
	fprintf(out,
		"<text class=\"value%s%s\" x=\"%.2f%%\" dx=\"%d\" y=\"%d\" "
		"text-anchor=\"%s\">%s",
		inside ? " inside" : "", bar->seconds > 0 ? kind : " failed", percent,
		inside ? -8 : 8, i * ROW + LABEL + 16, inside ? "end" : "start",
		bar->value);
	/* A phone has no room for it: the style leaves it to the table there. */
	if (bar->ratio[0])
		fprintf(out, "<tspan class=\"ratio\">%s</tspan>", bar->ratio);
	fputs("</text>\n", out);
}

static void bars_caption(FILE *out, const struct bars *bars, const char *what,
			 const char *how)
{
	fprintf(out, "<figcaption><b>%s.</b> %s", what, how);
	if (bars->python || bars->deaths)
		fputs(" <span class=\"keys\">", out);
	if (bars->python)
		fputs(HTML_KEY("bar", "C, with tine") HTML_KEY("bar python", "Python"),
		      out);
	if (bars->deaths)
		fputs(HTML_MARK("death", "M9 0V12", "a worker is killed"), out);
	if (bars->python || bars->deaths)
		fputs("</span>", out);
	fputs("</figcaption>\n", out);
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
	fputs("<figure>", out);
	bars_caption(out, bars, what, how);
	fprintf(out, "<svg class=\"chart\" role=\"img\" height=\"%d\" aria-label=\"%s",
		height + 44, what);
	for (int i = 0; i < bars->n; i++) {
		fputs(i ? "; " : ": ", out);
		html_text(out, bars->bar[i].result->name);
		fprintf(out, ", %s%s", bars->bar[i].value, bars->bar[i].ratio);
	}
	fputs("\">\n", out);
	chart_axis(out, bars->logarithmic ? bars->least : 0, bars->most, height);
	if (bars->compared && bars->bar[0].seconds > 0)
		draw_line(out, "first", place(bars, bars->bar[0].seconds), LABEL, height);
	for (int i = 0; i < bars->n; i++)
		draw_bar(out, bars, i);
	fputs("</svg></figure>\n", out);
}

void chart_times(FILE *out, const struct tour_section *section)
{
	struct bars times = { .compared = true }, looks = { .compared = false };

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

/* ---- the first picture ------------------------------------------------------------- */

void chart_gains(FILE *out, const struct tour *tour)
{
	double most = 1;
	char text[64], tick[32];
	int y = 0, height;

	for (unsigned i = 0; i < tour->n; i++) {
		const struct tour_result *best = tour_best(&tour->sections[i]);

		most = best ? fmax(most, best->ratio) : most;
		y += best ? ROW : 0;
	}
	height = y;
	if (height == 0)
		return;
	fputs("<figure><figcaption><b>What more than a loop in one process gains.</b> "
	      "The "
	      "best way of each lesson; the longer, the faster.</figcaption>\n",
	      out);
	fprintf(out,
		"<svg class=\"chart\" role=\"img\" height=\"%d\" "
		"aria-label=\"Times as fast as one process",
		height + 44);
	for (unsigned i = 0; i < tour->n; i++) {
		const struct tour_result *best = tour_best(&tour->sections[i]);

		if (!best)
			continue;
		fputs("; ", out);
		html_text(out, tour->sections[i].lesson->title);
		fprintf(out, ", %s", tour_ratio(best->ratio, text, sizeof(text)));
	}
	fputs("\">\n", out);
	/* A power of ten each, from what is no gain. */
	most = pow(10, ceil(fmax(log10(most), 0.5) * 2) / 2);
	for (int power = 0; power <= (int)log10(most); power++) {
		double percent = 100 * power / log10(most);

		snprintf(tick, sizeof(tick), "%.0fx", pow(10, power));
		draw_line(out, power ? "tick" : "first", percent, 0, height + 5);
		fprintf(out,
			"<text class=\"number\" x=\"%.2f%%\" y=\"%d\" "
			"text-anchor=\"%s\">%s</text>\n",
			percent, height + 18,
			percent < 7    ? "start"
			: percent > 92 ? "end"
				       : "middle",
			tick);
	}
	fprintf(out,
		"<text class=\"unit\" x=\"0\" y=\"%d\">times as fast as one process, "
		"logarithmic</text>\n",
		height + 37);
	y = 0;
	for (unsigned i = 0; i < tour->n; i++) {
		const struct tour_result *best = tour_best(&tour->sections[i]);
		double percent;
		bool inside;

		if (!best)
			continue;
		percent = 100 * log10(best->ratio) / log10(most);
		inside = percent > 52;
		fprintf(out, "<text class=\"label\" x=\"0\" y=\"%d\">", y + 13);
		html_text(out, tour->sections[i].lesson->title);
		fprintf(out,
			"</text><rect class=\"bar\" x=\"0\" y=\"%d\" "
			"width=\"%.2f%%\" height=\"%d\"/>"
			"<text class=\"value%s\" x=\"%.2f%%\" dx=\"%d\" y=\"%d\" "
			"text-anchor=\"%s\">%s</text>\n",
			y + LABEL, fmax(percent, 0.4), BAR, inside ? " inside" : "",
			percent, inside ? -8 : 8, y + LABEL + 16,
			inside ? "end" : "start",
			tour_ratio(best->ratio, text, sizeof(text)));
		y += ROW;
	}
	fputs("</svg></figure>\n", out);
}
