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
 */
#include "engine/host.h"

#include "base/deadline.h"
#include "base/futex.h"
#include "pool/pool.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>

/* ---- the round --------------------------------------------------------------------- */

/* -ESTALE: it is no member any more. */
static int act_on(struct agent *agent, struct engine_answer *answer)
{
	/* What a server that cannot at the moment did not do is done by the next beat. */
	if (answer->err)
		return answer->err;
	switch ((enum agent_asks)answer->what) {
	case BEATEN:
		join_hear(agent, &answer->resp);
		break;
	case TAKEN_IN:
		intake_take(agent, &answer->resp);
		appetite_shed(agent);
		break;
	case HEARD:
		intake_hear(agent, &answer->resp);
		break;
	case FETCHED:
		intake_feed(agent, answer);
		break;
	case ACCEPTED:
		if (answer->resp.kind != RESP_NUMBER || answer->resp.number < 0)
			return -ESTALE;
		deliver_forget(agent, answer->number);
		break;
	case COMPARED:
		appetite_compare(agent, &answer->resp);
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
			join_lose_line(agent, err ? err : came);
	}
}

static int send_all(struct agent *agent)
{
	int64_t now = tine_now(), deadline = join_fence(agent);
	int err = 0;

	intake_ask(agent);
	deliver_results(agent, now);
	if (!agent->beating && now >= agent->beat)
		join_beat(agent, now);
	appetite_ask(agent);
	for (int way = 0; way < ENGINE_WAYS && !err; way++)
		err = engine_send(agent->engine, way, deadline);
	return err;
}

static int64_t wake_time(const struct agent *agent, int64_t limits)
{
	int64_t until = limits;

	if (agent->member)
		until = earlier(until, join_fence(agent));
	if (!agent->engine)
		return earlier(until, agent->retry);
	if (!agent->beating)
		until = earlier(until, agent->beat);
	if (agent->due)
		until = earlier(until, agent->due);
	return earlier(until, appetite_change(agent));
}

/* Until something is to be done. */
static void doze_until(struct agent *agent, int64_t until)
{
	struct pollfd polled[ENGINE_WAYS + 2] = {
		{ .fd = agent->setup->bell.near.fd, .events = POLLIN },
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
	return agent->draining && appetite_at_work(agent) == 0 &&
	       hold_count(&agent->hold, HELD_DONE) == 0 &&
	       hold_count(&agent->hold, HELD_SENT) == 0;
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
			appetite_shed(agent);
	}
	if (agent->hold.starved || (agent->member && now >= join_fence(agent)))
		join_lose_lease(agent);
	limits = hold_mind(&agent->hold, now);
	err = hold_collect(&agent->hold);
	err = err ? err : hold_run(&agent->hold, appetite_depth(agent));
	if (err) {
		agent->err = err;
		return false;
	}
	appetite_mind(agent, now);
	if (is_drained(agent))
		return false;
	if (!agent->engine && now >= agent->retry && (err = join_reach(agent)))
		join_lose_line(agent, err);
	if (agent->engine && (err = send_all(agent)))
		join_lose_line(agent, err);
	if (agent->err)
		return false;
	doze_until(agent, wake_time(agent, limits));
	if (agent->engine)
		receive_all(agent);
	return !agent->err;
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
	struct agent agent = { .setup = setup };
	unsigned most;

	child_tie(lifeline);
	prctl(PR_SET_NAME, "tine-agent");
	agent.err = engine_url_parse(&agent.url, setup->url);
	if (agent.err)
		goto tell;
	agent.err = intake_open(&agent);
	if (agent.err)
		goto free_streams;
	agent.err = tine_pool_new(&agent.pool, &setup->pool);
	if (agent.err)
		goto free_streams;
	leave_signals();
	most = 2 * appetite_most(&agent) + 2 * (unsigned)agent.n;
	agent.err = hold_new(&agent.hold, agent.pool, most);
	if (agent.err)
		goto free_pool;
	agent.err = join_first(&agent);
	if (agent.err)
		goto free_hold;
	tell_starter(&agent, AGENT_JOINED);
	while (go_round(&agent))
		;
	join_leave(&agent);

free_hold:
	hold_free(&agent.hold);
free_pool:
	tine_pool_free(agent.pool);
free_streams:
	intake_close(&agent);
	engine_url_free(&agent.url);
tell:
	tell_starter(&agent, AGENT_OVER);
	return 0;
}
