/* SPDX-License-Identifier: MIT */
/*
 * What each worker did and when: a picture of a trace, whose form is in tine-trace(7).
 *
 * A group is what the trace shows as a process: the caller, a pool, or a process of
 * tine_process_start(). Each of its threads is on a lane. Of groups of one name, one
 * after the other, the later has the lanes of the earlier: a program that makes a pool
 * for each of many maps is shown as if its workers had stayed.
 */
#include "tour/events.h"
#include "tour/html.h"
#include "tour/page.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL = 17, BAR = 16, ROW = 43, DEATH_LINES = 30, MOST_LANES = 24 };

struct group {
	json_int_t pid;
	const char *name;
	double begun, ended;
	int turn; /* among those of its name at one time */
};

struct thread {
	json_int_t pid, tid;
	int lane;
};

/* In the order of drawing. */
enum kind { MAP, ALIVE, JOB, SLEEP, STEAL, START, DEATH, KINDS };

struct lane {
	const char *group, *name;
	int turn, y;
	bool several; /* there are others of this name */
	unsigned pieces[KINDS];
	double spent[KINDS]; /* microseconds */
};

/* A stretch of time on a lane, or a moment. */
struct piece {
	enum kind kind;
	int lane;
	double begun, ended; /* microseconds; not a number: it has not ended */
	double work; /* of that; the rest is between pieces that are drawn as one */
	json_int_t map, first, count;
	json_int_t signal, code;
	double replaced; /* after so long, or 0 */
};

struct timeline {
	json_t *events;
	struct group *groups;
	struct thread *threads;
	struct lane *lanes;
	struct piece *pieces;
	int n_groups, n_threads, n_lanes, n_pieces;
	int height;
	json_int_t first_map, dropped;
	unsigned all[KINDS];
	bool two_maps;
	double begun, ended, gap, wide;
};

/* ---- reading ----------------------------------------------------------------------- */

static const char *string_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static double time_of(const json_t *event, const char *key)
{
	return json_number_value(json_object_get(event, key));
}

static bool is(const json_t *event, const char *key, const char *text)
{
	return strcmp(string_of(event, key), text) == 0;
}

static struct group *group_of(struct timeline *t, json_int_t pid)
{
	/* The last is the likeliest. */
	for (int i = t->n_groups; i-- > 0;)
		if (t->groups[i].pid == pid)
			return &t->groups[i];
	t->groups[t->n_groups] = (struct group){ pid, "", INFINITY, -INFINITY, 0 };
	return &t->groups[t->n_groups++];
}

static void find_groups(struct timeline *t)
{
	size_t i;
	json_t *event;

	t->begun = INFINITY;
	t->ended = -INFINITY;
	json_array_foreach(t->events, i, event)
	{
		struct group *group = group_of(t, number_of(event, "pid"));
		double begun = time_of(event, "ts");

		if (is(event, "name", "process_name"))
			group->name = string_of(json_object_get(event, "args"), "name");
		if (is(event, "ph", "M"))
			continue;
		group->begun = fmin(group->begun, begun);
		group->ended = fmax(group->ended, begun + time_of(event, "dur"));
		t->begun = fmin(t->begun, group->begun);
		t->ended = fmax(t->ended, group->ended);
	}
}

static bool overlap(const struct group *a, const struct group *b)
{
	return strcmp(a->name, b->name) == 0 && a->turn == b->turn &&
	       a->begun < b->ended && b->begun < a->ended;
}

static void take_turns(struct timeline *t)
{
	for (int i = 0; i < t->n_groups; i++)
		for (int j = 0; j < i; j++)
			if (overlap(&t->groups[i], &t->groups[j])) {
				t->groups[i].turn++;
				j = -1;
			}
}

static int lane_for(struct timeline *t, const struct group *group, const char *name)
{
	for (int i = 0; i < t->n_lanes; i++)
		if (t->lanes[i].turn == group->turn &&
		    strcmp(t->lanes[i].group, group->name) == 0 &&
		    strcmp(t->lanes[i].name, name) == 0)
			return i;
	t->lanes[t->n_lanes] =
		(struct lane){ .group = group->name, .name = name, .turn = group->turn };
	return t->n_lanes++;
}

static void find_lanes(struct timeline *t)
{
	size_t i;
	json_t *event;

	json_array_foreach(t->events, i, event)
	{
		json_int_t pid = number_of(event, "pid");

		if (!is(event, "name", "thread_name") || !is(event, "ph", "M"))
			continue;
		t->threads[t->n_threads++] = (struct thread){
			pid, number_of(event, "tid"),
			lane_for(t, group_of(t, pid),
				 string_of(json_object_get(event, "args"), "name"))
		};
	}
	for (int a = 0; a < t->n_lanes; a++)
		for (int b = 0; b < t->n_lanes; b++)
			t->lanes[a].several |= strcmp(t->lanes[a].group,
						      t->lanes[b].group) == 0 &&
					       t->lanes[a].turn != t->lanes[b].turn;
}

static int lane_of(const struct timeline *t, const json_t *event)
{
	json_int_t pid = number_of(event, "pid"), tid = number_of(event, "tid");

	for (int i = t->n_threads; i-- > 0;)
		if (t->threads[i].pid == pid && t->threads[i].tid == tid)
			return t->threads[i].lane;
	return -1;
}

/* The last of its kind on a lane. */
static struct piece *last(struct timeline *t, int lane, enum kind kind)
{
	for (int i = t->n_pieces; i-- > 0;)
		if (t->pieces[i].lane == lane && t->pieces[i].kind == kind)
			return &t->pieces[i];
	return NULL;
}

static enum kind kind_of(const json_t *event)
{
	return is(event, "cat", "job") || is(event, "cat", "submitted")	       ? JOB
	       : is(event, "cat", "map")				       ? MAP
	       : is(event, "cat", "process")				       ? ALIVE
	       : is(event, "cat", "sleep")				       ? SLEEP
	       : is(event, "cat", "steal")				       ? STEAL
	       : is(event, "name", "started") || is(event, "name", "replaced") ? START
	       : is(event, "name", "died")				       ? DEATH
									       : KINDS;
}

static void add_piece(struct timeline *t, struct piece piece)
{
	t->pieces[t->n_pieces++] = piece;
}

static void end_piece(struct timeline *t, int lane, enum kind kind, const json_t *event,
		      double at)
{
	const json_t *args = json_object_get(event, "args");
	struct piece *piece = last(t, lane, kind);

	if (piece && isnan(piece->ended))
		piece->ended = at;
	if (number_of(args, "signal") != 0)
		add_piece(t, (struct piece){ .kind = DEATH,
					     .lane = lane,
					     .begun = at,
					     .ended = at,
					     .signal = number_of(args, "signal") });
}

static void read_event(struct timeline *t, const json_t *event)
{
	const json_t *args = json_object_get(event, "args");
	double begun = time_of(event, "ts") - t->begun;
	struct piece piece = { .kind = kind_of(event),
			       .lane = lane_of(t, event),
			       .begun = begun,
			       .ended = begun + time_of(event, "dur"),
			       .map = number_of(args, "map"),
			       .first = number_of(args, "first"),
			       .count = number_of(args, "count"),
			       .signal = number_of(args, "signal"),
			       .code = number_of(args, "code") };
	struct piece *death = NULL;

	if (is(event, "name", "dropped"))
		t->dropped += number_of(args, "events");
	if (is(event, "ph", "M") || piece.kind == KINDS || piece.lane < 0)
		return;
	if (is(event, "ph", "E")) {
		end_piece(t, piece.lane, piece.kind, event, begun);
		return;
	}
	if (is(event, "ph", "B"))
		piece.ended = NAN;
	if (is(event, "name", "replaced"))
		death = last(t, piece.lane, DEATH);
	if (death && death->replaced == 0)
		death->replaced = begun - death->begun;
	if (piece.kind == JOB) {
		t->first_map = t->first_map ? t->first_map : piece.map;
		t->two_maps |= (piece.map - t->first_map) % 2 != 0;
	}
	add_piece(t, piece);
}

static void find_pieces(struct timeline *t)
{
	size_t i;
	json_t *event;

	json_array_foreach(t->events, i, event)
	{
		read_event(t, event);
	}
	t->ended -= t->begun;
	for (int j = 0; j < t->n_pieces; j++) {
		struct piece *piece = &t->pieces[j];
		struct lane *lane = &t->lanes[piece->lane];

		piece->ended = isnan(piece->ended) ? t->ended : piece->ended;
		piece->work = piece->ended - piece->begun;
		lane->pieces[piece->kind]++;
		lane->spent[piece->kind] += piece->work;
	}
}

/* ---- drawing ----------------------------------------------------------------------- */

static int order(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	return x->lane != y->lane     ? x->lane - y->lane
	       : x->kind != y->kind   ? (int)x->kind - (int)y->kind
	       : x->begun != y->begun ? (x->begun > y->begun ? 1 : -1)
				      : 0;
}

/* What is too thin to be seen is drawn with what comes next, as thick as it is dense. */
static void join_pieces(struct timeline *t)
{
	int n = 0;

	for (int i = 0; i < t->n_pieces; i++) {
		struct piece *piece = &t->pieces[i],
			     *before = n ? &t->pieces[n - 1] : NULL;
		bool joins = before && before->lane == piece->lane &&
			     before->kind == piece->kind &&
			     piece->begun - before->ended < t->gap * t->ended &&
			     piece->ended - piece->begun < t->wide * t->ended &&
			     (before->count < 0 ||
			      before->ended - before->begun < t->wide * t->ended);

		if (piece->kind >= START || !joins) {
			t->pieces[n++] = *piece;
			continue;
		}
		before->ended = fmax(before->ended, piece->ended);
		before->work += piece->work;
		before->count = -1;
	}
	t->n_pieces = n;
}

static bool is_shown(const struct lane *lane)
{
	return lane->y >= 0;
}

static void place_lanes(struct timeline *t)
{
	int shown = 0;

	for (int i = 0; i < t->n_lanes; i++) {
		struct lane *lane = &t->lanes[i];
		unsigned pieces = 0;

		for (int kind = 0; kind < KINDS; kind++)
			pieces += lane->pieces[kind];
		lane->y = -1;
		if (pieces == 0 || (shown >= MOST_LANES && !lane->pieces[DEATH]))
			continue;
		shown++;
		lane->y = t->height;
		t->height += ROW + (lane->pieces[DEATH] ? DEATH_LINES : 0);
		for (int kind = 0; kind < KINDS; kind++)
			t->all[kind] += lane->pieces[kind];
	}
	t->gap = fmax(0.001, shown / 1200.0);
	t->wide = fmax(0.04, t->gap);
}

/* "worker 2"; "pool 2, worker 0"; "primes 3". */
static void name_of(const struct lane *lane, char *buf, size_t size)
{
	const char *name = lane->name;

	if (strncmp(name, "tine-", 5) == 0)
		name += 5;
	if (!lane->several)
		snprintf(buf, size, "%s", name);
	else if (strcmp(lane->group, "tine-pool") == 0)
		snprintf(buf, size, "pool %d, %s", lane->turn + 1, name);
	else
		snprintf(buf, size, "%s %d", name, lane->turn + 1);
}

/* Of a process there is only known that it slept, if it did so in the library. */
static void describe(const struct timeline *t, const struct lane *lane, char *buf,
		     size_t size)
{
	double busy = lane->pieces[ALIVE] ? lane->spent[ALIVE] - lane->spent[SLEEP]
					  : lane->spent[JOB];

	buf[0] = '\0';
	if (lane->pieces[SLEEP] || lane->pieces[JOB])
		snprintf(buf, size, "%.0f%% busy", 100 * busy / t->ended);
}

static void draw_lane(FILE *out, const struct timeline *t, const struct lane *lane)
{
	char name[TOUR_TEXT], busy[32];

	name_of(lane, name, sizeof(name));
	describe(t, lane, busy, sizeof(busy));
	fprintf(out, "<text x=\"0\" y=\"%d\">", lane->y + 12);
	html_text(out, name);
	fprintf(out,
		"<tspan class=\"aside\" dx=\"10\">%s</tspan></text>"
		"<rect class=\"lane\" x=\"0\" y=\"%d\" width=\"100%%\" height=\"%d\"/>\n",
		busy, lane->y + LABEL, BAR);
}

static double percent(const struct timeline *t, double at)
{
	return 100 * at / t->ended;
}

static void draw_stretch(FILE *out, const struct timeline *t, const struct piece *piece)
{
	static const char *const class[] = { "map", "alive", "job", "sleep" };
	double length = piece->ended - piece->begun;
	bool is_wide = length >= t->wide * t->ended && piece->count >= 0;
	char time[32];

	fprintf(out,
		"<rect class=\"%s%s%s\" x=\"%.2f%%\" y=\"%d\" width=\"%.2f%%\" "
		"height=\"%d\"",
		class[piece->kind],
		piece -> kind == JOB && (piece->map - t->first_map) % 2 ? " odd" : "",
		is_wide && piece->kind == JOB ? " wide" : "", percent(t, piece->begun),
		t->lanes[piece->lane].y + LABEL, fmax(percent(t, length), 0.12), BAR);
	if (piece->work < 0.97 * length)
		fprintf(out, " opacity=\"%.2f\"", fmax(piece->work / length, 0.2));
	if (is_wide && piece->kind == JOB)
		fprintf(out, "><title>%lld jobs from %lld, %s</title></rect>\n",
			(long long)piece->count, (long long)piece->first,
			html_time(piece->work / 1e6, time, sizeof(time)));
	else
		fputs("/>\n", out);
}

static void tell_death(FILE *out, const struct timeline *t, const struct piece *piece)
{
	double at = percent(t, piece->begun);
	int y = t->lanes[piece->lane].y + LABEL + BAR;
	const char *anchor = at < 50 ? "start" : "end";
	char time[32];

	fprintf(out,
		"<text class=\"death-text\" x=\"%.2f%%\" y=\"%d\" text-anchor=\"%s\">"
		"died, %s %lld</text>\n",
		at, y + 15, anchor, piece->signal ? "signal" : "code",
		(long long)(piece->signal ? piece->signal : piece->code));
	if (piece->replaced > 0)
		fprintf(out,
			"<text class=\"aside\" x=\"%.2f%%\" y=\"%d\" text-anchor=\"%s\">"
			"replaced %s later</text>\n",
			at, y + 31, anchor,
			html_time(piece->replaced / 1e6, time, sizeof(time)));
}

/* A moment has a size of its own: a picture in the picture, that is at its place. */
static void draw_moment(FILE *out, const struct timeline *t, const struct piece *piece)
{
	static const char *const class[] = { "steal", "start", "death" };
	static const char *const path[] = { "M0 13V20", "M0 3L8 8L0 13Z",
					    "M-6 2L6 14M6 2L-6 14" };
	int i = (int)piece->kind - STEAL;

	fprintf(out, "<svg x=\"%.2f%%\" y=\"%d\" width=\"1\" height=\"1\">",
		percent(t, piece->begun), t->lanes[piece->lane].y + LABEL);
	if (piece->kind == DEATH)
		fprintf(out, "<path class=\"around\" d=\"%s\"/>", path[i]);
	fprintf(out, "<path class=\"%s\" d=\"%s\"/></svg>\n", class[i], path[i]);
}

static void draw(FILE *out, const struct timeline *t)
{
	int told = -1;

	for (int i = 0; i < t->n_lanes; i++)
		if (is_shown(&t->lanes[i]))
			draw_lane(out, t, &t->lanes[i]);
	for (int i = 0; i < t->n_pieces; i++) {
		const struct piece *piece = &t->pieces[i];

		if (!is_shown(&t->lanes[piece->lane]))
			continue;
		if (piece->kind <= SLEEP)
			draw_stretch(out, t, piece);
		else
			draw_moment(out, t, piece);
		/* There is room for one on each lane. */
		if (piece->kind == DEATH && told != piece->lane) {
			tell_death(out, t, piece);
			told = piece->lane;
		}
	}
}

static void caption(FILE *out, const struct timeline *t, const char *name, int hidden)
{
	const unsigned *all = t->all;

	fputs("<figcaption><b>What each process did:</b> ", out);
	html_text(out, name);
	fputs(".", out);
	if (hidden > 0)
		fprintf(out, " %d more are not shown.", hidden);
	if (t->dropped > 0)
		fprintf(out, " %lld pieces of work are missing, for they came too fast.",
			(long long)t->dropped);
	fputs(" <span class=\"keys\">", out);
	if (all[JOB])
		fputs(all[ALIVE] ? HTML_KEY("job", "jobs, or a process that runs")
				 : HTML_KEY("job", "jobs"),
		      out);
	if (t->two_maps)
		fputs(HTML_KEY("job odd", "those of every other map"), out);
	if (all[MAP])
		fputs(HTML_KEY("map", "the map, as the caller sees it"), out);
	if (all[ALIVE] && !all[JOB])
		fputs(HTML_KEY("alive", "runs"), out);
	if (all[SLEEP])
		fputs(HTML_KEY("sleep", "sleeps"), out);
	if (all[STEAL])
		fputs(HTML_MARK("steal", "M9 2V10", "takes jobs of another"), out);
	if (all[START])
		fputs(HTML_MARK("start", "M5 1L13 6L5 11Z", "a worker starts"), out);
	if (all[DEATH])
		fputs(HTML_MARK("death", "M4 1L14 11M14 1L4 11", "one dies"), out);
	fputs("</span></figcaption>\n", out);
}

static void draw_all(FILE *out, const struct timeline *t, const char *name)
{
	char text[TOUR_TEXT], busy[32];
	int hidden = 0;

	for (int i = 0; i < t->n_lanes; i++) {
		const struct lane *lane = &t->lanes[i];

		hidden += !is_shown(lane) && (lane->pieces[JOB] || lane->pieces[ALIVE]);
	}
	fputs("<figure>", out);
	caption(out, t, name, hidden);
	fprintf(out,
		"<svg class=\"chart\" role=\"img\" height=\"%d\" aria-label=\"Timeline, ",
		t->height + 44);
	html_text(out, name);
	fprintf(out, ": %s", html_time(t->ended / 1e6, text, sizeof(text)));
	for (int i = 0; i < t->n_lanes; i++)
		if (is_shown(&t->lanes[i])) {
			name_of(&t->lanes[i], text, sizeof(text));
			describe(t, &t->lanes[i], busy, sizeof(busy));
			fputs("; ", out);
			html_text(out, text);
			fprintf(out, " %s%s", busy,
				t->lanes[i].pieces[DEATH] ? ", died" : "");
		}
	fputs("\">\n", out);
	chart_axis(out, 0, t->ended / 1e6, t->height);
	draw(out, t);
	fputs("</svg></figure>\n", out);
}

void timeline(FILE *out, const struct tour_result *result)
{
	struct timeline t = { .events = events_read(result->trace) };
	size_t n = t.events ? json_array_size(t.events) + 1 : 0;

	if (n == 0)
		return;
	t.groups = calloc(n, sizeof(*t.groups));
	t.threads = calloc(n, sizeof(*t.threads));
	t.lanes = calloc(n, sizeof(*t.lanes));
	t.pieces = calloc(n, sizeof(*t.pieces));
	if (t.groups && t.threads && t.lanes && t.pieces) {
		find_groups(&t);
		take_turns(&t);
		find_lanes(&t);
		find_pieces(&t);
		place_lanes(&t);
		qsort(t.pieces, (size_t)t.n_pieces, sizeof(*t.pieces), order);
		join_pieces(&t);
		if (t.n_pieces > 0 && t.ended > 0)
			draw_all(out, &t, result->name);
	}
	free(t.pieces);
	free(t.lanes);
	free(t.threads);
	free(t.groups);
	json_decref(t.events);
}
