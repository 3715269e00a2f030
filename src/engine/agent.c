/* SPDX-License-Identifier: MIT */
/*
 * One thread, three connections, and a pool; all waiting is in one poll(2).
 *
 *	the agent dies		the pool dies with it; what it held is told lost when its
 *				lease is over
 *	it is stopped		the same; when it goes on, it ends what it ran before
 *				anything else, and joins under a new name
 *	it hears nothing	after 0.9 of its lease, counted from when it sent the last
 *				beat that was answered, the same
 *	a connection is lost	the jobs go on; it joins under a new name, and takes along
 *				what it holds
 *	the server is away	it tries again, for ever: callers have a limit
 *	its starter dies	it is killed
 *
 * A host where all jobs crash is faster than all others: after three chunks in a row in
 * which every job crashed it takes one at a time, after a pause that doubles, as long as
 * another that does not pause has one of its tasks. It asks that after each such chunk,
 * and takes none meanwhile. Where there is no other, pauses would only take time.
 */
#include "engine/agent.h"

#include "base/futex.h"
#include "engine/held.h"
#include "pool/pool.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define MILLION	      INT64_C(1000000)
#define REACH	      (2000 * MILLION) /* to connect, and to join */
#define JOIN_MS	      30000	       /* that a start waits for a server that is busy */
#define FIRST_RETRY   (100 * MILLION)
#define LAST_RETRY    (2000 * MILLION)
#define BLOCK_MS      20000 /* of a read */
#define LEASE_LEAST   100   /* milliseconds */
#define LEASE_MOST    600000
#define MOST_AT_ONCE  ENGINE_DONE_MOST
#define MOST_BYTES    ((size_t)128 << 10) /* of results in one step, and one more */
#define HASTY_MOST    64		  /* more than two for each */
#define BRIEF_US      20000		  /* chunks that are to wait at hand */
#define CANCELS	      64		  /* that are remembered */
#define CRASHES	      3			  /* chunks, before the host pauses */
#define LONGEST_PAUSE 60000		  /* milliseconds */
#define INFO_MAX      4096

enum agent_asks {
	JOINED,
	BEATEN,
	TAKEN_IN,
	HEARD,
	FETCHED,
	ACCEPTED,
	GIVEN,
	LEFT,
	COMPARED
};

struct agent {
	const struct agent_setup *setup;
	struct engine_url url;
	struct stream *streams;
	const char **names;
	size_t n;
	tine_pool *pool;
	struct hold hold;
	struct engine *engine; /* NULL: it is to be reached */
	char id[ENGINE_ID_MAX];
	bool member;	/* as far as it knows; then it holds under that name */
	unsigned lease; /* milliseconds */
	int64_t heard;	/* when the last beat that was answered was sent */
	int64_t sent;	/* the last beat */
	int64_t beat;	/* the next */
	bool beating;
	int64_t due; /* when results that wait for others are to be sent; or 0 */
	int64_t retry, patience;
	char last[ENGINE_SID_MAX]; /* cancel that it has heard */
	struct {
		char caller[ENGINE_ID_MAX];
		uint64_t map;
	} cancels[CANCELS];
	unsigned n_cancels;
	int64_t pause, paused_until; /* milliseconds; a moment */
	unsigned crashed;	     /* of the hold, when it last asked for others */
	bool comparing;		     /* and has no answer */
	bool draining;
	int err;
};

static bool is_for_good(int err)
{
	return err == -EACCES || err == -EREMOTE || err == -TINE_ECERT ||
	       err == -TINE_EKIND || err == -EPROTO || err == -EOPNOTSUPP ||
	       err == -EPROTONOSUPPORT || err == -EINVAL || err == -ENAMETOOLONG;
}

/* ---- what it serves ---------------------------------------------------------------- */

static int add_streams(struct agent *agent, const tine_task *task)
{
	static const enum wire_kind kinds[] = { WIRE_CALLS, WIRE_EACH, WIRE_RANGE,
						WIRE_LEAVES, WIRE_BYTES };
	size_t before = agent->n;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		struct stream *stream = &agent->streams[agent->n];
		int err = wire_task_name(stream->name, task, kinds[i]);

		if (err == -ENAMETOOLONG)
			return err;
		if (err || (kinds[i] == WIRE_CALLS && !task->fn))
			continue;
		for (size_t k = 0; k < agent->n; k++)
			if (strcmp(agent->streams[k].name, stream->name) == 0)
				return -EEXIST;
		stream->kind = kinds[i];
		stream->task = *task;
		agent->names[agent->n++] = stream->name;
	}
	return agent->n > before ? 0 : -EINVAL;
}

static int make_streams(struct agent *agent)
{
	const struct agent_setup *setup = agent->setup;
	size_t most = setup->n * 5 + 1;

	agent->streams = calloc(most, sizeof(*agent->streams));
	agent->names = calloc(most, sizeof(*agent->names));
	if (!agent->streams || !agent->names)
		return -ENOMEM;
	for (size_t i = 0; i < setup->n; i++) {
		int err = add_streams(agent, &setup->tasks[i]);

		if (err)
			return err;
	}
	return 0;
}

static void describe_host(const struct agent *agent, char info[static INFO_MAX])
{
	const struct hold *hold = &agent->hold;
	struct wire_host host = {
		.workers = agent->setup->pool.workers,
		.busy = hold_count(hold, HELD_RUNNING),
		.queued = hold_not_begun(hold),
		.crashing = agent->paused_until > tine_now() ? (uint32_t)agent->pause : 0,
		.done = hold->jobs,
	};
	size_t len;

	snprintf(host.name, sizeof(host.name), "%s", agent->setup->name);
	len = (size_t)wire_put_host(info, &host);
	for (size_t i = 0; i < agent->n; i++) {
		size_t more = strlen(agent->names[i]);

		if (len + more + 2 > INFO_MAX)
			break;
		memcpy(info + len, agent->names[i], more);
		len += more;
		info[len++] = ' ';
	}
	info[len] = '\0';
}

/* ---- membership -------------------------------------------------------------------- */

/* When it must have been heard, since others take over soon. */
static int64_t fence_of(const struct agent *agent)
{
	return agent->heard + agent->lease * MILLION / 10 * 9;
}

static void hang_up(struct agent *agent)
{
	engine_free(agent->engine);
	agent->engine = NULL;
	agent->beating = agent->comparing = false;
	agent->crashed = 0;
}

/* What it holds is others' now, or soon. */
static void lose_lease(struct agent *agent)
{
	hold_doom_all(&agent->hold);
	agent->hold.starved = false;
	agent->member = false;
	strcpy(agent->last, "0");
	hang_up(agent);
}

/* The jobs go on. */
static void lose_line(struct agent *agent, int err)
{
	hang_up(agent);
	if (err == -ESTALE)
		lose_lease(agent);
	else if (is_for_good(err))
		agent->err = err;
	agent->retry = tine_now() + agent->patience;
	agent->patience = agent->patience * 2 < LAST_RETRY ? agent->patience * 2
							   : LAST_RETRY;
}

static void fetch_inputs(struct agent *agent, struct held *held)
{
	held->state = HELD_FETCHED;
	engine_add_fetch(agent->engine, FETCHED, held->order, 'b', held->caller,
			 held->seq);
}

/* What the agent holds: the entries, and in the same order the places. */
struct held_list {
	struct engine_entry *entries;
	struct held **places;
	size_t n;
};

static int list_held(struct agent *agent, struct held_list *list)
{
	struct hold *hold = &agent->hold;

	list->n = 0;
	list->entries = calloc(hold->most, sizeof(*list->entries));
	list->places = calloc(hold->most, sizeof(*list->places));
	if (!list->entries || !list->places)
		return -ENOMEM;
	for (unsigned i = 0; agent->member && i < hold->most; i++) {
		struct held *held = &hold->all[i];

		if (held->state == HELD_NOT || held->doomed)
			continue;
		list->entries[list->n] = (struct engine_entry){ held->stream->name,
								held->sid };
		list->places[list->n++] = held;
	}
	return 0;
}

/* Whose they are now. What was asked for is asked for again, results are sent again. */
static int sort_held(struct agent *agent, struct resp *answer, struct held_list *list)
{
	struct resp element;

	if (answer->kind == RESP_NUMBER)
		return -EPROTO;
	if (answer->kind != RESP_ARRAY || !resp_next(answer, &element) ||
	    element.kind != RESP_NUMBER || element.number < LEASE_LEAST ||
	    element.number > LEASE_MOST)
		return -EPROTO;
	agent->lease = (unsigned)element.number;
	for (size_t i = 0; i < list->n; i++) {
		struct held *held = list->places[i];

		if (!resp_next(answer, &element) || element.kind != RESP_NUMBER)
			return -EBADMSG;
		if (element.number != 1)
			held_doom(&agent->hold, held);
		else if (held->state == HELD_SENT)
			held->state = HELD_DONE;
		else if (held->state == HELD_FETCHED)
			fetch_inputs(agent, held);
	}
	return 0;
}

static int join_pool(struct agent *agent, int64_t deadline)
{
	char info[INFO_MAX], id[ENGINE_ID_MAX];
	struct held_list list;
	struct engine_answer answer;
	int64_t now = tine_now();
	int err = list_held(agent, &list);

	if (err)
		goto free_list;
	engine_make_id(id);
	describe_host(agent, info);
	engine_add_join(agent->engine, JOINED, id, info, agent->setup->lease_ms,
			agent->names, agent->n, agent->member ? agent->id : NULL,
			list.entries, list.n);
	err = engine_send(agent->engine, ENGINE_TALK, deadline);
	err = err ? err : engine_await(agent->engine, ENGINE_TALK, &answer, deadline);
	err = err ? err : answer.err;
	err = err ? err : sort_held(agent, &answer.resp, &list);
	if (err)
		goto free_list;
	strcpy(agent->id, id);
	agent->member = true;
	agent->heard = now;
	agent->beat = now + agent->lease * MILLION / 5;
	agent->hold.clock = *engine_clock(agent->engine);

free_list:
	free(list.entries);
	free(list.places);
	return err;
}

/* Once. What it holds must be given up in time meanwhile. */
static int reach_server(struct agent *agent)
{
	int64_t deadline = tine_now() + REACH;
	int err;

	if (agent->member && fence_of(agent) < deadline)
		deadline = fence_of(agent);
	err = engine_open(&agent->engine, &agent->url, deadline);
	if (err) {
		agent->engine = NULL;
		return err;
	}
	err = join_pool(agent, deadline);
	if (err)
		hang_up(agent);
	else
		agent->patience = FIRST_RETRY;
	return err;
}

/* ---- what comes -------------------------------------------------------------------- */

static const struct stream *find_stream(const struct agent *agent, const struct resp *key)
{
	size_t tag = strlen(engine_tag(agent->engine)) + 2;

	for (size_t i = 0; i < agent->n; i++)
		if (key->len == tag + strlen(agent->names[i]) &&
		    memcmp(key->text + tag, agent->names[i], key->len - tag) == 0)
			return &agent->streams[i];
	return NULL;
}

static bool is_cancelled(const struct agent *agent, const struct held *held)
{
	for (unsigned i = 0; i < CANCELS; i++)
		if (agent->cancels[i].map == held->chunk.map &&
		    strcmp(agent->cancels[i].caller, held->caller) == 0)
			return true;
	return false;
}

static void hand_back(struct agent *agent, const struct stream *stream, const char *sid,
		      bool lost)
{
	const struct engine_entry entry = { stream->name, sid };

	engine_add_give(agent->engine, GIVEN, agent->id, lost, &entry, 1);
}

static void take_chunk(struct agent *agent, const struct stream *stream,
		       const struct engine_message *message)
{
	struct hold *hold = &agent->hold;
	char sid[ENGINE_SID_MAX];
	struct held *held;
	int err = hold_take(hold, stream, message, &held);

	if (err) {
		if (engine_copy_word(sid, sizeof(sid), message->sid))
			hand_back(agent, stream, sid, err == -EPROTO);
		return;
	}
	if (is_cancelled(agent, held))
		held_cancel(hold, held, false);
}

/* How many chunks are not done. */
static unsigned at_work(const struct agent *agent)
{
	return hold_not_begun(&agent->hold) + hold_count(&agent->hold, HELD_RUNNING);
}

/* Brief chunks wait at hand; long ones where any host can have them. */
static unsigned depth_of(const struct agent *agent)
{
	unsigned workers = agent->setup->pool.workers;

	return agent->hold.ran_us < BRIEF_US && agent->hold.jobs > 0 ? 2 * workers
								     : workers;
}

/* For many workers few more than they need: what is held is looked through. */
static unsigned hasty_depth(unsigned workers)
{
	unsigned most = 2 * workers + HASTY_MOST;

	return WIRE_BRIEF * workers < most ? WIRE_BRIEF * workers : most;
}

static bool is_hasty(const struct agent *agent)
{
	return agent->hold.ran_us < WIRE_BRIEF_US && agent->hold.jobs > 0;
}

/* As many as it would like to have at work. */
static unsigned appetite(const struct agent *agent)
{
	if (agent->draining)
		return 0;
	if (agent->comparing)
		return 0;
	if (agent->pause)
		return tine_now() >= agent->paused_until ? 1 : 0;
	return is_hasty(agent) ? hasty_depth(agent->setup->pool.workers)
			       : depth_of(agent);
}

/* Each stream has given as many as were wanted of all. */
static void give_surplus(struct agent *agent)
{
	unsigned wanted = appetite(agent), most = agent->setup->pool.workers;

	if (agent->draining)
		most = 0;
	for (unsigned n = at_work(agent); n > wanted && n > most; n--) {
		struct held *held = hold_youngest(&agent->hold);

		if (!held)
			return;
		hand_back(agent, held->stream, held->sid, false);
		held_forget(&agent->hold, held);
	}
}

/* When chunks that seemed brief are not, and others are to have what waits behind. */
static int64_t end_of_haste(const struct agent *agent)
{
	if (agent->hold.ran_us >= BRIEF_US || hold_count(&agent->hold, HELD_RUNNING) == 0)
		return TINE_FOREVER;
	return agent->hold.moved + BRIEF_US * INT64_C(1000);
}

static void mind_haste(struct agent *agent, int64_t now)
{
	if (now < end_of_haste(agent))
		return;
	agent->hold.ran_us = BRIEF_US;
	if (agent->engine)
		give_surplus(agent);
}

static void take_in(struct agent *agent, struct resp *answer)
{
	struct resp key, entries;
	struct engine_message message;

	while (engine_next_stream(answer, &key, &entries)) {
		const struct stream *stream = find_stream(agent, &key);

		while (stream && engine_next_message(&entries, &message))
			take_chunk(agent, stream, &message);
	}
	if (!is_hasty(agent) || agent->draining)
		give_surplus(agent);
}

static void hear_cancel(struct agent *agent, const struct engine_message *message)
{
	struct hold *hold = &agent->hold;
	unsigned i = agent->n_cancels % CANCELS;
	char map[24], *end;

	if (!engine_copy_word(agent->cancels[i].caller, ENGINE_ID_MAX, message->caller) ||
	    !engine_copy_word(map, sizeof(map), message->map)) {
		agent->cancels[i].map = 0;
		return;
	}
	agent->cancels[i].map = strtoull(map, &end, 10);
	agent->n_cancels++;
	for (unsigned k = 0; k < hold->most; k++) {
		struct held *held = &hold->all[k];

		if (held->state != HELD_NOT && held->chunk.map == agent->cancels[i].map &&
		    strcmp(held->caller, agent->cancels[i].caller) == 0)
			/* What is cancelled twice is ended. */
			held_cancel(hold, held, held->cancelled != 0);
	}
}

static void hear(struct agent *agent, struct resp *answer)
{
	struct resp key, entries;
	struct engine_message message;

	if (!engine_next_stream(answer, &key, &entries))
		return;
	while (engine_next_message(&entries, &message)) {
		engine_copy_word(agent->last, sizeof(agent->last), message.sid);
		hear_cancel(agent, &message);
	}
}

/* It may have been given up meanwhile. */
static void feed(struct agent *agent, const struct engine_answer *answer)
{
	struct held *held = hold_find(&agent->hold, answer->number, HELD_FETCHED);
	int err = held ? held_feed(held, &answer->resp) : 0;

	if (!err)
		return;
	hand_back(agent, held->stream, held->sid, err != -ENOMEM);
	held_forget(&agent->hold, held);
}

/* All of those that were sent before that number have their answer. */
static void forget_sent(struct agent *agent, uint64_t number)
{
	struct hold *hold = &agent->hold;

	for (unsigned i = 0; i < hold->most; i++)
		if (hold->all[i].state == HELD_SENT && hold->all[i].order <= number)
			held_forget(hold, &hold->all[i]);
}

static void hear_beat(struct agent *agent, struct resp *answer)
{
	struct resp element, lost, buried, time;

	agent->beating = false;
	if (answer->kind != RESP_ARRAY || !resp_next(answer, &element) ||
	    element.kind != RESP_NUMBER || element.number != 1) {
		lose_lease(agent);
		return;
	}
	agent->heard = agent->sent;
	if (resp_next(answer, &lost) && resp_next(answer, &buried) &&
	    resp_next(answer, &time) && time.kind == RESP_NUMBER)
		engine_clock_note(engine_clock(agent->engine), agent->sent, tine_now(),
				  time.number);
	agent->hold.clock = *engine_clock(agent->engine);
}

/* Whether it has a task of the agent's, and does not pause. */
static bool is_rival(const struct agent *agent, const struct resp *info)
{
	struct wire_host host;
	const char *tasks;
	size_t len;

	if (info->kind != RESP_STRING ||
	    wire_get_host(&host, info->text, info->len, &tasks, &len) != 0 ||
	    host.crashing)
		return false;
	for (size_t i = 0; i < agent->n; i++)
		if (wire_has_task(tasks, len, agent->names[i]))
			return true;
	return false;
}

static void compare(struct agent *agent, struct resp *hosts)
{
	struct resp name, silent, info;
	bool rivals = false;

	agent->comparing = false;
	if (agent->hold.crashed < CRASHES || hosts->kind != RESP_ARRAY)
		return;
	while (resp_next(hosts, &name) && resp_next(hosts, &silent) &&
	       resp_next(hosts, &info)) {
		bool self = name.kind == RESP_STRING && name.len == strlen(agent->id) &&
			    memcmp(name.text, agent->id, name.len) == 0;

		rivals |= !self && silent.number <= agent->lease &&
			  is_rival(agent, &info);
	}
	if (!rivals) {
		agent->pause = 0;
		return;
	}
	agent->pause = agent->pause ? 2 * agent->pause : 1000;
	agent->pause = agent->pause < LONGEST_PAUSE ? agent->pause : LONGEST_PAUSE;
	agent->paused_until = tine_now() + agent->pause * MILLION;
}

/* -ESTALE: it is no member any more. */
static int act_on(struct agent *agent, struct engine_answer *answer)
{
	/* What a server that cannot at the moment did not do is done by the next beat. */
	if (answer->err)
		return answer->err;
	switch ((enum agent_asks)answer->what) {
	case BEATEN:
		hear_beat(agent, &answer->resp);
		break;
	case TAKEN_IN:
		take_in(agent, &answer->resp);
		break;
	case HEARD:
		hear(agent, &answer->resp);
		break;
	case FETCHED:
		feed(agent, answer);
		break;
	case ACCEPTED:
		if (answer->resp.kind != RESP_NUMBER || answer->resp.number < 0)
			return -ESTALE;
		forget_sent(agent, answer->number);
		break;
	case COMPARED:
		compare(agent, &answer->resp);
		break;
	case JOINED:
	case GIVEN:
	case LEFT:
		break;
	}
	return 0;
}

static void receive_all(struct agent *agent)
{
	for (int way = 0; way < ENGINE_WAYS; way++) {
		struct engine_answer answer;
		int came = 0, err = 0;

		while (agent->engine && !err &&
		       (came = engine_next(agent->engine, way, &answer)) > 0)
			err = act_on(agent, &answer);
		if (agent->engine && (err || came < 0))
			lose_line(agent, err ? err : came);
	}
}

/* ---- what is sent ------------------------------------------------------------------ */

/* Of one task and one caller; false: there is none. */
static bool send_some_results(struct agent *agent)
{
	struct engine_done list[MOST_AT_ONCE];
	struct hold *hold = &agent->hold;
	const struct held *first = NULL;
	size_t n = 0, bytes = 0;

	for (unsigned i = 0; i < hold->most && n < MOST_AT_ONCE && bytes < MOST_BYTES;
	     i++) {
		struct held *held = &hold->all[i];

		if (held->state != HELD_DONE || held->doomed)
			continue;
		first = first ? first : held;
		if (held->stream != first->stream ||
		    strcmp(held->caller, first->caller) != 0)
			continue;
		list[n++] = (struct engine_done){ held->sid,	    held->seq,
						  held->header,	    held->out,
						  held->header_len, held->out_len,
						  held->in_blob };
		bytes += held->header_len +
			 (held->out_len < WIRE_BLOB ? held->out_len : 0);
		held->state = HELD_SENT;
		held->order = hold->arrivals + 1;
	}
	if (!first)
		return false;
	engine_add_done(agent->engine, ACCEPTED, ++hold->arrivals, agent->id,
			first->stream->name, first->caller, list, n);
	return true;
}

static void send_beat(struct agent *agent, int64_t now)
{
	char info[INFO_MAX];

	describe_host(agent, info);
	engine_add_beat(agent->engine, BEATEN, agent->id, info, agent->lease,
			agent->names, agent->n);
	agent->beating = true;
	agent->sent = now;
	agent->beat = now + agent->lease * MILLION / 5;
}

static void ask_for_more(struct agent *agent)
{
	unsigned wanted = appetite(agent), have = at_work(agent);
	size_t count;

	if (engine_owed(agent->engine, ENGINE_READ) > 0 || have >= wanted ||
	    hold_room(&agent->hold) < agent->n)
		return;
	/* Brief ones by the batch, and soon done if each stream has so many. */
	if (is_hasty(agent) && have > wanted / 2)
		return;
	count = is_hasty(agent) ? wanted - have : (wanted - have) / agent->n;
	if (count * agent->n > hold_room(&agent->hold))
		count = hold_room(&agent->hold) / agent->n;
	engine_add_take(agent->engine, TAKEN_IN, agent->id, count ? count : 1, BLOCK_MS,
			agent->names, agent->n);
}

/* Where more are about to come they go together, after a millisecond at most. */
static bool results_are_due(struct agent *agent, int64_t now)
{
	unsigned done = hold_count(&agent->hold, HELD_DONE);

	if (done == 0 || agent->hold.urgent || !is_hasty(agent) ||
	    hold_count(&agent->hold, HELD_RUNNING) == 0 ||
	    done >= hasty_depth(agent->setup->pool.workers) / 2) {
		agent->hold.urgent = false;
		agent->due = 0;
		return done > 0;
	}
	if (agent->due == 0)
		agent->due = now + MILLION;
	if (now < agent->due)
		return false;
	agent->due = 0;
	return true;
}

static int send_all(struct agent *agent)
{
	int64_t now = tine_now(), deadline = fence_of(agent);
	struct held *held;
	int err = 0;

	while ((held = hold_next_afar(&agent->hold, agent->setup->pool.workers)))
		fetch_inputs(agent, held);
	if (results_are_due(agent, now))
		while (send_some_results(agent))
			;
	if (!agent->beating && now >= agent->beat)
		send_beat(agent, now);
	ask_for_more(agent);
	if (engine_owed(agent->engine, ENGINE_LISTEN) == 0)
		engine_add_listen(agent->engine, HEARD, agent->last, BLOCK_MS);
	for (int way = 0; way < ENGINE_WAYS && !err; way++)
		err = engine_send(agent->engine, way, deadline);
	return err;
}

/* ---- the process ------------------------------------------------------------------- */

static void tell_starter(const struct agent *agent, uint32_t state)
{
	struct agent_words *words = agent->setup->words;

	if (state == AGENT_OVER)
		atomic_store(&words->result, agent->err);
	atomic_store(&words->state, state);
	futex_wake(&words->state, INT_MAX);
}

static void mind_crashes(struct agent *agent)
{
	if (agent->hold.crashed < CRASHES) {
		agent->pause = 0;
		agent->crashed = 0;
		return;
	}
	if (agent->hold.crashed == agent->crashed || agent->comparing || !agent->engine)
		return;
	agent->crashed = agent->hold.crashed;
	agent->comparing = true;
	engine_add_hosts(agent->engine, COMPARED);
}

static int64_t earliest(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t wake_time(const struct agent *agent, int64_t limits)
{
	int64_t now = tine_now(), until = limits;

	if (agent->member)
		until = earliest(until, fence_of(agent));
	if (!agent->engine)
		return earliest(until, agent->retry);
	if (!agent->beating)
		until = earliest(until, agent->beat);
	if (agent->due)
		until = earliest(until, agent->due);
	until = earliest(until, end_of_haste(agent));
	if (agent->pause && agent->paused_until > now)
		until = earliest(until, agent->paused_until);
	return until;
}

/* Until something is to be done. */
static void doze_until(struct agent *agent, int64_t until)
{
	struct pollfd polled[ENGINE_WAYS + 2] = {
		{ .fd = agent->setup->bell.near, .events = POLLIN },
		{ .fd = tine_pool_fd(agent->pool), .events = POLLIN },
	};
	int64_t left = until - tine_now();
	struct timespec ts = timespec_of(left > 0 ? left : 0);

	for (int way = 0; way < ENGINE_WAYS; way++)
		polled[2 + way] = (struct pollfd){
			.fd = agent->engine ? engine_fd(agent->engine, way) : -1,
			.events = POLLIN
		};
	/* Bound: the next beat, or the end of the lease. */
	ppoll(polled, ENGINE_WAYS + 2, &ts, NULL);
	if (polled[0].revents)
		bell_hush(&agent->setup->bell);
}

/* Whether nothing is left that it holds, or has to send. */
static bool is_drained(const struct agent *agent)
{
	return agent->draining && at_work(agent) + hold_count(&agent->hold, HELD_DONE) +
						  hold_count(&agent->hold, HELD_SENT) ==
					  0;
}

/* Once round. False: it is over. */
static bool go_round(struct agent *agent)
{
	int64_t now = tine_now(), limits;
	uint32_t drain = atomic_load(&agent->setup->words->drain);
	int err;

	if (drain & END_AT_ONCE)
		return false;
	if (drain && !agent->draining) {
		agent->draining = true;
		if (agent->engine)
			give_surplus(agent);
	}
	if (agent->hold.starved || (agent->member && now >= fence_of(agent)))
		lose_lease(agent);
	limits = hold_mind(&agent->hold, now);
	err = hold_collect(&agent->hold);
	err = err ? err : hold_run(&agent->hold, depth_of(agent));
	if (err) {
		agent->err = err;
		return false;
	}
	mind_crashes(agent);
	mind_haste(agent, now);
	if (is_drained(agent))
		return false;
	if (!agent->engine && now >= agent->retry && (err = reach_server(agent)))
		lose_line(agent, err);
	if (agent->engine && (err = send_all(agent)))
		lose_line(agent, err);
	if (agent->err)
		return false;
	doze_until(agent, wake_time(agent, limits));
	if (agent->engine)
		receive_all(agent);
	return !agent->err;
}

/* Others need not wait for the end of its lease. */
static void leave_pool(struct agent *agent)
{
	int64_t deadline = tine_now() + REACH;
	struct engine_answer answer;

	if (!agent->engine)
		return;
	engine_add_leave(agent->engine, LEFT, agent->id, agent->names, agent->n);
	if (engine_send(agent->engine, ENGINE_TALK, deadline) != 0)
		return;
	while (engine_await(agent->engine, ENGINE_TALK, &answer, deadline) == 0 &&
	       answer.what != LEFT)
		;
}

/* A server that is there, and can do nothing yet, is waited for. */
static int join_first(struct agent *agent)
{
	int64_t deadline = tine_after(JOIN_MS);

	for (;;) {
		struct timespec pause = timespec_of(FIRST_RETRY);
		int err = reach_server(agent);

		if (err != -EAGAIN || tine_now() >= deadline ||
		    atomic_load(&agent->setup->words->drain))
			return err;
		/* Bound: FIRST_RETRY. */
		nanosleep(&pause, NULL);
	}
}

static void let_pass(int signal)
{
	(void)signal;
}

/*
 * What a terminal or a service manager sends to all is the starter's to answer. By a
 * handler, and not ignored, so that the pool's processes find the defaults.
 */
static void leave_signals(void)
{
	static const int signals[] = {
		SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2
	};
	const struct sigaction pass = { .sa_handler = let_pass };

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigaction(signals[i], &pass, NULL);
}

int agent_main(void *arg, int lifeline)
{
	const struct agent_setup *setup = arg;
	struct agent agent = { .setup = setup, .patience = FIRST_RETRY, .last = "0" };
	unsigned most;

	child_tie(lifeline);
	prctl(PR_SET_NAME, "tine-agent");
	agent.err = engine_url_parse(&agent.url, setup->url);
	if (agent.err)
		goto tell;
	agent.err = make_streams(&agent);
	if (agent.err)
		goto free_streams;
	agent.err = tine_pool_new(&agent.pool, &setup->pool);
	if (agent.err)
		goto free_streams;
	leave_signals();
	most = 2 * hasty_depth(setup->pool.workers) + 2 * (unsigned)agent.n;
	agent.err = hold_new(&agent.hold, agent.pool, most);
	if (agent.err)
		goto free_pool;
	agent.err = join_first(&agent);
	if (agent.err)
		goto free_hold;
	tell_starter(&agent, AGENT_JOINED);
	while (go_round(&agent))
		;
	leave_pool(&agent);
	hang_up(&agent);

free_hold:
	hold_free(&agent.hold);
free_pool:
	tine_pool_free(agent.pool);
free_streams:
	free(agent.streams);
	free(agent.names);
	engine_url_free(&agent.url);
tell:
	tell_starter(&agent, AGENT_OVER);
	return 0;
}
