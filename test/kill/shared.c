/* SPDX-License-Identifier: MIT */
/* Death inside the allocator: at every instruction, and at random. */
#include "memory/heap.h"
#include "memory/owned.h"
#include "step.h"
#include "sync/member.h"

#include <sys/mman.h>

/* So that a block of the second kind fills a slab with 63 others. */
enum { SMALL = 64, FILLS = 1024, PER_SLAB = 64, LARGE = 1 << 17 };

struct scene {
	size_t size, before; /* bytes of a block, and used by the family */
	size_t most;	     /* bytes that a death may lose */
	char *mark;	     /* no large block lies before it */
	void *block;	     /* what the child allocated for itself */
};

static void alloc(void *arg)
{
	struct scene *scene = arg;

	/* To zero a large one takes most of the instructions, which tell nothing. */
	scene->block = scene->size == LARGE ? tine_shared_raw(scene->size)
					    : tine_shared_new(1, scene->size);
}

static void release(void *arg)
{
	tine_shared_free(((struct scene *)arg)->block);
}

/* Whether it is the last of its slab, given that none of the slab was freed before. */
static bool is_last(const void *block)
{
	return ((const char *)block - (char *)shared_base()) % 65536 ==
	       (PER_SLAB - 1) * FILLS;
}

/* Takes what room there is. */
static void fill_slab(void *arg)
{
	void *block;

	(void)arg;
	do {
		block = tine_shared_new(1, FILLS);
		CHECK(block);
	} while (!is_last(block));
}

/* The only block of its slab, while another slab has room. */
static void alloc_alone(void *arg)
{
	struct scene *scene = arg;
	void *other = tine_shared_new(1, FILLS);

	fill_slab(NULL);
	scene->block = tine_shared_new(1, FILLS);
	tine_shared_free(other);
}

/* Frees whatever large block there is: those of the dead. */
static void sweep(const struct scene *scene)
{
	for (size_t at = 0; at < 64 * (size_t)LARGE; at += 65536)
		tine_shared_free(scene->mark + at);
}

static void heap_is_whole(void *arg, long step)
{
	struct scene *scene = arg;
	size_t now;
	void *block;

	if (shared_check() != 0)
		test_fail(__FILE__, __LINE__, "broken by a death at step %ld", step);
	now = shared_used();
	if (now - scene->before > scene->most)
		test_fail(__FILE__, __LINE__, "a death at step %ld lost %zu bytes", step,
			  now - scene->before);
	block = tine_shared_new(1, scene->size);
	CHECK(block);
	tine_shared_free(block);
	if (scene->size == LARGE)
		sweep(scene);
	scene->before = shared_used();
}

static void kill_each_step(size_t size, size_t most, const struct steps *steps)
{
	struct scene scene = { .size = size, .most = most };

	scene.mark = tine_shared_new(1, LARGE);
	tine_shared_free(scene.mark);
	scene.before = shared_used();
	CHECK(test_kill_each_step(steps, &scene) > 100);
	CHECK_EQ(shared_check(), 0);
	/* Without a look at what is left: it is the dead's. */
	_exit(0);
}

TEST(killed_at_every_step_of_a_small_alloc)
{
	kill_each_step(SMALL, SMALL, &(struct steps){ NULL, alloc, heap_is_whole });
}

TEST(killed_at_every_step_of_a_small_free)
{
	kill_each_step(SMALL, SMALL, &(struct steps){ alloc, release, heap_is_whole });
}

TEST(killed_at_every_step_of_an_alloc_with_a_new_slab)
{
	/* What the child took before, and the new slab. */
	kill_each_step(FILLS, 2 * PER_SLAB * FILLS,
		       &(struct steps){ fill_slab, alloc, heap_is_whole });
}

TEST(killed_at_every_step_of_a_free_that_empties_a_slab)
{
	kill_each_step(FILLS, (PER_SLAB + 1) * FILLS,
		       &(struct steps){ alloc_alone, release, heap_is_whole });
}

TEST(killed_at_every_step_of_a_large_alloc)
{
	kill_each_step(LARGE, LARGE, &(struct steps){ NULL, alloc, heap_is_whole });
}

TEST(killed_at_every_step_of_a_large_free)
{
	kill_each_step(LARGE, LARGE, &(struct steps){ alloc, release, heap_is_whole });
}

/* ---- blocks with owners: no death loses any ---------------------------------------- */

struct owned {
	size_t size, before;
	void *block, *kept;
};

static void be_member(void *arg)
{
	(void)arg;
	CHECK(member_id() != 0);
}

static void own(void *arg)
{
	struct owned *scene = arg;

	scene->block = test_own(scene->size, member_id(), TINE_FOREVER);
}

static void own_and_free(void *arg)
{
	struct owned *scene = arg;

	own(scene);
	CHECK(owned_pass(scene->block, member_id(), OWNED_BY_OBJECT | 1));
	CHECK(owned_pass(scene->block, OWNED_BY_OBJECT | 1, member_id()));
	tine_shared_free(scene->block);
}

static void nothing_is_lost(void *arg, long step)
{
	struct owned *scene = arg;
	size_t now;

	members_sweep();
	if (shared_check() != 0)
		test_fail(__FILE__, __LINE__, "broken by a death at step %ld", step);
	/* Nobody's: so that no owner is there that was written for another block. */
	tine_shared_free(tine_shared_raw(scene->size));
	/* Of the object there is nothing, at any time. */
	if (owned_by(scene->block) == (OWNED_BY_OBJECT | 1))
		tine_shared_free(scene->block);
	now = shared_used();
	if (now != scene->before)
		test_fail(__FILE__, __LINE__, "a death at step %ld lost %zd bytes", step,
			  (ssize_t)(now - scene->before));
}

static void kill_all_steps(const struct steps *steps, size_t size)
{
	struct owned *scene = mmap(NULL, sizeof(*scene), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(scene != MAP_FAILED);
	CHECK(member_id() != 0);
	scene->size = size;
	/* The group of members that it is in is there from now on. */
	CHECK_EQ(test_reap(test_fork(be_member, NULL)), 0);
	members_sweep();
	scene->before = shared_used();
	CHECK(test_kill_each_step(steps, scene) > 100);
	munmap(scene, sizeof(*scene));
}

static void kill_owners(size_t size, void (*before)(void *), void (*fn)(void *))
{
	kill_all_steps(&(struct steps){ before, fn, nothing_is_lost }, size);
}

TEST_LIMIT(killed_at_every_step_with_a_small_block, 300)
{
	kill_owners(SMALL, be_member, own_and_free);
}

TEST_LIMIT(killed_at_every_step_with_a_large_block, 300)
{
	kill_owners(LARGE, be_member, own_and_free);
}

static void keep_and_drop(void *arg)
{
	struct owned *scene = arg;
	void *mem = scene->kept;

	CHECK_EQ(tine_shared_keep(mem), 0);
	CHECK_EQ(tine_shared_keep(mem), 0);
	CHECK_EQ(tine_shared_drop(mem), 0);
	CHECK_EQ(tine_shared_drop(mem), 0);
}

static void take_one_to_keep(void *arg)
{
	struct owned *scene = arg;

	be_member(NULL);
	scene->kept = scene->block = tine_shared_raw(scene->size);
	CHECK(scene->block);
}

/* It was nobody's before the first call, which a death may come before. */
static void nothing_kept_is_lost(void *arg, long step)
{
	struct owned *scene = arg;

	members_sweep();
	if (scene->block && shared_in_use(scene->block) && owned_by(scene->block) == 0)
		tine_shared_free(scene->block);
	scene->block = NULL;
	nothing_is_lost(arg, step);
}

static void kill_keepers(size_t size)
{
	kill_all_steps(
		&(struct steps){ take_one_to_keep, keep_and_drop, nothing_kept_is_lost },
		size);
}

TEST_LIMIT(killed_at_every_step_of_keep_and_drop, 300)
{
	kill_keepers(SMALL);
	kill_keepers(LARGE);
}

/* Seven keep it already: who is next needs a link of its own. */
enum { LINK = 7 };

static struct keepers {
	struct owned owned;
	_Atomic uint64_t id[LINK];
} * keepers;

static void be_keeper(void *id)
{
	*(_Atomic uint64_t *)id = member_id();
	for (;;)
		pause();
}

static void take_one_of_seven(void *arg)
{
	take_one_to_keep(arg);
	for (int i = 0; i < LINK; i++)
		CHECK_EQ(owned_keep(keepers->owned.kept, keepers->id[i], TINE_FOREVER),
			 0);
}

static void keep_beside(void *arg)
{
	(void)arg;
	CHECK_EQ(tine_shared_keep(keepers->owned.kept), 0);
	CHECK_EQ(tine_shared_drop(keepers->owned.kept), 0);
	CHECK_EQ(tine_shared_keep(keepers->owned.kept), 0);
}

static void seven_drop_it(void *arg, long step)
{
	void *mem;

	members_sweep();
	/* Where a link was, if it was freed and is a link still. */
	mem = tine_shared_raw(SMALL);
	memset(mem, 0xff, SMALL);
	for (int i = 0; i < LINK; i++)
		CHECK_EQ(owned_drop(keepers->owned.kept, keepers->id[i]), 0);
	tine_shared_free(mem);
	nothing_is_lost(arg, step);
}

TEST_LIMIT(killed_at_every_step_of_keeping_beside_seven, 300)
{
	pid_t pids[LINK];

	keepers = mmap(NULL, sizeof(*keepers), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(keepers != MAP_FAILED);
	CHECK(member_id() != 0);
	for (int i = 0; i < LINK; i++) {
		pids[i] = test_fork(be_keeper, &keepers->id[i]);
		while (!keepers->id[i])
			test_sleep_us(1000);
	}
	keepers->owned.size = LARGE;
	keepers->owned.before = shared_used();
	CHECK(test_kill_each_step(
		      &(struct steps){ take_one_of_seven, keep_beside, seven_drop_it },
		      &keepers->owned) > 100);
	for (int i = 0; i < LINK; i++)
		test_kill(pids[i]);
	munmap(keepers, sizeof(*keepers));
}

/* ---- burial ------------------------------------------------------------------------ */

static void own_in_death(void *arg)
{
	struct owned *scene = arg;

	CHECK(test_own(SMALL, member_id(), TINE_FOREVER));
	CHECK(test_own(LARGE, member_id(), TINE_FOREVER));
	CHECK_EQ(tine_shared_keep(scene->kept), 0);
}

/* The child itself is no member, whose death would say by itself that there is more. */
static void have_a_dead_owner(void *arg)
{
	struct owned *scene = arg;

	scene->kept = tine_shared_raw(scene->size);
	CHECK_EQ(test_reap(test_fork(own_in_death, arg)), 0);
}

static void sweep_members(void *arg)
{
	(void)arg;
	members_sweep();
}

TEST_LIMIT(killed_at_every_step_of_a_burial, 300)
{
	kill_all_steps(
		&(struct steps){ have_a_dead_owner, sweep_members, nothing_is_lost },
		LARGE);
}

/* ---- at random --------------------------------------------------------------------- */

static void churn(void *seed)
{
	unsigned random = *(unsigned *)seed;
	void *held[32] = { 0 };

	for (;;) {
		unsigned at = rand_r(&random) % 32;

		tine_shared_free(held[at]);
		held[at] = tine_shared_new(1, (size_t)1 << rand_r(&random) % 18);
	}
}

TEST_LIMIT(killed_at_random, 120)
{
	uint64_t seed = test_seed();
	unsigned random = (unsigned)seed;
	pid_t pids[3] = { 0 };

	for (long i = 0; i < test_sampled(600); i++) {
		int at = rand_r(&random) % 3;

		if (pids[at])
			test_kill(pids[at]);
		CHECK_EQ(shared_check(), 0);
		random++;
		pids[at] = test_fork(churn, &random);
		test_sleep_us(rand_r(&random) % 2000);
	}
	for (int i = 0; i < 3; i++)
		if (pids[i]) {
			kill(pids[i], SIGKILL);
			test_reap(pids[i]);
		}
	CHECK_EQ(shared_check(), 0);
	_exit(0);
}

enum { KEPT = 4 };

static void churn_owners(void *arg)
{
	void **kept = arg;
	unsigned random = (unsigned)getpid();

	for (;;) {
		void *mem = test_own((size_t)1 << rand_r(&random) % 18, member_id(),
				     TINE_FOREVER);
		int i = rand_r(&random) % KEPT;

		CHECK(mem);
		if (rand_r(&random) % 2)
			CHECK(owned_pass(mem, member_id(), member_id()));
		CHECK_EQ(tine_shared_keep(kept[i]), 0);
		if (rand_r(&random) % 4)
			tine_shared_free(mem);
		CHECK_EQ(tine_shared_drop(kept[i]), 0);
		if (rand_r(&random) % 8 == 0)
			members_sweep();
	}
}

TEST_LIMIT(owners_killed_at_random, 120)
{
	unsigned random = (unsigned)test_seed();
	void **kept = tine_shared_new(KEPT, sizeof(*kept));
	pid_t pids[3] = { 0 };
	size_t used;

	CHECK_EQ(test_reap(test_fork(be_member, NULL)), 0);
	members_sweep();
	used = shared_used();
	for (int i = 0; i < KEPT; i++) {
		kept[i] = tine_shared_raw((size_t)1000 << 4 * i);
		CHECK_EQ(tine_shared_keep(kept[i]), 0);
	}
	for (long i = 0; i < test_sampled(600); i++) {
		int at = rand_r(&random) % 3;

		if (pids[at])
			test_kill(pids[at]);
		CHECK_EQ(shared_check(), 0);
		pids[at] = test_fork(churn_owners, kept);
		test_sleep_us(rand_r(&random) % 2000);
	}
	for (int i = 0; i < 3; i++)
		if (pids[i])
			test_kill(pids[i]);
	members_sweep();
	for (int i = 0; i < KEPT; i++) {
		CHECK(shared_in_use(kept[i]));
		CHECK_EQ(tine_shared_drop(kept[i]), 0);
		CHECK(!shared_in_use(kept[i]));
	}
	CHECK_EQ(shared_used(), used);
	CHECK_EQ(shared_check(), 0);
	tine_shared_free(kept);
}
