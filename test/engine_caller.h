/* SPDX-License-Identifier: MIT */
/*
 * A caller of the tests' own, as simple as one can be that loses nothing: it has chunks
 * done by hosts, whatever becomes of hosts and of the server. It counts what it saw.
 */
#ifndef TINE_TEST_ENGINE_CALLER_H
#define TINE_TEST_ENGINE_CALLER_H

#include "engine_use.h"

enum chunk_state { UNSENT, OUT, MERGED };

struct caller {
	char url[512], id[ENGINE_ID_MAX], task[WIRE_TASK_MAX], last[ENGINE_SID_MAX];
	struct engine *engine;
	struct wire_chunk like; /* n: jobs of a chunk */
	const char *in;
	char *out;
	int *status;
	struct wire_ending *endings; /* of each job, or NULL */
	size_t jobs, chunks, merged, out_now;
	struct sent {
		enum chunk_state state;
		char sid[ENGINE_SID_MAX];
	} * sent;
	int64_t deadline, beat, lease; /* milliseconds */
	unsigned window;
	bool known, stalled; /* stalled: it sends nothing for a while */
	/* What it saw. */
	unsigned told_lost, told_given, sent_again, lines_lost, duplicates;
	size_t bytes_len; /* of WIRE_BYTES: of the last result */
	char *bytes;
};

static inline size_t jobs_in(const struct caller *caller, size_t chunk)
{
	size_t first = chunk * caller->like.n;

	return caller->jobs - first < caller->like.n ? caller->jobs - first
						     : caller->like.n;
}

static inline struct wire_chunk chunk_of(const struct caller *caller, size_t i)
{
	struct wire_chunk chunk = caller->like;

	chunk.n = (uint32_t)jobs_in(caller, i);
	if (chunk.kind != WIRE_CALLS && chunk.kind != WIRE_BYTES)
		chunk.first += i * caller->like.n;
	return chunk;
}

static inline void drop_line(struct caller *caller)
{
	engine_free(caller->engine);
	caller->engine = NULL;
	caller->lines_lost++;
}

/* NULL: the line is lost. */
static inline struct engine_answer *talk(struct caller *caller,
					 struct engine_answer *answer)
{
	int err = engine_send(caller->engine, ENGINE_TALK, tine_after(3000));

	err = err ? err
		  : engine_await(caller->engine, ENGINE_TALK, answer, tine_after(3000));
	if (err || answer->err == -EAGAIN || answer->err == -ESTALE) {
		drop_line(caller);
		test_sleep_us(20000);
		return NULL;
	}
	CHECK_EQ(answer->err, 0);
	return answer;
}

static inline void send_chunk(struct caller *caller, size_t i)
{
	struct wire_chunk chunk = chunk_of(caller, i);
	unsigned char header[WIRE_CHUNK_LEN];
	struct engine_answer answer;
	struct resp element;
	char seq[24];

	snprintf(seq, sizeof(seq), "%zu", i);
	wire_put_chunk(header, &chunk);
	engine_add_put(caller->engine, 1, 0, caller->id,
		       &(struct engine_put){ caller->task, seq, header,
					     chunk.kind == WIRE_CALLS
						     ? caller->in + i * caller->like.n *
									    chunk.in_size
						     : caller->in,
					     wire_in_len(&chunk) },
		       1);
	/* Whether or not the server has it, the beat finds out. */
	caller->sent[i].state = OUT;
	caller->sent[i].sid[0] = '\0';
	caller->out_now++;
	if (!talk(caller, &answer))
		return;
	while (resp_next(&answer.resp, &element))
		if (element.kind == RESP_STRING)
			engine_copy_word(
				caller->sent[i].sid, ENGINE_SID_MAX,
				(struct engine_word){ element.text, element.len });
}

static inline void send_again(struct caller *caller, size_t i)
{
	if (caller->sent[i].state != OUT)
		return;
	caller->sent[i].state = UNSENT;
	caller->out_now--;
}

static inline void merge(struct caller *caller, size_t i,
			 const struct engine_message *message, const char *data,
			 size_t len)
{
	struct wire_chunk chunk = chunk_of(caller, i);
	struct wire_result result;
	size_t first = i * caller->like.n;

	if (caller->sent[i].state == MERGED) {
		caller->duplicates++;
		return;
	}
	CHECK_EQ(wire_get_result(&result, &chunk, message->header.text,
				 message->header.len, len),
		 0);
	if (chunk.kind == WIRE_BYTES) {
		free(caller->bytes);
		caller->bytes = malloc(len + 1);
		memcpy(caller->bytes, data, len);
		caller->bytes_len = len;
	} else if (len > 0) {
		memcpy(caller->out + first * chunk.out_size, data, len);
	}
	for (uint32_t k = 0; k < jobs_in(caller, i) && caller->status; k++)
		caller->status[first + k] = wire_status(&result, k);
	for (uint32_t k = 0; k < result.endings && caller->endings; k++) {
		struct wire_ending ending = wire_ending(&result, k);

		caller->endings[first + ending.job] = ending;
	}
	if (caller->sent[i].state == OUT)
		caller->out_now--;
	caller->sent[i].state = MERGED;
	caller->merged++;
}

static inline void take_result(struct caller *caller,
			       const struct engine_message *message)
{
	struct engine_answer answer;
	char seq[24];
	size_t i;

	CHECK(engine_copy_word(caller->last, sizeof(caller->last), message->sid));
	if (!engine_copy_word(seq, sizeof(seq), message->seq))
		return;
	i = strtoull(seq, NULL, 10);
	if (i >= caller->chunks)
		return;
	if (message->lost.len != SIZE_MAX || message->given.len != SIZE_MAX) {
		caller->told_lost += message->lost.len != SIZE_MAX;
		caller->told_given += message->given.len != SIZE_MAX;
		send_again(caller, i);
	} else if (message->data.len != SIZE_MAX) {
		merge(caller, i, message, message->data.text, message->data.len);
	} else if (message->blob.len != SIZE_MAX) {
		engine_add_fetch(caller->engine, 2, 0, 'B', caller->id, seq);
		if (!talk(caller, &answer))
			send_again(caller, i);
		else if (answer.resp.kind == RESP_STRING)
			merge(caller, i, message, answer.resp.text, answer.resp.len);
		else
			send_again(caller, i);
	}
}

/* Its results of so many milliseconds. */
static inline void read_results(struct caller *caller, int64_t ms)
{
	struct engine_answer answer;
	struct engine_message message;
	struct resp key, entries;
	int err;

	engine_add_results(caller->engine, 3, caller->id, caller->last, 100, ms);
	err = engine_send(caller->engine, ENGINE_READ, tine_after(3000));
	err = err ? err
		  : engine_await(caller->engine, ENGINE_READ, &answer,
				 tine_after(3000 + ms));
	if (err || answer.err) {
		drop_line(caller);
		return;
	}
	if (!engine_next_stream(&answer.resp, &key, &entries))
		return;
	while (caller->engine && engine_next_message(&entries, &message))
		do
			take_result(caller, &message);
		while (caller->engine && engine_next_chunk(&message));
}

/* What is out and unknown to the server, once all results are read, is sent again. */
static inline void reconcile(struct caller *caller)
{
	struct engine_answer answer;
	struct resp element;
	bool *known = calloc(caller->chunks, 1);

	read_results(caller, 1);
	if (caller->engine)
		engine_add_known(caller->engine, 4, caller->id);
	if (!caller->engine || !talk(caller, &answer)) {
		free(known);
		return;
	}
	while (resp_next(&answer.resp, &element)) {
		size_t i = strtoull(element.text, NULL, 10);

		if (i < caller->chunks)
			known[i] = true;
	}
	/* Done between the two: the result has come by now. */
	read_results(caller, 1);
	for (size_t i = 0; i < caller->chunks; i++)
		if (caller->sent[i].state == OUT && !known[i]) {
			caller->sent_again++;
			send_again(caller, i);
		}
	free(known);
}

static inline void call_server(struct caller *caller)
{
	struct engine_asked asked[16];
	char seqs[16][24];
	size_t n = 0;
	struct engine_answer answer;
	struct resp element, gone;

	for (size_t i = 0; i < caller->chunks && n < 16; i++) {
		if (caller->sent[i].state != OUT)
			continue;
		snprintf(seqs[n], sizeof(seqs[n]), "%zu", i);
		asked[n] = (struct engine_asked){ { caller->task, caller->sent[i].sid },
						  seqs[n],
						  true };
		n++;
	}
	engine_add_call(caller->engine, 5, caller->id, true, asked, n);
	if (!talk(caller, &answer))
		return;
	caller->beat = tine_after(caller->lease / 5);
	CHECK(resp_next(&answer.resp, &element));
	CHECK(resp_next(&answer.resp, &element));
	/* Unknown, or something is gone: all of it is looked at. */
	CHECK(resp_next(&answer.resp, &gone));
	CHECK(resp_next(&answer.resp, &gone));
	if ((element.number != 0 && caller->known) || gone.number > 0)
		reconcile(caller);
	caller->known = true;
}

static inline void reach(struct caller *caller)
{
	struct engine_url parsed;
	int err;

	CHECK_EQ(engine_url_parse(&parsed, caller->url), 0);
	err = engine_open(&caller->engine, &parsed, tine_after(1000));
	engine_url_free(&parsed);
	if (err) {
		caller->engine = NULL;
		CHECK(err == -EAGAIN || err == -ECONNREFUSED || err == -ECONNRESET ||
		      err == -ETIMEDOUT);
		test_sleep_us(20000);
		return;
	}
	if (caller->known) {
		/* A server that is new begins its ids anew. */
		strcpy(caller->last, "0");
		reconcile(caller);
	}
	caller->beat = 0;
}

/* A step: whether all is merged. */
static inline bool caller_step(struct caller *caller)
{
	CHECK(tine_now() < caller->deadline);
	if (!caller->engine)
		reach(caller);
	if (caller->engine && tine_now() >= caller->beat)
		call_server(caller);
	for (size_t i = 0; !caller->stalled && i < caller->chunks && caller->engine &&
			   caller->out_now < caller->window;
	     i++)
		if (caller->sent[i].state == UNSENT)
			send_chunk(caller, i);
	if (caller->engine)
		read_results(caller, 20);
	return caller->merged == caller->chunks;
}

static inline void caller_begin(struct caller *caller, const char *url,
				const tine_task *task, enum wire_kind kind,
				const void *in, void *out, size_t jobs, size_t chunk)
{
	*caller = (struct caller){ .in = in, .out = out, .jobs = jobs };
	snprintf(caller->url, sizeof(caller->url), "%s", url);
	CHECK_EQ(wire_task_name(caller->task, task, kind), 0);
	engine_make_id(caller->id);
	strcpy(caller->last, "0");
	caller->like = (struct wire_chunk){
		.kind = kind,
		.n = (uint32_t)chunk,
		.map = 1,
		.in_size = task->in_size,
		.out_size = kind == WIRE_CALLS || kind == WIRE_LEAVES ? task->out_size
								      : 0,
	};
	caller->chunks = (jobs + chunk - 1) / chunk;
	caller->sent = calloc(caller->chunks, sizeof(*caller->sent));
	caller->status = calloc(jobs, sizeof(int));
	caller->endings = calloc(jobs, sizeof(*caller->endings));
	caller->deadline = tine_after(test_patience(120000));
	caller->window = 16;
	caller->lease = 1000;
}

static inline void caller_run(struct caller *caller)
{
	while (!caller_step(caller))
		;
}

static inline void caller_end(struct caller *caller)
{
	struct engine_answer answer;

	if (caller->engine) {
		engine_add_bury(caller->engine, 9, caller->id);
		talk(caller, &answer);
	}
	engine_free(caller->engine);
	free(caller->sent);
	free(caller->status);
	free(caller->endings);
	free(caller->bytes);
}

#endif
