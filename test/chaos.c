/* SPDX-License-Identifier: MIT */
/*
 * Agents killed, stopped and continued, couriers killed, the server emptied, and killed
 * and started without data, at random, while maps follow one another: all are right.
 */
#include "base/proc.h"
#include "engine/agent.h"
#include "engine/courier.h"
#include "engine_use.h"
#include "pool/pool.h"

enum { HOSTS = 3, JOBS = 600, MOST_MS = 1900 };

enum fault { KILL_AGENT, STOP_AGENT, KILL_COURIER, FLUSH, RESTART, FAULTS };

static const char *const names[FAULTS] = { "agents killed", "agents stopped",
					   "couriers killed", "servers emptied",
					   "servers killed" };

struct chaos {
	struct server server;
	char url[256];
	tine_worker *hosts[HOSTS];
	unsigned state; /* of rand_r(3) */
	unsigned counts[FAULTS];
	/* Of the caller's process; in the family's memory. */
	struct tally {
		_Atomic int stop, maps, courier;
	} * tally;
	pid_t caller;
};

static int thrice(const void *in, void *out)
{
	test_sleep_us(2000);
	*(uint64_t *)out = *(const uint64_t *)in * 3 + 1;
	return 0;
}

static const tine_task thrice_task = TINE_TASK(thrice, uint64_t, uint64_t);

static unsigned below(struct chaos *chaos, unsigned n)
{
	return (unsigned)rand_r(&chaos->state) % n;
}

static void start_host(struct chaos *chaos, int i)
{
	char name[8];
	tine_worker_opts opts = { .workers = 2, .name = name, .lease_ms = 1000 };
	int err;

	snprintf(name, sizeof(name), "h%d", i);
	/* The server may have been killed just now. */
	do
		err = tine_worker_start(&chaos->hosts[i], chaos->url, &thrice_task, 1,
					&opts);
	while (err == -ECONNREFUSED || err == -EAGAIN || err == -ECONNRESET);
	CHECK_EQ(err, 0);
}

/* The agent, which is the first that a worker knows. */
static pid_t agent_of(const struct chaos *chaos, int i)
{
	return ((const struct child *)chaos->hosts[i])->pid;
}

static void call_maps(struct chaos *chaos)
{
	static uint64_t in[JOBS], out[JOBS];
	tine_pool *pool;

	CHECK_EQ(courier_pool_new(&pool, chaos->url, 30000, NULL), 0);
	for (uint64_t map = 0; !atomic_load(&chaos->tally->stop); map++) {
		tine_map_opts opts = { .chunk = map % 3 };
		int err;

		atomic_store(&chaos->tally->courier, pool->nursery.pid);
		for (uint64_t i = 0; i < JOBS; i++)
			in[i] = map * JOBS + i;
		memset(out, 0, sizeof(out));
		err = tine_pool_map(pool, &thrice_task, in, out, JOBS, &opts,
				    tine_after(90000));
		CHECK_EQ(err, 0);
		for (uint64_t i = 0; i < JOBS; i++)
			CHECK_EQ(out[i], in[i] * 3 + 1);
		atomic_fetch_add(&chaos->tally->maps, 1);
	}
	tine_pool_free(pool);
	fflush(stdout);
	_exit(0);
}

static void flush_server(struct chaos *chaos)
{
	struct engine *engine = open_pool(&chaos->server, "p");
	struct engine_answer answer = ASK_RAW(engine, "s", "FLUSHALL");

	CHECK_EQ(answer.err, 0);
	engine_free(engine);
}

static void do_fault(struct chaos *chaos, enum fault fault)
{
	int host = (int)below(chaos, HOSTS);
	pid_t agent = agent_of(chaos, host), courier;

	switch (fault) {
	case KILL_AGENT:
		CHECK_EQ(kill(agent, SIGKILL), 0);
		CHECK_EQ(tine_worker_wait(chaos->hosts[host], tine_after(20000)),
			 -TINE_ECRASH);
		tine_worker_free(chaos->hosts[host]);
		start_host(chaos, host);
		break;
	case STOP_AGENT:
		CHECK_EQ(kill(agent, SIGSTOP), 0);
		while (!process_stopped(agent))
			test_sleep_us(1000);
		/* Beyond its lease, and others' sweep. */
		test_sleep_us((1000 + below(chaos, 900)) * 1000);
		CHECK_EQ(kill(agent, SIGCONT), 0);
		break;
	case KILL_COURIER:
		courier = atomic_load(&chaos->tally->courier);
		/* One in a map: of more the map would tell. */
		if (courier == 0 || kill(courier, SIGKILL) != 0)
			return;
		while (atomic_load(&chaos->tally->courier) == courier &&
		       !atomic_load(&chaos->tally->stop))
			test_sleep_us(10000);
		break;
	case FLUSH:
		flush_server(chaos);
		break;
	case RESTART:
	default:
		server_kill(&chaos->server);
		test_sleep_us(200000);
		server_run(&chaos->server, NULL);
		break;
	}
	chaos->counts[fault]++;
}

static void wreak(unsigned seed, unsigned faults)
{
	static struct chaos chaos;
	int maps;

	chaos = (struct chaos){ .state = seed };
	chaos.tally = tine_shared_new(1, sizeof(*chaos.tally));
	server_start(&chaos.server, NULL);
	snprintf(chaos.url, sizeof(chaos.url), "%s&pool=p", chaos.server.local);
	for (int i = 0; i < HOSTS; i++)
		start_host(&chaos, i);
	fflush(stdout);
	chaos.caller = fork();
	CHECK(chaos.caller >= 0);
	if (chaos.caller == 0)
		call_maps(&chaos);
	for (unsigned i = 0; i < faults; i++) {
		test_sleep_us((100 + below(&chaos, MOST_MS - 100)) * 1000);
		/* Each of them once, and then as it comes. */
		do_fault(&chaos, i < FAULTS ? i : below(&chaos, FAULTS));
		CHECK_EQ(waitpid(chaos.caller, NULL, WNOHANG), 0);
	}
	atomic_store(&chaos.tally->stop, 1);
	CHECK_EQ(test_reap(chaos.caller), 0);
	maps = atomic_load(&chaos.tally->maps);
	for (int i = 0; i < FAULTS; i++)
		printf("# %u %s\n", chaos.counts[i], names[i]);
	printf("# seed %u: %d maps, all right\n", seed, maps);
	fflush(stdout);
	for (int i = 0; i < FAULTS; i++)
		CHECK(chaos.counts[i] > 0);
	CHECK(maps > 0);
	for (int i = 0; i < HOSTS; i++)
		tine_worker_free(chaos.hosts[i]);
	server_stop(&chaos.server);
	tine_shared_free(chaos.tally);
	/* The pools of agents that were killed. */
	test_grows_no_further();
}

TEST_LIMIT(a_seed_that_is_known, 240)
{
	wreak(7, test_soak() ? 100 : 10);
}

TEST_LIMIT(and_a_fresh_one, 240)
{
	wreak((unsigned)test_seed(), test_soak() ? 100 : 8);
}
