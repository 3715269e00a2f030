/* SPDX-License-Identifier: MIT */
/* What comes to a host: chunks of its tasks, their inputs, cancels. */
#include "engine/host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- the streams of its tasks ------------------------------------------------------ */

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

int intake_open(struct agent *agent)
{
	const struct agent_setup *setup = agent->setup;
	size_t most = setup->n * 5 + 1;

	strcpy(agent->last, "0");
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

void intake_close(struct agent *agent)
{
	free(agent->streams);
	free(agent->names);
}

static const struct stream *find_stream(const struct agent *agent, const struct resp *key)
{
	size_t tag = strlen(engine_tag(agent->engine)) + 2;

	for (size_t i = 0; i < agent->n; i++)
		if (key->len == tag + strlen(agent->names[i]) &&
		    memcmp(key->text + tag, agent->names[i], key->len - tag) == 0)
			return &agent->streams[i];
	return NULL;
}

/* ---- chunks ------------------------------------------------------------------------ */

void intake_return(struct agent *agent, const struct stream *stream, const char *sid,
		   bool lost)
{
	const struct engine_entry entry = { stream->name, sid };

	engine_add_give(agent->engine, GIVEN, agent->id, lost, &entry, 1);
}

static bool is_cancelled(const struct agent *agent, const struct held *held)
{
	for (unsigned i = 0; i < CANCELS; i++)
		if (agent->cancels[i].map == held->chunk.map &&
		    strcmp(agent->cancels[i].caller, held->caller) == 0)
			return true;
	return false;
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
			intake_return(agent, stream, sid, err == -EPROTO);
		return;
	}
	if (is_cancelled(agent, held))
		held_cancel(hold, held, false);
}

void intake_take(struct agent *agent, struct resp *answer)
{
	struct resp key, entries;
	struct engine_message message;

	while (engine_next_stream(answer, &key, &entries)) {
		const struct stream *stream = find_stream(agent, &key);

		while (stream && engine_next_message(&entries, &message))
			take_chunk(agent, stream, &message);
	}
}

/* ---- their inputs ------------------------------------------------------------------ */

static void ask_inputs(struct agent *agent)
{
	struct held *held;

	while ((held = hold_next_afar(&agent->hold, agent->setup->pool.workers))) {
		held->state = HELD_FETCHED;
		engine_add_fetch(agent->engine, FETCHED, held->order, 'b', held->caller,
				 held->seq);
	}
}

/* It may have been given up meanwhile. */
void intake_feed(struct agent *agent, const struct engine_answer *answer)
{
	struct held *held = hold_find(&agent->hold, answer->number, HELD_FETCHED);
	int err = held ? held_feed(held, &answer->resp) : 0;

	if (!err)
		return;
	intake_return(agent, held->stream, held->sid, err != -ENOMEM);
	held_forget(&agent->hold, held);
}

/* ---- cancels ----------------------------------------------------------------------- */

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

void intake_hear(struct agent *agent, struct resp *answer)
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

void intake_ask(struct agent *agent)
{
	ask_inputs(agent);
	if (engine_owed(agent->engine, ENGINE_LISTEN) == 0)
		engine_add_listen(agent->engine, HEARD, agent->last, BLOCK_MS);
}
