/* SPDX-License-Identifier: MIT */
/* Values that one caller computes, ages of entries, and what is deleted. */
#include "cache_use.h"

#include <pthread.h>

enum { BEGINNERS = 6 };

/* What processes share. */
struct scene {
	tine_event begun, go;
	_Atomic int computed, begins;
	_Atomic pid_t child; /* that outlives its parent */
};

static struct scene *scene;
static tine_cache *cache; /* what children inherit */

static void set_scene(void)
{
	cache = opened(64 * MIB);
	CHECK_EQ(tine_shared_map((void **)&scene, beside("scene"), sizeof(*scene)), 0);
}

static void end_scene(void)
{
	tine_cache_free(cache);
	tine_shared_unmap(scene);
	clean();
}

/* A flight; the value of the key is not there. */
static tine_flight *begun(tine_cache *of, uint64_t key)
{
	tine_flight *flight = NULL;
	const void *val = NULL;
	size_t len = 77;

	CHECK_EQ(
		tine_cache_begin(of, &key, sizeof(key), &val, &len, &flight, TINE_NOWAIT),
		0);
	CHECK(flight && !val && len == 77);
	return flight;
}

static int finished(tine_flight *flight, uint64_t key, size_t len, int64_t age_ms)
{
	char *val = malloc(len + 1);
	int err;

	CHECK(val);
	make_value(val, len, key, 1);
	err = tine_flight_finish(flight, val, len, age_ms);
	free(val);
	return err;
}

/* 1 and the right value, or the error, with nothing changed. */
static int begin_again(tine_cache *of, uint64_t key, int64_t deadline)
{
	tine_flight *flight = NULL;
	const void *val = NULL;
	size_t len = 0;
	int err = tine_cache_begin(of, &key, sizeof(key), &val, &len, &flight, deadline);

	CHECK(!flight && err);
	if (err < 0)
		CHECK(!val && len == 0);
	else
		CHECK(is_value(val, len, key));
	tine_cache_release(of, val);
	return err;
}

/* ---- one caller -------------------------------------------------------------------- */

TEST(begins_what_is_not_there)
{
	tine_cache_stats stats;

	set_scene();
	CHECK_EQ(finished(begun(cache, 5), 5, 100, 0), 0);
	CHECK_EQ(begin_again(cache, 5, TINE_NOWAIT), 1);
	CHECK_EQ(got_value(cache, 5), 100);
	stats = stats_of(cache);
	CHECK_EQ(stats.entries, 1);
	CHECK_EQ(stats.hits, 2);
	CHECK_EQ(stats.misses, 1);
	end_scene();
}

TEST(keys_and_values_of_any_length)
{
	static const size_t keys[] = { 1, 8, 1024, 1025, 16384, 100000 };
	static const size_t vals[] = { 0, 1, 16384, 16385, MIB };
	char *key = malloc(100000), *val = malloc(MIB);
	const void *found;
	size_t len;

	CHECK(key && val);
	set_scene();
	for (int i = 0; i < 6; i++)
		for (int j = 0; j < 5; j++) {
			tine_flight *flight;

			memset(key, 10 * i + j + 1, keys[i]);
			make_value(val, vals[j], (uint64_t)(10 * i + j), 1);
			CHECK_EQ(tine_cache_begin(cache, key, keys[i], &found, &len,
						  &flight, TINE_NOWAIT),
				 0);
			/* The key is the flight's own by now. */
			key[0]++;
			CHECK_EQ(tine_flight_finish(flight, vals[j] ? val : NULL, vals[j],
						    0),
				 0);
			key[0]--;
			CHECK_EQ(tine_cache_begin(cache, key, keys[i], &found, &len,
						  &flight, TINE_NOWAIT),
				 1);
			CHECK(len == vals[j] &&
			      is_value(found, len, (uint64_t)(10 * i + j)));
			tine_cache_release(cache, found);
		}
	free(val);
	free(key);
	end_scene();
}

TEST(given_up_is_begun_again)
{
	set_scene();
	for (int i = 0; i < 3; i++)
		tine_flight_free(begun(cache, 5));
	CHECK_EQ(got_value(cache, 5), -ENOENT);
	CHECK_EQ(finished(begun(cache, 5), 5, 10, 0), 0);
	CHECK_EQ(begin_again(cache, 5, TINE_FOREVER), 1);
	end_scene();
}

/* It would wait for itself. */
TEST(begun_twice_by_one_thread)
{
	tine_cache *other;
	tine_flight *flight;

	set_scene();
	other = opened(0);
	flight = begun(cache, 5);
	CHECK_EQ(begin_again(cache, 5, tine_after(5000)), -EDEADLK);
	CHECK_EQ(begin_again(other, 5, TINE_NOWAIT), -EDEADLK);
	tine_flight_free(begun(other, 6));
	CHECK_EQ(finished(flight, 5, 10, 0), 0);
	CHECK_EQ(begin_again(other, 5, TINE_FOREVER), 1);
	tine_cache_free(other);
	end_scene();
}

/* The flight ends, whatever becomes of the value; but not by a wrong call. */
TEST(errors_of_finish)
{
	tine_cache *small;
	tine_flight *flight;

	set_scene();
	tine_cache_free(cache);
	small = cache = opened(2 * MIB);
	CHECK_EQ(finished(begun(small, 5), 5, 4 * MIB, 0), -EFBIG);
	flight = begun(small, 5);
	CHECK_EQ(tine_flight_finish(flight, "v", 1, -1), -EINVAL);
	CHECK_EQ(tine_flight_finish(flight, NULL, 1, 0), -EINVAL);
	CHECK_EQ(begin_again(small, 5, tine_after(5000)), -EDEADLK);
	tine_flight_free(flight);
	flight = begun(small, 5);
	remove_folder(folder());
	CHECK_EQ(finished(flight, 5, 17000, 0), -ENOENT);
	/* There is no file for a turn, and no reason not to compute. */
	tine_flight_free(begun(small, 6));
	end_scene();
}

TEST(no_memory_for_a_flight)
{
	set_scene();
	for (long n = 1;; n++) {
		uint64_t key = (uint64_t)n;
		tine_flight *flight;
		const void *val;
		size_t len;
		bool reached;
		int err;

		test_fail_allocation(n);
		err = tine_cache_begin(cache, &key, 8, &val, &len, &flight, TINE_NOWAIT);
		reached = test_allocation_failed();
		test_fail_allocation(0);
		CHECK_EQ(err, reached ? -ENOMEM : 0);
		if (!err)
			CHECK_EQ(finished(flight, key, 10, 0), 0);
		else
			tine_flight_free(begun(cache, key));
		if (!reached)
			break;
	}
	end_scene();
}

/* ---- others ------------------------------------------------------------------------ */

static void *begin_in_time(void *until)
{
	int64_t deadline = tine_after(20);

	CHECK_EQ(begin_again(cache, 5, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(begin_again(cache, 5, deadline), -ETIMEDOUT);
	CHECK(tine_now() >= deadline);
	tine_event_set(&scene->begun);
	CHECK_EQ(begin_again(cache, 5, *(int64_t *)until), 1);
	return NULL;
}

TEST(threads_wait_for_a_value)
{
	int64_t untils[] = { TINE_FOREVER, tine_after(30000) };

	set_scene();
	for (int i = 0; i < 2; i++) {
		tine_flight *flight = begun(cache, 5);
		pthread_t thread;

		tine_event_clear(&scene->begun);
		CHECK_EQ(pthread_create(&thread, NULL, begin_in_time, &untils[i]), 0);
		CHECK_EQ(tine_event_wait(&scene->begun, tine_after(30000)), 0);
		CHECK_EQ(finished(flight, 5, 10, 0), 0);
		pthread_join(thread, NULL);
		CHECK_EQ(tine_cache_del(cache, "\5\0\0\0\0\0\0", 8), 0);
	}
	end_scene();
}

static void *finish_elsewhere(void *flight)
{
	CHECK_EQ(finished(flight, 5, 10, 0), 0);
	return NULL;
}

TEST(another_thread_finishes)
{
	pthread_t thread;

	set_scene();
	CHECK_EQ(pthread_create(&thread, NULL, finish_elsewhere, begun(cache, 5)), 0);
	pthread_join(thread, NULL);
	CHECK_EQ(begin_again(cache, 5, TINE_FOREVER), 1);
	end_scene();
}

static void compute_or_wait(tine_cache *of, uint64_t key)
{
	tine_flight *flight = NULL;
	const void *val;
	size_t len;
	int err;

	atomic_fetch_add(&scene->begins, 1);
	err = tine_cache_begin(of, &key, 8, &val, &len, &flight, tine_after(30000));
	if (err == 0) {
		atomic_fetch_add(&scene->computed, 1);
		/* All ask before it is done. */
		while (atomic_load(&scene->begins) % BEGINNERS)
			test_sleep_us(200);
		test_sleep_us(2000);
		CHECK_EQ(finished(flight, key, 20000, 0), 0);
		return;
	}
	CHECK_EQ(err, 1);
	CHECK(is_value(val, len, key));
	tine_cache_release(of, val);
}

static void compute_inherited(void *key)
{
	compute_or_wait(cache, *(uint64_t *)key);
}

static void compute_opened(void *key)
{
	tine_cache *own = opened(0);

	compute_or_wait(own, *(uint64_t *)key);
	tine_cache_free(own);
}

STRANGER(compute_as_stranger)
{
	uint64_t key = strtoull(getenv("TINE_TEST_NUMBER"), NULL, 10);

	CHECK_EQ(tine_shared_map((void **)&scene, beside("scene"), sizeof(*scene)), 0);
	compute_opened(&key);
}

TEST(one_of_many_processes_computes)
{
	pid_t pids[BEGINNERS];
	char text[32];

	set_scene();
	for (uint64_t key = 0; key < (uint64_t)test_scaled(10); key++) {
		snprintf(text, sizeof(text), "%" PRIu64, key);
		setenv("TINE_TEST_NUMBER", text, 1);
		for (int i = 0; i < BEGINNERS; i++)
			pids[i] = i % 3 == 0   ? test_fork(compute_inherited, &key)
				  : i % 3 == 1 ? test_fork(compute_opened, &key)
					       : test_fork(become_stranger,
							   "compute_as_stranger");
		for (int i = 0; i < BEGINNERS; i++)
			CHECK_EQ(test_reap(pids[i]), 0);
		CHECK_EQ(atomic_load(&scene->computed), (int)key + 1);
	}
	end_scene();
}

static void begin_and_hang(void *arg)
{
	begun(cache, 5);
	if (arg && fork() == 0) {
		atomic_store(&scene->child, getpid());
		tine_event_set(&scene->begun);
		/* It lives on, with all that was inherited. */
		for (;;)
			pause();
	}
	if (!arg)
		tine_event_set(&scene->begun);
	tine_event_wait(&scene->go, tine_after(60000));
}

TEST(the_dead_gives_up)
{
	set_scene();
	for (int with_child = 0; with_child < 2; with_child++) {
		pid_t pid;

		tine_event_clear(&scene->begun);
		pid = test_fork(begin_and_hang, with_child ? scene : NULL);
		CHECK_EQ(tine_event_wait(&scene->begun, tine_after(30000)), 0);
		CHECK_EQ(begin_again(cache, 5, TINE_NOWAIT), -ETIMEDOUT);
		test_kill(pid);
		tine_flight_free(begun(cache, 5));
	}
	CHECK_EQ(kill(atomic_load(&scene->child), SIGKILL), 0);
	end_scene();
}

static void begin_stop_and_finish(void *arg)
{
	tine_flight *flight = begun(cache, 5);

	(void)arg;
	raise(SIGSTOP);
	CHECK_EQ(finished(flight, 5, 10, 0), 0);
}

TEST(the_stopped_holds_up_its_key_alone)
{
	int64_t until;
	int status;
	pid_t pid;

	set_scene();
	pid = test_fork(begin_stop_and_finish, NULL);
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	until = tine_after(20);
	CHECK_EQ(begin_again(cache, 5, until), -ETIMEDOUT);
	CHECK(tine_now() >= until);
	CHECK_EQ(finished(begun(cache, 6), 6, 10, 0), 0);
	CHECK_EQ(kill(pid, SIGCONT), 0);
	CHECK_EQ(begin_again(cache, 5, tine_after(30000)), 1);
	CHECK_EQ(test_reap(pid), 0);
	end_scene();
}

static void finish_inherited(void *flight)
{
	CHECK_EQ(finished(flight, 5, 10, 0), 0);
}

static void free_inherited(void *flight)
{
	tine_flight_free(flight);
	/* The parent's is not ended, and is another process's. */
	CHECK_EQ(begin_again(cache, 5, TINE_NOWAIT), -ETIMEDOUT);
}

TEST(a_child_inherits_a_flight)
{
	tine_flight *flight;

	set_scene();
	flight = begun(cache, 5);
	CHECK_EQ(test_reap(test_fork(free_inherited, flight)), 0);
	CHECK_EQ(begin_again(cache, 5, TINE_NOWAIT), -EDEADLK);
	CHECK_EQ(test_reap(test_fork(finish_inherited, flight)), 0);
	CHECK_EQ(begin_again(cache, 5, TINE_NOWAIT), 1);
	tine_flight_free(flight);
	end_scene();
}

/* ---- ages -------------------------------------------------------------------------- */

static int put_for(uint64_t key, size_t len, int64_t age_ms)
{
	char val[20000];

	make_value(val, len, key, 1);
	return tine_cache_put_for(cache, &key, sizeof(key), val, len, age_ms);
}

TEST(each_entry_has_its_age)
{
	set_scene();
	CHECK_EQ(put_for(1, 100, 30000), 0);
	CHECK_EQ(put_for(2, 20000, 30000), 0);
	CHECK_EQ(put_for(3, 100, 0), 0);
	CHECK_EQ(put_for(4, 100, 1), 0);
	CHECK_EQ(put_for(5, 20000, 1), 0);
	CHECK_EQ(finished(begun(cache, 6), 6, 100, 1), 0);
	/* The clocks of files are up to 10 ms behind. */
	test_sleep_us(20000);
	for (uint64_t key = 1; key < 4; key++)
		CHECK(got_value(cache, key) >= 0);
	for (uint64_t key = 4; key < 7; key++)
		CHECK_EQ(got_value(cache, key), -ENOENT);
	CHECK_EQ(finished(begun(cache, 4), 4, 100, 0), 0);
	CHECK_EQ(got_value(cache, 4), 100);
	CHECK_EQ(put_value(cache, 5, 100, 1), 0);
	CHECK_EQ(got_value(cache, 5), 100);
	CHECK_EQ(dropped_by_verify(cache), 0);
	end_scene();
}

static int note_age(void *arg, const tine_cache_entry *entry)
{
	*(int64_t *)arg = entry->age_ms;
	return 1;
}

TEST(ages_that_are_rounded)
{
	static const int64_t most_ms = (1 << 30) - 1, most = most_ms * 1000;
	static const int64_t ages[][2] = {
		{ 0, 0 },
		{ 1, 1 },
		{ most_ms - 1, most_ms - 1 },
		{ most_ms + 600, (most_ms + 600) / 1000 * 1000 },
		{ most - 1, most - 1000 },
		{ most, 0 },
		{ INT64_MAX, 0 },
	};

	set_scene();
	for (size_t i = 0; i < sizeof(ages) / sizeof(ages[0]); i++) {
		int64_t age = -1;

		CHECK_EQ(put_for(1, 10, ages[i][0]), 0);
		CHECK_EQ(tine_cache_list(cache, note_age, &age), 1);
		CHECK_EQ(age, ages[i][1]);
	}
	CHECK_EQ(put_for(1, 10, -1), -EINVAL);
	end_scene();
}

/* ---- of tasks ---------------------------------------------------------------------- */

struct asked {
	uint32_t number, how; /* how: makes no difference to the result */
};

static int triple(const void *in, void *out)
{
	const struct asked *asked = in;

	atomic_fetch_add(&scene->computed, 1);
	*(uint32_t *)out = 3 * asked->number;
	return 0;
}

static int note_input(void *arg, const tine_cache_entry *entry)
{
	uint32_t input;

	CHECK_EQ(entry->len, sizeof(input));
	memcpy(&input, entry->key, sizeof(input));
	*(uint32_t *)arg += input;
	return 0;
}

TEST(a_part_of_the_input_is_no_key)
{
	tine_task task = TINE_TASK(triple, struct asked, uint32_t);
	tine_map_opts opts = { .cache = NULL };
	struct asked all[6];
	uint32_t outs[6], sum = 0;
	tine_pool *pool;

	set_scene();
	task.key_size = sizeof(uint32_t);
	for (uint32_t i = 0; i < 6; i++) {
		all[i] = (struct asked){ 100 + i / 3, i };
		CHECK_EQ(tine_cache_call(cache, &task, &all[i], outs, NULL, TINE_FOREVER),
			 i % 3 > 0);
		CHECK_EQ(outs[0], 3 * (100 + i / 3));
	}
	CHECK_EQ(atomic_load(&scene->computed), 2);
	CHECK_EQ(tine_cache_list(cache, note_input, &sum), 0);
	CHECK_EQ(sum, 201);
	/* By a pool likewise: two jobs, and each a caller of what is alike. */
	CHECK_EQ(tine_cache_clear(cache, &task), 0);
	opts.cache = cache;
	CHECK_EQ(tine_pool_new(&pool, &(tine_pool_opts){ .workers = 2 }), 0);
	CHECK_EQ(tine_pool_map(pool, &task, all, outs, 6, &opts, TINE_FOREVER), 0);
	for (uint32_t i = 0; i < 6; i++)
		CHECK_EQ(outs[i], 3 * (100 + i / 3));
	CHECK_EQ(atomic_load(&scene->computed), 4);
	CHECK_EQ(stats_of(cache).entries, 2);
	tine_pool_free(pool);
	/* More than there is: all of it. */
	task.key_size = sizeof(struct asked) + 1;
	CHECK_EQ(tine_cache_call(cache, &task, &all[0], outs, NULL, TINE_FOREVER), 0);
	CHECK_EQ(tine_cache_call(cache, &task, &all[1], outs, NULL, TINE_FOREVER), 0);
	end_scene();
}

TEST(results_of_a_task_have_an_age)
{
	tine_task task = TINE_TASK(triple, struct asked, uint32_t);
	struct asked in = { 1, 2 };
	uint32_t out;

	set_scene();
	task.max_age_ms = 1;
	CHECK_EQ(tine_cache_call(cache, &task, &in, &out, NULL, TINE_FOREVER), 0);
	test_sleep_us(20000);
	task.max_age_ms = 0;
	CHECK_EQ(tine_cache_call(cache, &task, &in, &out, NULL, TINE_FOREVER), 0);
	test_sleep_us(20000);
	CHECK_EQ(tine_cache_call(cache, &task, &in, &out, NULL, TINE_FOREVER), 1);
	task.max_age_ms = -1;
	CHECK_EQ(tine_cache_call(cache, &task, &in, &out, NULL, TINE_FOREVER), -EINVAL);
	end_scene();
}

/* ---- deletion ---------------------------------------------------------------------- */

TEST(one_is_deleted)
{
	uint64_t key = 5, other = 6;
	const void *val;
	size_t len;

	set_scene();
	CHECK_EQ(tine_cache_del(cache, &key, 8), -ENOENT);
	for (size_t size = 100; size < 1000000; size *= 200) {
		CHECK_EQ(put_value(cache, key, size, 1), 0);
		CHECK_EQ(put_value(cache, other, size, 1), 0);
		CHECK_EQ(tine_cache_get(cache, &key, 8, &val, &len), 0);
		CHECK_EQ(tine_cache_del(cache, &key, 8), 0);
		CHECK_EQ(tine_cache_del(cache, &key, 8), -ENOENT);
		CHECK_EQ(got_value(cache, key), -ENOENT);
		CHECK_EQ(got_value(cache, other), (long long)size);
		/* Whoever has it has it. */
		CHECK(is_value(val, len, key));
		tine_cache_release(cache, val);
	}
	CHECK_EQ(stats_of(cache).entries, 1);
	CHECK_EQ(dropped_by_verify(cache), 0);
	end_scene();
}

TEST(what_is_computed_meanwhile_comes_later)
{
	uint64_t key = 5;
	tine_flight *flight;

	set_scene();
	flight = begun(cache, key);
	CHECK_EQ(tine_cache_del(cache, &key, 8), -ENOENT);
	CHECK_EQ(finished(flight, key, 10, 0), 0);
	CHECK_EQ(got_value(cache, key), 10);
	end_scene();
}

/* Whether there is an entry of so many letters. */
static bool is_there(char letter, size_t len)
{
	static char key[20000];
	const void *val;
	size_t val_len;
	int err;

	memset(key, letter, len);
	err = tine_cache_get(cache, key, len, &val, &val_len);
	if (!err)
		tine_cache_release(cache, val);
	return !err;
}

TEST(those_of_a_prefix_are_deleted)
{
	static const size_t lens[] = { 1, 2, 3, 1024, 1025, 20000 };
	tine_task task = { .name = "aaaa", .fn = triple, .in_size = 8, .out_size = 4 };
	char key[20000];
	uint32_t out;

	set_scene();
	for (int i = 0; i < 12; i++) {
		memset(key, i < 6 ? 'a' : 'b', sizeof(key));
		CHECK_EQ(tine_cache_put(cache, key, lens[i % 6], "v", 1), 0);
	}
	CHECK_EQ(tine_cache_call(cache, &task, key, &out, NULL, TINE_FOREVER), 0);
	CHECK_EQ(tine_cache_del_prefix(cache, "aaaaaaaa", 3), 0);
	for (int i = 0; i < 6; i++) {
		CHECK_EQ(is_there('a', lens[i]), lens[i] < 3);
		CHECK(is_there('b', lens[i]));
	}
	CHECK_EQ(tine_cache_del_prefix(cache, "c", 1), 0);
	CHECK_EQ(tine_cache_del_prefix(cache, "b", 1), 0);
	/* That of the task begins so as well. */
	CHECK_EQ(stats_of(cache).entries, 3);
	CHECK_EQ(tine_cache_call(cache, &task, key, &out, NULL, TINE_FOREVER), 1);
	CHECK_EQ(dropped_by_verify(cache), 0);
	/* More than one turn's. */
	for (uint64_t n = 0; n < 1000; n++)
		CHECK_EQ(tine_cache_put(cache, &(uint64_t[]){ 7, n }, 16, "v", 1), 0);
	CHECK_EQ(tine_cache_del_prefix(cache, &(uint64_t){ 7 }, 8), 0);
	CHECK_EQ(stats_of(cache).entries, 3);
	end_scene();
}
