/* SPDX-License-Identifier: MIT */
/* Blocks that belong to somebody: to one, to several, to the dead. */
#include "memory/owned.h"

#include "memory/heap.h"
#include "sync/member.h"
#include "test.h"

#include <sys/resource.h>

enum { SMALL = 100, LARGE = 200000 };

struct scene {
	void *small, *large, *kept;
	tine_event ready, go;
};

static struct scene *new_scene(void)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));

	CHECK(scene && member_id());
	return scene;
}

/* Runs it in a child until it waits for its end, by SIGKILL. */
static pid_t start(void (*fn)(void *), struct scene *scene)
{
	pid_t pid;

	tine_event_clear(&scene->ready);
	pid = test_fork(fn, scene);
	CHECK_EQ(tine_event_wait(&scene->ready, TINE_FOREVER), 0);
	return pid;
}

static _Noreturn void stay(struct scene *scene)
{
	tine_event_set(&scene->ready);
	for (;;)
		pause();
}

static void take_two(struct scene *scene)
{
	scene->small = test_own(SMALL, member_id(), TINE_FOREVER);
	scene->large = test_own(LARGE, member_id(), TINE_FOREVER);
	CHECK(scene->small && scene->large);
	CHECK_EQ((uintptr_t)scene->small % 64, 0);
	CHECK_EQ(owned_by(scene->small), member_id());
	CHECK_EQ(owned_by(scene->large), member_id());
	memset(scene->small, 1, SMALL);
	memset(scene->large, 1, LARGE);
}

static void own_two(void *arg)
{
	take_two(arg);
	stay(arg);
}

static void own_two_and_leave(void *arg)
{
	take_two(arg);
	exit(0);
}

TEST(what_the_dead_owned_is_freed)
{
	struct scene *scene = new_scene();
	size_t used;
	pid_t pid;

	/* The table of members may grow with the first, and stay. */
	test_kill(start(own_two, scene));
	members_sweep();
	used = shared_used();
	pid = start(own_two, scene);
	members_sweep();
	CHECK(shared_used() > used + LARGE);
	test_kill(pid);
	members_sweep();
	CHECK_EQ(shared_used(), used);
	CHECK_EQ(owned_by(scene->small), 0);
	CHECK_EQ(owned_by(scene->large), 0);

	CHECK_EQ(test_reap(test_fork(own_two_and_leave, scene)), 0);
	members_sweep();
	CHECK_EQ(shared_used(), used);
	CHECK_EQ(shared_check(), 0);
	tine_shared_free(scene);
}

static void hand_both_on(void *arg)
{
	struct scene *scene = arg;

	take_two(scene);
	CHECK(!owned_pass(scene->small, OWNED_BY_OBJECT | 1, member_id()));
	CHECK(owned_pass(scene->small, member_id(), OWNED_BY_OBJECT | 1));
	CHECK(!owned_pass(scene->small, member_id(), OWNED_BY_OBJECT | 1));
	CHECK(owned_pass(scene->large, member_id(), OWNED_BY_OBJECT | 2));
	stay(scene);
}

TEST(what_was_handed_on_outlives_its_maker)
{
	struct scene *scene = new_scene();
	size_t used;

	test_kill(start(own_two, scene));
	members_sweep();
	used = shared_used();
	test_kill(start(hand_both_on, scene));
	members_sweep();
	CHECK_EQ(owned_by(scene->small), OWNED_BY_OBJECT | 1);
	CHECK(owned_pass(scene->small, OWNED_BY_OBJECT | 1, member_id()));
	CHECK_EQ(((char *)scene->small)[SMALL - 1], 1);
	CHECK_EQ(((char *)scene->large)[LARGE - 1], 1);
	tine_shared_free(scene->small);
	tine_shared_free(scene->large);
	CHECK_EQ(shared_used(), used);
	CHECK(!owned_pass(scene->small, member_id(), 0));
	CHECK_EQ(shared_check(), 0);
	tine_shared_free(scene);
}

static void own_many(void *arg)
{
	for (int i = 0; i < 40; i++)
		CHECK(test_own(1 << 20, member_id(), TINE_FOREVER));
	stay(arg);
}

TEST(before_the_heap_grows_the_dead_are_looked_for)
{
	struct scene *scene = new_scene();
	size_t used;

	/* Nobody else looks. */
	test_kill(start(own_many, scene));
	used = shared_used();
	CHECK(used > (size_t)40 << 20);
	scene->large = tine_shared_new(1, 60 << 20);
	CHECK(scene->large);
	CHECK(shared_used() < used - ((size_t)40 << 20) + ((size_t)61 << 20));
	tine_shared_free(scene->large);
	tine_shared_free(scene);
}

static long faults(void)
{
	struct rusage usage;

	CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
	return usage.ru_minflt;
}

static void take_and_fill(void *mem)
{
	long before;

	CHECK(owned_pass(mem, OWNED_BY_OBJECT | 1, member_id()));
	before = faults();
	memset(mem, 2, 1 << 20);
	CHECK(faults() - before < 64);
}

TEST(pages_of_a_block_that_is_taken_over_do_not_fault_one_by_one)
{
	void *mem = test_own(1 << 20, OWNED_BY_OBJECT | 1, TINE_FOREVER);

	if (test_under_valgrind())
		test_skip("it has faults of its own");
	CHECK(mem);
	memset(mem, 1, 1 << 20);
	CHECK_EQ(test_reap(test_fork(take_and_fill, mem)), 0);
	CHECK_EQ(((char *)mem)[(1 << 20) - 1], 2);
	members_sweep();
	CHECK_EQ(owned_by(mem), 0);
}

/* ---- kept by several --------------------------------------------------------------- */

static void keep_twice(void *arg)
{
	struct scene *scene = arg;

	CHECK_EQ(tine_shared_drop(scene->kept), -EPERM);
	CHECK_EQ(tine_shared_keep(scene->kept), 0);
	CHECK_EQ(tine_shared_keep(scene->kept), 0);
	stay(scene);
}

static void keep_and_outlive(struct scene *scene, void *mem)
{
	size_t used = shared_used();
	pid_t pid;

	scene->kept = mem;
	CHECK(mem);
	used = shared_used();
	CHECK_EQ(tine_shared_drop(mem), -EPERM);
	CHECK_EQ(tine_shared_keep(mem), 0);
	tine_shared_free(mem);
	CHECK_EQ(tine_shared_keep(mem), 0);
	CHECK_EQ(tine_shared_drop(mem), 0);
	CHECK(shared_used() >= used);
	pid = start(keep_twice, scene);
	CHECK_EQ(tine_shared_drop(mem), 0);
	CHECK_EQ(tine_shared_drop(mem), -EPERM);
	members_sweep();
	CHECK(shared_in_use(mem));
	test_kill(pid);
	CHECK(shared_in_use(mem));
	members_sweep();
	CHECK(!shared_in_use(mem));
	CHECK_EQ(tine_shared_drop(mem), -EINVAL);
	CHECK_EQ(shared_check(), 0);
}

TEST(a_block_lives_as_long_as_who_keeps_it)
{
	struct scene *scene = new_scene();
	size_t used;

	keep_and_outlive(scene, tine_shared_new(1, SMALL));
	used = shared_used();
	keep_and_outlive(scene, tine_shared_raw(SMALL));
	keep_and_outlive(scene, tine_shared_raw(LARGE));
	CHECK_EQ(shared_used(), used);
	tine_shared_free(scene);
}

TEST(the_last_to_drop_frees)
{
	void *mem = tine_shared_raw(LARGE);
	size_t used = shared_used();

	CHECK_EQ(tine_shared_keep(mem), 0);
	CHECK_EQ(tine_shared_drop(mem), 0);
	CHECK(!shared_in_use(mem));
	CHECK(shared_used() < used);
	CHECK_EQ(shared_check(), 0);
}

TEST(what_cannot_be_kept)
{
	char *mem = tine_shared_new(1, 1000), local;
	void *owned = test_own(SMALL, OWNED_BY_OBJECT | 7, TINE_FOREVER);

	CHECK_EQ(tine_shared_keep(&local), -EINVAL);
	CHECK_EQ(tine_shared_keep(mem + 64), -EINVAL);
	CHECK_EQ(tine_shared_drop(mem + 64), -EINVAL);
	CHECK_EQ(tine_shared_keep(owned), -EPERM);
	CHECK_EQ(tine_shared_drop(owned), -EPERM);
	tine_shared_free(owned);
	for (int i = 0; i < 16383; i++)
		CHECK_EQ(tine_shared_keep(mem), 0);
	CHECK_EQ(tine_shared_keep(mem), -EOVERFLOW);
	for (int i = 0; i < 16383; i++)
		CHECK_EQ(tine_shared_drop(mem), 0);
	CHECK_EQ(tine_shared_drop(mem), -EINVAL);
	CHECK_EQ(shared_check(), 0);
}

/* ---- against a model --------------------------------------------------------------- */

enum { BLOCKS = 200, IDS = 30 };

static struct model {
	unsigned char *mem;
	size_t size;
	uint64_t owner;
	unsigned times[IDS]; /* kept, by each */
} model[BLOCKS];
static uint64_t first_id = 1000; /* ids before it are of the dead */

static bool before_first(uint64_t id)
{
	return id < first_id;
}

static unsigned keepers(const struct model *block)
{
	unsigned n = 0;

	for (int i = 0; i < IDS; i++)
		n += block->times[i];
	return n;
}

static void make(struct model *block, unsigned *random)
{
	*block = (struct model){ .size = (size_t)1 << rand_r(random) % 19 };
	block->size += rand_r(random) % block->size;
	if (rand_r(random) % 2)
		block->owner = first_id + rand_r(random) % IDS;
	block->mem = block->owner ? test_own(block->size, block->owner, TINE_FOREVER)
				  : tine_shared_raw(block->size);
	CHECK(block->mem);
	memset(block->mem, (int)(block - model) + 1, block->size);
}

static void keep_or_drop(struct model *block, unsigned *random)
{
	unsigned i = rand_r(random) % IDS, had = keepers(block);
	bool keep = rand_r(random) % 3;
	int err = keep ? owned_keep(block->mem, first_id + i, TINE_FOREVER)
		       : owned_drop(block->mem, first_id + i);

	if (block->owner || (!keep && !block->times[i])) {
		CHECK_EQ(err, -EPERM);
		return;
	}
	CHECK_EQ(err, 0);
	block->times[i] += keep ? 1 : -1;
	if (!keep && had == 1)
		block->mem = NULL;
}

static void change(struct model *block, unsigned *random)
{
	uint64_t to = first_id + rand_r(random) % IDS;

	if (!block->mem) {
		make(block, random);
	} else if (rand_r(random) % 4) {
		keep_or_drop(block, random);
	} else if (block->owner && rand_r(random) % 2) {
		CHECK(!owned_pass(block->mem, block->owner + 1, to));
		CHECK(owned_pass(block->mem, block->owner, to));
		block->owner = to;
	} else {
		tine_shared_free(block->mem);
		if (!keepers(block))
			block->mem = NULL;
	}
}

/* Some die, and as many are new. */
static void bury_some(unsigned n)
{
	first_id += n;
	owned_note_death();
	owned_bury(before_first);
	for (int b = 0; b < BLOCKS; b++) {
		bool kept = keepers(&model[b]) > 0;

		memmove(model[b].times, model[b].times + n, (IDS - n) * sizeof(unsigned));
		memset(model[b].times + IDS - n, 0, n * sizeof(unsigned));
		if ((model[b].owner && model[b].owner < first_id) ||
		    (kept && !keepers(&model[b])))
			model[b].mem = NULL;
	}
}

static void look_at_model(void)
{
	for (int b = 0; b < BLOCKS; b++) {
		if (!model[b].mem)
			continue;
		for (size_t i = 0; i < model[b].size; i++)
			CHECK_EQ(model[b].mem[i], (unsigned char)(b + 1));
		if (model[b].owner)
			CHECK_EQ(owned_by(model[b].mem), model[b].owner);
	}
	CHECK_EQ(shared_check(), 0);
}

TEST(as_a_model_has_it)
{
	unsigned random = (unsigned)test_seed();
	size_t used = shared_used();

	for (long i = 0; i < test_scaled(20000); i++) {
		change(&model[rand_r(&random) % BLOCKS], &random);
		if (i % 1000 == 999)
			look_at_model();
		if (rand_r(&random) % 200 == 0)
			bury_some(rand_r(&random) % (IDS / 2) + 1);
	}
	look_at_model();
	bury_some(IDS - 1);
	bury_some(IDS - 1);
	for (int b = 0; b < BLOCKS; b++)
		tine_shared_free(model[b].mem);
	/* One slab of a class stays for the next block of it. */
	CHECK_EQ(shared_used(), used);
	CHECK_EQ(shared_check(), 0);
}
