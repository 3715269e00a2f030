/* SPDX-License-Identifier: MIT */
/* Deaths at a queue: of producers, of holders of leases, half-way, at any moment. */
#include "queue_use.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* ---- producers --------------------------------------------------------------------- */

static void put_and_be_killed(void *queue)
{
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	raise(SIGKILL);
}

static void put_and_exit(void *queue)
{
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	exit(0);
}

static void put_once(void *queue)
{
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
}

static int put_in_a_process(void *queue)
{
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	return 0;
}

static void close_and_be_killed(void *queue)
{
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(tine_queue_close(queue), 0);
	raise(SIGKILL);
}

static void only_get(void *queue)
{
	CHECK_EQ(get(queue, TINE_NOWAIT), 1);
}

TEST(a_producer_that_ends_has_closed)
{
	tine_queue *queue = make(8, 5);
	tine_process *process;

	CHECK_EQ(test_reap(test_fork(put_and_be_killed, queue)), -SIGKILL);
	in_a_child(put_and_exit, queue);
	in_a_child(put_once, queue);
	/* Who closed before counts once, and who only took messages does not count. */
	CHECK_EQ(test_reap(test_fork(close_and_be_killed, queue)), -SIGKILL);
	in_a_child(only_get, queue);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(get(queue, TINE_NOWAIT), 1);
	not_ended(queue);
	CHECK_EQ(tine_process_start(&process, put_in_a_process, queue, NULL), 0);
	CHECK_EQ(tine_process_wait(process, NULL, TINE_FOREVER), 0);
	tine_process_free(process);
	CHECK_EQ(get(queue, TINE_NOWAIT), 1);
	ended(queue);
	tine_queue_free(queue);
}

static void join_and_exit(void *queue)
{
	CHECK_EQ(tine_queue_join(queue), 0);
	CHECK_EQ(tine_queue_join(queue), 0);
}

static void join_and_be_killed(void *queue)
{
	join_and_exit(queue);
	raise(SIGKILL);
}

static void join_and_close(void *queue)
{
	join_and_exit(queue);
	close_it(queue);
	CHECK_EQ(tine_queue_join(queue), -EPIPE);
}

static void join_late(void *queue)
{
	CHECK_EQ(tine_queue_join(queue), -EPIPE);
}

TEST(a_producer_that_has_joined_and_ends_has_closed)
{
	tine_queue *queue = make(8, 4);

	in_a_child(join_and_exit, queue);
	in_a_child(join_and_close, queue);
	CHECK_EQ(test_reap(test_fork(join_and_be_killed, queue)), -SIGKILL);
	not_ended(queue);
	/* To join and to put is one producer still. */
	CHECK_EQ(tine_queue_join(queue), 0);
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(get(queue, TINE_NOWAIT), 1);
	not_ended(queue);
	CHECK_EQ(tine_queue_close(queue), 0);
	ended(queue);
	in_a_child(join_late, queue);
	tine_queue_free(queue);
}

/* ---- producers that their starter has declared ------------------------------------- */

static tine_process *start_producer(int (*fn)(void *), tine_queue *queue)
{
	tine_process_opts opts = { .produces = queue };
	tine_process *process;

	CHECK_EQ(tine_process_start(&process, fn, queue, &opts), 0);
	return process;
}

static void reap_producer(tine_process *process)
{
	CHECK_EQ(tine_process_wait(process, NULL, SOON), 0);
	tine_process_free(process);
}

static int be_killed(void *queue)
{
	(void)queue;
	raise(SIGKILL);
	return 0;
}

static int put_nothing(void *queue)
{
	(void)queue;
	return 0;
}

static int put_and_close_it(void *queue)
{
	CHECK_EQ(tine_queue_join(queue), 0);
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	close_it(queue);
	return 0;
}

TEST(who_was_declared_and_ends_before_any_call_has_closed)
{
	tine_queue *queue = make(8, 3);
	tine_process *process;

	/* Not waited for: the consumer is who learns of it. */
	process = start_producer(be_killed, queue);
	reap_producer(start_producer(put_nothing, queue));
	not_ended(queue);
	/* Declared, joined and closed is one producer still. */
	reap_producer(start_producer(put_and_close_it, queue));
	CHECK_EQ(get(queue, SOON), 1);
	ended(queue);
	reap_producer(process);
	tine_queue_free(queue);
}

TEST(of_two_that_were_declared_one_does_not_count_for_both)
{
	tine_queue *queue = make(8, 2);

	reap_producer(start_producer(put_and_close_it, queue));
	CHECK_EQ(get(queue, SOON), 1);
	not_ended(queue);
	reap_producer(start_producer(be_killed, queue));
	ended(queue);
	tine_queue_free(queue);
}

static int put_one_in_a_process(void *queue)
{
	(void)!put(queue, 1, TINE_NOWAIT);
	return 0;
}

TEST(who_was_declared_and_is_killed_at_any_time_has_closed)
{
	uint64_t random = test_seed();

	for (long i = test_sampled(1000); i > 0; i--) {
		tine_queue *queue = make(8, 1);
		tine_process *process = start_producer(put_one_in_a_process, queue);
		int64_t got;

		random = random * 6364136223846793005 + 1;
		test_sleep_us((random >> 33) % 400);
		(void)tine_process_kill(process, SIGKILL);
		do {
			got = get(queue, SOON);
			CHECK(got == 0 || got == 1);
		} while (got == 1);
		reap_producer(process);
		tine_queue_free(queue);
	}
}

struct stage {
	tine_queue *from, *to;
};

static int pass_on(void *arg)
{
	struct stage *stage = arg;
	int64_t number;

	while ((number = get(stage->from, SOON)) > 0)
		CHECK_EQ(put(stage->to, number, SOON), 0);
	CHECK_EQ(number, 0);
	return 0;
}

TEST(an_empty_input_ends_a_pipeline_of_three_stages)
{
	tine_queue *queues[3] = { make(2, 1), make(2, 1), make(2, 1) };
	tine_process *stages[3];

	for (int i = 0; i < 2; i++) {
		struct stage stage = { queues[i], queues[i + 1] };
		tine_process_opts opts = { .produces = queues[i + 1] };

		CHECK_EQ(tine_process_start(&stages[i], pass_on, &stage, &opts), 0);
	}
	stages[2] = start_producer(put_nothing, queues[0]);
	ended(queues[2]);
	for (int i = 0; i < 3; i++) {
		reap_producer(stages[i]);
		tine_queue_free(queues[i]);
	}
}

TEST(what_cannot_be_declared)
{
	tine_queue *queue = make(8, 1);
	tine_process_opts opts = { .produces = (void *)&opts };
	tine_process *process = NULL;
	const char *argv[] = { "true", NULL };
	int err;

	CHECK_EQ(tine_process_start(&process, put_nothing, queue, &opts), -EXDEV);
	opts.produces = queue;
	CHECK_EQ(tine_process_spawn(&process, &(tine_command){ .argv = argv }, &opts),
		 -EINVAL);
	/* Each allocation that it takes, first those of the desk. */
	for (long n = 1;; n++) {
		test_fail_allocation(n);
		err = tine_process_start(&process, put_nothing, queue, &opts);
		if (!test_allocation_failed())
			break;
		test_fail_allocation(0);
		CHECK(err == -ENOMEM || err == 0);
		if (err == 0)
			reap_producer(process);
	}
	test_fail_allocation(0);
	CHECK_EQ(err, 0);
	reap_producer(process);
	tine_queue_free(queue);
}

/* ------------------------------------------------------------------------------------ */

static void put_and_stay(void *queue)
{
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	pause();
}

TEST(who_waits_hears_that_the_producer_died)
{
	tine_queue *queue = make(1, 1);
	pid_t producer = test_fork(put_and_stay, queue), putter, getter;

	wait_for_len(queue, 1);
	putter = test_fork(put_until_the_end, queue);
	test_sleep_us(LONG_NAP);
	CHECK_EQ(waitpid(putter, NULL, WNOHANG), 0);
	test_kill(producer);
	CHECK_EQ(test_reap(putter), 0);
	CHECK_EQ(get(queue, TINE_NOWAIT), 1);
	tine_queue_free(queue);

	queue = make(1, 1);
	producer = test_fork(put_and_stay, queue);
	CHECK_EQ(get(queue, SOON), 1);
	getter = test_fork(get_the_end, queue);
	test_sleep_us(LONG_NAP);
	CHECK_EQ(waitpid(getter, NULL, WNOHANG), 0);
	test_kill(producer);
	CHECK_EQ(test_reap(getter), 0);
	tine_queue_free(queue);
}

/* ---- who sleeps until somebody dies ------------------------------------------------ */

#define NEVER INT64_C(600000000000) /* within the test nobody looks by itself */

static tine_queue *make_for_long_sleeps(unsigned producers)
{
	tine_queue *queue = make(8, producers);

	queue->sleep = NEVER;
	return queue;
}

/* False: this kernel wakes nobody at deaths. */
static bool sleeps_long(pid_t pid)
{
	int64_t deadline = SOON;
	char path[64], text[32] = "";

	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	while (atoi(text) != SYS_futex_waitv) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 ||
		    tine_now() >= deadline) {
			close(fd);
			return false;
		}
		close(fd);
		test_sleep_us(2000);
	}
	return true;
}

static pid_t start_sleeper(void (*fn)(void *), void *arg)
{
	pid_t pid = test_fork(fn, arg);

	if (!sleeps_long(pid)) {
		test_kill(pid);
		test_skip("no process sleeps until another dies here");
	}
	return pid;
}

/* A deadline would have them look by themselves. */
static void get_the_end_at_last(void *queue)
{
	CHECK_EQ(get(queue, TINE_FOREVER), 0);
}

static void get_seven_at_last(void *queue)
{
	CHECK_EQ(get(queue, TINE_FOREVER), 7);
}

static void expect_woken(pid_t pid)
{
	int64_t deadline = SOON;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		CHECK(tine_now() < deadline);
		test_sleep_us(200);
	}
	CHECK_EQ(status, 0);
}

TEST(who_sleeps_is_woken_by_a_death)
{
	tine_queue *queue = make_for_long_sleeps(1);
	pid_t producer = test_fork(put_and_stay, queue), getters[2];

	CHECK_EQ(get(queue, SOON), 1);
	for (int i = 0; i < 2; i++)
		getters[i] = start_sleeper(get_the_end_at_last, queue);
	test_kill(producer);
	for (int i = 0; i < 2; i++)
		expect_woken(getters[i]);
	tine_queue_free(queue);
}

/* The kernel wakes one for each lock: the others learn of it from that one. */
TEST(who_sleeps_at_another_queue_than_the_one_whom_the_kernel_wakes)
{
	tine_queue *queue = make_for_long_sleeps(1), *other = make_for_long_sleeps(1);
	pid_t producer = test_fork(put_and_stay, queue), elsewhere[4], getter;

	CHECK_EQ(get(queue, SOON), 1);
	for (int i = 0; i < 4; i++)
		elsewhere[i] = start_sleeper(get_the_end_at_last, other);
	getter = start_sleeper(get_the_end_at_last, queue);
	test_kill(producer);
	expect_woken(getter);
	CHECK_EQ(tine_queue_close(other), 0);
	for (int i = 0; i < 4; i++)
		expect_woken(elsewhere[i]);
	tine_queue_free(queue);
	tine_queue_free(other);
}

static void join_and_stay(void *arg)
{
	struct holder *holder = arg;

	CHECK_EQ(tine_queue_join(holder->queue), 0);
	atomic_fetch_add(&holder->held, 1);
	pause();
}

TEST(who_sleeps_is_woken_by_the_death_of_one_who_came_later)
{
	struct holder *holder = make_holder(8, 1);
	pid_t getter, producer;

	holder->queue->sleep = NEVER;
	getter = start_sleeper(get_the_end_at_last, holder->queue);
	producer = start_holder(holder, join_and_stay);
	test_kill(producer);
	expect_woken(getter);
	free_holder(holder);
}

/*
 * As if the sleeper that it wakes had died, or was stopped, before it took the message.
 */
static void put_and_wake_nobody(tine_queue *queue)
{
	atomic_store(&queue->items.gone, atomic_load(&queue->items.came));
	CHECK_EQ(put(queue, 7, TINE_NOWAIT), 0);
}

TEST(a_message_whose_sleeper_was_woken_and_died_is_for_another)
{
	tine_queue *queue = make_for_long_sleeps(2);
	pid_t woken = test_fork(put_and_stay, queue), getter;

	CHECK_EQ(get(queue, SOON), 1);
	getter = start_sleeper(get_seven_at_last, queue);
	put_and_wake_nobody(queue);
	test_sleep_us(LONG_NAP);
	CHECK_EQ(tine_queue_len(queue), 1);
	test_kill(woken);
	expect_woken(getter);
	tine_queue_free(queue);
}

TEST(who_sleeps_until_somebody_dies_looks_by_itself_as_well)
{
	tine_queue *queue = make(8, 1);
	pid_t getter;

	queue->sleep = 1000L * LONG_NAP;
	getter = start_sleeper(get_seven_at_last, queue);
	put_and_wake_nobody(queue);
	expect_woken(getter);
	tine_queue_free(queue);
}

static void outlive_more_than_can_be_watched(bool sleeps)
{
	struct holder *holder = make_holder(8, WATCHED + 1);
	pid_t producers[WATCHED + 1], getter = 0;

	holder->queue->sleep = NEVER;
	for (int i = 0; i <= WATCHED; i++)
		producers[i] = test_fork(join_and_stay, holder);
	wait_for(&holder->held, WATCHED + 1);
	if (sleeps) {
		getter = test_fork(get_the_end_at_last, holder->queue);
		test_sleep_us(LONG_NAP);
	}
	for (int i = 0; i <= WATCHED; i++)
		test_kill(producers[i]);
	if (sleeps)
		expect_woken(getter);
	free_holder(holder);
}

TEST(more_than_can_be_watched_are_looked_at)
{
	/* The table of members grows, and never shrinks. */
	outlive_more_than_can_be_watched(false);
	test_grows_no_further();
	outlive_more_than_can_be_watched(true);
}

/* ------------------------------------------------------------------------------------ */

TEST(hundreds_of_processes_one_after_another)
{
	int n = (int)test_scaled(400);
	struct holder *holder = make_holder(8, n + 1);

	for (int i = 0; i < n; i++) {
		pid_t pid = test_fork(i % 3 ? put_once : put_and_be_killed,
				      holder->queue);

		CHECK_EQ(get(holder->queue, SOON), 1);
		CHECK_EQ(test_reap(pid), i % 3 ? 0 : -SIGKILL);
	}
	not_ended(holder->queue);
	/* The record of a holder goes to the next that comes; the lease does not. */
	CHECK_EQ(put(holder->queue, 1, TINE_NOWAIT), 0);
	for (int i = 0; i < n; i++)
		test_kill(start_holder(holder, hold_and_stay));
	CHECK_EQ(get(holder->queue, SOON), 1);
	CHECK_EQ(tine_queue_close(holder->queue), 0);
	ended(holder->queue);
	free_holder(holder);
}

/* ---- leases ------------------------------------------------------------------------ */

TEST(a_lease_comes_back_once_for_each_death)
{
	struct holder *holder = make_holder(4, 2);
	tine_queue *queue = holder->queue;
	tine_lease id = 0, old;
	int came_back = 0;

	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	for (int death = 0; death < 10; death++) {
		pid_t pid = start_holder(holder, hold_and_stay);

		CHECK_EQ(holder->number, 1);
		CHECK_EQ(tine_queue_len(queue), 0);
		CHECK_EQ(get(queue, TINE_NOWAIT), -ETIMEDOUT);
		CHECK(holder->id != id);
		id = holder->id;
		test_kill(pid);
	}
	old = id;
	CHECK_EQ(lease(queue, &id, SOON), 1);
	CHECK_EQ(tine_queue_ack(queue, old), -ENOENT);
	not_ended(queue);
	CHECK_EQ(tine_queue_ack(queue, id), 0);
	not_ended(queue);

	/* Others may overtake it, in their order; to get it is the end of it. */
	for (int i = 1; i <= 3; i++)
		CHECK_EQ(put(queue, i, TINE_NOWAIT), 0);
	test_kill(start_holder(holder, hold_and_stay));
	for (int i = 0, next = 2; i < 3; i++) {
		int64_t got = get(queue, SOON);

		if (got == 1)
			came_back++;
		else
			CHECK_EQ(got, next++);
	}
	CHECK_EQ(came_back, 1);
	not_ended(queue);
	free_holder(holder);
}

TEST(who_never_waits_gets_what_came_back)
{
	struct holder *holder = make_holder(4, 1);
	int64_t deadline = SOON, got;

	CHECK_EQ(put(holder->queue, 1, TINE_NOWAIT), 0);
	test_kill(start_holder(holder, hold_and_stay));
	while ((got = get(holder->queue, TINE_NOWAIT)) == -ETIMEDOUT) {
		CHECK(tine_now() < deadline);
		test_sleep_us(200);
	}
	CHECK_EQ(got, 1);
	free_holder(holder);
}

TEST(what_came_back_is_counted_and_kept_from_small_buffers)
{
	struct holder *holder = make_holder(4, 1);
	tine_queue *queue = holder->queue;
	int64_t out[2] = { 0, 99 };
	tine_lease id = 77;

	for (int i = 0; i < 3; i++) {
		CHECK_EQ(put(queue, 5, TINE_NOWAIT), 0);
		test_kill(start_holder(holder, hold_and_stay));
		wait_for(&holder->held, i + 1);
		CHECK_EQ(tine_queue_len(queue), 0);
		CHECK_EQ(tine_queue_get(queue, out, 7, SOON), -EMSGSIZE);
		CHECK_EQ(tine_queue_len(queue), 1);
		CHECK_EQ(tine_queue_lease(queue, out, 7, &id, SOON), -EMSGSIZE);
		CHECK_EQ(tine_queue_len(queue), 1);
		CHECK_EQ(id, 77);
		CHECK_EQ(out[0], 0);
		if (i == 0) {
			CHECK_EQ(get(queue, SOON), 5);
		} else if (i == 1) {
			CHECK_EQ(tine_queue_get_many(queue, out, 2, SOON), 1);
			CHECK_EQ(out[0], 5);
			CHECK_EQ(out[1], 99);
		} else {
			CHECK_EQ(lease(queue, &id, SOON), 5);
			CHECK_EQ(tine_queue_len(queue), 0);
			CHECK_EQ(tine_queue_ack(queue, id), 0);
		}
		out[0] = 0;
		id = 77;
	}
	not_ended(queue);
	free_holder(holder);
}

static void hold_two_and_be_killed(void *arg)
{
	hold(arg);
	hold(arg);
	raise(SIGKILL);
}

TEST(all_leases_of_the_dead_come_back)
{
	struct holder *holder = make_holder(2, 1);
	tine_queue *queue = holder->queue;
	tine_lease ids[2];
	int64_t first, second;

	/* As many as may be on lease: nobody else could lease one until they are back. */
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
		CHECK_EQ(put(queue, 2, TINE_NOWAIT), 0);
		CHECK_EQ(test_reap(test_fork(hold_two_and_be_killed, holder)), -SIGKILL);
		CHECK_EQ(put(queue, 3, TINE_NOWAIT), 0);
		first = lease(queue, &ids[0], SOON);
		second = lease(queue, &ids[1], SOON);
		if (first == 3)
			CHECK(second == 1 || second == 2);
		CHECK_EQ(tine_queue_ack(queue, ids[0]), 0);
		CHECK_EQ(tine_queue_ack(queue, ids[1]), 0);
		CHECK_EQ(first + second + get(queue, SOON), 6);
	}
	free_holder(holder);
}

TEST(a_lease_of_the_living_does_not_come_back)
{
	struct holder *holder = make_holder(4, 1);
	pid_t pid;

	CHECK_EQ(put(holder->queue, 1, TINE_NOWAIT), 0);
	pid = start_holder(holder, hold_then_ack);
	not_ended(holder->queue);
	/* Nor of the stopped. */
	kill(pid, SIGSTOP);
	not_ended(holder->queue);
	kill(pid, SIGCONT);
	atomic_store(&holder->go, 1);
	CHECK_EQ(test_reap(pid), 0);
	not_ended(holder->queue);
	free_holder(holder);
}

static void *hold_in_thread(void *holder)
{
	hold(holder);
	return NULL;
}

static void outlive_the_first_thread_here(void *arg)
{
	struct holder *holder = arg;
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, hold_in_thread, holder), 0);
	pthread_join(thread, NULL);
	wait_for(&holder->go, 1);
	CHECK_EQ(tine_queue_ack(holder->queue, holder->id), 0);
	CHECK_EQ(put(holder->queue, 9, TINE_NOWAIT), 0);
}

/* Leases are a process's, whichever of its threads took them, and whether that lives. */
TEST(a_lease_outlives_the_thread_that_took_it)
{
	struct holder *holder = make_holder(4, 2);
	pid_t pid;

	CHECK_EQ(put(holder->queue, 1, TINE_NOWAIT), 0);
	pid = start_holder(holder, outlive_the_first_thread_here);
	not_ended(holder->queue);
	atomic_store(&holder->go, 1);
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(get(holder->queue, TINE_NOWAIT), 9);
	/* Its death is noticed all the same. */
	CHECK_EQ(tine_queue_close(holder->queue), 0);
	ended(holder->queue);
	free_holder(holder);
}

static void hold_and_execute(void *arg)
{
	struct holder *holder = arg;

	holder->number = lease(holder->queue, &holder->id, SOON);
	execl("/bin/sh", "sh", "-c", "sleep 0.5", (char *)NULL);
	_exit(1);
}

TEST(who_executes_a_program_lives_until_that_ends)
{
	struct holder *holder = make_holder(4, 1);
	pid_t pid;

	CHECK_EQ(put(holder->queue, 1, TINE_NOWAIT), 0);
	pid = test_fork(hold_and_execute, holder);
	wait_for_len(holder->queue, 0);
	not_ended(holder->queue);
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(get(holder->queue, SOON), 1);
	free_holder(holder);
}

TEST(the_end_waits_for_the_leases_of_others)
{
	struct holder *holder = make_holder(4, 1);
	tine_queue *queue = holder->queue;
	tine_lease id;
	pid_t pid;

	/* The holder dies. */
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(tine_queue_close(queue), 0);
	pid = start_holder(holder, hold_and_stay);
	not_ended(queue);
	CHECK_EQ(lease(queue, &id, tine_after(20)), -ETIMEDOUT);
	test_kill(pid);
	CHECK_EQ(get(queue, SOON), 1);
	ended(queue);
	free_holder(holder);

	/* It says that it is done. */
	holder = make_holder(4, 1);
	queue = holder->queue;
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(tine_queue_close(queue), 0);
	pid = start_holder(holder, hold_then_ack);
	not_ended(queue);
	atomic_store(&holder->go, 1);
	CHECK_EQ(get(queue, SOON), 0);
	CHECK_EQ(test_reap(pid), 0);
	ended(queue);
	free_holder(holder);
}

static void hold_then_lease_the_end(void *arg)
{
	struct holder *holder = arg;
	tine_lease id;

	hold(holder);
	wait_for(&holder->held, 2);
	CHECK_EQ(lease(holder->queue, &id, SOON), 0);
	CHECK_EQ(get(holder->queue, SOON), 0);
	atomic_fetch_add(&holder->go, 1);
	pause();
}

TEST(two_with_leases_do_not_wait_for_each_other)
{
	struct holder *holder = make_holder(4, 1);
	tine_queue *queue = holder->queue;
	pid_t pids[2];

	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(put(queue, 2, TINE_NOWAIT), 0);
	CHECK_EQ(tine_queue_close(queue), 0);
	for (int i = 0; i < 2; i++)
		pids[i] = test_fork(hold_then_lease_the_end, holder);
	wait_for(&holder->go, 2);
	/* And if they die, what they held is not lost. */
	test_kill(pids[0]);
	test_kill(pids[1]);
	CHECK_EQ(get(queue, SOON) + get(queue, SOON), 3);
	ended(queue);
	free_holder(holder);
}

/* ---- death in the middle: the steps of words.h, done by hand up to one of them ----- */

static struct desk *own_desk(tine_queue *queue)
{
	CHECK_EQ(queue_sit(queue, member_id(), 0, TINE_FOREVER), 0);
	return desk_at(queue, member_index(member_id()));
}

static void claim_and_die(_Atomic uint64_t *end_of, _Atomic uint64_t *claims, uint64_t n,
			  bool moves)
{
	atomic_store(claims, claim_of(atomic_load(end_of), n));
	if (moves)
		atomic_fetch_add(end_of, n);
	raise(SIGKILL);
}

static void die_putting(void *queue)
{
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	claim_and_die(&((tine_queue *)queue)->tail, &own_desk(queue)->putting, 1, true);
}

static void die_putting_three_of_which_one_is_there(void *arg)
{
	tine_queue *queue = arg;
	uint64_t tail = atomic_load(&queue->tail);
	struct cell *cell = cell_in(&queue->ring, tail + 1);

	*(int64_t *)cell->data = 2;
	atomic_store(&cell->word, cell_word(FULL, 8, tail + 1));
	claim_and_die(&queue->tail, &own_desk(queue)->putting, 3, true);
}

static void die_before_the_claim_to_put(void *queue)
{
	claim_and_die(&((tine_queue *)queue)->tail, &own_desk(queue)->putting, 1, false);
}

static void die_getting(void *queue)
{
	claim_and_die(&((tine_queue *)queue)->head, &own_desk(queue)->getting, 1, true);
}

static void die_getting_two(void *queue)
{
	claim_and_die(&((tine_queue *)queue)->head, &own_desk(queue)->getting, 2, true);
}

static void die_before_the_claim_to_get(void *queue)
{
	claim_and_die(&((tine_queue *)queue)->head, &own_desk(queue)->getting, 1, false);
}

static void tend(tine_queue *queue)
{
	/* It does nothing when it has just been done. */
	test_sleep_us(2000);
	queue_tend(queue, TINE_FOREVER);
}

static void killed_in(void (*fn)(void *), tine_queue *queue)
{
	CHECK_EQ(test_reap(test_fork(fn, queue)), -SIGKILL);
}

TEST(a_message_half_put_is_none)
{
	for (size_t c = 2; c < CAPACITIES; c++) {
		tine_queue *queue = make(capacities[c], 6);

		for (int lap = 0; lap < 5; lap++) {
			killed_in(lap % 2 ? die_before_the_claim_to_put : die_putting,
				  queue);
			if (lap > 2)
				tend(queue);
			CHECK_EQ(put(queue, 3, TINE_NOWAIT), 0);
			if (lap % 2 == 0)
				CHECK_EQ(get(queue, SOON), 1);
			CHECK_EQ(get(queue, SOON), 3);
			CHECK_EQ(tine_queue_len(queue), 0);
		}
		/* Three of the dead had put; those with a mere claim had not. */
		CHECK_EQ(get(queue, TINE_NOWAIT), -ETIMEDOUT);
		CHECK_EQ(tine_queue_close(queue), 0);
		in_a_child(close_it, queue);
		CHECK_EQ(put(queue, 1, TINE_NOWAIT), -EPIPE);
		in_a_child(close_it, queue);
		ended(queue);
		tine_queue_free(queue);
	}
}

TEST(of_many_half_put_those_arrive_that_are_there)
{
	tine_queue *queue = make(4, 1);
	int64_t out[4] = { 0 };

	for (int lap = 0; lap < 5; lap++) {
		killed_in(die_putting_three_of_which_one_is_there, queue);
		CHECK_EQ(put(queue, 3, TINE_NOWAIT), 0);
		CHECK_EQ(put(queue, 4, TINE_NOWAIT), -ETIMEDOUT);
		if (lap % 2) {
			CHECK_EQ(tine_queue_get_many(queue, out, 4, SOON), 2);
			CHECK_EQ(out[0], 2);
			CHECK_EQ(out[1], 3);
		} else {
			CHECK_EQ(get(queue, SOON), 2);
			CHECK_EQ(get(queue, SOON), 3);
		}
	}
	tine_queue_free(queue);
}

TEST(a_message_half_taken_comes_again)
{
	for (size_t c = 0; c < CAPACITIES; c++) {
		tine_queue *queue = make(capacities[c], 1);
		int64_t number = 0;
		tine_lease id;

		for (int lap = 0; lap < 6; lap++) {
			CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
			killed_in(lap % 2 ? die_before_the_claim_to_get : die_getting,
				  queue);
			if (lap > 2)
				tend(queue);
			/* A lap behind, it is in the way, and in nobody's. */
			CHECK_EQ(tine_queue_get(queue, &number, 7, SOON), -EMSGSIZE);
			CHECK_EQ(tine_queue_len(queue), 1);
			if (lap % 3) {
				CHECK_EQ(get(queue, SOON), 1);
			} else {
				CHECK_EQ(lease(queue, &id, SOON), 1);
				CHECK_EQ(tine_queue_ack(queue, id), 0);
			}
			CHECK_EQ(get(queue, tine_after(5)), -ETIMEDOUT);
			CHECK_EQ(tine_queue_len(queue), 0);
		}
		tine_queue_free(queue);
	}
}

static void put_when_the_stray_is_out_of_the_way(void *queue)
{
	for (int i = 2; i <= 4; i++)
		CHECK_EQ(put(queue, i, SOON), 0);
}

TEST(a_message_half_taken_is_no_room)
{
	tine_queue *queue = make(2, 2);
	pid_t pid;

	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	killed_in(die_getting_two, queue);
	pid = test_fork(put_when_the_stray_is_out_of_the_way, queue);
	test_sleep_us(LONG_NAP);
	CHECK_EQ(tine_queue_len(queue), 2);
	CHECK_EQ(get(queue, SOON), 1);
	CHECK_EQ(get(queue, SOON), 1);
	for (int i = 2; i <= 4; i++)
		CHECK_EQ(get(queue, SOON), i);
	CHECK_EQ(test_reap(pid), 0);
	tine_queue_free(queue);
}

TEST(the_end_waits_for_a_message_half_taken)
{
	tine_queue *queue = make(2, 1);

	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(tine_queue_close(queue), 0);
	killed_in(die_getting, queue);
	CHECK_EQ(get(queue, SOON), 1);
	ended(queue);
	tine_queue_free(queue);
}

static void die_at_the_first_put(void *queue)
{
	claim_and_die(&((tine_queue *)queue)->tail, &own_desk(queue)->putting, 1, true);
}

TEST(nothing_half_put_may_be_half_taken)
{
	for (size_t c = 0; c < CAPACITIES; c++) {
		tine_queue *queue = make(capacities[c], 1);
		tine_lease id;

		for (int lap = 0; lap < 4; lap++) {
			killed_in(die_at_the_first_put, queue);
			tend(queue);
			if (lap % 2)
				killed_in(die_getting, queue);
			else
				CHECK_EQ(lease(queue, &id, TINE_NOWAIT), -ETIMEDOUT);
			CHECK_EQ(put(queue, 3, SOON), 0);
			CHECK_EQ(lease(queue, &id, SOON), 3);
			CHECK_EQ(tine_queue_ack(queue, id), 0);
		}
		CHECK_EQ(tine_queue_len(queue), 0);
		tine_queue_free(queue);
	}
}

/* What the living have claimed, and the dead had wanted to, looks like the dead's. */
static void put_slowly(void *arg)
{
	struct holder *holder = arg;
	tine_queue *queue = holder->queue;
	uint64_t tail = atomic_load(&queue->tail);
	struct cell *cell = cell_in(&queue->ring, tail);

	atomic_store(&own_desk(queue)->putting, claim_of(tail, 1));
	atomic_store(&queue->tail, tail + 1);
	atomic_fetch_add(&holder->held, 1);
	wait_for(&holder->go, 1);
	*(int64_t *)cell->data = 5;
	atomic_store(&cell->word, cell_word(FULL, 8, tail));
}

static void get_slowly(void *arg)
{
	struct holder *holder = arg;
	tine_queue *queue = holder->queue;
	uint64_t head = atomic_load(&queue->head);

	atomic_store(&own_desk(queue)->getting, claim_of(head, 1));
	atomic_store(&queue->head, head + 1);
	atomic_fetch_add(&holder->held, 1);
	wait_for(&holder->go, 1);
	atomic_store(&cell_in(&queue->ring, head)->word, freed_in(&queue->ring, head));
}

static void die_wanting_to_put_the_last(void *arg)
{
	tine_queue *queue = arg;

	atomic_store(&own_desk(queue)->putting,
		     claim_of(atomic_load(&queue->tail) - 1, 1));
	raise(SIGKILL);
}

static void die_wanting_to_get_the_last(void *arg)
{
	tine_queue *queue = arg;

	atomic_store(&own_desk(queue)->getting,
		     claim_of(atomic_load(&queue->head) - 1, 1));
	raise(SIGKILL);
}

TEST(what_the_living_are_at_is_left_to_them)
{
	struct holder *holder = make_holder(4, 1);
	tine_queue *queue = holder->queue;
	pid_t pid = start_holder(holder, put_slowly);

	killed_in(die_wanting_to_put_the_last, queue);
	for (int i = 0; i < 2; i++) {
		tend(queue);
		CHECK_EQ(get(queue, TINE_NOWAIT), -ETIMEDOUT);
	}
	CHECK_EQ(put(queue, 6, TINE_NOWAIT), 0);
	CHECK_EQ(get(queue, TINE_NOWAIT), -ETIMEDOUT);
	atomic_store(&holder->go, 1);
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(get(queue, SOON), 5);

	atomic_store(&holder->go, 0);
	pid = start_holder(holder, get_slowly);
	killed_in(die_wanting_to_get_the_last, queue);
	for (int i = 0; i < 2; i++) {
		tend(queue);
		CHECK_EQ(get(queue, TINE_NOWAIT), -ETIMEDOUT);
	}
	atomic_store(&holder->go, 1);
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(get(queue, tine_after(5)), -ETIMEDOUT);
	CHECK_EQ(tine_queue_len(queue), 0);

	/* Now that all is settled, the dead are no longer looked at. */
	tend(queue);
	for (unsigned i = 0; i < DESK_GROUP; i++)
		if (i != member_index(member_id()))
			CHECK_EQ(desk_at(queue, i)->member, 0);
	free_holder(holder);
}

/* Was slower than somebody who has died since, and has not yet taken its claim back. */
static void want_the_next(void *arg)
{
	struct holder *holder = arg;
	tine_queue *queue = holder->queue;
	struct desk *desk = own_desk(queue);

	atomic_store(&desk->putting, claim_of(atomic_load(&queue->tail), 1));
	atomic_store(&desk->getting, claim_of(atomic_load(&queue->head), 1));
	atomic_fetch_add(&holder->held, 1);
	wait_for(&holder->go, 1);
	atomic_store(&desk->putting, NO_CLAIM);
	atomic_store(&desk->getting, NO_CLAIM);
	atomic_fetch_add(&holder->held, 1);
	wait_for(&holder->go, 2);
}

/* Then nobody is left who could end what the dead one had begun. */
static void settled_when_let_go(void (*die)(void *), int64_t first, int64_t then)
{
	struct holder *holder = make_holder(4, 1000);
	tine_queue *queue = holder->queue;
	pid_t pid;

	if (first == then)
		CHECK_EQ(put(queue, first, TINE_NOWAIT), 0);
	pid = start_holder(holder, want_the_next);
	killed_in(die, queue);
	for (int i = 0; i < 2; i++) {
		tend(queue);
		CHECK_EQ(get(queue, TINE_NOWAIT), -ETIMEDOUT);
	}
	if (first != then)
		CHECK_EQ(put(queue, then, TINE_NOWAIT), 0);
	CHECK_EQ(get(queue, TINE_NOWAIT), -ETIMEDOUT);
	atomic_store(&holder->go, 1);
	wait_for(&holder->held, 2);
	CHECK_EQ(get(queue, SOON), then);
	CHECK_EQ(get(queue, TINE_NOWAIT), -ETIMEDOUT);
	atomic_store(&holder->go, 2);
	CHECK_EQ(test_reap(pid), 0);
	free_holder(holder);
}

TEST(what_the_living_let_go_is_settled)
{
	settled_when_let_go(die_at_the_first_put, 1, 2);
	settled_when_let_go(die_getting, 3, 3);
}

/* Of a thread of a process that closes meanwhile, say. */
TEST(the_end_waits_for_a_message_half_put)
{
	struct holder *holder = make_holder(4, 1);
	pid_t pid = start_holder(holder, put_slowly);

	CHECK_EQ(tine_queue_close(holder->queue), 0);
	CHECK_EQ(get(holder->queue, tine_after(5)), -ETIMEDOUT);
	atomic_store(&holder->go, 1);
	CHECK_EQ(get(holder->queue, SOON), 5);
	CHECK_EQ(test_reap(pid), 0);
	ended(holder->queue);
	free_holder(holder);
}

static struct box *take_box_by_hand(tine_queue *queue, struct desk *desk,
				    enum state state, size_t len)
{
	struct box *box = box_at(queue, 0);

	CHECK(box);
	CHECK_EQ(word_state(atomic_load(&box->word)), FREE);
	atomic_fetch_add(&desk->leased, 1);
	atomic_store(&box->position, atomic_load(&queue->head));
	*(int64_t *)box->data = *(int64_t *)cell_in(&queue->ring, box->position)->data;
	atomic_store(&box->word, box_word(state, len, 5, member_index(member_id())));
	return box;
}

static void die_leasing_before_the_claim(void *queue)
{
	take_box_by_hand(queue, own_desk(queue), TAKING, 0);
	raise(SIGKILL);
}

static void die_leasing_before_it_is_held(void *queue)
{
	take_box_by_hand(queue, own_desk(queue), TAKING, 0);
	die_getting(queue);
}

static void die_leasing_when_it_is_in_two_places(void *queue)
{
	take_box_by_hand(queue, own_desk(queue), HELD, 8);
	die_getting(queue);
}

TEST(a_message_half_leased_comes_again_once)
{
	static void (*const ways[])(void *) = { die_leasing_before_the_claim,
						die_leasing_before_it_is_held,
						die_leasing_when_it_is_in_two_places };

	for (int i = 0; i < 6; i++) {
		tine_queue *queue = make(1, 1);
		tine_lease id;

		/* So that there are boxes. */
		CHECK_EQ(lease(queue, &id, TINE_NOWAIT), -ETIMEDOUT);
		for (int lap = 0; lap < 3; lap++) {
			CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
			killed_in(ways[i / 2], queue);
			if (i % 2) {
				CHECK_EQ(get(queue, SOON), 1);
			} else {
				CHECK_EQ(lease(queue, &id, SOON), 1);
				CHECK_EQ(tine_queue_ack(queue, id), 0);
			}
			CHECK_EQ(get(queue, tine_after(5)), -ETIMEDOUT);
			CHECK_EQ(tine_queue_len(queue), 0);
		}
		tine_queue_free(queue);
	}
}

/* Whoever only leases needs a box for the one, and the only box has the other. */
TEST(a_lease_that_came_back_and_a_message_half_taken)
{
	struct holder *holder = make_holder(1, 1);
	tine_lease id;
	pid_t holding;

	CHECK_EQ(put(holder->queue, 1, TINE_NOWAIT), 0);
	holding = start_holder(holder, hold_and_stay);
	CHECK_EQ(put(holder->queue, 2, TINE_NOWAIT), 0);
	killed_in(die_getting, holder->queue);
	test_kill(holding);
	tend(holder->queue);
	CHECK_EQ(tine_queue_len(holder->queue), 2);
	for (int i = 0; i < 2; i++) {
		CHECK(lease(holder->queue, &id, SOON) > 0);
		CHECK_EQ(tine_queue_ack(holder->queue, id), 0);
	}
	CHECK_EQ(tine_queue_len(holder->queue), 0);
	free_holder(holder);
}

static void die_leasing_a_stray(void *queue)
{
	struct stray stray;
	struct desk *desk;
	struct box *box;

	desk = own_desk(queue);
	CHECK_EQ(queue_lock(queue, TINE_FOREVER), 0);
	CHECK(queue_find_stray(queue, &stray));
	box = take_box_by_hand(queue, desk, TAKING, 0);
	queue_note_stray(queue, &stray, box);
	atomic_store(&box->position, stray.position);
	*(int64_t *)box->data = *(const int64_t *)stray.data;
	atomic_store(&box->word, box_word(HELD, 8, 5, member_index(member_id())));
	raise(SIGKILL);
}

TEST(a_message_that_came_back_half_leased_comes_again_once)
{
	for (size_t c = 0; c < CAPACITIES; c++) {
		tine_queue *queue = make(capacities[c], 1);
		tine_lease id;

		CHECK_EQ(lease(queue, &id, TINE_NOWAIT), -ETIMEDOUT);
		for (int lap = 0; lap < 4; lap++) {
			CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
			killed_in(die_getting, queue);
			CHECK_EQ(tine_queue_get(queue, NULL, 0, SOON), -EMSGSIZE);
			killed_in(die_leasing_a_stray, queue);
			CHECK_EQ(get(queue, SOON), 1);
			CHECK_EQ(get(queue, tine_after(5)), -ETIMEDOUT);
			CHECK_EQ(tine_queue_len(queue), 0);
		}
		tine_queue_free(queue);
	}
}

static void die_getting_a_stray(void *queue)
{
	struct stray stray;

	own_desk(queue);
	CHECK_EQ(queue_lock(queue, TINE_FOREVER), 0);
	CHECK(queue_find_stray(queue, &stray));
	queue_note_stray(queue, &stray, NULL);
	atomic_store(stray.word, stray.taken);
	raise(SIGKILL);
}

TEST(a_message_that_came_back_half_taken_is_gone)
{
	tine_queue *queue = make(2, 1);

	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	killed_in(die_getting, queue);
	CHECK_EQ(tine_queue_get(queue, NULL, 0, SOON), -EMSGSIZE);
	killed_in(die_getting_a_stray, queue);
	CHECK_EQ(tine_queue_close(queue), 0);
	CHECK_EQ(tine_queue_len(queue), 0);
	ended(queue);
	tine_queue_free(queue);
}

static void die_closing_uncounted(void *arg)
{
	tine_queue *queue = arg;
	struct desk *desk = own_desk(queue);

	CHECK_EQ(queue_lock(queue, TINE_FOREVER), 0);
	atomic_fetch_or(&desk->role, CLOSING);
	raise(SIGKILL);
}

static void die_closing_counted(void *arg)
{
	tine_queue *queue = arg;
	struct desk *desk = own_desk(queue);

	CHECK_EQ(queue_lock(queue, TINE_FOREVER), 0);
	atomic_fetch_or(&desk->role, CLOSING);
	atomic_store(&queue->closes, (uint64_t)(member_index(member_id()) + 1) << 32 |
					     ((uint32_t)atomic_load(&queue->closes) + 1));
	raise(SIGKILL);
}

TEST(who_dies_closing_is_counted_once)
{
	tine_queue *queue = make(4, 9);

	for (int i = 0; i < 4; i++) {
		killed_in(die_closing_uncounted, queue);
		CHECK_EQ(get(queue, tine_after(5)), -ETIMEDOUT);
		killed_in(die_closing_counted, queue);
		CHECK_EQ(get(queue, tine_after(5)), -ETIMEDOUT);
	}
	not_ended(queue);
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(get(queue, TINE_NOWAIT), 1);
	CHECK_EQ(tine_queue_close(queue), 0);
	ended(queue);
	tine_queue_free(queue);
}

/* ---- what it costs, and who is held up --------------------------------------------- */

enum { WIDE = 1 << 16 }; /* boxes, several times what is done before a look at the time */

static void lease_the_last_box(void *arg)
{
	tine_queue *queue = arg;
	tine_lease id;

	own_desk(queue)->box = WIDE - 1;
	CHECK_EQ(lease(queue, &id, TINE_NOWAIT), 1);
	raise(SIGKILL);
}

TEST(a_recovery_stops_at_the_deadline_and_the_next_goes_on)
{
	tine_queue *queue = make(WIDE, 1);
	uint64_t before = 0, after;
	int pieces = 0;
	tine_lease id;

	CHECK_EQ(lease(queue, &id, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	killed_in(lease_the_last_box, queue);
	do {
		test_sleep_us(2000);
		queue_tend(queue, TINE_NOWAIT);
		after = atomic_load(&queue->swept);
		CHECK(after > before || after == WIDE);
		pieces += after > before;
		before = after;
	} while (atomic_load(&queue->recovering));
	CHECK(pieces > 1);
	CHECK_EQ(get(queue, TINE_NOWAIT), 1);
	tine_queue_free(queue);
}

static void recover_a_piece_and_die(void *queue)
{
	own_desk(queue);
	test_sleep_us(2000);
	queue_tend(queue, TINE_NOWAIT);
	raise(SIGKILL);
}

TEST(recoverers_that_die_are_recovered_too)
{
	tine_queue *queue = make(WIDE, 1);
	tine_lease id;

	CHECK_EQ(lease(queue, &id, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	killed_in(lease_the_last_box, queue);
	for (int i = 0; i < 8; i++)
		killed_in(recover_a_piece_and_die, queue);
	CHECK_EQ(get(queue, SOON), 1);
	CHECK_EQ(tine_queue_len(queue), 0);
	tend(queue);
	for (unsigned i = 0; i < DESK_GROUP; i++)
		if (i != member_index(member_id()))
			CHECK_EQ(desk_at(queue, i)->member, 0);
	tine_queue_free(queue);
}

/* So that whoever looks through all of it is killed. */
static void forbid(const char *from, size_t len)
{
	uintptr_t first = ((uintptr_t)from + 4095) & ~(uintptr_t)4095;
	uintptr_t end = ((uintptr_t)from + len) & ~(uintptr_t)4095;

	CHECK_EQ(mprotect((void *)first, end - first, PROT_NONE), 0);
}

static void wait_for_the_end_beside_a_lease(void *arg)
{
	tine_queue *queue = arg;

	/* All but the first cells, at which it looks for messages. */
	forbid(queue->ring.cells + 4096,
	       (queue->ring.mask + 1) * queue->ring.stride - 4096);
	forbid(atomic_load(&queue->boxes), queue->capacity * queue->box_stride);
	CHECK_EQ(get(queue, tine_after(20)), -ETIMEDOUT);
	CHECK_EQ(get(queue, TINE_NOWAIT), -ETIMEDOUT);
}

TEST(the_end_is_not_looked_for_in_cells_and_boxes)
{
	struct holder *holder = make_holder(WIDE, 1);
	pid_t pid;

	CHECK_EQ(put(holder->queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(tine_queue_close(holder->queue), 0);
	pid = start_holder(holder, hold_then_ack);
	in_a_child(wait_for_the_end_beside_a_lease, holder->queue);
	atomic_store(&holder->go, 1);
	CHECK_EQ(test_reap(pid), 0);
	ended(holder->queue);
	free_holder(holder);
}

static void die_getting_many(void *queue)
{
	claim_and_die(&((tine_queue *)queue)->head, &own_desk(queue)->getting, 100, true);
}

static void recover_without_boxes(void *arg)
{
	tine_queue *queue = arg;

	forbid(atomic_load(&queue->boxes), queue->capacity * queue->box_stride);
	for (int i = 1; i <= 100; i++)
		CHECK_EQ(get(queue, SOON), i);
}

/* And what came back keeps its order. */
TEST(boxes_are_looked_through_only_for_those_who_had_leases)
{
	tine_queue *queue = make(WIDE, 1);
	tine_lease id;

	CHECK_EQ(lease(queue, &id, TINE_NOWAIT), -ETIMEDOUT);
	for (int i = 1; i <= 100; i++)
		CHECK_EQ(put(queue, i, TINE_NOWAIT), 0);
	killed_in(die_getting_many, queue);
	in_a_child(recover_without_boxes, queue);
	tine_queue_free(queue);
}

static void stop_with_the_lock(void *arg)
{
	struct holder *holder = arg;

	own_desk(holder->queue);
	CHECK_EQ(queue_lock(holder->queue, TINE_FOREVER), 0);
	atomic_fetch_add(&holder->held, 1);
	raise(SIGSTOP);
	queue_unlock(holder->queue);
}

TEST(who_closes_beside_a_stopped_one_is_counted_later)
{
	struct holder *holder = make_holder(4, 1);
	tine_queue *queue = holder->queue;
	pid_t pid;
	int how;

	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	pid = start_holder(holder, stop_with_the_lock);
	CHECK(waitpid(pid, &how, WUNTRACED) == pid && WIFSTOPPED(how));
	CHECK_EQ(tine_queue_close(queue), 0);
	CHECK_EQ(put(queue, 2, TINE_NOWAIT), -EPIPE);
	CHECK_EQ(get(queue, TINE_NOWAIT), 1);
	CHECK_EQ(get(queue, tine_after(20)), -ETIMEDOUT);
	kill(pid, SIGCONT);
	CHECK_EQ(test_reap(pid), 0);
	ended(queue);
	free_holder(holder);
}

static void use_for_the_first_time(void *queue)
{
	tine_lease id;

	CHECK_EQ(get(queue, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(put(queue, 1, tine_after(20)), -ETIMEDOUT);
	CHECK_EQ(lease(queue, &id, tine_after(20)), -ETIMEDOUT);
	CHECK_EQ(tine_queue_ack(queue, 1), -ENOENT);
	CHECK_EQ(tine_queue_close(queue), -ETIMEDOUT);
}

TEST(who_is_new_beside_a_stopped_one_is_told_by_its_deadline)
{
	struct holder *holder = make_holder(4, 1);
	pid_t pid = start_holder(holder, stop_with_the_lock);
	int how;

	CHECK(waitpid(pid, &how, WUNTRACED) == pid && WIFSTOPPED(how));
	in_a_child(use_for_the_first_time, holder->queue);
	kill(pid, SIGCONT);
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(put(holder->queue, 1, TINE_NOWAIT), 0);
	free_holder(holder);
}

static void hold_until_told(void *arg)
{
	struct holder *holder = arg;

	hold(holder);
	wait_for(&holder->go, 1);
	raise(SIGKILL);
}

static void look_after_the_dead(void *arg)
{
	struct holder *holder = arg;

	CHECK_EQ(get(holder->queue, TINE_NOWAIT), -ETIMEDOUT);
	atomic_fetch_add(&holder->held, 1);
	wait_for(&holder->go, 2);
	tend(holder->queue);
	CHECK_EQ(get(holder->queue, tine_after(20)), -ETIMEDOUT);
	atomic_fetch_add(&holder->held, 1);
}

/* What the dead one had waits for who is stopped, and nobody else does. */
TEST(who_looks_after_the_dead_does_not_wait_for_a_stopped_one)
{
	struct holder *holder = make_holder(4, 1000);
	tine_queue *queue = holder->queue;
	pid_t dead, looks, stopped;
	int how;

	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	dead = start_holder(holder, hold_until_told);
	looks = test_fork(look_after_the_dead, holder);
	wait_for(&holder->held, 2);
	stopped = test_fork(stop_with_the_lock, holder);
	CHECK(waitpid(stopped, &how, WUNTRACED) == stopped && WIFSTOPPED(how));
	atomic_store(&holder->go, 1);
	CHECK_EQ(test_reap(dead), -SIGKILL);
	atomic_store(&holder->go, 2);
	wait_for(&holder->held, 4);
	CHECK_EQ(test_reap(looks), 0);
	kill(stopped, SIGCONT);
	CHECK_EQ(test_reap(stopped), 0);
	CHECK_EQ(get(queue, SOON), 1);
	free_holder(holder);
}

static void sit_where_nothing_can_be_told(void *queue)
{
	CHECK_EQ(get(queue, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(get(queue, tine_after(20)), -ETIMEDOUT);
}

/* The desk is a dead one's that names a position which a stopped one is at. */
TEST(who_comes_to_a_desk_that_cannot_be_settled_is_told_by_its_deadline)
{
	struct holder *holder = make_holder(4, 1);
	tine_queue *queue = holder->queue;
	pid_t pid = start_holder(holder, put_slowly);

	killed_in(die_wanting_to_put_the_last, queue);
	kill(pid, SIGSTOP);
	in_a_child(sit_where_nothing_can_be_told, queue);
	kill(pid, SIGCONT);
	atomic_store(&holder->go, 1);
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(get(queue, SOON), 5);
	free_holder(holder);
}

/* ---- death at any moment ----------------------------------------------------------- */

enum { LIVES = 30, MOST = 20000, BATCH = 6, TAKERS = 4 };

struct storm {
	tine_queue *queue;
	size_t len;
	unsigned char *taken[TAKERS]; /* where messages are taken to */
	_Atomic int noted[TAKERS];    /* may have noted what is on lease yet */
	_Atomic uint32_t sent[LIVES]; /* put, as their producers know */
	_Atomic uint8_t
		got[LIVES][MOST]; /* by how many who lived to say so; 0x80: others */
};

struct role_of {
	struct storm *storm;
	unsigned number;
};

/* At both ends, so that one can tell whether all of it is there. */
static void stamp(unsigned char *place, size_t len, struct message message)
{
	memcpy(place, &message, sizeof(message));
	memcpy(place + len - sizeof(message), &message, sizeof(message));
}

static void storm_produce(void *arg)
{
	struct role_of *part = arg;
	struct storm *storm = part->storm;
	size_t len = storm->len;
	unsigned char *places = calloc(3, len);
	uint32_t at = 0;

	while (at + 3 < MOST) {
		uint32_t n = at % 4 == 0 ? 3 : 1;

		for (uint32_t i = 0; i < n; i++)
			stamp(places + i * len, len,
			      (struct message){ part->number + 1, at + i });
		if (n == 1)
			CHECK_EQ(tine_queue_put(storm->queue, places, len, TINE_FOREVER),
				 0);
		else
			CHECK_EQ(tine_queue_put_many(storm->queue, places, n,
						     TINE_FOREVER),
				 n);
		at += n;
		atomic_store(&storm->sent[part->number], at);
	}
	pause();
}

static void note(struct storm *storm, const unsigned char *place, bool living)
{
	struct message first, last;
	_Atomic uint8_t *got;

	memcpy(&first, place, sizeof(first));
	memcpy(&last, place + storm->len - sizeof(last), sizeof(last));
	if (first.producer == 0 || memcmp(&first, &last, sizeof(first)) != 0) {
		CHECK(!living);
		return;
	}
	CHECK(first.producer <= LIVES && first.number < MOST);
	got = &storm->got[first.producer - 1][first.number];
	if (living)
		CHECK((atomic_fetch_add(got, 1) & 0x7f) < 0x7f);
	else
		atomic_fetch_or(got, 0x80);
}

static ssize_t storm_take(struct storm *storm, unsigned number, tine_lease *id)
{
	unsigned char *to = storm->taken[number];

	if (number == 0)
		return tine_queue_get_many(storm->queue, to, BATCH, TINE_FOREVER);
	if (number == 1)
		return tine_queue_get(storm->queue, to, storm->len, TINE_FOREVER) > 0;
	return tine_queue_lease(storm->queue, to, storm->len, id, TINE_FOREVER) > 0;
}

static void storm_consume(void *arg)
{
	struct role_of *part = arg;
	struct storm *storm = part->storm;
	tine_lease id;
	ssize_t n;

	while ((n = storm_take(storm, part->number, &id)) > 0) {
		atomic_store(&storm->noted[part->number], part->number >= 2);
		for (ssize_t i = 0; i < n; i++)
			note(storm, storm->taken[part->number] + i * storm->len, true);
		if (part->number >= 2)
			CHECK_EQ(tine_queue_ack(storm->queue, id), 0);
		atomic_store(&storm->noted[part->number], 0);
	}
	CHECK_EQ(n, 0);
}

/*
 * What the dead had taken they may not have noted; what was on lease comes back. Whether
 * that will be noted twice.
 */
static bool bury(struct storm *storm, pid_t pid, unsigned taker)
{
	test_kill(pid);
	for (int i = 0; taker < 2 && i < BATCH; i++)
		note(storm, storm->taken[taker] + i * storm->len, false);
	memset(storm->taken[taker], 0, BATCH * storm->len);
	return atomic_exchange(&storm->noted[taker], 0);
}

/* Who dies before it has put is no producer that could close. */
static void end_producer(struct storm *storm, pid_t pid, unsigned number)
{
	int64_t deadline = SOON;

	while (atomic_load(&storm->sent[number]) == 0)
		CHECK(tine_now() < deadline);
	test_kill(pid);
}

/* And twice came only what had been on lease, once for each death. */
static void check_storm(struct storm *storm, unsigned twice)
{
	unsigned again = 0;

	for (int i = 0; i < LIVES; i++) {
		uint32_t sent = atomic_load(&storm->sent[i]);

		for (uint32_t k = 0; k < sent; k++)
			if (!storm->got[i][k])
				test_fail(__FILE__, __LINE__, "%u of %d is lost", k, i);
		for (uint32_t k = 0; k < MOST; k++)
			again += (storm->got[i][k] & 0x7f) > 1
					 ? (storm->got[i][k] & 0x7f) - 1
					 : 0;
		/* It may have died before it could say so. */
		for (uint32_t k = sent + 3; k < MOST; k++)
			CHECK_EQ(storm->got[i][k], 0);
	}
	CHECK(again <= twice);
}

static void storm_of(size_t len, size_t capacity, uint64_t random)
{
	struct storm *storm = tine_shared_new(1, sizeof(*storm));
	pid_t producers[2], takers[TAKERS];
	unsigned lives = 0, twice = 0, part_of[2];
	unsigned char *place;
	tine_lease lease;
	ssize_t n;

	storm->queue = make_of(len, capacity, LIVES);
	storm->len = len;
	place = calloc(1, len);
	/* Who dies while it allocates takes that block along: it is allocated before. */
	CHECK_EQ(tine_queue_lease(storm->queue, place, len, &lease, TINE_NOWAIT),
		 -ETIMEDOUT);
	while (lives < 2) {
		struct role_of part = { storm, lives };

		part_of[lives] = lives;
		producers[lives++] = test_fork(storm_produce, &part);
	}
	for (unsigned i = 0; i < TAKERS; i++) {
		struct role_of part = { storm, i };

		storm->taken[i] = tine_shared_new(BATCH, len);
		takers[i] = test_fork(storm_consume, &part);
	}
	while (lives < LIVES) {
		unsigned who = (random = random * 6364136223846793005 + 1) >> 33;

		test_sleep_us(who % 4096);
		if (who >> 12 & 1) {
			struct role_of part = { storm, lives };
			unsigned which = who >> 13 & 1;

			end_producer(storm, producers[which], part_of[which]);
			producers[which] = test_fork(storm_produce, &part);
			part_of[which] = lives++;
		} else {
			struct role_of part = { storm, who >> 13 & 3 };

			twice += bury(storm, takers[part.number], part.number);
			takers[part.number] = test_fork(storm_consume, &part);
		}
	}
	end_producer(storm, producers[0], part_of[0]);
	end_producer(storm, producers[1], part_of[1]);
	while ((n = tine_queue_get(storm->queue, place, len, SOON)) > 0)
		note(storm, place, true);
	CHECK_EQ(n, 0);
	for (int i = 0; i < TAKERS; i++) {
		CHECK_EQ(test_reap(takers[i]), 0);
		tine_shared_free(storm->taken[i]);
	}
	check_storm(storm, twice);
	free(place);
	tine_queue_free(storm->queue);
	tine_shared_free(storm);
}

TEST(killed_at_any_moment_nobody_takes_a_message_along)
{
	uint64_t seed = test_seed();

	for (size_t c = 0; c < CAPACITIES; c++)
		storm_of(sizeof(struct message), capacities[c], seed + c);
}

/* Copying takes most of the time there is, and most are killed at it. */
TEST(killed_at_a_long_copy_nobody_takes_a_message_along)
{
	uint64_t seed = test_seed();

	for (size_t c = 0; c + 1 < CAPACITIES; c++)
		storm_of(300000, capacities[c], seed + c);
}

enum { LENGTHY = 300000 };

static void *put_for_ever(void *queue)
{
	unsigned char *place = calloc(1, LENGTHY);

	while (tine_queue_put(queue, place, LENGTHY, TINE_FOREVER) == 0)
		;
	return place;
}

static void put_by_threads(void *queue)
{
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, put_for_ever, queue), 0);
	pause();
}

static void get_all(void *queue)
{
	unsigned char *place = calloc(1, LENGTHY);
	ssize_t len;

	while ((len = tine_queue_get(queue, place, LENGTHY, SOON)) > 0)
		;
	CHECK_EQ(len, 0);
	free(place);
}

/* A process has put down one claim at most, whatever its threads. */
TEST(threads_killed_leave_no_gap)
{
	uint64_t random = test_seed();

	for (int i = 0; i < 30; i++) {
		tine_queue *queue = make_of(LENGTHY, 5, 1);
		pid_t producer = test_fork(put_by_threads, queue), consumer;

		while (tine_queue_len(queue) == 0)
			test_sleep_us(100);
		consumer = test_fork(get_all, queue);
		random = random * 6364136223846793005 + 1;
		test_sleep_us((random >> 33) % 3000);
		test_kill(producer);
		CHECK_EQ(test_reap(consumer), 0);
		tine_queue_free(queue);
	}
}
