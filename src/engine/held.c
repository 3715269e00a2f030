/* SPDX-License-Identifier: MIT */
#include "engine/held.h"

#include "base/deadline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MILLION INT64_C(1000000)

int hold_new(struct hold *hold, tine_pool *pool, unsigned most)
{
	*hold = (struct hold){ .pool = pool, .most = most };
	hold->all = calloc(most, sizeof(*hold->all));
	return hold->all ? 0 : -ENOMEM;
}

void hold_free(struct hold *hold)
{
	for (unsigned i = 0; hold->all && i < hold->most; i++) {
		free(hold->all[i].in);
		free(hold->all[i].header);
	}
	free(hold->all);
	hold->all = NULL;
}

unsigned hold_count(const struct hold *hold, enum held_state state)
{
	unsigned n = 0;

	for (unsigned i = 0; i < hold->most; i++)
		n += hold->all[i].state == state && !hold->all[i].doomed;
	return n;
}

/* It has not begun. */
static bool has_not_begun(const struct held *held)
{
	return held->state >= HELD_AFAR && held->state <= HELD_WAITING;
}

unsigned hold_not_begun(const struct hold *hold)
{
	unsigned n = 0;

	for (unsigned i = 0; i < hold->most; i++)
		n += has_not_begun(&hold->all[i]) && !hold->all[i].doomed;
	return n;
}

unsigned hold_room(const struct hold *hold)
{
	return hold_count(hold, HELD_NOT);
}

void held_forget(struct hold *hold, struct held *held)
{
	if (held->lent)
		pool_end_chunk(hold->pool, &held->done);
	free(held->in);
	free(held->header);
	*held = (struct held){ 0 };
}

/* ---- what comes -------------------------------------------------------------------- */

/* A task whose sizes are other than its own would have another stream. */
static bool is_of_stream(const struct wire_chunk *chunk, const struct stream *stream)
{
	return chunk->kind == stream->kind &&
	       (chunk->kind == WIRE_BYTES ||
		(chunk->in_size == stream->task.in_size &&
		 (wire_out_len(chunk) == 0 || chunk->out_size == stream->task.out_size)));
}

static int copy_inputs(struct held *held, const char *text, size_t len)
{
	if (len != wire_in_len(&held->chunk))
		return -EPROTO;
	held->in = malloc(len > 0 ? len : 1);
	if (!held->in)
		return -ENOMEM;
	if (len > 0)
		memcpy(held->in, text, len);
	held->in_len = len;
	held->state = HELD_WAITING;
	return 0;
}

static int read_message(struct held *held, const struct engine_message *message)
{
	int err;

	if (!engine_copy_word(held->sid, sizeof(held->sid), message->sid) ||
	    !engine_copy_word(held->caller, sizeof(held->caller), message->caller) ||
	    !engine_copy_word(held->seq, sizeof(held->seq), message->seq) ||
	    message->header.len == SIZE_MAX)
		return -EPROTO;
	err = wire_get_chunk(&held->chunk, message->header.text, message->header.len);
	if (err || !is_of_stream(&held->chunk, held->stream))
		return -EPROTO;
	held->in_blob = message->blob.len != SIZE_MAX;
	if (!held->in_blob && message->data.len == SIZE_MAX)
		return -EPROTO;
	held->state = HELD_AFAR;
	return held->in_blob ? 0
			     : copy_inputs(held, message->data.text, message->data.len);
}

int hold_take(struct hold *hold, const struct stream *stream,
	      const struct engine_message *message, struct held **out)
{
	struct held *held = hold->all;
	int err;

	while (held < hold->all + hold->most && held->state != HELD_NOT)
		held++;
	if (held == hold->all + hold->most)
		return -ENOBUFS;
	*held = (struct held){ .stream = stream,
			       .came = tine_now(),
			       .order = ++hold->arrivals };
	err = read_message(held, message);
	if (err) {
		held_forget(hold, held);
		return err;
	}
	*out = held;
	return 0;
}

/* Bytes of what does not run. */
static size_t load_of(const struct held *held)
{
	size_t in = wire_in_len(&held->chunk), out = wire_out_len(&held->chunk);

	switch (held->state) {
	case HELD_FETCHED:
	case HELD_WAITING:
		return in > out ? in : out;
	case HELD_DONE:
	case HELD_SENT:
		return held->out_len;
	default:
		return 0;
	}
}

struct held *hold_next_afar(struct hold *hold, unsigned workers)
{
	struct held *next = NULL;
	unsigned at_hand = 0;
	size_t bytes = 0;

	for (struct held *held = hold->all; held < hold->all + hold->most; held++) {
		bytes += load_of(held);
		at_hand += held->state >= HELD_FETCHED && held->state <= HELD_RUNNING;
		if (held->state == HELD_AFAR && (!next || held->order < next->order))
			next = held;
	}
	return next && (at_hand < workers ||
			bytes + wire_in_len(&next->chunk) <= WIRE_MOST)
		       ? next
		       : NULL;
}

int held_feed(struct held *held, const struct resp *resp)
{
	if (resp->kind == RESP_NIL)
		return -ENOENT;
	return resp->kind == RESP_STRING ? copy_inputs(held, resp->text, resp->len)
					 : -EPROTO;
}

/* ---- results ----------------------------------------------------------------------- */

static uint32_t jobs_of(const struct wire_chunk *chunk)
{
	return chunk->kind == WIRE_RANGE ? 1 : chunk->n;
}

/* The header, and behind it so many bytes for outputs. False: no memory. */
static bool make_result(struct held *held, struct wire_result *result, const int *status,
			uint32_t statuses, const struct wire_ending *endings,
			uint32_t n_endings, size_t room)
{
	size_t len = wire_result_len(statuses, n_endings);

	held->header = malloc(len + room);
	if (!held->header)
		return false;
	held->header_len = len;
	held->out_len = result->out_len;
	held->out = held->header + len;
	wire_put_result(held->header, result, status, statuses, endings, n_endings);
	held->state = HELD_DONE;
	return true;
}

/* The agent leaves all it holds to others, as if it had lost its lease. */
static void starve(struct hold *hold, struct held *held)
{
	hold->starved = true;
	held_forget(hold, held);
}

/* Nothing ran: a status for all. */
static void refuse_held(struct hold *hold, struct held *held, int status)
{
	uint32_t jobs = jobs_of(&held->chunk);
	struct wire_result result = { .n = held->chunk.n,
				      .out_len = wire_out_len(&held->chunk) };
	int *all = malloc(jobs * sizeof(*all));

	for (uint32_t i = 0; all && i < jobs; i++)
		all[i] = status;
	if (all && make_result(held, &result, all, jobs, NULL, 0, result.out_len))
		memset((void *)held->out, 0, result.out_len);
	else
		starve(hold, held);
	free(all);
}

static uint32_t list_endings(const struct chunk_done *done, struct wire_ending *out)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < done->n; i++) {
		const struct chunk_end *end = &done->ends[i];

		if (!end->limit && !end->how.code && !end->how.signal)
			continue;
		if (out)
			out[n] = (struct wire_ending){ i, end->limit, end->how };
		n++;
	}
	return n;
}

static bool all_zero(const struct chunk_done *done)
{
	for (uint32_t i = 0; i < done->n; i++)
		if (done->status[i] != 0)
			return false;
	return true;
}

/* Small outputs are copied, so that the pool has its place again. */
static bool fill_result(const struct hold *hold, struct held *held)
{
	const struct chunk_done *done = &held->done;
	uint32_t statuses = all_zero(done) ? 0 : done->n, n = list_endings(done, NULL);
	bool small = done->out_len < WIRE_BLOB;
	struct wire_ending *endings = NULL;
	int64_t ran = done->ended - done->begun;
	struct wire_result result = { .n = held->chunk.n,
				      .ran_us = ran > 0 ? ran / 1000 : 0,
				      .begun_us = hold->clock.known
							  ? done->begun / 1000 +
								    hold->clock.offset_us
							  : 0,
				      .lane = done->worker,
				      .out_len = done->out_len };
	bool made;

	if (n > 0) {
		endings = calloc(n, sizeof(*endings));
		if (!endings)
			return false;
		list_endings(done, endings);
	}
	made = make_result(held, &result, done->status, statuses, endings, n,
			   small ? done->out_len : 0);
	if (made && small && done->out_len > 0)
		memcpy((void *)held->out, done->out, done->out_len);
	else if (made)
		held->out = done->out;
	free(endings);
	return made;
}

static void count_crashes(struct hold *hold, const struct chunk_done *done)
{
	for (uint32_t i = 0; i < done->n; i++)
		if (done->status[i] != -TINE_ECRASH) {
			hold->crashed = 0;
			return;
		}
	hold->crashed++;
}

static bool holds_hit(const struct chunk_done *done)
{
	for (uint32_t i = 0; i < done->n; i++)
		if (done->status[i] == 1)
			return true;
	return false;
}

static bool are_of_one_map(const struct held *one, const struct held *other)
{
	return one->chunk.map == other->chunk.map &&
	       strcmp(one->caller, other->caller) == 0;
}

/* Its caller need not say so first: no job of the map begins, and who runs is told. */
static void conclude_search(struct hold *hold, const struct held *hit)
{
	hold->found.map = hit->chunk.map;
	strcpy(hold->found.caller, hit->caller);
	for (struct held *held = hold->all; held < hold->all + hold->most; held++) {
		if (held == hit || held->doomed || !are_of_one_map(held, hit))
			continue;
		if (held->state == HELD_RUNNING)
			pool_cancel_chunk(hold->pool, held->job, false);
		if (has_not_begun(held))
			refuse_held(hold, held, -ECANCELED);
	}
}

static void settle_held(struct hold *hold, struct held *held)
{
	const struct chunk_done *done = &held->done;

	held->lent = true;
	hold->jobs += done->n;
	hold->ran_us = (done->ended - done->begun) / 1000;
	hold->moved = tine_now();
	count_crashes(hold, done);
	if (held->chunk.flags & WIRE_SEARCH && holds_hit(done)) {
		hold->urgent = true;
		if (held->chunk.flags & WIRE_FIRST && !held->doomed)
			conclude_search(hold, held);
	}
	if (held->doomed) {
		held_forget(hold, held);
		return;
	}
	if (done->out_len > WIRE_MOST) {
		pool_end_chunk(hold->pool, done);
		held->lent = false;
		refuse_held(hold, held, -EMSGSIZE);
		return;
	}
	if (!fill_result(hold, held)) {
		starve(hold, held);
		return;
	}
	if (done->out_len < WIRE_BLOB) {
		pool_end_chunk(hold->pool, done);
		held->lent = false;
	}
}

/* ---- in the pool ------------------------------------------------------------------- */

static enum work work_of(enum wire_kind kind)
{
	switch (kind) {
	case WIRE_EACH:
		return EACH;
	case WIRE_RANGE:
		return RANGES;
	case WIRE_LEAVES:
		return LEAVES;
	case WIRE_CALLS:
	case WIRE_BYTES:
		break;
	}
	return CALLS;
}

/* By which the pool's workers know that one has found what another looks for. */
static uint64_t search_of(struct hold *hold, const struct held *held)
{
	if (!(held->chunk.flags & WIRE_SEARCH))
		return 0;
	for (const struct held *other = hold->all; other < hold->all + hold->most;
	     other++)
		if (held->chunk.flags & WIRE_FIRST && other->search &&
		    are_of_one_map(other, held))
			return other->search;
	return ++hold->searches;
}

static int run_held(struct hold *hold, struct held *held)
{
	const struct chunk_wish wish = {
		.work = work_of(held->chunk.kind),
		.task = &held->stream->task,
		.in = held->in,
		.in_len = held->in_len,
		.n = held->chunk.n,
		.first = held->chunk.first,
		.total = held->chunk.total,
		.leaves = held->chunk.leaves,
		.search = search_of(hold, held),
		.job_ms = held->chunk.job_ms,
		.tag = (uint64_t)(held - hold->all),
	};
	int err;

	if (held->chunk.map == hold->found.map &&
	    strcmp(held->caller, hold->found.caller) == 0) {
		refuse_held(hold, held, -ECANCELED);
		return 0;
	}
	err = pool_submit_chunk(hold->pool, &wish, &held->job, TINE_NOWAIT);
	if (err == -EINVAL || err == -EMSGSIZE) {
		refuse_held(hold, held, -EPROTO);
		return 0;
	}
	if (err)
		return err;
	free(held->in);
	held->in = NULL;
	held->search = wish.search;
	held->state = HELD_RUNNING;
	return 0;
}

static struct held *first_waiting(struct hold *hold)
{
	struct held *oldest = NULL;

	for (struct held *held = hold->all; held < hold->all + hold->most; held++)
		if (held->state == HELD_WAITING &&
		    (!oldest || held->order < oldest->order))
			oldest = held;
	return oldest;
}

struct held *hold_youngest(struct hold *hold)
{
	struct held *youngest = NULL;

	for (struct held *held = hold->all; held < hold->all + hold->most; held++)
		if (has_not_begun(held) && !held->doomed &&
		    (!youngest || held->order > youngest->order))
			youngest = held;
	return youngest;
}

struct held *hold_find(struct hold *hold, uint64_t order, enum held_state state)
{
	for (struct held *held = hold->all; held < hold->all + hold->most; held++)
		if (held->state == state && held->order == order)
			return held;
	return NULL;
}

int hold_run(struct hold *hold, unsigned most)
{
	struct held *held;

	if (hold_count(hold, HELD_RUNNING) == 0)
		hold->moved = tine_now();
	while (hold_count(hold, HELD_RUNNING) < most && (held = first_waiting(hold))) {
		int err = run_held(hold, held);

		/* No room, or no memory: later. */
		if (err == -ETIMEDOUT || err == -ENOMEM)
			return 0;
		if (err)
			return err;
	}
	return 0;
}

int hold_collect(struct hold *hold)
{
	for (;;) {
		struct chunk_done done;
		int err = pool_next_chunk(hold->pool, &done, TINE_NOWAIT);

		if (err == 0 || err == -ETIMEDOUT || err == -EINTR)
			return 0;
		if (err < 0)
			return err;
		hold->all[done.tag].done = done;
		settle_held(hold, &hold->all[done.tag]);
	}
}

/* ---- ends -------------------------------------------------------------------------- */

void held_cancel(struct hold *hold, struct held *held, bool end)
{
	if (held->state == HELD_RUNNING && (!held->cancelled || (end && !held->ended)))
		pool_cancel_chunk(hold->pool, held->job, end);
	held->cancelled = held->cancelled ? held->cancelled : tine_now();
	held->ended |= end;
	if (has_not_begun(held))
		refuse_held(hold, held, -ECANCELED);
}

static int64_t end_of_held(const struct held *held)
{
	const struct wire_chunk *chunk = &held->chunk;
	int64_t end = TINE_FOREVER, at;

	if (held->ended || held->state < HELD_AFAR || held->state > HELD_RUNNING)
		return end;
	/* A year is as good as for ever. */
	if (chunk->left_ms && chunk->left_ms < INT64_C(31536000000))
		end = held->came + chunk->left_ms * MILLION;
	if (held->cancelled && chunk->grace_ms &&
	    chunk->grace_ms < INT64_C(31536000000)) {
		at = held->cancelled + chunk->grace_ms * MILLION;
		end = earlier(end, at);
	}
	return end;
}

int64_t hold_mind(struct hold *hold, int64_t now)
{
	int64_t next = TINE_FOREVER;

	for (struct held *held = hold->all; held < hold->all + hold->most; held++) {
		int64_t end = end_of_held(held);

		if (end <= now)
			held_cancel(hold, held, true);
		else if (end < next)
			next = end;
	}
	return next;
}

void held_doom(struct hold *hold, struct held *held)
{
	/* The hit may be what is lost, and looked for anew. */
	if (held->chunk.map == hold->found.map) {
		hold->found.map = 0;
		for (unsigned i = 0; i < hold->most; i++)
			hold->all[i].search = 0;
	}
	if (held->state != HELD_RUNNING) {
		held_forget(hold, held);
		return;
	}
	held->doomed = true;
	if (!held->ended)
		pool_cancel_chunk(hold->pool, held->job, true);
	held->ended = true;
}

void hold_doom_all(struct hold *hold)
{
	for (struct held *held = hold->all; held < hold->all + hold->most; held++)
		if (held->state != HELD_NOT && !held->doomed)
			held_doom(hold, held);
}
