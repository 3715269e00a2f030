/* SPDX-License-Identifier: MIT */
/*
 * Writes the page of a tour that never was: page FOLDER. It has all that a page can have
 * to show, at its longest. The page is on standard output, traces are in the folder.
 */
#include "tour/page.h"
#include "tour/events.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- traces ------------------------------------------------------------------------ */

static FILE *trace;

static void name_lane(int pid, int tid, const char *group, const char *name)
{
	fprintf(trace,
		",\n{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,\"tid\":%d,"
		"\"args\":{\"name\":\"%s\"}}"
		",\n{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":%d,\"tid\":%d,"
		"\"args\":{\"name\":\"%s\"}}",
		pid, tid, group, pid, tid, name);
}

__attribute__((format(printf, 7, 8))) static void event(const char *name, const char *cat,
							char phase, int pid, int tid,
							double at, const char *more, ...)
{
	va_list args;

	va_start(args, more);
	fprintf(trace,
		",\n{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"%c\",\"pid\":%d,\"tid\":%d,"
		"\"ts\":%.3f",
		name, cat, phase, pid, tid, at);
	vfprintf(trace, more, args);
	fputs("}", trace);
	va_end(args);
}

/* Its workers do n jobs each of so many microseconds, with gaps. */
static void pool(int pid, int workers, double begun, int map, int n, double length)
{
	char name[32];

	event("fn", "map", 'X', 1, 1, begun,
	      ",\"dur\":%f,\"args\":{\"map\":%d,\"jobs\":%d,\"result\":0}",
	      n * length * 1.5, map, workers * n);
	for (int i = 1; i <= workers; i++) {
		snprintf(name, sizeof(name), "tine-worker %d", i - 1);
		name_lane(pid, i, "tine-pool", name);
		event("started", "worker", 'i', pid, i, begun, ",\"args\":{\"pid\":7}");
		for (int job = 0; job < n; job++)
			event("fn", "job", 'X', pid, i, begun + job * length * 1.5,
			      ",\"dur\":%f,\"args\":{\"map\":%d,\"first\":%d,\"count\":"
			      "1}",
			      length, map, job);
		event("steal", "steal", 'i', pid, i, begun + n * length,
		      ",\"args\":{\"from\":0,\"first\":1,\"count\":1}");
	}
}

static void death(int pid, int tid, double at, double replaced)
{
	event("died", "worker", 'i', pid, tid, at,
	      ",\"args\":{\"pid\":8,\"signal\":9,\"job\":3}");
	if (replaced > 0)
		event("replaced", "worker", 'i', pid, tid, replaced,
		      ",\"args\":{\"pid\":9,\"replaces\":8}");
}

static void process(int pid, double begun, double ended, int sleeps)
{
	double turn = (ended - begun) / (sleeps + 1);

	name_lane(pid, pid, "process", "process");
	event("process", "process", 'B', pid, pid, begun, "%s", "");
	for (int i = 0; i < sleeps; i++)
		event("sleep", "sleep", 'X', pid, pid, begun + i * turn, ",\"dur\":%f",
		      turn / 2);
	if (ended < 99e3)
		event("end", "process", 'E', pid, pid, ended,
		      ",\"args\":{\"code\":0,\"signal\":%d}", pid == 103 ? 11 : 0);
}

enum { CROWD, DEATHS, PROCESSES, POOLS, NOTHING, TRACES };

static void write_trace(int which)
{
	fprintf(trace, "[\n{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":1,"
		       "\"args\":{\"name\":\"caller\"}}");
	if (which == CROWD)
		pool(2, 40, 1e6, 1, 4000, 90);
	if (which == DEATHS) {
		pool(2, 4, 0, 1, 30, 500);
		death(2, 1, 0, 1000);
		death(2, 2, 12e3, 12.5e3);
		death(2, 3, 22e3, 0);
		death(2, 4, 9e3, 9.2e3);
		death(2, 4, 10e3, 10.2e3);
		event("dropped", "trace", 'i', 2, 1, 9, ",\"args\":{\"events\":123}");
	}
	for (int i = 0; which == PROCESSES && i < 20; i++)
		process(100 + i, i * 1e3, 60e3 + i * 2.1e3, i * i * 30);
	for (int i = 0; which == POOLS && i < 12; i++)
		pool(2 + i, 3, i * 3e3, 1 + i, 4, 500 - 40 * i);
	/* Some were not closed, and of one there is a part of a line. */
	if (which == DEATHS)
		fputs(",\n{\"name\":\"fn\",\"cat\":\"job\",\"ph\":\"X\",\"pi", trace);
	else if (which != PROCESSES)
		fputs("\n]\n", trace);
}

static char *make_trace(const char *folder, int which)
{
	char *path;

	if (asprintf(&path, "%s/trace-%d", folder, which) < 0)
		abort();
	trace = fopen(path, "w");
	if (!trace)
		abort();
	write_trace(which);
	fclose(trace);
	return path;
}

/* ---- the tour ---------------------------------------------------------------------- */

#define LONG                                                                             \
	"A sentence of many words, with <angles>, \"quotes\" & tine_pool_map(), that "   \
	"says "                                                                          \
	"what is to be seen."

static const struct tour_program mine = { .id = "mine", .name = "", .shows = LONG },
				 python = { .id = "python",
					    .name = "",
					    .shows = LONG,
					    .script = "pi" };
static const char *const parts[] = { "map", "points", "nowhere", NULL };
static const struct tour_lesson lessons[] = {
	{ .id = "long",
	  .title = "A lesson of sixteen programs",
	  .text = LONG " " LONG,
	  .work = "100000000,18446744073709551615",
	  .quick = "1",
	  .unit = "%s points, and %s more",
	  .source = "pi.c",
	  .parts = parts },
	{ .id = "close",
	  .title = "A lesson whose programs are alike",
	  .text = LONG,
	  .work = "1",
	  .quick = "1",
	  .unit = "%s",
	  .source = "none.c",
	  .parts = parts },
	{ .id = "none",
	  .title = "A lesson of which nothing could run",
	  .text = LONG,
	  .work = "1",
	  .quick = "1",
	  .unit = "%s" },
};

static void set(struct tour_result *result, bool is_python, double seconds, double first)
{
	result->program = is_python ? &python : &mine;
	snprintf(result->name, sizeof(result->name), "%s",
		 is_python ? "Python, multiprocessing.Queue, 16 processes"
			   : "16 workers, & a <store> in a folder of files");
	result->run.seconds = seconds;
	result->ratio = first / seconds;
}

/* From 4 nanoseconds to a second. */
static void fill_long(struct tour_section *section, const char *folder)
{
	section->n = TOUR_PROGRAMS;
	for (unsigned i = 0; i < section->n; i++) {
		struct tour_result *result = &section->results[i];

		set(result, i >= 10, 4e-9 * pow(3.7, i), 4e-9);
		result->trace = i < TRACES ? make_trace(folder, (int)i) : NULL;
		result->run.look = i > 2 && i < 8 ? 1e-9 * i : 0;
		result->run.died = i == 3 || i == 11 ? result->run.seconds / 2 : 0;
		snprintf(result->run.note, TOUR_TEXT, "%s", i % 2 ? LONG : "");
	}
	section->results[5].failed = true;
	section->results[6].ratio = 0;
	section->results[6].run.seconds = 0;
	snprintf(section->results[6].run.left_out, TOUR_TEXT, "%s", LONG);
}

static void fill_close(struct tour_section *section)
{
	section->n = 6;
	for (unsigned i = 0; i < section->n; i++) {
		struct tour_run *run = &section->results[i].run;

		/* Slower than the first of a run before; the last half as long. */
		set(&section->results[i], i % 2, 0.9994 - 0.098 * i, 0.4);
		run->jobs = i < 4 ? TOUR_JOBS : 0;
		for (unsigned j = 0; j < run->jobs; j++)
			run->estimates[j] = M_PI + 1e-4 * (i ? j * i - 15.0 : 9);
	}
	section->results[3].run.died = 0.3;
}

static void fill_none(struct tour_section *section)
{
	section->n = 2;
	for (unsigned i = 0; i < section->n; i++) {
		set(&section->results[i], i, 1, 1);
		section->results[i].run.seconds = section->results[i].ratio = 0;
		section->results[i].failed = i;
		snprintf(i ? section->results[i].run.note
			   : section->results[i].run.left_out,
			 TOUR_TEXT, "%s", LONG);
	}
}

int main(int argc, char **argv)
{
	static struct tour_section sections[3];
	struct tour tour = { .workers = 16,
			     .python = true,
			     .seconds = 754.2,
			     .date = "2026-11-24 12:00",
			     .system = "Linux 6.18.44-with-a-very-long-name x86_64",
			     .processor = "Some(R) Processor(TM) 8375C CPU @ 2.90GHz",
			     .processors = 64,
			     .memory = UINT64_C(1) << 40,
			     .busy = true,
			     .load = 23.4,
			     .n = 3,
			     .sections = sections };

	if (argc != 2)
		return 2;
	for (int i = 0; i < 3; i++)
		sections[i].lesson = &lessons[i];
	fill_long(&sections[0], argv[1]);
	fill_close(&sections[1]);
	fill_none(&sections[2]);
	tour_page(&tour, stdout);
	for (int i = 0; i < TOUR_PROGRAMS; i++)
		free(sections[0].results[i].trace);
	return ferror(stdout) != 0;
}
