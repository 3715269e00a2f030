/* SPDX-License-Identifier: MIT */
/* Death inside the allocator: at every instruction, and at random. */
#include "memory/heap.h"
#include "step.h"

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

	scene->block = tine_shared_new(1, scene->size);
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
