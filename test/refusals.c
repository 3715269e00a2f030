/* SPDX-License-Identifier: MIT */
/* Servers, URLs, tasks and sizes that a pool elsewhere refuses: each by its own error. */
#include "engine/courier.h"
#include "engine_use.h"

static int twice(const void *in, void *out)
{
	*(int *)out = 2 * *(const int *)in;
	return 0;
}

static int each_index(size_t index, const void *arg)
{
	(void)arg;
	return index > 0;
}

static const tine_task twice_task = TINE_TASK(twice, int, int);
static const tine_task each_task = TINE_TASK_EACH(each_index, int);

static int no_init(void *arg)
{
	return arg != NULL;
}

static int any_host(void *arg, const tine_host *host)
{
	(void)arg;
	return host == NULL;
}

static int make_pool(const char *url)
{
	const tine_pool_opts opts = { .engine = url };
	tine_pool *pool;

	return tine_pool_new(&pool, &opts);
}

static int make_host(const char *url)
{
	tine_worker *worker;

	return tine_worker_start(&worker, url, &twice_task, 1, NULL);
}

static int list_hosts(const char *url)
{
	return tine_hosts(url, any_host, NULL);
}

/* A machine that is busy may take too long at first. */
static int patiently(int (*call)(const char *), const char *url)
{
	int err = call(url);

	for (int i = 0; i < 30 && (err == -ETIMEDOUT || err == -TINE_EHOST); i++)
		err = call(url);
	return err;
}

/* By all that speak with a server. */
static void refuse(const char *url, int err)
{
	CHECK_EQ(patiently(make_pool, url), err);
	CHECK_EQ(patiently(make_host, url), err);
	CHECK_EQ(patiently(list_hosts, url), err);
}

/* ---- servers ----------------------------------------------------------------------- */

static void try_false(const char *kind, int err, const char *version)
{
	char folder[] = "/tmp/tine-test-XXXXXX", path[64], url[96], said[24] = "";
	pid_t pid;
	int got;

	CHECK(mkdtemp(folder) != NULL);
	snprintf(path, sizeof(path), "%s/peer", folder);
	snprintf(url, sizeof(url), "unix:%s?pool=p", path);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		execl(FALSE_REDIS, FALSE_REDIS, kind, path, NULL);
		_exit(127);
	}
	while (access(path, F_OK) != 0) {
		CHECK_EQ(waitpid(pid, NULL, WNOHANG), 0);
		test_sleep_us(1000);
	}
	/* It listens a moment later. */
	while (patiently(list_hosts, url) == -ECONNREFUSED)
		test_sleep_us(1000);
	refuse(url, err);
	do
		got = tine_engine_version(url, said, sizeof(said));
	while (got == -ETIMEDOUT);
	CHECK_EQ(got, version ? 0 : err);
	CHECK(strcmp(said, version ? version : "") == 0);
	if (version)
		CHECK_EQ(tine_engine_version(url, said, strlen(version)), -ENOSPC);
	kill(pid, SIGKILL);
	test_reap(pid);
	unlink(path);
	CHECK_EQ(rmdir(folder), 0);
}

TEST(a_server_that_is_too_old)
{
	try_false("old", -EOPNOTSUPP, "5.0.14");
}

TEST(a_node_that_has_not_the_keys)
{
	try_false("moved", -EREMOTE, "7.0.15");
}

TEST(a_pool_of_another_layout)
{
	try_false("layout", -EPROTO, "7.0.15");
}

TEST(what_is_no_redis)
{
	try_false("http", -EBADMSG, NULL);
}

static struct server server;

TEST(a_server_that_is_none_of_these)
{
	char version[24];
	struct engine *engine;

	server_start(&server, NULL);
	engine = open_pool(&server, "p");
	while (tine_engine_version(server.pool, version, sizeof(version)) == -ETIMEDOUT)
		;
	CHECK(atoi(version) >= 6);
	ASK_RAW(engine, "ssss", "HSET", "tine:{p}:m", "layout", "99");
	refuse(server.pool, -EPROTO);
	ASK_RAW(engine, "ss", "DEL", "tine:{p}:m");
	ASK_RAW(engine, "sss", "SET", "tine:{p}:w", "x");
	CHECK_EQ(patiently(list_hosts, server.pool), -TINE_EKIND);
	engine_free(engine);
	server_stop(&server);
	refuse(server.pool, -ECONNREFUSED);
}

/* ---- URLs -------------------------------------------------------------------------- */

TEST(urls)
{
	for (const struct false_url *url = false_urls; url->text; url++)
		refuse(url->text, url->err);
}

/* ---- tasks and options ------------------------------------------------------------- */

static char long_name[202];

static int start_with(const tine_task *tasks, size_t n)
{
	tine_worker *worker;

	return tine_worker_start(&worker, server.pool, tasks, n, NULL);
}

TEST(tasks_of_a_host)
{
	const tine_task both[] = { twice_task, each_task, twice_task };
	tine_task task = twice_task;

	server_start(&server, NULL);
	CHECK_EQ(start_with(&task, 0), -EINVAL);
	CHECK_EQ(start_with(both, 3), -EEXIST);
	task.name = NULL;
	CHECK_EQ(start_with(&task, 1), -EINVAL);
	task.name = "";
	CHECK_EQ(start_with(&task, 1), -EINVAL);
	memset(long_name, 'x', 201);
	task.name = long_name;
	CHECK_EQ(start_with(&task, 1), -ENAMETOOLONG);
	task = twice_task;
	task.file = long_name;
	CHECK_EQ(start_with(&task, 1), -ENAMETOOLONG);
	task = twice_task;
	task.fn = NULL;
	CHECK_EQ(start_with(&task, 1), -EINVAL);
	task = twice_task;
	task.in_size = WIRE_MOST + 1;
	CHECK_EQ(start_with(&task, 1), -EMSGSIZE);
	task = twice_task;
	task.out_size = SIZE_MAX;
	CHECK_EQ(start_with(&task, 1), -EMSGSIZE);
	server_stop(&server);
}

static int start_as(const char *name, unsigned lease_ms)
{
	const tine_worker_opts opts = { .name = name, .lease_ms = lease_ms };
	tine_worker *worker;

	return tine_worker_start(&worker, server.pool, &twice_task, 1, &opts);
}

TEST(options_of_a_host)
{
	server_start(&server, NULL);
	memset(long_name, 'x', 64);
	CHECK_EQ(start_as(long_name, 0), -ENAMETOOLONG);
	CHECK_EQ(start_as("", 0), -EINVAL);
	CHECK_EQ(start_as(NULL, 99), -EINVAL);
	CHECK_EQ(start_as(NULL, 600001), -EINVAL);
	server_stop(&server);
}

static void refuse_options(tine_pool_opts opts)
{
	tine_pool *pool;

	opts.engine = server.pool;
	CHECK_EQ(tine_pool_new(&pool, &opts), -EINVAL);
}

TEST(options_of_a_pool)
{
	server_start(&server, NULL);
	refuse_options((tine_pool_opts){ .init = no_init });
	refuse_options((tine_pool_opts){ .init_arg = server.pool });
	refuse_options((tine_pool_opts){ .jobs_per_worker = 1 });
	refuse_options((tine_pool_opts){ .memory_per_worker = 1 << 20 });
	refuse_options((tine_pool_opts){ .serial = true });
	refuse_options((tine_pool_opts){ .away_ms = -1 });
	server_stop(&server);
}

static tine_pool *pool;
static int in[4], out[4];

static int map_of(const tine_task *task, size_t n)
{
	return tine_pool_map(pool, task, in, out, n, NULL, tine_after(20000));
}

TEST(tasks_of_a_caller)
{
	tine_task task = twice_task, each = each_task;

	server_start(&server, NULL);
	for (int i = 0; i < 30; i++)
		if (tine_pool_new(&pool, &(tine_pool_opts){ .engine = server.pool }) == 0)
			break;
	CHECK(pool != NULL);
	task.name = NULL;
	CHECK_EQ(map_of(&task, 4), -EINVAL);
	CHECK_EQ(tine_pool_submit(pool, &task, in, 0, TINE_FOREVER), -EINVAL);
	each.name = "";
	CHECK_EQ(tine_pool_for(pool, &each, in, 4, NULL, TINE_FOREVER), -EINVAL);
	memset(long_name, 'x', 201);
	task.name = long_name;
	CHECK_EQ(map_of(&task, 4), -ENAMETOOLONG);
	CHECK_EQ(tine_pool_submit(pool, &task, in, 0, TINE_FOREVER), -ENAMETOOLONG);
	task = twice_task;
	task.in_size = WIRE_MOST + 1;
	CHECK_EQ(map_of(&task, 1), -EMSGSIZE);
	CHECK_EQ(tine_pool_submit(pool, &task, in, 0, TINE_FOREVER), -EMSGSIZE);
	task = twice_task;
	task.out_size = SIZE_MAX;
	CHECK_EQ(map_of(&task, 1), -EMSGSIZE);
	CHECK(map_of(&twice_task, SIZE_MAX / 2) < 0);
	CHECK_EQ(map_of(&twice_task, 0), 0);
	tine_pool_free(pool);
	server_stop(&server);
}
