/* SPDX-License-Identifier: MIT */
/*
 * All that faults.c tries by itself, at random, while maps follow one another: all are
 * right, and what is left has a time to live.
 */
#include "faults_use.h"
#include "pool/pool.h"

enum { JOBS = 400 };

static unsigned state; /* of rand_r(3) */

static unsigned below(unsigned n)
{
	return (unsigned)rand_r(&state) % n;
}

static void wait_a_while(unsigned least, unsigned most)
{
	test_sleep_us((least + below(most - least)) * 1000);
}

/* ---- what happens: whether it could ------------------------------------------------ */

static bool kill_a_worker(void)
{
	pid_t nursery = child_of(child_of(hosts[below(HOSTS)]));
	pid_t worker = nursery ? child_of(nursery) : 0;

	return worker > 0 && kill(worker, SIGKILL) == 0;
}

static bool kill_an_agent(void)
{
	int i = (int)below(HOSTS);

	if (!child_of(hosts[i]))
		return false;
	kill_agent(i);
	start_host(i);
	return true;
}

static bool kill_a_host(void)
{
	int i = (int)below(HOSTS);

	kill_host(i);
	start_host(i);
	return true;
}

static bool kill_all_hosts(void)
{
	for (int i = 0; i < HOSTS; i++)
		kill_host(i);
	for (int i = 0; i < HOSTS; i++)
		start_host(i);
	return true;
}

/* Beyond its lease, and others' sweep. */
static bool stop_an_agent(void)
{
	pid_t agent = child_of(hosts[below(HOSTS)]);

	if (!agent || kill(agent, SIGSTOP) != 0)
		return false;
	wait_a_while(LEASE_MS, 2 * LEASE_MS);
	return kill(agent, SIGCONT) == 0;
}

static bool cut_cable(int place)
{
	if (!apart)
		return false;
	set_cable(place, "down");
	wait_a_while(500, 3000);
	set_cable(place, "up");
	return true;
}

static bool cut_off_a_host(void)
{
	return cut_cable((int)below(HOSTS));
}

static bool cut_off_the_caller(void)
{
	return cut_cable(CALLERS);
}

static bool cut_off_the_server(void)
{
	return cut_cable(SERVERS);
}

static bool restart_server(void)
{
	server_kill(&server);
	wait_a_while(10, 500);
	run_server(NULL);
	return true;
}

static bool restart_from_old_data(void)
{
	tell_server("save");
	wait_a_while(10, 500);
	server_kill(&server);
	run_server(NULL);
	shell("rm %s/dump.rdb", server.folder);
	return true;
}

static bool stop_server(void)
{
	CHECK_EQ(kill(server.pid, SIGSTOP), 0);
	wait_a_while(500, 3000);
	return kill(server.pid, SIGCONT) == 0;
}

static bool flush_server(void)
{
	tell_server("flushall");
	return true;
}

static bool delete_keys(void)
{
	static const char *const keys[] = { "q:", "o:", "r:", "w", "i", "c", "m", "x" };

	return run_on_keys(keys[below(sizeof(keys) / sizeof(*keys))],
			   "n=n+call('DEL',k)") > 0;
}

static bool make_read_only(void)
{
	tell_server("replicaof 127.0.0.1 1");
	CHECK(server_says("READONLY", "set x y"));
	wait_a_while(100, 2000);
	tell_server("replicaof no one");
	return true;
}

static bool fill_memory(void)
{
	tell_server("config set maxmemory 1");
	CHECK(server_says("OOM", "set x y"));
	wait_a_while(100, 2000);
	tell_server("config set maxmemory 0");
	return true;
}

static bool evict_keys(void)
{
	tell_server("config set maxmemory-policy allkeys-lru");
	fill_memory();
	tell_server("config set maxmemory-policy noeviction");
	return server_says("evicted_keys:[1-9]", "info stats");
}

static bool kill_connections(void)
{
	bool killed = false;

	for (unsigned i = 0, n = 1 + below(8); i < n; i++) {
		killed |= server_says("[1-9]", "client kill type normal");
		wait_a_while(1, 100);
	}
	return killed;
}

static tine_pool *pool;
static bool without_courier; /* in this map */

static bool kill_the_courier(void)
{
	if (without_courier)
		return false;
	without_courier = true;
	return kill(pool->nursery.pid, SIGKILL) == 0;
}

static bool write_strange(void)
{
	return run_on_keys("", "local t=call('TYPE',k).ok "
			       "if t=='stream' then call('XADD',k,'*','s','1','l','') "
			       "n=n+1 elseif t=='hash' then call('HSET',k,'','x') n=n+1 "
			       "elseif t=='zset' then call('ZADD',k,'1e18','x') n=n+1 "
			       "end") > 0;
}

static const struct fault {
	const char *name;
	bool (*happens)(void);
} faults[] = {
	{ "workers killed", kill_a_worker },
	{ "agents killed", kill_an_agent },
	{ "hosts killed", kill_a_host },
	{ "times all hosts killed", kill_all_hosts },
	{ "agents stopped", stop_an_agent },
	{ "times a host cut off", cut_off_a_host },
	{ "times the caller cut off", cut_off_the_caller },
	{ "times the server cut off", cut_off_the_server },
	{ "servers killed", restart_server },
	{ "servers killed, with old data", restart_from_old_data },
	{ "servers stopped", stop_server },
	{ "servers emptied", flush_server },
	{ "keys deleted", delete_keys },
	{ "servers read-only", make_read_only },
	{ "servers out of memory", fill_memory },
	{ "times all keys evicted", evict_keys },
	{ "times connections killed", kill_connections },
	{ "couriers killed", kill_the_courier },
	{ "times strangers wrote", write_strange },
};
enum { FAULTS = sizeof(faults) / sizeof(*faults) };

/* ---- while maps follow one another ------------------------------------------------- */

static unsigned counts[FAULTS], wanted, happened, amid_map;

/* Each of them once, in an order that is drawn, and then as it comes. */
static unsigned draw_fault(void)
{
	static unsigned order[FAULTS];

	if (happened >= FAULTS)
		return below(FAULTS);
	for (unsigned i = 0; happened == 0 && i < FAULTS; i++) {
		unsigned k = below(i + 1);

		order[i] = order[k];
		order[k] = i;
	}
	return order[happened];
}

static void wreak(unsigned times, size_t done)
{
	static int64_t next;
	unsigned which;

	(void)times;
	(void)done;
	/* A job that is lost a third time would fail. */
	if (happened >= wanted || amid_map >= 2 || tine_now() < next)
		return;
	which = draw_fault();
	if (faults[which].happens())
		counts[which]++;
	else if (apart && happened < FAULTS)
		/* It could not just now: again, with the next look. */
		return;
	happened++;
	amid_map++;
	next = tine_after(below(1000));
}

static void map_amid(unsigned seed, unsigned n)
{
	unsigned maps = 0;

	state = seed;
	wanted = n;
	begin();
	while (happened < wanted) {
		pool = make_pool();
		without_courier = false;
		amid_map = 0;
		map_on(pool, JOBS, 5000, 10, wreak);
		tine_pool_free(pool);
		maps++;
	}
	/* All is well again. */
	await_hosts(HOSTS);
	for (unsigned i = 0; i < FAULTS; i++)
		printf("# %u %s\n", counts[i], faults[i].name);
	printf("# seed %u: %u maps, all right\n", seed, maps);
	fflush(stdout);
	for (unsigned i = 0; i < FAULTS && i < wanted; i++)
		CHECK(counts[i] > 0 || wanted < FAULTS || !apart);
	end();
}

TEST_LIMIT(a_seed_that_is_known, 600)
{
	map_amid(7, test_soak() ? 100 : FAULTS);
}

TEST_LIMIT(and_a_fresh_one, 600)
{
	map_amid((unsigned)test_seed(), test_soak() ? 100 : FAULTS / 2);
}
