/* SPDX-License-Identifier: MIT */
/* Calls that are computed once, whoever asks for them, and whoever dies meanwhile. */
#include "cache_use.h"

#include <pthread.h>

/* What tasks share: of the family, or a file that strangers map too. */
struct scene {
	tine_event begun, go;
	int runs, waiting, failures; /* tasks that have begun; those who ask; to come */
	int sleep_us;
	int64_t pid; /* of who computes */
};

static struct scene *scene;

static void set_scene(void)
{
	folder();
	CHECK_EQ(tine_shared_map((void **)&scene, beside("scene"), sizeof(*scene)), 0);
}

static void end_scene(void)
{
	tine_shared_unmap(scene);
	scene = NULL;
	clean();
}

static int count(int *word)
{
	return __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
}

static int runs(void)
{
	return __atomic_load_n(&scene->runs, __ATOMIC_SEQ_CST);
}

static int square(const void *in, void *out)
{
	int64_t number = *(const int64_t *)in;

	count(&scene->runs);
	tine_event_set(&scene->begun);
	if (scene->sleep_us)
		test_sleep_us(scene->sleep_us);
	if (number == 666)
		tine_event_wait(&scene->go, tine_after(30000));
	*(int64_t *)out = number * number;
	return 0;
}

static const tine_task square_task = TINE_TASK(square, int64_t, int64_t);

static int ask(tine_cache *cache, int64_t number, int64_t deadline)
{
	int64_t out = -1;
	int err;

	count(&scene->waiting);
	err = tine_cache_call(cache, &square_task, &number, &out, NULL, deadline);
	if (err == 0 || err == 1)
		CHECK_EQ(out, number * number);
	else
		CHECK_EQ(out, -1);
	return err;
}

/* ---- one caller -------------------------------------------------------------------- */

TEST(computed_once)
{
	tine_cache *cache = opened(4 * MIB);

	set_scene();
	for (int64_t number = 0; number < 100; number++)
		CHECK_EQ(ask(cache, number, TINE_FOREVER), 0);
	CHECK_EQ(runs(), 100);
	tine_cache_free(cache);
	cache = opened(0);
	for (int64_t number = 0; number < 100; number++)
		CHECK_EQ(ask(cache, number, TINE_NOWAIT), 1);
	CHECK_EQ(runs(), 100);
	/* The deadline is one of waiting. */
	CHECK_EQ(ask(cache, 100, TINE_NOWAIT), 0);
	tine_cache_free(cache);
	end_scene();
}

static int returned; /* by the task */
static int ran;

static int answer(const void *in, void *out)
{
	ran++;
	if (out)
		memcpy(out, in, 4);
	return returned;
}

static const tine_task answer_task = {
	.name = "answer", .fn = answer, .in_size = 4, .out_size = 4
};

TEST(what_it_returned_is_kept)
{
	static const int codes[] = { 0, 1, 42, INT32_MAX };
	tine_cache *cache = opened(4 * MIB);

	for (int i = 0; i < 4; i++) {
		int in = i, out, status = -7;

		returned = codes[i];
		CHECK_EQ(tine_cache_call(cache, &answer_task, &in, &out, &status,
					 TINE_FOREVER),
			 0);
		CHECK_EQ(status, codes[i]);
		returned = -99;
		status = -7;
		out = -1;
		CHECK_EQ(tine_cache_call(cache, &answer_task, &in, &out, &status,
					 TINE_FOREVER),
			 1);
		CHECK_EQ(status, codes[i]);
		CHECK_EQ(out, i);
	}
	CHECK_EQ(ran, 4);
	tine_cache_free(cache);
	clean();
}

TEST(a_failure_is_not_kept)
{
	static const int codes[] = { -EIO, -1, -TINE_ECRASH, INT32_MIN };
	tine_cache *cache = opened(4 * MIB);
	int in = 1, out, status;

	for (int i = 0; i < 8; i++) {
		returned = codes[i / 2];
		CHECK_EQ(tine_cache_call(cache, &answer_task, &in, &out, &status,
					 TINE_FOREVER),
			 returned);
		CHECK_EQ(status, returned);
		CHECK_EQ(tine_cache_call(cache, &answer_task, &in, &out, NULL,
					 TINE_FOREVER),
			 returned);
	}
	CHECK_EQ(ran, 16);
	CHECK_EQ(stats_of(cache).entries, 0);
	returned = 0;
	CHECK_EQ(tine_cache_call(cache, &answer_task, &in, &out, NULL, TINE_FOREVER), 0);
	returned = -EIO;
	CHECK_EQ(tine_cache_call(cache, &answer_task, &in, &out, NULL, TINE_FOREVER), 1);
	tine_cache_free(cache);
	clean();
}

static int answer_more(const void *in, void *out)
{
	*(int *)out = *(const int *)in * 1000;
	return 0;
}

/* Two functions of one name, of two files: each has its own. A named one is anybody's. */
TEST(a_task_is_more_than_a_name)
{
	const tine_task tasks[] = {
		{ .name = "f", .fn = answer, .in_size = 4, .out_size = 4, .file = "a.c" },
		{ .name = "f",
		  .fn = answer_more,
		  .in_size = 4,
		  .out_size = 4,
		  .file = "b.c" },
	};
	tine_task named = TINE_TASK_NAMED("f", answer, int, int, 0);
	tine_cache *cache = opened(4 * MIB);
	int in = 7, out;

	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 2; i++) {
			CHECK_EQ(tine_cache_call(cache, &tasks[i], &in, &out, NULL,
						 TINE_FOREVER),
				 round);
			CHECK_EQ(out, i ? 7000 : 7);
		}
	CHECK_EQ(tine_cache_call(cache, &named, &in, &out, NULL, TINE_FOREVER), 0);
	CHECK_EQ(stats_of(cache).entries, 3);
	/* And so it is dropped. */
	CHECK_EQ(tine_cache_clear(cache, &tasks[1]), 0);
	CHECK_EQ(stats_of(cache).entries, 2);
	CHECK_EQ(tine_cache_call(cache, &tasks[0], &in, &out, NULL, TINE_FOREVER), 1);
	CHECK_EQ(tine_cache_call(cache, &tasks[1], &in, &out, NULL, TINE_FOREVER), 0);
	CHECK_EQ(tine_cache_clear(cache, &named), 0);
	CHECK_EQ(stats_of(cache).entries, 2);
	tine_cache_free(cache);
	clean();
}

TEST(name_version_and_input_are_the_key)
{
	static const char *const names[] = { "a", "ab", "b", "answer", "" };
	tine_cache *cache = opened(4 * MIB);
	char in[8] = { 0 }, out[8];
	int asked = 0;

	for (int round = 0; round < 2; round++)
		for (int name = 0; name < 5; name++)
			for (unsigned version = 0; version < 3; version++)
				for (int number = 0; number < 3; number++)
					for (size_t size = 4; size < 7; size++) {
						tine_task task = {
							.name = names[name],
							.fn = answer,
							.in_size = size,
							.out_size = 4,
							.version =
								version ? UINT32_MAX -
										  version
									: 0
						};

						in[0] = (char)number;
						asked += round == 0;
						CHECK_EQ(tine_cache_call(cache, &task, in,
									 out, NULL,
									 TINE_FOREVER),
							 round);
						CHECK_EQ(ran, asked);
					}
	tine_cache_free(cache);
	clean();
}

static bool no_padding_counts(tine_cache *cache, char padding)
{
	struct padded {
		char letter;
		int number;
	} in;
	tine_task task = {
		.name = "padded", .fn = answer, .in_size = sizeof(in), .out_size = 4
	};
	int out;

	memset(&in, padding, sizeof(in));
	in.letter = 'a';
	in.number = 1;
	return tine_cache_call(cache, &task, &in, &out, NULL, TINE_FOREVER) == 1;
}

/* As the manual says: it is bytes that are compared. */
TEST(padding_is_part_of_it)
{
	tine_cache *cache = opened(4 * MIB);

	CHECK(!no_padding_counts(cache, 0));
	CHECK(no_padding_counts(cache, 0));
	CHECK(!no_padding_counts(cache, 1));
	tine_cache_free(cache);
	clean();
}

/* However a key of the caller's is made, it is another than that of a task. */
TEST(keys_of_the_caller_meet_no_task)
{
	tine_cache *cache = opened(4 * MIB);
	uint32_t in = 0x01020304, out = 0, version = 0;
	char keys[6][32];
	size_t lens[6];
	const void *val;
	size_t len;

	memcpy(keys[0], &in, lens[0] = 4);
	memcpy(keys[1], "answer", lens[1] = 6);
	memcpy(keys[2], "answer\0", 7);
	memcpy(keys[2] + 7, &in, 4);
	lens[2] = 11;
	memcpy(keys[3], "answer\0", 7);
	memcpy(keys[3] + 7, &version, 4);
	memcpy(keys[3] + 11, &in, 4);
	lens[3] = 15;
	memcpy(keys[4], &version, 4);
	memcpy(keys[4] + 4, keys[2], 11);
	lens[4] = 15;
	memcpy(keys[5], "answer", 6);
	memcpy(keys[5] + 6, &in, 4);
	lens[5] = 10;
	for (int i = 0; i < 6; i++)
		CHECK_EQ(tine_cache_put(cache, keys[i], lens[i], "evil", 4), 0);
	CHECK_EQ(tine_cache_call(cache, &answer_task, &in, &out, NULL, TINE_FOREVER), 0);
	CHECK_EQ(out, in);
	for (int i = 0; i < 6; i++) {
		CHECK_EQ(tine_cache_get(cache, keys[i], lens[i], &val, &len), 0);
		CHECK(len == 4 && memcmp(val, "evil", 4) == 0);
		tine_cache_release(cache, val);
	}
	tine_cache_free(cache);
	cache = opened(0);
	CHECK_EQ(tine_cache_clear(cache, NULL), 0);
	CHECK_EQ(tine_cache_call(cache, &answer_task, &in, &out, NULL, TINE_FOREVER), 0);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(tine_cache_get(cache, keys[i], lens[i], &val, &len), -ENOENT);
	tine_cache_free(cache);
	clean();
}

static size_t large_in, large_out;

static int enlarge(const void *in, void *out)
{
	ran++;
	CHECK((uintptr_t)in % 8 == 0);
	make_value(out, large_out, large_in ? *(const unsigned char *)in : 0, 1);
	return 0;
}

TEST(inputs_and_results_of_any_size)
{
	static const size_t sizes[] = { 0, 1, 8, 1000, 16384, 70000, MIB };
	tine_cache *cache = opened(128 * MIB);
	char *in = calloc(1, MIB), *out = malloc(4 * MIB);

	CHECK(in && out);
	for (int i = 0; i < 7; i++)
		for (int j = 0; j < 7; j++) {
			tine_task task = { .name = "enlarge",
					   .fn = enlarge,
					   .in_size = sizes[i],
					   .out_size = 3 * sizes[j],
					   .version = (unsigned)(i * 7 + j) };

			large_in = sizes[i];
			large_out = 3 * sizes[j];
			in[0] = (char)(7 * i + j);
			for (int round = 0; round < 2; round++) {
				memset(out, 0, 4 * MIB);
				CHECK_EQ(tine_cache_call(cache, &task, in, out, NULL,
							 TINE_FOREVER),
					 round);
				CHECK(is_value(out, large_out,
					       large_in ? (unsigned char)in[0] : 0));
				CHECK_EQ(out[large_out], 0);
			}
		}
	CHECK_EQ(ran, 49);
	free(out);
	free(in);
	tine_cache_free(cache);
	clean();
}

TEST(too_large_is_delivered_all_the_same)
{
	tine_cache *cache = opened(2 * MIB);
	char *in = calloc(1, 8), *out = malloc(4 * MIB);
	tine_task task = {
		.name = "enlarge", .fn = enlarge, .in_size = 8, .out_size = 4 * MIB
	};

	CHECK(in && out);
	large_in = 8;
	large_out = 4 * MIB;
	for (int round = 1; round <= 3; round++) {
		int status = -1;

		memset(out, 0, large_out);
		CHECK_EQ(tine_cache_call(cache, &task, in, out, &status, TINE_FOREVER),
			 0);
		CHECK_EQ(status, 0);
		CHECK(is_value(out, large_out, 0));
		CHECK_EQ(ran, round);
	}
	free(out);
	free(in);
	tine_cache_free(cache);
	clean();
}

TEST(errors_leave_the_output)
{
	tine_cache *cache = opened(4 * MIB);
	tine_task nameless = { .name = NULL, .fn = answer, .in_size = 4, .out_size = 4 };
	tine_task idle = { .name = "idle", .fn = NULL, .in_size = 4, .out_size = 4 };
	int in = 1, out = 77, status = 78;

	CHECK_EQ(tine_cache_call(NULL, &answer_task, &in, &out, &status, TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(tine_cache_call(cache, NULL, &in, &out, &status, TINE_FOREVER), -EINVAL);
	CHECK_EQ(tine_cache_call(cache, &nameless, &in, &out, &status, TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(tine_cache_call(cache, &idle, &in, &out, &status, TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(tine_cache_call(cache, &answer_task, NULL, &out, &status, TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(tine_cache_call(cache, &answer_task, &in, NULL, &status, TINE_FOREVER),
		 -EINVAL);
	CHECK_EQ(out, 77);
	CHECK_EQ(status, 78);
	CHECK_EQ(ran, 0);
	tine_cache_free(cache);
	clean();
}

/* Whatever allocation fails, it is delivered, or -ENOMEM and not kept wrongly. */
TEST(no_memory)
{
	tine_cache *cache = opened(16 * MIB);
	tine_task task = {
		.name = "enlarge", .fn = enlarge, .in_size = 8, .out_size = 100000
	};
	char *out = malloc(100000);

	CHECK(out);
	large_in = 8;
	large_out = 100000;
	for (long n = 1;; n++) {
		uint64_t in = (uint64_t)n % 256;
		bool reached;
		int err;

		test_fail_allocation(n);
		err = tine_cache_call(cache, &task, &in, out, NULL, TINE_FOREVER);
		reached = test_allocation_failed();
		test_fail_allocation(0);
		CHECK(err == 0 || err == -ENOMEM);
		if (err == 0)
			CHECK(is_value(out, 100000, in));
		err = tine_cache_call(cache, &task, &in, out, NULL, TINE_FOREVER);
		CHECK(err == 0 || err == 1);
		CHECK(is_value(out, 100000, in));
		if (!reached)
			break;
	}
	free(out);
	tine_cache_free(cache);
	clean();
}

TEST(old_results_are_computed_again)
{
	tine_cache_opts opts = { .max_bytes = 4 * MIB, .max_age_ms = 10 };
	tine_cache *hasty, *cache = opened(4 * MIB);
	int64_t deadline = tine_after(20000);
	int err;

	set_scene();
	CHECK_EQ(tine_cache_open(&hasty, folder(), &opts), 0);
	CHECK_EQ(ask(cache, 5, TINE_FOREVER), 0);
	do {
		test_sleep_us(2000);
		err = ask(hasty, 5, TINE_FOREVER);
		CHECK(err == 0 || err == 1);
	} while (err == 1 && tine_now() < deadline);
	CHECK_EQ(err, 0);
	CHECK_EQ(ask(cache, 5, TINE_FOREVER), 1);
	CHECK_EQ(runs(), 2);
	tine_cache_free(hasty);
	tine_cache_free(cache);
	end_scene();
}

/* ---- calls within calls ------------------------------------------------------------ */

static tine_cache *nested_cache;
static int innermost = -1;

static int fibonacci(const void *in, void *out);
static const tine_task fibonacci_task = TINE_TASK(fibonacci, int64_t, int64_t);

static int fibonacci(const void *in, void *out)
{
	int64_t n = *(const int64_t *)in, before[2], one = n - 1, two = n - 2;
	int err;

	ran++;
	if (n < 2) {
		*(int64_t *)out = n;
		return 0;
	}
	err = tine_cache_call(nested_cache, &fibonacci_task, &one, &before[0], NULL,
			      TINE_FOREVER);
	if (err >= 0)
		err = tine_cache_call(nested_cache, &fibonacci_task, &two, &before[1],
				      NULL, TINE_FOREVER);
	*(int64_t *)out = before[0] + before[1];
	return err < 0 ? err : 0;
}

TEST(nested)
{
	int64_t n = 80, out;

	nested_cache = opened(4 * MIB);
	CHECK_EQ(tine_cache_call(nested_cache, &fibonacci_task, &n, &out, NULL,
				 TINE_FOREVER),
		 0);
	CHECK_EQ(out, 23416728348467685);
	CHECK_EQ(ran, 81);
	CHECK_EQ(stats_of(nested_cache).entries, 81);
	tine_cache_free(nested_cache);
	clean();
}

static int circle(const void *in, void *out);
static const tine_task circle_task = TINE_TASK(circle, int64_t, int64_t);

/* Asks for the next of three, which asks for the first again. */
static int circle(const void *in, void *out)
{
	int64_t next = (*(const int64_t *)in + 1) % 3, got = -1;
	int status = 99;

	ran++;
	innermost = tine_cache_call(nested_cache, &circle_task, &next, &got, &status,
				    TINE_FOREVER);
	if (innermost == -EDEADLK)
		CHECK(got == -1 && status == 99);
	*(int64_t *)out = 5;
	return ran > 3 ? 0 : ran == 3 ? 0 : innermost;
}

TEST(in_a_circle)
{
	tine_cache *other;
	int64_t n = 0, out;

	nested_cache = opened(4 * MIB);
	CHECK_EQ(
		tine_cache_call(nested_cache, &circle_task, &n, &out, NULL, TINE_FOREVER),
		0);
	CHECK_EQ(ran, 3);
	/* Itself, by way of another handle. */
	other = nested_cache;
	nested_cache = opened(0);
	CHECK_EQ(tine_cache_clear(other, NULL), 0);
	ran = 2;
	CHECK_EQ(tine_cache_call(other, &circle_task, &n, &out, NULL, tine_after(20000)),
		 0);
	tine_cache_free(nested_cache);
	tine_cache_free(other);
	clean();
}

static int itself(const void *in, void *out);
static const tine_task itself_task = TINE_TASK(itself, int64_t, int64_t);

static int itself(const void *in, void *out)
{
	ran++;
	return tine_cache_call(nested_cache, &itself_task, in, out, NULL, TINE_FOREVER);
}

TEST(itself_is_a_deadlock)
{
	int64_t n = 1, out = 9;

	nested_cache = opened(4 * MIB);
	for (int i = 1; i <= 3; i++) {
		CHECK_EQ(tine_cache_call(nested_cache, &itself_task, &n, &out, NULL,
					 TINE_FOREVER),
			 -EDEADLK);
		CHECK_EQ(ran, i);
	}
	tine_cache_free(nested_cache);
	clean();
}

/* ---- many who ask at once ---------------------------------------------------------- */

enum { ASKERS = 8 };

static tine_cache *asked; /* what children inherit */

static void ask_and_tell(tine_cache *cache, int64_t number)
{
	int err = ask(cache, number, tine_after(30000));

	CHECK(err == 0 || err == 1);
	_exit(err);
}

static void ask_inherited(void *number)
{
	ask_and_tell(asked, *(int64_t *)number);
}

static void ask_opened(void *number)
{
	ask_and_tell(opened(0), *(int64_t *)number);
}

STRANGER(ask_as_stranger)
{
	set_scene();
	ask_and_tell(opened(0), atoll(getenv("TINE_TEST_NUMBER")));
}

static pid_t start_asker(int which, int64_t number)
{
	char text[32];

	if (which % 3 == 0)
		return test_fork(ask_inherited, &number);
	if (which % 3 == 1)
		return test_fork(ask_opened, &number);
	snprintf(text, sizeof(text), "%" PRId64, number);
	setenv("TINE_TEST_NUMBER", text, 1);
	return test_fork(become_stranger, "ask_as_stranger");
}

static void wait_for(int *word, int least)
{
	int64_t deadline = tine_after(20000);

	while (__atomic_load_n(word, __ATOMIC_SEQ_CST) < least) {
		CHECK(tine_now() < deadline);
		test_sleep_us(200);
	}
}

TEST(processes_at_once)
{
	asked = opened(4 * MIB);
	set_scene();
	scene->sleep_us = 20000;
	for (int64_t round = 0; round < test_scaled(20); round++) {
		pid_t pids[ASKERS];
		int computed = 0;

		for (int i = 0; i < ASKERS; i++)
			pids[i] = start_asker(i, round);
		for (int i = 0; i < ASKERS; i++) {
			int how = test_reap(pids[i]);

			CHECK(how == 0 || how == 1);
			computed += how == 0;
		}
		CHECK_EQ(computed, 1);
		CHECK_EQ(runs(), round + 1);
	}
	tine_cache_free(asked);
	end_scene();
}

/* All there and asleep before it is done. */
TEST(processes_that_wait)
{
	pid_t pids[ASKERS];
	int computed = 0;

	asked = opened(4 * MIB);
	set_scene();
	for (int i = 0; i < ASKERS; i++)
		pids[i] = start_asker(i, 666);
	wait_for(&scene->waiting, ASKERS);
	test_sleep_us(20000);
	tine_event_set(&scene->go);
	for (int i = 0; i < ASKERS; i++)
		computed += test_reap(pids[i]) == 0;
	CHECK_EQ(computed, 1);
	CHECK_EQ(runs(), 1);
	tine_cache_free(asked);
	end_scene();
}

struct asking {
	tine_cache *cache;
	int64_t numbers;
	int computed;
};

static void *ask_all(void *arg)
{
	struct asking *asking = arg;

	for (int64_t number = 0; number < asking->numbers; number++) {
		int err = ask(asking->cache, number, TINE_FOREVER);

		CHECK(err == 0 || err == 1);
		asking->computed += err == 0;
	}
	return NULL;
}

TEST(threads_at_once)
{
	tine_cache *cache = opened(4 * MIB), *other = opened(0);
	struct asking askings[ASKERS];
	pthread_t threads[ASKERS];
	int64_t n = test_scaled(300);
	int computed = 0;

	set_scene();
	scene->sleep_us = 300;
	for (int i = 0; i < ASKERS; i++) {
		askings[i] = (struct asking){ i % 2 ? cache : other, n, 0 };
		CHECK_EQ(pthread_create(&threads[i], NULL, ask_all, &askings[i]), 0);
	}
	for (int i = 0; i < ASKERS; i++) {
		pthread_join(threads[i], NULL);
		computed += askings[i].computed;
	}
	CHECK_EQ(computed, n);
	CHECK_EQ(runs(), n);
	tine_cache_free(other);
	tine_cache_free(cache);
	end_scene();
}

static void ask_all_in_child(void *arg)
{
	ask_all(arg);
	tine_cache_free(((struct asking *)arg)->cache);
}

/* No pause in between: results that come and go while others look. */
TEST(processes_without_pause)
{
	pid_t pids[4];
	struct asking asking = { .numbers = test_scaled(4000) };

	asking.cache = opened(4 * MIB);
	set_scene();
	for (int i = 0; i < 4; i++)
		pids[i] = test_fork(ask_all_in_child, &asking);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(runs(), asking.numbers);
	tine_cache_free(asking.cache);
	end_scene();
}

/* While one computes, nothing else waits. */
TEST(others_are_not_kept)
{
	const void *val;
	size_t len;
	pid_t pid;

	asked = opened(4 * MIB);
	set_scene();
	pid = start_asker(0, 666);
	CHECK_EQ(tine_event_wait(&scene->begun, tine_after(20000)), 0);
	CHECK_EQ(ask(asked, 5, TINE_FOREVER), 0);
	CHECK_EQ(ask(asked, 5, TINE_FOREVER), 1);
	CHECK_EQ(put_value(asked, 1, 100000, 1), 0);
	CHECK_EQ(got_value(asked, 1), 100000);
	CHECK_EQ(tine_cache_get(asked, "x", 1, &val, &len), -ENOENT);
	CHECK_EQ(tine_cache_clear(asked, NULL), 0);
	CHECK_EQ(dropped_by_verify(asked), 0);
	CHECK_EQ(ask(asked, 5, TINE_FOREVER), 0);
	tine_event_set(&scene->go);
	CHECK_EQ(test_reap(pid), 0);
	/* Cleared meanwhile, it is kept all the same: it came later. */
	CHECK_EQ(ask(asked, 666, TINE_FOREVER), 1);
	tine_cache_free(asked);
	end_scene();
}

/* ---- deadlines --------------------------------------------------------------------- */

TEST(waits_until_the_deadline)
{
	int64_t number = 666, out = -1, until;
	int status = 44;
	pid_t pid;

	asked = opened(4 * MIB);
	set_scene();
	pid = start_asker(2, 666);
	CHECK_EQ(tine_event_wait(&scene->begun, tine_after(20000)), 0);
	CHECK_EQ(ask(asked, 666, TINE_NOWAIT), -ETIMEDOUT);
	for (int ms = 1; ms < 50; ms *= 2) {
		until = tine_after(ms);
		CHECK_EQ(tine_cache_call(asked, &square_task, &number, &out, &status,
					 until),
			 -ETIMEDOUT);
		CHECK(tine_now() >= until);
	}
	CHECK(out == -1 && status == 44);
	CHECK_EQ(runs(), 1);
	tine_event_set(&scene->go);
	CHECK_EQ(ask(asked, 666, tine_after(20000)), 1);
	CHECK_EQ(test_reap(pid), 0);
	tine_cache_free(asked);
	end_scene();
}

static void *ask_in_thread(void *cache)
{
	CHECK_EQ(ask(cache, 666, TINE_FOREVER), 0);
	return NULL;
}

TEST(threads_wait_until_the_deadline)
{
	pthread_t thread;
	int64_t until;

	asked = opened(4 * MIB);
	set_scene();
	CHECK_EQ(pthread_create(&thread, NULL, ask_in_thread, asked), 0);
	CHECK_EQ(tine_event_wait(&scene->begun, tine_after(20000)), 0);
	CHECK_EQ(ask(asked, 666, TINE_NOWAIT), -ETIMEDOUT);
	until = tine_after(20);
	CHECK_EQ(ask(asked, 666, until), -ETIMEDOUT);
	CHECK(tine_now() >= until);
	tine_event_set(&scene->go);
	CHECK_EQ(ask(asked, 666, TINE_FOREVER), 1);
	pthread_join(thread, NULL);
	CHECK_EQ(runs(), 1);
	tine_cache_free(asked);
	end_scene();
}

/* ---- failures and deaths ----------------------------------------------------------- */

static int fail_some(const void *in, void *out)
{
	count(&scene->runs);
	wait_for(&scene->waiting, ASKERS);
	test_sleep_us(1000);
	if (__atomic_sub_fetch(&scene->failures, 1, __ATOMIC_SEQ_CST) >= 0)
		return -EIO;
	*(int64_t *)out = *(const int64_t *)in;
	return 0;
}

static const tine_task fail_some_task = TINE_TASK(fail_some, int64_t, int64_t);

static void ask_for_failure(void *arg)
{
	int64_t in = 8, out = 0;
	int status = 5, err;

	(void)arg;
	count(&scene->waiting);
	err = tine_cache_call(asked, &fail_some_task, &in, &out, &status,
			      tine_after(30000));
	if (err == -EIO) {
		CHECK_EQ(status, -EIO);
		_exit(5);
	}
	CHECK(err == 0 || err == 1);
	CHECK_EQ(out, 8);
	CHECK_EQ(status, 0);
	_exit(err);
}

/* Each failure goes to its own caller; who waits is next. */
TEST(who_waits_is_next_after_a_failure)
{
	pid_t pids[ASKERS];
	int hows[6] = { 0 };

	asked = opened(4 * MIB);
	set_scene();
	scene->failures = 3;
	for (int i = 0; i < ASKERS; i++)
		pids[i] = test_fork(ask_for_failure, NULL);
	for (int i = 0; i < ASKERS; i++) {
		int how = test_reap(pids[i]);

		CHECK(how == 0 || how == 1 || how == 5);
		hows[how]++;
	}
	CHECK_EQ(runs(), 4);
	CHECK_EQ(hows[5], 3);
	CHECK_EQ(hows[0], 1);
	CHECK_EQ(hows[1], ASKERS - 4);
	tine_cache_free(asked);
	end_scene();
}

enum how { KILLED, ABORTED, EXITED, WITH_CHILD, WAYS };

/* The first who computes ends in this way, the second delivers. */
static int die_first(const void *in, void *out)
{
	int64_t number = *(const int64_t *)in;
	enum how how = (enum how)number;

	if (count(&scene->runs) > 1) {
		*(int64_t *)out = 7;
		return 0;
	}
	if (how == WITH_CHILD && fork() == 0) {
		/* It lives on, with all that was inherited. */
		scene->pid = getpid();
		tine_event_set(&scene->begun);
		pause();
	}
	if (how != WITH_CHILD)
		tine_event_set(&scene->begun);
	wait_for(&scene->waiting, ASKERS);
	if (how == ABORTED)
		abort();
	if (how == EXITED)
		_exit(7);
	CHECK_EQ(tine_event_wait(&scene->begun, tine_after(20000)), 0);
	kill(getpid(), SIGKILL);
	return 0;
}

static const tine_task die_first_task = TINE_TASK(die_first, int64_t, int64_t);

static void ask_for_death(tine_cache *cache, int64_t how)
{
	int64_t out = 0;
	int err;

	count(&scene->waiting);
	err = tine_cache_call(cache, &die_first_task, &how, &out, NULL,
			      tine_after(30000));
	CHECK(err == 0 || err == 1);
	CHECK_EQ(out, 7);
	_exit(err);
}

static void ask_for_death_in_child(void *how)
{
	ask_for_death(asked, *(int64_t *)how);
}

STRANGER(ask_for_death_as_stranger)
{
	set_scene();
	ask_for_death(opened(0), atoll(getenv("TINE_TEST_NUMBER")));
}

static void die_and_go_on(int64_t how, bool as_strangers)
{
	pid_t pids[ASKERS];
	int hows[3] = { 0 };
	char text[32];

	asked = opened(4 * MIB);
	set_scene();
	snprintf(text, sizeof(text), "%d", (int)how);
	setenv("TINE_TEST_NUMBER", text, 1);
	for (int i = 0; i < ASKERS; i++)
		pids[i] = as_strangers ? test_fork(become_stranger,
						   "ask_for_death_as_stranger")
				       : test_fork(ask_for_death_in_child, &how);
	for (int i = 0; i < ASKERS; i++) {
		int end = test_reap(pids[i]);

		hows[end == 0 ? 0 : end == 1 ? 1 : 2]++;
	}
	if (scene->pid)
		kill((pid_t)scene->pid, SIGKILL);
	CHECK_EQ(runs(), 2);
	CHECK_EQ(hows[0], 1);
	CHECK_EQ(hows[1], ASKERS - 2);
	CHECK_EQ(hows[2], 1);
	CHECK_EQ(dropped_by_verify(asked), 0);
	tine_cache_free(asked);
	end_scene();
}

TEST(who_waits_is_next_after_a_death)
{
	for (int64_t how = 0; how < WAYS; how++)
		for (int as_strangers = 0; as_strangers < 2; as_strangers++)
			die_and_go_on(how, as_strangers);
}

/* A thread that waits when another computes in the process that forks. */
static void *ask_before_fork(void *cache)
{
	int err = ask(cache, 666, TINE_FOREVER);

	CHECK(err == 0 || err == 1);
	return NULL;
}

TEST(forked_while_one_computes_and_one_waits)
{
	pthread_t threads[2];
	pid_t pid;

	asked = opened(4 * MIB);
	set_scene();
	for (int i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, ask_before_fork, asked), 0);
	wait_for(&scene->waiting, 2);
	CHECK_EQ(tine_event_wait(&scene->begun, tine_after(20000)), 0);
	test_sleep_us(5000);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		/* It is the parent that computes. */
		CHECK_EQ(ask(asked, 666, tine_after(10)), -ETIMEDOUT);
		CHECK_EQ(ask(asked, 3, TINE_FOREVER), 0);
		tine_event_set(&scene->go);
		CHECK_EQ(ask(asked, 666, tine_after(20000)), 1);
		tine_cache_free(asked);
		_exit(0);
	}
	CHECK_EQ(test_reap(pid), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(runs(), 2);
	tine_cache_free(asked);
	end_scene();
}

/* The task itself forks a child, which asks for something else, and ends in order. */
static int fork_within(const void *in, void *out)
{
	int64_t number = *(const int64_t *)in;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK_EQ(ask(asked, number + 1, TINE_FOREVER), 0);
		tine_cache_free(asked);
		_exit(0);
	}
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(ask(asked, number + 1, TINE_FOREVER), 1);
	*(int64_t *)out = 4;
	return 0;
}

TEST(a_task_that_forks)
{
	tine_task task = TINE_TASK(fork_within, int64_t, int64_t);
	int64_t in = 10, out;

	asked = opened(4 * MIB);
	set_scene();
	CHECK_EQ(tine_cache_call(asked, &task, &in, &out, NULL, TINE_FOREVER), 0);
	CHECK_EQ(tine_cache_call(asked, &task, &in, &out, NULL, TINE_FOREVER), 1);
	CHECK_EQ(out, 4);
	tine_cache_free(asked);
	end_scene();
}
