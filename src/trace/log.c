/* SPDX-License-Identifier: MIT */
/* The owner's side of a log; the protocol is at the head of trace.h. */
#include "trace/inside.h"

#include <unistd.h>

#define MERGE	 INT64_C(1000000) /* nanoseconds: chunks are added up to this */
#define GAP	 INT64_C(20000)	  /* between tickets, at most, to add them */
#define PATIENCE 64		  /* chunks without a look at the clock, at most */

static struct trace_event *next_slot(struct trace_log *log)
{
	uint64_t written = atomic_load_explicit(&log->written, memory_order_relaxed);

	return &log->slots[written & log->mask];
}

static bool is_open(const struct trace_log *log)
{
	/* Relaxed: both words are the owner's, or it is dead. */
	return atomic_load_explicit(&log->open, memory_order_relaxed) ==
	       atomic_load_explicit(&log->written, memory_order_relaxed) + 1;
}

/* What is in the next slot; where the log is full, it is dropped. */
static void publish(struct trace_log *log)
{
	uint64_t written = atomic_load_explicit(&log->written, memory_order_relaxed);

	if (written - atomic_load(&log->drained) < log->mask) {
		/* Release: the slot is filled, and the caller may read it. */
		atomic_store_explicit(&log->written, written + 1, memory_order_release);
		return;
	}
	atomic_fetch_add(&log->dropped, 1);
	atomic_store(&log->open, 0);
}

static void close_event(struct trace_log *log)
{
	struct trace_event *event = next_slot(log);

	if (!is_open(log))
		return;
	/* It had begun, and nothing came of it. */
	if (event->count == 0 && !event->died_in) {
		atomic_store(&log->open, 0);
		return;
	}
	if (log->unlooked > 0 || event->ended < event->begun)
		event->ended = tine_now();
	log->unlooked = 0;
	publish(log);
}

void trace_note(struct trace_log *log, const struct trace_event *event)
{
	close_event(log);
	*next_slot(log) = *event;
	publish(log);
}

void trace_start(struct trace_log *log)
{
	struct trace_event event = { .kind = TRACE_START, .other = getpid() };

	log->pid = getpid();
	log->patience = 1;
	event.begun = tine_now();
	event.first = (uint64_t)log->before;
	trace_note(log, &event);
}

void trace_jobs_begin(struct trace_log *log, enum trace_kind kind, uint32_t name,
		      uint32_t map, uint64_t first, int64_t now)
{
	struct trace_event *event;

	event = next_slot(log);
	if (is_open(log) && event->kind == kind && event->name == name &&
	    event->map == map &&
	    (kind == TRACE_JOBS ? event->first + event->count == first
				: now - event->ended < GAP))
		return;
	close_event(log);
	event = next_slot(log);
	*event = (struct trace_event){
		.kind = kind, .name = name, .map = map, .first = first
	};
	event->begun = now ? now : tine_now();
	/* Release: whoever finds it open finds all of it. */
	atomic_store_explicit(
		&log->open, atomic_load_explicit(&log->written, memory_order_relaxed) + 1,
		memory_order_release);
}

void trace_jobs_done(struct trace_log *log, uint64_t n)
{
	next_slot(log)->count += n;
}

/*
 * Where the chunk is the caller's, nobody has looked at the clock, and to do so for each
 * empty job would cost several times the job.
 */
void trace_jobs_end(struct trace_log *log, int64_t now)
{
	struct trace_event *event;

	if (!now && ++log->unlooked < log->patience)
		return;
	event = next_slot(log);
	if (!now) {
		int64_t before = event->ended ? event->ended : event->begun;

		now = tine_now();
		if (now - before < MERGE / 4 && log->patience < PATIENCE)
			log->patience *= 2;
		else if (now - before > MERGE / 2)
			log->patience = 1;
	}
	log->unlooked = 0;
	event->ended = now;
	if (now - event->begun >= MERGE)
		close_event(log);
}

void trace_pause(struct trace_log *log)
{
	close_event(log);
}

void trace_steal(struct trace_log *log, unsigned from, uint64_t first, uint64_t n)
{
	struct trace_event event = {
		.kind = TRACE_STEAL, .other = (int32_t)from, .first = first, .count = n
	};

	event.begun = tine_now();
	trace_note(log, &event);
}

void trace_bury(struct trace_log *log, const struct trace_death *death)
{
	struct trace_event *event, end = { .kind = TRACE_END, .begun = tine_now() };

	event = next_slot(log);
	if (is_open(log) && death->died &&
	    (event->kind == TRACE_TICKETS) == death->ticket) {
		if (!death->ticket && death->at >= event->first)
			event->count = death->at - event->first;
		event->died_in = death->at + 1;
		event->ended = end.begun;
		log->unlooked = 0;
	}
	close_event(log);
	if (!log->pid)
		return;
	end.other = log->pid;
	end.how = death->how;
	end.map = (uint32_t)death->status;
	end.died_in = death->died ? death->at + 1 : 0;
	trace_note(log, &end);
	log->before = log->pid;
	log->pid = 0;
}
