/* SPDX-License-Identifier: MIT */
/* The protocol is at the head of trace.h. */
#include "trace/trace.h"

#include "base/limits.h"
#include "memory/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLOTS	   2048		    /* of a log: a power of two */
#define FEW_SLOTS  512		    /* where there are many logs, or it is a process's */
#define MANY	   16		    /* logs */
#define MERGE	   INT64_C(1000000) /* nanoseconds: chunks are added up to this */
#define GAP	   INT64_C(20000)   /* between tickets, at most, to add them */
#define PATIENCE   64		    /* chunks without a look at the clock, at most */
#define GLANCE	   INT64_C(100000000) /* between writes */
#define PATIENT_MS 1000		      /* for the file, which may be on a slow disk */
#define LONG_MAP   INT64_C(5000000)   /* is worth a write at its end */
#define NAMES	   1024
#define ROOM	   16384 /* bytes of a write */
#define MOST_EVENT 2048
#define NAME_LEN   120 /* of a task, as it is shown */

struct trace *trace_self;

/* ---- the owner's side -------------------------------------------------------------- */

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

static void note(struct trace_log *log, const struct trace_event *event)
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
	note(log, &event);
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
	note(log, &event);
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
	note(log, &end);
	log->before = log->pid;
	log->pid = 0;
}

/* ---- the file ---------------------------------------------------------------------- */

/* In a mapping that the family inherits. */
struct trace_file {
	tine_lock lock; /* guards what follows, and the names of this process */
	bool given_up;
	uint64_t end; /* where the next event goes; 0: there is no file yet */
	dev_t device;
	ino_t inode;
	int64_t born;
	_Atomic uint32_t maps;
	char path[PATH_MAX];
};

static struct trace_file *file;
static struct trace *traces; /* of this process, for its end; with the lock held */
static char *names[NAMES];

static const char tail[] = "\n]\n";
#define TAIL (sizeof(tail) - 1)

/* %p is the number of the process, %% is %. */
static bool expand(const char *given, char *path, size_t size)
{
	size_t len = 0;

	for (; *given && len + 24 < size; given++) {
		if (given[0] == '%' && given[1] == 'p') {
			len += (size_t)snprintf(path + len, size - len, "%d", getpid());
			given++;
			continue;
		}
		given += given[0] == '%' && given[1] == '%';
		path[len++] = *given;
	}
	path[len] = '\0';
	return len > 0 && !*given;
}

/*
 * A new file each time: whoever else writes to one of the name sees that it is not its
 * own any more. One in a folder that takes no new files is used as it is.
 */
static int make_file(const char *given, char *path)
{
	struct stat before;
	int fd = open(given, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		      0666);

	if (fd < 0)
		return -1;
	if (fstat(fd, &before) != 0 || !S_ISREG(before.st_mode) ||
	    !realpath(given, path)) {
		close(fd);
		return -1;
	}
	if (before.st_size > 0 && unlink(path) == 0) {
		close(fd);
		return open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
			    before.st_mode & 0777);
	}
	if (ftruncate(fd, 0) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool begin_file(const char *given)
{
	char path[PATH_MAX];
	struct stat stat;
	int fd;

	if (!expand(given, path, sizeof(path)) || !file_may_reach(ROOM))
		return false;
	fd = make_file(path, file->path);
	if (fd < 0)
		return false;
	if (fstat(fd, &stat) != 0 || pwrite(fd, "[\n]\n", 4, 0) != 4) {
		close(fd);
		return false;
	}
	close(fd);
	file->device = stat.st_dev;
	file->inode = stat.st_ino;
	file->end = 1;
	file->born = tine_now();
	return true;
}

static void map_file(void)
{
	const char *given = secure_getenv("TINE_TRACE");
	void *mem;

	if (!given || !*given)
		return;
	mem = mmap(NULL, sizeof(*file), PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mem != MAP_FAILED)
		file = mem;
}

static pthread_once_t mapped = PTHREAD_ONCE_INIT;

/* So that processes that are forked before anything is traced have one file. */
__attribute__((constructor)) static void map_early(void)
{
	if (secure_getenv("TINE_TRACE"))
		pthread_once(&mapped, map_file);
}

static bool lock_file(int64_t deadline)
{
	int err = tine_lock_acquire(&file->lock, deadline);

	return err == 0 || err == -EOWNERDEAD;
}

static void unlock_file(void)
{
	tine_lock_release(&file->lock);
}

/* Whether there is a file; the first who asks makes it. */
static bool is_on(void)
{
	const char *given = secure_getenv("TINE_TRACE");
	bool on;

	pthread_once(&mapped, map_file);
	if (!file || !lock_file(tine_after(PATIENT_MS)))
		return false;
	if (file->end == 0 && !file->given_up)
		file->given_up = !given || !begin_file(given);
	on = !file->given_up;
	unlock_file();
	return on;
}

static bool write_at(int fd, const char *bytes, size_t len, uint64_t at)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, bytes, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		bytes += n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return true;
}

/* Events, of which each begins with a comma but the file's first. */
struct text {
	size_t len;
	char buf[ROOM];
};

/* With the lock held. What cannot be written ends the trace, as it was. */
static void write_out(struct text *text)
{
	size_t len = text->len;
	struct stat stat;
	int fd = -1;

	text->len = 0;
	if (len == 0 || file->given_up)
		return;
	fd = open(file->path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	/* Of a file that is gone, the next may have the number; it is not so long yet. */
	if (fd < 0 || fstat(fd, &stat) != 0 || stat.st_dev != file->device ||
	    stat.st_ino != file->inode || (uint64_t)stat.st_size < file->end + TAIL) {
		file->given_up = true;
	} else if (!file_may_reach(file->end + len + TAIL) ||
		   !(memcpy(text->buf + len, tail, TAIL),
		     write_at(fd, text->buf, len + TAIL, file->end))) {
		file->given_up = true;
		if (ftruncate(fd, (off_t)(file->end + TAIL)) == 0)
			write_at(fd, tail, TAIL, file->end);
	} else {
		file->end += len;
	}
	if (fd >= 0)
		close(fd);
}

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *fmt,
						      ...)
{
	size_t room = ROOM - TAIL - text->len;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(text->buf + text->len, room, fmt, args);
	va_end(args);
	text->len += len < 0 ? 0 : (size_t)len < room ? (size_t)len : room - 1;
}

static void begin_event(struct text *text)
{
	if (ROOM - text->len < MOST_EVENT)
		write_out(text);
	add(text, file->end + text->len == 1 ? "\n" : ",\n");
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
	add_time(text, "ts", begun - file->born);
}

static void name_lane(struct text *text, const char *what, pid_t pid, pid_t tid,
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

static const char *name_of(uint32_t name)
{
	return name < NAMES && names[name] ? names[name] : "job";
}

static void write_jobs(struct text *text, const struct trace_event *event, pid_t pid,
		       pid_t tid)
{
	bool ticket = event->kind == TRACE_TICKETS;

	add_head(text, 'X', name_of(event->name), ticket ? "submitted" : "job", pid, tid,
		 event->begun);
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

static void write_event(struct text *text, const struct trace_event *event, pid_t pid,
			pid_t tid)
{
	switch ((enum trace_kind)event->kind) {
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
		add_head(text, 'E', name_of(event->name), "map", pid, tid, event->ended);
		add(text, ",\"args\":{\"result\":%d}}", event->other);
		break;
	case TRACE_MAP:
		add_head(text, 'X', name_of(event->name), "map", pid, tid, event->begun);
		add_time(text, "dur", event->ended - event->begun);
		add(text, ",\"args\":{\"map\":%u,\"jobs\":%" PRIu64 ",\"result\":%d}}",
		    event->map, event->count, event->other);
		break;
	}
}

static void tell_dropped(struct text *text, struct trace_log *log, pid_t pid, pid_t tid)
{
	uint64_t dropped = atomic_load(&log->dropped);

	if (dropped == log->told)
		return;
	add_head(text, 'i', "dropped", "trace", pid, tid, tine_now());
	add(text, ",\"s\":\"t\",\"args\":{\"events\":%" PRIu64 "}}", dropped - log->told);
	log->told = dropped;
}

/* ---- the caller's side ------------------------------------------------------------- */

static uint64_t waiting(const struct trace_log *log)
{
	/* Acquire: what was published is there. */
	return atomic_load_explicit(&log->written, memory_order_acquire) -
	       atomic_load_explicit(&log->drained, memory_order_relaxed);
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
	for (uint64_t n = waiting(log); n > 0; n--) {
		uint64_t at = atomic_load_explicit(&log->drained, memory_order_relaxed);

		write_event(text, &log->slots[at & log->mask], lane, tid);
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
	add_head(text, 'B', name_of(map->name), "map", trace->owner, trace->thread,
		 map->begun);
	add(text, ",\"args\":{\"map\":%u,\"jobs\":%" PRIu64 "}}", map->map, map->count);
}

static void drain_locked(struct trace *trace)
{
	struct text text;

	text.len = 0;
	tell_map(trace, &text);
	for (unsigned i = 0; i < trace->n; i++)
		drain_log(trace, i, &text);
	write_out(&text);
	trace->looked = tine_now();
}

void trace_drain(struct trace *trace)
{
	if (!trace || !lock_file(tine_after(PATIENT_MS)))
		return;
	drain_locked(trace);
	unlock_file();
}

void trace_glance(struct trace *trace)
{
	if (trace && tine_now() - trace->looked >= GLANCE)
		trace_drain(trace);
}

static bool make_logs(struct trace *trace, uint32_t slots)
{
	size_t head = (trace->n * sizeof(*trace->logs) + 63) / 64 * 64;
	char *mem = shared_alloc(head +
				 (size_t)trace->n * slots * sizeof(struct trace_event));

	if (!mem)
		return false;
	trace->logs = (struct trace_log *)mem;
	for (unsigned i = 0; i < trace->n; i++) {
		trace->logs[i].mask = slots - 1;
		trace->logs[i].slots = (struct trace_event *)(mem + head) + i * slots;
	}
	return true;
}

struct trace *trace_new(unsigned workers)
{
	struct trace *trace;

	if (!is_on())
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
	    !lock_file(tine_after(PATIENT_MS))) {
		tine_shared_free(trace->logs);
		free(trace);
		return NULL;
	}
	trace->next = traces;
	traces = trace;
	unlock_file();
	return trace;
}

void trace_place(struct trace *trace, pid_t lane, const char *name)
{
	struct text text;

	if (!trace)
		return;
	trace->lane = lane;
	text.len = 0;
	if (!lock_file(tine_after(PATIENT_MS)))
		return;
	name_lane(&text, "process_name", trace->owner, trace->thread,
		  program_invocation_short_name, -1);
	name_lane(&text, "thread_name", trace->owner, trace->thread, "caller", -1);
	name_lane(&text, "process_name", lane, lane, trace->workers ? "tine-pool" : name,
		  -1);
	for (unsigned i = 0; i < trace->workers; i++)
		name_lane(&text, "thread_name", lane, (pid_t)i + 1, "tine-worker",
			  (int)i);
	if (!trace->workers) {
		name_lane(&text, "thread_name", lane, lane, name, -1);
		add_head(&text, 'B', name, "process", lane, lane, trace->map.begun);
		add(&text, "}");
	}
	write_out(&text);
	unlock_file();
}

uint32_t trace_name(const char *name)
{
	static _Atomic uint32_t last;
	uint32_t id = atomic_load(&last);

	/* Mostly it is that of the map before; names stay. */
	if (name && names[id] && strcmp(names[id], name) == 0)
		return id;
	id = 1;
	if (!name || !lock_file(tine_after(PATIENT_MS)))
		return 0;
	while (id < NAMES && names[id] && strcmp(names[id], name) != 0)
		id++;
	/* Who forks meanwhile has the name, or has it not. */
	if (id < NAMES && !names[id])
		names[id] = strdup(name);
	unlock_file();
	id = id < NAMES ? id : 0;
	atomic_store(&last, id);
	return id;
}

uint32_t trace_map_begin(struct trace *trace, uint32_t name, size_t n)
{
	if (!trace)
		return 0;
	trace->in_map = true;
	trace->told = false;
	trace->map = (struct trace_event){ .kind = TRACE_MAP, .name = name, .count = n };
	trace->map.map = atomic_fetch_add(&file->maps, 1) + 1;
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
	note(&trace->logs[trace->n - 1], map);
	if (map->ended - map->begun >= LONG_MAP)
		trace_drain(trace);
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
	note(log, &event);
	if (waiting(log) > log->mask / 2)
		trace_drain(trace_self);
	else
		trace_glance(trace_self);
}

void trace_process_end(struct trace *trace, tine_exit how)
{
	struct text text;

	if (!trace || trace->owner != getpid() || trace->told ||
	    !lock_file(tine_after(PATIENT_MS)))
		return;
	trace->told = true;
	drain_locked(trace);
	text.len = 0;
	add_head(&text, 'E', "end", "process", trace->lane, trace->lane, tine_now());
	add(&text, ",\"args\":{\"code\":%d,\"signal\":%d}}", how.code, how.signal);
	write_out(&text);
	unlock_file();
}

void trace_free(struct trace *trace)
{
	struct trace **at = &traces;

	if (!trace)
		return;
	if (lock_file(tine_after(PATIENT_MS))) {
		if (trace->owner == getpid())
			drain_locked(trace);
		while (*at && *at != trace)
			at = &(*at)->next;
		if (*at)
			*at = trace->next;
		unlock_file();
	}
	if (trace->owner == getpid())
		tine_shared_free(trace->logs);
	free(trace);
}

/* A program may end without having freed its pools. */
__attribute__((destructor)) static void end_traces(void)
{
	if (!file || !lock_file(tine_after(PATIENT_MS)))
		return;
	for (struct trace *trace = traces; trace; trace = trace->next)
		if (trace->owner == getpid())
			drain_locked(trace);
	unlock_file();
}
