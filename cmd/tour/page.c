/* SPDX-License-Identifier: MIT */
/* The report of a tour: one file of HTML, without a script, that fetches nothing. */
#include "tour/page.h"

#include "tour/embedded.h"
#include "tour/figures.h"
#include "tour/html.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <tine.h>

/* ---- code -------------------------------------------------------------------------- */

static bool is_keyword(const char *word, size_t len)
{
	static const char words[] =
		" _Alignas _Atomic bool break case char const continue default do double "
		"else enum extern false float for goto if inline int int64_t long return "
		"short signed size_t sizeof ssize_t static struct switch true typedef "
		"uint32_t uint64_t union unsigned void volatile while ";

	for (const char *at = words; (at = strchr(at, ' ')) && at[1]; at++)
		if (strncmp(at + 1, word, len) == 0 && at[1 + len] == ' ')
			return true;
	return false;
}

static void span(FILE *out, const char *class, const char *text, size_t len)
{
	if (class)
		fprintf(out, "<span class=\"%s\">", class);
	html_bytes(out, text, len);
	if (class)
		fputs("</span>", out);
}

/* How long the string or character at text is; there is its end. */
static size_t quoted(const char *text)
{
	size_t i = 1;

	while (text[i] && text[i] != text[0])
		i += text[i] == '\\' && text[i + 1] ? 2 : 1;
	return i + (text[i] != '\0');
}

/* With comments, keywords, strings and what is of tine told apart. */
static void code(FILE *out, const char *text)
{
	while (*text) {
		const char *class = NULL, *end;
		size_t len = 1;

		if (strncmp(text, "/*", 2) == 0) {
			end = strstr(text, "*/");
			len = end ? (size_t)(end - text) + 2 : strlen(text);
			class = "comment";
		} else if (*text == '"' || *text == '\'') {
			len = quoted(text);
			class = "string";
		} else if (isalnum((unsigned char)*text) || *text == '_') {
			while (isalnum((unsigned char)text[len]) || text[len] == '_')
				len++;
			if (strncasecmp(text, "tine_", 5) == 0)
				class = "tine";
			else if (is_keyword(text, len))
				class = "keyword";
		}
		span(out, class, text, len);
		text += len;
	}
}

/* The lines of a text between one that has [NAME] and one that has [end]. */
static char *part_of(const char *text, const char *name)
{
	size_t left = strlen(text), tabs = SIZE_MAX, len = 0;
	char *part = malloc(left + 1), sign[64];
	bool within = false;

	if (!part)
		return NULL;
	snprintf(sign, sizeof(sign), "[%s]", name);
	for (int pass = 0; pass < 2; pass++)
		for (const char *line = text, *next; *line; line = next) {
			size_t n = strcspn(line, "\n"), indent = strspn(line, "\t");

			next = line + n + (line[n] == '\n');
			if (memmem(line, n, within ? "[end]" : sign,
				   strlen(within ? "[end]" : sign))) {
				within = !within;
			} else if (within && pass == 0) {
				tabs = n > 0 && indent < tabs ? indent : tabs;
			} else if (within) {
				size_t cut = n > 0 ? tabs : 0;

				memcpy(part + len, line + cut,
				       (size_t)(next - line) - cut);
				len += (size_t)(next - line) - cut;
			}
		}
	part[len] = '\0';
	return part;
}

static void show_code(FILE *out, const struct tour_lesson *lesson)
{
	const char *text = lesson->source ? embedded(lesson->source) : NULL;
	bool begun = false;

	for (const char *const *name = lesson->parts; text && name && *name; name++) {
		char *part = part_of(text, *name);

		if (part && *part) {
			fprintf(out,
				begun ? "</code></pre>\n<pre tabindex=\"0\"><code>"
				      : "<figure class=\"code\"><figcaption><b>The "
					"code.</b> "
					"From <code>cmd/tour/%s</code>.</figcaption>\n"
					"<pre tabindex=\"0\"><code>",
				lesson->source);
			code(out, part);
			begun = true;
		}
		free(part);
	}
	if (begun)
		fputs("</code></pre></figure>\n", out);
}

/* ---- the head ---------------------------------------------------------------------- */

static void row(FILE *out, const char *name, const char *text)
{
	if (!text[0])
		return;
	fprintf(out, "<div><dt>%s</dt><dd>", name);
	html_text(out, text);
	fputs("</dd></div>\n", out);
}

static void show_machine(FILE *out, const struct tour *tour)
{
	char text[TOUR_TEXT], time[32];

	fputs("<section aria-labelledby=\"machine\">\n<h2 id=\"machine\">The "
	      "machine</h2>\n"
	      "<dl class=\"facts\">\n",
	      out);
	row(out, "Processor", tour->processor);
	snprintf(text, sizeof(text), "%u", tour->processors);
	row(out, "Processors", text);
	snprintf(text, sizeof(text), "%.1f GiB", (double)tour->memory / 1073741824.0);
	row(out, "Memory", text);
	row(out, "System", tour->system);
	snprintf(text, sizeof(text), "%s", tine_version());
	row(out, "tine", text);
	row(out, "Date", tour->date);
	snprintf(text, sizeof(text), "%u", tour->workers);
	row(out, "Workers", text);
	snprintf(text, sizeof(text), "%s, in %s, %s the Python programs",
		 tour->quick ? "quick, with less work" : "in full",
		 html_time(tour->seconds, time, sizeof(time)),
		 tour->python ? "with" : "without");
	row(out, "Tour", text);
	fputs("</dl>\n</section>\n", out);
}

static void show_result_row(FILE *out, const struct tour_result *result)
{
	const struct tour_run *run = &result->run;
	char text[64];

	fprintf(out, "<tr><th scope=\"row\">");
	html_text(out, result->name);
	fputs("<span class=\"shows\">", out);
	html_prose(out, result->program->shows);
	fputs("</span>", out);
	if (result->failed || run->left_out[0]) {
		fprintf(out, "<span class=\"%s\">", result->failed ? "failed" : "shows");
		html_prose(out, result->failed ? run->note : run->left_out);
		fputs("</span>", out);
	}
	fputs("</th><td>", out);
	if (result->failed)
		fputs("<span class=\"failed\">failed</span>", out);
	else if (run->never)
		fputs("<span class=\"failed\">never</span>", out);
	else if (run->left_out[0])
		fputs("left out", out);
	else
		fputs(html_time(run->seconds, text, sizeof(text)), out);
	if (result->failed || run->left_out[0] || result->ratio <= 0)
		text[0] = '\0';
	else
		tour_ratio(result->ratio, text, sizeof(text));
	fprintf(out, " <span class=\"ratio\">%s</span></td></tr>\n", text);
}

static void show_summary(FILE *out, const struct tour *tour)
{
	fputs("<section aria-labelledby=\"summary\">\n<h2 id=\"summary\">All of it</h2>\n"
	      "<p>The last column is how many times as fast as the first program of its "
	      "lesson each one is; of those that are slower, how many times.</p>\n"
	      "<table>\n<thead><tr><th scope=\"col\">Program</th>"
	      "<th scope=\"col\">Time <span "
	      "class=\"ratio\">Speed</span></th></tr></thead>\n",
	      out);
	for (unsigned i = 0; i < tour->n; i++) {
		const struct tour_section *section = &tour->sections[i];

		fputs("<tbody>\n<tr class=\"lesson\"><th scope=\"rowgroup\" "
		      "colspan=\"2\">",
		      out);
		html_text(out, section->lesson->title);
		fputs("</th></tr>\n", out);
		for (unsigned j = 0; j < section->n; j++)
			show_result_row(out, &section->results[j]);
		fputs("</tbody>\n", out);
	}
	fputs("</table>\n</section>\n", out);
}

static void show_contents(FILE *out, const struct tour *tour)
{
	fputs("<nav aria-labelledby=\"contents\">\n<h2 id=\"contents\">The "
	      "lessons</h2>\n<ol>\n",
	      out);
	for (unsigned i = 0; i < tour->n; i++) {
		fprintf(out, "<li><a href=\"#lesson-%s\">", tour->sections[i].lesson->id);
		html_text(out, tour->sections[i].lesson->title);
		fputs("</a></li>\n", out);
	}
	fputs("</ol>\n</nav>\n", out);
}

/* ---- a lesson ---------------------------------------------------------------------- */

static void show_work(FILE *out, const struct tour *tour,
		      const struct tour_lesson *lesson)
{
	char work[TOUR_TEXT];

	fputs("<p class=\"work\">The work: ", out);
	html_text(out, tour_work(tour, lesson, work, sizeof(work)));
	fputs(".</p>\n", out);
}

static void show_notes(FILE *out, const struct tour_section *section)
{
	bool begun = false;

	for (unsigned i = 0; i < section->n; i++) {
		const struct tour_result *result = &section->results[i];
		const struct tour_run *run = &result->run;

		if (!run->note[0] && !run->left_out[0])
			continue;
		if (!begun)
			fputs("<h3>What was seen</h3>\n<dl class=\"notes\">\n", out);
		begun = true;
		fputs("<div><dt>", out);
		html_text(out, result->name);
		fprintf(out, "</dt><dd%s>", result->failed ? " class=\"failed\"" : "");
		html_text(out, result->failed	  ? "Failed: "
			       : run->left_out[0] ? "Left out: "
						  : "");
		html_prose(out, run->left_out[0] ? run->left_out : run->note);
		fputs("</dd></div>\n", out);
	}
	if (begun)
		fputs("</dl>\n", out);
}

static void show_section(FILE *out, const struct tour *tour, unsigned number)
{
	const struct tour_section *section = &tour->sections[number];
	const struct tour_lesson *lesson = section->lesson;

	fprintf(out,
		"<section class=\"lesson\" aria-labelledby=\"lesson-%s\">\n"
		"<h2 id=\"lesson-%s\"><span class=\"step\">%u</span> ",
		lesson->id, lesson->id, number + 1);
	html_text(out, lesson->title);
	fputs("</h2>\n<p>", out);
	html_prose(out, lesson->text);
	fprintf(out,
		"</p>\n<p class=\"chapter\">In the course: "
		"<code>doc/course/%s.md</code></p>\n",
		lesson->chapter);
	show_work(out, tour, lesson);
	chart_times(out, section);
	chart_estimates(out, section);
	show_notes(out, section);
	for (unsigned i = 0; i < section->n; i++)
		if (section->results[i].trace)
			timeline(out, &section->results[i]);
	show_code(out, lesson);
	fputs("</section>\n", out);
}

static void show_gist(FILE *out, const struct tour *tour)
{
	char text[2 * TOUR_TEXT];

	fputs("<p class=\"lead\">", out);
	html_text(out, tour_gist(tour, text, sizeof(text)));
	fputs("</p>\n", out);
	if (!tour->busy)
		return;
	fprintf(out,
		"<p class=\"work\">The machine was busy when this began, with a load of "
		"%.1f for %u processors: times are longer than they need be.</p>\n",
		tour->load, tour->processors);
}

void tour_page(const struct tour *tour, FILE *out)
{
	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	      "<meta name=\"color-scheme\" content=\"light dark\">\n"
	      "<title>A tour of tine</title>\n<style>\n",
	      out);
	fputs(embedded("page.css"), out);
	/* For the pictures: fills that are told from others without their colour. */
	fputs("</style>\n</head>\n<body>\n"
	      "<svg width=\"0\" height=\"0\" class=\"patterns\" "
	      "aria-hidden=\"true\"><defs>\n"
	      "<pattern id=\"hatch\" width=\"7\" height=\"7\" "
	      "patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">"
	      "<rect class=\"hatch-ground\" width=\"7\" height=\"7\"/>"
	      "<rect class=\"hatch-line\" width=\"2\" height=\"7\"/></pattern>\n"
	      "<pattern id=\"dots\" width=\"5\" height=\"5\" "
	      "patternUnits=\"userSpaceOnUse\">"
	      "<rect class=\"dots-ground\" width=\"5\" height=\"5\"/>"
	      "<circle class=\"dots-dot\" cx=\"2.5\" cy=\"2.5\" r=\"1\"/></pattern>\n"
	      "</defs></svg>\n"
	      "<header>\n<h1>A tour of tine</h1>\n",
	      out);
	show_gist(out, tour);
	fputs("</header>\n<main>\n", out);
	chart_gains(out, tour);
	show_contents(out, tour);
	show_summary(out, tour);
	show_machine(out, tour);
	for (unsigned i = 0; i < tour->n; i++)
		show_section(out, tour, i);
	fputs("</main>\n<footer><p>Made by <code>tine tour</code>. The times are of this "
	      "machine, on this day; run it again, and elsewhere.</p></footer>\n"
	      "</body>\n</html>\n",
	      out);
}
