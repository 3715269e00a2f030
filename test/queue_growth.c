/* SPDX-License-Identifier: MIT */
/* Queues without a bound: what they hold, in which order, and in how much memory. */
#include "queue_use.h"

#include "memory/heap.h"
#include "queue/growth.h"

#include <poll.h>

#define MANY test_scaled(300000)

static unsigned count_rings(tine_queue *queue)
{
	struct ring ring;
	unsigned n = 0;

	while (queue_nth_ring(queue, n, &ring))
		n++;
	return n;
}

static void put_numbers(tine_queue *queue, int64_t from, int64_t to)
{
	for (int64_t i = from; i < to; i++)
		CHECK_EQ(put(queue, i, TINE_NOWAIT), 0);
}

static void get_numbers(tine_queue *queue, int64_t from, int64_t to)
{
	for (int64_t i = from; i < to; i++)
		CHECK_EQ(get(queue, TINE_NOWAIT), i);
}

TEST(a_put_waits_for_nobody_and_len_is_exact)
{
	tine_queue *queue = make(TINE_UNBOUNDED, 1);

	for (int64_t i = 1; i <= MANY; i++) {
		CHECK_EQ(put(queue, i, TINE_NOWAIT), 0);
		CHECK_EQ(tine_queue_len(queue), i);
	}
	CHECK(count_rings(queue) > 1);
	for (int64_t i = 1; i <= MANY; i++) {
		CHECK_EQ(get(queue, TINE_NOWAIT), i);
		CHECK_EQ(tine_queue_len(queue), MANY - i);
	}
	CHECK_EQ(get(queue, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_queue_drained(queue, TINE_NOWAIT), 0);
	tine_queue_free(queue);
}

TEST(many_at_once_go_over_the_ends_of_rings)
{
	tine_queue *queue = make(TINE_UNBOUNDED, 1);
	int64_t in[1000], out[1000], next = 1, got = 1;
	ssize_t n;

	for (int turn = 0; turn < 50; turn++) {
		for (int i = 0; i < 1000; i++)
			in[i] = next++;
		CHECK_EQ(tine_queue_put_many(queue, in, 1000, TINE_NOWAIT), 1000);
		/* So that both go over an end in the middle of a claim. */
		n = tine_queue_get_many(queue, out, 700, TINE_NOWAIT);
		CHECK(n > 0);
		for (int i = 0; i < n; i++)
			CHECK_EQ(out[i], got++);
	}
	while ((n = tine_queue_get_many(queue, out, 1000, TINE_NOWAIT)) > 0)
		for (int i = 0; i < n; i++)
			CHECK_EQ(out[i], got++);
	CHECK_EQ(n, -ETIMEDOUT);
	CHECK_EQ(got, next);
	tine_queue_free(queue);
}

/* ---- memory ------------------------------------------------------------------------ */

TEST(an_empty_one_takes_8_kib)
{
	static tine_queue *queues[300];
	size_t before = shared_used();

	for (int i = 0; i < 300; i++) {
		queues[i] = make_of(i % 2 ? 100 : 0, TINE_UNBOUNDED, 1);
		CHECK_EQ(tine_queue_join(queues[i]), 0);
	}
	printf("# %zu bytes each\n", (shared_used() - before) / 300);
	CHECK(shared_used() - before <= 300 * 8192);
	for (int i = 0; i < 300; i++)
		tine_queue_free(queues[i]);
	CHECK_EQ(shared_used(), before);
}

/* Until it has been looked after. */
static void wait_for_memory(tine_queue *queue, size_t used)
{
	int64_t deadline = SOON;

	while (shared_used() > used) {
		CHECK(tine_now() < deadline);
		CHECK_EQ(get(queue, TINE_NOWAIT), -ETIMEDOUT);
		test_sleep_us(1000);
	}
}

TEST(the_memory_is_given_back_as_it_is_emptied)
{
	tine_queue *queue = make(TINE_UNBOUNDED, 1);
	size_t used, full;

	put_numbers(queue, 1, 2);
	get_numbers(queue, 1, 2);
	used = shared_used();
	for (int turn = 0; turn < 3; turn++) {
		put_numbers(queue, 1, MANY);
		full = shared_used();
		CHECK(full - used >= (size_t)MANY * 16);
		get_numbers(queue, 1, MANY * 9 / 10);
		CHECK(shared_used() < full - (full - used) / 10);
		get_numbers(queue, MANY * 9 / 10, MANY);
		wait_for_memory(queue, used);
	}
	tine_queue_free(queue);
}

static void get_first_and_stop(void *arg)
{
	struct holder *holder = arg;
	tine_queue *queue = holder->queue;
	struct desk *desk;
	struct ring ring;
	uint64_t head;

	CHECK_EQ(tine_queue_join(queue), 0);
	desk = desk_at(queue, member_index(member_id()));
	head = queue_front(queue, &ring);
	atomic_store(&desk->getting, claim_of(head, 1));
	atomic_store(&queue->head, head + 1);
	atomic_fetch_add(&holder->held, 1);
	wait_for(&holder->go, 1);
	CHECK_EQ(*(int64_t *)cell_in(&ring, head)->data, 1);
	atomic_store(&cell_in(&ring, head)->word, freed_in(&ring, head));
}

/* Its ring stays, and no other. */
TEST(who_is_stopped_in_a_get_keeps_one_ring)
{
	struct holder *holder = make_holder(TINE_UNBOUNDED, 2);
	tine_queue *queue = holder->queue;
	size_t used;
	pid_t pid;

	put_numbers(queue, 1, 2);
	used = shared_used();
	pid = start_holder(holder, get_first_and_stop);
	for (int64_t i = 2; i < MANY; i++) {
		CHECK_EQ(put(queue, i, TINE_NOWAIT), 0);
		if (i % 1000 == 0)
			get_numbers(queue, i == 1000 ? 2 : i - 999, i + 1);
	}
	CHECK(shared_used() - used < (size_t)1 << 18);
	while (get(queue, TINE_NOWAIT) > 0)
		;
	CHECK(count_rings(queue) >= 2);
	atomic_store(&holder->go, 1);
	CHECK_EQ(test_reap(pid), 0);
	wait_for_memory(queue, used);
	CHECK_EQ(count_rings(queue), 1);
	free_holder(holder);
}

TEST(when_memory_is_out_a_put_says_so)
{
	tine_queue *queue = make(TINE_UNBOUNDED, 1);
	int64_t numbers[100] = { 0 }, n = 1;
	int err;

	CHECK_EQ(put(queue, n++, TINE_NOWAIT), 0);
	test_fail_allocation(1);
	while ((err = put(queue, n, TINE_NOWAIT)) == 0)
		n++;
	CHECK(test_allocation_failed());
	CHECK_EQ(err, -ENOMEM);
	test_fail_allocation(1);
	CHECK_EQ(tine_queue_put_many(queue, numbers, 100, TINE_FOREVER), -ENOMEM);
	test_fail_allocation(0);
	/* As many as there was room for, and then the error. */
	get_numbers(queue, 1, 6);
	test_fail_allocation(1);
	CHECK_EQ(tine_queue_put_many(queue, numbers, 100, TINE_FOREVER), 5);
	test_fail_allocation(0);
	CHECK_EQ(put(queue, n, TINE_NOWAIT), 0);
	get_numbers(queue, 6, n);
	tine_queue_free(queue);
}

TEST(one_that_is_full_is_freed_with_all_that_is_in_it)
{
	size_t used = shared_used();
	tine_queue *queue = make_of(0, TINE_UNBOUNDED, 1);
	char text[1000] = "x";

	for (int i = 0; i < 2000; i++)
		CHECK_EQ(tine_queue_put(queue, text, i % 1000 + 1, TINE_NOWAIT), 0);
	CHECK(count_rings(queue) > 1);
	tine_queue_free(queue);
	CHECK_EQ(shared_used(), used);
}

/* ---- what else a queue does -------------------------------------------------------- */

TEST(leases_of_messages_in_many_rings)
{
	tine_queue *queue = make(TINE_UNBOUNDED, 1);
	tine_lease ids[500];

	put_numbers(queue, 1, 5001);
	for (int64_t i = 0; i < 500; i++)
		CHECK_EQ(lease(queue, &ids[i], TINE_NOWAIT), i + 1);
	for (int i = 0; i < 500; i++) {
		if (i % 2)
			CHECK_EQ(tine_queue_ack(queue, ids[i]), 0);
		else
			CHECK_EQ(tine_queue_nack(queue, ids[i]), 0);
	}
	for (int i = 0; i < 250; i++)
		CHECK(get(queue, TINE_NOWAIT) <= 500);
	get_numbers(queue, 501, 5001);
	CHECK_EQ(tine_queue_drained(queue, TINE_NOWAIT), 0);
	CHECK_EQ(tine_queue_close(queue), 0);
	ended(queue);
	tine_queue_free(queue);
}

static void lease_many_and_die(void *arg)
{
	tine_queue *queue = arg;
	tine_lease id;

	for (int64_t i = 1; i <= 100; i++)
		CHECK_EQ(lease(queue, &id, TINE_NOWAIT), i);
}

static void get_and_die(void *arg)
{
	struct holder *holder = arg;
	tine_queue *queue = holder->queue;
	struct desk *desk;

	CHECK_EQ(get(queue, TINE_NOWAIT), 1);
	desk = desk_at(queue, member_index(member_id()));
	atomic_store(&desk->getting, claim_of(atomic_load(&queue->head), 3));
	atomic_fetch_add(&queue->head, 3);
}

/* In whatever order. */
static void take_each(tine_queue *queue, int64_t first, int64_t last)
{
	bool seen[1001] = { false };

	for (int64_t i = first; i <= last; i++) {
		int64_t number = get(queue, SOON);

		CHECK(number >= first && number <= last && !seen[number]);
		seen[number] = true;
	}
}

TEST(what_the_dead_had_comes_back)
{
	struct holder *holder = make_holder(TINE_UNBOUNDED, 1);
	tine_queue *queue = make(TINE_UNBOUNDED, 1);

	put_numbers(queue, 1, 1001);
	in_a_child(lease_many_and_die, queue);
	take_each(queue, 1, 1000);
	CHECK_EQ(tine_queue_drained(queue, SOON), 0);
	tine_queue_free(queue);
	/* In the first ring, when the others are in the last. */
	put_numbers(holder->queue, 1, 1001);
	CHECK_EQ(test_reap(test_fork(get_and_die, holder)), 0);
	take_each(holder->queue, 2, 1000);
	CHECK_EQ(get(holder->queue, TINE_NOWAIT), -ETIMEDOUT);
	free_holder(holder);
}

TEST(long_messages_in_place_in_many_rings)
{
	tine_queue *queue = make_of(0, TINE_UNBOUNDED, 1);
	const void *msg;
	void *mem;

	for (int i = 0; i < 3000; i++) {
		size_t len = i % 3 ? 100 : 10;

		CHECK_EQ(tine_queue_reserve(queue, len, &mem), 0);
		memset(mem, i, len);
		CHECK_EQ(tine_queue_commit(queue, mem, len, TINE_NOWAIT), 0);
	}
	for (int i = 0; i < 3000; i++) {
		ssize_t len = tine_queue_take(queue, &msg, TINE_NOWAIT);

		CHECK_EQ(len, i % 3 ? 100 : 10);
		CHECK_EQ(*(const unsigned char *)msg, (unsigned char)i);
		CHECK_EQ(tine_queue_release(queue, msg), 0);
	}
	tine_queue_free(queue);
}

TEST(there_is_always_room)
{
	tine_queue *queue = make(TINE_UNBOUNDED, 1);
	tine_waiter *waiter;
	struct pollfd poll_fd = { .events = POLLIN };

	put_numbers(queue, 1, 1001);
	CHECK_EQ(tine_waiter_new(&waiter), 0);
	poll_fd.fd = tine_waiter_fd(waiter);
	CHECK_EQ(tine_waiter_arm_room(waiter, queue), 0);
	CHECK_EQ(poll(&poll_fd, 1, 20000), 1);
	tine_waiter_free(waiter);
	tine_queue_free(queue);
}

/* Whoever had it grow has not put yet, and nobody looks for another message. */
TEST(it_is_drained_at_the_end_of_a_ring)
{
	tine_queue *queue = make(TINE_UNBOUNDED, 1);
	int64_t n = (int64_t)queue->ring.mask + 2;

	put_numbers(queue, 1, n);
	CHECK_EQ(queue_grow(queue, TINE_NOWAIT), 0);
	CHECK_EQ(count_rings(queue), 2);
	get_numbers(queue, 1, n);
	/* Which would look after it. */
	atomic_store(&queue->tended, tine_now() + 1000000000);
	CHECK_EQ(tine_queue_drained(queue, TINE_NOWAIT), 0);
	CHECK_EQ(tine_queue_close(queue), 0);
	ended(queue);
	tine_queue_free(queue);
}

static void put_and_end(void *queue)
{
	put_numbers(queue, 1, 1001);
}

TEST(the_stream_ends_when_its_producers_have_died)
{
	tine_queue *queue = make(TINE_UNBOUNDED, 1);

	in_a_child(put_and_end, queue);
	get_numbers(queue, 1, 1001);
	get_the_end(queue);
	ended(queue);
	tine_queue_free(queue);
}
