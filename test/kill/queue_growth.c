/* SPDX-License-Identifier: MIT */
/* Death while the ring of a queue without a bound grows, moves on and is trimmed. */
#include "kill/queue_scene.h"

#include "memory/heap.h"
#include "queue/mend.h"

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
		  &(struct life){ sit_and_join, puts_another, check_growth,
				  set_growth_stage, true },
		  300);
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

/* ---- while others are in put and get ----------------------------------------------- */

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
	sit_and_join(&((struct middle *)arg)->scene);
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
