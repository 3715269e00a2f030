/* SPDX-License-Identifier: MIT */
/* The caller's side of logs: makes them, reads them, and has them written. */
#include "memory/heap.h"
#include "trace/inside.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLOTS	  2048		     /* of a log: a power of two */
#define FEW_SLOTS 512		     /* where there are many logs, or it is a process's */
#define MANY	  16		     /* logs */
#define GLANCE	  INT64_C(100000000) /* between writes */
#define LONG_MAP  INT64_C(5000000)   /* is worth a write at its end */

struct trace *trace_self;
static struct trace *traces; /* of this process, for its end; with the lock held */

static uint64_t undrained(const struct trace_log *log)
{
	/* Acquire: what was published is there. */
	return atomic_load_explicit(&log->written, memory_order_acquire) -
	       atomic_load_explicit(&log->drained, memory_order_relaxed);
}

static void tell_dropped(struct text *text, struct trace_log *log, pid_t pid, pid_t tid)
{
	uint64_t dropped = atomic_load(&log->dropped);

	if (dropped == log->told)
		return;
	json_dropped(text, dropped - log->told, pid, tid);
	log->told = dropped;
}

/* Workers' lanes are threads of the pool's, numbered from 1. */
static void drain_log(struct trace *trace, unsigned i, struct text *text)
{
	struct trace_log *log = &trace->logs[i];
	pid_t lane = trace->lane, tid = trace->workers ? (pid_t)i + 1 : trace->lane;

	if (trace->workers && i == trace->n - 1) {
		lane = trace->owner;
		tid = trace->thread;
	}
	for (uint64_t n = undrained(log); n > 0; n--) {
		uint64_t at = atomic_load_explicit(&log->drained, memory_order_relaxed);

		json_event(text, &log->slots[at & log->mask], lane, tid);
		/* Release: the slot was read. */
		atomic_store_explicit(&log->drained, at + 1, memory_order_release);
	}
	tell_dropped(text, log, lane, tid);
}

/* A map that lasts is seen to have begun, whatever becomes of it. */
static void tell_map(struct trace *trace, struct text *text)
{
	const struct trace_event *map = &trace->map;

	if (!trace->in_map || trace->told)
		return;
	trace->told = true;
	json_map_begin(text, map, trace->owner, trace->thread);
}

static void drain_locked(struct trace *trace)
{
	struct text text;

	text.len = 0;
	tell_map(trace, &text);
	for (unsigned i = 0; i < trace->n; i++)
		drain_log(trace, i, &text);
	trace_write_out(&text);
	trace->looked = tine_now();
}

/* In the midst of calls that have deadlines: where another has the file, not now. */
static void drain(struct trace *trace)
{
	if (!trace_lock(TINE_NOWAIT))
		return;
	drain_locked(trace);
	trace_unlock();
}

void trace_glance(struct trace *trace)
{
	if (trace && tine_now() - trace->looked >= GLANCE)
		drain(trace);
}

static bool make_logs(struct trace *trace, uint32_t slots)
{
	size_t head = (trace->n * sizeof(*trace->logs) + 63) / 64 * 64;
	size_t size = head + (size_t)trace->n * slots * sizeof(struct trace_event);
	void *mem;

	if (shared_alloc(&mem, size, SHARED_PATIENTLY) != 0)
		return false;
	trace->logs = mem;
	for (unsigned i = 0; i < trace->n; i++) {
		trace->logs[i].mask = slots - 1;
		trace->logs[i].slots = (struct trace_event *)((char *)mem + head) +
				       i * slots;
	}
	return true;
}

struct trace *trace_new(unsigned workers)
{
	struct trace *trace;

	if (!trace_is_on())
		return NULL;
	trace = calloc(1, sizeof(*trace));
	if (!trace)
		return NULL;
	trace->workers = workers;
	/* The last is the caller's. */
	trace->n = workers + 1;
	trace->owner = getpid();
	/* When the process was started: it may log something before its parent does. */
	trace->map.begun = tine_now();
	trace->thread = (pid_t)syscall(SYS_gettid);
	if (!make_logs(trace, workers > 0 && workers <= MANY ? SLOTS : FEW_SLOTS) ||
	    !trace_lock(trace_patience())) {
		tine_shared_free(trace->logs);
		free(trace);
		return NULL;
	}
	trace->next = traces;
	traces = trace;
	trace_unlock();
	return trace;
}

void trace_place(struct trace *trace, pid_t lane, const char *name)
{
	struct text text;

	if (!trace)
		return;
	trace->lane = lane;
	text.len = 0;
	if (!trace_lock(trace_patience()))
		return;
	json_name(&text, "process_name", trace->owner, trace->thread,
		  program_invocation_short_name, -1);
	json_name(&text, "thread_name", trace->owner, trace->thread, "caller", -1);
	json_name(&text, "process_name", lane, lane, name ? name : "tine-pool", -1);
	for (unsigned i = 0; !name && i < trace->workers; i++)
		json_name(&text, "thread_name", lane, (pid_t)i + 1, "tine-worker",
			  (int)i);
	if (!trace->workers) {
		json_name(&text, "thread_name", lane, lane, name, -1);
		json_process_begin(&text, name, lane, trace->map.begun);
	}
	trace_write_out(&text);
	trace_unlock();
}

uint32_t trace_map_begin(struct trace *trace, uint32_t name, size_t n)
{
	if (!trace)
		return 0;
	trace->in_map = true;
	trace->told = false;
	trace->map = (struct trace_event){ .kind = TRACE_MAP, .name = name, .count = n };
	trace->map.map = atomic_fetch_add(&trace_file->maps, 1) + 1;
	trace->map.begun = tine_now();
	return trace->map.map;
}

void trace_map_end(struct trace *trace, int result)
{
	struct trace_event *map;

	if (!trace || !trace->in_map)
		return;
	map = &trace->map;
	map->ended = tine_now();
	map->other = result;
	trace->in_map = false;
	if (trace->told)
		map->kind = TRACE_MAP_END;
	trace_note(&trace->logs[trace->n - 1], map);
	if (map->ended - map->begun >= LONG_MAP)
		drain(trace);
	else
		trace_glance(trace);
}

void trace_be(struct trace *trace)
{
	if (!trace)
		return;
	trace->owner = trace->lane = getpid();
	trace_self = trace;
}

void trace_sleep(int64_t begun, int64_t ended)
{
	struct trace_event event = { .kind = TRACE_SLEEP,
				     .begun = begun,
				     .ended = ended };
	struct trace_log *log = &trace_self->logs[0];

	/* A thread of it may sleep as well; and a child has the pointer, not the log. */
	if (trace_self->owner != syscall(SYS_gettid))
		return;
	trace_note(log, &event);
	if (undrained(log) > log->mask / 2)
		drain(trace_self);
	else
		trace_glance(trace_self);
}

void trace_process_end(struct trace *trace, tine_exit how)
{
	struct text text;

	if (!trace || trace->owner != getpid() || trace->told ||
	    !trace_lock(trace_patience()))
		return;
	trace->told = true;
	drain_locked(trace);
	text.len = 0;
	json_process_end(&text, trace->lane, how);
	trace_write_out(&text);
	trace_unlock();
}

void trace_free(struct trace *trace)
{
	struct trace **at = &traces;

	if (!trace)
		return;
	if (trace_lock(trace_patience())) {
		if (trace->owner == getpid())
			drain_locked(trace);
		while (*at && *at != trace)
			at = &(*at)->next;
		if (*at)
			*at = trace->next;
		trace_unlock();
	}
	if (trace->owner == getpid())
		tine_shared_free(trace->logs);
	free(trace);
}

/* A program may end without having freed its pools. */
__attribute__((destructor)) static void end_traces(void)
{
	if (!trace_file || !trace_lock(trace_patience()))
		return;
	for (struct trace *trace = traces; trace; trace = trace->next)
		if (trace->owner == getpid())
			drain_locked(trace);
	trace_unlock();
}
