/* SPDX-License-Identifier: MIT */
/* Death of producers, consumers and sleepers at every instruction of each call. */
#include "kill/queue_scene.h"

#include "memory/heap.h"
#include "queue/mend.h"

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

	begin_scene(&scene);
	scene.opts.producers = 100000;
	set_stage(&scene);
	pid = test_fork(sleeper, &scene);
	test_sleep_us(1000);
	test_kill_each_step(&(struct steps){ register_member, wakes, after_wake },
			    &scene);
	test_kill(pid);
	_exit(0);
}
