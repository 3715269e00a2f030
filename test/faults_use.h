/* SPDX-License-Identifier: MIT */
/*
 * Maps of many jobs on three hosts while something breaks. The hosts, the server and the
 * caller's courier lie in network namespaces of the test's own; where those are not
 * allowed, on this machine, and no cable can be cut.
 */
#ifndef TINE_TEST_FAULTS_USE_H
#define TINE_TEST_FAULTS_USE_H

#include "base/proc.h"
#include "engine/courier.h"
#include "engine_use.h"
#include "faults_tasks.h"

#include <sched.h>
#include <stdarg.h>
#include <sys/prctl.h>

#define LEASE_MS 1000

/* Who has a namespace besides the hosts. */
enum { SERVERS = HOSTS, CALLERS, PLACES };

static struct server server;
static char folder[32], runs_path[64], url[256];
static pid_t holders[PLACES], hosts[HOSTS];
static bool apart; /* with namespaces of their own */

/* ---- networks ---------------------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static inline bool shell(const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	return system(line) == 0;
}

static inline bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return written;
}

/* As whoever may do so, or as root of a namespace of users. */
static inline bool leave_network(void)
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
static inline pid_t hold_network(void)
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
static inline bool lay_cables(void)
{
	if (!shell("ip -V >/dev/null 2>&1") || !leave_network() ||
	    !shell("exec 2>/dev/null; ip link set lo up && "
		   "ip link add br0 type bridge && ip addr add 10.78.0.1/24 dev br0 && "
		   "ip link set br0 up"))
		return false;
	for (int i = 0; i < PLACES; i++) {
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

static inline void enter_network(pid_t holder)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", holder);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && setns(fd, CLONE_NEWNET) == 0);
	close(fd);
}

static inline void set_cable(int i, const char *state)
{
	CHECK(shell("ip link set v%d %s", i, state));
}

/* ---- servers and hosts ------------------------------------------------------------- */

/* Of what is done between the two, the processes and sockets are there. */
static inline int go_to(int place)
{
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	CHECK(own >= 0);
	if (apart)
		enter_network(holders[place]);
	return own;
}

static inline void come_back(int own)
{
	if (apart)
		CHECK(setns(own, CLONE_NEWNET) == 0);
	close(own);
}

/* Without waiting for it, if it has run before. */
static inline void spawn_server(const char *const *more)
{
	const char *words[16] = { "--bind", "0.0.0.0" };
	int n = 2, own = go_to(SERVERS);

	while (more && *more)
		words[n++] = *more++;
	if (server.port)
		server_spawn(&server, words);
	else
		server_start(&server, words);
	come_back(own);
}

static inline void run_server(const char *const *more)
{
	spawn_server(more);
	server_await(&server);
}

static inline pid_t start_host(int i)
{
	char number[8], lease[16];

	snprintf(lease, sizeof(lease), "%d", LEASE_MS);
	snprintf(number, sizeof(number), "%d", i);
	hosts[i] = fork();
	CHECK(hosts[i] >= 0);
	if (hosts[i] == 0) {
		if (apart)
			enter_network(holders[i]);
		/* So that all of it can be ended at once. */
		setpgid(0, 0);
		execl(FAULTS_HOST, FAULTS_HOST, url, number, "2", lease, runs_path, NULL);
		_exit(127);
	}
	setpgid(hosts[i], hosts[i]);
	return hosts[i];
}

static inline int count_host(void *arg, const tine_host *host)
{
	(void)host;
	++*(unsigned *)arg;
	return 0;
}

/* Until so many are there, or more. */
static inline void await_hosts(unsigned wanted)
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

static inline void begin_with(const char *const *more)
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

static inline void begin(void)
{
	begin_with(NULL);
}

/* The program, its agent, nursery and workers. */
static inline void kill_host(int i)
{
	kill(-hosts[i], SIGKILL);
	CHECK_EQ(test_reap(hosts[i]), -SIGKILL);
	hosts[i] = 0;
}

/* The first child of that process. */
static inline pid_t child_of(pid_t pid)
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

/* Of a host's: its starter ends too, and says so, also while it starts. */
static inline void kill_agent(int i)
{
	pid_t agent = child_of(hosts[i]);
	int code;

	CHECK(agent > 0);
	CHECK_EQ(kill(agent, SIGKILL), 0);
	code = test_reap(hosts[i]);
	CHECK(code == 1 || code == 3);
	hosts[i] = 0;
}

/* All keys that are left have a time to live. */
static inline void check_keys(void)
{
	struct engine *engine = open_pool(&server, "p");

	CHECK_EQ(keys_for_ever(engine), 0);
	engine_free(engine);
}

static inline void end(void)
{
	check_keys();
	for (int i = 0; i < HOSTS; i++)
		if (hosts[i])
			kill_host(i);
	for (int i = 0; i < PLACES; i++)
		if (holders[i])
			test_kill(holders[i]);
	server_kill(&server);
	CHECK_EQ(unlink(runs_path), 0);
	CHECK_EQ(rmdir(folder), 0);
	munmap(runs, sizeof(*runs));
	shell("rm -rf %s/appendonlydir %s/dump.rdb", server.folder, server.folder);
	server_remove(&server);
}

/* A command to the server, by the caller's own way in. */
__attribute__((format(printf, 1, 2))) static inline void tell_server(const char *format,
								     ...)
{
	char line[512], words[800];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	snprintf(words, sizeof(words),
		 "REDISCLI_AUTH='%s' redis-cli -e -s %s %s >/dev/null 2>&1", PASSWORD,
		 server.path, line);
	CHECK(shell("%s", words));
}

/* Whether what it answers begins so. */
static inline bool server_says(const char *answer, const char *command)
{
	return shell("REDISCLI_AUTH='%s' redis-cli -s %s %s 2>/dev/null | grep -q '^%s'",
		     PASSWORD, server.path, command, answer);
}

/* A script over the names of keys that begin so: the number that it answers. */
static inline long run_on_keys(const char *begin, const char *script)
{
	struct engine *engine = open_pool(&server, "p");
	char pattern[64], words[1024];
	struct engine_answer answer;
	long n;

	snprintf(pattern, sizeof(pattern), "tine:{p}:%s*", begin);
	snprintf(words, sizeof(words),
		 "local call,try,n=redis.call,redis.pcall,0 for _,k in "
		 "ipairs(call('KEYS',ARGV[1])) do %s end return n",
		 script);
	answer = ASK_RAW(engine, "ssss", "EVAL", words, "0", pattern);
	CHECK_EQ(answer.resp.kind, RESP_NUMBER);
	n = (long)answer.resp.number;
	engine_free(engine);
	return n;
}

/* ---- the map ----------------------------------------------------------------------- */

static struct order in[JOBS_MOST];
static uint64_t out[JOBS_MOST];
static int status[JOBS_MOST];

/* Called about every 100 ms of the map, with how many times before. */
static void (*breaks)(unsigned times, size_t done);
static unsigned breaks_called;

static inline void progress(void *arg, size_t done, size_t total)
{
	(void)arg;
	if (done < total && breaks)
		breaks(breaks_called++, done);
}

static inline size_t runs_of_all(size_t n)
{
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += atomic_load(&runs->of[i]);
	return sum;
}

/* How many jobs ran more often than once; all are right. */
static inline size_t map_on(tine_pool *pool, size_t n, unsigned us, unsigned retries,
			    void (*how)(unsigned, size_t))
{
	tine_failure failure = { 0 };
	const tine_map_opts opts = { .chunk = 2,
				     .status = status,
				     .progress = progress,
				     .retries = retries,
				     .failure = &failure };
	int err;
	size_t before = runs_of_all(n);

	for (size_t i = 0; i < n; i++)
		in[i] = (struct order){ .n = i, .us = us };
	memset(out, 0, sizeof(out));
	breaks = how;
	breaks_called = 0;
	err = tine_pool_map(pool, &work_task, in, out, n, &opts,
			    tine_after(test_patience(90000)));
	if (err) {
		printf("# job %zu of %zu: status %d, code %d, signal %d, %u deaths\n",
		       failure.index, n, failure.status, failure.how.code,
		       failure.how.signal, (unsigned)failure.deaths);
		fflush(stdout);
	}
	CHECK_EQ(err, 0);
	for (size_t i = 0; i < n; i++) {
		CHECK_EQ(out[i], i * 3 + 1);
		CHECK_EQ(status[i], 0);
	}
	breaks = NULL;
	return runs_of_all(n) - before - n;
}

/* Its courier is where the caller's cable ends. */
static inline tine_pool *make_pool(void)
{
	tine_pool *pool;
	int own = go_to(CALLERS), err = -TINE_EHOST;

	/* A cable that was just laid may lose what comes first. */
	for (int tries = 0; tries < 100 && err; tries++) {
		CHECK_EQ(waitpid(server.pid, NULL, WNOHANG), 0);
		err = courier_pool_new(&pool, url, 60000, NULL);
		CHECK(err == 0 || err == -TINE_EHOST || err == -ECONNREFUSED);
		if (err)
			test_sleep_us(50000);
	}
	CHECK_EQ(err, 0);
	come_back(own);
	return pool;
}

static inline size_t map_while(size_t n, unsigned us, void (*how)(unsigned, size_t))
{
	tine_pool *pool;
	size_t again;

	pool = make_pool();
	again = map_on(pool, n, us, 3, how);
	tine_pool_free(pool);
	return again;
}

/* Once more where nothing ran that had to run again: that is left to chance. */
static inline size_t map_until_again(size_t n, unsigned us, void (*how)(unsigned, size_t))
{
	size_t again = 0;

	for (int tries = 0; tries < 5 && again == 0; tries++) {
		for (int i = 0; i < HOSTS; i++)
			if (!hosts[i])
				start_host(i);
		await_hosts(HOSTS);
		again = map_while(n, us, how);
	}
	return again;
}

#endif
