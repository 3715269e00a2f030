/* SPDX-License-Identifier: MIT */
/* What the tests of the queue have in common. */
#ifndef TINE_TEST_QUEUE_USE_H
#define TINE_TEST_QUEUE_USE_H

#include "test.h"

#include "queue/mend.h"

/* Far longer than anything takes, and longer than sleepers leave the dead be. */
#define SOON	 tine_after(20000)
#define LONG_NAP 250000 /* microseconds */

static const size_t capacities[] = { 1, 2, 3, 7, 1024, TINE_UNBOUNDED };
#define TRAFFIC_CAPACITIES (sizeof(capacities) / sizeof(*capacities))
#define CAPACITIES	   (TRAFFIC_CAPACITIES - 1) /* where they are to be filled */

struct message {
	uint32_t producer, number;
};

/* Numbers that begin with 1 are most of the messages here: 0 is the end of the stream. */
static inline int put(tine_queue *queue, int64_t number, int64_t deadline)
{
	return tine_queue_put(queue, &number, sizeof(number), deadline);
}

static inline int64_t get(tine_queue *queue, int64_t deadline)
{
	int64_t number = 0;
	ssize_t len = tine_queue_get(queue, &number, sizeof(number), deadline);

	return len > 0 ? number : len;
}

static inline int64_t lease(tine_queue *queue, tine_lease *id, int64_t deadline)
{
	int64_t number = 0;
	ssize_t len = tine_queue_lease(queue, &number, sizeof(number), id, deadline);

	return len > 0 ? number : len;
}

static inline tine_queue *make_of(size_t max_len, size_t capacity, unsigned producers)
{
	tine_queue_opts opts = { .capacity = capacity, .producers = producers };
	tine_queue *queue = NULL;

	CHECK_EQ(tine_queue_new(&queue, max_len, &opts), 0);
	CHECK(queue);
	return queue;
}

static inline tine_queue *make(size_t capacity, unsigned producers)
{
	return make_of(sizeof(int64_t), capacity, producers);
}

static inline void wait_for_len(tine_queue *queue, size_t len)
{
	int64_t deadline = SOON;

	while (tine_queue_len(queue) != len) {
		CHECK(tine_now() < deadline);
		test_sleep_us(200);
	}
}

static inline void wait_for(_Atomic int *word, int value)
{
	int64_t deadline = SOON;

	while (atomic_load(word) < value) {
		CHECK(tine_now() < deadline);
		test_sleep_us(200);
	}
}

static inline void in_a_child(void (*fn)(void *), tine_queue *queue)
{
	CHECK_EQ(test_reap(test_fork(fn, queue)), 0);
}

static inline void not_ended(tine_queue *queue)
{
	CHECK_EQ(get(queue, tine_after(LONG_NAP / 1000)), -ETIMEDOUT);
}

static inline void ended(tine_queue *queue)
{
	int64_t number = 99;
	tine_lease id = 99;

	for (int i = 0; i < 2; i++) {
		CHECK_EQ(tine_queue_get(queue, &number, 8, SOON), 0);
		CHECK_EQ(tine_queue_get(queue, NULL, 0, TINE_NOWAIT), 0);
		CHECK_EQ(tine_queue_get_many(queue, &number, 1, SOON), 0);
		CHECK_EQ(tine_queue_lease(queue, &number, 8, &id, SOON), 0);
	}
	CHECK_EQ(number, 99);
	CHECK_EQ(id, 99);
	CHECK_EQ(put(queue, 1, TINE_FOREVER), -EPIPE);
	CHECK_EQ(tine_queue_put_many(queue, &number, 1, TINE_FOREVER), -EPIPE);
}

static inline void close_it(void *queue)
{
	CHECK_EQ(tine_queue_close(queue), 0);
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), -EPIPE);
}

static inline void get_the_end(void *queue)
{
	CHECK_EQ(get(queue, SOON), 0);
}

static inline void put_until_the_end(void *queue)
{
	CHECK_EQ(put(queue, 1, SOON), -EPIPE);
}

struct holder {
	tine_queue *queue;
	_Atomic int held;
	tine_lease id;
	_Atomic int go;
	int64_t number;
};

static inline void hold(struct holder *holder)
{
	holder->number = lease(holder->queue, &holder->id, SOON);
	CHECK(holder->number > 0);
	atomic_fetch_add(&holder->held, 1);
}

static inline void hold_and_stay(void *holder)
{
	hold(holder);
	pause();
}

static inline pid_t start_holder(struct holder *holder, void (*fn)(void *))
{
	int held = atomic_load(&holder->held);
	pid_t pid = test_fork(fn, holder);

	wait_for(&holder->held, held + 1);
	return pid;
}

static inline void hold_then_ack(void *arg)
{
	struct holder *holder = arg;

	hold(holder);
	wait_for(&holder->go, 1);
	CHECK_EQ(tine_queue_ack(holder->queue, holder->id), 0);
	CHECK_EQ(tine_queue_ack(holder->queue, holder->id), -ENOENT);
}

static inline struct holder *make_holder(size_t capacity, unsigned producers)
{
	struct holder *holder = tine_shared_new(1, sizeof(*holder));

	CHECK(holder);
	holder->queue = make(capacity, producers);
	return holder;
}

static inline void free_holder(struct holder *holder)
{
	tine_queue_free(holder->queue);
	tine_shared_free(holder);
}

#endif
