/* SPDX-License-Identifier: MIT */
/*
 * The courier: a small process with one thread between a caller and the server of its
 * pool, in the place of the nursery (pool/crew.h). It works on the ledger as the worker
 * of all desks at once. At a desk lies one trip: jobs [at.index, low) of the map, or a
 * ticket. It goes out as a chunk, or in parts one after the other, and when all of it is
 * back, results and statuses first, at moves past it. Nothing at a desk ever says that it
 * runs here: so
 *
 *	courier dies		its parent mends the desks: all that was out waits again,
 *				and the next courier, another caller to the server, sends
 *				it anew, after it has buried the one before
 *	it is stopped		its parent continues it, as a nursery
 *	caller dies		the lifeline breaks: it buries itself at the server, and
 *				ends; who dies with it is buried by any host
 *	connection is lost	it opens another and asks what is outstanding, then what
 *				is done; what is neither is sent again
 *	server loses its data	the same: its beat says that the caller was unknown
 *	one key is lost		its beat asks for its oldest by name
 *	host is lost		some host tells: sent again in smaller parts, then one by
 *				one with no other such beside it; lost three times it
 *				fails, as a crash
 *	nobody has the task,	for so long: the jobs fail, with -TINE_EHOST or what
 *	or no server answers	the server was missing by
 *
 * The caller sleeps on the ledger as it does for workers. The courier sleeps in poll(2):
 * whoever has something new for it takes the word `sleeps` from 1 to 0 and sends a byte
 * down the lifeline.
 */
#include "engine/courier.h"

#include "base/futex.h"
#include "base/signals.h"
#include "engine/trip.h"
#include "pool/pool.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define SILENT	     INT64_C(4000000000) /* without an answer: another connection */
#define OPEN_FOR     INT64_C(900000000)
#define SEND_FOR     INT64_C(8000000000)
#define PATIENCE     INT64_C(20000000000)
#define LOOK	     50 /* milliseconds, while something is out */
#define READ_AT_ONCE 16 /* entries, each of a chunk or more */

/* ---- answers ----------------------------------------------------------------------- */

/* True: the server has it not. */
static void note_put(struct courier *courier, const struct engine_answer *answer,
		     int64_t now)
{
	struct resp array = answer->resp, element;
	uint64_t seq = answer->number;
	struct trip *trip;

	if (answer->err) {
		for (int i = 0; i < AT_ONCE; i++)
			if ((trip = trip_find(courier, seq + (uint64_t)i)) &&
			    !*trip->sid) {
				trip_come_back(courier, trip);
				trip->not_before = now + AGAIN_AFTER;
			}
		return;
	}
	while (array.kind == RESP_ARRAY && resp_next(&array, &element)) {
		if (element.kind != RESP_STRING)
			continue;
		trip = trip_find(courier, seq++);
		if (trip && element.len < sizeof(trip->sid)) {
			memcpy(trip->sid, element.text, element.len);
			trip->sid[element.len] = '\0';
		}
	}
}

/* Whether the first of two ids of a stream is the later one. */
static bool is_later(const char *one, const char *other)
{
	uint64_t a[2] = { 0 }, b[2] = { 0 };

	sscanf(one, "%" SCNu64 "-%" SCNu64, &a[0], &a[1]);
	sscanf(other, "%" SCNu64 "-%" SCNu64, &b[0], &b[1]);
	return a[0] != b[0] ? a[0] > b[0] : a[1] > b[1];
}

static void look_at_hosts(struct courier *courier, struct resp *hosts, int64_t lease,
			  int64_t now)
{
	struct resp name, silent, info;
	bool served[DESKS] = { false };

	courier->hosts = courier->slots = 0;
	while (resp_next(hosts, &name) && resp_next(hosts, &silent) &&
	       resp_next(hosts, &info)) {
		struct wire_host host;
		const char *tasks;
		size_t len;

		if (info.kind != RESP_STRING || silent.number > lease ||
		    wire_get_host(&host, info.text, info.len, &tasks, &len) != 0)
			continue;
		courier->hosts++;
		lanes_learn(courier, &name, &host);
		courier->slots += host.workers < DESKS ? host.workers : DESKS;
		for (int i = 0; i < DESKS; i++)
			served[i] |= courier->trips[i].state != GROUNDED &&
				     wire_has_task(tasks, len, courier->trips[i].task);
	}
	for (int i = 0; i < DESKS; i++) {
		struct trip *trip = &courier->trips[i];

		if (served[i] || trip->state == GROUNDED)
			trip->unserved = 0;
		else if (!trip->unserved)
			trip->unserved = now;
	}
}

/* False: the server has lost what it had. */
static bool note_call(struct courier *courier, struct engine_answer *answer, int64_t now)
{
	struct resp out, unknown, last, gone, hosts, lease, time, seq;
	char text[ENGINE_SID_MAX] = "";

	courier->beating = false;
	if (answer->err == -EAGAIN)
		return true;
	if (answer->err || answer->resp.kind != RESP_ARRAY ||
	    !resp_next(&answer->resp, &out) || !resp_next(&answer->resp, &unknown) ||
	    !resp_next(&answer->resp, &last) || !resp_next(&answer->resp, &gone) ||
	    !resp_next(&answer->resp, &hosts) || !resp_next(&answer->resp, &lease) ||
	    !resp_next(&answer->resp, &time) || last.len >= sizeof(text) ||
	    gone.kind != RESP_ARRAY ||
	    (hosts.kind != RESP_ARRAY && hosts.kind != RESP_NIL))
		return false;
	if (unknown.number && courier->known)
		return false;
	courier->known = true;
	engine_clock_note(engine_clock(courier->engine), courier->beat_sent, now,
			  time.number);
	memcpy(text, last.text, last.len);
	text[last.len] = '\0';
	while (resp_next(&gone, &seq)) {
		struct trip *trip = trip_of(courier,
					    (struct engine_word){ seq.text, seq.len });

		/* Read up to there, its result would have been seen. */
		if (trip && trip->state == OUT && !is_later(text, courier->last))
			trip_come_back(courier, trip);
	}
	if (hosts.kind == RESP_ARRAY)
		look_at_hosts(courier, &hosts, lease.number > 0 ? lease.number : 5000,
			      now);
	return true;
}

static void note_taken_back(struct courier *courier, struct engine_answer *answer)
{
	struct resp seq;

	while (!answer->err && answer->resp.kind == RESP_ARRAY &&
	       resp_next(&answer->resp, &seq)) {
		struct trip *trip = trip_of(courier,
					    (struct engine_word){ seq.text, seq.len });

		if (trip && trip->state == OUT)
			trip_fail(courier, trip, -ECANCELED);
	}
}

/* Its outputs have come, or are gone. */
static void note_fetched(struct courier *courier, struct engine_answer *answer)
{
	struct trip *trip = trip_find(courier, answer->number);
	char text[24], sid[ENGINE_SID_MAX];
	const char *one = sid;

	if (!trip || trip->state != FETCHED)
		return;
	strcpy(text, trip->text);
	strcpy(sid, trip->done_sid);
	if (answer->err || answer->resp.kind != RESP_STRING ||
	    !trip_take(courier, trip, trip->result, trip->result_len, answer->resp.text,
		       answer->resp.len))
		trip_lose(courier, trip);
	engine_add_drop_blob(courier->engine, 'B', courier->id, text);
	engine_add_read(courier->engine, OTHER, courier->id, &one, 1);
}

/* False: the entry stays in the stream until its outputs have come. */
static bool take_chunk_of(struct courier *courier, const struct engine_message *message)
{
	struct trip *trip = trip_of(courier, message->seq);

	if (!trip || trip->state != OUT)
		return !trip;
	if (message->given.len != SIZE_MAX) {
		trip_come_back(courier, trip);
		return true;
	}
	if (message->lost.len != SIZE_MAX || message->header.len == SIZE_MAX) {
		trip_lose(courier, trip);
		return true;
	}
	if (!engine_copy_word(trip->host, sizeof(trip->host), message->from))
		*trip->host = '\0';
	if (message->blob.len == SIZE_MAX) {
		if (message->data.len == SIZE_MAX ||
		    !trip_take(courier, trip, message->header.text, message->header.len,
			       message->data.text, message->data.len))
			trip_lose(courier, trip);
		return true;
	}
	trip->result = malloc(message->header.len + 1);
	if (!trip->result)
		return false;
	memcpy(trip->result, message->header.text, message->header.len);
	trip->result_len = message->header.len;
	engine_copy_word(trip->done_sid, sizeof(trip->done_sid), message->sid);
	trip->state = FETCHED;
	engine_add_fetch(courier->engine, FETCH, trip->seq, 'B', courier->id, trip->text);
	return false;
}

/* False: it stays. */
static bool take_entry(struct courier *courier, struct engine_message *message)
{
	bool read = true;

	do
		read &= take_chunk_of(courier, message);
	while (engine_next_chunk(message));
	return read;
}

/* How many entries there were. */
static size_t note_results(struct courier *courier, struct engine_answer *answer)
{
	struct resp key, entries;
	char sids[READ_AT_ONCE][ENGINE_SID_MAX];
	const char *read[READ_AT_ONCE];
	size_t n = 0, all = 0;

	while (!answer->err && engine_next_stream(&answer->resp, &key, &entries)) {
		struct engine_message message;

		while (n < READ_AT_ONCE && engine_next_message(&entries, &message)) {
			if (!engine_copy_word(sids[n], sizeof(sids[n]), message.sid))
				continue;
			strcpy(courier->last, sids[n]);
			read[n] = sids[n];
			all++;
			if (take_entry(courier, &message))
				n++;
		}
	}
	if (n)
		engine_add_read(courier->engine, OTHER, courier->id, read, n);
	return all;
}

/* 0; else the connection is of no more use. */
static int take_answers(struct courier *courier, enum engine_way way, int64_t now)
{
	struct engine_answer answer;
	int err;

	while ((err = engine_next(courier->engine, way, &answer)) > 0) {
		courier->heard = now;
		if (answer.err == -ESTALE)
			return answer.err;
		switch ((enum what)answer.what) {
		case PUT:
			note_put(courier, &answer, now);
			break;
		case CALL:
			if (!note_call(courier, &answer, now))
				return -ESTALE;
			break;
		case RESULTS:
			courier->reading = false;
			note_results(courier, &answer);
			break;
		case FETCH:
			note_fetched(courier, &answer);
			break;
		case TAKE_BACK:
			note_taken_back(courier, &answer);
			break;
		case CANCEL:
		case KNOWN:
		case OTHER:
			break;
		}
	}
	return err;
}

/* ---- connections ------------------------------------------------------------------- */

/* From the first of them on. */
static void note_gone(struct courier *courier, int err, int64_t now)
{
	if (courier->gone)
		return;
	courier->gone = now;
	courier->gone_by = err == -EAGAIN || err == -ETIMEDOUT || err == -ESTALE
				   ? -TINE_EHOST
				   : err;
}

static void close_engine(struct courier *courier, int err, int64_t now)
{
	engine_free(courier->engine);
	courier->engine = NULL;
	courier->cancelled = 0;
	courier->next_open = 0;
	note_gone(courier, err, now);
}

/* What the server has of ours: outstanding first, then done; the rest is sent again. */
static int reconcile(struct courier *courier)
{
	struct engine *engine = courier->engine;
	int64_t deadline = tine_now() + 2 * OPEN_FOR;
	struct engine_answer answer;
	struct resp seq;
	int err;

	for (int i = 0; i < DESKS; i++) {
		courier->trips[i].known = false;
		if (courier->trips[i].state == FETCHED)
			courier->trips[i].state = OUT;
	}
	engine_add_known(engine, KNOWN, courier->id);
	err = engine_send(engine, ENGINE_TALK, deadline);
	err = err ? err : engine_await(engine, ENGINE_TALK, &answer, deadline);
	if (err || answer.err)
		return err ? err : answer.err;
	while (answer.resp.kind == RESP_ARRAY && resp_next(&answer.resp, &seq)) {
		struct trip *trip = trip_of(courier,
					    (struct engine_word){ seq.text, seq.len });

		if (trip)
			trip->known = true;
	}
	strcpy(courier->last, "0-0");
	do {
		engine_add_results(engine, RESULTS, courier->id, courier->last,
				   READ_AT_ONCE, 1);
		err = engine_send(engine, ENGINE_READ, deadline);
		err = err ? err : engine_await(engine, ENGINE_READ, &answer, deadline);
		if (err || answer.err)
			return err ? err : answer.err;
	} while (note_results(courier, &answer) > 0);
	for (int i = 0; i < DESKS; i++)
		if (courier->trips[i].state == OUT && !courier->trips[i].known)
			trip_come_back(courier, &courier->trips[i]);
	return 0;
}

/* What is of no use to be asked again. */
static bool is_final(int err)
{
	return err != -EAGAIN && err != -ETIMEDOUT && err != -ECONNREFUSED &&
	       err != -ECONNRESET && err != -ENOENT && err != -ENETUNREACH &&
	       err != -EHOSTUNREACH && err != -EPIPE && err != -ENOMEM;
}

static void open_engine(struct courier *courier)
{
	struct away *away = courier->away;
	int64_t now = tine_now();
	int err;

	if (now < courier->next_open)
		return;
	courier->next_open = now + 2 * AGAIN_AFTER;
	err = engine_open(&courier->engine, &courier->url, now + OPEN_FOR);
	if (!err) {
		courier->reading = courier->beating = courier->known = false;
		courier->next_beat = 0;
		courier->heard = tine_now();
		err = reconcile(courier);
		if (err)
			close_engine(courier, err, now);
	}
	if (!err) {
		courier->gone = 0;
		if (*away->caller && strcmp(away->caller, courier->id) != 0)
			engine_add_bury(courier->engine, OTHER, away->caller);
		strcpy(away->caller, courier->id);
	} else {
		note_gone(courier, err, now);
	}
	if (atomic_load(&away->state) == 1 && err != -EAGAIN) {
		atomic_store(&away->state, err == -ETIMEDOUT ? -TINE_EHOST : err);
		ledger_call(courier->ledger);
	} else if (err && is_final(err)) {
		/* What it is called, it is called at once. */
		courier->gone = now - away->away_ms * 1000000;
		courier->gone_by = err;
	}
}

static int exchange(struct courier *courier, int64_t now)
{
	struct engine *engine = courier->engine;
	int err;

	if (!courier->beating && now >= courier->next_beat)
		courier_beat(courier, now);
	courier_send(courier, now);
	if (!courier->reading) {
		engine_add_results(engine, RESULTS, courier->id, courier->last,
				   READ_AT_ONCE, 60000);
		courier->reading = true;
	}
	/* Bound: so long. */
	err = engine_send(engine, ENGINE_TALK, now + SEND_FOR);
	err = err ? err : engine_send(engine, ENGINE_READ, now + SEND_FOR);
	if (!err && courier->beating && now - courier->heard > SILENT)
		err = -ETIMEDOUT;
	return err;
}

/* The caller is gone, or done with it. */
static int bury_self(struct courier *courier)
{
	int64_t deadline = tine_now() + OPEN_FOR;
	struct engine_answer answer;

	if (!courier->engine)
		return 0;
	engine_add_bury(courier->engine, OTHER, courier->id);
	if (engine_send(courier->engine, ENGINE_TALK, deadline) == 0)
		while (engine_owed(courier->engine, ENGINE_TALK) > 0 &&
		       engine_await(courier->engine, ENGINE_TALK, &answer, deadline) == 0)
			;
	return 0;
}

/* ---- the process ------------------------------------------------------------------- */

/* What the caller may have new for us. */
static uint64_t news_of(const struct ledger *ledger)
{
	return (uint64_t)atomic_load(&ledger->turn) << 8 |
	       atomic_load(&ledger->cancelled) << 1 | atomic_load(&ledger->dropped);
}

static int wait_ms(const struct courier *courier, int64_t now)
{
	int64_t next = courier->engine ? courier->next_beat : courier->next_open;
	int64_t ms = (next - now) / 1000000 + 1;

	if (courier->hasty)
		return 1;
	if (courier_trips(courier) > 0 && ms > LOOK)
		ms = LOOK;
	return ms < 1 ? 1 : ms > 1000 ? 1000 : (int)ms;
}

/* False: it is over. */
static bool hear_caller(struct courier *courier)
{
	char bytes[64];

	/* Bound: it does not block. */
	if (recv(courier->lifeline, bytes, sizeof(bytes), MSG_DONTWAIT) == 0)
		return false;
	atomic_fetch_add(&courier->ledger->looked, 1);
	return true;
}

static void make_round(struct courier *courier)
{
	int64_t now = tine_now();
	int err = 0;

	courier->hasty = false;
	if (!courier->engine)
		open_engine(courier);
	courier_mind(courier, now);
	courier_stock(courier);
	if (courier->engine)
		err = exchange(courier, now);
	if (err)
		close_engine(courier, err, now);
}

static int courier_main(void *arg, int lifeline)
{
	static struct courier courier;
	struct ledger *ledger = arg;
	struct pollfd polled[3] = { { .fd = lifeline, .events = POLLIN },
				    { .events = POLLIN },
				    { .events = POLLIN } };

	prctl(PR_SET_NAME, "tine-courier");
	block_signals(NULL);
	courier.ledger = ledger;
	courier.away = ledger->errand;
	courier.lifeline = lifeline;
	courier.largest = 1;
	courier.deal = UINT32_MAX;
	if (engine_url_parse(&courier.url, courier.away->url) != 0)
		return 1;
	engine_make_id(courier.id);
	atomic_store(&ledger->nursery, getpid());
	for (;;) {
		uint64_t news = news_of(ledger);
		int64_t now;
		int wait, err = 0;

		make_round(&courier);
		atomic_store(&courier.away->sleeps, 1);
		now = tine_now();
		wait = news == news_of(ledger) ? wait_ms(&courier, now) : 0;
		polled[1].fd = courier.engine ? engine_fd(courier.engine, ENGINE_TALK)
					      : -1;
		polled[2].fd = courier.engine ? engine_fd(courier.engine, ENGINE_READ)
					      : -1;
		/* Bound: the next beat. */
		poll(polled, 3, wait);
		atomic_store(&courier.away->sleeps, 0);
		if (polled[0].revents && !hear_caller(&courier))
			return bury_self(&courier);
		now = tine_now();
		if (polled[1].revents && courier.engine)
			err = take_answers(&courier, ENGINE_TALK, now);
		if (!err && polled[2].revents && courier.engine)
			err = take_answers(&courier, ENGINE_READ, now);
		if (err)
			close_engine(&courier, err, now);
	}
}

/* ---- what its parent asks ---------------------------------------------------------- */

static int has_answered(const struct ledger *ledger)
{
	const struct away *away = ledger->errand;

	return atomic_load(&away->state);
}

/* What it cannot do it says of the jobs. */
static int always_able(const struct ledger *ledger)
{
	(void)ledger;
	return 0;
}

static void wake_courier(struct ledger *ledger, const struct child *courier, bool busy)
{
	struct away *away = ledger->errand;

	(void)busy;
	if (atomic_load(&away->sleeps) && atomic_exchange(&away->sleeps, 0))
		child_nudge(courier);
}

static bool suspects_none(struct ledger *ledger)
{
	uint32_t held;

	return ledger_holder(ledger, &held) != 0;
}

static int accept_task(const tine_task *task, bool ranges, bool leaves, size_t in_len)
{
	enum wire_kind kind = leaves	    ? WIRE_LEAVES
			      : task->bytes ? WIRE_BYTES
			      : task->each  ? WIRE_EACH
			      : ranges	    ? WIRE_RANGE
					    : WIRE_CALLS;
	char name[WIRE_TASK_MAX];

	if (in_len > WIRE_MOST || task->out_size > WIRE_MOST)
		return -EMSGSIZE;
	return wire_task_name(name, task, kind);
}

static const struct crew courier_crew = { .main = courier_main,
					  .ready = has_answered,
					  .able = always_able,
					  .wake = wake_courier,
					  .suspects = suspects_none,
					  .patience = PATIENCE,
					  .accept = accept_task };

int courier_pool_new(tine_pool **out, const char *url, int64_t away_ms,
		     const tine_pool_opts *opts)
{
	tine_pool_opts own = opts ? *opts : (tine_pool_opts){ 0 };
	size_t len = sizeof(struct away) + strlen(url) + 1;
	struct engine_url parsed;
	struct away *away;
	int err;

	if (own.init || own.init_arg || own.fini || own.jobs_per_worker ||
	    own.memory_per_worker || away_ms < 0 || away_ms > MOST_AWAY)
		return -EINVAL;
	err = engine_url_parse(&parsed, url);
	if (err)
		return err;
	engine_url_free(&parsed);
	away = calloc(1, len);
	if (!away)
		return -ENOMEM;
	away->away_ms = away_ms ? away_ms : AWAY_MS;
	atomic_store(&away->state, 1);
	strcpy(away->url, url);
	own.workers = DESKS;
	err = pool_new(out, &own, &courier_crew, away, len);
	free(away);
	return err;
}
