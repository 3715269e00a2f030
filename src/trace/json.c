/* SPDX-License-Identifier: MIT */
/* Events as Chrome's trace events, which are JSON; all with the file's lock held. */
#include "trace/inside.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAMES	   1024
#define MOST_EVENT 2048
#define NAME_LEN   120 /* of a task, as it is shown */

static char *names[NAMES]; /* of this process */

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *fmt,
						      ...)
{
	size_t room = TRACE_ROOM - TRACE_TAIL - text->len;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(text->buf + text->len, room, fmt, args);
	va_end(args);
	text->len += len < 0 ? 0 : (size_t)len < room ? (size_t)len : room - 1;
}

static void begin_event(struct text *text)
{
	if (TRACE_ROOM - text->len < MOST_EVENT)
		trace_write_out(text);
	add(text, trace_file->end + text->len == 1 ? "\n" : ",\n");
}

/* Names are bytes of any kind. */
static void add_string(struct text *text, const char *string)
{
	int n = 0;

	add(text, "\"");
	for (const unsigned char *at = (const unsigned char *)string; *at && n < NAME_LEN;
	     at++, n++)
		if (*at < 0x20 || *at > 0x7e || *at == '"' || *at == '\\')
			add(text, "\\u%04x", *at);
		else
			add(text, "%c", *at);
	add(text, "\"");
}

/* Microseconds, from the file's beginning on. */
static void add_time(struct text *text, const char *name, int64_t ns)
{
	if (ns < 0)
		ns = 0;
	add(text, ",\"%s\":%" PRId64 ".%03d", name, ns / 1000, (int)(ns % 1000));
}

/* All that events have: the rest is in args, which are left open. */
static void add_head(struct text *text, char phase, const char *name, const char *kind,
		     pid_t pid, pid_t tid, int64_t begun)
{
	begin_event(text);
	add(text, "{\"name\":");
	add_string(text, name);
	add(text, ",\"cat\":\"%s\",\"ph\":\"%c\",\"pid\":%d,\"tid\":%d", kind, phase, pid,
	    tid);
	add_time(text, "ts", begun - trace_file->born);
}

void json_name(struct text *text, const char *what, pid_t pid, pid_t tid,
	       const char *name, int number)
{
	char full[NAME_LEN];

	snprintf(full, sizeof(full), number < 0 ? "%s" : "%s %d", name, number);
	begin_event(text);
	add(text,
	    "{\"name\":\"%s\",\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"args\":{\"name\":",
	    what, pid, tid);
	add_string(text, full);
	add(text, "}}");
}

/* ---- events as text ---------------------------------------------------------------- */

static const char *shown_name(uint32_t name)
{
	return name < NAMES && names[name] ? names[name] : "job";
}

static void write_jobs(struct text *text, const struct trace_event *event, pid_t pid,
		       pid_t tid)
{
	bool ticket = event->kind == TRACE_TICKETS;

	add_head(text, 'X', shown_name(event->name), ticket ? "submitted" : "job", pid,
		 tid, event->begun);
	add_time(text, "dur", event->ended - event->begun);
	add(text, ",\"args\":{");
	if (!ticket)
		add(text, "\"map\":%u,", event->map);
	add(text, "\"first\":%" PRIu64 ",\"count\":%" PRIu64, event->first, event->count);
	if (event->died_in)
		add(text, ",\"died_in\":%" PRIu64, event->died_in - 1);
	add(text, "}}");
}

/* Why a worker is gone. */
static const char *reason_of(const struct trace_event *event)
{
	switch ((int)event->map) {
	case -ETIMEDOUT:
		return "its job was over its time";
	case -ENOMEM:
		return "it was over its memory";
	case -ECANCELED:
		return "its job was not wanted any more";
	}
	if (event->how.signal)
		return strsignal(event->how.signal);
	return event->how.code ? "it left" : "it had done its share";
}

static void write_end(struct text *text, const struct trace_event *event, pid_t pid,
		      pid_t tid)
{
	bool ended = event->map == 0, in_order = !event->how.signal && !event->how.code;

	add_head(text, 'i',
		 ended	    ? "ended"
		 : in_order ? "retired"
			    : "died",
		 "worker", pid, tid, event->begun);
	add(text, ",\"s\":\"t\",\"args\":{\"pid\":%d", event->other);
	if (event->how.signal)
		add(text, ",\"signal\":%d", event->how.signal);
	else
		add(text, ",\"code\":%d", event->how.code);
	if (event->died_in)
		add(text, ",\"job\":%" PRIu64, event->died_in - 1);
	add(text, ",\"reason\":");
	add_string(text, ended ? "the pool was freed" : reason_of(event));
	add(text, "}}");
}

void json_event(struct text *text, const struct trace_event *event, pid_t pid, pid_t tid)
{
	switch ((enum trace_kind)event->kind) {
	case TRACE_LANE:
		json_name(text, "thread_name", pid, tid, event->lane, event->other);
		break;
	case TRACE_JOBS:
	case TRACE_TICKETS:
		write_jobs(text, event, pid, tid);
		break;
	case TRACE_STEAL:
		add_head(text, 'i', "steal", "steal", pid, tid, event->begun);
		add(text,
		    ",\"s\":\"t\",\"args\":{\"from\":%d,\"first\":%" PRIu64
		    ",\"count\":%" PRIu64 "}}",
		    event->other, event->first, event->count);
		break;
	case TRACE_START:
		add_head(text, 'i', event->first ? "replaced" : "started", "worker", pid,
			 tid, event->begun);
		add(text, ",\"s\":\"t\",\"args\":{\"pid\":%d", event->other);
		if (event->first)
			add(text, ",\"replaces\":%" PRIu64, event->first);
		add(text, "}}");
		break;
	case TRACE_END:
		write_end(text, event, pid, tid);
		break;
	case TRACE_SLEEP:
		add_head(text, 'X', "sleep", "sleep", pid, tid, event->begun);
		add_time(text, "dur", event->ended - event->begun);
		add(text, "}");
		break;
	case TRACE_MAP_END:
		add_head(text, 'E', shown_name(event->name), "map", pid, tid,
			 event->ended);
		add(text, ",\"args\":{\"result\":%d}}", event->other);
		break;
	case TRACE_MAP:
		add_head(text, 'X', shown_name(event->name), "map", pid, tid,
			 event->begun);
		add_time(text, "dur", event->ended - event->begun);
		add(text, ",\"args\":{\"map\":%u,\"jobs\":%" PRIu64 ",\"result\":%d}}",
		    event->map, event->count, event->other);
		break;
	}
}

void json_dropped(struct text *text, uint64_t events, pid_t pid, pid_t tid)
{
	add_head(text, 'i', "dropped", "trace", pid, tid, tine_now());
	add(text, ",\"s\":\"t\",\"args\":{\"events\":%" PRIu64 "}}", events);
}

void json_map_begin(struct text *text, const struct trace_event *map, pid_t pid,
		    pid_t tid)
{
	add_head(text, 'B', shown_name(map->name), "map", pid, tid, map->begun);
	add(text, ",\"args\":{\"map\":%u,\"jobs\":%" PRIu64 "}}", map->map, map->count);
}

void json_process_begin(struct text *text, const char *name, pid_t pid, int64_t begun)
{
	add_head(text, 'B', name, "process", pid, pid, begun);
	add(text, "}");
}

void json_process_end(struct text *text, pid_t pid, tine_exit how)
{
	add_head(text, 'E', "end", "process", pid, pid, tine_now());
	add(text, ",\"args\":{\"code\":%d,\"signal\":%d}}", how.code, how.signal);
}

/* ---- names ------------------------------------------------------------------------- */

uint32_t trace_name(const char *name)
{
	static _Atomic uint32_t last;
	uint32_t id = atomic_load(&last);

	/* Mostly it is that of the map before; names stay. */
	if (name && names[id] && strcmp(names[id], name) == 0)
		return id;
	id = 1;
	if (!name || !trace_lock(trace_patience()))
		return 0;
	while (id < NAMES && names[id] && strcmp(names[id], name) != 0)
		id++;
	/* Who forks meanwhile has the name, or has it not. */
	if (id < NAMES && !names[id])
		names[id] = strdup(name);
	trace_unlock();
	id = id < NAMES ? id : 0;
	atomic_store(&last, id);
	return id;
}
