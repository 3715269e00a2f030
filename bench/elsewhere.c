/* SPDX-License-Identifier: MIT */
/*
 * A pool whose jobs a host does, by a server on a Unix socket: elsewhere MODE N. The host
 * has two workers, and lies on this machine.
 *
 *	rate CHUNK	empty jobs of 8 bytes and 8 back a second, in chunks of so many
 *	cpu CHUNK	the server's CPU for a chunk, in microseconds
 *	cpu-long N	the same for a chunk that comes alone: N jobs of 5 ms, 16 workers
 *	bare-cpu CHUNK	the same for the bare commands, 64 in a batch
 *	one N		microseconds for a job, one at a time, median of N
 *	bare-one N	the same for the bare commands, between two processes
 *	many N		microseconds for a job, N in a map, in chunks of the pool's choice
 *	find N		from the hit to the return of the call, two hosts, median of N
 *	publish N	from a PUBLISH to who waits for it in another process, median of N
 *	idle SECONDS	requests a second of a host that has nothing to do
 *	idle-cpu SECONDS	the server's microseconds for them, a second
 *	list N		the server's microseconds for a list of N hosts
 */
#include "bench.h"

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <tine.h>
#include <unistd.h>

#define JOBS   1000000
#define BATCH  64
#define CHUNKS 20000

static int empty(const void *in, void *out)
{
	*(uint64_t *)out = *(const uint64_t *)in;
	return 0;
}

/* 5 ms. */
static int doze(const void *in, void *out)
{
	const struct timespec nap = { 0, 5000000 };

	nanosleep(&nap, NULL);
	return empty(in, out);
}

static uint64_t *hit_at; /* in the family's memory: when */

/* One of them hits after a while; the others wait until they are cancelled. */
static int seek(const void *in, void *out)
{
	const struct timespec nap = { 0, 100000 };

	(void)out;
	if (*(const uint64_t *)in == 0) {
		for (int i = 0; i < 50; i++)
			nanosleep(&nap, NULL);
		__atomic_store_n(hit_at, (uint64_t)tine_now(), __ATOMIC_SEQ_CST);
		return 1;
	}
	while (!tine_cancelled())
		nanosleep(&nap, NULL);
	return 0;
}

static const tine_task tasks[] = { TINE_TASK(empty, uint64_t, uint64_t),
				   TINE_TASK(seek, uint64_t, uint64_t),
				   TINE_TASK(doze, uint64_t, uint64_t) };
enum { EMPTY, SEEK, DOZE, TASKS };

static tine_manager *manager;
static tine_worker *hosts[2];
static tine_pool *pool;

/* So many, with so many workers in all. */
static void begin_hosts(unsigned n, unsigned workers)
{
	if (tine_manager_start(&manager, NULL) != 0)
		die(SKIP, "there is no redis-server");
	for (unsigned i = 0; i < n; i++)
		if (tine_worker_start(&hosts[i], tine_manager_url(manager), tasks, TASKS,
				      &(tine_worker_opts){ .workers = workers / n }) != 0)
			die(1, "no host");
}

static void begin(unsigned n, unsigned workers)
{
	tine_pool_opts opts = { 0 };

	begin_hosts(n, workers);
	opts.engine = tine_manager_url(manager);
	if (tine_pool_new(&pool, &opts) != 0)
		die(1, "no pool");
}

static void end(void)
{
	tine_pool_free(pool);
	for (int i = 0; i < 2; i++)
		tine_worker_free(hosts[i]);
	tine_manager_free(manager);
}

/* Of the server, in seconds. */
static double server_cpu(void)
{
	char path[64], line[1024];
	unsigned long user = 0, system = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)tine_manager_pid(manager));
	file = fopen(path, "r");
	if (!file || !fgets(line, sizeof(line), file) ||
	    sscanf(strrchr(line, ')'),
		   ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
		   &system) != 2)
		die(1, "the server's times");
	fclose(file);
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double map_all(const tine_task *task, size_t n, size_t chunk)
{
	const tine_map_opts opts = { .chunk = chunk };
	uint64_t *in = calloc(n, sizeof(*in)), *out = calloc(n, sizeof(*out));
	double begun;

	if (!in || !out)
		die(1, "no memory");
	for (size_t i = 0; i < n; i++)
		in[i] = i;
	begun = seconds_now();
	if (tine_pool_map(pool, task, in, out, n, &opts, TINE_FOREVER) != 0 ||
	    memcmp(in, out, n * sizeof(*in)) != 0)
		die(1, "the map failed");
	begun = seconds_now() - begun;
	free(in);
	free(out);
	return begun;
}

/* With so many in each chunk, at most JOBS of them. */
static size_t jobs_of(size_t chunk)
{
	return chunk * CHUNKS < JOBS ? chunk * CHUNKS : JOBS;
}

static void rate(size_t chunk)
{
	begin(1, 2);
	map_all(&tasks[EMPTY], jobs_of(chunk) / 10, chunk);
	printf("%.0f\n",
	       (double)jobs_of(chunk) / map_all(&tasks[EMPTY], jobs_of(chunk), chunk));
	end();
}

static void cpu(size_t chunk)
{
	double before;

	begin(1, 2);
	map_all(&tasks[EMPTY], jobs_of(chunk) / 10, chunk);
	before = server_cpu();
	map_all(&tasks[EMPTY], jobs_of(chunk), chunk);
	printf("%.2f\n",
	       (server_cpu() - before) * 1e6 / (double)(jobs_of(chunk) / chunk));
	end();
}

static void cpu_long(size_t n)
{
	double before;

	begin(1, 16);
	map_all(&tasks[DOZE], 200, 1);
	before = server_cpu();
	map_all(&tasks[DOZE], n, 1);
	printf("%.2f\n", (server_cpu() - before) * 1e6 / (double)n);
	end();
}

static void one(size_t n)
{
	double *times = calloc(n, sizeof(*times));

	begin(1, 2);
	for (size_t i = 0; i < n; i++)
		times[i] = map_all(&tasks[EMPTY], 1, 1) * 1e6;
	printf("%.1f\n", median(times, n));
	end();
	free(times);
}

static void many(size_t n)
{
	enum { MAPS = 21 };
	double times[MAPS];

	begin(1, 2);
	map_all(&tasks[EMPTY], n, 0);
	for (int i = 0; i < MAPS; i++)
		times[i] = map_all(&tasks[EMPTY], n, 0) * 1e6 / (double)n;
	printf("%.3f\n", median(times, MAPS));
	end();
}

static void find(size_t n)
{
	double *times = calloc(n, sizeof(*times));

	hit_at = tine_shared_new(1, sizeof(*hit_at));
	begin(2, 2);
	for (size_t i = 0; i < n; i++) {
		uint64_t in[2] = { 0, 1 }, out[2];

		if (tine_pool_find(pool, &tasks[SEEK], in, out, 2, NULL, NULL,
				   TINE_FOREVER) != 1)
			die(1, "the search failed");
		times[i] = (double)((uint64_t)tine_now() - *hit_at) / 1000;
	}
	printf("%.1f\n", median(times, n));
	end();
	tine_shared_free(hit_at);
	free(times);
}

/* ---- bare -------------------------------------------------------------------------- */

static redisContext *open_bare(void)
{
	char path[108], password[128];
	const char *url = tine_manager_url(manager);
	redisContext *context;

	if (sscanf(url, "unix:%107[^?]?password=%127s", path, password) != 2)
		die(1, "the server's URL");
	context = redisConnectUnix(path);
	if (!context || context->err)
		die(1, "the server");
	freeReplyObject(redisCommand(context, "AUTH %s", password));
	return context;
}

/* With a server of its own, and a stream. */
static redisContext *begin_bare(void)
{
	redisContext *context;

	if (tine_manager_start(&manager, NULL) != 0)
		die(SKIP, "there is no redis-server");
	context = open_bare();
	freeReplyObject(redisCommand(context, "XGROUP CREATE q g 0 MKSTREAM"));
	return context;
}

static void end_bare(redisContext *context)
{
	redisFree(context);
	tine_manager_free(manager);
}

static void take_replies(redisContext *context, int n)
{
	for (int i = 0; i < n; i++) {
		void *reply;

		if (redisGetReply(context, &reply) != REDIS_OK)
			die(1, "the server");
		freeReplyObject(reply);
	}
}

static void bare_cpu(size_t chunk)
{
	size_t len = chunk * sizeof(uint64_t), batches = CHUNKS / BATCH;
	char *bytes = calloc(1, len);
	redisContext *context;
	double before;

	context = begin_bare();
	before = server_cpu();
	for (size_t batch = 0; batch < batches; batch++) {
		char id[BATCH][32];

		for (int i = 0; i < BATCH; i++) {
			snprintf(id[i], sizeof(id[i]), "%zu-%d", batch + 1, i);
			redisAppendCommand(context, "XADD q %s c C s 1 a %b", id[i],
					   bytes, len);
		}
		redisAppendCommand(context, "XREADGROUP GROUP g h COUNT 64 STREAMS q >");
		take_replies(context, BATCH + 1);
		for (int i = 0; i < BATCH; i++) {
			redisAppendCommand(context, "XACK q g %s", id[i]);
			redisAppendCommand(context, "XDEL q %s", id[i]);
			redisAppendCommand(context, "XADD r %s s 1 a %b", id[i], bytes,
					   len);
		}
		redisAppendCommand(context, "XREAD COUNT 64 STREAMS r 0");
		redisAppendCommand(context, "DEL r");
		take_replies(context, 3 * BATCH + 2);
	}
	printf("%.2f\n", (server_cpu() - before) * 1e6 / (double)(batches * BATCH));
	end_bare(context);
	free(bytes);
}

static void answer_bare(void)
{
	redisContext *context = open_bare();

	for (;;) {
		redisReply *reply = redisCommand(
			context, "XREADGROUP GROUP g h COUNT 1 BLOCK 0 STREAMS q >");
		const char *id;

		if (!reply || reply->type != REDIS_REPLY_ARRAY)
			_exit(1);
		id = reply->element[0]->element[1]->element[0]->element[0]->str;
		redisAppendCommand(context, "XACK q g %s", id);
		redisAppendCommand(context, "XADD r * a 12345678");
		take_replies(context, 2);
		freeReplyObject(reply);
	}
}

static void bare_one(size_t n)
{
	double *times = calloc(n, sizeof(*times));
	char last[64] = "0";
	redisContext *context;
	pid_t pid;

	context = begin_bare();
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		answer_bare();
	}
	for (size_t i = 0; i < n; i++) {
		double begun = seconds_now();
		redisReply *reply;

		freeReplyObject(redisCommand(context, "XADD q * a 12345678"));
		reply = redisCommand(context, "XREAD COUNT 1 BLOCK 0 STREAMS r %s", last);
		if (!reply || reply->type != REDIS_REPLY_ARRAY)
			die(1, "no answer");
		snprintf(last, sizeof(last), "%s",
			 reply->element[0]->element[1]->element[0]->element[0]->str);
		freeReplyObject(reply);
		times[i] = (seconds_now() - begun) * 1e6;
	}
	printf("%.1f\n", median(times, n));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	end_bare(context);
	free(times);
}

static void publish_bare(int ready, size_t n)
{
	redisContext *context = open_bare();
	const struct timespec nap = { 0, 2000000 };
	char byte;

	if (read(ready, &byte, 1) != 1)
		_exit(1);
	for (size_t i = 0; i < n; i++) {
		nanosleep(&nap, NULL);
		freeReplyObject(
			redisCommand(context, "PUBLISH p %lld", (long long)tine_now()));
	}
	_exit(0);
}

static void bare_publish(size_t n)
{
	double *times = calloc(n, sizeof(*times));
	redisContext *context = begin_bare();
	int ready[2];
	pid_t pid;

	if (pipe(ready) != 0)
		die(1, "no pipe");
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		publish_bare(ready[0], n);
	}
	freeReplyObject(redisCommand(context, "SUBSCRIBE p"));
	if (write(ready[1], "", 1) != 1)
		die(1, "no pipe");
	for (size_t i = 0; i < n; i++) {
		redisReply *reply;

		if (redisGetReply(context, (void **)&reply) != REDIS_OK ||
		    reply->elements != 3)
			die(1, "no message");
		times[i] = (double)(tine_now() - atoll(reply->element[2]->str)) / 1000;
		freeReplyObject(reply);
	}
	printf("%.1f\n", median(times, n));
	waitpid(pid, NULL, 0);
	end_bare(context);
	free(times);
}

/* What clients sent, and the microseconds that it took: scripts call none of these. */
static void count_requests(redisContext *context, uint64_t counts[static 2])
{
	static const char *const sent[] = { "evalsha", "xread", "xreadgroup", "exec",
					    "ping" };
	redisReply *reply = redisCommand(context, "INFO commandstats");

	if (!reply || reply->type != REDIS_REPLY_STRING)
		die(1, "no statistics");
	for (size_t i = 0; i < sizeof(sent) / sizeof(*sent); i++) {
		unsigned long long calls, usec;
		char name[64];
		const char *at;

		snprintf(name, sizeof(name), "cmdstat_%s:", sent[i]);
		at = strstr(reply->str, name);
		if (!at ||
		    sscanf(at + strlen(name), "calls=%llu,usec=%llu", &calls, &usec) != 2)
			continue;
		counts[0] += calls;
		counts[1] += usec;
	}
	freeReplyObject(reply);
}

static void rest(size_t seconds, int which)
{
	uint64_t before[2] = { 0 }, after[2] = { 0 };
	redisContext *context;

	begin_hosts(1, 2);
	context = open_bare();
	sleep(1);
	count_requests(context, before);
	sleep((unsigned)seconds);
	count_requests(context, after);
	printf("%.2f\n", (double)(after[which] - before[which]) / (double)seconds);
	redisFree(context);
	end();
}

static void idle(size_t seconds)
{
	rest(seconds, 0);
}

static void idle_cpu(size_t seconds)
{
	rest(seconds, 1);
}

static int count_host(void *arg, const tine_host *host)
{
	(void)host;
	++*(size_t *)arg;
	return 0;
}

/* Hosts that nobody is, as their keys are: see tine-engines(7). */
static void list(size_t n)
{
	enum { TIMES = 20 };
	redisContext *context = begin_bare();
	uint64_t before[2] = { 0 }, after[2] = { 0 };
	char url[300];

	for (size_t i = 0; i < n; i++) {
		char id[40];

		snprintf(id, sizeof(id), "%032zu", i);
		redisAppendCommand(context, "ZADD tine:{p}:w %lld %s",
				   (long long)time(NULL) * 1000, id);
		redisAppendCommand(context, "HSET tine:{p}:i %s %s", id,
				   "host 16 0 0 0 0 empty.0.c.8.8.le ");
	}
	take_replies(context, (int)(2 * n));
	snprintf(url, sizeof(url), "%s&pool=p", tine_manager_url(manager));
	count_requests(context, before);
	for (int i = 0; i < TIMES; i++) {
		size_t seen = 0;

		if (tine_hosts(url, count_host, &seen) != 0 || seen != n)
			die(1, "the hosts");
	}
	count_requests(context, after);
	printf("%.1f\n", (double)(after[1] - before[1]) / TIMES);
	end_bare(context);
}

static const struct mode {
	const char *name;
	void (*run)(size_t);
} modes[] = {
	{ "rate", rate },	  { "cpu", cpu },	    { "cpu-long", cpu_long },
	{ "bare-cpu", bare_cpu }, { "one", one },	    { "bare-one", bare_one },
	{ "many", many },	  { "find", find },	    { "publish", bare_publish },
	{ "idle", idle },	  { "idle-cpu", idle_cpu }, { "list", list },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 3 && i < sizeof(modes) / sizeof(*modes); i++)
		if (strcmp(argv[1], modes[i].name) == 0 && number(argv[2]) > 0) {
			modes[i].run(number(argv[2]));
			return 0;
		}
	die(2, "usage: elsewhere MODE N, where its source begins with the modes");
}
