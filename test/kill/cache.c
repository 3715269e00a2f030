/* SPDX-License-Identifier: MIT */
/* Death inside the cache: at random in everything it does, and at single instructions. */
#include "cache_use.h"
#include "step.h"

#include "cache/cache.h"
#include "cache/slots.h"
#include "cache/turn.h"
#include "cache/undo.h"

#include <pthread.h>
#include <sys/ptrace.h>

enum { KEYS = 200 };

/* What is left is whole: every entry right, none damaged, and the limit of disk held. */
static void check_whole(tine_cache *cache, uint64_t keys, uint64_t most)
{
	tine_cache_stats stats = stats_of(cache);
	uint64_t found = 0, disk;

	for (uint64_t key = 0; key < keys; key++)
		found += got_value(cache, key) >= 0;
	CHECK(stats.entries >= found);
	CHECK_EQ(dropped_by_verify(cache), 0);
	CHECK_EQ(stats_of(cache).restarts, 0);
	disk = disk_of(folder());
	if (disk > most)
		test_fail(__FILE__, __LINE__, "%" PRIu64 " bytes on disk", disk);
}

/* ---- at random --------------------------------------------------------------------- */

static int compute(const void *in, void *out)
{
	make_value(out, 3000, *(const uint64_t *)in, 1);
	return 0;
}

static const tine_task task = {
	.name = "compute", .fn = compute, .in_size = 8, .out_size = 3000
};

struct work {
	tine_cache *cache; /* NULL: opens one */
	uint64_t chance;
	int kind;
};

enum { SMALL, LARGE, REPLACE, EVICT, GROW, CLEAR, DELETE, BEGIN, COMPUTE, ALL, KINDS };

/* Of a value that this process or another computes, or gives up. */
static void begin_once(tine_cache *cache, uint64_t key, size_t len, bool gives_up)
{
	tine_flight *flight = NULL;
	const void *val;
	size_t val_len;
	void *made;
	int err = tine_cache_begin(cache, &key, sizeof(key), &val, &val_len, &flight,
				   tine_after(20000));

	CHECK(err == 0 || err == 1);
	if (err) {
		CHECK(is_value(val, val_len, key));
		tine_cache_release(cache, val);
	} else if (gives_up) {
		tine_flight_free(flight);
	} else {
		made = malloc(len + 1);
		CHECK(made);
		make_value(made, len, key, 1);
		CHECK_EQ(tine_flight_finish(flight, made, len, 0), 0);
		free(made);
	}
}

static void work_once(tine_cache *cache, int kind, uint64_t *chance)
{
	uint64_t key = roll(chance, KEYS);
	char out[3000];

	switch (kind) {
	case SMALL:
		CHECK_EQ(put_value(cache, key, roll(chance, 2000), *chance), 0);
		break;
	case LARGE:
		CHECK_EQ(put_value(cache, key, 17000 + roll(chance, 100000), *chance), 0);
		break;
	case REPLACE:
		CHECK_EQ(put_value(cache, key % 3, roll(chance, 40000), *chance), 0);
		break;
	case EVICT:
		CHECK_EQ(put_value(cache, key + KEYS * roll(chance, 50),
				   roll(chance, 30000), *chance),
			 0);
		break;
	case GROW:
		CHECK_EQ(put_value(cache, KEYS + mix(*chance), 1, *chance), 0);
		break;
	case CLEAR:
		put_value(cache, key, 100, 1);
		if (roll(chance, 10) == 0)
			CHECK_EQ(tine_cache_clear(cache, roll(chance, 2) ? &task : NULL),
				 0);
		break;
	case DELETE:
		CHECK_EQ(put_value(cache, key, roll(chance, 30000), *chance), 0);
		if (roll(chance, 10) == 0)
			CHECK_EQ(tine_cache_del_prefix(cache, &key, 1), 0);
		else
			tine_cache_del(cache, &key, sizeof(key));
		break;
	case BEGIN:
		begin_once(cache, key % 20, roll(chance, 30000), roll(chance, 5) == 0);
		tine_cache_del(cache, &(uint64_t){ roll(chance, 20) }, 8);
		break;
	default:
		CHECK(tine_cache_call(cache, &task, &key, out, NULL, tine_after(20000)) >=
		      0);
		CHECK(is_value(out, sizeof(out), key));
	}
}

static void work(void *arg)
{
	struct work *work = arg;
	tine_cache *cache = work->cache ? work->cache : opened(0);

	for (;;)
		work_once(cache,
			  work->kind == ALL ? (int)roll(&work->chance, ALL) : work->kind,
			  &work->chance);
}

static void kill_at_random(int kind, long kills)
{
	const uint64_t most = 4 * MIB;
	uint64_t chance = test_seed() + (uint64_t)kind;
	tine_cache *cache = opened(most);
	pid_t pids[3] = { 0 };

	for (long i = 0; i < kills; i++) {
		size_t at = roll(&chance, 3);
		struct work next = { roll(&chance, 2) ? cache : NULL, mix(chance), kind };

		if (pids[at])
			test_kill(pids[at]);
		if (i % 16 == 0) {
			/* The next that opens it, and who had it all the time. */
			tine_cache *other = opened(0);

			for (uint64_t key = 0; key < KEYS; key++)
				got_value(other, key);
			CHECK_EQ(dropped_by_verify(other), 0);
			tine_cache_free(other);
			work_once(cache, ALL, &chance);
		}
		pids[at] = test_fork(work, &next);
		test_sleep_us((long)roll(&chance, 4000));
	}
	for (int i = 0; i < 3; i++)
		if (pids[i]) {
			kill(pids[i], SIGKILL);
			test_reap(pids[i]);
		}
	/* What the dead had promised of the disk comes back as others need it. */
	CHECK_EQ(put_value(cache, 1, 100, 1), 0);
	check_whole(cache, KEYS, most);
	CHECK_EQ(tine_cache_clear(cache, NULL), 0);
	for (int i = 0; i < 40; i++)
		CHECK_EQ(put_value(cache, (uint64_t)i, 20000, 1), 0);
	check_whole(cache, 40, most);
	tine_cache_free(cache);
	clean();
}

TEST_LIMIT(killed_at_random, 200)
{
	for (int kind = 0; kind < KINDS; kind++)
		kill_at_random(kind, test_sampled(250));
}

/* ---- at single instructions -------------------------------------------------------- */

struct scene {
	tine_cache *cache;
	uint64_t key, keys, most;
	size_t len;
	bool there; /* it must be found afterwards, old or new */
	long steps;
};

/* Made before, since it takes many steps. */
static char prepared[40000];

static void put_prepared(void *arg)
{
	struct scene *scene = arg;

	tine_cache_put(scene->cache, &scene->key, 8, prepared, scene->len);
}

static void clear_all(void *arg)
{
	tine_cache_clear(((struct scene *)arg)->cache, NULL);
}

static void call_one(void *arg)
{
	struct scene *scene = arg;
	char out[3000];

	(void)!tine_cache_call(scene->cache, &task, &scene->key, out, NULL, TINE_FOREVER);
}

static void is_whole(void *arg, long step)
{
	struct scene *scene = arg;
	long long len;

	scene->steps = step;
	len = got_value(scene->cache, scene->key);
	if (scene->there && len < 0)
		test_fail(__FILE__, __LINE__, "gone by a death at step %ld", step);
	for (uint64_t key = 0; key < scene->keys; key++)
		got_value(scene->cache, key);
	if (dropped_by_verify(scene->cache) != 0 || stats_of(scene->cache).restarts != 0)
		test_fail(__FILE__, __LINE__, "damaged by a death at step %ld", step);
	CHECK(disk_of(folder()) <= scene->most);
	/* It goes on. */
	CHECK_EQ(put_value(scene->cache, 7777, 8, (uint64_t)step), 0);
	CHECK_EQ(got_value(scene->cache, 7777), 8);
}

/* Steps are some thousands, most of them of checksums. */
static void kill_each_step(struct scene *scene, long stride, void (*fn)(void *),
			   void (*after)(void *, long))
{
	if (!scene->cache)
		scene->cache = opened(scene->most);
	make_value(prepared, scene->len, scene->key, 1);
	CHECK(test_kill_some_steps(&(struct steps){ NULL, fn, after }, scene, stride) >
	      100);
	tine_cache_free(scene->cache);
	clean();
}

/* Gone again before each, so that each puts it anew. */
static void is_whole_and_empty(void *arg, long step)
{
	is_whole(arg, step);
	CHECK_EQ(tine_cache_clear(((struct scene *)arg)->cache, NULL), 0);
}

TEST_LIMIT(killed_at_steps_of_put, 200)
{
	struct scene scene = { .key = 5, .keys = 1, .len = 100, .most = 4 * MIB };

	kill_each_step(&scene, 11, put_prepared, is_whole_and_empty);
}

TEST_LIMIT(killed_at_steps_of_put_of_a_large_one, 200)
{
	struct scene scene = { .key = 5, .keys = 1, .len = 17000, .most = 4 * MIB };

	kill_each_step(&scene, 997, put_prepared, is_whole_and_empty);
}

TEST_LIMIT(killed_at_steps_of_replacing, 200)
{
	struct scene scene = {
		.key = 5, .keys = 1, .len = 17000, .most = 4 * MIB, .there = true
	};

	scene.cache = opened(scene.most);
	CHECK_EQ(put_value(scene.cache, 5, 16500, 2), 0);
	kill_each_step(&scene, 997, put_prepared, is_whole);
}

/* Full, so that each that comes has others go, and moves some on. */
static void fill_up(struct scene *scene, size_t len)
{
	scene->cache = opened(scene->most);
	for (uint64_t key = 0; stats_of(scene->cache).evictions < 3; key++)
		CHECK_EQ(put_value(scene->cache, 10 + key % 1000, len + key % 7, 1), 0);
	for (uint64_t key = 10; key < 1000; key += 2)
		got_value(scene->cache, key);
}

/* Another key each time, so that the cache stays full. */
static void is_whole_and_next(void *arg, long step)
{
	struct scene *scene = arg;

	is_whole(arg, step);
	scene->key++;
	make_value(prepared, scene->len, scene->key, 1);
}

TEST_LIMIT(killed_at_steps_of_a_put_that_evicts, 300)
{
	struct scene scene = { .key = 5000, .len = 12000, .most = MIB };

	fill_up(&scene, 11000);
	kill_each_step(&scene, 997, put_prepared, is_whole_and_next);
}

TEST_LIMIT(killed_at_steps_of_a_large_put_that_evicts, 300)
{
	struct scene scene = { .key = 5000, .len = 30000, .most = MIB };

	fill_up(&scene, 25000);
	kill_each_step(&scene, 1499, put_prepared, is_whole_and_next);
}

static void fill_a_few(void *arg, long step)
{
	struct scene *scene = arg;

	is_whole(arg, step);
	for (uint64_t key = 0; key < 5; key++)
		CHECK_EQ(put_value(scene->cache, key, key % 2 ? 17000 : 100, 1), 0);
}

TEST_LIMIT(killed_at_steps_of_clear, 200)
{
	struct scene scene = { .key = 5, .keys = 5, .len = 100, .most = 4 * MIB };

	scene.cache = opened(scene.most);
	for (uint64_t key = 0; key < 5; key++)
		CHECK_EQ(put_value(scene.cache, key, key % 2 ? 17000 : 100, 1), 0);
	kill_each_step(&scene, 67, clear_all, fill_a_few);
}

/* And the result is asked for by the next, who must not wait for the dead. */
static void computes_again(void *arg, long step)
{
	struct scene *scene = arg;
	uint64_t key = scene->key;
	char out[3000];

	CHECK(tine_cache_call(scene->cache, &task, &key, out, NULL, tine_after(10000)) >=
	      0);
	CHECK(is_value(out, sizeof(out), key));
	is_whole_and_empty(arg, step);
}

TEST_LIMIT(killed_at_steps_of_call, 300)
{
	struct scene scene = { .key = 5, .keys = 1, .len = 1, .most = 4 * MIB };

	kill_each_step(&scene, 499, call_one, computes_again);
}

static void begin_and_finish(void *arg)
{
	struct scene *scene = arg;
	tine_flight *flight;
	const void *val;
	size_t len;

	/* Given up, and begun again. */
	for (int i = 0; i < 2; i++) {
		if (tine_cache_begin(scene->cache, &scene->key, 8, &val, &len, &flight,
				     TINE_NOWAIT) != 0)
			_exit(1);
		if (i == 0)
			tine_flight_free(flight);
	}
	tine_flight_finish(flight, prepared, scene->len, 0);
}

/* By the next, who must not wait for the dead, and then by a second one as well. */
static void begins_again(void *arg, long step)
{
	struct scene *scene = arg;

	/* What it had not committed is undone now, and would be found until then. */
	CHECK_EQ(put_value(scene->cache, 7777, 8, (uint64_t)step), 0);
	begin_once(scene->cache, scene->key, scene->len, false);
	CHECK_EQ(got_value(scene->cache, scene->key), (long long)scene->len);
	is_whole(arg, step);
	CHECK_EQ(tine_cache_del(scene->cache, &scene->key, 8), 0);
}

TEST_LIMIT(killed_at_steps_of_begin_and_finish, 300)
{
	struct scene scene = { .key = 5, .keys = 1, .len = 100, .most = 4 * MIB };

	kill_each_step(&scene, 37, begin_and_finish, begins_again);
}

static void delete_prepared(void *arg)
{
	struct scene *scene = arg;

	tine_cache_del(scene->cache, &scene->key, 8);
	tine_cache_del_prefix(scene->cache, &(uint64_t){ 1 }, 8);
}

TEST_LIMIT(killed_at_steps_of_del, 300)
{
	struct scene scene = { .key = 1, .keys = 5, .len = 100, .most = 4 * MIB };

	scene.cache = opened(scene.most);
	for (uint64_t key = 0; key < 5; key++)
		CHECK_EQ(put_value(scene.cache, key, key % 2 ? 17000 : 100, 1), 0);
	kill_each_step(&scene, 67, delete_prepared, fill_a_few);
}

/* A cache that is being made is one, or is none. */
static void make_it(void *arg)
{
	tine_cache *cache;

	(void)arg;
	(void)!tine_cache_open(&cache, folder(), &(tine_cache_opts){ .max_bytes = MIB });
}

static void can_be_made(void *arg, long step)
{
	tine_cache *cache;

	(void)arg;
	(void)step;
	cache = opened(MIB);
	CHECK_EQ(put_value(cache, 1, 100, 1), 0);
	CHECK_EQ(got_value(cache, 1), 100);
	CHECK_EQ(stats_of(cache).restarts, 0);
	tine_cache_free(cache);
	remove_folder(folder());
}

TEST_LIMIT(killed_at_steps_of_open, 200)
{
	folder();
	CHECK(test_kill_some_steps(&(struct steps){ NULL, make_it, can_be_made }, NULL,
				   97) > 100);
	clean();
}

/* ---- what the notes say, at each instruction --------------------------------------- */

enum { INDEX_WORDS = (HEADER_SIZE + SLOT_STEP * sizeof(struct slot)) / 8 };

/* The index, as it was when the last change was done. */
struct index {
	uint64_t words[INDEX_WORDS];
	uint64_t commits, slots;
};

static void copy_index(tine_cache *cache, uint64_t *words)
{
	memcpy(words, cache_header(cache), INDEX_WORDS * 8);
}

/* Words that no change of an entry needs to have undone. */
static bool is_counted(size_t at)
{
	size_t offset = at * 8;

	/* Readers note their use. */
	if (offset >= HEADER_SIZE)
		return offset % sizeof(struct slot) == offsetof(struct slot, used);
	return offset == offsetof(struct index_header, hits) ||
	       offset == offsetof(struct index_header, misses) ||
	       offset >= offsetof(struct index_header, undos);
}

/* If it were killed now: the notes undo all since then, and name no word twice for it. */
static void check_notes(tine_cache *cache, struct index *then, long step)
{
	static uint64_t now[INDEX_WORDS];
	struct index_header *header = (struct index_header *)now;
	size_t end;

	copy_index(cache, now);
	if (header->undos == 0 && header->commits != then->commits) {
		memcpy(then->words, now, sizeof(now));
		then->commits = header->commits;
		then->slots = header->slots;
		return;
	}
	CHECK(header->undos <= MOST_UNDO);
	for (uint64_t n = header->undos; n > 0; n--) {
		uint64_t where = header->undo[n - 1].where;

		if (where & IN_DATA)
			continue;
		CHECK(where % 8 == 0 && where / 8 < INDEX_WORDS);
		now[where / 8] = header->undo[n - 1].old;
	}
	/* Slots that are not there yet are written as one likes. */
	end = (HEADER_SIZE + then->slots * sizeof(struct slot)) / 8;
	for (size_t at = 0; at < end; at++)
		if (now[at] != then->words[at] && !is_counted(at))
			test_fail(__FILE__, __LINE__,
				  "word %zu is not undone by a death at step %ld", at,
				  step);
}

/* What a reader believes not to be there is not there, also in the middle of a change. */
static void check_looks(tine_cache *cache, uint64_t keys, long step)
{
	for (uint64_t id = 100; changes_done(cache) && id < 100 + keys; id++) {
		struct cache_key key = { .bytes = &id,
					 .len = sizeof(id),
					 .kind = KEY_OF_CALLER };
		struct content found;

		key_hash(&key);
		if (cache_find(cache, &key, &found, TINE_NOWAIT) != 0)
			test_fail(__FILE__, __LINE__, "not found at step %ld", step);
		tine_cache_release(cache, found.val);
	}
}

static void walk_with_notes(tine_cache *cache, uint64_t keys, void (*fn)(void *),
			    void *arg)
{
	static struct index then;
	uint64_t commits = cache_header(cache)->commits;
	int status = 0;
	long step = 0;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(77);
		raise(SIGSTOP);
		fn(arg);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status))
		test_skip("ptrace is not permitted");
	copy_index(cache, then.words);
	then.commits = commits;
	then.slots = cache_header(cache)->slots;
	while (WIFSTOPPED(status)) {
		CHECK(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
		CHECK(waitpid(pid, &status, 0) == pid);
		check_notes(cache, &then, ++step);
		check_looks(cache, keys, step);
	}
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(cache_header(cache)->commits > commits);
}

TEST_LIMIT(notes_undo_a_put_at_each_step, 200)
{
	struct scene scene = { .cache = opened(4 * MIB), .key = 5, .len = 100 };

	for (uint64_t key = 100; key < 120; key++)
		CHECK_EQ(put_value(scene.cache, key, 10, 1), 0);
	make_value(prepared, scene.len, 5, 1);
	/* New ones, each of which divides a bucket, and the last again. */
	for (scene.key = 5; scene.key < 9; scene.key++) {
		make_value(prepared, scene.len, scene.key, 1);
		walk_with_notes(scene.cache, 20, put_prepared, &scene);
	}
	scene.key = 8;
	walk_with_notes(scene.cache, 20, put_prepared, &scene);
	/* In a slot that was free. */
	CHECK_EQ(cache_lock(scene.cache, TINE_FOREVER), 0);
	CHECK_EQ(slot_drop(scene.cache, 22), 0);
	commit_changes(scene.cache);
	cache_unlock(scene.cache);
	scene.key = 10;
	make_value(prepared, scene.len, 10, 1);
	walk_with_notes(scene.cache, 20, put_prepared, &scene);
	CHECK_EQ(got_value(scene.cache, 10), 100);
	tine_cache_free(scene.cache);
	clean();
}

/* The first note of a word is the one that counts. */
TEST(a_word_changed_twice_is_what_it_was)
{
	tine_cache *cache = opened(4 * MIB);
	uint64_t before;
	word *at;

	CHECK_EQ(cache_lock(cache, TINE_FOREVER), 0);
	at = &cache_header(cache)->evictions;
	before = *at;
	CHECK_EQ(change_word(cache, at, before + 1), 0);
	CHECK_EQ(change_word(cache, at, before + 2), 0);
	CHECK_EQ(undo_changes(cache), 0);
	CHECK_EQ(*at, before);
	cache_unlock(cache);
	tine_cache_free(cache);
	clean();
}

TEST_LIMIT(notes_undo_an_eviction_at_each_step, 200)
{
	struct scene scene = { .key = 5000, .len = 12000, .most = MIB };

	fill_up(&scene, 11000);
	make_value(prepared, scene.len, scene.key, 1);
	walk_with_notes(scene.cache, 0, put_prepared, &scene);
	tine_cache_free(scene.cache);
	clean();
}

/* ---- beside one that is stopped ---------------------------------------------------- */

/* What others do meanwhile. In shared memory: they are processes of their own. */
struct beside {
	tine_cache *cache;
	struct scene scene; /* of the one that is stopped */
	long step;
	uint64_t chance;
	_Atomic long kept, refused; /* puts */
};

/* Deadlines are far below the guard, and TINE_NOWAIT is none. */
static void calls_with_deadlines(void *arg)
{
	struct beside *beside = arg;
	uint64_t key = 3, missing = 100000 + (uint64_t)beside->step;
	char out[3000];

	for (int i = 0; i < 3; i++) {
		/* Each alone, and none because another has waited before. */
		atomic_store(&beside->cache->stuck, false);
		CHECK(tine_cache_call(beside->cache, &task, &key, out, NULL,
				      tine_after(20)) >= 0);
		CHECK(is_value(out, sizeof(out), key));
	}
	CHECK(tine_cache_call(beside->cache, &task, &missing, out, NULL, TINE_NOWAIT) >=
	      0);
	CHECK(is_value(out, sizeof(out), missing));
}

/* A call without a deadline has a bound of its own, and a fork waits for nobody. */
static void *put_one(void *arg)
{
	struct beside *beside = arg;
	int err;

	CHECK_EQ(got_value(beside->cache, 9999999), -ENOENT);
	err = put_value(beside->cache, 8888, 100, 1);

	CHECK(err == 0 || err == -ETIMEDOUT);
	atomic_fetch_add(err ? &beside->refused : &beside->kept, 1);
	/* It waits for nobody a second time, until the lock is free. */
	for (int i = 0; err && i < 100; i++)
		CHECK_EQ(put_value(beside->cache, 8888, 100, 1), -ETIMEDOUT);
	return NULL;
}

static void put_and_fork(void *arg)
{
	struct beside *beside = arg;
	long refused = atomic_load(&beside->refused);
	pthread_t thread;
	pid_t pid;

	CHECK_EQ(pthread_create(&thread, NULL, put_one, beside), 0);
	test_sleep_us(20000);
	pid = fork();
	if (pid == 0)
		_exit(0);
	CHECK(pid > 0);
	/* While the put has not been refused yet, or never is. */
	CHECK_EQ(atomic_load(&beside->refused), refused);
	test_reap(pid);
	CHECK_EQ(pthread_join(thread, NULL), 0);
}

static void others_go_on(void *arg, long step)
{
	struct beside *beside = arg;

	beside->step = step;
	test_call_beside(calls_with_deadlines, beside);
	/* These take a second each. */
	if (roll(&beside->chance, 30) == 0)
		test_call_beside(put_and_fork, beside);
}

static void beside_put(void *arg)
{
	put_prepared(&((struct beside *)arg)->scene);
}

static void beside_call(void *arg)
{
	call_one(&((struct beside *)arg)->scene);
}

static void beside_clear(void *arg)
{
	clear_all(&((struct beside *)arg)->scene);
}

static void beside_miss(void *arg)
{
	got_value(((struct beside *)arg)->cache, 123456);
}

/* Before each: a damaged entry would be dropped, and the change that it was in undone. */
static void is_right_after(void *arg, long step)
{
	struct beside *beside = arg;

	(void)step;
	CHECK_EQ(dropped_by_verify(beside->cache), 0);
	CHECK_EQ(stats_of(beside->cache).restarts, 0);
	CHECK(tine_cache_call(beside->cache, &task, &(uint64_t){ 3 }, (char[3000]){ 0 },
			      NULL, TINE_FOREVER) >= 0);
}

static struct beside *stop_each_step(size_t len, void (*fn)(void *), long stride)
{
	struct beside *beside = tine_shared_new(1, sizeof(*beside));

	CHECK(beside);
	beside->cache = opened(4 * MIB);
	beside->chance = test_seed();
	beside->scene = (struct scene){ .cache = beside->cache, .key = 5, .len = len };
	make_value(prepared, len, 5, 1);
	is_right_after(beside, 0);
	CHECK(test_stop_some_steps(
		      &(struct stops){ NULL, fn, others_go_on, is_right_after, false },
		      beside, stride) > 50);
	return beside;
}

static void end_beside(struct beside *beside)
{
	tine_cache_free(beside->cache);
	tine_shared_free(beside);
	clean();
}

TEST_LIMIT(beside_one_stopped_in_a_put, 300)
{
	end_beside(stop_each_step(100, beside_put, 11));
}

TEST_LIMIT(beside_one_stopped_in_a_large_put, 300)
{
	end_beside(stop_each_step(17000, beside_put, 97));
}

TEST_LIMIT(beside_one_stopped_in_a_call, 300)
{
	end_beside(stop_each_step(100, beside_call, 97));
}

TEST_LIMIT(beside_one_stopped_in_clear, 300)
{
	end_beside(stop_each_step(100, beside_clear, 67));
}

/* It has no lock: nobody is refused. */
TEST_LIMIT(beside_one_stopped_in_a_miss, 300)
{
	struct beside *beside = stop_each_step(100, beside_miss, 1);

	CHECK_EQ(atomic_load(&beside->refused), 0);
	end_beside(beside);
}

static void beside_flight(void *arg)
{
	struct scene *scene = &((struct beside *)arg)->scene;

	begin_and_finish(scene);
	tine_cache_del(scene->cache, &scene->key, 8);
}

/* The key that is begun, and another: by their deadlines, or by nobody's leave. */
static void begin_with_deadlines(void *arg)
{
	struct beside *beside = arg;

	for (uint64_t key = 5; key < 8; key++) {
		tine_flight *flight = NULL;
		const void *val;
		size_t len;
		int err;

		atomic_store(&beside->cache->stuck, false);
		err = tine_cache_begin(beside->cache, &key, 8, &val, &len, &flight,
				       key == 7 ? TINE_NOWAIT : tine_after(20));
		CHECK(err == 0 || err == 1 || err == -ETIMEDOUT);
		if (err == 1)
			tine_cache_release(beside->cache, val);
		if (err == 0)
			tine_flight_free(flight);
		if (err == -ETIMEDOUT && key == 5)
			atomic_fetch_add(&beside->refused, 1);
	}
}

static void others_begin(void *arg, long step)
{
	(void)step;
	test_call_beside(begin_with_deadlines, arg);
}

TEST_LIMIT(beside_one_stopped_in_a_flight, 300)
{
	struct beside *beside = tine_shared_new(1, sizeof(*beside));

	beside->cache = opened(4 * MIB);
	beside->scene = (struct scene){ .cache = beside->cache, .key = 5, .len = 100 };
	make_value(prepared, 100, 5, 1);
	CHECK(test_stop_some_steps(&(struct stops){ NULL, beside_flight, others_begin,
						    is_right_after, false },
				   beside, 67) > 50);
	/* While it had the flight. */
	CHECK(atomic_load(&beside->refused) > 0);
	end_beside(beside);
}

/* Where it has the lock for sure. */
static void stop_with_the_lock(void *arg)
{
	struct beside *beside = arg;

	CHECK_EQ(cache_lock(beside->cache, TINE_FOREVER), 0);
	raise(SIGSTOP);
	cache_unlock(beside->cache);
}

static void open_another(void *arg)
{
	tine_cache *cache;

	(void)arg;
	CHECK_EQ(tine_cache_open(&cache, folder(), NULL), 0);
	CHECK_EQ(got_value(cache, 1), 100);
	CHECK_EQ(got_value(cache, 2), -ENOENT);
	tine_cache_free(cache);
}

static void others_are_refused(void *arg)
{
	struct beside *beside = arg;
	tine_cache_stats stats;

	CHECK_EQ(tine_cache_stat(beside->cache, &stats), -ETIMEDOUT);
	CHECK_EQ(tine_cache_clear(beside->cache, NULL), -ETIMEDOUT);
	CHECK_EQ(tine_cache_verify(beside->cache, NULL), -ETIMEDOUT);
}

TEST(beside_one_stopped_with_the_lock)
{
	struct beside *beside = tine_shared_new(1, sizeof(*beside));
	int status;
	pid_t pid;

	beside->cache = opened(4 * MIB);
	CHECK_EQ(put_value(beside->cache, 1, 100, 1), 0);
	pid = test_fork(stop_with_the_lock, beside);
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	test_call_beside(calls_with_deadlines, beside);
	test_call_beside(put_and_fork, beside);
	CHECK_EQ(atomic_load(&beside->refused), 1);
	test_call_beside(open_another, beside);
	test_call_beside(others_are_refused, beside);
	CHECK_EQ(kill(pid, SIGCONT), 0);
	CHECK_EQ(test_reap(pid), 0);
	test_call_beside(put_and_fork, beside);
	CHECK_EQ(atomic_load(&beside->kept), 1);
	CHECK_EQ(dropped_by_verify(beside->cache), 0);
	end_beside(beside);
}
