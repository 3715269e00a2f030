/* SPDX-License-Identifier: MIT */
/* What only a store on a Redis server can meet: lost servers, slow ones, false ones. */
#include "redis_server.h"

#include <sys/un.h>

static void *always(size_t size)
{
	void *mem = calloc(1, size);

	CHECK(mem != NULL);
	return mem;
}

static tine_store *begin(struct server *server)
{
	server_start(server, NULL);
	return server_open(server);
}

static void finish(struct server *server, tine_store *store)
{
	tine_store_free(store);
	server_stop(server);
}

static void set_text(tine_store *store, const char *key, const char *text)
{
	CHECK_EQ(tine_store_set(store, key, text, strlen(text)), 0);
}

static bool has_text(tine_store *store, const char *key, const char *text)
{
	char buf[256];
	ssize_t len = tine_store_get(store, key, buf, sizeof(buf));

	return len == (ssize_t)strlen(text) && memcmp(buf, text, (size_t)len) == 0;
}

/* What redis-cli says to a line of shell's words, its own end of line left out. */
static const char *cli(const struct server *server, const char *words)
{
	static char said[4096];
	char line[1024];
	FILE *pipe;
	size_t len;

	snprintf(line, sizeof(line), "redis-cli --no-auth-warning -s %s -a '%s' %s",
		 server->path, PASSWORD, words);
	pipe = popen(line, "re");
	CHECK(pipe != NULL);
	len = fread(said, 1, sizeof(said) - 1, pipe);
	pclose(pipe);
	said[len] = '\0';
	if (len > 0 && said[len - 1] == '\n')
		said[len - 1] = '\0';
	return said;
}

#define SAYS(server, words, expected)                                                    \
	do {                                                                             \
		const char *said_ = cli(server, words);                                  \
		if (strcmp(said_, expected) != 0)                                        \
			test_fail(__FILE__, __LINE__, "%s: '%s'", words, said_);         \
	} while (0)

/* ---- false servers ----------------------------------------------------------------- */

/* On each connection an answer to each request; NULL: hangs up. */
struct talk {
	const char *answers[10];
};

struct false_server {
	char path[64], url[96];
	pid_t pid;
	_Atomic int *requests, *connections;
};

#define SILENCE "" /* as an answer */

static void be_false(const struct false_server *server, int listener,
		     const struct talk *talks)
{
	for (;; talks++) {
		int fd = accept(listener, NULL, NULL);
		char request[4096];

		atomic_fetch_add(server->connections, 1);
		for (int i = 0; talks->answers[i]; i++) {
			if (read(fd, request, sizeof(request)) <= 0)
				break;
			if (strstr(request, "PING") == NULL)
				atomic_fetch_add(server->requests, 1);
			if (write(fd, talks->answers[i], strlen(talks->answers[i])) < 0)
				break;
			memset(request, 0, sizeof(request));
		}
		close(fd);
	}
}

static void false_start(struct false_server *server, const struct talk *talks)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_Atomic int *counts = tine_shared_new(2, sizeof(int));

	server->requests = counts;
	server->connections = counts + 1;
	snprintf(server->path, sizeof(server->path), "/tmp/tine-test-%d.socket",
		 getpid());
	snprintf(server->url, sizeof(server->url), "unix:%s", server->path);
	strcpy(address.sun_path, server->path);
	unlink(server->path);
	CHECK(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(listen(fd, 8) == 0);
	server->pid = fork();
	CHECK(server->pid >= 0);
	if (server->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGPIPE, SIG_IGN);
		be_false(server, fd, talks);
	}
	close(fd);
}

static void false_stop(struct false_server *server)
{
	kill(server->pid, SIGKILL);
	CHECK_EQ(test_reap(server->pid), -SIGKILL);
	unlink(server->path);
	tine_shared_free((void *)server->requests);
}

static const tine_store_opts hasty = { .connect_ms = 100, .answer_ms = 100 };
static const tine_store_opts patient = { .connect_ms = 20000, .answer_ms = 20000 };

/* Only where there is no answer is it waited for in vain. */
static const tine_store_opts *as_patient(const char *answer)
{
	return answer && strcmp(answer, SILENCE) == 0 ? &hasty : &patient;
}

TEST(a_peer_that_is_no_redis)
{
	static const struct {
		const char *answer;
		int err;
	} cases[] = {
		{ "HTTP/1.1 400 Bad Request\r\n\r\n", -EBADMSG },
		{ "220 mail ESMTP\r\n", -EBADMSG },
		{ "+OK\r\n", -EBADMSG },
		{ "$4\r\nPONG\r\n", -EBADMSG },
		{ ":1\r\n", -EBADMSG },
		{ "*1\r\n$4\r\nPONG\r\n", -EBADMSG },
		{ "-ERR unknown command 'PING'\r\n", -EBADMSG },
		{ "-ERR max number of clients reached\r\n", -ECONNREFUSED },
		{ "-DENIED Redis is running in protected mode\r\n", -EACCES },
		{ "-NOAUTH Authentication required.\r\n", -EACCES },
		{ SILENCE, -ETIMEDOUT },
		{ NULL, -ECONNRESET },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		/* It waits for what does not come, as a silent one does. */
		struct talk talks[9] = { { { cases[i].answer, SILENCE } } };
		struct false_server server;
		tine_store *store = (void *)1;

		false_start(&server, talks);
		CHECK_EQ(tine_store_open(&store, server.url, as_patient(cases[i].answer)),
			 cases[i].err);
		CHECK(store == (void *)1);
		false_stop(&server);
	}
}

TEST(errors_have_codes)
{
	static const struct {
		const char *answer;
		int err;
	} cases[] = {
		{ "-MOVED 3999 127.0.0.1:6381\r\n", -EREMOTE },
		{ "-ASK 3999 127.0.0.1:6381\r\n", -EREMOTE },
		{ "-CROSSSLOT Keys in request don't hash to the same slot\r\n",
		  -EREMOTE },
		{ "-CLUSTERDOWN Hash slot not served\r\n", -EREMOTE },
		{ "-WRONGTYPE Operation against a key\r\n", -TINE_EKIND },
		{ "-ERR Error running script (call to f_1): @user_script:1: WRONGTYPE "
		  "Operation\r\n",
		  -TINE_EKIND },
		{ "-ERR Error running script (call to f_1): @user_script:1: -OOM "
		  "command\r\n",
		  -ENOMEM },
		{ "-READONLY You can't write\r\n", -EROFS },
		{ "-MISCONF Redis is configured to save\r\n", -EROFS },
		{ "-OOM command not allowed\r\n", -ENOMEM },
		{ "-NOPERM this user has no permissions\r\n", -EACCES },
		{ "-NOAUTH Authentication required.\r\n", -EACCES },
		{ "-MOVEDABOUT\r\n", -EBADMSG },
		{ "-ERR unknown command\r\n", -EBADMSG },
		{ "*0\r\n", -EBADMSG },
		{ ":5\r\n", -EBADMSG },
		{ "garbage\r\n", -EBADMSG },
		{ "$-1\r\n", -ENOENT },
		{ SILENCE, -ETIMEDOUT },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct talk talks[2] = { { { "+PONG\r\n", cases[i].answer, SILENCE } } };
		struct false_server server;
		tine_store *store;
		char buf[8] = "as it is";

		false_start(&server, talks);
		CHECK_EQ(tine_store_open(&store, server.url, as_patient(cases[i].answer)),
			 0);
		CHECK_EQ(tine_store_get(store, "key", buf, sizeof(buf)), cases[i].err);
		CHECK(memcmp(buf, "as it is", 8) == 0);
		tine_store_free(store);
		false_stop(&server);
	}
}

TEST(what_does_no_harm_twice_is_asked_twice)
{
	static const struct talk talks[] = {
		{ { "+PONG\r\n", NULL } },
		{ { "+PONG\r\n", "$5\r\nval", NULL } }, /* half an answer */
		{ { "+PONG\r\n", "$3\r\nval\r\n", NULL } },
		{ { "+PONG\r\n", NULL } },
		{ { "+PONG\r\n", NULL } },
	};
	struct false_server server;
	tine_store *store;
	char buf[8] = "";

	false_start(&server, talks);
	CHECK_EQ(tine_store_open(&store, server.url, NULL), 0);
	/* The first hangs up before the question, the second in the answer. */
	CHECK_EQ(tine_store_get(store, "key", buf, sizeof(buf)), -ECONNRESET);
	CHECK_EQ(buf[0], 0);
	CHECK_EQ(tine_store_get(store, "key", buf, sizeof(buf)), 3);
	CHECK(memcmp(buf, "val", 3) == 0);
	/* The third hangs up as well; so do the fourth and the fifth. */
	CHECK_EQ(tine_store_get(store, "key", buf, sizeof(buf)), -ECONNRESET);
	tine_store_free(store);
	false_stop(&server);
}

static int pushes(tine_store *store)
{
	return tine_store_append(store, "key", "v", 1);
}

static int pops(tine_store *store)
{
	char buf[8];

	return (int)tine_store_take(store, "key", buf, sizeof(buf), TINE_NOWAIT);
}

static int adds(tine_store *store)
{
	return tine_store_add(store, "key", 1, NULL);
}

static int swaps(tine_store *store)
{
	return tine_store_compare_set(store, "key", NULL, 0, "v", 1);
}

static int deletes(tine_store *store)
{
	return tine_store_del(store, "key");
}

static int deletes_field(tine_store *store)
{
	return tine_store_del_field(store, "key", "field");
}

#define TIME_IS "*2\r\n$10\r\n1800000000\r\n$1\r\n5\r\n"

TEST(what_does_is_asked_once)
{
	static int (*const calls[])(tine_store *) = { pushes, pops,    adds,
						      swaps,  deletes, deletes_field };
	static const struct talk talks[] = {
		{ { "+PONG\r\n", "+", NULL } },
		{ { "+PONG\r\n", ":1\r\n", SILENCE } },
		{ { "+PONG\r\n", ":1\r\n", SILENCE } },
	};
	/* It is asked for the time before. */
	static const struct talk of_pop[] = {
		{ { "+PONG\r\n", TIME_IS, "+", NULL } },
		{ { "+PONG\r\n", TIME_IS, ":1\r\n", SILENCE } },
		{ { "+PONG\r\n", TIME_IS, ":1\r\n", SILENCE } },
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		bool pop = calls[i] == pops;
		struct false_server server;
		tine_store *store;

		false_start(&server, pop ? of_pop : talks);
		CHECK_EQ(tine_store_open(&store, server.url, NULL), 0);
		/* It was asked, and then the server was gone: was it done? */
		CHECK_EQ(calls[i](store), -ECONNRESET);
		CHECK_EQ(atomic_load(server.requests), pop ? 2 : 1);
		CHECK_EQ(atomic_load(server.connections), 1);
		/* The next call connects anew. */
		CHECK(calls[i](store) != -ECONNRESET);
		CHECK_EQ(atomic_load(server.connections), 2);
		tine_store_free(store);
		false_stop(&server);
	}
}

TEST(a_server_that_loads_is_waited_for)
{
	static const struct talk talks[] = {
		{ { "-LOADING Redis is loading the dataset in memory\r\n",
		    "-LOADING Redis is loading\r\n", "-BUSY a script\r\n", ":8\r\n",
		    "-BUSY a script\r\n", "-BUSY a script\r\n", SILENCE, SILENCE } },
	};
	struct false_server server;
	tine_store *store;
	int64_t now = 0;

	false_start(&server, talks);
	CHECK_EQ(tine_store_open(&store, server.url, &hasty), 0);
	CHECK_EQ(tine_store_add(store, "key", 1, &now), 0);
	CHECK_EQ(now, 8);
	CHECK_EQ(tine_store_add(store, "key", 1, &now), -ETIMEDOUT);
	CHECK_EQ(now, 8);
	tine_store_free(store);
	false_stop(&server);
}

/* ---- servers that are not there ---------------------------------------------------- */

TEST(no_server)
{
	tine_store *store = (void *)1;
	char url[64];

	CHECK_EQ(tine_store_open(&store, "unix:/nowhere/redis", NULL), -ECONNREFUSED);
	CHECK_EQ(tine_store_open(&store, "unix:/tmp", NULL), -ECONNREFUSED);
	snprintf(url, sizeof(url), "redis://127.0.0.1:%d", free_port());
	CHECK_EQ(tine_store_open(&store, url, NULL), -ECONNREFUSED);
	snprintf(url, sizeof(url), "redis://localhost:%d/3", free_port());
	CHECK_EQ(tine_store_open(&store, url, NULL), -ECONNREFUSED);
	CHECK(store == (void *)1);
}

/* A queue of connections that is full takes no more, and says nothing. */
TEST(a_host_that_swallows_everything)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fds[8];
	tine_store *store = (void *)1;
	char url[64];
	int64_t begun;

	CHECK(bind(listener, (struct sockaddr *)&address, len) == 0);
	CHECK(listen(listener, 0) == 0);
	CHECK(getsockname(listener, (struct sockaddr *)&address, &len) == 0);
	snprintf(url, sizeof(url), "redis://127.0.0.1:%d", ntohs(address.sin_port));
	/* The first is accepted by the kernel, and says nothing. */
	CHECK_EQ(tine_store_open(&store, url, &hasty), -ETIMEDOUT);
	for (int i = 0; i < 8; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		connect(fds[i], (struct sockaddr *)&address, len);
	}
	begun = tine_now();
	CHECK_EQ(tine_store_open(&store, url, NULL), -ETIMEDOUT);
	CHECK((tine_now() - begun) / 1000000 >= 700);
	for (int i = 0; i < 8; i++)
		close(fds[i]);
	close(listener);
}

TEST(users_and_passwords)
{
	static const char *const bad[] = { "unix:%s", "unix:%s?password=wrong",
					   "unix:%s?user=nobody&password=x",
					   "unix:%s?user=default&password=" };
	struct server server;
	tine_store *store = (void *)1;
	char url[160];

	server_start(&server, NULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(url, sizeof(url), bad[i], server.path);
		CHECK_EQ(tine_store_open(&store, url, NULL), -EACCES);
	}
	snprintf(url, sizeof(url), "redis://:wrong@127.0.0.1:%d", server.port);
	CHECK_EQ(tine_store_open(&store, url, NULL), -EACCES);
	snprintf(url, sizeof(url), "%s&db=16", server.local);
	CHECK_EQ(tine_store_open(&store, url, NULL), -EINVAL);
	CHECK(store == (void *)1);
	/* One who may read some keys, and nothing else, not even PING. */
	SAYS(&server, "acl setuser reader on '>pass' '~open:*' +get", "OK");
	snprintf(url, sizeof(url), "unix:%s?user=reader&password=pass", server.path);
	CHECK_EQ(tine_store_open(&store, url, NULL), 0);
	CHECK_EQ(tine_store_get(store, "open:1", NULL, 0), -ENOENT);
	CHECK_EQ(tine_store_get(store, "other", NULL, 0), -EACCES);
	CHECK_EQ(tine_store_set(store, "open:1", "v", 1), -EACCES);
	CHECK_EQ(tine_store_wait(store, "open:1", &(uint64_t){ 0 }, TINE_NOWAIT),
		 -EACCES);
	tine_store_free(store);
	/* A server without a password does not know what to do with one. */
	SAYS(&server, "config set requirepass ''", "OK");
	snprintf(url, sizeof(url), "unix:%s?db=3", server.path);
	CHECK_EQ(tine_store_open(&store, url, NULL), 0);
	set_text(store, "key", "three");
	tine_store_free(store);
	snprintf(url, sizeof(url), "redis://127.0.0.1:%d/3", server.port);
	CHECK_EQ(tine_store_open(&store, url, NULL), 0);
	CHECK(has_text(store, "key", "three"));
	tine_store_free(store);
	CHECK_EQ(tine_store_open(&store, server.local, NULL), -EACCES);
	server_stop(&server);
}

TEST(a_server_that_comes_back)
{
	struct server server;
	tine_store *store = begin(&server);
	int64_t now = 0;

	for (int i = 0; i < 3; i++) {
		set_text(store, "key", "value");
		server_kill(&server);
		CHECK_EQ(tine_store_get(store, "key", NULL, 0), -ECONNREFUSED);
		CHECK_EQ(adds(store), -ECONNREFUSED);
		CHECK_EQ(pops(store), -ECONNREFUSED);
		CHECK_EQ(tine_store_wait(store, "key", &(uint64_t){ 0 }, TINE_FOREVER),
			 -ECONNREFUSED);
		server_run(&server, NULL);
		CHECK_EQ(tine_store_get(store, "key", NULL, 0), -ENOENT);
		/* A loss that is seen before anything is sent does no harm. */
		server_kill(&server);
		server_run(&server, NULL);
		CHECK_EQ(tine_store_add(store, "counter", 5, &now), 0);
		CHECK_EQ(now, 5);
		server_kill(&server);
		server_run(&server, NULL);
		set_text(store, "key", "again");
		CHECK(has_text(store, "key", "again"));
	}
	finish(&server, store);
}

/* The server is killed by another process, so many microseconds after this. */
static void push_into_death(struct server *server, tine_store *store, const char *val,
			    size_t len, long us)
{
	pid_t killer = fork();
	int err;

	if (killer == 0) {
		test_sleep_us(us);
		kill(server->pid, SIGKILL);
		_exit(0);
	}
	err = tine_store_append(store, "list", val, len);
	CHECK(err == 0 || err == -ECONNRESET);
	CHECK_EQ(test_reap(killer), 0);
	CHECK_EQ(test_reap(server->pid), -SIGKILL);
}

/* SIGPIPE would end this process. */
TEST(a_server_that_is_killed_while_it_is_told_much)
{
	size_t len = (size_t)64 << 20;
	char *val = always(len);
	struct server server;
	tine_store *store = begin(&server);

	for (int i = 0; i < 5; i++) {
		push_into_death(&server, store, val, len, 2000 + 4000 * i);
		server_run(&server, NULL);
		CHECK_EQ(tine_store_append(store, "list", val, 1), 0);
		CHECK_EQ(tine_store_len(store, "list"), 1);
	}
	finish(&server, store);
	free(val);
}

/* ---- slow servers ------------------------------------------------------------------ */

TEST(a_server_that_is_stopped)
{
	struct server server;
	tine_store *store;
	uint64_t version = 0, before;
	char buf[8] = "as it is";
	int64_t begun;

	server_start(&server, NULL);
	CHECK_EQ(tine_store_open(&store, server.local, &hasty), 0);
	set_text(store, "first", "1");
	set_text(store, "second", "2");
	CHECK_EQ(pushes(store), 0);
	CHECK_EQ(tine_store_wait(store, "first", &version, TINE_NOWAIT), 0);
	kill(server.pid, SIGSTOP);
	CHECK_EQ(tine_store_get(store, "first", buf, sizeof(buf)), -ETIMEDOUT);
	CHECK(memcmp(buf, "as it is", 8) == 0);
	CHECK_EQ(adds(store), -ETIMEDOUT);
	kill(server.pid, SIGCONT);
	/* The late answer is nobody's. */
	CHECK(has_text(store, "second", "2"));
	CHECK(has_text(store, "first", "1"));
	tine_store_free(store);

	/* Deadlines hold, where answers may take long. */
	CHECK_EQ(tine_store_open(&store, server.local, NULL), 0);
	version = 0;
	CHECK_EQ(tine_store_wait(store, "first", &version, TINE_NOWAIT), 0);
	before = version;
	kill(server.pid, SIGSTOP);
	begun = tine_now();
	CHECK_EQ(tine_store_wait(store, "first", &version, tine_after(150)), -ETIMEDOUT);
	CHECK_EQ(tine_store_wait(store, "second", &version, tine_after(150)), -ETIMEDOUT);
	CHECK_EQ(version, before);
	CHECK((tine_now() - begun) / 1000000 < 4500);
	kill(server.pid, SIGCONT);
	/* With a connection that is there. */
	CHECK_EQ(tine_store_len(store, "key"), 1);
	kill(server.pid, SIGSTOP);
	CHECK_EQ(tine_store_take(store, "key", buf, 8, tine_after(150)), -ETIMEDOUT);
	kill(server.pid, SIGCONT);
	/* What was not got was not taken. */
	CHECK_EQ(tine_store_len(store, "key"), 1);
	CHECK_EQ(tine_store_take(store, "key", buf, 8, tine_after(5000)), 1);
	tine_store_free(store);
	server_stop(&server);
}

TEST(a_server_that_pauses)
{
	struct server server;
	tine_store *store;

	server_start(&server, NULL);
	CHECK_EQ(tine_store_open(&store, server.tcp, &hasty), 0);
	SAYS(&server, "client pause 400 all", "OK");
	CHECK_EQ(tine_store_get(store, "key", NULL, 0), -ETIMEDOUT);
	test_sleep_us(500000);
	CHECK_EQ(tine_store_get(store, "key", NULL, 0), -ENOENT);
	tine_store_free(store);
	server_stop(&server);
}

TEST(a_server_that_runs_a_script)
{
	struct server server;
	tine_store *store = begin(&server);
	pid_t pids[2];

	set_text(store, "key", "value");
	/* A script that does not end makes it busy, until it is killed. */
	SAYS(&server, "config set busy-reply-threshold 20", "OK");
	pids[0] = fork();
	if (pids[0] == 0) {
		cli(&server, "eval 'while true do end' 0");
		_exit(0);
	}
	test_sleep_us(100000);
	pids[1] = fork();
	if (pids[1] == 0) {
		test_sleep_us(100000);
		cli(&server, "script kill");
		_exit(0);
	}
	CHECK(has_text(store, "key", "value"));
	CHECK_EQ(test_reap(pids[0]), 0);
	CHECK_EQ(test_reap(pids[1]), 0);
	finish(&server, store);
}

/* ---- servers that refuse ----------------------------------------------------------- */

TEST(no_memory_in_the_server)
{
	tine_store_item items[] = { { .key = "a", .val = "1", .len = 1 },
				    { .key = "b", .val = "2", .len = 1 } };
	size_t len = (size_t)2 << 20;
	char *val = always(len);
	struct server server;
	tine_store *store = begin(&server);

	set_text(store, "key", "value");
	SAYS(&server, "config set maxmemory 1", "OK");
	CHECK_EQ(tine_store_set(store, "key", "new", 3), -ENOMEM);
	CHECK_EQ(tine_store_set(store, "key", val, len), -ENOMEM);
	CHECK_EQ(tine_store_set_all(store, items, 2), -ENOMEM);
	CHECK_EQ(adds(store), -ENOMEM);
	CHECK_EQ(tine_store_compare_set(store, "none", NULL, 0, "v", 1), -ENOMEM);
	CHECK_EQ(tine_store_append(store, "list", "v", 1), -ENOMEM);
	CHECK_EQ(tine_store_put_field(store, "dict", "f", "v", 1), -ENOMEM);
	CHECK(has_text(store, "key", "value"));
	CHECK_EQ(tine_store_len(store, "a"), -ENOENT);
	SAYS(&server, "config set maxmemory 0", "OK");
	CHECK_EQ(tine_store_set(store, "key", val, len), 0);
	CHECK_EQ(tine_store_del(store, "key"), 0);
	finish(&server, store);
	free(val);
}

TEST(a_replica_is_read_only)
{
	size_t len = (size_t)2 << 20;
	char *val = always(len);
	struct server server;
	tine_store *store = begin(&server);

	set_text(store, "key", "value");
	CHECK_EQ(pushes(store), -TINE_EKIND);
	CHECK_EQ(tine_store_append(store, "list", "v", 1), 0);
	SAYS(&server, "replicaof 127.0.0.1 1", "OK");
	CHECK(has_text(store, "key", "value"));
	CHECK_EQ(tine_store_len(store, "key"), 5);
	CHECK_EQ(tine_store_set(store, "key", "new", 3), -EROFS);
	CHECK_EQ(tine_store_set(store, "key", val, len), -EROFS);
	CHECK_EQ(tine_store_add(store, "counter", 1, NULL), -EROFS);
	CHECK_EQ(tine_store_compare_set(store, "key", "value", 5, "new", 3), -EROFS);
	CHECK_EQ(tine_store_append(store, "list", "v", 1), -EROFS);
	CHECK_EQ(tine_store_take(store, "list", val, len, TINE_NOWAIT), -EROFS);
	CHECK_EQ(deletes(store), -EROFS);
	CHECK_EQ(tine_store_expire(store, "key", 1000), -EROFS);
	CHECK_EQ(tine_store_expire(store, "key", 0), -EROFS);
	CHECK(has_text(store, "key", "value"));
	finish(&server, store);
	free(val);
}

TEST(a_cluster_that_has_the_key_elsewhere)
{
	struct server server;
	tine_store *store;
	char words[128];

	server_start(&server, (const char *[]){ "--cluster-enabled", "yes", NULL });
	store = server_open(&server);
	CHECK_EQ(tine_store_get(store, "key", NULL, 0), -EREMOTE);
	CHECK_EQ(tine_store_set(store, "key", "v", 1), -EREMOTE);
	CHECK_EQ(tine_store_wait(store, "key", &(uint64_t){ 0 }, TINE_NOWAIT), -EREMOTE);
	SAYS(&server, "cluster addslotsrange 0 16383", "OK");
	for (int i = 0; i < 500 && tine_store_get(store, "a", NULL, 0) == -EREMOTE; i++)
		test_sleep_us(10000);
	set_text(store, "a", "1");
	CHECK(has_text(store, "a", "1"));
	CHECK_EQ(tine_store_set_all(
			 store,
			 (tine_store_item[]){ { .key = "a", .val = "1", .len = 1 },
					      { .key = "b", .val = "2", .len = 1 } },
			 2),
		 -EREMOTE);
	CHECK_EQ(tine_store_set_all(
			 store,
			 (tine_store_item[]){ { .key = "{a}1", .val = "1", .len = 1 },
					      { .key = "{a}2", .val = "2", .len = 1 } },
			 2),
		 0);
	tine_store_free(store);
	snprintf(words, sizeof(words), "%s/nodes.conf", server.folder);
	unlink(words);
	server_stop(&server);
}

/* ---- kinds and long values --------------------------------------------------------- */

TEST(nothing_takes_the_place_of_another_kind)
{
	static const char *const others[] = { "rpush k v", "hset k f v", "sadd k v",
					      "zadd k 1 v", "xadd k '*' f v" };
	size_t len = (size_t)2 << 20;
	char *val = always(len), buf[8];
	struct server server;
	tine_store *store = begin(&server);

	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		tine_store_item items[] = { { .key = "other", .val = "v", .len = 1 },
					    { .key = "k", .val = "v", .len = 1 } };

		cli(&server, others[i]);
		CHECK_EQ(tine_store_set(store, "k", "v", 1), -TINE_EKIND);
		CHECK_EQ(tine_store_set(store, "k", val, len), -TINE_EKIND);
		CHECK_EQ(tine_store_set_all(store, items, 2), -TINE_EKIND);
		items[0].val = val;
		items[0].len = len;
		CHECK_EQ(tine_store_set_all(store, items, 2), -TINE_EKIND);
		CHECK_EQ(tine_store_len(store, "other"), -ENOENT);
		CHECK_EQ(tine_store_get(store, "k", buf, 8), -TINE_EKIND);
		CHECK_EQ(tine_store_add(store, "k", 1, NULL), -TINE_EKIND);
		CHECK_EQ(tine_store_compare_set(store, "k", NULL, 0, "v", 1),
			 -TINE_EKIND);
		if (i != 0) {
			CHECK_EQ(tine_store_append(store, "k", "v", 1), -TINE_EKIND);
			CHECK_EQ(tine_store_take(store, "k", buf, 8, tine_after(20)),
				 -TINE_EKIND);
		}
		if (i != 1)
			CHECK_EQ(tine_store_get_field(store, "k", "f", buf, 8),
				 -TINE_EKIND);
		if (i > 1)
			CHECK_EQ(tine_store_len(store, "k"), -TINE_EKIND);
		CHECK_EQ(tine_store_del(store, "k"), 0);
	}
	finish(&server, store);
	free(val);
}

/* So many that they are set in several pieces, and none are where one cannot be. */
TEST(thousands_of_values_at_once)
{
	enum { MANY = 9001 };
	char(*keys)[16] = always(MANY * sizeof(*keys));
	tine_store_item *items = always(MANY * sizeof(*items));
	struct server server;
	tine_store *store = begin(&server);

	for (int i = 0; i < MANY; i++) {
		snprintf(keys[i], sizeof(*keys), "key:%d", i);
		items[i] = (tine_store_item){ .key = keys[i],
					      .val = keys[i] + 4,
					      .len = strlen(keys[i] + 4) };
	}
	CHECK_EQ(tine_store_append(store, keys[MANY - 1], "v", 1), 0);
	CHECK_EQ(tine_store_set_all(store, items, MANY), -TINE_EKIND);
	SAYS(&server, "dbsize", "1");
	CHECK_EQ(tine_store_del(store, keys[MANY - 1]), 0);
	/* Of a key that comes twice the last counts. */
	items[0] = (tine_store_item){ .key = "key:1", .val = "not this", .len = 8 };
	items[MANY - 1] = (tine_store_item){ .key = "key:2", .val = "this", .len = 4 };
	CHECK_EQ(tine_store_set_all(store, items, MANY), 0);
	SAYS(&server, "dbsize", "8999");
	CHECK(has_text(store, "key:1", "1"));
	CHECK(has_text(store, "key:2", "this"));
	for (int i = 3; i < MANY - 1; i++)
		CHECK(has_text(store, keys[i], keys[i] + 4));
	finish(&server, store);
	free(items);
	free(keys);
}

TEST(long_values)
{
	size_t len = ((size_t)5 << 20) + 3;
	unsigned char *val = always(len), *buf = always(len);
	struct server server;
	tine_store *store = begin(&server);

	for (size_t i = 0; i < len; i++)
		val[i] = (unsigned char)(i * 2654435761u >> 13);
	/* Around the lengths from which on they are not copied, or not in scripts. */
	for (int i = 0; i < 4; i++) {
		size_t lens[] = { 16 << 10, (16 << 10) + 1, 1 << 20, len };

		for (int less = 0; less < 2; less++) {
			size_t n = lens[i] - (size_t)less;
			tine_store_item items[] = {
				{ .key = "a", .val = val, .len = n },
				{ .key = "b", .val = "", .len = 0 },
				{ .key = "c", .val = val + 1, .len = n - 1 }
			};

			CHECK_EQ(tine_store_set_all(store, items, 3), 0);
			memset(buf, 0, len);
			CHECK_EQ(tine_store_get(store, "a", buf, len), n);
			CHECK(memcmp(buf, val, n) == 0);
			CHECK_EQ(tine_store_get(store, "c", buf, 10), n - 1);
			CHECK(memcmp(buf, val + 1, 10) == 0 && buf[10] == val[10]);
			CHECK_EQ(tine_store_len(store, "b"), 0);
			CHECK_EQ(tine_store_append(store, "list", val, n), 0);
			CHECK_EQ(tine_store_take(store, "list", buf, n - 1, TINE_NOWAIT),
				 -EMSGSIZE);
			CHECK_EQ(tine_store_take(store, "list", buf, n, TINE_NOWAIT), n);
			CHECK(memcmp(buf, val, n) == 0);
		}
	}
	finish(&server, store);
	free(val);
	free(buf);
}

/* While somebody changes the key all the time, what is set is set whole. */
TEST(long_values_are_set_among_others)
{
	size_t len = (size_t)1 << 20;
	char *val = always(len);
	struct server server;
	tine_store *store;
	pid_t pid;

	server_start(&server, NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		store = server_open(&server);
		/* A change, but not of what it is. */
		for (;;)
			tine_store_expire(store, "key", 1000000);
	}
	store = server_open(&server);
	for (int i = 0; i < 20; i++) {
		char first = 0;

		val[0] = (char)('a' + i);
		CHECK_EQ(tine_store_set(store, "key", val, len), 0);
		CHECK_EQ(tine_store_get(store, "key", &first, 1), len);
		CHECK_EQ(first, 'a' + i);
	}
	kill(pid, SIGKILL);
	CHECK_EQ(test_reap(pid), -SIGKILL);
	tine_store_free(store);
	server_stop(&server);
	free(val);
}

/* ---- TLS --------------------------------------------------------------------------- */

/* Where there is a server, and what comes after "127.0.0.1:PORT" or another host's. */
static int tls_error(const struct server *server, const char *host, const char *rest)
{
	char url[256];
	tine_store *store = (void *)1;
	int err;

	snprintf(url, sizeof(url), "rediss://:%s@%s:%s%s%s", ESCAPED, host,
		 server->port_text, *rest ? "?" : "", rest);
	err = tine_store_open(&store, url, &patient);
	if (err == 0) {
		set_text(store, "key", "value");
		CHECK(has_text(store, "key", "value"));
		tine_store_free(store);
	} else {
		CHECK(store == (void *)1);
	}
	return err;
}

static const char *file_of(const struct server *server, const char *before,
			   const char *name)
{
	static char text[128];

	snprintf(text, sizeof(text), "%s%s/%s", before, server->certificates, name);
	return text;
}

TEST(whom_tls_believes)
{
	struct server server;
	FILE *file;

	tls_server_start(&server, "server", "no");
	CHECK_EQ(tls_error(&server, "127.0.0.1", file_of(&server, "cacert=", "ca.crt")),
		 0);
	CHECK_EQ(tls_error(&server, "localhost", file_of(&server, "cacert=", "ca.crt")),
		 0);
	/* It is for one address of this machine, and not for others. */
	CHECK_EQ(tls_error(&server, "[::ffff:127.0.0.1]",
			   file_of(&server, "cacert=", "ca.crt")),
		 -TINE_ECERT);
	CHECK_EQ(
		tls_error(&server, "127.0.0.1", file_of(&server, "cacert=", "other.crt")),
		-TINE_ECERT);
	/* The system's authorities do not know it, until they do. */
	CHECK_EQ(tls_error(&server, "127.0.0.1", ""), -TINE_ECERT);
	setenv("SSL_CERT_FILE", file_of(&server, "", "ca.crt"), 1);
	CHECK_EQ(tls_error(&server, "127.0.0.1", ""), 0);
	unsetenv("SSL_CERT_FILE");
	/* Files that are not there, or are not what they should be. */
	CHECK_EQ(tls_error(&server, "127.0.0.1", "cacert=/nowhere/ca.crt"), -ENOENT);
	CHECK_EQ(tls_error(&server, "127.0.0.1", "cert=/nowhere/x"), -ENOENT);
	CHECK_EQ(tls_error(&server, "127.0.0.1", file_of(&server, "cacert=", "ca.key")),
		 -EINVAL);
	CHECK_EQ(tls_error(&server, "127.0.0.1", file_of(&server, "cert=", "client.crt")),
		 -EINVAL);
	file = fopen(file_of(&server, "", "empty"), "we");
	CHECK(file != NULL);
	fclose(file);
	CHECK_EQ(tls_error(&server, "127.0.0.1", file_of(&server, "cacert=", "empty")),
		 -EINVAL);
	tls_server_stop(&server);
}

TEST(a_certificate_for_another_host)
{
	struct server server;

	tls_server_start(&server, "elsewhere", "no");
	CHECK_EQ(tls_error(&server, "127.0.0.1", file_of(&server, "cacert=", "ca.crt")),
		 -TINE_ECERT);
	CHECK_EQ(tls_error(&server, "localhost", file_of(&server, "cacert=", "ca.crt")),
		 -TINE_ECERT);
	tls_server_stop(&server);
}

TEST(a_server_that_wants_certificates)
{
	struct server server;
	char rest[256], line[256];
	int n;

	tls_server_start(&server, "server", "yes");
	n = snprintf(rest, sizeof(rest), "cacert=%s/ca.crt", server.certificates);
	CHECK_EQ(tls_error(&server, "127.0.0.1", rest), -EACCES);
	snprintf(rest + n, sizeof(rest) - (size_t)n,
		 "&cert=%s/client.crt&key=%s/client.key", server.certificates,
		 server.certificates);
	CHECK_EQ(tls_error(&server, "127.0.0.1", rest), 0);
	snprintf(rest + n, sizeof(rest) - (size_t)n,
		 "&cert=%s/other.crt&key=%s/other.key", server.certificates,
		 server.certificates);
	CHECK_EQ(tls_error(&server, "127.0.0.1", rest), -EACCES);
	/* Not its key; both in one file; one that a terminal would be asked about. */
	snprintf(rest + n, sizeof(rest) - (size_t)n,
		 "&cert=%s/client.crt&key=%s/other.key", server.certificates,
		 server.certificates);
	CHECK_EQ(tls_error(&server, "127.0.0.1", rest), -EINVAL);
	snprintf(line, sizeof(line),
		 "cd %s && cat client.crt client.key >both && openssl ec -in client.key "
		 "-aes128 -passout pass:secret -out locked.key 2>/dev/null",
		 server.certificates);
	CHECK_EQ(system(line), 0);
	snprintf(rest + n, sizeof(rest) - (size_t)n, "&cert=%s/both",
		 server.certificates);
	CHECK_EQ(tls_error(&server, "127.0.0.1", rest), 0);
	snprintf(rest + n, sizeof(rest) - (size_t)n,
		 "&cert=%s/client.crt&key=%s/locked.key", server.certificates,
		 server.certificates);
	CHECK_EQ(tls_error(&server, "127.0.0.1", rest), -EINVAL);
	tls_server_stop(&server);
}

/* What listens on loopback, and says this to all that it hears; NULL: hangs up. */
static pid_t false_tls(char *url, size_t size, const char *answer)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	CHECK(bind(fd, (struct sockaddr *)&address, len) == 0);
	CHECK(listen(fd, 8) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
	snprintf(url, size, "rediss://127.0.0.1:%d", ntohs(address.sin_port));
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		char buf[4096];
		int one;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while ((one = accept(fd, NULL, NULL)) >= 0) {
			if (answer && read(one, buf, sizeof(buf)) > 0 &&
			    write(one, answer, strlen(answer)) >= 0)
				while (read(one, buf, sizeof(buf)) > 0)
					;
			close(one);
		}
		_exit(1);
	}
	close(fd);
	return pid;
}

TEST(peers_without_tls)
{
	static const struct {
		const char *answer;
		int err;
	} cases[] = {
		{ "-NOAUTH Authentication required.\r\n", -EBADMSG },
		{ "HTTP/1.1 400 Bad Request\r\n\r\n", -EBADMSG },
		{ SILENCE, -ETIMEDOUT },
		{ NULL, -ECONNRESET },
	};
	struct server server;
	tine_store *store = (void *)1;
	char url[64];

	if (tine_store_open(&store, "rediss://127.0.0.1:1", NULL) == -EPROTONOSUPPORT)
		test_skip("a build without TLS");
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		pid_t pid = false_tls(url, sizeof(url), cases[i].answer);
		int64_t begun = tine_now();

		CHECK_EQ(tine_store_open(&store, url, as_patient(cases[i].answer)),
			 cases[i].err);
		if (cases[i].err != -ETIMEDOUT)
			CHECK((tine_now() - begun) / 1000000 < 15000);
		kill(pid, SIGKILL);
		CHECK_EQ(test_reap(pid), -SIGKILL);
	}
	/* And the other way round. */
	tls_server_start(&server, "server", "no");
	snprintf(url, sizeof(url), "redis://127.0.0.1:%s", server.port_text);
	CHECK(tine_store_open(&store, url, &hasty) < 0);
	CHECK(store == (void *)1);
	tls_server_stop(&server);
}

/* As a_server_that_comes_back(), and as one that is killed while it is told much. */
TEST(a_server_with_tls_that_comes_back)
{
	size_t len = (size_t)64 << 20;
	char *val = always(len);
	uint64_t version = 0, before;
	struct server server;
	tine_store *store;
	int64_t now = 0;

	tls_server_start(&server, "server", "no");
	CHECK_EQ(tine_store_open(&store, server.tls, NULL), 0);
	/* What it was told at first is enough. */
	unlink(server.files[2]);
	server.more[5] = server.files[0];
	for (int i = 0; i < 3; i++) {
		set_text(store, "key", "value");
		CHECK_EQ(tine_store_wait(store, "key", &version, TINE_NOWAIT), 0);
		before = version;
		server_kill(&server);
		CHECK_EQ(tine_store_get(store, "key", NULL, 0), -ECONNREFUSED);
		CHECK_EQ(adds(store), -ECONNREFUSED);
		server_run(&server, server.more);
		CHECK_EQ(tine_store_get(store, "key", NULL, 0), -ENOENT);
		CHECK_EQ(tine_store_wait(store, "key", &version, TINE_NOWAIT), 0);
		CHECK(version != before);
		CHECK_EQ(tine_store_wait(store, "key", &version, TINE_NOWAIT),
			 -ETIMEDOUT);
		server_kill(&server);
		server_run(&server, server.more);
		CHECK_EQ(tine_store_add(store, "counter", 5, &now), 0);
		CHECK_EQ(now, 5);
		/* What is written in several pieces meets the loss by SIGPIPE. */
		server_kill(&server);
		server_run(&server, server.more);
		CHECK_EQ(tine_store_put_field(store, "dict", "f", val, 200000), 0);
	}
	for (int i = 0; i < 3; i++) {
		push_into_death(&server, store, val, len, 2000 + 10000 * i);
		server_run(&server, server.more);
	}
	tine_store_free(store);
	tls_server_stop(&server);
	free(val);
}

/* A server that is stopped says nothing, in the middle of a greeting or of a question. */
TEST(deadlines_hold_with_tls)
{
	struct server server;
	tine_store *store, *other = (void *)1;
	uint64_t version = 0;
	int64_t begun;

	tls_server_start(&server, "server", "no");
	CHECK_EQ(tine_store_open(&store, server.tls, &hasty), 0);
	set_text(store, "key", "value");
	CHECK_EQ(tine_store_wait(store, "key", &version, TINE_NOWAIT), 0);
	kill(server.pid, SIGSTOP);
	begun = tine_now();
	CHECK_EQ(tine_store_open(&other, server.tls, &hasty), -ETIMEDOUT);
	CHECK(other == (void *)1);
	CHECK_EQ(tine_store_get(store, "key", NULL, 0), -ETIMEDOUT);
	CHECK_EQ(tine_store_get(store, "key", NULL, 0), -ETIMEDOUT);
	CHECK((tine_now() - begun) / 1000000 < 15000);
	kill(server.pid, SIGCONT);
	tine_store_free(store);
	CHECK_EQ(tine_store_open(&store, server.tls, &patient), 0);
	CHECK_EQ(tine_store_len(store, "key"), 5);
	tine_store_free(store);
	tls_server_stop(&server);
}

/* ---- forks ------------------------------------------------------------------------- */

TEST(a_child_has_connections_of_its_own)
{
	struct server server;
	tine_store *store = begin(&server);
	uint64_t version = 0;
	pid_t pids[4];

	set_text(store, "shared", "0");
	CHECK_EQ(tine_store_wait(store, "shared", &version, TINE_NOWAIT), 0);
	for (int i = 0; i < 4; i++) {
		pids[i] = fork();
		CHECK(pids[i] >= 0);
		if (pids[i] == 0) {
			char key[16], text[16];

			snprintf(key, sizeof(key), "key%d", i);
			for (int n = 0; n < 500; n++) {
				snprintf(text, sizeof(text), "%d/%d", i, n);
				set_text(store, key, text);
				CHECK(has_text(store, key, text));
				CHECK_EQ(tine_store_add(store, "sum", 1, NULL), 0);
			}
			/* What its parent had seen may have changed meanwhile. */
			CHECK_EQ(tine_store_wait(store, "shared", &version, TINE_NOWAIT),
				 0);
			CHECK_EQ(tine_store_wait(store, "shared", &version, TINE_NOWAIT),
				 -ETIMEDOUT);
			tine_store_free(store);
			_exit(0);
		}
	}
	for (int n = 0; n < 500; n++) {
		char text[16];

		snprintf(text, sizeof(text), "p/%d", n);
		set_text(store, "parent", text);
		CHECK(has_text(store, "parent", text));
	}
	for (int i = 0; i < 4; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK(has_text(store, "sum", "2000"));
	/* The children's end has not closed what is the parent's. */
	CHECK_EQ(tine_store_wait(store, "shared", &version, TINE_NOWAIT), -ETIMEDOUT);
	set_text(store, "shared", "1");
	CHECK_EQ(tine_store_wait(store, "shared", &version, TINE_FOREVER), 0);
	finish(&server, store);
}

/* ---- others' clients --------------------------------------------------------------- */

TEST(redis_cli_sees_the_same)
{
	struct server server;
	tine_store *store = begin(&server);
	int64_t now = 0;
	char buf[16];

	set_text(store, "text", "plain");
	SAYS(&server, "get text", "plain");
	SAYS(&server, "set text other", "OK");
	CHECK(has_text(store, "text", "other"));
	CHECK_EQ(tine_store_add(store, "counter", 41, NULL), 0);
	SAYS(&server, "incr counter", "42");
	CHECK_EQ(tine_store_add(store, "counter", -2, &now), 0);
	CHECK_EQ(now, 40);
	SAYS(&server, "get counter", "40");
	CHECK_EQ(tine_store_append(store, "list", "first", 5), 0);
	SAYS(&server, "rpush list second", "2");
	SAYS(&server, "lrange list 0 -1", "first\nsecond");
	CHECK_EQ(tine_store_take(store, "list", buf, sizeof(buf), TINE_NOWAIT), 5);
	SAYS(&server, "lpop list", "second");
	CHECK_EQ(tine_store_put_field(store, "dict", "f", "v", 1), 0);
	SAYS(&server, "hset dict g w", "1");
	SAYS(&server, "hgetall dict", "f\nv\ng\nw");
	CHECK_EQ(tine_store_get_field(store, "dict", "g", buf, sizeof(buf)), 1);
	CHECK_EQ(tine_store_expire(store, "dict", 100000), 0);
	CHECK(atoi(cli(&server, "pttl dict")) > 50000);
	CHECK_EQ(tine_store_expire(store, "dict", INT64_MAX), 0);
	CHECK_EQ(tine_store_expire(store, "dict", 0), 0);
	SAYS(&server, "pttl dict", "-1");
	SAYS(&server, "exists none", "0");
	finish(&server, store);
}

static int count_key(void *arg, const char *key)
{
	char *seen = arg;
	int number = atoi(key + 2);

	CHECK(strncmp(key, "*[", 2) == 0 && number >= 0 && number < 3000);
	CHECK_EQ(seen[number]++, 0);
	return 0;
}

static int stop_at_third(void *arg, const char *key)
{
	(void)key;
	return ++*(int *)arg == 3 ? 77 : 0;
}

TEST(each_key_is_told_once)
{
	char key[32], seen[3000] = "";
	struct server server;
	tine_store *store = begin(&server);
	int n = 0;

	for (int i = 0; i < 3000; i++) {
		tine_store_item items[2] = { { .key = key, .val = "", .len = 0 },
					     { .key = key + 1, .val = "", .len = 0 } };

		snprintf(key, sizeof(key), "*[%d", i);
		CHECK_EQ(tine_store_set_all(store, items, 2), 0);
	}
	CHECK_EQ(tine_store_keys(store, "*[", count_key, seen), 0);
	for (int i = 0; i < 3000; i++)
		CHECK_EQ(seen[i], 1);
	CHECK_EQ(tine_store_keys(store, "", stop_at_third, &n), 77);
	CHECK_EQ(n, 3);
	CHECK_EQ(tine_store_keys(store, "?", stop_at_third, &n), 0);
	CHECK_EQ(n, 3);
	finish(&server, store);
}

/* ---- waiting ----------------------------------------------------------------------- */

TEST(changes_by_anybody_end_a_version)
{
	static const char *const changes[] = {
		"set k 1",	  "append k 2",	    "expire k 1000", "persist k",
		"del k",	  "rpush k v",	    "lpop k",	     "set k 1",
		"rename k other", "rename other k", "flushdb",	     "set k 1",
		"flushall",	  "set k 1 px 20"
	};
	struct server server;
	tine_store *store = begin(&server);
	uint64_t version = 0, other = 0;

	CHECK_EQ(tine_store_wait(store, "k", &version, TINE_FOREVER), 0);
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		uint64_t before = version;

		cli(&server, changes[i]);
		CHECK_EQ(tine_store_wait(store, "k", &version, TINE_NOWAIT), 0);
		CHECK(version != before);
		if (i + 1 < sizeof(changes) / sizeof(*changes))
			CHECK_EQ(tine_store_wait(store, "k", &version, TINE_NOWAIT),
				 -ETIMEDOUT);
	}
	/* The end of its time. */
	CHECK_EQ(tine_store_wait(store, "k", &version, TINE_FOREVER), 0);
	CHECK_EQ(tine_store_get(store, "k", NULL, 0), -ENOENT);
	/* Of two keys each has its own. */
	CHECK_EQ(tine_store_wait(store, "k2", &other, TINE_FOREVER), 0);
	set_text(store, "k", "1");
	CHECK_EQ(tine_store_wait(store, "k2", &other, tine_after(20)), -ETIMEDOUT);
	CHECK_EQ(tine_store_wait(store, "k", &version, TINE_FOREVER), 0);
	set_text(store, "k2", "1");
	CHECK_EQ(tine_store_wait(store, "k", &version, tine_after(20)), -ETIMEDOUT);
	CHECK_EQ(tine_store_wait(store, "k2", &other, TINE_FOREVER), 0);
	finish(&server, store);
}

/* Among many keys that end later, a server does not notice the one that has ended. */
TEST(the_end_of_a_keys_time_is_told_in_time)
{
	tine_event *events = tine_shared_new(3, sizeof(*events));
	struct server server;
	tine_store *store;
	uint64_t version = 0;
	int64_t begun = tine_now();

	server_start(&server, (const char *[]){ "--enable-debug-command", "yes", NULL });
	store = server_open(&server);
	set_text(store, "k", "1");
	CHECK_EQ(tine_store_expire(store, "k", 200), 0);
	SAYS(&server, "debug set-active-expire 0", "OK");
	CHECK_EQ(tine_store_wait(store, "k", &version, TINE_FOREVER), 0);
	CHECK_EQ(tine_store_wait(store, "k", &version, TINE_FOREVER), 0);
	CHECK((tine_now() - begun) / 1000000 >= 190);
	CHECK_EQ(tine_store_get(store, "k", NULL, 0), -ENOENT);
	CHECK_EQ(tine_store_wait(store, "k", &version, TINE_NOWAIT), -ETIMEDOUT);
	/* Of several, which are waited for by another process. */
	set_text(store, "k", "1");
	for (int i = 0; i < 3; i++)
		CHECK_EQ(tine_store_watch(store, i == 1 ? "k" : "other", events + i), 0);
	CHECK_EQ(tine_store_expire(store, "k", 200), 0);
	CHECK(tine_event_is_set(events + 1));
	CHECK(becomes(events + 1, false));
	tine_store_free(store);
	tine_shared_free(events);
	server_stop(&server);
}

TEST(a_lost_connection_is_a_change)
{
	static const char *const losses[] = { "client kill type pubsub",
					      "client kill type normal skipme yes" };
	struct server server;
	tine_store *store = begin(&server);
	uint64_t version = 0, before;

	for (int i = 0; i < 20; i++) {
		pid_t pid;

		CHECK_EQ(tine_store_wait(store, "k", &version, TINE_FOREVER), 0);
		before = version;
		pid = fork();
		if (pid == 0) {
			test_sleep_us(10000);
			cli(&server, losses[i % 2]);
			_exit(0);
		}
		CHECK_EQ(tine_store_wait(store, "k", &version, TINE_FOREVER), 0);
		CHECK(version != before);
		CHECK_EQ(test_reap(pid), 0);
		/* Then changes are told as before. */
		CHECK_EQ(tine_store_wait(store, "k", &version, tine_after(20)),
			 -ETIMEDOUT);
		set_text(store, "k", "1");
		CHECK_EQ(tine_store_wait(store, "k", &version, TINE_NOWAIT), 0);
		set_text(store, "k", "2");
	}
	finish(&server, store);
}

/* Redis tells only the name: who waits looks once in vain, and misses nothing. */
TEST(the_same_name_in_another_database)
{
	tine_event *event = tine_shared_new(1, sizeof(*event));
	struct server server;
	tine_store *store, *other;
	uint64_t version = 0;
	char url[160], buf[8];
	pid_t pid;

	server_start(&server, NULL);
	store = server_open(&server);
	snprintf(url, sizeof(url), "%s&db=1", server.local);
	CHECK_EQ(tine_store_open(&other, url, NULL), 0);
	set_text(store, "k", "1");
	CHECK_EQ(tine_store_watch(store, "k", event), 0);
	CHECK_EQ(tine_store_wait(store, "k", &version, TINE_NOWAIT), 0);
	for (int i = 0; i < 50; i++) {
		int err;

		set_text(other, "k", i % 2 ? "0" : "");
		CHECK(has_text(store, "k", "1"));
		err = tine_store_wait(store, "k", &version, TINE_NOWAIT);
		CHECK(err == 0 || err == -ETIMEDOUT);
		CHECK(tine_event_is_set(event));
		/* One of its own after that. */
		while (tine_store_wait(store, "k", &version, TINE_NOWAIT) == 0)
			;
		set_text(store, "k", "2");
		CHECK_EQ(tine_store_wait(store, "k", &version, tine_after(5000)), 0);
		set_text(store, "k", "1");
		CHECK_EQ(tine_store_wait(store, "k", &version, tine_after(5000)), 0);
	}
	CHECK_EQ(tine_store_del(other, "k"), 0);
	set_text(store, "k", "0");
	CHECK(becomes(event, false));
	/* Who waits for an item is not given another's, nor nothing. */
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		for (int i = 0; i < 50; i++) {
			CHECK_EQ(tine_store_append(other, "list", "o", 1), 0);
			test_sleep_us(500);
		}
		CHECK_EQ(tine_store_append(store, "list", "mine", 4), 0);
		_exit(0);
	}
	CHECK_EQ(tine_store_take(store, "list", buf, sizeof(buf), TINE_FOREVER), 4);
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(tine_store_len(other, "list"), 50);
	tine_store_free(store);
	tine_store_free(other);
	tine_shared_free(event);
	server_stop(&server);
}

TEST(a_wait_across_a_restart)
{
	struct server server;
	tine_store *store = begin(&server);
	uint64_t version = 0, before;
	pid_t pid;
	int err;

	CHECK_EQ(tine_store_wait(store, "k", &version, TINE_FOREVER), 0);
	before = version;
	pid = fork();
	if (pid == 0) {
		test_sleep_us(50000);
		kill(server.pid, SIGKILL);
		_exit(0);
	}
	err = tine_store_wait(store, "k", &version, TINE_FOREVER);
	CHECK_EQ(err, -ECONNREFUSED);
	CHECK_EQ(version, before);
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(test_reap(server.pid), -SIGKILL);
	server_run(&server, NULL);
	CHECK_EQ(tine_store_wait(store, "k", &version, TINE_FOREVER), 0);
	CHECK(version != before);
	CHECK_EQ(tine_store_wait(store, "k", &version, TINE_NOWAIT), -ETIMEDOUT);
	set_text(store, "k", "1");
	CHECK_EQ(tine_store_wait(store, "k", &version, TINE_NOWAIT), 0);
	finish(&server, store);
}

/* Each number is seen, or a later one; the last is seen. */
TEST(no_change_is_missed)
{
	long last = test_scaled(5000);
	struct server server;
	tine_store *store;
	uint64_t version = 0;
	long seen = 0;
	pid_t pid;

	server_start(&server, NULL);
	pid = fork();
	if (pid == 0) {
		store = server_open(&server);
		for (long i = 0; i < last; i++)
			CHECK_EQ(tine_store_add(store, "k", 1, NULL), 0);
		tine_store_free(store);
		_exit(0);
	}
	store = server_open(&server);
	while (seen < last) {
		char text[16] = "";

		CHECK_EQ(tine_store_wait(store, "k", &version, tine_after(20000)), 0);
		(void)!tine_store_get(store, "k", text, sizeof(text) - 1);
		CHECK(atol(text) >= seen);
		seen = atol(text);
	}
	CHECK_EQ(test_reap(pid), 0);
	tine_store_free(store);
	server_stop(&server);
}

TEST(many_take_from_a_list_and_each_item_once)
{
	enum { TAKERS = 4 };
	long items = test_scaled(2000);
	struct server server;
	tine_store *store;
	pid_t pids[TAKERS];

	server_start(&server, NULL);
	for (int i = 0; i < TAKERS; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			char text[16];
			ssize_t len;

			store = server_open(&server);
			for (;;) {
				/* Near deadlines as well as none. */
				len = tine_store_take(store, "list", text, 15,
						      i % 2 ? TINE_FOREVER
							    : tine_after(300));
				if (len == -ETIMEDOUT)
					continue;
				CHECK(len > 0);
				text[len] = '\0';
				if (strcmp(text, "end") == 0)
					break;
				CHECK_EQ(tine_store_add(store, "sum", atol(text), NULL),
					 0);
				CHECK_EQ(tine_store_add(store, "n", 1, NULL), 0);
			}
			tine_store_free(store);
			_exit(0);
		}
	}
	store = server_open(&server);
	for (long i = 1; i <= items + TAKERS; i++) {
		char text[16];
		int len = snprintf(text, sizeof(text), "%ld", i);

		if (i % 100 == 0)
			test_sleep_us(2000);
		if (i > items)
			len = sprintf(text, "end");
		CHECK_EQ(tine_store_append(store, "list", text, (size_t)len), 0);
	}
	for (int i = 0; i < TAKERS; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(tine_store_add(store, "n", -items, &(int64_t){ 0 }), 0);
	CHECK(has_text(store, "n", "0"));
	CHECK_EQ(tine_store_add(store, "sum", -items * (items + 1) / 2, NULL), 0);
	CHECK(has_text(store, "sum", "0"));
	tine_store_free(store);
	server_stop(&server);
}

/* ---- descriptors ------------------------------------------------------------------- */

/* A number that a program has given to something else by now is not the store's. */
static void closes_all(void *arg)
{
	tine_store *store = server_open(arg);
	int files[16];

	CHECK_EQ(tine_store_wait(store, "k", &(uint64_t){ 0 }, TINE_NOWAIT), 0);
	closefrom(3);
	for (int i = 0; i < 16; i++) {
		files[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		CHECK(files[i] >= 3);
	}
	tine_store_free(store);
	for (int i = 0; i < 16; i++)
		CHECK_EQ(close(files[i]), 0);
}

/* Not a byte of a request goes to a connection of the program's own. */
static void connects_in_place_of_all(void *arg)
{
	tine_store *store = server_open(arg);
	int ends[32];
	char byte;

	CHECK_EQ(tine_store_wait(store, "k", &(uint64_t){ 0 }, TINE_NOWAIT), 0);
	closefrom(3);
	for (int i = 0; i < 32; i += 2)
		CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, &ends[i]), 0);
	CHECK_EQ(tine_store_set(store, "k", "v", 1), 0);
	CHECK(has_text(store, "k", "v"));
	CHECK_EQ(tine_store_wait(store, "k", &(uint64_t){ 0 }, TINE_NOWAIT), 0);
	tine_store_free(store);
	for (int i = 0; i < 32; i++) {
		CHECK_EQ(recv(ends[i], &byte, 1, MSG_DONTWAIT), -1);
		CHECK_EQ(errno, EAGAIN);
	}
}

TEST(descriptors_that_the_program_has_closed)
{
	struct server server;

	server_start(&server, NULL);
	CHECK_EQ(test_reap(test_fork(closes_all, &server)), 0);
	CHECK_EQ(test_reap(test_fork(connects_in_place_of_all, &server)), 0);
	server_stop(&server);
}

/* ---- stopped ----------------------------------------------------------------------- */

/* The server goes on only after the calls have come back. */
TEST(deadlines_hold_beside_a_stopped_server)
{
	static const tine_store_opts hours = { .connect_ms = 3600000,
					       .answer_ms = 3600000 };
	struct server server;
	tine_store *store, *other;
	uint64_t version = 0;
	char buf[8];

	server_start(&server, NULL);
	CHECK_EQ(tine_store_open(&store, server.local, &hours), 0);
	CHECK_EQ(tine_store_take(store, "list", buf, 8, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_store_wait(store, "key", &version, TINE_NOWAIT), 0);
	kill(server.pid, SIGSTOP);
	CHECK_EQ(tine_store_wait(store, "key", &version, tine_after(20)), -ETIMEDOUT);
	CHECK_EQ(tine_store_take(store, "list", buf, 8, tine_after(20)), -ETIMEDOUT);
	CHECK_EQ(tine_store_take(store, "list", buf, 8, tine_after(20)), -ETIMEDOUT);
	kill(server.pid, SIGCONT);
	/* What it was asked meanwhile it finds now, and takes nothing for nobody. */
	other = server_open(&server);
	CHECK_EQ(tine_store_append(other, "list", "item", 4), 0);
	CHECK_EQ(tine_store_len(other, "list"), 1);
	CHECK_EQ(tine_store_take(store, "list", buf, 8, tine_after(60000)), 4);
	tine_store_free(other);
	tine_store_free(store);
	server_stop(&server);
}

/* It was sent, and the server stopped before it came to it. */
TEST(nothing_is_taken_for_a_caller_that_has_left)
{
	struct server server;
	tine_store *store, *other;
	char buf[8];

	server_start(&server, NULL);
	store = server_open(&server);
	other = server_open(&server);
	/* The clock is known from then on, so that the question goes out at once. */
	CHECK_EQ(tine_store_append(other, "list", "one", 3), 0);
	CHECK_EQ(tine_store_take(store, "list", buf, 8, tine_after(60000)), 3);
	CHECK_EQ(tine_store_append(other, "list", "two", 3), 0);
	kill(server.pid, SIGSTOP);
	CHECK_EQ(tine_store_take(store, "list", buf, 8, tine_after(50)), -ETIMEDOUT);
	kill(server.pid, SIGCONT);
	for (int i = 0; i < 20; i++) {
		CHECK_EQ(tine_store_len(other, "list"), 1);
		test_sleep_us(2000);
	}
	tine_store_free(other);
	tine_store_free(store);
	server_stop(&server);
}

/* ---- want of memory ---------------------------------------------------------------- */

TEST(want_of_memory)
{
	tine_event *event = tine_shared_new(1, sizeof(*event));
	struct server server;
	uint64_t version;

	server_start(&server, NULL);
	for (long n = 1;; n++) {
		tine_store *store = (void *)1;
		int err;

		test_fail_allocation(n);
		err = tine_store_open(&store, server.local, NULL);
		if (!err) {
			char key[] = "key";
			static char val[40000];
			tine_store_item items[5];

			for (int i = 0; i < 5; i++)
				items[i] = (tine_store_item){ .key = key,
							      .val = val,
							      .len = sizeof(val) };
			err = tine_store_set_all(store, items, 5);
			CHECK(err == 0 || err == -ENOMEM);
			version = 0;
			err = tine_store_wait(store, "key", &version, TINE_NOWAIT);
			CHECK(err == 0 || err == -ENOMEM);
			err = (int)tine_store_take(store, "none", val, 1, tine_after(1));
			CHECK(err == -ETIMEDOUT || err == -ENOMEM);
			err = tine_store_keys(store, "", stop_at_third, &(int){ 0 });
			CHECK(err == 0 || err == -ENOMEM);
			err = tine_store_watch(store, "key", event);
			CHECK(err == 0 || err == -ENOMEM);
		} else {
			CHECK_EQ(err, -ENOMEM);
			CHECK(store == (void *)1);
		}
		if (store != (void *)1)
			tine_store_free(store);
		if (!test_allocation_failed())
			break;
	}
	test_fail_allocation(0);
	tine_shared_free(event);
	server_stop(&server);
}
