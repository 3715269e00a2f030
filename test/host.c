/* SPDX-License-Identifier: MIT */
/* Hosts: what they do for a caller elsewhere, and what becomes of it when they end. */
#include "engine_caller.h"
#include "pool/pool.h"

/* What the job of wait_for_go() says, and waits for: in the family's memory. */
static struct told {
	_Atomic pid_t pid;
	_Atomic int runs, go, over;
} * told;

static int triple(const void *in, void *out)
{
	*(uint64_t *)out = *(const uint64_t *)in * 3 + 1;
	return 0;
}

/* Odd ones fail, of 13 the process dies. */
static int picky(const void *in, void *out)
{
	uint64_t n = *(const uint64_t *)in;

	*(uint64_t *)out = n * 3 + 1;
	if (n == 13)
		abort();
	return n % 2 ? -EDOM : 0;
}

static int slow(const void *in, void *out)
{
	test_sleep_us(20000);
	return triple(in, out);
}

static int until_cancelled(const void *in, void *out)
{
	while (!tine_cancelled())
		test_sleep_us(1000);
	return triple(in, out);
}

static int for_ever(const void *in, void *out)
{
	for (;;)
		test_sleep_us(1000000);
	return triple(in, out);
}

static int wait_for_go(const void *in, void *out)
{
	atomic_fetch_add(&told->runs, 1);
	atomic_store(&told->pid, getpid());
	while (!atomic_load(&told->go))
		test_sleep_us(1000);
	atomic_store(&told->over, 1);
	return triple(in, out);
}

static int crash(const void *in, void *out)
{
	(void)in;
	(void)out;
	abort();
}

static int hit_at(const void *in, void *out)
{
	triple(in, out);
	return *(const uint64_t *)in == 5;
}

static int index_fails(size_t index, const void *arg)
{
	return index == *(const size_t *)arg ? -EDOM : 0;
}

static int sum_range(size_t low, size_t high, const void *arg, void *out)
{
	for (size_t i = low; i < high; i++)
		*(uint64_t *)out += i + *(const uint64_t *)arg;
	return 0;
}

static void add(void *into, const void *from)
{
	*(uint64_t *)into += *(const uint64_t *)from;
}

static int reverse(const void *in, size_t len)
{
	char *out = malloc(len + 1);

	for (size_t i = 0; i < len; i++)
		out[i] = ((const char *)in)[len - 1 - i];
	return tine_job_result(out, len) ? -ENOMEM : 7;
}

static const tine_task served[] = {
	TINE_TASK(triple, uint64_t, uint64_t),
	TINE_TASK(picky, uint64_t, uint64_t),
	TINE_TASK(slow, uint64_t, uint64_t),
	TINE_TASK(until_cancelled, uint64_t, uint64_t),
	TINE_TASK(for_ever, uint64_t, uint64_t),
	TINE_TASK(crash, uint64_t, uint64_t),
	TINE_TASK(hit_at, uint64_t, uint64_t),
	TINE_TASK_EACH(index_fails, size_t),
	TINE_TASK_REDUCE(sum_range, add, uint64_t, uint64_t),
	TINE_TASK_BYTES(reverse),
	TINE_TASK(wait_for_go, uint64_t, uint64_t),
};
enum { TRIPLE, PICKY, SLOW, UNTIL, FOR_EVER, CRASH, HIT, INDEX, SUM, REVERSE, GO };
#define SERVED (sizeof(served) / sizeof(*served))

static struct server server;
static tine_worker *host;

static void begin(unsigned workers, unsigned lease)
{
	const tine_worker_opts opts = { .workers = workers,
					.name = "a host",
					.lease_ms = lease };

	server_start(&server, NULL);
	CHECK_EQ(tine_worker_start(&host, server.pool, served, SERVED, &opts), 0);
}

static void end(void)
{
	tine_worker_free(host);
	server_stop(&server);
}

#define N 1000
static uint64_t in[N], out[N];

static void number_inputs(void)
{
	for (size_t i = 0; i < N; i++)
		in[i] = i;
	memset(out, 0, sizeof(out));
}

static void check_outputs(void)
{
	for (size_t i = 0; i < N; i++)
		CHECK_EQ(out[i], i * 3 + 1);
}

TEST(a_host_does_what_a_caller_asks)
{
	struct caller caller;

	begin(2, 5000);
	number_inputs();
	caller_begin(&caller, server.pool, &served[TRIPLE], WIRE_CALLS, in, out, N, 7);
	caller_run(&caller);
	check_outputs();
	CHECK_EQ(caller.told_lost, 0);
	CHECK_EQ(caller.sent_again, 0);
	CHECK_EQ(keys_for_ever(caller.engine), 0);
	caller_end(&caller);
	end();
}

TEST(one_job_that_dies_is_one_failure)
{
	struct caller caller;

	begin(2, 5000);
	number_inputs();
	caller_begin(&caller, server.pool, &served[PICKY], WIRE_CALLS, in, out, 100, 20);
	caller_run(&caller);
	for (size_t i = 0; i < 100; i++) {
		CHECK_EQ(caller.status[i], i == 13 ? -TINE_ECRASH : i % 2 ? -EDOM : 0);
		CHECK_EQ(caller.endings[i].how.signal, i == 13 ? SIGABRT : 0);
		if (i != 13)
			CHECK_EQ(out[i], i * 3 + 1);
	}
	caller_end(&caller);
	end();
}

TEST(functions_of_indexes_ranges_and_bytes)
{
	static const char text[] = "abc";
	uint64_t sums[10] = { 0 }, sum = 0, arg = 1;
	size_t bad = 31;
	struct caller caller;

	begin(2, 5000);
	caller_begin(&caller, server.pool, &served[INDEX], WIRE_EACH, &bad, NULL, 40, 8);
	caller_run(&caller);
	for (size_t i = 0; i < 40; i++)
		CHECK_EQ(caller.status[i], i == 31 ? -EDOM : 0);
	caller_end(&caller);
	caller_begin(&caller, server.pool, &served[SUM], WIRE_LEAVES, &arg, sums, 10, 3);
	caller.like.total = 1000;
	caller.like.leaves = 10;
	caller_run(&caller);
	for (size_t i = 0; i < 10; i++)
		sum += sums[i];
	CHECK_EQ(sum, 1000 * 999 / 2 + 1000);
	caller_end(&caller);
	caller_begin(&caller, server.pool, &served[REVERSE], WIRE_BYTES, text, NULL, 1,
		     1);
	caller.like.in_size = 3;
	caller_run(&caller);
	CHECK_EQ(caller.status[0], 7);
	CHECK_EQ(caller.bytes_len, 3);
	CHECK(memcmp(caller.bytes, "cba", 3) == 0);
	caller_end(&caller);
	end();
}

TEST(large_inputs_and_outputs_travel)
{
	size_t len = test_soak() ? WIRE_MOST : 5000000;
	char *bytes = malloc(len);
	struct caller caller;

	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)(i * 7 + i / 251);
	begin(1, 20000);
	caller_begin(&caller, server.pool, &served[REVERSE], WIRE_BYTES, bytes, NULL, 1,
		     1);
	caller.like.in_size = len;
	caller_run(&caller);
	CHECK_EQ(caller.bytes_len, len);
	for (size_t i = 0; i < len; i++)
		CHECK(caller.bytes[i] == bytes[len - 1 - i]);
	CHECK_EQ(keys_for_ever(caller.engine), 0);
	caller_end(&caller);
	end();
	free(bytes);
}

/* Until so many chunks are seen to run there. */
static int count_busy(void *arg, const tine_host *seen)
{
	*(unsigned *)arg += seen->busy;
	return 0;
}

static void await_busy(struct caller *caller, unsigned wanted)
{
	unsigned busy = 0;

	while (busy != wanted) {
		CHECK(tine_now() < caller->deadline);
		caller_step(caller);
		busy = 0;
		CHECK_EQ(tine_hosts(server.pool, count_busy, &busy), 0);
	}
}

/* One job, which runs on a host of one worker. */
static void begin_to_wait(struct caller *caller)
{
	told = tine_shared_new(1, sizeof(*told));
	CHECK(told != NULL);
	begin(1, 1000);
	number_inputs();
	caller_begin(caller, server.pool, &served[GO], WIRE_CALLS, in, out, 1, 1);
	while (!atomic_load(&told->pid))
		caller_step(caller);
}

static void end_of_waiting(struct caller *caller)
{
	caller_end(caller);
	end();
	tine_shared_free(told);
}

/* Nobody has told it: it counts its lease itself. */
TEST(a_host_that_hears_nothing_ends_what_runs)
{
	int64_t patience = tine_after(test_patience(20000));
	struct caller caller;
	pid_t first;

	begin_to_wait(&caller);
	first = atomic_load(&told->pid);
	CHECK_EQ(kill(server.pid, SIGSTOP), 0);
	while (kill(first, 0) == 0) {
		CHECK(tine_now() < patience);
		test_sleep_us(10000);
	}
	CHECK_EQ(atomic_load(&told->over), 0);
	CHECK_EQ(kill(server.pid, SIGCONT), 0);
	atomic_store(&told->go, 1);
	caller_run(&caller);
	CHECK_EQ(out[0], 1);
	CHECK(atomic_load(&told->runs) >= 2);
	CHECK_EQ(caller.duplicates, 0);
	end_of_waiting(&caller);
}

/* Though no other host has taken anything from it: the server would take the result. */
TEST(a_host_beyond_its_lease_sends_no_result)
{
	struct caller caller;
	pid_t agent;

	begin_to_wait(&caller);
	agent = ((const struct child *)host)->pid;
	CHECK_EQ(kill(agent, SIGSTOP), 0);
	atomic_store(&told->go, 1);
	while (!atomic_load(&told->over))
		caller_step(&caller);
	test_sleep_us(1400000);
	CHECK_EQ(caller.merged, 0);
	CHECK_EQ(kill(agent, SIGCONT), 0);
	caller_run(&caller);
	CHECK_EQ(out[0], 1);
	CHECK(atomic_load(&told->runs) >= 2);
	CHECK(caller.told_lost > 0);
	CHECK_EQ(caller.duplicates, 0);
	end_of_waiting(&caller);
}

TEST(a_cancelled_job_learns_it)
{
	struct engine_answer answer;
	struct caller caller;

	begin(2, 500);
	number_inputs();
	caller_begin(&caller, server.pool, &served[UNTIL], WIRE_CALLS, in, out, 8, 2);
	await_busy(&caller, 2);
	engine_add_cancel(caller.engine, 7, caller.id, 1);
	CHECK(talk(&caller, &answer) != NULL);
	caller_run(&caller);
	/* Those that ran saw it; the others did not begin. */
	for (size_t i = 0; i < 8; i++)
		CHECK(caller.status[i] == -ECANCELED || caller.status[i] == 0);
	CHECK_EQ(caller.status[1], -ECANCELED);
	caller_end(&caller);
	end();
}

TEST(a_job_beyond_its_limits_is_ended)
{
	struct caller caller;

	begin(2, 5000);
	number_inputs();
	caller_begin(&caller, server.pool, &served[FOR_EVER], WIRE_CALLS, in, out, 2, 2);
	caller.like.job_ms = 50;
	caller_run(&caller);
	for (size_t i = 0; i < 2; i++) {
		CHECK_EQ(caller.status[i], -TINE_ELIMIT);
		CHECK_EQ(caller.endings[i].limit, TINE_LIMIT_TIME);
	}
	caller_end(&caller);
	/* The deadline of the call. */
	caller_begin(&caller, server.pool, &served[FOR_EVER], WIRE_CALLS, in, out, 2, 2);
	caller.like.left_ms = 100;
	caller_run(&caller);
	CHECK(caller.status[0] == -ECANCELED || caller.status[0] == -TINE_ELIMIT);
	CHECK_EQ(caller.status[1], -ECANCELED);
	caller_end(&caller);
	end();
}

TEST(a_hit_ends_its_chunk)
{
	struct caller caller;

	begin(1, 5000);
	number_inputs();
	caller_begin(&caller, server.pool, &served[HIT], WIRE_CALLS, in, out, 10, 10);
	caller.like.flags = WIRE_SEARCH;
	caller_run(&caller);
	for (size_t i = 0; i < 10; i++)
		CHECK_EQ(caller.status[i], i < 5 ? 0 : i == 5 ? 1 : -ECANCELED);
	caller_end(&caller);
	end();
}

/* Though nobody has told the host. */
TEST(or_its_search)
{
	struct caller caller;

	begin(1, 5000);
	number_inputs();
	caller_begin(&caller, server.pool, &served[HIT], WIRE_CALLS, in, out, 40, 1);
	caller.like.flags = WIRE_SEARCH | WIRE_FIRST;
	caller_run(&caller);
	for (size_t i = 0; i < 40; i++)
		CHECK_EQ(caller.status[i], i < 5 ? 0 : i == 5 ? 1 : -ECANCELED);
	caller_end(&caller);
	end();
}

TEST(a_host_that_drains_ends_what_runs)
{
	struct caller caller;
	tine_worker *other;

	begin(1, 2000);
	number_inputs();
	caller_begin(&caller, server.pool, &served[SLOW], WIRE_CALLS, in, out, 40, 2);
	await_busy(&caller, 1);
	CHECK_EQ(tine_worker_start(&other, server.pool, served, SERVED,
				   &(tine_worker_opts){ .workers = 1 }),
		 0);
	CHECK_EQ(tine_worker_drain(host), 0);
	caller_run(&caller);
	CHECK_EQ(tine_worker_wait(host, tine_after(test_patience(10000))), 0);
	for (size_t i = 0; i < 40; i++)
		CHECK_EQ(out[i], i * 3 + 1);
	CHECK_EQ(caller.told_lost, 0);
	caller_end(&caller);
	tine_worker_free(other);
	end();
}

TEST(a_host_that_is_freed_leaves_its_jobs_to_others)
{
	struct caller caller;
	tine_worker *other;

	begin(1, 500);
	number_inputs();
	caller_begin(&caller, server.pool, &served[SLOW], WIRE_CALLS, in, out, 40, 4);
	await_busy(&caller, 1);
	CHECK_EQ(tine_worker_start(&other, server.pool, served, SERVED,
				   &(tine_worker_opts){ .workers = 1 }),
		 0);
	tine_worker_free(host);
	host = other;
	caller_run(&caller);
	for (size_t i = 0; i < 40; i++)
		CHECK_EQ(out[i], i * 3 + 1);
	CHECK(caller.told_lost > 0);
	caller_end(&caller);
	end();
}

/* What tine_hosts() says of one. */
static struct seen {
	unsigned n, workers, paused;
	bool triples;
	char name[64];
	uint64_t done;
} seen;

static int note_host(void *arg, const tine_host *it)
{
	(void)arg;
	seen.n++;
	seen.workers = it->workers;
	seen.paused |= it->paused_ms;
	seen.done = it->done;
	seen.triples = strstr(it->tasks, "host%2ec:triple.0.c.8.8.") != NULL;
	snprintf(seen.name, sizeof(seen.name), "%s", it->name);
	return 0;
}

TEST(hosts_are_listed)
{
	begin(3, 5000);
	memset(&seen, 0, sizeof(seen));
	CHECK_EQ(tine_hosts(server.pool, note_host, NULL), 0);
	CHECK_EQ(seen.n, 1);
	CHECK_EQ(seen.workers, 3);
	CHECK(seen.triples);
	CHECK(strcmp(seen.name, "a host") == 0);
	CHECK_EQ(tine_worker_drain(host), 0);
	CHECK_EQ(tine_worker_wait(host, tine_after(test_patience(10000))), 0);
	memset(&seen, 0, sizeof(seen));
	CHECK_EQ(tine_hosts(server.pool, note_host, NULL), 0);
	CHECK_EQ(seen.n, 0);
	end();
}

/* Of two hosts where all crashes one pauses, since the other does not. */
TEST(a_host_where_all_crashes_pauses)
{
	const tine_worker_opts opts = { .workers = 1, .name = "another" };
	struct caller caller;
	tine_worker *other;

	begin(1, 500);
	CHECK_EQ(tine_worker_start(&other, server.pool, served, SERVED, &opts), 0);
	number_inputs();
	caller_begin(&caller, server.pool, &served[CRASH], WIRE_CALLS, in, out, 20, 1);
	memset(&seen, 0, sizeof(seen));
	while (!seen.paused) {
		CHECK(tine_now() < caller.deadline);
		caller_step(&caller);
		CHECK_EQ(tine_hosts(server.pool, note_host, NULL), 0);
	}
	caller_run(&caller);
	caller_end(&caller);
	tine_worker_free(other);
	end();
}

/* Pauses would take minutes. */
TEST(but_not_where_there_is_no_other)
{
	struct caller caller;

	begin(1, 500);
	number_inputs();
	caller_begin(&caller, server.pool, &served[CRASH], WIRE_CALLS, in, out, 20, 1);
	memset(&seen, 0, sizeof(seen));
	caller_run(&caller);
	CHECK_EQ(tine_hosts(server.pool, note_host, NULL), 0);
	CHECK_EQ(seen.paused, 0);
	for (size_t i = 0; i < 20; i++)
		CHECK_EQ(caller.status[i], -TINE_ECRASH);
	caller_end(&caller);
	end();
}
