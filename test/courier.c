/* SPDX-License-Identifier: MIT */
/* Pools whose jobs hosts do: the caller's side, with hosts of this program. */
#include "engine/courier.h"
#include "base/proc.h"
#include "cache_use.h"
#include "engine/agent.h"
#include "engine/wire.h"
#include "pool/pool.h"
#include "redis_server.h"

static struct server server;

static int twice(const void *in, void *out)
{
	int value = *(const int *)in;

	if (value == -1)
		abort();
	/* Some take longer than a caller sleeps before it looks. */
	if (value >= 1000)
		test_sleep_us(400000);
	*(int *)out = 2 * value;
	return value == -3 ? -EDOM : 0;
}

static const tine_task twice_task = TINE_TASK(twice, int, int);

static _Atomic int *ended; /* jobs */

/* One waits for all others but one, which may be next to it in its host's pool. */
static int wait_for_others(const void *in, void *out)
{
	int n = *(const int *)in;

	(void)out;
	while (n > 0 && atomic_load(ended) < n - 1 && !tine_cancelled())
		test_sleep_us(1000);
	atomic_fetch_add(ended, 1);
	return 0;
}

static const tine_task wait_task = TINE_TASK(wait_for_others, int, int);

static tine_worker *start_host(const char *name)
{
	tine_worker_opts opts = { .workers = 2, .name = name, .lease_ms = 1000 };
	tine_worker *worker;

	CHECK_EQ(tine_worker_start(&worker, server.pool, &twice_task, 1, &opts), 0);
	return worker;
}

static tine_pool *make(const tine_pool_opts *opts)
{
	tine_pool *pool;

	CHECK_EQ(courier_pool_new(&pool, server.pool, 5000, opts), 0);
	return pool;
}

enum { MANY = 10000 };

TEST(a_map)
{
	tine_worker *one, *other;
	tine_pool *pool;
	int *in = calloc(MANY, sizeof(*in)), *out = calloc(MANY, sizeof(*out));

	server_start(&server, NULL);
	one = start_host("one");
	other = start_host("other");
	pool = make(NULL);
	for (int k = 0; k < 3; k++) {
		for (int i = 0; i < MANY; i++)
			in[i] = (i + k) % 1000;
		CHECK_EQ(tine_pool_map(pool, &twice_task, in, out, MANY, NULL,
				       tine_after(60000)),
			 0);
		for (int i = 0; i < MANY; i++)
			CHECK_EQ(out[i], 2 * ((i + k) % 1000));
	}
	tine_pool_free(pool);
	tine_worker_free(one);
	tine_worker_free(other);
	server_stop(&server);
	free(in);
	free(out);
}

/* Jobs that were brief wait at hand; behind one that is not they go to others. */
TEST(a_long_job_after_many_short_ones)
{
	enum { N = 60 };
	const tine_map_opts opts = { .chunk = 1 };
	int in[N + 1] = { N }, out[N + 1];
	tine_worker *hosts[2];
	tine_pool *pool;

	server_start(&server, NULL);
	ended = tine_shared_new(1, sizeof(*ended));
	for (int i = 0; i < 2; i++)
		CHECK_EQ(tine_worker_start(&hosts[i], server.pool, &wait_task, 1,
					   &(tine_worker_opts){ .workers = 1 }),
			 0);
	pool = make(NULL);
	CHECK_EQ(
		tine_pool_map(pool, &wait_task, in + 1, out, N, &opts, tine_after(60000)),
		0);
	atomic_store(ended, 0);
	CHECK_EQ(
		tine_pool_map(pool, &wait_task, in, out, N + 1, &opts, tine_after(60000)),
		0);
	CHECK(atomic_load(ended) >= N + 1);
	tine_pool_free(pool);
	tine_worker_free(hosts[0]);
	tine_worker_free(hosts[1]);
	tine_shared_free(ended);
	server_stop(&server);
}

static int reverse(const void *in, size_t len)
{
	const char *from = in;
	char *out = malloc(len);

	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < len; i++)
		out[i] = from[len - 1 - i];
	if (tine_job_result(out, len) != 0)
		return -ENOMEM;
	free(out);
	return 7;
}

static const tine_task reverse_task = TINE_TASK_BYTES(reverse);

TEST(large_inputs_and_results)
{
	enum { N = 4 };
	size_t len = test_soak() ? WIRE_MOST : (size_t)3 << 20;
	char *in = malloc(len), *out = malloc(len);
	tine_worker *worker;
	tine_pool *pool;
	tine_done done;

	for (size_t i = 0; i < len; i++)
		in[i] = (char)(i * 7 + i / 251);
	server_start(&server, NULL);
	CHECK_EQ(tine_worker_start(&worker, server.pool, &reverse_task, 1,
				   &(tine_worker_opts){ .workers = 2 }),
		 0);
	pool = make(NULL);
	for (uint64_t i = 0; i < N; i++)
		CHECK_EQ(tine_pool_submit_bytes(pool, &reverse_task, in, len, i,
						tine_after(60000)),
			 0);
	for (int i = 0; i < N; i++) {
		memset(out, 0, len);
		CHECK_EQ(tine_pool_next(pool, out, len, &done, tine_after(60000)), 1);
		CHECK_EQ(done.status, 7);
		CHECK_EQ(done.len, len);
		for (size_t k = 0; k < len; k++)
			CHECK(out[k] == in[len - 1 - k]);
	}
	/* One byte more is nobody's. */
	CHECK_EQ(tine_pool_submit_bytes(pool, &reverse_task, in, WIRE_MOST + 1, 0,
					tine_after(60000)),
		 -EMSGSIZE);
	tine_pool_free(pool);
	tine_worker_free(worker);
	server_stop(&server);
	free(in);
	free(out);
}

struct killing {
	tine_pool *pool;
	pid_t killed;
};

static void kills_the_courier(void *arg, size_t done, size_t total)
{
	struct killing *killing = arg;

	if (!killing->killed && done < total) {
		killing->killed = killing->pool->nursery.pid;
		CHECK_EQ(kill(killing->killed, SIGKILL), 0);
	}
}

TEST(a_courier_that_is_killed)
{
	int in[4] = { 1000, 1001, 1002, 1003 }, out[4] = { 0 };
	struct killing killing = { 0 };
	tine_map_opts opts = { .chunk = 1,
			       .progress = kills_the_courier,
			       .progress_arg = &killing };
	tine_worker *host;

	/* All of them lie at desks by then. */
	server_start(&server, NULL);
	host = start_host("host");
	killing.pool = make(NULL);
	CHECK_EQ(tine_pool_map(killing.pool, &twice_task, in, out, 4, &opts,
			       tine_after(100000)),
		 0);
	CHECK(killing.killed && killing.killed != killing.pool->nursery.pid);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(out[i], 2 * in[i]);
	tine_pool_free(killing.pool);
	tine_worker_free(host);
	server_stop(&server);
}

/* The same, where nobody can read along. */
TEST(a_map_by_tls)
{
	int in[100], out[100];
	tine_worker *host;
	tine_pool *pool;

	tls_server_start(&server, "server", "no");
	snprintf(server.pool, sizeof(server.pool), "%s&pool=p", server.tls);
	host = start_host("host");
	pool = make(NULL);
	for (int i = 0; i < 100; i++)
		in[i] = i;
	CHECK_EQ(tine_pool_map(pool, &twice_task, in, out, 100, NULL, tine_after(60000)),
		 0);
	for (int i = 0; i < 100; i++)
		CHECK_EQ(out[i], 2 * i);
	tine_pool_free(pool);
	tine_worker_free(host);
	tls_server_stop(&server);
}

/* ---- without a host ---------------------------------------------------------------- */

static void make_away(tine_pool **pool, int64_t away_ms)
{
	CHECK_EQ(courier_pool_new(pool, server.pool, away_ms, NULL), 0);
}

TEST(nobody_has_the_task)
{
	int in[3] = { 1, 2, 3 }, out[3], status[3] = { 7, 7, 7 };
	tine_failure failure;
	tine_map_opts opts = { .status = status, .failure = &failure };
	tine_pool *pool;
	tine_done done;

	server_start(&server, NULL);
	make_away(&pool, 300);
	CHECK_EQ(tine_pool_map(pool, &twice_task, in, out, 3, &opts, tine_after(60000)),
		 -TINE_EHOST);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(status[i], -TINE_EHOST);
	CHECK_EQ(failure.index, 3);
	CHECK_EQ(tine_pool_submit(pool, &twice_task, in, 5, tine_after(60000)), 0);
	CHECK_EQ(tine_pool_next(pool, out, sizeof(*out), &done, tine_after(60000)), 1);
	CHECK_EQ(done.tag, 5);
	CHECK_EQ(done.status, -TINE_EHOST);
	tine_pool_free(pool);
	server_stop(&server);
}

TEST(a_deadline_is_kept_without_a_host)
{
	int in[3] = { 1, 2, 3 }, out[3];
	tine_pool *pool;
	tine_done done;

	server_start(&server, NULL);
	make_away(&pool, 60000);
	CHECK_EQ(tine_pool_map(pool, &twice_task, in, out, 3, NULL, tine_after(300)),
		 -ETIMEDOUT);
	CHECK_EQ(tine_pool_submit(pool, &twice_task, in, 0, TINE_FOREVER), 0);
	CHECK_EQ(tine_pool_next(pool, out, sizeof(*out), &done, tine_after(300)),
		 -ETIMEDOUT);
	CHECK_EQ(tine_pool_cancel(pool), 0);
	CHECK_EQ(tine_pool_next(pool, out, sizeof(*out), &done, tine_after(60000)), 1);
	CHECK_EQ(done.status, -ECANCELED);
	tine_pool_free(pool);
	server_stop(&server);
}

TEST(the_server_is_gone_for_good)
{
	int in[3] = { 1, 2, 3 }, out[3];
	tine_pool *pool;
	int err;

	server_start(&server, NULL);
	make_away(&pool, 500);
	server_kill(&server);
	err = tine_pool_map(pool, &twice_task, in, out, 3, NULL, tine_after(60000));
	CHECK(err < 0 && err != -ETIMEDOUT);
	/* Nor is there one to begin with. */
	CHECK(courier_pool_new(&pool, server.pool, 500, NULL) < 0);
	tine_pool_free(pool);
	server_remove(&server);
}

TEST(as_an_option_of_a_pool)
{
	int in[3] = { 1, 2, 3 }, out[3];
	tine_pool_opts opts = { .engine = server.pool }, late = { .away_ms = 1 };
	tine_task task = twice_task;
	tine_worker *host;
	tine_pool *pool;

	server_start(&server, NULL);
	host = start_host("host");
	CHECK_EQ(tine_pool_new(&pool, &late), -EINVAL);
	CHECK_EQ(tine_pool_new(NULL, &opts), -EINVAL);
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	/* What the host has is what is called. */
	task.fn = NULL;
	CHECK_EQ(tine_pool_map(pool, &task, in, out, 3, NULL, TINE_FOREVER), 0);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(out[i], 2 * in[i]);
	tine_pool_free(pool);
	tine_worker_free(host);
	server_stop(&server);
}

TEST(what_cannot_be_done_elsewhere)
{
	static char name[300];
	tine_task task = twice_task;
	tine_pool_opts init = { .init_arg = name }, memory = { .memory_per_worker = 1 };
	int in = 1, out;
	tine_pool *pool;

	server_start(&server, NULL);
	CHECK_EQ(courier_pool_new(&pool, server.pool, -1, NULL), -EINVAL);
	CHECK_EQ(courier_pool_new(&pool, server.pool, 0, &init), -EINVAL);
	CHECK_EQ(courier_pool_new(&pool, server.pool, 0, &memory), -EINVAL);
	make_away(&pool, 1000);
	task.name = NULL;
	CHECK_EQ(tine_pool_map(pool, &task, &in, &out, 1, NULL, TINE_FOREVER), -EINVAL);
	CHECK_EQ(tine_pool_submit(pool, &task, &in, 0, TINE_FOREVER), -EINVAL);
	memset(name, 'x', sizeof(name) - 1);
	task.name = name;
	CHECK_EQ(tine_pool_map(pool, &task, &in, &out, 1, NULL, TINE_FOREVER),
		 -ENAMETOOLONG);
	task = twice_task;
	task.in_size = ((size_t)64 << 20) + 1;
	CHECK_EQ(tine_pool_map(pool, &task, &in, &out, 1, NULL, TINE_FOREVER), -EMSGSIZE);
	tine_pool_free(pool);
	server_stop(&server);
}

/* ---- what waits for a server that is away ------------------------------------------ */

enum { LARGE = 1 << 20, FEW = 8 };

static int first_of(const void *in, void *out)
{
	*(int *)out = *(const int *)in;
	return 0;
}

static const tine_task first_task = TINE_TASK(first_of, char[LARGE], int);

/* Kilobytes of its own that the courier has. */
static long courier_memory(const tine_pool *pool)
{
	return (long)(own_memory(pool->nursery.pid) / 1024);
}

static struct watched {
	tine_pool *pool;
	unsigned calls;
	long first, last;
} watched;

static void watch_memory(void *arg, size_t done, size_t total)
{
	(void)arg;
	(void)done;
	(void)total;
	watched.calls++;
	if (watched.calls == 5)
		watched.first = courier_memory(watched.pool);
	if (watched.calls != 25)
		return;
	watched.last = courier_memory(watched.pool);
	CHECK_EQ(tine_pool_cancel(watched.pool), 0);
}

/* Inputs that do not lie together are copied to be sent: once, however long they wait. */
TEST(what_waits_is_gathered_once)
{
	char(*in)[LARGE] = calloc(FEW, LARGE);
	tine_cache *cache = opened(0);
	tine_map_opts opts = { .progress = watch_memory, .cache = cache };
	int out[FEW], ran;

	for (int i = 0; i < FEW; i++)
		in[i][0] = (char)i;
	/* One is there: the others do not follow each other. */
	CHECK_EQ(tine_cache_call(cache, &first_task, in[2], out, &ran, TINE_FOREVER), 0);
	server_start(&server, NULL);
	make_away(&watched.pool, 600000);
	server_kill(&server);
	CHECK_EQ(tine_pool_map(watched.pool, &first_task, in, out, FEW, &opts,
			       tine_after(test_patience(60000))),
		 -ECANCELED);
	CHECK(watched.first > 0 && watched.last > 0);
	CHECK(watched.last - watched.first < 40000);
	tine_pool_free(watched.pool);
	server_remove(&server);
	tine_cache_free(cache);
	free(in);
	clean();
}
