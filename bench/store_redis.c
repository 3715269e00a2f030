/* SPDX-License-Identifier: MIT */
/*
 * What a call of a store on Redis costs, beside bare hiredis and Redis's own benchmark,
 * on a private server on a Unix socket: store-redis MEASURE WHO TIMES prints
 * microseconds.
 *
 *	get	a value of 16 bytes
 *	set	the same written
 *	batch	100 such values, each under a key of its own, in one go
 *	large	a value of 8 MiB
 *
 * WHO is tine, hiredis or (for batch) benchmark. Server and client have a processor each.
 */
#include "bench.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <tine.h>
#include <unistd.h>

#define LEN   16
#define BATCH 100
#define LARGE ((size_t)8 << 20)

static tine_manager *manager;
static tine_store *store;
static redisContext *bare;
static char path[128], password[128];
static char keys[BATCH][16], value[LEN], *large;

static void check(bool ok, const char *what)
{
	if (!ok)
		die(1, what);
}

static void stop_server(void)
{
	tine_manager_free(manager);
}

static void bind_to(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* The server keeps the processor that it was started on. */
static void start_server(void)
{
	int err;

	bind_to(1);
	err = tine_manager_start(&manager, NULL);
	if (err)
		die(err == -ENOENT ? SKIP : 1, tine_strerror(err));
	atexit(stop_server);
	bind_to(0);
	check(sscanf(tine_manager_url(manager), "unix:%127[^?]?password=%127s", path,
		     password) == 2,
	      "the URL");
	err = tine_store_open(&store, tine_manager_url(manager), NULL);
	if (err)
		die(err == -EPROTONOSUPPORT ? SKIP : 1, tine_strerror(err));
}

static void bare_do(redisReply *reply)
{
	check(reply && reply->type != REDIS_REPLY_ERROR, "hiredis");
	freeReplyObject(reply);
}

static void start_bare(void)
{
	bare = redisConnectUnix(path);
	check(bare && !bare->err, "hiredis");
	bare_do(redisCommand(bare, "AUTH %s", password));
}

static void tine_get(void)
{
	char buf[LEN];

	check(tine_store_get(store, keys[0], buf, sizeof(buf)) == LEN, "get");
}

/* As a caller of hiredis has it in the end: in a buffer of its own. */
static void bare_get(void)
{
	redisReply *reply = redisCommand(bare, "GET %s", keys[0]);
	char buf[LEN];

	check(reply && reply->len == LEN, "hiredis");
	memcpy(buf, reply->str, LEN);
	freeReplyObject(reply);
}

static void tine_set(void)
{
	check(tine_store_set(store, keys[0], value, LEN) == 0, "set");
}

static void bare_set(void)
{
	bare_do(redisCommand(bare, "SET %s %b", keys[0], value, (size_t)LEN));
}

static void tine_batch(void)
{
	tine_store_item items[BATCH];

	for (int i = 0; i < BATCH; i++)
		items[i] = (tine_store_item){ .key = keys[i], .val = value, .len = LEN };
	check(tine_store_set_all(store, items, BATCH) == 0, "set_all");
}

static void bare_batch(void)
{
	for (int i = 0; i < BATCH; i++)
		redisAppendCommand(bare, "SET %s %b", keys[i], value, (size_t)LEN);
	for (int i = 0; i < BATCH; i++) {
		void *reply = NULL;

		redisGetReply(bare, &reply);
		bare_do(reply);
	}
}

static void tine_large(void)
{
	check(tine_store_get(store, "large", large, LARGE) == (ssize_t)LARGE, "get");
}

static void bare_large(void)
{
	redisReply *reply = redisCommand(bare, "GET large");

	check(reply && reply->len == LARGE, "hiredis");
	memcpy(large, reply->str, LARGE);
	freeReplyObject(reply);
}

/* Of the same keys and values; it tells how many it did in a second. */
static double benchmark(uint64_t times)
{
	char command[512], line[512];
	double rate = 0;
	FILE *pipe;

	snprintf(command, sizeof(command),
		 "redis-benchmark -s '%s' -a %s -c 1 -P %d -n %llu -d %d -r %d -t set "
		 "--csv 2>/dev/null",
		 path, password, BATCH, (unsigned long long)times * BATCH, LEN, BATCH);
	pipe = popen(command, "re");
	check(pipe != NULL, "redis-benchmark");
	while (fgets(line, sizeof(line), pipe))
		if (sscanf(line, "\"SET\",\"%lf\"", &rate) == 1)
			break;
	pclose(pipe);
	if (rate <= 0)
		die(SKIP, "there is no redis-benchmark");
	return BATCH / rate;
}

static const struct measure {
	const char *name;
	void (*tine)(void), (*bare)(void);
} measures[] = {
	{ "get", tine_get, bare_get },
	{ "set", tine_set, bare_set },
	{ "batch", tine_batch, bare_batch },
	{ "large", tine_large, bare_large },
};

static double time_calls(void (*call)(void), uint64_t times)
{
	double begun;

	for (uint64_t i = 0; i < times / 10 + 1; i++)
		call();
	begun = seconds_now();
	for (uint64_t i = 0; i < times; i++)
		call();
	return (seconds_now() - begun) / (double)times;
}

int main(int argc, char **argv)
{
	const char *who = argc > 2 ? argv[2] : "";
	uint64_t times = number(argv[argc > 3 ? 3 : argc]);

	start_server();
	for (int i = 0; i < BATCH; i++)
		snprintf(keys[i], sizeof(keys[i]), "key:%010d", i);
	memset(value, 'x', LEN);
	large = calloc(1, LARGE);
	check(large && tine_store_set(store, "large", large, LARGE) == 0, "set");
	tine_set();
	start_bare();
	for (size_t i = 0; i < sizeof(measures) / sizeof(*measures); i++) {
		const struct measure *measure = &measures[i];
		double took;

		if (strcmp(argv[1], measure->name) != 0)
			continue;
		if (strcmp(who, "benchmark") == 0)
			took = benchmark(times);
		else
			took = time_calls(*who == 't' ? measure->tine : measure->bare,
					  times);
		printf("%.4f\n", took * 1e6);
		tine_store_free(store);
		redisFree(bare);
		free(large);
		return 0;
	}
	die(2, "store-redis get|set|batch|large tine|hiredis|benchmark TIMES");
}
