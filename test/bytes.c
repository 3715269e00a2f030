/* SPDX-License-Identifier: MIT */
/* Jobs of bytes: any number of them in, and any number out. */
#include "step.h"

#include "memory/owned.h"
#include "pool/pool.h"
#include "pool/worker.h"
#include "sync/member.h"

static tine_pool *make(const tine_pool_opts *opts)
{
	tine_pool *pool;

	CHECK_EQ(tine_pool_new(&pool, opts), 0);
	return pool;
}

static void submit(tine_pool *pool, tine_bytes_fn *fn, const void *in, size_t len,
		   uint64_t tag)
{
	tine_task task = { .bytes = fn };

	CHECK_EQ(tine_pool_submit_bytes(pool, &task, in, len, tag, TINE_FOREVER), 0);
}

/* All that it got, twice. */
static int doubles(const void *in, size_t len)
{
	char *out = malloc(2 * len + 1);
	int err;

	memcpy(out, in, len);
	memcpy(out + len, in, len);
	err = tine_job_result(out, 2 * len);
	free(out);
	return err;
}

static char *noise(size_t len)
{
	char *bytes = malloc(len + 1);

	CHECK(bytes);
	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)(i * 131 >> 3);
	return bytes;
}

TEST(as_many_as_there_are)
{
	static const size_t lens[] = { 0, 1, 63, 64, 65, 4096, 100000, 3000000 };
	tine_pool_opts opts = { .workers = 2 };
	char *bytes = noise(3000000);

	for (int ordered = 0; ordered < 2; ordered++) {
		tine_pool *pool;

		opts.ordered = ordered;
		pool = make(&opts);
		/* Some are brought home before they are taken. */
		for (int i = 0; i < 24; i++)
			submit(pool, doubles, bytes, lens[i % 8], i);
		for (int i = 0; i < 24; i++) {
			const void *out;
			tine_done done;
			size_t len;

			CHECK_EQ(tine_pool_next_bytes(pool, &out, &done, TINE_FOREVER),
				 1);
			if (ordered)
				CHECK_EQ((int)done.tag, i);
			CHECK_EQ(done.status, 0);
			len = lens[done.tag % 8];
			CHECK_EQ(done.len, 2 * len);
			CHECK((uintptr_t)out % 64 == 0);
			CHECK(memcmp(out, bytes, len) == 0);
			CHECK(memcmp((const char *)out + len, bytes, len) == 0);
			/* What nobody releases goes with the pool. */
			if (i % 3)
				CHECK_EQ(tine_pool_release(pool, out), 0);
		}
		/* And what nobody takes. */
		for (int i = 0; i < 24; i++)
			submit(pool, doubles, bytes, lens[i % 8], i);
		test_sleep_us(30000);
		tine_pool_free(pool);
	}
	free(bytes);
}

static int explains(const void *in, size_t len)
{
	(void)in;
	(void)len;
	CHECK_EQ(tine_job_result("no such file", 13), 0);
	return -ENOENT;
}

static int squares(const void *in, void *out)
{
	*(long *)out = *(const long *)in * *(const long *)in;
	return tine_job_result("x", 1) == -EPERM ? 0 : -EBADE;
}

/* A failure has a text; and either kind of call takes what it can. */
TEST(beside_jobs_of_fixed_size)
{
	static const tine_task fixed = TINE_TASK(squares, long, long);
	tine_pool_opts opts = { .workers = 1, .ordered = true };
	tine_pool *pool = make(&opts);
	const void *out = NULL;
	char text[20];
	tine_done done;
	long n = 7;

	submit(pool, explains, NULL, 0, 1);
	submit(pool, explains, NULL, 0, 2);
	CHECK_EQ(tine_pool_submit(pool, &fixed, &n, 3, TINE_FOREVER), 0);
	CHECK_EQ(tine_pool_next(pool, text, 12, &done, TINE_FOREVER), -EMSGSIZE);
	CHECK_EQ(tine_pool_next(pool, text, sizeof(text), &done, TINE_FOREVER), 1);
	CHECK_EQ(done.status, -ENOENT);
	CHECK_EQ(done.len, 13);
	CHECK(strcmp(text, "no such file") == 0);
	CHECK_EQ(tine_pool_next_bytes(pool, &out, &done, TINE_FOREVER), 1);
	CHECK(strcmp(out, "no such file") == 0);
	CHECK_EQ(tine_pool_release(pool, out), 0);
	CHECK_EQ(tine_pool_next_bytes(pool, &out, &done, TINE_FOREVER), -EINVAL);
	CHECK_EQ(tine_pool_next(pool, &n, sizeof(n), &done, TINE_FOREVER), 1);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(n, 49);
	CHECK_EQ(tine_pool_next_bytes(pool, &out, &done, TINE_FOREVER), 0);
	tine_pool_free(pool);
}

/* What was given and not released, and what nobody took, goes with the pool. */
TEST(never_released)
{
	tine_pool_opts opts = { .workers = 2 };
	tine_pool *pool = make(&opts);
	tine_task task = TINE_TASK_BYTES(doubles);
	char *in = noise(100000);
	const void *out;
	tine_done done;

	for (size_t i = 0; i < 12; i++) {
		/* Every other one of 0 bytes. */
		CHECK_EQ(tine_pool_submit_bytes(pool, &task, in, i % 2 * 5000 * i, i,
						TINE_FOREVER),
			 0);
		if (i % 3 == 0)
			continue;
		CHECK_EQ(tine_pool_next_bytes(pool, &out, &done, TINE_FOREVER), 1);
		CHECK_EQ(done.status, 0);
		CHECK_EQ(done.len, 2 * (done.tag % 2 * 5000 * done.tag));
		for (size_t k = 0; k < done.len; k++)
			CHECK(((const char *)out)[k] == in[k % (done.len / 2)]);
	}
	tine_pool_free(pool);
	free(in);
}

static int mistakes(const void *in, size_t len)
{
	CHECK(in && len == 3);
	CHECK_EQ(tine_job_result(NULL, 1), -EINVAL);
	CHECK_EQ(tine_job_result("x", SIZE_MAX), -EMSGSIZE);
	CHECK_EQ(tine_job_result("x", (size_t)1 << 50), -ENOMEM);
	CHECK_EQ(tine_job_result("good", 5), 0);
	CHECK_EQ(tine_job_result("late", 5), -EALREADY);
	return 0;
}

TEST(bad_arguments)
{
	tine_pool_opts opts = { .workers = 1 };
	tine_pool *pool = make(&opts);
	tine_task none = { .fn = squares }, both = { .fn = squares, .bytes = mistakes },
		  one = TINE_TASK_BYTES(mistakes);
	const void *out;
	tine_done done;

	CHECK_EQ(tine_job_result("x", 1), -EPERM);
	CHECK_EQ(tine_pool_submit_bytes(pool, &none, "", 1, 1, TINE_FOREVER), -EINVAL);
	CHECK_EQ(tine_pool_submit(pool, &both, "", 1, TINE_FOREVER), -EINVAL);
	CHECK_EQ(tine_pool_submit_bytes(pool, &one, NULL, 1, 1, TINE_FOREVER), -EINVAL);
	CHECK_EQ(tine_pool_submit_bytes(pool, &one, "", SIZE_MAX, 1, TINE_FOREVER),
		 -EMSGSIZE);
	CHECK_EQ(tine_pool_submit_bytes(pool, &one, "", (size_t)1 << 50, 1, TINE_FOREVER),
		 test_is_away() ? -EMSGSIZE : -ENOMEM);
	CHECK_EQ(tine_pool_next_bytes(pool, NULL, &done, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_pool_next_bytes(pool, &out, NULL, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_pool_release(pool, NULL), 0);
	CHECK_EQ(tine_pool_submit_bytes(pool, &one, "abc", 3, 1, TINE_FOREVER), 0);
	CHECK_EQ(tine_pool_next_bytes(pool, &out, &done, TINE_FOREVER), 1);
	CHECK_EQ(done.status, 0);
	CHECK(strcmp(out, "good") == 0);
	tine_pool_free(pool);
}

static int dies_after(const void *in, size_t len)
{
	(void)!tine_job_result(in, len);
	raise(SIGKILL);
	return 0;
}

TEST(what_the_dead_have_answered_is_dropped)
{
	tine_pool_opts opts = { .workers = 2, .retries = 2 };
	tine_pool *pool = make(&opts);
	const void *out = pool;
	char *bytes = noise(100000);
	tine_done done;

	for (int i = 0; i < 5; i++)
		submit(pool, dies_after, bytes, 100000, 1);
	for (int i = 0; i < 5; i++) {
		CHECK_EQ(tine_pool_next_bytes(pool, &out, &done, TINE_FOREVER), 1);
		CHECK_EQ(done.status, -TINE_ECRASH);
		CHECK(!out && done.len == 0);
	}
	tine_pool_free(pool);
	free(bytes);
}

/* ---- at every instruction ---------------------------------------------------------- */

static struct scene {
	struct ledger *ledger;
	struct ticket *tickets;
	long died, answered;
} * scene;

static int answers(const void *in, size_t len)
{
	return tine_job_result(in, len);
}

static void reset(void)
{
	struct ticket *ticket = &scene->tickets[0];

	ticket->bytes = answers;
	ticket->fn = (tine_fn *)(void (*)(void))answers;
	ticket->in_size = 100;
	ticket->attempts = 0;
	atomic_store(&ticket->answer, NULL);
	atomic_store(&ticket->number, atomic_load(&ticket->number) + 1);
	atomic_store(&ticket->state, ticket_word(WAITING, 0));
}

static void works(void *arg)
{
	(void)arg;
	worker_main(scene->ledger, 0);
}

/* A ticket that is done has an answer of its own, one that failed none. */
static void answered_or_not(void *arg, long step)
{
	struct ticket *ticket = &scene->tickets[0];
	struct reply *answer;

	(void)arg;
	CHECK_EQ(ledger_lock(scene->ledger, tine_after(2000)), 0);
	desk_mend(scene->ledger, 0, (tine_exit){ .code = -1, .signal = SIGKILL }, false);
	ledger_unlock(scene->ledger);
	answer = atomic_load(&ticket->answer);
	if (ticket_state(atomic_load(&ticket->state)) == DONE && ticket->status == 0) {
		if (!answer || answer->len != 100 ||
		    owned_by(answer) != ticket_owner(scene->ledger, ticket))
			test_fail(__FILE__, __LINE__, "step %ld: no answer", step);
		tine_shared_free(answer);
		scene->answered++;
	} else if (answer) {
		test_fail(__FILE__, __LINE__, "step %ld: an answer of the dead", step);
	} else {
		scene->died++;
	}
	reset();
}

/* None of the blocks is left: the harness sees it. */
TEST_LIMIT(a_worker_killed_at_every_step, 240)
{
	const struct steps steps = { NULL, works, answered_or_not };
	struct ledger *ledger = tine_shared_new(1, sizeof(*ledger) +
							   sizeof(struct pool_desk));

	scene = tine_shared_new(1, sizeof(*scene));
	scene->ledger = ledger;
	scene->tickets = tine_shared_new(3, sizeof(struct ticket));
	scene->tickets[0].data.mem = tine_shared_new(1, 100);
	ledger->workers = 1;
	ledger->jobs_per_worker = 1;
	atomic_store(&ledger->tickets, scene->tickets);
	reset();
	CHECK(test_kill_some_steps(&steps, NULL, 4) > 400);
	CHECK(scene->died > 0 && scene->answered > 0);
	members_sweep();
	tine_shared_free(scene->tickets[0].data.mem);
	tine_shared_free(scene->tickets);
	tine_shared_free(ledger);
	tine_shared_free(scene);
}
