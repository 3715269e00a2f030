/* SPDX-License-Identifier: MIT */
/*
 * Death of producers, consumers and sleepers: at every instruction of each call, and at
 * random, with an account of every message.
 */
#include "memory/heap.h"
#include "queue/growth.h"
#include "queue/mend.h"
#include "step.h"

#include <limits.h>

#define WAIT_MS 20000 /* until a survivor counts as blocked */

/* ---- at every instruction ---------------------------------------------------------- */

struct message {
	uint32_t id;
	uint32_t inverse; /* ~id: torn messages show */
};

/* In the family's memory: what the one that dies had done. */
struct hand {
	struct message message;
	tine_lease lease;
	_Atomic int returned; /* the call did, with 1 for success */
	_Atomic uint32_t seen;
};

struct scene {
	tine_queue *queue;
	struct hand *hand;
	tine_queue_opts opts;
	uint32_t waiting; /* messages 1, 2 ... put by this process before each life */
	uint32_t taken;	  /* of these, by the one that dies, before it is in the call */
	const struct life *life;
	bool goes_on; /* who died was no producer yet: no end is to come */
	long step, counted;
};

/* As struct steps. */
struct life {
	void (*before)(void *);
	void (*fn)(void *);
	void (*check)(struct scene *);
	void (*set)(struct scene *);
	bool leaves_nothing; /* of the family's memory, when the queue is freed */
};

static struct message message_of(uint32_t id)
{
	return (struct message){ id, ~id };
}

static void set_stage(struct scene *scene)
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

/* The next message: its id; 0: the end; negative: an error. */
static int64_t next(struct scene *scene, int64_t deadline)
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

static void expect(struct scene *scene, int64_t value, int64_t expected, const char *what)
{
	if (value != expected)
		test_fail(__FILE__, __LINE__, "step %ld: %s: %lld, not %lld", scene->step,
			  what, (long long)value, (long long)expected);
}

/* That all still works: a message of ours goes through, whatever comes before it. */
static unsigned drain(struct scene *scene, uint64_t *ids)
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

static bool cells_are_free(tine_queue *queue)
{
	struct ring ring;

	for (unsigned n = 0; queue_nth_ring(queue, n, &ring); n++)
		for (uint64_t i = 0; i <= ring.mask; i++)
			if (word_state(cell_in(&ring, i)->word) != FREE)
				return false;
	return true;
}

/* Everything is where it was at first. */
static void check_whole(struct scene *scene)
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

/* The same, where no message may come twice. */
static uint64_t drain_once(struct scene *scene)
{
	uint64_t ids;
	unsigned n = drain(scene, &ids);

	expect(scene, n, __builtin_popcountll(ids), "messages that came twice");
	return ids;
}

/* The test process puts once in each scene, so it has to close as well. */
static void expect_end(struct scene *scene)
{
	int64_t before = next(scene, tine_after(2));

	expect(scene, before, -ETIMEDOUT, "the end, before we close");
	expect(scene, tine_queue_close(scene->queue), 0, "close");
	expect(scene, next(scene, tine_after(WAIT_MS)), 0, "the end");
	check_whole(scene);
}

/* What is left is the queue's: all the memory goes with it. */
static void free_stage(struct scene *scene)
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

static void run_scene(struct scene *scene, const struct life *life, long least)
{
	const struct steps steps = { life->before, life->fn, after_life };
	long n;

	scene->life = life;
	scene->hand = tine_shared_new(1, sizeof(*scene->hand));
	CHECK(scene->hand && member_self());
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

static void register_member(void *arg)
{
	struct scene *scene = arg;

	(void)scene;
	CHECK(member_self());
}

/* Sits down, by a call that changes nothing. */
static void sit(void *arg)
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

static void sit_as_producer(void *arg)
{
	struct scene *scene = arg;
	struct message message = message_of(1);

	CHECK_EQ(tine_queue_put(scene->queue, &message, sizeof(message), 0), 0);
}

static void puts_one(void *arg)
{
	struct scene *scene = arg;
	struct message message = message_of(5);
	int err = tine_queue_put(scene->queue, &message, sizeof(message), tine_after(3));

	atomic_store(&scene->hand->returned, err ? err : 1);
}

static void check_put(struct scene *scene)
{
	uint64_t ids;

	drain(scene, &ids);
	if (atomic_load(&scene->hand->returned) == 1)
		expect(scene, ids >> 5 & 1, 1, "what put returned for");
	expect(scene, ids >> 1 & 1, 1, "what was put before");
	scene->counted += ids >> 5 & 1;
}

TEST_LIMIT(killed_at_every_step_of_put, 120)
{
	struct scene scene = { .opts = { .capacity = 4, .producers = 2 } };

	run_scene(
		&scene,
		&(struct life){ sit_as_producer, puts_one, check_put, set_stage, false },
		50);
}

/* Whether a desk says so. */
static bool has_producer(const struct scene *scene)
{
	for (unsigned i = 0; i < DESK_GROUP; i++) {
		const struct desk *desk = desk_at(scene->queue, i);

		if (desk && atomic_load(&desk->member) && atomic_load(&desk->role) != 0)
			return true;
	}
	return false;
}

static void check_first_put(struct scene *scene)
{
	bool produced = has_producer(scene);
	uint64_t ids;

	drain(scene, &ids);
	if (atomic_load(&scene->hand->returned) == 1)
		expect(scene, ids >> 5 & 1, 1, "what put returned for");
	scene->counted += ids >> 5 & 1;
	scene->goes_on = !produced;
	CHECK(shared_in_use(desk_at(scene->queue, 0)));
}

TEST_LIMIT(killed_at_every_step_of_the_first_put, 120)
{
	struct scene scene = { .opts = { .capacity = 4, .producers = 2 } };

	run_scene(&scene,
		  &(struct life){ register_member, puts_one, check_first_put, set_stage,
				  true },
		  200);
}

TEST_LIMIT(killed_at_every_step_of_a_put_that_sleeps, 120)
{
	struct scene scene = { .opts = { .capacity = 1, .producers = 2 } };

	run_scene(
		&scene,
		&(struct life){ sit_as_producer, puts_one, check_put, set_stage, false },
		300);
}

static void puts_many(void *arg)
{
	struct scene *scene = arg;
	struct message messages[3];

	for (uint32_t i = 0; i < 3; i++)
		messages[i] = message_of(5 + i);
	atomic_store(&scene->hand->returned,
		     tine_queue_put_many(scene->queue, messages, 3, tine_after(100)));
}

static void check_put_many(struct scene *scene)
{
	uint64_t ids;

	drain(scene, &ids);
	if (atomic_load(&scene->hand->returned) == 3)
		expect(scene, ids >> 5 & 7, 7, "what put_many returned for");
	/* The first of them, in order: none later without those before. */
	ids = ids >> 5 & 7;
	expect(scene, (ids & (ids + 1)), 0, "an earlier message is missing");
	scene->counted += ids != 0;
}

TEST_LIMIT(killed_at_every_step_of_put_many, 120)
{
	struct scene scene = { .opts = { .capacity = 8, .producers = 2 } };

	run_scene(&scene,
		  &(struct life){ sit_as_producer, puts_many, check_put_many, set_stage,
				  false },
		  100);
}

static void gets_one(void *arg)
{
	struct scene *scene = arg;
	struct hand *hand = scene->hand;
	ssize_t len = tine_queue_get(scene->queue, &hand->message, sizeof(hand->message),
				     tine_after(3));

	atomic_store(&hand->returned, len > 0 ? 1 : len);
}

/* Each message is at one place: here once, or in the hand of the dead. */
static void check_get(struct scene *scene)
{
	struct message *held = &scene->hand->message;
	uint64_t ids = drain_once(scene);
	if (atomic_load(&scene->hand->returned) == 1)
		expect(scene, ids >> held->id & 1, 0, "what get returned, once more");
	for (uint32_t id = scene->taken + 1; id <= scene->waiting; id++)
		if (!(ids >> id & 1)) {
			expect(scene, held->id, id, "a message nobody has");
			expect(scene, held->inverse, ~id, "its other half");
			scene->counted++;
		}
}

TEST_LIMIT(killed_at_every_step_of_get, 120)
{
	struct scene scene = { .opts = { .capacity = 4 }, .waiting = 2 };

	run_scene(&scene, &(struct life){ sit, gets_one, check_get, set_stage, false },
		  50);
}

TEST_LIMIT(killed_at_every_step_of_a_get_that_sleeps, 120)
{
	struct scene scene = { .opts = { .capacity = 4 } };

	run_scene(&scene, &(struct life){ sit, gets_one, check_get, set_stage, false },
		  300);
}

static void gets_many(void *arg)
{
	struct scene *scene = arg;
	struct message *messages = tine_shared_new(2, sizeof(*messages));

	CHECK_EQ(tine_queue_get_many(scene->queue, messages, 2, tine_after(100)), 2);
	atomic_store(&scene->hand->returned, 2);
}

/* Of two that it was taking, those that it had not yet taken come back. */
static void check_get_many(struct scene *scene)
{
	uint64_t ids = drain_once(scene);
	expect(scene, ids >> 3 & 1, 1, "the third");
	if (atomic_load(&scene->hand->returned) == 2)
		expect(scene, ids, 8, "what get_many returned, once more");
	/* They are let go in order. */
	if (ids >> 1 & 1)
		expect(scene, ids >> 2 & 1, 1, "the second, where the first is");
	scene->counted += !(ids >> 1 & 1);
}

TEST_LIMIT(killed_at_every_step_of_get_many, 120)
{
	struct scene scene = { .opts = { .capacity = 4 }, .waiting = 3 };

	run_scene(&scene,
		  &(struct life){ sit, gets_many, check_get_many, set_stage, false },
		  100);
}

static void leases_one(void *arg)
{
	struct scene *scene = arg;
	struct hand *hand = scene->hand;
	ssize_t len = tine_queue_lease(scene->queue, &hand->message,
				       sizeof(hand->message), &hand->lease,
				       tine_after(100));

	atomic_store(&hand->returned, len > 0 ? 1 : len);
}

/* The first lease makes the boxes, in hundreds of instructions that allocate memory. */
static void sit_with_boxes(void *arg)
{
	struct scene *scene = arg;
	struct message message;
	tine_lease lease;

	CHECK_EQ(tine_queue_lease(scene->queue, &message, 1, &lease, 0), -EMSGSIZE);
}

static void check_lease(struct scene *scene)
{
	uint64_t ids;
	unsigned n;

	n = drain(scene, &ids);
	expect(scene, n, scene->waiting, "messages, none of them acked");
	expect(scene, ids, (UINT64_C(2) << scene->waiting) - 2, "these");
}

TEST_LIMIT(killed_at_every_step_of_lease, 120)
{
	struct scene scene = { .opts = { .capacity = 4 }, .waiting = 2 };

	run_scene(&scene,
		  &(struct life){ sit_with_boxes, leases_one, check_lease, set_stage,
				  false },
		  100);
}

static void lease_before(void *arg)
{
	struct scene *scene = arg;

	leases_one(arg);
	CHECK_EQ(scene->hand->message.id, 1);
}

static void acks(void *arg)
{
	struct scene *scene = arg;

	CHECK_EQ(tine_queue_ack(scene->queue, scene->hand->lease), 0);
	atomic_store(&scene->hand->returned, 2);
}

static void check_ack(struct scene *scene)
{
	uint64_t ids = drain_once(scene);
	expect(scene, ids & ~UINT64_C(2), 4, "the other message");
	if (atomic_load(&scene->hand->returned) == 2)
		expect(scene, ids >> 1 & 1, 0, "an acked message");
	scene->counted += ids >> 1 & 1;
}

TEST_LIMIT(killed_at_every_step_of_ack, 120)
{
	struct scene scene = { .opts = { .capacity = 4 }, .waiting = 2 };

	run_scene(&scene,
		  &(struct life){ lease_before, acks, check_ack, set_stage, false }, 30);
}

static void nacks(void *arg)
{
	struct scene *scene = arg;

	CHECK_EQ(tine_queue_nack(scene->queue, scene->hand->lease), 0);
	atomic_store(&scene->hand->returned, 2);
}

/* Once, whether the call or the death has brought it back. */
static void check_nack(struct scene *scene)
{
	uint64_t ids;

	expect(scene, drain(scene, &ids), 2, "messages");
	expect(scene, ids, 6, "these");
}

TEST_LIMIT(killed_at_every_step_of_nack, 120)
{
	struct scene scene = { .opts = { .capacity = 4 }, .waiting = 2 };

	run_scene(&scene,
		  &(struct life){ lease_before, nacks, check_nack, set_stage, false },
		  100);
}

/* Of a lease that has run out, and whose holder lives: this process. */
static void leave_a_lease(struct scene *scene)
{
	struct message message;

	scene->opts.lease_ms = 1;
	set_stage(scene);
	CHECK(tine_queue_lease(scene->queue, &message, sizeof(message),
			       &scene->hand->lease, 0) > 0);
	test_sleep_us(2000);
}

static void sweep_first(void *arg)
{
	struct scene *scene = arg;

	CHECK(member_self());
	members_sweep();
	/* Sits down without looking after anybody. */
	atomic_store(&scene->queue->tended, tine_now());
	sit(arg);
	atomic_store(&scene->queue->tended, 0);
}

static void ends_leases(void *arg)
{
	struct scene *scene = arg;

	queue_tend(scene->queue, TINE_FOREVER);
}

static void check_lease_ended(struct scene *scene)
{
	uint64_t ids;

	expect(scene, drain(scene, &ids), 2, "messages");
	expect(scene, ids, 6, "these");
	CHECK_EQ(tine_queue_ack(scene->queue, scene->hand->lease), -ENOENT);
	expect(scene, count_leases(desk_at(scene->queue, member_index(member_id()))), 0,
	       "leases");
}

TEST_LIMIT(killed_at_every_step_of_the_end_of_a_lease, 240)
{
	struct scene scene = { .opts = { .capacity = 4 }, .waiting = 2 };

	run_scene(&scene,
		  &(struct life){ sweep_first, ends_leases, check_lease_ended,
				  leave_a_lease, false },
		  100);
}

/* ---- messages of any length -------------------------------------------------------- */

#define LONG 200

struct depot {
	tine_queue *queue;
	tine_lease lease;
	_Atomic int returned;
	size_t used;	  /* of the family's memory, without a queue */
	bool may_be_lost; /* the message that was there before, by what the call does */
};

static void put_of(tine_queue *queue, int id)
{
	char text[LONG];

	memset(text, id, sizeof(text));
	CHECK_EQ(tine_queue_put(queue, text, sizeof(text), TINE_NOWAIT), 0);
}

/* How many of each of ids 1 to 9 there are; none is torn. */
static void count_ids(struct depot *depot, long step, unsigned ids[10])
{
	char text[LONG];
	ssize_t len;

	memset(ids, 0, 10 * sizeof(*ids));
	while ((len = tine_queue_get(depot->queue, text, sizeof(text), tine_after(3))) >
	       0) {
		CHECK_EQ(len, LONG);
		for (int i = 1; i < LONG; i++)
			if (text[i] != text[0])
				test_fail(__FILE__, __LINE__, "step %ld: torn", step);
		CHECK(text[0] > 0 && text[0] < 10);
		ids[(int)text[0]]++;
	}
	CHECK_EQ(len, -ETIMEDOUT);
}

static void set_depot(struct depot *depot)
{
	tine_queue_opts opts = { .capacity = 4, .producers = 1000 };
	char text[LONG];

	atomic_store(&depot->returned, 0);
	CHECK_EQ(tine_queue_new(&depot->queue, 0, &opts), 0);
	depot->queue->spins = 0;
	/* Makes the boxes. */
	put_of(depot->queue, 9);
	CHECK_EQ(tine_queue_lease(depot->queue, text, sizeof(text), &depot->lease,
				  TINE_NOWAIT),
		 LONG);
	CHECK_EQ(tine_queue_ack(depot->queue, depot->lease), 0);
	put_of(depot->queue, 1);
}

static void after_long(void *arg, long step)
{
	struct depot *depot = arg;
	int64_t deadline = tine_after(WAIT_MS);
	unsigned ids[10];

	members_sweep();
	put_of(depot->queue, 2);
	count_ids(depot, step, ids);
	CHECK_EQ(ids[2], 1);
	CHECK(ids[5] <= 1 && ids[1] <= 1);
	if (atomic_load(&depot->returned) == 5)
		CHECK_EQ(ids[5], 1);
	if (!depot->may_be_lost)
		CHECK_EQ(ids[1], 1);
	else if (atomic_load(&depot->returned) == 1)
		CHECK_EQ(ids[1], 0);
	tine_queue_free(depot->queue);
	/* No block is lost, whoever had it. */
	while (shared_used() != depot->used) {
		if (tine_now() > deadline)
			test_fail(__FILE__, __LINE__, "step %ld: %zd bytes are lost",
				  step, (ssize_t)(shared_used() - depot->used));
		members_sweep();
	}
	set_depot(depot);
}

static void puts_long(void *arg)
{
	struct depot *depot = arg;

	put_of(depot->queue, 5);
	atomic_store(&depot->returned, 5);
}

static void commits_long(void *arg)
{
	struct depot *depot = arg;
	void *mem;

	CHECK_EQ(tine_queue_reserve(depot->queue, LONG, &mem), 0);
	memset(mem, 5, LONG);
	CHECK_EQ(tine_queue_commit(depot->queue, mem, LONG, TINE_NOWAIT), 0);
	atomic_store(&depot->returned, 5);
}

static void takes_long(void *arg)
{
	struct depot *depot = arg;
	const void *msg;

	CHECK_EQ(tine_queue_take(depot->queue, &msg, TINE_NOWAIT), LONG);
	atomic_store(&depot->returned, 1);
	CHECK_EQ(tine_queue_release(depot->queue, msg), 0);
}

static void gets_long(void *arg)
{
	struct depot *depot = arg;
	char text[LONG];

	CHECK_EQ(tine_queue_get(depot->queue, text, LONG, TINE_NOWAIT), LONG);
	atomic_store(&depot->returned, 1);
}

static void leases_long(void *arg)
{
	struct depot *depot = arg;
	char text[LONG];

	CHECK_EQ(tine_queue_lease(depot->queue, text, LONG, &depot->lease, TINE_NOWAIT),
		 LONG);
}

static void acks_long(void *arg)
{
	struct depot *depot = arg;

	CHECK_EQ(tine_queue_ack(depot->queue, depot->lease), 0);
	atomic_store(&depot->returned, 1);
}

static void sit_at_depot(void *arg)
{
	struct depot *depot = arg;

	CHECK(member_self());
	CHECK_EQ(tine_queue_get(depot->queue, NULL, 0, TINE_NOWAIT), -EMSGSIZE);
}

static void run_depot(void (*before)(void *), void (*fn)(void *), bool may_be_lost)
{
	struct depot *depot = tine_shared_new(1, sizeof(*depot));

	CHECK(depot && member_self());
	depot->may_be_lost = may_be_lost;
	/* Makes the library's own tables. */
	set_depot(depot);
	tine_queue_free(depot->queue);
	depot->used = shared_used();
	set_depot(depot);
	CHECK(test_kill_each_step(&(struct steps){ before, fn, after_long }, depot) >
	      100);
	_exit(0);
}

TEST_LIMIT(killed_at_every_step_of_a_long_put, 240)
{
	run_depot(sit_at_depot, puts_long, false);
}

TEST_LIMIT(killed_at_every_step_of_reserve_and_commit, 240)
{
	run_depot(sit_at_depot, commits_long, false);
}

TEST_LIMIT(killed_at_every_step_of_take_and_release, 240)
{
	run_depot(sit_at_depot, takes_long, true);
}

TEST_LIMIT(killed_at_every_step_of_a_long_get, 240)
{
	run_depot(sit_at_depot, gets_long, true);
}

TEST_LIMIT(killed_at_every_step_of_a_long_lease, 240)
{
	run_depot(sit_at_depot, leases_long, false);
}

TEST_LIMIT(killed_at_every_step_of_the_ack_of_a_long_lease, 240)
{
	run_depot(leases_long, acks_long, true);
}

/* ------------------------------------------------------------------------------------ */

static void closes(void *arg)
{
	struct scene *scene = arg;

	CHECK_EQ(tine_queue_close(scene->queue), 0);
}

static void check_close(struct scene *scene)
{
	expect(scene, next(scene, tine_after(WAIT_MS)), 1, "the message");
	/* Once, and not twice: of two producers the other is to close yet. */
}

TEST_LIMIT(killed_at_every_step_of_close, 120)
{
	struct scene scene = { .opts = { .capacity = 4, .producers = 2 } };

	run_scene(
		&scene,
		&(struct life){ sit_as_producer, closes, check_close, set_stage, false },
		50);
}

static void joins(void *arg)
{
	struct scene *scene = arg;

	CHECK_EQ(tine_queue_join(scene->queue), 0);
	atomic_store(&scene->hand->returned, 1);
}

/* Once it has returned, or the desk says so, it counts. */
static void check_join(struct scene *scene)
{
	bool joined = atomic_load(&scene->hand->returned) == 1 || has_producer(scene);
	uint64_t ids;

	drain(scene, &ids);
	expect(scene, (int64_t)ids, 0, "messages");
	scene->counted += joined;
	scene->goes_on = !joined;
}

TEST_LIMIT(killed_at_every_step_of_join, 120)
{
	struct scene scene = { .opts = { .capacity = 4, .producers = 2 } };

	run_scene(&scene,
		  &(struct life){ register_member, joins, check_join, set_stage, false },
		  100);
}

/* ---- in the growth of a queue ------------------------------------------------------ */

#define FIRST 32 /* messages in its first ring */

static void set_growth_stage(struct scene *scene)
{
	set_stage(scene);
	if (scene->queue->grows)
		CHECK_EQ(scene->queue->ring.mask + 1, FIRST);
}

static void join_first(void *arg)
{
	struct scene *scene = arg;

	register_member(arg);
	CHECK_EQ(tine_queue_join(scene->queue), 0);
}

static void puts_another(void *arg)
{
	struct scene *scene = arg;
	struct message message = message_of(60);
	int err = tine_queue_put(scene->queue, &message, sizeof(message), TINE_NOWAIT);

	atomic_store(&scene->hand->returned, err ? err : 1);
}

/* It is there if the call has said so. */
static void expect_another(struct scene *scene, uint64_t ids)
{
	if (atomic_load(&scene->hand->returned) != 0) {
		expect(scene, atomic_load(&scene->hand->returned), 1, "put");
		expect(scene, ids >> 60 & 1, 1, "what put returned for");
	}
	scene->counted += ids >> 60 & 1;
}

static void check_growth(struct scene *scene)
{
	uint64_t ids = drain_once(scene);
	expect(scene, (ids >> 1) & UINT32_MAX, UINT32_MAX, "those that were there");
	expect_another(scene, ids);
}

TEST_LIMIT(killed_at_every_step_of_growth, 240)
{
	struct scene scene = { .opts = { .capacity = TINE_UNBOUNDED, .producers = 2 },
			       .waiting = FIRST };

	run_scene(&scene,
		  &(struct life){ join_first, puts_another, check_growth,
				  set_growth_stage, true },
		  300);
}

/* Two are in the middle of a put and of a get meanwhile. */
struct middle {
	struct scene scene;
	pid_t pids[2];
	_Atomic int *claimed;
};

static void claim_and_stay(struct middle *middle, _Atomic uint64_t *end,
			   size_t offset_of_claim)
{
	tine_queue *queue = middle->scene.queue;
	struct desk *desk;
	uint64_t first;

	CHECK_EQ(tine_queue_join(queue), 0);
	desk = desk_at(queue, member_index(member_id()));
	first = atomic_load(end);
	atomic_store((_Atomic uint64_t *)((char *)desk + offset_of_claim),
		     claim_of(first, 1));
	atomic_store(end, first + 1);
	atomic_fetch_add(middle->claimed, 1);
	pause();
}

static void put_halfway(void *arg)
{
	struct middle *middle = arg;

	claim_and_stay(middle, &middle->scene.queue->tail,
		       offsetof(struct desk, putting));
}

static void get_halfway(void *arg)
{
	struct middle *middle = arg;

	claim_and_stay(middle, &middle->scene.queue->head,
		       offsetof(struct desk, getting));
}

static void set_middle_stage(struct middle *middle)
{
	int64_t deadline = tine_after(WAIT_MS);

	set_growth_stage(&middle->scene);
	atomic_store(middle->claimed, 0);
	middle->pids[0] = test_fork(put_halfway, middle);
	middle->pids[1] = test_fork(get_halfway, middle);
	while (atomic_load(middle->claimed) < 2) {
		CHECK(tine_now() < deadline);
		test_sleep_us(50);
	}
}

static void join_in_the_middle(void *arg)
{
	join_first(&((struct middle *)arg)->scene);
}

static void puts_in_the_middle(void *arg)
{
	puts_another(&((struct middle *)arg)->scene);
}

/* Both are killed, and what they had is nobody's. */
static uint64_t drain_after_middle(struct middle *middle, long step)
{
	struct scene *scene = &middle->scene;

	scene->step = step;
	test_kill(middle->pids[0]);
	test_kill(middle->pids[1]);
	members_sweep();
	return drain_once(scene);
}

static void after_middle(void *arg, long step)
{
	struct middle *middle = arg;
	struct scene *scene = &middle->scene;
	uint64_t ids, all = ((UINT64_C(1) << scene->waiting) - 1) << 1;

	/* Whoever is alive goes on, past the one who is at the first. */
	expect(scene, next(scene, tine_after(WAIT_MS)), 2, "the second message");
	ids = drain_after_middle(middle, step);
	expect(scene, (int64_t)(ids & all), (int64_t)(all & ~UINT64_C(4)),
	       "those that were there");
	expect_another(scene, ids);
	expect_end(scene);
	free_stage(scene);
	set_middle_stage(middle);
}

static struct middle *new_middle(size_t capacity, uint32_t waiting)
{
	struct middle *middle = tine_shared_new(1, sizeof(*middle));

	CHECK(middle && member_self());
	middle->claimed = tine_shared_new(1, sizeof(*middle->claimed));
	middle->scene.hand = tine_shared_new(1, sizeof(*middle->scene.hand));
	CHECK(middle->claimed && middle->scene.hand);
	/* Those two, the one that dies, and the test process. */
	middle->scene.opts = (tine_queue_opts){ .capacity = capacity, .producers = 4 };
	middle->scene.waiting = waiting;
	set_middle_stage(middle);
	return middle;
}

static void free_middle(struct middle *middle)
{
	test_kill(middle->pids[0]);
	test_kill(middle->pids[1]);
	tine_queue_free(middle->scene.queue);
	tine_shared_free(middle->scene.hand);
	tine_shared_free((void *)middle->claimed);
	tine_shared_free(middle);
}

TEST_LIMIT(killed_at_every_step_of_growth_while_others_are_in_put_and_get, 240)
{
	struct middle *middle = new_middle(TINE_UNBOUNDED, FIRST - 1);

	CHECK(test_kill_some_steps(&(struct steps){ join_in_the_middle,
						    puts_in_the_middle, after_middle },
				   middle, 8) > 300);
	CHECK(middle->scene.counted > 0);
	free_middle(middle);
	_exit(0);
}

static void take_first(void *arg)
{
	struct scene *scene = arg;

	sit(arg);
	for (uint32_t id = 1; id <= scene->taken; id++)
		CHECK_EQ(next(scene, TINE_NOWAIT), id);
}

static void check_moving_on(struct scene *scene)
{
	struct message *held = &scene->hand->message;
	uint64_t ids, left = UINT64_C(3) << (FIRST + 1);

	ids = drain_once(scene);
	if (held->id && held->inverse == ~held->id)
		left &= ~(UINT64_C(1) << held->id);
	/* Which is in the hand of the dead one, and perhaps not taken yet. */
	expect(scene, (int64_t)(ids & left), (int64_t)left, "those that nobody has");
	if (atomic_load(&scene->hand->returned) == 1)
		expect(scene, (int64_t)ids, (int64_t)left,
		       "what get returned, once more");
	scene->counted += __builtin_popcountll(ids) == 1;
}

TEST_LIMIT(killed_at_every_step_of_a_get_that_moves_on, 240)
{
	struct scene scene = { .opts = { .capacity = TINE_UNBOUNDED },
			       .waiting = FIRST + 2,
			       .taken = FIRST };

	run_scene(&scene,
		  &(struct life){ take_first, gets_one, check_moving_on, set_growth_stage,
				  true },
		  300);
}

static void trims(void *arg)
{
	struct scene *scene = arg;

	queue_trim(scene->queue);
	atomic_store(&scene->hand->returned, 1);
}

static void check_trim(struct scene *scene)
{
	struct message message = message_of(1);
	struct ring ring;
	uint64_t ids;

	expect(scene, drain(scene, &ids), 0, "messages");
	queue_trim(scene->queue);
	expect(scene, queue_nth_ring(scene->queue, 1, &ring), false, "a second ring");
	expect(scene, queue_nth_ring(scene->queue, 0, &ring) ? (int64_t)ring.mask : -1,
	       FIRST - 1, "the ring of an empty queue");
	expect(scene, tine_queue_put(scene->queue, &message, sizeof(message), 0), 0,
	       "put");
	expect(scene, (int64_t)tine_queue_len(scene->queue), 1, "how many there are");
	expect(scene, next(scene, TINE_NOWAIT), 1, "get");
	scene->counted += atomic_load(&scene->hand->returned);
}

TEST_LIMIT(killed_at_every_step_of_a_trim, 240)
{
	struct scene scene = { .opts = { .capacity = TINE_UNBOUNDED },
			       .waiting = FIRST + 2,
			       .taken = FIRST + 2 };

	run_scene(&scene,
		  &(struct life){ take_first, trims, check_trim, set_growth_stage, true },
		  300);
}

static void sit_in_the_middle(void *arg)
{
	register_member(&((struct middle *)arg)->scene);
}

static void joins_in_the_middle(void *arg)
{
	joins(&((struct middle *)arg)->scene);
}

static void after_join_in_the_middle(void *arg, long step)
{
	struct middle *middle = arg;
	struct scene *scene = &middle->scene;
	bool joined = atomic_load(&scene->hand->returned) == 1;
	uint64_t ids;

	ids = drain_after_middle(middle, step);
	expect(scene, (int64_t)ids, 2, "the message that was there");
	if (joined)
		expect_end(scene);
	free_stage(scene);
	set_middle_stage(middle);
}

TEST_LIMIT(killed_at_every_step_of_join_while_others_are_in_put_and_get, 240)
{
	static const size_t sizes[] = { 2, 1 << 20 };

	for (int i = 0; i < 2; i++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (pid == 0) {
			struct middle *middle = new_middle(sizes[i], 1);

			test_kill_some_steps(&(struct steps){ sit_in_the_middle,
							      joins_in_the_middle,
							      after_join_in_the_middle },
					     middle, i ? 16 : 4);
			free_middle(middle);
			_exit(0);
		}
		CHECK_EQ(test_reap(pid), 0);
	}
}

/* What two dead ones left is recovered by one that dies as well, at every step. */
static void leave_work(struct scene *scene)
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

static void recovers(void *arg)
{
	struct scene *scene = arg;

	queue_tend(scene->queue, TINE_FOREVER);
	leases_one(arg);
}

static void check_recovery(struct scene *scene)
{
	uint64_t ids;
	unsigned n;

	n = drain(scene, &ids);
	expect(scene, n, 3, "messages");
	expect(scene, ids, 0x16, "these");
}

TEST_LIMIT(killed_at_every_step_of_recovery, 240)
{
	struct scene scene = { .opts = { .capacity = 4, .producers = 2 }, .waiting = 2 };

	run_scene(&scene,
		  &(struct life){ sweep_first, recovers, check_recovery, leave_work,
				  false },
		  300);
}

/* One sleeps in get while the one that wakes it dies. */
static void sleeper(void *arg)
{
	struct scene *scene = arg;

	for (;;) {
		int64_t id = next(scene, TINE_FOREVER);

		CHECK(id > 0);
		atomic_store(&scene->hand->seen, (uint32_t)id);
	}
}

static void wakes(void *arg)
{
	struct scene *scene = arg;
	struct message message = message_of(1);

	CHECK_EQ(tine_queue_put(scene->queue, &message, sizeof(message), 0), 0);
}

static void after_wake(void *arg, long step)
{
	struct scene *scene = arg;
	struct message message = message_of(1000 + (uint32_t)step);
	int64_t deadline = tine_after(WAIT_MS);

	scene->step = step;
	expect(scene, tine_queue_put(scene->queue, &message, sizeof(message), deadline),
	       0, "put");
	while (atomic_load(&scene->hand->seen) != message.id)
		if (tine_now() > deadline)
			test_fail(__FILE__, __LINE__, "step %ld: it sleeps on", step);
	/* Until it sleeps again. */
	test_sleep_us(300);
}

TEST_LIMIT(killed_at_every_step_of_a_put_that_wakes, 120)
{
	struct scene scene = { .opts = { .capacity = 4, .producers = 9 } };
	pid_t pid;

	scene.hand = tine_shared_new(1, sizeof(*scene.hand));
	CHECK(scene.hand && member_self());
	scene.opts.producers = 100000;
	set_stage(&scene);
	pid = test_fork(sleeper, &scene);
	test_sleep_us(1000);
	test_kill_each_step(&(struct steps){ register_member, wakes, after_wake },
			    &scene);
	test_kill(pid);
	_exit(0);
}

/* ---- stopped at every instruction -------------------------------------------------- */

static bool is_an_answer(ssize_t got)
{
	return got >= 0 || got == -ETIMEDOUT || got == -EPIPE;
}

/* Each call comes back, whatever it says: the one that is stopped may hold things up. */
static void call_all(struct scene *scene, int64_t wait_ms)
{
	struct message message = message_of(6), many[2] = { message, message };
	int64_t when = wait_ms ? tine_after(wait_ms) : TINE_NOWAIT;
	tine_queue *queue = scene->queue;
	tine_lease lease;
	ssize_t got;

	CHECK(is_an_answer(tine_queue_put(queue, &message, sizeof(message), when)));
	CHECK(is_an_answer(tine_queue_put_many(queue, many, 2, when)));
	CHECK(is_an_answer(tine_queue_get(queue, &message, sizeof(message), when)));
	CHECK(is_an_answer(tine_queue_get_many(queue, many, 2, when)));
	got = tine_queue_lease(queue, &message, sizeof(message), &lease, when);
	CHECK(is_an_answer(got));
	if (got > 0)
		CHECK_EQ(tine_queue_ack(queue, lease), 0);
	got = tine_queue_lease(queue, &message, sizeof(message), &lease, when);
	CHECK(is_an_answer(got));
	if (got > 0 && tine_queue_nack(queue, lease) != 0)
		CHECK_EQ(tine_queue_ack(queue, lease), 0);
	CHECK(is_an_answer(tine_queue_drained(queue, when)));
	tine_queue_len(queue);
}

static void call_at_once(void *scene)
{
	call_all(scene, 0);
}

static void call_for_a_while(void *scene)
{
	call_all(scene, 20);
}

static void call_close(void *arg)
{
	struct scene *scene = arg;

	CHECK(is_an_answer(tine_queue_close(scene->queue)));
}

static void beside(void *arg, long step)
{
	struct scene *scene = arg;

	scene->step = step;
	test_call_beside(call_at_once, scene);
	test_call_beside(call_for_a_while, scene);
	test_call_beside(call_close, scene);
}

/* When it has gone on to its end nothing is held up any more. */
static void look_after_stop(struct scene *scene, long step)
{
	uint64_t ids;

	scene->step = step;
	drain(scene, &ids);
	check_whole(scene);
}

static void after_stop(void *arg, long step)
{
	look_after_stop(arg, step);
	set_stage(arg);
}

static void after_stopped_recovery(void *arg, long step)
{
	look_after_stop(arg, step);
	leave_work(arg);
}

static void stop_scene(struct scene *scene, const struct stops *stops)
{
	scene->opts.producers = 1000;
	if (!scene->opts.capacity)
		scene->opts.capacity = 4;
	scene->hand = tine_shared_new(1, sizeof(*scene->hand));
	CHECK(scene->hand && member_self());
	if (stops->after == after_stop)
		set_stage(scene);
	else
		leave_work(scene);
	test_stop_some_steps(stops, scene, 20);
	_exit(0);
}

TEST_LIMIT(stopped_in_put, 240)
{
	stop_scene(
		&(struct scene){ .waiting = 1 },
		&(struct stops){ register_member, puts_one, beside, after_stop, false });
}

TEST_LIMIT(stopped_in_get, 240)
{
	stop_scene(
		&(struct scene){ .waiting = 2 },
		&(struct stops){ register_member, gets_one, beside, after_stop, false });
}

TEST_LIMIT(stopped_in_lease, 240)
{
	stop_scene(&(struct scene){ .waiting = 2 },
		   &(struct stops){ register_member, leases_one, beside, after_stop,
				    false });
}

TEST_LIMIT(stopped_in_growth, 240)
{
	stop_scene(
		&(struct scene){ .waiting = FIRST,
				 .opts = { .capacity = TINE_UNBOUNDED } },
		&(struct stops){ join_first, puts_another, beside, after_stop, false });
}

TEST_LIMIT(stopped_in_a_get_that_moves_on, 240)
{
	stop_scene(&(struct scene){ .waiting = FIRST + 2,
				    .taken = FIRST,
				    .opts = { .capacity = TINE_UNBOUNDED } },
		   &(struct stops){ take_first, gets_one, beside, after_stop, false });
}

TEST_LIMIT(stopped_in_a_trim, 240)
{
	stop_scene(&(struct scene){ .waiting = FIRST + 2,
				    .taken = FIRST + 2,
				    .opts = { .capacity = TINE_UNBOUNDED } },
		   &(struct stops){ take_first, trims, beside, after_stop, false });
}

TEST_LIMIT(stopped_in_ack, 240)
{
	stop_scene(&(struct scene){ .waiting = 2 },
		   &(struct stops){ lease_before, acks, beside, after_stop, false });
}

TEST_LIMIT(stopped_in_nack, 240)
{
	stop_scene(&(struct scene){ .waiting = 2 },
		   &(struct stops){ lease_before, nacks, beside, after_stop, false });
}

static void call_long(struct depot *depot, int64_t wait_ms)
{
	int64_t when = wait_ms ? tine_after(wait_ms) : TINE_NOWAIT;
	char text[LONG] = { 6 };
	const void *msg;
	tine_lease lease;
	ssize_t got = tine_queue_put(depot->queue, text, LONG, when);

	CHECK(is_an_answer(got) || got == -ENOMEM);
	got = tine_queue_take(depot->queue, &msg, when);
	CHECK(is_an_answer(got) || got == -ENOMEM);
	if (got > 0)
		CHECK_EQ(tine_queue_release(depot->queue, msg), 0);
	CHECK(is_an_answer(tine_queue_get(depot->queue, text, LONG, when)));
	got = tine_queue_lease(depot->queue, text, LONG, &lease, when);
	CHECK(is_an_answer(got));
	if (got > 0)
		CHECK_EQ(tine_queue_ack(depot->queue, lease), 0);
}

static void call_long_at_once(void *depot)
{
	call_long(depot, 0);
}

static void call_long_for_a_while(void *depot)
{
	call_long(depot, 20);
}

static void beside_long(void *depot, long step)
{
	(void)step;
	test_call_beside(call_long_at_once, depot);
	test_call_beside(call_long_for_a_while, depot);
}

static void after_long_stop(void *arg, long step)
{
	struct depot *depot = arg;
	char text[LONG];

	(void)step;
	members_sweep();
	while (tine_queue_get(depot->queue, text, LONG, tine_after(3)) > 0)
		;
	CHECK_EQ(tine_queue_drained(depot->queue, tine_after(WAIT_MS)), 0);
	tine_queue_free(depot->queue);
	set_depot(depot);
}

static void takes_any_long(void *arg)
{
	struct depot *depot = arg;
	const void *msg;
	ssize_t len = tine_queue_take(depot->queue, &msg, tine_after(50));

	if (len > 0)
		CHECK_EQ(tine_queue_release(depot->queue, msg), 0);
}

static void stop_depot(void (*fn)(void *))
{
	struct depot *depot = tine_shared_new(1, sizeof(*depot));

	CHECK(depot && member_self());
	set_depot(depot);
	test_stop_some_steps(
		&(struct stops){ sit_at_depot, fn, beside_long, after_long_stop, false },
		depot, 40);
	_exit(0);
}

TEST_LIMIT(stopped_in_a_long_put, 240)
{
	stop_depot(puts_long);
}

TEST_LIMIT(stopped_in_take_and_release, 240)
{
	stop_depot(takes_any_long);
}

TEST_LIMIT(stopped_in_close, 240)
{
	stop_scene(&(struct scene){ .waiting = 2 },
		   &(struct stops){ register_member, closes, beside, after_stop, false });
}

TEST_LIMIT(stopped_in_recovery, 240)
{
	stop_scene(&(struct scene){ .waiting = 2 },
		   &(struct stops){ sweep_first, recovers, beside, after_stopped_recovery,
				    false });
}

/*
 * A claim that somebody else was quicker with: whoever it fails for is stopped before it,
 * and finds the queue full, or empty, afterwards.
 */
static void puts_or_claims_nothing(void *arg)
{
	struct scene *scene = arg;
	struct message message = message_of(5);
	int err = tine_queue_put(scene->queue, &message, sizeof(message), TINE_NOWAIT);

	atomic_store(&scene->hand->returned, err);
	if (err)
		CHECK_EQ(desk_at(scene->queue, member_index(member_id()))->putting,
			 NO_CLAIM);
}

static void is_quicker_to_put(void *arg, long step)
{
	struct scene *scene = arg;
	struct message message = message_of(6);

	scene->step = step;
	(void)!tine_queue_put(scene->queue, &message, sizeof(message), TINE_NOWAIT);
}

static void gets_or_claims_nothing(void *arg)
{
	struct scene *scene = arg;
	struct message message;
	ssize_t got = tine_queue_get(scene->queue, &message, sizeof(message),
				     TINE_NOWAIT);

	atomic_store(&scene->hand->returned, (int)got);
	if (got < 0)
		CHECK_EQ(desk_at(scene->queue, member_index(member_id()))->getting,
			 NO_CLAIM);
}

static void is_quicker_to_get(void *arg, long step)
{
	struct scene *scene = arg;
	struct message message;

	scene->step = step;
	(void)!tine_queue_get(scene->queue, &message, sizeof(message), TINE_NOWAIT);
}

static void count_failures(void *arg, long step)
{
	struct scene *scene = arg;

	(void)step;
	scene->counted += atomic_load(&scene->hand->returned) == -ETIMEDOUT;
	set_stage(scene);
}

static void stop_before_claims(struct scene *scene, const struct stops *stops)
{
	scene->hand = tine_shared_new(1, sizeof(*scene->hand));
	CHECK(scene->hand && member_self());
	set_stage(scene);
	test_stop_each_step(stops, scene);
	/* A sample has some of them, unless it is a small part. */
	if (!getenv("TEST_SCALE"))
		CHECK(scene->counted > 0);
	_exit(0);
}

TEST_LIMIT(a_claim_to_put_that_failed_is_taken_back, 240)
{
	stop_before_claims(&(struct scene){ .opts = { .capacity = 1, .producers = 9 } },
			   &(struct stops){ sit, puts_or_claims_nothing,
					    is_quicker_to_put, count_failures, false });
}

TEST_LIMIT(a_claim_to_get_that_failed_is_taken_back, 240)
{
	stop_before_claims(&(struct scene){ .opts = { .capacity = 1, .producers = 9 },
					    .waiting = 1 },
			   &(struct stops){ sit, gets_or_claims_nothing,
					    is_quicker_to_get, count_failures, false });
}

/* ---- at random --------------------------------------------------------------------- */

enum {
	PRODUCERS = 3,
	CONSUMERS = 3,
	LIVES = 30000,
	EACH = 60, /* messages of a producer's life, at most */
	BATCH = 5,
	TEXT = 100,
};

struct letter {
	uint32_t life, n, len, sum;
	unsigned char text[TEXT];
};

struct pocket {
	_Atomic uint32_t mode; /* of its consumer: 0: it leases */
	struct letter letters[BATCH];
};

/* Everything that is known of every message. */
struct account {
	tine_queue *queue;
	_Atomic uint32_t stop, taken, twice, torn;
	_Atomic uint32_t next_life;
	_Atomic uint32_t done[LIVES];	     /* messages that put returned for */
	_Atomic unsigned char doomed[LIVES]; /* consumers about to be killed */
	struct pocket pockets[CONSUMERS];
	_Atomic uint32_t by[LIVES][EACH]; /* the life that took it last, + 1 */
};

/* A message that was in the hand of a dead consumer whose get had not returned. */
#define IN_HAND 0x80000000u

static uint32_t sum_of(const struct letter *letter)
{
	uint32_t sum = letter->life * 31 + letter->n;

	for (uint32_t i = 0; i < letter->len && i < TEXT; i++)
		sum = sum * 16777619 ^ letter->text[i];
	return sum;
}

static bool is_whole(const struct letter *letter)
{
	return letter->life < LIVES && letter->n < EACH && letter->len <= TEXT &&
	       letter->sum == sum_of(letter);
}

static void write_letter(struct letter *letter, uint32_t life, uint32_t n,
			 unsigned *random)
{
	*letter = (struct letter){ .life = life, .n = n, .len = rand_r(random) % TEXT };
	for (uint32_t i = 0; i < letter->len; i++)
		letter->text[i] = rand_r(random);
	letter->sum = sum_of(letter);
}

static void produce(struct account *account, uint32_t life)
{
	unsigned random = life;
	uint32_t n = 0;

	while (n < EACH && !atomic_load(&account->stop)) {
		struct letter letters[BATCH] = { 0 };
		uint32_t many = life % 2 && n + BATCH <= EACH ? BATCH : 1;
		ssize_t put;

		for (uint32_t i = 0; i < many; i++)
			write_letter(&letters[i], life, n + i, &random);
		put = many > 1 ? tine_queue_put_many(account->queue, letters, many,
						     TINE_FOREVER)
			       : tine_queue_put(account->queue, letters,
						offsetof(struct letter, text) +
							letters->len,
						TINE_FOREVER);
		CHECK_EQ(put, many > 1 ? many : 0);
		n += many;
		atomic_store(&account->done[life], n);
	}
	if (life % 3)
		CHECK_EQ(tine_queue_close(account->queue), 0);
	_exit(0);
}

static void note(struct account *account, const struct letter *letter, uint32_t life)
{
	uint32_t before;

	if (!is_whole(letter)) {
		atomic_fetch_add(&account->torn, 1);
		return;
	}
	before = atomic_exchange(&account->by[letter->life][letter->n], life + 1);
	/* Again, only after a death: of one that leased, or that was just taking it. */
	if (before && !(before & IN_HAND) && !atomic_load(&account->doomed[before - 1]))
		atomic_fetch_add(&account->twice, 1);
	atomic_fetch_add(&account->taken, 1);
}

static void consume(struct account *account, uint32_t life, struct pocket *pocket)
{
	uint32_t mode = life % 3;

	memset(pocket->letters, 0, sizeof(pocket->letters));
	atomic_store(&pocket->mode, mode);
	for (;;) {
		tine_lease lease;
		ssize_t got;

		if (mode == 0)
			got = tine_queue_lease(account->queue, pocket->letters,
					       sizeof(struct letter), &lease,
					       TINE_FOREVER);
		else if (mode == 1)
			got = tine_queue_get(account->queue, pocket->letters,
					     sizeof(struct letter), TINE_FOREVER);
		else
			got = tine_queue_get_many(account->queue, pocket->letters, BATCH,
						  TINE_FOREVER);
		CHECK(got > 0);
		for (ssize_t i = 0; i < (mode == 2 ? got : 1); i++)
			note(account, &pocket->letters[i], life);
		if (mode == 0)
			CHECK_EQ(tine_queue_ack(account->queue, lease), 0);
		/* What was noted is in the hand no more. */
		memset(pocket->letters, 0, sizeof(pocket->letters));
	}
}

/* What the dead had in its hand, whole and not noted, it had perhaps taken for good. */
static long search_pocket(struct account *account, struct pocket *pocket)
{
	long found = 0;

	for (int i = 0; atomic_load(&pocket->mode) != 0 && i < BATCH; i++) {
		const struct letter *letter = &pocket->letters[i];
		uint32_t nobody = 0;

		if (letter->sum && is_whole(letter))
			found += atomic_compare_exchange_strong(
				&account->by[letter->life][letter->n], &nobody, IN_HAND);
	}
	memset(pocket->letters, 0, sizeof(pocket->letters));
	return found;
}

struct crew {
	pid_t pid[PRODUCERS + CONSUMERS];
	uint32_t life[PRODUCERS + CONSUMERS];
	long kills, in_hands;
};

static void hire(struct account *account, struct crew *crew, int at)
{
	crew->life[at] = atomic_fetch_add(&account->next_life, 1);
	CHECK(crew->life[at] < LIVES);
	crew->pid[at] = fork();
	CHECK(crew->pid[at] >= 0);
	if (crew->pid[at] == 0) {
		if (at < PRODUCERS)
			produce(account, crew->life[at]);
		else
			consume(account, crew->life[at],
				&account->pockets[at - PRODUCERS]);
	}
}

/* Killed, unless it had come to its end. */
static void fire(struct account *account, struct crew *crew, int at)
{
	int how;

	if (!crew->pid[at])
		return;
	if (at >= PRODUCERS)
		atomic_store(&account->doomed[crew->life[at]], 1);
	kill(crew->pid[at], SIGKILL);
	how = test_reap(crew->pid[at]);
	CHECK(how == -SIGKILL || (how == 0 && at < PRODUCERS));
	crew->kills += how != 0;
	crew->pid[at] = 0;
	if (at >= PRODUCERS)
		crew->in_hands += search_pocket(account,
						&account->pockets[at - PRODUCERS]);
}

static void check_progress(struct account *account, uint32_t *last, int64_t *since)
{
	uint32_t taken = atomic_load(&account->taken);

	if (taken != *last) {
		*last = taken;
		*since = tine_now();
	} else if (tine_now() - *since > test_patience(10000) * INT64_C(1000000)) {
		test_fail(__FILE__, __LINE__, "nothing is taken any more");
	}
}

static bool is_settled(tine_queue *queue)
{
	bool whole;

	CHECK_EQ(queue_lock(queue, TINE_FOREVER), 0);
	whole = queue->head == queue->tail && queue->strays == 0;
	whole = whole && cells_are_free(queue);
	for (uint64_t i = 0; queue->boxes && i < queue->capacity; i++)
		whole = whole && word_state(box_at(queue, i)->word) == FREE;
	queue_unlock(queue);
	return whole;
}

/* What the dead left comes back when they are known to be dead. */
static void take_the_rest(struct account *account)
{
	uint32_t life = atomic_fetch_add(&account->next_life, 1);
	int64_t guard = tine_after(test_patience(20000));
	struct letter letter = { 0 };

	do {
		while (tine_queue_get(account->queue, &letter, sizeof(letter),
				      tine_after(20)) > 0) {
			note(account, &letter, life);
			memset(&letter, 0, sizeof(letter));
		}
	} while (!is_settled(account->queue) && tine_now() < guard);
}

static void check_account(struct account *account, const struct crew *crew)
{
	long put = 0, lost = 0, early = 0;

	for (uint32_t life = 0; life < atomic_load(&account->next_life); life++) {
		uint32_t done = atomic_load(&account->done[life]);

		put += done;
		for (uint32_t n = 0; n < EACH; n++) {
			bool taken = atomic_load(&account->by[life][n]) != 0;

			lost += n < done && !taken;
			early += n >= done + BATCH && taken;
		}
	}
	printf("# %ld kills, %ld messages put, %u taken, %ld in dead hands\n",
	       crew->kills, put, account->taken, crew->in_hands);
	printf("# %ld lost, %ld never put, %u twice, %u torn\n", lost, early,
	       account->twice, account->torn);
	fflush(stdout);
	CHECK(lost == 0 && early == 0 && account->twice == 0 && account->torn == 0);
}

static void kill_at_random(size_t capacity, long kills)
{
	struct account *account = tine_shared_new(1, sizeof(*account));
	tine_queue_opts opts = { .capacity = capacity, .producers = UINT_MAX };
	struct scene scene = { 0 };
	struct crew crew = { 0 };
	unsigned random = (unsigned)test_seed();
	int64_t since = tine_now();
	uint32_t last = 0;

	CHECK(account && member_self());
	CHECK_EQ(tine_queue_new(&account->queue, sizeof(struct letter), &opts), 0);
	while (crew.kills < kills) {
		int at = rand_r(&random) % (PRODUCERS + CONSUMERS);

		for (int i = 0; i < PRODUCERS + CONSUMERS; i++)
			if (!crew.pid[i])
				hire(account, &crew, i);
		if (rand_r(&random) % 8 == 0) {
			int other = rand_r(&random) % (PRODUCERS + CONSUMERS);

			kill(crew.pid[other], SIGSTOP);
			test_sleep_us(rand_r(&random) % 500);
			kill(crew.pid[other], SIGCONT);
		}
		test_sleep_us(rand_r(&random) % 400);
		fire(account, &crew, at);
		check_progress(account, &last, &since);
	}
	atomic_store(&account->stop, 1);
	for (int i = 0; i < PRODUCERS + CONSUMERS; i++)
		fire(account, &crew, i);
	take_the_rest(account);
	check_account(account, &crew);
	scene.queue = account->queue;
	check_whole(&scene);
	/* The table of members has grown. */
	_exit(0);
}

TEST_LIMIT(killed_at_random, 600)
{
	kill_at_random(16, test_sampled(10000));
}

TEST_LIMIT(killed_at_random_without_a_bound, 600)
{
	kill_at_random(TINE_UNBOUNDED, test_sampled(3000));
}
