/* SPDX-License-Identifier: MIT */
/*
 * A map of many jobs on three hosts while something breaks: it ends with right results,
 * and each test asserts that what was to break did. The hosts, and the server, lie in
 * network namespaces of the test's own; where those are not allowed, on this host's, and
 * the tests that cut links are skipped.
 */
#include "engine/courier.h"
#include "engine_use.h"
#include "faults_tasks.h"

#include <sched.h>
#include <stdarg.h>
#include <sys/prctl.h>

#define LEASE	"1000" /* milliseconds */
#define SERVERS HOSTS  /* the namespace of the server */

static struct server server;
static char folder[32], runs_path[64], url[256];
static pid_t holders[HOSTS + 1], hosts[HOSTS + 1];
static bool apart; /* with namespaces of their own */

/* ---- networks ---------------------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static bool shell(const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	return system(line) == 0;
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return written;
}

/* As whoever may do so, or as root of a namespace of users. */
static bool leave_network(void)
{
	char map[64];
	uid_t uid = getuid();
	gid_t gid = getgid();

	if (unshare(CLONE_NEWNET) == 0)
		return true;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
		return false;
	snprintf(map, sizeof(map), "0 %u 1", uid);
	write_file("/proc/self/setgroups", "deny");
	if (!write_file("/proc/self/uid_map", map))
		return false;
	snprintf(map, sizeof(map), "0 %u 1", gid);
	return write_file("/proc/self/gid_map", map);
}

/* A process that keeps a namespace. */
static pid_t hold_network(void)
{
	int ready[2];
	char byte = 0;
	pid_t pid;

	CHECK(pipe2(ready, O_CLOEXEC) == 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		byte = unshare(CLONE_NEWNET) == 0;
		if (write(ready[1], &byte, 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	CHECK(pid > 0);
	close(ready[1]);
	CHECK(read(ready[0], &byte, 1) == 1 && byte);
	close(ready[0]);
	return pid;
}

/* A bridge in the caller's, and each host at the end of a cable. */
static bool lay_cables(void)
{
	if (!shell("ip -V >/dev/null 2>&1") || !leave_network() ||
	    !shell("exec 2>/dev/null; ip link set lo up && "
		   "ip link add br0 type bridge && ip addr add 10.78.0.1/24 dev br0 && "
		   "ip link set br0 up"))
		return false;
	for (int i = 0; i <= HOSTS; i++) {
		holders[i] = hold_network();
		if (!shell("exec 2>/dev/null; "
			   "ip link add v%d type veth peer name eth0 netns %d && "
			   "ip link set v%d master br0 && ip link set v%d up && "
			   "nsenter -t %d -n sh -c 'ip link set lo up && "
			   "ip addr add 10.78.0.%d/24 dev eth0 && ip link set eth0 up'",
			   i, holders[i], i, i, holders[i], i + 2))
			return false;
	}
	return true;
}

static void enter_network(pid_t holder)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", holder);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && setns(fd, CLONE_NEWNET) == 0);
	close(fd);
}

static void set_cable(int i, const char *state)
{
	CHECK(shell("ip link set v%d %s", i, state));
}

/* ---- servers and hosts ------------------------------------------------------------- */

static void run_server(const char *const *more)
{
	const char *words[16] = { "--bind", "0.0.0.0" };
	int n = 2, own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	while (more && *more)
		words[n++] = *more++;
	if (apart)
		enter_network(holders[SERVERS]);
	if (server.port)
		server_run(&server, words);
	else
		server_start(&server, words);
	if (apart)
		CHECK(setns(own, CLONE_NEWNET) == 0);
	close(own);
}

static pid_t start_host(int i)
{
	char number[8];

	snprintf(number, sizeof(number), "%d", i);
	hosts[i] = fork();
	CHECK(hosts[i] >= 0);
	if (hosts[i] == 0) {
		if (apart)
			enter_network(holders[i]);
		/* So that all of it can be ended at once. */
		setpgid(0, 0);
		execl(FAULTS_HOST, FAULTS_HOST, url, number, "2", LEASE, runs_path, NULL);
		_exit(127);
	}
	setpgid(hosts[i], hosts[i]);
	return hosts[i];
}

static int count_host(void *arg, const tine_host *host)
{
	(void)host;
	++*(unsigned *)arg;
	return 0;
}

/* Until so many are there, or more. */
static void await_hosts(unsigned wanted)
{
	int64_t end = tine_after(test_patience(20000));
	unsigned n = 0;

	while (n < wanted) {
		CHECK(tine_now() < end);
		test_sleep_us(20000);
		n = 0;
		/* It may be away. */
		if (tine_hosts(url, count_host, &n) != 0)
			n = 0;
	}
}

static void begin_with(const char *const *more)
{
	strcpy(folder, "/tmp/tine-test-XXXXXX");
	CHECK(mkdtemp(folder) != NULL);
	snprintf(runs_path, sizeof(runs_path), "%s/runs", folder);
	runs = map_runs(runs_path);
	CHECK(runs != NULL);
	apart = lay_cables();
	run_server(more);
	snprintf(url, sizeof(url), "redis://:%s@%s:%d?pool=p", ESCAPED,
		 apart ? "10.78.0.5" : "127.0.0.1", server.port);
	for (int i = 0; i < HOSTS; i++)
		start_host(i);
	await_hosts(HOSTS);
}

static void begin(void)
{
	begin_with(NULL);
}

/* The program, its agent, nursery and workers. */
static void kill_host(int i)
{
	kill(-hosts[i], SIGKILL);
	CHECK_EQ(test_reap(hosts[i]), -SIGKILL);
	hosts[i] = 0;
}

/* The first child of that process. */
static pid_t child_of(pid_t pid)
{
	char path[64];
	int child = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	file = fopen(path, "r");
	if (file) {
		CHECK(fscanf(file, "%d", &child) <= 1);
		fclose(file);
	}
	return child;
}

/* Of a host's: its starter ends too, and says so. */
static void kill_agent(int i)
{
	pid_t agent = child_of(hosts[i]);

	CHECK(agent > 0);
	CHECK_EQ(kill(agent, SIGKILL), 0);
	CHECK_EQ(test_reap(hosts[i]), 1);
	hosts[i] = 0;
}

static void end(void)
{
	for (int i = 0; i < HOSTS; i++)
		if (hosts[i])
			kill_host(i);
	for (int i = 0; i <= HOSTS; i++)
		if (holders[i])
			test_kill(holders[i]);
	server_kill(&server);
	CHECK_EQ(unlink(runs_path), 0);
	CHECK_EQ(rmdir(folder), 0);
	munmap(runs, sizeof(*runs));
	shell("rm -rf %s/appendonlydir", server.folder);
	server_remove(&server);
}

/* A command to the server, by the caller's own way in. */
__attribute__((format(printf, 1, 2))) static void tell_server(const char *format, ...)
{
	char line[512], words[700];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	snprintf(words, sizeof(words),
		 "REDISCLI_AUTH='%s' redis-cli -s %s %s >/dev/null 2>&1", PASSWORD,
		 server.path, line);
	CHECK(shell("%s", words));
}

/* ---- the map ----------------------------------------------------------------------- */

static struct order in[JOBS_MOST];
static uint64_t out[JOBS_MOST];
static int status[JOBS_MOST];

/* Called about every 100 ms of the map, with how many times before. */
static void (*breaks)(unsigned times, size_t done);
static unsigned breaks_called;

static void progress(void *arg, size_t done, size_t total)
{
	(void)arg;
	if (done < total && breaks)
		breaks(breaks_called++, done);
}

static size_t runs_of_all(size_t n)
{
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += atomic_load(&runs->of[i]);
	return sum;
}

/* How many jobs ran more often than once; all are right. */
static size_t map_on(tine_pool *pool, size_t n, unsigned us, unsigned retries,
		     void (*how)(unsigned, size_t))
{
	const tine_map_opts opts = {
		.chunk = 2, .status = status, .progress = progress, .retries = retries
	};
	size_t before = runs_of_all(n);

	for (size_t i = 0; i < n; i++)
		in[i] = (struct order){ .n = i, .us = us };
	memset(out, 0, sizeof(out));
	breaks = how;
	breaks_called = 0;
	CHECK_EQ(tine_pool_map(pool, &work_task, in, out, n, &opts,
			       tine_after(test_patience(90000))),
		 0);
	for (size_t i = 0; i < n; i++) {
		CHECK_EQ(out[i], i * 3 + 1);
		CHECK_EQ(status[i], 0);
	}
	breaks = NULL;
	return runs_of_all(n) - before - n;
}

static size_t map_while(size_t n, unsigned us, void (*how)(unsigned, size_t))
{
	tine_pool *pool;
	size_t again;

	CHECK_EQ(courier_pool_new(&pool, url, 60000, NULL), 0);
	again = map_on(pool, n, us, 3, how);
	tine_pool_free(pool);
	return again;
}

/* All keys that are left have a time to live. */
static void check_keys(void)
{
	struct engine *engine = open_pool(&server, "p");

	CHECK_EQ(keys_for_ever(engine), 0);
	engine_free(engine);
}

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
	check_keys();
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
	again = map_while(2400, 10000, kill_agents);
	CHECK(deaths >= (unsigned)test_sampled(20));
	CHECK(again > 0);
	check_keys();
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
	again = map_while(900, 10000, kill_one_host);
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
	again = map_while(900, 10000, kill_all_hosts);
	CHECK_EQ(deaths, 1);
	CHECK(again > 0);
	check_keys();
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
	size_t again = 0;

	begin();
	/* It may have had no job when it was stopped. */
	for (int tries = 0; tries < 5 && again == 0; tries++)
		again = map_while(2400, 10000, stop_agent);
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
	CHECK_EQ(courier_pool_new(&pool, url, 60000, NULL), 0);
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

/* ---- links ------------------------------------------------------------------------- */

static int cut;
static size_t done_at_cut, done_at_end;

static void cut_link(unsigned times, size_t done)
{
	unsigned length = test_soak() ? 100 : 30;

	if (times == 3) {
		done_at_cut = done;
		set_cable(cut, "down");
	}
	if (times == 3 + length) {
		done_at_end = done;
		set_cable(cut, "up");
	}
}

TEST(a_link_of_a_host_is_cut)
{
	size_t again;

	begin();
	if (!apart) {
		end();
		test_skip("no namespaces of networks");
	}
	cut = 1;
	again = map_while(2700, 10000, cut_link);
	CHECK(done_at_end > done_at_cut);
	CHECK(again > 0);
	check_keys();
	end();
}

TEST(the_link_of_the_server_is_cut)
{
	begin();
	if (!apart) {
		end();
		test_skip("no namespaces of networks");
	}
	cut = SERVERS;
	map_while(1800, 10000, cut_link);
	CHECK(done_at_end > 0);
	/* Nothing came through. */
	CHECK(done_at_end - done_at_cut < 600);
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
	check_keys();
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
	check_keys();
	end();
}

static void stop_server(unsigned times, size_t done)
{
	unsigned length = test_soak() ? 80 : 25;

	if (times == 3) {
		done_at_cut = done;
		kill(server.pid, SIGSTOP);
	}
	if (times == 3 + length) {
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
	again = map_while(900, 10000, flush_server);
	CHECK_EQ(deaths, 1);
	CHECK(again > 0);
	check_keys();
	end();
}

static const char *lost_key;

static void delete_key(unsigned times, size_t done)
{
	(void)done;
	if (times != 3)
		return;
	/* All whose names begin so, and there is one. */
	CHECK(shell(
		"REDISCLI_AUTH='%s' redis-cli -s %s eval \"local k=redis.call('KEYS',"
		"'tine:{p}:%s*') for i=1,#k do redis.call('DEL',k[i]) end return #k\" "
		"0 | grep -q '^[1-9]'",
		PASSWORD, server.path, lost_key));
	deaths++;
}

TEST(one_key_of_it_is_gone)
{
	static const char *const keys[] = { "q:", "o:", "r:", "w", "i", "c", "m" };
	tine_pool *pool;

	begin();
	CHECK_EQ(courier_pool_new(&pool, url, 60000, NULL), 0);
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		lost_key = keys[i];
		deaths = 0;
		map_on(pool, 240, 10000, 3, delete_key);
		CHECK_EQ(deaths, 1);
		await_hosts(HOSTS);
	}
	tine_pool_free(pool);
	check_keys();
	end();
}

static void make_read_only(unsigned times, size_t done)
{
	if (times == 3) {
		done_at_cut = done;
		tell_server("replicaof 127.0.0.1 1");
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

static void kill_connections(unsigned times, size_t done)
{
	(void)done;
	if (times >= 3 && times < 20) {
		tell_server("client kill type normal");
		deaths++;
	}
}

TEST(connections_are_killed)
{
	begin();
	map_while(1200, 10000, kill_connections);
	CHECK(deaths >= 10);
	check_keys();
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

static void write_strange(unsigned times, size_t done)
{
	static const char *const lines[] = {
		"xadd \"$k\" '*' x y",
		"xadd \"$k\" '*' c x s y h z a w",
		"xadd \"$k\" '*' s 0 h '' a ''",
		"xadd \"$k\" '*' s 1 l ''",
		"xadd \"$k\" '*' c '' m 99999999999999999999",
	};

	(void)done;
	if (times < 2 || times > 12)
		return;
	CHECK(shell("export REDISCLI_AUTH='%s'; for k in $(redis-cli -s %s --scan "
		    "--pattern 'tine:{p}:[qrx]*'); do redis-cli -s %s %s; done "
		    ">/dev/null 2>&1",
		    PASSWORD, server.path, server.path, lines[times % 5]));
	deaths++;
}

TEST(strangers_write_to_every_stream)
{
	begin();
	map_while(1200, 10000, write_strange);
	CHECK(deaths >= 5);
	end();
}
