/* SPDX-License-Identifier: MIT */
/* A host as a member of its pool: it joins, is heard in time, loses its lease, leaves. */
#include "engine/host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REACH	    (2000 * MILLION) /* to connect and to join, or to leave */
#define JOIN_MS	    30000	     /* that a start waits for a server that is busy */
#define FIRST_RETRY (100 * MILLION)
#define LAST_RETRY  (2000 * MILLION)
#define LEASE_LEAST 100 /* milliseconds */
#define LEASE_MOST  600000
#define INFO_MAX    4096

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

/* ---- the connection, and the lease ------------------------------------------------- */

int64_t join_fence(const struct agent *agent)
{
	return agent->heard + agent->lease * MILLION / 10 * 9;
}

static void hang_up(struct agent *agent)
{
	engine_free(agent->engine);
	agent->engine = NULL;
	agent->beating = false;
	appetite_forget(agent);
}

void join_lose_lease(struct agent *agent)
{
	hold_doom_all(&agent->hold);
	agent->hold.starved = false;
	agent->member = false;
	strcpy(agent->last, "0");
	hang_up(agent);
}

static bool is_for_good(int err)
{
	return err == -EACCES || err == -EREMOTE || err == -TINE_ECERT ||
	       err == -TINE_EKIND || err == -EPROTO || err == -EOPNOTSUPP ||
	       err == -EPROTONOSUPPORT || err == -EINVAL || err == -ENAMETOOLONG;
}

void join_lose_line(struct agent *agent, int err)
{
	hang_up(agent);
	if (err == -ESTALE)
		join_lose_lease(agent);
	else if (is_for_good(err))
		agent->err = err;
	agent->retry = tine_now() + agent->patience;
	agent->patience = agent->patience * 2 < LAST_RETRY ? agent->patience * 2
							   : LAST_RETRY;
}

/* ---- it joins, and takes along what it holds --------------------------------------- */

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
			held->state = HELD_AFAR;
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

int join_reach(struct agent *agent)
{
	int64_t deadline = tine_now() + REACH;
	int err;

	if (agent->member && join_fence(agent) < deadline)
		deadline = join_fence(agent);
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

int join_first(struct agent *agent)
{
	int64_t deadline = tine_after(JOIN_MS);

	for (;;) {
		struct timespec pause = timespec_of(FIRST_RETRY);
		int err = join_reach(agent);

		if (err != -EAGAIN || tine_now() >= deadline ||
		    atomic_load(&agent->setup->words->drain))
			return err;
		/* Bound: FIRST_RETRY. */
		nanosleep(&pause, NULL);
	}
}

/* ---- it is heard, and leaves ------------------------------------------------------- */

void join_beat(struct agent *agent, int64_t now)
{
	char info[INFO_MAX];

	describe_host(agent, info);
	engine_add_beat(agent->engine, BEATEN, agent->id, info, agent->lease,
			agent->names, agent->n);
	agent->beating = true;
	agent->sent = now;
	agent->beat = now + agent->lease * MILLION / 5;
}

void join_hear(struct agent *agent, struct resp *answer)
{
	struct resp element, lost, buried, time;

	agent->beating = false;
	if (answer->kind != RESP_ARRAY || !resp_next(answer, &element) ||
	    element.kind != RESP_NUMBER || element.number != 1) {
		join_lose_lease(agent);
		return;
	}
	agent->heard = agent->sent;
	if (resp_next(answer, &lost) && resp_next(answer, &buried) &&
	    resp_next(answer, &time) && time.kind == RESP_NUMBER)
		engine_clock_note(engine_clock(agent->engine), agent->sent, tine_now(),
				  time.number);
	agent->hold.clock = *engine_clock(agent->engine);
}

void join_leave(struct agent *agent)
{
	int64_t deadline = tine_now() + REACH;
	struct engine_answer answer;

	if (!agent->engine)
		return;
	engine_add_leave(agent->engine, LEFT, agent->id, agent->names, agent->n);
	if (engine_send(agent->engine, ENGINE_TALK, deadline) == 0)
		while (engine_await(agent->engine, ENGINE_TALK, &answer, deadline) == 0 &&
		       answer.what != LEFT)
			;
	hang_up(agent);
}
