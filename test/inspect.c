/* SPDX-License-Identifier: MIT */
/*
 * Looks at a copy of this process's memory, in which words were overwritten at random:
 * each look ends, reads nothing beyond the file, and says so when it cannot be whole.
 */
#include "test.h"

#include "inspect/look.h"
#include "memory/heap.h"

#include <sys/mman.h>

#define MOST_PIECES 64
#define MOST_WORDS  16 /* that are overwritten at once */

struct copy {
	int fd;
	size_t n;
	struct {
		off_t from, to;
	} piece[MOST_PIECES]; /* what of the file is there */
};

static void copy_memory(struct copy *copy)
{
	int fd = tine_family_fd();
	off_t at = 0, end;
	char page[4096];
	struct stat file;

	*copy = (struct copy){ .fd = memfd_create("copy", MFD_CLOEXEC) };
	CHECK(fstat(fd, &file) == 0 && ftruncate(copy->fd, file.st_size) == 0);
	while (copy->n < MOST_PIECES && (at = lseek(fd, at, SEEK_DATA)) >= 0) {
		end = lseek(fd, at, SEEK_HOLE);
		copy->piece[copy->n].from = at;
		copy->piece[copy->n++].to = end;
		for (; at < end; at += (off_t)sizeof(page))
			CHECK(pread(fd, page, sizeof(page), at) == sizeof(page) &&
			      pwrite(copy->fd, page, sizeof(page), at) == sizeof(page));
	}
	CHECK(copy->n > 1);
}

static json_t *look_at_copy(const struct copy *copy)
{
	struct memory memory;
	json_t *report;

	CHECK_EQ(memory_of(&memory, dup(copy->fd)), 0);
	report = look_at_memory(&memory, getpid());
	CHECK(report != NULL);
	memory_close(&memory);
	return report;
}

static size_t count_in(const json_t *report, const char *name)
{
	return json_array_size(json_object_get(report, name));
}

static int no_work(const void *in, void *out)
{
	(void)in;
	(void)out;
	return 0;
}

struct scene {
	tine_lock *lock;
	tine_queue *queue;
	tine_pool *pool;
};

static void make_scene(struct scene *scene)
{
	static const tine_task task = TINE_TASK(no_work, int, int);
	tine_lease lease;
	long number = 7;
	int in = 1;

	scene->lock = tine_shared_new(1, sizeof(*scene->lock));
	CHECK(scene->lock != NULL);
	CHECK_EQ(tine_queue_new(&scene->queue, sizeof(long), NULL), 0);
	CHECK_EQ(tine_pool_new(&scene->pool, &(tine_pool_opts){ .workers = 2 }), 0);
	CHECK_EQ(tine_pool_submit(scene->pool, &task, &in, 1, TINE_FOREVER), 0);
	CHECK_EQ(tine_queue_put(scene->queue, &number, sizeof(number), TINE_FOREVER), 0);
	CHECK_EQ(tine_queue_lease(scene->queue, &number, sizeof(number), &lease,
				  TINE_FOREVER),
		 sizeof(number));
	CHECK_EQ(tine_lock_acquire(scene->lock, TINE_FOREVER), 0);
}

static void tear_down(struct scene *scene)
{
	tine_lock_release(scene->lock);
	tine_shared_free(scene->lock);
	tine_queue_free(scene->queue);
	tine_pool_free(scene->pool);
}

static void set_up(struct scene *scene)
{
	make_scene(scene);
	tear_down(scene);
	test_grows_no_further();
	make_scene(scene);
}

TEST(what_is_there_is_found)
{
	struct scene scene;
	struct copy copy;
	json_t *report;

	set_up(&scene);
	copy_memory(&copy);
	report = look_at_copy(&copy);
	CHECK(json_is_true(json_object_get(report, "whole")));
	CHECK_EQ(count_in(report, "queues"), 1);
	CHECK_EQ(count_in(report, "pools"), 1);
	CHECK_EQ(count_in(report, "locks"), 1);
	json_decref(report);
	close(copy.fd);
	tear_down(&scene);
}

/* A number of the kinds that objects have: small, random, or an address nearby. */
static uint64_t some_number(uint64_t was)
{
	uint64_t random = (uint64_t)rand() << 32 ^ (uint64_t)rand() << 16 ^
			  (uint64_t)rand();

	switch (rand() % 4) {
	case 0:
		return random;
	case 1:
		return random % 70;
	case 2:
		return was ^ UINT64_C(1) << random % 64;
	}
	return was + random % 8192 - 4096;
}

static off_t some_place(const struct copy *copy)
{
	size_t i = (size_t)rand() % copy->n;
	off_t first = copy->piece[i].from < 4096 ? 4096 : copy->piece[i].from;
	off_t words = (copy->piece[i].to - first) / 8;

	/* The beginnings say the most. */
	if (words > 512 && rand() % 2)
		words = 512;
	return words > 0 ? first + 8 * (rand() % words) : 4096;
}

/* Keeps what stood there. */
static void overwrite(const struct copy *copy, off_t at, uint64_t *was)
{
	uint64_t number;

	CHECK_EQ(pread(copy->fd, was, 8, at), 8);
	number = some_number(*was);
	CHECK_EQ(pwrite(copy->fd, &number, 8, at), 8);
}

TEST(what_is_overwritten_is_survived)
{
	long looks = test_sampled(test_scaled(1000));
	unsigned damaged = 0, lost = 0;
	struct scene scene;
	struct copy copy;

	set_up(&scene);
	copy_memory(&copy);
	srand((unsigned)test_seed());
	for (long look = 0; look < looks; look++) {
		uint64_t was[MOST_WORDS];
		off_t at[MOST_WORDS];
		json_t *report;

		for (int i = 0; i < MOST_WORDS; i++) {
			at[i] = some_place(&copy);
			overwrite(&copy, at[i], &was[i]);
		}
		report = look_at_copy(&copy);
		damaged += json_is_false(json_object_get(report, "whole"));
		lost += count_in(report, "queues") != 1 || count_in(report, "pools") != 1;
		json_decref(report);
		for (int i = MOST_WORDS; i-- > 0;)
			CHECK_EQ(pwrite(copy.fd, &was[i], 8, at[i]), 8);
	}
	/* The damage was done, and was no more than that. */
	CHECK(looks < 100 || (damaged > 0 && lost > 0));
	close(copy.fd);
	tear_down(&scene);
}

TEST(other_files_are_refused)
{
	struct scene scene;
	struct memory memory;
	struct family_head head;
	struct copy copy;

	set_up(&scene);
	copy_memory(&copy);
	CHECK_EQ(pread(copy.fd, &head, sizeof(head), 0), sizeof(head));
	head.span += 4096;
	CHECK_EQ(pwrite(copy.fd, &head, sizeof(head), 0), sizeof(head));
	CHECK_EQ(memory_of(&memory, dup(copy.fd)), -EBADMSG);
	head.stamp++;
	CHECK_EQ(pwrite(copy.fd, &head, sizeof(head), 0), sizeof(head));
	CHECK_EQ(memory_of(&memory, dup(copy.fd)), -EPROTO);
	head.magic++;
	CHECK_EQ(pwrite(copy.fd, &head, sizeof(head), 0), sizeof(head));
	CHECK_EQ(memory_of(&memory, dup(copy.fd)), -ENOENT);
	close(copy.fd);
	tear_down(&scene);
}
