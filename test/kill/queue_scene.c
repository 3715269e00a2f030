/* SPDX-License-Identifier: MIT */
#include "kill/queue_scene.h"

#include "memory/heap.h"
#include "queue/mend.h"

struct message message_of(uint32_t id)
{
	return (struct message){ id, ~id };
}

void set_stage(struct scene *scene)
{
	tine_queue_free(scene->queue);
	memset(scene->hand, 0, sizeof(*scene->hand));
	CHECK_EQ(tine_queue_new(&scene->queue, sizeof(struct message), &scene->opts), 0);
	/* A step at a time, to wait awake takes for ever. */
	scene->queue->spins = 0;
	for (uint32_t id = 1; id <= scene->waiting; id++) {
		struct message message = message_of(id);

		CHECK_EQ(tine_queue_put(scene->queue, &message, sizeof(message), 0), 0);
	}
}

int64_t next(struct scene *scene, int64_t deadline)
{
	struct message message = { 0 };
	ssize_t len = tine_queue_get(scene->queue, &message, sizeof(message), deadline);

	if (len <= 0)
		return len;
	if (len != sizeof(message) || message.inverse != ~message.id)
		test_fail(__FILE__, __LINE__, "step %ld: message %u is torn", scene->step,
			  message.id);
	return message.id;
}

void expect(struct scene *scene, int64_t value, int64_t expected, const char *what)
{
	if (value != expected)
		test_fail(__FILE__, __LINE__, "step %ld: %s: %lld, not %lld", scene->step,
			  what, (long long)value, (long long)expected);
}

unsigned drain(struct scene *scene, uint64_t *ids)
{
	struct message last = message_of(63);
	int64_t id, deadline = tine_after(WAIT_MS);
	unsigned n = 0;

	*ids = 0;
	/* While it is full, what is in it comes first. */
	while (tine_queue_put(scene->queue, &last, sizeof(last), 0) != 0) {
		id = next(scene, deadline);
		if (id <= 0)
			test_fail(__FILE__, __LINE__, "step %ld: blocked, %lld",
				  scene->step, (long long)id);
		*ids |= UINT64_C(1) << id;
		n++;
	}
	while ((id = next(scene, deadline)) != 63) {
		if (id <= 0)
			test_fail(__FILE__, __LINE__, "step %ld: blocked, %lld",
				  scene->step, (long long)id);
		*ids |= UINT64_C(1) << id;
		n++;
	}
	/* What came back may come after it. */
	while ((id = next(scene, tine_after(2))) > 0) {
		*ids |= UINT64_C(1) << id;
		n++;
	}
	return n;
}

uint64_t drain_once(struct scene *scene)
{
	uint64_t ids;
	unsigned n = drain(scene, &ids);

	expect(scene, n, __builtin_popcountll(ids), "messages that came twice");
	return ids;
}

bool is_an_answer(ssize_t got)
{
	return got >= 0 || got == -ETIMEDOUT || got == -EPIPE;
}

bool cells_are_free(tine_queue *queue)
{
	struct ring ring;

	for (unsigned n = 0; queue_nth_ring(queue, n, &ring); n++)
		for (uint64_t i = 0; i <= ring.mask; i++)
			if (word_state(cell_in(&ring, i)->word) != FREE)
				return false;
	return true;
}

void check_whole(struct scene *scene)
{
	tine_queue *queue = scene->queue;

	CHECK_EQ(queue_lock(queue, TINE_FOREVER), 0);
	if (queue->grows) {
		queue_move_on(queue);
		expect(scene, queue->loose != NULL, false, "a loose ring");
	}
	expect(scene, cells_are_free(queue), true, "cells that are free");
	for (uint64_t i = 0; queue->boxes && i < queue->capacity; i++)
		expect(scene, word_state(box_at(queue, i)->word), FREE, "a box");
	expect(scene, queue->strays, 0, "strays");
	expect(scene, queue->head, queue->tail, "head");
	queue_unlock(queue);
}

void expect_end(struct scene *scene)
{
	int64_t before = next(scene, tine_after(2));

	expect(scene, before, -ETIMEDOUT, "the end, before we close");
	expect(scene, tine_queue_close(scene->queue), 0, "close");
	expect(scene, next(scene, tine_after(WAIT_MS)), 0, "the end");
	check_whole(scene);
}

void free_stage(struct scene *scene)
{
	static size_t used;

	members_sweep();
	tine_queue_free(scene->queue);
	scene->queue = NULL;
	/* Of the first of them: the heap's own tables have grown then. */
	if (!used)
		used = shared_used();
	expect(scene, (int64_t)shared_used(), (int64_t)used, "memory that is left");
}

static void after_life(void *arg, long step)
{
	struct scene *scene = arg;

	scene->step = step;
	scene->goes_on = false;
	scene->life->check(scene);
	if (!scene->goes_on)
		expect_end(scene);
	if (scene->life->leaves_nothing)
		free_stage(scene);
	scene->life->set(scene);
}

void begin_scene(struct scene *scene)
{
	scene->hand = tine_shared_new(1, sizeof(*scene->hand));
	CHECK(scene->hand && member_self());
}

void run_scene(struct scene *scene, const struct life *life, long least)
{
	const struct steps steps = { life->before, life->fn, after_life };
	long n;

	scene->life = life;
	begin_scene(scene);
	life->set(scene);
	n = test_kill_each_step(&steps, scene);
	printf("# %ld with a message\n", scene->counted);
	fflush(stdout);
	CHECK(n > least);
	tine_queue_free(scene->queue);
	tine_shared_free(scene->hand);
	/* The members' table has grown, perhaps. */
	_exit(0);
}

void register_member(void *arg)
{
	struct scene *scene = arg;

	(void)scene;
	CHECK(member_self());
}

void sit(void *arg)
{
	struct scene *scene = arg;
	struct message message;

	register_member(arg);
	if (scene->waiting == 0)
		CHECK_EQ(tine_queue_get(scene->queue, &message, sizeof(message), 0),
			 -ETIMEDOUT);
	else
		CHECK_EQ(tine_queue_get(scene->queue, &message, 1, 0), -EMSGSIZE);
}

void sit_as_producer(void *arg)
{
	struct scene *scene = arg;
	struct message message = message_of(1);

	CHECK_EQ(tine_queue_put(scene->queue, &message, sizeof(message), 0), 0);
}

void puts_one(void *arg)
{
	struct scene *scene = arg;
	struct message message = message_of(5);
	int err = tine_queue_put(scene->queue, &message, sizeof(message), tine_after(3));

	atomic_store(&scene->hand->returned, err ? err : 1);
}

void gets_one(void *arg)
{
	struct scene *scene = arg;
	struct hand *hand = scene->hand;
	ssize_t len = tine_queue_get(scene->queue, &hand->message, sizeof(hand->message),
				     tine_after(3));

	atomic_store(&hand->returned, len > 0 ? 1 : len);
}

void leases_one(void *arg)
{
	struct scene *scene = arg;
	struct hand *hand = scene->hand;
	ssize_t len = tine_queue_lease(scene->queue, &hand->message,
				       sizeof(hand->message), &hand->lease,
				       tine_after(100));

	atomic_store(&hand->returned, len > 0 ? 1 : len);
}

void lease_before(void *arg)
{
	struct scene *scene = arg;

	leases_one(arg);
	CHECK_EQ(scene->hand->message.id, 1);
}

void acks(void *arg)
{
	struct scene *scene = arg;

	CHECK_EQ(tine_queue_ack(scene->queue, scene->hand->lease), 0);
	atomic_store(&scene->hand->returned, 2);
}

void nacks(void *arg)
{
	struct scene *scene = arg;

	CHECK_EQ(tine_queue_nack(scene->queue, scene->hand->lease), 0);
	atomic_store(&scene->hand->returned, 2);
}

void closes(void *arg)
{
	struct scene *scene = arg;

	CHECK_EQ(tine_queue_close(scene->queue), 0);
}

void joins(void *arg)
{
	struct scene *scene = arg;

	CHECK_EQ(tine_queue_join(scene->queue), 0);
	atomic_store(&scene->hand->returned, 1);
}

void sweep_first(void *arg)
{
	struct scene *scene = arg;

	CHECK(member_self());
	members_sweep();
	/* Sits down without looking after anybody. */
	atomic_store(&scene->queue->tended, tine_now());
	sit(arg);
	atomic_store(&scene->queue->tended, 0);
}

void set_growth_stage(struct scene *scene)
{
	set_stage(scene);
	if (scene->queue->grows)
		CHECK_EQ(scene->queue->ring.mask + 1, FIRST);
}

void sit_and_join(void *arg)
{
	struct scene *scene = arg;

	register_member(arg);
	CHECK_EQ(tine_queue_join(scene->queue), 0);
}

void puts_another(void *arg)
{
	struct scene *scene = arg;
	struct message message = message_of(60);
	int err = tine_queue_put(scene->queue, &message, sizeof(message), TINE_NOWAIT);

	atomic_store(&scene->hand->returned, err ? err : 1);
}

void take_first(void *arg)
{
	struct scene *scene = arg;

	sit(arg);
	for (uint32_t id = 1; id <= scene->taken; id++)
		CHECK_EQ(next(scene, TINE_NOWAIT), id);
}

void trims(void *arg)
{
	struct scene *scene = arg;

	queue_trim(scene->queue);
	atomic_store(&scene->hand->returned, 1);
}

void leave_work(struct scene *scene)
{
	struct message message = message_of(4);
	pid_t pid;

	set_stage(scene);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		lease_before(scene);
		CHECK_EQ(tine_queue_put(scene->queue, &message, sizeof(message), 0), 0);
		kill(getpid(), SIGKILL);
	}
	CHECK_EQ(test_reap(pid), -SIGKILL);
	memset(scene->hand, 0, sizeof(*scene->hand));
}

void recovers(void *arg)
{
	struct scene *scene = arg;

	queue_tend(scene->queue, TINE_FOREVER);
	leases_one(arg);
}
