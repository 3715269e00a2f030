/* SPDX-License-Identifier: MIT */
/* A process is stopped within a call; those of others keep their deadlines. */
#include "memory/heap.h"
#include "memory/owned.h"
#include "queue/mend.h"
#include "step.h"
#include "sync/member.h"

#include <pthread.h>
#include <sys/time.h>

/* At least so many instructions, or the test is of something else. */
static void stop_some_steps(const struct stops *stops, void *arg, long least)
{
	CHECK(test_stop_each_step(stops, arg) >= least);
}

static void be_member(void *arg)
{
	(void)arg;
	CHECK(member_self() != NULL);
}

/* ---- semaphore --------------------------------------------------------------------- */

static const tine_sem_opts held = { .held = true };

static void take_and_give(void *sem)
{
	CHECK_EQ(tine_sem_wait(sem, TINE_FOREVER), 0);
	CHECK_EQ(tine_sem_post(sem, 1), 0);
}

/* There are three, of which the stopped one may have one: but it may have the lock. */
static void take_by_a_deadline(void *sem)
{
	int err = tine_sem_wait(sem, TINE_NOWAIT);

	CHECK(err == 0 || err == -ETIMEDOUT);
	if (err == 0)
		CHECK_EQ(tine_sem_post(sem, 1), 0);
	err = tine_sem_wait(sem, tine_after(20));
	CHECK(err == 0 || err == -ETIMEDOUT);
	CHECK_EQ(tine_sem_post(sem, err == 0), 0);
}

static void take_beside(void *sem, long step)
{
	(void)step;
	test_call_beside(take_by_a_deadline, sem);
}

/* Nothing was lost, nor made. */
static void three_are_left(void *sem, long step)
{
	int n = 0;

	while (tine_sem_wait(sem, TINE_NOWAIT) == 0)
		n++;
	if (n != 3)
		test_fail(__FILE__, __LINE__, "step %ld: %d permits", step, n);
	CHECK_EQ(tine_sem_post(sem, 3), 0);
}

TEST_LIMIT(a_semaphore_of_held_permits, 600)
{
	tine_sem *sem = tine_shared_new(1, sizeof(*sem));

	CHECK_EQ(tine_sem_init(sem, &held), 0);
	CHECK_EQ(tine_sem_post(sem, 3), 0);
	stop_some_steps(&(struct stops){ .before = be_member,
					 .fn = take_and_give,
					 .beside = take_beside,
					 .after = three_are_left },
			sem, 200);
	tine_shared_free(sem);
}

/* Nobody has to wait at all. */
static void take_a_permit_at_once(void *sem)
{
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_post(sem, 1), 0);
	CHECK_EQ(tine_sem_wait(sem, tine_after(20)), 0);
	CHECK_EQ(tine_sem_post(sem, 1), 0);
}

static void take_a_permit_beside(void *sem, long step)
{
	(void)step;
	test_call_beside(take_a_permit_at_once, sem);
}

TEST_LIMIT(a_semaphore, 600)
{
	tine_sem *sem = tine_shared_new(1, sizeof(*sem));

	CHECK_EQ(tine_sem_post(sem, 3), 0);
	stop_some_steps(&(struct stops){ .fn = take_and_give,
					 .beside = take_a_permit_beside,
					 .after = three_are_left },
			sem, 10);
	tine_shared_free(sem);
}

/* ---- mutex ------------------------------------------------------------------------- */

static void take_it_by_a_deadline(void *sem)
{
	int err = tine_sem_wait(sem, TINE_NOWAIT);

	if (err == -ETIMEDOUT)
		err = tine_sem_wait(sem, tine_after(20));
	CHECK(err == 0 || err == -ETIMEDOUT);
	if (err == 0)
		CHECK_EQ(tine_sem_post(sem, 1), 0);
}

static void take_mutex_beside(void *sem, long step)
{
	(void)step;
	test_call_beside(take_it_by_a_deadline, sem);
}

static void it_is_free(void *sem, long step)
{
	(void)step;
	CHECK_EQ(tine_sem_post(sem, 1), -EPERM);
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_post(sem, 1), 0);
}

TEST_LIMIT(a_mutex, 600)
{
	tine_sem_opts mutex = { .mutex = true };
	tine_sem *sem = tine_shared_new(1, sizeof(*sem));

	CHECK_EQ(tine_sem_init(sem, &mutex), 0);
	stop_some_steps(&(struct stops){ be_member, take_and_give, take_mutex_beside,
					 it_is_free, false },
			sem, 30);
	tine_shared_free(sem);
}

/* ---- lock to read or write --------------------------------------------------------- */

static void read_and_write(void *rwlock)
{
	CHECK_EQ(tine_rwlock_read(rwlock, TINE_FOREVER), 0);
	CHECK_EQ(tine_rwlock_release(rwlock), 0);
	CHECK_EQ(tine_rwlock_write(rwlock, TINE_FOREVER), 0);
	CHECK_EQ(tine_rwlock_release(rwlock), 0);
}

static void lock_by_a_deadline(void *rwlock)
{
	int err = tine_rwlock_read(rwlock, TINE_NOWAIT);

	CHECK(err == 0 || err == -ETIMEDOUT);
	if (err == 0)
		CHECK_EQ(tine_rwlock_release(rwlock), 0);
	err = tine_rwlock_write(rwlock, tine_after(20));
	CHECK(err == 0 || err == -ETIMEDOUT);
	if (err == 0)
		CHECK_EQ(tine_rwlock_release(rwlock), 0);
}

static void lock_beside(void *rwlock, long step)
{
	(void)step;
	test_call_beside(lock_by_a_deadline, rwlock);
}

static void nobody_has_it(void *rwlock, long step)
{
	(void)step;
	CHECK_EQ(tine_rwlock_release(rwlock), -EPERM);
	CHECK_EQ(tine_rwlock_write(rwlock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_rwlock_release(rwlock), 0);
}

TEST_LIMIT(a_rwlock, 600)
{
	tine_rwlock *rwlock = tine_shared_new(1, sizeof(*rwlock));

	stop_some_steps(&(struct stops){ be_member, read_and_write, lock_beside,
					 nobody_has_it, false },
			rwlock, 100);
	tine_shared_free(rwlock);
}

struct page {
	tine_rwlock lock;
	_Atomic bool written;
	tine_event tried, go;
	pid_t writer;
};

/* So that there is less to be stopped in. */
static void read_page_before(void *arg)
{
	struct page *page = arg;

	CHECK_EQ(tine_rwlock_read(&page->lock, TINE_FOREVER), 0);
	CHECK_EQ(tine_rwlock_release(&page->lock), 0);
}

static void read_page(void *arg)
{
	struct page *page = arg;

	CHECK_EQ(tine_rwlock_read(&page->lock, TINE_FOREVER), 0);
	/* Long enough for who does not wait for it. */
	for (int i = 0; i < 20; i++)
		CHECK(!page->written);
	CHECK_EQ(tine_rwlock_release(&page->lock), 0);
}

/* Holds it for a while after the one that was stopped goes on. */
static void write_page(void *arg)
{
	struct page *page = arg;
	int err = tine_rwlock_write(&page->lock, TINE_NOWAIT);

	CHECK(err == 0 || err == -ETIMEDOUT);
	page->written = err == 0;
	tine_event_set(&page->tried);
	if (err)
		return;
	test_sleep_us(3000);
	page->written = false;
	CHECK_EQ(tine_rwlock_release(&page->lock), 0);
}

static void write_beside(void *arg, long step)
{
	struct page *page = arg;

	(void)step;
	tine_event_clear(&page->tried);
	page->writer = test_fork(write_page, page);
	CHECK_EQ(tine_event_wait(&page->tried, TINE_FOREVER), 0);
}

static void writer_has_ended(void *arg, long step)
{
	struct page *page = arg;

	(void)step;
	if (page->writer)
		CHECK_EQ(test_reap(page->writer), 0);
	page->writer = 0;
}

/* It looks again when it goes on: somebody may write by then. */
TEST_LIMIT(a_reader_that_was_stopped, 600)
{
	struct page *page = tine_shared_new(1, sizeof(*page));

	stop_some_steps(&(struct stops){ read_page_before, read_page, write_beside,
					 writer_has_ended, false },
			page, 60);
	tine_shared_free(page);
}

static void write_until_told(void *arg)
{
	struct page *page = arg;

	CHECK_EQ(tine_rwlock_write(&page->lock, TINE_FOREVER), 0);
	page->written = true;
	tine_event_set(&page->tried);
	CHECK_EQ(tine_event_wait(&page->go, TINE_FOREVER), 0);
	page->written = false;
	CHECK_EQ(tine_rwlock_release(&page->lock), 0);
}

static void start_writer(struct page *page)
{
	tine_event_clear(&page->tried);
	tine_event_clear(&page->go);
	page->writer = test_fork(write_until_told, page);
	CHECK_EQ(tine_event_wait(&page->tried, TINE_FOREVER), 0);
}

/* It releases the lock and ends, and both before the one that was stopped goes on. */
static void end_writer(struct page *page)
{
	tine_event_set(&page->go);
	CHECK_EQ(test_reap(page->writer), 0);
	page->writer = 0;
}

static void read_if_released(void *arg)
{
	struct page *page = arg;
	int err = tine_rwlock_read(&page->lock, tine_after(1));

	CHECK(err == 0 || err == -ETIMEDOUT);
	if (err == 0)
		CHECK_EQ(tine_rwlock_release(&page->lock), 0);
}

static void end_writer_beside(void *arg, long step)
{
	(void)step;
	end_writer(arg);
}

static void start_another_writer(void *arg, long step)
{
	struct page *page = arg;

	(void)step;
	if (!page->writer)
		start_writer(page);
}

TEST_LIMIT(a_reader_that_saw_a_writer, 600)
{
	struct page *page = tine_shared_new(1, sizeof(*page));

	start_writer(page);
	stop_some_steps(&(struct stops){ be_member, read_if_released, end_writer_beside,
					 start_another_writer, false },
			page, 60);
	end_writer(page);
	tine_shared_free(page);
}

/* ---- signals ----------------------------------------------------------------------- */

static void handle_signal(int signal)
{
	(void)signal;
}

/* Again and again: one that comes just before the call sleeps is not noticed. */
static void have_signals(void)
{
	struct sigaction action = { .sa_handler = handle_signal, .sa_flags = SA_RESTART };
	struct itimerval often = { { 0, 5000 }, { 0, 5000 } };

	sigaction(SIGALRM, &action, NULL);
	CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
	tine_interruptible(true);
}

/* Who is new here needs the heap, and waits a second for who is stopped in that. */
static void wait_with_signals(void *sem)
{
	int err;

	have_signals();
	err = tine_sem_wait(sem, TINE_FOREVER);
	CHECK(err == -EINTR || err == -ENOMEM);
}

static void ask_in_vain(void *sem)
{
	CHECK_EQ(tine_sem_wait(sem, TINE_NOWAIT), -ETIMEDOUT);
}

static void wait_with_signals_beside(void *sem, long step)
{
	(void)step;
	test_call_beside(wait_with_signals, sem);
}

TEST_LIMIT(signals_end_the_wait_for_a_permit, 600)
{
	tine_sem *sem = tine_shared_new(1, sizeof(*sem));

	CHECK_EQ(tine_sem_init(sem, &held), 0);
	stop_some_steps(&(struct stops){ be_member, ask_in_vain, wait_with_signals_beside,
					 NULL, false },
			sem, 30);
	tine_shared_free(sem);
}

static void get_with_signals(void *queue)
{
	char buf[8];

	have_signals();
	CHECK_EQ(tine_queue_get(queue, buf, sizeof(buf), TINE_FOREVER), -EINTR);
}

static void stop_with_lock(void *queue)
{
	CHECK(member_self() != NULL);
	CHECK_EQ(queue_lock(queue, TINE_FOREVER), 0);
	raise(SIGSTOP);
}

TEST_LIMIT(signals_end_the_wait_for_a_desk, 60)
{
	tine_queue *queue;
	pid_t pid;

	CHECK_EQ(tine_queue_new(&queue, 8, NULL), 0);
	pid = test_fork(stop_with_lock, queue);
	CHECK_EQ(waitpid(pid, NULL, WUNTRACED), pid);
	test_call_beside(get_with_signals, queue);
	test_kill(pid);
	tine_queue_free(queue);
}

/* ---- barrier ----------------------------------------------------------------------- */

/* Those that came before have ended, which is told once. */
static void come_alone(void *barrier)
{
	int err = tine_barrier_wait(barrier, 1, TINE_FOREVER);

	CHECK(err == 1 || err == -EOWNERDEAD);
}

static void wait_in_vain(void *barrier)
{
	CHECK_EQ(tine_barrier_wait(barrier, 3, tine_after(20)), -ETIMEDOUT);
	CHECK_EQ(tine_barrier_wait(barrier, 3, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_barrier_wait(barrier, 1, TINE_NOWAIT), 1);
}

static void wait_beside(void *barrier, long step)
{
	(void)step;
	test_call_beside(wait_in_vain, barrier);
}

/* So that there is always one to bury, and the same way to go. */
static void be_member_beside_a_dead_one(void *barrier)
{
	be_member(NULL);
	CHECK_EQ(test_reap(test_fork(wait_in_vain, barrier)), 0);
}

static void bury(void *barrier, long step)
{
	(void)barrier;
	(void)step;
	members_sweep();
}

TEST_LIMIT(a_barrier, 600)
{
	tine_barrier *barrier = tine_shared_new(1, sizeof(*barrier));

	stop_some_steps(&(struct stops){ .before = be_member_beside_a_dead_one,
					 .fn = come_alone,
					 .beside = wait_beside,
					 .after = bury },
			barrier, 200);
	tine_shared_free(barrier);
}

/* ---- memory ------------------------------------------------------------------------ */

struct blocks {
	void *small, *large;
	long step;
};

static void allocate_and_free(void *arg)
{
	void *small, *large;

	(void)arg;
	small = tine_shared_new(1, 48);
	large = tine_shared_raw(100000);
	CHECK(small && large);
	tine_shared_free(small);
	tine_shared_free(large);
}

/* To free it needs nobody, and what it allocates by a deadline is there or is not. */
static void free_and_allocate(void *arg)
{
	struct blocks *blocks = arg;
	void *mem;
	int err;

	tine_shared_free(blocks->small);
	tine_shared_free(blocks->large);
	blocks->small = blocks->large = NULL;
	err = shared_alloc(&mem, 48, tine_after(20));
	CHECK(err == 0 || err == -ETIMEDOUT);
	if (err == 0)
		tine_shared_free(mem);
	/* A second, where the lock is held. */
	if (blocks->step % 16 == 0) {
		mem = tine_shared_new(1, 48);
		tine_shared_free(mem);
	}
}

static void free_beside(void *arg, long step)
{
	((struct blocks *)arg)->step = step;
	test_call_beside(free_and_allocate, arg);
}

static void make_blocks(struct blocks *blocks)
{
	if (!blocks->small) {
		blocks->small = tine_shared_new(1, 48);
		blocks->large = tine_shared_new(1, 100000);
	}
	CHECK(blocks->small && blocks->large);
}

static void the_heap_is_whole(void *arg, long step)
{
	int err = shared_check();

	if (err)
		test_fail(__FILE__, __LINE__, "step %ld: %s", step, tine_strerror(err));
	make_blocks(arg);
}

struct owners {
	void *kept, *owned, *last;
	bool dropped;
	size_t used;
	/* The test's own, by which it keeps the first twice and the last once. */
	uint64_t id;
};

static void own_and_keep(void *arg)
{
	struct owners *owners = arg;
	void *mem = test_own(100000, member_id(), TINE_FOREVER);

	CHECK(mem);
	CHECK_EQ(tine_shared_keep(owners->kept), 0);
	tine_shared_free(mem);
	CHECK_EQ(tine_shared_drop(owners->kept), 0);
}

/* Each may find no memory or no time; what is taken back is, at once. */
static void own_and_drop_beside(void *arg)
{
	struct owners *owners = arg;
	void *mem = test_own(48, member_id(), tine_after(20));
	int err;

	CHECK(owned_pass(owners->owned, OWNED_BY_OBJECT | 1, member_id()));
	CHECK(owned_pass(owners->owned, member_id(), OWNED_BY_OBJECT | 1));
	if (mem) {
		CHECK_EQ(owned_by(mem), member_id());
		tine_shared_free(mem);
	}
	err = owned_keep(owners->kept, member_id(), tine_after(20));
	CHECK(err == 0 || err == -ETIMEDOUT);
	if (err == 0)
		CHECK_EQ(tine_shared_drop(owners->kept), 0);
	CHECK_EQ(owned_drop(owners->kept, owners->id), 0);
	CHECK_EQ(owned_drop(owners->last, owners->id), 0);
	owners->dropped = true;
	CHECK_EQ(owned_drop(owners->kept, owners->id + 1), -EPERM);
	/* Nor does who looks at the dead wait. */
	members_sweep();
}

static void owners_beside(void *arg, long step)
{
	(void)step;
	test_call_beside(own_and_drop_beside, arg);
}

static void keep_once_more(struct owners *owners)
{
	CHECK_EQ(tine_shared_keep(owners->kept), 0);
	owners->dropped = false;
	owners->last = tine_shared_raw(100);
	CHECK_EQ(tine_shared_keep(owners->last), 0);
}

/* This process keeps the first all the while. */
static void owners_are_whole(void *arg, long step)
{
	struct owners *owners = arg;
	int err;

	members_sweep();
	err = shared_check();
	if (err)
		test_fail(__FILE__, __LINE__, "step %ld: %s", step, tine_strerror(err));
	CHECK(shared_in_use(owners->kept));
	if (owners->dropped) {
		CHECK(!shared_in_use(owners->last));
		keep_once_more(owners);
	}
	if (shared_used() != owners->used)
		test_fail(__FILE__, __LINE__, "step %ld: %zd bytes", step,
			  (ssize_t)(shared_used() - owners->used));
}

TEST_LIMIT(the_owners_of_blocks, 600)
{
	struct owners *owners = tine_shared_new(1, sizeof(*owners));

	CHECK_EQ(test_reap(test_fork(be_member, NULL)), 0);
	members_sweep();
	owners->kept = tine_shared_raw(100000);
	owners->owned = test_own(1000, OWNED_BY_OBJECT | 1, TINE_FOREVER);
	owners->id = member_id();
	CHECK_EQ(tine_shared_keep(owners->kept), 0);
	keep_once_more(owners);
	owners->used = shared_used();
	stop_some_steps(&(struct stops){ .before = be_member,
					 .fn = own_and_keep,
					 .beside = owners_beside,
					 .after = owners_are_whole },
			owners, 100);
	tine_shared_free(owners->owned);
	CHECK_EQ(tine_shared_drop(owners->last), 0);
	CHECK_EQ(tine_shared_drop(owners->kept), 0);
	CHECK_EQ(tine_shared_drop(owners->kept), 0);
	CHECK(!shared_in_use(owners->kept));
	tine_shared_free(owners);
}

TEST_LIMIT(the_heap, 600)
{
	struct blocks *blocks = tine_shared_new(1, sizeof(*blocks));
	size_t used;

	make_blocks(blocks);
	used = shared_used();
	stop_some_steps(&(struct stops){ .fn = allocate_and_free,
					 .beside = free_beside,
					 .after = the_heap_is_whole },
			blocks, 100);
	CHECK_EQ(shared_used(), used);
	tine_shared_free(blocks->small);
	tine_shared_free(blocks->large);
	tine_shared_free(blocks);
}

/* ---- first calls and forks --------------------------------------------------------- */

static void become_member(void *sem)
{
	CHECK_EQ(tine_sem_wait(sem, tine_after(20000)), 0);
	CHECK_EQ(tine_sem_post(sem, 1), 0);
}

/*
 * In the process that makes the call: a fork beside a thread that waits for the stopped.
 */
static void *wait_in_thread(void *sem)
{
	int err = tine_sem_wait(sem, tine_after(300));

	CHECK(err == 0 || err == -ETIMEDOUT);
	if (err == 0)
		CHECK_EQ(tine_sem_post(sem, 1), 0);
	return sem;
}

static void fork_at_once(void *sem)
{
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, wait_in_thread, sem), 0);
	test_sleep_us(100);
	CHECK_EQ(test_reap(test_fork(be_member, NULL)), 0);
	CHECK_EQ(pthread_join(thread, NULL), 0);
}

static void fork_beside(void *sem, long step)
{
	(void)step;
	test_call_beside(fork_at_once, sem);
}

TEST_LIMIT(a_first_call, 600)
{
	tine_sem *sem = tine_shared_new(1, sizeof(*sem));

	CHECK_EQ(tine_sem_init(sem, &held), 0);
	CHECK_EQ(tine_sem_post(sem, 3), 0);
	stop_some_steps(&(struct stops){ .fn = become_member, .beside = take_beside },
			sem, 300);
	tine_shared_free(sem);
}

TEST_LIMIT(a_fork, 600)
{
	tine_sem *sem = tine_shared_new(1, sizeof(*sem));

	CHECK_EQ(tine_sem_init(sem, &held), 0);
	CHECK_EQ(tine_sem_post(sem, 3), 0);
	stop_some_steps(&(struct stops){ .fn = become_member, .beside = fork_beside },
			sem, 300);
	tine_shared_free(sem);
}
