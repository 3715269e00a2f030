/* SPDX-License-Identifier: MIT */
/*
 * A map of many jobs on three hosts while something breaks: it ends with right results,
 * every key that is left has a time to live, and each test asserts that what was to break
 * did. Where networks of the test's own are not allowed, the tests that cut links are
 * skipped.
 */
#include "faults_use.h"

/* ---- hosts ------------------------------------------------------------------------- */

static unsigned deaths;

static void kill_a_worker(unsigned times, size_t done)
{
	pid_t nursery, worker;

	(void)done;
	if (times < 2 || deaths > 0)
		return;
	nursery = child_of(child_of(hosts[0]));
	worker = nursery ? child_of(nursery) : 0;
	deaths += worker > 0 && kill(worker, SIGKILL) == 0;
}

TEST(a_worker_process_is_killed)
{
	begin();
	map_while(600, 5000, kill_a_worker);
	CHECK_EQ(deaths, 1);
	end();
}

static uint64_t seed;

static void kill_agents(unsigned times, size_t done)
{
	int i = (int)(seed >> times % 16 * 4 & 15) % HOSTS;

	(void)done;
	if (times < 2 || deaths >= (unsigned)test_sampled(20) || !child_of(hosts[i]))
		return;
	kill_agent(i);
	deaths++;
	start_host(i);
}

TEST(agents_are_killed)
{
	size_t again;

	seed = test_seed();
	begin();
	again = map_until_again(2400, 10000, kill_agents);
	CHECK(deaths >= (unsigned)test_sampled(20));
	CHECK(again > 0);
	end();
}

static void kill_one_host(unsigned times, size_t done)
{
	(void)done;
	if (times == 3)
		kill_host(1);
}

TEST(a_host_is_killed)
{
	size_t again;

	begin();
	again = map_until_again(900, 10000, kill_one_host);
	CHECK_EQ(hosts[1], 0);
	CHECK(again > 0);
	end();
}

static void kill_all_hosts(unsigned times, size_t done)
{
	(void)done;
	for (int i = 0; times == 3 && i < HOSTS; i++)
		kill_host(i);
	for (int i = 0; times == 6 && i < HOSTS; i++)
		start_host(i);
	deaths += times == 3;
}

TEST(all_hosts_are_killed)
{
	size_t again;

	begin();
	again = map_until_again(900, 10000, kill_all_hosts);
	CHECK(deaths > 0);
	CHECK(again > 0);
	end();
}

static pid_t stopped_agent;
static uint32_t while_stopped;

static void stop_agent(unsigned times, size_t done)
{
	(void)done;
	if (times == 3) {
		stopped_agent = child_of(hosts[2]);
		CHECK_EQ(kill(stopped_agent, SIGSTOP), 0);
	}
	if (times == 28) {
		while_stopped = atomic_load(&runs->by[2]);
		CHECK_EQ(kill(stopped_agent, SIGCONT), 0);
	}
}

/* Its workers run on; it comes back under another name, and works again. */
TEST(an_agent_is_stopped_beyond_its_lease)
{
	size_t again;

	begin();
	again = map_until_again(2400, 10000, stop_agent);
	CHECK(while_stopped > 0);
	CHECK(atomic_load(&runs->by[2]) > while_stopped);
	CHECK(again > 0);
	CHECK_EQ(child_of(hosts[2]), stopped_agent);
	end();
}

static void restart_poisoned(unsigned times, size_t done)
{
	(void)times;
	(void)done;
	for (int i = 0; i < HOSTS; i++)
		if (hosts[i] && waitpid(hosts[i], NULL, WNOHANG) == hosts[i])
			start_host(i);
}

TEST(a_job_that_ends_its_host_fails_alone)
{
	enum { JOBS = 300, POISON = 77 };
	const tine_map_opts opts = { .status = status, .progress = progress, .chunk = 5 };
	tine_pool *pool;

	begin();
	pool = make_pool();
	for (size_t i = 0; i < JOBS; i++)
		in[i] = (struct order){ .n = i, .us = 2000, .poison = i == POISON };
	breaks = restart_poisoned;
	CHECK_EQ(tine_pool_map(pool, &work_task, in, out, JOBS, &opts,
			       tine_after(test_patience(90000))),
		 -TINE_ECRASH);
	for (size_t i = 0; i < JOBS; i++) {
		CHECK_EQ(status[i], i == POISON ? -TINE_ECRASH : 0);
		if (i != POISON)
			CHECK_EQ(out[i], i * 3 + 1);
	}
	CHECK(atomic_load(&runs->host_deaths) > 0);
	CHECK(atomic_load(&runs->host_deaths) <= 3);
	tine_pool_free(pool);
	end();
}

/* Its one job in a chunk: what crashes there is tried again, and done elsewhere. */
TEST(a_host_where_all_crashes_does_not_eat_the_queue)
{
	enum { JOBS = 900 };
	const tine_map_opts opts = { .status = status, .chunk = 1, .retries = 10 };
	tine_pool *pool;

	begin();
	pool = make_pool();
	for (size_t i = 0; i < JOBS; i++)
		in[i] = (struct order){ .n = i, .us = 10000, .crash_on = 1 };
	CHECK_EQ(tine_pool_map(pool, &work_task, in, out, JOBS, &opts,
			       tine_after(test_patience(90000))),
		 0);
	for (size_t i = 0; i < JOBS; i++)
		CHECK_EQ(out[i], i * 3 + 1);
	/* Faster than any other, it took a small part. */
	CHECK(atomic_load(&runs->by[0]) > 0);
	CHECK(atomic_load(&runs->by[0]) < JOBS / 4);
	tine_pool_free(pool);
	end();
}

/* ---- links ------------------------------------------------------------------------- */

static int cut;
static unsigned length; /* tenths of a second, about */
static size_t done_at_cut, done_at_end;

static void cut_link(unsigned times, size_t done)
{
	if (times == 3) {
		done_at_cut = done;
		set_cable(cut, "down");
	}
	if (times == 3 + length) {
		done_at_end = done;
		set_cable(cut, "up");
	}
}

/* Where links can be cut; else the test is skipped. */
static void begin_apart(void)
{
	begin();
	if (apart)
		return;
	end();
	test_skip("no namespaces of networks");
}

TEST(a_link_of_a_host_is_cut)
{
	size_t again;

	begin_apart();
	cut = 1;
	length = 100;
	again = map_until_again(4000, 16000, cut_link);
	CHECK(done_at_end > done_at_cut);
	CHECK(again > 0);
	end();
}

TEST(the_link_of_the_caller_is_cut)
{
	begin_apart();
	cut = CALLERS;
	length = 100;
	map_while(1800, 10000, cut_link);
	CHECK(done_at_end > 0);
	/* Nothing came through. */
	CHECK(done_at_end - done_at_cut < 600);
	end();
}

TEST(the_link_of_the_server_is_cut)
{
	begin_apart();
	cut = SERVERS;
	length = 30;
	map_while(1800, 10000, cut_link);
	CHECK(done_at_end > 0);
	/* Nothing came through. */
	CHECK(done_at_end - done_at_cut < 600);
	end();
}

/*
 * Reads that were blocked when the link was cut are still to be served, to nobody: what
 * they are given was on no host that died.
 */
TEST(one_job_after_a_link_was_cut)
{
	tine_pool *pool;

	begin_apart();
	pool = make_pool();
	for (int i = 0; i < 2; i++) {
		set_cable(SERVERS, "down");
		test_sleep_us(9 * LEASE_MS * 1000);
		set_cable(SERVERS, "up");
		await_hosts(HOSTS);
		map_on(pool, 1, 1000, 0, NULL);
	}
	tine_pool_free(pool);
	end();
}

/* ---- the server -------------------------------------------------------------------- */

static const char *const *server_words;

static void restart_server(unsigned times, size_t done)
{
	(void)done;
	if (times == 3) {
		server_kill(&server);
		deaths++;
	}
	if (times == 6)
		run_server(server_words);
}

TEST(the_server_is_killed_and_restarted_without_data)
{
	begin();
	map_while(900, 10000, restart_server);
	CHECK_EQ(deaths, 1);
	end();
}

TEST(the_server_is_killed_and_restarted_with_its_log)
{
	static const char *const words[] = { "--appendonly", "yes", "--appendfsync",
					     "everysec", NULL };

	server_words = words;
	begin_with(words);
	map_while(900, 10000, restart_server);
	CHECK_EQ(deaths, 1);
	end();
}

static void restart_slowly(unsigned times, size_t done)
{
	/* Each key takes so many microseconds. */
	static const char *const words[] = { "--key-load-delay", "500",
					     "--loading-process-events-interval-bytes",
					     "1024", NULL };

	(void)done;
	if (times != 3)
		return;
	tell_server("eval \"for i=1,3000 do redis.call('SET','fill:'..i,'x') end "
		    "return 1\" 0");
	tell_server("save");
	/* What is done meanwhile is outstanding in what is loaded. */
	test_sleep_us(300000);
	server_kill(&server);
	spawn_server(words);
	for (int i = 0; i < 400 && !deaths; i++)
		deaths += server_says("LOADING", "get x");
	while (!server_says("x", "get fill:3000"))
		test_sleep_us(10000);
}

TEST(the_server_is_restarted_with_old_data_and_loads)
{
	begin();
	map_while(900, 10000, restart_slowly);
	CHECK_EQ(deaths, 1);
	end();
}

/* What begins meanwhile waits for it. */
TEST(a_pool_and_a_host_begin_while_the_server_loads)
{
	static const char *const words[] = { "--key-load-delay", "500",
					     "--loading-process-events-interval-bytes",
					     "1024", NULL };
	tine_pool *pool;

	begin();
	for (int i = 0; i < HOSTS; i++)
		kill_host(i);
	tell_server("eval \"for i=1,3000 do redis.call('SET','fill:'..i,'x') end "
		    "return 1\" 0");
	tell_server("save");
	server_kill(&server);
	spawn_server(words);
	while (!server_says("LOADING", "get x"))
		test_sleep_us(1000);
	start_host(0);
	pool = make_pool();
	CHECK_EQ(map_on(pool, 60, 1000, 0, NULL), 0);
	CHECK_EQ(waitpid(hosts[0], NULL, WNOHANG), 0);
	tine_pool_free(pool);
	end();
}

static void stop_server(unsigned times, size_t done)
{
	if (times == 3) {
		done_at_cut = done;
		kill(server.pid, SIGSTOP);
	}
	if (times == 3 + 80) {
		done_at_end = done;
		kill(server.pid, SIGCONT);
	}
}

TEST(the_server_is_stopped)
{
	begin();
	map_while(1200, 10000, stop_server);
	CHECK(done_at_end > 0);
	CHECK(done_at_end - done_at_cut < 600);
	end();
}

static void flush_server(unsigned times, size_t done)
{
	(void)done;
	if (times == 3) {
		tell_server("flushall");
		deaths++;
	}
}

TEST(the_servers_data_is_gone)
{
	size_t again;

	begin();
	again = map_until_again(900, 10000, flush_server);
	CHECK(deaths > 0);
	CHECK(again > 0);
	end();
}

static const char *lost_key;

static void delete_key(unsigned times, size_t done)
{
	(void)done;
	if (times != 3)
		return;
	CHECK(run_on_keys(lost_key, "n=n+call('DEL',k)") > 0);
	deaths++;
}

TEST(one_key_of_it_is_gone)
{
	static const char *const keys[] = { "q:", "o:", "r:", "w", "i", "c", "m", "" };
	tine_pool *pool;

	begin();
	pool = make_pool();
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		lost_key = keys[i];
		deaths = 0;
		map_on(pool, 240, 10000, 3, delete_key);
		CHECK_EQ(deaths, 1);
		await_hosts(HOSTS);
	}
	tine_pool_free(pool);
	end();
}

static void make_read_only(unsigned times, size_t done)
{
	if (times == 3) {
		done_at_cut = done;
		tell_server("replicaof 127.0.0.1 1");
		CHECK(server_says("READONLY", "set x y"));
	}
	if (times == 8) {
		done_at_end = done;
		tell_server("replicaof no one");
	}
}

TEST(the_server_is_read_only)
{
	begin();
	map_while(900, 10000, make_read_only);
	CHECK(done_at_end > 0 && done_at_end < 900);
	end();
}

static void fill_memory(unsigned times, size_t done)
{
	if (times == 3) {
		done_at_cut = done;
		tell_server("config set maxmemory 1");
		CHECK(server_says("OOM", "set x y"));
	}
	if (times == 8) {
		done_at_end = done;
		tell_server("config set maxmemory 0");
	}
}

TEST(the_server_is_out_of_memory)
{
	begin();
	map_while(900, 10000, fill_memory);
	CHECK(done_at_end > 0 && done_at_end < 900);
	end();
}

static void evict_all(unsigned times, size_t done)
{
	(void)done;
	if (times == 3) {
		tell_server("config set maxmemory-policy allkeys-lru");
		tell_server("config set maxmemory 1");
		CHECK(server_says("OOM", "set x y"));
	}
	if (times == 5) {
		/* All that there was, was the pool's. */
		CHECK(server_says("evicted_keys:[1-9]", "info stats"));
		tell_server("config set maxmemory 0");
		deaths++;
	}
}

TEST(all_keys_are_evicted)
{
	size_t again;

	begin();
	again = map_until_again(900, 10000, evict_all);
	CHECK(deaths > 0);
	CHECK(again > 0);
	end();
}

/* A number in what INFO says. */
static long told_by_server(struct engine *engine, const char *section, const char *name)
{
	struct engine_answer answer = ASK_RAW(engine, "ss", "INFO", section);
	const char *at;

	CHECK_EQ(answer.resp.kind, RESP_STRING);
	at = memmem(answer.resp.text, answer.resp.len, name, strlen(name));
	CHECK(at != NULL);
	return atol(at + strlen(name));
}

static long evicted; /* of the pool's keys */

/* Others write so much that for each of their keys another has to go. */
static void evict_some(unsigned times, size_t done)
{
	enum { FIRST = 3, LAST = 9, KEYS = 40 };
	static struct engine *engine;
	char word[32];

	(void)done;
	if (times < FIRST || times > LAST)
		return;
	if (times == FIRST) {
		engine = open_pool(&server, "p");
		tell_server("config set maxmemory-policy allkeys-random");
		tell_server("config set maxmemory %ld",
			    told_by_server(engine, "memory", "used_memory:") + 600000);
	}
	for (int i = 0; i < KEYS; i++) {
		snprintf(word, sizeof(word), "junk:%u:%d", times, i);
		ASK_RAW(engine, "ssss", "SETRANGE", word, "60000", "x");
	}
	if (times == LAST) {
		long all = told_by_server(engine, "stats", "evicted_keys:");
		long left = ASK_RAW(engine, "ssss", "EVAL",
				    "return #redis.call('KEYS',ARGV[1])", "0", "junk:*")
				    .resp.number;

		tell_server("config set maxmemory 0");
		evicted = all - ((LAST - FIRST + 1) * KEYS - left);
		engine_free(engine);
	}
}

TEST(some_keys_are_evicted)
{
	begin();
	map_while(1200, 10000, evict_some);
	CHECK(evicted > 0);
	end();
}

static void kill_connections(unsigned times, size_t done)
{
	(void)done;
	/* Its own is not among them. */
	if (times >= 3 && times < 20)
		deaths += server_says("[1-9]", "client kill type normal");
}

TEST(connections_are_killed)
{
	begin();
	map_while(1200, 10000, kill_connections);
	CHECK(deaths >= 10);
	end();
}

/* ---- callers ----------------------------------------------------------------------- */

static pid_t start_caller(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		execl(FAULTS_HOST, FAULTS_HOST, url, runs_path, NULL);
		_exit(127);
	}
	return pid;
}

static size_t keys_of_callers(struct engine *engine)
{
	static const char script[] =
		"local n=0 for _,p in ipairs({'o:*','r:*','b:*','B:*'}) do "
		"n=n+#redis.call('KEYS','tine:{p}:'..p) end return n";
	struct engine_answer answer = ASK_RAW(engine, "sss", "EVAL", script, "0");

	CHECK_EQ(answer.resp.kind, RESP_NUMBER);
	return (size_t)answer.resp.number;
}

static int count_work(void *arg, const tine_host *host)
{
	*(unsigned *)arg += host->busy + host->queued;
	return 0;
}

TEST(a_caller_is_killed)
{
	int64_t end_of_patience;
	struct engine *engine;
	unsigned busy = 0;
	pid_t caller;

	begin();
	engine = open_pool(&server, "p");
	caller = start_caller();
	end_of_patience = tine_after(test_patience(30000));
	while (keys_of_callers(engine) == 0 || busy == 0) {
		CHECK(tine_now() < end_of_patience);
		test_sleep_us(20000);
		busy = 0;
		CHECK_EQ(tine_hosts(url, count_work, &busy), 0);
	}
	test_kill(caller);
	while (keys_of_callers(engine) > 0 || busy > 0) {
		CHECK(tine_now() < end_of_patience);
		test_sleep_us(20000);
		busy = 0;
		CHECK_EQ(tine_hosts(url, count_work, &busy), 0);
	}
	/* Late results make no key anew. */
	test_sleep_us(500000);
	CHECK_EQ(keys_of_callers(engine), 0);
	CHECK_EQ(keys_for_ever(engine), 0);
	engine_free(engine);
	end();
}

/* At once: no host is there to do it, and the keys would live for a minute. */
TEST(the_keys_of_a_caller_go_with_it)
{
	int64_t guard;
	struct engine *engine;
	pid_t caller;

	begin();
	engine = open_pool(&server, "p");
	caller = start_caller();
	guard = tine_after(test_patience(30000));
	while (keys_of_callers(engine) == 0) {
		CHECK(tine_now() < guard);
		test_sleep_us(20000);
	}
	for (int i = 0; i < HOSTS; i++)
		kill_host(i);
	CHECK(keys_of_callers(engine) > 0);
	test_kill(caller);
	guard = tine_after(40000);
	while (keys_of_callers(engine) > 0) {
		CHECK(tine_now() < guard);
		test_sleep_us(20000);
	}
	engine_free(engine);
	end();
}

/* Of one that is killed with all its host nobody tells the server. */
TEST(a_caller_is_killed_with_its_courier)
{
	int64_t end_of_patience;
	struct engine *engine;
	pid_t caller, courier;

	begin();
	engine = open_pool(&server, "p");
	caller = start_caller();
	end_of_patience = tine_after(test_patience(60000));
	while (keys_of_callers(engine) == 0) {
		CHECK(tine_now() < end_of_patience);
		test_sleep_us(20000);
	}
	courier = child_of(caller);
	CHECK(courier > 0);
	CHECK_EQ(kill(courier, SIGSTOP), 0);
	test_kill(caller);
	CHECK_EQ(kill(courier, SIGKILL), 0);
	CHECK(keys_of_callers(engine) > 0);
	while (keys_of_callers(engine) > 0) {
		CHECK(tine_now() < end_of_patience);
		test_sleep_us(20000);
	}
	engine_free(engine);
	end();
}

/* Of a process of this family, named so. */
static pid_t find_child(const char *name)
{
	char path[64], line[512];
	FILE *children, *comm;
	int pid, found = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	children = fopen(path, "r");
	CHECK(children != NULL);
	while (fscanf(children, "%d", &pid) == 1) {
		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		comm = fopen(path, "r");
		if (comm && fgets(line, sizeof(line), comm) &&
		    strncmp(line, name, strlen(name)) == 0)
			found = pid;
		if (comm)
			fclose(comm);
	}
	fclose(children);
	return found;
}

static pid_t courier_of_caller;

static void kill_courier(unsigned times, size_t done)
{
	(void)done;
	if (times != 3)
		return;
	courier_of_caller = find_child("tine-courier");
	CHECK(courier_of_caller > 0);
	CHECK_EQ(kill(courier_of_caller, SIGKILL), 0);
}

TEST(the_callers_courier_is_killed)
{
	begin();
	map_while(900, 10000, kill_courier);
	CHECK(courier_of_caller > 0);
	end();
}

/* ---- strangers --------------------------------------------------------------------- */

/* By kind of key, what is written to each that there is; none is made. */
static const struct {
	const char *kind, *command;
} strange[] = {
	{ "stream", "'XADD',k,'*','x','y'" },
	{ "stream", "'XADD',k,'*','c','x','s','y','h','z','a','w'" },
	{ "stream", "'XADD',k,'*','s','0','h','','a',''" },
	{ "stream", "'XADD',k,'*','s','1','l',''" },
	{ "stream", "'XADD',k,'*','c','','m','99999999999999999999'" },
	{ "hash", "'HSET',k,'','','x','y','7','z'" },
	{ "hash", "'HSET',k,string.rep('x',5000),string.rep('\\0',5000)" },
	{ "zset", "'ZADD',k,'0','','1e18','x','-inf',string.rep('y',3000)" },
	{ "string", "'SET',k,'x','PX','60000'" },
};
enum { STRANGE = sizeof(strange) / sizeof(*strange) };

static long written[STRANGE];

static void write_strange(unsigned times, size_t done)
{
	size_t which = times % STRANGE;
	char script[256];

	(void)done;
	if (times < 2 || times >= 2 + 2 * STRANGE)
		return;
	snprintf(script, sizeof(script),
		 "if call('TYPE',k).ok=='%s' and call(%s) then n=n+1 end",
		 strange[which].kind, strange[which].command);
	written[which] += run_on_keys("", script);
}

TEST(strangers_write_to_every_key)
{
	begin();
	map_while(1800, 10000, write_strange);
	for (size_t i = 0; i < STRANGE; i++)
		CHECK(written[i] > 0);
	end();
}

/* Nor to the lease that all have agreed on. */
TEST(strangers_write_the_lease)
{
	static const char *const leases[] = { "", "x", "-1", "0", "1e300", "nan" };

	begin();
	for (size_t i = 0; i < sizeof(leases) / sizeof(*leases); i++) {
		tell_server("hset tine:{p}:m lease '%s'", leases[i]);
		/* All join anew. */
		tell_server("client kill type normal");
		map_while(60, 10000, NULL);
	}
	for (int i = 0; i < HOSTS; i++)
		CHECK_EQ(waitpid(hosts[i], NULL, WNOHANG), 0);
	end();
}
