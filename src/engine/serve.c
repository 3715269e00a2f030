/* SPDX-License-Identifier: MIT */
/* A host, as the program that starts it has it; and what hosts there are. */
#include "base/deadline.h"
#include "base/futex.h"
#include "base/options.h"
#include "engine/agent.h"
#include "engine/engine.h"
#include "memory/heap.h"
#include "process/child.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define LEASE_MS     5000
#define LOOK	     INT64_C(100000000) /* nanoseconds between looks whether it lives */
#define LEAVE_MS     6000		/* to end its pool */
#define MOST_WORKERS 1024
#define ANSWER_MS    5000

struct tine_worker {
	struct child agent;
	struct agent_setup setup;
	char name[64];
};

static int check_serve(const char *url, const tine_task *tasks, size_t n,
		       const tine_worker_opts *opts)
{
	struct engine_url parsed;
	int err;

	if (!url || !tasks || n == 0 || n > 4096 || !ROOM_IS_ZERO(opts) ||
	    opts->workers > MOST_WORKERS ||
	    (opts->lease_ms && (opts->lease_ms < 100 || opts->lease_ms > 600000)) ||
	    (opts->name && !*opts->name))
		return -EINVAL;
	if (opts->name && strlen(opts->name) > 63)
		return -ENAMETOOLONG;
	for (size_t i = 0; i < n; i++)
		if (!ROOM_IS_ZERO(&tasks[i]) || !tasks[i].name)
			return -EINVAL;
		else if (tasks[i].in_size > WIRE_MOST || tasks[i].out_size > WIRE_MOST)
			return -EMSGSIZE;
	err = engine_url_parse(&parsed, url);
	if (!err)
		engine_url_free(&parsed);
	return err;
}

static void fill_setup(tine_worker *worker, const char *url, const tine_task *tasks,
		       size_t n, const tine_worker_opts *opts)
{
	if (opts->name)
		strcpy(worker->name, opts->name);
	else if (gethostname(worker->name, sizeof(worker->name) - 1) != 0 ||
		 !*worker->name)
		strcpy(worker->name, "host");
	worker->setup.url = url;
	worker->setup.name = worker->name;
	worker->setup.tasks = tasks;
	worker->setup.n = n;
	worker->setup.lease_ms = opts->lease_ms ? opts->lease_ms : LEASE_MS;
	worker->setup.pool = (tine_pool_opts){
		.workers = opts->workers ? opts->workers : tine_cpus(),
		.jobs_per_worker = opts->jobs_per_worker,
		.memory_per_worker = opts->memory_per_worker,
		.init = opts->init,
		.init_arg = opts->init_arg,
		.open = true,
	};
}

/* What ended it, which is known. */
static int end_of_agent(const tine_worker *worker)
{
	const struct agent_words *words = worker->setup.words;

	return atomic_load(&words->state) == AGENT_OVER ? atomic_load(&words->result)
							: -TINE_ECRASH;
}

/* Its lifeline, and what it holds of the family's memory. */
static void let_worker_go(tine_worker *worker)
{
	child_release(&worker->agent);
	bell_free(&worker->setup.bell);
	tine_shared_free(worker->setup.words);
	free(worker);
}

static int await_joined(tine_worker *worker)
{
	struct agent_words *words = worker->setup.words;

	while (atomic_load(&words->state) == AGENT_STARTS) {
		/* Bound: the agent joins, or gives up, in half a minute; or it dies. */
		futex_wait(&words->state, AGENT_STARTS, tine_now() + LOOK);
		if (child_wait(&worker->agent, NULL, TINE_NOWAIT) == 0)
			break;
	}
	return atomic_load(&words->state) == AGENT_JOINED ? 0 : end_of_agent(worker);
}

int tine_worker_start(tine_worker **out, const char *url, const tine_task *tasks,
		      size_t n, const tine_worker_opts *opts)
{
	static const tine_worker_opts defaults;
	tine_worker *worker;
	void *words;
	int err;

	opts = opts ? opts : &defaults;
	err = out ? check_serve(url, tasks, n, opts) : -EINVAL;
	if (err)
		return err;
	worker = calloc(1, sizeof(*worker));
	if (!worker)
		return -ENOMEM;
	fill_setup(worker, url, tasks, n, opts);
	err = shared_alloc(&words, sizeof(struct agent_words), shared_patience());
	if (err)
		goto free_worker;
	worker->setup.words = words;
	err = bell_new(&worker->setup.bell);
	if (err)
		goto free_words;
	err = child_start(&worker->agent, agent_main, &worker->setup);
	if (err)
		goto free_bell;
	err = await_joined(worker);
	if (err)
		goto end_agent;
	*out = worker;
	return 0;

end_agent:
	tine_worker_free(worker);
	return err;
free_bell:
	bell_free(&worker->setup.bell);
free_words:
	tine_shared_free(words);
free_worker:
	free(worker);
	return err;
}

int tine_worker_wait(tine_worker *worker, int64_t deadline)
{
	int err;

	if (!worker || is_no_deadline(deadline))
		return -EINVAL;
	/* Bound: the deadline. */
	err = child_await(&worker->agent, NULL, deadline);
	return err ? err : end_of_agent(worker);
}

int tine_worker_drain(tine_worker *worker)
{
	if (!worker)
		return -EINVAL;
	atomic_fetch_or(&worker->setup.words->drain, DRAIN);
	bell_pull(&worker->setup.bell.rope);
	return 0;
}

void tine_worker_free(tine_worker *worker)
{
	if (!worker)
		return;
	if (worker->agent.owner != getpid()) {
		free(worker);
		return;
	}
	atomic_fetch_or(&worker->setup.words->drain, END_AT_ONCE);
	bell_pull(&worker->setup.bell.rope);
	/* Bound: LEAVE_MS; then it is killed. */
	if (child_wait(&worker->agent, NULL, tine_after(LEAVE_MS)) == -ETIMEDOUT) {
		kill(worker->agent.pid, SIGKILL);
		child_wait(&worker->agent, NULL, tine_after(LEAVE_MS));
	}
	let_worker_go(worker);
}

/* ---- hosts ------------------------------------------------------------------------- */

struct host_text {
	char name[64], tasks[4096];
};

static void fill_host(tine_host *host, struct host_text *text,
		      const struct wire_host *said, const char *tasks, size_t len,
		      int64_t silent)
{
	while (len > 0 && tasks[len - 1] == ' ')
		len--;
	len = len < sizeof(text->tasks) ? len : sizeof(text->tasks) - 1;
	memcpy(text->tasks, tasks, len);
	text->tasks[len] = '\0';
	strcpy(text->name, said->name);
	*host = (tine_host){ .name = text->name,
			     .tasks = text->tasks,
			     .workers = said->workers,
			     .busy = said->busy,
			     .queued = said->queued,
			     .paused_ms = said->crashing,
			     .silent_ms = silent,
			     .done = said->done };
}

/* Three elements. False: no more. What strangers wrote is passed over. */
static bool next_host(struct resp *answer, tine_host *host, struct host_text *text)
{
	struct resp id, silent, info;
	struct wire_host said;
	const char *tasks;
	size_t len;

	while (resp_next(answer, &id) && resp_next(answer, &silent) &&
	       resp_next(answer, &info)) {
		if (silent.kind != RESP_NUMBER || info.kind != RESP_STRING ||
		    wire_get_host(&said, info.text, info.len, &tasks, &len) != 0 ||
		    memchr(tasks, '\0', len))
			continue;
		fill_host(host, text, &said, tasks, len, silent.number);
		return true;
	}
	return false;
}

static int ask_hosts(struct engine *engine, int (*each)(void *, const tine_host *),
		     void *arg)
{
	struct engine_answer answer;
	struct host_text text;
	tine_host host;
	int err;

	engine_add_hosts(engine, 0);
	err = engine_send(engine, ENGINE_TALK, tine_after(ANSWER_MS));
	err = err ? err
		  : engine_await(engine, ENGINE_TALK, &answer, tine_after(ANSWER_MS));
	err = err ? err : answer.err;
	while (!err && next_host(&answer.resp, &host, &text))
		err = each(arg, &host);
	return err;
}

int tine_hosts(const char *url, int (*each)(void *arg, const tine_host *), void *arg)
{
	struct engine_url parsed;
	struct engine *engine;
	int err;

	if (!url || !each)
		return -EINVAL;
	err = engine_url_parse(&parsed, url);
	if (err)
		return err;
	err = engine_open(&engine, &parsed, tine_after(ANSWER_MS));
	if (!err) {
		err = ask_hosts(engine, each, arg);
		engine_free(engine);
	}
	engine_url_free(&parsed);
	return err;
}

int tine_engine_version(const char *url, char *version, size_t size)
{
	struct engine_url parsed;
	struct engine *engine = NULL;
	size_t len;
	int err;

	if (!url || !version)
		return -EINVAL;
	err = engine_url_parse(&parsed, url);
	if (err)
		return err;
	err = engine_open(&engine, &parsed, tine_after(ANSWER_MS));
	engine_free(engine);
	engine_url_free(&parsed);
	len = strlen(parsed.version);
	if (len == 0)
		return err ? err : -EACCES;
	if (len >= size)
		return -ENOSPC;
	memcpy(version, parsed.version, len + 1);
	return 0;
}
