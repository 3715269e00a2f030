/* SPDX-License-Identifier: MIT */
/*
 * How many chunks a host has at hand: enough that no worker waits for the server, and not
 * so many that other hosts have nothing to do.
 *
 * A host where all jobs crash is faster than all others: after three chunks in a row in
 * which every job crashed it takes one at a time, after a pause that doubles, as long as
 * another that does not pause has one of its tasks. It asks that after each such chunk,
 * and takes none meanwhile. Where there is no other, pauses would only take time.
 */
#include "engine/host.h"

#include "base/deadline.h"

#include <string.h>

#define HASTY_MOST    64    /* more than two for each */
#define BRIEF_US      20000 /* chunks that are to wait at hand */
#define CRASHES	      3	    /* chunks, before the host pauses */
#define FIRST_PAUSE   1000  /* milliseconds */
#define LONGEST_PAUSE 60000

unsigned appetite_at_work(const struct agent *agent)
{
	return hold_not_begun(&agent->hold) + hold_count(&agent->hold, HELD_RUNNING);
}

/* Brief chunks wait at hand; long ones where any host can have them. */
unsigned appetite_depth(const struct agent *agent)
{
	unsigned workers = agent->setup->pool.workers;

	return agent->hold.ran_us < BRIEF_US && agent->hold.jobs > 0 ? 2 * workers
								     : workers;
}

/* For many workers few more than they need: what is held is looked through. */
unsigned appetite_most(const struct agent *agent)
{
	unsigned workers = agent->setup->pool.workers, most = 2 * workers + HASTY_MOST;

	return WIRE_BRIEF * workers < most ? WIRE_BRIEF * workers : most;
}

bool appetite_is_hasty(const struct agent *agent)
{
	return agent->hold.ran_us < WIRE_BRIEF_US && agent->hold.jobs > 0;
}

/* As many as it would like to have at work. */
static unsigned appetite(const struct agent *agent)
{
	if (agent->draining || agent->comparing)
		return 0;
	if (agent->pause)
		return tine_now() >= agent->paused_until ? 1 : 0;
	return appetite_is_hasty(agent) ? appetite_most(agent) : appetite_depth(agent);
}

void appetite_shed(struct agent *agent)
{
	unsigned wanted = appetite(agent), most = agent->setup->pool.workers;

	/* Such a batch was asked for. */
	if (appetite_is_hasty(agent) && !agent->draining)
		return;
	if (agent->draining)
		most = 0;
	for (unsigned n = appetite_at_work(agent); n > wanted && n > most; n--) {
		struct held *held = hold_youngest(&agent->hold);

		if (!held)
			return;
		intake_return(agent, held->stream, held->sid, false);
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
		appetite_shed(agent);
}

void appetite_ask(struct agent *agent)
{
	unsigned wanted = appetite(agent), have = appetite_at_work(agent);
	size_t count;

	if (engine_owed(agent->engine, ENGINE_READ) > 0 || have >= wanted ||
	    hold_room(&agent->hold) < agent->n)
		return;
	/* Brief ones by the batch, and soon done if each stream has so many. */
	if (appetite_is_hasty(agent) && have > wanted / 2)
		return;
	count = appetite_is_hasty(agent) ? wanted - have : (wanted - have) / agent->n;
	if (count * agent->n > hold_room(&agent->hold))
		count = hold_room(&agent->hold) / agent->n;
	engine_add_take(agent->engine, TAKEN_IN, agent->id, count ? count : 1, BLOCK_MS,
			agent->names, agent->n);
}

/* ---- crashes ----------------------------------------------------------------------- */

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

void appetite_compare(struct agent *agent, struct resp *hosts)
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
	agent->pause = agent->pause ? 2 * agent->pause : FIRST_PAUSE;
	agent->pause = agent->pause < LONGEST_PAUSE ? agent->pause : LONGEST_PAUSE;
	agent->paused_until = tine_now() + agent->pause * MILLION;
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

void appetite_forget(struct agent *agent)
{
	agent->comparing = false;
	agent->crashed = 0;
}

/* ---- as time goes by --------------------------------------------------------------- */

void appetite_mind(struct agent *agent, int64_t now)
{
	mind_crashes(agent);
	mind_haste(agent, now);
}

int64_t appetite_change(const struct agent *agent)
{
	int64_t change = end_of_haste(agent);

	if (agent->pause && agent->paused_until > tine_now())
		change = earlier(change, agent->paused_until);
	return change;
}
